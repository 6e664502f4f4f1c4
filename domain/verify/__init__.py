"""The promises counted anew, by code that shares nothing with the clocks but their data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from domain.sla.clocks import Clock
from domain.verify.cycles import Cycle
from domain.verify.hours import Hours
from domain.verify.recount import recount
from domain.verify.told import Line, Promise, PromiseOf, read


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Where a row and its timeline part: a cycle, and what each of them says."""

    metric: str
    cycle: int
    what: str
    kept: object
    counted: object

    def __str__(self) -> str:
        if self.what == "timeline":
            return f"the timeline lacks entry {self.counted}"
        if not self.metric:
            return f"{self.what} is not there: {_said(self.kept)}"
        return (
            f"{self.metric} cycle {self.cycle}: {self.what} is kept as {_said(self.kept)},"
            f" the timeline says {_said(self.counted)}"
        )


def disagreements(
    lines: Sequence[Line], rows: Sequence[Clock], promise_of: PromiseOf
) -> list[Disagreement]:
    """Everything in which the rows of a ticket differ from what its timeline says, in order.

    Up to its last entry: what came due since then is for the ticket's timer to notice.
    """
    told = read(lines, promise_of)
    if told.gap is not None or told.until is None:
        return [Disagreement("", 0, "timeline", None, told.gap or 1)]
    counted = {
        (cycle.metric.value, cycle.number): cycle
        for cycle in recount(
            told.moments, until=told.until, also=tuple({row.metric for row in rows})
        )
    }
    kept = {(row.metric.value, row.cycle): row for row in rows}
    found = []
    for key in sorted({*counted, *kept}):
        row, cycle = kept.get(key), counted.get(key)
        if row is None or cycle is None:
            there = "a cycle" if row else None, "a cycle" if cycle else None
            found.append(Disagreement(*key, "the cycle itself", *there))
            continue
        for name, ours, theirs in _compared(row, cycle):
            if ours != theirs:
                found.append(Disagreement(*key, name, ours, theirs))
    return found


Pair = tuple[str, object, object]


def _compared(row: Clock, cycle: Cycle) -> list[Pair]:
    pauses = [(pause.start, pause.end) for pause in row.pauses]
    pairs: list[Pair] = [
        ("started", row.started_at, cycle.started),
        ("target", row.target, cycle.target),
        ("pauses", pauses, [(pause.start, pause.end) for pause in cycle.pauses]),
        ("what counts of the pauses", row.pause_limit, cycle.allowed),
        ("due", row.due_at, cycle.due),
        ("stopped", row.stopped_at, cycle.stopped),
        ("outcome", row.outcome.value, cycle.outcome),
        ("breached", row.breached_at, cycle.breached),
        ("acknowledged until", row.acknowledged and row.acknowledged.until, cycle.seen_until),
    ]
    pairs += [
        ("cause of the breach", row.caused_by, cycle.caused_by),
        ("why it was cancelled", row.cancelled_because, cycle.because),
        ("target in business days", row.target_days, cycle.days),
        ("planned at", row.planned_at, cycle.planned),
        ("what made the plan", row.planned_because, cycle.planned_because),
        ("how long it may pause", row.max_pause, cycle.longest),
        ("responsible team", _id(row.team_id), _id(cycle.answers[0])),
        ("responsible agent", _id(row.assignee_id), _id(cycle.answers[1])),
        ("deadline set by a person", _override(row), cycle.by_hand and _texts(cycle.by_hand)),
    ]
    policy, version, calendar, of_calendar = cycle.ids or (None, None, None, None)
    pairs += [
        ("policy", row.policy_id, policy),
        ("version of the policy", row.policy_version, version),
        ("calendar", row.calendar_id, calendar),
        ("version of the calendar", row.calendar_version, of_calendar),
    ]
    return [*pairs, *_sums(row, cycle), *_noticed(row, cycle), *_steps(row, cycle)]


def _sums(row: Clock, cycle: Cycle) -> list[Pair]:
    """What it used and paused, once it ended; rows that know neither are older than the sums."""
    if cycle.outcome == "not_applicable":
        nothing = timedelta()
        return [("open time used", row.used, nothing), ("time paused", row.paused, nothing)]
    if cycle.stopped is not None and row.used is None and row.paused is None:
        return []
    counted = None
    if cycle.stopped is not None and cycle.hours is not None and cycle.is_summed:
        counted = cycle.hours.used(cycle.started, cycle.stopped, cycle.counting())
    return [("open time used", row.used, counted), ("time paused", row.paused, cycle.paused_for())]


def _noticed(row: Clock, cycle: Cycle) -> list[Pair]:
    """When the breach was noticed, and so how late: as its entry was written."""
    name, noticed = "when the breach was noticed", cycle.noticed
    if cycle.breached is None:
        return [(name, row.detected_at, None)] if cycle.stopped is not None else []
    if noticed is None and cycle.goes_on is not None and cycle.goes_on.breached == cycle.breached:
        noticed = cycle.goes_on.noticed  # the same promise, broken once and told once
    return [] if noticed is None else [(name, row.detected_at, noticed)]


def _steps(row: Clock, cycle: Cycle) -> list[Pair]:
    """What was carried out: all that the timeline tells of, and what it may have from before."""
    before = cycle.goes_on.steps if cycle.goes_on is not None else set[str]()
    cycle.steps |= {
        done.step for done in row.steps_log if cycle.goes_on is not None and done.skipped
    } | (before & {*row.steps_done})
    told = sorted(cycle.steps)
    return [
        ("steps", sorted(row.steps_done), told),
        ("what is kept of the steps", sorted({done.step for done in row.steps_log}), told),
    ]


def _override(row: Clock) -> list[str] | None:
    said = row.due_override
    return None if said is None else _texts((said.due_at, said.by, said.reason, said.set_at))


def _texts(values: Sequence[object]) -> list[str]:
    return [_said(value) for value in values]


def _id(value: object) -> UUID | None:
    return None if value is None else UUID(str(value))


def _said(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_said(one) for one in value) + "]"
    return "nothing" if value is None else str(value)


__all__ = [
    "Cycle", "Disagreement", "Hours", "Line", "Promise", "PromiseOf",
    "disagreements", "read", "recount",
]  # fmt: skip
