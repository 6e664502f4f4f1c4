"""What tickets asked of people: what had to be answered when, and how long an answer took.

The timeline does not say how long somebody worked. It is estimated: an answer took at most the time
between when it could be begun (the customer had written, the ticket was given to whoever answered,
the answer before was out) and when it was sent, and no more than an even share of an hour in which
its author sent several.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.states import Priority

HOUR = 3600
LEAST = 15.0  # seconds that an answer takes
USUAL = 600.0  # where nothing is known of a team yet
ENOUGH = 20  # answers of a team, before its own usual time counts
NOBODY = "none"
_STEP = math.log(1.1)


@dataclass(frozen=True, slots=True)
class Heard:
    """An entry of a timeline, as far as it tells of work. Times are seconds since 1970."""

    type: str
    actor_kind: str
    actor_id: str | None
    changes: Mapping[str, list[object]]
    as_requester: bool
    automatic: bool
    at: float


@dataclass(frozen=True, slots=True)
class Promise:
    """A first reply or resolution as it was kept: due, judged, and when it was done."""

    metric: str
    started: float
    due: float | None
    verdict: str | None  # met or missed, if it was judged in the time asked for
    done: float | None


@dataclass(frozen=True, slots=True)
class Task:
    """One answer: how long after the one before it there was something to do, and the work."""

    gap: float
    effort: float


@dataclass(frozen=True, slots=True)
class Job:
    """A ticket as work: when it came to its team, and its answers one after the other."""

    number: int
    team: str
    arrived: float
    rank: int  # the urgent ones first: 0
    skills: tuple[str, ...]  # that it asks for, if anybody has them
    tasks: tuple[Task, ...]
    tail: float | None  # from the last answer to the solution, if it was solved
    promises: tuple[Promise, ...]


@dataclass(slots=True)
class Histogram:
    """Durations by tenths: a percentile from it is within a twentieth of the true one."""

    bins: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def add(self, seconds: float, times: int = 1) -> None:
        place = int(math.log(max(seconds, 1.0)) / _STEP)
        self.bins[place] = self.bins.get(place, 0) + times
        self.count += times

    def merge(self, other: "Histogram") -> None:
        for place, times in other.bins.items():
            self.bins[place] = self.bins.get(place, 0) + times
        self.count += other.count

    def quantile(self, share: float) -> float | None:
        """The duration that this share stays below, in seconds."""
        wanted, seen = share * self.count, 0
        for place in sorted(self.bins):
            seen += self.bins[place]
            if seen >= wanted:
                return math.exp((place + 0.5) * _STEP)
        return None


@dataclass(slots=True)
class Estimate:
    """How long answers take, learned while tickets are read in the order they came.

    `pace` is how many answers somebody sent in an hour, by person and hour since 1970.
    """

    pace: Mapping[str, Mapping[int, int]]
    usual: dict[str, Histogram] = field(default_factory=dict)

    def effort(self, team: str, agent: str, begun: float, sent: float) -> float:
        """Seconds of work in an answer; the team's usual where nothing can be seen of it."""
        known = self.usual.setdefault(team, Histogram())
        share = HOUR / max(1, self.pace.get(agent, {}).get(int(sent // HOUR), 1))
        if sent - begun < 1:  # taken and answered in one go: nobody saw it begun
            middle = known.quantile(0.5) if known.count >= ENOUGH else None
            return min(middle or USUAL, share)
        effort = max(LEAST, min(sent - begun, share))
        known.add(effort)
        return effort


def job_of(
    number: int,
    timeline: Sequence[Heard],
    promises: Sequence[Promise],
    estimate: Estimate,
) -> Job | None:
    """The work in a ticket; None where nobody answered it."""
    team: str | None = None
    priority: str | None = None
    asked: set[str] = set()
    created = arrived = timeline[0].at if timeline else 0.0
    ready: float | None = None  # since when there is something to answer
    given: dict[str, float] = {}  # since when somebody has it
    last: float | None = None  # answer
    tasks: list[tuple[float | None, float, float, str]] = []  # there, begun at most, sent, by whom
    solved: float | None = None
    for entry in timeline:
        by_user = entry.actor_kind == "user" and entry.actor_id is not None
        answers = entry.type == "agent_replied" and by_user and not entry.as_requester
        if answers and entry.at <= created and not tasks:
            answers = False  # an agent's own ticket begins with words, not with an answer
        wrote = entry.type == "ticket_created" or entry.type == "customer_replied"
        if (wrote or entry.as_requester) and not entry.automatic and ready is None:
            ready = entry.at
        if answers:
            assert entry.actor_id is not None
            begin = max(ready or last or created, given.get(entry.actor_id, created))
            if last is not None:
                begin = max(begin, last)
            tasks.append((ready, begin, entry.at, entry.actor_id))
            last, ready = entry.at, None
        for name, (_, after) in entry.changes.items():
            match name:
                case "team_id":
                    team = str(after) if after else None
                    if not tasks:
                        arrived = entry.at
                case "assignee_id" if after:
                    given[str(after)] = entry.at
                case "priority":
                    priority = str(after) if after else None
                case "category":
                    solved = entry.at if after in ("resolved", "closed") else None
                case "language" | "topic" if after:
                    asked.add(f"{name}:{str(after).lower()}")
                case "tags" if isinstance(after, list):
                    asked |= {f"tag:{str(tag).lower()}" for tag in after}
    if not tasks:
        return None
    place = team or NOBODY
    done: list[Task] = []
    before = arrived
    for there, begin, sent, agent in tasks:
        effort = estimate.effort(place, agent, begin, sent)
        if there is None:  # nobody had written: it is done as long after the one before as it was
            there = sent - effort
        done.append(Task(max(0.0, there - before), effort))
        before = sent
    rank = 3 - Priority(priority or "normal").rank
    tail = None if solved is None else max(0.0, solved - before)
    return Job(
        number, place, arrived, rank, tuple(sorted(asked)), tuple(done), tail, tuple(promises)
    )
