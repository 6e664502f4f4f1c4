"""A simulation as a workflow: to its end, and again from where it was paused."""

import uuid
from datetime import UTC, datetime

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from activities.simulations import SimulationActivities
from adapters.temporal import TicketWorkflows
from domain.lifecycle import BATCH, SimulationRef
from domain.permissions import Principal, Role, grants_of
from models.session import Database
from services import simulations
from services.simulations import SimulationRunner
from services.tickets import Origin
from tests.services.test_simulations import answered_after, queued
from workflows.sandbox import strict_sandbox
from workflows.simulations import SimulationWorkflow

pytestmark = pytest.mark.temporal


async def test_a_simulation_runs_to_its_end_and_goes_on_where_it_was_paused(
    dev_server: Client, database: Database, tenant: uuid.UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "CHUNK", 2)
    caller = Principal(
        tenant_id=tenant, tenant_slug="t", kind="system", grants=grants_of(Role.SUPERVISOR)
    )
    await answered_after(database, tenant, [10, 20, 70, 80, 90])
    row = await queued(database, caller, {})
    ref = SimulationRef(tenant_id=tenant, slug="t", simulation_id=row["id"])
    now = datetime.now(UTC)

    async def steer(wish: str) -> None:
        async with database.transaction(tenant) as work:
            await simulations.steer(work, row["id"], wish, caller=caller, origin=Origin(), now=now)

    async def ended() -> str:
        await TicketWorkflows(dev_server).start(ref)
        handle = dev_server.get_workflow_handle(ref.workflow_id, result_type=str)
        return str(await handle.result())

    activities = SimulationActivities(SimulationRunner(database))
    async with Worker(
        dev_server,
        task_queue=BATCH,
        workflows=[SimulationWorkflow],
        activities=[activities.simulation_chunk],
        workflow_runner=strict_sandbox(),
    ):
        await steer("pause")
        assert await ended() == "paused"
        await steer("resume")
        assert await ended() == "finished"
    async with database.transaction(tenant) as work:
        found = await simulations.simulation(work, row["id"])
    assert (found["state"], found["done"], found["tally"]["tickets"]) == ("finished", 5, 5)
    assert found["tally"]["metrics"] == {"first_reply": [2, 3, 2, 3]}
