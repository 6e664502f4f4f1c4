"""Who leaves loses their tickets, also when a process dies over it."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from domain.tickets import Changed
from models.session import Database, Work
from services import departures, people
from services.desks import Desks
from services.people import UserChange
from services.tickets import Origin, Outcome, Step, Tickets
from tests.conftest import Urls
from tests.making import happens, make_agent, make_team, make_ticket

NOW = datetime.now(UTC)
SOON = NOW + timedelta(minutes=2)


@pytest.fixture
async def relay_database(urls: Urls) -> AsyncIterator[Database]:
    database = Database(urls.relay, pool_size=2)
    yield database
    await database.close()


@pytest.fixture
def tickets() -> Tickets:
    return Tickets(Desks())


async def somebody_with_tickets(
    database: Database, tickets: Tickets, tenant: uuid.UUID, count: int
) -> tuple[uuid.UUID, uuid.UUID]:
    """An agent and their team; the tickets are the agent's."""
    async with database.transaction(tenant) as work:
        team = await make_team(work)
        agent = await make_agent(work, teams=(team,))
    for _ in range(count):
        ticket = await make_ticket(database, tickets, tenant)
        change = Changed(team_id=team, assignee_id=agent)
        await happens(database, tickets, tenant, ticket.number, change, by=agent)
    return agent, team


async def deactivate(database: Database, tenant: uuid.UUID, agent: uuid.UUID) -> None:
    """The leaving alone: the process dies right after its commit."""
    async with database.transaction(tenant) as work:
        assert await people.change_user(
            work, agent, UserChange(active=False), caller=None,
            origin=Origin(request_id="r-1"), now=NOW,
        )  # fmt: skip


async def held_by(database: Database, tenant: uuid.UUID, agent: uuid.UUID) -> int:
    async with database.transaction(tenant) as work:
        [row] = await work.rows(
            "select count(*) as n from tickets where tenant_id = :t and assignee_id = :a",
            {"t": tenant, "a": agent},
        )
    return int(row["n"])


async def noted(database: Database, tenant: uuid.UUID) -> int:
    async with database.transaction(tenant) as work:
        [row] = await work.rows(
            "select count(*) as n from departures where tenant_id = :t", {"t": tenant}
        )
    return int(row["n"])


async def test_a_process_that_dies_after_the_leaving_leaves_it_to_the_schedule(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    agent, team = await somebody_with_tickets(database, tickets, tenant, 3)
    await deactivate(database, tenant, agent)
    assert (await held_by(database, tenant, agent), await noted(database, tenant)) == (3, 1)

    # Just now: the request itself is probably at it.
    assert await departures.finish(relay_database, database, tickets, now=NOW) == 0
    assert await held_by(database, tenant, agent) == 3

    assert await departures.finish(relay_database, database, tickets, now=SOON) == 3
    assert (await held_by(database, tenant, agent), await noted(database, tenant)) == (0, 0)
    async with database.transaction(tenant) as work:
        [row] = await work.rows(
            "select distinct e.actor_kind, e.cause, t.team_id from events e join tickets t"
            " on t.tenant_id = e.tenant_id and t.id = e.ticket_id"
            " where e.tenant_id = :t and e.type = 'assignee_left'",
            {"t": tenant},
        )
    assert row["team_id"] == team
    assert row["actor_kind"] == "system"
    assert row["cause"] == {"request": "r-1", "agent_left": str(agent)}
    assert await departures.finish(relay_database, database, tickets, now=SOON) == 0


async def test_a_release_cut_off_between_two_transactions_is_finished(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(departures, "RELEASE_CHUNK", 2)
    agent, team = await somebody_with_tickets(database, tickets, tenant, 5)

    class Dying(Tickets):
        chunks = 0

        async def handle(self, work: Work, *steps: Step, **wishes: object) -> list[Outcome]:
            self.chunks += 1
            if self.chunks == 2:
                raise SystemExit
            return await super().handle(work, *steps, **wishes)  # type: ignore[arg-type]

    async with database.transaction(tenant) as work:
        assert await people.remove_member(work, team, agent, now=NOW)
    with pytest.raises(SystemExit):
        await people.release(
            database, Dying(Desks()), tenant_id=tenant, user_id=agent, team_id=team
        )
    assert (await held_by(database, tenant, agent), await noted(database, tenant)) == (3, 1)
    assert await departures.finish(relay_database, database, tickets, now=SOON) == 3
    assert (await held_by(database, tenant, agent), await noted(database, tenant)) == (0, 0)


async def test_who_came_back_meanwhile_keeps_their_tickets(
    database: Database, relay_database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    agent, _ = await somebody_with_tickets(database, tickets, tenant, 2)
    await deactivate(database, tenant, agent)
    async with database.transaction(tenant) as work:
        await people.change_user(
            work, agent, UserChange(active=True), caller=None, origin=None, now=NOW
        )
    assert await departures.finish(relay_database, database, tickets, now=SOON) == 0
    assert (await held_by(database, tenant, agent), await noted(database, tenant)) == (2, 0)


async def test_a_release_that_ends_as_it_should_leaves_nothing_to_finish(
    database: Database, tickets: Tickets, tenant: uuid.UUID
) -> None:
    agent, _ = await somebody_with_tickets(database, tickets, tenant, 1)
    await deactivate(database, tenant, agent)
    await people.release(database, tickets, tenant_id=tenant, user_id=agent, team_id=None)
    assert (await held_by(database, tenant, agent), await noted(database, tenant)) == (0, 0)
