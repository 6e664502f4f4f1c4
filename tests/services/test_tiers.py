"""Another tier reaches every open ticket of an organization, some at a time."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from domain.states import Tier
from domain.tickets import Changed, Ticket
from models import ledger
from models.session import Database, Row
from services import tiers
from services.customers import change_organization, create_organization
from services.desks import Desks
from services.queues import QueueDestination
from services.relay import Relay
from services.tickets import Tickets
from tests.conftest import MakeTenant, Urls
from tests.invariants import broken
from tests.making import happens, make_agent, make_ticket

NOW = datetime.now(UTC)


@pytest.fixture
def tickets() -> Tickets:
    return Tickets(Desks())


@pytest.fixture
async def relay(
    urls: Urls, database: Database, tickets: Tickets, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Relay]:
    monkeypatch.setattr(tiers, "CHUNK", 2)
    relay_database = Database(urls.relay, pool_size=2)
    async with relay_database.transaction(None) as work:
        await work.execute("delete from outbox where destination = 'routing'")
    yield Relay(relay_database, QueueDestination(database, tickets, Desks()))
    await relay_database.close()


async def acme(database: Database, tenant: uuid.UUID, tier: Tier | None = None) -> uuid.UUID:
    async with database.transaction(tenant) as work:
        return await create_organization(
            work, name="Acme", domains=["acme.example"], tier=tier, now=NOW
        )


async def becomes(
    database: Database, tenant: uuid.UUID, organization: uuid.UUID, tier: Tier | None
) -> dict[str, list[object]]:
    async with database.transaction(tenant) as work:
        return await change_organization(work, organization, {"tier": tier}, now=NOW)


async def rows(database: Database, tenant: uuid.UUID) -> list[Row]:
    async with database.transaction(tenant) as work:
        return await work.rows("select * from tickets where tenant_id = :t order by number",
                               {"t": tenant})  # fmt: skip


async def drained(relay: Relay) -> list[int]:
    told: list[int] = []
    while count := await relay.drain():
        told.append(count)
    return told


async def opened(database: Database, tickets: Tickets, tenant: uuid.UUID, count: int) -> Ticket:
    for place in range(count):
        last = await make_ticket(database, tickets, tenant, email=f"kim{place}@acme.example")
    return last


async def test_a_change_reaches_every_open_ticket_some_at_a_time_and_no_others(
    database: Database, tickets: Tickets, relay: Relay, make_tenant: MakeTenant
) -> None:
    tenant = await make_tenant()
    organization = await acme(database, tenant)
    await opened(database, tickets, tenant, 5)
    await make_ticket(database, tickets, tenant, email="somebody@else.example")
    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
    await happens(database, tickets, tenant, (await rows(database, tenant))[0]["number"],
                  Changed(status="closed", assignee_id=agent), by=agent)  # fmt: skip
    before = [row["pressure"] for row in await rows(database, tenant)]
    changed = await becomes(database, tenant, organization, Tier.GOLD)
    assert changed == {"tier": [None, Tier.GOLD]}
    assert [row["tier"] for row in await rows(database, tenant)] == [None] * 6
    # Two chunks of two, what is left of nothing; the look a minute later is not due yet.
    assert await drained(relay) == [1, 1, 1]
    now = await rows(database, tenant)
    assert [row["tier"] for row in now] == [None, *["gold"] * 4, None]
    assert [row["pressure"] - was for row, was in zip(now, before, strict=True)] == [
        0, 80, 80, 80, 80, 0
    ]  # fmt: skip
    assert await broken(database, tenant, now=datetime.now(UTC)) == []
    async with database.transaction(tenant) as work:
        told = await work.rows(
            "select changes, cause from events where tenant_id = :t and type = 'tier_changed'",
            {"t": tenant},
        )
    assert [row["changes"] for row in told] == [{"tier": [None, "gold"]}] * 4
    assert {row["cause"]["organization"] for row in told} == {str(organization)}


async def test_a_ticket_that_was_on_its_way_meanwhile_is_found_by_the_look_afterwards(
    database: Database, tickets: Tickets, relay: Relay, make_tenant: MakeTenant
) -> None:
    tenant = await make_tenant()
    organization = await acme(database, tenant, Tier.SILVER)
    ticket = await opened(database, tickets, tenant, 1)
    await becomes(database, tenant, organization, Tier.VIP)
    await drained(relay)
    async with database.transaction(tenant) as work:  # committed late, with what it had read
        await work.batch(("update tickets set tier = 'silver' where id = %s", (ticket.id,)))
        [[later]] = await work.batch(
            ("select count(*) as n, min(available_at) > now() as ahead from outbox"
             " where tenant_id = %s and destination = 'routing'", (tenant,))
        )  # fmt: skip
    assert (later["n"], later["ahead"]) == (1, True)
    await due_now(relay)
    assert await drained(relay) == [1]
    assert [row["tier"] for row in await rows(database, tenant)] == ["vip"]
    await due_now(relay)
    assert await drained(relay) == []  # that was the last look


async def due_now(relay: Relay) -> None:
    async with relay._database.transaction(None) as work:
        await work.execute("update outbox set available_at = now() where kind = 'tier'")


async def test_a_second_change_wins_and_one_back_and_forth_changes_nothing(
    database: Database, tickets: Tickets, relay: Relay, make_tenant: MakeTenant
) -> None:
    tenant = await make_tenant()
    organization = await acme(database, tenant, Tier.GOLD)
    await opened(database, tickets, tenant, 3)
    assert [row["tier"] for row in await rows(database, tenant)] == ["gold"] * 3
    assert await becomes(database, tenant, organization, Tier.GOLD) == {}
    await becomes(database, tenant, organization, Tier.SILVER)
    await becomes(database, tenant, organization, None)
    await drained(relay)
    assert [row["tier"] for row in await rows(database, tenant)] == [None] * 3
    await becomes(database, tenant, organization, Tier.VIP)
    await becomes(database, tenant, organization, None)
    await drained(relay)
    async with database.transaction(tenant) as work:
        [row] = await work.rows(
            "select count(*) as n from events where tenant_id = :t and type = 'tier_changed'",
            {"t": tenant},
        )
    assert row["n"] == 3


async def test_an_organization_of_another_desk_is_left_alone(
    database: Database, tickets: Tickets, relay: Relay, make_tenant: MakeTenant
) -> None:
    one, other = await make_tenant(), await make_tenant()
    organization = await acme(database, one)
    await acme(database, other)
    await opened(database, tickets, one, 1)
    await opened(database, tickets, other, 1)
    async with database.transaction(other) as work:
        await tiers.begin(work, organization, by=None)  # a row that names a foreign one
    await becomes(database, one, organization, Tier.GOLD)
    await drained(relay)
    assert [row["tier"] for row in await rows(database, one)] == ["gold"]
    found = [ledger.to_ticket(row) for row in await rows(database, other)]
    assert [ticket.tier for ticket in found] == [None]
