"""API tokens: secrets that act for a person, or take customers' submissions."""

import hashlib
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import insert

from domain.errors import Forbidden, Invalid, NotFound
from domain.permissions import Permission, Principal, grants_of
from models.accounts import ApiToken
from models.base import new_id
from models.session import Row, Work
from services import freshness

RATE_CLASSES = ("standard", "high", "unlimited")
RateClass = Literal["standard", "high", "unlimited"]
TokenKind = Literal["personal", "intake"]

FURTHEST = timedelta(days=3660)
SCOPES = frozenset(p.value for p in Permission if p is not Permission.INTAKE)
KINDS_OF_SCOPES = frozenset(scope.split(".")[0] for scope in SCOPES)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token just made. Its secret is told once and kept only as a hash."""

    id: uuid.UUID
    secret: str


def hashed(secret: str) -> bytes:
    """What is stored of a random secret: it has 256 bits, so a plain hash cannot be searched."""
    return hashlib.sha256(secret.encode()).digest()


async def create_token(
    work: Work,
    *,
    kind: TokenKind,
    name: str,
    user_id: uuid.UUID | None,
    now: datetime,
    scopes: frozenset[str] = frozenset(),
    rate_class: RateClass = "standard",
    expires_at: datetime | None = None,
) -> NewToken:
    """A new token. A personal one acts for `user_id`; an intake one for nobody."""
    unknown = sorted(scopes - SCOPES - KINDS_OF_SCOPES)
    if unknown:
        raise Invalid(
            f"There is no scope {unknown[0]!r}. Scopes are named like permissions.",
            fields={"/scopes": f"{unknown[0]} is not one"},
        )
    if expires_at is not None and expires_at <= now:
        raise Invalid("That time has passed.", fields={"/expires_at": "is in the past"})
    if expires_at is not None and expires_at > now + FURTHEST:
        raise Invalid("That is too far away.", fields={"/expires_at": "lies within ten years"})
    if (kind == "personal") != (user_id is not None):
        raise Invalid("A personal token belongs to a person, an intake key to nobody.")
    if kind == "intake" and scopes:
        raise Invalid(
            "An intake key can only submit.", fields={"/scopes": "are for personal tokens"}
        )
    secret = f"hf_{secrets.token_urlsafe(32)}"
    token_id = new_id()
    await work.execute(
        insert(ApiToken).values(
            tenant_id=work.tenant_id,
            id=token_id,
            name=name,
            kind=kind,
            user_id=user_id,
            token_hash=hashed(secret),
            hint=secret[-4:],
            scopes=sorted(scopes),
            rate_class=rate_class,
            created_at=now,
            expires_at=expires_at,
        )
    )
    return NewToken(token_id, secret)


def refuse_wider(caller: Principal, scopes: frozenset[str], wanted: RateClass) -> None:
    """A token may not be used to make a wider one, nor to be served faster than its maker."""
    assert caller.role is not None, "tokens belong to people"
    if not grants_of(caller.role, token_scopes=scopes).keys() <= caller.grants.keys():
        raise Forbidden("A token cannot make one that may more than itself.")
    if RATE_CLASSES.index(wanted) > RATE_CLASSES.index(caller.rate_class):
        raise Forbidden("Only the operator can raise the rate class.")


async def tokens(work: Work, *, user_id: uuid.UUID | None) -> Sequence[Row]:
    """A person's tokens, or with None the tenant's intake keys; newest first."""
    mine = "t.user_id = :user_id" if user_id is not None else "t.kind = 'intake'"
    return await work.rows(
        "select t.id, t.name, t.kind, t.user_id, t.hint, t.scopes, t.rate_class, t.created_at,"
        " t.expires_at, t.revoked_at from api_tokens t"
        f" where t.tenant_id = :tenant and {mine} order by t.id desc limit 500",
        {"tenant": work.tenant_id} | ({"user_id": user_id} if user_id is not None else {}),
    )


async def revoke_token(
    work: Work, token_id: uuid.UUID, *, caller: Principal, now: datetime
) -> None:
    """Ends a token: one's own; an admin's reach is every token. Raises NotFound."""
    found = await work.row(
        "select user_id, revoked_at from api_tokens where tenant_id = :tenant and id = :id"
        " for update",
        {"tenant": work.tenant_id, "id": token_id},
    )
    admin = caller.scope(Permission.SETTINGS_MANAGE) is not None
    if found is None or not (admin or found["user_id"] == caller.id):
        raise NotFound("There is no such token.")
    freshness.changed(work.tenant_id)
    await work.execute(
        "update api_tokens set revoked_at = coalesce(revoked_at, :now)"
        " where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": token_id, "now": now},
    )
