"""A draft tried on the past: chunk after chunk, until nothing is left or somebody stopped it."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.simulations import SimulationActivities
    from domain.lifecycle import BulkProgress, SimulationRef
    from workflows import options


@workflow.defn
class SimulationWorkflow:
    """Lives through tickets under a draft; what is tried, and how far it is, is in its row.

    The row steers it: paused or cancelled there, the workflow ends after its chunk; resumed, it is
    started again and goes on from the row's cursor.
    """

    @workflow.init
    def __init__(self, ref: SimulationRef) -> None:
        self._progress = BulkProgress(state="queued", left=-1)

    @workflow.run
    async def run(self, ref: SimulationRef) -> str:
        while True:
            self._progress = await workflow.execute_activity_method(
                SimulationActivities.simulation_chunk, ref, summary="Next tickets", **options.CHUNK
            )
            workflow.set_current_details(
                f"Simulation {ref.simulation_id}: {self._progress.state},"
                f" {self._progress.left} tickets left."
            )
            if self._progress.state != "running":
                return self._progress.state
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(ref)

    @workflow.query
    def current(self) -> dict[str, object]:
        """How far it is."""
        return self._progress.model_dump()
