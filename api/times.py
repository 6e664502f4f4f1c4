"""How long things take, whether anybody promised it or not."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field

from api.deps import Tx
from api.promises import Overseer, Period, shown
from api.routing import Route
from api.shapes import Shape
from domain.states import Channel, Priority
from services import times
from services.tickets import clock
from services.times import DEFINITIONS, By, Chosen

router = APIRouter(prefix="/api/v1/reports/times", tags=["reports"], route_class=Route)

Measure = Literal[
    "first_reply", "next_reply", "first_resolution", "resolution", "requester_wait", "agent_work"
]


class TimesFilter(Period):
    """Which tickets: each filter may be repeated and then takes any of its values."""

    metric: list[Measure] = Field(default_factory=list, max_length=20)
    priority: list[Priority] = Field(default_factory=list)
    channel: list[Channel] = Field(default_factory=list)
    team: list[UUID] = Field(default_factory=list, max_length=100)
    customer: list[UUID] = Field(default_factory=list, max_length=100)
    organization: list[UUID] = Field(default_factory=list, max_length=100)
    by: By = By.METRIC


class TimeOut(Shape):
    """One measure in one group, in minutes; `key` is null where a ticket has none of it."""

    metric: Measure
    key: str | None
    name: str | None
    count: int
    mean: float
    p50: float
    p90: float
    p95: float


class TimesOut(Shape):
    since: datetime
    until: datetime
    by: By
    times: list[TimeOut]
    definitions: dict[str, str]


_TIMES: dict[str, object] = {
    "since": "2026-04-04T00:00:00Z", "until": "2026-05-04T00:00:00Z", "by": "team",
    "times": [
        {"metric": "first_reply", "key": "0198c5c2-1c5f-7b21-9d3e-5a6f7b8c9d0e",
         "name": "First line", "count": 318, "mean": 61.4, "p50": 34.0, "p90": 171.5, "p95": 238.0}
    ],
    "definitions": {"first_reply": DEFINITIONS["first_reply"]},
}  # fmt: skip


@router.get("", summary="How long things take", responses=shown(_TIMES))
async def get_times(caller: Overseer, work: Tx, asked: Annotated[TimesFilter, Query()]) -> TimesOut:
    """First and next replies, resolutions, waiting and work, on the wall clock; no policy is
    needed. What was promised, and kept, is in `reports/sla`."""
    since, until = asked.times(clock())
    chosen = Chosen(
        since=since,
        until=until,
        metric=tuple(asked.metric),
        priority=tuple(asked.priority),
        channel=tuple(asked.channel),
        team=tuple(asked.team),
        customer=tuple(asked.customer),
        organization=tuple(asked.organization),
    )
    rows = await times.times(work, chosen, by=asked.by)
    return TimesOut(
        since=since,
        until=until,
        by=asked.by,
        times=[TimeOut.model_validate(row) for row in rows],
        definitions=dict(DEFINITIONS),
    )


__all__ = ["router"]
