"""Statements that are made by themselves: each once, of the month as the tenant's zone has it."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from domain.statements import chain_fault, signing_key
from domain.tickets import AgentReplied
from models.base import new_id
from models.session import Database, Row
from services import statements
from services.desks import Desks
from services.tickets import Tickets
from tests.conftest import MakeTenant, Urls
from tests.making import happens, make_agent, make_policy, make_ticket, words

pytestmark = pytest.mark.slow  # months of several organizations

SECRET = "only for tests: " + "s" * 32
BERLIN = {"zone": "Europe/Berlin", "first_month": "2026-04"}
MAY_ENDS = datetime(2026, 5, 31, 22, tzinfo=UTC)


@dataclass
class House:
    database: Database
    relay: Database
    tenant: uuid.UUID
    agent: uuid.UUID
    admin: uuid.UUID
    organizations: dict[str, uuid.UUID]

    async def answered(self, domain: str, at: datetime) -> None:
        tickets = Tickets(Desks())
        ticket = await make_ticket(
            self.database, tickets, self.tenant, email=f"kim@{domain}",
            now=at - timedelta(minutes=5),
        )  # fmt: skip
        await happens(
            self.database, tickets, self.tenant, ticket.number, AgentReplied(words()),
            by=self.agent, now=at,
        )  # fmt: skip

    async def make(self, now: datetime) -> int:
        return await statements.make_due(self.relay, self.database, secret=SECRET, now=now)

    async def rows(self, sql: str) -> list[Row]:
        async with self.database.transaction(self.tenant) as work:
            return await work.rows(sql, {"t": self.tenant})

    async def made(self) -> list[tuple[str, str, int]]:
        """Whose, of which month, and how many promises were kept in it."""
        names = {id_: name for name, id_ in self.organizations.items()}
        found = []
        for row in await self.rows(
            "select subject_id, said from statements where tenant_id = :t order by month, id"
        ):
            said = json.loads(bytes(row["said"]))
            found.append((names[row["subject_id"]], said["month"], said["total"]["met"]))
        return sorted(found, key=lambda one: (one[1], one[0]))


@pytest.fixture
async def house(database: Database, urls: Urls, make_tenant: MakeTenant) -> AsyncIterator[House]:
    tenant = await make_tenant(monthly_statements=BERLIN)
    organizations = {name: new_id() for name in ("acme.example", "blue.example", "calm.example")}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
        admin = await make_agent(work, "Ben", role="admin")
        await make_policy(work, resolution=None)
        for name, id_ in organizations.items():
            await work.execute(
                "insert into organizations (tenant_id, id, name, domains, created_at, updated_at)"
                " values (:t, :id, :name, array[:name], :now, :now)",
                {"t": tenant, "id": id_, "name": name, "now": now},
            )
    relay = Database(urls.relay, pool_size=2)
    yield House(database, relay, tenant, agent, admin, organizations)
    async with database.transaction(tenant) as work:  # others look at all tenants too
        await work.execute(
            "update tenants set settings = settings - 'monthly_statements' where id = :t",
            {"t": tenant},
        )
    await relay.close()


async def test_a_month_is_stated_once_by_the_midnight_of_the_zone(house: House) -> None:
    await house.answered("acme.example", datetime(2026, 4, 30, 21, 59, tzinfo=UTC))
    await house.answered("acme.example", datetime(2026, 4, 30, 22, 0, tzinfo=UTC))  # May in Berlin
    await house.answered("blue.example", datetime(2026, 5, 31, 21, 59, tzinfo=UTC))
    await house.answered("blue.example", MAY_ENDS)  # June
    for minutes in (59, 60, 62):
        await house.make(MAY_ENDS + timedelta(minutes=minutes))
    assert await house.made() == [
        ("acme.example", "2026-04", 1), ("acme.example", "2026-05", 1),
        ("blue.example", "2026-05", 1),
    ]  # fmt: skip
    runs = await house.rows(
        "select month, made, zone from statement_runs where tenant_id = :t order by month"
    )
    assert [(run["month"].month, run["made"]) for run in runs] == [(4, 1), (5, 2)]
    told = await house.rows(
        "select user_id, data from notifications where tenant_id = :t"
        " and kind = 'statements_made' order by id"
    )
    assert [(one["user_id"], one["data"]["month"], one["data"]["made"]) for one in told] == [
        (house.admin, "2026-04", 1), (house.admin, "2026-05", 2)
    ]  # fmt: skip


async def test_what_is_made_by_itself_stands_in_the_same_chain(house: House) -> None:
    for month in (3, 4, 5):
        await house.answered("acme.example", datetime(2026, month, 10, tzinfo=UTC))
    acme = house.organizations["acme.example"]
    async with house.database.transaction(house.tenant) as work:
        await statements.make(
            work, secret=SECRET, kind="organization", subject_id=acme, month=date(2026, 3, 1),
            caller=None, origin=None, now=MAY_ENDS,
        )  # fmt: skip
    await house.make(MAY_ENDS + timedelta(hours=2))
    rows = await house.rows("select said from statements where tenant_id = :t order by position")
    said = [json.loads(bytes(row["said"])) for row in rows]
    assert [one["month"] for one in said] == ["2026-03", "2026-04", "2026-05"]
    key = signing_key(SECRET, said[0]["tenant"])
    assert chain_fault(said, key) is None
    for before, after in pairwise(said):
        assert before["to"] == after["from"]
    assert {one["zone"] for one in said} == {"Europe/Berlin"}


async def test_two_who_make_it_at_once_make_it_once(house: House) -> None:
    for name in house.organizations:
        await house.answered(name, datetime(2026, 5, 10, tzinfo=UTC))
    now = MAY_ENDS + timedelta(hours=2)
    made = await asyncio.gather(*(house.make(now) for _ in range(3)))
    assert sum(made) == 3
    assert [one[0] for one in await house.made()] == sorted(house.organizations)
    told = await house.rows("select id from notifications where tenant_id = :t")
    assert len(told) == 2  # April, in which nothing happened, and May


async def test_broken_off_it_goes_on_with_what_is_left(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    for name in house.organizations:
        await house.answered(name, datetime(2026, 4, 10, tzinfo=UTC))
    now = datetime(2026, 5, 2, tzinfo=UTC)

    def dies(made: int) -> None:
        if made == 2:
            raise Killed

    with pytest.raises(Killed):
        await statements.make_due(
            house.relay, house.database, secret=SECRET, now=now, progress=dies
        )
    assert len(await house.made()) == 2
    assert await house.rows("select 1 from statement_runs where tenant_id = :t") == []
    assert await house.make(now) == 1
    assert len(await house.made()) == 3
    told = await house.rows("select data from notifications where tenant_id = :t")
    assert [one["data"]["made"] for one in told] == [3]


async def test_with_another_zone_nothing_counts_twice_or_never(house: House) -> None:
    await house.answered("acme.example", datetime(2026, 4, 10, tzinfo=UTC))
    await house.make(datetime(2026, 5, 2, tzinfo=UTC))
    async with house.database.transaction(house.tenant) as work:
        await work.execute(
            "update tenants set settings = jsonb_set(settings, '{monthly_statements,zone}',"
            " '\"UTC\"') where id = :t",
            {"t": house.tenant},
        )
    await house.answered("acme.example", datetime(2026, 4, 30, 23, tzinfo=UTC))
    await house.make(datetime(2026, 6, 2, tzinfo=UTC))
    assert await house.made() == [
        ("acme.example", "2026-04", 1), ("acme.example", "2026-05", 1)
    ]  # fmt: skip


async def test_nobody_who_did_not_ask_for_it_gets_any(
    database: Database, urls: Urls, tenant: uuid.UUID
) -> None:
    relay = Database(urls.relay, pool_size=1)
    await statements.make_due(relay, database, secret=SECRET, now=MAY_ENDS + timedelta(days=9))
    async with database.transaction(tenant) as work:
        assert await work.rows("select 1 from statement_runs") == []
    await relay.close()
