"""What people read of tickets: lists, counts, one with all that belongs to it, its timeline."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from domain.desk import Desk
from domain.errors import NotFound, TicketNotFound
from domain.permissions import Principal
from domain.sla import Clock
from domain.states import Category
from domain.tickets import Ticket
from models import ledger
from models.session import Row, Work
from services.desks import Desks
from services.views import conversation, pages
from services.views.conversation import Conversation, name_of
from services.views.filters import (
    BREACHED,
    EVERYTHING,
    TicketFilter,
    conditions_of,
    meet_marks,
    quoted,
    refuse_unknown,
    visible,
)
from services.views.orders import ACTIVE, Sort
from services.views.pages import with_requester

COUNTED = 1000
CONVERSATION = 100


class CustomerNotFound(NotFound):
    code = "customer_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such customer.")


@dataclass(frozen=True, slots=True)
class Listed:
    """A ticket as a list shows it: its row, with `requester_name` and `requester_email`.

    A page's rows lack what lists do not show, and make no `ticket`.
    """

    row: Row

    @property
    def ticket(self) -> Ticket:
        return ledger.to_ticket(self.row)


@dataclass(frozen=True, slots=True)
class Page:
    items: list[Listed]
    next: str | None
    desk: Desk


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tickets there are, up to COUNTED; one more than that means "more"."""

    categories: Mapping[str, int]
    mine: int
    unassigned: int
    breached: int


@dataclass(frozen=True, slots=True)
class Detail:
    listed: Listed
    conversation: Conversation
    relations: list[Row]
    watchers: list[uuid.UUID]
    clocks: tuple[Clock, ...]
    desk: Desk


@dataclass(frozen=True, slots=True)
class Timeline:
    events: list[Row]
    last: int
    desk: Desk


class Views:
    """What people read. Each answer is of one tenant and within the caller's permission."""

    def __init__(self, desks: Desks) -> None:
        self._desks = desks

    async def tickets(
        self,
        work: Work,
        caller: Principal,
        wanted: TicketFilter,
        *,
        now: datetime,
        sort: Sort = Sort.UPDATED_DESC,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """One page, in one round trip.

        One more for a filter by tags or fields, and for the page on which tickets with a due time
        end and those without begin.
        """
        after = pages.read_cursor(cursor, sort, wanted) if cursor else None
        conditions, parameters = conditions_of(work, caller, wanted, now)
        if after is not None and after.at is not None:
            parameters["scored_at"] = after.at
        if wanted.has_marks:
            desk = await self._desks.current(work)
            if not await meet_marks(work, desk, wanted, conditions, parameters):
                refuse_unknown(wanted, desk)
                return Page([], None, desk)
        head, *tail = pages.statements_of(sort, after, conditions, parameters, limit + 1)
        config, rows = await work.batch(ledger.config_version(work.tenant_id), head)
        for statement in tail:
            if len(rows) > limit:
                break
            rows += (await work.batch(statement))[0]
        more = len(rows) > limit
        rows = rows[:limit]
        desk = await self._desks.get(work, config[0]["config_version"])
        refuse_unknown(wanted, desk)
        scored_at = parameters["scored_at"] if sort is Sort.SCORE_DESC else None
        following = pages.write_cursor(sort, wanted, rows[-1], scored_at) if more else None
        return Page([Listed(row) for row in rows], following, desk)

    async def counts(
        self,
        work: Work,
        caller: Principal,
        *,
        now: datetime,
        wanted: TicketFilter = EVERYTHING,
    ) -> Counts:
        """What the sidebar shows, of the tickets that a filter shows. No count reads more than
        COUNTED + 1 tickets that match."""
        conditions, parameters = conditions_of(work, caller, wanted, now)
        parameters |= {"me": caller.id}
        if wanted.status:
            refuse_unknown(wanted, await self._desks.current(work))
        if wanted.has_marks:
            desk = await self._desks.current(work)
            if not await meet_marks(work, desk, wanted, conditions, parameters):
                conditions.append("false")
        which = " and ".join(conditions)

        def counted(condition: str) -> str:
            return (
                f"(select count(*) from (select from tickets t where {which}"
                f" and {condition} limit {COUNTED + 1}) counted)"
            )

        columns = [f'{counted("t.category = " + quoted(c))} as "{c.value}"' for c in Category]
        columns += [
            f"{counted(f't.assignee_id = %(me)s and {ACTIVE}')} as mine",
            f"{counted(f't.assignee_id is null and {ACTIVE}')} as unassigned",
            f"{counted(f'{ACTIVE} and {BREACHED}')} as breached",
        ]
        [[row]] = await work.batch((f"select {', '.join(columns)}", parameters))
        return Counts(
            categories={c.value: row[c.value] for c in Category},
            mine=row["mine"],
            unassigned=row["unassigned"],
            breached=row["breached"],
        )

    async def of_customer(
        self,
        work: Work,
        caller: Principal,
        customer_id: uuid.UUID,
        *,
        now: datetime,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """A customer's tickets, newest first. Raises CustomerNotFound."""
        [found] = await work.batch(
            (
                "select 1 as found from customers where tenant_id = %s and id = %s",
                (work.tenant_id, customer_id),
            )
        )
        if not found:
            raise CustomerNotFound
        return await self.tickets(
            work,
            caller,
            TicketFilter(requester=(customer_id,)),
            now=now,
            sort=Sort.CREATED_DESC,
            limit=limit,
            cursor=cursor,
        )

    async def ticket(self, work: Work, caller: Principal, number: int) -> Detail:
        """One ticket with its newest messages and all else, in one round trip."""
        scope, parameters = visible(caller)
        parameters |= {"tenant": work.tenant_id, "number": number}
        mine = "(select id from tickets where tenant_id = %(tenant)s and number = %(number)s)"
        heads = f"t.tenant_id = %(tenant)s and t.number = %(number)s and {scope}"
        config, rows, relations, watchers, clocks, *parts = await work.batch(
            ledger.config_version(work.tenant_id),
            (with_requester(f"select t.* from tickets t where {heads}"), parameters),
            (
                "select r.kind, r.source_id, t.id as ticket_id, t.number, t.subject, t.status,"
                f" {scope} as seen from relations r join tickets t on t.tenant_id = r.tenant_id"
                " and t.id in (r.source_id, r.target_id)"
                f" and t.id <> {mine}"
                f" where r.tenant_id = %(tenant)s and (r.source_id = {mine}"
                f" or r.target_id = {mine}) order by r.created_at, r.kind, t.number",
                parameters,
            ),
            (
                f"select user_id from watchers where tenant_id = %(tenant)s and ticket_id = {mine}"
                " order by created_at, user_id",
                parameters,
            ),
            ledger.clocks_of(work.tenant_id, [number]),
            *conversation.statements_of(parameters, mine, None, CONVERSATION),
        )
        if not rows:
            raise TicketNotFound
        desk = await self._desks.get(work, config[0]["config_version"])
        return Detail(
            listed=Listed(rows[0]),
            conversation=conversation.assembled(desk, *parts, limit=CONVERSATION),
            relations=relations,
            watchers=[row["user_id"] for row in watchers],
            clocks=tuple(ledger.to_clock(row) for row in clocks),
            desk=desk,
        )

    async def unchanged_since(
        self, work: Work, caller: Principal, number: int, seq: int, *, now: datetime
    ) -> bool:
        """Whether what `ticket` gives is the same for everybody who has read event `seq`.

        Some of it changes without an event: a mail is delivered, a due time passes before it is
        recorded, a linked ticket moves on. After such a thing the answer is no, until the ticket's
        next event. Raises TicketNotFound.
        """
        scope, parameters = visible(caller)
        parameters |= {"tenant": work.tenant_id, "number": number, "seq": seq, "now": now}
        [rows] = await work.batch(
            (
                "select t.seq = %(seq)s"
                " and (t.next_due_at is null or t.next_due_at >= %(now)s)"
                " and not exists (select from deliveries d where d.tenant_id = t.tenant_id"
                " and d.ticket_id = t.id and d.updated_at > t.updated_at)"
                " and not exists (select from relations r join tickets o"
                " on o.tenant_id = r.tenant_id and o.id in (r.source_id, r.target_id)"
                " where r.tenant_id = t.tenant_id and (r.source_id = t.id or r.target_id = t.id)"
                " and o.updated_at > t.updated_at) as same"
                " from tickets t where t.tenant_id = %(tenant)s and t.number = %(number)s"
                f" and {scope}",
                parameters,
            )
        )
        if not rows:
            raise TicketNotFound
        return bool(rows[0]["same"])

    async def messages(
        self,
        work: Work,
        caller: Principal,
        number: int,
        *,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Conversation:
        """A page of the conversation, from its end backwards; each page in order of time."""
        before = conversation.read_cursor(cursor, number) if cursor else None
        scope, parameters = visible(caller)
        parameters |= {"tenant": work.tenant_id, "number": number}
        mine = (
            "(select t.id from tickets t where t.tenant_id = %(tenant)s"
            f" and t.number = %(number)s and {scope})"
        )
        config, found, *parts = await work.batch(
            ledger.config_version(work.tenant_id),
            (f"select {mine} as id", parameters),
            *conversation.statements_of(parameters, mine, before, limit),
        )
        if found[0]["id"] is None:
            raise TicketNotFound
        desk = await self._desks.get(work, config[0]["config_version"])
        return conversation.assembled(desk, *parts, limit=limit)

    async def events(
        self, work: Work, caller: Principal, number: int, *, since: int = 0, limit: int = 100
    ) -> Timeline:
        """The timeline after event `since`, oldest first."""
        scope, parameters = visible(caller)
        parameters |= {
            "tenant": work.tenant_id, "number": number, "since": since, "limit": limit
        }  # fmt: skip
        config, found, rows = await work.batch(
            ledger.config_version(work.tenant_id),
            (
                "select t.seq from tickets t where t.tenant_id = %(tenant)s"
                f" and t.number = %(number)s and {scope}",
                parameters,
            ),
            (
                "select e.seq, e.type, e.actor_kind, e.actor_id, e.cause, e.changes, e.data,"
                " e.occurred_at, e.recorded_at, c.name as customer_name from events e"
                " left join customers c on e.actor_kind = 'customer'"
                " and c.tenant_id = e.tenant_id and c.id = e.actor_id"
                " where e.tenant_id = %(tenant)s and e.seq > %(since)s and e.ticket_id ="
                " (select t.id from tickets t where t.tenant_id = %(tenant)s"
                f" and t.number = %(number)s and {scope}) order by e.seq limit %(limit)s",
                parameters,
            ),
        )
        if not found:
            raise TicketNotFound
        desk = await self._desks.get(work, config[0]["config_version"])
        for row in rows:
            row["actor_name"] = name_of(desk, row, "actor")
        return Timeline(rows, found[0]["seq"], desk)

    async def waiting(self, work: Work, caller: Principal, number: int) -> Ticket:
        """The ticket alone. Raises TicketNotFound."""
        scope, parameters = visible(caller)
        [rows] = await work.batch(
            (
                "select t.* from tickets t where t.tenant_id = %(tenant)s"
                f" and t.number = %(number)s and {scope}",
                parameters | {"tenant": work.tenant_id, "number": number},
            )
        )
        if not rows:
            raise TicketNotFound
        return ledger.to_ticket(rows[0])
