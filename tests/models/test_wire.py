"""A connection that sends many statements as one message: their order, their errors, its end."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest

from domain.errors import Unavailable
from models.session import Database
from models.wire import Pool, Wire, numbered
from tests.conftest import Urls


@pytest.fixture
async def wire(urls: Urls) -> AsyncIterator[Wire]:
    async with contextlib.AsyncExitStack() as stack:
        opened = await Wire.open(urls.app)
        stack.callback(opened.close)
        yield opened


async def terminate(urls: Urls, pid: int) -> None:
    """As an administrator, or a server that goes down, would end a connection."""
    async with await psycopg.AsyncConnection.connect(urls.app, autocommit=True) as other:
        await other.execute("select pg_terminate_backend(%s)", (pid,))


async def own_pid(wire: Wire) -> int:
    [[row]] = await wire.send([("select pg_backend_pid() as pid", ())])
    pid: int = row["pid"]
    return pid


async def test_every_statement_gets_its_rows_in_order(wire: Wire) -> None:
    trips = wire.trips
    id_ = uuid.uuid4()
    for _ in range(2):  # prepared the first time, known the second
        answers = await wire.send(
            [
                ("begin", ()),
                ("select %s::int as n, %s as word", (1, "one")),
                ("select %(id)s::uuid as id, %(id)s::text as again, '5%%' as share", {"id": id_}),
                ("select n from generate_series(1, %s) n", (3,)),
                ("select where false", ()),
                ("", ()),
                ("commit", ()),
            ]
        )
        assert answers == [
            [],
            [{"n": 1, "word": "one"}],
            [{"id": id_, "again": str(id_), "share": "5%"}],
            [{"n": 1}, {"n": 2}, {"n": 3}],
            [],
            [],
            [],
        ]
    assert wire.trips == trips + 2


def test_placeholders_are_numbered_once_per_name_and_percent_signs_stay() -> None:
    assert numbered("a %s b %s like '5%%'", named=False) == (b"a $1 b $2 like '5%'", ())
    assert numbered("%(x)s %(y)s %(x)s", named=True) == (b"$1 $2 $1", ("x", "y"))
    with pytest.raises(AssertionError):
        numbered("%(x)s %s", named=True)


async def test_after_an_error_nothing_that_followed_was_done(wire: Wire) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        await wire.send(
            [
                ("begin", ()),
                ("create temporary table made (n int)", ()),
                ("select 1 / %s::int", (0,)),
                ("select 'never' as prepared", ()),
                ("commit", ()),
            ]
        )
    assert wire.answered == [[], []]
    assert wire.failed
    assert not wire.usable
    await wire.send([("rollback", ())])
    assert wire.usable
    [[row], [there]] = await wire.send(
        [
            ("select 'never' as prepared", ()),
            ("select to_regclass('made') is null as gone", ()),
        ]
    )
    assert (row, there) == ({"prepared": "never"}, {"gone": True})


async def test_a_message_larger_than_any_buffer_arrives(wire: Wire) -> None:
    text = "ä" * 8_000_000
    answers = await wire.send([("select %s::text as t", (text,)), ("select 1 as one", ())])
    assert answers == [[{"t": text}], [{"one": 1}]]


async def test_what_was_sent_unread_is_read_past(wire: Wire) -> None:
    await wire.send([("begin", ()), ("select 1", ())])
    wire.send_unread("commit")
    assert wire.usable
    assert await wire.send([("select 2 as two", ())]) == [[{"two": 2}]]
    assert not wire.in_transaction


async def test_a_table_that_changed_costs_one_error_at_most(urls: Urls) -> None:
    pool = Pool(lambda: Wire.open(urls.owner), size=1, wait_seconds=1)
    wire = await pool.acquire()
    await wire.send([("create temporary table odd (a int)", ()), ("select * from odd", ())])
    await wire.send([("alter table odd add column b int", ())])
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        await wire.send([("select * from odd", ())])
    pool.release(wire)
    again = await pool.acquire()
    assert again is not wire
    assert await own_pid(again)
    pool.release(again)
    pool.close()


async def test_a_connection_that_the_server_ended_is_not_given_out_again(
    urls: Urls, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool(lambda: Wire.open(urls.app), size=2, wait_seconds=1)
    one, other = await pool.acquire(), await pool.acquire()
    pids = [await own_pid(one), await own_pid(other)]
    pool.release(one)
    pool.release(other)
    for pid in pids:
        await terminate(urls, pid)
    await asyncio.sleep(0.1)
    fresh = await pool.acquire()
    assert await own_pid(fresh) not in pids
    pool.release(fresh)
    pool.close()


async def test_a_connection_that_dies_while_it_answers_fails_its_caller(
    wire: Wire, urls: Urls
) -> None:
    pid = await own_pid(wire)
    waiting = asyncio.create_task(wire.send([("select pg_sleep(20)", ())]))
    await asyncio.sleep(0.2)
    await terminate(urls, pid)
    with pytest.raises(psycopg.OperationalError):
        await asyncio.wait_for(waiting, 5)
    assert not wire.usable
    with pytest.raises(psycopg.OperationalError):
        await wire.send([("select 1", ())])


async def test_whoever_gives_up_waiting_leaves_no_answer_to_the_next(
    database: Database, tenant: uuid.UUID
) -> None:
    async def slow() -> None:
        async with database.transaction(tenant) as work:
            await work.rows("select pg_sleep(20)")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow(), 0.2)
    async with database.transaction(tenant) as work:
        assert await work.rows("select 7 as n") == [{"n": 7}]


async def test_more_callers_than_connections_wait_for_each_other(urls: Urls) -> None:
    database = Database(urls.app, pool_size=2)
    tenant = uuid.uuid4()

    async def ask(n: int) -> int:
        async with database.transaction(tenant) as work:
            row = await work.row("select cast(:n as int) as n, pg_sleep(0.01)", {"n": n})
            assert row is not None
            found: int = row["n"]
            return found

    assert await asyncio.gather(*(ask(n) for n in range(40))) == list(range(40))
    await database.close()


async def test_a_server_that_is_not_there_is_said_at_once() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/none")

    async def ask() -> None:
        async with database.transaction(None) as work:
            await work.rows("select 1")

    with pytest.raises(Unavailable):
        await asyncio.wait_for(ask(), 2)


async def test_going_on_after_an_error_does_not_pass_for_a_commit(
    database: Database, tenant: uuid.UUID
) -> None:
    async def go_on() -> None:
        async with database.transaction(tenant) as work:
            with contextlib.suppress(psycopg.errors.DivisionByZero):
                await work.rows("select 1 / 0")

    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        await go_on()


async def test_work_that_reads_can_write_nothing(database: Database, tenant: uuid.UUID) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        async with database.transaction(tenant, reading=True) as work:
            await work.execute("delete from tickets")
    async with database.transaction(tenant, reading=True) as work:
        assert await work.rows("select 1 as n") == [{"n": 1}]
        assert work.trips == 1


async def test_work_that_asks_nothing_sends_nothing(database: Database, tenant: uuid.UUID) -> None:
    async with database.transaction(tenant) as work:
        pass
    assert work.trips == 0


async def test_a_server_that_is_there_and_says_nothing_is_given_up(
    urls: Urls, tenant: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.wire._PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr("models.wire._LOOK_SECONDS", 0.05)
    frozen = Database(urls.app, pool_size=1)
    async with asyncio.timeout(5):
        with pytest.raises(Unavailable):
            async with frozen.transaction(tenant) as work:
                await work.rows("select pg_sleep(30)")
    async with frozen.transaction(tenant) as work:  # the next one gets a connection of its own
        assert await work.rows("select 1 as n") == [{"n": 1}]
        await asyncio.sleep(0.5)  # who asks nothing may take their time
        assert await work.rows("select 2 as n") == [{"n": 2}]
    await frozen.close()
