"""What is promised to a ticket, why, and what comes next; deadlines that people set."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from api.deps import Served, Tx
from api.routing import Route
from api.shapes import Instant, Request, Shape, examples
from api.tickets.acting import Act, Changer, Escalator, Number, Reason, Watcher
from api.tickets.shapes import ClockOut, TicketOut
from domain.permissions import Permission
from domain.sla import Due, Metric, Outcome, Verdict, acknowledged_until
from domain.tickets import Acknowledged, DueSet
from domain.tickets.history import Kind, MetricEvent
from services import measures, timing
from services.tickets import clock

router = APIRouter(prefix="/api/v1/tickets", tags=["sla"], route_class=Route)


class Because(Shape):
    """Whether a condition holds, and why; groups first, their parts below them."""

    holds: bool
    why: str
    depth: int = Field(description="How deep it stands in the condition, from 0.")

    @classmethod
    def of(cls, verdict: Verdict) -> list[Self]:
        """The whole of a verdict, a line each."""
        found: list[Self] = []

        def walk(one: Verdict, depth: int) -> None:
            found.append(cls(holds=one.holds, why=one.why, depth=depth))
            for part in one.parts:
                walk(part, depth + 1)

        walk(verdict, 0)
        return found


class PolicyVerdict(Shape):
    """One active policy, in order: the first that applies is in force."""

    policy_id: UUID
    name: str
    version: int
    applies: bool
    in_force: bool
    because: list[Because]

    @classmethod
    def of(cls, one: timing.Considered) -> Self:
        return cls(
            policy_id=one.policy.id,
            name=one.policy.name,
            version=one.policy.version,
            applies=one.verdict.holds,
            in_force=one.in_force,
            because=Because.of(one.verdict),
        )


class StretchOut(Shape):
    """A piece of a cycle; from the start without a gap, in turns."""

    start: datetime
    end: datetime
    running: bool


class StepOut(Shape):
    """A step that has come in this cycle or one before it."""

    step: str
    at: datetime
    tier: int
    skipped: str | None = Field(description="Why it was not carried out, if it was not.")


class TimedClock(ClockOut):
    """One cycle with all it has to show for itself. Sums are of now, or of its end."""

    used_seconds: int | None = Field(description="Open time that counted.")
    elapsed_seconds: int | None = Field(description="All time since its start.")
    paused_seconds: int | None = Field(description="All time in pauses.")
    max_pause_seconds: int | None = Field(
        default=None, description="How much of its pauses counts. Null: all of it."
    )
    pause_left_seconds: int | None = Field(
        default=None, description="How much more of it would count. Null: as much as there is."
    )
    runs_on_at: datetime | None = Field(
        default=None,
        description="When it runs on, though the ticket still waits: all that counts is used up.",
    )
    remaining_seconds: int | None = Field(
        description="Open time left, below zero once it is used up. Null where none is promised."
    )
    over_seconds: int | None = Field(description="All time between the breach and the end, or now.")
    lateness: str | None = Field(description="How late the breach was noticed, where it was.")
    within_hours: bool | None = Field(
        description="Whether its calendar is open now: outside of it no time is used."
    )
    intervals: list[StretchOut]
    steps: list[StepOut]

    @classmethod
    def of_accounted(cls, one: timing.Accounted, *, now: datetime) -> Self:
        sums: dict[str, Any] = dict.fromkeys(
            ("used_seconds", "elapsed_seconds", "paused_seconds", "remaining_seconds",
             "over_seconds")
        )  # fmt: skip
        told = one.account
        if told is not None:
            sums = {
                "used_seconds": _seconds(told.business),
                "elapsed_seconds": _seconds(told.calendar),
                "paused_seconds": _seconds(told.paused),
                "remaining_seconds": _seconds(told.remaining),
                "over_seconds": _seconds(told.over),
            }
        return cls(
            **cls.values_of(one.clock, now=now),
            **sums,
            lateness=timing.lateness(one.clock, now=now, because=one.late_because),
            max_pause_seconds=_seconds(one.clock.max_pause),
            pause_left_seconds=_seconds(one.clock.pause_left(now)),
            runs_on_at=one.clock.runs_on_at,
            within_hours=one.within_hours,
            intervals=[StretchOut.model_validate(piece) for piece in told.stretches]
            if told
            else [],
            steps=[StepOut.model_validate(done) for done in one.clock.steps_log],
        )


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else int(span.total_seconds())


class UpcomingOut(Shape):
    """Something that will happen by itself if nothing else does."""

    at: datetime
    kind: Literal["breach", "step"]
    metric: str
    cycle: int
    step: str | None
    actions: list[str] = Field(description="What the step does, by kind.")

    @classmethod
    def of(cls, due: Due) -> Self:
        return cls(
            at=due.at,
            kind=due.kind,
            metric=due.metric.value,
            cycle=due.cycle,
            step=due.step.id if due.step else None,
            actions=[action.kind for action in due.step.actions] if due.step else [],
        )


class TimedBy(Shape):
    """The version of the policy that the ticket is timed by."""

    policy_id: UUID
    name: str
    version: int


class TicketSla(Shape):
    """What is promised to a ticket. `timed_by` follows `policies` at the ticket's next event."""

    number: int
    seq: int
    as_of: datetime
    timed_by: TimedBy | None
    policies: list[PolicyVerdict] = Field(description="Each active policy, and why it applies.")
    clocks: list[TimedClock]
    next: list[UpcomingOut]


class MetricEventOut(Shape):
    """One thing that happened to one cycle of a measure. What does not concern it is null."""

    at: datetime
    metric: str
    cycle: int
    kind: Kind
    policy_id: UUID | None = None
    policy_version: int | None = None
    target_seconds: int | None = None
    target_days: int | None = Field(default=None, description="Where it was in business days.")
    due_at: datetime | None = None
    outcome: Outcome | None = None
    because: str | None = None
    business_seconds: int | None = Field(
        default=None, description="Open time that counted. Null where nothing was promised."
    )
    calendar_seconds: int | None = Field(default=None, description="All time, start to end.")
    paused_seconds: int | None = None

    @classmethod
    def of(cls, event: MetricEvent) -> Self:
        return cls(
            at=event.at,
            metric=event.metric.value,
            cycle=event.cycle,
            kind=event.kind,
            policy_id=event.policy_id,
            policy_version=event.policy_version,
            target_seconds=_seconds(event.target),
            target_days=event.target_days,
            due_at=event.due_at,
            outcome=event.outcome,
            because=event.because,
            business_seconds=_seconds(event.business),
            calendar_seconds=_seconds(event.calendar),
            paused_seconds=_seconds(event.paused),
        )


class MetricEvents(Shape):
    """Every measure of a ticket, in the order of its time."""

    number: int
    as_of: datetime
    events: list[MetricEventOut]


class DueIn(Request):
    """Without a time, the deadline is the policy's again."""

    model_config = examples(
        {
            "metric": "resolution",
            "due_at": "2026-05-06T15:00:00Z",
            "reason": "Agreed with the customer on the phone.",
        },
        {"metric": "resolution", "reason": "Back to the usual."},
    )

    metric: Metric
    due_at: Instant | None = None
    reason: Reason


class AcknowledgeIn(Request):
    model_config = examples({"minutes": 30})

    minutes: Annotated[int, Field(ge=1, le=7 * 24 * 60)]


@router.get("/{number}/sla", summary="What is promised, why, and what comes next")
async def ticket_sla(number: Number, caller: Watcher, work: Tx, served: Served) -> TicketSla:
    now = clock()
    found = await timing.timed(work, served.desks, caller, number, now=now)
    terms = found.timed_by
    return TicketSla(
        number=found.ticket.number,
        seq=found.ticket.seq,
        as_of=now,
        timed_by=None
        if terms is None
        else TimedBy(
            policy_id=terms.policy.id, name=terms.policy.name, version=terms.policy.version
        ),
        policies=[PolicyVerdict.of(one) for one in found.considered],
        clocks=[TimedClock.of_accounted(one, now=now) for one in found.clocks],
        next=[UpcomingOut.of(due) for due in found.next],
    )


@router.get("/{number}/sla/events", summary="Every measure as events, promised or not")
async def ticket_measures(
    number: Number, caller: Watcher, work: Tx, served: Served
) -> MetricEvents:
    """When each measure was activated, promised, paused, resumed, breached and fulfilled, and what
    it took. A measure that no policy ever promised is told as well, in time on the wall clock."""
    now = clock()
    found = await measures.measures(work, served.desks, caller, number, now=now)
    return MetricEvents(
        number=number, as_of=now, events=[MetricEventOut.of(event) for event in found]
    )


@router.post("/{number}/due", summary="Set a deadline by hand, or give it back")
async def set_due(
    number: Number, body: DueIn, caller: Changer, work: Tx, act: Act, response: Response
) -> TicketOut:
    """No change of priority, policy or calendar moves it from then on. One that is past is a breach
    now; a breach that has been is not taken back. 409 where no such clock runs."""
    payload = DueSet(body.metric, body.due_at, body.reason)
    return await act.act(work, caller, number, payload, Permission.TICKETS_CHANGE, response)


class AcknowledgedOut(TicketOut):
    """The ticket, and until when its higher tiers wait."""

    acknowledged_until: datetime | None = Field(
        description="May be later than asked for: an acknowledgement that reaches further stands."
    )


@router.post("/{number}/acknowledge", summary="Say that somebody has seen it")
async def acknowledge(
    number: Number, body: AcknowledgeIn, caller: Escalator, work: Tx, act: Act, response: Response
) -> AcknowledgedOut:
    """For so many minutes, steps of higher tiers than those that have come wait. Fewer minutes than
    somebody has acknowledged before take nothing back: the later of both ends counts."""
    payload = Acknowledged(clock() + timedelta(minutes=body.minutes))
    outcome = await act.happens(work, caller, number, payload, Permission.TICKETS_ESCALATE)
    ticket = await act.answer(work, outcome, response)
    return AcknowledgedOut(**dict(ticket), acknowledged_until=acknowledged_until(outcome.clocks))
