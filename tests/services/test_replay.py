"""A ticket's rows agree with what its timeline alone says."""

import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from domain.errors import Refusal
from domain.sla import AddTag, Metric, RaisePriority, Step
from domain.states import Channel, Priority
from domain.tickets import (
    AgentReplied,
    Changed,
    CustomerReplied,
    Escalated,
    NoteAdded,
    Payload,
    Snoozed,
    TimeAdvanced,
)
from models.session import Database
from services.desks import Desks
from services.tickets import Tickets
from tests.invariants import broken
from tests.making import happens, make_agent, make_policy, make_team, make_ticket, words


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_the_rows_agree_with_the_timeline(
    database: Database, tenant: uuid.UUID, seed: int
) -> None:
    chance = random.Random(seed)
    tickets = Tickets(Desks())
    async with database.transaction(tenant) as work:
        team = await make_team(work)
        agent = await make_agent(work, teams=(team,))
        step = timedelta(minutes=20)
        await make_policy(
            work,
            first_reply=timedelta(minutes=50),
            resolution=timedelta(hours=4),
            steps=(
                Step(id="up", metric=Metric.FIRST_REPLY, offset=-step, action=RaisePriority()),
                Step(id="tag", metric=Metric.RESOLUTION, offset=step, action=AddTag(tag="late")),
            ),
        )
    now = datetime(2026, 3, 2, 9, tzinfo=UTC)
    made = [await make_ticket(database, tickets, tenant, now=now) for _ in range(4)]
    for _ in range(60):
        now += timedelta(minutes=chance.randrange(0, 90))
        ticket = chance.choice(made)
        payloads: list[tuple[Payload, bool]] = [
            (CustomerReplied(words(), ticket.requester_id, Channel.EMAIL), False),
            (AgentReplied(words()), True),
            (AgentReplied(words(), status=chance.choice(["pending", "resolved", "open"])), True),
            (NoteAdded(words()), True),
            (Changed(priority=chance.choice(list(Priority))), True),
            (Changed(status=chance.choice(["pending", "on_hold", "open", "resolved"])), True),
            (Changed(team_id=team, assignee_id=agent), True),
            (Escalated("it burns", team_id=team), True),
            (Snoozed(now + timedelta(hours=2), True), True),
            (TimeAdvanced(), True),
        ]
        payload, by_agent = chance.choice(payloads)
        try:
            await happens(
                database, tickets, tenant, ticket.number, payload,
                by=agent if by_agent else None, now=now,
            )  # fmt: skip
        except Refusal:
            continue
    for ticket in made:  # brought up to the hour, as their workflows would have done
        await happens(database, tickets, tenant, ticket.number, TimeAdvanced(), by=agent, now=now)
    assert await broken(database, tenant, now=now) == []


async def test_a_row_that_disagrees_with_its_timeline_is_found(
    database: Database, tenant: uuid.UUID
) -> None:
    tickets = Tickets(Desks())
    async with database.transaction(tenant) as work:
        await make_policy(work)
    ticket = await make_ticket(database, tickets, tenant)
    assert await broken(database, tenant, now=ticket.updated_at) == []
    async with database.transaction(tenant) as work:
        await work.execute("update clocks set due_at = due_at + interval '1 minute'")
        await work.execute("update tickets set priority = 'urgent', seq = 2")
    faults = await broken(database, tenant, now=ticket.updated_at)
    assert len(faults) == 4  # two clocks, the priority, the seq
