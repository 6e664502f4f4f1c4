"""Finding tickets by words: through the index, or through Postgres where it cannot be had."""

import asyncio
import hashlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adapters.search import Answer, Hit, Reach, SearchDown, SearchIndex
from adapters.search import safe_snippet as _safe
from domain.desk import Desk
from domain.permissions import Permission, Principal, Scope
from models import ledger
from models.session import Database, Row, Work
from services.cursors import BadCursor, pack, unpack
from services.desks import Desks
from services.search import statements
from services.search.statements import WAITING, Asked
from services.views import Listed, tickets_by_id

logger = logging.getLogger(__name__)

# Beyond this many results people change their words, and each page costs the ones before it.
MOST = 1000
_AGREED_SECONDS = 60.0
_DISAGREED_SECONDS = 3.0


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


class Search:
    """Searches for people. Without an index everything is answered by Postgres."""

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
        asked = Asked(query, limit, _read_cursor(cursor, query), internal)
        answer = await self._ask_index(database, caller, scope, asked)
        async with database.transaction(caller.tenant_id) as work:
            if answer is None:
                return await self._from_postgres(work, caller, asked)
            return await self._from_index(work, caller, asked, answer)

    # The index.

    async def _ask_index(
        self, database: Database, caller: Principal, scope: Scope, asked: Asked
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
        agrees = waiting <= WAITING and indexed >= tickets - waiting
        if not agrees:
            logger.info("the index has %d of %d tickets, %d wait", indexed, tickets, waiting)
        pause = _AGREED_SECONDS if agrees else _DISAGREED_SECONDS
        now = self._clock()
        # Counting a large tenant is not free: at most a twentieth of the time goes into it.
        self._agreements[tenant_id] = _Agreement(agrees, now + max(pause, 20 * (now - began)))
        return agrees

    # Answers.

    async def _from_index(
        self, work: Work, caller: Principal, asked: Asked, answer: Answer
    ) -> Results:
        hits = {hit.ticket_id: hit for hit in answer.hits}
        config, exact, fresh, rows = await work.batch(
            ledger.config_version(work.tenant_id),
            statements.exact(work, caller, asked),
            statements.fresh(work, caller, asked),
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

    async def _from_postgres(self, work: Work, caller: Principal, asked: Asked) -> Results:
        config, exact, matching = await work.batch(
            ledger.config_version(work.tenant_id),
            statements.exact(work, caller, asked),
            statements.matching(work, caller, asked),
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


def _reach(caller: Principal, scope: Scope) -> Reach | None:
    match scope:
        case Scope.TENANT:
            return None
        case Scope.TEAM:
            return Reach(teams=caller.team_ids, person=caller.id)
        case Scope.OWN:
            return Reach(person=caller.id)


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
