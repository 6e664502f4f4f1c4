"""Times without a policy, over HTTP."""

import httpx

from api.resources import Resources
from domain.permissions import Role
from models.session import Database
from tests.api.conftest import House, MakeHouse, make_ticket
from tests.api.test_timing import Desk


async def test_times_are_answered_without_a_policy_to_those_who_may_see_them(
    client: httpx.AsyncClient, house: House, database: Database, resources: Resources
) -> None:
    desk = Desk(client, house)
    for _ in range(3):
        ticket = await make_ticket(database, resources.tickets, house, team_id=house.team_id)
        answer = {"text": "We look at it."}
        await desk.ask("POST", f"/tickets/{ticket.number}/replies", answer, want=201)
    told = await desk.ask("GET", "/reports/times?by=team&metric=first_reply")
    [group] = told["times"]
    assert (group["metric"], group["key"], group["name"], group["count"]) == (
        "first_reply", str(house.team_id), "First line", 3
    )  # fmt: skip
    assert 0 <= group["p50"] <= group["p95"] < 10
    assert (await desk.ask("GET", "/reports/times?priority=urgent"))["times"] == []
    await desk.ask("GET", "/reports/times?metric=custom:parts", want=422)
    await desk.ask(
        "GET", "/reports/times?from=2026-01-01T00:00:00Z&to=2020-01-01T00:00:00Z", want=422
    )
    await desk.ask("GET", "/reports/times", want=403, role=Role.AGENT)


async def test_another_tenants_times_are_none_of_ours(
    client: httpx.AsyncClient,
    house: House,
    database: Database,
    resources: Resources,
    make_house: MakeHouse,
) -> None:
    other = await make_house()
    ticket = await make_ticket(database, resources.tickets, other)
    path = f"/tickets/{ticket.number}/replies"
    await Desk(client, other).ask("POST", path, {"text": "Hello."}, want=201)
    assert (await Desk(client, house).ask("GET", "/reports/times"))["times"] == []
