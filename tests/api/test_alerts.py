"""Alerts over HTTP: set up with versions, tried without telling, their firings and the cycles."""

import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.resources import Resources
from domain.permissions import Role
from domain.tickets import SYSTEM, Event, TimeAdvanced
from models.session import Database
from services.alerting import look
from services.tickets import Step
from tests.api.conftest import House
from tests.api.test_timing import Desk
from tests.making import make_policy, make_ticket

RULE = {
    "watches": {"kind": "breaches", "count": 2, "metric": "first_reply", "within": "P1D"},
    "recipients": {"roles": ["supervisor"]},
}
ALERT = {"name": "Many at once", "rule": RULE}


@pytest.fixture
def desk(client: httpx.AsyncClient, house: House) -> Desk:
    return Desk(client, house)


async def test_a_rule_is_written_read_changed_and_taken_away(
    desk: Desk, database: Database
) -> None:
    made = await desk.ask("POST", "/sla/alerts", ALERT, want=201)
    where = f"/sla/alerts/{made['id']}"
    assert made["standing"] == {
        "bad_since": None, "firing_id": None, "looked_at": None, "figures": None, "says": None,
    }  # fmt: skip
    await desk.ask("POST", "/sla/alerts", ALERT, want=409)
    changed = await desk.ask("PATCH", where, {"active": False})
    assert (changed["active"], changed["name"]) == (False, "Many at once")
    await desk.ask("PATCH", where, {"rule": None}, want=422)
    await desk.ask("DELETE", where, want=204)
    await desk.ask("GET", where, want=404)
    assert (await desk.audited(database))[-3:] == [
        "alert.created", "alert.changed", "alert.deleted"
    ]  # fmt: skip


async def test_supervisors_may_and_agents_may_not(desk: Desk) -> None:
    await desk.ask("POST", "/sla/alerts", ALERT, want=403, role=Role.AGENT)
    await desk.ask("POST", "/sla/alerts", ALERT, want=201, role=Role.SUPERVISOR)


async def test_what_was_changed_since_is_not_overwritten_and_a_look_is_no_change(
    desk: Desk, client: httpx.AsyncClient, resources: Resources, database: Database
) -> None:
    made = await desk.ask("POST", "/sla/alerts", ALERT, want=201)
    path = f"/api/v1/sla/alerts/{made['id']}"
    tag = (await client.get(path, headers=desk.house.admin)).headers["ETag"]
    async with database.transaction(desk.house.tenant_id) as work:
        await look(work, resources.desks, now=datetime.now(UTC))
    headers = {**desk.house.admin, "If-Match": tag}
    first = await client.patch(path, json={"name": "Other"}, headers=headers)
    assert first.status_code == 200, first.text
    second = await client.patch(path, json={"name": "Third"}, headers=headers)
    assert (second.status_code, second.json()["code"]) == (409, "changed_meanwhile")


@pytest.mark.parametrize(
    "rule",
    [
        {**RULE, "recipients": {}},
        {**RULE, "recipients": {"users": [str(uuid.UUID(int=7))]}},
        {**RULE, "recipients": {"roles": ["boss"]}},
        {**RULE, "teams": [str(uuid.UUID(int=7))]},
        {**RULE, "without": ["bad_luck"]},
        {**RULE, "watches": {"kind": "moon"}},
        {**RULE, "remind_after": "PT1S"},
        {**RULE, "loud": True},
    ],
)
async def test_what_makes_no_sense_or_is_not_here_is_refused(
    desk: Desk, rule: dict[str, object]
) -> None:
    refused = await desk.ask("POST", "/sla/alerts", {"name": "No", "rule": rule}, want=422)
    assert refused["errors"], refused


async def test_it_says_what_it_would_say_and_shows_the_cycles_behind_what_it_said(
    desk: Desk, client: httpx.AsyncClient, resources: Resources, database: Database
) -> None:
    tenant, now = desk.house.tenant_id, datetime.now(UTC)
    async with database.transaction(tenant) as work:
        await make_policy(work, resolution=None)
    made = await desk.ask("POST", "/sla/alerts", ALERT, want=201)
    numbers = set()
    for _ in range(2):
        ticket = await make_ticket(
            database, resources.tickets, tenant, now=now - timedelta(hours=2)
        )
        numbers.add(ticket.number)
        event = Event(key=str(uuid.uuid4()), actor=SYSTEM, payload=TimeAdvanced(), cause={"a": 1})
        async with database.transaction(tenant) as work:
            await resources.tickets.handle(work, Step(ticket.number, event), now=now)
    for path, body in (
        (f"/sla/alerts/{made['id']}/test", None),
        ("/sla/alerts/test", {"rule": RULE}),
    ):
        tried = await desk.ask("POST", path, body)
        assert (tried["bad"], tried["figures"]["breaches"]) == (True, 2)
        assert tried["users"] == [str(desk.house.users[Role.SUPERVISOR])]
    assert (await desk.ask("GET", "/sla/alerts/firings"))["items"] == []
    async with database.transaction(tenant) as work:
        await look(work, resources.desks, now=now)
    [shown] = (await desk.ask("GET", "/sla/alerts/firings?open=true"))["items"]
    assert (shown["name"], shown["told"], shown["ended_at"]) == ("Many at once", 1, None)
    assert await desk.ask("GET", f"/sla/alerts/firings/{shown['id']}") == shown
    behind = await client.get(str(shown["cycles"]), headers=desk.house.admin)
    assert behind.status_code == 200, behind.text
    assert {cycle["number"] for cycle in behind.json()["items"]} == numbers
    standing = (await desk.ask("GET", f"/sla/alerts/{made['id']}"))["standing"]
    assert standing["firing_id"] == shown["id"]
    assert standing["says"].startswith("2 first_reply promises were broken")
    notices = await client.get("/api/v1/notifications", headers=desk.house.headers[Role.SUPERVISOR])
    [notice] = notices.json()["items"]
    assert (notice["kind"], notice["number"], notice["subject"]) == ("sla_alert", None, None)
    await desk.ask("DELETE", f"/sla/alerts/{made['id']}", want=204)
    [kept] = (await desk.ask("GET", f"/sla/alerts/firings?alert={made['id']}"))["items"]
    assert kept["ended_because"] == "the rule was deleted"


async def test_a_page_of_firings_leads_to_the_next(desk: Desk, database: Database) -> None:
    made = await desk.ask("POST", "/sla/alerts", ALERT, want=201)
    async with database.transaction(desk.house.tenant_id) as work:
        await work.execute(
            "insert into alert_firings (tenant_id, id, alert_id, name, rule, since, until, figures,"
            " fired_at, told, ended_at, ended_because) select tenant_id, gen_random_uuid(), id,"
            " name, rule, :now, :now, '{}', :now, 0, :now, 'over' from alerts,"
            " generate_series(1, 5) where tenant_id = :tenant",
            {"now": datetime.now(UTC), "tenant": desk.house.tenant_id},
        )
    seen: set[str] = set()
    cursor = ""
    for _ in range(3):
        page = await desk.ask("GET", f"/sla/alerts/firings?limit=2&alert={made['id']}{cursor}")
        seen |= {item["id"] for item in page["items"]}
        cursor = f"&cursor={page['next']}"
    assert (len(seen), page["next"]) == (5, None)
