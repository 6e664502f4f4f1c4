"""Many similar tickets in an hour: found once, proposed, accepted, dismissed."""

import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from domain.permissions import Principal, Role, grants_of
from domain.tickets import Ticket
from models.session import Database, Row
from services import bursts, desks
from services.bursts import BurstNotFound, Decided
from services.desks import Desks
from services.tenants import NewTenant, create_tenant
from services.tickets import Origin, Tickets
from tests.conftest import Urls
from tests.making import make_agent, make_ticket

pytestmark = pytest.mark.slow  # hundreds of tickets

NOW = datetime.now(UTC)
USUAL = ("Where is my invoice for April", "When does my parcel come", "I forgot my password")


@dataclass
class Place:
    """A tenant of a database of its own."""

    app: Database
    relay: Database
    tenant: uuid.UUID
    agent: uuid.UUID
    tickets: Tickets

    @property
    def caller(self) -> Principal:
        return Principal(
            tenant_id=self.tenant, tenant_slug="acme", kind="user", id=self.agent,
            role=Role.SUPERVISOR, grants=grants_of(Role.SUPERVISOR),
        )  # fmt: skip

    async def asked(self, text: str, *, ago: timedelta, email: str | None = None) -> Ticket:
        return await make_ticket(
            self.app, self.tickets, self.tenant, subject=text[:60], text=text, now=NOW - ago,
            email=email or f"{uuid.uuid4().hex[:8]}@example.org",
        )  # fmt: skip

    async def usual(self) -> None:
        for n in range(30):
            await self.asked(f"{USUAL[n % 3]}, please help", ago=timedelta(hours=2 + n))

    async def outage(self, count: int = 6, *, ago: int = 10) -> list[Ticket]:
        return [
            await self.asked(
                f"Number {n}: no internet connection in Hamburg, please help",
                ago=timedelta(minutes=ago),
            )
            for n in range(count)
        ]

    async def detect(self) -> int:
        return await bursts.detect(self.relay, self.app, now=NOW)

    async def proposals(self) -> list[Row]:
        async with self.app.transaction(self.tenant) as work:
            return list(await bursts.proposals(work))

    async def accept(self, burst_id: uuid.UUID) -> Row:
        async with self.app.transaction(self.tenant) as work:
            return await bursts.accept(
                work, self.tickets, self.caller, await desks.load(work), burst_id, key="k",
                origin=Origin(), now=NOW,
            )  # fmt: skip


@pytest.fixture
async def place(make_database: Callable[[], Urls]) -> AsyncIterator[Place]:
    urls = make_database()
    app, relay = Database(urls.app, pool_size=2), Database(urls.relay, pool_size=2)
    tenant = uuid.uuid4()
    async with app.transaction(tenant) as work:
        await create_tenant(work, NewTenant("acme", "Acme"), tenant_id=tenant, now=NOW)
        agent = await make_agent(work, "Sue", role="supervisor")
    yield Place(app, relay, tenant, agent, Tickets(Desks()))
    await app.close()
    await relay.close()


async def test_an_outage_is_proposed_once_and_supervisors_hear_of_it(place: Place) -> None:
    await place.usual()
    made = await place.outage()
    await place.asked("I forgot my password, please help", ago=timedelta(minutes=5))
    assert await place.detect() == 1
    assert await place.detect() == 0
    [one] = await place.proposals()
    assert one["numbers"] == [ticket.number for ticket in made]
    assert {"internet", "connection", "hamburg"} <= set(one["terms"])
    assert "please" not in one["terms"]
    async with place.app.transaction(place.tenant) as work:
        told = await work.rows(
            "select user_id, data from notifications where tenant_id = :t and kind = 'burst'",
            {"t": place.tenant},
        )
    assert [row["user_id"] for row in told] == [place.agent]
    assert told[0]["data"] == {"burst_id": str(one["id"]), "tickets": 6}


async def test_a_burst_that_goes_on_grows_its_proposal(place: Place) -> None:
    await place.usual()
    await place.outage()
    await place.detect()
    late = await place.outage(2, ago=1)
    assert await place.detect() == 0
    [one] = await place.proposals()
    assert set(one["numbers"]) >= {ticket.number for ticket in late}
    assert len(one["numbers"]) == 8


async def test_an_ordinary_hour_is_no_burst(place: Place) -> None:
    await place.usual()
    for n in range(9):
        await place.asked(f"{USUAL[n % 3]}, please help", ago=timedelta(minutes=n))
    assert await place.detect() == 0


async def test_accepting_makes_a_problem_and_ties_the_tickets_to_it(place: Place) -> None:
    await place.usual()
    made = await place.outage()
    await place.detect()
    [one] = await place.proposals()
    accepted = await place.accept(one["id"])
    assert accepted["state"] == "accepted"
    async with place.app.transaction(place.tenant) as work:
        problem = await work.row(
            "select * from tickets where tenant_id = :t and number = :n",
            {"t": place.tenant, "n": accepted["problem_number"]},
        )
        assert problem is not None
        tied = await work.rows(
            "select target_id from relations where tenant_id = :t and source_id = :id"
            " and kind = 'problem'",
            {"t": place.tenant, "id": problem["id"]},
        )
        public = await work.rows(
            "select 1 as one from messages where tenant_id = :t and ticket_id = :id"
            " and visibility = 'public'",
            {"t": place.tenant, "id": problem["id"]},
        )
    assert (problem["type"], problem["subject"]) == ("problem", one["title"])
    assert {row["target_id"] for row in tied} == {ticket.id for ticket in made}
    assert public == []
    with pytest.raises(Decided):
        await place.accept(one["id"])
    # Tied to a problem they are nobody's news.
    assert await place.detect() == 0
    async with place.app.transaction(place.tenant) as work:
        count = await work.row(
            "select count(*) as n from tickets where tenant_id = :t and type = 'problem'",
            {"t": place.tenant},
        )
    assert count == {"n": 1}


async def test_what_was_dismissed_is_not_proposed_again(place: Place) -> None:
    await place.usual()
    await place.outage()
    await place.detect()
    [one] = await place.proposals()
    async with place.app.transaction(place.tenant) as work:
        gone = await bursts.dismiss(work, place.caller, one["id"], now=NOW)
    assert gone["state"] == "dismissed"
    await place.outage(2, ago=1)
    assert await place.detect() == 0
    async with place.app.transaction(place.tenant) as work:
        with pytest.raises(Decided):
            await bursts.dismiss(work, place.caller, one["id"], now=NOW)
    with pytest.raises(BurstNotFound):
        await place.accept(uuid.uuid4())
