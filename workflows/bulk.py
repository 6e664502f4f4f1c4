"""A bulk job: chunk after chunk, until nothing is left or somebody cancelled it."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.bulk import BulkActivities
    from domain.lifecycle import BulkProgress, BulkRef
    from workflows import options


@workflow.defn
class BulkWorkflow:
    """Changes up to a thousand tickets, or takes that back; which of the two is in the job's row.

    The job's state in Postgres steers it: cancelled there, the next chunk finds nothing to do.
    """

    @workflow.init
    def __init__(self, ref: BulkRef) -> None:
        self._progress = BulkProgress(state="queued", left=-1)

    @workflow.run
    async def run(self, ref: BulkRef) -> str:
        while True:
            self._progress = await workflow.execute_activity_method(
                BulkActivities.bulk_chunk, ref, summary="Next tickets", **options.CHUNK
            )
            workflow.set_current_details(
                f"Bulk job {ref.job_id}: {self._progress.state}, {self._progress.left} left."
            )
            if self._progress.state != "running":
                return self._progress.state

    @workflow.query
    def current(self) -> dict[str, object]:
        """How far the job is."""
        return self._progress.model_dump()
