"""Child processes that are watched, restarted with back-off, and never outlive their supervisor."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Literal

import psutil
from pydantic import BaseModel, ConfigDict

CHILD = Path(__file__).with_name("child.py")
LOG_LIMIT_BYTES = 50 * 1024 * 1024

FIRST_DELAY = timedelta(seconds=0.2)
LONGEST_DELAY = timedelta(seconds=10)
STEADY_AFTER = timedelta(seconds=30)

Status = Literal["starting", "ready", "restarting", "stopped"]


class StackError(Exception):
    """Something the operator must act on; the message says what."""


class NotReady(Exception):
    """What a probe raises as long as its server does not answer as it should."""


class Died(StackError):
    """A child ended before it was ever ready."""

    def __init__(self, name: str, code: int, log: Path) -> None:
        super().__init__(f"{name} {_ending(code)} while starting. {tail(log)}")


class TooSlow(StackError):
    """A child runs but did not answer in time."""

    def __init__(self, name: str, timeout: timedelta, reason: str, log: Path) -> None:
        super().__init__(
            f"{name} was not ready after {timeout.total_seconds():.0f} s ({reason}). {tail(log)}"
        )


class Identity(BaseModel):
    """One process, told apart from a later one that was given the same number."""

    model_config = ConfigDict(frozen=True)

    pid: int
    create_time: float

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """The identity of a process that runs now, or None."""
        try:
            return cls(pid=pid, create_time=psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def process(self) -> psutil.Process | None:
        """The running process, or None when it ended or is only waiting to be reaped."""
        try:
            process = psutil.Process(self.pid)
            # The kernel's boot time, which this is counted from, moves when the clock is set.
            if abs(process.create_time() - self.create_time) > 2:
                return None
            return None if process.status() == psutil.STATUS_ZOMBIE else process
        except psutil.NoSuchProcess:
            return None

    def is_alive(self) -> bool:
        return self.process() is not None


def end(identities: Iterable[tuple[Identity, signal.Signals]], *, grace: timedelta) -> int:
    """How many of these processes were still running and were ended, by force after `grace`."""
    running = []
    for identity, number in identities:
        process = identity.process()
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
            running.append(identity)
    deadline = time.monotonic() + grace.total_seconds()
    while any(identity.is_alive() for identity in running) and time.monotonic() < deadline:
        time.sleep(0.02)
    for identity in running:
        process = identity.process()
        if process is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
    while any(identity.is_alive() for identity in running):
        time.sleep(0.02)
    return len(running)


def listens(pid: int, port: int) -> bool:
    """Whether this very process accepts connections on `port`.

    True where the system does not let us look: the probe's answer then has to do.
    """
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    return any(
        connection.status == psutil.CONN_LISTEN and connection.laddr[1] == port
        for connection in connections
    )


def tail(log: Path, *, lines: int = 8) -> str:
    """The last lines of a log, for a message, with where to read the rest."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            text = file.read().decode(errors="replace")
    except OSError:
        return f"There is no log at {log}."
    last = "\n  ".join(text.strip().splitlines()[-lines:])
    return f"The end of {log}:\n  {last}"


@dataclass(frozen=True)
class Command:
    """What to execute. Passwords belong in files or `environment`: arguments are public."""

    arguments: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    run_as: str = "self"

    def line(self, *, death_signal: signal.Signals) -> list[str]:
        """The arguments by which the program is executed through `child.py`."""
        shim = [sys.executable, "-I", "-S", str(CHILD)]
        return [*shim, str(os.getpid()), str(int(death_signal)), self.run_as, *self.arguments]


@dataclass(eq=False)
class Child:
    """One program kept running until `stop`.

    `prepare` runs in a thread before each start, so that whatever a crash left behind is put in
    order; `probe` runs in a thread until it no longer raises NotReady
    (without one, running is enough). `changed` is called after
    every change of status, `report` with a sentence for the operator.

    Start it from the main thread: the kernel ends children with the *thread* that forked them.
    """

    name: str
    prepare: Callable[[], Command]
    log: Path
    probe: Callable[[], None] | None = None
    listening: tuple[int, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    grace: timedelta = timedelta(seconds=15)
    changed: Callable[[], None] = lambda: None
    report: Callable[[str], None] = lambda text: None

    status: Status = field(default="starting", init=False)
    restarts: int = field(default=0, init=False)
    identity: Identity | None = field(default=None, init=False)
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _started: float = field(default=0.0, init=False)

    async def start(self, *, within: timedelta = timedelta(seconds=60)) -> None:
        """Runs the program and returns when it is ready; from then on it is kept alive.

        Raises Died or TooSlow, and leaves nothing running then.
        """
        self._set("starting")
        try:
            await self._spawn()
            await self._until_ready(within)
        except BaseException:
            await self._end()
            raise
        self._task = asyncio.create_task(self._keep_alive(), name=f"keep {self.name} alive")

    async def stop(self) -> None:
        """Ends the program: asked first, killed after `grace`. Safe to call at any time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        await self._end()

    async def _spawn(self) -> None:
        self._started = time.monotonic()
        command = await asyncio.to_thread(self.prepare)
        _rotate(self.log)
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command.line(death_signal=self.death_signal),
                cwd=command.folder,
                env=dict(command.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=descriptor,
                stderr=descriptor,
                # Ctrl-C in the terminal reaches the supervisor only, which stops us in order.
                start_new_session=True,
            )
        finally:
            os.close(descriptor)
        self.identity = Identity.of(self._process.pid)
        self.changed()

    async def _until_ready(self, within: timedelta) -> None:
        assert self._process is not None
        deadline = time.monotonic() + within.total_seconds()
        pause, reason = 0.02, "no answer yet"
        while self.probe is not None:
            if self._process.returncode is not None:
                raise Died(self.name, self._process.returncode, self.log)
            try:
                await asyncio.to_thread(self._check, self.probe, self._process.pid)
            except NotReady as error:
                reason = str(error)
            else:
                break
            if time.monotonic() > deadline:
                raise TooSlow(self.name, within, reason, self.log)
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, 0.2)
        self._set("ready")

    def _check(self, probe: Callable[[], None], pid: int) -> None:
        probe()
        # Somebody else's server on our port may answer the probe as well.
        for port in self.listening:
            if not listens(pid, port):
                raise NotReady(f"it does not listen on port {port}")

    async def _keep_alive(self) -> None:
        delay = FIRST_DELAY
        while True:
            assert self._process is not None
            code = await self._process.wait()
            self._kill_group()
            if time.monotonic() - self._started > STEADY_AFTER.total_seconds():
                delay = FIRST_DELAY
            self.restarts += 1
            self._set("restarting")
            self.report(f"{_ending(code)}, starting again in {delay.total_seconds():.1f} s")
            began = time.monotonic() + delay.total_seconds()
            await asyncio.sleep(delay.total_seconds())
            delay = min(delay * 2, LONGEST_DELAY)
            try:
                await self._spawn()
                await self._until_ready(timedelta(minutes=5))
            except Died:
                continue
            except TooSlow as error:
                self.report(str(error))
                await self._end()
            # Whatever it was, a folder that vanished or a bug of ours, trying again is our task.
            except Exception as error:
                self.report(f"cannot start: {error}")
            else:
                how = "running" if self.probe is None else "ready"
                self.report(f"{how} again in {time.monotonic() - began:.1f} s")

    async def _end(self) -> None:
        process = self._process
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(self.stop_signal)
            try:
                await asyncio.wait_for(process.wait(), self.grace.total_seconds())
            except TimeoutError:
                self.report(f"did not end within {self.grace.total_seconds():.0f} s, killed")
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        self._kill_group()
        self.identity = None
        self._set("stopped")

    def _kill_group(self) -> None:
        """Ends what the program started itself and left behind."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _set(self, status: Status) -> None:
        self.status = status
        self.changed()


def _rotate(log: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))


def _ending(code: int) -> str:
    if code < 0:
        return f"was ended by signal {signal.Signals(-code).name}"
    return f"ended with code {code}"
