"""Workflows that steps of policies may start, and what became of each start."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api.cursors import Cursor, Limit, after_id, cursor_of
from api.deps import Allowed, Tx
from api.routing import Route
from api.shapes import Page, Shape
from domain.permissions import Permission, Principal
from domain.starting import SHIPPED
from services import starting

router = APIRouter(prefix="/api/v1/step-workflows", tags=["sla"], route_class=Route)

Manager = Annotated[Principal, Depends(Allowed(Permission.SLA_MANAGE))]


class StepWorkflow(Shape):
    """A name that a step of a policy may start. An operator registers them."""

    name: str
    type: str = Field(description="The workflow's type, as its worker knows it.")
    queue: str = Field(description="The task queue on which a worker has to wait for it.")
    about: str
    ships: bool = Field(description="Comes with Holdfast; the others are the operator's.")


class StepWorkflows(Shape):
    items: list[StepWorkflow]


class Start(Shape):
    """One workflow that a step has started, or has tried to."""

    id: UUID
    name: str
    number: int = Field(description="The ticket.")
    seq: int | None = Field(description="The step, in the ticket's timeline.")
    state: Literal["queued", "sending", "sent", "failed", "unknown", "cancelled"]
    attempts: int
    error: str | None
    workflow_id: str = Field(description="What Temporal calls it: the same for every attempt.")
    queue: str | None
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None = Field(description="When Temporal took it.")


@router.get("", summary="What steps may start")
async def list_step_workflows(caller: Manager, work: Tx) -> StepWorkflows:
    return StepWorkflows(
        items=[
            StepWorkflow(
                name=one.name,
                type=one.type,
                queue=one.queue,
                about=one.about,
                ships=one.name in SHIPPED,
            )
            for one in await starting.offered(work)
        ]
    )


@router.get("/starts", summary="What steps have started")
async def list_starts(
    caller: Manager,
    work: Tx,
    name: Annotated[str | None, Query(max_length=100, description="Of this workflow.")] = None,
    ticket: Annotated[int | None, Query(ge=1, description="Of this ticket.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[Start]:
    """The newest first."""
    rows = await starting.starts(
        work, name=name, number=ticket, after=after_id(cursor), limit=limit + 1
    )
    return Page(
        items=[Start(**row) for row in rows[:limit]],
        next=cursor_of(rows[limit - 1]["id"]) if len(rows) > limit else None,
    )
