"""What tickets' workflows are measured against: one timer, and one local activity at its end."""

import asyncio
import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

QUEUE = "bare"


class Bell:
    """Remembers when it was rung, in seconds since the epoch."""

    def __init__(self) -> None:
        self.rung: list[float] = []

    @activity.defn(name="ring")
    async def ring(self) -> None:
        self.rung.append(time.time())


@workflow.defn(name="Bare")
class BareWorkflow:
    """Sleeps until a moment, rings once, ends."""

    @workflow.run
    async def run(self, until: datetime) -> None:
        await workflow.sleep(max(until - workflow.now(), timedelta(0)))
        await workflow.execute_local_activity("ring", start_to_close_timeout=timedelta(seconds=15))


@contextlib.asynccontextmanager
async def working(client: Client) -> AsyncIterator[Bell]:
    """A worker for bare workflows, with the numbers that Holdfast's own has."""
    bell = Bell()
    async with Worker(
        client,
        task_queue=QUEUE,
        workflows=[BareWorkflow],
        activities=[bell.ring],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=20_000,
        max_concurrent_workflow_tasks=100,
        max_concurrent_local_activities=18,
    ):
        yield bell


async def start(
    client: Client, count: int, until: datetime, *, at_once: int = 12, apart: float = 0.0
) -> None:
    """So many bare workflows, all of which wait for the same moment, begun `apart` in seconds."""
    gate, run_id, begun = asyncio.Semaphore(at_once), uuid.uuid4().hex, time.monotonic()

    async def one(i: int) -> None:
        await asyncio.sleep(begun + i * apart - time.monotonic())
        async with gate:
            await client.start_workflow(
                BareWorkflow.run, until, id=f"bare/{run_id}/{i}", task_queue=QUEUE
            )

    async with asyncio.TaskGroup() as group:
        for i in range(count):
            group.create_task(one(i))


__all__ = ["QUEUE", "BareWorkflow", "Bell", "start", "working"]
