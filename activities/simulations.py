"""Living through the past under a draft, a chunk at a time."""

import asyncio
import contextlib
from datetime import UTC, datetime

from temporalio import activity

from domain.errors import Invalid
from domain.lifecycle import BulkProgress, SimulationRef
from services.simulations import SimulationRunner

BEAT = 5.0


class SimulationActivities:
    def __init__(self, runner: SimulationRunner) -> None:
        self._runner = runner

    @activity.defn
    async def simulation_chunk(self, ref: SimulationRef) -> BulkProgress:
        """How the simulation stands after its next chunk of tickets."""
        beating = asyncio.create_task(self._beat())
        try:
            progress = await self._runner.chunk(
                ref.tenant_id, ref.simulation_id, now=datetime.now(UTC)
            )
        except Invalid as refused:  # what it was about has been taken away meanwhile
            await self._runner.fail(ref.tenant_id, ref.simulation_id, why=refused.detail)
            return BulkProgress(state="failed", left=0)
        finally:
            beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beating
        return BulkProgress(state=progress.state, left=progress.left)

    async def _beat(self) -> None:
        while True:
            activity.heartbeat()
            await asyncio.sleep(BEAT)
