"""How people stand, as routing reads and writes it: statements for round trips made anyway."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from psycopg.types.json import Jsonb

from domain import routing
from domain.desk import Desk
from domain.routing import Roster, Standing
from domain.staffing import Absence
from domain.tickets import (
    CustomerReplied,
    Decision,
    Escalated,
    Labelled,
    Offered,
    Payload,
    Ticket,
    Triaged,
)
from domain.triage import Spam
from models.session import Row, Statement, Work

DESTINATION = "routing"


def at_creation(
    desk: Desk | None, *, team_id: uuid.UUID | None, assignee_id: uuid.UUID | None
) -> list[Statement]:
    """What a new ticket has to ask: nothing, unless its team finds somebody by itself."""
    if desk is None or desk.settings.triage or assignee_id is not None:
        return []
    wanted = team_id or desk.settings.default_team_id
    teams = [team.id for team in routing.sharing(desk) if team.id == wanted]
    return [roster_of(teams)] if teams else []


def at_events(desk: Desk | None, events: Iterable[tuple[int, Payload]]) -> list[Statement]:
    """What events have to ask that may give a ticket to somebody; most ask nothing."""
    if desk is None:
        return []
    sharing = {team.id for team in routing.sharing(desk)}
    teams: set[uuid.UUID] = set()
    numbers: list[int] = []
    for number, payload in events:
        match payload:
            case Triaged(verdict):
                numbers.append(number)
                teams |= sharing & _routed_to(desk, verdict.topic.label)
                if verdict.team is not None:
                    teams |= {one for one in sharing if str(one) == verdict.team.label}
            case Labelled(spam=spam, topic=topic, team_id=wanted) if spam == Spam.NOT_SPAM:
                numbers.append(number)  # it was kept back until now
                teams |= sharing & ({wanted} if wanted else _routed_to(desk, topic))
            case Escalated(team_id=wanted, assignee_id=None) if wanted in sharing:
                teams |= {wanted}
            case Offered():
                numbers.append(number)
    if not sharing or not (teams or numbers):
        return []
    return [roster_of(teams, numbers=numbers, sharing=sharing)]


def at_absences(
    desk: Desk,
    events: Iterable[tuple[int, Payload]],
    tickets: Mapping[int, Ticket],
    *,
    now: datetime,
) -> list[Statement]:
    """What is to be asked where a customer writes to somebody absent: what they hold who stand in.

    Nothing, unless whoever stands in can take only so much.
    """
    teams: set[uuid.UUID] = set()
    for number, payload in events:
        if isinstance(payload, CustomerReplied):
            teams |= routing.stands_in_limited(desk, tickets[number], now=now)
    return [roster_of(teams)] if teams else []


def _routed_to(desk: Desk, topic: str | None) -> set[uuid.UUID]:
    """Where a ticket of that topic goes, as far as it is known, and where all others go."""
    settings = desk.settings
    named = {settings.topic_teams.get(topic)} if topic else set(settings.topic_teams.values())
    return {one for one in (*named, settings.default_team_id) if one is not None}


def roster_of(
    teams: Iterable[uuid.UUID],
    *,
    numbers: Iterable[int] = (),
    sharing: Iterable[uuid.UUID] = (),
    moving: bool = True,
) -> Statement:
    """Everybody of the teams, and of those teams among `sharing` that the tickets are in.

    `moving` holds them until the commit: who is given something is decided one after the other.
    Tickets are locked before agents, always.
    """
    return (
        "select * from holdfast_roster(%s::uuid[], %s::bigint[], %s::uuid[], %s)",
        (sorted(teams), list(numbers), sorted(sharing), moving),
    )


def to_roster(rows: Sequence[Row]) -> Roster:
    return Roster({row["user_id"]: to_standing(row) for row in rows})


def to_standing(row: Row) -> Standing:
    return Standing(
        online=row["presence"] == "online",
        absence=to_absence(row),
        capacity=row["capacity"],
        skills=row["skills"],
        calendar_id=row["calendar_id"],
        turn=row["turn"],
        open={(priority, channel): n for priority, channel, n in row["open"] or ()},
    )


def to_absence(row: Row) -> Absence | None:
    if not row["absent"]:
        return None
    return Absence(row["absent_from"], row["absent_until"], row["replacement_id"])


def after(roster: Roster | None, decision: Decision) -> Roster | None:
    """The roster once a decision has given something to somebody of it."""
    if roster is None:
        return None
    for agent_id, turn in decision.turns:
        roster = roster.given(agent_id, turn, _kind(decision.ticket))
    return roster


def _kind(ticket: Ticket) -> tuple[str | None, str]:
    return (ticket.priority, str(ticket.channel))


def written(desk: Desk, before: Ticket | None, decision: Decision) -> list[Statement]:
    """What a decision leaves behind for routing: turns that were taken, queues that may move."""
    statements: list[Statement] = [
        (
            "insert into routing_turns (tenant_id, user_id, turn, given_at)"
            " values (%s, %s, %s, %s) on conflict (tenant_id, user_id)"
            " do update set turn = excluded.turn, given_at = excluded.given_at",
            (desk.tenant_id, agent_id, turn, decision.ticket.updated_at),
        )
        for agent_id, turn in decision.turns
    ]
    teams = routing.to_look_at(desk, before, decision.ticket)
    if teams:
        statements.append(look_at(desk.tenant_id, teams, because=decision.entries[-1].type))
    return statements


def look_at(tenant_id: uuid.UUID, teams: Iterable[uuid.UUID], *, because: str) -> Statement:
    """The queues of these teams are gone through soon after the commit, whatever dies meanwhile."""
    return (
        "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, trace,"
        " created_at, available_at)"
        " select %s, %s, t, 0, %s, 0, %s, now(), now() from unnest(%s::uuid[]) t",
        (DESTINATION, tenant_id, because, Jsonb({}), sorted(teams)),
    )


def hold(agents: Iterable[uuid.UUID]) -> Statement:
    """Nobody is given anything meanwhile: for whoever changes what routing reads of them."""
    return ("select holdfast_hold_agents(%s::uuid[])", (list(agents),))


async def queues_may_move(
    work: Work,
    because: str,
    *,
    user_id: uuid.UUID | None = None,
    team_id: uuid.UUID | None = None,
    calendar_id: uuid.UUID | None = None,
    all_teams: bool = False,
) -> None:
    """Queues are gone through soon: of a team, of somebody's teams, of whoever works by a calendar.

    Those that share out their tickets, that is; the others give out nothing.
    """
    await work.execute(
        "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, created_at,"
        " available_at) select :to, t.tenant_id, t.id, 0, :because, 0, now(), now() from teams t"
        " where t.tenant_id = :tenant and t.active and t.routing <> 'manual'"
        " and (:all or t.id = cast(:team as uuid) or exists (select from team_members m"
        " join users u on u.tenant_id = m.tenant_id and u.id = m.user_id"
        " where m.tenant_id = t.tenant_id and m.team_id = t.id"
        " and (u.id = cast(:user as uuid) or u.calendar_id = cast(:calendar as uuid))))",
        {
            "to": DESTINATION,
            "because": because,
            "tenant": work.tenant_id,
            "team": team_id,
            "user": user_id,
            "calendar": calendar_id,
            "all": all_teams,
        },
    )
    work.wake_relay()


__all__ = [
    "DESTINATION",
    "after",
    "at_absences",
    "at_creation",
    "at_events",
    "hold",
    "look_at",
    "queues_may_move",
    "roster_of",
    "to_absence",
    "to_roster",
    "to_standing",
    "written",
]
