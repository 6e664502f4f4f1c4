"""Whom escalations reach: the queue of what people have escalated, and who is on call."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from api.cursors import Cursor, Limit
from api.deps import Allowed, From, Served, Tx
from api.editing import record
from api.routing import Route
from api.shapes import Page, Request, Shape, examples
from api.tickets.shapes import TicketOut, ticket_out
from domain.errors import Invalid
from domain.permissions import Permission, Principal
from models import ledger
from models.session import Row
from services import timing

router = APIRouter(prefix="/api/v1", tags=["sla"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.TICKETS_VIEW))]
Manager = Annotated[Principal, Depends(Allowed(Permission.SLA_MANAGE))]


class EscalationItem(Shape):
    """A ticket that somebody has escalated and nobody handed back."""

    level: int = Field(description="How often it was escalated.")
    reason: str
    by: UUID | None
    by_name: str | None
    at: datetime
    ticket: TicketOut


class OnCallIn(Request):
    model_config = examples({"user_ids": ["0198c5c1-1d2f-7b31-9e4a-0a1b2c3d4e5f"]})

    user_ids: Annotated[list[UUID], Field(max_length=100)]


class OnCall(Shape):
    """Who is woken now by steps that notify `on_call`; those who lead, where it is nobody."""

    team_id: UUID
    user_ids: list[UUID]


@router.get("/escalations", summary="Open escalations")
async def list_escalations(
    caller: Viewer, work: Tx, served: Served, limit: Limit = 50, cursor: Cursor = None
) -> Page[EscalationItem]:
    """The newest first. `hand-back` ends one; so does closing its ticket."""
    rows = await timing.escalated(work, caller, before=_after(cursor), limit=limit + 1)
    desk = await served.desks.current(work)
    items = []
    for row in rows[:limit]:
        ticket = ticket_out(ledger.to_ticket(row), desk)
        raised = ticket.escalation
        assert raised is not None
        asked_by = desk.agents.get(raised.by) if raised.by else None
        items.append(
            EscalationItem(
                level=raised.level,
                reason=raised.reason,
                by=raised.by,
                by_name=asked_by.name if asked_by else None,
                at=row["escalated_at"],
                ticket=ticket,
            )
        )
    return Page(items=items, next=_cursor(rows[limit - 1]) if len(rows) > limit else None)


def _cursor(row: Row) -> str:
    said = f"{row['escalated_at'].isoformat()} {row['id'].hex}"
    return urlsafe_b64encode(said.encode()).decode().rstrip("=")


def _after(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    try:
        at, _, last = urlsafe_b64decode(cursor + "==").decode().partition(" ")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError(at)
        return moment, UUID(last)
    except ValueError as error:
        raise Invalid(
            "This cursor is not one of ours.", fields={"query/cursor": "is not a cursor"}
        ) from error


@router.put("/teams/{team_id}/on-call", summary="Say who is on call")
async def set_on_call(
    team_id: UUID, body: OnCallIn, caller: Manager, work: Tx, origin: From
) -> OnCall:
    """These members of the team from now on, and nobody else."""
    changes = await timing.set_on_call(work, team_id, body.user_ids)
    if changes:
        await record(
            work, caller, origin, "team.on_call_changed", "team", team_id, {"changes": changes}
        )
    return OnCall(team_id=team_id, user_ids=sorted(set(body.user_ids)))
