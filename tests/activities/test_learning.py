"""Training as an activity: it beats, says how far it is, stops when told, and is fenced."""

import asyncio
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.learning import LearningActivities, Stopped
from adapters.classifier.kept import KeptModels, Taught, store_under, teach
from domain.lifecycle import TrainingRef
from domain.permissions import Principal, Role, grants_of
from domain.states import Priority
from domain.tickets import Changed
from domain.triage import Guess, Verdict
from models.session import Database
from services import learning, promoting
from services.desks import Desks
from services.tickets import Origin, Tickets
from services.training import KEPT_FILES, Trainings
from tests.making import happens, make_agent, make_ticket

pytestmark = pytest.mark.slow  # models are trained


class Shipped:
    """Always says that it is normal, and is not sure."""

    def classify_many(self, messages: Sequence[tuple[str, str]]) -> list[Verdict]:
        guess = Guess(label="normal", probability=0.5, abstained=True, top=())
        said = Verdict(topic=guess, priority=guess, sentiment=guess, model_version="m")
        return [said for _ in messages]


@pytest.fixture
async def agent(database: Database, tenant: uuid.UUID) -> uuid.UUID:
    """An admin of a desk where seventy tickets were prioritised by hand."""
    tickets = Tickets(Desks())
    async with database.transaction(tenant) as work:
        agent = await make_agent(work, role="admin")
    for n in range(70):
        urgent = n % 3 == 0
        ticket = await make_ticket(
            database, tickets, tenant,
            subject=f"Server {n} is down" if urgent else f"A question about chair {n}",
        )  # fmt: skip
        priority = Priority.URGENT if urgent else Priority.LOW
        await happens(
            database, tickets, tenant, ticket.number, Changed(priority=priority), by=agent
        )
    return agent


@pytest.fixture
async def caller(tenant: uuid.UUID, agent: uuid.UUID) -> Principal:
    return Principal(
        tenant_id=tenant, tenant_slug="t", kind="user", id=agent, role=Role.ADMIN,
        grants=grants_of(Role.ADMIN),
    )  # fmt: skip


@pytest.fixture
async def made(
    database: Database, tmp_path: Path
) -> AsyncIterator[Callable[..., LearningActivities]]:
    with ThreadPoolExecutor(1) as executor:
        yield lambda taught=teach: LearningActivities(
            database, KeptModels(store_under(tmp_path)), Shipped(), taught, executor  # type: ignore[arg-type]
        )  # fmt: skip


async def queued(database: Database, caller: Principal) -> TrainingRef:
    async with database.transaction(caller.tenant_id) as work:
        row = await learning.train(
            work, "priority", caller=caller, origin=Origin(), now=datetime.now(UTC)
        )
    return TrainingRef(tenant_id=caller.tenant_id, slug="t", job_id=row["id"])


async def test_a_training_that_is_cancelled_stops_within_seconds_and_has_said_it_was_alive(
    database: Database, caller: Principal, made: Callable[..., LearningActivities]
) -> None:
    stopped = threading.Event()

    def slow(*_: object, tell: Callable[[float], None], **__: object) -> Taught:
        try:
            for step in range(1_000):
                tell(step / 1_000)
                time.sleep(0.02)
        except Stopped:
            stopped.set()
            raise
        raise AssertionError("nobody stopped it")

    ref = await queued(database, caller)
    environment, beats = ActivityEnvironment(), list[object]()
    environment.on_heartbeat = lambda *details: beats.append(details[0])
    task = asyncio.create_task(environment.run(made(slow).retrain, ref))
    async with asyncio.timeout(20):
        progress = 0.0
        while progress <= 0.1:  # rows are read, the model learns
            await asyncio.sleep(0.1)
            async with database.transaction(ref.tenant_id) as work:
                progress = (await learning.model(work, ref.job_id))["progress"]
        async with database.transaction(ref.tenant_id) as work:
            await learning.cancel(
                work, ref.job_id, caller=caller, origin=Origin(), now=datetime.now(UTC)
            )
        assert (await task).state == "cancelled"
    assert await asyncio.to_thread(stopped.wait, 5)
    assert len(beats) >= 2
    assert beats == sorted(beats)  # type: ignore[type-var]


async def test_a_training_whose_worker_died_begins_again(
    database: Database, caller: Principal, made: Callable[..., LearningActivities]
) -> None:
    def dies(*_: object, **__: object) -> Taught:
        raise MemoryError

    ref = await queued(database, caller)
    with pytest.raises(MemoryError):
        await ActivityEnvironment().run(made(dies).retrain, ref)
    result = await ActivityEnvironment().run(made().retrain, ref)
    assert result.state == "champion"
    # Told once more, it says how it ended and does nothing.
    assert (await ActivityEnvironment().run(made(dies).retrain, ref)).state == "champion"


async def test_a_model_that_was_compared_with_another_one_is_not_promoted(
    database: Database, caller: Principal, made: Callable[..., LearningActivities]
) -> None:
    first = await queued(database, caller)
    assert (await ActivityEnvironment().run(made().retrain, first)).state == "champion"
    async with database.transaction(caller.tenant_id) as work:
        await promoting.roll_back(
            work, "priority", caller=caller, origin=Origin(), now=datetime.now(UTC)
        )
    second = await queued(database, caller)

    class Meanwhile(LearningActivities):
        async def _learnt(self, *given: object) -> object:  # type: ignore[override]
            learnt = await super()._learnt(*given)  # type: ignore[arg-type]
            async with database.transaction(caller.tenant_id) as work:
                await promoting.promote(
                    work, first.job_id, anyway=False, caller=caller, origin=Origin(),
                    now=datetime.now(UTC),
                )  # fmt: skip
            return learnt

    ordinary = made()
    meddled = Meanwhile(
        database, ordinary._kept, ordinary._shipped, ordinary._teach, ordinary._executor
    )
    assert (await ActivityEnvironment().run(meddled.retrain, second)).state == "refused"
    async with database.transaction(caller.tenant_id) as work:
        row = await learning.model(work, second.job_id)
        [answering] = (
            m for m in await learning.models(work, field="priority") if m["state"] == "champion"
        )
    assert row["detail"].startswith("Another model was put in place while this one learnt")
    assert answering["id"] == first.job_id


async def test_only_a_few_files_of_models_that_do_not_answer_are_kept(
    database: Database, caller: Principal, made: Callable[..., LearningActivities], tmp_path: Path
) -> None:
    refs = [await _trained(database, caller, made) for _ in range(2)]
    async with database.transaction(caller.tenant_id) as work:
        for version in range(10, 10 + KEPT_FILES + 2):
            await work.execute(
                "insert into triage_models (tenant_id, id, field, version, state, sha256,"
                " created_at) values (:t, :id, 'priority', :v, 'refused', :sha, :now)",
                {
                    "t": caller.tenant_id, "id": uuid.uuid4(), "v": version,
                    "sha": f"{version:064}", "now": datetime(2020, 1, version, tzinfo=UTC),
                },
            )  # fmt: skip
    old = await Trainings(database).surplus(caller.tenant_id, "priority")
    assert old == [f"{version:064}" for version in (10, 11, 12)]
    assert await Trainings(database).surplus(caller.tenant_id, "priority") == []
    assert refs


async def _trained(
    database: Database, caller: Principal, made: Callable[..., LearningActivities]
) -> TrainingRef:
    ref = await queued(database, caller)
    await ActivityEnvironment().run(made().retrain, ref)
    return ref
