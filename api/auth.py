"""Signing in and out, sessions, passwords."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Header
from fastapi import Request as HttpRequest
from pydantic import EmailStr, Field, SecretStr

from api.deps import Caller, From, Served, Tx, count, idempotency_key, sender
from api.problems import also
from api.resources import Resources
from api.routing import Route, without_key
from api.shapes import Page, Request, Shape, examples
from domain.errors import Forbidden, TooMany
from domain.permissions import Principal, Role, Scope
from models.session import Work
from services.auth import SignedIn
from services.tickets import Origin

router = APIRouter(prefix="/api/v1/auth", tags=["auth"], route_class=Route)

Slug = Annotated[str, Field(min_length=1, max_length=63, examples=["acme"])]
UserAgent = Annotated[str, Header(alias="User-Agent")]


class LoginRequest(Request):
    model_config = examples(
        {"email": "ada@example.org", "password": "correct horse battery staple", "tenant": "acme"}
    )

    email: EmailStr
    password: SecretStr = Field(max_length=200)
    tenant: Slug | None = Field(
        default=None, description="Needed when the address works in several tenants."
    )


class Tokens(Shape):
    """Send `access_token` as a Bearer token; renew it with `refresh_token`, once each."""

    access_token: str
    refresh_token: str
    token_type: str = "Bearer"
    expires_in: int = Field(description="Seconds the access token is good for.")
    tenant_id: UUID
    tenant_slug: str
    user_id: UUID
    session_id: UUID


class RefreshRequest(Request):
    model_config = examples({"refresh_token": "hfr_8Qm2xv0bF3kYt6Zr1uJw5nLpAeDcGiHo7sTqVyKXMfE"})

    refresh_token: SecretStr = Field(max_length=200)


class ChangePasswordRequest(Request):
    model_config = examples(
        {
            "current_password": "correct horse battery staple",
            "new_password": "seven quiet otters at noon",
        }
    )

    current_password: SecretStr = Field(max_length=200)
    new_password: SecretStr = Field(max_length=200)


class ResetRequest(Request):
    model_config = examples({"email": "ada@example.org", "tenant": "acme"})

    email: EmailStr
    tenant: Slug | None = None


class SetPasswordRequest(Request):
    model_config = examples(
        {
            "link": "https://desk.example.org/password#AZjFwfeifD6fe2odLDtKWQ.6vJ3c1s",
            "password": "seven quiet otters at noon",
        }
    )

    link: SecretStr = Field(max_length=1000, description="The link, or what follows its #.")
    password: SecretStr = Field(max_length=200)


class Session(Shape):
    id: UUID
    user_agent: str
    ip: str
    created_at: datetime
    used_at: datetime
    expires_at: datetime
    current: bool


class Me(Shape):
    """The caller, as every check sees them."""

    kind: str
    id: UUID | None
    role: Role | None
    tenant_id: UUID
    tenant_slug: str
    team_ids: list[UUID]
    permissions: dict[str, Scope]
    auth_method: str
    session_id: UUID | None


def _tokens(signed: SignedIn) -> Tokens:
    return Tokens.model_validate(signed)


@router.post("/login", summary="Sign in", responses=also(401))
@without_key
async def login(
    body: LoginRequest,
    request: HttpRequest,
    served: Served,
    origin: From,
    user_agent: UserAgent = "",
) -> Tokens:
    """401 `wrong_credentials` whether the address or the password is wrong.

    Takes no `Idempotency-Key`: tokens are kept nowhere, so signing in again makes a new session.
    """
    await _count(request, served, origin, body.email, body.tenant)
    return _tokens(
        await served.auth.login(
            email=body.email,
            password=body.password.get_secret_value(),
            tenant=body.tenant,
            user_agent=user_agent,
            origin=origin,
        )
    )


@router.post("/refresh", summary="Renew the tokens of a session", responses=also(401))
@without_key
async def refresh(body: RefreshRequest, served: Served, origin: From) -> Tokens:
    """A refresh token works once. Used twice, the session ends: somebody has a copy.

    Takes no `Idempotency-Key`: tokens are kept nowhere. Where the answer was lost, sign in again.
    """
    return _tokens(await served.auth.refresh(body.refresh_token.get_secret_value(), origin=origin))


@router.post("/logout", status_code=204, summary="End this session", responses=also(403))
async def logout(caller: Caller, served: Served, work: Tx, origin: From) -> None:
    session = _signed_in(caller)
    await served.auth.end_session(work, session, caller=caller, origin=origin, reason="logout")


@router.get("/me", summary="Who am I, and what may I do?")
async def me(caller: Caller) -> Me:
    return Me(
        kind=caller.kind,
        id=caller.id,
        role=caller.role,
        tenant_id=caller.tenant_id,
        tenant_slug=caller.tenant_slug,
        team_ids=sorted(caller.team_ids),
        permissions={p.value: s for p, s in caller.grants.items()},
        auth_method=caller.auth_method,
        session_id=caller.session_id,
    )


@router.get("/sessions", summary="My sessions", responses=also(403))
async def sessions(caller: Caller, served: Served, work: Tx) -> Page[Session]:
    person = _person(caller)
    rows = await served.auth.sessions(work, person)
    return Page(items=[Session(**row, current=row["id"] == caller.session_id) for row in rows])


@router.delete(
    "/sessions/{session_id}", status_code=204, summary="End a session", responses=also(403)
)
async def end_session(
    session_id: UUID, caller: Caller, served: Served, work: Tx, origin: From
) -> None:
    """One's own; who manages people may end anybody's."""
    _person(caller)
    await served.auth.end_session(work, session_id, caller=caller, origin=origin, reason="ended")


@router.post("/password", status_code=204, summary="Change my password", responses=also(403))
async def change_password(
    body: ChangePasswordRequest,
    request: HttpRequest,
    caller: Caller,
    served: Served,
    work: Tx,
    origin: From,
) -> None:
    """My other sessions end."""
    _signed_in(caller)
    await count(request, "login", f"password:{caller.id}")
    await served.auth.change_password(
        work,
        caller,
        current=body.current_password.get_secret_value(),
        new=body.new_password.get_secret_value(),
        origin=origin,
    )


@router.post("/password-reset", status_code=202, summary="Ask for a link to set a password")
async def request_reset(
    body: ResetRequest,
    request: HttpRequest,
    served: Served,
    origin: From,
) -> dict[str, str]:
    """Answers the same, as fast, whether anybody has that address.

    Under one `Idempotency-Key` an account gets one mail.
    """
    key = idempotency_key(request)
    once = None if key is None else f"{sender(request)}:{key}"
    await _count(request, served, origin, body.email, body.tenant, what="reset:")
    await served.auth.send_reset(email=body.email, tenant=body.tenant, once=once)
    return {"detail": "If somebody here has that address, a link is on its way."}


async def _link_work(body: SetPasswordRequest, served: Served) -> AsyncIterator[Work]:
    tenant_id, _ = served.auth.link_of(body.link.get_secret_value())
    async with served.database.transaction(tenant_id) as work:
        yield work


LinkTx = Annotated[Work, Depends(_link_work, scope="function")]


@router.post("/password-link", status_code=204, summary="Set a password with a link")
async def set_password(
    body: SetPasswordRequest, served: Served, work: LinkTx, origin: From
) -> None:
    """Works once; all sessions of that person end."""
    _, link_id = served.auth.link_of(body.link.get_secret_value())
    await served.auth.accept_link(
        work, link_id, password=body.password.get_secret_value(), origin=origin
    )


async def _count(
    request: HttpRequest,
    served: Resources,
    origin: Origin,
    email: str,
    tenant: str | None,
    *,
    what: str = "",
) -> None:
    """Guesses from one address, and those at one account from everywhere.

    Who guesses from everywhere must not keep the owner out: an address that signed in to the
    account lately is held to the first limit alone. It is asked for only when it matters.
    """
    account = email.lower()
    await count(request, "login", f"{what}{origin.ip}:{account}")
    here = request.state.standing
    try:
        await count(request, "account", f"{what}{account}")
    except TooMany:
        if not await served.auth.is_familiar(email=email, tenant=tenant, ip=origin.ip):
            raise
        request.state.standing = here


def _person(caller: Principal) -> UUID:
    if caller.kind != "user" or caller.id is None:
        raise Forbidden("This is for people, not for keys.")
    return caller.id


def _signed_in(caller: Principal) -> UUID:
    if caller.session_id is None:
        raise Forbidden("This needs a sign-in, not a token.")
    return caller.session_id
