"""Finding tickets by words: through the index, or through Postgres where it cannot be had."""

import asyncio
import hashlib
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from adapters.search import NOBODY, Answer, Document, Hit, Reach, SearchDown, SearchIndex
from adapters.search import safe_snippet as _safe
from domain.desk import Desk
from domain.permissions import Permission, Principal, Scope
from models import ledger
from models.session import Database, Row, Statement, Work
from services import retelling
from services.desks import Desks
from services.views import (
    BadCursor,
    Listed,
    pack,
    tickets_by_id,
    unpack,
    visible,
    with_requester,
)

logger = logging.getLogger(__name__)

# Beyond this many results people change their words, and each page costs the ones before it.
MOST = 1000
_MATCHING = 1000
# Facts the index has not heard yet are searched in Postgres; more than this and it is behind.
_WAITING = 500
_AGREED_SECONDS = 60.0
_DISAGREED_SECONDS = 3.0
# A thread's newest words; a document is held in memory by the index.
_TEXT = 100_000
# Rows of transactions that began before a rebuild did and were committed after it read them.
_OVERLAP = timedelta(minutes=5)
_REBUILD_BATCH = 500
_HEADLINE = (
    'StartSel="\ue000", StopSel="\ue001", MaxFragments=1, MaxWords=24, MinWords=8,'
    ' FragmentDelimiter=" … "'
)


@dataclass(frozen=True, slots=True)
class Found:
    """A ticket with where the words were: HTML by field, safe to show."""

    listed: Listed
    snippets: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Results:
    """`total` is about right. `degraded`: Postgres answered, by whole words of one message."""

    items: list[Found]
    next: str | None
    total: int
    degraded: bool
    desk: Desk


@dataclass(slots=True)
class _Agreement:
    """Whether the index had all of a tenant's tickets when that was last looked at."""

    agrees: bool
    until: float


@dataclass(slots=True)
class _Page:
    """What one search is asked."""

    query: str
    limit: int
    number: int
    internal: bool
    words: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.words = re.findall(r"\w+", self.query)

    @property
    def skip(self) -> int:
        return (self.number - 1) * self.limit


class Search:
    """Searches for people, documents for the relay, and the rebuilding of the index.

    Without an index everything is answered by Postgres.
    """

    def __init__(
        self,
        desks: Desks,
        index: SearchIndex | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desks = desks
        self._index = index
        self._clock = clock
        self._agreements: dict[uuid.UUID, _Agreement] = {}
        self._checks: dict[uuid.UUID, asyncio.Task[bool]] = {}
        self._most_indexed = 0

    async def healthy(self) -> bool:
        """Whether the index answers; what it holds is compared when somebody searches."""
        return self._index is not None and await self._index.healthy()

    async def search(
        self,
        database: Database,
        caller: Principal,
        query: str,
        *,
        limit: int = 20,
        cursor: str | None = None,
        internal: bool = True,
    ) -> Results:
        """A page of the tickets that fit, best first; exact numbers and addresses before all.

        Takes the database, not a transaction: none is held open while the index is asked. Every
        ticket is read again with the caller's permission; what the index says is a hint.
        """
        scope = caller.require(Permission.TICKETS_VIEW)
        asked = _Page(query, limit, _read_cursor(cursor, query), internal)
        answer = await self._ask_index(database, caller, scope, asked)
        async with database.transaction(caller.tenant_id) as work:
            if answer is None:
                return await self._from_postgres(work, caller, asked)
            return await self._from_index(work, caller, asked, answer)

    async def documents(self, work: Work, ticket_ids: Sequence[uuid.UUID]) -> list[Document]:
        """What the index should hold of these tickets, from their rows as they are now."""
        [rows] = await work.batch(_documents(work.tenant_id, ticket_ids))
        return [_document(work.tenant_id, row) for row in rows]

    async def rebuild(
        self,
        relay_database: Database,
        database: Database,
        index: SearchIndex,
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Fills a new index with the tickets of all tenants, then puts it in place; how many.

        The desk stays in use. The old index is searched and written until the exchange. What
        changed since the beginning is then put into the outbox once more, so that the relay tells
        the new index: it alone may decide which of two states of a ticket is the newer.
        """
        [start] = await _relay_rows(relay_database, "select now() as at", {})
        collection = await index.begin_rebuild()
        try:
            filled = await self._fill(relay_database, database, index, collection, progress)
            await index.finish_rebuild(collection)
        except BaseException:
            try:
                await index.drop(collection)
            except SearchDown:
                logger.warning("%s is left over; the next rebuild drops it", collection)
            raise
        since = start["at"] - _OVERLAP
        await _tell_again(relay_database, since=since)
        for tenant in await _relay_rows(relay_database, "select id from tenants", {}):
            async with database.transaction(tenant["id"]) as work:
                await retelling.begin_again(work, since=since)
        return filled

    # The index.

    async def _ask_index(
        self, database: Database, caller: Principal, scope: Scope, asked: _Page
    ) -> Answer | None:
        """What the index says, or None where it cannot be trusted or had."""
        if self._index is None or not asked.words:
            return None
        try:
            if not await self._agrees(database, caller.tenant_id):
                return None
            answer = await self._index.search(
                caller.tenant_id,
                asked.query,
                reach=_reach(caller, scope),
                internal=asked.internal,
                page=asked.number,
                per_page=asked.limit,
            )
        except SearchDown:
            self._agreements.clear()
            return None
        if answer.indexed < self._most_indexed:
            # Tickets are never taken out, so it was restarted and has not loaded all of them yet.
            self._most_indexed = answer.indexed
            self._agreements.clear()
            return None
        self._most_indexed = answer.indexed
        return answer

    async def _agrees(self, database: Database, tenant_id: uuid.UUID) -> bool:
        """Whether the index has the tenant's tickets. Looked at now and then, not each time."""
        known = self._agreements.get(tenant_id)
        check = self._checks.get(tenant_id)
        if check is None and (known is None or known.until < self._clock()):
            check = asyncio.create_task(self._compare(database, tenant_id))
            self._checks[tenant_id] = check
            check.add_done_callback(lambda done: self._checked(tenant_id, done))
        if known is not None:
            return known.agrees
        assert check is not None
        return await asyncio.shield(check)

    def _checked(self, tenant_id: uuid.UUID, done: "asyncio.Task[bool]") -> None:
        self._checks.pop(tenant_id, None)
        if not done.cancelled() and (error := done.exception()) is not None:
            # Whoever waits for it hears of it; if nobody does, the next search looks again.
            logger.warning("the index could not be compared: %s", error)
            self._agreements.pop(tenant_id, None)

    async def _compare(self, database: Database, tenant_id: uuid.UUID) -> bool:
        """Counts in Postgres first: what it had then, and was not waiting, must be indexed now."""
        assert self._index is not None
        began = self._clock()
        async with database.transaction(tenant_id) as work:
            [[row]] = await work.batch(
                (
                    "select (select count(*) from tickets where tenant_id = %(tenant)s) as tickets,"
                    " (select count(distinct ticket_id) from outbox where tenant_id = %(tenant)s"
                    " and destination = 'index') as waiting",
                    {"tenant": tenant_id},
                )
            )
        indexed = await self._index.count(tenant_id)
        tickets, waiting = int(row["tickets"]), int(row["waiting"])
        agrees = waiting <= _WAITING and indexed >= tickets - waiting
        if not agrees:
            logger.info("the index has %d of %d tickets, %d wait", indexed, tickets, waiting)
        pause = _AGREED_SECONDS if agrees else _DISAGREED_SECONDS
        now = self._clock()
        # Counting a large tenant is not free: at most a twentieth of the time goes into it.
        self._agreements[tenant_id] = _Agreement(agrees, now + max(pause, 20 * (now - began)))
        return agrees

    # Answers.

    async def _from_index(
        self, work: Work, caller: Principal, asked: _Page, answer: Answer
    ) -> Results:
        hits = {hit.ticket_id: hit for hit in answer.hits}
        config, exact, fresh, rows = await work.batch(
            ledger.config_version(work.tenant_id),
            _exact(work, caller, asked),
            _fresh(work, caller, asked),
            tickets_by_id(work, caller, list(hits)),
        )
        present = {row["id"]: row for row in rows}
        first = {row["id"]: row for row in [*exact, *fresh]}
        items: list[Found] = []
        if asked.number == 1:
            items += [_found(row, hits.get(row["id"])) for row in first.values()]
        items += [
            _found(present[hit.ticket_id], hit)
            for hit in answer.hits
            if hit.ticket_id in present and hit.ticket_id not in first
        ]
        more = asked.number * asked.limit < min(answer.found, MOST)
        return Results(
            items=items,
            next=pack([_mark(asked.query), asked.number + 1]) if more else None,
            total=max(answer.found, len(items)),
            degraded=False,
            desk=await self._desks.get(work, config[0]["config_version"]),
        )

    async def _from_postgres(self, work: Work, caller: Principal, asked: _Page) -> Results:
        config, exact, matching = await work.batch(
            ledger.config_version(work.tenant_id),
            _exact(work, caller, asked),
            _matching(work, caller, asked),
        )
        first = {row["id"]: row for row in exact}
        items = [_found(row, None) for row in first.values()] if asked.number == 1 else []
        items += [_found(row, None) for row in matching[: asked.limit] if row["id"] not in first]
        more = len(matching) > asked.limit and asked.number * asked.limit < MOST
        total = matching[0]["total"] if matching else 0
        return Results(
            items=items,
            next=pack([_mark(asked.query), asked.number + 1]) if more else None,
            total=max(total, len(items)),
            degraded=True,
            desk=await self._desks.get(work, config[0]["config_version"]),
        )

    async def _fill(
        self,
        relay_database: Database,
        database: Database,
        index: SearchIndex,
        collection: str,
        progress: Callable[[int], None],
    ) -> int:
        filled = 0
        after = (uuid.UUID(int=0), uuid.UUID(int=0))
        while rows := await _relay_rows(
            relay_database,
            "select tenant_id, id from tickets where (tenant_id, id) > (%(tenant)s, %(id)s)"
            " order by tenant_id, id limit %(most)s",
            {"tenant": after[0], "id": after[1], "most": _REBUILD_BATCH},
        ):
            after = (rows[-1]["tenant_id"], rows[-1]["id"])
            for tenant_id in dict.fromkeys(row["tenant_id"] for row in rows):
                ids = [row["id"] for row in rows if row["tenant_id"] == tenant_id]
                async with database.transaction(tenant_id) as work:
                    documents = await self.documents(work, ids)
                refused = await index.fill(collection, documents)
                for ticket_id, reason in refused.items():
                    logger.warning("the index refuses ticket %s: %s", ticket_id, reason)
                filled += len(documents) - len(refused)
            progress(filled)
        return filled


async def _relay_rows(
    relay_database: Database, sql: str, parameters: Mapping[str, object]
) -> list[Row]:
    async with relay_database.transaction(None) as work:
        [rows] = await work.batch((sql, parameters))
    return rows


async def _tell_again(relay_database: Database, *, since: datetime) -> None:
    """Outbox rows for what changed since then, unless there is one already."""
    async with relay_database.transaction(None) as work:
        await work.batch(
            (
                "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq,"
                " created_at, available_at)"
                " select 'index', t.tenant_id, t.id, t.number, 'reindexed', t.seq, now(), now()"
                " from tickets t where t.updated_at >= %(since)s",
                {"since": since},
            )
        )
        work.wake_relay()


def _reach(caller: Principal, scope: Scope) -> Reach | None:
    match scope:
        case Scope.TENANT:
            return None
        case Scope.TEAM:
            return Reach(teams=caller.team_ids, person=caller.id)
        case Scope.OWN:
            return Reach(person=caller.id)


# Statements.


def _parameters(work: Work, asked: _Page, scope: Mapping[str, object]) -> dict[str, object]:
    return {
        **scope,
        "tenant": work.tenant_id,
        "text": asked.query,
        "prefixes": " & ".join(f"{word}:*" for word in asked.words),
        "internal": asked.internal,
        "limit": asked.limit,
        "skip": asked.skip,
        "headline": _HEADLINE,
    }


# As beginnings of words, and as the parser of Postgres reads the text (addresses, versions, ...).
_WANTED = "(to_tsquery('simple', %(prefixes)s) || websearch_to_tsquery('simple', %(text)s))"
_SAID = "to_tsvector('simple', left(m.body_text, 100000))"
_OPEN_TO_CALLER = "(%(internal)s or m.visibility = 'public')"


def _with_snippets(inner: str, *, order: str) -> str:
    """The rows of `inner` with the subject and the newest fitting message, words marked."""
    return (
        f"select f.*, ts_headline('simple', f.subject, {_WANTED}, %(headline)s) as in_subject,"
        f" (select ts_headline('simple', left(m.body_text, 20000), {_WANTED}, %(headline)s)"
        " from messages m where m.tenant_id = f.tenant_id and m.ticket_id = f.id"
        f" and {_OPEN_TO_CALLER} and {_SAID} @@ {_WANTED}"
        " order by m.created_at desc, m.id desc limit 1) as in_message"
        f" from ({with_requester(inner)}) f order by {order}"
    )


def _exact(work: Work, caller: Principal, asked: _Page) -> Statement:
    """Tickets that the text names outright: by their number, by their customer's address."""
    scope, parameters = visible(caller)
    text = asked.query.strip().lower()
    number = re.fullmatch(r"#?([0-9]{1,18})", text)
    if number is None and "@" not in text:
        return ("select null::uuid as id where false", ())
    parameters |= {
        "tenant": work.tenant_id,
        "number": int(number[1]) if number else 0,
        "address": text if "@" in text else "",
        "limit": asked.limit,
    }
    inner = (
        "select t.* from tickets t where t.tenant_id = %(tenant)s and (t.number = %(number)s"
        " or t.requester_id = any(array(select i.customer_id from customer_identities i"
        " where i.tenant_id = %(tenant)s and i.kind = 'email' and i.value = %(address)s)))"
        f" and {scope} order by t.updated_at desc, t.id desc limit %(limit)s"
    )
    return (
        with_requester(inner, order="t.updated_at desc, t.id desc"),
        parameters,
    )


def _fresh(work: Work, caller: Principal, asked: _Page) -> Statement:
    """Fitting tickets of which the index has not heard the newest yet."""
    scope, parameters = visible(caller)
    inner = (
        "select t.* from tickets t where t.tenant_id = %(tenant)s and t.id in"
        " (select o.ticket_id from outbox o where o.tenant_id = %(tenant)s"
        f" and o.destination = 'index' order by o.id desc limit {_WAITING})"
        f" and {scope} and (to_tsvector('simple', t.subject) @@ {_WANTED}"
        " or exists (select from messages m where m.tenant_id = t.tenant_id"
        f" and m.ticket_id = t.id and {_OPEN_TO_CALLER} and {_SAID} @@ {_WANTED}))"
        " order by t.updated_at desc, t.id desc limit %(limit)s"
    )
    return (
        _with_snippets(inner, order="f.updated_at desc, f.id desc"),
        _parameters(work, asked, parameters),
    )


def _matching(work: Work, caller: Principal, asked: _Page) -> Statement:
    """A page, and one ticket more, of what Postgres finds itself."""
    if not asked.words:
        return ("select null::uuid as id, 0 as total where false", ())
    scope, parameters = visible(caller)
    inner = (
        "select t.*, count(*) over () as total from tickets t"
        f" join holdfast_matching({_WANTED}, %(internal)s, {_MATCHING}) as fits on fits = t.id"
        f" where t.tenant_id = %(tenant)s and {scope}"
        " order by t.updated_at desc, t.id desc limit %(limit)s + 1 offset %(skip)s"
    )
    return (
        _with_snippets(inner, order="f.updated_at desc, f.id desc"),
        _parameters(work, asked, parameters),
    )


def _found(row: Row, hit: Hit | None) -> Found:
    if hit is not None and hit.snippets:
        return Found(Listed(row), hit.snippets)
    parts = {"subject": row.get("in_subject"), "message": row.get("in_message")}
    return Found(
        Listed(row),
        {name: _safe(text) for name, text in parts.items() if text and "\ue000" in text},
    )


def _mark(query: str) -> str:
    return hashlib.sha256(query.encode()).hexdigest()[:12]


def _read_cursor(cursor: str | None, query: str) -> int:
    if cursor is None:
        return 1
    mark, page = unpack(cursor, 2)
    if mark != _mark(query) or not isinstance(page, int) or not 1 < page <= MOST:
        raise BadCursor
    return page


# Documents.


def _documents(tenant_id: uuid.UUID, ticket_ids: Sequence[uuid.UUID]) -> Statement:
    def texts(visibility: str) -> str:
        return (
            f"(select left(string_agg(left(m.body_text, {_TEXT}), e'\\n'"
            f" order by m.created_at desc, m.id desc), {_TEXT}) from messages m"
            " where m.tenant_id = t.tenant_id and m.ticket_id = t.id"
            f" and m.visibility = '{visibility}') as {visibility}_text"
        )

    return (
        "select t.id, t.number, t.subject, t.status, t.category, t.priority, t.team_id,"
        " t.assignee_id, t.created_by_id, t.channel, t.tags, t.updated_at, t.seq,"
        " c.name as requester_name, o.name as organization,"
        " (select string_agg(i.value, ' ' order by i.created_at, i.id)"
        " from customer_identities i where i.tenant_id = t.tenant_id"
        " and i.customer_id = t.requester_id and i.kind = 'email') as requester_email,"
        f" {texts('public')}, {texts('internal')}"
        " from tickets t join customers c on c.tenant_id = t.tenant_id and c.id = t.requester_id"
        " left join organizations o on o.tenant_id = t.tenant_id and o.id = t.organization_id"
        " where t.tenant_id = %s and t.id = any(%s)",
        (tenant_id, list(ticket_ids)),
    )


def _document(tenant_id: uuid.UUID, row: Row) -> Document:
    def name(key: str) -> str:
        return str(row[key]) if row[key] is not None else NOBODY

    return {
        "id": str(row["id"]),
        "tenant_id": str(tenant_id),
        "number": row["number"],
        "number_text": str(row["number"]),
        "subject": row["subject"],
        "requester_name": row["requester_name"],
        "requester_email": row["requester_email"] or "",
        "organization": row["organization"] or "",
        "public_text": row["public_text"] or "",
        "internal_text": row["internal_text"] or "",
        "tags": row["tags"],
        "status": row["status"],
        "category": row["category"],
        "priority": name("priority"),
        "team_id": name("team_id"),
        "assignee_id": name("assignee_id"),
        "created_by_id": name("created_by_id"),
        "channel": row["channel"],
        "updated_at": int(row["updated_at"].timestamp()),
        "seq": row["seq"],
    }
