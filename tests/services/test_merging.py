"""Merging, unmerging and splitting on a real Postgres."""

import asyncio
import uuid
from datetime import timedelta

import pytest

from domain.errors import Conflict, Invalid, TicketMerged
from domain.permissions import Principal, Role, grants_of
from domain.states import Category, Channel
from domain.tickets import AgentReplied, Changed, CustomerReplied, NoteAdded, Ticket, Watched
from models.session import Database
from services import merging
from services.desks import Desks
from services.tickets import Tickets
from tests.making import happens, make_agent, make_policy, make_ticket, words


@pytest.fixture
def tickets() -> Tickets:
    return Tickets(Desks())


@pytest.fixture
async def agent(database: Database, tenant: uuid.UUID) -> Principal:
    async with database.transaction(tenant) as work:
        agent_id = await make_agent(work, role="supervisor")
    return Principal(
        tenant_id=tenant,
        tenant_slug="t",
        kind="user",
        id=agent_id,
        role=Role.SUPERVISOR,
        grants=grants_of(Role.SUPERVISOR),
    )


async def merge(
    database: Database, tickets: Tickets, caller: Principal, source: Ticket, target: Ticket
) -> merging.Merging:
    async with database.transaction(caller.tenant_id) as work:
        return await merging.merge(
            tickets, work, source=source.number, target=target.number,
            key=str(uuid.uuid4()), caller=caller,
        )  # fmt: skip


async def unmerge(
    database: Database, tickets: Tickets, caller: Principal, source: Ticket
) -> merging.Merging:
    async with database.transaction(caller.tenant_id) as work:
        return await merging.unmerge(
            tickets, work, source=source.number, key=str(uuid.uuid4()), caller=caller
        )


async def texts(database: Database, tenant: uuid.UUID, ticket: Ticket) -> list[str]:
    async with database.transaction(tenant) as work:
        rows = await work.rows(
            "select body_text from messages where tenant_id = :t and ticket_id = :i"
            " order by created_at, id",
            {"t": tenant, "i": ticket.id},
        )
    return [row["body_text"] for row in rows]


async def test_replies_to_a_merged_ticket_go_to_its_target_and_come_home_with_it(
    database: Database, tickets: Tickets, tenant: uuid.UUID, agent: Principal
) -> None:
    source = await make_ticket(database, tickets, tenant, text="source")
    target = await make_ticket(database, tickets, tenant, text="target")
    result = await merge(database, tickets, agent, source, target)
    assert result.source.ticket.category is Category.MERGED
    assert await texts(database, tenant, source) == []
    assert await texts(database, tenant, target) == ["source", "target"]

    reply = CustomerReplied(words("late answer"), source.requester_id, Channel.EMAIL)
    answered = await happens(database, tickets, tenant, source.number, reply)
    assert answered.id == target.id
    assert await texts(database, tenant, target) == ["source", "target", "late answer"]
    with pytest.raises(TicketMerged):
        await happens(database, tickets, tenant, source.number, AgentReplied(words()), by=agent.id)

    back = await unmerge(database, tickets, agent, source)
    assert back.source.ticket.category is Category.NEW
    assert await texts(database, tenant, source) == ["source", "late answer"]
    assert await texts(database, tenant, target) == ["target"]


async def test_a_chain_of_merges_leads_to_its_end_and_is_taken_apart_from_any_link(
    database: Database, tickets: Tickets, tenant: uuid.UUID, agent: Principal
) -> None:
    a, b, c = [await make_ticket(database, tickets, tenant, text=t) for t in "abc"]
    await merge(database, tickets, agent, a, b)
    await merge(database, tickets, agent, b, c)
    reply = CustomerReplied(words("to a"), a.requester_id, Channel.EMAIL)
    assert (await happens(database, tickets, tenant, a.number, reply)).id == c.id
    assert await texts(database, tenant, c) == ["a", "b", "c", "to a"]
    await unmerge(database, tickets, agent, b)
    assert await texts(database, tenant, b) == ["a", "b", "to a"]
    assert await texts(database, tenant, c) == ["c"]
    await unmerge(database, tickets, agent, a)
    assert await texts(database, tenant, a) == ["a", "to a"]
    assert await texts(database, tenant, b) == ["b"]


async def test_two_opposite_merges_at_once_leave_one_ticket_standing(
    database: Database, tickets: Tickets, tenant: uuid.UUID, agent: Principal
) -> None:
    for _ in range(5):
        a = await make_ticket(database, tickets, tenant)
        b = await make_ticket(database, tickets, tenant)
        outcomes = await asyncio.gather(
            merge(database, tickets, agent, a, b),
            merge(database, tickets, agent, b, a),
            return_exceptions=True,
        )
        refused = [o for o in outcomes if isinstance(o, BaseException)]
        assert [type(o) for o in refused] == [TicketMerged]


async def test_merging_into_itself_or_unmerging_what_is_not_merged_is_refused(
    database: Database, tickets: Tickets, tenant: uuid.UUID, agent: Principal
) -> None:
    a = await make_ticket(database, tickets, tenant)
    with pytest.raises(Invalid):
        await merge(database, tickets, agent, a, a)
    with pytest.raises(Conflict):
        await unmerge(database, tickets, agent, a)


async def test_merging_cancels_the_clocks_and_unmerging_promises_again(
    database: Database, tickets: Tickets, tenant: uuid.UUID, agent: Principal
) -> None:
    async with database.transaction(tenant) as work:
        await make_policy(work, resolution=timedelta(hours=8))
    a = await make_ticket(database, tickets, tenant)
    b = await make_ticket(database, tickets, tenant)
    assert a.resolution_due_at is not None
    merged = (await merge(database, tickets, agent, a, b)).source.ticket
    assert (merged.next_due_at, merged.deadline_at) == (None, None)
    back = (await unmerge(database, tickets, agent, a)).source.ticket
    assert back.first_reply_due_at == a.first_reply_due_at
    assert back.resolution_due_at == a.resolution_due_at
    assert back.deadline_at is not None


async def test_what_a_merge_changed_is_put_back_as_it_was(
    database: Database, tickets: Tickets, tenant: uuid.UUID, agent: Principal
) -> None:
    a = await make_ticket(database, tickets, tenant)
    b = await make_ticket(database, tickets, tenant)
    changed = await happens(
        database, tickets, tenant, a.number,
        Changed(assignee_id=agent.id, status="pending", add_tags=("vip",)), by=agent.id,
    )  # fmt: skip
    await merge(database, tickets, agent, a, b)
    back = (await unmerge(database, tickets, agent, a)).source.ticket
    for name in ("status", "category", "assignee_id", "tags", "merged_into", "priority"):
        assert getattr(back, name) == getattr(changed, name), name


async def test_split_off_messages_make_a_ticket_of_the_same_customer_linked_both_ways(
    database: Database, tickets: Tickets, tenant: uuid.UUID, agent: Principal
) -> None:
    source = await make_ticket(database, tickets, tenant, text="first thing")
    second = words("second thing")
    await happens(
        database, tickets, tenant, source.number,
        CustomerReplied(second, source.requester_id, Channel.EMAIL),
    )  # fmt: skip
    async with database.transaction(tenant) as work:
        result = await merging.split(
            tickets, work, number=source.number, message_ids=[second.id],
            subject="The second thing", key=str(uuid.uuid4()), caller=agent,
        )  # fmt: skip
    new = result.created.ticket
    assert (new.subject, new.requester_id) == ("The second thing", source.requester_id)
    assert await texts(database, tenant, source) == ["first thing"]
    assert await texts(database, tenant, new) == ["second thing"]
    async with database.transaction(tenant) as work:
        relation = await work.row(
            "select source_id, kind, target_id from relations where tenant_id = :t", {"t": tenant}
        )
    assert relation == {"source_id": new.id, "kind": "split_from", "target_id": source.id}


async def test_a_split_takes_some_messages_never_all_and_never_others(
    database: Database, tickets: Tickets, tenant: uuid.UUID, agent: Principal
) -> None:
    only = await make_ticket(database, tickets, tenant)
    other = await make_ticket(database, tickets, tenant)
    async with database.transaction(tenant) as work:
        mine = await work.rows("select id from messages where ticket_id = :i", {"i": only.id})
        theirs = await work.rows("select id from messages where ticket_id = :i", {"i": other.id})
    for chosen in (mine, theirs, []):
        with pytest.raises(Invalid):
            async with database.transaction(tenant) as work:
                await merging.split(
                    tickets, work, number=only.number, message_ids=[r["id"] for r in chosen],
                    subject=None, key=str(uuid.uuid4()), caller=agent,
                )  # fmt: skip


async def test_who_watches_a_ticket_hears_of_answers_and_notes_but_not_of_their_own(
    database: Database, tickets: Tickets, tenant: uuid.UUID, agent: Principal
) -> None:
    async with database.transaction(tenant) as work:
        watcher = await make_agent(work, "Wanda")
    ticket = await make_ticket(database, tickets, tenant)
    await happens(database, tickets, tenant, ticket.number, Watched(watcher), by=watcher)
    await happens(database, tickets, tenant, ticket.number, AgentReplied(words()), by=agent.id)
    await happens(database, tickets, tenant, ticket.number, NoteAdded(words()), by=watcher)
    await happens(
        database, tickets, tenant, ticket.number,
        CustomerReplied(words(), ticket.requester_id, Channel.EMAIL),
    )  # fmt: skip
    async with database.transaction(tenant) as work:
        told = await work.rows(
            "select kind from notifications where user_id = :u order by seq", {"u": watcher}
        )
    assert [row["kind"] for row in told] == ["agent_replied", "customer_replied"]
