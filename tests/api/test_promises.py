"""Reports over HTTP: attainment with its definitions, the cycles behind it, pauses, CSV."""

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.resources import Resources
from domain.permissions import Role
from domain.states import ActorKind
from domain.tickets import Actor, AgentReplied, Changed, Event, TimeAdvanced
from models.session import Database
from services.tickets import Step as TicketStep
from tests.api.conftest import House
from tests.making import happens, make_policy, make_ticket, words

REPORT = "/api/v1/reports/sla"
MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
MARCH = {"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}


@pytest.fixture
async def numbers(database: Database, resources: Resources, house: House) -> Sequence[int]:
    """Replies by 10:00, resolved by 17:00; kept, late, open and long overdue, and paused."""
    desk = resources.tickets
    async with database.transaction(house.tenant_id) as work:
        await make_policy(work, first_reply=timedelta(hours=1), resolution=timedelta(hours=8))
    agent = house.users[Role.AGENT]
    made = [
        await make_ticket(
            database, desk, house.tenant_id, now=MONDAY, email=f"{name}@example.com", subject=name
        )
        for name in ("=kept", "late", "open", "paused")
    ]
    kept, late, _, paused = (ticket.number for ticket in made)

    async def after(minutes: int, number: int, payload: AgentReplied | Changed) -> None:
        await happens(
            database, desk, house.tenant_id, number, payload, by=agent,
            now=MONDAY + timedelta(minutes=minutes),
        )  # fmt: skip

    await after(30, kept, AgentReplied(words()))
    await after(90, late, AgentReplied(words()))
    await after(120, kept, Changed(status="resolved", assignee_id=agent))
    for minutes in (200, 220):
        await after(minutes, paused, Changed(status="pending"))
        await after(minutes + 10, paused, Changed(status="open"))
    return [ticket.number for ticket in made]


async def get(
    client: httpx.AsyncClient, path: str, house: House, **query: object
) -> httpx.Response:
    asked = {**MARCH, **query}
    return await client.get(REPORT + path, params=asked, headers=house.admin)  # type: ignore[arg-type]


async def test_attainment_counts_what_ended_and_shows_what_is_overdue_apart(
    client: httpx.AsyncClient, house: House, numbers: Sequence[int]
) -> None:
    answer = await get(client, "", house)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    groups = {group["key"]: group for group in body["groups"]}
    reply, resolution = groups["first_reply"], groups["resolution"]
    assert (reply["met"], reply["missed"], reply["attainment"]) == (1, 1, 0.5)
    assert reply["minutes_over"] == 30
    assert reply["used"] == {"p50": 60.0, "p90": 84.0, "p95": 87.0}
    assert (reply["open"], reply["overdue"]) == (2, 2)
    assert (resolution["met"], resolution["missed"], resolution["attainment"]) == (1, 0, 1.0)
    assert (resolution["open"], resolution["overdue"]) == (3, 3)
    assert body["total"]["attainment"] == pytest.approx(2 / 3, abs=1e-5)
    assert "met / (met + missed)" in body["definitions"]["attainment"]


@pytest.mark.parametrize(
    "by", ["period", "policy", "calendar", "team", "agent", "priority", "channel", "customer",
           "organization", "cause"],
)  # fmt: skip
async def test_however_it_is_broken_down_it_adds_up(
    client: httpx.AsyncClient, house: House, numbers: Sequence[int], by: str
) -> None:
    body = (await get(client, "", house, by=by, every="week", zone="Europe/Berlin")).json()
    for name in ("met", "missed", "cancelled"):
        assert sum(group[name] for group in body["groups"]) == body["total"][name]
    if by == "period":
        assert [group["key"] for group in body["groups"]] == ["2026-03-02"]
    else:
        assert sum(group["overdue"] for group in body["groups"]) == body["total"]["overdue"]


@pytest.mark.parametrize(
    "by", ["metric", "period", "policy", "calendar", "team", "agent", "priority", "channel",
           "customer", "organization", "cause"],
)  # fmt: skip
async def test_each_line_of_a_report_leads_to_the_cycles_that_it_counted(
    client: httpx.AsyncClient, house: House, numbers: Sequence[int], by: str
) -> None:
    asked = {"by": by, "every": "week", "zone": "Europe/Berlin"}
    for group in (await get(client, "", house, **asked)).json()["groups"]:
        asked["group"] = group["key"] or "none"
        ended = (await get(client, "/cycles", house, limit=200, **asked)).json()["items"]
        outcomes = [item["outcome"] for item in ended]
        for name in ("met", "missed", "cancelled", "not_applicable"):
            assert outcomes.count(name) == group[name]
        late = (await get(client, "/cycles", house, which="overdue", **asked)).json()["items"]
        assert len(late) == group["overdue"]
    nobody = await get(client, "/cycles", house, by=by, group="somebody else")
    assert nobody.json()["items"] == []


async def test_what_ended_outside_of_the_time_asked_for_is_not_counted(
    client: httpx.AsyncClient, house: House, numbers: Sequence[int]
) -> None:
    query = {"from": "2026-03-02T10:00:00Z", "to": "2026-03-02T10:30:00Z", "metric": "first_reply"}
    total = (await get(client, "", house, **query)).json()["total"]
    assert (total["met"], total["missed"]) == (0, 0)
    query["to"] = "2026-03-02T10:30:00.000001Z"
    assert (await get(client, "", house, **query)).json()["total"]["missed"] == 1


async def test_breaches_that_a_change_of_plan_caused_can_be_left_out(
    client: httpx.AsyncClient, database: Database, house: House, numbers: Sequence[int]
) -> None:
    async with database.transaction(house.tenant_id) as work:
        await work.execute(
            "update clocks set caused_by = 'policy_change' where tenant_id = :t"
            " and outcome = 'missed'",
            {"t": house.tenant_id},
        )
    both = {"metric": "first_reply"}
    assert (await get(client, "", house, **both)).json()["total"]["missed"] == 1
    total = (await get(client, "", house, without="policy_change", **both)).json()["total"]
    assert (total["met"], total["missed"], total["attainment"]) == (1, 0, 1.0)
    refused = await get(client, "", house, without="weather")
    assert refused.status_code == 422


async def test_the_cycles_behind_the_figures_come_page_by_page(
    client: httpx.AsyncClient, house: House, numbers: Sequence[int]
) -> None:
    seen: list[tuple[int, str]] = []
    cursor: str | None = None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        page = (await get(client, "/cycles", house, which="overdue", limit=2, **more)).json()
        seen += [(item["number"], item["metric"]) for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    [late] = (await get(client, "/cycles", house, outcome="missed")).json()["items"]
    assert (late["number"], late["metric"], late["minutes_over"]) == (numbers[1], "first_reply", 30)
    wrong = await get(client, "/cycles", house, which="open", cursor=more["cursor"])
    assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_cursor")


async def test_who_paused_what_and_how_briefly_is_told(
    client: httpx.AsyncClient, house: House, numbers: Sequence[int]
) -> None:
    body = (await get(client, "/pauses", house)).json()
    [agent] = body["people"]
    assert agent["actor_id"] == str(house.users[Role.AGENT])
    assert (agent["pauses"], agent["brief"], agent["tickets"]) == (2, 2, 1)
    [ticket] = body["tickets"]
    assert (ticket["number"], ticket["pauses"], ticket["minutes"]) == (numbers[3], 2, 20)


async def test_a_pause_that_lasts_counts_until_now(
    client: httpx.AsyncClient, database: Database, resources: Resources, house: House,
    numbers: Sequence[int],
) -> None:  # fmt: skip
    agent, began = house.users[Role.AGENT], MONDAY + timedelta(minutes=240)
    await happens(
        database, resources.tickets, house.tenant_id, numbers[3], Changed(status="pending"),
        by=agent, now=began,
    )  # fmt: skip
    [one] = (await get(client, "/pauses", house)).json()["people"]
    assert (one["pauses"], one["brief"]) == (3, 2)
    lasting = (datetime.now(UTC) - began) / timedelta(minutes=1)
    assert one["minutes"] == pytest.approx(20 + lasting, abs=10)


async def test_a_spreadsheet_gets_lines_and_no_formulas(
    client: httpx.AsyncClient, house: House, numbers: Sequence[int]
) -> None:
    answer = await get(client, "/cycles.csv", house)
    assert answer.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert {(line["number"], line["outcome"]) for line in lines} == {
        (str(numbers[0]), "met"), (str(numbers[1]), "missed"),
    }  # fmt: skip
    assert "'=kept" in {line["subject"] for line in lines}


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00-12:00", "9999-12-31T23:59:59-12:00"])
@pytest.mark.parametrize("path", ["", "/cycles", "/cycles.csv", "/pauses"])
async def test_a_time_at_the_end_of_all_calendars_is_refused(
    client: httpx.AsyncClient, house: House, path: str, at: str
) -> None:
    answer = await client.get(REPORT + path, params={"to": at}, headers=house.admin)
    assert answer.status_code == 422, answer.text


async def test_a_report_is_for_those_who_oversee_and_has_its_limits(
    client: httpx.AsyncClient, house: House
) -> None:
    answer = await client.get(REPORT, headers=house.agent)
    assert answer.status_code == 403
    backwards = await get(client, "", house, to="2026-02-01T00:00:00Z")
    assert backwards.status_code == 422
    endless = await get(client, "", house, **{"from": "2020-01-01T00:00:00Z"})
    assert endless.status_code == 422
    nowhere = await get(client, "", house, zone="Mars/Base")
    assert nowhere.status_code == 422


async def test_a_breach_that_was_noticed_late_says_how_late_and_why(
    client: httpx.AsyncClient,
    database: Database,
    resources: Resources,
    house: House,
    numbers: Sequence[int],
) -> None:
    quiet, number = {"metric": "first_reply"}, numbers[2]
    total = (await get(client, "", house, **quiet)).json()["total"]
    assert (total["missed"], total["noticed_late"]) == (1, 1)  # its late reply brought it up
    [late] = (await get(client, "/cycles", house, outcome="missed", **quiet)).json()["items"]
    assert (late["minutes_late"], late["lateness"]) == (30, "timer 30 min late")
    assert late["late_because"] is None
    [waiting] = [
        one
        for one in (await get(client, "/cycles", house, which="overdue", **quiet)).json()["items"]
        if one["number"] == number
    ]
    assert waiting["lateness"].endswith("ago, and no timer has come yet")
    # The worker that comes back says why: in its event, and from there on in the reports.
    async with database.transaction(house.tenant_id) as work:
        event = Event(
            key="wake", actor=Actor(ActorKind.AUTOMATION), payload=TimeAdvanced(),
            cause={"late": "no worker was running"},
        )  # fmt: skip
        at = MONDAY + timedelta(hours=1, minutes=34)
        await resources.tickets.handle(work, TicketStep(number, event), now=at)
    [noticed] = [
        one
        for one in (await get(client, "/cycles", house, which="breached", **quiet)).json()["items"]
        if one["number"] == number
    ]
    assert noticed["breached_at"] == "2026-03-02T10:00:00Z"
    assert noticed["lateness"] == "timer 34 min late: no worker was running"
    assert noticed["late_because"] == "no worker was running"
    told = await client.get(f"/api/v1/tickets/{number}/sla", headers=house.admin)
    assert noticed["lateness"] in [one["lateness"] for one in told.json()["clocks"]]
    lines = csv.DictReader(io.StringIO((await get(client, "/cycles.csv", house)).text))
    assert {line["lateness"] for line in lines} == {"", "timer 30 min late"}
