"""Routing while everything happens at once: storms, people who go, and what dies in between."""

import asyncio
import random
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from domain import routing
from domain.calendars import Calendar
from domain.errors import Invalid
from domain.permissions import Role
from domain.staffing import Absence, Presence
from domain.states import ActorKind, Channel
from domain.tickets import (
    MODEL,
    SYSTEM,
    Actor,
    Changed,
    CustomerReplied,
    Escalated,
    Event,
    Labelled,
    Offered,
    Payload,
    Ticket,
    Triaged,
    Undone,
)
from domain.triage import Guess, Spam, Verdict
from models.session import Database, Row, Statement
from services import people, queues, tenants
from services.configuration import change_calendar, create_calendar
from services.cursors import BadCursor, pack
from services.desks import Desks
from services.people import UserChange
from services.queues import QueueDestination
from services.routing import hold as routing_hold
from services.tickets import Step, Tickets
from services.views import Views
from tests.conftest import MakeTenant
from tests.invariants import broken
from tests.making import ALWAYS, words
from tests.services.storms import Storm, stormy

pytestmark = pytest.mark.slow  # races

NEVER = Calendar(timezone="UTC")


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_whatever_happens_at_once_nobody_has_more_than_they_can_take_and_none_is_lost(
    database: Database, make_tenant: MakeTenant, seed: int
) -> None:
    chance = random.Random(seed)
    storm = await stormy(database, make_tenant)
    teams = [await storm.team(s) for s in ("round_robin", "least_loaded", "skill_based")]
    capacities: dict[uuid.UUID, int] = {}
    for n in range(6):
        mine = chance.sample(teams, 2)
        capacity = chance.randint(1, 4)
        agent = await storm.agent(*mine, capacity=capacity, skills={"language:fr": 1 + n % 3})
        capacities[agent] = capacity
    front = await storm.team("manual")
    ada = await storm.agent(front)
    elsewhere = [await storm.comes_in(team_id=front, assignee_id=ada) for _ in range(6)]
    held: list[Ticket] = []

    async def one(n: int) -> None:
        process = n % 3
        match chance.choice(("create", "create", "escalate", "move", "resolve", "away", "drain")):
            case "escalate" if elsewhere:
                ticket = elsewhere.pop()
                await storm.happens(
                    ticket, Escalated("Hard.", team_id=chance.choice(teams)), by=ada,
                    process=process,
                )  # fmt: skip
            case "move" if elsewhere:
                ticket = elsewhere.pop()
                await storm.happens(
                    ticket, Changed(team_id=chance.choice(teams)), by=ada, process=process
                )
            case "resolve" if held:
                await storm.happens(held.pop(), Changed(status="resolved"), by=ada, process=process)
            case "away":
                agent = chance.choice(list(capacities))
                await storm.is_there(agent, Presence.AWAY)
                await storm.is_there(agent, Presence.ONLINE)
            case "drain":
                queue = storm.queues[n % 2]
                await queue.drain(storm.tenant, chance.choice(teams), because="storm")
            case _:
                language = chance.choice((None, "fr"))
                ticket = await storm.comes_in(
                    process, team_id=chance.choice(teams), language=language
                )
                if ticket.assignee_id is not None:
                    held.append(ticket)

    for _ in range(4):
        await asyncio.gather(*(one(n) for n in range(20)))
    await storm.drain()
    assert await storm.overgiven(capacities) == []
    assert await storm.stuck() == []
    assert await broken(database, storm.tenant, now=datetime.now(UTC)) == []
    twice = await storm.rows("select user_id from routing_turns where tenant_id = :t and turn = 0")
    assert not twice


async def test_turns_stay_even_while_many_come_and_go_through_shared_teams(
    database: Database, make_tenant: MakeTenant
) -> None:
    storm = await stormy(database, make_tenant)
    one, two = await storm.team("round_robin"), await storm.team("round_robin")
    for _ in range(4):
        await storm.agent(one, two)
    for _ in range(6):
        await asyncio.gather(*(storm.comes_in(n % 3, team_id=(one, two)[n % 2]) for n in range(10)))
        loads = await storm.loads()
        shares = [loads[agent] for agent in storm.agents]
        assert max(shares) - min(shares) <= 1, shares


async def test_what_is_no_spam_after_all_finds_somebody_who_has_room(
    database: Database, make_tenant: MakeTenant
) -> None:
    storm = await stormy(database, make_tenant)
    team = await storm.team("round_robin")
    for _ in range(2):
        await storm.agent(team, capacity=0)
    held_back = [await storm.comes_in(team_id=team) for _ in range(3)]
    for ticket in held_back:
        await storm.happens(ticket, Labelled(spam=Spam.SPAM), by=storm.agents[0])
    for ticket in held_back:
        after = await storm.happens(ticket, Labelled(spam=Spam.NOT_SPAM), by=storm.agents[0])
        assert after.assignee_id is None
    await storm.takes(storm.agents[1], 2)
    await storm.drain()
    assert await storm.loads() == {storm.agents[1]: 2, None: 1}


@pytest.mark.parametrize("leaves", ["the house", "the team", "the role"])
async def test_who_leaves_while_a_ticket_is_decided_keeps_none(
    database: Database, make_tenant: MakeTenant, leaves: str
) -> None:
    storm = await stormy(database, make_tenant)
    team = await storm.team("round_robin")
    leaver = await storm.agent(team)
    await storm.comes_in(team_id=team)
    await asyncio.gather(*(storm.comes_in(n, team_id=team) for n in range(3)))

    async def goes() -> None:
        async with database.transaction(storm.tenant) as work:
            now = datetime.now(UTC)
            if leaves == "the team":
                await people.remove_member(work, team, leaver, now=now)
            else:
                change = (
                    UserChange(active=False) if leaves == "the house"
                    else UserChange(role=Role.VIEWER)
                )  # fmt: skip
                await people.change_user(work, leaver, change, caller=None, origin=None, now=now)
        await storm.lets_go(leaver, team if leaves == "the team" else None)

    async with database.transaction(storm.tenant) as work:
        outcome = await storm.create(work, 0, team_id=team)
        assert outcome.ticket.assignee_id == leaver  # decided, not committed
        leaving = asyncio.create_task(goes())
        waiting = asyncio.create_task(storm.comes_in(1, team_id=team))
        await asyncio.sleep(0.3)
        assert not leaving.done()
    await leaving
    late = await waiting
    [held] = await storm.rows(
        "select count(*) as n from tickets where tenant_id = :t and assignee_id = :a",
        a=leaver,
    )
    assert held["n"] == 0, (held["n"], late.assignee_id)
    assert (await storm.comes_in(2, team_id=team)).assignee_id is None
    assert await broken(database, storm.tenant, now=datetime.now(UTC)) == []


async def test_whoever_waited_for_a_decision_sees_who_left_meanwhile(
    database: Database, make_tenant: MakeTenant
) -> None:
    storm = await stormy(database, make_tenant)
    team = await storm.team("least_loaded")
    leaver, stayer = await storm.agent(team), await storm.agent(team)
    for _ in range(2):
        await storm.comes_in(team_id=team)
    await storm.comes_in(1, team_id=team)  # both processes know the desk
    async with database.transaction(storm.tenant) as work:
        await work.batch(routing_hold([leaver]))
        waiting = [asyncio.create_task(storm.comes_in(1, team_id=team)) for _ in range(4)]
        await asyncio.sleep(0.3)
        await people.remove_member(work, team, leaver, now=datetime.now(UTC))
    made = await asyncio.gather(*waiting)
    assert {ticket.assignee_id for ticket in made} == {stayer}
    await storm.lets_go(leaver, team)


async def test_a_ticket_that_no_model_looks_at_is_given_out_when_its_minute_is_over(
    database: Database, make_tenant: MakeTenant
) -> None:
    tenant = await make_tenant(triage=True)
    storm = Storm(database, tenant)
    team = await storm.team("least_loaded")
    agent = await storm.agent(team)
    ticket = await storm.comes_in(team_id=team)
    assert (ticket.assignee_id, ticket.triage) == (None, "pending")
    await storm.queues[0].drain(tenant, team, because="it came")
    over = ticket.created_at + routing.TRIAGE_PATIENCE
    notes = await storm.rows(
        "select available_at from outbox where tenant_id = :t and destination = 'routing'"
        " and kind = 'somebody is back'"
    )
    assert [row["available_at"] for row in notes] == [over]
    late = QueueDestination(database, Tickets(Desks(), now=lambda: over), Desks(), now=lambda: over)
    assert await late.drain(tenant, team, because="over") == 1
    assert await storm.loads() == {agent: 1}


@pytest.mark.parametrize("what", ["load_weights", "hours"])
async def test_what_makes_room_for_everybody_moves_all_queues(
    database: Database, make_tenant: MakeTenant, what: str
) -> None:
    storm = await stormy(database, make_tenant)
    team = await storm.team("least_loaded")
    agent = await storm.agent(team, capacity=2)
    now = datetime.now(UTC)
    async with database.transaction(storm.tenant) as work:
        made = await create_calendar(work, name="Hours", body=NEVER, now=now)
    if what == "hours":
        await storm.takes(agent, 2, made["id"])
    for _ in range(4):
        await storm.comes_in(team_id=team)
    await storm.drain()
    before = await storm.told()
    async with database.transaction(storm.tenant) as work:
        if what == "hours":
            await change_calendar(work, made["id"], name=None, body=ALWAYS, active=None, now=now)
        else:
            await tenants.change_tenant(
                work, name=None, settings={"load_weights": {"channel": {"email": 0.5}}},
                caller=None, origin=None, now=now,
            )  # fmt: skip
    assert (await storm.told())[len(before) :] == [
        "calendar_changed" if what == "hours" else "load_weights_changed"
    ]
    await storm.drain()
    assert (await storm.loads())[agent] == (2 if what == "hours" else 4)


async def test_whoever_stands_in_is_given_no_more_than_they_can_take(
    database: Database, make_tenant: MakeTenant
) -> None:
    storm = await stormy(database, make_tenant)
    team = await storm.team("manual")
    ada, ben = await storm.agent(team), await storm.agent(team, capacity=2)
    held = [await storm.comes_in(team_id=team, assignee_id=ada) for _ in range(5)]
    await storm.is_there(
        ada, Presence.ONLINE,
        Absence(until=datetime.now(UTC) + timedelta(days=2), replacement_id=ben),
    )  # fmt: skip
    await asyncio.gather(
        *(
            storm.happens(
                ticket, CustomerReplied(words(), ticket.requester_id, Channel.EMAIL), process=n % 3
            )
            for n, ticket in enumerate(held)
        )
    )
    assert await storm.loads() == {ben: 2, None: 3}
    reasons = sorted(
        row["data"]["reason"].partition("; ")[2]
        for row in await storm.rows(
            "select data from events where tenant_id = :t and type = 'assigned'"
            " and cause ->> 'rule' = 'absence'"
        )
    )
    assert len(reasons) == 5
    assert [r.startswith("Agent1 stands in") for r in reasons].count(True) == 5
    assert sum("has 2 of 2; back to Team0" in r for r in reasons) == 3
    assert await broken(database, storm.tenant, now=datetime.now(UTC)) == []


async def test_absences_that_name_each_other_in_a_circle_bring_tickets_back_to_the_team(
    database: Database, make_tenant: MakeTenant
) -> None:
    storm = await stormy(database, make_tenant)
    team = await storm.team("least_loaded")
    ada, ben, cyd = [await storm.agent(team) for _ in range(3)]
    held = [await storm.comes_in(team_id=team, assignee_id=ada) for _ in range(3)]
    until = datetime.now(UTC) + timedelta(days=1)
    await asyncio.gather(
        *(
            storm.is_there(who, Presence.ONLINE, Absence(until=until, replacement_id=instead))
            for who, instead in ((ada, ben), (ben, cyd), (cyd, ada))
        )
    )
    for ticket in held:
        after = await storm.happens(
            ticket, CustomerReplied(words(), ticket.requester_id, Channel.EMAIL)
        )
        assert after.assignee_id is None
    assert await storm.drain() == 0
    await storm.is_there(cyd, Presence.ONLINE)
    await storm.drain()
    assert await storm.loads() == {cyd: 3}


@pytest.mark.parametrize("dies", ["created", "offered", "escalated", "moved"])
async def test_a_process_that_dies_between_decision_and_commit_leaves_nothing_half(
    database: Database, make_tenant: MakeTenant, dies: str
) -> None:
    storm = await stormy(database, make_tenant)
    front, team = await storm.team("manual"), await storm.team("round_robin")
    ada, agent = await storm.agent(front), await storm.agent(team, capacity=1)
    ticket = await storm.comes_in(team_id=front, assignee_id=ada)
    await storm.takes(agent, 0)
    waits = await storm.comes_in(team_id=team)
    await storm.takes(agent, 1)

    async def everything() -> list[list[Row]]:
        return [
            list(await storm.rows(f"select * from {table} where tenant_id = :t order by {order}"))
            for table, order in (
                ("tickets", "id"), ("events", "ticket_id, seq"), ("clocks", "ticket_id, metric"),
                ("routing_turns", "user_id"), ("outbox", "id"), ("notifications", "id"),
            )
        ]  # fmt: skip

    before = await everything()

    async def dying() -> None:
        async with database.transaction(storm.tenant) as work:
            if dies == "created":
                outcome = await storm.create(work, team_id=team)
            else:
                number, event = {
                    "offered": (waits.number, event_of(Offered(), None)),
                    "escalated": (ticket.number, event_of(Escalated("Hard.", team_id=team), ada)),
                    "moved": (ticket.number, event_of(Changed(team_id=team), ada)),
                }[dies]
                [outcome] = await storm.processes[0].handle(work, Step(number, event))
            assert outcome.ticket.assignee_id == (None if dies == "moved" else agent)
            await work.flush()  # written, and never committed
            raise SystemExit

    with pytest.raises(SystemExit):
        await dying()
    assert await everything() == before
    await storm.drain()
    assert await storm.loads() == {ada: 1, agent: 1}
    assert await broken(database, storm.tenant, now=datetime.now(UTC)) == []


async def test_what_is_undone_is_given_back_to_nobody_who_left(
    database: Database, make_tenant: MakeTenant
) -> None:
    storm = await stormy(database, make_tenant)
    team = await storm.team("least_loaded")
    leaver, stayer = await storm.agent(team), await storm.agent(team)
    ticket = await storm.comes_in(team_id=team, assignee_id=leaver)
    await storm.happens(ticket, Changed(assignee_id=stayer), by=stayer)
    async with database.transaction(storm.tenant) as work:
        await people.change_user(
            work, leaver, UserChange(active=False), caller=None, origin=None,
            now=datetime.now(UTC),
        )  # fmt: skip
    await storm.lets_go(leaver)
    after = await storm.happens(ticket, Undone({"assignee_id": str(leaver)}), by=stayer)
    assert after.assignee_id is None
    await storm.drain()
    assert await storm.loads() == {stayer: 1}


def event_of(payload: Payload, by: uuid.UUID | None) -> Event:
    actor = Actor(ActorKind.USER, by) if by else SYSTEM
    return Event(key=str(uuid.uuid4()), actor=actor, payload=payload)


async def test_five_thousand_who_wait_are_shown_by_pages_and_counted_where_they_are(
    database: Database, make_tenant: MakeTenant
) -> None:
    storm = await stormy(database, make_tenant)
    team = await storm.team("skill_based")
    agent = await storm.agent(team, capacity=1, skills={"language:fr": 1})
    await storm.comes_in(team_id=team)
    first = await storm.comes_in(team_id=team, language="fr")
    async with database.transaction(storm.tenant) as work:
        await work.execute(
            "insert into tickets select (jsonb_populate_record(t, jsonb_build_object("
            "'id', gen_random_uuid(), 'number', 100000 + n,"
            " 'created_at', t.created_at + n % 1000 * interval '1 second',"
            " 'priority', (array['low', 'normal', 'high', 'urgent', null])[1 + n % 5],"
            " 'next_due_at', case when n % 3 = 0 then t.created_at + n % 7 * interval '1 hour'"
            " end))).* from tickets t, generate_series(1, 4999) n where t.id = :id",
            {"id": first.id},
        )
    read: list[int] = []

    async with database.transaction(storm.tenant, reading=True) as work:
        desk = await storm.desks[0].current(work)
        shown = desk.teams[team]
        batch = work.batch

        async def counted(*statements: Statement) -> list[list[Row]]:
            answers = await batch(*statements)
            read.append(sum(map(len, answers)))
            return answers

        work.batch = counted  # type: ignore[method-assign]
        now = datetime.now(UTC)
        numbers: list[int] = []
        positions: list[int] = []
        cursor: str | None = None
        while True:
            page = await queues.queue(work, desk, shown, limit=200, now=now, cursor=cursor)
            assert page.total == 5000
            numbers += [one.ticket.number for one in page.waiting]
            positions += [one.position for one in page.waiting]
            cursor = page.next
            if cursor is None:
                break
        assert positions == list(range(1, 5001))
        assert len(set(numbers)) == 5000
        # One round trip a page, of the page, one to see that there is more, a count, the members.
        assert len(read) == 25
        assert max(read) <= 200 + 1 + 1 + 1
        for place in (0, 1, 2500, 4999):
            read.clear()
            ticket = await Views(storm.desks[0]).waiting(work, storm.admin, numbers[place])
            read.clear()
            why = await queues.explain(work, desk, ticket, now=now)
            assert (why.position, why.queued) == (place + 1, True)
            assert len(read) == 1
            assert read[0] <= 3
        with pytest.raises(BadCursor):
            await queues.queue(work, desk, shown, limit=1, now=now, cursor=pack([1, 2, 3, 4, 5]))
    # Whoever lacks the skill that all of them need holds up nobody for long.
    await storm.takes(agent, 0)
    other = await storm.agent(team)
    assert await storm.queues[0].drain(storm.tenant, team, because="test") == 0
    await storm.takes(agent, 3)
    assert await storm.queues[0].drain(storm.tenant, team, because="test") == 2
    loads = await storm.loads()
    assert (loads[agent], loads[other]) == (3, 0)
    best = [n for n in numbers if n != 1][:2]
    given = await storm.rows(
        "select number from tickets where tenant_id = :t and assignee_id = :a and number > 1"
        " order by number",
        a=agent,
    )
    assert [row["number"] for row in given] == sorted(best)
    async with database.transaction(storm.tenant) as work:  # nobody else has to go through them
        await people.change_team(work, team, people.TeamChange(routing="manual"))


@pytest.mark.parametrize("seed", [4, 5])
async def test_people_who_come_and_go_in_a_storm_lock_nobody_out_and_keep_nothing(
    database: Database, make_tenant: MakeTenant, seed: int
) -> None:
    chance = random.Random(seed)
    storm = await stormy(database, make_tenant)
    teams = [await storm.team("least_loaded"), await storm.team("round_robin")]
    stays = await storm.agent(*teams, capacity=3)
    movers = [await storm.agent(*teams, capacity=2) for _ in range(4)]
    async with database.transaction(storm.tenant) as work:
        change = UserChange(role=Role.ADMIN)  # their rows are locked with every change of anybody
        for admin in (stays, movers[0]):
            await people.change_user(
                work, admin, change, caller=None, origin=None, now=datetime.now(UTC)
            )

    async def goes(user: uuid.UUID, team: uuid.UUID | None, *, back: bool) -> None:
        now = datetime.now(UTC)
        async with database.transaction(storm.tenant) as work:
            if team is None:
                change = UserChange(active=back)
                await people.change_user(work, user, change, caller=None, origin=None, now=now)
            elif back:
                await people.put_member(work, team, user, lead=False)
            else:
                await people.remove_member(work, team, user, now=now)
        if not back:
            await storm.lets_go(user, team)

    async def one(n: int) -> None:
        who, team = chance.choice(movers), chance.choice((None, *teams))
        match chance.randrange(6):
            case 0:
                await goes(who, team, back=False)
                with suppress(Invalid):  # somebody else has just let them go altogether
                    await goes(who, team, back=True)
            case 1:
                await storm.takes(who, chance.randrange(4))
            case 2:
                await storm.queues[n % 2].drain(storm.tenant, teams[n % 2], because="storm")
            case _:
                await storm.comes_in(n % 3, team_id=teams[n % 2])

    for _ in range(3):
        await asyncio.gather(*(one(n) for n in range(16)))
    await asyncio.gather(*(goes(who, None, back=False) for who in movers[2:]))
    await asyncio.gather(*(goes(who, teams[0], back=False) for who in movers[:2]))
    await storm.drain()
    gone = await storm.rows(
        "select t.number from tickets t join users u on u.id = t.assignee_id where t.tenant_id = :t"
        " and (not u.active or not exists (select from team_members m where m.user_id = u.id"
        " and m.team_id = t.team_id))"
    )
    assert gone == []
    assert await storm.stuck() == []
    assert (await storm.loads())[stays] == 3
    assert await broken(database, storm.tenant, now=datetime.now(UTC)) == []


async def test_a_team_that_a_model_names_finds_somebody_at_once_and_says_why(
    database: Database, make_tenant: MakeTenant
) -> None:
    storm = Storm(database, await make_tenant(triage=True))
    team = await storm.team("least_loaded")
    full, free = await storm.agent(team, capacity=0), await storm.agent(team, capacity=2)
    ticket = await storm.comes_in()
    sure = Guess(label=str(team), probability=0.9, abstained=False, top=())
    unsure = Guess(label="normal", probability=0.3, abstained=True, top=())
    verdict = Verdict(
        topic=unsure, priority=unsure, sentiment=unsure, team=sure, model_version="m1"
    )
    event = Event(
        key=f"triage/{ticket.id}",
        actor=MODEL,
        payload=Triaged(verdict, apply=frozenset({"team"})),
        cause={"model": "m1"},
    )
    async with database.transaction(storm.tenant) as work:
        [outcome] = await storm.processes[1].handle(work, Step(ticket.number, event))
    assert (outcome.ticket.team_id, outcome.ticket.assignee_id) == (team, free)
    [row] = await storm.rows(
        "select data from events where tenant_id = :t and type = 'assigned'"
        " and cause ->> 'rule' = 'routing'"
    )
    assert row["data"]["reason"].startswith("already in the team; least loaded 0/2, of 1 free")
    assert [c.get("why_not") for c in row["data"]["routing"]["candidates"]] == [None, "has 0 of 0"]
    assert full not in await storm.loads()
