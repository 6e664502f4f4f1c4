"""What an agent should know, in the workspace."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query

from api.cursors import Cursor, Limit, after_id, cursor_of
from api.deps import Allowed, Tx
from api.routing import Route
from api.shapes import Page, Shape
from domain.errors import NotFound
from domain.permissions import Permission, Principal, covers
from models import ledger
from services.tickets import clock

router = APIRouter(prefix="/api/v1/notifications", tags=["notifications"], route_class=Route)

Agent = Annotated[Principal, Depends(Allowed(Permission.TICKETS_VIEW))]


class Notification(Shape):
    """`kind` says what happened; `seq` is the ticket's event that tells of it.

    What an alert tells is about no ticket: its `number` and `seq` are null, `data` has the rest.
    """

    id: UUID
    kind: str
    number: int | None
    subject: str | None
    seq: int | None
    data: dict[str, object]
    created_at: datetime
    read_at: datetime | None


class Notifications(Page[Notification]):
    unread: int


class Marked(Shape):
    marked: int


@router.get("", summary="One's own notifications, newest first")
async def list_notifications(
    caller: Agent,
    work: Tx,
    limit: Limit = 50,
    cursor: Cursor = None,
    unread: Annotated[bool, Query(description="Only those not read yet.")] = False,
) -> Notifications:
    tenant, before = work.tenant_id, after_id(cursor)
    rows, counts = await work.batch(
        (
            "select n.id, n.kind, n.seq, n.data, n.created_at, n.read_at, t.number"
            " from notifications n left join tickets t on t.tenant_id = n.tenant_id"
            " and t.id = n.ticket_id where n.tenant_id = %s and n.user_id = %s"
            " and (%s::uuid is null or n.id < %s) and (not %s or n.read_at is null)"
            " order by n.id desc limit %s",
            (tenant, caller.id, before, before, unread, limit + 1),
        ),
        (
            "select count(*) as many from notifications"
            " where tenant_id = %s and user_id = %s and read_at is null",
            (tenant, caller.id),
        ),
    )
    numbers = {row["number"] for row in rows[:limit] if row["number"] is not None}
    [tickets] = await work.batch(ledger.read_numbers(tenant, numbers))
    # Who lost sight of a ticket keeps what they were told, not its subject.
    scope = caller.require(Permission.TICKETS_VIEW)
    subjects = {
        t.number: t.subject for t in map(ledger.to_ticket, tickets) if covers(scope, caller, t)
    }
    items = [Notification(**row, subject=subjects.get(row["number"])) for row in rows[:limit]]
    return Notifications(
        items=items,
        next=cursor_of(items[-1].id) if len(rows) > limit else None,
        unread=counts[0]["many"],
    )


@router.post("/read", summary="Mark all as read")
async def mark_all(caller: Agent, work: Tx) -> Marked:
    rows = await work.rows(
        "update notifications set read_at = :now where tenant_id = :tenant and user_id = :user"
        " and read_at is null returning id",
        {"now": clock(), "tenant": work.tenant_id, "user": caller.id},
    )
    return Marked(marked=len(rows))


@router.post("/{notification_id}/read", summary="Mark one as read")
async def mark_one(notification_id: UUID, caller: Agent, work: Tx) -> Marked:
    rows = await work.rows(
        "update notifications set read_at = coalesce(read_at, :now) where tenant_id = :tenant"
        " and user_id = :user and id = :id returning id",
        {"now": clock(), "tenant": work.tenant_id, "user": caller.id, "id": notification_id},
    )
    if not rows:
        raise NotFound("There is no such notification.")
    return Marked(marked=1)
