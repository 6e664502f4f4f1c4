"""A desk teaches its models: promoted, refused, rolled back, cancelled; damaged files; no delay."""

import asyncio
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.tickets import TicketActivities
from activities.triage import TriageActivities
from adapters.classifier.kept import KeptModels, store_under
from adapters.temporal import TicketWorkflows
from domain.errors import Conflict
from domain.learning import ModelUnusable, TriageField
from domain.lifecycle import BATCH, MODELS, TICKETS, BacktestRef, Effect, EffectInput, TrainingRef
from domain.permissions import Principal, Role, grants_of
from domain.retraining import NEW_DECISIONS
from domain.states import Priority
from domain.tickets import AgentReplied, Changed, Labelled, Ticket
from domain.triage import Spam
from models.session import Database, Row
from services import learning, promoting, proving, retraining, tenants
from services.desks import Desks
from services.promoting import WorseModel
from services.tickets import Origin, Tickets
from tests.conftest import MakeTenant, Urls
from tests.making import happens, make_agent, make_team, make_ticket, words
from tests.workflows.conftest import Bench, FakeClassifier, FakeMail, MakeBench
from workflows.learning import RetrainDueWorkflow
from workflows.sandbox import strict_sandbox
from workflows.tickets import TicketWorkflow

pytestmark = pytest.mark.temporal

SAID = {
    "hardware": [
        "The printer in room {} jams",
        "My laptop screen {} is black",
        "Toner {} is empty",
    ],
    "invoices": ["Invoice {} is wrong", "You charged me twice for {}", "Refund order {} please"],
    "access": ["I cannot log in as user {}", "Reset my password {}", "Account {} is locked"],
}
WRONG = {"hardware": "access", "invoices": "hardware", "access": "invoices"}


class Desk:
    """A tenant with labels of its own, and somebody who says what is right."""

    def __init__(self, bench: Bench, tenant: uuid.UUID, agent: uuid.UUID) -> None:
        self.bench = bench
        self.tenant = tenant
        self.agent = agent
        self.chance = random.Random(7)
        self.caller = Principal(
            tenant_id=tenant, tenant_slug="t", kind="user", id=agent, role=Role.ADMIN,
            grants=grants_of(Role.ADMIN),
        )  # fmt: skip

    @classmethod
    async def made(cls, bench: Bench, tenant: uuid.UUID, **settings: object) -> "Desk":
        async with bench.database.transaction(tenant) as work:
            agent = await make_agent(work, role="admin")
            await learning.set_field(
                work, "topic", {"labels": list(SAID), **settings}, now=datetime.now(UTC)
            )
        return cls(bench, tenant, agent)

    async def teaches(self, count: int, *, wrongly: bool = False) -> None:
        """So many tickets, each of which somebody said the topic of."""
        for _ in range(count):
            label = self.chance.choice(list(SAID))
            subject = self.chance.choice(SAID[label]).format(self.chance.randrange(900))
            ticket = await make_ticket(
                self.bench.database, self.bench.tickets, self.tenant, subject=subject
            )
            await happens(
                self.bench.database, self.bench.tickets, self.tenant, ticket.number,
                Labelled(topic=WRONG[label] if wrongly else label), by=self.agent,
            )  # fmt: skip

    async def trains(self, field: TriageField = "topic") -> Row:
        """The model's row once its training has ended."""
        async with self.bench.database.transaction(self.tenant) as work:
            row = await learning.train(
                work, field, caller=self.caller, origin=Origin(), now=datetime.now(UTC)
            )
        ref = TrainingRef(tenant_id=self.tenant, slug="t", job_id=row["id"])
        await TicketWorkflows(self.bench.client).start(ref)
        handle = self.bench.client.get_workflow_handle(ref.workflow_id, result_type=str)
        async with asyncio.timeout(120):
            state = await handle.result()
        row = await self.model(row["id"])
        assert row["state"] == state
        return row

    async def model(self, model_id: uuid.UUID) -> Row:
        async with self.bench.database.transaction(self.tenant) as work:
            return await learning.model(work, model_id)

    async def triaged(self, subject: str) -> Row:
        """A new ticket's row after its triage, asked directly."""
        b = self.bench
        ticket = await make_ticket(b.database, b.tickets, self.tenant, subject=subject)
        with ThreadPoolExecutor(1) as executor:
            asked = TriageActivities(b.database, b.tickets, b.classifier, executor, b.kept)  # type: ignore[arg-type]
            await asked.triage(
                EffectInput(
                    ticket=b.ref(self.tenant, ticket),
                    effect=Effect(kind="triage", id="triage"),
                    run_id="r",
                )
            )
        return await b.row(self.tenant, ticket)


async def test_what_people_say_makes_a_model_that_answers_and_says_why(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        desk = await Desk.made(b, await make_tenant(), wanted_precision=0.8)
        before = await desk.triaged("My laptop screen 12 is black")
        assert before["topic"] is None  # what ships knows none of this desk's labels
        await desk.teaches(130)
        model = await desk.trains()
        assert (model["state"], model["version"]) == ("champion", 1), model["detail"]
        assert model["compared_with"] == "the model that ships"
        assert model["measures"]["accuracy"] > 0.9 > model["compared"]["accuracy"]
        assert model["rows"] + model["measures"]["rows"] == 130
        assert model["labels"].keys() == SAID.keys()
        after = await desk.triaged("My laptop screen 77 is black")
        assert after["topic"] == "hardware"
        said = after["verdict"]["topic"]
        assert said["model_version"] == "topic-1"
        assert after["verdict"]["model_version"] == "test-1+topic-1"
        assert {"laptop", "screen", "black"} & {word for word, _ in said["words"]}
        assert len(said["top"]) == 3
        assert not said["out_of_scope"]
        # The audit log has what the machine did by itself, too.
        async with b.database.transaction(desk.tenant) as work:
            rows = await work.rows(
                "select action, actor_kind from audit_entries where target_kind = 'triage_model'"
            )
        assert {(r["action"], r["actor_kind"]) for r in rows} == {
            ("triage_model.queued", "user"),
            ("triage_model.promoted", "system"),
        }
        # The desk has other labels by now: what the model says is kept, and is not done.
        for labels in (["plants", "animals"], None):
            async with b.database.transaction(desk.tenant) as work:
                await learning.set_field(
                    work, "topic", {"labels": labels, "apply": "always"}, now=datetime.now(UTC)
                )
            odd = await desk.triaged("My laptop screen 78 is black")
            assert odd["verdict"]["topic"]["label"] == "hardware"
            assert odd["topic"] is None


async def test_a_team_that_people_choose_is_learnt_and_then_chosen(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        desk = await Desk.made(b, await make_tenant())
        async with b.database.transaction(desk.tenant) as work:
            teams = {label: await make_team(work, label) for label in SAID}
        for number in range(120):
            label = list(SAID)[number % len(SAID)]
            subject = desk.chance.choice(SAID[label]).format(number)
            ticket = await make_ticket(b.database, b.tickets, desk.tenant, subject=subject)
            await happens(
                b.database, b.tickets, desk.tenant, ticket.number,
                Changed(team_id=teams[label]), by=desk.agent,
            )  # fmt: skip
        made = await desk.trains("team")
        assert made["state"] == "champion", made["detail"]
        assert made["compared_with"] == "always saying the commonest team"
        row = await desk.triaged("Toner 917 is empty")
        assert row["team_id"] == teams["hardware"]
        assert row["verdict"]["team"]["model_version"] == f"team-{made['version']}"


async def test_spam_that_people_mark_is_learnt_and_marked_once_that_is_earned(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        desk = await Desk.made(b, await make_tenant(), apply="always")
        for number in range(120):
            is_spam = number % 2 == 0
            subject = (
                f"Cheap backlinks for your website {number}, rank first on Google"
                if is_spam
                else desk.chance.choice(SAID["invoices"]).format(number)
            )
            ticket = await make_ticket(b.database, b.tickets, desk.tenant, subject=subject)
            wish = Labelled(spam=Spam.SPAM if is_spam else Spam.NOT_SPAM)
            await happens(b.database, b.tickets, desk.tenant, ticket.number, wish, by=desk.agent)
        before = await desk.triaged("Cheap backlinks for your website, rank first")
        assert before["spam"] is None
        made = await desk.trains("spam")
        assert made["state"] == "champion", made["detail"]
        after = await desk.triaged("Cheap backlinks for your website 999, rank first on Google")
        assert (after["spam"], after["tags"]) == ("spam", ["spam"])
        wanted = await desk.triaged("Invoice 999 is wrong")
        assert (wanted["spam"], wanted["tags"]) == ("not_spam", [])


async def test_what_people_of_another_desk_decided_teaches_nobody_here(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        other = await Desk.made(b, await make_tenant())
        await other.teaches(90)
        desk = await Desk.made(b, await make_tenant())
        made = await desk.trains()
        assert made["state"] == "refused"
        assert made["detail"].startswith("0 decisions of people are too few")


async def test_a_model_below_the_bar_suggests_and_does_nothing(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        desk = await Desk.made(b, await make_tenant(), apply="earned", wanted_precision=0.8)
        await desk.teaches(100)
        assert (await desk.trains())["state"] == "champion"
        async with b.database.transaction(desk.tenant) as work:
            await work.execute(
                "update triage_models set measures = jsonb_set(measures, '{precision}', '0.79')"
            )
        row = await desk.triaged("Reset my password 5")
        assert row["verdict"]["topic"]["label"] == "access"
        assert row["topic"] is None
        assert row["triage"] == "done"


async def test_a_worse_model_is_refused_and_only_put_in_place_by_who_insists_and_back(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        desk = await Desk.made(b, await make_tenant(), apply="always")
        await desk.teaches(90)
        good = await desk.trains()
        assert good["state"] == "champion"
        await desk.teaches(300, wrongly=True)
        await desk.teaches(80)  # the newest, which models are asked about, are right again
        bad = await desk.trains()
        assert bad["state"] == "refused", bad["detail"]
        assert bad["detail"].startswith("Worse: ")
        assert bad["compared_with"] == "version 1"
        assert bad["measures"]["accuracy"] < bad["compared"]["accuracy"]
        # What goes on was asked about newer decisions as well, and is judged by those from now on.
        assert (await desk.model(good["id"]))["measures"] == bad["compared"] != good["measures"]
        assert (await desk.triaged("Toner 9 is empty"))["topic"] == "hardware"

        now = datetime.now(UTC)
        async with b.database.transaction(desk.tenant) as work:
            with pytest.raises(WorseModel, match="It was refused"):
                await promoting.promote(
                    work, bad["id"], anyway=False, caller=desk.caller, origin=Origin(), now=now
                )
        async with b.database.transaction(desk.tenant) as work:
            await promoting.promote(
                work, bad["id"], anyway=True, reason="To see what it does.", caller=desk.caller,
                origin=Origin(), now=now,
            )  # fmt: skip
        assert (await desk.model(good["id"]))["state"] == "retired"
        # Taught both, mostly wrongly, it says the wrong thing or nothing.
        assert (await desk.triaged("Toner 9 is empty"))["topic"] != "hardware"

        async with b.database.transaction(desk.tenant) as work:
            row = await promoting.roll_back(
                work, "topic", caller=desk.caller, origin=Origin(), now=now
            )
        assert row["model"] == "topic-1"
        # It is refused as before, with the reason, and needs insisting again.
        assert (await desk.model(bad["id"]))["state"] == "refused"
        async with b.database.transaction(desk.tenant) as work:
            with pytest.raises(WorseModel, match=r"It was refused\. Worse: "):
                await promoting.promote(
                    work, bad["id"], anyway=False, caller=desk.caller, origin=Origin(), now=now
                )
        assert (await desk.triaged("Toner 9 is empty"))["topic"] == "hardware"
        async with b.database.transaction(desk.tenant) as work:
            row = await promoting.roll_back(
                work, "topic", caller=desk.caller, origin=Origin(), now=now
            )
        assert row["model"] is None  # further back there is only what ships
        async with b.database.transaction(desk.tenant) as work:
            with pytest.raises(Conflict, match="nothing before it"):
                await promoting.roll_back(
                    work, "topic", caller=desk.caller, origin=Origin(), now=now
                )


async def test_too_little_to_learn_from_is_said_in_a_sentence(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        desk = await Desk.made(b, await make_tenant())
        await desk.teaches(12)
        model = await desk.trains()
        assert model["state"] == "refused"
        assert model["detail"] == (
            "12 decisions of people are too few to learn from: at least 60 are needed, 48 more."
        )
        assert model["sha256"] is None


@pytest.mark.parametrize("harm", ["poisoned", "truncated", "missing"])
async def test_a_file_that_is_not_what_was_written_is_refused_and_what_ships_answers(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant, tmp_path: Path, harm: str
) -> None:
    async with bench(dev_server) as b:
        desk = await Desk.made(b, await make_tenant())
        await desk.teaches(80)
        model = await desk.trains()
        assert model["state"] == "champion"
        [file] = [p for p in (tmp_path / "desks").rglob(model["sha256"]) if p.is_file()]
        content = file.read_bytes()
        match harm:
            case "poisoned":
                file.write_bytes(content[:-9] + b"evil code")
            case "truncated":
                file.write_bytes(content[: len(content) // 2])
            case "missing":
                file.unlink()
        b.kept = KeptModels(store_under(tmp_path))  # as another worker, with nothing in memory
        row = await desk.triaged("Reset my password 5")
        assert row["triage"] == "done"
        assert row["verdict"]["model_version"] == "test-1"
        problem = (await desk.model(model["id"]))["problem"]
        said = "its file is missing" if harm == "missing" else "its content does not match its sum"
        assert problem == f"model topic-1 cannot be used: {said}."


async def test_another_desks_model_opens_nothing_here(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        theirs = await Desk.made(b, await make_tenant())
        ours = await Desk.made(b, await make_tenant())
        await theirs.teaches(80)
        model = await theirs.trains()
        assert model["state"] == "champion"
        with pytest.raises(ModelUnusable):
            await b.kept.model(ours.tenant, model["sha256"], version="topic-1")
        # Neither their rows nor their model: this desk has nothing to learn from, and what ships.
        mine = await ours.trains()
        assert mine["detail"].startswith("0 decisions of people")
        row = await ours.triaged("Reset my password 5")
        assert row["verdict"]["model_version"] == "test-1"


async def test_a_cancelled_training_stops_and_what_answers_goes_on(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        desk = await Desk.made(b, await make_tenant())
        await desk.teaches(80)
        async with b.database.transaction(desk.tenant) as work:
            row = await learning.train(
                work, "topic", caller=desk.caller, origin=Origin(), now=datetime.now(UTC)
            )
        async with b.database.transaction(desk.tenant) as work:
            with pytest.raises(Conflict, match="being taught already"):
                await learning.train(
                    work, "topic", caller=desk.caller, origin=Origin(), now=datetime.now(UTC)
                )
        async with b.database.transaction(desk.tenant) as work:
            await learning.cancel(
                work, row["id"], caller=desk.caller, origin=Origin(), now=datetime.now(UTC)
            )
        ref = TrainingRef(tenant_id=desk.tenant, slug="t", job_id=row["id"])
        await TicketWorkflows(b.client).start(ref)
        handle = b.client.get_workflow_handle(ref.workflow_id, result_type=str)
        assert await handle.result() == "cancelled"
        assert (await desk.model(row["id"]))["sha256"] is None


async def test_a_backtest_says_what_a_model_makes_of_the_past_and_what_it_had_not_seen(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        desk = await Desk.made(b, await make_tenant())
        await desk.teaches(80)
        model = await desk.trains()
        assert model["state"] == "champion"
        async with b.database.transaction(desk.tenant) as work:
            row = await learning.backtest(
                work, "topic", model_id=model["id"], tickets=70, caller=desk.caller,
                origin=Origin(), now=datetime.now(UTC),
            )  # fmt: skip
        ref = BacktestRef(tenant_id=desk.tenant, slug="t", job_id=row["id"])
        await TicketWorkflows(b.client).start(ref)
        assert await b.client.get_workflow_handle(ref.workflow_id).result() == "finished"
        async with b.database.transaction(desk.tenant) as work:
            found = await learning.get_backtest(work, row["id"])
        assert found["measures"]["rows"] == 70
        assert found["unseen"]["rows"] == 20
        assert found["unseen"]["accuracy"] == pytest.approx(model["measures"]["accuracy"])
        assert found["recorded"]["rows"] == 0  # nobody had triaged them

        # What ships was never taught this desk's labels: it is not called wrong for that.
        async with b.database.transaction(desk.tenant) as work:
            row = await learning.backtest(
                work, "topic", model_id=None, tickets=70, caller=desk.caller,
                origin=Origin(), now=datetime.now(UTC),
            )  # fmt: skip
        ref = BacktestRef(tenant_id=desk.tenant, slug="t", job_id=row["id"])
        await TicketWorkflows(b.client).start(ref)
        assert await b.client.get_workflow_handle(ref.workflow_id).result() == "finished"
        async with b.database.transaction(desk.tenant) as work:
            found = await learning.get_backtest(work, row["id"])
        assert (found["measures"]["rows"], found["measures"]["not_taught"]) == (0, 70)
        assert "none of the labels" in found["detail"]


async def planned(b: Bench, tenant: uuid.UUID, **plan: object) -> None:
    async with b.database.transaction(tenant) as work:
        await tenants.change_tenant(
            work, name=None, settings={"retraining": plan}, caller=None, origin=None,
            now=datetime.now(UTC),
        )  # fmt: skip


async def test_each_desk_that_has_something_new_trains_at_its_own_hour(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant, urls: Urls
) -> None:
    async with bench(dev_server) as b:
        still, busy, later, never = [await Desk.made(b, await make_tenant()) for _ in range(4)]
        await still.teaches(NEW_DECISIONS - 1)
        for desk in (busy, later, never):
            await desk.teaches(NEW_DECISIONS)
        now = datetime.now(UTC)
        turns = (now + timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
        afterwards = (turns + timedelta(hours=2)).astimezone(ZoneInfo("Asia/Tokyo"))
        for desk in (still, busy):
            await planned(b, desk.tenant, hour=turns.hour)
        await planned(b, later.tenant, hour=afterwards.hour, zone="Asia/Tokyo", least_new=5)
        await planned(b, never.tenant, hour=turns.hour, enabled=False)
        everything = Database(urls.relay, pool_size=2)

        async def asked(desk: Desk) -> list[tuple[str, uuid.UUID | None]]:
            async with b.database.transaction(desk.tenant) as work:
                return [(m["field"], m["requested_by"]) for m in await learning.models(work)]

        async def turn(at: datetime) -> list[int]:
            await retraining.train_where_due(everything, b.database, now=at)
            return [len(await asked(desk)) for desk in (still, busy, later, never)]

        assert await turn(now) == [0, 0, 0, 0]  # nobody's turn
        assert await turn(turns) == [0, 1, 0, 0]
        assert await asked(busy) == [("topic", None)]
        assert await turn(turns + timedelta(minutes=15)) == [0, 1, 0, 0]
        await still.teaches(1)  # enough now, but its turn has passed
        assert await turn(turns + timedelta(minutes=30)) == [0, 1, 0, 0]
        assert await turn(afterwards) == [0, 1, 1, 0]
        await everything.close()


async def judged_answers(
    desk: Desk, count: int, *, right: int, subject: str = "Toner {} is empty"
) -> None:
    """So many new tickets are triaged; somebody says what is right, `right` times as the model."""
    for number in range(count):
        row = await desk.triaged(subject.format(number))
        said = row["verdict"]["topic"]
        assert not said["abstained"], said
        label = said["label"] if number < right else WRONG[said["label"]]
        await happens(
            desk.bench.database, desk.bench.tickets, desk.tenant, row["number"],
            Labelled(topic=label), by=desk.agent,
        )  # fmt: skip


async def test_a_model_that_people_keep_correcting_steps_back_by_itself(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        desk = await Desk.made(b, await make_tenant(), wanted_precision=0.8)
        await desk.teaches(90)
        first = await desk.trains()
        assert first["state"] == "champion"
        assert (await desk.triaged("Toner 7 is empty"))["topic"] == "hardware"

        async def looked() -> int:
            return await b.client.execute_workflow(
                RetrainDueWorkflow.run, id=f"due-{uuid.uuid4()}", task_queue=BATCH
            )

        # Good luck and bad: one in ten is wrong, which is better than asked for.
        await judged_answers(desk, 20, right=18)
        await looked()
        row = await desk.model(first["id"])
        assert (row["state"], row["live"]["judged"], row["live"]["right"]) == ("champion", 20, 18)
        # The world has changed: what was hardware is something else now.
        await judged_answers(desk, 30, right=0)
        await looked()
        row = await desk.model(first["id"])
        assert (row["state"], row["promoted_at"]) == ("refused", None)
        assert row["objection"].startswith("Of 50 answers that people judged since")
        async with b.database.transaction(desk.tenant) as work:
            question = await learning.question(work, "topic")
            told = await work.rows(
                "select user_id, kind, data from notifications where tenant_id = :t",
                {"t": desk.tenant},
            )
            audited = await work.rows(
                "select action, actor_kind, data from audit_entries where tenant_id = :t"
                " order by at desc, id desc limit 2",
                {"t": desk.tenant},
            )
        assert (question["model"], question["applied"]) == (None, False)
        assert question["withheld"] == row["objection"]
        assert [(one["user_id"], one["kind"]) for one in told] == [
            (desk.agent, "model_rolled_back")
        ]
        assert told[0]["data"]["answers_now"] == "the model that ships"
        assert {(one["action"], one["actor_kind"]) for one in audited} == {
            ("triage_model.rolled_back", "system"), ("triage_field.changed", "system"),
        }  # fmt: skip
        # Nobody puts it back without insisting, and then it only suggests.
        now = datetime.now(UTC)
        async with b.database.transaction(desk.tenant) as work:
            with pytest.raises(WorseModel, match=r"It was refused\. Of 50 answers"):
                await promoting.promote(
                    work, first["id"], anyway=False, caller=desk.caller, origin=Origin(), now=now
                )
        async with b.database.transaction(desk.tenant) as work:
            await promoting.promote(
                work, first["id"], anyway=True, reason="I know better.", caller=desk.caller,
                origin=Origin(), now=now,
            )  # fmt: skip
        suggested = await desk.triaged("Toner 8 is empty")
        assert (suggested["verdict"]["topic"]["label"], suggested["topic"]) == ("hardware", None)
        # Measured anew, a model of what people say now does it by itself again.
        await desk.teaches(150, wrongly=True)
        second = await desk.trains()
        assert second["state"] == "champion", second["detail"]
        async with b.database.transaction(desk.tenant) as work:
            question = await learning.question(work, "topic")
        assert (question["model"], question["withheld"]) == ("topic-2", None)
        assert question["applied"] is (question["precision"] >= 0.8)
        # Stepping back from it passes over the one that fell.
        async with b.database.transaction(desk.tenant) as work:
            back = await promoting.roll_back(
                work, "topic", caller=desk.caller, origin=Origin(), now=now
            )
        assert back["model"] is None


async def test_what_fell_gives_way_to_what_was_there_before_unless_that_was_worse_still(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        for reached, answers in ((0.95, "topic-1"), (0.3, "topic-2")):
            desk = await Desk.made(b, await make_tenant(), wanted_precision=0.9)
            await desk.teaches(90)
            first, second = await desk.trains(), None
            async with b.database.transaction(desk.tenant) as work:
                # As if a second, with the same file, had been measured to be better.
                second = uuid.uuid4()
                await promoting.retire(work, "topic", replaced_by=2)
                await work.execute(
                    "insert into triage_models (tenant_id, id, field, version, state, measures,"
                    " compared, compared_with, sha256, created_at, promoted_at, threshold)"
                    " select tenant_id, :id, field, 2, 'champion',"
                    ' measures || \'{"precision": 0.97, "answered": 50}\','
                    " measures || jsonb_build_object('precision', cast(:reached as float),"
                    " 'answered', 50), 'version 1', sha256, now(), now(), threshold"
                    " from triage_models where tenant_id = :t and id = :first",
                    {"id": second, "t": desk.tenant, "first": first["id"], "reached": reached},
                )
            await judged_answers(desk, 40, right=24)
            assert await proving.look(b.database, desk.tenant, now=datetime.now(UTC)) == 1
            assert await proving.look(b.database, desk.tenant, now=datetime.now(UTC)) == 0
            async with b.database.transaction(desk.tenant) as work:
                question = await learning.question(work, "topic")
            assert (question["model"], question["applied"]) == (answers, False)
            assert question["withheld"] is not None
            assert (await desk.triaged("Toner 9 is empty"))["topic"] is None


async def test_a_challenger_does_not_profit_from_a_file_that_went_missing(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant, tmp_path: Path
) -> None:
    async with bench(dev_server) as b:
        desk = await Desk.made(b, await make_tenant())
        await desk.teaches(90)
        good = await desk.trains()
        assert good["measures"]["accuracy"] > 0.9
        [file] = [p for p in (tmp_path / "desks").rglob(good["sha256"]) if p.is_file()]
        file.unlink()
        await b.kept.forget(desk.tenant, good["sha256"])
        await desk.teaches(300, wrongly=True)
        await desk.teaches(80)
        bad = await desk.trains()
        assert bad["state"] == "refused", bad["detail"]
        assert bad["compared_with"] == "the model that ships"
        assert bad["detail"].startswith("Surely worse than version 1 was")
        assert (await desk.model(good["id"]))["state"] == "champion"


async def acts(b: Bench, tenant: uuid.UUID, now: datetime) -> tuple[Ticket, uuid.UUID]:
    """A ticket that an agent prioritises, hands to a team, labels and answers."""
    async with b.database.transaction(tenant) as work:
        agent, team = await make_agent(work), await make_team(work)
    ticket = await make_ticket(b.database, b.tickets, tenant, now=now)
    await b.wake(tenant, ticket)
    for payload in (
        Changed(priority=Priority.LOW, team_id=team),
        Labelled(topic="orders"),
        AgentReplied(words()),
    ):
        ticket = await happens(
            b.database, b.tickets, tenant, ticket.number, payload, by=agent, now=now
        )
        await b.wake(tenant, ticket)
    return ticket, team


async def moods_are_filled_in(b: Bench, tenant: uuid.UUID) -> None:
    async with b.database.transaction(tenant) as work:
        await learning.set_field(work, "sentiment", {"apply": "always"}, now=datetime.now(UTC))


async def is_untouched_but_for_the_mood(b: Bench, tenant: uuid.UUID, ticket: Ticket) -> None:
    """What the agent decided stands; a model filled in what nobody had spoken of."""
    row = await b.row(tenant, ticket)
    assert (row["triage"], row["priority"], row["topic"]) == ("done", "low", "orders")
    assert (row["team_id"], row["sentiment"]) == (ticket.team_id, "neutral")
    [event] = [e for e in await b.timeline(tenant, ticket) if e["type"] == "triaged"]
    assert event["data"]["applied"] == ["sentiment"]  # type: ignore[index]


async def test_models_that_are_ill_for_an_hour_delay_no_ticket_and_then_overrule_nobody(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        tenant = await make_tenant()
        await moods_are_filled_in(b, tenant)
        b.classifier.errors = [RuntimeError("model gone")] * 10_000
        begun = await skipping.get_current_time()
        ticket, _ = await acts(b, tenant, begun)
        await skipping.sleep(timedelta(hours=1))
        assert await skipping.get_current_time() >= begun + timedelta(hours=1)
        waiting = await b.current(tenant, ticket)
        assert (waiting["seq"], waiting["status"]) == (ticket.seq, "open")
        assert waiting["effects"] == ["triage"]
        assert len(b.mail.sent) == 1  # the answer went out meanwhile
        assert (await b.row(tenant, ticket))["triage"] == "pending"
        b.classifier.errors.clear()
        await skipping.sleep(timedelta(minutes=6))  # the longest pause between two tries is five
        await b.until_event(tenant, ticket, "triaged")
        await is_untouched_but_for_the_mood(b, tenant, ticket)


async def test_with_nobody_on_the_models_queue_tickets_go_on_and_are_triaged_later(
    dev_server: Client, database: Database, make_tenant: MakeTenant
) -> None:
    tickets, classifier = Tickets(Desks()), FakeClassifier()
    b = Bench(dev_server, database, tickets, FakeMail(), classifier, None, None)  # type: ignore[arg-type]
    tenant = await make_tenant()
    await moods_are_filled_in(b, tenant)
    async with Worker(
        dev_server,
        task_queue=TICKETS,
        workflows=[TicketWorkflow],
        activities=[TicketActivities(database, tickets, search_attributes=True).advance],
        workflow_runner=strict_sandbox(),
    ):
        ticket, _ = await acts(b, tenant, datetime.now(UTC))
        async with asyncio.timeout(20):
            while True:
                waiting = await b.current(tenant, ticket)
                if waiting["seq"] == ticket.seq:
                    break
                await asyncio.sleep(0.05)
        assert "triage" in str(waiting["effects"])
        assert (await b.row(tenant, ticket))["triage"] == "pending"
        with ThreadPoolExecutor(1) as executor:
            triage = TriageActivities(database, tickets, classifier, executor)  # type: ignore[arg-type]
            async with Worker(dev_server, task_queue=MODELS, activities=[triage.triage]):
                await b.until_event(tenant, ticket, "triaged")
        await is_untouched_but_for_the_mood(b, tenant, ticket)
