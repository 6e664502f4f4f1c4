"""One page of a list of tickets: the statements that read it, and where the next one begins."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from domain import scoring
from domain.permissions import Principal
from domain.states import Category
from models import ledger
from models.session import Row, Statement, Work
from services.cursors import BadCursor, pack, unpack
from services.views.filters import Parameters, TicketFilter, visible
from services.views.orders import ACTIVE, ORDERS, RANK, TENTHS, Sort

_ACTIVE_CATEGORIES = frozenset(c for c in Category if c.is_active)
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


@dataclass(frozen=True, slots=True)
class After:
    """Where a page begins: behind this value of its order, and behind this id among equals."""

    value: object
    id: uuid.UUID
    at: datetime | None = None  # the instant that the scores of this list are of


def statements_of(
    sort: Sort,
    after: After | None,
    conditions: list[str],
    parameters: Parameters,
    most: int,
) -> list[Statement]:
    """The statement of a page, and a second one for where the first gives too few rows."""
    order = ORDERS[sort]
    way, beyond = ("desc", "<") if order.descending else ("asc", ">")
    parameters = parameters | {"most": most}
    if sort is Sort.SCORE_DESC:
        return _by_score(after, conditions, parameters)

    def page(key: str, extra: list[str]) -> Statement:
        where = " and ".join([*conditions, *extra])
        inner = (
            f"select t.*, {RANK} as rank from tickets t where {where}"
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
    after: After | None, conditions: list[str], parameters: Parameters
) -> list[Statement]:
    """The most pressing first; what is finished presses nobody and comes last.

    No index knows what the clock adds, but it adds so much and no more: the last place of a page
    made of those alone that weigh most without it says below which weight nobody can reach it. Of
    the rest ids alone are looked for: the index has all that makes a score.
    """

    def page(places: str, order: str, values: Parameters) -> Statement:
        inner = (
            f"select t.*, {RANK} as rank, c.tenths from ({places}) c"
            " join tickets t on t.tenant_id = %(tenant)s and t.id = c.id"
        )
        return (with_requester(inner, order=order, columns=f"{_LISTED}, t.tenths"), values)

    def finished(values: Parameters, *extra: str) -> Statement:
        where = " and ".join([*conditions, f"not {ACTIVE}", *extra])
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
            f"({TENTHS}, t.id) < (%(after)s, %(after_id)s)",
            "t.pressure <= %(after)s",
        ]
    near = " and ".join([*conditions, ACTIVE, *following])
    places = (
        f"select t.id, {TENTHS} as tenths from tickets t where {near}"
        # Within a select of its own: beside the column, it would keep the index from being used.
        f" and t.pressure >= (select coalesce((select tenths - {scoring.MOST_BY_TIME} from"
        f" (select {TENTHS} as tenths from tickets t where {near}"
        f" order by t.pressure desc, t.id desc limit %(most)s * {_POOL}) heaviest"
        f" order by tenths desc offset %(most)s - 1 limit 1), -{2**31 - 1}))"
        " order by tenths desc, t.id desc limit %(most)s"
    )
    first = page(places, "t.tenths desc, t.id desc", within)
    is_active_only = any(one.startswith(ACTIVE) for one in conditions)
    return [first] if is_active_only else [first, finished(parameters)]


# How many seconds late the breach that `breached_at` is of was noticed, and why if that is known.
# Looked up only where something was broken, and the entry only where that was told late.
_NOTICED = (
    "case when t.breached_at is not null then (select jsonb_build_array("
    "extract(epoch from c.detected_at - c.breached_at)::float8,"
    " case when c.detected_at - c.breached_at >= interval '5 seconds' then"
    " (select e.data ->> 'late_because' from events e where e.tenant_id = c.tenant_id"
    " and e.ticket_id = c.ticket_id and e.type = 'sla_breached'"
    " and e.data ->> 'metric' = c.metric and (e.data ->> 'cycle')::int <= c.cycle"
    " order by e.seq desc limit 1) end)"
    " from clocks c where c.tenant_id = t.tenant_id and c.ticket_id = t.id"
    " and c.breached_at = t.breached_at and c.detected_at is not null"
    " order by c.detected_at desc, c.metric, c.cycle limit 1) end as noticed"
)


def with_requester(inner: str, *, order: str | None = None, columns: str = "t.*") -> str:
    """The rows of `inner` with their customer's name and oldest address, and how late it was told.

    Looked up row by row: joined, the planner may read all customers of the tenant for one page.
    """
    last = f" order by {order}" if order else ""
    return (
        f"select {columns}, (select c.name from customers c where c.tenant_id = t.tenant_id"
        " and c.id = t.requester_id) as requester_name,"
        " (select i.value from customer_identities i where i.tenant_id = t.tenant_id"
        " and i.customer_id = t.requester_id and i.kind = 'email'"
        f" order by i.created_at, i.id limit 1) as requester_email, {_NOTICED}"
        f" from ({inner}) t{last}"
    )


def tickets_by_id(work: Work, caller: Principal, ids: list[uuid.UUID]) -> Statement:
    """Rows of those tickets that exist and that the caller may see, with requesters."""
    scope, parameters = visible(caller)
    return (
        with_requester(
            "select t.* from tickets t where t.tenant_id = %(tenant)s"
            f" and t.id = any(%(ids)s) and {scope}"
        ),
        parameters | {"tenant": work.tenant_id, "ids": ids},
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


def write_cursor(sort: Sort, wanted: TicketFilter, row: Row, scored_at: object = None) -> str:
    """Where the page that ends with this row goes on."""
    value = row[ORDERS[sort].of_row]
    if scored_at is not None:  # the list goes on as it stood when it began
        value = [value if row["category"] in _ACTIVE_CATEGORIES else None, scored_at]
    return pack([sort.value, wanted.fingerprint(), value, row["id"]])


def read_cursor(cursor: str, sort: Sort, wanted: TicketFilter) -> After:
    """Where a cursor of this very list says. Raises BadCursor for one of any other."""
    of_sort, of_filter, value, ticket_id = unpack(cursor, 4)
    if of_sort != sort.value or of_filter != wanted.fingerprint():
        raise BadCursor
    try:
        if sort is Sort.SCORE_DESC:
            return _read_scored(value, uuid.UUID(str(ticket_id)))
        if value is None and sort is Sort.DUE:
            return After(None, uuid.UUID(str(ticket_id)))
        if ORDERS[sort].kind == "time":
            at = datetime.fromisoformat(str(value))
            if at.tzinfo is None:
                raise BadCursor
            return After(at, uuid.UUID(str(ticket_id)))
        if not isinstance(value, int) or not -(2**63) <= value < 2**63:
            raise BadCursor
        return After(value, uuid.UUID(str(ticket_id)))
    except ValueError as error:
        raise BadCursor from error


def _read_scored(value: object, ticket_id: uuid.UUID) -> After:
    if not isinstance(value, list) or len(value) != 2:
        raise BadCursor
    tenths, at = value[0], datetime.fromisoformat(str(value[1]))
    if at.tzinfo is None or not (tenths is None or type(tenths) is int):
        raise BadCursor
    return After(None if tenths is None else max(-(2**31), min(tenths, 2**31)), ticket_id, at)
