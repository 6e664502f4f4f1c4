"""A policy that lets pauses count only so long, over HTTP and in the rows."""

import httpx
import pytest

from api.resources import Resources
from models.session import Database
from services.verifying import verify
from tests.api.conftest import House, make_ticket
from tests.api.test_timing import Desk


@pytest.fixture
def desk(client: httpx.AsyncClient, house: House) -> Desk:
    return Desk(client, house)


async def test_a_ticket_says_how_long_its_pauses_still_count_and_when_it_runs_on(
    desk: Desk, database: Database, resources: Resources
) -> None:
    await desk.policy(max_pause={"resolution": "PT2H"})
    ticket = await make_ticket(database, resources.tickets, desk.house)
    where = f"/tickets/{ticket.number}"
    await desk.ask("PATCH", where, {"status": "pending"})
    told = await desk.ask("GET", f"{where}/sla")
    [clock] = [one for one in told["clocks"] if one["metric"] == "resolution"]
    assert clock["max_pause_seconds"] == 7200
    assert 7190 < clock["pause_left_seconds"] <= 7200
    assert clock["paused_since"] < clock["runs_on_at"] < clock["due_at"]
    assert told["next"][-1]["at"] == clock["due_at"]  # one timer, known ahead
    listed = await desk.ask("GET", f"/tickets?due_to={clock['due_at']}&sort=due")
    assert [one["number"] for one in listed["items"]] == [ticket.number]
    await desk.ask("PATCH", where, {"status": "open"})
    async with database.transaction(desk.house.tenant_id) as work:
        [row] = await work.rows("select pause_limit from clocks where metric = 'resolution'")
        assert row["pause_limit"].total_seconds() == 7200
    found = await verify(database, desk.house.tenant_id)
    assert [str(one) for one in found.faults] == []


@pytest.mark.parametrize(
    "longest", [{"resolution": "PT0S"}, {"custom:parts": "PT1H"}, {"moon": "PT1H"}, 5]
)
async def test_a_limit_that_makes_no_sense_is_refused(desk: Desk, longest: object) -> None:
    body = {
        "name": "No", "calendar_id": await desk.calendar(), "targets": {}, "max_pause": longest
    }  # fmt: skip
    await desk.ask("POST", "/policies", body, want=422)
