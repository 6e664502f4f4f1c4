"""The clocks as services feed them: the past, old versions of policies, who counts as whom."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from domain.permissions import Principal, Role, grants_of
from domain.sla import AddTag, Clock, Metric, Notify, Step
from domain.states import Category, Channel
from domain.tickets import (
    SYSTEM,
    AgentReplied,
    Changed,
    CustomerReplied,
    DueSet,
    Escalated,
    Event,
    HandedBack,
    NewMessage,
    NoteAdded,
    Ticket,
    TimeAdvanced,
)
from models import ledger
from models.base import new_id
from models.session import Database
from services import bulk, configuration, merging, timing
from services.bulk import BulkRunner
from services.desks import Desks
from services.tickets import Origin, Requester, TicketRequest, Tickets
from services.tickets import Step as TicketStep
from tests.making import happens, make_agent, make_policy, make_team, make_ticket, words

HOUR = timedelta(hours=1)


@pytest.fixture
def tickets() -> Tickets:
    return Tickets(Desks())


@pytest.fixture
async def supervisor(database: Database, tenant: uuid.UUID) -> Principal:
    async with database.transaction(tenant) as work:
        agent_id = await make_agent(work, "Sue", role="supervisor")
    return Principal(
        tenant_id=tenant,
        tenant_slug="t",
        kind="user",
        id=agent_id,
        role=Role.SUPERVISOR,
        grants=grants_of(Role.SUPERVISOR),
    )


async def clocks(database: Database, ticket: Ticket, tenant: uuid.UUID) -> dict[str, Clock]:
    """The newest cycle of each metric."""
    async with database.transaction(tenant) as work:
        [rows] = await work.batch(ledger.clocks_of(tenant, [ticket.number]))
    return {clock.metric.value: clock for clock in map(ledger.to_clock, rows)}


async def advance(
    database: Database, tickets: Tickets, tenant: uuid.UUID, ticket: Ticket, now: datetime
) -> list[str]:
    """The kinds of entries that time brings."""
    async with database.transaction(tenant) as work:
        event = Event(key=f"time/{ticket.id}/{now}", actor=SYSTEM, payload=TimeAdvanced())
        [outcome] = await tickets.handle(work, TicketStep(ticket.number, event), now=now)
    return [entry.type for entry in outcome.entries]


async def test_a_promise_that_is_new_to_an_old_ticket_knows_the_pauses_before_it(
    database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    opened = datetime.now(UTC) - 10 * HOUR
    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
    ticket = await make_ticket(database, tickets, tenant, now=opened)

    async def at(hours: int, **values: object) -> Ticket:
        return await happens(
            database, tickets, tenant, ticket.number, Changed(**values), by=agent,  # type: ignore[arg-type]
            now=opened + hours * HOUR,
        )  # fmt: skip

    await at(1, status="pending")
    await at(4, status="open")
    async with database.transaction(tenant) as work:
        await make_policy(work, first_reply=None, resolution=8 * HOUR)
    after = await at(5, subject="Timed from here on")
    assert after.resolution_due_at == opened + 11 * HOUR  # eight hours, and the three of the pause
    [pause] = (await clocks(database, ticket, tenant))["resolution"].pauses
    assert (pause.start, pause.end) == (opened + HOUR, opened + 4 * HOUR)


async def test_what_was_due_under_an_old_version_happens_in_a_process_that_never_saw_it(
    database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    step = Step(id="tag", metric=Metric.RESOLUTION, percent=50, action=AddTag(tag="half"))
    opened = datetime.now(UTC)
    async with database.transaction(tenant) as work:
        policy = await make_policy(work, first_reply=None, resolution=2 * HOUR, steps=(step,))
    ticket = await make_ticket(database, tickets, tenant, now=opened)
    async with database.transaction(tenant) as work:
        await configuration.change_policy(
            work, policy.id, name=None, terms={"steps": []}, active=None, now=opened
        )
    other = Tickets(Desks())
    kinds = await advance(database, other, tenant, ticket, opened + 3 * HOUR)
    assert kinds == ["sla_step", "sla_breached"]


async def test_an_old_version_costs_one_more_question_the_first_time_and_none_later(
    database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    async with database.transaction(tenant) as work:
        policy = await make_policy(work)
    ticket = await make_ticket(database, tickets, tenant)
    quiet = await make_ticket(database, tickets, tenant)
    async with database.transaction(tenant) as work:
        await configuration.change_policy(
            work, policy.id, name="Other", terms=None, active=None, now=datetime.now(UTC)
        )
    other = Tickets(Desks())
    trips = []
    for number in (ticket.number, quiet.number, ticket.number):
        async with database.transaction(tenant) as work:
            event = Event(
                key=str(new_id()), actor=SYSTEM, payload=NoteAdded(words()), cause={"test": True}
            )
            await other.handle(work, TicketStep(number, event))
            trips.append(work.trips)
    assert trips == [3, 1, 1]  # the tickets, the desk, the version; then the tickets alone


async def test_an_agent_who_asks_for_themselves_is_a_customer(
    database: Database, tickets: Tickets, tenant: uuid.UUID, supervisor: Principal
) -> None:
    async with database.transaction(tenant) as work:
        await make_policy(work)
        row = await work.row("select email from users where id = :id", {"id": supervisor.id})
        assert row is not None
    async with database.transaction(tenant) as work:
        outcome = await tickets.create(
            work,
            TicketRequest(
                key=str(new_id()),
                subject="My own chair",
                message=NewMessage(new_id(), "It squeaks."),
                channel=Channel.AGENT,
                requester=Requester("email", row["email"].upper().lower(), "Sue"),
            ),
            caller=supervisor,
        )
    own = outcome.ticket
    assert own.first_reply_due_at is not None  # a customer's request is owed a reply
    after = await happens(
        database, tickets, tenant, own.number, AgentReplied(words("Still.")), by=supervisor.id
    )
    assert (after.agent_at, after.category) == (None, Category.NEW)
    assert (await clocks(database, own, tenant))["first_reply"].is_running
    async with database.transaction(tenant) as work:
        colleague = await make_agent(work, "Bo")
    after = await happens(
        database, tickets, tenant, own.number, AgentReplied(words("Oil.")), by=colleague
    )
    assert after.agent_at is not None
    assert not (await clocks(database, own, tenant))["first_reply"].is_running


async def test_an_automatic_reply_reopens_nothing(
    database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
    ticket = await make_ticket(database, tickets, tenant)
    await happens(
        database, tickets, tenant, ticket.number, AgentReplied(words(), status="pending"), by=agent
    )
    said = CustomerReplied(words("I am away."), ticket.requester_id, Channel.EMAIL, automatic=True)
    after = await happens(database, tickets, tenant, ticket.number, said)
    assert after.category is Category.PENDING


@pytest.mark.parametrize(("inherits", "same"), [(True, True), (False, True), (True, False)])
async def test_the_target_counts_from_the_older_start_where_its_policy_says_so(
    database: Database, tickets: Tickets, tenant: uuid.UUID, supervisor: Principal,
    inherits: bool, same: bool,
) -> None:  # fmt: skip
    now = datetime.now(UTC)
    async with database.transaction(tenant) as work:
        policy = await make_policy(work)
        await configuration.change_policy(
            work, policy.id, name=None, terms={"merge_inherits_start": inherits}, active=None,
            now=now,
        )  # fmt: skip
    source = await make_ticket(database, tickets, tenant, now=now - 2 * HOUR)
    target = await make_ticket(
        database, tickets, tenant, now=now - HOUR, email="kim@example.com" if same else "b@c.org"
    )
    async with database.transaction(tenant) as work:
        await merging.merge(
            tickets, work, source=source.number, target=target.number, key="m", caller=supervisor
        )
    start = (await clocks(database, target, tenant))["resolution"].started_at
    assert start == (now - 2 * HOUR if inherits and same else now - HOUR)


@pytest.mark.parametrize("answered", [True, False])
async def test_a_split_ticket_counts_from_its_message_and_owes_what_nobody_has_answered(
    database: Database, tickets: Tickets, tenant: uuid.UUID, supervisor: Principal, answered: bool
) -> None:
    async with database.transaction(tenant) as work:
        await make_policy(work)
    now = datetime.now(UTC)
    ticket = await make_ticket(database, tickets, tenant, now=now - 3 * HOUR)
    second = words("And the invoice?")
    said = CustomerReplied(second, ticket.requester_id, Channel.EMAIL)
    await happens(database, tickets, tenant, ticket.number, said, now=now - 2 * HOUR)
    if answered:
        reply = AgentReplied(words("Both."))
        await happens(
            database, tickets, tenant, ticket.number, reply, by=supervisor.id, now=now - HOUR
        )
    async with database.transaction(tenant) as work:
        parted = await merging.split(
            tickets, work, number=ticket.number, message_ids=[second.id], subject="Invoice",
            key="s", caller=supervisor, from_message=True,
        )  # fmt: skip
    found = await clocks(database, parted.created.ticket, tenant)
    assert found["resolution"].started_at == now - 2 * HOUR
    owed = found.get("first_reply")
    assert (owed is None or not owed.is_running) == answered


async def test_a_step_tells_those_on_call_and_without_any_those_who_lead(
    database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    step = Step(
        id="wake", metric=Metric.FIRST_REPLY, percent=50, action=Notify(to=("on_call",)),
        per_cycle=True,
    )  # fmt: skip
    now = datetime.now(UTC)
    async with database.transaction(tenant) as work:
        await make_policy(work, steps=(step,))
        team = await make_team(work)
        lead = await make_agent(work, "Lea", teams=(team,))
        night = await make_agent(work, "Nico", teams=(team,))
        await work.execute("update team_members set lead = true where user_id = :u", {"u": lead})

    async def told() -> set[uuid.UUID]:
        ticket = await make_ticket(database, tickets, tenant, now=now)
        await happens(
            database, tickets, tenant, ticket.number, Changed(team_id=team), by=lead, now=now
        )
        await advance(database, tickets, tenant, ticket, now + HOUR / 2)
        async with database.transaction(tenant) as work:
            rows = await work.rows(
                "select user_id from notifications where ticket_id = :i and kind = 'sla_warning'",
                {"i": ticket.id},
            )
        return {row["user_id"] for row in rows}

    assert await told() == {lead}
    async with database.transaction(tenant) as work:
        assert await timing.set_on_call(work, team, [night]) == {"on_call": [[], [str(night)]]}
    assert await told() == {night}


async def test_handed_back_a_ticket_is_where_it_was_before_the_first_escalation(
    database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    async with database.transaction(tenant) as work:
        first, second = await make_team(work, "First"), await make_team(work, "Second")
        ada = await make_agent(work, "Ada", teams=(first,))
        boss = await make_agent(work, "Boss", role="supervisor", teams=(second,))
    ticket = await make_ticket(database, tickets, tenant)

    async def does(payload: object, by: uuid.UUID) -> Ticket:
        return await happens(database, tickets, tenant, ticket.number, payload, by=by)  # type: ignore[arg-type]

    await does(Changed(team_id=first, assignee_id=ada), ada)
    await does(Escalated("Help", team_id=second), ada)
    raised = await does(Escalated("Now", assignee_id=boss), ada)
    assert (raised.team_id, raised.assignee_id) == (second, boss)
    async with database.transaction(tenant) as work:
        before = await timing.before_escalation(work, ticket.number)
    assert before == (first, ada)
    after = await does(HandedBack("Done", *before), boss)
    assert (after.team_id, after.assignee_id, after.escalation) == (first, ada, None)
    async with database.transaction(tenant) as work:
        [told] = await work.rows(
            "select user_id from notifications where ticket_id = :i and kind = 'handed_back'",
            {"i": ticket.id},
        )
    assert told["user_id"] == ada


async def test_a_batch_times_open_tickets_anew_and_reports_which_are_late_because_of_it(
    database: Database, tickets: Tickets, tenant: uuid.UUID, supervisor: Principal
) -> None:
    now = datetime.now(UTC)
    async with database.transaction(tenant) as work:
        policy = await make_policy(work, first_reply=None, resolution=8 * HOUR)
    old = await make_ticket(database, tickets, tenant, now=now - 3 * HOUR)
    new = await make_ticket(database, tickets, tenant, now=now)
    done = await make_ticket(database, tickets, tenant, now=now)
    await happens(
        database, tickets, tenant, done.number, Changed(status="resolved"), by=supervisor.id
    )
    moved = await make_ticket(database, tickets, tenant, now=now - HOUR)
    await happens(
        database, tickets, tenant, moved.number,
        DueSet(Metric.RESOLUTION, now + 5 * HOUR, "agreed"), by=supervisor.id,
    )  # fmt: skip
    async with database.transaction(tenant) as work:
        await configuration.change_policy(
            work, policy.id, name=None, active=None, now=now,
            terms={"targets": {"resolution": {"normal": 2 * HOUR}}},
        )  # fmt: skip
        job = await bulk.retime(work, [policy.id], caller=supervisor, origin=Origin(), now=now)
    assert job["total"] == 3
    runner = BulkRunner(database, tickets)
    while (await runner.chunk(tenant, job["id"], now=now)).state == "running":
        pass
    async with database.transaction(tenant) as work:
        ended = await bulk.job(work, job["id"], supervisor)
        items = await bulk.items(work, job["id"], supervisor, after=0, limit=10)
    assert (ended["state"], ended["counts"]) == ("finished", {"done": 3})
    assert ended["codes"] == {"breached": 1}
    assert {row["number"]: row["code"] for row in items} == {
        old.number: "breached", new.number: None, moved.number: None,
    }  # fmt: skip
    assert (await clocks(database, new, tenant))["resolution"].due_at == now + 2 * HOUR
    assert (await clocks(database, moved, tenant))["resolution"].due_at == now + 5 * HOUR
    late = (await clocks(database, old, tenant))["resolution"]
    assert (late.caused_by, late.breached_at is not None) == ("policy_change", True)
    async with database.transaction(tenant) as work:  # again, nothing is left to do
        job = await bulk.retime(work, [policy.id], caller=supervisor, origin=Origin(), now=now)
    assert job["total"] == 0
