"""One cycle of one promise, as the recount keeps it."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from domain.calendars import Interval
from domain.sla.metrics import Metric
from domain.sla.policies import Target
from domain.verify.hours import Hours
from domain.verify.told import Promise

Ids = tuple[UUID, int, UUID, int]


@dataclass(slots=True, kw_only=True)
class Cycle:
    """One cycle as the timeline says it was."""

    metric: Metric
    number: int
    started: datetime
    planned: datetime
    planned_because: str | None
    promised: Target | None = None
    target: timedelta | None = None
    ids: Ids | None = None
    hours: Hours | None = None  # of `ids`
    pauses: list[Interval] = field(default_factory=list)
    due: datetime | None = None
    override: datetime | None = None
    stopped: datetime | None = None
    outcome: str = "running"
    because: str | None = None
    breached: datetime | None = None
    caused_by: str | None = None
    seen_until: datetime | None = None  # as somebody has acknowledged it
    team: object = None  # whose stay a group clock measures
    answers: tuple[object, object] = (None, None)  # team and agent: now, or at the breach
    by_hand: tuple[object, ...] | None = None  # the deadline that a person set, who, why, when
    noticed: datetime | None = None  # when the breach was written down, where an entry says so
    goes_on: "Cycle | None" = None  # the one before, where this is the same promise once more
    steps: set[str] = field(default_factory=set)  # that the timeline tells of in this cycle
    days: int | None = None  # as promised, where in business days
    is_summed: bool = False  # there was a promise when it ended
    longest: timedelta | None = None  # how much pausing the policy allows in one cycle
    allowed: timedelta | None = None  # so much in all, with what was taken before it was limited

    @property
    def runs(self) -> bool:
        return self.outcome == "running"

    @property
    def is_paused(self) -> bool:
        return bool(self.pauses) and self.pauses[-1].end is None

    def notice(self, at: datetime) -> None:
        """A deadline that has come is a breach, at the earliest when it was planned."""
        if self.runs and self.breached is None and self.due is not None:
            true_time = max(self.due, self.planned)
            if true_time <= at:
                self.breached = true_time
                self.caused_by = self.planned_because if self.planned > self.due else None

    def answered_by(self, team: object, agent: object) -> None:
        """Who answers for it from now on; a breach keeps them, and a stay the team it is of."""
        if self.breached is None:
            is_stay = self.metric.value.startswith("group:") and self.answers[0] is not None
            self.answers = (self.answers[0] if is_stay else team, agent)

    def paused_for(self) -> timedelta | None:
        """How long it stood still in all, on any clock; None before it ended."""
        if self.stopped is None:
            return None
        at, total = self.started, timedelta()
        for pause in sorted(self.counting(), key=lambda each: each.start):
            begin, end = max(at, pause.start), min(pause.end or self.stopped, self.stopped)
            if begin < end:
                total, at = total + (end - begin), end
        return total

    def counting(self) -> list[Interval]:
        """Of each pause what still fits into what is allowed; the rest was no pause."""
        if self.allowed is None:
            return self.pauses
        found: list[Interval] = []
        for pause in self.pauses:
            before = sum((one.end - one.start for one in found if one.end), timedelta())
            if before < self.allowed:
                latest = pause.start + self.allowed - before
                end = latest if pause.end is None else min(pause.end, latest)
                found.append(Interval(start=pause.start, end=end))
        return found

    def limit(self, longest: timedelta | None, at: datetime) -> None:
        """From now on only so much of the pauses counts; what has counted is not taken back."""
        if longest == self.longest:
            return
        paused = self.is_paused
        if self.allowed is not None:
            lasts = self.pauses[-1].start if paused else None
            self.pauses = self.counting()
            if paused and self.pauses and self.pauses[-1].start == lasts:
                end = self.pauses[-1].end
                if end is not None and at < end:
                    self.pauses[-1] = Interval(start=self.pauses[-1].start)
        taken = sum(((one.end or at) - one.start for one in self.pauses), timedelta())
        if longest is None:
            self.allowed = None
        elif self.longest is None or self.allowed is None:
            self.allowed = taken + longest
        else:
            self.allowed = max(taken, self.allowed + longest - self.longest)
        self.longest = longest

    def plan(self, promise: Promise | None) -> None:
        """The deadline, from the start: the whole target in open time outside of pauses."""
        self.due = None
        if self.override is not None:
            at = max(self.override, self.started)
            for pause in self.counting():
                if pause.start < at:
                    if pause.end is None:
                        return
                    at = max(at, pause.end)
            self.due = at
        elif promise is not None and self.target is not None:
            self.due = promise.hours.due(self.started, self.target, self.counting())

    def acknowledge(self, at: datetime, asked: object, until: object) -> None:
        """Held up until then, or until what was said before where that is later and not over.

        Entries that do not say what was asked for are of a time when the last one counted.
        """
        wanted = datetime.fromisoformat(str(asked or until))
        if asked and self.seen_until is not None and at < self.seen_until:
            wanted = max(wanted, self.seen_until)
        self.seen_until = wanted

    def pause(self, at: datetime) -> None:
        if self.pauses and self.pauses[-1].end == at:
            self.pauses[-1] = Interval(start=self.pauses[-1].start)
        else:
            self.pauses.append(Interval(start=at))

    def resume(self, at: datetime) -> None:
        if self.is_paused:
            start = self.pauses.pop().start
            if start < at:
                self.pauses.append(Interval(start=start, end=at))
