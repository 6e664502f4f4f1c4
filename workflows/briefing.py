"""A workflow that steps may start, and what your own may look like: ids in, keys of its own."""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.briefing import BriefingActivities
    from domain.lifecycle import StartInput
    from workflows import options


@workflow.defn
class BriefingWorkflow:
    """One per step that asks for it; it ends when the note is in the ticket."""

    @workflow.run
    async def run(self, asked: StartInput) -> str:
        return await workflow.execute_activity_method(
            BriefingActivities.brief, asked, summary="The note", **options.SHORT
        )
