"""One connection to Postgres: many statements go out as one message, their answers come as one.

psycopg's own pipeline mode waits for the socket between any two statements; what a request needs
is a handful of statements that are all known before the first is sent. So this queues them in
libpq, sends once, and reads until the last answer is there. Every statement is prepared where it is
first used.
"""

import asyncio
import contextlib
import re
import select
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import orjson
import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.types.json import set_json_dumps, set_json_loads

Row = dict[str, Any]
Parameters = Mapping[str, object] | Sequence[object]
Statement = tuple[str, Parameters]

_MOST_PREPARED = 500
_MOST_SECONDS = 1800
# The server gives a statement 60 seconds. Where even the word of that does not come, it is frozen,
# or somewhere between here and there is.
_PATIENCE_SECONDS = 65.0
_LOOK_SECONDS = 5.0
_PLACEHOLDER = re.compile(r"%(?:\((\w+)\)s|(s)|(%))")
_BROKEN = psycopg.OperationalError("the connection to the database is lost")


def _dumps(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


set_json_dumps(_dumps)
set_json_loads(orjson.loads)


@lru_cache(maxsize=2000)
def numbered(sql: str, *, named: bool) -> tuple[bytes, tuple[str, ...]]:
    """The statement with $1, $2, … as Postgres wants it, and the names that these stand for.

    It is written with %s, or with %(name)s where `named`; %% is a percent sign. A statement
    without parameters that has a bare percent sign in it stays as it is.
    """
    names: list[str] = []
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        name, positional, _ = found.groups()
        if positional:
            count += 1
            return f"${count}"
        if name is None:
            return "%"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    text = _PLACEHOLDER.sub(number, sql)
    assert not (count if named else names), "placeholders are all named, or none of them is"
    return text.encode(), tuple(names)


class _Prepared:
    __slots__ = ("columns", "name")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.columns: tuple[str, ...] | None = None


class Wire:
    """An open connection. One caller at a time; belongs to the event loop that opened it."""

    def __init__(self, connection: "psycopg.AsyncConnection[Any]") -> None:
        self._connection = connection  # keeps the socket
        self._pg = connection.pgconn
        self._loop = asyncio.get_running_loop()
        self._socket: Final = self._pg.socket
        self._adapt = Transformer(connection)
        self._prepared: dict[tuple[bytes, tuple[int, ...]], _Prepared] = {}
        self._count = 0
        self._waiting: asyncio.Future[None] | None = None
        self._owed = False  # an answer nobody has read yet
        self._new: dict[tuple[bytes, tuple[int, ...]], _Prepared] = {}
        self.answered: list[list[Row]] = []
        self.trips = 0  # messages sent and answered
        self._asked_at: float | None = None  # since when an answer is due, by the loop's clock
        self._pg.enter_pipeline_mode()
        self._loop.add_reader(self._socket, self._arrived)
        self._listening = True

    @classmethod
    async def open(cls, url: str, **options: Any) -> "Wire":
        """Raises psycopg.OperationalError when the server cannot be reached."""
        return cls(await psycopg.AsyncConnection.connect(url, autocommit=True, **options))

    @property
    def usable(self) -> bool:
        """Whether the next caller may have it: open, in no transaction, and not full of plans."""
        return (
            self._pg.status == ConnStatus.OK
            and len(self._prepared) <= _MOST_PREPARED
            and (self._owed or self._pg.transaction_status == TransactionStatus.IDLE)
        )

    @property
    def in_transaction(self) -> bool:
        return self._pg.transaction_status != TransactionStatus.IDLE

    @property
    def failed(self) -> bool:
        """Whether the transaction can only be rolled back."""
        return self._pg.transaction_status == TransactionStatus.INERROR

    def hung_up(self) -> bool:
        """Whether the server has closed the connection while nobody used it."""
        if self._pg.status != ConnStatus.OK:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not self._owed and poll.poll(0):
            self._arrived()
        return self._pg.status != ConnStatus.OK

    async def send(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """The rows of each statement; all of them are sent at once, in order.

        Where one fails, those after it are not carried out and its psycopg error is raised;
        `answered` has the rows of those before it.
        """
        self._asked_at = self._loop.time()
        try:
            if self._owed:
                await self._settle()
            asked = self._queue(statements)
            self.trips += 1
            await self._flush()
            return await self._answers(asked)
        finally:
            self._asked_at = None

    def give_up(self) -> None:
        """Cuts the connection where an answer has been due for too long; who waits is told."""
        if self._asked_at is not None and self._loop.time() - self._asked_at > _PATIENCE_SECONDS:
            self.close()

    def send_unread(self, statement: str) -> None:
        """Sends a statement whose outcome matters to nobody; the next caller reads past it."""
        self._pg.send_query_params(statement.encode(), None)
        self._pg.pipeline_sync()
        self._owed = True

    def close(self) -> None:
        """Cuts the connection; what was not committed is rolled back by the server."""
        if self._listening:
            self._listening = False
            self._loop.remove_reader(self._socket)
        self._pg.finish()
        self._wake()

    # Parts.

    def _queue(self, statements: Sequence[Statement]) -> list[tuple[_Prepared, bool]]:
        """Hands the statements to libpq; what is asked, and whether it had to be prepared."""
        asked: list[tuple[_Prepared, bool]] = []
        adapt, pg = self._adapt, self._pg
        fresh: dict[tuple[bytes, tuple[int, ...]], _Prepared] = {}
        try:
            for sql, parameters in statements:
                if isinstance(parameters, Mapping):
                    text, names = numbered(sql, named=True)
                    values: Sequence[object] = [parameters[name] for name in names]
                elif parameters:
                    text, _ = numbered(sql, named=False)
                    values = parameters
                else:
                    text, values = sql.encode(), ()
                said = (
                    adapt.dump_sequence(values, [PyFormat.AUTO] * len(values)) if values else None
                )
                types = adapt.types or () if values else ()
                formats = adapt.formats if values else None
                key = (text, types)
                known = self._prepared.get(key) or fresh.get(key)
                new = known is None
                if known is None:
                    self._count += 1
                    known = fresh[key] = _Prepared(b"h%d" % self._count)
                    pg.send_prepare(known.name, text, types or None)
                pg.send_query_prepared(known.name, said, formats)
                asked.append((known, new))
            pg.pipeline_sync()
        except BaseException:
            self.close()  # half a message is in libpq: nothing else can follow it
            raise
        self._new = fresh
        return asked

    async def _answers(self, asked: Sequence[tuple[_Prepared, bool]]) -> list[list[Row]]:
        failed: PGresult | None = None
        self.answered = rows = []
        refused: set[bytes] = set()
        for prepared, new in asked:
            for last in (False, True) if new else (True,):
                result = await self._result()
                status = result.status
                if status == ExecStatus.FATAL_ERROR:
                    failed = failed or result
                elif last and status == ExecStatus.TUPLES_OK:
                    rows.append(self._rows(prepared, result))
                    continue
                elif status in (ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY):
                    if last:
                        rows.append([])
                    continue
                if not last:
                    refused.add(prepared.name)
        end = await self._next()
        assert end is not None
        assert end.status == ExecStatus.PIPELINE_SYNC
        for key, prepared in self._new.items():
            if prepared.name not in refused:
                self._prepared[key] = prepared
        if failed is not None:
            error = psycopg.errors.error_from_result(failed)
            if isinstance(error, psycopg.errors.FeatureNotSupported):
                self.close()  # a plan may no longer fit its table: the next one begins with none
            raise error
        return rows

    def _rows(self, prepared: _Prepared, result: PGresult) -> list[Row]:
        columns = prepared.columns
        if columns is None or len(columns) != result.nfields:
            columns = prepared.columns = tuple(
                (result.fname(i) or b"").decode() for i in range(result.nfields)
            )
        if not result.ntuples:
            return []
        self._adapt.set_pgresult(result)

        def row(values: Sequence[object], names: tuple[str, ...] = columns) -> Row:
            return dict(zip(names, values, strict=True))

        return self._adapt.load_rows(0, result.ntuples, row)

    async def _result(self) -> PGresult:
        """The answer to one command."""
        result = await self._next()
        assert result is not None
        while (further := await self._next()) is not None:
            result = further if result.status != ExecStatus.FATAL_ERROR else result
        return result

    async def _next(self) -> PGresult | None:
        while self._pg.is_busy():
            await self._arrival()
        return self._pg.get_result()

    async def _settle(self) -> None:
        """Reads what was sent unread."""
        while True:
            result = await self._next()
            if result is not None and result.status == ExecStatus.PIPELINE_SYNC:
                break
        self._owed = False

    async def _flush(self) -> None:
        """Until all of it is on its way: long messages do not fit into the socket at once."""
        while self._pg.flush():
            sent = self._loop.create_future()
            self._waiting = sent
            self._loop.add_writer(self._socket, self._wake)
            try:
                await sent
            except BaseException:
                self.close()
                raise
            finally:
                self._loop.remove_writer(self._socket)

    async def _arrival(self) -> None:
        """Until something came. Whoever gives up waiting loses the connection: an answer is due."""
        if self._pg.status != ConnStatus.OK:
            raise _BROKEN
        self._waiting = self._loop.create_future()
        try:
            await self._waiting
        except BaseException:
            self.close()
            raise
        if self._pg.status != ConnStatus.OK:
            raise _BROKEN

    def _arrived(self) -> None:
        with contextlib.suppress(psycopg.OperationalError):
            self._pg.consume_input()
        if self._pg.status != ConnStatus.OK and self._listening:
            self._listening = False
            self._loop.remove_reader(self._socket)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Pool:
    """Connections of one role: opened when wanted, the last one given back is the next one given.

    A server that cannot be reached is an error at once, not after a queue of waiting callers.
    """

    def __init__(
        self, connect: Callable[[], Coroutine[Any, Any, Wire]], *, size: int, wait_seconds: float
    ) -> None:
        self._connect = connect
        self._wait_seconds = wait_seconds
        self._free = size
        self._queue: deque[asyncio.Future[None]] = deque()  # who waits for one to be given back
        self._idle: list[tuple[Wire, float, float]] = []  # with when opened, and when given back
        self._opened: dict[Wire, float] = {}
        self._closed = False
        self._looking: asyncio.TimerHandle | None = None

    async def acquire(self) -> Wire:
        """A connection in no transaction.

        Raises TimeoutError where all stay taken, psycopg.OperationalError where none can be made.
        """
        if self._free:
            self._free -= 1
        else:
            await self._turn()
        try:
            now = time.monotonic()
            while self._idle:
                wire, opened, since = self._idle.pop()
                aged = now - opened > _MOST_SECONDS
                if not aged and wire.usable and (now - since < 1 or not wire.hung_up()):
                    self._opened[wire] = opened
                    self._look_after()
                    return wire
                wire.close()
            wire = await self._connect()
        except BaseException:
            self._pass_on()
            raise
        self._opened[wire] = time.monotonic()
        self._look_after()
        return wire

    def release(self, wire: Wire) -> None:
        """Takes it back; one that is broken or in the midst of something is closed."""
        opened = self._opened.pop(wire)
        if wire.usable and not self._closed:
            self._idle.append((wire, opened, time.monotonic()))
        else:
            wire.close()
            # What broke this one has probably broken others.
            for other in [idle for idle in self._idle if idle[0].hung_up()]:
                self._idle.remove(other)
                other[0].close()
        self._pass_on()

    async def _turn(self) -> None:
        """Until it is one's turn, in the order in which people came."""
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # it was given to somebody who had just gone
            raise

    def _pass_on(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _look_after(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = None
        for wire in self._opened:
            wire.give_up()
        if self._opened:
            self._look_after()

    def close(self) -> None:
        """Closes what is idle, and what is in use when it is given back."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        for wire, _, _ in self._idle:
            wire.close()
        self._idle.clear()


__all__ = ["Pool", "Row", "Statement", "Wire"]
