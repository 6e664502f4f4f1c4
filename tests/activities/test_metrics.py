"""What activities count: lateness, deliveries, verdicts."""

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from temporalio.exceptions import ApplicationError

from activities.deliveries import DeliveryActivities
from activities.tickets import TicketActivities
from activities.triage import TriageActivities
from domain.lifecycle import Advance, Effect, EffectInput, TicketRef
from domain.mail import MailRefused, MailUnreachable, OutgoingMail
from domain.tickets import AgentReplied, Ticket
from domain.triage import Guess, Verdict
from models.session import Database
from services import audit
from services.desks import Desks
from services.tickets import Tickets
from tests.conftest import Urls
from tests.making import happens, make_agent, make_policy, make_ticket, words


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def ref_of(tenant: uuid.UUID, ticket: Ticket) -> TicketRef:
    return TicketRef(tenant_id=tenant, slug="t", number=ticket.number)


@pytest.fixture
def tickets() -> Tickets:
    return Tickets(Desks())


async def test_a_breach_is_as_late_as_it_was_noticed_and_counted_once(
    database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    async with database.transaction(tenant) as work:
        await make_policy(work)
    opened = datetime.now(UTC)
    ticket = await make_ticket(database, tickets, tenant, now=opened)
    due = ticket.first_reply_due_at
    assert due is not None
    asked = Advance(
        ticket=ref_of(tenant, ticket), now=due + timedelta(seconds=40), cursor=0, run_id="r"
    )
    activities = TicketActivities(database, tickets, search_attributes=False)
    count, total = (
        counted(f"timer_lateness_seconds_{part}", kind="sla_breached") for part in ("count", "sum")
    )
    await activities.advance(asked)
    await activities.advance(asked)  # as Temporal may
    late = counted("timer_lateness_seconds_sum", kind="sla_breached") - total
    assert counted("timer_lateness_seconds_count", kind="sla_breached") - count == 1
    assert late == pytest.approx(40, abs=0.1)


@dataclass
class Mailbox:
    error: Exception | None = None

    async def send(self, mail: OutgoingMail) -> None:
        if self.error:
            raise self.error


@pytest.mark.parametrize(
    ("error", "state"),
    [(None, "sent"), (MailRefused("no"), "failed"), (RuntimeError("broke off"), "unknown")],
)
async def test_a_delivery_counts_when_it_reaches_its_final_state(
    database: Database, tickets: Tickets, tenant: uuid.UUID, error: Exception | None, state: str
) -> None:
    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
    ticket = await make_ticket(database, tickets, tenant)
    await happens(database, tickets, tenant, ticket.number, AgentReplied(words()), by=agent)
    async with database.transaction(tenant) as work:
        [row] = await work.rows("select id from deliveries where ticket_id = :i", {"i": ticket.id})
    asked = EffectInput(
        ticket=ref_of(tenant, ticket), effect=Effect(kind="mail", id=str(row["id"])), run_id="r"
    )
    before = counted("deliveries_total", state=state)
    everything = sum(counted("deliveries_total", state=s) for s in ("sent", "failed", "unknown"))
    with pytest.raises(ApplicationError):  # not final: it is tried again
        await DeliveryActivities(database, Mailbox(MailUnreachable("away"))).deliver(asked)
    await DeliveryActivities(database, Mailbox(error)).deliver(asked)
    await DeliveryActivities(database, Mailbox(error)).deliver(asked)
    assert counted("deliveries_total", state=state) - before == 1
    after = sum(counted("deliveries_total", state=s) for s in ("sent", "failed", "unknown"))
    assert after - everything == 1


@dataclass
class Model:
    unsure: bool = False
    error: Exception | None = None

    def classify(self, subject: str, body: str) -> Verdict:
        if self.error:
            raise self.error
        guess = Guess(label="normal", probability=0.9, abstained=False, top=())
        topic = Guess(label="billing", probability=0.9, abstained=self.unsure, top=())
        return Verdict(topic=topic, priority=guess, sentiment=guess, model_version="1")


@pytest.mark.parametrize(
    ("model", "outcome"),
    [
        (Model(), "decided"),
        (Model(unsure=True), "unsure"),
        (Model(error=ValueError("ill")), "failed"),
    ],
)
async def test_a_verdict_counts_by_what_it_was(
    database: Database, tickets: Tickets, tenant: uuid.UUID, model: Model, outcome: str
) -> None:
    ticket = await make_ticket(database, tickets, tenant)
    asked = EffectInput(
        ticket=ref_of(tenant, ticket), effect=Effect(kind="triage", id="triage"), run_id="r"
    )
    before = counted("triage_total", outcome=outcome)
    with ThreadPoolExecutor(1) as executor:
        activities = TriageActivities(database, tickets, model, executor)  # type: ignore[arg-type]
        if model.error:
            with pytest.raises(ValueError, match="ill"):
                await activities.triage(asked)
        else:
            await activities.triage(asked)
            await activities.triage(asked)
    assert counted("triage_total", outcome=outcome) - before == 1


async def test_the_age_of_what_is_not_sealed_is_measured(
    urls: Urls, database: Database, tenant: uuid.UUID
) -> None:
    async with database.transaction(tenant) as work:
        await audit.record(
            work, caller=None, origin=None, action="test", target_kind="test", target_id=None,
            now=datetime.now(UTC) - timedelta(minutes=5),
        )  # fmt: skip
    everything = Database(urls.relay, pool_size=1)
    sealing = asyncio.create_task(audit.seal_all(everything, database, every=0.05))
    try:
        async with asyncio.timeout(10):
            while counted("audit_unsealed_age_seconds") < 290:
                await asyncio.sleep(0.002)
            while counted("audit_unsealed_age_seconds") > 60:
                await asyncio.sleep(0.01)
    finally:
        sealing.cancel()
        await asyncio.gather(sealing, return_exceptions=True)
        await everything.close()
