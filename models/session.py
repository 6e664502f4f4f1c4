"""The one way to Postgres: a tenant's transaction. The only commit, the only pipeline."""

import asyncio
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import lru_cache, partial
from types import TracebackType
from typing import Any

import psycopg
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql import psycopg as postgres
from sqlalchemy.sql.elements import CompilerElement

from domain.errors import Unavailable
from models.wire import Pool, Row, Statement, Wire

logger = logging.getLogger(__name__)

Check = Callable[[list[Row]], None]

_SET_TENANT = "select set_config('app.tenant', %s, true)"
_LOCK = "select pg_advisory_xact_lock(%s)"
_SET_TENANT_AND_LOCK = "select set_config('app.tenant', %s, true), pg_advisory_xact_lock(%s)"
# Planned once and not for the values of each call: planning takes longer than such a statement.
_PLAN_ONCE = ", set_config('plan_cache_mode', 'force_generic_plan', true)"
_BEGIN: Statement = ("begin", ())
_BEGIN_READING: Statement = ("begin read only", ())
_COMMIT: Statement = ("commit", ())
_DIALECT = postgres.dialect()  # type: ignore[no-untyped-call]
_NAME = re.compile(r"(?<![:\w\\]):(\w+)(?!:)")


class Work:
    """One transaction on behalf of one tenant; every statement sees that tenant's rows only.

    `execute` and its kin take SQLAlchemy statements, or text with :named parameters, one round trip
    each. `batch` takes raw SQL (%s or %(name)s) and sends all of it in one round trip. The
    transaction begins with what is sent first, in the same message, and ends with the last.
    """

    def __init__(self, wire: Wire, tenant_id: uuid.UUID | None, *, reading: bool = False) -> None:
        self._wire = wire
        self._trips_before = wire.trips
        self._tenant_id = tenant_id
        self._reading = reading
        self._begun = False
        self._plans = ""
        self._guard: tuple[int, Statement, Check] | None = None
        self._guarded: tuple[int, Statement, Check] | None = None  # as it was asked
        self._deferred: list[Statement] = []
        self.wakes_relay = False
        # Set once this transaction has changed the tenant's configuration: what it reads of it
        # from then on may be rolled back, so nobody else may use it.
        self.configuration_changed = False

    @property
    def tenant_id(self) -> uuid.UUID:
        assert self._tenant_id is not None, "this work is for no tenant"
        return self._tenant_id

    @property
    def trips(self) -> int:
        """How often it has been to the database."""
        return self._wire.trips - self._trips_before

    def look_up(self) -> None:
        """What follows looks rows up by their keys, so its statements keep the plan they have.

        To be said before anything is sent; else it is too late, and no harm.
        """
        self._plans = _PLAN_ONCE

    def wake_relay(self) -> None:
        """Once this is committed, the relay is told that the outbox has something for it."""
        self.wakes_relay = True

    async def restart(self, *, unguarded: bool = False) -> None:
        """Lets go of every lock and forgets everything done so far in this transaction.

        What was guarded is guarded again, unless `unguarded`.
        """
        if self._begun:
            await self._wire.send([("rollback", ())])
        self._begun = False
        self._guard = None if unguarded else self._guarded or self._guard
        self._deferred.clear()
        self.wakes_relay = False
        self.configuration_changed = False

    def guard(self, lock: int, question: Statement, *, check: Check) -> None:
        """Goes ahead of whatever is sent next, in the same round trip: the lock, the question.

        `check` is given the answer before anybody sees what came after; it raises where nothing
        of this work is to stay, and whoever catches that calls `restart(unguarded=True)`.
        """
        self._guard = (lock, question, check)

    @property
    def guarded(self) -> bool:
        """Whether there is a guard that was not asked yet."""
        return self._guard is not None

    def defer(self, *statements: Statement) -> None:
        """Writes whose rows nobody waits for: they go with whatever is sent next."""
        self._deferred += statements

    async def flush(self) -> None:
        """Everything guarded or deferred has been sent."""
        if self._guard is not None or self._deferred:
            await self.batch()

    async def execute(
        self, statement: Executable | str, parameters: Mapping[str, object] | None = None
    ) -> None:
        """Carries out one SQLAlchemy statement, or SQL text with :named parameters."""
        await self.batch(_raw(statement, parameters))

    async def rows(
        self, statement: Executable | str, parameters: Mapping[str, object] | None = None
    ) -> list[Row]:
        """All rows of a statement as dictionaries."""
        [found] = await self.batch(_raw(statement, parameters))
        return found

    async def row(
        self, statement: Executable | str, parameters: Mapping[str, object] | None = None
    ) -> Row | None:
        """The first row, or None."""
        found = await self.rows(statement, parameters)
        return found[0] if found else None

    async def batch(self, *statements: Statement) -> list[list[Row]]:
        """The rows of each raw statement, all in one round trip."""
        ahead: list[Statement] = []
        check: Check | None = None
        if not self._begun:
            ahead.append(_BEGIN_READING if self._reading else _BEGIN)
        first_of_tenant = not self._begun and self._tenant_id is not None
        if self._guard is not None:
            lock, question, check = self._guarded = self._guard
            # Two statements: the question sees what was committed while the lock was waited for.
            ahead += [
                (_SET_TENANT_AND_LOCK + self._plans, (str(self._tenant_id), lock))
                if first_of_tenant
                else (_LOCK, (lock,)),
                question,
            ]
        elif first_of_tenant:
            ahead.append((_SET_TENANT + self._plans, (str(self._tenant_id),)))
        queue = [*ahead, *self._deferred, *statements]
        self._begun = True
        self._guard = None
        self._deferred.clear()
        try:
            answers = await self._wire.send(queue)
        except psycopg.Error:
            answered = self._wire.answered
            if check is not None and len(answered) >= len(ahead):
                check(answered[len(ahead) - 1])  # that it was done before is why it fails now
            raise
        if check is not None:
            check(answers[len(ahead) - 1])
        return answers[len(answers) - len(statements) :]

    async def finish(self) -> None:
        """Commits, together with what was deferred. Nothing is sent where nothing was asked."""
        if self._guard is not None or (self._deferred and not self._begun):
            await self.batch()
        if not self._begun:
            return
        if self._wire.failed:  # somebody went on after an error: COMMIT would say nothing of it
            raise psycopg.errors.InFailedSqlTransaction("a statement of this work has failed")
        if self._reading:
            self._wire.send_unread("commit")
            return
        queue = [*self._deferred, _COMMIT]
        self._deferred.clear()
        await self._wire.send(queue)
        self._begun = False

    async def undo(self) -> None:
        """Rolls back what was begun."""
        if self._begun and self._wire.in_transaction:
            await self._wire.send([("rollback", ())])
        self._begun = False


def _raw(statement: Executable | str, parameters: Mapping[str, object] | None) -> Statement:
    if isinstance(statement, str):
        return (_named(statement), parameters or ()) if parameters else (statement, ())
    assert isinstance(statement, CompilerElement)
    compiled = statement.compile(dialect=_DIALECT)
    values = dict(compiled.construct_params(parameters) or {})
    for name, process in compiled._bind_processors.items():  # type: ignore[attr-defined]
        values[name] = process(values[name])
    return (str(compiled), values) if values else (str(compiled).replace("%%", "%"), ())


@lru_cache(maxsize=2000)
def _named(sql: str) -> str:
    """SQL with :name as %(name)s; `::type` and quoted times stay what they are."""
    return _NAME.sub(r"%(\1)s", sql.replace("%", "%%"))


class Database:
    """A pool of connections as one role.

    Raises Unavailable when Postgres cannot be reached or has no connection to spare.
    """

    def __init__(self, url: str, *, pool_size: int = 10, name: str = "holdfast") -> None:
        self._bell = asyncio.Event()
        self._url = url
        self._pool = Pool(
            partial(
                Wire.open,
                url,
                application_name=name,
                connect_timeout=5,
                options="-c timezone=UTC -c lock_timeout=10s -c statement_timeout=60s"
                " -c idle_in_transaction_session_timeout=60s -c jit=off",
                # A vanished server is noticed within seconds, not at the kernel's leisure.
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
            ),
            size=pool_size,
            wait_seconds=5,
        )

    def transaction(
        self, tenant_id: uuid.UUID | None, *, reading: bool = False
    ) -> AbstractAsyncContextManager[Work]:
        """A tenant's transaction: committed when the block ends, rolled back when it raises.

        With None nothing of any tenant is visible; only the look-up functions answer. One that is
        `reading` may not write, and does not wait for its end.
        """
        return _Transaction(self._pool, self._bell, tenant_id, reading=reading)

    async def ring(self) -> None:
        """Tells the relay of commits made through this pool, at most fifty times a second.

        Not part of the transactions themselves: NOTIFY serialises the commits that carry it. A
        bell that is not heard costs a second, because the relay also looks by itself.
        """
        while True:
            await self._bell.wait()
            self._bell.clear()
            try:
                wire = await self._pool.acquire()
                try:
                    await wire.send([("notify outbox", ())])
                finally:
                    self._pool.release(wire)
            except (psycopg.Error, TimeoutError):
                logger.warning("could not wake the relay")
            await asyncio.sleep(0.02)

    async def listen(self) -> psycopg.AsyncConnection[Any]:
        """A connection of its own, outside the pool and outside transactions, for LISTEN."""
        return await psycopg.AsyncConnection.connect(self._url, autocommit=True)

    async def close(self) -> None:
        self._pool.close()


class _Transaction(AbstractAsyncContextManager[Work]):
    """What `Database.transaction` gives: a class, because a generator costs more to enter."""

    def __init__(
        self, pool: Pool, bell: asyncio.Event, tenant_id: uuid.UUID | None, *, reading: bool
    ) -> None:
        self._pool = pool
        self._bell = bell
        self._tenant_id = tenant_id
        self._reading = reading

    async def __aenter__(self) -> Work:
        try:
            self._wire = await self._pool.acquire()
        except (TimeoutError, psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise Unavailable(_AWAY) from error
        self._work = Work(self._wire, self._tenant_id, reading=self._reading)
        return self._work

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                try:
                    await self._work.finish()
                    if self._work.wakes_relay:
                        self._bell.set()
                    return
                except BaseException as fault:
                    await self._undo()
                    if _is_absence(fault):
                        raise Unavailable(_AWAY) from fault
                    raise
            await self._undo()
        finally:
            self._pool.release(self._wire)
        if _is_absence(error):
            raise Unavailable(_AWAY) from error

    async def _undo(self) -> None:
        with suppress(psycopg.Error):
            await self._work.undo()


_AWAY = "The database does not answer. Nothing was changed."


def _is_absence(error: object) -> bool:
    """Deadlocks and lock time-outs are the database's answers, not its absence."""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and not isinstance(
        error,
        psycopg.errors.LockNotAvailable
        | psycopg.errors.DeadlockDetected
        | psycopg.errors.SerializationFailure
        | psycopg.errors.QueryCanceled,
    )


__all__ = ["Database", "Row", "Statement", "Work"]
