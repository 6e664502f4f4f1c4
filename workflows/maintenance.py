"""What runs on a schedule."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.maintenance import MaintenanceActivities
    from workflows import options


@workflow.defn
class ReconcileWorkflow:
    """Tells Temporal again of every open ticket whose run is missing or whose timer was lost."""

    @workflow.run
    async def run(self) -> int:
        told = await workflow.execute_activity_method(
            MaintenanceActivities.reconcile, **options.CHUNK
        )
        await workflow.execute_activity_method(MaintenanceActivities.purge, **options.CHUNK)
        return told
