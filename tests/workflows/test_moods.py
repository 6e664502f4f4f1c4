"""The mood of later messages, read on the queue of the models while tickets go on."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from domain.states import Channel
from domain.tickets import Changed, CustomerReplied, Labelled, Ticket
from services import learning
from tests.conftest import MakeTenant
from tests.making import happens, make_agent, make_ticket, words
from tests.workflows.conftest import Bench, MakeBench

pytestmark = pytest.mark.temporal

FURIOUS = "Third time I write and still no answer. Unacceptable!!"


async def begun(b: Bench, tenant: uuid.UUID) -> Ticket:
    """A ticket after its first triage, on a desk that fills moods in."""
    async with b.database.transaction(tenant) as work:
        await learning.set_field(work, "sentiment", {"apply": "always"}, now=datetime.now(UTC))
    ticket = await make_ticket(b.database, b.tickets, tenant)
    await b.wake(tenant, ticket)
    await b.until_event(tenant, ticket, "triaged")
    return ticket


async def writes(b: Bench, tenant: uuid.UUID, ticket: Ticket, text: str) -> Ticket:
    return await happens(
        b.database, b.tickets, tenant, ticket.number,
        CustomerReplied(words(text), ticket.requester_id, Channel.EMAIL),
    )  # fmt: skip


async def readings(b: Bench, tenant: uuid.UUID, ticket: Ticket) -> list[dict[str, object]]:
    return [e for e in await b.timeline(tenant, ticket) if e["type"] == "mood_read"]


async def test_each_message_is_read_anew_and_the_score_goes_with_it(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(dev_server) as b:
        tenant = await make_tenant()
        ticket = await begun(b, tenant)
        assert (await b.row(tenant, ticket))["frustration"] == "none"
        wrote = await writes(b, tenant, ticket, f"{FURIOUS}\n\n> All is well, they said.")
        await b.wake(tenant, wrote)
        await b.settled(tenant, wrote)
        row = await b.row(tenant, ticket)
        assert (row["sentiment"], row["frustration"], row["mood_due"]) == ("neutral", "high", None)
        assert int(str(row["pressure"])) > wrote.pressure
        assert row["topic"] == wrote.topic

        quoted = await writes(b, tenant, ticket, f"> {FURIOUS}")
        await b.wake(tenant, quoted)
        await b.settled(tenant, quoted)
        first, second = await readings(b, tenant, ticket)
        assert first["data"]["message_seq"] == wrote.seq  # type: ignore[index]
        assert "frustration" not in second["data"]  # type: ignore[operator]
        assert (await b.row(tenant, ticket))["frustration"] == "high"


async def test_messages_that_came_while_models_were_ill_are_read_as_one_and_delayed_nothing(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        tenant = await make_tenant()
        ticket = await begun(b, tenant)
        b.classifier.errors = [RuntimeError("model gone")] * 10_000
        for text in ("One.", "Two.", FURIOUS):
            ticket = await writes(b, tenant, ticket, text)
            await b.wake(tenant, ticket)
        await skipping.sleep(timedelta(hours=1))
        waiting = await b.current(tenant, ticket)
        assert (waiting["seq"], waiting["effects"]) == (ticket.seq, ["triage"])
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
        ticket = await happens(
            b.database, b.tickets, tenant, ticket.number, Changed(subject="Goes on"), by=agent
        )
        await b.wake(tenant, ticket)
        assert (await b.row(tenant, ticket))["subject"] == "Goes on"
        b.classifier.errors.clear()
        await skipping.sleep(timedelta(minutes=6))
        await b.until_event(tenant, ticket, "mood_read")
        await b.settled(tenant, ticket)
        row = await b.row(tenant, ticket)
        assert (row["frustration"], row["mood_due"]) == ("high", None)
        assert len(await readings(b, tenant, ticket)) == 1


async def test_what_a_person_says_while_a_model_reads_stands(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    async with bench(skipping.client) as b:
        tenant = await make_tenant()
        ticket = await begun(b, tenant)
        b.classifier.errors = [RuntimeError("model gone")] * 10_000
        ticket = await writes(b, tenant, ticket, FURIOUS)
        await b.wake(tenant, ticket)
        async with b.database.transaction(tenant) as work:
            agent = await make_agent(work)
        ticket = await happens(
            b.database, b.tickets, tenant, ticket.number, Labelled(sentiment="positive"), by=agent
        )
        await b.wake(tenant, ticket)
        b.classifier.errors.clear()
        await skipping.sleep(timedelta(minutes=6))
        await b.settled(tenant, ticket)
        row = await b.row(tenant, ticket)
        assert (row["sentiment"], row["frustration"]) == ("positive", None)
        assert await readings(b, tenant, ticket) == []
