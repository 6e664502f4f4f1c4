"""Reading the audit log, and checking that nobody changed it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api.cursors import Cursor, Limit, after_id, cursor_of
from api.deps import Allowed, Tx
from api.routing import Route
from api.shapes import Instant, Page, Shape
from domain.permissions import Permission, Principal
from services import audit
from services.tickets import clock

router = APIRouter(prefix="/api/v1/audit", tags=["audit"], route_class=Route)

Auditor = Annotated[Principal, Depends(Allowed(Permission.AUDIT_VIEW))]


class Entry(Shape):
    id: UUID
    at: datetime
    actor_kind: str
    actor_id: UUID | None
    actor_name: str | None
    action: str
    target_kind: str
    target_id: str | None
    data: dict[str, object]
    ip: str | None
    auth_method: str | None
    request_id: str | None
    position: int | None = Field(description="Its place in the chain; null until it is sealed.")


class Verification(Shape):
    intact: bool
    sealed: int
    unsealed: int
    oldest_unsealed_seconds: float | None
    first_bad_position: int | None


@router.get("", summary="Who did what, newest first")
async def list_entries(
    caller: Auditor,
    work: Tx,
    limit: Limit = 50,
    cursor: Cursor = None,
    action: Annotated[str | None, Query(max_length=100)] = None,
    actor_id: UUID | None = None,
    target_kind: Annotated[str | None, Query(max_length=50)] = None,
    target_id: Annotated[str | None, Query(max_length=100)] = None,
    since: Instant | None = None,
    until: Instant | None = None,
) -> Page[Entry]:
    rows = await audit.entries(
        work,
        limit=limit + 1,
        before=after_id(cursor),
        action=action,
        actor_id=actor_id,
        target_kind=target_kind,
        target_id=target_id,
        since=since,
        until=until,
    )
    items = [Entry(**row) for row in rows[:limit]]
    return Page(items=items, next=cursor_of(items[-1].id) if len(rows) > limit else None)


@router.get("/verification", summary="Whether the log is as it was written")
async def verification(caller: Auditor, work: Tx) -> Verification:
    found = await audit.verify(work, now=clock())
    age = found.oldest_unsealed_age
    return Verification(
        intact=found.first_bad_position is None,
        sealed=found.sealed,
        unsealed=found.unsealed,
        oldest_unsealed_seconds=None if age is None else age.total_seconds(),
        first_bad_position=found.first_bad_position,
    )
