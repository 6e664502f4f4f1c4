"""The queues of teams: who waits and why, and giving it out the moment somebody is free.

A queue is not kept: it is the open tickets of a team that nobody has. What may move one writes the
team into the outbox with its own commit, for the destination `routing`; the relay goes through it.
"""

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from domain import routing
from domain.desk import Desk, Team
from domain.errors import Refusal, Unavailable
from domain.routing import Candidate, Roster
from domain.sla import Subject
from domain.states import Category
from domain.tickets import SYSTEM, Event, Offered, Ticket
from domain.tickets.standing import subject_of
from models import ledger
from models.base import new_id
from models.session import Database, Row, Statement, Work
from services import tiers
from services.cursors import BadCursor, pack, unpack
from services.desks import Desks
from services.relay import Fact
from services.routing import DESTINATION, look_at, roster_of, to_roster
from services.tickets import Step, Tickets, clock

logger = logging.getLogger(__name__)

PAGE = 200  # most often the first few find somebody
FURTHER = 1000  # where all of those are held up, so many more are sorted out at a time
# The relay's transaction is open meanwhile; what is left over is gone through next.
LONGEST_SECONDS = 15.0

# As domain.routing.why_held has it; triage is looked at there.
_WAITS = "category in ('new', 'open') and snoozed is null and assignee_id is null"
_RANK = "case priority when 'urgent' then 0 when 'high' then 1 when 'low' then 3 else 2 end"
# What has no deadline comes last.
_ORDER = f"coalesce(next_due_at, 'infinity'), {_RANK}, created_at, id"


class QueueDestination:
    """Where the relay tells whose queue may move: the queue is gone through at once.

    Whose tier changed is told here too: with it, the order of the queues may.
    """

    name = DESTINATION
    locks_tickets = False

    def __init__(
        self,
        database: Database,
        tickets: Tickets,
        desks: Desks,
        *,
        now: Callable[[], datetime] = clock,
    ) -> None:
        self._database = database
        self._tickets = tickets
        self._desks = desks
        self._now = now

    async def tell(self, facts: Sequence[Fact]) -> dict[uuid.UUID, str]:
        failed: dict[uuid.UUID, str] = {}
        ends = time.monotonic() + LONGEST_SECONDS
        for fact in facts:
            try:
                if fact.kind == tiers.KIND:
                    await tiers.carry_on(self._database, self._tickets, fact)
                    continue
                await self.drain(fact.tenant_id, fact.ticket_id, because=fact.kind, ends=ends)
            except Unavailable:
                raise
            except Exception as error:
                logger.exception("the queue (or tier) of %s does not move", fact.ticket_id)
                failed[fact.ticket_id] = f"{type(error).__name__}: see the worker's log"
        return failed

    async def drain(
        self,
        tenant_id: uuid.UUID,
        team_id: uuid.UUID,
        *,
        because: str,
        ends: float | None = None,
    ) -> int:
        """Gives out what waits in a team's queue, as far as anybody may take it; how many.

        Each in a transaction of its own that locks the ticket and decides anew, so that it may be
        broken off, repeated, or run twice at once. Whoever returns by the clock alone is noted.
        """
        ends = time.monotonic() + LONGEST_SECONDS if ends is None else ends
        given, tried = 0, set[uuid.UUID]()
        untriaged: list[datetime] = []  # when those that a model is to look at are given out anyway
        while True:
            async with self._database.transaction(tenant_id) as work:
                desk = await self._desks.current(work)
                team = desk.teams.get(team_id)
                if team is None or not team.active or team.routing == "manual":
                    return given
                rows, standing = await work.batch(
                    _waiting(tenant_id, team_id, but=tried, most=FURTHER if tried else PAGE),
                    roster_of([team_id], moving=False),
                )
                now, roster = self._now(), to_roster(standing)
                page = [ledger.to_ticket(row) for row in rows]
                refused = set[Kind]()  # whom none of them takes, as they stand now
                if not page and not tried:
                    return given
                untriaged += [
                    ticket.created_at + routing.TRIAGE_PATIENCE
                    for ticket in page
                    if ticket.triage == "pending"
                ]
                if not page or not routing.anybody_free(desk, team, roster, now=now):
                    await _again_later(work, desk, team, roster, untriaged, now=now)
                    return given
            for ticket in page:
                if time.monotonic() > ends:
                    async with self._database.transaction(tenant_id) as work:
                        await work.batch(look_at(tenant_id, [team_id], because=because))
                        work.wake_relay()
                    return given
                tried.add(ticket.id)
                if _kind(ticket) in refused or not routing.is_queued(desk, ticket, now=now):
                    continue
                if not _fits(desk, ticket, roster, now=now):
                    refused.add(_kind(ticket))
                    continue
                after = await self._offer(tenant_id, ticket, because=because)
                if after is None:
                    break  # somebody was faster, or people stand otherwise by now
                given += 1
                agent_id, turn = after
                roster = roster.given(agent_id, turn, (ticket.priority, str(ticket.channel)))
                if not routing.anybody_free(desk, team, roster, now=now):
                    break

    async def _offer(
        self, tenant_id: uuid.UUID, ticket: Ticket, *, because: str
    ) -> tuple[uuid.UUID, int] | None:
        """Whom the ticket was given to, and in which turn."""
        event = Event(
            key=f"offer/{ticket.id}/{new_id()}",
            actor=SYSTEM,
            payload=Offered(),
            cause={"queue": str(ticket.team_id), "because": because},
        )
        try:
            async with self._database.transaction(tenant_id) as work:
                [outcome] = await self._tickets.handle(work, Step(ticket.number, event))
        except Refusal:  # one that cannot be given must not hold up those behind it
            logger.exception("ticket %s cannot be given to anybody", ticket.number)
            return None
        turns = outcome.decision.turns if outcome.decision else ()
        return turns[0] if turns else None


# All that decides who may take a ticket, and thousands may have in common.
Kind = tuple[str | None, str | None, tuple[str, ...], str | None, str]


def _kind(ticket: Ticket) -> Kind:
    return (ticket.language, ticket.topic, ticket.tags, ticket.priority, ticket.channel)


def _fits(desk: Desk, ticket: Ticket, roster: Roster, *, now: datetime) -> bool:
    """Whether anybody of its team takes it, as they stand."""
    subject = subject_of(lambda name: getattr(ticket, name))
    way = routing.route(
        desk, subject, number=ticket.number, team_id=ticket.team_id, roster=roster, now=now
    )
    return way is not None and way.assignee_id is not None


def _waiting(
    tenant_id: uuid.UUID, team_id: uuid.UUID, *, but: set[uuid.UUID], most: int
) -> Statement:
    return (
        f"select {', '.join(ledger.TICKET_NAMES)} from tickets where tenant_id = %s"
        f" and team_id = %s and {_WAITS} and 'assignee_id' <> all(decided)"
        f" and id <> all(%s::uuid[]) order by {_ORDER} limit %s",
        (tenant_id, team_id, list(but), most),
    )


async def _again_later(
    work: Work,
    desk: Desk,
    team: Team,
    roster: Roster,
    moments: Sequence[datetime],
    *,
    now: datetime,
) -> None:
    """When somebody returns without saying so, or triage was waited for long enough."""
    back = routing.back_at(desk, team, roster, now=now)
    ahead = [at for at in (*moments, back) if at is not None and at > now]
    if not ahead:
        return
    await work.batch(
        (
            "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, created_at,"
            " available_at) select %(to)s, %(tenant)s, %(team)s, 0, 'somebody is back', 0, now(),"
            " %(at)s where not exists (select from outbox where destination = %(to)s"
            " and tenant_id = %(tenant)s and ticket_id = %(team)s and available_at = %(at)s)",
            {"to": DESTINATION, "tenant": desk.tenant_id, "team": team.id, "at": min(ahead)},
        )
    )


async def sweep(relay_database: Database) -> int:
    """Tells of every queue that somebody waits in, whatever was forgotten; how many."""
    async with relay_database.transaction(None) as work:
        rows = await work.rows(
            "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, created_at,"
            " available_at) select 'routing', w.tenant_id, w.team_id, 0, 'reconciled', 0, now(),"
            " now() from (select distinct t.tenant_id, t.team_id from tickets t join teams m"
            " on m.tenant_id = t.tenant_id and m.id = t.team_id and m.routing <> 'manual'"
            f" and m.active where {_WAITS} and t.team_id is not null) w where not exists"
            " (select from outbox o where o.destination = 'routing' and o.tenant_id = w.tenant_id"
            " and o.ticket_id = w.team_id and o.available_at <= now()) returning id"
        )
        if rows:
            work.wake_relay()
    return len(rows)


# To look at.


@dataclass(frozen=True, slots=True)
class Waiting:
    """A ticket nobody has, and why not."""

    ticket: Ticket
    position: int
    why: str
    queued: bool  # whether it is given out by itself


@dataclass(frozen=True, slots=True)
class Queue:
    """A team's queue, in the order in which it is given out, and everybody who could take it."""

    team: Team
    total: int
    waiting: list[Waiting]
    members: list[Candidate]
    next: str | None = None  # where the page after this one begins


@dataclass(frozen=True, slots=True)
class Explained:
    """How a ticket came to whoever has it, and whom it would find now."""

    ticket: Ticket
    team: Team | None
    last: Row | None  # the event that changed its team or agent last
    why: str
    queued: bool
    position: int | None
    needs: Sequence[str] = ()
    candidates: list[Candidate] = field(default_factory=list)
    would_go_to: uuid.UUID | None = None


async def queue(
    work: Work,
    desk: Desk,
    team: Team,
    *,
    limit: int,
    now: datetime,
    cursor: str | None = None,
) -> Queue:
    """Who waits in a team, `limit` of them from the first or from the cursor on, and why each does.

    Raises BadCursor.
    """
    after = _read_cursor(cursor, team.id) if cursor else None
    beyond, values = (f" and ({_ORDER}) > (%s, %s, %s, %s)", after) if after else ("", ())
    where = f"from tickets where tenant_id = %s and team_id = %s and {_WAITS}"
    mine = (work.tenant_id, team.id)
    rows, [count], standing = await work.batch(
        (
            f"select {', '.join(ledger.TICKET_NAMES)} {where}{beyond} order by {_ORDER} limit %s",
            (*mine, *values, limit + 1),
        ),
        (
            f"select count(*) as n, count(*) filter (where true{beyond}) as left {where}",
            (*values, *mine),
        ),
        roster_of([team.id], moving=False),
    )
    roster = to_roster(standing)
    before = count["n"] - count["left"] if after else 0
    waiting = [
        Waiting(ticket, place, *_why(desk, team, ticket, roster, now=now))
        for place, ticket in enumerate(map(ledger.to_ticket, rows[:limit]), start=before + 1)
    ]
    _, members = routing.candidates(desk, team, _anything(waiting), roster, now=now)
    following = _write_cursor(waiting[-1].ticket, team.id) if len(rows) > limit else None
    return Queue(team, count["n"], waiting, members, following)


async def explain(work: Work, desk: Desk, ticket: Ticket, *, now: datetime) -> Explained:
    """Why a ticket is where it is."""
    team = desk.teams.get(ticket.team_id) if ticket.team_id else None
    last, standing, before = await work.batch(
        (
            "select seq, type, actor_kind, actor_id, cause, changes, data, occurred_at from events"
            " where tenant_id = %s and ticket_id = %s"
            " and (jsonb_exists(changes, 'assignee_id') or jsonb_exists(changes, 'team_id'))"
            " order by seq desc limit 1",
            (work.tenant_id, ticket.id),
        ),
        roster_of([team.id] if team else [], moving=False),
        (  # counted there, however many wait: nothing where the ticket itself does not
            f"select count(*) as n from tickets where tenant_id = %(tenant)s"
            f" and team_id = %(team)s and {_WAITS} and ({_ORDER}) <= (select {_ORDER} from tickets"
            f" where tenant_id = %(tenant)s and team_id = %(team)s and id = %(id)s and {_WAITS})",
            {"tenant": work.tenant_id, "team": ticket.team_id, "id": ticket.id},
        ),
    )
    roster = to_roster(standing)
    position = before[0]["n"] or None
    found = last[0] if last else None
    if team is None:
        return Explained(ticket, None, found, "it is in no team", False, None)
    why, queued = _why(desk, team, ticket, roster, now=now)
    if team.routing == "manual":
        return Explained(ticket, team, found, why, queued, position)
    subject = subject_of(lambda name: getattr(ticket, name))
    needed, candidates = routing.candidates(desk, team, subject, roster, now=now)
    way = routing.route(
        desk, subject, number=ticket.number, team_id=team.id, roster=roster, now=now
    )
    return Explained(
        ticket,
        team,
        found,
        why,
        queued,
        position,
        [f"{skill} {level}" for skill, level in sorted(needed.items())],
        candidates,
        way.assignee_id if way and queued else None,
    )


def _why(
    desk: Desk, team: Team, ticket: Ticket, roster: Roster, *, now: datetime
) -> tuple[str, bool]:
    """Why nobody has a ticket, and whether it is given out by itself."""
    held = routing.why_held(ticket, now=now)
    if held is not None:
        return held, False
    if not team.active:
        return f"{team.name} is closed", False
    if team.routing == "manual":
        return f"{team.name} assigns by hand", False
    subject = subject_of(lambda name: getattr(ticket, name))
    _, found = routing.candidates(desk, team, subject, roster, now=now)
    if any(one.why_not is None for one in found):
        return "its turn comes", True
    return routing.why_nobody(found), True


_Place = tuple[datetime | str, int, datetime, uuid.UUID]


def _write_cursor(last: Ticket, team_id: uuid.UUID) -> str:
    """Where the page that ends with this ticket goes on: its place in `_ORDER`."""
    rank = {"urgent": 0, "high": 1, "low": 3}.get(str(last.priority), 2)
    return pack([team_id, last.next_due_at, rank, last.created_at, last.id])


def _read_cursor(cursor: str, team_id: uuid.UUID) -> _Place:
    """Where a cursor of this very queue says. Raises BadCursor for one of any other."""
    of_team, due, rank, created, id_ = unpack(cursor, 5)
    if of_team != str(team_id) or type(rank) is not int or not 0 <= rank <= 3:
        raise BadCursor
    try:
        moments = [None if at is None else datetime.fromisoformat(str(at)) for at in (due, created)]
        if moments[1] is None or any(at is not None and at.tzinfo is None for at in moments):
            raise BadCursor
        return (moments[0] or "infinity", rank, moments[1], uuid.UUID(str(id_)))
    except ValueError as error:
        raise BadCursor from error


def _anything(waiting: Sequence[Waiting]) -> Subject:
    """The first that waits; members are shown as they stand towards it."""
    if waiting:
        ticket = waiting[0].ticket
        return subject_of(lambda name: getattr(ticket, name))
    return Subject(category=Category.OPEN)


__all__ = ["Explained", "Queue", "QueueDestination", "Waiting", "explain", "queue", "sweep"]
