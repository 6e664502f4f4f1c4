"""Working through a bulk job, a chunk at a time."""

from datetime import UTC, datetime

from temporalio import activity

from domain.lifecycle import BulkProgress, BulkRef
from services.bulk import BulkRunner


class BulkActivities:
    def __init__(self, runner: BulkRunner) -> None:
        self._runner = runner

    @activity.defn
    async def bulk_chunk(self, ref: BulkRef) -> BulkProgress:
        """How the job stands after its next chunk of tickets."""
        progress = await self._runner.chunk(
            ref.tenant_id, ref.job_id, now=datetime.now(UTC), alive=activity.heartbeat
        )
        activity.heartbeat(progress.left)
        return BulkProgress(state=progress.state, left=progress.left)
