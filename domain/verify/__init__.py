"""The promises counted anew, by code that shares nothing with the clocks but their data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

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
    ]
    if row.breached_at is not None:
        pairs.append(("cause of the breach", row.caused_by, cycle.caused_by))
    if row.used is not None and cycle.stopped is not None and cycle.hours is not None:
        counted = cycle.hours.used(cycle.started, cycle.stopped, cycle.counting())
        pairs.append(("open time used", row.used, counted))
    return pairs


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
