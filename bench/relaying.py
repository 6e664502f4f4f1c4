"""How fast the relay tells what was committed, beside bare calls that signal with start."""

import asyncio
import time
import uuid

from redis.asyncio import Redis
from temporalio.client import Client

from adapters.search import SearchIndex
from adapters.temporal import TicketWorkflows
from bench.figures import Figure, median
from bench.load import Plan, press
from bench.place import Place
from domain.lifecycle import Change
from services import relay
from services.destinations import IndexDestination, LiveDestination, WorkflowsDestination

AT_ONCE = 12  # as many calls as the relay has under way
ENOUGH = 5 * relay.BATCH


async def run(place: Place) -> list[Figure]:
    """Batches of facts and as many bare calls in turn; nobody polls either task queue."""
    await place.settled()
    await place.live.desk.take_down("worker")
    creation = Plan((place.creation(),), 16, rounds=1, seconds=1.0, warm_up_seconds=0)
    made = 0
    while made < ENOUGH:
        made += (await press(creation))["create"].accepted
    environment, client = place.live.desk.environment(), await place.client()
    index = SearchIndex(environment["TYPESENSE_URL"], environment["TYPESENSE_API_KEY"])
    redis = Redis.from_url(environment["REDIS_URL"])
    database = place.live.relay_database
    try:
        workflows = relay.Relay(
            database, WorkflowsDestination(database, TicketWorkflows(client), at_once=AT_ONCE)
        )
        others = {
            "index": relay.Relay(database, IndexDestination(place.live.database, index)),
            "live": relay.Relay(database, LiveDestination(redis)),
        }
        told, called = [], []
        for _ in range(ENOUGH // relay.BATCH):
            called.append(await _call(client, relay.BATCH))
            told.append(await _drain(workflows))
        bare = median(called)
        figures = [
            Figure(
                "relay.workflows",
                median(told) / bare,
                detail=f"{median(told):.0f} facts/s of {bare:.0f} bare signal-with-starts/s",
            )
        ]
        for name, one in others.items():
            rates = [await _drain(one) for _ in range(ENOUGH // relay.BATCH)]
            detail = f"{median(rates):.0f} facts/s, of bare signal-with-starts"
            figures.append(Figure(f"relay.{name}", median(rates) / bare, detail=detail))
    finally:
        await redis.aclose()
        await index.close()
    return figures


async def _drain(one: relay.Relay) -> float:
    """Facts a second of one batch."""
    began = time.perf_counter()
    told = await one.drain()
    assert told == relay.BATCH, f"only {told} facts were waiting"
    return told / (time.perf_counter() - began)


async def _call(client: Client, calls: int) -> float:
    """Bare calls a second, as many at once as the relay has."""
    gate, run_id = asyncio.Semaphore(AT_ONCE), uuid.uuid4().hex

    async def call(i: int) -> None:
        async with gate:
            await client.start_workflow(
                "Bare",
                id=f"bare/{run_id}/{i}",
                task_queue="nobody",
                start_signal="changed",
                start_signal_args=[Change(kind="opened", seq=1)],
            )

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for i in range(calls):
            group.create_task(call(i))
    return calls / (time.perf_counter() - began)


__all__ = ["run"]
