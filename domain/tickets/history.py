"""A ticket's measures as events in the order of their time, promised or not: what an export tells.

Every measure that ships is told for every ticket. Where a policy promises it, as it was promised:
with its targets, pauses and breaches. Where none ever did, as it would have run by its own rules,
on the wall clock, with nothing to keep: so there are figures on a desk without any promise.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from domain import sla
from domain.calendars import Calendar, Weekday
from domain.states import Priority
from domain.tickets.replay import Recorded, TermsOf, replay


class Kind(StrEnum):
    """What happened to a measure; in one instant in this order."""

    ACTIVATE = "activate"
    APPLY_SLA = "apply_sla"  # a target, another one, or none any more
    PAUSE = "pause"
    RESUME = "resume"
    BREACH = "breach"
    FULFILL = "fulfill"
    CANCEL = "cancel"
    UPDATE_STATUS = "update_status"  # what it took, once it is over


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEvent:
    """One thing that happened to one cycle of a measure; what does not concern it is None."""

    at: datetime
    metric: sla.Metric
    cycle: int
    kind: Kind
    policy_id: UUID | None = None
    policy_version: int | None = None
    target: timedelta | None = None
    target_days: int | None = None
    due_at: datetime | None = None
    outcome: sla.Outcome | None = None
    because: str | None = None
    business: timedelta | None = None  # open time that counted; None without opening hours
    calendar: timedelta | None = None  # all time from the start to the end
    paused: timedelta | None = None


def metric_events(
    timeline: Iterable[Recorded], terms_of: TermsOf, *, now: datetime
) -> tuple[MetricEvent, ...]:
    """All that happened to a ticket's measures by `now`, in the order of its time."""
    told = list(timeline)
    kept, plain = _Watched(), _Watched()
    promised = replay(told, terms_of, now=now, watch=kept).clocks
    measured = replay(
        [entry for entry in told if entry.type not in ("sla_due_set", "sla_due_reset")],
        lambda *_: MEASURING,
        now=now,
        choose=lambda *_: (MEASURING.policy.id, MEASURING.policy.version),
        watch=plain,
    ).clocks
    known = {clock.metric for clock in promised}
    found = [*kept.plans]
    for clock in promised:
        found += _events(clock, kept.begun[clock.metric, clock.cycle])
    for clock in measured:
        if clock.metric not in known:
            bare = clock.model_copy(update=_UNPROMISED)
            found += _events(bare, plain.begun[clock.metric, clock.cycle])
    ranks = {kind: rank for rank, kind in enumerate(Kind)}
    return tuple(sorted(found, key=lambda e: (e.at, ranks[e.kind], e.metric, e.cycle)))


@dataclass(slots=True)
class _Watched:
    """When each cycle began, and each promise made about it, while a ticket is replayed."""

    begun: dict[tuple[sla.Metric, int], datetime] = field(default_factory=dict)
    plans: list[MetricEvent] = field(default_factory=list)
    _last: dict[tuple[sla.Metric, int], object] = field(default_factory=dict)

    def __call__(self, clocks: tuple[sla.Clock, ...]) -> None:
        for clock in clocks:
            key = clock.metric, clock.cycle
            if key not in self.begun:
                counts_on = clock.cycle > 1  # what was reopened keeps its start
                self.begun[key] = clock.planned_at if counts_on else clock.started_at
            override = clock.due_override and clock.due_override.due_at
            plan = (
                clock.policy_id if clock.promises else None,
                clock.policy_version if clock.promises else None,
                clock.target,
                override,
            )
            if not clock.is_running or plan == self._last.get(key, (None, None, None, None)):
                continue
            self._last[key] = plan
            self.plans.append(
                MetricEvent(
                    at=clock.planned_at,
                    metric=clock.metric,
                    cycle=clock.cycle,
                    kind=Kind.APPLY_SLA,
                    policy_id=plan[0],
                    policy_version=plan[1],
                    target=clock.target,
                    target_days=clock.target_days,
                    due_at=clock.due_at,
                    because=clock.planned_because,
                )
            )


def _events(clock: sla.Clock, begun: datetime) -> Iterator[MetricEvent]:
    """What a cycle's row says of itself, but for how it was promised."""

    def happened(at: datetime, kind: Kind) -> MetricEvent:
        return MetricEvent(at=at, metric=clock.metric, cycle=clock.cycle, kind=kind)

    yield happened(begun, Kind.ACTIVATE)
    for pause in clock.counted:
        if pause.end is not None and pause.end <= begun:
            continue  # it belongs to the cycle before
        yield happened(max(pause.start, begun), Kind.PAUSE)
        if pause.end is not None and pause.end != clock.stopped_at:
            yield happened(pause.end, Kind.RESUME)
    if clock.breached_at is not None and clock.breached_at >= begun:
        yield MetricEvent(
            at=clock.breached_at, metric=clock.metric, cycle=clock.cycle, kind=Kind.BREACH,
            policy_id=clock.policy_id, policy_version=clock.policy_version,
            because=clock.caused_by,
        )  # fmt: skip
    if clock.stopped_at is None:
        return
    judged = clock.outcome in (sla.Outcome.MET, sla.Outcome.MISSED)
    yield MetricEvent(
        at=clock.stopped_at, metric=clock.metric, cycle=clock.cycle,
        kind=Kind.FULFILL if judged else Kind.CANCEL,
        outcome=clock.outcome if clock.policy_id is not None or not judged else None,
        because=clock.cancelled_because,
    )  # fmt: skip
    yield MetricEvent(
        at=clock.stopped_at, metric=clock.metric, cycle=clock.cycle, kind=Kind.UPDATE_STATUS,
        business=clock.used, calendar=clock.stopped_at - clock.started_at, paused=clock.paused,
    )  # fmt: skip


def _measuring() -> sla.Terms:
    """Every measure that ships, round the clock, with a target that nothing on earth misses."""
    body = {
        "id": UUID(int=0), "version": 1, "name": "measured", "calendar_id": UUID(int=0),
        "calendar_version": 1,
        "targets": {
            metric: dict.fromkeys(Priority, timedelta(days=3660))
            for metric in sla.Metric
            if not metric.is_own
        },
    }  # fmt: skip
    always: dict[str, object] = {
        "timezone": "UTC", "weekly": {day: [("00:00", "24:00")] for day in Weekday}
    }  # fmt: skip
    return sla.Terms(sla.Policy.model_validate(body), Calendar.model_validate(always))


MEASURING = _measuring()
_UNPROMISED: dict[str, object] = {
    "policy_id": None, "policy_version": None, "target": None, "due_at": None,
    "breached_at": None, "used": None,
}  # fmt: skip
