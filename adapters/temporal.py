"""Temporal as the rest of Holdfast sees it: start and wake tickets, ask one what it waits for."""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RetryConfig, RPCError, RPCStatusCode

from domain.errors import Unavailable
from domain.lifecycle import (
    BATCH,
    CREATED,
    MODELS,
    TICKETS,
    Attributes,
    Change,
    JobRef,
    TicketInput,
    TicketRef,
)
from domain.starting import StartRefused, StartUnreachable

if TYPE_CHECKING:
    from settings import Settings

# What operators search by. Their types are fixed once they are registered.
SEARCH_ATTRIBUTES: Mapping[str, str] = {
    "HoldfastTenant": "Keyword",
    "TicketNumber": "Int",
    "TicketStatus": "Keyword",
    "TicketPriority": "Keyword",
    "TicketTeam": "Keyword",
    "NextDeadline": "Datetime",
}

_DOWN = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
)


# Tried again, the answer is the same.
_FINAL = (RPCStatusCode.INVALID_ARGUMENT, RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.NOT_FOUND)


class TemporalDown(Exception):
    """The server does not answer; what was asked may or may not have happened."""


async def connect(
    address: str,
    namespace: str,
    *,
    patient: bool,
    lazy: bool = False,
    tls: bool = False,
    api_key: str | None = None,
) -> Client:
    """A client. A patient one waits out a restart of the server, the other soon says no."""
    quick = RetryConfig(max_elapsed_time_millis=500, max_retries=2)
    return await Client.connect(
        address,
        namespace=namespace,
        data_converter=pydantic_data_converter,
        tls=tls,
        api_key=api_key,
        retry_config=None if patient else quick,
        lazy=lazy,
    )


async def connect_from(settings: "Settings", *, patient: bool, lazy: bool = False) -> Client:
    """A client as the settings say: address, namespace, TLS and key. As `connect` otherwise.

    Every program connects with this, so that none forgets a part of it.
    """
    key = settings.temporal_api_key
    return await connect(
        settings.temporal_address,
        settings.temporal_namespace,
        patient=patient,
        lazy=lazy,
        tls=settings.temporal_tls,
        api_key=(key.get_secret_value() or None) if key else None,
    )


async def missing_attributes(client: Client) -> list[str]:
    """Those of SEARCH_ATTRIBUTES that the namespace does not know."""
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace)
    )
    return sorted(set(SEARCH_ATTRIBUTES) - set(answer.custom_attributes))


async def register_attributes(client: Client) -> list[str]:
    """Registers what is missing, and says what that was."""
    missing = await missing_attributes(client)
    if missing:
        await add_attributes(client, missing)
    return missing


async def add_attributes(client: Client, names: Iterable[str]) -> None:
    types = {
        "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
        "Int": IndexedValueType.INDEXED_VALUE_TYPE_INT,
        "Datetime": IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
    }
    await client.operator_service.add_search_attributes(
        AddSearchAttributesRequest(
            namespace=client.namespace,
            search_attributes={name: types[SEARCH_ATTRIBUTES[name]] for name in names},
        )
    )


def typed_attributes(attributes: Attributes) -> TypedSearchAttributes:
    """The attributes as a workflow is started with; what is None is left out."""
    given: list[tuple[SearchAttributeKey[Any], object | None]] = [
        (SearchAttributeKey.for_keyword("HoldfastTenant"), attributes.tenant),
        (SearchAttributeKey.for_int("TicketNumber"), attributes.number),
        (SearchAttributeKey.for_keyword("TicketStatus"), attributes.status),
        (SearchAttributeKey.for_keyword("TicketPriority"), attributes.priority),
        (SearchAttributeKey.for_keyword("TicketTeam"), attributes.team),
        (SearchAttributeKey.for_datetime("NextDeadline"), attributes.deadline),
    ]
    return TypedSearchAttributes(
        [SearchAttributePair(key, value) for key, value in given if value is not None]
    )


# The workflow of each kind of job, its queue, and how operators see it called.
JOBS = {
    "bulk": ("BulkWorkflow", BATCH, "Bulk change"),
    "link": ("LinkWorkflow", BATCH, "A link to set a password"),
    "delivery": ("DeliveryWorkflow", BATCH, "A webhook's call"),
    "simulation": ("SimulationWorkflow", BATCH, "A draft tried on the past"),
    "retrain": ("RetrainWorkflow", MODELS, "A model learns"),
    "backtest": ("BacktestWorkflow", MODELS, "A model is asked about past tickets"),
}


class TicketWorkflows:
    """Wakes tickets' workflows and starts jobs'; each is started where it is not there."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def wake(
        self,
        ticket: TicketRef,
        change: Change,
        *,
        attributes: Attributes | None,
    ) -> None:
        """The ticket's workflow runs and has been told. Raises TemporalDown when nobody answers.

        A new ticket's is only started: its first step is to look, and one that runs has looked.
        """
        is_new = change.kind == CREATED
        unspecified = WorkflowIDConflictPolicy.UNSPECIFIED
        try:
            await self._client.start_workflow(
                "TicketWorkflow",
                TicketInput(ticket=ticket, trace=change.trace if is_new else {}),
                id=ticket.workflow_id,
                task_queue=TICKETS,
                # A reopened ticket gets a new run under its old name.
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING if is_new else unspecified,
                start_signal=None if is_new else "changed",
                start_signal_args=[] if is_new else [change],
                search_attributes=typed_attributes(attributes) if attributes else None,
                static_summary=f"Ticket {ticket.number}",
                rpc_timeout=timedelta(seconds=10),
            )
        except RPCError as error:
            if error.status in _DOWN:
                raise TemporalDown(error.status.name) from error
            raise

    async def start(self, job: JobRef) -> None:
        """The job's workflow runs; one that runs already is left alone. Raises TemporalDown."""
        workflow, queue, summary = JOBS[job.kind]
        try:
            await self._client.start_workflow(
                workflow,
                job,
                id=job.workflow_id,
                task_queue=queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
                static_summary=f"{summary}, {job.slug}",
                rpc_timeout=timedelta(seconds=10),
            )
        except RPCError as error:
            if error.status in _DOWN:
                raise TemporalDown(error.status.name) from error
            raise

    async def running(self) -> set[str]:
        """The ids of all tickets' workflows that run now, as Temporal's index knows them."""
        query = "WorkflowType = 'TicketWorkflow' AND ExecutionStatus = 'Running'"
        # A server that is busy with ten thousand of them takes its time for the first page.
        patience = timedelta(minutes=2)
        found = self._client.list_workflows(query, page_size=1000, rpc_timeout=patience)
        return {one.id async for one in found}


class WorkflowStarter:
    """Starts what steps ask for: workflows of this desk or of anybody's worker."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def start(self, type: str, given: Mapping[str, object], *, id: str, queue: str) -> None:
        """It runs, or has run under that id already. Raises StartRefused, StartUnreachable."""
        try:
            await self._client.start_workflow(
                type,
                given,
                id=id,
                task_queue=queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                rpc_timeout=timedelta(seconds=10),
            )
        except WorkflowAlreadyStartedError:
            return  # by an attempt whose answer was lost
        except RPCError as error:
            if error.status in _FINAL:
                raise StartRefused(f"Temporal refused it: {error.status.name}.") from error
            raise StartUnreachable(f"Temporal did not take it: {error.status.name}.") from error


class Facade:
    """What the API asks of Temporal, with an answer within two seconds or none.

    A client that fails is not asked again for two seconds: requests do not queue behind a server
    that is away.
    """

    def __init__(self, settings: "Settings") -> None:
        self._settings = settings
        self._client: Client | None = None
        self._closed_until = 0.0

    async def current(self, slug: str, number: int) -> dict[str, object] | None:
        """What one ticket's workflow waits for, from the workflow itself."""
        return await self._ask(self._query(f"ticket/{slug}/{number}"))

    async def _query(self, workflow_id: str) -> dict[str, object] | None:
        client = await self._connected()
        try:
            answer: dict[str, object] = await client.get_workflow_handle(workflow_id).query(
                "current", rpc_timeout=timedelta(seconds=2), result_type=dict
            )
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise
        return answer

    async def healthy(self) -> bool:
        return bool(await self._ask(self._check(), within=1.0))

    async def _check(self) -> dict[str, object] | None:
        client = await self._connected()
        await client.service_client.check_health(timeout=timedelta(seconds=1))
        return {"healthy": True}

    def link(self, slug: str, number: int) -> str | None:
        """Where an operator sees the ticket's workflow."""
        ui_url = self._settings.temporal_ui_url
        if ui_url is None:
            return None
        return (
            f"{ui_url.rstrip('/')}/namespaces/{self._settings.temporal_namespace}/workflows/"
            f"ticket%2F{slug}%2F{number}"
        )

    async def _connected(self) -> Client:
        if self._client is None:
            self._client = await connect_from(self._settings, patient=False, lazy=True)
        return self._client

    async def _ask(
        self, question: Coroutine[object, object, dict[str, object] | None], *, within: float = 2.0
    ) -> dict[str, object] | None:
        if time.monotonic() < self._closed_until:
            question.close()
            return None
        try:
            return await asyncio.wait_for(question, within)
        except (RPCError, TimeoutError, RuntimeError, Unavailable):
            self._closed_until = time.monotonic() + 2.0
            return None
