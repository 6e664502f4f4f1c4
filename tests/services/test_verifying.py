"""A desk's rows are recounted from its timelines; a row that was tampered with is named."""

import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from domain.calendars import Calendar
from domain.errors import Refusal
from domain.sla import AddTag, Metric, RaisePriority, Step
from domain.states import Channel, Priority
from domain.tickets import (
    AgentReplied,
    Changed,
    CustomerReplied,
    DueSet,
    Payload,
    Retimed,
    TimeAdvanced,
)
from models.session import Database
from services.desks import Desks
from services.tickets import Tickets
from services.verifying import verify
from tests.making import happens, make_agent, make_policy, make_team, make_ticket, words

pytestmark = pytest.mark.slow  # minute by minute

OFFICE = Calendar.model_validate(
    {
        "timezone": "Europe/Berlin",
        "weekly": {d: [["09:00", "12:00"], ["13:00", "17:00"]] for d in ("mon", "tue", "thu")},
    }
)
MONDAY = datetime(2026, 3, 2, 7, tzinfo=UTC)


async def busy_desk(
    database: Database, tenant: uuid.UUID, *, seed: int, tickets: int, events: int
) -> list[int]:
    """A desk on which a lot has happened; the numbers of its tickets."""
    chance = random.Random(seed)
    desk = Tickets(Desks())
    async with database.transaction(tenant) as work:
        team = await make_team(work)
        agent = await make_agent(work, teams=(team,))
        ahead, behind = timedelta(minutes=-20), timedelta(minutes=30)
        await make_policy(
            work,
            first_reply=timedelta(minutes=50),
            resolution=timedelta(hours=6),
            calendar=OFFICE,
            steps=(
                Step(id="up", metric=Metric.FIRST_REPLY, offset=ahead, action=RaisePriority()),
                Step(id="tag", metric=Metric.RESOLUTION, offset=behind, action=AddTag(tag="late")),
            ),
        )
    now = MONDAY
    made = [await make_ticket(database, desk, tenant, now=now) for _ in range(tickets)]
    for _ in range(events):
        now += timedelta(minutes=chance.randrange(0, 60))
        ticket = chance.choice(made)
        due = now + timedelta(hours=chance.randrange(1, 40))
        payloads: list[tuple[Payload, bool]] = [
            (CustomerReplied(words(), ticket.requester_id, Channel.EMAIL), False),
            (AgentReplied(words()), True),
            (AgentReplied(words(), status=chance.choice(["pending", "resolved", "open"])), True),
            (Changed(priority=chance.choice(list(Priority))), True),
            (Changed(status=chance.choice(["pending", "on_hold", "open", "resolved"])), True),
            (Changed(team_id=team, assignee_id=agent), True),
            (DueSet(Metric.RESOLUTION, chance.choice([due, None]), "agreed"), True),
            (Retimed(), True),
            (TimeAdvanced(), True),
        ]
        payload, by_agent = chance.choice(payloads)
        try:
            await happens(
                database, desk, tenant, ticket.number, payload,
                by=agent if by_agent else None, now=now,
            )  # fmt: skip
        except Refusal:
            continue
    return [ticket.number for ticket in made]


@pytest.mark.parametrize("seed", range(3))
async def test_a_busy_desk_agrees_with_its_recount(
    database: Database, tenant: uuid.UUID, seed: int
) -> None:
    await busy_desk(database, tenant, seed=seed, tickets=8, events=100)
    found = await verify(database, tenant)
    assert [str(fault) for fault in found.faults] == []
    assert found.tickets == 8
    assert found.cycles >= 16


@pytest.mark.parametrize(
    "tampering",
    [
        "update clocks set breached_at = breached_at + interval '1 minute'"
        " where breached_at is not null",
        "update clocks set outcome = 'met', breached_at = null where outcome = 'missed'",
        "update clocks set target = target + interval '1 hour'",
        "update clocks set started_at = started_at + interval '1 second'",
        "delete from clocks where metric = 'resolution'",
    ],
)
async def test_a_row_that_was_tampered_with_is_found_and_named(
    database: Database, tenant: uuid.UUID, tampering: str
) -> None:
    numbers = await busy_desk(database, tenant, seed=7, tickets=3, events=50)
    async with database.transaction(tenant) as work:
        row = await work.row(
            "select t.id, t.number from tickets t join clocks c on c.tenant_id = t.tenant_id"
            " and c.ticket_id = t.id and c.metric = 'resolution'"
            " join clocks m on m.tenant_id = t.tenant_id and m.ticket_id = t.id"
            " and m.outcome = 'missed' where t.tenant_id = :t order by t.number desc limit 1",
            {"t": tenant},
        )
        assert row is not None
        where = " and" if " where " in tampering else " where"
        await work.execute(
            f"{tampering}{where} tenant_id = :t and ticket_id = :i",
            {"t": tenant, "i": row["id"]},
        )
    [fault] = (await verify(database, tenant)).faults
    assert fault.number == row["number"]
    assert fault.number in numbers
    assert fault.found.metric
    assert fault.found.cycle >= 1
    assert str(fault).startswith(f"ticket {fault.number}: {fault.found.metric} cycle")
