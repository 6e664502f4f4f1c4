"""A call that is about no ticket goes out, however long its endpoint is away."""

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.deliveries import DeliveryActivities
    from domain.lifecycle import (
        OUTBOUND,
        DeliveryRef,
        Effect,
        EffectInput,
        EffectResult,
        TicketRef,
    )
    from workflows import options


@workflow.defn
class DeliveryWorkflow:
    """One per delivery that no ticket carries; it ends when the call is out or given up."""

    @workflow.run
    async def run(self, ref: DeliveryRef) -> str:
        given = EffectInput(
            ticket=TicketRef(tenant_id=ref.tenant_id, slug=ref.slug, number=0),
            effect=Effect(kind="webhook", id=str(ref.delivery_id)),
            run_id=workflow.info().run_id,
        )
        try:
            result: EffectResult = await workflow.execute_activity_method(
                DeliveryActivities.deliver,
                given,
                task_queue=OUTBOUND,
                summary="A webhook's call",
                **options.DELIVERY,
            )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            # Given up after days. The row still says so; reconciling tries once more.
            workflow.logger.warning("call given up")
            return "queued"
        return result.state
