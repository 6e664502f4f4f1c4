"""The index finds by words, within a tenant and a reach, and fails fast when it is away."""

import asyncio
import subprocess
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from adapters.search import (
    NOBODY,
    Answer,
    Document,
    Reach,
    SearchDown,
    SearchIndex,
    safe_snippet,
)
from stack.home import Home
from stack.ports import Ports
from stack.processes import NotReady
from stack.servers import Typesense

TENANT, OTHER = uuid.uuid4(), uuid.uuid4()


class Server:
    """A Typesense of the test's own, which can be killed and started again with its data."""

    def __init__(self, folder: Path) -> None:
        home = Home(folder)
        home.create()
        ports = Ports({})
        # Away from the ports a desk on this machine would take.
        taken = {name: ports.take(name, 18200)[0] for name in Typesense.usual_ports}
        self._server = Typesense(home, home.secrets(), taken)
        self._log = home.log("typesense")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{self._server.address}"
        self.key = home.secrets().typesense_api_key

    def start(self, *, wait: bool = True) -> None:
        command = self._server.prepare()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command.line(death_signal=Typesense.death_signal),
                cwd=command.folder,
                env=dict(command.environment),
                stdout=log,
                stderr=log,
            )
        while wait:
            try:
                self._server.probe()
            except NotReady:
                assert self._process.poll() is None, self._log.read_text()[-2000:]
                time.sleep(0.1)
            else:
                return

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def typesense(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    reason = Typesense.missing()
    if reason is not None:
        pytest.skip(reason)
    server = Server(tmp_path_factory.mktemp("typesense"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def index(typesense: Server) -> AsyncIterator[SearchIndex]:
    """An index of the test's own on the shared server."""
    index = SearchIndex(typesense.url, typesense.key, alias=f"t{uuid.uuid4().hex[:8]}")
    await index.ensure()
    yield index
    await index.close()


def document(tenant_id: uuid.UUID = TENANT, **values: object) -> Document:
    return {
        "id": str(uuid.uuid4()), "tenant_id": str(tenant_id), "number": 7, "number_text": "7",
        "subject": "Printer on fire", "requester_name": "Kim Example",
        "requester_email": "kim@example.com", "organization": "Example Ltd",
        "public_text": "The printer in the hall burns.", "internal_text": "", "tags": [],
        "status": "open", "category": "open", "priority": "normal", "team_id": NOBODY,
        "assignee_id": NOBODY, "created_by_id": NOBODY, "channel": "email", "updated_at": 1000,
        "seq": 1,
    } | values  # fmt: skip


def ids(answer: Answer) -> list[str]:
    return [str(hit.ticket_id) for hit in answer.hits]


@pytest.mark.stack
class TestIndex:
    async def test_words_are_found_with_a_slip_of_the_pen_and_marked(
        self, index: SearchIndex
    ) -> None:
        one = document()
        assert await index.tell([one]) == {}
        for query in ("printer", "prnter", "print", "burns hall", "Example"):
            assert ids(await index.search(TENANT, query)) == [one["id"]], query
        answer = await index.search(TENANT, "printer")
        assert answer.found == 1
        assert answer.hits[0].snippets["subject"] == "<mark>Printer</mark> on fire"

    async def test_all_words_must_be_there(self, index: SearchIndex) -> None:
        await index.tell([document()])
        assert ids(await index.search(TENANT, "printer volcano")) == []

    async def test_addresses_and_numbers_are_found_only_as_they_are(
        self, index: SearchIndex
    ) -> None:
        one = document(number=4711, number_text="4711", subject="x", public_text="y")
        await index.tell([one])
        assert ids(await index.search(TENANT, "kim@example.com")) == [one["id"]]
        assert ids(await index.search(TENANT, "4711")) == [one["id"]]
        for query in ("kin@example.com", "kim@exemple.com", "4712", "471"):
            assert ids(await index.search(TENANT, query)) == [], query

    async def test_another_tenants_tickets_are_never_found(self, index: SearchIndex) -> None:
        await index.tell([document(OTHER)])
        assert ids(await index.search(TENANT, "printer")) == []
        assert await index.count(TENANT) == 0
        assert await index.count(OTHER) == 1

    async def test_a_reach_finds_ones_own_and_those_of_teams_and_of_no_team(
        self, index: SearchIndex
    ) -> None:
        me, mine, theirs = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
        nobodys = document()
        team = document(team_id=str(mine))
        foreign = document(team_id=str(theirs))
        assigned = document(team_id=str(theirs), assignee_id=str(me))
        written = document(team_id=str(theirs), created_by_id=str(me))
        everything = [nobodys, team, foreign, assigned, written]
        await index.tell(everything)

        async def found(reach: Reach | None) -> set[str]:
            return set(ids(await index.search(TENANT, "printer", reach=reach)))

        def names(*documents: Document) -> set[str]:
            return {str(one["id"]) for one in documents}

        assert await found(None) == names(*everything)
        assert await found(Reach(person=me)) == names(assigned, written)
        teams = Reach(person=me, teams=frozenset({mine}))
        assert await found(teams) == names(nobodys, team, assigned, written)
        assert await found(Reach(teams=frozenset())) == names(nobodys)
        assert await found(Reach()) == set()

    async def test_notes_are_found_and_quoted_only_for_those_who_may_read_them(
        self, index: SearchIndex
    ) -> None:
        await index.tell([document(internal_text="The customer shouted, printer and all")])
        assert len((await index.search(TENANT, "shouted")).hits) == 1
        assert (await index.search(TENANT, "shouted", internal=False)).hits == []
        public = await index.search(TENANT, "printer", internal=False)
        assert set(public.hits[0].snippets) == {"subject", "public_text"}

    async def test_a_newer_document_takes_the_place_of_the_older(self, index: SearchIndex) -> None:
        one = document()
        await index.tell([one])
        await index.tell([one | {"subject": "Toaster", "public_text": "", "seq": 2}])
        assert ids(await index.search(TENANT, "printer")) == []
        assert ids(await index.search(TENANT, "toaster")) == [one["id"]]
        assert await index.count(TENANT) == 1

    async def test_a_refused_document_is_named_and_holds_up_no_other(
        self, index: SearchIndex
    ) -> None:
        bad, good = document(number="not a number"), document()
        refused = await index.tell([bad, good])
        assert list(refused) == [uuid.UUID(str(bad["id"]))]
        assert await index.count(TENANT) == 1

    async def test_many_documents_go_in_at_once_and_come_page_by_page(
        self, index: SearchIndex
    ) -> None:
        await index.tell([document(updated_at=n) for n in range(450)])
        assert await index.count(TENANT) == 450
        seen: list[str] = []
        for page in (1, 2, 3):
            seen += ids(await index.search(TENANT, "printer", page=page, per_page=150))
        assert len(set(seen)) == 450

    async def test_two_processes_that_start_at_once_make_one_collection(
        self, typesense: Server
    ) -> None:
        alias = f"t{uuid.uuid4().hex[:8]}"
        both = [SearchIndex(typesense.url, typesense.key, alias=alias) for _ in range(2)]
        for one in both:
            await one.tell([document()])
        assert await both[0].count(TENANT) == 2
        for one in both:
            await one.close()

    async def test_a_rebuild_takes_the_old_ones_place_and_leaves_nothing_behind(
        self, index: SearchIndex, typesense: Server
    ) -> None:
        old, new = document(), document()
        await index.tell([old])
        abandoned = await index.begin_rebuild()
        collection = await index.begin_rebuild()
        await index.fill(collection, [new])
        assert ids(await index.search(TENANT, "printer")) == [old["id"]]
        await index.finish_rebuild(collection)
        assert ids(await index.search(TENANT, "printer")) == [new["id"]]
        async with httpx.AsyncClient(headers={"X-TYPESENSE-API-KEY": typesense.key}) as client:
            answer = await client.get(f"{typesense.url}/collections")
        names = {one["name"] for one in answer.json()}
        assert collection in names
        assert not {abandoned, index.first_collection} & names
        await index.tell([document()])
        assert await index.count(TENANT) == 2

    async def test_an_index_whose_data_was_deleted_is_made_again(
        self, index: SearchIndex, typesense: Server
    ) -> None:
        await index.tell([document()])
        await index.drop(index.first_collection)
        assert await index.count(TENANT) == 0
        assert (await index.search(TENANT, "printer")).hits == []
        await index.tell([document()])
        assert await index.count(TENANT) == 1

    async def test_what_was_told_survives_the_death_of_the_server(
        self, tmp_path: Path, typesense: Server
    ) -> None:
        server = Server(tmp_path)
        server.start()
        index = SearchIndex(server.url, server.key, rest_seconds=0.0)
        await index.tell([document() for _ in range(3)])
        collection = await index.begin_rebuild()
        await index.fill(collection, [document() for _ in range(4)])
        await index.finish_rebuild(collection)
        await index.tell([document()])
        server.kill()
        with pytest.raises(SearchDown):
            await index.count(TENANT)
        server.start()
        async with asyncio.timeout(20):
            while await index.count(TENANT) < 5:
                await asyncio.sleep(0.05)
        assert await index.count(TENANT) == 5
        await index.close()
        server.kill()

    async def test_a_wrong_key_is_a_search_that_is_down(self, typesense: Server) -> None:
        index = SearchIndex(typesense.url, "wrong")
        with pytest.raises(SearchDown):
            await index.search(TENANT, "printer")
        await index.close()


async def test_a_server_that_is_away_is_asked_once_and_then_left_alone() -> None:
    now = [100.0]
    index = SearchIndex("http://127.0.0.1:9", "key", clock=lambda: now[0])
    with pytest.raises(SearchDown, match="Connect"):
        await index.search(TENANT, "printer")
    began = time.perf_counter()
    with pytest.raises(SearchDown, match="a moment ago"):
        await index.search(TENANT, "printer")
    assert time.perf_counter() - began < 0.1
    assert not await index.healthy()
    now[0] += 2.5
    with pytest.raises(SearchDown, match="Connect"):
        await index.count(TENANT)
    await index.close()


async def test_a_server_that_hangs_costs_a_search_no_more_than_its_time_limit() -> None:
    async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    index = SearchIndex(f"http://127.0.0.1:{port}", "key", search_seconds=0.3)
    began = time.perf_counter()
    with pytest.raises(SearchDown):
        await index.search(TENANT, "printer")
    assert time.perf_counter() - began < 1.0
    await index.close()
    server.close()
    await server.wait_closed()


def test_a_snippet_is_html_that_nobody_can_write_into() -> None:
    said = "<script>alert('\ue000x\ue001')</script> & more"
    assert safe_snippet(said) == (
        "&lt;script&gt;alert(&#x27;<mark>x</mark>&#x27;)&lt;/script&gt; &amp; more"
    )
