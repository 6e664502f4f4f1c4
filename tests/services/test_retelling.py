"""A new name reaches every ticket in the index, some at a time."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from adapters.search import SearchIndex
from models.session import Database
from services import retelling
from services.customers import (
    Identity,
    add_identity,
    change_customer,
    change_organization,
    create_organization,
    remove_identity,
)
from services.desks import Desks
from services.destinations import IndexDestination
from services.relay import Relay
from services.search import rebuild
from services.tickets import Tickets
from tests.adapters.test_search import Server
from tests.adapters.test_search import typesense as typesense
from tests.conftest import Urls
from tests.making import make_ticket

pytestmark = pytest.mark.slow  # thousands of tickets

NOW = datetime.now(UTC)


@pytest.fixture
def tickets() -> Tickets:
    return Tickets(Desks())


@pytest.fixture
async def relay_database(urls: Urls) -> AsyncIterator[Database]:
    database = Database(urls.relay, pool_size=4)
    async with database.transaction(None) as work:
        await work.execute("delete from outbox")
    yield database
    await database.close()


@pytest.fixture
async def index(typesense: Server) -> AsyncIterator[SearchIndex]:
    index = SearchIndex(typesense.url, typesense.key, alias=f"tickets-{uuid.uuid4().hex[:8]}")
    await index.ensure()
    yield index
    await index.close()


@pytest.fixture
def relay(database: Database, relay_database: Database, index: SearchIndex) -> Relay:
    return Relay(relay_database, IndexDestination(database, index))


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(retelling, "BATCH", 3)
    return 3


async def drained(relay: Relay) -> list[int]:
    """How many rows each batch held, until nothing is left."""
    told: list[int] = []
    while count := await relay.drain():
        told.append(count)
    return told


async def names(index: SearchIndex, tenant: uuid.UUID, word: str) -> int:
    """How many tickets the index finds by a word."""
    return (await index.search(tenant, word)).found


async def an_organization(
    database: Database, tickets: Tickets, tenant: uuid.UUID, *, tickets_of: int
) -> uuid.UUID:
    async with database.transaction(tenant) as work:
        made = await create_organization(work, name="Acme", domains=["acme.example"], now=NOW)
    for place in range(tickets_of):
        await make_ticket(database, tickets, tenant, email=f"kim{place % 2}@acme.example")
    return made


async def test_an_organizations_new_name_reaches_all_its_tickets_in_small_steps(
    database: Database, relay: Relay, index: SearchIndex, tickets: Tickets, tenant: uuid.UUID,
    few: int,
) -> None:  # fmt: skip
    organization = await an_organization(database, tickets, tenant, tickets_of=8)
    await drained(relay)
    assert await names(index, tenant, "acme") == 8
    async with database.transaction(tenant) as work:
        await change_organization(work, organization, {"name": "Volcano"}, now=NOW)
        [row] = await work.rows("select count(*) as n from outbox where destination = 'index'")
    assert row["n"] == 1  # the rename itself costs one row, however many tickets there are
    assert max(await drained(relay)) <= few + 1
    assert await names(index, tenant, "volcano") == 8


async def test_a_second_rename_is_not_taken_for_the_rest_of_the_first(
    database: Database, relay: Relay, index: SearchIndex, tickets: Tickets, tenant: uuid.UUID,
    few: int,
) -> None:  # fmt: skip
    organization = await an_organization(database, tickets, tenant, tickets_of=8)
    await drained(relay)
    async with database.transaction(tenant) as work:
        await change_organization(work, organization, {"name": "Volcano"}, now=NOW)
    await relay.drain()  # the first three are on their way
    await relay.drain()  # and told: they have the first name
    async with database.transaction(tenant) as work:
        await change_organization(work, organization, {"name": "Glacier"}, now=NOW)
        # As the relay leaves it when it was at work meanwhile: the rest of the first comes later.
        nearly_done = {"at": "2000-01-01T00:00:00+00:00", "id": str(uuid.UUID(int=0))}
        await retelling._put(work, "organization", organization, step=3, cursor=nearly_done)
    await drained(relay)
    assert await names(index, tenant, "glacier") == 8
    assert await names(index, tenant, "volcano") == 0


async def test_a_customers_new_name_and_address_reach_their_tickets(
    database: Database, relay: Relay, index: SearchIndex, tickets: Tickets, tenant: uuid.UUID
) -> None:
    ticket = await make_ticket(database, tickets, tenant, email="kim@example.com")
    await make_ticket(database, tickets, tenant, email="other@example.com")
    await drained(relay)
    async with database.transaction(tenant) as work:
        await change_customer(work, ticket.requester_id, {"name": "Kimberley"}, now=NOW)
    await drained(relay)
    assert await names(index, tenant, "kimberley") == 1
    async with database.transaction(tenant) as work:
        added = await add_identity(
            work, ticket.requester_id, Identity("email", "zanzibar@example.com"), verified=False,
            now=NOW,
        )  # fmt: skip
    await drained(relay)
    assert await names(index, tenant, "zanzibar") == 1
    async with database.transaction(tenant) as work:
        await remove_identity(work, ticket.requester_id, added)
    await drained(relay)
    assert await names(index, tenant, "zanzibar") == 0


async def test_a_name_that_changes_while_the_index_is_made_anew_is_not_lost(
    database: Database, relay_database: Database, relay: Relay, index: SearchIndex,
    tickets: Tickets, tenant: uuid.UUID,
) -> None:  # fmt: skip
    organization = await an_organization(database, tickets, tenant, tickets_of=2)
    async with database.transaction(tenant) as work:  # made long before the rebuild
        await work.execute("update organizations set created_at = created_at - interval '1 day'")

    async def rename() -> None:
        async with database.transaction(tenant) as work:
            await change_organization(
                work, organization, {"name": "Volcano"}, now=datetime.now(UTC)
            )
        await drained(relay)  # to the old index, as it must until the exchange

    class Meddling(SearchIndex):
        async def fill(self, collection, documents):  # type: ignore[no-untyped-def]
            if any(d["tenant_id"] == str(tenant) for d in documents):
                await rename()
            return await super().fill(collection, documents)

    server = index._writer._calls.config.nodes[0]
    meddling = Meddling(
        f"http://{server.host}:{server.port}",
        index._writer._calls.config.api_key,
        alias=index._alias,
    )
    await rebuild(relay_database, database, meddling)
    await meddling.close()
    assert await names(index, tenant, "volcano") == 0
    await drained(relay)
    assert await names(index, tenant, "volcano") == 2
