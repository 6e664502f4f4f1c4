"""Canned responses over HTTP."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from api.deps import Allowed, From, Tx
from api.editing import Editing, given, record
from api.routing import Route
from api.shapes import Request, Shape, examples
from api.versions import put_tag
from domain.permissions import Permission, Principal
from models.session import Row, Work
from services import canned
from services.sections import hold
from services.tickets import clock

router = APIRouter(prefix="/api/v1/canned-responses", tags=["knowledge"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.KNOWLEDGE_VIEW))]
Writer = Annotated[Principal, Depends(Allowed(Permission.KNOWLEDGE_WRITE))]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Body = Annotated[
    str,
    Field(
        min_length=1,
        max_length=20_000,
        description="Plain text with placeholders: `{{customer.name}}`,"
        " `{{customer.first_name|there}}`, `{{customer.email}}`, `{{ticket.number}}`,"
        " `{{ticket.subject}}`, `{{agent.name}}`.",
    ),
]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]


class CannedOut(Shape):
    id: UUID
    name: str
    body: str
    team_id: UUID | None = Field(description="Whose it is; null: everybody's.")
    language: str | None
    active: bool
    created_at: datetime
    updated_at: datetime


class CannedIn(Request):
    model_config = examples(
        {
            "name": "Router is on its way",
            "body": "Hello {{customer.first_name|there}},\n\nwe have sent a new router.\n\n"
            "{{agent.name}}",
            "language": "en",
        },
        {
            "name": "Ask for the serial number",
            "body": "Which serial number is on the back?",
            "team_id": "0198c5c1-0b4e-7a10-8c2d-4f5e6a7b8c9d",
        },
    )

    name: Name
    body: Body
    team_id: UUID | None = None
    language: Language | None = None


class CannedPatch(Request):
    """What is left out stays. `team_id: null` makes it everybody's."""

    model_config = examples(
        {"body": "Hello {{customer.name}}, the router arrives on Friday."},
        {"team_id": "0198c5c1-0b4e-7a10-8c2d-4f5e6a7b8c9d"},
        {"active": False},
    )

    name: Name | None = None
    body: Body | None = None
    team_id: UUID | None = None
    language: Language | None = None
    active: bool | None = None


@router.get("", summary="Canned responses")
async def list_canned_responses(
    caller: Viewer,
    work: Tx,
    q: Annotated[str | None, Query(min_length=1, max_length=200, pattern="^[^\0]*$")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> list[CannedOut]:
    """Everybody's and those of one's teams, by name; with `q` those that have it in them."""
    rows = await canned.responses(work, caller, text=q, limit=limit)
    return [CannedOut(**row) for row in rows]


@router.post("", status_code=201, summary="Write a canned response")
async def create_canned_response(
    body: CannedIn, caller: Writer, work: Tx, origin: From
) -> CannedOut:
    """For one of the caller's teams, or (with knowledge.publish) for any or all."""
    row = await canned.create(
        work,
        caller,
        name=body.name,
        body=body.body,
        team_id=body.team_id,
        language=body.language,
        now=clock(),
    )
    said: dict[str, object] = {"name": row["name"]}
    await record(
        work, caller, origin, "canned_response.created", "canned_response", row["id"], said
    )
    return CannedOut(**row)


@router.get("/{response_id}", summary="One canned response")
async def get_canned_response(
    response_id: UUID, caller: Viewer, work: Tx, response: Response
) -> CannedOut:
    shown = CannedOut(**await canned.response(work, caller, response_id))
    put_tag(response, shown)
    return shown


@router.patch("/{response_id}", summary="Change a canned response")
async def change_canned_response(
    response_id: UUID, body: CannedPatch, caller: Writer, edit: Editing
) -> CannedOut:
    asked = given(body, clears={"team_id", "language"})

    async def read(work: Work, key: UUID) -> Row:
        return await canned.response(work, caller, key)

    await hold(edit.work)
    await edit.unless_changed(CannedOut, read, response_id)
    row, changes = await canned.change(edit.work, caller, response_id, asked, now=clock())
    return await edit.answer(caller, CannedOut(**row), "canned_response", response_id, changes)
