"""Proposals to treat many similar tickets as one problem, over HTTP."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api.deps import Allowed, EventKey, From, Served, Tx
from api.editing import record
from api.routing import Route
from api.shapes import Shape
from domain.permissions import Permission, Principal
from services import bursts
from services.tickets import clock

router = APIRouter(prefix="/api/v1/bursts", tags=["suggestions"], route_class=Route)

Manager = Annotated[Principal, Depends(Allowed(Permission.BURSTS_MANAGE))]
State = Literal["open", "accepted", "dismissed"]


class BurstOut(Shape):
    id: UUID
    state: State
    title: str = Field(description="The subject that says most of what they share.")
    terms: list[str] = Field(description="The words that they share, the loudest first.")
    numbers: list[int] = Field(description="The tickets.")
    first_at: datetime
    last_at: datetime
    created_at: datetime
    decided_at: datetime | None
    decided_by_id: UUID | None
    problem_number: int | None = Field(description="The ticket that was made of it.")


class BurstsOut(Shape):
    items: list[BurstOut]


@router.get("", summary="Bursts of similar tickets")
async def list_bursts(
    caller: Manager,
    work: Tx,
    state: Annotated[State | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> BurstsOut:
    """The newest first. They are looked for every two minutes."""
    rows = await bursts.proposals(work, state=state, limit=limit)
    return BurstsOut(items=[BurstOut(**row) for row in rows])


@router.get("/{burst_id}", summary="One burst")
async def get_burst(burst_id: UUID, caller: Manager, work: Tx) -> BurstOut:
    return BurstOut(**await bursts.proposal(work, burst_id))


@router.post("/{burst_id}/accept", summary="Make a problem ticket of a burst")
async def accept_burst(
    burst_id: UUID, caller: Manager, work: Tx, served: Served, origin: From, key: EventKey
) -> BurstOut:
    """The tickets are tied to it; they stay as they are. 409 `burst_decided` where somebody was
    faster."""
    desk = await served.desks.current(work)
    row = await bursts.accept(
        work, served.tickets, caller, desk, burst_id, key=key, origin=origin, now=clock()
    )
    said: dict[str, object] = {"problem": row["problem_number"], "tickets": row["numbers"]}
    await record(work, caller, origin, "burst.accepted", "burst", burst_id, said)
    return BurstOut(**row)


@router.post("/{burst_id}/dismiss", summary="Say that a burst is nothing")
async def dismiss_burst(burst_id: UUID, caller: Manager, work: Tx, origin: From) -> BurstOut:
    row = await bursts.dismiss(work, caller, burst_id, now=clock())
    await record(work, caller, origin, "burst.dismissed", "burst", burst_id, {})
    return BurstOut(**row)
