"""A whole desk on one machine: the embedded servers and our own programs under one supervisor."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from stack import outside
from stack.embedded import (
    API,
    API_PORT,
    SERVERS,
    WORKER_METRICS,
    WORKER_METRICS_PORT,
    end_leftovers,
    environment_from,
    probe_all,
)
from stack.home import Home, Secrets
from stack.ports import Ports, is_free
from stack.postgres import Postgres
from stack.processes import Child, Command, Died, Identity, NotReady, StackError, tail
from stack.servers import HOST, Server, Temporal, http_get
from stack.state import Origin, Phase, ServiceState, State, read, write

Progress = Callable[[str, str], None]

ROOT = Path(__file__).resolve().parent.parent
# How often a server may lose its port to another desk that starts at the same time.
ATTEMPTS = 6
START_TIMEOUT = timedelta(seconds=90)


@dataclass(frozen=True)
class Program:
    """One of our own programs. It finds everything it needs in its environment."""

    name: str
    arguments: tuple[str, ...]
    folder: Path = ROOT
    grace: timedelta = timedelta(seconds=20)


Programs = Callable[[Mapping[str, str]], Sequence[Program]]


def api_and_worker(environment: Mapping[str, str]) -> Sequence[Program]:
    """The programs of a real desk."""
    return (
        Program(
            "api",
            (
                sys.executable, "-m", "uvicorn", "--factory", "api.app:create_app",
                "--host", environment.get("HOLDFAST_API_HOST", HOST),
                "--port", environment["HOLDFAST_API_PORT"],
                "--loop", "uvloop", "--http", "httptools",
                "--no-access-log", "--timeout-graceful-shutdown", "5",
                # Left to itself, uvicorn believes what anybody on this machine forwards.
                "--forwarded-allow-ips", environment.get("FORWARDED_ALLOW_IPS", ""),
            ),
        ),
        Program("worker", (sys.executable, "-m", "worker")),
    )  # fmt: skip


class IncompleteAddress(StackError):
    def __init__(self, server: str, missing: Sequence[str]) -> None:
        super().__init__(f"To use your own {server}, set {', '.join(missing)} as well.")


class Desk:
    """Starts, watches and stops everything that belongs to one home.

    Use it from the main thread, as `async with` or with `stop` in a `finally`:

        async with Desk(Home(".holdfast"), environment=os.environ) as desk:
            await desk.start_servers(print)
            await desk.start_programs()
            await desk.wait_ready(f"{desk.url}/health")
            await desk.run_until(stop_on_signals())
    """

    def __init__(
        self,
        home: Home,
        *,
        environment: Mapping[str, str],
        port: int | None = None,
        programs: Programs = api_and_worker,
    ) -> None:
        self.home = home
        self._outer = dict(environment)
        self._wanted_port = port
        self._programs = programs
        self._progress: Progress = lambda name, text: None
        self._lock: int | None = None
        self._secrets: Secrets | None = None
        self._ports = Ports({})
        self._phase: Phase = "starting"
        self._started_at = datetime.now(UTC)
        self._servers: dict[str, Server] = {}
        self._left_out: dict[str, ServiceState] = {}
        self._children: dict[str, Child] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def secrets(self) -> Secrets:
        if self._secrets is None:
            raise RuntimeError("the servers have not been started")
        return self._secrets

    @property
    def url(self) -> str:
        """Where the desk's pages and API are on this machine."""
        return f"http://{HOST}:{self._ports.taken[API]}"

    @property
    def shares_temporal(self) -> bool:
        """Whether other desks may work in the same namespace: an outside server's usual one."""
        return Temporal.name in self._left_out and not self._outer.get("TEMPORAL_NAMESPACE")

    @property
    def superuser_url(self) -> str | None:
        """The embedded Postgres's superuser, or None when somebody else's Postgres is used."""
        server = self._servers.get(Postgres.name)
        return server.superuser_url if isinstance(server, Postgres) else None

    def environment(self) -> dict[str, str]:
        """The variables of `settings.py` that lead to this desk; known once servers are started."""
        return environment_from(
            self.home, self.secrets, self._servers.values(), self._ports.taken, self._outer
        )

    async def start_servers(self, progress: Progress | None = None) -> None:
        """All servers run and answer afterwards; the database and its roles exist.

        `progress` is called with a server's name and what happens to it, now and later. Raises
        StackError (AlreadyRunning, Died, TooSlow, …) with a message for the operator; call `stop`
        then too.
        """
        if progress is not None:
            self._progress = progress
        self.home.create()
        self._lock = self.home.lock()
        self._secrets = self.home.secrets()
        previous = read(self.home)
        ended = await asyncio.to_thread(end_leftovers, previous)
        if ended:
            self._progress("desk", f"ended {ended} processes that a killed supervisor left behind")
        if outside.is_alone(self._outer):
            self._progress("postgres", "making roles and database where DATABASE_URL leads")
            url = self._outer["DATABASE_URL"]
            self._outer |= await asyncio.to_thread(outside.make_roles, url, self._secrets)
        self._ports = Ports(previous.ports if previous else {})
        self._take_api_port()
        self._take_metrics_port()
        embedded = [kind for kind in SERVERS if self._is_embedded(kind)]
        self._save()
        try:
            async with asyncio.TaskGroup() as group:
                for kind in embedded:
                    group.create_task(self._start_server(kind))
        except BaseExceptionGroup as failures:
            # The first one tells the story; the others were only interrupted by it.
            raise failures.exceptions[0] from failures

    def use_namespace(self, name: str) -> None:
        """From here on the desk and all beside it work in that namespace of an outside Temporal."""
        self._outer["TEMPORAL_NAMESPACE"] = name
        known = self._left_out[Temporal.name]
        self._left_out[Temporal.name] = known.model_copy(update={"namespace": name})
        self._save()

    async def start_programs(self) -> None:
        """Our own programs run afterwards; whether they answer is for `wait_ready` to find out."""
        environment = {**self._outer, **self.environment()}
        for program in self._programs(environment):
            await self._start_program(program, environment)

    async def wait_ready(self, url: str, *, within: timedelta = START_TIMEOUT) -> None:
        """`url` answers 200 afterwards, and the desk calls itself ready.

        Raises StackError when it does not in time, or when a program keeps ending.
        """
        address = urlsplit(url)
        path = address.path + (f"?{address.query}" if address.query else "")
        deadline = time.monotonic() + within.total_seconds()
        reason = ""
        while True:
            try:
                status, _ = await asyncio.to_thread(http_get, address.port or 80, path or "/")
                if status == 200:
                    break
                reason = f"it answers {status}"
            except NotReady as error:
                reason = str(error)
            for child in self._children.values():
                if child.name not in self._servers and child.restarts >= 3:
                    raise StackError(f"{child.name} keeps ending. {tail(child.log)}")
            if time.monotonic() > deadline:
                log = self.home.log(API)
                raise StackError(f"{url} does not answer ({reason}). {tail(log)}")
            await asyncio.sleep(0.05)
        self._set_phase("ready")

    async def run_until(self, stop: asyncio.Event) -> None:
        """Keeps the desk running until `stop` is set. Does not stop it; `stop` does."""
        self._set_phase("ready")
        await stop.wait()

    async def take_down(self, name: str) -> None:
        """Stops one server or program and leaves it down until `bring_up`."""
        await self._children[name].stop()

    async def bring_up(self, name: str) -> None:
        """Starts what `take_down` stopped, where it was."""
        await self._children[name].start()

    async def health(self) -> dict[str, str | None]:
        """Per embedded server: None when it does its work, else what is wrong."""
        return await probe_all(self._servers.values())

    async def stop(self) -> None:
        """Ends everything in order: programs, then servers, the database last. May be repeated."""
        if self._lock is None:
            return
        self._set_phase("stopping")
        last = [Postgres.name]
        programs = [name for name in self._children if name not in self._servers]
        servers = [name for name in self._servers if name not in last]
        for names in (programs, servers, last):
            children = [self._children[name] for name in names if name in self._children]
            results = await asyncio.gather(
                *(child.stop() for child in children), return_exceptions=True
            )
            for child, result in zip(children, results, strict=True):
                if isinstance(result, Exception):
                    self._progress(child.name, f"could not be stopped: {result}")
        self._ports.release()
        self._set_phase("stopped")
        os.close(self._lock)
        self._lock = None

    def _take_api_port(self) -> None:
        host = self._outer.get("HOLDFAST_API_HOST", HOST)
        usual = int(self._outer.get("HOLDFAST_API_PORT") or API_PORT)
        if self._wanted_port is not None:
            usual = self._wanted_port
            self._ports = Ports({**self._ports.remembered, API: usual})
        port, busy = self._ports.take(API, usual, host=host)
        if busy is not None:
            self._progress(API, f"port {busy} busy, using {port}")

    def _take_metrics_port(self) -> None:
        host = self._outer.get("HOLDFAST_API_HOST", HOST)
        usual = int(self._outer.get("HOLDFAST_WORKER_METRICS_PORT") or WORKER_METRICS_PORT)
        self._ports.take(WORKER_METRICS, usual, host=host)

    def _is_embedded(self, kind: type[Server]) -> bool:
        if self._outer.get(kind.outside):
            missing = [name for name in kind.variables if not self._outer.get(name)]
            if missing:
                raise IncompleteAddress(kind.name, missing)
            note = f"{kind.outside} is set"
            self._left_out[kind.name] = ServiceState(origin="outside", note=note)
            self._progress(kind.name, f"not started: {note}")
            return False
        reason = kind.missing()
        if reason is None:
            return True
        if not kind.optional:
            raise StackError(
                f"{kind.name}: {reason}. Install the extra `embedded`, or set {kind.outside}."
            )
        self._left_out[kind.name] = ServiceState(origin="absent", note=reason)
        self._progress(kind.name, f"left out: {reason}")
        return False

    async def _start_server(self, kind: type[Server]) -> None:
        began = time.monotonic()
        self._progress(kind.name, "starting")
        for attempt in range(ATTEMPTS):
            ports = self._take_ports(kind)
            server = kind(self.home, self.secrets, ports)
            self._servers[kind.name] = server
            child = self._child(kind.name, server.prepare)
            child.probe, child.listening = server.probe, tuple(ports.values())
            child.stop_signal, child.death_signal = kind.stop_signal, kind.death_signal
            child.grace = kind.grace
            try:
                await child.start(within=START_TIMEOUT)
                break
            except Died:
                # Between our look and its bind, another desk may have taken the port.
                if attempt == ATTEMPTS - 1 or all(is_free(port) for port in ports.values()):
                    raise
        await asyncio.to_thread(server.settle)
        if server.note:
            self._progress(kind.name, server.note)
        self._progress(kind.name, f"ready in {time.monotonic() - began:.1f} s")
        self._save()

    async def _start_program(self, program: Program, environment: Mapping[str, str]) -> None:
        command = Command(program.arguments, program.folder, environment)
        child = self._child(program.name, lambda: command)
        child.grace = program.grace
        await child.start()

    def _take_ports(self, kind: type[Server]) -> dict[str, int]:
        ports = {}
        for name, usual in kind.usual_ports.items():
            ports[name], busy = self._ports.take(name, usual)
            if busy is not None:
                self._progress(kind.name, f"port {busy} busy, using {ports[name]}")
        return ports

    def _child(self, name: str, prepare: Callable[[], Command]) -> Child:
        child = Child(
            name,
            prepare,
            self.home.log(name),
            changed=self._save,
            report=lambda text: self._progress(name, text),
        )
        self._children[name] = child
        return child

    def _set_phase(self, phase: Phase) -> None:
        if self._phase != phase:
            self._phase = phase
            self._save()

    def _save(self) -> None:
        services = dict(self._left_out)
        for name, child in self._children.items():
            server = self._servers.get(name)
            origin: Origin = "program" if server is None else "embedded"
            services[name] = ServiceState(
                origin=origin,
                status=child.status,
                process=child.identity,
                address=None if server is None else server.address,
                ports={} if server is None else server.ports,
                restarts=child.restarts,
                note=None if server is None else server.note,
            )
        stopped = self._phase == "stopped"
        state = State(
            phase=self._phase,
            supervisor=None if stopped else Identity.of(os.getpid()),
            started_at=None if stopped else self._started_at,
            url=None if stopped or API not in self._ports.taken else self.url,
            services=services,
            ports=self._ports.remembered,
        )
        # A full disk must not end the supervision of servers that could still be rescued.
        with suppress(OSError):
            write(self.home, state)


def stop_on_signals() -> asyncio.Event:
    """An event that is set when the terminal or the system asks this process to end."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, event.set)
    return event
