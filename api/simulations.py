"""Drafts of policies and calendars, tried on the past before anybody is promised anything."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field, model_validator

from api.cursors import Cursor, Limit, after_id, cursor_of
from api.deps import Allowed, From, Tx
from api.floors import StaffingOut, share, staffing_out
from api.promises import JSON, shown
from api.routing import Route
from api.shapes import Instant, Page, Request, Shape, examples
from domain.calendars import Calendar, Zone
from domain.crew import MOST_CHANGES, TeamChange
from domain.permissions import Permission, Principal
from domain.sla import Longest, Metric, OwnClock, Reopening, Target
from domain.sla.conditions import Bounded
from domain.states import Category, Priority
from models.session import Row
from services import simulations
from services.cursors import BadCursor, pack, unpack
from services.drafts import MOST_DRAFTS
from services.tickets import clock

router = APIRouter(prefix="/api/v1/sla/simulations", tags=["sla"], route_class=Route)

Manager = Annotated[Principal, Depends(Allowed(Permission.SLA_MANAGE))]
_MONTH = timedelta(days=30)


Place = Annotated[int, Field(ge=1, le=1000, description="In the order; the first is 1.")]


class PolicyDraft(Request):
    """A policy in force, with what is given here in its place; what is left out stays.

    With `conditions`, `position` or `active`, tickets choose anew where this policy has a say;
    without, each keeps the policies that it had.
    """

    id: UUID
    position: Place | None = None
    active: bool | None = None
    calendar_id: UUID | None = None
    targets: dict[Metric, dict[Priority, Target]] | None = None
    pause_in: dict[Metric, frozenset[Category]] | None = None
    pause_when: dict[Metric, Bounded] | None = None
    max_pause: dict[Metric, Longest] | None = None
    reopening: dict[Metric, Reopening] | None = None
    conditions: Bounded | None = None


class NewPolicy(Request):
    """A policy that nobody has stored, as if it had been in force all along.

    It stands at `position` among those in force, or behind them; `calendar` gives it hours of its
    own.
    """

    name: str = Field(default="New", min_length=1, max_length=100)
    position: Place | None = None
    calendar_id: UUID | None = None
    calendar: Calendar | None = None
    targets: dict[Metric, dict[Priority, Target]]
    pause_in: dict[Metric, frozenset[Category]] | None = None
    pause_when: dict[Metric, Bounded] | None = None
    max_pause: dict[Metric, Longest] | None = None
    clocks: Annotated[list[OwnClock], Field(max_length=20)] | None = None
    reopening: dict[Metric, Reopening] | None = None
    conditions: Bounded | None = None

    @model_validator(mode="after")
    def _has_hours(self) -> "NewPolicy":
        if (self.calendar_id is None) == (self.calendar is None):
            raise ValueError("name a calendar, or say the hours")
        return self


class CalendarDraft(Request):
    """Hours in the place of every version of a calendar."""

    id: UUID
    body: Calendar


Drafted = TypeVar("Drafted", bound=Request)
Drafts = Annotated[list[Drafted], Field(max_length=MOST_DRAFTS)]


class SimulationIn(Request):
    """Without a draft, the past is lived through as it was: a check that nothing differs."""

    model_config = examples(
        {
            "months": 3,
            "policy": {
                "id": "0198c5c4-8f90-71a2-b3c4-c5d6e7f8091a",
                "targets": {"first_reply": {"normal": "PT2H", "urgent": "PT30M"}},
            },
            "zone": "Europe/Berlin",
        },
        {
            "since": "2026-01-01T00:00:00Z",
            "until": "2026-04-01T00:00:00Z",
            "calendar": {
                "id": "0198c5c4-7e8f-7091-a2b3-b4c5d6e7f809",
                "body": {"timezone": "Europe/Berlin", "weekly": {"mon": [["08:00", "18:00"]]}},
            },
        },
        {
            "months": 6,
            "new_policies": [
                {
                    "name": "Gold",
                    "position": 1,
                    "calendar_id": "0198c5c4-7e8f-7091-a2b3-b4c5d6e7f809",
                    "conditions": {"field": "tags", "op": "has", "value": "gold"},
                    "targets": {"first_reply": {"normal": "PT1H", "urgent": "PT15M"}},
                }
            ],
            "policies": [{"id": "0198c5c4-8f90-71a2-b3c4-c5d6e7f8091a", "position": 2}],
            "calendars": [
                {
                    "id": "0198c5c4-7e8f-7091-a2b3-b4c5d6e7f809",
                    "body": {"timezone": "Europe/Berlin", "weekly": {"sat": [["09:00", "13:00"]]}},
                }
            ],
        },
        {
            "months": 3,
            "staffing": [
                {
                    "team_id": "0198c5c2-1c5f-7b21-9d3e-5a6f7b8c9d0e",
                    "agents": 2,
                    "without": [],
                    "calendar_id": "0198c5c4-7e8f-7091-a2b3-b4c5d6e7f809",
                    "capacity": 5,
                    "skills": ["language:fr"],
                    "whom": "added",
                }
            ],
            "zone": "Europe/Berlin",
        },
    )

    months: int | None = Field(default=None, ge=1, le=36, description="The last so many.")
    since: Instant | None = None
    until: Instant | None = None
    policy: PolicyDraft | None = None
    calendar: CalendarDraft | None = None
    policies: Drafts[PolicyDraft] = Field(default=[], description="Several at once.")
    new_policies: Drafts[NewPolicy] = Field(default=[])
    calendars: Drafts[CalendarDraft] = Field(default=[])
    staffing: Annotated[list[TeamChange], Field(max_length=MOST_CHANGES)] | None = Field(
        default=None,
        description="Other people instead of other promises; an empty list is today's.",
    )
    zone: Zone = Field(default="UTC", description="In which hours of the week are told.")

    @model_validator(mode="after")
    def _has_one_time(self) -> "SimulationIn":
        drafts = {"policy", "calendar", "policies", "new_policies", "calendars"}
        if self.staffing is not None and drafts & self.model_fields_set:
            raise ValueError("try another staffing by itself, or drafts by themselves")
        if self.months is not None and self.since is not None:
            raise ValueError("say how many months, or from when")
        return self

    def times(self, now: datetime) -> tuple[datetime, datetime]:
        until = self.until or now
        return self.since or until - (self.months or 3) * _MONTH, until


class Verdicts(Shape):
    """`before` as it was, `after` under the draft; null where nothing was judged."""

    key: str
    met_before: int
    missed_before: int
    attainment_before: float | None
    met_after: int
    missed_after: int
    attainment_after: float | None


class ResultOut(Shape):
    """What was found so far. `different` counts cycles in which anything at all differs.

    `hours` are of the week, from Monday 0:00 on, by when cycles began.
    """

    tickets: int
    cycles: int
    different: int
    flipped: int
    overdue_before: int
    overdue_after: int
    metrics: list[Verdicts]
    teams: list[Verdicts]
    hours: list[Verdicts]


class SimulationOut(Shape):
    id: UUID
    created_by: UUID | None
    request: dict[str, object]
    state: Literal["queued", "running", "paused", "finished", "cancelled", "failed"]
    since: datetime
    until: datetime
    total: int
    done: int
    result: ResultOut | None = None
    staffing: StaffingOut | None = Field(
        default=None, description="In the place of `result` where another staffing is tried."
    )
    error: str | None = None
    created_at: datetime
    finished_at: datetime | None = None


class FlipOut(Shape):
    """A cycle that would have been judged otherwise; `none` where there is no verdict in time."""

    number: int
    metric: str
    cycle: int
    before: Literal["met", "missed", "none"]
    after: Literal["met", "missed", "none"]
    due_before: datetime | None
    due_after: datetime | None
    team_id: UUID | None
    hour: int


_VERDICTS: dict[str, object] = {
    "key": "first_reply", "met_before": 950, "missed_before": 50, "attainment_before": 0.95,
    "met_after": 880, "missed_after": 120, "attainment_after": 0.88,
}  # fmt: skip
_SIMULATION: dict[str, object] = {
    "id": "0198c5c9-1a2b-7c3d-8e4f-5a6b7c8d9e0f",
    "created_by": "0198c5c2-2d60-7c32-ae4f-6b708c9dae1f",
    "request": {
        "policy": {
            "id": "0198c5c4-8f90-71a2-b3c4-c5d6e7f8091a",
            "targets": {"first_reply": {"normal": "PT2H"}},
        },
        "zone": "Europe/Berlin",
    },
    "state": "finished", "since": "2026-02-03T10:12:00Z", "until": "2026-05-04T10:12:00Z",
    "total": 1000, "done": 1000,
    "result": {
        "tickets": 1000, "cycles": 1000, "different": 1000, "flipped": 70, "overdue_before": 2,
        "overdue_after": 5, "metrics": [_VERDICTS], "teams": [{**_VERDICTS, "key": "none"}],
        "hours": [{**_VERDICTS, "key": "34"}],
    },
    "error": None, "created_at": "2026-05-04T10:12:00Z", "finished_at": "2026-05-04T10:12:07Z",
}  # fmt: skip
_FLIP: dict[str, object] = {
    "number": 1042, "metric": "first_reply", "cycle": 1, "before": "met", "after": "missed",
    "due_before": "2026-05-04T12:00:00Z", "due_after": "2026-05-04T10:00:00Z",
    "team_id": "0198c5c2-1c5f-7b21-9d3e-5a6f7b8c9d0e", "hour": 8,
}  # fmt: skip
_QUEUED: dict[int | str, dict[str, object]] = {
    202: {
        "content": {
            JSON: {"example": {**_SIMULATION, "state": "queued", "done": 0, "result": None,
                               "finished_at": None}}
        }
    }
}  # fmt: skip


@router.post("", status_code=202, summary="Try a draft on the past", responses=_QUEUED)
async def start_simulation(
    asked: SimulationIn, caller: Manager, work: Tx, origin: From
) -> SimulationOut:
    """Queues a simulation: nobody is told anything, and no ticket changes."""
    now = clock()
    since, until = asked.times(now)
    request = asked.model_dump(
        mode="json",
        exclude_unset=True,
        include={
            "policy", "calendar", "policies", "new_policies", "calendars", "staffing", "zone"
        },
    )  # fmt: skip
    return _shown(
        await simulations.queue(
            work, caller=caller, request=request, since=since, until=until, origin=origin, now=now
        )
    )


@router.get("", summary="Simulations", responses=shown({"items": [_SIMULATION], "next": None}))
async def list_simulations(
    caller: Manager, work: Tx, limit: Limit = 50, cursor: Cursor = None
) -> Page[SimulationOut]:
    """What was tried, newest first."""
    rows = await simulations.simulations(work, before=after_id(cursor), limit=limit + 1)
    more = cursor_of(rows[limit - 1]["id"]) if len(rows) > limit else None
    return Page(items=[_shown(row) for row in rows[:limit]], next=more)


@router.get("/{simulation_id}", summary="One simulation", responses=shown(_SIMULATION))
async def get_simulation(simulation_id: UUID, caller: Manager, work: Tx) -> SimulationOut:
    """How far it is, and what it has found so far."""
    return _shown(await simulations.simulation(work, simulation_id))


@router.get(
    "/{simulation_id}/flips",
    summary="What would have been otherwise",
    responses=shown({"items": [_FLIP], "next": None}),
)
async def list_flips(
    simulation_id: UUID,
    caller: Manager,
    work: Tx,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(max_length=400)] = None,
) -> Page[FlipOut]:
    """Each cycle whose verdict would have been another, by ticket."""
    rows = await simulations.flips(work, simulation_id, after=_after(cursor), limit=limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=[FlipOut.model_validate(row) for row in rows[:limit]],
        next=pack([last["number"], last["metric"], last["cycle"]]) if last else None,
    )


@router.post("/{simulation_id}/pause", summary="Pause it", responses=shown(_SIMULATION))
async def pause_simulation(
    simulation_id: UUID, caller: Manager, work: Tx, origin: From
) -> SimulationOut:
    """Stops it after its present chunk; it can be resumed."""
    return _shown(
        await simulations.steer(
            work, simulation_id, "pause", caller=caller, origin=origin, now=clock()
        )
    )


@router.post("/{simulation_id}/resume", summary="Let it go on", responses=shown(_SIMULATION))
async def resume_simulation(
    simulation_id: UUID, caller: Manager, work: Tx, origin: From
) -> SimulationOut:
    """Goes on where it was paused."""
    return _shown(
        await simulations.steer(
            work, simulation_id, "resume", caller=caller, origin=origin, now=clock()
        )
    )


@router.post("/{simulation_id}/cancel", summary="Cancel it", responses=shown(_SIMULATION))
async def cancel_simulation(
    simulation_id: UUID, caller: Manager, work: Tx, origin: From
) -> SimulationOut:
    """Ends it; what it has found so far stays."""
    return _shown(
        await simulations.steer(
            work, simulation_id, "cancel", caller=caller, origin=origin, now=clock()
        )
    )


def _after(cursor: str | None) -> tuple[int, str, int]:
    if cursor is None:
        return (0, "", 0)
    number, metric, cycle = unpack(cursor, 3)
    if not (isinstance(number, int) and isinstance(metric, str) and isinstance(cycle, int)):
        raise BadCursor
    if abs(number) >= 2**63 or abs(cycle) >= 2**31 or "\0" in metric:
        raise BadCursor
    return number, metric, cycle


def _shown(row: Row) -> SimulationOut:
    tally = row["tally"]
    result = None
    if "staffing" in row["request"]:
        said = staffing_out(tally) if tally else None
        return SimulationOut.model_validate({**row, "result": None, "staffing": said})
    if tally:
        listed = {
            name: sorted((_verdicts(key, counts) for key, counts in tally[name].items()), key=_by)
            for name in ("metrics", "teams", "hours")
        }
        result = ResultOut.model_validate({**tally, **listed})
    return SimulationOut.model_validate({**row, "result": result})


def _by(found: Verdicts) -> tuple[int, str]:
    return (int(found.key), "") if found.key.isdigit() else (0, found.key)


def _verdicts(key: str, counts: list[int]) -> Verdicts:
    met, missed, met_after, missed_after = counts
    return Verdicts(
        key=key,
        met_before=met,
        missed_before=missed,
        attainment_before=share(met, missed),
        met_after=met_after,
        missed_after=missed_after,
        attainment_after=share(met_after, missed_after),
    )
