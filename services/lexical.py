"""Finding texts by keys: the tickets' keys kept up to date, and what a query leads to."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Literal

from cachetools import TTLCache

from domain.errors import Unavailable
from domain.lexical import CAP, FEW, Asked, Spread, keys_of, together
from domain.triage import words_of
from models.session import Database, Row, Statement, Work

logger = logging.getLogger(__name__)

What = Literal["tickets", "articles", "canned"]

# How many are counted to tell a rare word from a common one; beyond it the difference is small.
_COUNTED = 20_000
_MOST_FOUND = 1_000
_BATCH = 200
_MOST_PER_RUN = 5_000
# Ids are ordered by when they were made, not by when they were committed.
_LATE = timedelta(hours=1)
_TABLES: Mapping[What, str] = {
    "tickets": "ticket_keys",
    "articles": "articles",
    "canned": "canned_responses",
}


async def spreads(work: Work, query: Asked, *whats: What) -> dict[What, Spread]:
    """How the words of a query are spread over each kind of document, in two round trips.

    Counting visits documents, so the coarse forms of common words are not even asked for, small
    words are taken for common, what was found to be common is remembered for a while: it will
    hardly be rare the next minute, and it is what takes long to count. In a small desk all is
    counted.
    """
    totals: list[Statement] = [
        (
            f"select count(*) as n from (select from {_TABLES[what]}"
            f" where tenant_id = %(tenant)s limit {_COUNTED}) counted",
            {"tenant": work.tenant_id},
        )
        for what in whats
    ]
    small = query.small_keys
    wholes = [
        _Counts(
            work.tenant_id,
            what,
            [key for key in query.whole_keys if key not in small]
            if (work.tenant_id, what) in _large
            else query.whole_keys,
        )
        for what in whats
    ]
    first = await work.batch(*(one.statement for one in wholes), *totals)
    numbers = [rows[0]["n"] for rows in first[len(whats) :]]
    _large.update(
        {(work.tenant_id, what): n for what, n in zip(whats, numbers, strict=True) if n >= CAP}
    )
    whole = [one.told(rows) for one, rows in zip(wholes, first, strict=False)]
    coarses = [
        _Counts(work.tenant_id, what, query.coarse_keys(known))
        for what, known in zip(whats, whole, strict=True)
    ]
    second = await work.batch(*(one.statement for one in coarses))
    return {
        what: Spread(query, dict.fromkeys(small, min(CAP, total)) | known | one.told(rows), total)
        if (work.tenant_id, what) in _large
        else Spread(query, known | one.told(rows), total)
        for what, known, one, rows, total in zip(
            whats, whole, coarses, second, numbers, strict=True
        )
    }


# By tenant, kind and key: a key of one tenant means nothing in another, and is asked for there.
_known: TTLCache[tuple[uuid.UUID, What, int], int] = TTLCache(50_000, ttl=600)
_large: TTLCache[tuple[uuid.UUID, What], int] = TTLCache(1_000, ttl=600)


class _Counts:
    """How many documents have each of some keys: some remembered, the rest to be asked for."""

    def __init__(self, tenant_id: uuid.UUID, what: What, wanted: list[int]) -> None:
        self._place = (tenant_id, what)
        self._remembered = {
            key: n for key in wanted if (n := _known.get((*self._place, key))) is not None
        }
        self.statement = _counted(what, [key for key in wanted if key not in self._remembered])

    def told(self, rows: Sequence[Row]) -> dict[int, int]:
        found = {row["key"]: row["n"] for row in rows}
        _known.update({(*self._place, key): n for key, n in found.items() if n >= FEW})
        return self._remembered | found


def _counted(what: What, wanted: list[int]) -> Statement:
    return (
        "select key, n from holdfast_spread(%(what)s, %(keys)s::bigint[], %(cap)s)",
        {"what": what, "keys": wanted, "cap": CAP},
    )


def found(what: What, spread: Spread) -> tuple[str, dict[str, object]]:
    """A table expression `(id, score)` of what the query leads to, and its parameters.

    Of all of the tenant: whoever joins it checks what the caller may see.
    """
    probes = spread.probes()
    return (
        f"holdfast_resembling('{what}', %(one)s::bigint[], %(other)s::bigint[],"
        f" %(weights)s::float8[], {CAP}, {_MOST_FOUND})",
        {
            "one": [probe.one for probe in probes],
            "other": [probe.other for probe in probes],
            "weights": [probe.weight for probe in probes],
        },
    )


def question(subject: str, first_words: str | None) -> str:
    """What a ticket asks, as it is found later."""
    return together((words_of(subject, ""), words_of("", (first_words or "")[:8_000])))


async def catch_up(
    relay_database: Database,
    database: Database,
    *,
    most: int = _MOST_PER_RUN,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Gives new tickets the keys they are found by, of all tenants; how many tickets.

    At most `most` at a time: what is left comes at the next run. May run twice at once.
    """
    async with relay_database.transaction(None) as work:
        [behind] = await work.batch(
            (
                "select n.id from tenants n where exists (select from tickets t"
                " where t.tenant_id = n.id and t.id > coalesce((select k.ticket_id"
                " from ticket_keys k where k.tenant_id = n.id order by k.ticket_id desc limit 1),"
                " %s::uuid)) order by n.id",
                (uuid.UUID(int=0),),
            )
        )
    done = 0
    share = max(_BATCH, most // max(1, len(behind)))
    for tenant in behind:
        own = 0
        while done < most and own < share:
            try:
                filled = await _fill(database, tenant["id"])
            except Unavailable:
                raise
            except Exception:  # one tenant's trouble must not hold up the others
                logger.exception("tickets of tenant %s are without keys", tenant["id"])
                break
            own += filled
            done += filled
            progress(done)
            if filled < _BATCH:
                break
    return done


async def _fill(database: Database, tenant_id: uuid.UUID) -> int:
    async with database.transaction(tenant_id) as work:
        [last] = await work.batch(
            (
                "select ticket_id as id from ticket_keys where tenant_id = %s"
                " order by ticket_id desc limit 1",
                (tenant_id,),
            )
        )
        [rows] = await work.batch(
            (
                "select t.id, t.subject, (select m.body_text from messages m"
                " where m.tenant_id = t.tenant_id and m.ticket_id = t.id"
                " and m.visibility = 'public' and m.author_kind in ('customer', 'user')"
                " order by m.created_at, m.id limit 1) as first_words"
                " from tickets t where t.tenant_id = %(tenant)s and t.id > %(after)s"
                " and not exists (select from ticket_keys k where k.tenant_id = t.tenant_id"
                " and k.ticket_id = t.id) order by t.id limit %(most)s",
                {"tenant": tenant_id, "after": _before(last), "most": _BATCH},
            )
        )
        if rows:
            keys = await asyncio.to_thread(_keys, tenant_id, rows)
            await work.batch(
                *(
                    (
                        "insert into ticket_keys (tenant_id, ticket_id, keys)"
                        " values (%s, %s, %s::bigint[]) on conflict do nothing",
                        (tenant_id, row["id"], own),
                    )
                    for row, own in zip(rows, keys, strict=True)
                )
            )
    return len(rows)


def _keys(tenant_id: uuid.UUID, rows: Sequence[Row]) -> list[list[int]]:
    return [keys_of(tenant_id, question(row["subject"], row["first_words"])) for row in rows]


def _before(last: Sequence[Row]) -> uuid.UUID:
    """An id made well before the newest that has keys: the first 48 bits are milliseconds."""
    if not last:
        return uuid.UUID(int=0)
    made = last[0]["id"].int >> 80
    late = int(_LATE.total_seconds() * 1000)
    return uuid.UUID(int=max(0, made - late) << 80)


__all__ = ["What", "catch_up", "found", "question", "spreads"]
