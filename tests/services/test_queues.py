"""Tickets find their agents, or wait for them: spread, capacity, races, and what dies between."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from domain import sla
from domain.permissions import Principal, Role, grants_of
from domain.staffing import Absence, Presence, RoutingRules
from domain.states import Channel
from domain.tickets import (
    MODEL,
    SYSTEM,
    Changed,
    CustomerReplied,
    Escalated,
    Event,
    NewMessage,
    Ticket,
    TimeAdvanced,
    Triaged,
)
from domain.triage import Guess, Verdict
from models.base import new_id
from models.session import Database, Work
from services import desks, people, queues, staffing
from services.desks import Desks
from services.people import TeamChange, UserChange
from services.queues import QueueDestination
from services.relay import Relay
from services.tickets import Origin, Outcome, Requester, Step, TicketRequest, Tickets
from tests.conftest import MakeTenant, Urls
from tests.invariants import broken
from tests.making import happens, make_agent, make_policy, make_team, words

pytestmark = pytest.mark.slow  # races

NOW = datetime.now(UTC)


@pytest.fixture
async def relay_database(urls: Urls) -> AsyncIterator[Database]:
    database = Database(urls.relay, pool_size=4)
    async with database.transaction(None) as work:
        await work.execute("delete from outbox where destination = 'routing'")
    yield database
    await database.close()


class House:
    """A tenant whose team shares out its tickets, as several processes see it."""

    def __init__(self, database: Database, tenant: uuid.UUID, team: uuid.UUID) -> None:
        self.database = database
        self.tenant = tenant
        self.team = team
        self.agents: list[uuid.UUID] = []
        self.processes = [Tickets(Desks()) for _ in range(3)]
        self.desks = Desks()
        self.queue = QueueDestination(database, Tickets(self.desks), self.desks)
        self.admin = Principal(
            tenant_id=tenant, tenant_slug="t", kind="user", id=None, role=Role.ADMIN,
            grants=grants_of(Role.ADMIN),
        )  # fmt: skip

    async def joins(
        self, *, capacity: int | None = None, skills: dict[str, int] | None = None
    ) -> uuid.UUID:
        async with self.database.transaction(self.tenant) as work:
            agent = await make_agent(work, f"Agent{len(self.agents)}", teams=(self.team,))
        self.agents.append(agent)
        if capacity is not None:
            await self.takes(agent, capacity)
        if skills is not None:
            async with self.database.transaction(self.tenant) as work:
                await staffing.set_skills(
                    work, agent, skills, caller=self.admin, origin=None, now=NOW
                )
        return agent

    async def takes(self, agent: uuid.UUID, capacity: int | None) -> None:
        async with self.database.transaction(self.tenant) as work:
            await staffing.set_capacity(
                work, agent, capacity, None, caller=self.admin, origin=None, now=NOW
            )

    async def is_there(
        self, agent: uuid.UUID, state: Presence, absence: Absence | None = None
    ) -> None:
        async with self.database.transaction(self.tenant) as work:
            await staffing.set_availability(
                work, agent, staffing.Availability(presence=state, absence=absence),
                caller=self.admin, origin=Origin(request_id="r"), now=datetime.now(UTC),
            )  # fmt: skip

    async def comes_in(self, process: int = 0, **wishes: object) -> Ticket:
        async with self.database.transaction(self.tenant) as work:
            outcome = await self.create(work, process, **wishes)
        return outcome.ticket

    async def create(self, work: Work, process: int = 0, **wishes: object) -> Outcome:
        asked: dict[str, object] = {"team_id": self.team, **wishes}
        return await self.processes[process].create(
            work,
            TicketRequest(
                key=str(uuid.uuid4()),
                subject="It is broken",
                message=NewMessage(new_id(), "Please help."),
                channel=Channel.EMAIL,
                requester=Requester("email", "kim@example.com", "Kim"),
                **asked,  # type: ignore[arg-type]
            ),
        )

    async def happens(self, ticket: Ticket, payload: object, **who: object) -> Ticket:
        return await happens(
            self.database, self.processes[0], self.tenant, ticket.number, payload, **who  # type: ignore[arg-type]
        )  # fmt: skip

    async def shares(self) -> Counter[uuid.UUID | None]:
        async with self.database.transaction(self.tenant) as work:
            rows = await work.rows(
                "select assignee_id, count(*) as n from tickets where tenant_id = :t group by 1",
                {"t": self.tenant},
            )
        return Counter({row["assignee_id"]: row["n"] for row in rows})

    async def told(self) -> list[str]:
        """Why the queue is to be looked at, as far as it was not yet."""
        async with self.database.transaction(self.tenant) as work:
            rows = await work.rows(
                "select kind from outbox where tenant_id = :t and destination = 'routing'"
                " order by id",
                {"t": self.tenant},
            )
        return [row["kind"] for row in rows]

    async def moves(self) -> int:
        return await self.queue.drain(self.tenant, self.team, because="test")

    async def last(self, ticket: Ticket, kind: str = "assigned") -> dict[str, object]:
        async with self.database.transaction(self.tenant) as work:
            rows = await work.rows(
                "select actor_kind, cause, data, changes from events where tenant_id = :t"
                " and ticket_id = :i and type = :k order by seq desc limit 1",
                {"t": self.tenant, "i": ticket.id, "k": kind},
            )
        return dict(rows[0])

    async def now(self, ticket: Ticket) -> uuid.UUID | None:
        async with self.database.transaction(self.tenant) as work:
            [row] = await work.rows(
                "select assignee_id from tickets where tenant_id = :t and id = :i",
                {"t": self.tenant, "i": ticket.id},
            )
        found: uuid.UUID | None = row["assignee_id"]
        return found


async def housed(database: Database, make_tenant: MakeTenant, routing: str) -> House:
    tenant = await make_tenant(triage=False)
    async with database.transaction(tenant) as work:
        team = await make_team(work, routing=routing)
    return House(database, tenant, team)


@pytest.mark.parametrize("routing", ["round_robin", "least_loaded", "skill_based"])
async def test_thirty_two_at_once_through_three_processes_are_shared_out_evenly(
    database: Database, make_tenant: MakeTenant, routing: str
) -> None:
    house = await housed(database, make_tenant, routing)
    for _ in range(4):
        await house.joins()
    await house.comes_in()
    made = await asyncio.gather(*(house.comes_in(n % 3) for n in range(63)))
    assert await house.shares() == dict.fromkeys(house.agents, 16)
    assert {ticket.category for ticket in made} == {"open"}
    assert await broken(database, house.tenant, now=datetime.now(UTC)) == []


async def test_nobody_is_given_more_than_their_capacity_however_many_come_at_once(
    database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "least_loaded")
    small, large = await house.joins(capacity=3), await house.joins(capacity=7)
    await asyncio.gather(*(house.comes_in(n % 3) for n in range(32)))
    assert await house.shares() == {small: 3, large: 7, None: 22}


async def test_capacity_holds_across_the_teams_of_an_agent(
    database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "round_robin")
    agent = await house.joins(capacity=5)
    async with database.transaction(house.tenant) as work:
        other = await make_team(work, "Other", routing="least_loaded")
        await people.put_member(work, other, agent, lead=False)
    both = (house.team, other)
    await asyncio.gather(*(house.comes_in(n % 3, team_id=both[n % 2]) for n in range(24)))
    assert (await house.shares())[agent] == 5


async def test_a_ticket_tells_why_its_agent_has_it_and_who_else_there_was(
    database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "least_loaded")
    full, free = await house.joins(capacity=0), await house.joins(capacity=2)
    ticket = await house.comes_in()
    assert ticket.assignee_id == free
    event = await house.last(ticket)
    assert event["actor_kind"] == "automation"
    assert event["cause"] == {"rule": "routing"}
    data = event["data"]
    assert isinstance(data, dict)
    assert data["reason"].startswith("already in the team; least loaded 0/2, of 1 free in Support")
    assert data["routing"]["strategy"] == "least_loaded"
    assert [(one["agent_id"], one.get("why_not")) for one in data["routing"]["candidates"]] == [
        (str(free), None), (str(full), "has 0 of 0")
    ]  # fmt: skip


async def test_making_a_ticket_asks_no_more_often_whatever_the_team_does(
    database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "manual")
    await house.joins()
    await house.comes_in()  # the customer exists, the desk is known

    async def trips() -> int:
        await house.comes_in()
        async with database.transaction(house.tenant) as work:
            await house.create(work)
            return work.trips

    by_hand = await trips()
    async with database.transaction(house.tenant) as work:
        await people.change_team(work, house.team, TeamChange(routing="least_loaded"))
    assert await trips() == by_hand == 1


async def test_what_nobody_can_take_waits_and_goes_out_in_order_when_somebody_comes(
    database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "least_loaded")
    agent = await house.joins(capacity=2)
    await house.is_there(agent, Presence.AWAY)
    plain, second, urgent = [
        await house.comes_in(priority=priority) for priority in (None, None, "urgent")
    ]
    assert await house.shares() == {None: 3}
    assert await house.moves() == 0
    await house.is_there(agent, Presence.ONLINE)
    assert "availability_set" in await house.told()
    assert await house.moves() == 2
    assert [await house.now(t) for t in (urgent, plain, second)] == [agent, agent, None]
    event = await house.last(urgent)
    assert event["cause"] == {"queue": str(house.team), "because": "test", "rule": "routing"}


@pytest.mark.parametrize("freed_by", ["resolve", "reassign", "snooze", "capacity", "join", "skill"])
async def test_whatever_frees_somebody_is_written_with_it_and_moves_the_queue(
    database: Database, relay_database: Database, make_tenant: MakeTenant, freed_by: str
) -> None:
    house = await housed(database, make_tenant, "skill_based")
    agent = await house.joins(capacity=1, skills={"language:fr": 1})
    held = await house.comes_in()
    waits = await house.comes_in(language="fr")
    assert await house.moves() == 0
    relay = Relay(relay_database, house.queue)
    await relay.drain()
    assert await house.told() == []

    async def happens_now() -> None:
        match freed_by:
            case "resolve":
                await house.happens(held, Changed(status="resolved"), by=agent)
            case "reassign":
                await house.happens(held, Changed(assignee_id=None), by=agent)
            case "snooze":
                await house.happens(held, Changed(status="pending"), by=agent)
            case "capacity":
                await house.takes(agent, 2)
            case "join":
                await house.joins()
            case "skill":
                await house.joins(skills={"language:fr": 5})

    await happens_now()
    if freed_by == "join":  # who joined has no French: it still waits for somebody who does
        async with database.transaction(house.tenant) as work:
            await people.put_member(work, house.team, house.agents[-1], lead=True)
        await relay.drain()
        assert await house.now(waits) is None
        return
    assert await house.told() != []
    await relay.drain()
    assert await house.told() == []
    assert await house.now(waits) == house.agents[-1]
    assert await broken(database, house.tenant, now=datetime.now(UTC)) == []


async def test_two_who_get_free_at_once_never_get_the_same_ticket(
    database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "round_robin")
    agents = [await house.joins() for _ in range(2)]
    for agent in agents:
        await house.is_there(agent, Presence.AWAY)
    waiting = [await house.comes_in() for _ in range(10)]
    others = [
        QueueDestination(database, Tickets(desks), desks) for desks in (Desks(), Desks(), Desks())
    ]
    for agent in agents:
        await house.is_there(agent, Presence.ONLINE)
    given = await asyncio.gather(
        *(one.drain(house.tenant, house.team, because="race") for one in others)
    )
    # One that lost a race stops where it lost; whoever won goes on.
    assert sum(given) == 10
    assert await house.shares() == dict.fromkeys(agents, 5)
    async with database.transaction(house.tenant) as work:
        rows = await work.rows(
            "select ticket_id from events where tenant_id = :t and type = 'assigned'"
            " and jsonb_exists(changes, 'assignee_id')",
            {"t": house.tenant},
        )
    assert sorted(row["ticket_id"] for row in rows) == sorted(t.id for t in waiting)


async def test_a_process_that_dies_between_loses_nothing_and_gives_nothing_twice(
    database: Database, relay_database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "least_loaded")
    agent = await house.joins(capacity=0)
    waiting = [await house.comes_in() for _ in range(4)]
    await house.takes(agent, 9)

    class Dying(Tickets):
        offers = 0

        async def handle(self, work: Work, *steps: Step, **wishes: object) -> list[Outcome]:
            self.offers += 1
            done = await super().handle(work, *steps, **wishes)  # type: ignore[arg-type]
            if self.offers == 3:
                raise SystemExit
            return done

    desks = Desks()
    dying = Relay(relay_database, QueueDestination(database, Dying(desks), desks))
    with pytest.raises(SystemExit):
        await dying.drain()
    assert (await house.shares())[agent] == 2
    assert await house.told() != []  # not forgotten: it died before
    await Relay(relay_database, house.queue).drain()
    assert (await house.shares())[agent] == 4
    assert await broken(database, house.tenant, now=datetime.now(UTC)) == []
    assert len({t.id for t in waiting}) == 4


async def test_the_schedule_finds_a_queue_that_everybody_forgot(
    database: Database, relay_database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "least_loaded")
    by_hand = await housed(database, make_tenant, "manual")
    agent = await house.joins(capacity=0)
    await house.comes_in()
    await by_hand.comes_in()
    await house.takes(agent, 9)
    async with relay_database.transaction(None) as work:
        await work.execute("delete from outbox where destination = 'routing'")
    await queues.sweep(relay_database)
    assert (await house.told(), await by_hand.told()) == (["reconciled"], [])
    await queues.sweep(relay_database)
    assert await house.told() == ["reconciled"]
    await Relay(relay_database, house.queue).drain()
    assert await house.shares() == {agent: 1}


async def test_the_end_of_an_absence_is_noted_and_moves_the_queue_then(
    database: Database, relay_database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "round_robin")
    agent = await house.joins()
    until = datetime.now(UTC) + timedelta(hours=2)
    await house.is_there(agent, Presence.ONLINE, Absence(until=until))
    await house.comes_in()
    await house.moves()
    await house.moves()
    async with database.transaction(house.tenant) as work:
        rows = await work.rows(
            "select kind from outbox where tenant_id = :t and destination = 'routing'"
            " and available_at = :at",
            {"t": house.tenant, "at": until},
        )
    assert [row["kind"] for row in rows] == ["somebody is back"]
    back = QueueDestination(
        database, Tickets(Desks(), now=lambda: until), house.desks, now=lambda: until
    )
    assert await back.drain(house.tenant, house.team, because="back") == 1
    assert await house.shares() == {agent: 1}


async def test_who_goes_away_is_given_nothing_that_commits_later(
    database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "round_robin")
    agent = await house.joins()
    async with database.transaction(house.tenant) as work:
        first = await house.create(work)
        await work.flush()  # decided, written, not committed
        leaving = asyncio.create_task(house.is_there(agent, Presence.AWAY))
        await asyncio.sleep(0.2)
        assert not leaving.done()
    await leaving
    assert first.ticket.assignee_id == agent
    assert (await house.comes_in()).assignee_id is None


async def test_what_is_escalated_to_a_team_finds_somebody_of_it_at_once(
    database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "least_loaded")
    agent = await house.joins()
    async with database.transaction(house.tenant) as work:
        front = await make_team(work, "Front")
        ada = await make_agent(work, "Ada", teams=(front,))
    ticket = await house.comes_in(team_id=front, assignee_id=ada)
    escalated = await house.happens(ticket, Escalated("Too hard.", team_id=house.team), by=ada)
    assert (escalated.team_id, escalated.assignee_id) == (house.team, agent)
    assert (await house.last(ticket))["cause"] == {"rule": "routing"}


async def test_a_verdict_routes_by_topic_and_skill_in_one_event(
    database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "skill_based")
    await house.joins()
    skilled = await house.joins(skills={"topic:billing": 2})
    async with database.transaction(house.tenant) as work:
        await work.execute(
            "update tenants set settings = settings || cast(:s as jsonb) where id = :t",
            {
                "t": house.tenant,
                "s": f'{{"triage": true, "topic_teams": {{"billing": "{house.team}"}}}}',
            },
        )
        await desks.changed(work)
    ticket = await house.comes_in(team_id=None)
    assert (ticket.team_id, ticket.triage) == (None, "pending")
    sure = Guess(label="billing", probability=0.9, abstained=False, top=(("billing", 0.9),))
    calm = Guess(label="normal", probability=0.9, abstained=True, top=(("normal", 0.9),))
    verdict = Verdict(topic=sure, priority=calm, sentiment=calm, model_version="m1")
    async with database.transaction(house.tenant) as work:
        event = Event(key=f"triage/{ticket.id}", actor=MODEL, payload=Triaged(verdict),
                      cause={"model": "m1"})  # fmt: skip
        [outcome] = await house.processes[0].handle(work, Step(ticket.number, event))
    assert (outcome.ticket.team_id, outcome.ticket.assignee_id) == (house.team, skilled)
    data = (await house.last(ticket))["data"]
    assert isinstance(data, dict)
    assert data["routing"]["needs"] == ["topic:billing"]


async def test_a_step_that_moves_a_ticket_to_a_team_leads_through_its_queue(
    database: Database, relay_database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "least_loaded")
    agent = await house.joins()
    async with database.transaction(house.tenant) as work:
        front = await make_team(work, "Front")
        ada = await make_agent(work, "Ada", teams=(front,))
        await make_policy(
            work,
            first_reply=timedelta(hours=1),
            steps=(
                sla.Step(id="hand-over", metric=sla.Metric.FIRST_REPLY, offset=timedelta(),
                         action=sla.Reassign(team_id=house.team)),
            ),
        )  # fmt: skip
    ticket = await house.comes_in(team_id=front)
    await house.happens(ticket, Changed(assignee_id=ada), by=ada)  # a person's choice
    late = datetime.now(UTC) + timedelta(hours=2)
    async with database.transaction(house.tenant) as work:
        event = Event(key=f"time/{ticket.id}", actor=SYSTEM, payload=TimeAdvanced(),
                      cause={"timer": True})  # fmt: skip
        [outcome] = await house.processes[0].handle(work, Step(ticket.number, event), now=late)
    assert (outcome.ticket.team_id, outcome.ticket.assignee_id) == (house.team, None)
    await Relay(relay_database, house.queue).drain()
    assert await house.now(ticket) == agent


async def test_what_is_moved_reopened_or_left_behind_goes_through_the_queue(
    database: Database, relay_database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "least_loaded")
    leaver, stayer = await house.joins(), await house.joins()
    relay = Relay(relay_database, house.queue)
    async with database.transaction(house.tenant) as work:
        front = await make_team(work, "Front")
    moved = await house.comes_in(team_id=front)
    await house.happens(moved, Changed(team_id=house.team), by=stayer)
    assert await house.told() == ["assigned"]
    await relay.drain()
    assert await house.now(moved) is not None

    await house.happens(moved, Changed(assignee_id=leaver), by=stayer)  # a person's choice
    async with database.transaction(house.tenant) as work:
        await people.change_user(
            work, leaver, UserChange(active=False), caller=None, origin=None, now=NOW
        )
    await people.release(
        database, house.processes[0], tenant_id=house.tenant, user_id=leaver, team_id=None
    )
    await relay.drain()
    assert await house.now(moved) == stayer


async def test_what_a_person_took_from_everybody_is_not_given_out_again(
    database: Database, make_tenant: MakeTenant
) -> None:
    house = await housed(database, make_tenant, "least_loaded")
    agent = await house.joins()
    ticket = await house.comes_in()
    await house.happens(ticket, Changed(assignee_id=None), by=agent)
    assert await house.moves() == 0
    assert await house.now(ticket) is None


@pytest.mark.parametrize("rule", ["replacement", "team", "keep"])
async def test_what_the_customer_writes_to_somebody_absent_goes_where_the_team_says(
    database: Database, make_tenant: MakeTenant, rule: str
) -> None:
    house = await housed(database, make_tenant, "least_loaded")
    ada, ben, cyd = [await house.joins() for _ in range(3)]
    async with database.transaction(house.tenant) as work:
        change = TeamChange(rules=RoutingRules.model_validate({"on_absence": rule}))
        await people.change_team(work, house.team, change)
    ticket = await house.comes_in()
    assert ticket.assignee_id == ada
    until = datetime.now(UTC) + timedelta(days=2)
    await house.is_there(ada, Presence.ONLINE, Absence(until=until, replacement_id=cyd))
    reply = CustomerReplied(words(), ticket.requester_id, Channel.EMAIL)
    after = await house.happens(ticket, reply)
    assert after.assignee_id == {"replacement": cyd, "team": None, "keep": ada}[rule]
    if rule == "keep":
        return
    event = await house.last(ticket)
    assert event["cause"] == {"rule": "absence"}
    if rule == "team":
        assert await house.moves() == 1
        assert await house.now(ticket) == ben
    assert await broken(database, house.tenant, now=datetime.now(UTC)) == []


async def test_a_queue_says_who_waits_and_why(database: Database, make_tenant: MakeTenant) -> None:
    house = await housed(database, make_tenant, "skill_based")
    agent = await house.joins(capacity=1, skills={"language:fr": 1})
    await house.comes_in()
    french = await house.comes_in(language="fr", priority="high")
    plain = await house.comes_in()
    held = await house.comes_in()
    await house.happens(held, Changed(assignee_id=agent), by=agent)
    await house.happens(held, Changed(assignee_id=None), by=agent)
    async with database.transaction(house.tenant) as work:
        desk = await house.desks.current(work)
        team = desk.teams[house.team]
        shown = await queues.queue(work, desk, team, limit=10, now=datetime.now(UTC))
        why = await queues.explain(work, desk, plain, now=datetime.now(UTC))
    assert [(w.ticket.number, w.position, w.why, w.queued) for w in shown.waiting] == [
        (french.number, 1, "1 at capacity", True),
        (plain.number, 2, "1 at capacity", True),
        (held.number, 3, "somebody decided that nobody has it", False),
    ]
    assert (shown.total, [m.why_not for m in shown.members]) == (3, ["has 1 of 1"])
    assert (why.position, why.queued, why.why, why.would_go_to) == (2, True, "1 at capacity", None)
