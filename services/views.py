"""Reading tickets: lists, counts, one ticket with all that belongs to it, its timeline."""

import base64
import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Literal, cast

import orjson

from domain import scoring
from domain.desk import CustomField, Desk
from domain.errors import Invalid, NotFound, TicketNotFound
from domain.permissions import Permission, Principal, Scope
from domain.sla import Clock
from domain.states import Category
from domain.tickets import Ticket
from models import ledger
from models.session import Row, Statement, Work
from services.desks import Desks

# Written as in the predicates of partial indexes, so that the planner sees that they apply.
_ACTIVE = "t.category in ('new', 'open', 'pending', 'on_hold')"
_ACTIVE_CATEGORIES = frozenset(c for c in Category if c.is_active)
# As in ix_tickets_priority.
_RANK = (
    "(case t.priority when 'urgent' then 4 when 'high' then 3 when 'normal' then 2"
    " when 'low' then 1 else 0 end)"
)
# A tag or field value on at most this many tickets is looked up first; one on more is met soon
# enough while walking the list in its order.
_RARE = 2000
# As domain.scoring.by_time and pressure_of have it, in tenths of a point: what an active ticket
# scores at %(scored_at)s. Never less than its `pressure`, nor more than MOST_BY_TIME above it.
_AT = "%(scored_at)s::timestamptz"
_TENTHS = (
    f"(t.pressure + case when t.breached_at is not null or t.next_due_at <= {_AT}"
    f" then {scoring.BREACHED}"
    + "".join(
        f" when t.next_due_at <= {_AT} + interval '{int(within.total_seconds())} seconds'"
        f" then {points}"
        for within, points in scoring.DUE
    )
    + f" else 0 end + coalesce(least({scoring.MOST_WAITING}, greatest(0, floor(date_part('epoch',"
    f" {_AT} - t.waiting_since) / {int(scoring.TENTH.total_seconds())}))), 0)::int)"
)
# Of so many times the page, by weight without the clock, its last place is guessed.
_POOL = 20
# What nobody sees in a list stays where it is: the model's verdict alone is as long as the rest.
_UNLISTED = frozenset({"verdict", "reminder", "decided", "policy_id", "policy_version"})
_LISTED = ", ".join(
    # Most have none, and to read nothing costs as much as to read something.
    "nullif(t.fields, '{}') as fields" if name == "fields" else f"t.{name}"
    for name in ("tenant_id", *ledger.TICKET_NAMES, "rank")
    if name not in _UNLISTED
)
COUNTED = 1000
CONVERSATION = 100


class BadCursor(Invalid):
    code = "bad_cursor"

    def __init__(self) -> None:
        super().__init__(
            "This cursor belongs to another list. Begin at the first page.",
            fields={"query/cursor": "does not fit this filter and order"},
        )


class UnknownField(Invalid):
    code = "unknown_field"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"There is no field {key!r}.",
            fields={f"query/field.{key}": "is not a field of this desk"},
        )


class UnknownStatus(Invalid):
    code = "unknown_status"

    def __init__(self, keys: list[str], known: list[str]) -> None:
        super().__init__(
            f"There is no status {keys[0]!r}. Known: {', '.join(known)}.",
            fields={"query/status": f"{', '.join(keys)}: not a status of this desk"},
        )


class CustomerNotFound(NotFound):
    code = "customer_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such customer.")


class Sort(StrEnum):
    """The orders of a list, each walked along one index."""

    UPDATED_DESC = "-updated_at"
    UPDATED = "updated_at"
    CREATED_DESC = "-created_at"
    CREATED = "created_at"
    DUE = "due"
    PRIORITY_DESC = "-priority"
    PRIORITY = "priority"
    SCORE_DESC = "-score"
    NUMBER = "number"
    NUMBER_DESC = "-number"


@dataclass(frozen=True, slots=True)
class _Order:
    column: str  # what is ordered by, before the id
    of_row: str  # where a row of the page has it
    kind: Literal["time", "integer"]
    descending: bool


_ORDERS: Mapping[Sort, _Order] = {
    Sort.UPDATED_DESC: _Order("t.updated_at", "updated_at", "time", True),
    Sort.UPDATED: _Order("t.updated_at", "updated_at", "time", False),
    Sort.CREATED_DESC: _Order("t.created_at", "created_at", "time", True),
    Sort.CREATED: _Order("t.created_at", "created_at", "time", False),
    Sort.DUE: _Order("t.next_due_at", "next_due_at", "time", False),
    Sort.PRIORITY_DESC: _Order(_RANK, "rank", "integer", True),
    Sort.PRIORITY: _Order(_RANK, "rank", "integer", False),
    Sort.SCORE_DESC: _Order(_TENTHS, "tenths", "integer", True),
    Sort.NUMBER: _Order("t.number", "number", "integer", False),
    Sort.NUMBER_DESC: _Order("t.number", "number", "integer", True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFilter:
    """Which tickets a list shows: all conditions hold; of several values of one, any does.

    None among ids means "nobody" or "no team". `fields` are the values as text.
    """

    status: tuple[str, ...] = ()
    category: tuple[Category, ...] = ()
    team: tuple[uuid.UUID | None, ...] = ()
    assignee: tuple[uuid.UUID | None, ...] = ()
    requester: tuple[uuid.UUID, ...] = ()
    organization: tuple[uuid.UUID, ...] = ()
    priority: tuple[str | None, ...] = ()
    type: tuple[str | None, ...] = ()
    tags_all: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    channel: tuple[str, ...] = ()
    created_from: datetime | None = None
    created_to: datetime | None = None
    updated_from: datetime | None = None
    updated_to: datetime | None = None
    due_from: datetime | None = None
    due_to: datetime | None = None
    breached: bool | None = None
    snoozed: bool | None = None
    escalated: bool | None = None
    score_from: int | None = None
    spam: bool | None = None
    topic: tuple[str, ...] = ()
    sentiment: tuple[str, ...] = ()
    watching: uuid.UUID | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """The same for the same filter, whatever the order of its values."""
        said = {
            f.name: sorted(map(str, value)) if isinstance(value, tuple) else value
            for f in fields(self)
            if (value := getattr(self, f.name)) not in ((), None, {})
        }
        packed = orjson.dumps(said, option=orjson.OPT_SORT_KEYS, default=str)
        return hashlib.sha256(packed).hexdigest()[:12]


EVERYTHING = TicketFilter()


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
class Conversation:
    """Messages in order of time, each with its "attachments" and "deliveries"."""

    messages: list[Row]
    earlier: str | None


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


Parameters = dict[str, object]


def visible(
    principal: Principal, permission: Permission = Permission.TICKETS_VIEW
) -> tuple[str, Parameters]:
    """A condition on tickets `t`, with its parameters, that is true where `covers` is.

    Without the permission it is false for all.
    """
    scope = principal.scope(permission)
    if scope is None:
        return "false", {}
    if scope is Scope.TENANT:
        return "true", {}
    reached: list[str] = []
    parameters: Parameters = {}
    if principal.id is not None:
        reached.append("t.assignee_id = %(caller)s or t.created_by_id = %(caller)s")
        parameters["caller"] = principal.id
    if scope is Scope.TEAM:
        reached.append("t.team_id is null")
        if principal.team_ids:
            reached.append("t.team_id = any(%(caller_teams)s)")
            parameters["caller_teams"] = sorted(principal.team_ids)
    # Not null but false, where a column is null: it is selected as well as filtered by.
    return f"coalesce({' or '.join(reached)}, false)" if reached else "false", parameters


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
        after = _read_cursor(cursor, sort, wanted) if cursor else None
        conditions, parameters = _conditions(work, caller, wanted, now)
        if after is not None and after.at is not None:
            parameters["scored_at"] = after.at
        if wanted.fields or wanted.tags_all or wanted.tags_any:
            desk = await self._marked(work, wanted, conditions, parameters)
            if desk is None:
                desk = await self._desks.current(work)
                _refuse_unknown(wanted, desk)
                return Page([], None, desk)
        head, *tail = _pages(sort, after, conditions, parameters, limit + 1)
        config, rows = await work.batch(ledger.config_version(work.tenant_id), head)
        for statement in tail:
            if len(rows) > limit:
                break
            rows += (await work.batch(statement))[0]
        more = len(rows) > limit
        rows = rows[:limit]
        desk = await self._desks.get(work, config[0]["config_version"])
        _refuse_unknown(wanted, desk)
        scored_at = parameters["scored_at"] if sort is Sort.SCORE_DESC else None
        following = _write_cursor(sort, wanted, rows[-1], scored_at) if more else None
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
        conditions, parameters = _conditions(work, caller, wanted, now)
        parameters |= {"me": caller.id}
        if wanted.status:
            _refuse_unknown(wanted, await self._desks.current(work))
        marks = wanted.fields or wanted.tags_all or wanted.tags_any
        if marks and await self._marked(work, wanted, conditions, parameters) is None:
            conditions.append("false")
        which = " and ".join(conditions)

        def counted(condition: str) -> str:
            return (
                f"(select count(*) from (select from tickets t where {which}"
                f" and {condition} limit {COUNTED + 1}) counted)"
            )

        columns = [f'{counted("t.category = " + _quoted(c))} as "{c.value}"' for c in Category]
        columns += [
            f"{counted(f't.assignee_id = %(me)s and {_ACTIVE}')} as mine",
            f"{counted(f't.assignee_id is null and {_ACTIVE}')} as unassigned",
            f"{counted(f'{_ACTIVE} and {_BREACHED}')} as breached",
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

    async def by_ids(
        self, work: Work, caller: Principal, ids: list[uuid.UUID]
    ) -> dict[uuid.UUID, Listed]:
        """Those of the tickets that exist and that the caller may see, as they are now."""
        [rows] = await work.batch(tickets_by_id(work, caller, ids))
        return {row["id"]: Listed(row) for row in rows}

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
            *_conversation(parameters, mine, None, CONVERSATION),
        )
        if not rows:
            raise TicketNotFound
        desk = await self._desks.get(work, config[0]["config_version"])
        return Detail(
            listed=Listed(rows[0]),
            conversation=_assembled(desk, *parts, limit=CONVERSATION),
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
        before = _read_message_cursor(cursor, number) if cursor else None
        scope, parameters = visible(caller)
        parameters |= {"tenant": work.tenant_id, "number": number}
        mine = (
            "(select t.id from tickets t where t.tenant_id = %(tenant)s"
            f" and t.number = %(number)s and {scope})"
        )
        config, found, *parts = await work.batch(
            ledger.config_version(work.tenant_id),
            (f"select {mine} as id", parameters),
            *_conversation(parameters, mine, before, limit),
        )
        if found[0]["id"] is None:
            raise TicketNotFound
        desk = await self._desks.get(work, config[0]["config_version"])
        return _assembled(desk, *parts, limit=limit)

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
            row["actor_name"] = _name(desk, row, "actor")
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

    async def _marked(
        self,
        work: Work,
        wanted: TicketFilter,
        conditions: list[str],
        parameters: Parameters,
    ) -> Desk | None:
        """Adds the conditions on tags and fields; None when no ticket can meet them.

        Row-level security keeps the application from GIN indexes (their operators are not
        leakproof), so a function that may use them names the tickets, unless there are many.
        """
        desk = await self._desks.current(work)
        values = {key: _stored(desk, key, text) for key, text in wanted.fields.items()}
        parameters["tags_all"] = list(wanted.tags_all) or None
        parameters["tags_any"] = list(wanted.tags_any) or None
        parameters["fields"] = orjson.dumps(values).decode() if values else None
        [rows] = await work.batch(
            (
                "select id from holdfast_marked(%(tags_all)s::text[], %(tags_any)s::text[],"
                f" %(fields)s::jsonb, {_RARE + 1}) as id",
                parameters,
            )
        )
        if not rows:
            return None
        if len(rows) <= _RARE:
            conditions.append("t.id = any(%(marked)s)")
            parameters["marked"] = [row["id"] for row in rows]
        if wanted.tags_all:
            conditions.append("t.tags @> %(tags_all)s::text[]")
        if wanted.tags_any:
            conditions.append("t.tags && %(tags_any)s::text[]")
        if values:
            conditions.append("t.fields @> %(fields)s::jsonb")
        return desk


_BREACHED = "(t.breached_at is not null or coalesce(t.next_due_at < %(now)s, false))"


def _quoted(category: Category) -> str:
    """A literal: a parameter would keep the planner from choosing by how many there are."""
    return f"'{category.value}'"


def tickets_by_id(work: Work, caller: Principal, ids: list[uuid.UUID]) -> Statement:
    """Rows of those tickets that exist and that the caller may see; for `listed`."""
    scope, parameters = visible(caller)
    return (
        with_requester(
            "select t.* from tickets t where t.tenant_id = %(tenant)s"
            f" and t.id = any(%(ids)s) and {scope}"
        ),
        parameters | {"tenant": work.tenant_id, "ids": ids},
    )


def _conditions(
    work: Work, caller: Principal, wanted: TicketFilter, now: datetime
) -> tuple[list[str], Parameters]:
    scope, parameters = visible(caller)
    conditions = ["t.tenant_id = %(tenant)s", scope]
    parameters |= {"tenant": work.tenant_id, "now": now, "scored_at": now}

    def among(name: str, column: str, values: tuple[object, ...]) -> None:
        if not values:
            return
        known = [v.value if isinstance(v, StrEnum) else v for v in values if v is not None]
        either = []
        if len(known) == 1:  # an equality keeps the order of the index behind it
            either.append(f"{column} = %({name})s")
            parameters[name] = known[0]
        elif known:
            either.append(f"{column} = any(%({name})s)")
            parameters[name] = known
        if None in values:
            either.append(f"{column} is null")
        conditions.append(f"({' or '.join(either)})" if len(either) > 1 else either[0])

    def between(name: str, column: str, low: datetime | None, high: datetime | None) -> None:
        if low is not None:
            conditions.append(f"{column} >= %({name}_from)s")
            parameters[f"{name}_from"] = low
        if high is not None:
            conditions.append(f"{column} < %({name}_to)s")
            parameters[f"{name}_to"] = high

    def claim(condition: str, wanted: bool | None) -> None:
        if wanted is not None:
            conditions.append(condition if wanted else f"not {condition}")

    among("status", "t.status", wanted.status)
    if wanted.category:
        which = ", ".join(_quoted(category) for category in sorted(set(wanted.category)))
        many = "," in which  # an equality keeps the order of the index behind it
        conditions.append(f"t.category in ({which})" if many else f"t.category = {which}")
    among("team", "t.team_id", wanted.team)
    among("assignee", "t.assignee_id", wanted.assignee)
    among("requester", "t.requester_id", wanted.requester)
    among("organization", "t.organization_id", wanted.organization)
    among("priority", "t.priority", wanted.priority)
    among("type", "t.type", wanted.type)
    among("channel", "t.channel", wanted.channel)
    among("topic", "t.topic", wanted.topic)
    among("sentiment", "t.sentiment", wanted.sentiment)
    between("created", "t.created_at", wanted.created_from, wanted.created_to)
    between("updated", "t.updated_at", wanted.updated_from, wanted.updated_to)
    between("due", "t.next_due_at", wanted.due_from, wanted.due_to)
    claim(_BREACHED, wanted.breached)
    claim("(t.snoozed is not null)", wanted.snoozed)
    claim("(t.escalation is not null)", wanted.escalated)
    claim("(t.spam is not distinct from 'spam')", wanted.spam)
    if wanted.score_from is not None:
        # The first part is what an index serves; the second counts the clock in.
        conditions.append(f"{_ACTIVE} and t.pressure >= %(pressure_from)s")
        conditions.append(f"{_TENTHS} + 5 >= %(tenths_from)s")
        parameters["tenths_from"] = 10 * wanted.score_from
        parameters["pressure_from"] = 10 * wanted.score_from - 5 - scoring.MOST_BY_TIME
    if wanted.watching is not None:
        conditions.append(
            "t.id in (select w.ticket_id from watchers w where w.tenant_id = %(tenant)s"
            " and w.user_id = %(watching)s)"
        )
        parameters["watching"] = wanted.watching
    return conditions, parameters


@dataclass(frozen=True, slots=True)
class _After:
    value: object
    id: uuid.UUID
    at: datetime | None = None  # the instant that the scores of this list are of


def _pages(
    sort: Sort,
    after: _After | None,
    conditions: list[str],
    parameters: Parameters,
    most: int,
) -> list[Statement]:
    """The statement of a page, and a second one for where the first gives too few rows."""
    order = _ORDERS[sort]
    way, beyond = ("desc", "<") if order.descending else ("asc", ">")
    parameters = parameters | {"most": most}
    if sort is Sort.SCORE_DESC:
        return _by_score(after, conditions, parameters)

    def page(key: str, extra: list[str]) -> Statement:
        where = " and ".join([*conditions, *extra])
        inner = (
            f"select t.*, {_RANK} as rank from tickets t where {where}"
            f" order by {key} limit {most:d}"  # a limit that is not known makes plans for thousands
        )
        return (with_requester(inner, order=key, columns=_LISTED), parameters)

    key = f"{order.column} {way}, t.id {way}"
    following: list[str] = []
    if after is not None and after.value is not None:
        following = [f"({order.column}, t.id) {beyond} (%(after)s, %(after_id)s)"]
        parameters |= {"after": after.value, "after_id": after.id}
    if sort is not Sort.DUE:
        return [page(key, following)]
    # Nulls come last. One condition for both parts would be an "or" that no index serves.
    without = ["t.next_due_at is null"]
    if after is not None and after.value is None:
        parameters |= {"after_id": after.id}
        return [page("t.id asc", [*without, "t.id > %(after_id)s"])]
    return [
        page(key, ["t.next_due_at is not null", *following]),
        page("t.id asc", without),
    ]


def _by_score(
    after: _After | None, conditions: list[str], parameters: Parameters
) -> list[Statement]:
    """The most pressing first; what is finished presses nobody and comes last.

    No index knows what the clock adds, but it adds so much and no more: the last place of a page
    made of those alone that weigh most without it says below which weight nobody can reach it. Of
    the rest ids alone are looked for: the index has all that makes a score.
    """

    def page(places: str, order: str, values: Parameters) -> Statement:
        inner = (
            f"select t.*, {_RANK} as rank, c.tenths from ({places}) c"
            " join tickets t on t.tenant_id = %(tenant)s and t.id = c.id"
        )
        return (with_requester(inner, order=order, columns=f"{_LISTED}, t.tenths"), values)

    def finished(values: Parameters, *extra: str) -> Statement:
        where = " and ".join([*conditions, f"not {_ACTIVE}", *extra])
        places = (
            f"select t.id, 0 as tenths from tickets t where {where} order by t.id desc"
            " limit %(most)s"
        )
        return page(places, "t.id desc", values)

    if after is not None and after.value is None:
        return [finished(parameters | {"after_id": after.id}, "t.id < %(after_id)s")]
    within, following = parameters, list[str]()
    if after is not None:
        within = parameters | {"after": after.value, "after_id": after.id}
        following = [
            f"({_TENTHS}, t.id) < (%(after)s, %(after_id)s)",
            "t.pressure <= %(after)s",
        ]
    near = " and ".join([*conditions, _ACTIVE, *following])
    places = (
        f"select t.id, {_TENTHS} as tenths from tickets t where {near}"
        # Within a select of its own: beside the column, it would keep the index from being used.
        f" and t.pressure >= (select coalesce((select tenths - {scoring.MOST_BY_TIME} from"
        f" (select {_TENTHS} as tenths from tickets t where {near}"
        f" order by t.pressure desc, t.id desc limit %(most)s * {_POOL}) heaviest"
        f" order by tenths desc offset %(most)s - 1 limit 1), -{2**31 - 1}))"
        " order by tenths desc, t.id desc limit %(most)s"
    )
    first = page(places, "t.tenths desc, t.id desc", within)
    is_active_only = any(one.startswith(_ACTIVE) for one in conditions)
    return [first] if is_active_only else [first, finished(parameters)]


def with_requester(inner: str, *, order: str | None = None, columns: str = "t.*") -> str:
    """The rows of `inner` with their customer's name and oldest address.

    Looked up row by row: joined, the planner may read all customers of the tenant for one page.
    """
    last = f" order by {order}" if order else ""
    return (
        f"select {columns}, (select c.name from customers c where c.tenant_id = t.tenant_id"
        " and c.id = t.requester_id) as requester_name,"
        " (select i.value from customer_identities i where i.tenant_id = t.tenant_id"
        " and i.customer_id = t.requester_id and i.kind = 'email'"
        " order by i.created_at, i.id limit 1) as requester_email"
        f" from ({inner}) t{last}"
    )


async def requester_of(work: Work, customer_id: uuid.UUID) -> tuple[str | None, str | None]:
    """A customer's name and oldest address, as lists show them."""
    [rows] = await work.batch(
        (
            "select c.name, (select i.value from customer_identities i"
            " where i.tenant_id = c.tenant_id and i.customer_id = c.id and i.kind = 'email'"
            " order by i.created_at, i.id limit 1) as email"
            " from customers c where c.tenant_id = %s and c.id = %s",
            (work.tenant_id, customer_id),
        )
    )
    return (rows[0]["name"], rows[0]["email"]) if rows else (None, None)


def _refuse_unknown(wanted: TicketFilter, desk: Desk) -> None:
    unknown = [key for key in wanted.status if key not in desk.statuses]
    if unknown:
        raise UnknownStatus(unknown, list(desk.statuses))


def _stored(desk: Desk, key: str, text: str) -> object:
    """What the tickets hold in a field for the value that an address names as text."""
    definition = desk.fields.get(key)
    if definition is None:
        raise UnknownField(key)
    try:
        return _of_text(definition, text)
    except Invalid as refusal:
        raise Invalid(refusal.detail, fields={f"query/field.{key}": refusal.detail}) from refusal


def _of_text(definition: CustomField, text: str) -> object:
    if definition.kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise Invalid(f"{definition.label} is true or false.")
        return text.lower() == "true"
    if definition.kind == "multiselect":
        return definition.clean([text])
    return definition.clean(text)


# Cursors: opaque to callers, and refused by every other list than the one they came from.


def pack(value: object) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value, default=str)).decode().rstrip("=")


def unpack(cursor: str, size: int) -> list[object]:
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        parts = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except ValueError as error:
        raise BadCursor from error
    if not isinstance(parts, list) or len(parts) != size:
        raise BadCursor
    return parts


def _write_cursor(sort: Sort, wanted: TicketFilter, row: Row, scored_at: object = None) -> str:
    value = row[_ORDERS[sort].of_row]
    if scored_at is not None:  # the list goes on as it stood when it began
        value = [value if row["category"] in _ACTIVE_CATEGORIES else None, scored_at]
    return pack([sort.value, wanted.fingerprint(), value, row["id"]])


def _read_cursor(cursor: str, sort: Sort, wanted: TicketFilter) -> _After:
    of_sort, of_filter, value, ticket_id = unpack(cursor, 4)
    if of_sort != sort.value or of_filter != wanted.fingerprint():
        raise BadCursor
    try:
        if sort is Sort.SCORE_DESC:
            return _read_scored(value, uuid.UUID(str(ticket_id)))
        if value is None and sort is Sort.DUE:
            return _After(None, uuid.UUID(str(ticket_id)))
        if _ORDERS[sort].kind == "time":
            at = datetime.fromisoformat(str(value))
            if at.tzinfo is None:
                raise BadCursor
            return _After(at, uuid.UUID(str(ticket_id)))
        if not isinstance(value, int) or not -(2**63) <= value < 2**63:
            raise BadCursor
        return _After(value, uuid.UUID(str(ticket_id)))
    except ValueError as error:
        raise BadCursor from error


def _read_scored(value: object, ticket_id: uuid.UUID) -> _After:
    if not isinstance(value, list) or len(value) != 2:
        raise BadCursor
    tenths, at = value[0], datetime.fromisoformat(str(value[1]))
    if at.tzinfo is None or not (tenths is None or type(tenths) is int):
        raise BadCursor
    return _After(None if tenths is None else max(-(2**31), min(tenths, 2**31)), ticket_id, at)


def _read_message_cursor(cursor: str, number: int) -> tuple[datetime, uuid.UUID]:
    of_number, at, message_id = unpack(cursor, 3)
    try:
        moment = datetime.fromisoformat(str(at))
        if of_number != number or moment.tzinfo is None:
            raise BadCursor
        return moment, uuid.UUID(str(message_id))
    except ValueError as error:
        raise BadCursor from error


# The conversation.


def _conversation(
    parameters: Parameters,
    ticket: str,
    before: tuple[datetime, uuid.UUID] | None,
    limit: int,
) -> list[Statement]:
    """Three statements: messages (newest first, one too many), their attachments, their mails."""
    parameters = parameters | {"some": limit + 1}
    earlier = ""
    if before is not None:
        earlier = " and (m.created_at, m.id) < (%(at)s, %(message_id)s)"
        parameters |= {"at": before[0], "message_id": before[1]}
    chosen = (
        "select m.* from messages m where m.tenant_id = %(tenant)s"
        f" and m.ticket_id = {ticket}{earlier} order by m.created_at desc, m.id desc"
        " limit %(some)s"
    )
    return [
        (
            "select m.id, m.origin_ticket_id, m.seq, m.author_kind, m.author_id, m.visibility,"
            " m.channel, m.body_text, m.body_html, m.created_at, c.name as customer_name,"
            " %(number)s::bigint as number"
            f" from ({chosen}) m left join customers c on m.author_kind = 'customer'"
            " and c.tenant_id = m.tenant_id and c.id = m.author_id"
            " order by m.created_at desc, m.id desc",
            parameters,
        ),
        (
            "select a.id, a.message_id, a.filename, a.content_type, a.size_bytes, a.sha256"
            f" from ({chosen}) m join attachments a on a.tenant_id = m.tenant_id"
            " and a.message_id = m.id order by a.created_at, a.id",
            parameters,
        ),
        (
            "select d.id, d.message_id, d.kind, d.recipient, d.state, d.attempts, d.error,"
            f" d.sent_at from deliveries d where d.tenant_id = %(tenant)s"
            f" and d.ticket_id = {ticket} and d.kind = 'mail' and d.message_id is not null"
            " order by d.created_at, d.id",
            parameters,
        ),
    ]


def _assembled(
    desk: Desk, messages: list[Row], attachments: list[Row], deliveries: list[Row], *, limit: int
) -> Conversation:
    shown = messages[:limit]
    earlier = None
    if len(messages) > limit:
        oldest = shown[-1]
        earlier = pack([oldest["number"], oldest["created_at"], oldest["id"]])
    for row in shown:
        row["author_name"] = _name(desk, row, "author")
        row["attachments"] = [a for a in attachments if a["message_id"] == row["id"]]
        row["deliveries"] = [d for d in deliveries if d["message_id"] == row["id"]]
    return Conversation(shown[::-1], earlier)


def _name(desk: Desk, row: Row, who: str) -> str | None:
    if row[f"{who}_kind"] == "user" and row[f"{who}_id"] is not None:
        agent = desk.agents.get(row[f"{who}_id"])
        return agent.name if agent else None
    return cast("str | None", row["customer_name"])
