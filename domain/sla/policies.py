"""What is promised: policies by version, the steps around their deadlines, clocks of their own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from hashlib import sha256
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    field_serializer,
    model_validator,
)

from domain.calendars import (
    Calendar,
    NeverOpen,
    Window,
    business_days,
    closing,
    due_at,
    is_open,
)
from domain.sla.conditions import Bounded, Subject, Verdict, explain, holds
from domain.sla.metrics import RULES, Metric, Repeat
from domain.states import Category, Priority


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


Role = Literal["assignee", "team", "team_leads", "on_call", "supervisors", "admins", "watchers"]


class Notify(_Frozen):
    kind: Literal["notify"] = "notify"
    to: tuple[Role | UUID, ...] = Field(min_length=1)


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


class WriteNote(_Frozen):
    kind: Literal["write_note"] = "write_note"
    text: str = Field(min_length=1, max_length=5_000)


class CallWebhook(_Frozen):
    kind: Literal["call_webhook"] = "call_webhook"
    webhook_id: UUID


class StartWorkflow(_Frozen):
    kind: Literal["start_workflow"] = "start_workflow"
    name: str = Field(min_length=1, max_length=100, pattern=r"^[a-z][a-z0-9_-]*$")


Action = Annotated[
    Notify | Reassign | RaisePriority | AddTag | WriteNote | CallWebhook | StartWorkflow,
    Field(discriminator="kind"),
]
# What only tells somebody: no longer worth doing once something louder has come.
TELLING = (Notify, CallWebhook)


class QuietHours(_Frozen):
    """Local times of the calendar's zone between which a step waits, every night."""

    start: str = "22:00"
    end: str = "07:00"

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.start == self.end:
            raise ValueError("quiet hours end")
        self.calendar("UTC")
        return self

    @property
    def are_all_day(self) -> bool:
        """They never end: a step would wait for ever."""
        return closing(_NOON, self.calendar("UTC")) is None and is_open(_NOON, self.calendar("UTC"))

    def calendar(self, zone: str) -> Calendar:
        """Open while it is quiet."""
        return _quiet(zone, (self.start, self.end))

    def after(self, at: datetime, zone: str) -> datetime:
        """`at`, or the end of the quiet hours that it falls into."""
        return closing(at, self.calendar(zone)) or at


_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


@lru_cache(maxsize=512)
def _quiet(zone: str, window: Window) -> Calendar:
    days = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    return Calendar.model_validate({"timezone": zone, "weekly": {day: [window] for day in days}})


Distance = Annotated[timedelta, Field(ge=-timedelta(days=3660), le=timedelta(days=3660))]
Only = Literal["unassigned", "unacknowledged"]


class Step(_Frozen):
    """Something done around a deadline: `offset` before it (negative) or after it, or at `percent`.

    `percent` is a share of the whole time promised: 80 comes before the deadline, 120 after it.
    `business` counts in the calendar's open time, `wall` on the wall clock. A step that would lie
    before the clock's start happens at the start; one that would fall into a pause, when the pause
    ends; one in quiet hours, when they end. `only_if` names what must be true when it comes, else
    it is skipped. An acknowledgement holds up the steps of a higher `tier` than those that have
    happened. In a cycle that counts on after a reopening, a step that was done is done again only
    `per_cycle`.
    """

    id: str = Field(min_length=1, max_length=64)
    metric: Metric
    offset: Distance | None = None
    percent: Annotated[float, Field(ge=0, le=1000)] | None = Field(
        default=None, exclude_if=lambda value: value is None
    )
    time: Literal["business", "wall"] = "business"
    action: Action
    also: tuple[Action, ...] = Field(
        default=(), max_length=10, exclude_if=lambda actions: not actions
    )
    only_if: tuple[Only, ...] = Field(default=(), exclude_if=lambda names: not names)
    tier: int = Field(default=1, ge=1, le=9, exclude_if=lambda tier: tier == 1)
    quiet: QuietHours | None = Field(default=None, exclude_if=lambda quiet: quiet is None)
    per_cycle: bool = Field(default=False, exclude_if=lambda chosen: not chosen)

    @model_validator(mode="after")
    def _has_one_time(self) -> Self:
        if (self.offset is None) == (self.percent is None):
            raise ValueError("a step has an offset or a percentage, one of them")
        return self

    @property
    def actions(self) -> tuple[Action, ...]:
        return (self.action, *self.also)

    @property
    def is_warning(self) -> bool:
        """It comes before the deadline."""
        if self.offset is not None:
            return self.offset < timedelta()
        return self.percent is not None and self.percent < 100

    @property
    def only_tells(self) -> bool:
        """It changes nothing about the ticket."""
        return all(isinstance(action, TELLING) for action in self.actions)

    @cached_property
    def same(self) -> str:
        """Equal for steps that do the same at the same time, whatever they are called."""
        return sha256(self.model_dump_json(exclude={"id"}).encode()).hexdigest()[:16]


class BusinessDays(_Frozen):
    """A target that ends with the close of the n-th whole business day.

    Each is worth the open time of that very date. Pauses move the end by the open time they take.
    """

    business_days: int = Field(ge=1, le=1000)


Target = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=3660))] | BusinessDays
# How long the pauses of one cycle may be altogether, on the wall clock.
Longest = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=3660))]
Reopening = Literal["continue", "restart", "include_resolved", "never"]


class OwnClock(_Frozen):
    """A clock that a policy defines.

    `custom:…` starts, stops and pauses by conditions. It starts when `starts` becomes true (or is
    true when the ticket is made) and `stops` is not; being resolved ends it in any case.
    `group:…` measures each stay of a ticket with a team: from the assignment to the next team, or
    to the solution. It is limited to `teams` where any are named.
    """

    metric: Metric
    starts: Bounded | None = None
    stops: Bounded | None = None
    pauses: Bounded | None = None
    repeat: Repeat = Repeat.EACH
    teams: tuple[UUID, ...] = ()

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if not self.metric.is_own:
            raise ValueError("a clock of your own is called custom:NAME or group:NAME")
        if self.is_group:
            if self.starts or self.stops:
                raise ValueError("a group clock starts and stops with the team's assignment")
        elif self.starts is None or self.stops is None:
            raise ValueError("a custom clock needs to know what starts and what stops it")
        return self

    @property
    def is_group(self) -> bool:
        return self.metric.startswith("group:")


def _default_pauses() -> dict[Metric, frozenset[Category]]:
    return {Metric.RESOLUTION: RULES[Metric.RESOLUTION].pauses}


# Metrics for which a policy that says nothing about pauses has always meant: none.
_UNPAUSED = frozenset({Metric.FIRST_REPLY, Metric.RESOLUTION})


class Policy(_Frozen):
    """One version of what is promised. A missing target promises nothing for that priority.

    It applies to tickets for which `conditions` hold, to all without any. `pause_in` names the
    categories in which a metric pauses, `pause_when` further conditions under which it does.
    `max_pause` says how much of a metric's pauses counts in one cycle, on the wall clock; after
    that it runs on though the ticket still waits.
    """

    id: UUID
    version: int = Field(ge=1)
    name: str
    calendar_id: UUID
    calendar_version: int = Field(ge=1)
    targets: dict[Metric, dict[Priority, Target]] = Field(default_factory=dict)
    pause_in: dict[Metric, frozenset[Category]] = Field(default_factory=_default_pauses)
    steps: tuple[Step, ...] = ()
    conditions: Bounded | None = Field(default=None, exclude_if=lambda value: value is None)
    pause_when: dict[Metric, Bounded] = Field(
        default_factory=dict, exclude_if=lambda value: not value
    )
    clocks: tuple[OwnClock, ...] = Field(
        default=(), max_length=20, exclude_if=lambda value: not value
    )
    reopening: dict[Metric, Reopening] = Field(
        default_factory=dict, exclude_if=lambda value: not value
    )
    merge_inherits_start: bool = Field(default=False, exclude_if=lambda value: not value)
    max_pause: dict[Metric, Longest] = Field(
        default_factory=dict, exclude_if=lambda value: not value
    )

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
        own = [clock.metric for clock in self.clocks]
        if len(own) != len(set(own)):
            raise ValueError("two clocks share a name")
        named = {*self.targets, *self.pause_in, *self.pause_when, *self.reopening, *self.max_pause}
        named |= {step.metric for step in self.steps}
        if unknown := {metric for metric in named if metric.is_own} - set(own):
            raise ValueError(f"no clock is called {min(unknown)}")
        return self

    def target(self, metric: Metric, priority: Priority | None) -> Target | None:
        """What is promised; a ticket without a priority counts as normal."""
        return self.targets.get(metric, {}).get(priority or Priority.NORMAL)

    def own(self, metric: Metric) -> OwnClock | None:
        """The definition of a clock of this policy's own."""
        return next((clock for clock in self.clocks if clock.metric == metric), None)

    def pausing(self, metric: Metric) -> frozenset[Category]:
        """In which categories a metric that ships pauses."""
        default = frozenset() if metric in _UNPAUSED else RULES[metric].pauses
        return self.pause_in.get(metric, default)

    def applies_to(self, subject: Subject | None) -> bool:
        """Whether its conditions hold; a policy with conditions applies to nothing unknown."""
        if self.conditions is None:
            return True
        return subject is not None and holds(self.conditions, subject)


def matched(policy: Policy, subject: Subject) -> Verdict:
    """Whether a policy applies to a ticket, with the reason for each of its conditions."""
    if policy.conditions is None:
        return Verdict(True, "applies to every ticket")
    return explain(policy.conditions, subject)


@dataclass(frozen=True, slots=True)
class Terms:
    """What is in force for one ticket; `calendar` is the version that `policy` names.

    `calendars` holds others by id and version, for clocks that were planned by one of them.
    """

    policy: Policy
    calendar: Calendar
    calendars: Mapping[tuple[UUID, int], Calendar] = field(
        default_factory=dict, compare=False, repr=False
    )
    # Whether a cycle that ends is told what it used and paused: what-if does not ask.
    sums: bool = field(default=True, compare=False, repr=False)

    def calendar_of(self, calendar_id: UUID | None, version: int | None) -> Calendar | None:
        """The version of a calendar, if it is at hand."""
        if calendar_id is None or version is None:
            return None
        policy = self.policy
        if calendar_id == policy.calendar_id and version == policy.calendar_version:
            return self.calendar
        return self.calendars.get((calendar_id, version))


def allowance(target: Target | None, start: datetime, calendar: Calendar) -> timedelta | None:
    """A target as open time from `start`; None where nothing is promised, or it never comes."""
    if not isinstance(target, BusinessDays):
        return target
    try:
        return business_days(start, target.business_days, calendar)
    except NeverOpen:
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promised:
    """What a policy promises for one metric and priority, and when that would be."""

    metric: Metric
    priority: Priority
    target: Target
    due_at: datetime | None  # None: its calendar has not that much open time ahead


def promised(policy: Policy, calendar: Calendar, *, start: datetime) -> tuple[Promised, ...]:
    """Each target with its due time, had its clock begun at `start`: what "one day" comes to."""
    found = []
    for metric, targets in policy.targets.items():
        for priority in sorted(targets, key=lambda priority: priority.rank):
            target = targets[priority]
            length = allowance(target, start, calendar)
            try:
                due = None if length is None else due_at(start, length, calendar)
            except NeverOpen:
                due = None
            found.append(Promised(metric=metric, priority=priority, target=target, due_at=due))
    return tuple(found)
