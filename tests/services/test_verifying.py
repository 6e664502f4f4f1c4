"""A desk's rows are recounted from its timelines; a row that was tampered with is named."""

import random
import uuid
from datetime import UTC, datetime, timedelta
from functools import cache

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import Jsonb

from domain.calendars import Calendar
from domain.errors import Refusal
from domain.sla import AddTag, Metric, RaisePriority, Step
from domain.states import Channel, Priority
from domain.tickets import (
    Acknowledged,
    AgentReplied,
    Changed,
    CustomerReplied,
    DueSet,
    MergedInto,
    Payload,
    Retimed,
    TimeAdvanced,
)
from domain.verify import Hours
from models.session import Database
from services import verifying
from services.desks import Desks
from services.tickets import Tickets
from services.verifying import verify
from tests.conftest import Urls
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


async def told_desk(database: Database, tenant: uuid.UUID, superuser: str) -> None:
    """A desk with tickets that have everything a row can hold."""
    desk = Tickets(Desks())
    async with database.transaction(tenant) as work:
        team, other = await make_team(work), await make_team(work, "Other")
        agent = await make_agent(work, teams=(team, other))
        policy = await make_policy(
            work,
            first_reply=timedelta(minutes=50),
            resolution=timedelta(hours=6),
            calendar=OFFICE,
            steps=(
                Step(id="tag", metric=Metric.FIRST_REPLY, offset=timedelta(),
                     action=AddTag(tag="late")),
            ),
        )  # fmt: skip
    body = policy.model_dump(mode="json")
    body["max_pause"] = {"resolution": "PT2H"}
    days = {name: {"business_days": 2} for name in body["targets"]["resolution"]}
    body["targets"]["agent_work"] = days
    async with await psycopg.AsyncConnection.connect(superuser) as connection:
        await connection.execute(
            "update policy_versions set body = %s where tenant_id = %s", (Jsonb(body), tenant)
        )
    ticket = await make_ticket(database, desk, tenant, now=MONDAY)
    steps: list[tuple[int, Payload, bool]] = [
        (10, Changed(team_id=team, assignee_id=agent), True),
        (130, TimeAdvanced(), False),
        (150, AgentReplied(words(), status="pending"), True),
        (200, DueSet(Metric.RESOLUTION, MONDAY + timedelta(hours=100), "agreed"), True),
        (210, CustomerReplied(words(), ticket.requester_id, Channel.EMAIL), False),
        (215, Acknowledged(MONDAY + timedelta(hours=6)), True),
        (220, Changed(status="resolved"), True),
        (230, CustomerReplied(words(), ticket.requester_id, Channel.EMAIL), False),
        (240, Changed(status="on_hold"), True),
        (300, Changed(status="open"), True),
    ]
    for minutes, payload, by_agent in steps:
        await happens(
            database, desk, tenant, ticket.number, payload,
            by=agent if by_agent else None, now=MONDAY + timedelta(minutes=minutes),
        )  # fmt: skip
    merged = await make_ticket(database, desk, tenant, now=MONDAY)
    await happens(
        database, desk, tenant, merged.number, MergedInto(ticket.id, ticket.number),
        by=agent, now=MONDAY + timedelta(minutes=20),
    )  # fmt: skip


ANY = "00000000-0000-7000-8000-000000000007"
# Each column that says something about a promise, where it says it, and a lie about it.
LIES: list[tuple[str, str, str]] = [
    ("policy_id", "true", f"'{ANY}'"),
    ("policy_version", "true", "policy_version + 1"),
    ("calendar_id", "true", f"'{ANY}'"),
    ("calendar_version", "true", "calendar_version + 1"),
    ("target", "true", "target + interval '1 second'"),
    ("target_days", "metric = 'agent_work'", "target_days + 1"),
    ("target_days", "metric = 'first_reply'", "1"),
    ("started_at", "true", "started_at + interval '1 second'"),
    ("planned_at", "true", "planned_at - interval '1 second'"),
    ("planned_because", "true", "'priority_change'"),
    ("due_at", "due_at is not null", "due_at + interval '1 second'"),
    ("due_at", "due_at is not null", "null"),
    ("pauses", "pauses <> '[]'", "'[]'"),
    ("pauses", "pauses = '[]'",
     """'[{"start": "2026-03-02T08:30:00Z", "end": "2026-03-02T08:40:00Z"}]'"""),
    ("stopped_at", "stopped_at is not null", "stopped_at + interval '1 second'"),
    ("outcome", "outcome = 'missed'", "'met'"),
    ("outcome", "outcome = 'met'", "'missed'"),
    ("outcome", "outcome = 'cancelled'", "'met'"),
    ("cancelled_because", "outcome = 'cancelled'", "'resolved'"),
    ("cancelled_because", "outcome = 'cancelled'", "null"),
    ("cancelled_because", "outcome = 'missed'", "'no target'"),
    ("breached_at", "breached_at is not null", "breached_at + interval '1 second'"),
    ("breached_at", "breached_at is not null", "null"),
    ("breached_at", "breached_at is null and stopped_at is not null", "stopped_at"),
    ("detected_at", "detected_at is not null", "breached_at"),
    ("detected_at", "detected_at is not null", "detected_at + interval '1 hour'"),
    ("detected_at", "detected_at is not null", "null"),
    ("caused_by", "breached_at is not null", "'policy_change'"),
    ("caused_by", "breached_at is null", "'policy_change'"),
    ("team_id", "breached_at is not null", f"'{ANY}'"),
    ("team_id", "breached_at is not null", "null"),
    ("team_id", "breached_at is null", f"'{ANY}'"),
    ("assignee_id", "breached_at is not null", f"'{ANY}'"),
    ("assignee_id", "breached_at is not null", "null"),
    ("due_override", "due_override is not null", "null"),
    ("due_override", "due_override is not null",
     """due_override || '{"reason": "never said"}'"""),
    ("due_override", "due_override is not null", f"""due_override || '{{"by": "{ANY}"}}'"""),
    ("acknowledged", "acknowledged is not null", "null"),
    ("steps_done", "steps_done <> '{}'", "'{}'"),
    ("steps_done", "steps_done = '{}'", "'{tag}'"),
    ("steps_log", "steps_log <> '[]'", "'[]'"),
    ("used", "used is not null", "used + interval '1 second'"),
    ("used", "used is not null", "null"),
    ("paused", "paused is not null", "paused + interval '1 second'"),
    ("paused", "paused is not null", "null"),
    ("max_pause", "max_pause is not null", "null"),
    ("pause_limit", "pause_limit is not null", "pause_limit + interval '1 second'"),
]  # fmt: skip


async def test_a_lie_in_any_single_column_is_found_and_the_ticket_and_cycle_are_named(
    database: Database,
    tenant: uuid.UUID,
    urls: Urls,
    postgres: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verifying, "Hours", cache(Hours))  # walked once, and not for every lie
    superuser = make_conninfo(postgres, dbname=conninfo_to_dict(urls.app)["dbname"])
    await told_desk(database, tenant, superuser)
    honest = await verify(database, tenant, most=10)
    assert [str(fault) for fault in honest.faults] == []
    unfound: list[str] = []
    async with await psycopg.AsyncConnection.connect(superuser, autocommit=True) as connection:
        for column, where, lie in LIES:
            cursor = await connection.execute(
                "select ticket_id, (select number from tickets t where t.id = clocks.ticket_id) as"
                f" number, metric, cycle from clocks where tenant_id = %s and ({where})"
                f" and {column} is distinct from {lie} order by 2, 3, 4 limit 1".encode(),
                (tenant,),
            )
            row = await cursor.fetchone()
            assert row is not None, f"no row has {column} where {where}"
            ticket_id, number, metric, cycle = row
            place = (tenant, ticket_id, metric, cycle)
            which = "where tenant_id = %s and ticket_id = %s and metric = %s and cycle = %s"
            await connection.execute(
                f"create temp table was as select * from clocks {which}", place
            )
            await connection.execute(f"update clocks set {column} = {lie} {which}", place)
            found = await verify(database, tenant)
            named = [(f.number, f.found.metric, f.found.cycle) for f in found.faults]
            if named != [(number, metric, cycle)]:
                unfound.append(f"{column} where {where}: {lie}: {named or 'nothing'}")
            await connection.execute(f"delete from clocks {which}", place)
            await connection.execute("insert into clocks select * from was")
            await connection.execute("drop table was")
    assert unfound == []
    assert (await verify(database, tenant)).faults == ()
