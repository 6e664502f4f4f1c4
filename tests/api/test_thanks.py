"""Thanks on a resolved ticket, over HTTP: kept, seen with its reason, one click from open."""

import httpx

from api.resources import Resources
from domain.permissions import Role
from models.session import Database
from services.verifying import verify
from tests.api.conftest import House, make_ticket
from tests.api.test_timing import Desk


async def test_thanks_leave_it_resolved_and_the_timeline_says_why(
    client: httpx.AsyncClient, house: House, database: Database, resources: Resources
) -> None:
    desk = Desk(client, house)
    await desk.policy(targets={"next_reply": {"normal": "PT1H"}, "resolution": {"normal": "PT8H"}})
    shown = await desk.ask("GET", "/tenant")
    assert shown["settings"]["thanks_keep_resolved"] is False
    await desk.ask("PATCH", "/tenant", {"settings": {"thanks_keep_resolved": True}})
    agent = house.users[Role.AGENT]
    ticket = await make_ticket(database, resources.tickets, house, assignee_id=agent)
    where = f"/tickets/{ticket.number}"
    await desk.ask("PATCH", where, {"status": "resolved"})
    await desk.ask("POST", f"{where}/customer-messages", {"text": "Thanks a lot, Agent!"}, want=201)
    assert (await desk.ask("GET", where))["status"] == "resolved"
    events = (await desk.ask("GET", f"{where}/events"))["items"]
    [told] = [event for event in events if event["type"] == "customer_replied"]
    assert told["data"]["thanks"] == "It says nothing but thanks, so the ticket stays resolved."
    words = (await desk.ask("GET", f"{where}/messages"))["items"]
    assert words[-1]["body_text"] == "Thanks a lot, Agent!"
    notices = await client.get("/api/v1/notifications", headers=house.agent)
    assert notices.json()["items"][0]["data"] == {"thanks": True}
    clocks = (await desk.ask("GET", f"{where}/sla"))["clocks"]
    assert "next_reply" not in {clock["metric"] for clock in clocks}
    await desk.ask("PATCH", where, {"status": "open"})
    await desk.ask("PATCH", where, {"status": "resolved"})
    await desk.ask("POST", f"{where}/customer-messages", {"text": "It broke again."}, want=201)
    assert (await desk.ask("GET", where))["status"] == "open"
    found = await verify(database, house.tenant_id)
    assert [str(one) for one in found.faults] == []
