"""Our own programs as the supervisor starts them."""

import asyncio

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.main import main

import worker
from settings import Settings
from stack.desk import api_and_worker


@pytest.mark.parametrize(
    ("environment", "seen"),
    [({}, "127.0.0.1"), ({"FORWARDED_ALLOW_IPS": "127.0.0.1,10.0.0.0/8"}, "203.0.113.9")],
    ids=["by default nobody", "a named proxy"],
)
async def test_whose_forwarded_addresses_the_api_believes(
    environment: dict[str, str], seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    api = api_and_worker({"HOLDFAST_API_PORT": "8080", **environment})[0]
    asked = main.make_context("uvicorn", [*api.arguments[3:]]).params
    clients: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        clients.append(scope["client"][0])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(
        app,
        proxy_headers=asked["proxy_headers"],
        forwarded_allow_ips=asked["forwarded_allow_ips"],
    )
    config.load()
    transport = httpx.ASGITransport(config.loaded_app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await client.get("/", headers={"X-Forwarded-For": "203.0.113.9"})
    assert clients == [seen]


async def test_a_worker_that_waits_for_temporal_ends_when_it_is_asked_to() -> None:
    settings = Settings(
        database_url="postgresql://nobody@127.0.0.1:1/none",
        relay_database_url="postgresql://nobody@127.0.0.1:1/none",
        temporal_address="127.0.0.1:1",
        secret_key="only for tests: " + "s" * 32,
    )
    stop = asyncio.Event()
    working = asyncio.create_task(worker.run(settings, ["tickets"], stop=stop))
    await asyncio.sleep(0.2)
    assert not working.done()
    stop.set()
    await asyncio.wait_for(working, 5)
