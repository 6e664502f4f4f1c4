"""Making a tenant, and the tenant itself."""

from collections.abc import AsyncIterator
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from fastapi import Request as HttpRequest
from pydantic import EmailStr, Field, SecretStr

from api.deps import Allowed, From, Served, Tx, count, idempotency_key, sender
from api.problems import also
from api.routing import Route
from api.shapes import Request, Shape, examples
from api.versions import IfMatch, put_tag
from domain.desk import DeskSettings
from domain.errors import Forbidden
from domain.permissions import Permission, Principal
from models.base import new_id
from models.session import Work
from services import people, tenants
from services.idempotency import founded_under
from services.tenants import NewTenant
from services.tickets import clock

router = APIRouter(prefix="/api/v1", tags=["tenant"], route_class=Route)

Manager = Annotated[Principal, Depends(Allowed(Permission.SETTINGS_MANAGE))]
Name = Annotated[str, Field(min_length=1, max_length=200)]
# Raised by every change of anything that is set up: no part of what a PATCH here overwrites.
_BESIDE = frozenset({"config_version"})


class TenantRequest(Request):
    model_config = examples(
        {
            "slug": "acme",
            "name": "Acme Support",
            "email": "ada@example.org",
            "password": "correct horse battery staple",
            "admin_name": "Ada Lind",
        }
    )

    slug: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
            description="Names the tenant in addresses and workflows; never changes.",
            examples=["acme"],
        ),
    ]
    name: Name
    email: EmailStr
    password: SecretStr = Field(min_length=10, max_length=200)
    admin_name: Name | None = None


class Founded(Shape):
    tenant_id: UUID
    user_id: UUID


class Tenant(Shape):
    id: UUID
    slug: str
    name: str
    rate_class: str
    config_version: int
    settings: DeskSettings


class TenantPatch(Request):
    model_config = examples({"settings": {"auto_close_after": "P14D", "agent_scope": "tenant"}})

    name: Name | None = None
    settings: dict[str, object] | None = Field(
        default=None, description="Only the settings to change; the others stay."
    )


async def _founding(request: HttpRequest, served: Served) -> AsyncIterator[Work]:
    """The transaction of the tenant to be made: of the same one where a key is sent again."""
    key = idempotency_key(request)
    secret = served.settings.secret_key.get_secret_value()
    tenant_id = new_id() if key is None else founded_under(secret, sender(request), key)
    async with served.database.transaction(tenant_id) as work:
        yield work


Founding = Annotated[Work, Depends(_founding, scope="function")]


@router.post(
    "/tenants",
    status_code=201,
    summary="Make a tenant with its first admin",
    responses=also(403),
)
async def create_tenant(
    body: TenantRequest, request: HttpRequest, served: Served, work: Founding, origin: From
) -> Founded:
    if not served.settings.tenant_signup:
        raise Forbidden("Tenants are made by the operator here.")
    await count(request, "signup", str(origin.ip))
    made = await people.found(
        work,
        NewTenant(body.slug, body.name),
        email=body.email,
        password=body.password.get_secret_value(),
        admin_name=body.admin_name,
        origin=origin,
        now=clock(),
    )
    return Founded(tenant_id=made.tenant_id, user_id=made.user_id)


@router.get("/tenant", summary="This tenant")
async def get_tenant(
    caller: Annotated[Principal, Depends(Allowed(Permission.SETTINGS_VIEW))],
    work: Tx,
    response: Response,
) -> Tenant:
    shown = Tenant(**await tenants.tenant(work))
    put_tag(response, shown, but=_BESIDE)
    return shown


@router.patch("/tenant", summary="Change this tenant's name and settings")
async def patch_tenant(
    body: TenantPatch,
    caller: Manager,
    work: Tx,
    origin: From,
    expected: IfMatch,
    response: Response,
) -> Tenant:
    if expected:
        await tenants.hold(work)
        expected.check(Tenant(**await tenants.tenant(work)), but=_BESIDE)
    await tenants.change_tenant(
        work,
        name=body.name,
        settings=body.settings,
        caller=caller,
        origin=origin,
        now=clock(),
    )
    shown = Tenant(**await tenants.tenant(work))
    put_tag(response, shown, but=_BESIDE)
    return shown
