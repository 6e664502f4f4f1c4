"""A link that sets a password goes out by mail, however long the mail server is away."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.links import LinkActivities
    from domain.lifecycle import OUTBOUND, EffectResult, LinkRef
    from workflows import options


@workflow.defn
class LinkWorkflow:
    """One per link; it ends when the mail is out or the link is spent."""

    @workflow.run
    async def run(self, ref: LinkRef) -> str:
        result: EffectResult = await workflow.execute_activity_method(
            LinkActivities.mail_link,
            ref,
            task_queue=OUTBOUND,
            summary="The mail with the link",
            **options.DELIVERY,
        )
        return result.state
