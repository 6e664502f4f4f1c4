"""The relay: at least once, in any order, several at a time, and nobody held up by another."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from models.session import Database
from services.desks import Desks
from services.destinations import LiveDestination
from services.relay import DestinationDown, Fact, Relay, lag, rewrite_outbox
from services.tickets import Tickets
from tests.conftest import Urls
from tests.making import happens, make_agent, make_ticket, words


@dataclass
class Heard:
    """A destination that remembers; breaks where it is told to."""

    name: str = "live"
    locks_tickets: bool = False
    facts: list[Fact] = field(default_factory=list)
    poison: set[uuid.UUID] = field(default_factory=set)
    down: bool = False
    pause: float = 0.0

    async def tell(self, facts: Sequence[Fact]) -> dict[uuid.UUID, str]:
        if self.down:
            raise DestinationDown("away")
        await asyncio.sleep(self.pause)
        if any(f.ticket_id in self.poison for f in facts):
            raise ValueError("year 10000 is out of range")
        self.facts += facts
        return {}


@pytest.fixture
async def relay_database(urls: Urls) -> AsyncIterator[Database]:
    database = Database(urls.relay, pool_size=6)
    async with database.transaction(None) as work:
        await work.execute("delete from outbox")
    yield database
    await database.close()


@pytest.fixture
def tickets() -> Tickets:
    return Tickets(Desks())


async def waiting(database: Database) -> int:
    left: dict[str, int] = {row["destination"]: row["waiting"] for row in await lag(database)}
    return left["live"]


async def test_of_several_events_of_a_ticket_the_newest_is_told_once(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    from domain.tickets import NoteAdded

    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
    ticket = await make_ticket(database, tickets, tenant)
    for _ in range(3):
        last = await happens(database, tickets, tenant, ticket.number, NoteAdded(words()), by=agent)
    heard = Heard()
    assert await Relay(relay_database, heard).drain() == 4
    assert [(f.ticket_id, f.seq) for f in heard.facts] == [(ticket.id, last.seq)]
    assert await waiting(relay_database) == 0


async def test_what_is_left_of_a_tenant_that_is_gone_is_forgotten(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    ticket = await make_ticket(database, tickets, tenant)
    async with relay_database.transaction(None) as work:
        await work.execute(
            "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, created_at,"
            " available_at) values ('live', :gone, :gone, 1, 'created', 1, now(), now())",
            {"gone": uuid.uuid4()},
        )
    heard = Heard()
    assert await Relay(relay_database, heard).drain() == 2
    assert [f.ticket_id for f in heard.facts] == [ticket.id]
    assert await waiting(relay_database) == 0


async def test_a_fact_that_breaks_its_batch_holds_up_itself_alone(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    made = [await make_ticket(database, tickets, tenant) for _ in range(5)]
    heard = Heard(poison={made[1].id})
    await Relay(relay_database, heard).drain()
    assert {f.ticket_id for f in heard.facts} == {t.id for t in made} - {made[1].id}
    async with relay_database.transaction(None) as work:
        [row] = await work.rows(
            "select attempts, error, available_at > now() as later from outbox"
            " where destination = 'live'"
        )
    assert (row["attempts"], row["later"]) == (1, True)
    assert "out of range" in row["error"]


async def test_what_is_away_keeps_everything_and_nothing_else_waits_for_it(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    ticket = await make_ticket(database, tickets, tenant)
    away, index = Heard(down=True), Heard(name="index", locks_tickets=True)
    with pytest.raises(DestinationDown):
        await Relay(relay_database, away).drain()
    assert await Relay(relay_database, index).drain() == 1
    away.down = False
    assert await Relay(relay_database, away).drain() == 1
    assert [f.ticket_id for f in away.facts] == [f.ticket_id for f in index.facts] == [ticket.id]


async def test_several_relays_share_the_work_and_tell_each_fact_once(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    made = {(await make_ticket(database, tickets, tenant)).id for _ in range(30)}
    heard = Heard(pause=0.05)
    await asyncio.gather(*(Relay(relay_database, heard).drain() for _ in range(4)))
    assert sorted(f.ticket_id for f in heard.facts) == sorted(made)


async def test_a_relay_that_dies_while_telling_lets_another_tell_again(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    await make_ticket(database, tickets, tenant)
    slow = Heard(pause=30)
    dying = asyncio.create_task(Relay(relay_database, slow).drain())
    await asyncio.sleep(0.3)
    assert await Relay(relay_database, Heard()).drain() == 0  # the row is held
    dying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dying
    heir = Heard()
    assert await Relay(relay_database, heir).drain() == 1


async def test_a_rebuild_tells_again_of_every_open_ticket_and_of_no_other(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    from domain.tickets import Changed

    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
    opened = await make_ticket(database, tickets, tenant)
    closed = await make_ticket(database, tickets, tenant)
    await happens(
        database, tickets, tenant, closed.number,
        Changed(assignee_id=agent, status="closed"), by=agent,
    )  # fmt: skip
    async with relay_database.transaction(None) as work:
        await work.execute("delete from outbox")
    await rewrite_outbox(relay_database, "workflows")
    async with relay_database.transaction(None) as work:
        rows = await work.rows("select ticket_id from outbox where destination = 'workflows'")
    told = {row["ticket_id"] for row in rows}
    assert opened.id in told
    assert closed.id not in told


async def test_the_error_that_is_shown_is_the_newest_one(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    first = await make_ticket(database, tickets, tenant)
    second = await make_ticket(database, tickets, tenant)
    async with relay_database.transaction(None) as work:
        for ticket, error, seconds in ((first, "zebra", 1), (second, "ant", 9)):
            await work.execute(
                "update outbox set error = :error, attempts = 1,"
                " available_at = now() + make_interval(secs => :seconds)"
                " where destination = 'live' and ticket_id = :id",
                {"error": error, "seconds": seconds, "id": ticket.id},
            )
    shown = {row["destination"]: row["error"] for row in await lag(relay_database)}
    others = dict.fromkeys(("workflows", "index", "routing", "alerts"))
    assert shown == {**others, "live": "ant"}


async def test_why_a_whole_destination_is_away_is_shown_until_it_is_back(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    for _ in range(3):
        await make_ticket(database, tickets, tenant)
    # Nothing listens on port 1: the real Redis client says so.
    away = LiveDestination(Redis.from_url("redis://127.0.0.1:1"))
    with pytest.raises(DestinationDown):
        await Relay(relay_database, away).drain()
    shown = {row["destination"]: row["error"] for row in await lag(relay_database)}
    assert shown["index"] is None
    assert shown["live"].endswith("Redis does not answer")
    assert "Error" in shown["live"].partition(":")[0]  # its class
    async with relay_database.transaction(None) as work:
        [row] = await work.rows(
            "select count(*) as waiting, count(error) as told_why, max(attempts) as attempts"
            " from outbox where destination = 'live' and available_at <= now()"
        )
    assert row == {"waiting": 3, "told_why": 1, "attempts": 0}  # none of them is put off

    assert await Relay(relay_database, Heard()).drain() == 3
    shown = {row["destination"]: row["error"] for row in await lag(relay_database)}
    assert shown["live"] is None


async def test_a_relay_that_breaks_says_so_without_what_a_ticket_holds(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    await make_ticket(database, tickets, tenant)

    class Broken(Heard):
        async def tell(self, facts: Sequence[Fact]) -> dict[uuid.UUID, str]:
            return {facts[0].ticket_id: 7}  # type: ignore[dict-item]

    with pytest.raises(TypeError):
        await Relay(relay_database, Broken()).drain()
    shown = {row["destination"]: row["error"] for row in await lag(relay_database)}
    assert shown["live"] == "TypeError: see the worker's log"


async def test_what_keeps_a_destination_is_shown_before_a_single_refusal(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    refused = await make_ticket(database, tickets, tenant)
    await Relay(relay_database, Heard(poison={refused.id})).drain()
    await make_ticket(database, tickets, tenant)
    with pytest.raises(DestinationDown):
        await Relay(relay_database, Heard(down=True)).drain()
    shown = {row["destination"]: row["error"] for row in await lag(relay_database)}
    assert shown["live"] == "DestinationDown: away"
