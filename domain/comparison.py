"""Recorded, modelled with today's staffing, modelled with another: counted side by side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from domain.workload import HOUR, Histogram

WEEK = 168
EVERYBODY = "all"
SIDES = ("recorded", "today", "draft")
# A fit that is worth believing: verdicts that agree, and how far attainment may be off.
GOOD, FAIR = (0.9, 0.03), (0.8, 0.08)
ENOUGH = 30  # judged promises, before anything is said about the fit

Fit = Literal["good", "fair", "poor", "unknown"]
Counts = dict[str, list[int]]  # met and missed: recorded, today, draft


class Load:
    """Seconds of work by hour of the week: asked for, done, and how long people were there."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self.asked = [0.0] * WEEK
        self.done = [0.0] * WEEK
        self.there = [0.0] * WEEK

    def ask(self, at: float, effort: float) -> None:
        self.asked[hour_of_week(at, self._zone)] += effort

    def work(self, start: float, end: float) -> None:
        self._spread(self.done, start, end)

    def stay(self, shifts: Iterable[tuple[float, float]], since: float, until: float) -> None:
        for start, end in shifts:
            self._spread(self.there, max(start, since), min(end, until))

    def _spread(self, sums: list[float], start: float, end: float) -> None:
        while start < end:
            local = datetime.fromtimestamp(start, self._zone)
            left = HOUR - local.minute * 60 - local.second - local.microsecond / 1e6
            piece = min(end - start, max(left, 1e-3))
            sums[local.weekday() * 24 + local.hour] += piece
            start += piece


def hour_of_week(at: float, zone: ZoneInfo) -> int:
    local = datetime.fromtimestamp(at, zone)
    return local.weekday() * 24 + local.hour


@dataclass(frozen=True, slots=True)
class Modelled:
    """A promise as it was kept on one floor; `at` is None where it was not done in time."""

    number: int
    metric: str
    team: str
    started: float
    due: float | None
    verdict: str | None  # as recorded
    done: float | None  # as recorded
    at: float | None

    def judged(self, since: float, until: float) -> str | None:
        """Met or missed on that floor, if that was in the time asked for."""
        if self.due is None:
            return None
        if self.at is None or self.at >= until:
            return "missed" if since <= self.due < until else None
        if self.at < since:
            return None
        return "met" if self.at <= self.due else "missed"


@dataclass(frozen=True, slots=True)
class Turned:
    """A promise that would be judged otherwise with the other staffing."""

    number: int
    metric: str
    before: str | None
    after: str | None
    due: float | None
    team: str
    hour: int


@dataclass(slots=True)
class Comparison:
    """Sums over promises. `teams` and `hours` are of first replies."""

    compared: int = 0  # judged in the records and on today's floor
    agreed: int = 0  # with the same verdict
    flipped: int = 0
    metrics: Counts = field(default_factory=dict)
    teams: Counts = field(default_factory=dict)
    hours: Counts = field(default_factory=dict)
    waits: dict[str, list[Histogram]] = field(default_factory=dict)  # by team, of each side

    def add(
        self, today: Modelled, draft: Modelled, *, since: float, until: float, zone: ZoneInfo
    ) -> Turned | None:
        """Counts a promise; what is to be said of it if its verdict turns."""
        one, other = today.judged(since, until), draft.judged(since, until)
        verdicts = (today.verdict, one, other)
        hour = hour_of_week(today.started, zone)
        self._count(self.metrics, today.metric, verdicts)
        if today.metric == "first_reply":
            self._count(self.teams, today.team, verdicts)
            self._count(self.hours, str(hour), verdicts)
            self._wait(today, draft, verdicts, until)
        if today.verdict is not None and one is not None:
            self.compared += 1
            self.agreed += one == today.verdict
        if one == other:
            return None
        self.flipped += 1
        return Turned(today.number, today.metric, one, other, today.due, today.team, hour)

    def _count(self, counts: Counts, key: str, verdicts: Sequence[str | None]) -> None:
        sums = counts.setdefault(key, [0] * 6)
        for side, verdict in enumerate(verdicts):
            if verdict is not None:
                sums[side * 2 + (verdict == "missed")] += 1

    def _wait(
        self, today: Modelled, draft: Modelled, verdicts: Sequence[str | None], until: float
    ) -> None:
        ends = (today.done, today.at, draft.at)
        for key in (EVERYBODY, today.team):
            sides = self.waits.setdefault(key, [Histogram() for _ in SIDES])
            for side, (verdict, end) in enumerate(zip(verdicts, ends, strict=True)):
                if verdict is not None:
                    sides[side].add((until if end is None else end) - today.started)

    @property
    def fit(self) -> Fit:
        """How far the model with today's staffing can be believed: how well it tells the past."""
        off = self.off
        if self.compared < ENOUGH or off is None:
            return "unknown"
        share = self.agreed / self.compared
        if share >= GOOD[0] and off <= GOOD[1]:
            return "good"
        return "fair" if share >= FAIR[0] and off <= FAIR[1] else "poor"

    @property
    def off(self) -> float | None:
        """How far attainment of first replies is off with today's staffing, as a share."""
        met, missed, one, other, *_ = self.metrics.get("first_reply", [0] * 6)
        if not met + missed or not one + other:
            return None
        return abs(met / (met + missed) - one / (one + other))

    def told(self) -> dict[str, object]:
        """As JSON can say it."""
        return {
            "compared": self.compared, "agreed": self.agreed, "flipped": self.flipped,
            "metrics": self.metrics, "teams": self.teams, "hours": self.hours,
            "waits": {
                key: [{str(place): times for place, times in one.bins.items()} for one in sides]
                for key, sides in self.waits.items()
            },
        }  # fmt: skip

    @classmethod
    def of(cls, said: Mapping[str, object]) -> "Comparison":
        """What `told` told, or a beginning where it told nothing."""
        made = cls()
        for name in ("compared", "agreed", "flipped", "metrics", "teams", "hours"):
            if name in said:
                setattr(made, name, said[name])
        waits = said.get("waits")
        if isinstance(waits, Mapping):
            for key, sides in waits.items():
                made.waits[key] = [
                    Histogram({int(p): n for p, n in bins.items()}, sum(bins.values()))
                    for bins in sides
                ]
        return made
