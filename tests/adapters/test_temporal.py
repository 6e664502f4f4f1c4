"""Every program reaches Temporal the way the settings say: namespace, key and TLS included."""

import ast
import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from adapters.temporal import JOBS, Facade, connect_from
from cli import upkeep
from cli.output import Mistake
from domain.lifecycle import job_ref
from settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
TLS_HANDSHAKE = 0x16
Reach = Callable[[Settings], Awaitable[object]]


def settings(address: str) -> Settings:
    return Settings(
        database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"),
        temporal_address=address,
        temporal_namespace="acme.a1b2c",
        temporal_tls=True,
        temporal_api_key=SecretStr("key-of-acme"),
        secret_key=SecretStr("s" * 40),
    )


@pytest.fixture
async def listener() -> AsyncIterator[tuple[str, list[int]]]:
    """An address, and the first byte of each connection that was made to it."""
    first: list[int] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            first.extend(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", first


async def _facade(settings: Settings) -> object:
    return await Facade(settings).healthy()


async def _client(settings: Settings) -> object:
    with contextlib.suppress(RuntimeError):
        await connect_from(settings, patient=False)
    return None


async def _command(settings: Settings) -> object:
    with contextlib.suppress(Mistake):
        await upkeep.register(settings)
    return None


@pytest.mark.parametrize("reach", [_client, _facade, _command])
async def test_tls_is_spoken_where_it_is_asked_for(
    listener: tuple[str, list[int]], reach: Reach
) -> None:
    address, first = listener
    await reach(settings(address))
    assert first
    assert set(first) == {TLS_HANDSHAKE}


async def test_namespace_and_key_are_those_of_the_settings() -> None:
    client = await connect_from(settings("127.0.0.1:1"), patient=False, lazy=True)
    assert client.namespace == "acme.a1b2c"
    assert client.service_client.config.api_key == "key-of-acme"
    assert client.service_client.config.tls is True


async def test_an_empty_key_is_none() -> None:
    given = settings("127.0.0.1:1").model_copy(
        update={"temporal_api_key": SecretStr(""), "temporal_tls": False}
    )
    client = await connect_from(given, patient=False, lazy=True)
    assert client.service_client.config.api_key is None


def test_no_program_connects_in_another_way() -> None:
    programs = [ROOT / "worker.py", *(ROOT / "cli").rglob("*.py"), *(ROOT / "api").rglob("*.py")]
    for path in programs:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "adapters.temporal":
                assert "connect" not in {name.name for name in node.names}, path
            if isinstance(node, ast.ImportFrom) and node.module == "temporalio.client":
                for name in node.names:
                    # Named for types and for queries, never to connect with.
                    assert f"{name.name}.connect(" not in path.read_text("utf-8"), path


@pytest.mark.parametrize("kind", ["bulk", "link", "delivery", "simulation", "retrain", "backtest"])
def test_a_job_is_named_by_its_kind_and_row(kind: str) -> None:
    tenant, row = uuid.uuid4(), uuid.uuid4()
    job = job_ref(kind, tenant, "acme", row)
    assert job is not None
    assert job.workflow_id == f"{kind}/acme/{row}"
    assert kind in JOBS
    assert job_ref("replied", tenant, "acme", row) is None
