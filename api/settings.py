"""How a tenant sets up its tickets: statuses and custom fields."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from api.deps import Allowed, From, Tx
from api.editing import Editing, given, record
from api.routing import Route
from api.shapes import Request, Shape, examples
from api.versions import put_tag
from domain.desk import FieldKind
from domain.permissions import Permission, Principal
from domain.states import Category
from services import configuration

router = APIRouter(prefix="/api/v1", tags=["settings"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.SETTINGS_VIEW))]
Manager = Annotated[Principal, Depends(Allowed(Permission.SETTINGS_MANAGE))]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Key = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
InPath = Annotated[str, Path(max_length=63)]
Colour = Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")]
Keys = Annotated[list[Key], Field(max_length=300)]
Options = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=200)]], Field(max_length=1000)
]
Pattern = Annotated[str, Field(max_length=500)]


class Status(Shape):
    key: str
    name: str
    category: Category
    customer_label: str
    colour: str
    position: int
    transitions: list[str] | None = Field(description="Where an agent may go from here; null: all.")
    required_fields: list[str]
    active: bool


class StatusIn(Request):
    model_config = examples(
        {
            "name": "Waiting for parts",
            "category": "on_hold",
            "customer_label": "In progress",
            "colour": "#b45309",
            "required_fields": ["part_number"],
        }
    )

    key: Key | None = Field(default=None, description="Made from the name where left out.")
    name: Name
    category: Category
    customer_label: Name | None = None
    colour: Colour | None = None
    transitions: Keys | None = None
    required_fields: Keys = Field(default_factory=list)


class StatusPatch(Request):
    """What is left out stays. `transitions: null` allows all again."""

    model_config = examples({"name": "Waiting for supplier"}, {"transitions": None})

    name: Name | None = None
    customer_label: Name | None = None
    colour: Colour | None = None
    transitions: Keys | None = None
    required_fields: Keys | None = None
    active: bool | None = None


class StatusOrder(Request):
    model_config = examples(
        {"keys": ["new", "open", "pending", "on_hold", "resolved", "closed", "merged"]}
    )

    keys: Keys


class CustomField(Shape):
    key: str
    label: str
    kind: FieldKind
    options: list[str]
    pattern: str | None
    customer_visible: bool
    customer_editable: bool
    position: int
    active: bool


class FieldIn(Request):
    model_config = examples(
        {
            "label": "Product",
            "kind": "select",
            "options": ["Router", "Switch", "Cable"],
            "customer_visible": True,
            "customer_editable": True,
        },
        {"key": "order_number", "label": "Order number", "kind": "text", "pattern": "[0-9]{5}"},
    )

    key: Key | None = Field(default=None, description="Made from the label where left out.")
    label: Name
    kind: FieldKind
    options: Options = Field(default_factory=list)
    pattern: Pattern | None = None
    customer_visible: bool = False
    customer_editable: bool = False


class FieldPatch(Request):
    """What is left out stays. `pattern: null` takes it away."""

    model_config = examples(
        {"options": ["Router", "Switch", "Cable", "Access point"]}, {"pattern": None}
    )

    label: Name | None = None
    options: Options | None = None
    pattern: Pattern | None = None
    customer_visible: bool | None = None
    customer_editable: bool | None = None
    position: Annotated[int, Field(ge=0, le=10_000)] | None = None
    active: bool | None = None


@router.get("/statuses", summary="Statuses, in order")
async def list_statuses(caller: Viewer, work: Tx) -> list[Status]:
    return [Status(**row) for row in await configuration.statuses(work)]


@router.post("/statuses", status_code=201, summary="Add a status")
async def create_status(body: StatusIn, caller: Manager, work: Tx, origin: From) -> Status:
    row = await configuration.create_status(work, body.model_dump())
    await record(work, caller, origin, "status.created", "status", row["key"], dict(row))
    return Status(**row)


@router.put("/statuses/order", summary="Put them in order")
async def order_statuses(
    body: StatusOrder, caller: Manager, work: Tx, origin: From
) -> list[Status]:
    """The first active one of a category is where rules go."""
    changes = await configuration.order_statuses(work, body.keys)
    await record(work, caller, origin, "status.ordered", "status", None, {"changes": changes})
    return [Status(**row) for row in await configuration.statuses(work)]


@router.get("/statuses/{key}", summary="One status")
async def get_status(key: InPath, caller: Viewer, work: Tx, response: Response) -> Status:
    shown = Status(**await configuration.status(work, key))
    put_tag(response, shown)
    return shown


@router.patch("/statuses/{key}", summary="Change a status")
async def change_status(
    key: InPath,
    body: StatusPatch,
    caller: Manager,
    edit: Editing,
) -> Status:
    """409 `last_of_category` where it is the only active one: rules need one to go to."""
    asked = given(body, clears={"transitions"})
    await edit.unless_changed(Status, configuration.status, key)
    row, changes = await configuration.change_status(edit.work, key, asked)
    return await edit.answer(caller, Status(**row), "status", key, changes)


@router.get("/fields", summary="Custom fields, in order")
async def list_fields(caller: Viewer, work: Tx) -> list[CustomField]:
    return [CustomField(**row) for row in await configuration.fields_of(work)]


@router.post("/fields", status_code=201, summary="Add a custom field")
async def create_field(body: FieldIn, caller: Manager, work: Tx, origin: From) -> CustomField:
    row = await configuration.create_field(work, body.model_dump())
    await record(work, caller, origin, "field.created", "field", row["key"], dict(row))
    return CustomField(**row)


@router.get("/fields/{key}", summary="One custom field")
async def get_field(key: InPath, caller: Viewer, work: Tx, response: Response) -> CustomField:
    shown = CustomField(**await configuration.field(work, key))
    put_tag(response, shown)
    return shown


@router.patch("/fields/{key}", summary="Change a custom field")
async def change_field(
    key: InPath,
    body: FieldPatch,
    caller: Manager,
    edit: Editing,
) -> CustomField:
    """Values that tickets hold already stay, also those that no longer fit."""
    asked = given(body, clears={"pattern"})
    await edit.unless_changed(CustomField, configuration.field, key)
    row, changes = await configuration.change_field(edit.work, key, asked)
    return await edit.answer(caller, CustomField(**row), "field", key, changes)
