"""Customers, the ways they are known, and their organizations."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from api.cursors import Cursor, Limit, after_id, cursor_of
from api.deps import Allowed, From, Tx
from api.routing import Route
from api.shapes import Page, Request, Shape, examples
from api.versions import IfMatch, put_tag
from domain.errors import Invalid
from domain.permissions import Permission, Principal
from domain.states import Tier
from services import audit, customers
from services.customers import IdentityKind
from services.tickets import clock

router = APIRouter(prefix="/api/v1", tags=["customers"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.CUSTOMERS_VIEW))]
Manager = Annotated[Principal, Depends(Allowed(Permission.CUSTOMERS_MANAGE))]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
Start = Annotated[
    str | None, Query(max_length=200, description="How the name or an address begins.")
]
Domains = Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=100)]


class IdentityIn(Request):
    model_config = examples({"kind": "phone", "value": "+49 30 5550142", "verified": True})

    kind: IdentityKind
    value: Annotated[str, Field(min_length=1, max_length=320)]
    verified: bool = False


class Identity(Shape):
    id: UUID
    kind: IdentityKind
    value: str
    verified_at: datetime | None
    created_at: datetime


class CustomerIn(Request):
    model_config = examples(
        {
            "name": "Maria Sommer",
            "email": "maria.sommer@example.com",
            "identities": [{"kind": "phone", "value": "+49 30 5550142"}],
            "language": "de",
        }
    )

    name: Name | None = Field(default=None, description="The address where left out.")
    email: Annotated[str, Field(max_length=320)] | None = None
    identities: Annotated[list[IdentityIn], Field(max_length=20)] = Field(default_factory=list)
    organization_id: UUID | None = Field(
        default=None, description="Left out: the one that has the address's domain."
    )
    language: Language | None = None


class CustomerPatch(Request):
    """What is left out stays; null clears."""

    model_config = examples(
        {"name": "Maria Sommer-Klein", "language": "de-AT"}, {"organization_id": None}
    )

    name: Name | None = None
    organization_id: UUID | None = None
    language: Language | None = None


class Customer(Shape):
    id: UUID
    name: str
    organization_id: UUID | None
    organization_name: str | None
    language: str | None
    identities: list[Identity]
    created_at: datetime
    updated_at: datetime


class OrganizationIn(Request):
    model_config = examples(
        {"name": "Example Logistics", "domains": ["logistics.example"], "tier": "gold"}
    )

    name: Name
    domains: Domains = Field(
        default_factory=list, description="New customers with such an address belong to it."
    )
    tier: Tier | None = Field(
        default=None, description="Its tickets press more; `standard` and none do not."
    )


class OrganizationPatch(Request):
    model_config = examples(
        {"domains": ["logistics.example", "freight.example"]}, {"tier": "platinum"}
    )

    name: Name | None = None
    domains: Domains | None = None
    tier: Tier | None = Field(default=None, description="Null takes it away.")


class Organization(Shape):
    id: UUID
    name: str
    domains: list[str]
    tier: str | None
    created_at: datetime
    updated_at: datetime


@router.get("/customers", summary="Customers")
async def list_customers(
    caller: Viewer,
    work: Tx,
    limit: Limit = 50,
    cursor: Cursor = None,
    q: Start = None,
    organization_id: UUID | None = None,
) -> Page[Customer]:
    """Newest first."""
    rows = await customers.customers(
        work,
        limit=limit + 1,
        before=after_id(cursor),
        starts_with=q,
        organization_id=organization_id,
    )
    items = [Customer(**row) for row in rows[:limit]]
    return Page(items=items, next=cursor_of(items[-1].id) if len(rows) > limit else None)


@router.post("/customers", status_code=201, summary="Add a customer")
async def create_customer(body: CustomerIn, caller: Manager, work: Tx, origin: From) -> Customer:
    """409 `identity_taken` where an address or number is another customer's."""
    known = [
        customers.clean_identity(one.kind, one.value, pointer=f"/identities/{place}/value")
        for place, one in enumerate(body.identities)
    ]
    if body.email is not None:
        known.insert(0, customers.clean_identity("email", body.email, pointer="/email"))
    if body.name is None and not known:
        raise Invalid("Name them, or say how they are known.", fields={"/name": "is needed"})
    now = clock()
    customer_id = await customers.create_customer(
        work,
        name=body.name or known[0].value,
        identities=list(dict.fromkeys(known)),
        organization_id=body.organization_id,
        language=body.language,
        now=now,
    )
    await audit.record(
        work, caller=caller, origin=origin, action="customer.created", target_kind="customer",
        target_id=customer_id, now=now,
    )  # fmt: skip
    return Customer(**await customers.customer(work, customer_id))


@router.get("/customers/{customer_id}", summary="One customer")
async def get_customer(customer_id: UUID, caller: Viewer, work: Tx, response: Response) -> Customer:
    shown = Customer(**await customers.customer(work, customer_id))
    put_tag(response, shown)
    return shown


@router.patch("/customers/{customer_id}", summary="Change a customer")
async def change_customer(
    customer_id: UUID,
    body: CustomerPatch,
    caller: Manager,
    work: Tx,
    origin: From,
    expected: IfMatch,
    response: Response,
) -> Customer:
    """Tickets stay with the organization they were opened for."""
    asked = body.model_dump(exclude_unset=True)
    if "name" in asked and asked["name"] is None:
        raise Invalid("A customer has a name.", fields={"/name": "cannot be null"})
    if expected:
        await customers.hold(work, "customers", customer_id)
        expected.check(Customer(**await customers.customer(work, customer_id)))
    now = clock()
    changes = await customers.change_customer(work, customer_id, asked, now=now)
    if changes:
        await audit.record(
            work, caller=caller, origin=origin, action="customer.changed", target_kind="customer",
            target_id=customer_id, data={"changes": changes}, now=now,
        )  # fmt: skip
    shown = Customer(**await customers.customer(work, customer_id))
    put_tag(response, shown)
    return shown


@router.delete("/customers/{customer_id}", status_code=204, summary="Remove a customer")
async def remove_customer(customer_id: UUID, caller: Manager, work: Tx, origin: From) -> Response:
    """Only one without tickets (409 `in_use`)."""
    await customers.remove_customer(work, customer_id)
    await audit.record(
        work, caller=caller, origin=origin, action="customer.removed", target_kind="customer",
        target_id=customer_id,
    )  # fmt: skip
    return Response(status_code=204)


@router.post(
    "/customers/{customer_id}/identities", status_code=201, summary="Add a way they are known"
)
async def add_identity(
    customer_id: UUID, body: IdentityIn, caller: Manager, work: Tx, origin: From
) -> Customer:
    """409 `identity_taken` where it is another customer's."""
    now = clock()
    await customers.customer(work, customer_id)
    identity_id = await customers.add_identity(
        work,
        customer_id,
        customers.clean_identity(body.kind, body.value),
        verified=body.verified,
        now=now,
    )
    await audit.record(
        work, caller=caller, origin=origin, action="customer.identity_added",
        target_kind="customer", target_id=customer_id,
        data={"identity": identity_id, "kind": body.kind, "verified": body.verified}, now=now,
    )  # fmt: skip
    return Customer(**await customers.customer(work, customer_id))


@router.post(
    "/customers/{customer_id}/identities/{identity_id}/verify", summary="Mark it as proven"
)
async def verify_identity(
    customer_id: UUID, identity_id: UUID, caller: Manager, work: Tx, origin: From
) -> Customer:
    now = clock()
    await customers.verify_identity(work, customer_id, identity_id, now=now)
    await audit.record(
        work, caller=caller, origin=origin, action="customer.identity_verified",
        target_kind="customer", target_id=customer_id, data={"identity": identity_id}, now=now,
    )  # fmt: skip
    return Customer(**await customers.customer(work, customer_id))


@router.delete("/customers/{customer_id}/identities/{identity_id}", summary="Take it away")
async def remove_identity(
    customer_id: UUID, identity_id: UUID, caller: Manager, work: Tx, origin: From
) -> Customer:
    gone = await customers.remove_identity(work, customer_id, identity_id)
    await audit.record(
        work, caller=caller, origin=origin, action="customer.identity_removed",
        target_kind="customer", target_id=customer_id,
        data={"identity": identity_id, "kind": gone["kind"]},
    )  # fmt: skip
    return Customer(**await customers.customer(work, customer_id))


@router.get("/organizations", summary="Organizations")
async def list_organizations(
    caller: Viewer,
    work: Tx,
    limit: Limit = 50,
    cursor: Cursor = None,
    q: Start = None,
    tier: Tier | None = None,
) -> Page[Organization]:
    """Newest first."""
    rows = await customers.organizations(
        work, limit=limit + 1, before=after_id(cursor), starts_with=q, tier=tier
    )
    items = [Organization(**row) for row in rows[:limit]]
    return Page(items=items, next=cursor_of(items[-1].id) if len(rows) > limit else None)


@router.post("/organizations", status_code=201, summary="Add an organization")
async def create_organization(
    body: OrganizationIn, caller: Manager, work: Tx, origin: From
) -> Organization:
    now = clock()
    organization_id = await customers.create_organization(
        work, name=body.name, domains=customers.clean_domains(body.domains), tier=body.tier,
        now=now,
    )  # fmt: skip
    await audit.record(
        work, caller=caller, origin=origin, action="organization.created",
        target_kind="organization", target_id=organization_id,
        data={"name": body.name, "domains": body.domains, "tier": body.tier}, now=now,
    )  # fmt: skip
    return Organization(**await customers.organization(work, organization_id))


@router.get("/organizations/{organization_id}", summary="One organization")
async def get_organization(
    organization_id: UUID, caller: Viewer, work: Tx, response: Response
) -> Organization:
    shown = Organization(**await customers.organization(work, organization_id))
    put_tag(response, shown)
    return shown


@router.patch("/organizations/{organization_id}", summary="Change an organization")
async def change_organization(
    organization_id: UUID,
    body: OrganizationPatch,
    caller: Manager,
    work: Tx,
    origin: From,
    expected: IfMatch,
    response: Response,
) -> Organization:
    """Domains count for customers made from now on; a tier for all tickets that are not closed,
    within seconds: how pressing they are, and what is promised where a policy asks for it."""
    asked = body.model_dump(exclude_none=True)
    if "tier" in body.model_fields_set:
        asked["tier"] = body.tier
    if body.domains is not None:
        asked["domains"] = customers.clean_domains(body.domains)
    if expected:
        await customers.hold(work, "organizations", organization_id)
        expected.check(Organization(**await customers.organization(work, organization_id)))
    now = clock()
    changes = await customers.change_organization(
        work, organization_id, asked, by=caller.id, now=now
    )
    if changes:
        await audit.record(
            work, caller=caller, origin=origin, action="organization.changed",
            target_kind="organization", target_id=organization_id, data={"changes": changes},
            now=now,
        )  # fmt: skip
    shown = Organization(**await customers.organization(work, organization_id))
    put_tag(response, shown)
    return shown


@router.delete("/organizations/{organization_id}", status_code=204, summary="Remove it")
async def remove_organization(
    organization_id: UUID, caller: Manager, work: Tx, origin: From
) -> Response:
    """Only one that nobody belongs to (409 `in_use`)."""
    await customers.remove_organization(work, organization_id)
    await audit.record(
        work, caller=caller, origin=origin, action="organization.removed",
        target_kind="organization", target_id=organization_id,
    )  # fmt: skip
    return Response(status_code=204)
