"""Models that learn from a desk's people: one training, one backtest, and all that is due."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.learning import LearningActivities
    from activities.maintenance import MaintenanceActivities
    from domain.lifecycle import TRAINING, BacktestRef, LearningResult, TrainingRef
    from workflows import options


@workflow.defn
class RetrainWorkflow:
    """Teaches one question of a desk anew. The model's row steers it: cancelled there, it ends.

    What answers goes on answering until a better one is committed in its place.
    """

    @workflow.init
    def __init__(self, ref: TrainingRef) -> None:
        self._state = "queued"

    @workflow.run
    async def run(self, ref: TrainingRef) -> str:
        self._show(ref, "training")
        try:
            result = await workflow.execute_activity_method(
                LearningActivities.retrain,
                ref,
                task_queue=TRAINING,
                summary="Teach and compare",
                **options.LEARNING,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            result = await workflow.execute_activity_method(
                LearningActivities.give_up_retrain, ref, summary="Give up", **options.CHUNK
            )
        self._show(ref, result.state)
        return result.state

    @workflow.query
    def current(self) -> LearningResult:
        """Where it stands; how far a training is, its row says."""
        return LearningResult(state=self._state)

    def _show(self, ref: TrainingRef, state: str) -> None:
        self._state = state
        workflow.set_current_details(f"Model {ref.job_id} of **{ref.slug}**: {state}.")


@workflow.defn
class BacktestWorkflow:
    """Asks one model about past tickets; the backtest's row has the answer."""

    @workflow.run
    async def run(self, ref: BacktestRef) -> str:
        try:
            result = await workflow.execute_activity_method(
                LearningActivities.backtest,
                ref,
                task_queue=TRAINING,
                summary="Ask about the past",
                **options.LEARNING,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            result = await workflow.execute_activity_method(
                LearningActivities.give_up_backtest, ref, summary="Give up", **options.CHUNK
            )
        return result.state


@workflow.defn
class RetrainDueWorkflow:
    """Asked by the schedule: every desk whose people have judged enough since trains anew."""

    @workflow.run
    async def run(self) -> int:
        return await workflow.execute_activity_method(
            MaintenanceActivities.train_where_due, summary="Whose turn it is", **options.CHUNK
        )
