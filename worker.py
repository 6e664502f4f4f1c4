"""The worker process: Temporal workers for the queues asked for, the outbox relay, the sealer.

`python -m worker [queue ...]` runs all queues by default. Everything is put together here and
nowhere else.
"""

import asyncio
import contextlib
import dataclasses
import hashlib
import logging
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from prometheus_client import start_http_server
from redis.asyncio import Redis
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError
from temporalio.worker import Worker, WorkflowRunner

from activities.briefing import BriefingActivities
from activities.bulk import BulkActivities
from activities.deliveries import DeliveryActivities
from activities.learning import LearningActivities
from activities.links import LinkActivities
from activities.log import ActivityLog
from activities.maintenance import MaintenanceActivities
from activities.simulations import SimulationActivities
from activities.tickets import TicketActivities
from activities.triage import TriageActivities
from adapters import namespaces
from adapters.classifier import Classifier
from adapters.classifier.kept import KeptModels, store_under, teach
from adapters.logs import configure_logging
from adapters.mail import MailSender, sender
from adapters.search import SearchIndex
from adapters.temporal import (
    TicketWorkflows,
    WorkflowStarter,
    connect_from,
    missing_attributes,
)
from adapters.webhooks import WebhookCaller
from domain.errors import Unavailable
from domain.lifecycle import BATCH, MODELS, OUTBOUND, QUEUES, TICKETS, TRAINING
from models.session import Database
from services import audit, relay
from services.alerting import AlertDestination
from services.bulk import BulkRunner
from services.desks import Desks
from services.destinations import Dropped, IndexDestination, LiveDestination, WorkflowsDestination
from services.files import files_under
from services.passwords import PasswordLinks
from services.places import database_id
from services.queues import QueueDestination
from services.simulations import Processes, SimulationRunner
from services.tickets import Tickets
from services.webhooks import WebhookSecrets
from settings import Settings
from workflows.briefing import BriefingWorkflow
from workflows.bulk import BulkWorkflow
from workflows.deliveries import DeliveryWorkflow
from workflows.learning import BacktestWorkflow, RetrainDueWorkflow, RetrainWorkflow
from workflows.links import LinkWorkflow
from workflows.maintenance import ReconcileWorkflow
from workflows.sandbox import no_sandbox, strict_sandbox
from workflows.simulations import SimulationWorkflow
from workflows.tickets import TicketWorkflow

logger = logging.getLogger("holdfast.worker")


def build() -> str:
    """What code this is, in eight characters: Temporal writes it beside every step of a ticket."""
    root, digest = Path(__file__).resolve().parent, hashlib.blake2b(digest_size=4)
    for folder in ("workflows", "activities", "domain", "services", "models"):
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()


WORKFLOWS = (TicketWorkflow,)
RECONCILE_EVERY = timedelta(minutes=2)
RETRAIN_EVERY = timedelta(minutes=15)  # zones lie so far apart; each desk has hours of its own


@dataclass
class Parts:
    """What the worker is made of."""

    settings: Settings
    client: Client
    database: Database
    relay_database: Database
    tickets: Tickets
    desks: Desks
    index: SearchIndex | None
    redis: Redis | None
    search_attributes: bool


@contextlib.asynccontextmanager
async def parts(settings: Settings, client: Client) -> AsyncIterator[Parts]:
    """Connected parts."""
    database = Database(
        settings.database_url.get_secret_value(),
        pool_size=settings.database_pool_size,
        name="holdfast-worker",
    )
    relay_database = Database(settings.as_relay(), pool_size=8, name="holdfast-relay")
    desks = Desks()
    index = (
        SearchIndex(settings.typesense_url, settings.typesense_api_key.get_secret_value())
        if settings.typesense_url and settings.typesense_api_key
        else None
    )
    redis = (
        Redis.from_url(settings.redis_url.get_secret_value(), socket_timeout=5)
        if settings.redis_url
        else None
    )
    try:
        yield Parts(
            settings=settings,
            client=client,
            database=database,
            relay_database=relay_database,
            tickets=Tickets(desks),
            desks=desks,
            index=index,
            redis=redis,
            search_attributes=await _attributes_usable(settings, client),
        )
    finally:
        await database.close()
        await relay_database.close()
        if redis is not None:
            await redis.aclose()
        if index is not None:
            await index.close()


async def connected(settings: Settings, *, stop: asyncio.Event) -> Client | None:
    """A client, however long Temporal takes to answer; None once `stop` is set before that."""

    async def try_on() -> Client:
        while True:
            try:
                return await connect_from(settings, patient=True)
            except (RPCError, RuntimeError) as error:
                logger.warning("Temporal does not answer yet: %s", error)
                await asyncio.sleep(1.0)

    trying, asked = asyncio.create_task(try_on()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({trying, asked}, return_when=asyncio.FIRST_COMPLETED)
        return trying.result() if trying.done() else None
    finally:
        trying.cancel()
        asked.cancel()


async def _attributes_usable(settings: Settings, client: Client) -> bool:
    """Upserting an attribute that is not registered would hang the ticket: so it is checked."""
    if not settings.search_attributes:
        logger.info("running without search attributes, as set")
        return False
    missing = await missing_attributes(client)
    if missing:
        logger.error(
            "search attributes are not registered: %s. Run `holdfast migrate`, or set"
            " HOLDFAST_SEARCH_ATTRIBUTES=false. Running without them.",
            ", ".join(missing),
        )
    return not missing


def workers(p: Parts, queues: Sequence[str], *, runner: WorkflowRunner) -> list[Worker]:
    """A Temporal worker per queue, sized for what its work is made of."""
    made: list[Worker] = []
    if TICKETS in queues:
        tickets = TicketActivities(p.database, p.tickets, search_attributes=p.search_attributes)
        made.append(
            Worker(
                p.client,
                task_queue=TICKETS,
                workflows=WORKFLOWS,
                activities=[tickets.advance],
                workflow_runner=runner,
                build_id=build(),
                # Well above the number of tickets touched in an hour: a miss costs a replay.
                max_cached_workflows=20_000,
                max_concurrent_workflow_tasks=100,
                # No more than the pool has connections: local activities share the task's time.
                max_concurrent_local_activities=max(2, p.settings.database_pool_size - 6),
                interceptors=[ActivityLog()],
                graceful_shutdown_timeout=timedelta(seconds=5),
            )
        )
    if OUTBOUND in queues:
        mail = sender(p.settings.mail_url, from_address=p.settings.mail_from)
        links = LinkActivities(
            p.database,
            PasswordLinks(
                p.settings.secret_key.get_secret_value(), public_url=p.settings.public_url
            ),
            mail,
        )
        made.append(
            Worker(
                p.client,
                task_queue=OUTBOUND,
                activities=[_deliveries(p, mail).deliver, links.mail_link],
                max_concurrent_activities=8,
                interceptors=[ActivityLog()],
                graceful_shutdown_timeout=timedelta(seconds=10),
            )
        )
    if BATCH in queues:
        bulk = BulkActivities(BulkRunner(p.database, p.tickets))
        simulations = SimulationActivities(SimulationRunner(p.database, Processes()))
        maintenance = MaintenanceActivities(
            p.relay_database,
            TicketWorkflows(p.client),
            database=p.database,
            tickets=p.tickets,
            files=files_under(p.settings.home),
            secret=p.settings.secret_key.get_secret_value(),
        )
        made.append(
            Worker(
                p.client,
                task_queue=BATCH,
                workflows=[
                    ReconcileWorkflow,
                    RetrainDueWorkflow,
                    BulkWorkflow,
                    BriefingWorkflow,
                    DeliveryWorkflow,
                    LinkWorkflow,
                    SimulationWorkflow,
                ],
                activities=[
                    maintenance.reconcile,
                    maintenance.purge,
                    maintenance.train_where_due,
                    bulk.bulk_chunk,
                    simulations.simulation_chunk,
                    BriefingActivities(p.database, p.desks, p.tickets).brief,
                ],
                workflow_runner=runner,
                max_concurrent_activities=4,
                interceptors=[ActivityLog()],
                graceful_shutdown_timeout=timedelta(seconds=5),
            )
        )
    return made


def _deliveries(p: Parts, mail: MailSender) -> DeliveryActivities:
    return DeliveryActivities(
        p.database,
        mail,
        WebhookCaller(allow_private=p.settings.webhooks_allow_private),
        WebhookSecrets(p.settings.secret_key.get_secret_value()),
        WorkflowStarter(p.client),
    )


async def models_workers(p: Parts, *, runner: WorkflowRunner) -> list[Worker]:
    """The workers that ask models, once there is one to ask, and that teach them."""
    classifier = await _classifier(p.settings.home / "models")
    # One thread each: models are CPU, the desk needs the other core, and no ticket waits while a
    # model is taught.
    executor = ThreadPoolExecutor(1, thread_name_prefix="model")
    school = ThreadPoolExecutor(1, thread_name_prefix="school")
    kept = KeptModels(store_under(p.settings.home / "models"))
    triage = TriageActivities(p.database, p.tickets, classifier, executor, kept)
    learning = LearningActivities(p.database, kept, classifier, teach, school)
    return [
        Worker(
            p.client,
            task_queue=MODELS,
            workflows=[RetrainWorkflow, BacktestWorkflow],
            activities=[triage.triage, learning.give_up_retrain, learning.give_up_backtest],
            workflow_runner=runner,
            build_id=build(),
            max_concurrent_activities=4,
            interceptors=[ActivityLog()],
            graceful_shutdown_timeout=timedelta(seconds=5),
        ),
        Worker(
            p.client,
            task_queue=TRAINING,
            activities=[learning.retrain, learning.backtest],
            max_concurrent_activities=1,
            interceptors=[ActivityLog()],
            graceful_shutdown_timeout=timedelta(seconds=5),
        ),
    ]


async def _classifier(folder: Path) -> Classifier:
    """The classifier, trained in a process of its own where there is none: the desk goes on."""
    code = f"from pathlib import Path; from {Classifier.__module__} import Classifier as C"
    training = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"{code}; C.load(Path({str(folder)!r}))"
    )
    try:
        await training.wait()
    finally:
        if training.returncode is None:
            training.kill()
    return await asyncio.to_thread(Classifier.load, folder)


def relays(p: Parts) -> list[relay.Relay]:
    """A relay per destination; a destination that is not set up forgets what it is told."""
    attributes = p.search_attributes
    return [
        relay.Relay(
            p.relay_database,
            WorkflowsDestination(
                p.relay_database, TicketWorkflows(p.client), search_attributes=attributes
            ),
        ),
        relay.Relay(
            p.relay_database,
            IndexDestination(p.database, p.index) if p.index else Dropped("index"),
        ),
        relay.Relay(p.relay_database, LiveDestination(p.redis) if p.redis else Dropped("live")),
        relay.Relay(p.relay_database, QueueDestination(p.database, p.tickets, p.desks)),
        relay.Relay(p.relay_database, AlertDestination(p.database, p.desks)),
    ]


def schedules() -> dict[str, Schedule]:
    """What runs by the clock, by its id."""
    policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP)
    return {
        "reconcile": Schedule(
            action=ScheduleActionStartWorkflow(
                ReconcileWorkflow.run, id="reconcile", task_queue=BATCH
            ),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=RECONCILE_EVERY)]),
            policy=policy,
        ),
        # One for all desks, which asks each whether its turn has come: a schedule of each would
        # have to follow every tenant that comes or goes, and every change of its plan.
        "retrain": Schedule(
            action=ScheduleActionStartWorkflow(
                RetrainDueWorkflow.run, id="retrain-due", task_queue=BATCH
            ),
            spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=RETRAIN_EVERY)]),
            policy=policy,
        ),
    }


async def make_schedules(client: Client, *, database: str | None) -> None:
    """Every schedule exists afterwards, runs as often as it should, and says whose it is."""
    for name, schedule in schedules().items():
        try:
            await client.create_schedule(name, schedule, memo=namespaces.mark(database))
        except ScheduleAlreadyRunningError:
            await _in_step(client, name, schedule)


async def _in_step(client: Client, name: str, wanted: Schedule) -> None:
    """A schedule that an earlier version made runs as often as this one wants; paused it stays."""
    handle = client.get_schedule_handle(name)
    found = (await handle.describe()).schedule.spec.intervals
    if [one.every for one in found] == [one.every for one in wanted.spec.intervals]:
        return

    def changed(old: ScheduleUpdateInput) -> ScheduleUpdate:
        schedule = old.description.schedule
        return ScheduleUpdate(schedule=dataclasses.replace(schedule, spec=wanted.spec))

    await handle.update(changed)


async def keep_scheduled(client: Client, database: Database) -> None:
    """Makes the schedules again where Temporal has lost them, until cancelled."""
    ours: str | None = None
    while True:
        try:
            ours = ours or await database_id(database)
            await make_schedules(client, database=ours)
        except Unavailable:
            logger.warning("nothing is scheduled yet: no database")
        except RPCError as error:
            logger.warning("not everything is scheduled yet: %s", error)
        await asyncio.sleep(60)


async def run(settings: Settings, queues: Sequence[str], *, stop: asyncio.Event) -> None:
    """Works until `stop` is set."""
    client = await connected(settings, stop=stop)
    if client is None:
        return
    async with parts(settings, client) as p, asyncio.TaskGroup() as group:
        runner = strict_sandbox() if settings.workflow_sandbox else no_sandbox()
        tasks: list[asyncio.Task[None]] = []

        def start(work: Coroutine[object, object, None]) -> None:
            tasks.append(group.create_task(work))

        if TICKETS in queues:
            running = relays(p)
            for one in running:
                start(one.run())
            start(relay.listen(p.relay_database, [one.ring for one in running]))
            start(relay.measure(p.relay_database))
            start(p.database.ring())
            start(audit.seal_all(p.relay_database, p.database))
        made = workers(p, queues, runner=runner)
        for worker in made:
            start(worker.run())
        if MODELS in queues:

            async def ask_models() -> None:
                asking = await models_workers(p, runner=runner)
                made.extend(asking)
                await asyncio.gather(*(worker.run() for worker in asking))

            start(ask_models())
        if BATCH in queues:
            start(keep_scheduled(p.client, p.relay_database))
        logger.info("working on %s", ", ".join(queues))
        await stop.wait()
        logger.info("stopping")
        await asyncio.gather(*(worker.shutdown() for worker in made))
        for task in tasks:
            task.cancel()


def main(arguments: Sequence[str] | None = None) -> None:
    queues = list(arguments if arguments is not None else sys.argv[1:]) or list(QUEUES)
    unknown = set(queues) - set(QUEUES)
    if unknown:
        sys.exit(f"There is no queue {', '.join(sorted(unknown))}. Queues: {', '.join(QUEUES)}.")
    settings = Settings()
    configure_logging(settings)
    if settings.metrics_port is not None:
        try:
            start_http_server(settings.metrics_port, addr=settings.api_host)
        except OSError as error:  # tickets matter more than what is counted about them
            logger.error("metrics cannot be served on port %s: %s", settings.metrics_port, error)

    async def until_signalled() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run(settings, queues, stop=stop)

    asyncio.run(until_signalled())


if __name__ == "__main__":
    main()
