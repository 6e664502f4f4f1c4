"""What endpoints ask for: the caller, a transaction, the process's resources."""

import uuid
from collections.abc import AsyncIterator
from typing import Annotated, cast

import structlog
from fastapi import Depends, Request

from api.limits import Limits, Standing
from api.resources import Resources
from domain.errors import Invalid
from domain.permissions import Permission, Principal
from models.session import Work
from services.tickets import Origin

IDEMPOTENCY_HEADER = "Idempotency-Key"


def resources(request: Request) -> Resources:
    """What the process was started with; for code that is handed a request, not dependencies."""
    return cast("Resources", request.app.state.resources)


def limits(request: Request) -> Limits:
    """Counts what is asked too often."""
    return cast("Limits", request.app.state.limits)


async def count(request: Request, rate_class: str, who: str) -> None:
    """Counts a request under one more limit, and raises TooMany when that is one too many.

    The answer's headers speak of the limit that is nearest, so a refusal's of the one that was hit.
    """
    standing = await limits(request).count(rate_class, who)
    if standing is None:
        return
    nearest: Standing | None = getattr(request.state, "standing", None)
    if nearest is None or standing.left < nearest.left:
        request.state.standing = standing
    standing.check()


async def _served(request: Request) -> Resources:
    return resources(request)


Served = Annotated[Resources, Depends(_served)]


async def origin(request: Request) -> Origin:
    """Where the request came from, as the audit log keeps it."""
    state = request.scope["state"]  # as request.state, which takes longer to ask
    return Origin(
        request_id=state.get("request_id"),
        correlation_id=state.get("correlation_id"),
        ip=address(request),
    )


From = Annotated[Origin, Depends(origin)]


def address(request: Request) -> str:
    """The peer's IP address, or what a trusted proxy said it is (uvicorn replaces it)."""
    return request.client.host if request.client else "unknown"


def sender(request: Request) -> str:
    """Whose Idempotency-Keys these are: the caller's, or those of an address."""
    caller: Principal | None = request.scope["state"].get("principal")
    return f"{caller.kind}:{caller.id}" if caller else f"public:{address(request)}"


async def principal(request: Request) -> Principal:
    """Who is asking, found once per request. Raises Unauthenticated."""
    known: Principal | None = request.scope["state"].get("principal")
    if known is None:
        known = await resources(request).auth.principal(request.headers.get("authorization"))
        request.state.principal = known
        structlog.contextvars.bind_contextvars(tenant=known.tenant_slug)
    return known


Caller = Annotated[Principal, Depends(principal)]


class Allowed:
    """A dependency that lets through whoever has a permission; the route table shows it.

    `api.routing.Route` asks the same before it reads the body, so that nobody learns from a
    complaint about a body what they may not ask at all.
    """

    def __init__(self, permission: Permission) -> None:
        self.permission = permission

    async def __call__(self, caller: Caller) -> Principal:
        caller.require(self.permission)
        return caller


async def transaction(request: Request, caller: Caller) -> AsyncIterator[Work]:
    """The caller's tenant's transaction, committed before the response leaves.

    That of a GET can only read.
    """
    async with resources(request).database.transaction(
        caller.tenant_id, reading=request.method == "GET"
    ) as work:
        yield work


Tx = Annotated[Work, Depends(transaction, scope="function")]


def idempotency_key(request: Request) -> str | None:
    """The caller's own name for this request, if they gave one. Raises Invalid."""
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= 200 or not key.isascii() or not key.isprintable():
        raise Invalid(
            "An Idempotency-Key has 1 to 200 printable ASCII characters.",
            fields={f"header/{IDEMPOTENCY_HEADER}": "is empty, too long, or not printable"},
        )
    return key


async def event_key(request: Request) -> str:
    """The key under which this request's event happens once: the caller's own, or a new one."""
    key = idempotency_key(request)
    if key is None:
        return str(uuid.uuid4())
    caller: Principal | None = request.scope["state"].get("principal")
    return f"{caller.id if caller else 'public'}:{key}"


EventKey = Annotated[str, Depends(event_key)]

__all__ = [
    "IDEMPOTENCY_HEADER",
    "Allowed",
    "Caller",
    "EventKey",
    "From",
    "Served",
    "Tx",
    "address",
    "count",
    "event_key",
    "idempotency_key",
    "limits",
    "origin",
    "principal",
    "resources",
    "sender",
    "transaction",
]
