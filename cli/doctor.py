"""An examination of a running desk: what is, and what to do about it."""

import asyncio
import hashlib
import shutil
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import httpx
import psycopg
import redis.asyncio as redis
import typer
from redis.exceptions import RedisError
from temporalio.client import Client
from temporalio.service import RPCError

import migrations
from adapters.temporal import TicketWorkflows, connect_from, missing_attributes
from cli.output import answer, answers, command, notes, table
from cli.place import api_url, relay_database, settings_of
from cli.queues import is_polled
from domain.errors import Unavailable
from domain.lifecycle import QUEUES, ticket_workflow_id
from models.session import Database
from services import relay, training
from settings import Settings
from stack.home import Home
from stack.state import running

Level = Literal["ok", "warning", "failure"]

LAG_WARNING_SECONDS = 30.0
LAG_FAILURE_SECONDS = 300.0
# Postgres stops taking writes when its disk is full, and needs room to come back.
DISK_WARNING_BYTES = 2 * 2**30
DISK_FAILURE_BYTES = 256 * 2**20
# Tickets made in the last moments have their workflow soon; these are not missed yet.
GRACE_SECONDS = 30
# A worker's first start trains a model before it begins to work.
YOUNG = timedelta(seconds=120)

_SEE_WORKER = "See `holdfast logs worker`."


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `advice` says what to do where it is not well."""

    subject: str
    level: Level
    text: str
    advice: str = ""


@command
async def doctor(home: Path, *, as_json: bool) -> None:
    """Looks at everything, prints what it found, and ends with exit code 1 on a failure."""
    place = Home(home)
    settings = settings_of(place)
    found: list[Finding] = []
    shown = notes.status("looking") if notes.is_terminal and not as_json else None
    if shown is not None:
        shown.start()
    try:
        async for finding in _examine(place, settings):
            found.append(finding)
            if shown is not None:
                shown.update(f"looked at {finding.subject}")
    finally:
        if shown is not None:
            shown.stop()
    failures = sum(one.level == "failure" for one in found)
    if as_json:
        answer({"sound": not failures, "findings": [asdict(one) for one in found]})
    else:
        _print(found)
    if failures:
        raise typer.Exit(1)


def _print(found: list[Finding]) -> None:
    marks = {"ok": "[green]ok[/]", "warning": "[yellow]look[/]", "failure": "[red]bad[/]"}
    made = table("", "", "")
    for one in found:
        made.add_row(marks[one.level], one.subject, one.text)
        if one.advice:
            made.add_row("", "", f"[bold]{one.advice}[/]")
    answers.print(made)


async def _examine(home: Home, settings: Settings) -> AsyncIterator[Finding]:
    young = _is_young(home)
    yield _supervisor(home)
    yield await _api(settings)
    async for finding in _postgres(settings):
        yield finding
    yield await _redis(settings)
    yield await _typesense(settings)
    client: Client | None = None
    try:
        async with asyncio.timeout(5):
            client = await connect_from(settings, patient=False)
            await client.service_client.check_health()
        yield Finding("temporal", "ok", f"answers at {settings.temporal_address}")
    except (RPCError, RuntimeError, TimeoutError) as error:
        yield Finding(
            "temporal",
            "failure",
            f"does not answer at {settings.temporal_address} ({type(error).__name__})",
            "Tickets go on without timers, mails and triage. See `holdfast logs temporal`.",
        )
    if client is not None:
        async for finding in _temporal(settings, client, young=young):
            yield finding
    async with relay_database(settings) as opened:
        try:
            async for finding in _relay(opened):
                yield finding
            async for finding in _models(opened, settings.home / "models" / "desks"):
                yield finding
            if client is not None:
                yield await _workflows(opened, client, young=young)
        except (Unavailable, RPCError) as error:
            yield Finding("relay", "failure", f"cannot be looked at: {error}", "See above.")
    yield _disk(home)
    yield Finding("versions", "ok", _versions())


def _is_young(home: Home) -> bool:
    """Whether the desk was started so lately that its worker may not work yet."""
    state = running(home)
    return (
        state is not None
        and state.started_at is not None
        and datetime.now(UTC) - state.started_at < YOUNG
    )


def _supervisor(home: Home) -> Finding:
    state = running(home)
    if state is None:
        return Finding("supervisor", "ok", "none here: all servers are outside")
    restarted = [f"{name} ({one.restarts})" for name, one in state.services.items() if one.restarts]
    if restarted:
        return Finding(
            "supervisor",
            "warning",
            f"had to restart {', '.join(restarted)}",
            "Their logs say why: `holdfast logs NAME`.",
        )
    return Finding("supervisor", "ok", f"{state.phase}, has restarted nothing")


async def _api(settings: Settings) -> Finding:
    address = api_url(settings)
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
            response = await http.get(f"{address}/readyz")
    except httpx.HTTPError as error:
        return Finding(
            "api",
            "failure",
            f"does not answer at {address} ({type(error).__name__})",
            "See `holdfast logs api`.",
        )
    if response.status_code != 200:
        return Finding("api", "failure", response.text[:300], "See `holdfast logs api`.")
    degraded = response.json().get("degraded")
    if degraded:
        return Finding(
            "api", "warning", f"serves, without {', '.join(degraded)}", "See these below."
        )
    return Finding("api", "ok", f"serves at {address}")


# Postgres.


async def _postgres(settings: Settings) -> AsyncIterator[Finding]:
    yield await _schema(settings)
    for name, url in (
        ("application role", settings.database_url.get_secret_value()),
        ("relay role", settings.as_relay()),
    ):
        try:
            yield await asyncio.to_thread(_role, name, url)
        except psycopg.Error as error:
            yield Finding(
                name,
                "failure",
                f"cannot sign in: {str(error).strip().splitlines()[-1]}",
                "Check the address and password in DATABASE_URL and RELAY_DATABASE_URL.",
            )


async def _schema(settings: Settings) -> Finding:
    url = settings.as_owner()
    try:
        current = await asyncio.to_thread(migrations.current, url)
    except Exception as error:  # whatever the driver raises says one thing
        return Finding(
            "postgres",
            "failure",
            f"does not answer ({type(error).__name__})",
            "Nothing is accepted without it. See `holdfast logs postgres`.",
        )
    head = migrations.head()
    if current != head:
        return Finding(
            "schema",
            "failure",
            f"is at {current}, this code needs {head}",
            "Run `holdfast migrate`.",
        )
    return Finding("schema", "ok", f"is at {current}, the newest")


def _role(name: str, url: str) -> Finding:
    """Whether row-level security holds for this role."""
    with psycopg.connect(url, connect_timeout=5) as connection:
        row = connection.execute(
            "select current_user, r.rolsuper, r.rolbypassrls,"
            " (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            "  where n.nspname = 'public' and c.relkind in ('r', 'p')"
            "  and pg_has_role(current_user, c.relowner, 'member')),"
            " (select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            "  where n.nspname = 'public' and c.relkind = 'r' and c.relname <> 'alembic_version'"
            "  and not (c.relrowsecurity and c.relforcerowsecurity))"
            " from pg_roles r where r.rolname = current_user"
        ).fetchone()
    assert row is not None
    user, is_super, bypasses, owned, open_tables = row
    wrong = [
        text
        for is_wrong, text in (
            (is_super, "is a superuser"),
            (bypasses, "bypasses row-level security"),
            (owned, f"owns {owned} tables"),
            (open_tables, f"finds {open_tables} tables without forced row-level security"),
        )
        if is_wrong
    ]
    if wrong:
        return Finding(
            name,
            "failure",
            f"{user} {' and '.join(wrong)}: tenants are not kept apart",
            "Use the roles of stack/roles.sql, and let only holdfast_owner own tables.",
        )
    return Finding(name, "ok", f"{user} owns nothing and bypasses nothing")


# The others.


async def _redis(settings: Settings) -> Finding:
    if settings.redis_url is None:
        return Finding("redis", "warning", "none is set up", "Live updates need REDIS_URL.")
    url = settings.redis_url.get_secret_value()
    where = urlsplit(url)
    try:
        async with redis.from_url(url, socket_timeout=3, socket_connect_timeout=3) as client:
            await client.ping()
    except (RedisError, OSError) as error:
        return Finding(
            "redis",
            "failure",
            f"does not answer at {where.hostname}:{where.port} ({type(error).__name__})",
            "Live updates pause meanwhile. See `holdfast logs valkey`.",
        )
    return Finding("redis", "ok", f"answers at {where.hostname}:{where.port}")


async def _typesense(settings: Settings) -> Finding:
    if settings.typesense_url is None:
        return Finding("search index", "ok", "none is set up: Postgres searches")
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
            healthy = (await http.get(f"{settings.typesense_url}/health")).status_code == 200
    except httpx.HTTPError:
        healthy = False
    if not healthy:
        return Finding(
            "search index",
            "failure",
            f"does not answer at {settings.typesense_url}",
            "Postgres searches meanwhile. See `holdfast logs typesense`; when its data is lost, "
            "`holdfast rebuild index`.",
        )
    return Finding("search index", "ok", f"answers at {settings.typesense_url}")


async def _temporal(settings: Settings, client: Client, *, young: bool) -> AsyncIterator[Finding]:
    try:
        missing = await missing_attributes(client)
    except RPCError as error:
        yield Finding("search attributes", "warning", f"cannot be listed: {error.message}")
        missing = []
    if missing and settings.search_attributes:
        yield Finding(
            "search attributes",
            "failure",
            f"not registered: {', '.join(missing)}",
            "Run `holdfast migrate`, or set HOLDFAST_SEARCH_ATTRIBUTES=false.",
        )
    else:
        yield Finding("search attributes", "ok", "are registered")
    unserved = [queue for queue in QUEUES if not await is_polled(client, queue)]
    if unserved:
        yield Finding(
            "worker",
            "warning" if young else "failure",
            f"nobody works on {', '.join(unserved)}",
            "It is just starting; look again in a minute." if young else _SEE_WORKER,
        )
    else:
        yield Finding("worker", "ok", f"works on {', '.join(QUEUES)}")


async def _relay(opened: Database) -> AsyncIterator[Finding]:
    for row in await relay.lag(opened):
        name, seconds = f"relay to {row['destination']}", float(row["seconds"])
        text = f"{row['waiting']} facts wait, the oldest for {seconds:.0f} s"
        if row["error"]:
            text += f"; last error: {row['error']}"
        if seconds > LAG_FAILURE_SECONDS:
            yield Finding(name, "failure", text, _SEE_WORKER)
        elif seconds > LAG_WARNING_SECONDS:
            yield Finding(name, "warning", text, "It may be catching up. Look again in a minute.")
        else:
            yield Finding(name, "ok", text if row["waiting"] else "nothing waits")


async def _models(opened: Database, folder: Path) -> AsyncIterator[Finding]:
    """What desks have taught: whether each file that answers is there, and is what was written."""
    models = await training.champions_of_all(opened)
    damaged = 0
    for row in models:
        problem = row["problem"]
        if problem is None:
            place = folder / row["tenant_id"].hex / row["sha256"][:2] / row["sha256"]
            problem = await asyncio.to_thread(_damage, folder, place, row["sha256"])
        if problem is not None:
            damaged += 1
            yield Finding(
                f"model of {row['slug']}",
                "warning",
                f"{row['field']}-{row['version']}: {problem} The model that ships answers.",
                "Roll it back or teach it anew: `/api/v1/triage/fields` and `/models`.",
            )
    if not damaged:
        yield Finding("models", "ok", f"{len(models)} of desks' own answer, their files are whole")


def _damage(folder: Path, place: Path, sha256: str) -> str | None:
    if not folder.exists():
        return None  # they are kept on another machine
    try:
        with place.open("rb") as file:
            whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return "its file is missing."
    except OSError as error:
        return f"its file cannot be read ({type(error).__name__})."
    return None if whole else "its file is not the one that was written."


async def _workflows(opened: Database, client: Client, *, young: bool) -> Finding:
    """Open tickets against running workflows; those of the last moments may have none yet."""
    known = await TicketWorkflows(client).running()
    async with opened.transaction(None) as work:
        rows = await work.rows(
            "select n.slug, t.number, t.deadline_at < now() - make_interval(mins => 5) as overdue,"
            " t.updated_at < now() - make_interval(secs => :grace) as settled"
            " from tickets t join tenants n on n.id = t.tenant_id"
            " where t.category not in ('closed', 'merged')",
            {"grace": GRACE_SECONDS},
        )
    astray = [
        r for r in rows if r["settled"] and ticket_workflow_id(r["slug"], r["number"]) not in known
    ]
    overdue = [r for r in rows if r["overdue"]]
    text = f"{len(rows)} open tickets, {len(known)} running workflows"
    if astray:
        first = ticket_workflow_id(astray[0]["slug"], astray[0]["number"])
        return Finding(
            "workflows",
            "warning" if young else "failure",
            f"{text}; {len(astray)} tickets have none, {first} for one",
            "Run `holdfast rebuild workflows`; it also happens by itself every two minutes.",
        )
    if overdue:
        first = ticket_workflow_id(overdue[0]["slug"], overdue[0]["number"])
        return Finding(
            "workflows",
            "warning",
            f"{text}; {len(overdue)} have a deadline that passed unnoticed, {first} for one",
            "Look at that workflow in the Temporal UI.",
        )
    return Finding("workflows", "ok", text)


def _disk(home: Home) -> Finding:
    folder = home.path if home.path.exists() else Path.cwd()
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GB free at {folder}"
    if free < DISK_FAILURE_BYTES:
        return Finding("disk", "failure", text, "Make room now: Postgres stops when it is full.")
    if free < DISK_WARNING_BYTES:
        return Finding("disk", "warning", text, "Make room soon.")
    return Finding("disk", "ok", text)


def _versions() -> str:
    packages = ("holdfast", "temporalio", "fastapi", "sqlalchemy", "psycopg")
    return ", ".join(f"{name} {version(name)}" for name in packages)
