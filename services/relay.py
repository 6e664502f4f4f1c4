"""Telling other systems what was committed: a queue per destination, several relays at once."""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import psycopg
from prometheus_client import Counter, Gauge

from domain.errors import Unavailable
from models.session import Database, Row, Work

logger = logging.getLogger(__name__)

BATCH = 200
# Without a bell the relay looks this often by itself.
IDLE_SECONDS = 1.0
MOST_BACKOFF_SECONDS = 10.0

LAG = Gauge("outbox_lag_seconds", "Age of the oldest untold fact.", ["destination"])
WAITING = Gauge("outbox_waiting", "Facts not told yet.", ["destination"])
TOLD = Counter("outbox_told_total", "Facts told.", ["destination"])
FAILED = Counter("outbox_failed_total", "Facts that could not be told yet.", ["destination"])
AWAY = Counter(
    "outbox_away_total", "Batches that a whole destination did not take.", ["destination", "error"]
)


class DestinationDown(Exception):
    """The whole destination is away: nothing of the batch was told, all of it is kept.

    Its words are shown to operators: what was asked and how it failed, never what a fact says.
    """


@dataclass(frozen=True, slots=True)
class Fact:
    """The newest thing a destination has not heard of one ticket."""

    tenant_id: UUID
    slug: str
    ticket_id: UUID
    number: int
    kind: str
    seq: int
    actor_id: UUID | None
    trace: Mapping[str, str] = field(default_factory=dict)


class Destination(Protocol):
    """Where facts go. `tell` returns what it could not tell, with why; raises DestinationDown."""

    name: str
    locks_tickets: bool

    async def tell(self, facts: Sequence[Fact]) -> dict[UUID, str]: ...


class Relay:
    """One destination's loop: take a batch nobody else holds, coalesce, tell, forget.

    Rows stay locked while the batch is told; a relay that dies lets go of them at once, and
    another tells them again. So each fact is told at least once.
    """

    def __init__(self, database: Database, destination: Destination) -> None:
        self._database = database
        self._destination = destination
        self._bell = asyncio.Event()

    def ring(self) -> None:
        self._bell.set()

    async def run(self) -> None:
        """Until cancelled. A destination or a Postgres that is away is waited for."""
        name, backoff = self._destination.name, 0.0
        while True:
            self._bell.clear()
            try:
                told = await self.drain()
                backoff = 0.0
            except (DestinationDown, Unavailable) as error:
                backoff = min(max(backoff * 2, 0.25), MOST_BACKOFF_SECONDS)
                logger.warning("%s is away (%s); trying again in %.1f s", name, error, backoff)
                await asyncio.sleep(backoff)
                continue
            except Exception:
                backoff = min(max(backoff * 2, 1.0), MOST_BACKOFF_SECONDS)
                logger.exception("the relay to %s failed; trying again in %.1f s", name, backoff)
                await asyncio.sleep(backoff)
                continue
            if told < BATCH:
                try:
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._bell.wait()
                except TimeoutError:
                    pass

    async def drain(self) -> int:
        """Tells one batch; how many rows it held. Fails it as a whole, the outbox says why."""
        try:
            return await self._drain()
        except DestinationDown as error:
            await self._say_why(f"{_kind_of(error)}: {error}", _kind_of(error))
            raise
        except Unavailable:
            raise  # Postgres itself: there is nowhere to write it
        except Exception as error:
            # What it says may quote a ticket; the log has it, this is shown to more people.
            await self._say_why(f"{type(error).__name__}: see the worker's log", _kind_of(error))
            raise

    async def _say_why(self, text: str, kind: str) -> None:
        """Writes why nothing was told beside the fact that waits longest; it goes with that fact.

        The fact itself is not put off: it is tried again as soon as the destination is.
        """
        AWAY.labels(self._destination.name, kind).inc()
        try:
            async with self._database.transaction(None) as work:
                await work.batch(
                    (
                        "update outbox set error = %s where id = (select id from outbox"
                        " where destination = %s and available_at <= now()"
                        " order by available_at, id limit 1 for update skip locked)",
                        (text[:500], self._destination.name),
                    )
                )
        except (Unavailable, psycopg.Error):
            logger.warning("why %s is away could not be written down", self._destination.name)

    async def _drain(self) -> int:
        destination = self._destination
        async with self._database.transaction(None) as work:
            [rows] = await work.batch(
                (
                    "select o.id, o.tenant_id, t.slug, o.ticket_id, o.number, o.kind, o.seq,"
                    " o.actor_id, o.trace, o.attempts from outbox o"
                    " left join tenants t on t.id = o.tenant_id"
                    " where o.destination = %s and o.available_at <= now()"
                    " order by o.available_at, o.id limit %s for update of o skip locked",
                    (destination.name, BATCH),
                )
            )
            if not rows:
                return 0
            # Of a tenant that is gone there is nothing to tell, nor anybody to tell it to.
            facts = _coalesced([row for row in rows if row["slug"] is not None])
            failed: dict[UUID, str] = {}
            if facts:
                if destination.locks_tickets:
                    await _lock_in_order(work, facts)
                failed = await self._told(facts)
            await self._forget(work, rows, failed)
        TOLD.labels(destination.name).inc(len(rows))
        if failed:
            FAILED.labels(destination.name).inc(len(failed))
        return len(rows)

    async def _told(self, facts: Sequence[Fact]) -> dict[UUID, str]:
        """What could not be told. A fact that breaks the batch holds up itself, not the others."""
        try:
            return await self._destination.tell(facts)
        except (DestinationDown, Unavailable):
            raise
        except Exception:
            if len(facts) > 1:
                logger.exception("a batch for %s broke; telling one by one", self._destination.name)
        failed: dict[UUID, str] = {}
        for fact in facts:
            try:
                failed |= await self._destination.tell([fact])
            except (DestinationDown, Unavailable):
                raise
            except Exception as error:
                logger.exception(
                    "ticket %s of %s cannot be told to %s",
                    fact.number,
                    fact.slug,
                    self._destination.name,
                )
                failed[fact.ticket_id] = f"{type(error).__name__}: {error}"
        return failed

    async def _forget(self, work: Work, rows: list[Row], failed: dict[UUID, str]) -> None:
        kept = [row for row in rows if row["ticket_id"] in failed]
        gone = [row["id"] for row in rows if row["ticket_id"] not in failed]
        statements: list[tuple[str, tuple[object, ...]]] = []
        if gone:
            statements.append(("delete from outbox where id = any(%s)", (gone,)))
        statements.extend(
            (
                "update outbox set attempts = attempts + 1, error = %s,"
                " available_at = now() + least(power(2, attempts), 300) * interval '1 second'"
                " where id = %s",
                (failed[row["ticket_id"]][:500], row["id"]),
            )
            for row in kept
        )
        await work.batch(*statements)


def _kind_of(error: Exception) -> str:
    """The class of what went wrong first; one of few, so that a metric may be labelled with it."""
    cause = error
    while isinstance(cause.__cause__, Exception):
        cause = cause.__cause__
    return type(cause).__name__


def _coalesced(rows: list[Row]) -> list[Fact]:
    """The newest fact of each ticket, oldest ticket first."""
    newest: dict[UUID, Row] = {}
    for row in rows:
        known = newest.get(row["ticket_id"])
        if known is None or known["seq"] <= row["seq"]:
            newest[row["ticket_id"]] = row
    return [
        Fact(
            tenant_id=row["tenant_id"],
            slug=row["slug"],
            ticket_id=row["ticket_id"],
            number=row["number"],
            kind=row["kind"],
            seq=row["seq"],
            actor_id=row["actor_id"],
            trace=row["trace"],
        )
        for row in newest.values()
    ]


async def _lock_in_order(work: Work, facts: Sequence[Fact]) -> None:
    """One relay at a time per ticket: of two that read its state, the later write is the newer."""
    keys = sorted(
        int.from_bytes(hashlib.blake2b(f.ticket_id.bytes, digest_size=8).digest(), signed=True)
        for f in facts
    )
    await work.batch(
        ("select pg_advisory_xact_lock(k) from unnest(%s::bigint[]) with ordinality u(k, n)"
         " order by n", (keys,))
    )  # fmt: skip


async def lag(database: Database) -> list[Row]:
    """Per destination: how many facts wait, how old the oldest is in seconds, and why."""
    async with database.transaction(None) as work:
        return await work.rows(
            "select d.destination, count(o.id) as waiting,"
            " coalesce(extract(epoch from now() - min(o.created_at)), 0)::float as seconds,"
            # What keeps the whole destination stands beside what is due; else the newest refusal.
            " coalesce((array_agg(o.error order by o.available_at, o.id)"
            "  filter (where o.error is not null and o.available_at <= now()))[1],"
            " (array_agg(o.error order by o.available_at desc)"
            "  filter (where o.error is not null))[1]) as error"
            " from unnest(array['workflows', 'index', 'live', 'routing', 'alerts'])"
            " d(destination)"
            # What is to be looked at later is not late before that.
            " left join outbox o on o.destination = d.destination"
            "  and (o.destination not in ('routing', 'alerts') or o.attempts > 0"
            "   or o.available_at <= now())"
            " group by d.destination order by d.destination"
        )


async def measure(database: Database, *, every: float = 5.0) -> None:
    """Keeps the metrics of the outbox current, until cancelled."""
    while True:
        try:
            for row in await lag(database):
                LAG.labels(row["destination"]).set(row["seconds"])
                WAITING.labels(row["destination"]).set(row["waiting"])
        except Unavailable:
            logger.warning("the outbox cannot be measured: no database")
        await asyncio.sleep(every)


async def listen(database: Database, bells: Sequence[Callable[[], None]]) -> None:
    """Rings every relay when something was committed, until cancelled."""
    while True:
        try:
            connection = await database.listen()
            try:
                await connection.execute("listen outbox")
                async for _ in connection.notifies():
                    for ring in bells:
                        ring()
            finally:
                await connection.close()
        except (psycopg.Error, OSError):
            await asyncio.sleep(1.0)


async def rewrite_outbox(
    database: Database,
    destination: str,
    *,
    only_overdue_by_seconds: float | None = None,
    missing: Callable[[list[Row]], Awaitable[list[Row]]] | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Writes an outbox row for tickets of all tenants, in batches; how many.

    For the workflows: open tickets only. `missing` may pick out of each batch those worth a row.
    """
    written, after = 0, UUID(int=0)
    open_only = destination == "workflows"
    while True:
        async with database.transaction(None) as work:
            rows = await work.rows(
                "select t.tenant_id, n.slug, t.id, t.number, t.seq,"
                " (t.deadline_at < now() - make_interval(secs => :late)) as overdue"
                " from tickets t join tenants n on n.id = t.tenant_id where t.id > :after"
                + (" and t.category not in ('closed', 'merged')" if open_only else "")
                + " order by t.id limit 1000",
                {"after": after, "late": only_overdue_by_seconds or 0},
            )
            if not rows:
                return written
            after = rows[-1]["id"]
            chosen = await missing(rows) if missing else rows
            if chosen:
                await work.batch(
                    (
                        "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq,"
                        " created_at, available_at) select %s, t, i, n, 'reconciled', s, now(),"
                        " now() from unnest(%s::uuid[], %s::uuid[], %s::bigint[], %s::int[])"
                        " u(t, i, n, s)",
                        (
                            destination,
                            [r["tenant_id"] for r in chosen],
                            [r["id"] for r in chosen],
                            [r["number"] for r in chosen],
                            [r["seq"] for r in chosen],
                        ),
                    )
                )
                work.wake_relay()
            written += len(chosen)
        progress(written)
