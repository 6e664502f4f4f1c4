"""Temporal's own engines: one that skips time, one that is a real server."""

import asyncio
import contextlib
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.briefing import BriefingActivities
from activities.bulk import BulkActivities
from activities.deliveries import DeliveryActivities
from activities.learning import LearningActivities
from activities.links import LinkActivities
from activities.maintenance import MaintenanceActivities
from activities.simulations import SimulationActivities
from activities.tickets import TicketActivities
from activities.triage import TriageActivities
from adapters.classifier.kept import KeptModels, store_under, teach
from adapters.temporal import (
    SEARCH_ATTRIBUTES,
    TicketWorkflows,
    WorkflowStarter,
    add_attributes,
)
from adapters.webhooks import WebhookCaller
from domain.lifecycle import (
    BATCH,
    MODELS,
    OUTBOUND,
    TICKETS,
    TRAINING,
    Attributes,
    Change,
    TicketRef,
    attributes_of,
)
from domain.mail import OutgoingMail
from domain.tickets import Ticket
from domain.triage import Guess, Verdict
from models.session import Database
from services.bulk import BulkRunner
from services.desks import Desks
from services.files import files_under
from services.passwords import PasswordLinks
from services.simulations import SimulationRunner
from services.tickets import Tickets
from services.webhooks import WebhookSecrets
from tests.conftest import Urls
from workflows.briefing import BriefingWorkflow
from workflows.bulk import BulkWorkflow
from workflows.deliveries import DeliveryWorkflow
from workflows.learning import BacktestWorkflow, RetrainDueWorkflow, RetrainWorkflow
from workflows.links import LinkWorkflow
from workflows.maintenance import ReconcileWorkflow
from workflows.sandbox import strict_sandbox
from workflows.simulations import SimulationWorkflow
from workflows.tickets import TicketWorkflow


def binary(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    assert found, f"{name} is not installed"
    return found


@pytest.fixture
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A server whose clock jumps to the next timer while nothing else is to do.

    Each test has its own: what one leaves undone would hold up the clock of all that follow.
    """
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server"),
        data_converter=pydantic_data_converter,
    ) as environment:
        await add_attributes(environment.client, SEARCH_ATTRIBUTES)
        yield environment


@pytest.fixture(scope="session")
async def dev_server() -> AsyncIterator[Client]:
    """A real server in memory."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=binary("temporal"),
        data_converter=pydantic_data_converter,
        dev_server_extra_args=[
            f"--search-attribute={name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()
        ],
        dev_server_log_level="error",
    ) as environment:
        yield environment.client


@dataclass
class FakeMail:
    """Keeps what was sent; fails as told."""

    sent: list[OutgoingMail] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)

    async def send(self, mail: OutgoingMail) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.sent.append(mail)


@dataclass
class FakeClassifier:
    """Says what it was told to say, after waiting for `gate` where one is set."""

    topic: str = "billing"
    calls: int = 0
    errors: list[Exception] = field(default_factory=list)

    def classify_many(self, messages: Sequence[tuple[str, str]]) -> list[Verdict]:
        return [self.classify(*message) for message in messages]

    def classify(self, subject: str, body: str) -> Verdict:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return Verdict(
            topic=Guess(label=self.topic, probability=0.9, abstained=False, top=()),
            priority=Guess(label="high", probability=0.9, abstained=False, top=()),
            sentiment=Guess(label="neutral", probability=0.9, abstained=False, top=()),
            model_version="test-1",
        )


@dataclass
class Bench:
    """Tickets with a worker behind them."""

    client: Client
    database: Database
    tickets: Tickets
    mail: FakeMail
    classifier: FakeClassifier
    links: PasswordLinks
    kept: KeptModels

    async def wake(self, tenant: uuid.UUID, ticket: Ticket, kind: str = "test") -> None:
        """What the relay does after each commit."""
        attributes = attributes_of(f"t-{tenant.hex[-12:]}", ticket)
        await self._tell(self.ref(tenant, ticket), Change(kind=kind, seq=ticket.seq), attributes)

    async def _tell(self, ref: TicketRef, change: Change, attributes: Attributes | None) -> None:
        """As the relay, which keeps a fact that was refused and brings it again.

        The engine that skips time refuses a signal in the moment in which the workflow goes over
        to a fresh history.
        """
        async with asyncio.timeout(20):
            while True:
                try:
                    await TicketWorkflows(self.client).wake(ref, change, attributes=attributes)
                    return
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        raise
                await asyncio.sleep(0.02)

    @staticmethod
    def ref(tenant: uuid.UUID, ticket: Ticket) -> TicketRef:
        return TicketRef(tenant_id=tenant, slug=f"t-{tenant.hex[-12:]}", number=ticket.number)

    def handle(self, tenant: uuid.UUID, ticket: Ticket) -> WorkflowHandle[TicketWorkflow, None]:
        return self.client.get_workflow_handle_for(
            TicketWorkflow.run, self.ref(tenant, ticket).workflow_id
        )

    async def seen(
        self, tenant: uuid.UUID, ticket: Ticket, *, seq: int | None = None
    ) -> dict[str, object]:
        """The workflow's answer once it has seen event `seq` (the ticket's last, if not given).

        It is asked when it does nothing: a question in the middle of a task adds events.
        """
        wanted = ticket.seq if seq is None else seq
        async with asyncio.timeout(20):
            while True:
                if await self._is_in_a_task(tenant, ticket):
                    await asyncio.sleep(0.02)
                    continue
                answer = await self.current(tenant, ticket)
                if int(str(answer["seq"])) >= wanted and not answer["effects"]:
                    return answer
                await asyncio.sleep(0.05)

    async def current(self, tenant: uuid.UUID, ticket: Ticket) -> dict[str, object]:
        """The workflow's answer.

        The engine that skips time loses a question in the moment in which the workflow goes over
        to a fresh history; it is asked again, as whoever looks at a page would.
        """
        lost = (RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED)
        async with asyncio.timeout(30):
            while True:
                try:
                    return await self.handle(tenant, ticket).query(
                        TicketWorkflow.current, rpc_timeout=timedelta(seconds=5)
                    )
                except RPCError as error:
                    if error.status not in lost:
                        raise

    async def _is_in_a_task(self, tenant: uuid.UUID, ticket: Ticket) -> bool:
        execution = WorkflowExecution(workflow_id=self.ref(tenant, ticket).workflow_id)
        shown = await self.client.workflow_service.describe_workflow_execution(
            DescribeWorkflowExecutionRequest(namespace=self.client.namespace, execution=execution)
        )
        return shown.HasField("pending_workflow_task")

    async def settled(self, tenant: uuid.UUID, ticket: Ticket) -> None:
        """Every effect is carried out, and the workflow has heard of what they brought."""
        async with asyncio.timeout(30):
            while True:
                row = await self.row(tenant, ticket)
                answer = await self.current(tenant, ticket)
                if answer["seq"] == row["seq"] and not answer["effects"]:
                    return
                if answer["seq"] != row["seq"]:
                    change = Change(kind="test", seq=int(str(row["seq"])))
                    await self._tell(self.ref(tenant, ticket), change, None)
                await asyncio.sleep(0.05)

    async def until_event(self, tenant: uuid.UUID, ticket: Ticket, kind: str) -> None:
        async with asyncio.timeout(30):
            while kind not in {e["type"] for e in await self.timeline(tenant, ticket)}:
                await asyncio.sleep(0.05)

    async def event_types(self, tenant: uuid.UUID, ticket: Ticket) -> list[str]:
        """The kinds of events in the workflow's history, in order."""
        history = await self.handle(tenant, ticket).fetch_history()
        return [
            EventType.Name(event.event_type).removeprefix("EVENT_TYPE_") for event in history.events
        ]

    async def timeline(self, tenant: uuid.UUID, ticket: Ticket) -> list[dict[str, object]]:
        async with self.database.transaction(tenant) as work:
            return await work.rows(
                "select * from events where tenant_id = :t and ticket_id = :i order by seq",
                {"t": tenant, "i": ticket.id},
            )

    async def row(self, tenant: uuid.UUID, ticket: Ticket) -> dict[str, object]:
        async with self.database.transaction(tenant) as work:
            found = await work.row(
                "select * from tickets where tenant_id = :t and id = :i",
                {"t": tenant, "i": ticket.id},
            )
        assert found is not None
        return found


MakeBench = Callable[[Client], AbstractAsyncContextManager[Bench]]


@pytest.fixture
def bench(database: Database, urls: Urls, tmp_path: Path) -> MakeBench:
    @contextlib.asynccontextmanager
    async def make(client: Client) -> AsyncIterator[Bench]:
        desks = Desks()
        tickets = Tickets(desks)
        mail, classifier = FakeMail(), FakeClassifier()
        links = PasswordLinks("only for tests", public_url="https://desk.example")
        executor, school = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        everything = Database(urls.relay, pool_size=2)
        maintenance = MaintenanceActivities(
            everything,
            TicketWorkflows(client),
            database=database,
            tickets=tickets,
            files=files_under(tmp_path),
        )
        kept = KeptModels(store_under(tmp_path))
        triage = TriageActivities(database, tickets, classifier, executor, kept)  # type: ignore[arg-type]
        learning = LearningActivities(database, kept, classifier, teach, school)  # type: ignore[arg-type]
        async with (
            Worker(
                client,
                task_queue=TICKETS,
                workflows=[TicketWorkflow],
                activities=[TicketActivities(database, tickets, search_attributes=True).advance],
                workflow_runner=strict_sandbox(),
                graceful_shutdown_timeout=timedelta(seconds=2),
            ),
            Worker(
                client,
                task_queue=MODELS,
                workflows=[RetrainWorkflow, BacktestWorkflow],
                activities=[triage.triage, learning.give_up_retrain, learning.give_up_backtest],
                workflow_runner=strict_sandbox(),
            ),
            Worker(
                client,
                task_queue=TRAINING,
                activities=[learning.retrain, learning.backtest],
                max_concurrent_activities=1,
            ),
            Worker(
                client,
                task_queue=OUTBOUND,
                activities=[
                    DeliveryActivities(
                        database,
                        mail,
                        WebhookCaller(allow_private=True),
                        WebhookSecrets("only for tests"),
                        WorkflowStarter(client),
                    ).deliver,
                    LinkActivities(database, links, mail).mail_link,
                ],
            ),
            Worker(
                client,
                task_queue=BATCH,
                workflows=[
                    BriefingWorkflow,
                    BulkWorkflow,
                    DeliveryWorkflow,
                    LinkWorkflow,
                    ReconcileWorkflow,
                    RetrainDueWorkflow,
                    SimulationWorkflow,
                ],
                activities=[
                    maintenance.reconcile,
                    maintenance.purge,
                    maintenance.train_where_due,
                    BulkActivities(BulkRunner(database, tickets)).bulk_chunk,
                    SimulationActivities(SimulationRunner(database)).simulation_chunk,
                    BriefingActivities(database, desks, tickets).brief,
                ],
                workflow_runner=strict_sandbox(),
                graceful_shutdown_timeout=timedelta(seconds=2),
            ),
        ):
            yield Bench(client, database, tickets, mail, classifier, links, kept)
        executor.shutdown()
        school.shutdown()
        await everything.close()

    return make
