"""The four real servers of one desk: they answer, are closed to others, and survive kills."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis.asyncio as redis
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client

from stack.beside import environment_of, health_of, superuser_url_of
from stack.desk import Desk
from stack.home import AlreadyRunning, Home
from stack.postgres import create_database
from stack.servers import SEARCH_ATTRIBUTES
from stack.state import State, running

pytestmark = pytest.mark.stack

NAMES = ("postgres", "valkey", "typesense", "temporal")
PLAIN = {"PATH": os.environ.get("PATH", os.defpath)}


class Notes:
    """What a desk told its operator."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def __call__(self, name: str, text: str) -> None:
        self.sentences.append(f"{name}: {text}")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("desk") / "a home")


@pytest.fixture(scope="module")
def notes() -> Notes:
    return Notes()


@pytest.fixture(scope="module")
async def desk(home: Home, notes: Notes) -> AsyncIterator[Desk]:
    async with Desk(home, environment=PLAIN) as desk:
        await desk.start_servers(notes)
        yield desk


@pytest.fixture
def environment(desk: Desk) -> dict[str, str]:
    return desk.environment()


def state_of(home: Home) -> State:
    state = running(home)
    assert state is not None
    return state


def processes(home: Home) -> Iterator[psutil.Process]:
    for service in state_of(home).services.values():
        assert service.process is not None
        process = psutil.Process(service.process.pid)
        yield process
        yield from process.children(recursive=True)


async def until_back(home: Home, name: str, restarts: int) -> None:
    async with asyncio.timeout(40):
        while True:
            service = state_of(home).services[name]
            if service.restarts > restarts and service.status == "ready":
                return
            await asyncio.sleep(0.05)


async def test_the_four_servers_report_how_they_started(desk: Desk, notes: Notes) -> None:
    for name in NAMES:
        assert f"{name}: starting" in notes.sentences
        assert any(one.startswith(f"{name}: ready in ") for one in notes.sentences)


async def test_each_server_answers_its_own_client(environment: dict[str, str]) -> None:
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        row = connection.execute("select current_user, current_database()").fetchone()
    assert row == ("holdfast_app", "holdfast")

    async with redis.from_url(environment["REDIS_URL"]) as valkey:
        assert await valkey.ping()

    async with httpx.AsyncClient(base_url=environment["TYPESENSE_URL"]) as typesense:
        assert (await typesense.get("/health")).json() == {"ok": True}

    temporal = await Client.connect(environment["TEMPORAL_ADDRESS"])
    answer = await temporal.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace="default")
    )
    assert {name for name, _ in SEARCH_ATTRIBUTES} <= set(answer.custom_attributes)
    async with httpx.AsyncClient() as pages:
        assert (await pages.get(environment["TEMPORAL_UI_URL"])).status_code == 200


async def test_nobody_comes_in_without_the_password(environment: dict[str, str]) -> None:
    address = make_conninfo(environment["DATABASE_URL"], password="wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(address)

    keyless = f"redis://{environment['REDIS_URL'].rpartition('@')[2]}"
    async with redis.from_url(keyless) as valkey:
        with pytest.raises(redis.AuthenticationError):
            await valkey.ping()

    async with httpx.AsyncClient(base_url=environment["TYPESENSE_URL"]) as typesense:
        assert (await typesense.get("/collections")).status_code == 401
        key = {"X-TYPESENSE-API-KEY": environment["TYPESENSE_API_KEY"]}
        assert (await typesense.get("/collections", headers=key)).status_code == 200


async def test_every_server_listens_on_the_loopback_only(desk: Desk, home: Home) -> None:
    listening = {
        connection.laddr
        for process in processes(home)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert {host for host, _ in listening} == {"127.0.0.1"}
    ports = state_of(home).ports
    assert {ports[name] for name in NAMES} <= {port for _, port in listening}


async def test_no_secret_is_in_an_argument_in_the_state_or_in_a_log(desk: Desk, home: Home) -> None:
    places = {str(process.pid): " ".join(process.cmdline()) for process in processes(home)}
    places["state"] = home.state_file.read_text()
    for log in home.folder("logs").iterdir():
        places[log.name] = log.read_text(errors="replace")
    for name, secret in home.secrets().model_dump().items():
        assert [place for place, text in places.items() if secret in text] == [], name


async def test_nothing_but_the_owner_can_read_what_the_servers_wrote(
    desk: Desk, home: Home
) -> None:
    readable = [
        path
        for path in home.path.rglob("*")
        # Its own choice for its files, inside of a folder that nobody else can enter.
        if home.folder("typesense") / "data" not in path.parents and path.lstat().st_mode & 0o077
    ]
    assert readable == []


async def test_the_database_never_trades_safety_for_speed(environment: dict[str, str]) -> None:
    with psycopg.connect(environment["DATABASE_URL"]) as connection:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
            assert connection.execute(f"show {setting}").fetchone() == ("on",), setting


async def test_each_role_may_do_its_part_and_no_more(environment: dict[str, str]) -> None:
    for name in ("DATABASE_URL", "RELAY_DATABASE_URL"):
        with psycopg.connect(environment[name]) as connection:
            rights = connection.execute(
                "select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb"
                " from pg_roles where rolname = current_user"
            ).fetchone()
            assert rights == (False,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("create table public.theirs (id int)")

    with psycopg.connect(environment["MIGRATION_DATABASE_URL"]) as owner:
        owner.execute("create table public.things (id int, feature vector(3))")
        owner.execute("create function public.find() returns int language sql as 'select 1'")
        owner.execute("alter function public.find() owner to holdfast_lookup")
        owner.rollback()


async def test_a_further_database_is_made_once_and_repeating_it_is_harmless(desk: Desk) -> None:
    assert desk.superuser_url is not None
    for _ in range(2):
        create_database(desk.superuser_url, "a further one")
    address = desk.environment()["MIGRATION_DATABASE_URL"]
    with psycopg.connect(make_conninfo(address, dbname="a further one")) as owner:
        assert owner.execute("select '[1,2]'::vector <-> '[1,3]'::vector").fetchone() == (1.0,)
    with psycopg.connect(desk.superuser_url, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {}").format(sql.Identifier("a further one")))


async def test_a_command_beside_the_desk_finds_the_same_servers(desk: Desk, home: Home) -> None:
    assert environment_of(home, environment=PLAIN) == desk.environment()
    assert superuser_url_of(home) == desk.superuser_url
    assert await health_of(home) == dict.fromkeys(NAMES)


async def test_a_second_supervisor_on_the_same_home_is_refused(desk: Desk, home: Home) -> None:
    before = home.state_file.read_bytes()
    async with Desk(home, environment=PLAIN) as second:
        with pytest.raises(AlreadyRunning):
            await second.start_servers()
    assert home.state_file.read_bytes() == before
    assert await desk.health() == dict.fromkeys(NAMES)


async def test_two_homes_run_side_by_side_and_keep_their_ports_and_data(
    desk: Desk, tmp_path: Path
) -> None:
    """The second desk finds the usual ports taken by the first."""
    beside, notes = Home(tmp_path / "second"), Notes()
    async with Desk(beside, environment=PLAIN) as second:
        await second.start_servers(notes)
        ports = state_of(beside).ports
        taken = desk.environment()
        assert str(ports["postgres"]) != conninfo_to_dict(taken["DATABASE_URL"])["port"]
        for name in NAMES:
            assert any(
                one.startswith(f"{name}: port ") and f"using {ports[name]}" in one
                for one in notes.sentences
            )
        assert second.secrets != desk.secrets
        address = second.environment()["MIGRATION_DATABASE_URL"]
        with psycopg.connect(address) as owner:
            owner.execute("create table kept as select 42 as answer")
    assert running(beside) is None

    async with Desk(beside, environment=PLAIN) as again:
        await again.start_servers()
        assert state_of(beside).ports == ports
        with psycopg.connect(address) as owner:
            assert owner.execute("select answer from kept").fetchone() == (42,)


async def write_postgres(environment: dict[str, str]) -> None:
    with psycopg.connect(environment["MIGRATION_DATABASE_URL"]) as owner:
        owner.execute("create table survivor as select 42 as answer")


async def read_postgres(environment: dict[str, str]) -> object:
    with psycopg.connect(environment["MIGRATION_DATABASE_URL"]) as owner:
        row = owner.execute("select answer from survivor").fetchone()
    return row and row[0]


async def write_valkey(environment: dict[str, str]) -> None:
    async with redis.from_url(environment["REDIS_URL"]) as valkey:
        await valkey.set("survivor", 42)


async def read_valkey(environment: dict[str, str]) -> object:
    async with redis.from_url(environment["REDIS_URL"]) as valkey:
        return await valkey.get("survivor") == b"42" and 42


def typesense(environment: dict[str, str]) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=environment["TYPESENSE_URL"],
        headers={"X-TYPESENSE-API-KEY": environment["TYPESENSE_API_KEY"]},
    )


async def write_typesense(environment: dict[str, str]) -> None:
    async with typesense(environment) as client:
        schema = {"name": "survivor", "fields": [{"name": "answer", "type": "int32"}]}
        (await client.post("/collections", json=schema)).raise_for_status()
        document = {"id": "1", "answer": 42}
        (await client.post("/collections/survivor/documents", json=document)).raise_for_status()


async def read_typesense(environment: dict[str, str]) -> object:
    async with typesense(environment) as client:
        # It calls itself healthy before it has loaded everything again.
        for _ in range(200):
            found = await client.get("/collections/survivor/documents/1")
            if not found.is_error:
                break
            await asyncio.sleep(0.1)
        return found.json()["answer"]


async def write_temporal(environment: dict[str, str]) -> None:
    client = await Client.connect(environment["TEMPORAL_ADDRESS"])
    await client.start_workflow("Waits", 42, id="survivor", task_queue="nobody-listens")


async def read_temporal(environment: dict[str, str]) -> object:
    client = await Client.connect(environment["TEMPORAL_ADDRESS"])
    history = await client.get_workflow_handle("survivor").fetch_history()
    return int(history.events[0].workflow_execution_started_event_attributes.input.payloads[0].data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "write", "read"),
    [
        ("postgres", write_postgres, read_postgres),
        ("valkey", write_valkey, read_valkey),
        ("typesense", write_typesense, read_typesense),
        ("temporal", write_temporal, read_temporal),
    ],
)
async def test_a_killed_server_comes_back_on_its_port_with_its_data(
    name: str,
    write: Callable[[dict[str, str]], "asyncio.Future[None]"],
    read: Callable[[dict[str, str]], "asyncio.Future[object]"],
    desk: Desk,
    home: Home,
    environment: dict[str, str],
) -> None:
    await write(environment)
    before = state_of(home).services[name]
    assert before.process is not None
    os.kill(before.process.pid, signal.SIGKILL)
    await until_back(home, name, before.restarts)
    after = state_of(home).services[name]
    assert after.process != before.process
    assert after.ports == before.ports
    assert await read(environment) == 42
    assert await desk.health() == dict.fromkeys(NAMES)
