"""The desk as a whole: up, down, status, logs, reset."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Group, RenderableType
from rich.status import Status
from rich.text import Text

from cli import logins
from cli.output import Mistake, answer, answers, line, notes, say, table
from stack import outside
from stack.beside import environment_of, health_of, terminate
from stack.desk import Desk, stop_on_signals
from stack.embedded import WORKER_METRICS
from stack.home import FOLDERS, Home
from stack.postgres import folder_away
from stack.processes import StackError
from stack.state import State, read, running

if TYPE_CHECKING:
    from settings import Settings

# The program that watches over the others writes here when no terminal is attached.
SUPERVISOR_LOG = "desk"


# Up.


def up(path: Path, *, detach: bool, demo: bool, port: int | None, as_json: bool) -> None:
    """Starts the desk and shows where it is; stays with it unless detached."""
    home = Home(path)
    if detach:
        _start_detached(home, demo=demo, port=port)
        _show(_report(environment_of(home), home), as_json=as_json, attached=False)
        return
    asyncio.run(_attended(home, demo=demo, port=port, as_json=as_json))


async def _attended(home: Home, *, demo: bool, port: int | None, as_json: bool) -> None:
    stop = stop_on_signals()
    progress = Progress()
    async with Desk(home, environment=os.environ, port=port) as desk:
        starting = asyncio.create_task(_start(desk, progress, demo=demo))
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            progress.rest()
            starting.result()
            _show(_report(desk.environment(), home), as_json=as_json, attached=True)
            await desk.run_until(stop)
        else:
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError, StackError):
                await starting
        progress("desk", "stopping")
        began = time.monotonic()
        await desk.stop()
        progress("desk", f"stopped in {time.monotonic() - began:.1f} s, all is kept in {home.path}")
        progress.rest()
        asked.cancel()


async def _start(desk: Desk, progress: "Progress", *, demo: bool) -> None:
    """Servers, schema, programs, demo tenant, in the order in which they need each other."""
    began = time.monotonic()
    # The libraries are read while the servers start: each takes about a second.
    loading = asyncio.create_task(asyncio.to_thread(_load))
    await desk.start_servers(progress)
    await loading
    from cli.namespaces import away_from_others
    from cli.seed import seed
    from settings import Settings

    environment = desk.environment()
    os.environ.update(environment)
    settings = Settings()
    if desk.superuser_url is None:
        await asyncio.to_thread(outside.look, environment)
    if desk.shares_temporal:
        own = await away_from_others(settings)
        if own is not None:
            progress("temporal", f"another desk works in the namespace default, using {own}")
            desk.use_namespace(own)
            os.environ["TEMPORAL_NAMESPACE"] = own
            settings = Settings()
    _, registered = await asyncio.gather(
        asyncio.to_thread(_migrate, settings.as_owner(), progress),
        _register(settings, progress),
    )
    if registered:
        progress("temporal", f"registered search attributes {', '.join(registered)}")
    progress("api", "starting")
    progress("worker", "starting")
    await desk.start_programs()
    if demo:
        await seed(desk.home, settings, progress)
    await desk.wait_ready(f"{desk.url}/readyz")
    progress("desk", f"ready in {time.monotonic() - began:.1f} s")


async def _register(settings: "Settings", progress: "Progress") -> list[str]:
    from cli import upkeep

    try:
        return await upkeep.register(settings)
    except Mistake as mistake:  # somebody else's Temporal: the desk serves without it, too
        progress("temporal", str(mistake))
        return []


def _load() -> None:
    import cli.namespaces
    import cli.seed
    import cli.upkeep  # noqa: F401


def _migrate(url: str, progress: "Progress") -> None:
    import migrations

    current, head = migrations.current(url), migrations.head()
    if current == head:
        return
    progress("schema", f"migrating {'an empty database' if current is None else current} to {head}")
    migrations.upgrade(url)


def _start_detached(home: Home, *, demo: bool, port: int | None) -> None:
    """A supervisor without a terminal, ready when this returns. Raises Mistake."""
    state = running(home)
    if state is not None and state.phase == "ready":
        say(f"A desk already runs on {home.path}.")
        return
    home.create()
    log = home.log(SUPERVISOR_LOG)
    arguments = [sys.executable, "-m", "cli", "up", "--home", str(home.path)]
    arguments += [] if demo else ["--no-demo"]
    arguments += [] if port is None else ["--port", str(port)]
    with open(log, "ab", opener=_privately) as file:
        seen = file.tell()
        child = subprocess.Popen(
            arguments,
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=file,
            start_new_session=True,
        )
    try:
        while child.poll() is None:
            seen = _echo(log, seen)
            state = running(home)
            ours = state is not None and state.supervisor and state.supervisor.pid == child.pid
            if ours and state is not None and state.phase == "ready":
                _echo(log, seen)
                return
            time.sleep(0.05)
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise
    _echo(log, seen)
    raise Mistake(f"The desk did not start. All it said is in {log}.")


def _privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _echo(log: Path, seen: int) -> int:
    """Shows what was written to the log since; where it ends now."""
    with log.open("rb") as file:
        file.seek(seen)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    sys.stderr.write(whole.decode(errors="replace"))
    sys.stderr.flush()
    return seen + len(whole)


class Progress:
    """What happens to whom, a line each; on a terminal with something that moves below."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._moving: Status | None = None
        self._waiting: dict[str, None] = {}
        if notes.is_terminal:
            self._moving = notes.status("starting")
            self._moving.start()

    def __call__(self, name: str, text: str) -> None:
        # A closed terminal must not end the supervision of servers that are to be stopped.
        with contextlib.suppress(OSError):
            if text == "starting":
                self._waiting[name] = None
            elif text.startswith("ready"):
                self._waiting.pop(name, None)
            if self._moving is not None:
                self._moving.update(f"waiting for {', '.join(self._waiting) or name}")
            if text != "starting" or self._moving is None:
                elapsed = time.monotonic() - self._began
                notes.print(Text.assemble((f"{elapsed:5.1f} s  ", "dim"), f"{name:10} {text}"))

    def rest(self) -> None:
        """Nothing is being waited for now."""
        if self._moving is not None:
            with contextlib.suppress(OSError):
                self._moving.stop()
            self._moving = None
        self._waiting.clear()


def _report(environment: Mapping[str, str], home: Home) -> dict[str, object]:
    """Where everything is, and who can sign in."""
    api = f"http://127.0.0.1:{environment['HOLDFAST_API_PORT']}"
    return {
        "home": str(home.path),
        "api": api,
        "api_docs": f"{api}/docs",
        "api_metrics": f"{api}/metrics",
        "worker_metrics": _worker_metrics(environment.get("HOLDFAST_WORKER_METRICS_PORT")),
        "temporal_ui": environment.get("TEMPORAL_UI_URL"),
        "temporal_address": environment.get("TEMPORAL_ADDRESS"),
        "temporal_namespace": environment.get("TEMPORAL_NAMESPACE") or "default",
        "database_url": environment.get("DATABASE_URL"),
        "redis_url": environment.get("REDIS_URL"),
        "typesense_url": environment.get("TYPESENSE_URL"),
        "logins": [
            {"tenant": w.tenant, "email": w.email, "password": w.password, "role": w.role}
            for w in logins.read(home)
        ],
    }


def _worker_metrics(port: str | int | None) -> str | None:
    return None if port is None else f"http://127.0.0.1:{port}/metrics"


def _show(report: Mapping[str, object], *, as_json: bool, attached: bool) -> None:
    if as_json:
        answer(report)
        return
    where = table("", "")
    where.show_header = False
    for label, name in (
        ("API, to try out", "api_docs"),
        ("API", "api"),
        ("Temporal UI", "temporal_ui"),
        ("Temporal", "temporal_address"),
        ("Metrics of the API", "api_metrics"),
        ("Metrics of the worker", "worker_metrics"),
        ("Data", "home"),
    ):
        where.add_row(label, f"[bold]{report[name]}[/]" if report[name] else "none")
    parts: list[RenderableType] = [Text(), where]
    known = logins_of(report)
    if known:
        people = table("tenant", "e-mail", "password", "role", title="Sign in")
        for one in known:
            people.add_row(one.tenant, one.email, f"[bold]{one.password}[/]", one.role)
        parts += [Text(), people]
    last = "Ctrl-C stops everything." if attached else "`holdfast down` stops everything."
    answers.print(Group(*parts, Text(), Text(last, style="dim")))
    sys.stdout.flush()


def logins_of(report: Mapping[str, object]) -> Sequence[logins.Login]:
    """The logins of a report, typed again."""
    listed = report["logins"]
    assert isinstance(listed, list)
    return [logins.Login(**one) for one in listed]


# Down, status.


def down(path: Path, *, as_json: bool) -> None:
    """Stops the desk; nothing to stop is no failure."""
    home = Home(path)
    began = time.monotonic()
    with notes.status("stopping") if notes.is_terminal else contextlib.nullcontext():
        stopped = terminate(home)
    if as_json:
        answer({"stopped": stopped})
    elif stopped:
        say(f"Stopped in {time.monotonic() - began:.1f} s. Everything is kept in {home.path}.")
    else:
        say(f"No desk runs on {home.path}.")


def status(path: Path, *, as_json: bool) -> None:
    """Shows the desk's processes and whether they answer; exit code 1 when not all do."""
    home = Home(path)
    state = running(home)
    if state is None:
        if as_json:
            answer({"phase": "stopped", "home": str(home.path), "services": {}})
        else:
            say(f"No desk runs on {home.path}. Start it with `holdfast up`.")
        raise typer.Exit(1)
    wrong = asyncio.run(health_of(home))
    wrong["api"] = _api_trouble(state)
    found = _services(state, wrong)
    healthy = state.phase == "ready" and all(one["problem"] is None for one in found.values())
    if as_json:
        answer(
            {
                "phase": state.phase,
                "healthy": healthy,
                "home": str(home.path),
                "url": state.url,
                "started_at": state.started_at,
                "services": found,
            }
        )
    else:
        since = (datetime.now(UTC) - state.started_at) if state.started_at else None
        shown = table("", "state", "address", "pid", "restarts", "")
        for name, one in found.items():
            trouble = one["problem"]
            shown.add_row(
                name,
                "[red]down[/]" if trouble else f"[green]{one['state']}[/]",
                str(one["address"] or ""),
                str(one["pid"] or ""),
                str(one["restarts"] or ""),
                str(trouble or one["note"] or ""),
            )
        answers.print(shown)
        answers.print(f"{home.path}: {state.phase} for {str(since).partition('.')[0]}", style="dim")
    if not healthy:
        raise typer.Exit(1)


def _services(state: State, wrong: Mapping[str, str | None]) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    known = {"api": state.url, "worker": _worker_metrics(state.ports.get(WORKER_METRICS))}
    for name, one in state.services.items():
        problem = wrong.get(name)
        if problem is None and one.origin == "program":
            dead = one.process is None or not one.process.is_alive()
            problem = f"is {one.status}" if dead else None
        found[name] = {
            "state": one.status or one.origin,
            "origin": one.origin,
            "address": one.address or known.get(name),
            "pid": one.process.pid if one.process else None,
            "restarts": one.restarts,
            "problem": problem,
            "note": one.note,
        }
    return found


def _api_trouble(state: State) -> str | None:
    import httpx

    try:
        answered = httpx.get(f"{state.url}/readyz", timeout=5, trust_env=False)
    except httpx.HTTPError as error:
        return f"does not answer ({type(error).__name__})"
    if answered.status_code != 200:
        return f"is not ready: {answered.text[:200]}"
    return None


# Logs.


def logs(path: Path, name: str | None, *, follow: bool, lines: int) -> None:
    """Prints the ends of the logs, the oldest lines first; each line names its log."""
    home = Home(path)
    files = {file.stem: file for file in sorted(home.folder("logs").glob("*.log"))}
    if name is not None and name not in files:
        known = ", ".join(files) or "none yet"
        raise Mistake(f"There is no log of {name!r} in {home.folder('logs')}. Logs: {known}.")
    chosen = {name: files[name]} if name is not None else files
    ends = {}
    for label, file in chosen.items():
        text = file.read_bytes()
        ends[label] = len(text)
        for written in text.decode(errors="replace").splitlines()[-lines:] if lines else ():
            line(written if name else f"{label:10} {written}")
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        while follow:
            for label, written in _grown(chosen, ends):
                line(written if name else f"{label:10} {written}")
            sys.stdout.flush()
            time.sleep(0.25)


def _grown(files: Mapping[str, Path], ends: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Whole lines that were added since; a log that was begun anew is read from its start."""
    for label, file in files.items():
        with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
            size = opened.seek(0, os.SEEK_END)
            if size < ends[label]:
                ends[label] = 0
            opened.seek(ends[label])
            text = opened.read()
            whole = text[: text.rfind(b"\n") + 1]
            ends[label] += len(whole)
            for written in whole.decode(errors="replace").splitlines():
                yield label, written


# Reset.


def reset(path: Path, *, yes: bool) -> None:
    """Stops the desk and deletes what it made, and nothing else that lies in its home."""
    home = Home(path)
    if read(home) is None and not home.secrets_file.exists():
        say(f"There is no desk in {home.path}.")
        return
    if not yes:
        question = f"Delete every ticket, file, log and password of the desk in {home.path}?"
        typer.confirm(question, abort=True, err=True)
    terminate(home)
    for name in FOLDERS:
        shutil.rmtree(home.folder(name), ignore_errors=True)
    home.secrets_file.unlink(missing_ok=True)
    shutil.rmtree(folder_away(home), ignore_errors=True)
    with contextlib.suppress(OSError):  # somebody keeps other things there too
        home.path.rmdir()
    say(f"Deleted the desk in {home.path}.")
    outside = [name for name in ("DATABASE_URL", "TYPESENSE_URL") if os.environ.get(name)]
    if outside:
        say(f"What is behind {' and '.join(outside)} was not touched.")
