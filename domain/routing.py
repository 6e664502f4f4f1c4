"""Who gets a ticket that nobody was chosen for, and why."""

from dataclasses import dataclass
from uuid import UUID

from domain.desk import Desk


@dataclass(frozen=True, slots=True)
class Route:
    team_id: UUID | None
    assignee_id: UUID | None
    reason: str


def route(desk: Desk, *, number: int, topic: str | None, team_id: UUID | None) -> Route | None:
    """The team of the ticket's topic (else the default team) and, where it takes turns, an agent.

    Turns follow the ticket's number: fair over a run of tickets, and the same answer however often
    it is asked. None when the desk has no team for it.
    """
    chosen = team_id or desk.settings.topic_teams.get(topic or "") or desk.settings.default_team_id
    team = desk.teams.get(chosen) if chosen else None
    if team is None or not team.active:
        return None
    why = "already in the team"
    if team_id is None:
        named = topic and desk.settings.topic_teams.get(topic) == team.id
        why = f"topic {topic}" if named else "default team"
    takers = [id_ for id_ in team.members if _takes_tickets(desk, id_)]
    if team.routing == "manual" or not takers:
        return Route(team.id, None, why)
    turn = number % len(takers)
    return Route(team.id, takers[turn], f"{why}; turn {turn + 1} of {len(takers)} in {team.name}")


def _takes_tickets(desk: Desk, agent_id: UUID) -> bool:
    agent = desk.agents.get(agent_id)
    return agent is not None and agent.active and agent.role != "viewer"
