"""A whole desk of its own for a test, fed over HTTP, its processes there to be killed."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import httpx

import migrations
from adapters.temporal import TicketWorkflows, connect, register_attributes
from domain.calendars import Calendar
from domain.errors import Unavailable
from models.base import new_id
from models.session import Database
from services import relay
from services.auth import hash_password
from services.tenants import NewTenant, create_tenant
from services.tokens import create_token
from stack.desk import ROOT, Desk
from stack.home import Home
from stack.state import read
from tests.making import ALWAYS, make_agent, make_policy, make_team

T = TypeVar("T")

PASSWORD = "correct horse battery staple"


@dataclass
class Fed:
    """What a client was told: the numbers it got for the keys it used, and how long each took."""

    accepted: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    attempts: int = 0


@dataclass
class LiveDesk:
    desk: Desk
    home: Home
    database: Database
    relay_database: Database
    tenant: uuid.UUID
    slug: str
    intake_key: str
    agent_token: str
    agent: uuid.UUID

    @property
    def url(self) -> str:
        return self.desk.url

    def pid(self, name: str) -> int:
        state = read(self.home)
        assert state is not None
        process = state.services[name].process
        assert process is not None, f"{name} does not run"
        return process.pid

    async def kill(self, name: str) -> None:
        """kill -9, and back only when its successor runs."""
        before = self.pid(name)
        os.kill(before, signal.SIGKILL)
        async with asyncio.timeout(60):
            while True:
                await asyncio.sleep(0.05)
                with contextlib.suppress(AssertionError, KeyError):
                    if self.pid(name) != before:
                        return

    async def feed(self, count: int, *, at_once: int = 8, pause: float = 0.0) -> Fed:
        """Submits tickets as customers until each is accepted, retrying under the same key."""
        fed = Fed()
        gate = asyncio.Semaphore(at_once)
        async with httpx.AsyncClient(base_url=self.url, timeout=20) as client:

            async def submit(i: int) -> None:
                key = f"feed-{uuid.uuid4()}"
                async with gate:
                    started = time.monotonic()
                    while True:
                        fed.attempts += 1
                        try:
                            answer = await client.post(
                                "/public/v1/tickets",
                                headers={
                                    "Authorization": f"Bearer {self.intake_key}",
                                    "Idempotency-Key": key,
                                },
                                json={
                                    "subject": f"Order {i} has not arrived",
                                    "text": f"I ordered two lamps ({i}) and only got one.",
                                    "requester": {"email": f"c{i % 40}@example.com", "name": "C"},
                                    "channel": "email",
                                },
                            )
                        except httpx.TransportError:
                            await asyncio.sleep(0.2)
                            continue
                        if answer.status_code == 201:
                            fed.accepted[key] = answer.json()["number"]
                            fed.seconds.append(time.monotonic() - started)
                            break
                        assert answer.status_code in (409, 503), answer.text
                        await asyncio.sleep(0.2)
                    await asyncio.sleep(pause)

            await asyncio.gather(*(submit(i) for i in range(count)))
        return fed

    async def demo(self, file: Path, *, limit: int, rate: float) -> "Demo":
        """The real command, in a process of its own, as this desk's operator would run it."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cli", "demo", "--from", str(file), "--limit", str(limit),
            "--rate", str(rate), "--tenant", self.slug, "--timeout", "90", "--json",
            "--home", str(self.home.path),
            cwd=ROOT,
            env={**os.environ, "HOLDFAST_INTAKE_KEY": self.intake_key},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        return Demo(process)

    async def act(self, what: str, number: int, body: dict[str, object], *, until_: float) -> int:
        """Does something to a ticket as an agent, until it is accepted; how often it was tried."""
        key, tries = uuid.uuid4().hex, 0
        async with httpx.AsyncClient(base_url=self.url, timeout=20) as client:
            while True:
                tries += 1
                try:
                    answer = await client.post(
                        f"/api/v1/tickets/{number}/{what}",
                        headers={
                            "Authorization": f"Bearer {self.agent_token}",
                            "Idempotency-Key": key,
                        },
                        json=body,
                    )
                except httpx.TransportError:
                    pass
                else:
                    if answer.status_code in (200, 201):
                        return tries
                    assert answer.status_code in (409, 503), answer.text
                assert time.monotonic() < until_, f"{what} on {number} was never accepted"
                await asyncio.sleep(0.2)

    async def look(self, number: int) -> None:
        """Asks what the ticket's workflow waits for, and does not mind being told nothing."""
        async with httpx.AsyncClient(base_url=self.url, timeout=20) as client:
            client.headers["Authorization"] = f"Bearer {self.agent_token}"
            with contextlib.suppress(httpx.TransportError):
                await client.get(f"/api/v1/tickets/{number}/workflow")

    async def settled(self, *, within: float = 120) -> None:
        """Everything committed was told: the outbox is empty, and no ticket awaits triage."""

        async def busy() -> str | None:
            for row in await relay.lag(self.relay_database):
                if row["waiting"]:
                    return f"{row['waiting']} facts for {row['destination']} ({row['error']})"
            async with self.database.transaction(self.tenant) as work:
                [left] = await work.rows(
                    "select count(*) as n from tickets where triage = 'pending'"
                    " and category not in ('closed', 'merged')"
                )
            return f"{left['n']} tickets await triage" if left["n"] else None

        await until(busy, within=within)

    async def numbers(self) -> list[int]:
        async with self.database.transaction(self.tenant) as work:
            rows = await work.rows(
                "select number from tickets where tenant_id = :t order by number",
                {"t": self.tenant},
            )
        return [row["number"] for row in rows]

    async def running(self) -> set[str]:
        client = await connect(self.desk.environment()["TEMPORAL_ADDRESS"], "default", patient=True)
        return await TicketWorkflows(client).running()


@dataclass
class Demo:
    """A running `holdfast demo`."""

    process: asyncio.subprocess.Process

    async def report(self, *, within: float) -> dict[str, object]:
        """What it printed at its end; it must have ended well."""
        async with asyncio.timeout(within):
            out, complaints = await self.process.communicate()
        assert self.process.returncode == 0, f"{out.decode()}\n{complaints.decode()[-2000:]}"
        told: dict[str, object] = json.loads(out)
        return told

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()


async def until(busy: Callable[[], object], *, within: float) -> None:
    """Waits for `busy` to say None, through trouble; fails with what it said last."""
    deadline, said = time.monotonic() + within, "nothing"
    while time.monotonic() < deadline:
        try:
            answer = await busy()  # type: ignore[misc]
        except Exception as error:
            answer = repr(error)
        if answer is None:
            return
        said = str(answer)
        await asyncio.sleep(0.2)
    raise AssertionError(f"after {within} s still: {said}")


async def patiently(read: Callable[[], Awaitable[T]], *, within: float = 30) -> T:
    """What `read` answers, once the database does."""
    deadline = time.monotonic() + within
    while True:
        try:
            return await read()
        except Unavailable:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def live_desk(folder: Path, *, calendar: Calendar = ALWAYS) -> AsyncIterator[LiveDesk]:
    """Every server, API and worker, a tenant with a team and a promise."""
    home = Home(folder)
    async with Desk(home, environment=os.environ) as desk:
        await desk.start_servers()
        environment = desk.environment()
        await asyncio.to_thread(migrations.upgrade, environment["MIGRATION_DATABASE_URL"])
        await register_attributes(
            await connect(environment["TEMPORAL_ADDRESS"], "default", patient=True)
        )
        database = Database(environment["DATABASE_URL"], pool_size=4, name="test")
        relay_database = Database(environment["RELAY_DATABASE_URL"], pool_size=2, name="test")
        tenant = new_id()
        slug = f"t-{tenant.hex[-12:]}"
        now = datetime.now(UTC)
        async with database.transaction(tenant) as work:
            await create_tenant(
                work,
                NewTenant(slug, "Test", rate_class="unlimited"),
                tenant_id=tenant,
                now=now,
            )
            team = await make_team(work, routing="round_robin")
            agent = await make_agent(work, "Ada", role="admin", teams=(team,))
            await make_policy(work, calendar=calendar)
            await work.execute(
                "update tenants set settings = settings || jsonb_build_object("
                "'default_team_id', cast(:team as text)) where id = :t",
                {"team": str(team), "t": tenant},
            )
            hashed = await hash_password(PASSWORD)
            await work.execute(
                "update users set password_hash = :h where tenant_id = :t and id = :i",
                {"h": hashed, "t": tenant, "i": agent},
            )
            intake = await create_token(
                work, name="feed", kind="intake", user_id=None, rate_class="unlimited", now=now
            )
            personal = await create_token(
                work, name="agent", kind="personal", user_id=agent, rate_class="unlimited", now=now
            )
        await desk.start_programs()
        await desk.wait_ready(f"{desk.url}/readyz")
        try:
            yield LiveDesk(
                desk, home, database, relay_database, tenant, slug,
                intake.secret, personal.secret, agent,
            )  # fmt: skip
        finally:
            await database.close()
            await relay_database.close()
