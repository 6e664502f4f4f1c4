"""Whom a step wakes, and who hears of it where those it names are not there."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from domain.tickets.draft import Draft


@dataclass(frozen=True, slots=True)
class Woken:
    """Who is told. `said` is for the timeline and the notice: who was meant and is not there, and
    who is told instead."""

    people: frozenset[UUID]
    said: dict[str, object] = field(default_factory=dict)


def wake(draft: Draft, to: Iterable[object]) -> Woken:
    """Those whom a step names, as far as they are there; never nobody without a word.

    Where nobody is on call, those who lead the team are; where a step would reach nobody at all,
    those who lead, then supervisors and admins, and whoever of them is there first. Only what is
    for watchers alone may find none: nobody has to watch.
    """
    named = list(to)
    people: set[UUID] = set()
    missing: list[str] = []
    for one in named:
        found = _found(draft, one)
        people |= found
        if not found and one != "watchers":
            missing.append(str(one))
    if not missing or (people and "on_call" not in missing):
        return Woken(frozenset(people))
    instead, others = _instead(draft)
    if people and instead != "team_leads":
        return Woken(frozenset(people), {"nobody": missing})  # somebody hears of it as it is
    return Woken(frozenset(people | others), {"nobody": missing, "instead": instead})


def call_for(draft: Draft) -> Woken:
    """Who hears of what a step could not do: those who lead, else supervisors and admins."""
    instead, people = _instead(draft)
    return Woken(frozenset(people), {"instead": instead})


def _found(draft: Draft, one: object) -> set[UUID]:
    """Who is meant, of those who work here."""
    desk, now = draft.desk, draft.now
    team = desk.teams.get(draft.team_id) if draft.team_id else None
    found: Iterable[UUID] = ()
    match one:
        case UUID():
            found = (one,)
        case "assignee" if draft.assignee_id:
            found = (draft.assignee_id,)
        case "team" if team:
            found = team.members
        case "team_leads" if team:
            found = team.leads
        case "on_call" if team:
            found = desk.on_call(team, now)
        case "supervisors":
            found = desk.supervisors
        case "admins":
            found = (agent.id for agent in desk.agents.values() if agent.role == "admin")
        case "watchers":
            found = draft.watchers
    return {user for user in found if _works_here(draft, user)}


def _instead(draft: Draft) -> tuple[str, set[UUID]]:
    """Those who lead and are there, else supervisors and admins who are, else all of them."""
    team = draft.desk.teams.get(draft.team_id) if draft.team_id else None
    leads = {user for user in (team.leads if team else ()) if _works_here(draft, user)}
    supervisors = set(draft.desk.supervisors)
    for name, users in (("team_leads", leads), ("supervisors", supervisors)):
        if present := {user for user in users if not _is_away(draft, user)}:
            return name, present
    everybody = leads | supervisors
    return ("everybody" if everybody else "nobody"), everybody


def _works_here(draft: Draft, user: UUID) -> bool:
    agent = draft.desk.agents.get(user)
    return agent is not None and agent.active


def _is_away(draft: Draft, user: UUID) -> bool:
    absence = draft.desk.agents[user].absence
    return absence is not None and absence.covers(draft.now)
