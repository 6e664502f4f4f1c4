"""Clocks and what they are told: cycles of promises, facts about a ticket, what came due."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, Self, TypedDict
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from domain.calendars import Calendar, Interval, elapsed
from domain.sla.conditions import Subject
from domain.sla.metrics import Metric, Outcome
from domain.sla.policies import Step
from domain.states import Category, Priority, Visibility

Pause = Interval


_set = object.__setattr__  # what is frozen is filled once, when it is made


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, for what has neither private attributes nor extra fields.

        A ticket's life is some forty copies, and the general way is four times as slow.
        """
        if deep:
            return super().model_copy(update=update, deep=True)
        made = self.__class__.__new__(self.__class__)
        _set(made, "__dict__", {**self.__dict__, **(update or {})})
        _set(made, "__pydantic_extra__", None)
        _set(made, "__pydantic_fields_set__", {*self.__pydantic_fields_set__, *(update or ())})
        _set(made, "__pydantic_private__", None)
        return made


class StepDone(_Frozen):
    """A step that came in this cycle or one before it, and whether anything was done."""

    step: str
    same: str  # Step.same: what it did, whatever it was called
    policy_id: UUID
    policy_version: int
    at: AwareDatetime
    tier: int = 1
    skipped: str | None = None


class DueOverride(_Frozen):
    """A deadline that a person has set; nothing moves it but a person."""

    due_at: AwareDatetime
    by: UUID | None = None
    reason: str = Field(min_length=1, max_length=1000)
    set_at: AwareDatetime


class Acknowledgement(_Frozen):
    """Somebody has seen it: steps of higher tiers wait until `until`."""

    at: AwareDatetime  # since when they wait without a break
    until: AwareDatetime
    by: UUID | None = None


# Why the plan in force was made, where it was not the clock's first.
PRIORITY_CHANGE = "priority_change"
POLICY_CHANGE = "policy_change"
CALENDAR_CHANGE = "calendar_change"
DUE_OVERRIDE = "due_override"
DUE_RESET = "due_reset"
LATE_START = "late_start"
REOPENED = "reopened"
UNMERGED = "unmerged"
MERGE_INHERITED = "merge_inherited"


class Clock(_Frozen):
    """One cycle of one metric on one ticket.

    `due_at` is None while no deadline approaches: paused before it, no target, a calendar that
    never opens. So "overdue at t" is `breached_at` set, or `due_at` before t while running.
    `breached_at` is the true time, `detected_at` when `fire` reported it; `caused_by` says what
    change of plan put the deadline into the past, if one did. `team_id` and `assignee_id` are
    responsible now, or were at the breach once there is one. `used` and `paused` are worked out
    when the cycle ends: open time that counted, and wall-clock time that did not. With a
    `pause_limit` a deadline is known while it pauses: when the limit is used up, it runs on.
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
    target_days: int | None = None  # the target as it was promised, where in business days
    planned_because: str | None = None
    caused_by: str | None = None
    team_id: UUID | None = None
    assignee_id: UUID | None = None
    due_override: DueOverride | None = None
    acknowledged: Acknowledgement | None = None
    steps_log: tuple[StepDone, ...] = ()
    used: timedelta | None = None
    paused: timedelta | None = None
    max_pause: timedelta | None = None  # how much of its pauses the policy in force lets count
    pause_limit: timedelta | None = None  # so how much counts of those below, all in all

    @property
    def counted(self) -> tuple[Pause, ...]:
        """The pauses as far as they count; where there is a limit, none lasts without an end."""
        if self.pause_limit is None:
            return self.pauses
        left, found = self.pause_limit, list[Pause]()
        for pause in self.pauses:
            if left <= timedelta():
                break
            if pause.end is None or pause.end - pause.start > left:
                pause = Pause(start=pause.start, end=pause.start + left)
            found.append(pause)
            left -= (pause.end or pause.start) - pause.start
        return tuple(found)

    @property
    def runs_on_at(self) -> datetime | None:
        """When the pause that still lasts counts no more, known ahead; None without a limit."""
        since = self.paused_since
        if since is None or self.pause_limit is None:
            return None
        last = self.counted[-1:]
        return last[0].end if last and last[0].start == since else since

    def pause_left(self, now: datetime) -> timedelta | None:
        """How much more of its pauses would count; None without a limit."""
        if self.pause_limit is None:
            return None
        taken = (min(p.end or now, now) - p.start for p in self.counted if p.start < now)
        return max(self.pause_limit - sum(taken, timedelta()), timedelta())

    @property
    def is_running(self) -> bool:
        """Not ended; a paused clock is still running."""
        return self.outcome is Outcome.RUNNING

    @property
    def promises(self) -> bool:
        """There is something to keep."""
        return self.target is not None or self.due_override is not None

    @property
    def paused_since(self) -> datetime | None:
        """When the pause began that still lasts."""
        if self.is_running and self.pauses and self.pauses[-1].end is None:
            return self.pauses[-1].start
        return None

    @property
    def lateness(self) -> timedelta | None:
        """How long after its true time the breach was noticed; None before both are known."""
        if self.breached_at is None or self.detected_at is None:
            return None
        return max(self.detected_at - self.breached_at, timedelta())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What happened to a ticket at `at`, and how the ticket stands after it.

    `created_by` on its own marks the fact that creates the ticket. Given again on a later fact
    together with `created_at` (and `replied`, if an agent has replied before), it lets a policy
    that comes into force late start its clocks at the creation. `agent_reply` is a public reply
    written by a human agent, `customer_message` a customer's, whatever the channel (`counts_as`).
    What is `automatic` is neither. `cancelled` says why the clocks no longer matter; a merged
    ticket needs no reason. `subject` is the ticket after the fact and `was` before it: conditions
    and responsibility need them.
    """

    at: datetime
    category: Category
    priority: Priority | None = None
    created_by: Literal["customer", "agent", "machine"] | None = None
    customer_message: bool = False
    agent_reply: bool = False
    note: bool = False
    automatic: bool = False
    cancelled: str | None = None
    created_at: datetime | None = None
    replied: bool = False
    subject: Subject | None = None
    was: Subject | None = None

    @property
    def is_creation(self) -> bool:
        return self.created_by is not None and self.created_at is None

    @property
    def is_resolved(self) -> bool:
        return self.category in (Category.RESOLVED, Category.CLOSED)

    @property
    def is_reopened(self) -> bool:
        """Work goes on after it was done."""
        return (
            self.was is not None
            and self.was.category in (Category.RESOLVED, Category.CLOSED)
            and self.category.is_active
        )

    @property
    def by_customer(self) -> bool:
        """A customer wrote, not a machine of theirs."""
        return self.customer_message and not self.automatic

    @property
    def by_agent(self) -> bool:
        """An agent answered, not a machine of ours."""
        return self.agent_reply and not self.automatic

    @property
    def events(self) -> frozenset[str]:
        """What it is called in conditions, as `event.NAME`."""
        said = {
            "created": self.is_creation,
            "customer_message": self.by_customer,
            "agent_reply": self.by_agent,
            "note": self.note,
            "automatic": self.automatic,
            "resolved": self.is_resolved
            and (self.was is None or self.was.category is not self.category),
            "reopened": self.is_reopened,
        }
        return frozenset(name for name, happened in said.items() if happened)

    @property
    def stands(self) -> Subject:
        """The ticket after it, as far as it is known."""
        return self.subject or Subject(category=self.category, priority=self.priority)

    @property
    def cancels(self) -> str | None:
        """Why running clocks end without a verdict, if they do."""
        return self.cancelled or ("merged" if self.category is Category.MERGED else None)

    @property
    def begins(self) -> datetime:
        """When the ticket was created, as far as this fact knows."""
        return self.at if self.created_at is None else min(self.created_at, self.at)


def counts_as(
    *,
    author: Literal["customer", "agent", "machine"],
    visibility: Visibility,
    is_requester: bool = False,
    automatic: bool = False,
) -> Literal["customer_message", "agent_reply", "note"] | None:
    """What a message is to the clocks: by who wrote it and who can read it, never by its channel.

    An agent who is the requester of the ticket is a customer on it; so is whoever else writes from
    outside. What a machine wrote (automatic replies, bounces, bots) is nothing to any clock.
    """
    if author == "machine" or automatic:
        return None
    if visibility is Visibility.INTERNAL:
        return "note"
    return "customer_message" if author == "customer" or is_requester else "agent_reply"


@dataclass(frozen=True, slots=True)
class Due:
    """A breach, or a step to carry out. `at` is the true time, however late it was noticed.

    `skipped` says why a step is no longer worth carrying out; it counts as done all the same.
    """

    at: datetime
    metric: Metric
    cycle: int
    kind: Literal["breach", "step"]
    step: Step | None
    detected_at: datetime
    skipped: str | None = None
    caused_by: str | None = None
    policy_id: UUID | None = None
    policy_version: int | None = None

    @property
    def lateness(self) -> timedelta:
        return self.detected_at - self.at

    @property
    def key(self) -> str:
        """The same however often it is fired: cycle, and for a step also policy and version."""
        if self.step is None:
            return f"{self.metric}/{self.cycle}"
        policy = "" if self.policy_id is None else f"{self.policy_id.hex}.{self.policy_version}/"
        return f"{self.metric}/{self.cycle}/{policy}{self.step.id}"


def spent(clock: Clock, calendar: Calendar, *, now: datetime) -> timedelta:
    """The open, unpaused time a clock has used until `now`, or until it ended."""
    until = now if clock.stopped_at is None else min(now, clock.stopped_at)
    return elapsed(clock.started_at, until, calendar, clock.counted)


@dataclass(frozen=True, slots=True)
class Stretch:
    """A piece of a cycle in which the clock ran, or did not."""

    start: datetime
    end: datetime
    running: bool


@dataclass(frozen=True, slots=True)
class Account:
    """Everything a cycle has to show for itself at one moment.

    `business` is open time that counted, `calendar` all time since the start, `paused` wall-clock
    time in pauses. `remaining` is open time left, below zero once it is used up; None where nothing
    is promised in open time.
    """

    stretches: tuple[Stretch, ...]
    business: timedelta
    calendar: timedelta
    paused: timedelta
    remaining: timedelta | None
    over: timedelta  # wall-clock time between the breach and the end, or now


def account(clock: Clock, calendar: Calendar, *, now: datetime) -> Account:
    """The cycle's intervals and sums as of `now`, or as of its end."""
    until = max(now if clock.stopped_at is None else min(now, clock.stopped_at), clock.started_at)
    pieces = stretches(clock, until)
    business = elapsed(clock.started_at, until, calendar, clock.counted)
    promised = clock.target
    if clock.due_override is not None:
        promised = elapsed(clock.started_at, clock.due_override.due_at, calendar, clock.counted)
    breach = clock.breached_at
    return Account(
        stretches=pieces,
        business=business,
        calendar=until - clock.started_at,
        paused=sum((p.end - p.start for p in pieces if not p.running), timedelta()),
        remaining=None if promised is None else promised - business,
        over=max(until - breach, timedelta()) if breach is not None else timedelta(),
    )


def stretches(clock: Clock, until: datetime) -> tuple[Stretch, ...]:
    """From the start to `until` without a gap, in turns; pauses that touch or overlap are one."""
    found: list[Stretch] = []
    at = clock.started_at
    for pause in sorted(clock.counted, key=lambda pause: pause.start):
        begin, end = max(pause.start, at), min(pause.end or until, until)
        if begin >= end:
            continue
        if begin > at:
            found.append(Stretch(at, begin, running=True))
        if found and not found[-1].running and found[-1].end == begin:
            found[-1] = Stretch(found[-1].start, end, running=False)
        else:
            found.append(Stretch(begin, end, running=False))
        at = end
    if at < until:
        found.append(Stretch(at, until, running=True))
    return tuple(found)


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
    """The present cycle of each metric. A cancelled clock shows neither a deadline nor a breach.

    The two that every list has columns for are named; `next_due_at` and `breached` are about all.
    """
    present = {clock.metric: clock for clock in sorted(clocks, key=lambda clock: clock.cycle)}
    reply = present.get(Metric.FIRST_REPLY)
    resolution = present.get(Metric.RESOLUTION)
    deadlines = [due for due in map(_shown_due, present.values()) if due is not None]
    return Summary(
        first_reply_due_at=_shown_due(reply),
        first_reply_breached_at=_shown_breach(reply),
        resolution_due_at=_shown_due(resolution),
        resolution_breached_at=_shown_breach(resolution),
        resolution_paused_since=None if resolution is None else resolution.paused_since,
        next_due_at=min(deadlines, default=None),
        breached=any(_shown_breach(clock) is not None for clock in present.values()),
    )


def _shown_due(clock: Clock | None) -> datetime | None:
    return clock.due_at if clock is not None and clock.is_running else None


def _shown_breach(clock: Clock | None) -> datetime | None:
    if clock is None or clock.outcome is Outcome.CANCELLED:
        return None
    return clock.breached_at
