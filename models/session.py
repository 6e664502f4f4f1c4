"""The one way to Postgres: a tenant's transaction. The only commit, the only pipeline."""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, cast

import orjson
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.json import set_json_dumps, set_json_loads
from sqlalchemy import Executable, Result, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from domain.errors import Unavailable

logger = logging.getLogger(__name__)

Row = dict[str, Any]
Statement = tuple[str, Mapping[str, object] | Sequence[object]]
Check = Callable[[list[Row]], None]

_SET_TENANT = "select set_config('app.tenant', %s, true)"
_LOCK = "select pg_advisory_xact_lock(%s)"
_SET_TENANT_AND_LOCK = "select set_config('app.tenant', %s, true), pg_advisory_xact_lock(%s)"


def _dumps(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


set_json_dumps(_dumps)
set_json_loads(orjson.loads)


class Work:
    """One transaction on behalf of one tenant; every statement sees that tenant's rows only.

    `execute` takes SQLAlchemy statements, one round trip each. `batch` takes raw SQL and sends all
    of it in one round trip.
    """

    def __init__(self, connection: AsyncConnection, tenant_id: uuid.UUID | None) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._tenant_sent = False
        self._driver: psycopg.AsyncConnection[Any] | None = None
        self._guard: tuple[int, Statement, Check] | None = None
        self._deferred: list[Statement] = []
        self.wakes_relay = False
        # Set once this transaction has changed the tenant's configuration: what it reads of it
        # from then on may be rolled back, so nobody else may use it.
        self.configuration_changed = False

    @property
    def tenant_id(self) -> uuid.UUID:
        assert self._tenant_id is not None, "this work is for no tenant"
        return self._tenant_id

    def wake_relay(self) -> None:
        """Once this is committed, the relay is told that the outbox has something for it."""
        self.wakes_relay = True

    async def restart(self) -> None:
        """Lets go of every lock and forgets everything done so far in this transaction."""
        await self._connection.rollback()
        await self._connection.begin()
        self._tenant_sent = False
        self._guard = None
        self._deferred.clear()
        self.wakes_relay = False
        self.configuration_changed = False

    def guard(self, lock: int, question: Statement, *, check: Check) -> None:
        """Goes ahead of whatever is sent next, in the same round trip: the lock, the question.

        `check` is given the answer before anybody sees what came after; it raises where nothing
        of this work is to stay, and whoever catches that calls `restart`.
        """
        self._guard = (lock, question, check)

    def defer(self, *statements: Statement) -> None:
        """Writes whose rows nobody waits for: they go with whatever is sent next."""
        self._deferred += statements

    async def flush(self) -> None:
        """Everything guarded or deferred has been sent."""
        if self._guard is not None or self._deferred:
            await self.batch()

    async def execute(
        self, statement: Executable | str, parameters: Mapping[str, object] | None = None
    ) -> Result[Any]:
        """The result of one SQLAlchemy statement, or of SQL text with :named parameters."""
        await self.flush()
        if self._tenant_id is not None and not self._tenant_sent:
            await self._connection.exec_driver_sql(_SET_TENANT, (str(self._tenant_id),))
            self._tenant_sent = True
        bound = text(statement) if isinstance(statement, str) else statement
        return await self._connection.execute(bound, dict(parameters) if parameters else None)

    async def rows(
        self, statement: Executable | str, parameters: Mapping[str, object] | None = None
    ) -> list[Row]:
        """All rows of a statement as dictionaries."""
        result = await self.execute(statement, parameters)
        return [dict(row) for row in result.mappings()]

    async def row(
        self, statement: Executable | str, parameters: Mapping[str, object] | None = None
    ) -> Row | None:
        """The first row, or None."""
        found = await self.rows(statement, parameters)
        return found[0] if found else None

    async def batch(self, *statements: Statement) -> list[list[Row]]:
        """The rows of each raw statement (psycopg placeholders), all in one round trip.

        Raw only: SQLAlchemy calls inside a pipeline return wrong results without an error.
        """
        driver = self._driver
        if driver is None:
            raw = await self._connection.get_raw_connection()
            driver = cast("psycopg.AsyncConnection[Any]", raw.driver_connection)
            self._driver = driver
        first_tenant = self._tenant_id is not None and not self._tenant_sent
        ahead: list[Statement] = [(_SET_TENANT, (str(self._tenant_id),))] if first_tenant else []
        check: Check | None = None
        if self._guard is not None:
            lock, question, check = self._guard
            # Two statements: the question sees what was committed while the lock was waited for.
            ahead = [
                (_SET_TENANT_AND_LOCK, (str(self._tenant_id), lock))
                if first_tenant
                else (_LOCK, (lock,)),
                question,
            ]
        queue = [*ahead, *self._deferred, *statements]
        self._guard = None
        self._deferred.clear()
        cursors: list[psycopg.AsyncCursor[Row]] = []
        # One statement in a transaction that has begun is one round trip anyway, and cheaper so.
        alone = len(queue) == 1 and driver.info.transaction_status is TransactionStatus.INTRANS
        try:
            async with contextlib.nullcontext() if alone else driver.pipeline():
                for sql, parameters in queue:
                    numbered = None if isinstance(parameters, Mapping) else _numbered(sql)
                    cursor = _cursor(driver, numbered=numbered is not None)
                    await cursor.execute(numbered or sql, parameters)
                    cursors.append(cursor)
        finally:
            self._tenant_sent = self._tenant_sent or first_tenant
        if check is not None:
            check(await _fetched(cursors[len(ahead) - 1]))
        return [await _fetched(c) for c in cursors[len(cursors) - len(statements) :]]


def _cursor(
    driver: "psycopg.AsyncConnection[Any]", *, numbered: bool
) -> "psycopg.AsyncCursor[Row]":
    kind = psycopg.AsyncRawCursor if numbered else psycopg.AsyncCursor
    return cast("psycopg.AsyncCursor[Row]", kind(driver, row_factory=dict_row))


async def _fetched(cursor: "psycopg.AsyncCursor[Row]") -> list[Row]:
    # Asked of the result itself: `description` would describe every column first.
    result = cursor.pgresult
    return await cursor.fetchall() if result is not None and result.nfields else []


@lru_cache(maxsize=1000)
def _numbered(sql: str) -> str | None:
    """The statement with $1, $2, … for its %s, as Postgres wants it; None where it has others.

    psycopg would find the placeholders again at every execution of a long statement.
    """
    first, *rest = sql.split("%s")
    if any("%" in part for part in (first, *rest)):
        return None
    return first + "".join(f"${i}{part}" for i, part in enumerate(rest, 1))


class Database:
    """A pool of connections as one role.

    Raises Unavailable when Postgres cannot be reached or has no connection to spare.
    """

    def __init__(self, url: str, *, pool_size: int = 10, name: str = "holdfast") -> None:
        self._bell = asyncio.Event()
        self._engine: AsyncEngine = create_async_engine(
            url.replace("postgresql://", "postgresql+psycopg://", 1),
            pool_size=pool_size,
            max_overflow=0,
            hide_parameters=True,  # what people write stays out of logs
            pool_timeout=5,
            pool_recycle=1800,
            pool_use_lifo=True,
            connect_args={
                "application_name": name,
                "connect_timeout": 5,
                "prepare_threshold": 2,
                "options": "-c timezone=UTC -c lock_timeout=10s -c statement_timeout=60s"
                " -c idle_in_transaction_session_timeout=60s -c jit=off",
                # A vanished server is noticed within seconds, not at the kernel's leisure.
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
            },
        )

    @asynccontextmanager
    async def transaction(self, tenant_id: uuid.UUID | None) -> AsyncIterator[Work]:
        """A tenant's transaction: committed when the block ends, rolled back when it raises.

        With None nothing of any tenant is visible; only the look-up functions answer.
        """
        try:
            async with self._engine.connect() as connection:
                await connection.begin()
                work = Work(connection, tenant_id)
                try:
                    yield work
                    await work.flush()
                    await connection.commit()
                    if work.wakes_relay:
                        self._bell.set()
                except (psycopg.OperationalError, psycopg.InterfaceError):
                    await connection.invalidate()  # used past SQLAlchemy, which cannot know
                    raise
        except (OperationalError, InterfaceError, psycopg.OperationalError, PoolTimeout) as error:
            if isinstance(error, DBAPIError) and _is_refusal(error.orig):
                raise
            if _is_refusal(error):
                raise
            raise Unavailable("The database does not answer. Nothing was changed.") from error

    async def ring(self) -> None:
        """Tells the relay of commits made through this pool, at most fifty times a second.

        Not part of the transactions themselves: NOTIFY serialises the commits that carry it. A
        bell that is not heard costs a second, because the relay also looks by itself.
        """
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                async with self._engine.connect() as connection:
                    await connection.exec_driver_sql("notify outbox")
                    await connection.commit()
            except (OperationalError, InterfaceError, PoolTimeout):
                logger.warning("could not wake the relay")
            await asyncio.sleep(0.02)

    async def listen(self) -> psycopg.AsyncConnection[Any]:
        """A connection of its own, outside the pool and outside transactions, for LISTEN."""
        url = self._engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        return await psycopg.AsyncConnection.connect(url, autocommit=True)

    async def close(self) -> None:
        await self._engine.dispose()


def _is_refusal(error: object) -> bool:
    """Deadlocks and lock time-outs are the database's answers, not its absence."""
    return isinstance(
        error,
        psycopg.errors.LockNotAvailable
        | psycopg.errors.DeadlockDetected
        | psycopg.errors.SerializationFailure
        | psycopg.errors.QueryCanceled,
    )


__all__ = ["Database", "Row", "Statement", "Work"]
