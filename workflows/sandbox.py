"""How workflows run: sandboxed where non-determinism has to show at once, and always in order."""

from typing import Any

from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import Info, SandboxImportNotificationPolicy


def strict_sandbox() -> WorkflowRunner:
    """The sandbox that raises on an import nobody meant to pass through."""
    policy = (
        SandboxImportNotificationPolicy.WARN_ON_DYNAMIC_IMPORT
        | SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH
    )
    return _InOrder(
        SandboxedWorkflowRunner(
            restrictions=SandboxRestrictions.default.with_import_notification_policy(policy)
        )
    )


def no_sandbox() -> WorkflowRunner:
    """The workflow as it stands, which costs less."""
    return _InOrder(UnsandboxedWorkflowRunner())


class _InOrder(WorkflowRunner):
    """Asks again for a task in which a local activity's answer came together with other news.

    A query that arrives while a local activity runs makes Temporal's core keep the answer back
    until the next task, where it meets that task's own news. The history has it before them, and
    so has every replay. A failed task is replayed at once, and the workflow meets it all in the
    order in which it will always be replayed (docs/decisions/0021).
    """

    def __init__(self, inner: WorkflowRunner) -> None:
        self._inner = inner

    def prepare_workflow(self, defn: Any) -> None:
        self._inner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _InstanceInOrder(self._inner.create_instance(det))

    def set_worker_level_failure_exception_types(self, types: Any) -> None:
        self._inner.set_worker_level_failure_exception_types(types)


class _InstanceInOrder(WorkflowInstance):
    def __init__(self, inner: WorkflowInstance) -> None:
        self._inner = inner

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        if not act.is_replaying and len({_is_local_answer(job) for job in act.jobs}) == 2:
            completion = WorkflowActivationCompletion(run_id=act.run_id)
            completion.failed.failure.message = (
                "A local activity's answer came late, with other news: asked again, to have them"
                " in the order of the history."
            )
            return completion
        return self._inner.activate(act)

    def get_serialization_context(self, command_info: Any) -> Any:
        return self._inner.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._inner.get_external_store_context(command_info)

    def get_info(self) -> Info:
        return self._inner.get_info()

    def get_thread_id(self) -> int | None:
        return self._inner.get_thread_id()


def _is_local_answer(job: WorkflowActivationJob) -> bool:
    return job.HasField("resolve_activity") and job.resolve_activity.is_local
