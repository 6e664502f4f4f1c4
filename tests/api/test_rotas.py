"""Who is on call over HTTP: a rota written, exceptions from it, what comes, whom a step wakes."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from api.resources import Resources
from domain.permissions import Role
from models.session import Database
from services.desks import Desks
from tests.api.conftest import MakeHouse
from tests.api.test_timing import Desk, desk

__all__ = ["desk"]
NOW = datetime.now(UTC)
pytestmark = pytest.mark.filterwarnings("error")


def rota_of(*people: object, **more: object) -> dict[str, object]:
    layer = {
        "user_ids": [str(one) for one in people],
        "first": "2026-01-05",
        "turn_days": 1,
        **more,
    }
    return {"zone": "Europe/Berlin", "layers": [layer]}


async def test_a_rota_says_who_is_on_call_now_and_in_the_next_weeks(
    desk: Desk, database: Database
) -> None:
    where, agent = f"/teams/{desk.house.team_id}", desk.house.users[Role.AGENT]
    await desk.ask("GET", f"{where}/rota", want=404)
    nobody = await desk.ask("GET", f"{where}/on-call")
    assert nobody["because"].startswith("nobody")
    kept = await desk.ask("PUT", f"{where}/rota", rota_of(agent), role=Role.SUPERVISOR)
    assert (kept["zone"], kept["overrides"]) == ("Europe/Berlin", [])
    assert kept["layers"][0]["handover"] == "09:00"
    ahead = await desk.ask("GET", f"{where}/on-call?weeks=4", role=Role.VIEWER)
    assert (ahead["now"], ahead["because"]) == ([str(agent)], "rota")
    [turn] = ahead["turns"]  # one person has every turn
    lasts = datetime.fromisoformat(turn["until"]) - datetime.fromisoformat(turn["since"])
    assert (turn["user_id"], lasts) == (str(agent), timedelta(weeks=4))
    await desk.ask("DELETE", f"{where}/rota", want=204)
    await desk.ask("GET", f"{where}/rota", want=404)
    assert (await desk.audited(database))[-2:] == ["team.rota_changed", "team.rota_dropped"]


async def test_an_override_stands_before_the_rota_until_it_is_over_or_dropped(
    desk: Desk, database: Database
) -> None:
    where, agent = f"/teams/{desk.house.team_id}", desk.house.users[Role.AGENT]
    nights = rota_of(agent, first="2099-01-01")  # nobody's turn for a long time
    await desk.ask("PUT", f"{where}/rota", nights)
    said = {"user_id": str(agent), "since": NOW.isoformat(),
            "until": (NOW + timedelta(days=2)).isoformat()}  # fmt: skip
    made = await desk.ask("POST", f"{where}/rota/overrides", said, want=201)
    ahead = await desk.ask("GET", f"{where}/on-call")
    assert ahead["now"] == [str(agent)]
    assert [(turn["override"], turn["user_id"]) for turn in ahead["turns"]] == [
        (True, str(agent)), (False, None),
    ]  # fmt: skip
    past = {**said, "since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"}
    await desk.ask("POST", f"{where}/rota/overrides", past, want=422)
    stranger = {**said, "user_id": str(desk.house.users[Role.ADMIN])}
    await desk.ask("POST", f"{where}/rota/overrides", stranger, want=422)
    await desk.ask("DELETE", f"{where}/rota/overrides/{made['id']}", want=204)
    await desk.ask("DELETE", f"{where}/rota/overrides/{made['id']}", want=404)
    assert (await desk.ask("GET", f"{where}/on-call"))["turns"][0]["user_id"] is None


async def test_who_leads_is_told_by_nobody_but_those_who_may_change_it(desk: Desk) -> None:
    where, agent = f"/teams/{desk.house.team_id}/rota", desk.house.users[Role.AGENT]
    await desk.ask("PUT", where, rota_of(agent), want=403, role=Role.AGENT)
    await desk.ask("PUT", where, rota_of(desk.house.users[Role.ADMIN]), want=422)
    faults: tuple[dict[str, object], ...] = (
        {"turn_days": 0}, {"handover": "25:00"}, {"user_ids": []}, {"first": "soon"}
    )  # fmt: skip
    for wrong in faults:
        await desk.ask("PUT", where, rota_of(agent, **wrong), want=422)
    await desk.ask("PUT", where, {**rota_of(agent), "zone": "Mars/Base"}, want=422)
    await desk.ask("PUT", f"/teams/{uuid.uuid4()}/rota", rota_of(agent), want=404)
    await desk.ask("GET", f"/teams/{uuid.uuid4()}/on-call", want=404)


async def test_no_other_tenant_sees_or_changes_a_rota(desk: Desk, make_house: MakeHouse) -> None:
    where, agent = f"/teams/{desk.house.team_id}", desk.house.users[Role.AGENT]
    await desk.ask("PUT", f"{where}/rota", rota_of(agent))
    stranger = Desk(desk.client, await make_house())
    for method, path, body in (
        ("GET", "/rota", None), ("GET", "/on-call", None), ("DELETE", "/rota", None),
        ("PUT", "/rota", rota_of(stranger.house.users[Role.AGENT])),
    ):  # fmt: skip
        await stranger.ask(method, f"{where}{path}", body, want=404)
    own = f"/teams/{stranger.house.team_id}/rota"
    await stranger.ask("PUT", own, rota_of(agent), want=422)
    assert (await desk.ask("GET", f"{where}/rota"))["team_id"] == str(desk.house.team_id)


async def test_a_desk_wakes_by_hand_then_by_rota_and_passes_over_who_is_away(
    desk: Desk, database: Database, resources: Resources
) -> None:
    house, agent = desk.house, desk.house.users[Role.AGENT]

    async def woken() -> tuple[uuid.UUID, ...]:
        async with database.transaction(house.tenant_id) as work:
            known = await Desks().current(work)
        return known.on_call(known.teams[house.team_id], datetime.now(UTC))

    where = f"/teams/{house.team_id}"
    assert await woken() == ()
    await desk.ask("PUT", f"{where}/rota", rota_of(agent))
    assert await woken() == (agent,)
    await desk.ask("PUT", f"/users/{agent}/availability", {"state": "absent"})
    assert await woken() == ()  # and so those who lead are told
    await desk.ask("PUT", f"{where}/on-call", {"user_ids": [str(agent)]})
    assert await woken() == ()  # named by hand, and away all the same
    said = await desk.ask("GET", f"{where}/on-call")
    assert said["because"] != "named by hand"
    await desk.ask("DELETE", f"{where}/rota", want=204)
    await desk.ask("PUT", f"/users/{agent}/availability", {"state": "online"})
    assert await woken() == (agent,)  # whatever a rota says
    assert (await desk.ask("GET", f"{where}/on-call"))["because"] == "named by hand"
