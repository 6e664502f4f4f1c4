"""Search is as right as Postgres and as quick as the index, and does without it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from adapters.search import SearchDown, SearchIndex
from domain.errors import Forbidden
from domain.permissions import Principal, Role, Scope
from domain.tickets import Changed, NoteAdded, Ticket
from models.session import Database
from services.cursors import BadCursor
from services.desks import Desks
from services.search import Results, Search, documents_of, rebuild
from services.tickets import Tickets
from tests.adapters.test_search import Server
from tests.adapters.test_search import typesense as typesense
from tests.conftest import MakeTenant, Urls
from tests.making import happens, make_agent, make_team, make_ticket, words
from tests.services.test_views import somebody


@pytest.fixture
def tickets() -> Tickets:
    return Tickets(Desks())


@pytest.fixture
def without(database: Database) -> Search:
    """Search where no index was set up."""
    return Search(Desks())


@pytest.fixture(scope="module")
async def relay_database(urls: Urls) -> AsyncIterator[Database]:
    database = Database(urls.relay, pool_size=2)
    yield database
    await database.close()


def found(results: Results) -> list[int]:
    return [one.listed.ticket.number for one in results.items]


async def relayed(database: Database, index: SearchIndex, tenant: uuid.UUID) -> int:
    """What the relay does: documents of what waits, then the rows are gone."""
    async with database.transaction(tenant) as work:
        rows = await work.rows(
            "select id, ticket_id from outbox where tenant_id = :t and destination = 'index'",
            {"t": tenant},
        )
        documents = await documents_of(work, list({row["ticket_id"] for row in rows}))
    assert await index.tell(documents) == {}
    return len(rows)


async def forget(relay_database: Database, tenant: uuid.UUID) -> None:
    async with relay_database.transaction(None) as work:
        await work.execute(
            "delete from outbox where tenant_id = :t and destination = 'index'", {"t": tenant}
        )


async def test_without_an_index_postgres_answers_and_says_so(
    database: Database, without: Search, tickets: Tickets, tenant: uuid.UUID
) -> None:
    one = await make_ticket(
        database, tickets, tenant, subject="Printer jam", text="The <b>drum</b> is stuck"
    )
    await make_ticket(database, tickets, tenant, subject="Invoice", text="Where is it?")
    caller = somebody(tenant)
    for query in ("printer", "PRINT", "drum stuck", "jam"):
        results = await without.search(database, caller, query)
        assert found(results) == [one.number], query
        assert results.degraded
        assert results.total == 1
    results = await without.search(database, caller, "drum")
    assert results.items[0].snippets["message"].startswith("<mark>drum</mark>")
    assert found(await without.search(database, caller, "printer volcano")) == []
    assert found(await without.search(database, caller, "!!! & | ' \\")) == []


async def test_a_number_and_an_address_are_found_outright(
    database: Database, without: Search, tickets: Tickets, tenant: uuid.UUID
) -> None:
    one = await make_ticket(database, tickets, tenant, email="ann@example.com")
    await make_ticket(database, tickets, tenant, email="bob@example.com")
    caller = somebody(tenant)
    for query in (str(one.number), f"#{one.number}", "ANN@example.com ", "ann@example.com"):
        assert found(await without.search(database, caller, query)) == [one.number], query


async def test_pages_follow_each_other_without_an_index(
    database: Database, without: Search, tickets: Tickets, tenant: uuid.UUID
) -> None:
    made = {(await make_ticket(database, tickets, tenant)).number for _ in range(7)}
    caller, seen, cursor = somebody(tenant), [], None
    for _ in range(4):
        page = await without.search(database, caller, "work", limit=2, cursor=cursor)
        assert page.total == 7
        seen += found(page)
        cursor = page.next
    assert cursor is None
    assert len(seen) == 7
    assert set(seen) == made
    first = await without.search(database, caller, "work", limit=2)
    with pytest.raises(BadCursor):
        await without.search(database, caller, "other", limit=2, cursor=first.next)


async def test_notes_are_searched_only_for_those_who_may_read_them(
    database: Database, without: Search, tickets: Tickets, tenant: uuid.UUID
) -> None:
    ticket = await make_ticket(database, tickets, tenant)
    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
    note = NoteAdded(words("They shouted"))
    await happens(database, tickets, tenant, ticket.number, note, by=agent)
    caller = somebody(tenant)
    assert found(await without.search(database, caller, "shouted")) == [ticket.number]
    assert found(await without.search(database, caller, "shouted", internal=False)) == []
    async with database.transaction(tenant) as work:
        [document] = await documents_of(work, [ticket.id])
    assert document["internal_text"] == "They shouted"
    assert "shouted" not in str(document["public_text"])


async def test_nobody_finds_what_they_may_not_see(
    database: Database, without: Search, tickets: Tickets, tenant: uuid.UUID,
    make_tenant: MakeTenant,
) -> None:  # fmt: skip
    stranger = somebody(await make_tenant())
    ticket = await make_ticket(database, tickets, tenant)
    async with database.transaction(tenant) as work:
        team = await make_team(work)
        agent = await make_agent(work, teams=(team,))
    change = Changed(team_id=team)
    await happens(database, tickets, tenant, ticket.number, change, by=agent)
    for query in ("work", str(ticket.number), "kim@example.com"):
        outside = somebody(tenant, Role.AGENT)
        inside = somebody(tenant, Role.AGENT, teams=[team])
        assert found(await without.search(database, outside, query)) == []
        assert found(await without.search(database, inside, query)) == [ticket.number]
        assert found(await without.search(database, stranger, query)) == []
    nothing = Principal(tenant_id=tenant, tenant_slug="t", kind="intake", grants={})
    with pytest.raises(Forbidden):
        await without.search(database, nothing, "work")


async def test_an_index_that_is_away_is_made_up_for_by_postgres(
    database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    ticket = await make_ticket(database, tickets, tenant)
    index = SearchIndex("http://127.0.0.1:9", "key")
    search = Search(Desks(), index)
    for _ in range(3):
        results = await search.search(database, somebody(tenant), "work")
        assert results.degraded
        assert found(results) == [ticket.number]
    assert not await search.healthy()
    await index.close()


@pytest.mark.stack
class TestWithTheIndex:
    @pytest.fixture
    async def index(self, typesense: Server) -> AsyncIterator[SearchIndex]:
        index = SearchIndex(typesense.url, typesense.key, alias=f"s{uuid.uuid4().hex[:8]}")
        await index.ensure()
        yield index
        await index.close()

    @pytest.fixture
    def now(self) -> list[float]:
        return [0.0]

    @pytest.fixture
    def search(self, index: SearchIndex, now: list[float]) -> Search:
        return Search(Desks(), index, clock=lambda: now[0])

    async def test_what_the_relay_told_is_found_with_a_slip_of_the_pen(
        self, database: Database, relay_database: Database, index: SearchIndex, search: Search,
        tickets: Tickets, tenant: uuid.UUID,
    ) -> None:  # fmt: skip
        one = await make_ticket(database, tickets, tenant, subject="Printer on fire")
        await make_ticket(database, tickets, tenant, subject="Invoice")
        assert await relayed(database, index, tenant) == 2
        await forget(relay_database, tenant)
        results = await search.search(database, somebody(tenant), "prnter")
        assert not results.degraded
        assert found(results) == [one.number]
        assert results.items[0].snippets["subject"] == "<mark>Printer</mark> on fire"

    async def test_a_ticket_is_found_before_the_index_has_heard_of_it(
        self, database: Database, search: Search, tickets: Tickets, tenant: uuid.UUID
    ) -> None:
        ticket = await make_ticket(database, tickets, tenant, subject="Volcano")
        results = await search.search(database, somebody(tenant), "volcano")
        assert not results.degraded
        assert found(results) == [ticket.number]
        assert "<mark>Volcano</mark>" in results.items[0].snippets["subject"]

    async def test_a_ticket_that_is_indexed_and_changed_since_is_shown_once(
        self, database: Database, index: SearchIndex, search: Search, tickets: Tickets,
        tenant: uuid.UUID,
    ) -> None:  # fmt: skip
        ticket = await make_ticket(database, tickets, tenant, subject="Volcano")
        await relayed(database, index, tenant)  # told, and waiting once more
        results = await search.search(database, somebody(tenant), "volcano")
        assert found(results) == [ticket.number]
        assert results.total == 1

    async def test_the_index_cannot_show_what_postgres_no_longer_allows(
        self, database: Database, relay_database: Database, index: SearchIndex, search: Search,
        tickets: Tickets, tenant: uuid.UUID,
    ) -> None:  # fmt: skip
        ticket = await make_ticket(database, tickets, tenant, subject="Volcano")
        await relayed(database, index, tenant)
        async with database.transaction(tenant) as work:
            team = await make_team(work)
            agent = await make_agent(work, teams=(team,))
        await happens(database, tickets, tenant, ticket.number, Changed(team_id=team), by=agent)
        await forget(relay_database, tenant)  # the index still says: of no team
        outside = somebody(tenant, Role.AGENT)
        assert found(await search.search(database, outside, "volcano")) == []
        assert found(await search.search(database, somebody(tenant), "volcano")) == [ticket.number]

    async def test_an_own_scope_reaches_the_index_too(
        self, database: Database, relay_database: Database, index: SearchIndex, search: Search,
        tickets: Tickets, tenant: uuid.UUID,
    ) -> None:  # fmt: skip
        await make_ticket(database, tickets, tenant, subject="Volcano")
        mine = await make_ticket(database, tickets, tenant, subject="Volcano")
        async with database.transaction(tenant) as work:
            agent = await make_agent(work)
        await happens(database, tickets, tenant, mine.number, Changed(assignee_id=agent), by=agent)
        await relayed(database, index, tenant)
        await forget(relay_database, tenant)
        caller = somebody(tenant, id=agent, scope=Scope.OWN)
        results = await search.search(database, caller, "volcano")
        assert found(results) == [mine.number]
        assert results.total == 1

    async def test_an_index_that_lost_tickets_is_not_believed_until_it_has_them_again(
        self, database: Database, relay_database: Database, index: SearchIndex, search: Search,
        tickets: Tickets, tenant: uuid.UUID, now: list[float],
    ) -> None:  # fmt: skip
        ticket = await make_ticket(database, tickets, tenant, subject="Volcano")
        await forget(relay_database, tenant)  # nobody told the index
        caller = somebody(tenant)
        results = await search.search(database, caller, "volcano")
        assert results.degraded
        assert found(results) == [ticket.number]
        async with database.transaction(tenant) as work:
            documents = await documents_of(work, [ticket.id])
        await index.tell(documents)
        assert (await search.search(database, caller, "volcano")).degraded  # looked at a moment ago
        now[0] += 3.5
        await search.search(database, caller, "volcano")  # has it looked at, and does not wait
        while search._checks:
            await asyncio.sleep(0.01)
        assert not (await search.search(database, caller, "volcano")).degraded

    async def test_an_index_that_is_still_loading_is_not_believed(
        self, database: Database, relay_database: Database, index: SearchIndex, search: Search,
        tickets: Tickets, tenant: uuid.UUID,
    ) -> None:  # fmt: skip
        made: list[Ticket] = [
            await make_ticket(database, tickets, tenant, subject="Volcano") for _ in range(3)
        ]
        await relayed(database, index, tenant)
        await forget(relay_database, tenant)
        caller = somebody(tenant)
        assert not (await search.search(database, caller, "volcano")).degraded
        half = await index.begin_rebuild()  # stands for a restart that has loaded one of three
        async with database.transaction(tenant) as work:
            await index.fill(half, await documents_of(work, [made[0].id]))
        await index.finish_rebuild(half)
        results = await search.search(database, caller, "volcano")
        assert results.degraded
        assert len(results.items) == 3

    async def test_a_rebuild_loses_nothing_that_changes_while_it_runs(
        self, database: Database, relay_database: Database, index: SearchIndex, search: Search,
        tickets: Tickets, tenant: uuid.UUID, monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        monkeypatch.setattr("services.search.filling._REBUILD_BATCH", 2)
        made = [await make_ticket(database, tickets, tenant, subject="Old") for _ in range(5)]
        await forget(relay_database, tenant)
        async with database.transaction(tenant) as work:
            agent = await make_agent(work)
        during: list[int] = []

        class Meddling(SearchIndex):
            """Between reading a batch and its arrival in the new index, tickets change."""

            async def fill(self, collection: str, documents):  # type: ignore[no-untyped-def]
                if not during and any(d["tenant_id"] == str(tenant) for d in documents):
                    change = Changed(subject="Volcano")
                    await happens(database, tickets, tenant, made[0].number, change, by=agent)
                    new = await make_ticket(database, tickets, tenant, subject="Volcano")
                    during.extend([made[0].number, new.number])
                    # The relay tells the old index, as it must until the exchange.
                    await relayed(database, index, tenant)
                    await forget(relay_database, tenant)
                return await super().fill(collection, documents)

        server = index._writer._calls.config.nodes[0]
        meddling = Meddling(
            f"http://{server.host}:{server.port}",
            index._writer._calls.config.api_key,
            alias=index._alias,
        )
        filled = await rebuild(relay_database, database, meddling)
        await meddling.close()
        assert filled >= 5
        assert during
        caller = somebody(tenant)
        assert set(found(await search.search(database, caller, "volcano"))) == set(during)
        await relayed(database, index, tenant)
        await forget(relay_database, tenant)
        results = await search.search(database, caller, "volcano")
        assert not results.degraded
        assert set(found(results)) == set(during)
        assert await index.count(tenant) == 6

    async def test_a_rebuild_that_fails_leaves_the_old_index_in_place(
        self, database: Database, relay_database: Database, index: SearchIndex, search: Search,
        tickets: Tickets, tenant: uuid.UUID,
    ) -> None:  # fmt: skip
        await make_ticket(database, tickets, tenant, subject="Volcano")
        await relayed(database, index, tenant)
        await forget(relay_database, tenant)

        def stop(filled: int) -> None:
            raise RuntimeError("no")

        with pytest.raises(RuntimeError):
            await rebuild(relay_database, database, index, stop)
        results = await search.search(database, somebody(tenant), "volcano")
        assert not results.degraded
        assert len(results.items) == 1


@pytest.mark.stack
class TestAKilledIndex:
    @pytest.fixture
    def server(
        self, tmp_path_factory: pytest.TempPathFactory, typesense: Server
    ) -> Iterator[Server]:
        server = Server(tmp_path_factory.mktemp("mortal"))
        server.start()
        yield server
        server.kill()

    async def test_search_goes_on_when_it_is_killed_and_returns_to_it_afterwards(
        self, database: Database, relay_database: Database, server: Server, tickets: Tickets,
        tenant: uuid.UUID,
    ) -> None:  # fmt: skip
        index = SearchIndex(server.url, server.key, rest_seconds=0.2)
        search, caller = Search(Desks(), index), somebody(tenant)
        ticket = await make_ticket(database, tickets, tenant, subject="Volcano")
        await relayed(database, index, tenant)
        await forget(relay_database, tenant)
        assert not (await search.search(database, caller, "volcano")).degraded
        server.kill()
        results = await search.search(database, caller, "volcano")
        assert results.degraded
        assert found(results) == [ticket.number]
        with pytest.raises(SearchDown):
            await index.tell([{"id": str(ticket.id)}])
        server.start()
        async with asyncio.timeout(30):
            while (results := await search.search(database, caller, "volcano")).degraded:
                assert found(results) == [ticket.number]
                await asyncio.sleep(0.1)
        assert found(results) == [ticket.number]
        await index.close()
