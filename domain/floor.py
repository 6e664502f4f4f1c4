"""A floor of people answering tickets, as a model: the same work and people give the same answers.

Everybody does one thing at a time, in their hours, the urgent first and then what waits longest. A
ticket's first answer waits for somebody of its team who has the skills it asks for; those after it
wait for whoever gave the first. Somebody without a limit takes the next ticket when they are free;
with one they are given tickets ahead, up to it. Time is seconds since 1970.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.comparison import Load
from domain.workload import HOUR, Job, Promise, Task

PATIENCE = 16 * HOUR  # that an answer waits for whoever gave the first; then it is anybody's
_READY, _FREE, _BEGIN = 0, 1, 2

Shift = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who answers tickets: of which teams, when, how many at once, with what skills."""

    name: str
    teams: tuple[str, ...]
    shifts: tuple[Shift, ...]  # in order, apart
    capacity: int | None = None
    skills: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a promise on the floor: when it was done, None if it was not in time."""

    job: Job
    promise: Promise
    at: float | None


@dataclass(slots=True)
class _Open:
    job: Job
    next: int = 0  # of its tasks
    member: int = -1


@dataclass(slots=True)
class _Hands:
    """How a member stands."""

    doing: int | None = None  # a ticket's number
    holds: int = 0  # tickets given and not answered
    own: list[tuple[int, float, int]] = field(default_factory=list)  # rank, since when, number
    shift: int = 0  # the present or next one


class Floor:
    """The model. Feed it with `arrive` in any order of time ahead, and let time pass with `run`."""

    def __init__(self, crew: Sequence[Member], load: Load) -> None:
        self._crew = crew
        self._load = load
        self._hands = [_Hands() for _ in crew]
        self._teams: dict[str, list[int]] = {}
        for index, member in enumerate(crew):
            for team in member.teams:
                self._teams.setdefault(team, []).append(index)
        self._known = {
            team: frozenset().union(*(crew[i].skills for i in members))
            for team, members in self._teams.items()
        }
        # Waiting first answers by team and the skills they ask for.
        self._queues: dict[str, dict[tuple[str, ...], list[tuple[int, float, int]]]] = {}
        self._open: dict[int, _Open] = {}
        self._events: list[tuple[float, int, int]] = []  # when, what, a ticket or a member
        for index, member in enumerate(crew):
            if member.shifts:
                heapq.heappush(self._events, (member.shifts[0][0], _BEGIN, index))

    def arrive(self, job: Job) -> None:
        """A ticket that comes to its team when it did."""
        self._open[job.number] = _Open(job)
        heapq.heappush(self._events, (job.arrived + job.tasks[0].gap, _READY, job.number))

    def run(self, until: float) -> list[Answered]:
        """Lets time pass; the promises that were kept or missed by being done."""
        done: list[Answered] = []
        events = self._events
        while events and events[0][0] < until:
            at, what, which = heapq.heappop(events)
            if what == _READY:
                self._ready(at, which)
            elif what == _FREE:
                self._finished(at, which, done)
            else:
                self._begins(at, which)
        return done

    def end(self, until: float) -> list[Answered]:
        """What was due by then and is not done."""
        left = []
        for number in sorted(self._open):
            job, answered = self._open[number].job, self._open[number].next > 0
            for promise in job.promises:
                is_owed = promise.metric != "first_reply" or not answered
                if is_owed and promise.due is not None and promise.due < until:
                    left.append(Answered(job, promise, None))
        return left

    # What happens.

    def _ready(self, at: float, number: int) -> None:
        ticket = self._open[number]
        self._load.ask(at, ticket.job.tasks[ticket.next].effort)
        team, rank = ticket.job.team, ticket.job.rank
        members = self._teams.get(team)
        if not members:
            return  # nobody is there to do it
        if ticket.member >= 0 and self._next_at(ticket.member, at) <= at + PATIENCE:
            hands = self._hands[ticket.member]
            hands.holds += 1
            heapq.heappush(hands.own, (rank, at, number))
            self._take(at, ticket.member)
            return
        ticket.member = -1
        skills = tuple(s for s in ticket.job.skills if s in self._known[team])
        chosen = self._free(at, members, skills)
        if chosen is None:
            queue = self._queues.setdefault(team, {}).setdefault(skills, [])
            heapq.heappush(queue, (rank, at, number))
            return
        self._give(chosen, (rank, at, number))
        self._take(at, chosen)

    def _finished(self, at: float, index: int, done: list[Answered]) -> None:
        hands = self._hands[index]
        number = hands.doing
        assert number is not None
        hands.doing = None
        hands.holds -= 1
        ticket = self._open[number]
        ticket.member = index
        job = ticket.job
        if ticket.next == 0:
            done += [Answered(job, p, at) for p in job.promises if p.metric == "first_reply"]
        ticket.next += 1
        if ticket.next < len(job.tasks):
            heapq.heappush(self._events, (at + job.tasks[ticket.next].gap, _READY, number))
        else:
            if job.tail is not None:
                solved = at + job.tail
                done += [
                    Answered(job, p, solved) for p in job.promises if p.metric != "first_reply"
                ]
            del self._open[number]
        self._take(at, index)

    def _begins(self, at: float, index: int) -> None:
        shifts, hands = self._crew[index].shifts, self._hands[index]
        while hands.shift < len(shifts) and shifts[hands.shift][1] <= at:
            hands.shift += 1
        if hands.shift + 1 < len(shifts):
            heapq.heappush(self._events, (shifts[hands.shift + 1][0], _BEGIN, index))
        self._take(at, index)

    # Who does what.

    def _take(self, at: float, index: int) -> None:
        """Whoever is free begins the next thing, and is given tickets ahead up to their limit."""
        member, hands = self._crew[index], self._hands[index]
        if not self._is_there(index, at):
            return
        if member.capacity is None:
            queue = self._waiting(member) if hands.doing is None else None
            if queue is not None and (not hands.own or queue[0] < hands.own[0]):
                self._give(index, heapq.heappop(queue))
        else:
            while hands.holds < member.capacity and (queue := self._waiting(member)) is not None:
                self._give(index, heapq.heappop(queue))
        if hands.doing is None and hands.own:
            _, _, number = heapq.heappop(hands.own)
            hands.doing = number
            ticket = self._open[number]
            task: Task = ticket.job.tasks[ticket.next]
            finished = self._finish(index, at, task.effort)
            if finished is None:  # they never come back: somebody else has to
                hands.doing = None
                hands.holds -= 1
                ticket.member = -1
                queue = self._queues.setdefault(ticket.job.team, {}).setdefault((), [])
                heapq.heappush(queue, (ticket.job.rank, at, number))
                return
            heapq.heappush(self._events, (finished, _FREE, index))

    def _give(self, index: int, entry: tuple[int, float, int]) -> None:
        hands = self._hands[index]
        hands.holds += 1
        heapq.heappush(hands.own, entry)
        self._open[entry[2]].member = index

    def _has_room(self, index: int) -> bool:
        capacity, hands = self._crew[index].capacity, self._hands[index]
        if capacity is None:
            return hands.doing is None and not hands.own
        return hands.holds < capacity

    def _waiting(self, member: Member) -> list[tuple[int, float, int]] | None:
        """The queue whose head this member should take next."""
        best: list[tuple[int, float, int]] | None = None
        for team in member.teams:
            for skills, queue in self._queues.get(team, {}).items():
                if queue and (best is None or queue[0] < best[0]) and member.skills >= set(skills):
                    best = queue
        return best

    def _free(self, at: float, members: Sequence[int], skills: tuple[str, ...]) -> int | None:
        """Of those there with room and the skills, the one with the least to do."""
        best: tuple[bool, int, int] | None = None
        for index in members:
            if not self._has_room(index) or not self._is_there(index, at):
                continue
            if skills and not self._crew[index].skills >= set(skills):
                continue
            hands = self._hands[index]
            order = (hands.doing is not None, hands.holds, index)
            if best is None or order < best:
                best = order
        return None if best is None else best[2]

    # Hours.

    def _is_there(self, index: int, at: float) -> bool:
        return self._next_at(index, at) == at

    def _next_at(self, index: int, at: float) -> float:
        """`at` if they are there then, or when they come next."""
        shifts, hands = self._crew[index].shifts, self._hands[index]
        place = hands.shift
        while place < len(shifts) and shifts[place][1] <= at:
            place += 1
        hands.shift = place
        return max(at, shifts[place][0]) if place < len(shifts) else float("inf")

    def _finish(self, index: int, at: float, effort: float) -> float | None:
        """When so much work is done that is begun at `at`; None where their hours end before."""
        shifts = self._crew[index].shifts
        for place in range(self._hands[index].shift, len(shifts)):
            start, end = shifts[place]
            start = max(start, at)
            if start + effort <= end:
                self._load.work(start, start + effort)
                return start + effort
            self._load.work(start, end)
            effort -= end - start
        return None

    # Kept between chunks.

    def state(self) -> dict[str, object]:
        """How everything stands, as JSON can say it."""
        return {
            "hands": [[h.doing, h.holds, h.own, h.shift] for h in self._hands],
            "queues": [
                [team, list(skills), queue]
                for team, queues in self._queues.items()
                for skills, queue in queues.items()
                if queue
            ],
            "open": [[told(each.job), each.next, each.member] for each in self._open.values()],
            "events": self._events,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        self._hands = [
            _Hands(doing, holds, [_entry(e) for e in own], shift)
            for doing, holds, own, shift in state["hands"]
        ]
        self._queues = {}
        for team, skills, queue in state["queues"]:
            self._queues.setdefault(team, {})[tuple(skills)] = [_entry(e) for e in queue]
        self._open = {}
        for said, following, member in state["open"]:
            job = untold(said)
            self._open[job.number] = _Open(job, following, member)
        self._events = [(at, what, which) for at, what, which in state["events"]]


def told(job: Job) -> list[object]:
    """A job as a list of plain values."""
    return [
        job.number, job.team, job.arrived, job.rank, list(job.skills),
        [[task.gap, task.effort] for task in job.tasks], job.tail,
        [[p.metric, p.started, p.due, p.verdict, p.done] for p in job.promises],
    ]  # fmt: skip


def untold(said: Sequence[Any]) -> Job:
    number, team, arrived, rank, skills, tasks, tail, promises = said
    return Job(
        number, team, arrived, rank, tuple(skills),
        tuple(Task(*task) for task in tasks), tail,
        tuple(Promise(*promise) for promise in promises),
    )  # fmt: skip


def _entry(said: Sequence[Any]) -> tuple[int, float, int]:
    rank, at, number = said
    return rank, at, number
