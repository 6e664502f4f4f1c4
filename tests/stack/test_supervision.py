"""A supervisor's life and death: stopped, killed, cleaned up after.

Its programs are tiny scripts. Most cases name outside servers, so that none has to be started.
"""

import asyncio
import json
import os
import pwd
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import psycopg
import pytest

from stack.beside import environment_of, terminate
from stack.desk import Desk, IncompleteAddress, Program
from stack.home import Home
from stack.ports import Ports
from stack.postgres import Postgres
from stack.processes import Child, Identity, StackError
from stack.state import ServiceState, State, read, running, write

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
PLAIN = {"PATH": os.environ.get("PATH", os.defpath)}
OUTSIDE = {
    **PLAIN,
    "DATABASE_URL": "postgresql://app@db.example/holdfast",
    "MIGRATION_DATABASE_URL": "postgresql://owner@db.example/holdfast",
    "RELAY_DATABASE_URL": "postgresql://relay@db.example/holdfast",
    "REDIS_URL": "redis://cache.example",
    "TYPESENSE_URL": "http://search.example",
    "TYPESENSE_API_KEY": "outside-key",
    "TEMPORAL_ADDRESS": "temporal.example:7233",
}

PAGE = """
import http.server, json, os, pathlib, sys

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"here")

    def log_message(self, *arguments):
        pass

seen = {"environment": dict(os.environ), "arguments": sys.argv, "folder": os.getcwd()}
pathlib.Path(os.environ["HOLDFAST_HOME"], "run", "seen.json").write_text(json.dumps(seen))
port = int(os.environ["HOLDFAST_API_PORT"])
http.server.HTTPServer(("127.0.0.1", port), Page).serve_forever()
"""

SUPERVISOR = """
import asyncio, os, sys
from stack.desk import Desk, Program, stop_on_signals
from stack.home import Home

async def main():
    stop = stop_on_signals()
    programs = lambda environment: [
        Program("api", (sys.executable, "-c", os.environ["PAGE"])),
        Program("worker", (sys.executable, "-c", "import time; time.sleep(600)")),
    ]
    async with Desk(Home(sys.argv[1]), environment=os.environ, programs=programs) as desk:
        await desk.start_servers(lambda name, text: print(f"{name}: {text}", flush=True))
        await desk.start_programs()
        await desk.wait_ready(f"{desk.url}/health")
        await desk.run_until(stop)

asyncio.run(main())
"""

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


@pytest.fixture
def start(home: Home) -> Iterator[Start]:
    """Starts a supervisor in a process of its own and returns when its desk is ready."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(environment: dict[str, str] = OUTSIDE) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(home.path)],
            cwd=ROOT,
            env={**environment, "PAGE": PAGE},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        started.append(process)
        deadline = time.monotonic() + 40
        while (state := running(home)) is None or state.phase != "ready":
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise AssertionError(process.communicate()[0].decode())
            time.sleep(0.02)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other accounts may enter, as they may not enter the tests' own."""
    with tempfile.TemporaryDirectory(prefix="holdfast-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def children(home: Home) -> dict[str, Identity]:
    state = read(home)
    assert state is not None
    return {name: service.process for name, service in state.services.items() if service.process}


def everything_below(pid: int) -> list[Identity]:
    found = [Identity.of(one.pid) for one in psutil.Process(pid).children(recursive=True)]
    return [one for one in found if one is not None]


def gone(identities: list[Identity], *, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(one.is_alive() for one in identities):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_programs_learn_everything_from_their_environment(start: Start, home: Home) -> None:
    start()
    seen = json.loads((home.folder("run") / "seen.json").read_text())
    expected = environment_of(home, environment=OUTSIDE)
    assert expected.items() <= seen["environment"].items()
    assert expected["HOLDFAST_HOME"] == str(home.path)
    assert expected["MAIL_URL"] == f"file://{home.path}/mail"
    assert expected["HOLDFAST_SECRET_KEY"] == home.secrets().holdfast_secret_key
    assert expected["DATABASE_URL"] == OUTSIDE["DATABASE_URL"]
    assert seen["folder"] == str(ROOT)
    assert not set(home.secrets().model_dump().values()) & set(seen["arguments"])


def test_a_killed_program_is_started_again(start: Start, home: Home) -> None:
    start()
    first = children(home)
    os.kill(first["worker"].pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while (
        (state := read(home)) is None
        or state.services["worker"].restarts == 0
        or (state.services["worker"].status != "ready")
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert children(home)["worker"] != first["worker"]
    assert children(home)["api"] == first["api"]


def test_terminate_ends_the_supervisor_and_all_its_children(start: Start, home: Home) -> None:
    process = start()
    below = everything_below(process.pid)
    assert len(below) == 2
    assert terminate(home, timedelta(seconds=20))
    assert process.wait(10) == 0
    assert gone(below, seconds=0)
    assert running(home) is None
    state = read(home)
    assert state is not None
    assert state.phase == "stopped"
    assert not terminate(home)


@pytest.mark.slow
def test_a_killed_supervisor_takes_every_server_and_program_with_it(
    start: Start, home: Home
) -> None:
    process = start(PLAIN)
    below = everything_below(process.pid)
    assert len(children(home)) == 6
    assert len(below) > 6  # Postgres has processes of its own
    process.kill()
    process.wait()
    assert gone(below, seconds=10)

    # What it was in the middle of does not keep the next one from starting on the same data.
    first = read(home)
    start(PLAIN)
    again = read(home)
    assert first is not None
    assert again is not None
    assert again.ports == first.ports
    with psycopg.connect(environment_of(home, environment=PLAIN)["DATABASE_URL"]) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    assert terminate(home)


@pytest.fixture
def two_processes() -> Iterator[tuple[int, int]]:
    """Two that belong to no desk."""
    with subprocess.Popen(["sleep", "60"]) as one, subprocess.Popen(["sleep", "60"]) as two:
        yield one.pid, two.pid
        one.kill()
        two.kill()


async def test_leftovers_of_a_dead_supervisor_are_ended_and_strangers_left_alone(
    home: Home, two_processes: tuple[int, int]
) -> None:
    home.create()
    ours, theirs = (Identity.of(pid) for pid in two_processes)
    assert ours is not None
    assert theirs is not None
    reused = theirs.model_copy(update={"create_time": theirs.create_time - 3600})
    services = {
        "worker": ServiceState(origin="program", process=ours),
        "api": ServiceState(origin="program", process=reused),
    }
    supervisor = Identity(pid=2**22 - 1, create_time=1.0)
    write(home, State(phase="ready", supervisor=supervisor, services=services))
    assert running(home) is None

    notes: list[str] = []
    async with Desk(home, environment=OUTSIDE) as desk:
        await desk.start_servers(lambda name, text: notes.append(text))
    assert any("ended 1 processes" in one for one in notes)
    assert not ours.is_alive()
    assert theirs.is_alive()


async def test_outside_servers_are_used_as_they_are(home: Home) -> None:
    async with Desk(home, environment=OUTSIDE) as desk:
        await desk.start_servers()
        outside = {name: value for name, value in OUTSIDE.items() if name != "PATH"}
        assert outside.items() <= desk.environment().items()
        state = running(home)
        assert state is not None
        assert {service.origin for service in state.services.values()} == {"outside"}
        assert "db.example" not in home.state_file.read_text()
        assert desk.superuser_url is None
        with pytest.raises(StackError, match="DATABASE_URL"):
            environment_of(home, environment=PLAIN)


async def test_half_an_address_is_refused_with_what_is_missing(home: Home) -> None:
    environment = {**OUTSIDE, "RELAY_DATABASE_URL": ""}
    async with Desk(home, environment=environment) as desk:
        with pytest.raises(IncompleteAddress, match="RELAY_DATABASE_URL"):
            await desk.start_servers()


async def test_a_port_that_was_asked_for_is_used_or_replaced_and_that_is_said(home: Home) -> None:
    port, _ = Ports({}).take("api", 18080)
    async with Desk(home, environment=OUTSIDE, port=port) as desk:
        await desk.start_servers()
        assert desk.url == f"http://127.0.0.1:{port}"
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)
        said: list[str] = []
        async with Desk(Home(home.path.with_name("other")), environment=OUTSIDE, port=port) as two:
            await two.start_servers(lambda _, text: said.append(text))
            assert two.url != desk.url
            assert f"port {port} busy, using {two.url.rpartition(':')[2]}" in said
        server.close()


async def test_a_program_that_keeps_ending_is_reported_with_its_log(home: Home) -> None:
    def broken(environment: object) -> list[Program]:
        return [Program("api", (sys.executable, "-c", "raise SystemExit('no such module')"))]

    async with Desk(home, environment=OUTSIDE, programs=broken) as desk:
        await desk.start_servers()
        await desk.start_programs()
        with pytest.raises(StackError, match="no such module"):
            await desk.wait_ready(f"{desk.url}/health")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account")
async def test_root_without_user_namespaces_uses_an_account_in_a_folder_of_its_own(
    home: Home, open_folder: Path
) -> None:
    home.create()
    port, _ = Ports({}).take("postgres", 15432)
    secrets = home.secrets()
    server = Postgres(home, secrets, {"postgres": port}, account="nobody", away=open_folder)
    child = Child("postgres", server.prepare, home.log("postgres"), probe=server.probe)
    child.stop_signal, child.death_signal = server.stop_signal, server.death_signal
    try:
        try:
            await child.start()
        except StackError as error:
            if "may not execute" in str(error):
                pytest.skip("nobody may not enter the folder of this environment")
            raise
        await asyncio.to_thread(server.settle)
        assert child.identity is not None
        process = psutil.Process(child.identity.pid)
        assert process.uids().real == pwd.getpwnam("nobody").pw_uid
        assert Path(process.cwd()).is_relative_to(open_folder)
        assert server.note is not None
        with psycopg.connect(server.environment()["DATABASE_URL"]) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        await child.stop()
