"""What is promised to a ticket over HTTP; policies tried, drafted, put in force; escalations."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.resources import Resources
from domain.permissions import Role
from domain.states import Channel
from models.session import Database
from services.bulk import BulkRunner
from services.tickets import Requester, TicketRequest
from tests import making
from tests.api.conftest import House, MakeHouse, make_ticket

API = "/api/v1"
Said = dict[str, object]
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ALWAYS = {"timezone": "Europe/Berlin", "weekly": {day: [["00:00", "24:00"]] for day in DAYS}}
GOLD = {"field": "tags", "op": "has", "value": "gold"}


class Desk:
    """A house, asked as its admin."""

    def __init__(self, client: httpx.AsyncClient, house: House) -> None:
        self.client, self.house = client, house

    async def ask(
        self, method: str, path: str, body: object = None, *, want: int = 200,
        role: Role = Role.ADMIN,
    ) -> Any:  # fmt: skip
        answer = await self.client.request(
            method, API + path, json=body, headers=self.house.headers[role]
        )
        assert answer.status_code == want, f"{answer.status_code} {answer.text}"
        return answer.json() if answer.content else {}

    async def calendar(self, name: str = "Always") -> str:
        made = await self.ask("POST", "/calendars", {"name": name, "body": ALWAYS}, want=201)
        return str(made["id"])

    async def policy(self, **terms: object) -> Any:
        body: Said = {
            "name": "Standard",
            "targets": {
                "first_reply": {"normal": "PT1H", "urgent": "PT10M"},
                "resolution": {"normal": "PT8H", "urgent": "PT1H"},
            },
            **terms,
        }
        body.setdefault("calendar_id", await self.calendar(f"For {body['name']}"))
        return await self.ask("POST", "/policies", body, want=201)

    async def audited(self, database: Database) -> list[str]:
        async with database.transaction(self.house.tenant_id) as work:
            rows = await work.rows("select action from audit_entries order by id")
        return [row["action"] for row in rows]


@pytest.fixture
def desk(client: httpx.AsyncClient, house: House) -> Desk:
    return Desk(client, house)


async def test_a_ticket_says_what_is_promised_why_and_what_comes_next(
    desk: Desk, database: Database, resources: Resources
) -> None:
    once = {"timezone": "UTC", "overrides": {"2099-01-01": [["09:00", "17:00"]]}}
    shut = await desk.ask("POST", "/calendars", {"name": "Shut", "body": once}, want=201)
    await desk.policy(name="Gold", calendar_id=shut["id"], conditions={"all": [GOLD, {"not": {
        "field": "priority", "op": "is", "value": "low"}}]})  # fmt: skip
    step = {
        "id": "warn", "metric": "resolution", "percent": 50, "tier": 2,
        "action": {"kind": "notify", "to": ["team_leads", "on_call"]},
        "also": [{"kind": "write_note", "text": "Half of it is gone."}],
    }  # fmt: skip
    standard = await desk.policy(steps=[step])
    ticket = await make_ticket(database, resources.tickets, desk.house)
    said = await desk.ask("GET", f"/tickets/{ticket.number}/sla")
    assert said["timed_by"] == {"policy_id": standard["id"], "name": "Standard", "version": 1}
    gold, other = said["policies"]
    assert (gold["applies"], gold["in_force"], other["in_force"]) == (False, False, True)
    assert [(line["depth"], line["holds"]) for line in gold["because"]] == [
        (0, False), (1, False), (1, True), (2, False),
    ]  # fmt: skip
    assert "tags is nothing" in gold["because"][1]["why"]
    clocks = {one["metric"]: one for one in said["clocks"]}
    resolution = clocks["resolution"]
    assert (resolution["target_seconds"], resolution["outcome"]) == (28800, "running")
    assert resolution["within_hours"] is True
    assert 28780 <= resolution["remaining_seconds"] <= 28800
    assert [piece["running"] for piece in resolution["intervals"]] == [True]
    assert [(one["kind"], one["metric"], one["actions"]) for one in said["next"]] == [
        ("breach", "first_reply", []),
        ("step", "resolution", ["notify", "write_note"]),
        ("breach", "resolution", []),
    ]
    await desk.ask("PATCH", f"/tickets/{ticket.number}", {"add_tags": ["gold"]})
    said = await desk.ask("GET", f"/tickets/{ticket.number}/sla")
    assert said["timed_by"]["name"] == "Gold"
    assert {one["within_hours"] for one in said["clocks"]} == {False}


async def test_how_late_a_breach_was_noticed_is_said(
    desk: Desk, database: Database, resources: Resources
) -> None:
    await desk.policy()
    async with database.transaction(desk.house.tenant_id) as work:
        outcome = await resources.tickets.create(
            work,
            TicketRequest(
                key="old", subject="Old", message=None, channel=Channel.API,
                requester=Requester("email", "kim@example.org"),
            ),
            now=datetime.now(UTC) - timedelta(minutes=64),
        )  # fmt: skip
    number = outcome.ticket.number
    [first, _] = (await desk.ask("GET", f"/tickets/{number}/sla"))["clocks"]
    assert (first["breached"], first["lateness"]) == (
        True,
        "due 4 min ago, and no timer has come yet",
    )
    await desk.ask("POST", f"/tickets/{number}/notes", {"text": "x"}, want=201)
    [first, _] = (await desk.ask("GET", f"/tickets/{number}/sla"))["clocks"]
    assert first["lateness"] == "timer 4 min late"
    assert 230 <= first["over_seconds"] <= 250


async def test_every_measure_is_told_as_events_with_a_policy_and_without(
    desk: Desk, database: Database, resources: Resources
) -> None:
    bare = await make_ticket(database, resources.tickets, desk.house)
    await desk.policy()
    promised = await make_ticket(database, resources.tickets, desk.house)
    told = {
        ticket.number: [
            (event["metric"], event["kind"])
            for event in (await desk.ask("GET", f"/tickets/{ticket.number}/sla/events"))["events"]
        ]
        for ticket in (bare, promised)
    }
    started = {(metric, "activate") for metric in ("first_reply", "resolution", "agent_work")}
    assert started <= set(told[bare.number])
    assert not {kind for _, kind in told[bare.number]} - {"activate"}
    assert {("first_reply", "apply_sla"), ("resolution", "apply_sla")} == set(
        told[promised.number]
    ) - {(metric, "activate") for metric, _ in told[promised.number]}
    await desk.ask("GET", "/tickets/999/sla/events", want=404)


async def test_what_was_merged_away_is_not_listed_as_breached(
    desk: Desk, database: Database, resources: Resources
) -> None:
    await desk.policy()
    long_ago = datetime.now(UTC) - timedelta(hours=3)
    late, into = [
        (await making.make_ticket(
            database, resources.tickets, desk.house.tenant_id, now=long_ago
        )).number
        for _ in range(2)
    ]  # fmt: skip
    for number in (late, into):
        await desk.ask("POST", f"/tickets/{number}/notes", {"text": "x"}, want=201)

    async def breached() -> set[int]:
        return {one["number"] for one in (await desk.ask("GET", "/tickets?breached=true"))["items"]}

    assert await breached() == {late, into}
    await desk.ask("POST", f"/tickets/{late}/merge", {"into": into})
    assert await breached() == {into}


async def test_a_deadline_set_by_hand_stays_until_it_is_given_back(
    desk: Desk, database: Database, resources: Resources
) -> None:
    await desk.policy()
    ticket = await make_ticket(database, resources.tickets, desk.house)
    where = f"/tickets/{ticket.number}"
    usual = (await desk.ask("GET", where))["sla"]["resolution_due_at"]
    due = "2027-05-06T15:00:00Z" if datetime.now(UTC).year < 2027 else "2031-05-06T15:00:00Z"
    body: Said = {"metric": "resolution", "due_at": due, "reason": "Agreed on the phone."}
    changed = await desk.ask("POST", f"{where}/due", body)
    assert changed["sla"]["resolution_due_at"] == due
    changed = await desk.ask("PATCH", where, {"priority": "urgent"})
    assert changed["sla"]["resolution_due_at"] == due
    clocks = {c["metric"]: c for c in (await desk.ask("GET", where))["clocks"]}
    assert clocks["resolution"]["due_override"]["reason"] == "Agreed on the phone."
    await desk.ask("PATCH", where, {"priority": "normal"})
    back = await desk.ask("POST", f"{where}/due", {"metric": "resolution", "reason": "Usual."})
    assert back["sla"]["resolution_due_at"] == usual
    await desk.ask("POST", f"{where}/due", {**body, "metric": "agent_work"}, want=409)
    await desk.ask("POST", f"{where}/due", {**body, "metric": "nothing"}, want=422)
    await desk.ask("POST", f"{where}/due", body, want=403, role=Role.VIEWER)


async def test_what_a_machine_answered_for_the_customer_changes_nothing(
    desk: Desk, database: Database, resources: Resources
) -> None:
    ticket = await make_ticket(database, resources.tickets, desk.house)
    where = f"/tickets/{ticket.number}"
    await desk.ask("POST", f"{where}/replies", {"text": "Tried it?", "status": "pending"}, want=201)
    said: Said = {"text": "I am away.", "automatic": True}
    kept = await desk.ask("POST", f"{where}/customer-messages", said, want=201)
    assert kept["category"] == "pending"
    said = {"text": "Yes, in vain."}
    assert (await desk.ask("POST", f"{where}/customer-messages", said, want=201))[
        "category"
    ] == "open"


async def test_acknowledged_it_waits_for_so_many_minutes(
    desk: Desk, database: Database, resources: Resources
) -> None:
    await desk.policy(steps=[
        {"id": "boss", "metric": "first_reply", "offset": "-PT55M", "tier": 2,
         "action": {"kind": "notify", "to": ["supervisors"]}}
    ])  # fmt: skip
    ticket = await make_ticket(database, resources.tickets, desk.house)
    where = f"/tickets/{ticket.number}"
    await desk.ask("POST", f"{where}/acknowledge", {"minutes": 30}, role=Role.AGENT)
    said = await desk.ask("GET", f"{where}/sla")
    step = next(one for one in said["next"] if one["kind"] == "step")
    until = said["clocks"][0]["acknowledged_until"]
    assert step["at"] == until
    assert datetime.fromisoformat(until) > ticket.created_at + timedelta(minutes=29)
    await desk.ask("POST", f"{where}/acknowledge", {"minutes": 0}, want=422)


async def test_fewer_minutes_of_a_colleague_take_no_acknowledgement_back(
    desk: Desk, database: Database, resources: Resources
) -> None:
    await desk.policy(steps=[
        {"id": "boss", "metric": "first_reply", "offset": "-PT55M", "tier": 2,
         "action": {"kind": "notify", "to": ["supervisors"]}}
    ])  # fmt: skip
    ticket = await make_ticket(database, resources.tickets, desk.house)
    where = f"/tickets/{ticket.number}"
    hour = await desk.ask("POST", f"{where}/acknowledge", {"minutes": 60}, role=Role.AGENT)
    less = await desk.ask("POST", f"{where}/acknowledge", {"minutes": 5}, role=Role.SUPERVISOR)
    assert less["acknowledged_until"] == hour["acknowledged_until"]
    assert less["number"] == ticket.number
    said = await desk.ask("GET", f"{where}/sla")
    assert {one["acknowledged_until"] for one in said["clocks"]} == {hour["acknowledged_until"]}
    told = await desk.ask("GET", f"{where}/events")
    [first, second] = [one for one in told["items"] if one["type"] == "sla_acknowledged"]
    assert first["data"]["until"] == second["data"]["until"]
    assert second["data"]["asked"] < second["data"]["until"]
    more = await desk.ask("POST", f"{where}/acknowledge", {"minutes": 90}, role=Role.AGENT)
    assert more["acknowledged_until"] > hour["acknowledged_until"]


@pytest.mark.parametrize(
    "terms",
    [
        {"conditions": {"field": "moon", "value": "full"}},
        {"conditions": {"all": [{"field": "priority", "op": "in", "value": "high"}]}},
        {"targets": {"custom:parts": {"normal": "PT1H"}}},
        {"clocks": [{"metric": "custom:parts", "starts": GOLD}]},
        {"clocks": [{"metric": "group:line", "teams": [str(uuid.uuid4())]}]},
        {"steps": [{"id": "a", "metric": "resolution", "action": {"kind": "raise_priority"}}]},
        {"steps": [{"id": "a", "metric": "resolution", "percent": 50,
                    "action": {"kind": "call_webhook", "webhook_id": str(uuid.uuid4())}}]},
        {"steps": [{"id": "a", "metric": "resolution", "percent": 50,
                    "action": {"kind": "start_workflow", "name": "refund"}}]},
        {"targets": {"resolution": {"normal": {"business_days": 0}}}},
        {"steps": [{"id": "a", "metric": "resolution", "percent": 50,
                    "quiet": {"start": "00:00", "end": "24:00"},
                    "action": {"kind": "add_tag", "tag": "x"}}]},
    ],
)  # fmt: skip
async def test_what_a_policy_cannot_mean_is_refused(desk: Desk, terms: Said) -> None:
    body = {"name": "P", "calendar_id": await desk.calendar(), "targets": {}, **terms}
    refused = await desk.ask("POST", "/policies", body, want=422)
    assert refused["errors"]
    kept = await desk.policy()
    await desk.ask("PATCH", f"/policies/{kept['id']}", terms, want=422)


async def test_a_policy_with_everything_is_kept_as_it_was_said(desk: Desk) -> None:
    made = await desk.policy(
        conditions={"any": [GOLD, {"not": {"field": "priority", "op": "below", "value": "high"}}]},
        targets={
            "resolution": {"normal": {"business_days": 2}},
            "custom:parts": {"normal": "PT24H"},
        },
        pause_when={"resolution": GOLD},
        clocks=[{"metric": "custom:parts", "starts": GOLD, "stops": {"not": GOLD}}],
        reopening={"resolution": "restart"},
        merge_inherits_start=True,
        steps=[{"id": "s", "metric": "custom:parts", "percent": 80, "tier": 3, "per_cycle": True,
                "only_if": ["unassigned"], "quiet": {"start": "22:00", "end": "07:00"},
                "action": {"kind": "add_tag", "tag": "late"}}],
    )  # fmt: skip
    body = made["body"]
    assert isinstance(body, dict)
    assert body["conditions"]["any"][1]["not"]["op"] == "below"
    assert body["targets"]["resolution"]["normal"] == {"business_days": 2}
    assert body["clocks"][0]["stops"] == {"not": {**GOLD}}
    assert (body["steps"][0]["tier"], body["steps"][0]["quiet"]["end"]) == (3, "07:00")
    assert body["merge_inherits_start"] is True
    changed = await desk.ask("PATCH", f"/policies/{made['id']}", {"conditions": None})
    assert "conditions" not in changed["body"] or changed["body"]["conditions"] is None
    await desk.ask("PATCH", f"/policies/{made['id']}", {"clocks": None}, want=422)


async def test_a_policy_is_tried_before_it_is_in_force(
    desk: Desk, database: Database, resources: Resources
) -> None:
    hours = {
        "timezone": "Europe/Berlin",
        "weekly": {day: [["09:00", "17:00"]] for day in DAYS[:5]},
    }
    office = await desk.ask("POST", "/calendars", {"name": "Office", "body": hours}, want=201)
    kept = await desk.policy()
    draft = f"/policies/{kept['id']}/draft"
    await desk.ask("GET", draft, want=404)
    written = await desk.ask("PUT", draft, {"conditions": GOLD})
    assert written["body"]["targets"] == kept["body"]["targets"]
    ticket = await make_ticket(database, resources.tickets, desk.house)

    async def tried(**which: object) -> tuple[bool, bool]:
        said = await desk.ask("POST", "/policies/test", {"number": ticket.number, **which})
        assert said["in_force"]["name"] == "Standard"
        verdict = said["verdict"]
        assert isinstance(verdict, dict)
        return verdict["applies"], verdict["in_force"]

    assert await tried(policy_id=kept["id"]) == (True, True)
    assert await tried(policy_id=kept["id"], draft=True) == (False, True)
    inline = {"name": "X", "calendar_id": kept["body"]["calendar_id"], "targets": {}}
    assert await tried(policy=inline) == (True, False)
    days = {"high": "P1D", "normal": {"business_days": 1}}
    body = {"name": "X", "calendar_id": office["id"], "targets": {"resolution": days}}
    said = await desk.ask(
        "POST", "/policies/test",
        {"number": ticket.number, "policy": body, "start": "2025-06-06T13:00:00Z"},
    )  # fmt: skip
    # "One day" of 24 open hours from Friday 15:00 is Wednesday 15:00; one business day is Monday.
    assert [(one["priority"], one["due_at"]) for one in said["due"]] == [
        ("normal", "2025-06-09T15:00:00Z"),
        ("high", "2025-06-11T13:00:00Z"),
    ]
    await desk.ask("POST", "/policies/test", {"number": ticket.number}, want=422)
    await desk.ask("POST", "/policies/test", {"number": 999999, "policy_id": kept["id"]}, want=404)
    await desk.ask("PUT", draft, {"name": "Other"}, want=422)
    await desk.ask("PUT", draft, {"conditions": GOLD}, want=403, role=Role.AGENT)
    published = await desk.ask("POST", f"{draft}/publish")
    assert (published["version"], published["body"]["conditions"]) == (2, GOLD)
    await desk.ask("GET", draft, want=404)
    await desk.ask("DELETE", draft, want=404)
    actions = await desk.audited(database)
    assert actions[-2:] == ["policy.drafted", "policy.changed"]


async def test_a_policy_that_is_not_active_yet_promises_nothing(
    desk: Desk, database: Database, resources: Resources
) -> None:
    made = await desk.policy(active=False)
    assert made["active"] is False
    ticket = await make_ticket(database, resources.tickets, desk.house)
    assert ticket.first_reply_due_at is None
    await desk.ask("PATCH", f"/policies/{made['id']}", {"active": True})
    ticket = await make_ticket(database, resources.tickets, desk.house)
    assert ticket.first_reply_due_at is not None


async def test_holidays_of_a_country_and_of_a_file_close_their_dates(desk: Desk) -> None:
    calendar_id = await desk.calendar()
    where = f"/calendars/{calendar_id}/holidays"
    year = datetime.now(UTC).year
    asked: Said = {"country": "DE", "region": "BY", "first_year": year, "last_year": year + 2}
    made = await desk.ask("PUT", where, asked)
    assert made["version"] == 2
    ics = (
        f"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nDTSTART;VALUE=DATE:{year + 1}0227\r\nSUMMARY:Party\r\n"
    )
    ics += "END:VEVENT\r\nEND:VCALENDAR\r\n"
    span = {"first_year": year, "last_year": year + 2}
    await desk.ask("PUT", where, {"ics": ics, "name": "Ours", **span})
    days = await desk.ask("GET", f"/calendars/{calendar_id}/preview?months=14")
    by_day = {one["day"]: one for one in days}
    party = by_day.get(f"{year + 1}-02-27")
    assert party is None or (party["why_closed"], party["windows"]) == ("Holiday: Party.", [])
    holidays = [one for one in by_day.values() if one["holiday"]]
    assert len(holidays) > 10
    assert all(one["open_seconds"] == 0 and one["name"] for one in holidays)
    again = await desk.ask("PUT", where, {**asked, "excluded_names": [holidays[0]["name"]]})
    names = [one["name"] for one in again["body"]["lists"]]
    assert sorted(names) == ["DE-BY", "Ours"]
    fewer = await desk.ask("GET", f"/calendars/{calendar_id}/preview?months=14")
    assert sum(one["holiday"] for one in fewer) < len(holidays)
    left = await desk.ask("DELETE", f"{where}?name=DE-BY")
    assert [one["name"] for one in left["body"]["lists"]] == ["Ours"]
    await desk.ask("DELETE", f"{where}?name=DE-BY", want=404)
    await desk.ask("PUT", where, {**asked, "country": "XX"}, want=422)
    await desk.ask("PUT", where, {"ics": "no", "name": "N", **span}, want=422)
    known = await desk.ask("GET", "/holidays/countries")
    assert "BY" in next(one for one in known if one["code"] == "DE")["regions"]


async def test_the_queue_of_escalations_shows_who_why_and_what_for_until_handed_back(
    desk: Desk, database: Database, resources: Resources, make_house: MakeHouse
) -> None:
    boss = str(desk.house.users[Role.SUPERVISOR])
    numbers = []
    for reason in ("First", "Second", "Third"):
        ticket = await make_ticket(database, resources.tickets, desk.house)
        body = {"reason": reason, "assignee_id": boss}
        await desk.ask("POST", f"/tickets/{ticket.number}/escalate", body, role=Role.AGENT)
        numbers.append(ticket.number)
    page = await desk.ask("GET", "/escalations?limit=2")
    items: list[dict[str, object]] = page["items"]
    assert [(one["reason"], one["level"], one["by_name"]) for one in items] == [
        ("Third", 1, "Agent"), ("Second", 1, "Agent"),
    ]  # fmt: skip
    rest = await desk.ask("GET", f"/escalations?limit=2&cursor={page['next']}")
    assert [one["reason"] for one in rest["items"]] == ["First"]
    assert rest["next"] is None
    await desk.ask("GET", "/escalations?cursor=nonsense", want=422)
    where = f"/tickets/{numbers[1]}/hand-back"
    back = await desk.ask("POST", where, {"reason": "Done."}, role=Role.SUPERVISOR)
    assert (back["escalation"], back["assignee_id"]) == (None, None)
    await desk.ask("POST", where, {"reason": "Again."}, want=409)
    await desk.ask("POST", where, {"reason": "No."}, want=403, role=Role.VIEWER)
    left = await desk.ask("GET", "/escalations")
    assert [one["reason"] for one in left["items"]] == ["Third", "First"]
    stranger = Desk(desk.client, await make_house())
    assert (await stranger.ask("GET", "/escalations"))["items"] == []


async def test_who_is_on_call_is_a_member_of_the_team(desk: Desk, database: Database) -> None:
    where, agent = f"/teams/{desk.house.team_id}/on-call", str(desk.house.users[Role.AGENT])
    said = await desk.ask("PUT", where, {"user_ids": [agent]}, role=Role.SUPERVISOR)
    assert said["user_ids"] == [agent]
    await desk.ask("PUT", where, {"user_ids": [str(desk.house.users[Role.ADMIN])]}, want=422)
    await desk.ask("PUT", where, {"user_ids": []}, want=403, role=Role.AGENT)
    await desk.ask("PUT", f"/teams/{uuid.uuid4()}/on-call", {"user_ids": []}, want=404)
    assert (await desk.audited(database))[-1] == "team.on_call_changed"


async def test_a_change_of_hours_reaches_open_tickets_by_a_job_that_can_be_followed(
    desk: Desk, database: Database, resources: Resources
) -> None:
    policy = await desk.policy()
    calendar_id = policy["body"]["calendar_id"]
    ticket = await make_ticket(database, resources.tickets, desk.house)
    never = {"timezone": "UTC", "weekly": {}}
    await desk.ask("PATCH", f"/calendars/{calendar_id}", {"body": never})
    job = await desk.ask("POST", f"/calendars/{calendar_id}/reassess", want=202)
    assert (job["state"], job["total"]) == ("queued", 1)
    runner = BulkRunner(database, resources.tickets)
    job_id = uuid.UUID(str(job["id"]))
    while (
        await runner.chunk(desk.house.tenant_id, job_id, now=datetime.now(UTC))
    ).state == "running":
        pass
    ended = await desk.ask("GET", f"/bulk/{job_id}")
    assert (ended["state"], ended["counts"]) == ("finished", {"done": 1})
    [item] = (await desk.ask("GET", f"/bulk/{job_id}/items"))["items"]
    assert (item["number"], item["detail"]) == (ticket.number, "Nothing is due.")
    shown = await desk.ask("GET", f"/tickets/{ticket.number}")
    assert shown["sla"]["next_due_at"] is None
    refused = await desk.ask("POST", f"/bulk/{job_id}/undo", want=409)
    assert "putting the policy back" in str(refused["detail"])
    await desk.ask("POST", f"/policies/{policy['id']}/reassess", want=403, role=Role.AGENT)
    again = await desk.ask("POST", f"/policies/{policy['id']}/reassess", want=202)
    assert again["total"] == 0


async def test_switched_off_a_policy_lets_its_open_tickets_go_at_once_and_says_how_many(
    desk: Desk, database: Database, resources: Resources
) -> None:
    house = desk.house
    bronze = await desk.policy(name="Bronze", targets={"first_reply": {"normal": "PT2H"}})
    gold = await desk.policy(name="Gold", conditions=GOLD)
    await desk.ask("PUT", "/policies/order", {"ids": [gold["id"], bronze["id"]]})
    old = datetime.now(UTC) - timedelta(minutes=90)
    kept = [
        await making.make_ticket(database, resources.tickets, house.tenant_id, now=old)
        for _ in range(3)
    ]
    for ticket in kept[:2]:
        await desk.ask("PATCH", f"/tickets/{ticket.number}", {"tags": ["gold"]})
    said = await desk.ask("GET", f"/tickets/{kept[0].number}/sla")
    assert {one["breached"] for one in said["clocks"] if one["metric"] == "first_reply"} == {True}
    off = await desk.ask("PATCH", f"/policies/{gold['id']}", {"active": False})
    assert off["active"] is False
    job = off["retiming"]
    assert (job["total"], job["action"]) == (2, {"retimed": [gold["id"]]})
    runner = BulkRunner(database, resources.tickets)
    while (
        await runner.chunk(house.tenant_id, uuid.UUID(job["id"]), now=datetime.now(UTC))
    ).state == "running":
        pass
    ended = await desk.ask("GET", f"/bulk/{job['id']}")
    assert (ended["state"], ended["counts"]) == ("finished", {"done": 2})
    for ticket in kept:
        said = await desk.ask("GET", f"/tickets/{ticket.number}/sla")
        assert said["timed_by"]["name"] == "Bronze"
        promised = {one["metric"]: one["breached"] for one in said["clocks"] if one["due_at"]}
        assert promised == {"first_reply": ticket in kept[:2]}  # what was late before stays late
    # Nobody is timed by it now: nothing is to be done. Nor on the way back in force.
    again = await desk.ask("PATCH", f"/policies/{gold['id']}", {"active": True})
    assert again["retiming"] is None
    assert (await desk.ask("PATCH", f"/policies/{gold['id']}", {"active": False}))[
        "retiming"
    ] is None
    last = await desk.ask("PATCH", f"/policies/{bronze['id']}", {"active": False})
    assert last["retiming"]["total"] == 3
    while (
        await runner.chunk(
            house.tenant_id, uuid.UUID(last["retiming"]["id"]), now=datetime.now(UTC)
        )
    ).state == "running":
        pass
    for ticket in kept:
        shown = await desk.ask("GET", f"/tickets/{ticket.number}")
        assert shown["sla"]["next_due_at"] is None


async def test_a_policy_is_switched_off_though_somebody_whom_it_names_has_left(
    desk: Desk, database: Database
) -> None:
    async with database.transaction(desk.house.tenant_id) as work:
        boss = await making.make_agent(work, "Boss")
    to = {"kind": "notify", "to": [str(boss)]}
    made = await desk.policy(
        steps=[{"id": "boss", "metric": "resolution", "percent": 90, "action": to}]
    )
    async with database.transaction(desk.house.tenant_id) as work:
        await work.execute("update users set active = false where id = :id", {"id": boss})
    off = await desk.ask("PATCH", f"/policies/{made['id']}", {"active": False})
    assert (off["active"], off["version"]) == (False, 1)
    # Back in force it would wake nobody: that is refused.
    await desk.ask("PATCH", f"/policies/{made['id']}", {"active": True}, want=422)
