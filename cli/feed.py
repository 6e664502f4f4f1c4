"""Other people's tickets through the front door, counted until the desk has dealt with them."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from temporalio.client import Client
from temporalio.service import RPCError

from adapters.temporal import connect_from
from cli import seed
from cli.output import Mistake, answer, command, notes, say, table
from cli.place import api_url, database, settings_of
from cli.queues import is_polled
from domain.errors import Unavailable
from domain.lifecycle import MODELS, ticket_workflow_id
from models.base import new_id
from models.session import Database
from services.tenants import find_tenant
from services.tickets import clock
from services.tokens import create_token
from settings import Settings
from stack.home import Home, write_privately

# A request is sent again under the same key while the desk is restarting.
ATTEMPTS = 12
MOST_ERRORS_TOLD = 100
_LOOK_EVERY = 1.0
# What a first training may take where others use the machine, too.
LEARNS_WITHIN = 300.0


@dataclass
class Tally:
    """What became of the tickets so far."""

    began: float = field(default_factory=time.monotonic)
    numbers: dict[int, None] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    failures: int = 0
    workflows: int = 0
    triaged: int = 0
    assigned: int = 0
    breached: int = 0

    @property
    def accepted(self) -> int:
        return len(self.numbers)

    @property
    def caught_up(self) -> bool:
        """Every accepted ticket has had its workflow and its verdict."""
        return self.workflows >= self.accepted and self.triaged >= self.accepted

    def failed(self, what: str) -> None:
        self.failures += 1
        if len(self.errors) < MOST_ERRORS_TOLD:
            self.errors.append(what)

    def percentile(self, share: float) -> float | None:
        """So many milliseconds were enough for that share of the tickets."""
        if not self.milliseconds:
            return None
        ordered = sorted(self.milliseconds)
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)

    def report(self) -> dict[str, object]:
        return {
            "accepted": self.accepted,
            "workflows": self.workflows,
            "triaged": self.triaged,
            "assigned": self.assigned,
            "breached": self.breached,
            "errors": self.errors,
            "p50_ms": self.percentile(0.50),
            "p99_ms": self.percentile(0.99),
        }

    def shown(self) -> Group:
        made: Table = table(
            "accepted",
            "workflow running",
            "triaged",
            "assigned",
            "breached",
            "errors",
            "p50",
            "p99",
        )
        p50, p99 = self.percentile(0.50), self.percentile(0.99)
        made.add_row(
            *(str(n) for n in (self.accepted, self.workflows, self.triaged, self.assigned)),
            str(self.breached),
            f"[red]{self.failures}[/]" if self.failures else "0",
            "" if p50 is None else f"{p50:.0f} ms",
            "" if p99 is None else f"{p99:.0f} ms",
        )
        return Group(made, Text(f"{time.monotonic() - self.began:.0f} s", style="dim"))


@command
async def demo(
    home: Path,
    file: Path,
    *,
    rate: float,
    limit: int | None,
    concurrency: int,
    slug: str,
    key: str | None,
    patience: timedelta,
    as_json: bool,
) -> None:
    """Feeds the file's tickets, shows what becomes of them; exit code 1 when something failed."""
    place = Home(home)
    settings = settings_of(place)
    items = itertools.islice(_items(file), limit)
    tally = Tally()
    async with (
        database(settings) as opened,
        _api(settings, await _key(place, opened, slug, key), concurrency) as api,
    ):
        watch = await _watch(settings, opened, slug, tally)
        with Live(console=notes, refresh_per_second=4, transient=as_json) as live:
            shown = asyncio.create_task(_show(live, tally))
            looking = asyncio.create_task(watch.go_on())
            try:
                await _feed(api, items, tally, rate=rate, concurrency=concurrency)
                await _catch_up(tally, patience, learning=watch.is_learning)
            finally:
                for task in (looking, shown):
                    task.cancel()
                await asyncio.gather(looking, shown, return_exceptions=True)
            with contextlib.suppress(Unavailable, RPCError):
                await watch.look()
            live.update(tally.shown())
    late = not tally.caught_up
    if late:
        say(f"The desk did not catch up within {patience.total_seconds():.0f} s without progress.")
        tally.failed("not caught up")
    if as_json:
        answer(tally.report())
    else:
        for error in tally.errors[:20]:
            say(error)
    if late or tally.failures:
        raise typer.Exit(1)


# Feeding.


@dataclass(frozen=True)
class Unreadable:
    """A line of the file that is no ticket, and why."""

    why: str


def _items(file: Path) -> Iterator[dict[str, object] | Unreadable]:
    """The tickets of the file, as the API takes them."""
    with file.open("rb") as lines:
        for number, text in enumerate(lines, start=1):
            if not text.strip():
                continue
            try:
                item = json.loads(text.decode())
                body = str(item["body"]).replace("\\n", "\n").strip()
                requester = {
                    "email": item["requester"]["email"],
                    "name": item["requester"].get("name") or None,
                }
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                yield Unreadable(f"{file.name}, line {number} is no ticket: {error!r}")
                continue
            words = " ".join(str(item.get("subject") or "").split())
            yield {
                "subject": (words or " ".join(body.split())[:80] or "(no subject)")[:500],
                "text": body or words or "(empty)",
                "requester": requester,
                "channel": item.get("channel") or "api",
                "language": item.get("language") or None,
                "external_id": str(item.get("external_id") or number),
            }


async def _feed(
    api: httpx.AsyncClient,
    items: Iterator[dict[str, object] | Unreadable],
    tally: Tally,
    *,
    rate: float,
    concurrency: int,
) -> None:
    run = new_id().hex
    numbered = enumerate(items)
    began = time.monotonic()

    async def customers() -> None:
        for place, item in numbered:
            if isinstance(item, Unreadable):
                tally.failed(item.why)
                continue
            if rate:
                await asyncio.sleep(max(0.0, began + place / rate - time.monotonic()))
            await _submit(api, item, f"demo-{run}-{place}", tally)

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(customers())


async def _submit(api: httpx.AsyncClient, item: dict[str, object], key: str, tally: Tally) -> None:
    """One ticket; sent again under its key while the desk cannot answer.

    Its time is the customer's: from the first attempt to the acceptance. A desk that is away says
    503; any other failure of its own is a mistake, counted even where the next attempt succeeds.
    """
    why, began = "", time.monotonic()
    for attempt in range(ATTEMPTS):
        try:
            response = await api.post(
                "/public/v1/tickets", json=item, headers={"Idempotency-Key": key}
            )
        except httpx.TransportError as error:
            why = f"{type(error).__name__} {error}".strip()
        else:
            if response.status_code == 201:
                tally.milliseconds.append((time.monotonic() - began) * 1000)
                tally.numbers[response.json()["number"]] = None
                return
            status = response.status_code
            why = f"{status} {response.text[:300]}"
            if status >= 500 and status != 503:
                tally.failed(f"{item['external_id']}: {why}")
            elif status not in (409, 429, 503):
                break
        await asyncio.sleep(min(0.1 * 2**attempt, 5.0))
    tally.failed(f"{item['external_id']}: {why}")


async def _catch_up(
    tally: Tally, patience: timedelta, *, learning: Callable[[], Awaitable[bool]]
) -> None:
    """Waits while the desk makes progress, up to `patience` without any.

    A desk's first start trains its model, which on a busy machine takes a while: that counts as
    progress, for some minutes.
    """
    seen, since, began = (-1, -1), time.monotonic(), time.monotonic()
    while not tally.caught_up:
        now = (tally.workflows, tally.triaged)
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > patience.total_seconds():
            if time.monotonic() - began > LEARNS_WITHIN or not await learning():
                return
            since = time.monotonic()
        await asyncio.sleep(0.1)


# Watching.


class _Watch:
    """Counts in Postgres and in Temporal what became of this run's tickets."""

    def __init__(
        self, opened: Database, client: Client, tenant_id: UUID, slug: str, tally: Tally
    ) -> None:
        self._database = opened
        self._client = client
        self._tenant_id = tenant_id
        self._slug = slug
        self._tally = tally

    async def go_on(self) -> None:
        while True:
            # Away for now: what is shown is what was seen last.
            with contextlib.suppress(Unavailable, RPCError):
                await self.look()
            await asyncio.sleep(_LOOK_EVERY)

    async def look(self) -> None:
        tally = self._tally
        numbers = list(tally.numbers)
        if not numbers:
            return
        async with self._database.transaction(self._tenant_id) as work:
            rows = await work.rows(
                "select count(*) filter (where triage <> 'pending') as triaged,"
                " count(*) filter (where assignee_id is not null) as assigned,"
                " count(*) filter (where breached_at is not null or next_due_at < :now)"
                " as breached,"
                " count(*) filter (where category in ('closed', 'merged')) as over"
                " from tickets where tenant_id = :tenant and number = any(:numbers)",
                {"tenant": self._tenant_id, "numbers": numbers, "now": clock()},
            )
        running = await self._running()
        mine = sum(ticket_workflow_id(self._slug, number) in running for number in numbers)
        # A closed ticket's workflow has done its work and ended.
        tally.workflows = min(len(numbers), mine + int(rows[0]["over"]))
        tally.triaged = rows[0]["triaged"]
        tally.assigned = rows[0]["assigned"]
        tally.breached = rows[0]["breached"]

    async def is_learning(self) -> bool:
        """Whether nobody can be asked what a ticket is about: the model is being trained."""
        try:
            return not await is_polled(self._client, MODELS)
        except RPCError:
            return False

    async def _running(self) -> set[str]:
        query = f"WorkflowId STARTS_WITH 'ticket/{self._slug}/' AND ExecutionStatus = 'Running'"
        return {one.id async for one in self._client.list_workflows(query, page_size=1000)}


async def _watch(settings: Settings, opened: Database, slug: str, tally: Tally) -> _Watch:
    try:
        client = await connect_from(settings, patient=False)
    except (RPCError, RuntimeError) as error:
        raise Mistake(f"Temporal at {settings.temporal_address} does not answer.") from error
    tenant_id = await find_tenant(opened, slug)
    assert tenant_id is not None  # its key was found or made before
    return _Watch(opened, client, tenant_id, slug, tally)


async def _show(live: Live, tally: Tally) -> None:
    while True:
        live.update(tally.shown())
        await asyncio.sleep(0.25)


# The tenant.


@asynccontextmanager
async def _api(settings: Settings, key: str, concurrency: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        base_url=api_url(settings),
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
        limits=httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency),
        trust_env=False,
    ) as api:
        yield api


async def _key(home: Home, opened: Database, slug: str, given: str | None) -> str:
    """An intake key of that tenant: the one given, the one kept, or a new one of a new tenant."""
    tenant_id = await find_tenant(opened, slug)
    if given is not None:
        if tenant_id is None:
            raise Mistake(f"There is no tenant {slug!r} that the key could belong to.")
        return given
    kept = home.folder("run") / f"intake-{slug}.key"
    if tenant_id is not None and kept.exists():
        return kept.read_text("utf-8")
    if tenant_id is None:
        say(f"Making the tenant {slug} with people, teams and promises; {seed.UNPROVEN}.")
    chosen = tenant_id or new_id()
    async with opened.transaction(chosen) as work:
        if tenant_id is None:
            await seed.furnish(
                work,
                slug=slug,
                name="A crowd of customers",
                passwords={},
                now=clock(),
                rate_class="unlimited",
            )
        made = await create_token(
            work, kind="intake", name="demo", user_id=None, rate_class="unlimited", now=clock()
        )
        write_privately(kept, made.secret)
    return made.secret
