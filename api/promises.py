"""Reports about promises: attainment with its definitions, the cycles behind it, pauses, as CSV."""

import csv
import io
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import Field, field_validator

from api.deps import Allowed, Tx
from api.routing import Route
from api.shapes import Instant, Page, Request, Shape
from domain.calendars import Zone
from domain.permissions import Permission, Principal
from domain.sla import Metric, Outcome
from domain.states import Channel, Priority
from models.session import Row, Work
from services import promises, timing
from services.promises import CAUSES, DEFINITIONS, By, Chosen, Every, Group, Which
from services.tickets import clock

router = APIRouter(prefix="/api/v1/reports/sla", tags=["reports"], route_class=Route)

# Figures about people's work, and customers' subjects in every team.
Overseer = Annotated[Principal, Depends(Allowed(Permission.SLA_MANAGE))]
MOST_LINES = 50_000
USUAL = timedelta(days=30)
JSON = "application/json"


class Period(Request):
    """From (included) to (excluded); the last thirty days, if nothing is said."""

    since: Instant | None = Field(default=None, alias="from")
    until: Instant | None = Field(default=None, alias="to")

    def times(self, now: datetime) -> tuple[datetime, datetime]:
        until = self.until or now
        return self.since or until - USUAL, until


class PausesFilter(Period):
    limit: int = Field(default=50, ge=1, le=200, description="How many people and tickets at most.")


class CycleFilter(Period):
    """Which cycles: each filter may be repeated and then takes any of its values."""

    metric: list[Metric] = Field(default_factory=list, max_length=50)
    priority: list[Priority] = Field(default_factory=list)
    channel: list[Channel] = Field(default_factory=list)
    policy: list[UUID] = Field(default_factory=list, max_length=100)
    team: list[UUID] = Field(default_factory=list, max_length=100)
    customer: list[UUID] = Field(default_factory=list, max_length=100)
    organization: list[UUID] = Field(default_factory=list, max_length=100)
    without: list[str] = Field(
        default_factory=list,
        description="Causes whose breaches are left out: " + ", ".join(CAUSES) + ".",
    )

    @field_validator("without")
    @classmethod
    def _known(cls, causes: list[str]) -> list[str]:
        if unknown := sorted(set(causes) - set(CAUSES)):
            raise ValueError(f"{unknown[0]} is not one of {', '.join(CAUSES)}")
        return causes

    def chosen(self, now: datetime, group: Group | None = None) -> Chosen:
        since, until = self.times(now)
        return Chosen(
            since=since,
            until=until,
            metric=tuple(self.metric),
            priority=tuple(self.priority),
            channel=tuple(self.channel),
            policy=tuple(self.policy),
            team=tuple(self.team),
            customer=tuple(self.customer),
            organization=tuple(self.organization),
            without=tuple(self.without),
            group=group,
        )


class AttainmentFilter(CycleFilter):
    by: By = By.METRIC
    every: Every = Field(default=Every.DAY, description="How long a period is, with `by=period`.")
    zone: Zone = Field(default="UTC", description="Whose midnight begins a period.")


class CyclesFilter(AttainmentFilter):
    which: Which = Which.ENDED
    outcome: list[Outcome] = Field(default_factory=list)
    group: str | None = Field(
        default=None,
        max_length=100,
        description="The `key` of a line of the attainment by the same `by`, `every` and `zone`: "
        "the cycles behind that line alone. `none` for the line whose key is null.",
    )

    def chosen(self, now: datetime, group: Group | None = None) -> Chosen:
        if self.group is not None:
            key = None if self.group == "none" else self.group
            group = Group(by=self.by, key=key, every=self.every, zone=self.zone)
        return super().chosen(now, group)


class CyclesPage(CyclesFilter):
    limit: int = Field(default=50, ge=1, le=200, description="How many at most.")
    cursor: str | None = Field(
        default=None, max_length=400, description="`next` of the page before."
    )


class Percentiles(Shape):
    """In minutes."""

    p50: float
    p90: float
    p95: float


class Figures(Shape):
    """`attainment` is null where nothing was judged."""

    met: int
    missed: int
    cancelled: int
    not_applicable: int
    attainment: float | None
    minutes_over: float
    noticed_late: int
    used: Percentiles | None
    elapsed: Percentiles | None
    open: int
    overdue: int
    paused: int


class GroupOut(Figures):
    """Cycles that have something in common; `key` is null where they have none of it."""

    key: str | None
    name: str | None


class AttainmentOut(Shape):
    """`open`, `overdue` and `paused` are as of `as_of`, and zero by period."""

    since: datetime
    until: datetime
    by: By
    as_of: datetime
    total: Figures
    groups: list[GroupOut]
    definitions: dict[str, str]


class CycleOut(Shape):
    """One cycle; times used and paused in minutes.

    `minutes_late` is how late a breach was noticed, `lateness` says it in words with the reason,
    as far as it is known: `timer 58 min late: no worker was running`.
    """

    number: int
    subject: str
    metric: str
    cycle: int
    outcome: Outcome
    cancelled_because: str | None = None
    policy_id: UUID | None
    policy_version: int | None
    calendar_id: UUID | None
    calendar_version: int | None
    target_minutes: float | None
    target_days: int | None = None
    started_at: datetime
    due_at: datetime | None
    stopped_at: datetime | None
    breached_at: datetime | None
    minutes_over: float
    minutes_late: float | None
    lateness: str | None = None
    late_because: str | None = None
    caused_by: str | None = None
    team_id: UUID | None
    assignee_id: UUID | None
    used_minutes: float | None
    paused_minutes: float | None
    pauses: int
    priority: str | None
    channel: str
    customer_id: UUID
    organization_id: UUID | None


class PauserOut(Shape):
    """Somebody who paused tickets; `brief` pauses were back at work within a quarter of an hour.

    `minutes` are of all of them, those that last until now.
    """

    actor_kind: str
    actor_id: UUID | None
    name: str | None
    pauses: int
    tickets: int
    brief: int
    minutes: float


class PausedTicketOut(Shape):
    """A ticket that was paused more than once."""

    number: int
    subject: str
    pauses: int
    brief: int
    people: int
    minutes: float


class PausingOut(Shape):
    since: datetime
    until: datetime
    people: list[PauserOut]
    tickets: list[PausedTicketOut]


_FIGURES: dict[str, object] = {
    "met": 182, "missed": 9, "cancelled": 4, "not_applicable": 1, "attainment": 0.95288,
    "minutes_over": 412.5, "noticed_late": 1, "used": {"p50": 34.0, "p90": 171.5, "p95": 238.0},
    "elapsed": {"p50": 41.0, "p90": 1210.0, "p95": 2890.0}, "open": 23, "overdue": 2, "paused": 5,
}  # fmt: skip
_CYCLE: dict[str, object] = {
    "number": 1042, "subject": "Router keeps restarting", "metric": "resolution", "cycle": 1,
    "outcome": "missed",
    "policy_id": "0198c5c4-8f90-71a2-b3c4-c5d6e7f8091a", "policy_version": 3,
    "calendar_id": "0198c5c4-7e8f-7091-a2b3-b4c5d6e7f809", "calendar_version": 2,
    "target_minutes": 480.0, "started_at": "2026-05-04T08:00:00Z",
    "due_at": "2026-05-05T08:00:00Z", "stopped_at": "2026-05-05T09:30:00Z",
    "breached_at": "2026-05-05T08:00:00Z", "minutes_over": 90.0, "minutes_late": 0.01,
    "team_id": "0198c5c2-1c5f-7b21-9d3e-5a6f7b8c9d0e",
    "assignee_id": "0198c5c2-2d60-7c32-ae4f-6b708c9dae1f", "used_minutes": 570.0,
    "paused_minutes": 0.0, "pauses": 0, "priority": "normal", "channel": "email",
    "customer_id": "0198c5c3-3e71-7d43-bf50-7c819daebf20",
    "organization_id": "0198c5c3-4f82-7e54-8061-8d92aebfc031",
}  # fmt: skip
_PAUSING: dict[str, object] = {
    "since": "2026-04-04T00:00:00Z", "until": "2026-05-04T00:00:00Z",
    "people": [
        {"actor_kind": "user", "actor_id": "0198c5c2-2d60-7c32-ae4f-6b708c9dae1f",
         "name": "Grace Okafor", "pauses": 31, "tickets": 12, "brief": 9, "minutes": 2210.0}
    ],
    "tickets": [
        {"number": 1042, "subject": "Router keeps restarting", "pauses": 6, "brief": 4,
         "people": 1, "minutes": 75.0}
    ],
}  # fmt: skip
_ATTAINMENT: dict[str, object] = {
    "since": "2026-04-04T00:00:00Z", "until": "2026-05-04T00:00:00Z", "by": "metric",
    "as_of": "2026-05-04T10:12:00Z", "total": _FIGURES,
    "groups": [{"key": "resolution", "name": "resolution", **_FIGURES}],
    "definitions": {"attainment": DEFINITIONS["attainment"]},
}  # fmt: skip


def shown(example: object) -> dict[int | str, dict[str, object]]:
    """An answer's example, for its page in the documentation."""
    return {200: {"content": {JSON: {"example": example}}}}


@router.get("", summary="Attainment", responses=shown(_ATTAINMENT))
async def get_attainment(
    caller: Overseer, work: Tx, asked: Annotated[AttainmentFilter, Query()]
) -> AttainmentOut:
    """What share of promises was kept, by whatever it is broken down by; what is open apart."""
    now = clock()
    chosen = asked.chosen(now)
    groups = await promises.attainment(
        work, chosen, by=asked.by, every=asked.every, zone=asked.zone, now=now
    )
    return AttainmentOut(
        since=chosen.since,
        until=chosen.until,
        by=asked.by,
        as_of=now,
        total=Figures.model_validate(await promises.total(work, chosen, now=now)),
        groups=[GroupOut.model_validate(row) for row in groups],
        definitions=dict(DEFINITIONS),
    )


@router.get(
    "/cycles", summary="The cycles behind it", responses=shown({"items": [_CYCLE], "next": None})
)
async def list_report_cycles(
    caller: Overseer,
    work: Tx,
    asked: Annotated[CyclesPage, Query()],
) -> Page[CycleOut]:
    """Each cycle that an attainment counted, or that is open or overdue now."""
    now = clock()
    rows, following = await promises.cycles(
        work,
        asked.chosen(now),
        which=asked.which,
        outcome=tuple(asked.outcome),
        now=now,
        limit=asked.limit,
        cursor=asked.cursor,
    )
    return Page(items=[_cycle(row, now) for row in rows], next=following)


@router.get(
    "/cycles.csv",
    summary="The cycles, for a spreadsheet",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def export_report_cycles(
    caller: Overseer, work: Tx, asked: Annotated[CyclesFilter, Query()]
) -> StreamingResponse:
    """The same as CSV, at most 50,000 lines, one for each cycle."""
    now = clock()
    lines = await _lines(work, asked, now)
    return StreamingResponse(
        iter([lines]),
        media_type="text/csv; charset=utf-8",
        headers={
            "Content-Disposition": 'attachment; filename="cycles.csv"',
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.get("/pauses", summary="Who pauses what", responses=shown(_PAUSING))
async def get_pausing(
    caller: Overseer,
    work: Tx,
    asked: Annotated[PausesFilter, Query()],
) -> PausingOut:
    """Who stopped clocks how often and how briefly, and the tickets paused most often."""
    now = clock()
    since, until = asked.times(now)
    people, tickets = await promises.pausing(
        work, since=since, until=until, limit=asked.limit, now=now
    )
    return PausingOut(
        since=since,
        until=until,
        people=[PauserOut.model_validate(row) for row in people],
        tickets=[PausedTicketOut.model_validate(row) for row in tickets],
    )


def _cycle(row: Row, now: datetime) -> CycleOut:
    end = row["stopped_at"] or now
    breached = row["breached_at"]
    late, lateness = None, None
    if breached is None and row["stopped_at"] is None and row["due_at"] and row["due_at"] < now:
        breached = row["due_at"]  # passed, and nobody has noticed yet
        lateness = timing.not_told_yet(now - breached)
    elif breached is not None and row["detected_at"] is not None:
        late = max(row["detected_at"] - breached, timedelta())
        lateness = timing.told_late(late, row["late_because"])
    return CycleOut.model_validate(
        {
            **row,
            "breached_at": breached,
            "target_minutes": _minutes(row["target"]),
            "minutes_over": _minutes(max(end - breached, timedelta())) if breached else 0.0,
            "minutes_late": _minutes(late),
            "lateness": lateness,
            "used_minutes": _minutes(row["used"]),
            "paused_minutes": _minutes(row["paused"]),
            "pauses": len(row["pauses"]),
            "customer_id": row["requester_id"],
        }
    )


def _minutes(length: timedelta | None) -> float | None:
    return None if length is None else round(length / timedelta(minutes=1), 3)


async def _lines(work: Work, asked: CyclesFilter, now: datetime) -> str:
    """The whole file: one transaction, page by page."""
    out = io.StringIO()
    columns = list(CycleOut.model_fields)
    writer = csv.writer(out)
    writer.writerow(columns)
    cursor: str | None = None
    written = 0
    while True:
        rows, cursor = await promises.cycles(
            work,
            asked.chosen(now),
            which=asked.which,
            outcome=tuple(asked.outcome),
            now=now,
            limit=1000,
            cursor=cursor,
        )
        for row in rows:
            said = _cycle(row, now).model_dump(mode="json")
            writer.writerow(_cells(said[name] for name in columns))
        written += len(rows)
        if cursor is None or written >= MOST_LINES:
            return out.getvalue()


def _cells(values: Iterator[object]) -> Iterator[object]:
    """What a spreadsheet would take for a formula is made a text: customers write subjects."""
    for value in values:
        is_formula = isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r")
        yield f"'{value}" if is_formula else value
