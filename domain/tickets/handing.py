"""A ticket finds its team and agent, or leaves the hands of somebody who is not there."""

from uuid import UUID

from domain.errors import Invalid, NotAMember
from domain.routing import route, stand_in, why_full
from domain.states import ActorKind, Category
from domain.tickets.draft import Draft
from domain.tickets.events import Keep
from domain.tickets.state import Actor
from domain.tickets.statuses import enter_category


def assign(
    draft: Draft,
    *,
    team_id: UUID | Keep | None,
    assignee_id: UUID | Keep | None,
    actor: Actor,
) -> None:
    """Team and agent as asked; an agent outside the team is refused or, if kept, let go."""
    wanted = draft.team_id if isinstance(team_id, Keep) else team_id
    team = draft.desk.teams.get(wanted) if wanted else None
    if not isinstance(team_id, Keep) and team_id is not None and not (team and team.active):
        raise Invalid("There is no such team.", fields={"/team_id": "names no active team"})
    if not isinstance(assignee_id, Keep) and assignee_id is not None:
        agent = draft.desk.agents.get(assignee_id)
        if agent is None or not agent.active or agent.role == "viewer":
            raise Invalid(
                "There is no such agent.",
                fields={"/assignee_id": "names nobody who takes tickets"},
            )
        if team is not None and assignee_id not in team.members:
            raise NotAMember(
                f"{agent.name} is not in {team.name}. Choose a member, or change the team too.",
                fields={"/assignee_id": f"is not in {team.name}"},
            )
    draft.set("team_id", wanted)  # nothing is set before all of it was found to be right
    if not isinstance(assignee_id, Keep):
        draft.set("assignee_id", assignee_id)
    elif team is not None and draft.assignee_id not in (None, *team.members):
        draft.set("assignee_id", None)
        draft.undecided("assignee_id")  # that nobody has it was nobody's wish
    if draft.assignee_id is not None and draft.category is Category.NEW:
        enter_category(draft, Category.OPEN)
    if draft.assignee_id is not None and draft.assignee_id != draft.was.assignee_id:
        draft.tell([draft.assignee_id], "assigned")


def hand_out(draft: Draft) -> None:
    """Gives a ticket that nobody has to a team and, where one of it may take it, to an agent."""
    # A person who chose the team left the agent open; one who took the team away meant it.
    settled = {"assignee_id"} if draft.team_id else {"assignee_id", "team_id"}
    if (
        draft.assignee_id is not None
        or draft.is_spam
        or not draft.category.is_active
        or settled & set(draft.decisions)
    ):
        return
    way = route(
        draft.desk,
        draft.stands,
        number=draft.was.number,
        team_id=draft.team_id,
        roster=draft.roster,
        now=draft.now,
    )
    if way is None:
        return
    assign(
        draft, team_id=way.team_id, assignee_id=way.assignee_id or Keep(), actor=draft.event.actor
    )
    if not draft.changed:
        return
    if way.assignee_id is not None and way.turn is not None:
        draft.turns.append((way.assignee_id, way.turn))
    draft.record(
        "assigned",
        key=f"{draft.event.key}/route",
        actor=Actor(ActorKind.AUTOMATION),
        cause={**draft.event.cause, "rule": "routing"},
        data={"reason": way.reason, **({"routing": way.how} if way.how else {})},
    )
    draft.observe()


def pass_on(draft: Draft) -> None:
    """What a customer writes to somebody absent goes to whoever stands in, or back to the team."""
    agent = draft.desk.agents.get(draft.assignee_id) if draft.assignee_id else None
    if agent is None or agent.absence is None or not agent.absence.covers(draft.now):
        return
    team = draft.desk.teams.get(draft.team_id) if draft.team_id else None
    rule = team.rules.on_absence if team else "replacement"
    if rule == "keep":
        return
    until = agent.absence.until
    reason = f"{agent.name} is absent" + (f" until {until:%Y-%m-%d %H:%M %Z}" if until else "")
    other = stand_in(draft.desk, agent, team, now=draft.now) if rule == "replacement" else None
    full = why_full(draft.desk, draft.was, other.id, draft.roster) if other is not None else None
    if other is not None:
        reason = f"{reason}; {other.name} stands in"
    if other is not None and full is None:
        assign(draft, team_id=Keep(), assignee_id=other.id, actor=draft.event.actor)
    else:
        draft.set("assignee_id", None)
        draft.undecided("assignee_id")
        reason += f" and {full}" if full else ""
        reason = f"{reason}; back to {team.name if team else 'nobody in particular'}"
    draft.record(
        "assigned",
        key=f"{draft.event.key}/absence",
        actor=Actor(ActorKind.AUTOMATION),
        cause={**draft.event.cause, "rule": "absence"},
        data={"reason": reason},
    )
    draft.observe()
