"""Histories of tickets and jobs that lived before this code replay under it.

`HOLDFAST_RECORD=1` (the task `make record`) records each scenario that has no history yet on a real
server. A history is never recorded anew: it is what tickets that are open today have lived through.
"""

import asyncio
import contextlib
import importlib
import json
import os
import pkgutil
import re
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowHistory, WorkflowQueryFailedError
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError
from temporalio.worker import Replayer

import workflows
from domain.tickets import NoteAdded
from tests.conftest import MakeTenant
from tests.making import happens, make_agent, make_ticket, words
from tests.workflows.conftest import MakeBench
from tests.workflows.scenarios import JOBS, SCENARIOS
from workflows.sandbox import strict_sandbox
from workflows.tickets import TicketWorkflow

pytestmark = pytest.mark.temporal

HISTORIES = Path(__file__).parent.parent / "histories"
STORED = sorted(HISTORIES.glob("*.json"))


def defined() -> list[type]:
    """Every workflow there is, found by itself."""
    found: list[type] = []
    for module in pkgutil.iter_modules(workflows.__path__, "workflows."):
        for value in vars(importlib.import_module(module.name)).values():
            own = isinstance(value, type) and value.__module__ == module.name
            if own and hasattr(value, "__temporal_workflow_definition"):
                found.append(value)
    return found


def replayer() -> Replayer:
    return Replayer(
        workflows=defined(),
        data_converter=pydantic_data_converter,
        workflow_runner=strict_sandbox(),
    )


@pytest.mark.parametrize("stored", STORED, ids=lambda path: path.stem)
async def test_a_stored_history_replays(stored: Path) -> None:
    await replayer().replay_workflow(
        WorkflowHistory.from_json(f"ticket/t/{stored.stem}", stored.read_text())
    )


def test_there_are_histories_to_replay() -> None:
    assert {path.stem for path in STORED} >= {*SCENARIOS, *JOBS}


def test_every_workflow_has_a_history_to_replay() -> None:
    lived = set()
    for path in STORED:
        begun = json.loads(path.read_text())["events"][0]
        lived.add(begun["workflowExecutionStartedEventAttributes"]["workflowType"]["name"])
    assert lived >= {workflow.__name__ for workflow in defined()}
    assert len(defined()) >= 4


async def test_a_changed_loop_is_noticed() -> None:
    """A history with its timer taken out is another loop's: the replay must fail."""
    history = json.loads((HISTORIES / "moved-deadlines.json").read_text())
    for event in history["events"]:
        if event["eventType"] == "EVENT_TYPE_TIMER_STARTED":
            event["eventType"] = "EVENT_TYPE_MARKER_RECORDED"
            attributes = event.pop("timerStartedEventAttributes")
            event["markerRecordedEventAttributes"] = {
                "markerName": "other",
                "workflowTaskCompletedEventId": attributes["workflowTaskCompletedEventId"],
            }
            break
    result = await replayer().replay_workflow(
        WorkflowHistory.from_json("ticket/t/1", json.dumps(history)), raise_on_replay_failure=False
    )
    assert result.replay_failure is not None


@pytest.mark.parametrize("name", [*SCENARIOS, *JOBS])
async def test_a_life_lived_now_replays(
    name: str, dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        tenant = await make_tenant()
        if name in JOBS:
            handle = b.client.get_workflow_handle(await JOBS[name](b, tenant))
        else:
            handle = b.handle(tenant, await SCENARIOS[name](b, tenant))
        history = await handle.fetch_history()
    await replayer().replay_workflow(history)
    text = history.to_json()
    # Histories are read by operators: no subject, no address, no words.
    for secret in ("kim@example.com", "It does not work", "Please help", "Words.", "desk.example"):
        assert secret not in text
    target = HISTORIES / f"{name}.json"
    if os.environ.get("HOLDFAST_RECORD") and not target.exists():
        # Where and on which machine it was recorded says nothing about the ticket.
        text = re.sub(r'("stackTrace": )"(?:[^"\\]|\\.)*"', r'\1""', text)
        target.write_text(re.sub(r'("identity": )"[^"]*"', r'\1"recorder"', text))


async def test_a_ticket_that_is_asked_while_it_looks_replays(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    """Somebody has its page open in the Temporal UI while news and verdicts come in.

    A query beside a local activity changes the order in which Temporal's core hands out answers,
    and with it, once, what the ticket did: another order than that of its history.
    """
    async with bench(dev_server) as b:
        tenant = await make_tenant()
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
        histories = []
        for _ in range(15):
            ticket = await make_ticket(b.database, b.tickets, tenant)
            handle = b.handle(tenant, ticket)

            async def ask() -> None:
                while True:
                    with contextlib.suppress(RPCError, WorkflowQueryFailedError):
                        await handle.query(TicketWorkflow.current)  # noqa: B023

            asking = [asyncio.create_task(ask()) for _ in range(3)]
            await b.wake(tenant, ticket)
            for _ in range(3):
                noted = NoteAdded(words())
                now = await happens(b.database, b.tickets, tenant, ticket.number, noted, by=agent)
                await b.wake(tenant, now)
            await b.settled(tenant, now)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            histories.append(await handle.fetch_history())
    for history in histories:
        await replayer().replay_workflow(history)
