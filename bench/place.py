"""Where benches run: a whole desk in a temporary home, and the bare endpoint beside it."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import psycopg
from temporalio.client import Client

from adapters.temporal import TicketWorkflows, connect
from bench import bare
from bench.load import Target
from tests.crash.desk import LiveDesk, live_desk, until

ROOT = Path(__file__).resolve().parent.parent
WORDS = "I ordered two lamps last week and only one arrived. Its box was open, too."


@dataclass(frozen=True)
class Place:
    """A desk, the port of the bare endpoint, and ways to look at what both did."""

    live: LiveDesk
    bare_port: int

    @property
    def port(self) -> int:
        return int(self.live.url.rpartition(":")[2])

    @property
    def superuser_url(self) -> str:
        url = self.live.desk.superuser_url
        assert url is not None, "benches run on the embedded Postgres"
        return url.rpartition("/")[0] + "/holdfast"

    async def client(self) -> Client:
        address = self.live.desk.environment()["TEMPORAL_ADDRESS"]
        return await connect(address, "default", patient=True)

    async def settled(self, *, within: float = 600) -> None:
        await self.live.settled(within=within)

    async def without_workflow(self) -> int:
        """How many open tickets have no running workflow."""
        running = await TicketWorkflows(await self.client()).running()
        async with self.live.database.transaction(self.live.tenant) as work:
            rows = await work.rows(
                "select number from tickets where tenant_id = :t and category not in"
                " ('closed', 'merged')",
                {"t": self.live.tenant},
            )
        return sum(f"ticket/{self.live.slug}/{row['number']}" not in running for row in rows)

    def nothing(self) -> Target:
        return Target("nothing", self.bare_port, "/nothing", body="{}")

    def bare(self) -> Target:
        """One INSERT in a transaction, asked for with the same words as a ticket."""
        body = {
            "subject": "Order @N@ has not arrived",
            "text": WORDS,
            "requester": {"email": "c@C@@example.com", "name": "Kim"},
        }
        return Target("bare", self.bare_port, "/bare", body=orjson.dumps(body).decode())

    def pooled(self) -> Target:
        """The same through SQLAlchemy and its pool."""
        return replace(self.bare(), name="pooled", path="/pooled")

    def autocommit(self) -> Target:
        """The INSERT by itself, one round trip."""
        return replace(self.bare(), name="autocommit", path="/autocommit")

    def analyze(self) -> None:
        """Plans as they are on a desk that has lived: fresh tables have no statistics yet."""
        with psycopg.connect(self.superuser_url, autocommit=True) as connection:
            connection.execute("analyze")

    def creation(self) -> Target:
        body = {
            "subject": "Order @N@ has not arrived",
            "text": WORDS,
            "requester": {"email": "c@C@@example.com", "name": "Kim"},
            "channel": "email",
        }
        return Target(
            "create",
            self.port,
            "/public/v1/tickets",
            headers={
                "Authorization": f"Bearer {self.live.intake_key}",
                "Idempotency-Key": "bench-@N@",
            },
            body=orjson.dumps(body).decode(),
            keep_numbers=True,
        )

    def by_agent(self, name: str, method: str, path: str, body: str, **options: object) -> Target:
        headers = {"Authorization": f"Bearer {self.live.agent_token}"}
        return Target(
            name, self.port, path, method=method, body=body, headers=headers, **options  # type: ignore[arg-type]
        )  # fmt: skip


@contextlib.asynccontextmanager
async def place() -> AsyncIterator[Place]:
    """Every server, the API and the worker, and the bare endpoint on the same Postgres."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        async with live_desk(Path(folder)) as live:
            environment = live.desk.environment()
            url = environment["MIGRATION_DATABASE_URL"]
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute(bare.SETUP)
            port = _free_port()
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "uvicorn", "--factory", "bench.bare:create_app",
                    "--host", "127.0.0.1", "--port", str(port), "--loop", "uvloop",
                    "--http", "httptools", "--no-access-log", "--log-level", "warning",
                ],
                cwd=ROOT,
                env={**os.environ, **environment},
            )  # fmt: skip
            try:
                await _answers(port)
                yield Place(live, port)
            finally:
                process.send_signal(signal.SIGTERM)
                await asyncio.to_thread(process.wait, 20)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def _answers(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return


__all__ = ["WORDS", "Place", "place", "until"]
