"""API tokens and intake keys."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from api.deps import Allowed, From, Tx
from api.routing import Route, shown_once
from api.shapes import Instant, Page, Request, Shape, examples
from domain.errors import Forbidden
from domain.permissions import Permission, Principal
from services import audit, tokens
from services.tickets import clock
from services.tokens import RateClass, TokenKind

router = APIRouter(prefix="/api/v1/tokens", tags=["tokens"], route_class=Route)

Owner = Annotated[Principal, Depends(Allowed(Permission.TOKENS_MANAGE))]


class Token(Shape):
    id: UUID
    name: str
    kind: TokenKind
    user_id: UUID | None
    hint: str = Field(description="The last four characters of the secret.")
    scopes: list[str]
    rate_class: RateClass
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class TokenRequest(Request):
    model_config = examples(
        {
            "name": "Nightly report",
            "scopes": ["tickets.view"],
            "expires_at": "2027-06-30T00:00:00Z",
        },
        {"name": "Web shop", "kind": "intake"},
    )

    name: Annotated[str, Field(min_length=1, max_length=200)]
    kind: TokenKind = "personal"
    scopes: frozenset[str] = Field(
        default=frozenset(),
        max_length=50,
        description="Permissions, or all of a kind (`tickets`). Empty: all that the owner may.",
    )
    rate_class: RateClass | None = Field(
        default=None, description="No higher than the tenant's; left out, the tenant's."
    )
    expires_at: Instant | None = None


class CreatedToken(Shape):
    id: UUID
    secret: str = Field(description="Shown once, kept only as a hash.")


@router.get("", summary="My tokens, or the tenant's intake keys")
async def list_tokens(caller: Owner, work: Tx, kind: TokenKind = "personal") -> Page[Token]:
    if kind == "intake":
        caller.require(Permission.SETTINGS_MANAGE)
    rows = await tokens.tokens(work, user_id=caller.id if kind == "personal" else None)
    return Page(items=[Token(**row) for row in rows])


@router.post("", status_code=201, summary="Make a token")
@shown_once
async def create_token(body: TokenRequest, caller: Owner, work: Tx, origin: From) -> CreatedToken:
    """An intake key lets a form or shop submit tickets as its customers, and nothing else."""
    if body.kind == "intake":
        caller.require(Permission.SETTINGS_MANAGE)
    if caller.kind != "user":
        raise Forbidden("This is for people, not for keys.")
    rate_class: RateClass = body.rate_class or _rate_class(caller)
    tokens.refuse_wider(caller, body.scopes, rate_class)
    now = clock()
    made = await tokens.create_token(
        work,
        kind=body.kind,
        name=body.name,
        user_id=caller.id if body.kind == "personal" else None,
        scopes=body.scopes,
        rate_class=rate_class,
        expires_at=body.expires_at,
        now=now,
    )
    await audit.record(
        work,
        caller=caller,
        origin=origin,
        action="token.created",
        target_kind="token",
        target_id=made.id,
        data={"kind": body.kind, "name": body.name, "scopes": sorted(body.scopes)},
        now=now,
    )
    return CreatedToken(id=made.id, secret=made.secret)


@router.delete("/{token_id}", status_code=204, summary="Revoke a token")
async def revoke_token(token_id: UUID, caller: Owner, work: Tx, origin: From) -> None:
    """It stops working at once; in other processes of the API within five seconds."""
    now = clock()
    await tokens.revoke_token(work, token_id, caller=caller, now=now)
    await audit.record(
        work,
        caller=caller,
        origin=origin,
        action="token.revoked",
        target_kind="token",
        target_id=token_id,
        now=now,
    )


def _rate_class(caller: Principal) -> RateClass:
    match caller.rate_class:
        case "high":
            return "high"
        case "unlimited":
            return "unlimited"
        case _:
            return "standard"
