"""Promises and their clocks: what starts, pauses and stops them, when they are due, what follows.

The caller keeps a ticket's clocks and folds them: `observe` for each thing that happened, then
`fire` for what time brought. Both are pure; `fire` may come late, often or twice without changing
any breach time. `next_moment` says when it is worth calling next.

The rules that are decisions rather than arithmetic:

- A deadline is always worked out from the start: start + target in open time, less the pauses. A
  changed priority, policy or calendar re-plans it; time already used and pauses taken stay.
- Nothing is dated earlier than the plan that demands it: where a change puts a deadline or a step
  into the past, it counts as of the change.
- A breach is never taken back by a later plan. What ends a clock in the very instant it is due
  keeps the promise.
- While paused no deadline passes; moments from before the pause stay what they were.
- A clock whose policy names no target (any more) keeps its history and promises nothing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, NamedTuple, Self, TypedDict
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_serializer,
    model_validator,
)

from domain.calendars import Calendar, Interval, NeverOpen, StillPaused, due_at, elapsed
from domain.states import Category, Priority

Pause = Interval


class Metric(StrEnum):
    FIRST_REPLY = "first_reply"
    RESOLUTION = "resolution"


class Outcome(StrEnum):
    RUNNING = "running"
    MET = "met"
    MISSED = "missed"
    CANCELLED = "cancelled"  # ended without a verdict: merged away, or nothing was promised


class Signal(StrEnum):
    """What a fact can mean to a metric."""

    CREATED_BY_CUSTOMER = "created_by_customer"
    CREATED_BY_AGENT = "created_by_agent"
    CUSTOMER_MESSAGE = "customer_message"
    AGENT_REPLY = "agent_reply"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one metric is measured."""

    starts: frozenset[Signal]
    meets: frozenset[Signal]
    drops: frozenset[Signal] = frozenset()  # ends it with nothing left to promise
    pauses: frozenset[Category] = frozenset()  # unless the policy says otherwise
    reopens: bool = False  # work that starts again starts a cycle that adds to the last


RULES: Mapping[Metric, Rule] = {
    Metric.FIRST_REPLY: Rule(
        starts=frozenset({Signal.CREATED_BY_CUSTOMER}),
        meets=frozenset({Signal.AGENT_REPLY}),
        # Resolved without a word (spam, solved by the customer): nobody must be chased for a reply.
        drops=frozenset({Signal.RESOLVED}),
    ),
    Metric.RESOLUTION: Rule(
        starts=frozenset({Signal.CREATED_BY_CUSTOMER, Signal.CREATED_BY_AGENT}),
        meets=frozenset({Signal.RESOLVED}),
        pauses=frozenset({Category.PENDING}),
        reopens=True,
    ),
}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Notify(_Frozen):
    kind: Literal["notify"] = "notify"
    to: tuple[Literal["assignee", "team", "supervisors"] | UUID, ...] = Field(min_length=1)


class Reassign(_Frozen):
    kind: Literal["reassign"] = "reassign"
    team_id: UUID | None = None
    assignee_id: UUID | None = None

    @model_validator(mode="after")
    def _names_somebody(self) -> Self:
        if self.team_id is None and self.assignee_id is None:
            raise ValueError("reassigning needs a team or a person")
        return self


class RaisePriority(_Frozen):
    kind: Literal["raise_priority"] = "raise_priority"
    to: Priority | None = None  # None: one step up


class AddTag(_Frozen):
    kind: Literal["add_tag"] = "add_tag"
    tag: str = Field(min_length=1, max_length=100)


Action = Annotated[Notify | Reassign | RaisePriority | AddTag, Field(discriminator="kind")]


class Step(_Frozen):
    """Something done at a distance from a deadline: `offset` before it (negative) or after it.

    `business` counts the offset in the calendar's open time, `wall` on the wall clock. A step that
    would lie before the clock's start happens at the start; one that would fall into a pause,
    when the pause ends.
    """

    id: str = Field(min_length=1, max_length=64)
    metric: Metric
    offset: Annotated[timedelta, Field(ge=-timedelta(days=3660), le=timedelta(days=3660))]
    time: Literal["business", "wall"] = "business"
    action: Action


def _default_pauses() -> dict[Metric, frozenset[Category]]:
    return {metric: rule.pauses for metric, rule in RULES.items() if rule.pauses}


Target = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=3660))]


class Policy(_Frozen):
    """One version of what is promised. A missing target promises nothing for that priority."""

    id: UUID
    version: int = Field(ge=1)
    name: str
    calendar_id: UUID
    calendar_version: int = Field(ge=1)
    targets: dict[Metric, dict[Priority, Target]] = Field(default_factory=dict)
    pause_in: dict[Metric, frozenset[Category]] = Field(default_factory=_default_pauses)
    steps: tuple[Step, ...] = ()

    @field_serializer("pause_in", when_used="json")
    def _in_order(self, pauses: dict[Metric, frozenset[Category]]) -> dict[Metric, list[Category]]:
        # A set's order differs between processes; stored JSON must not.
        return {metric: sorted(categories) for metric, categories in pauses.items()}

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        ids = [step.id for step in self.steps]
        if len(ids) != len(set(ids)):
            raise ValueError("two steps share an id")
        if any(not each.is_active for pauses in self.pause_in.values() for each in pauses):
            raise ValueError("a clock can pause only while the ticket is active")
        return self

    def target(self, metric: Metric, priority: Priority | None) -> timedelta | None:
        """What is promised; a ticket without a priority counts as normal."""
        return self.targets.get(metric, {}).get(priority or Priority.NORMAL)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is in force for one ticket; `calendar` is the version that `policy` names."""

    policy: Policy
    calendar: Calendar


class Clock(_Frozen):
    """One cycle of one metric on one ticket.

    `due_at` is None while no deadline approaches: paused before it, no target, a calendar that
    never opens. So "overdue at t" is `breached_at` set, or `due_at` before t while running.
    `breached_at` is the true time, `detected_at` when `fire` reported it.
    """

    metric: Metric
    cycle: int = Field(default=1, ge=1)
    policy_id: UUID | None = None
    policy_version: int | None = None
    calendar_id: UUID | None = None
    calendar_version: int | None = None
    target: timedelta | None
    started_at: AwareDatetime
    planned_at: AwareDatetime  # since when the present target and calendar apply
    due_at: AwareDatetime | None = None
    pauses: tuple[Pause, ...] = ()
    stopped_at: AwareDatetime | None = None
    outcome: Outcome = Outcome.RUNNING
    cancelled_because: str | None = None
    breached_at: AwareDatetime | None = None
    detected_at: AwareDatetime | None = None
    steps_done: tuple[str, ...] = ()

    @property
    def is_running(self) -> bool:
        """Not ended; a paused clock is still running."""
        return self.outcome is Outcome.RUNNING

    @property
    def paused_since(self) -> datetime | None:
        """When the pause began that still lasts."""
        if self.is_running and self.pauses and self.pauses[-1].end is None:
            return self.pauses[-1].start
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What happened to a ticket at `at`, and how the ticket stands after it.

    `created_by` on its own marks the fact that creates the ticket. Given again on a later fact
    together with `created_at` (and `replied`, if an agent has replied before), it lets a policy
    that comes into force late start its clocks at the creation. `agent_reply` is a public reply
    written by a human agent, whatever the channel. `cancelled` says why the clocks no longer
    matter; a merged ticket needs no reason.
    """

    at: datetime
    category: Category
    priority: Priority | None = None
    created_by: Literal["customer", "agent"] | None = None
    customer_message: bool = False
    agent_reply: bool = False
    cancelled: str | None = None
    created_at: datetime | None = None
    replied: bool = False

    @property
    def signals(self) -> frozenset[Signal]:
        found = set()
        if self.created_by == "customer":
            found.add(Signal.CREATED_BY_CUSTOMER)
        elif self.created_by == "agent":
            found.add(Signal.CREATED_BY_AGENT)
        if self.customer_message:
            found.add(Signal.CUSTOMER_MESSAGE)
        if self.agent_reply:
            found.add(Signal.AGENT_REPLY)
        if self.category in (Category.RESOLVED, Category.CLOSED):
            found.add(Signal.RESOLVED)
        return frozenset(found)

    @property
    def cancels(self) -> str | None:
        """Why running clocks end without a verdict, if they do."""
        return self.cancelled or ("merged" if self.category is Category.MERGED else None)

    @property
    def begins(self) -> datetime:
        """When the ticket was created, as far as this fact knows."""
        return self.at if self.created_at is None else min(self.created_at, self.at)


@dataclass(frozen=True, slots=True)
class Due:
    """A breach, or a step to carry out. `at` is the true time, however late it was noticed."""

    at: datetime
    metric: Metric
    cycle: int
    kind: Literal["breach", "step"]
    step: Step | None
    detected_at: datetime

    @property
    def lateness(self) -> timedelta:
        return self.detected_at - self.at


def observe(clocks: Sequence[Clock], fact: Fact, terms: Terms | None) -> tuple[Clock, ...]:
    """The clocks after a fact: started, stopped, paused, resumed, re-planned or cancelled by it.

    Facts come in the order of their time. `terms` are those in force after the fact; a clock that
    the fact ends is judged by those before it. Call `fire` afterwards for what this has made due:
    a breach that nobody noticed before a late reply is still reported then.
    """
    after = [_continued(clock, fact, terms) if clock.is_running else clock for clock in clocks]
    for metric, rule in RULES.items():
        last = max(
            (clock for clock in after if clock.metric is metric),
            key=lambda clock: clock.cycle,
            default=None,
        )
        if last is None:
            begun = _begun(metric, rule, fact, terms)
        elif rule.reopens and not last.is_running:
            begun = _reopened(last, rule, fact, terms)
        else:
            begun = None
        if begun is not None:
            after.append(begun)
    return tuple(after)


def revive(clocks: Sequence[Clock], terms: Terms | None, *, at: datetime) -> tuple[Clock, ...]:
    """The clocks of a ticket that is unmerged: those the merge cancelled run on from their start.

    One that was paused when it was merged has been paused all along. What came due while they were
    cancelled counts as of `at`. `observe` is told after this.
    """
    return tuple(
        _revived(clock, terms, at=at) if clock.cancelled_because == "merged" else clock
        for clock in clocks
    )


def _revived(clock: Clock, terms: Terms | None, *, at: datetime) -> Clock:
    pauses = clock.pauses
    if pauses and pauses[-1].end == clock.stopped_at:
        pauses = (*pauses[:-1], Pause(start=pauses[-1].start, end=None))
    return _planned(
        clock.model_copy(
            update={
                "stopped_at": None,
                "outcome": Outcome.RUNNING,
                "cancelled_because": None,
                "planned_at": at,
                "pauses": pauses,
            }
        ),
        terms,
    )


def fire(
    clocks: Sequence[Clock],
    terms: Terms | None,
    *,
    now: datetime,
    detected_at: datetime | None = None,
) -> tuple[tuple[Clock, ...], tuple[Due, ...]]:
    """The clocks with everything due up to `now` marked, and what that is, in order of true time.

    Firing again gives nothing new. After an outage all that was missed comes at once, each with the
    time at which it should have come. `detected_at` says when it was noticed, where that was after
    `now`.
    """
    after = list(clocks)
    reports = []
    noticed = detected_at or now
    for moment in _in_order(_pending(clocks, terms)):
        if moment.at > now:
            break
        clock = after[moment.order.clock]
        if moment.step is None:
            changes: dict[str, object] = {"breached_at": moment.at, "detected_at": noticed}
        else:
            changes = {"steps_done": (*clock.steps_done, moment.step.id)}
        after[moment.order.clock] = clock.model_copy(update=changes)
        reports.append(
            Due(
                at=moment.at,
                metric=clock.metric,
                cycle=clock.cycle,
                kind="breach" if moment.step is None else "step",
                step=moment.step,
                detected_at=noticed,
            )
        )
    return tuple(after), tuple(reports)


def next_moment(clocks: Sequence[Clock], terms: Terms | None) -> datetime | None:
    """When `fire` next has something to say; it may lie in the past. None: only a fact can tell."""
    return min((moment.at for moment in _pending(clocks, terms)), default=None)


def spent(clock: Clock, calendar: Calendar, *, now: datetime) -> timedelta:
    """The open, unpaused time a clock has used until `now`, or until it ended."""
    until = now if clock.stopped_at is None else min(now, clock.stopped_at)
    return elapsed(clock.started_at, until, calendar, clock.pauses)


class Summary(TypedDict):
    """What a list of tickets shows and sorts by. A deadline is there only while it approaches."""

    first_reply_due_at: datetime | None
    first_reply_breached_at: datetime | None
    resolution_due_at: datetime | None
    resolution_breached_at: datetime | None
    resolution_paused_since: datetime | None
    next_due_at: datetime | None
    breached: bool


def summary(clocks: Sequence[Clock]) -> Summary:
    """The present cycle of each metric. A cancelled clock shows neither a deadline nor a breach."""
    present = {clock.metric: clock for clock in sorted(clocks, key=lambda clock: clock.cycle)}
    reply = present.get(Metric.FIRST_REPLY)
    resolution = present.get(Metric.RESOLUTION)
    deadlines = [due for due in (_shown_due(reply), _shown_due(resolution)) if due is not None]
    breaches = (_shown_breach(reply), _shown_breach(resolution))
    return Summary(
        first_reply_due_at=_shown_due(reply),
        first_reply_breached_at=breaches[0],
        resolution_due_at=_shown_due(resolution),
        resolution_breached_at=breaches[1],
        resolution_paused_since=None if resolution is None else resolution.paused_since,
        next_due_at=min(deadlines, default=None),
        breached=any(breach is not None for breach in breaches),
    )


def _shown_due(clock: Clock | None) -> datetime | None:
    return clock.due_at if clock is not None and clock.is_running else None


def _shown_breach(clock: Clock | None) -> datetime | None:
    if clock is None or clock.outcome is Outcome.CANCELLED:
        return None
    return clock.breached_at


# --- the fold -----------------------------------------------------------------------------------


def _begun(metric: Metric, rule: Rule, fact: Fact, terms: Terms | None) -> Clock | None:
    """The first cycle, if this fact starts one and the policy promises something."""
    if terms is None or fact.cancels or not rule.starts & fact.signals:
        return None
    if terms.policy.target(metric, fact.priority) is None:
        return None
    is_late = fact.begins < fact.at
    if is_late and (
        Signal.RESOLVED in fact.signals or (fact.replied and Signal.AGENT_REPLY in rule.meets)
    ):
        return None  # it was over before anything was promised
    clock = Clock(metric=metric, target=None, started_at=fact.begins, planned_at=fact.at)
    clock = _under_terms(clock, fact, terms)
    clock = _paused_or_resumed(clock, fact, terms)
    clock = _planned(clock, terms)
    return _ended(clock, fact, terms) or _breached_by(clock, fact.at)


def _reopened(last: Clock, rule: Rule, fact: Fact, terms: Terms | None) -> Clock | None:
    """The next cycle: the same start, the time in between counted as a pause."""
    if fact.cancels or fact.signals & (rule.meets | rule.drops) or last.stopped_at is None:
        return None
    between = Pause(start=last.stopped_at, end=fact.at)
    clock = Clock(
        metric=last.metric,
        cycle=last.cycle + 1,
        target=None,
        started_at=last.started_at,
        planned_at=fact.at,
        pauses=_with_pause(last.pauses, between),
        steps_done=last.steps_done,
    )
    clock = _under_terms(clock, fact, terms)
    clock = _paused_or_resumed(clock, fact, terms)
    clock = _planned(clock, terms)
    past = [moment for moment in _step_moments(clock, terms) if moment.order.planned <= fact.at]
    done = (moment.step.id for moment in _in_order(past) if moment.step is not None)
    clock = clock.model_copy(update={"steps_done": (*clock.steps_done, *done)})
    overdue = _breached_by(clock, fact.at)
    if overdue.breached_at is not None and last.breached_at is not None:
        # The same promise, broken once and reported once.
        inherited = {
            "breached_at": last.breached_at,
            "detected_at": last.detected_at or fact.at,
        }
        return overdue.model_copy(update=inherited)
    return overdue


def _continued(clock: Clock, fact: Fact, terms: Terms | None) -> Clock:
    """A running clock after a fact."""
    ended = _ended(clock, fact, terms)
    if ended is not None:
        return ended
    clock = _breached_by(clock, fact.at)
    changed = _paused_or_resumed(_under_terms(clock, fact, terms), fact, terms)
    if changed is clock:
        return clock
    return _breached_by(_planned(changed, terms), fact.at)


def _ended(clock: Clock, fact: Fact, terms: Terms | None) -> Clock | None:
    """The clock with its verdict, if the fact ends it."""
    rule = RULES[clock.metric]
    is_met = bool(fact.signals & rule.meets)
    if not (fact.cancels or is_met or fact.signals & rule.drops):
        return None
    if clock.due_at == fact.at:
        # Whoever ends it in the instant it is due is in time, even if the timer was a step ahead.
        breached_at = None if clock.breached_at == fact.at else clock.breached_at
    else:
        breached_at = _breached_by(clock, fact.at).breached_at
    if fact.cancels:
        outcome, because = Outcome.CANCELLED, fact.cancels
    elif breached_at is not None:
        outcome, because = Outcome.MISSED, None
    elif clock.target is None:
        outcome, because = Outcome.CANCELLED, "no target"
    elif not is_met:
        outcome, because = Outcome.CANCELLED, "resolved"
    else:
        outcome, because = Outcome.MET, None
    stopped = clock.model_copy(
        update={
            "stopped_at": fact.at,
            "outcome": outcome,
            "cancelled_because": because,
            "breached_at": breached_at,
            "detected_at": clock.detected_at if breached_at is not None else None,
            "pauses": _without_open(clock.pauses, fact.at),
        }
    )
    if clock.paused_since is not None and terms is not None and _is_under(clock, terms.policy):
        return _planned(stopped, terms)  # the deadline as it stood when the clock ended
    return stopped


def _is_under(clock: Clock, policy: Policy) -> bool:
    """Whether the clock was planned by exactly this policy and calendar."""
    return (
        clock.policy_id == policy.id
        and clock.policy_version == policy.version
        and clock.calendar_id == policy.calendar_id
        and clock.calendar_version == policy.calendar_version
    )


def _under_terms(clock: Clock, fact: Fact, terms: Terms | None) -> Clock:
    """The clock with the target now in force; the same object when nothing changed."""
    if terms is None:
        if clock.target is None:
            return clock
        return clock.model_copy(update={"target": None, "planned_at": fact.at})
    policy = terms.policy
    target = policy.target(clock.metric, fact.priority)
    if clock.target == target and _is_under(clock, policy):
        return clock
    return clock.model_copy(
        update={
            "target": target,
            "policy_id": policy.id,
            "policy_version": policy.version,
            "calendar_id": policy.calendar_id,
            "calendar_version": policy.calendar_version,
            "planned_at": fact.at,
        }
    )


def _paused_or_resumed(clock: Clock, fact: Fact, terms: Terms | None) -> Clock:
    """The clock with a pause begun or ended; the same object when neither."""
    if terms is None:
        pausing = RULES[clock.metric].pauses
    else:
        pausing = terms.policy.pause_in.get(clock.metric, frozenset())
    if fact.category in pausing:
        if clock.paused_since is not None:
            return clock
        pauses = _with_pause(clock.pauses, Pause(start=fact.at))
    elif clock.paused_since is not None:
        pauses = _without_open(clock.pauses, fact.at)
    else:
        return clock
    return clock.model_copy(update={"pauses": pauses})


def _with_pause(pauses: tuple[Pause, ...], pause: Pause) -> tuple[Pause, ...]:
    """The pauses with one more at the end, made one with the last if it follows without a break."""
    if pauses and pauses[-1].end == pause.start:
        return (*pauses[:-1], Pause(start=pauses[-1].start, end=pause.end))
    return (*pauses, pause)


def _without_open(pauses: tuple[Pause, ...], at: datetime) -> tuple[Pause, ...]:
    """The pauses with the one that still lasts ended; one of no length is forgotten."""
    if not pauses or pauses[-1].end is not None:
        return pauses
    *earlier, lasting = pauses
    if lasting.start >= at:
        return tuple(earlier)
    return (*earlier, Pause(start=lasting.start, end=at))


def _planned(clock: Clock, terms: Terms | None) -> Clock:
    """The clock with its deadline worked out anew from the start."""
    due = None
    if terms is not None and clock.target is not None:
        due = _used_up_at(clock, clock.target, terms.calendar)
    return clock.model_copy(update={"due_at": due})


def _used_up_at(clock: Clock, allowance: timedelta, calendar: Calendar) -> datetime | None:
    """When a clock has run for `allowance`; None while it cannot be known."""
    try:
        return due_at(clock.started_at, max(allowance, timedelta()), calendar, clock.pauses)
    except (NeverOpen, StillPaused):
        return None


def _breached_by(clock: Clock, at: datetime) -> Clock:
    """The clock with its breach dated, if its deadline has come by `at`."""
    if clock.breached_at is not None or clock.due_at is None:
        return clock
    breach = max(clock.due_at, clock.planned_at)
    return clock.model_copy(update={"breached_at": breach}) if breach <= at else clock


# --- moments ------------------------------------------------------------------------------------


class _Order(NamedTuple):
    """By true time; what a late plan pushed to one instant keeps the order it was meant in."""

    at: datetime
    planned: datetime
    rank: int  # warnings, then the breach, then what follows it
    clock: int
    position: int


@dataclass(frozen=True, slots=True)
class _Moment:
    order: _Order
    step: Step | None  # None: the breach

    @property
    def at(self) -> datetime:
        return self.order.at


def _in_order(moments: Iterable[_Moment]) -> list[_Moment]:
    return sorted(moments, key=lambda moment: moment.order)


def _pending(clocks: Sequence[Clock], terms: Terms | None) -> Iterable[_Moment]:
    """Every breach not yet reported and every step not yet done, in no order."""
    for index, clock in enumerate(clocks):
        if clock.outcome is Outcome.CANCELLED:
            continue
        if clock.detected_at is None:
            breach = clock.breached_at
            if breach is None and clock.is_running and clock.due_at is not None:
                breach = max(clock.due_at, clock.planned_at)
            if breach is not None:
                yield _Moment(_Order(breach, clock.due_at or breach, 1, index, 0), None)
        if clock.is_running:
            yield from _step_moments(clock, terms, index)


def _step_moments(clock: Clock, terms: Terms | None, index: int = 0) -> Iterable[_Moment]:
    if terms is None or clock.target is None or clock.policy_id != terms.policy.id:
        return
    for position, step in enumerate(terms.policy.steps):
        if step.metric is not clock.metric or step.id in clock.steps_done:
            continue
        planned = _step_at(clock, step, clock.target, terms.calendar)
        if planned is not None:
            at = max(planned, clock.planned_at)
            rank = 0 if step.offset < timedelta() else 2
            yield _Moment(_Order(at, planned, rank, index, position), step)


def _step_at(clock: Clock, step: Step, target: timedelta, calendar: Calendar) -> datetime | None:
    if step.time == "business":
        return _used_up_at(clock, target + step.offset, calendar)
    if clock.due_at is None:
        return None
    return _after_pauses(max(clock.due_at + step.offset, clock.started_at), clock.pauses)


def _after_pauses(at: datetime, pauses: Sequence[Pause]) -> datetime | None:
    """The end of the pause that `at` falls into, or `at` itself; None while that pause lasts."""
    for pause in pauses:
        if pause.start < at:
            if pause.end is None:
                return None
            at = max(at, pause.end)
    return at


# --- vectors ------------------------------------------------------------------------------------

_WITH_SECONDS = re.compile(r"[T ]\d\d:\d\d:\d\d")


def _pair(pause: object) -> object:
    match pause:
        case [start, end]:
            return {"start": start, "end": end}
        case _:
            return pause


class Vector(BaseModel):
    """One line of a file of worked examples: a calendar, a start, a target, pauses, and the due."""

    model_config = ConfigDict(frozen=True)

    id: str = ""
    calendar: Calendar
    start: AwareDatetime
    target_minutes: float = Field(ge=0)
    pauses: tuple[Annotated[Pause, BeforeValidator(_pair)], ...] = ()
    due: str | None = None
    to_the_second: bool = False  # the line writes its start with seconds, so the answer does too

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, line: object) -> object:
        if isinstance(line, dict) and isinstance(start := line.get("start"), str):
            return {"to_the_second": bool(_WITH_SECONDS.search(start)), **line}
        return line


def solve(vector: Vector) -> str:
    """The vector's due time in UTC, like `2025-03-31T10:30Z`, with seconds where they matter."""
    target = timedelta(minutes=vector.target_minutes)
    due = due_at(vector.start, target, vector.calendar, vector.pauses)
    if due.microsecond:
        precision = "microseconds"
    elif due.second or vector.to_the_second:
        precision = "seconds"
    else:
        precision = "minutes"
    return due.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"
