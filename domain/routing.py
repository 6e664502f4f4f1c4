"""Who gets a ticket that nobody was chosen for, and why: the same answer however often asked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from domain import calendars
from domain.desk import Agent, Desk, Team
from domain.sla import Subject
from domain.staffing import Absence
from domain.states import Category
from domain.triage import Spam

if TYPE_CHECKING:
    from domain.tickets.state import Ticket

# What an agent has to work on now; what waits for somebody else takes nobody's time.
COUNTED = frozenset({Category.NEW, Category.OPEN})
# A model that does not answer holds up no ticket for longer.
TRIAGE_PATIENCE = timedelta(minutes=1)
MOST_NAMED = 50  # candidates that an event tells of
MOST_STAND_INS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one agent stands at this moment, read under the lock that routing holds."""

    online: bool = True
    absence: Absence | None = None
    capacity: int | None = None
    skills: Mapping[str, int] = field(default_factory=dict)
    calendar_id: UUID | None = None  # of their working hours; None: always
    # Which turn was their last: the smaller, the longer ago; 0 is never.
    turn: int = 0
    # Open tickets they have, by priority and channel.
    open: Mapping[tuple[str | None, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Roster:
    """How everybody stands who may be given something."""

    standings: Mapping[UUID, Standing]

    def given(self, agent_id: UUID, turn: int, kind: tuple[str | None, str]) -> "Roster":
        """After that agent was given a ticket of that priority and channel."""
        was = self.standings[agent_id]
        has = {**was.open, kind: was.open.get(kind, 0) + 1}
        return Roster({**self.standings, agent_id: replace(was, turn=turn, open=has)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A member of the team, and what speaks against them."""

    agent_id: UUID
    name: str
    load: float | None = None
    capacity: int | None = None
    turn: int = 0
    matched: int = 0  # levels of the skills that the ticket asks for
    why_not: str | None = None

    @property
    def told(self) -> dict[str, object]:
        """As it is written into the timeline."""
        said: dict[str, object] = {"agent_id": str(self.agent_id), "name": self.name}
        if self.load is not None:
            said["load"] = self.load
        if self.capacity is not None:
            said["capacity"] = self.capacity
        if self.matched:
            said["matched"] = self.matched
        if self.why_not is not None:
            said["why_not"] = self.why_not
        return said


@dataclass(frozen=True, slots=True)
class Route:
    team_id: UUID | None
    assignee_id: UUID | None
    reason: str
    # Where somebody was looked for: how, what was asked of them, who there was and why not they.
    how: Mapping[str, object] = field(default_factory=dict)
    turn: int | None = None  # that the agent takes with it


def route(
    desk: Desk,
    subject: Subject,
    *,
    number: int,
    team_id: UUID | None,
    roster: Roster | None = None,
    now: datetime,
) -> Route | None:
    """The team of the ticket's topic (else the default team) and, where that shares out, an agent.

    Nobody who may take it: the team alone, and the ticket waits in its queue. None when the desk
    has no team for it. Without a roster turns follow the ticket's number, and what needs to know
    how people stand waits.
    """
    topic = subject.topic
    chosen = team_id or desk.settings.topic_teams.get(topic or "") or desk.settings.default_team_id
    team = desk.teams.get(chosen) if chosen else None
    if team is None or not team.active:
        return None
    why = "already in the team"
    if team_id is None:
        named = topic and desk.settings.topic_teams.get(topic) == team.id
        why = f"topic {topic}" if named else "default team"
    if team.routing == "manual":
        return Route(team.id, None, why)
    if roster is None:
        return _by_number(desk, team, number, why, now)
    needed, found = candidates(desk, team, subject, roster, now=now)
    how: dict[str, object] = {"strategy": team.routing, "team": team.name}
    if needed:
        how["needs"] = [_spelled(skill, level) for skill, level in sorted(needed.items())]
    free = [one for one in found if one.why_not is None]
    if not free:
        how["candidates"] = [one.told for one in found[:MOST_NAMED]]
        return Route(team.id, None, f"{why}; waits in {team.name}: {why_nobody(found)}", how)
    best = min(free, key=lambda one: _order(team, one))
    others = [one for one in found if one is not best]
    how["candidates"] = [one.told for one in (best, *others)[:MOST_NAMED]]
    turn = 1 + max(one.turn for one in found)
    return Route(team.id, best.agent_id, f"{why}; {_praise(team, best, len(free))}", how, turn)


def candidates(
    desk: Desk, team: Team, subject: Subject, roster: Roster, *, now: datetime
) -> tuple[Mapping[str, int], list[Candidate]]:
    """The skills a ticket needs of whoever takes it, and every member with what is against them."""
    members = [(agent, roster.standings.get(id_)) for agent, id_ in _members(desk, team)]
    needed, wished = _needs(team, subject, [s for _, s in members if s is not None])
    weight = desk.settings.load_weights.of(subject.priority, str(subject.channel))
    found: list[Candidate] = []
    for agent, standing in members:
        if standing is None:
            found.append(
                Candidate(agent_id=agent.id, name=agent.name, why_not="has just left or joined")
            )
            continue
        load = _load(desk, standing)
        asked = needed.keys() | wished if team.routing == "skill_based" else frozenset[str]()
        found.append(
            Candidate(
                agent_id=agent.id,
                name=agent.name,
                load=load,
                capacity=standing.capacity,
                turn=standing.turn,
                matched=sum(standing.skills.get(skill, 0) for skill in asked),
                why_not=_against(desk, standing, needed, load, weight, now),
            )
        )
    return needed, found


def anybody_free(desk: Desk, team: Team, roster: Roster, *, now: datetime) -> bool:
    """Whether any member could take any ticket at all: skills and weights aside."""
    return any(
        (standing := roster.standings.get(id_)) is not None
        and _against(desk, standing, {}, _load(desk, standing), 0.0, now) is None
        for _, id_ in _members(desk, team)
    )


def back_at(desk: Desk, team: Team, roster: Roster, *, now: datetime) -> datetime | None:
    """When the next member returns by the clock alone: an absence ends, working hours begin."""
    moments: list[datetime] = []
    for _, id_ in _members(desk, team):
        standing = roster.standings.get(id_)
        if standing is None:
            continue
        at = now
        if standing.absence is not None and standing.absence.covers(at):
            if standing.absence.until is None:
                continue
            at = standing.absence.until
        calendar = desk.calendar(standing.calendar_id)
        if calendar is not None and not calendars.is_open(at, calendar):
            try:
                at = calendars.next_opening(at, calendar)
            except calendars.NeverOpen:
                continue
        if at > now:
            moments.append(at)
    return min(moments, default=None)


def stand_in(desk: Desk, agent: Agent, team: Team | None, *, now: datetime) -> Agent | None:
    """Who takes over for somebody absent: their replacement, or that one's, who is there."""
    seen = {agent.id}
    current = agent
    for _ in range(MOST_STAND_INS):
        wanted = current.absence.replacement_id if current.absence else None
        nextone = desk.agents.get(wanted) if wanted else None
        if nextone is None or nextone.id in seen:
            return None
        seen.add(nextone.id)
        current = nextone
        absent = current.absence is not None and current.absence.covers(now)
        belongs = team is None or current.id in team.members
        if not absent and belongs and _takes_tickets(current):
            return current
    return None


def stands_in_limited(desk: Desk, ticket: "Ticket", *, now: datetime) -> frozenset[UUID]:
    """A team of whoever stands in for the ticket's absent agent, where they can take so much only.

    Empty where nobody is absent, nobody stands in, or whoever does takes any number.
    """
    agent = desk.agents.get(ticket.assignee_id) if ticket.assignee_id else None
    if agent is None or agent.absence is None or not agent.absence.covers(now):
        return frozenset()
    team = desk.teams.get(ticket.team_id) if ticket.team_id else None
    other = stand_in(desk, agent, team, now=now)
    if other is None or other.capacity is None:
        return frozenset()
    if team is not None:
        return frozenset({team.id})
    theirs = sorted(one.id for one in desk.teams.values() if other.id in one.members)
    return frozenset(theirs[:1])


def why_full(desk: Desk, ticket: "Ticket", agent_id: UUID, roster: Roster | None) -> str | None:
    """What somebody holds who cannot take the ticket too; None where they can, or nobody looked."""
    standing = roster.standings.get(agent_id) if roster is not None else None
    if standing is None:
        return None
    weight = desk.settings.load_weights.of(ticket.priority, str(ticket.channel))
    return _full(standing, _load(desk, standing), weight)


# The queue: not a list that is kept, but what the tickets themselves say.


def is_queued(desk: Desk, ticket: "Ticket", *, now: datetime) -> bool:
    """Whether a ticket waits to be given to somebody of its team. The SQL of queues agrees."""
    team = desk.teams.get(ticket.team_id) if ticket.team_id else None
    return (
        team is not None
        and team.active
        and team.routing != "manual"
        and why_held(ticket, now=now) is None
    )


def why_held(ticket: "Ticket", *, now: datetime) -> str | None:
    """Why nobody is to be found for a ticket, whatever its team does; None when somebody is."""
    if ticket.assignee_id is not None:
        return "somebody has it"
    if ticket.category not in COUNTED:
        return f"it is {ticket.category}"
    if ticket.snoozed is not None:
        return "it is snoozed"
    if "assignee_id" in ticket.decided:
        return "somebody decided that nobody has it"
    if ticket.spam == Spam.SPAM:
        return "it is spam"
    if ticket.triage == "pending" and now < ticket.created_at + TRIAGE_PATIENCE:
        return "triage comes first"
    return None


def to_look_at(desk: Desk, before: "Ticket | None", after: "Ticket") -> frozenset[UUID]:
    """Teams whose queue may move because of a change: it began to wait, or somebody got free."""
    teams: set[UUID] = set()
    now = after.updated_at
    if is_queued(desk, after, now=now) and not (
        before is not None and before.team_id == after.team_id and is_queued(desk, before, now=now)
    ):
        assert after.team_id is not None
        teams.add(after.team_id)
    holder = desk.agents.get(before.assignee_id) if before and before.assignee_id else None
    if holder is not None and holder.capacity is not None:
        assert before is not None
        if _takes(desk, after, holder.id) < _takes(desk, before, holder.id):
            teams |= {team.id for team in sharing(desk) if holder.id in team.members}
    return frozenset(teams)


def sharing(desk: Desk) -> Iterator[Team]:
    """The teams whose tickets find their agents by themselves."""
    return (t for t in desk.teams.values() if t.active and t.routing != "manual")


# Parts.


def _members(desk: Desk, team: Team) -> Iterator[tuple[Agent, UUID]]:
    for id_ in team.members:
        agent = desk.agents.get(id_)
        if agent is not None and _takes_tickets(agent):
            yield agent, id_


def _takes_tickets(agent: Agent) -> bool:
    return agent.active and agent.role != "viewer"


def _by_number(desk: Desk, team: Team, number: int, why: str, now: datetime) -> Route:
    takers = [
        id_
        for agent, id_ in _members(desk, team)
        if agent.absence is None or not agent.absence.covers(now)
    ]
    if team.routing != "round_robin" or not takers:
        return Route(team.id, None, why)
    turn = number % len(takers)
    return Route(team.id, takers[turn], f"{why}; turn {turn + 1} of {len(takers)} in {team.name}")


def _needs(
    team: Team, subject: Subject, standings: list[Standing]
) -> tuple[Mapping[str, int], frozenset[str]]:
    """Skills that are needed, with their levels, and those that are merely wished for.

    What a ticket says of itself asks for a skill only where somebody in the team has it at all: a
    language that nobody claims would be waited for without end. A rule of the team always does.
    """
    if team.routing != "skill_based":
        return {}, frozenset()
    known = {skill for standing in standings for skill in standing.skills}
    needed: dict[str, int] = {}
    wished: set[str] = set()
    said: dict[str, tuple[str, ...]] = {
        "language": (subject.language,) if subject.language else (),
        "topic": (subject.topic,) if subject.topic else (),
        "tag": subject.tags,
    }
    for source in team.rules.skills_from:
        for value in said[source]:
            skill = f"{source}:{value.lower()}"
            if skill in known:
                needed[skill] = max(1, needed.get(skill, 0))
    for need in team.rules.needs:
        holds = (
            (need.language is None or need.language == subject.language)
            and (need.topic is None or need.topic == subject.topic)
            and (need.tag is None or need.tag in subject.tags)
            and (need.priority is None or need.priority == subject.priority)
            and (need.channel is None or need.channel == subject.channel)
        )
        if holds and need.preferred:
            wished.add(need.skill)
        elif holds:
            needed[need.skill] = max(need.level, needed.get(need.skill, 0))
    return needed, frozenset(wished)


def _load(desk: Desk, standing: Standing) -> float:
    weights = desk.settings.load_weights
    return round(
        sum(n * weights.of(priority, channel) for (priority, channel), n in standing.open.items()),
        3,
    )


def _takes(desk: Desk, ticket: "Ticket", agent_id: UUID) -> float:
    """How much of an agent's capacity a ticket takes."""
    counts = ticket.category in COUNTED and ticket.snoozed is None
    if ticket.assignee_id != agent_id or not counts:
        return 0.0
    return desk.settings.load_weights.of(ticket.priority, ticket.channel)


def _against(
    desk: Desk,
    standing: Standing,
    needed: Mapping[str, int],
    load: float,
    weight: float,
    now: datetime,
) -> str | None:
    absence = standing.absence
    if absence is not None and absence.covers(now):
        return f"absent until {absence.until:%Y-%m-%d %H:%M %Z}" if absence.until else "absent"
    if not standing.online:
        return "away"
    calendar = desk.calendar(standing.calendar_id)
    if calendar is not None and not calendars.is_open(now, calendar):
        return "outside their working hours"
    for skill, level in sorted(needed.items()):
        if standing.skills.get(skill, 0) < level:
            return f"lacks {_spelled(skill, level)}"
    return _full(standing, load, weight)


def _full(standing: Standing, load: float, weight: float) -> str | None:
    # One that weighs more than anybody can carry still goes to somebody who has nothing else.
    full = standing.capacity is not None and (
        load >= standing.capacity or (load > 0 and load + weight > standing.capacity)
    )
    return f"has {load:g} of {standing.capacity}" if full else None


def why_nobody(found: list[Candidate]) -> str:
    """In a few words, why none of them takes it."""
    if not found:
        return "nobody in it takes tickets"
    reasons = [one.why_not or "" for one in found]
    lacking = sorted({why.removeprefix("lacks ") for why in reasons if why.startswith("lacks ")})
    full = sum(why.startswith("has ") and " of " in why for why in reasons)
    away = sum(why.startswith(("absent", "away", "outside")) for why in reasons)
    parts = []
    if lacking:
        parts.append(f"nobody free has {', '.join(lacking)}")
    if full:
        parts.append(f"{full} at capacity")
    if away:
        parts.append(f"{away} not there")
    return ", ".join(parts) or "nobody is free"


def _order(team: Team, one: Candidate) -> tuple[float, float, int, UUID]:
    """Smallest first; what is equal goes to whoever waited longest, and then by id."""
    match team.routing:
        case "least_loaded":
            return (0, one.load or 0, one.turn, one.agent_id)
        case "skill_based":
            return (-one.matched, one.load or 0, one.turn, one.agent_id)
        case _:
            return (0, 0, one.turn, one.agent_id)


def _praise(team: Team, best: Candidate, free: int) -> str:
    load = f"{best.load or 0:g}" + ("" if best.capacity is None else f"/{best.capacity}")
    match team.routing:
        case "least_loaded":
            return f"least loaded {load}, of {free} free in {team.name}"
        case "skill_based":
            return f"best skilled with load {load}, of {free} free in {team.name}"
        case _:
            return f"longest since their last, of {free} free in {team.name}"


def _spelled(skill: str, level: int) -> str:
    return skill if level == 1 else f"{skill} at level {level}"


__all__ = [
    "COUNTED",
    "TRIAGE_PATIENCE",
    "Candidate",
    "Roster",
    "Route",
    "Standing",
    "anybody_free",
    "back_at",
    "candidates",
    "is_queued",
    "route",
    "sharing",
    "stand_in",
    "stands_in_limited",
    "to_look_at",
    "why_full",
    "why_held",
    "why_nobody",
]
