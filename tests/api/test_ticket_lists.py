"""Reading tickets over HTTP: lists, one ticket, its timeline, what drives it, search."""

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.resources import Resources
from api.tickets.shapes import TicketOut, is_breached
from domain.permissions import Role
from domain.tickets import SYSTEM, AgentReplied, Changed, Event, NoteAdded, TimeAdvanced, Watched
from models.session import Database
from services.tickets import Step, Tickets
from settings import Settings
from tests.api.conftest import House, MakeHouse, make_ticket
from tests.making import happens, make_policy, words
from tests.making import make_ticket as make_older_ticket

TICKETS = "/api/v1/tickets"


@pytest.fixture
def tickets(resources: Resources) -> Tickets:
    return resources.tickets


async def test_a_list_shows_names_and_due_times(
    client: httpx.AsyncClient, database: Database, tickets: Tickets, house: House
) -> None:
    agent = house.users[Role.AGENT]
    await make_ticket(database, tickets, house, team_id=house.team_id, assignee_id=agent)
    answer = await client.get(TICKETS, headers=house.admin)
    assert answer.status_code == 200
    body = answer.json()
    assert body["next"] is None
    [item] = body["items"]
    assert item["requester"]["name"] == "Customer"
    assert item["requester"]["email"] == "customer@example.org"
    assert item["assignee_name"] == "Agent"
    assert item["team_name"] == "First line"
    assert item["status_name"] in ("New", "Open")
    assert item["sla"] == {
        "next_due_at": None,
        "first_reply_due_at": None,
        "resolution_due_at": None,
        "breached": False,
        "breached_at": None,
        "lateness": None,
    }


async def test_a_list_says_how_late_a_breach_was_noticed_and_why_as_the_ticket_does(
    client: httpx.AsyncClient, database: Database, tickets: Tickets, house: House
) -> None:
    now = datetime.now(UTC)
    async with database.transaction(house.tenant_id) as work:
        await make_policy(work, first_reply=timedelta(hours=1), resolution=None)
    told, silent, in_time, fresh = [
        await make_older_ticket(
            database, tickets, house.tenant_id, now=now - timedelta(minutes=minutes)
        )
        for minutes in (180, 64, 120, 10)
    ]
    for ticket, at, cause in (
        (told, now - timedelta(minutes=62), {"late": "no worker was running"}),
        (in_time, now - timedelta(minutes=60), {}),
    ):
        async with database.transaction(house.tenant_id) as work:
            event = Event(key=f"time/{ticket.id}", actor=SYSTEM, payload=TimeAdvanced(),
                          cause=cause)  # fmt: skip
            await tickets.handle(work, Step(ticket.number, event), now=at)

    async def listed(**query: object) -> dict[int, str | None]:
        answer = await client.get(TICKETS, headers=house.admin, params=query)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return {item["number"]: item["sla"]["lateness"] for item in answer.json()["items"]}

    everything = {
        told.number: "timer 58 min late: no worker was running",
        silent.number: "due 4 min ago, and no timer has come yet",
        in_time.number: None,
        fresh.number: None,
    }
    assert await listed() == everything
    assert await listed(sort="due", breached="true") == {
        n: everything[n] for n in everything if n != fresh.number
    }
    late = {n: everything[n] for n in (told.number, silent.number)}
    assert await listed(noticed_late="true") == late
    assert await listed(noticed_late="false", sort="-score") == {
        in_time.number: None, fresh.number: None
    }  # fmt: skip
    counts = await client.get(
        f"{TICKETS}/counts", headers=house.admin, params={"noticed_late": "true"}
    )
    assert counts.json()["breached"] == 2
    for number, lateness in everything.items():
        one = (await client.get(f"{TICKETS}/{number}", headers=house.admin)).json()
        assert one["sla"]["lateness"] == lateness
        timing = (await client.get(f"{TICKETS}/{number}/sla", headers=house.admin)).json()
        assert [clock["lateness"] for clock in timing["clocks"]] == [lateness]


async def test_me_mine_and_none_mean_the_caller(
    client: httpx.AsyncClient, database: Database, tickets: Tickets, house: House
) -> None:
    agent = house.users[Role.AGENT]
    mine = await make_ticket(database, tickets, house, team_id=house.team_id, assignee_id=agent)
    free = await make_ticket(database, tickets, house)

    async def listed(headers: dict[str, str], **query: object) -> list[int]:
        answer = await client.get(TICKETS, headers=headers, params={"sort": "number", **query})  # type: ignore[dict-item]
        assert answer.status_code == 200, answer.text
        return [item["number"] for item in answer.json()["items"]]

    assert await listed(house.agent, assignee="me") == [mine.number]
    assert await listed(house.admin, assignee="me") == []
    assert await listed(house.admin, assignee="none") == [free.number]
    assert await listed(house.admin, assignee=["none", str(agent)]) == [mine.number, free.number]
    assert await listed(house.agent, team="mine") == [mine.number]
    assert await listed(house.admin, team="mine") == []
    assert await listed(house.admin, team="none") == [free.number]
    assert await listed(house.admin, watching="me") == []
    watched = Watched(house.users[Role.ADMIN])
    await happens(
        database, tickets, house.tenant_id, free.number, watched, by=house.users[Role.ADMIN]
    )
    assert await listed(house.admin, watching="me") == [free.number]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("asignee=me", "query"),
        ("sort=random", "query/sort"),
        ("limit=0", "query/limit"),
        ("limit=201", "query/limit"),
        ("category=odd", "query/category/0"),
        ("assignee=somebody", "query/assignee/0"),
        ("created_from=2026-01-01T00:00:00", "query/created_from"),
        ("cursor=nonsense", "query/cursor"),
        ("field.unknown=1", "query/field.unknown"),
        ("field.Bad-Key=1", "query"),
    ],
)
async def test_a_filter_nobody_knows_is_refused(
    client: httpx.AsyncClient, house: House, query: str, pointer: str
) -> None:
    answer = await client.get(f"{TICKETS}?{query}", headers=house.admin)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"].startswith(pointer), answer.text


async def test_pages_follow_each_other_and_a_cursor_stays_with_its_list(
    client: httpx.AsyncClient, database: Database, tickets: Tickets, house: House
) -> None:
    made = [(await make_ticket(database, tickets, house)).number for _ in range(5)]
    seen: list[int] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2", "sort": "number"} | ({"cursor": cursor} if cursor else {})
        body = (await client.get(TICKETS, headers=house.admin, params=query)).json()
        seen += [item["number"] for item in body["items"]]
        if body["next"] is None:
            break
        cursor = body["next"]
        other = await client.get(
            TICKETS, headers=house.admin, params={"sort": "-number", "cursor": cursor}
        )
        assert other.status_code == 422
        assert other.json()["code"] == "bad_cursor"
    assert seen == made


async def test_counts_are_numbers(
    client: httpx.AsyncClient, database: Database, tickets: Tickets, house: House
) -> None:
    await make_ticket(database, tickets, house)
    answer = await client.get(f"{TICKETS}/counts", headers=house.admin)
    assert answer.status_code == 200
    body = answer.json()
    assert body["categories"]["new"] == 1
    assert body["unassigned"] == 1
    assert body["mine"] == body["breached"] == 0


async def test_a_ticket_is_read_whole_and_not_again_while_nothing_changed(
    client: httpx.AsyncClient, database: Database, tickets: Tickets, house: House
) -> None:
    agent = house.users[Role.AGENT]
    number = (await make_ticket(database, tickets, house)).number
    note = NoteAdded(words("Odd"))
    ticket = await happens(database, tickets, house.tenant_id, number, note, by=agent)
    answer = await client.get(f"{TICKETS}/{number}", headers=house.agent)
    assert answer.status_code == 200
    body = answer.json()
    assert [m["body_text"] for m in body["messages"]] == ["It burns.", "Odd"]
    assert [m["author_name"] for m in body["messages"]] == ["Customer", "Agent"]
    assert body["earlier"] is None
    etag = answer.headers["etag"]
    assert etag == f'"{ticket.seq}"'
    for sent in (etag, f"W/{etag}", f'"0", {etag}'):
        again = await client.get(
            f"{TICKETS}/{number}", headers={**house.agent, "If-None-Match": sent}
        )
        assert again.status_code == 304, sent
        assert again.content == b""
        assert again.headers["etag"] == etag
    await happens(database, tickets, house.tenant_id, number, AgentReplied(words("Try")), by=agent)
    changed = await client.get(
        f"{TICKETS}/{number}", headers={**house.agent, "If-None-Match": etag}
    )
    assert changed.status_code == 200
    said = changed.json()["messages"][-1]
    assert [d["state"] for d in said["deliveries"]] == ["queued"]


async def test_the_timeline_and_the_messages_go_page_by_page(
    client: httpx.AsyncClient, database: Database, tickets: Tickets, house: House
) -> None:
    agent = house.users[Role.AGENT]
    number = (await make_ticket(database, tickets, house)).number
    for text in ("one", "two", "three"):
        note = NoteAdded(words(text))
        await happens(database, tickets, house.tenant_id, number, note, by=agent)
    path = f"{TICKETS}/{number}"
    first = (await client.get(f"{path}/events?limit=2", headers=house.agent)).json()
    rest = (await client.get(f"{path}/events?since=2", headers=house.agent)).json()
    seqs = [event["seq"] for event in first["items"] + rest["items"]]
    assert seqs == list(range(1, first["last"] + 1))
    newest = (await client.get(f"{path}/messages?limit=2", headers=house.agent)).json()
    assert [m["body_text"] for m in newest["items"]] == ["two", "three"]
    earlier = await client.get(
        f"{path}/messages", headers=house.agent, params={"cursor": newest["next"]}
    )
    assert [m["body_text"] for m in earlier.json()["items"]] == ["It burns.", "one"]


async def test_a_customers_tickets_are_their_history(
    client: httpx.AsyncClient, database: Database, tickets: Tickets, house: House
) -> None:
    made = [await make_ticket(database, tickets, house) for _ in range(3)]
    path = f"/api/v1/customers/{made[0].requester_id}/tickets"
    answer = await client.get(path, headers=house.admin, params={"limit": 2})
    assert [i["number"] for i in answer.json()["items"]] == [made[2].number, made[1].number]
    rest = await client.get(path, headers=house.admin, params={"cursor": answer.json()["next"]})
    assert [i["number"] for i in rest.json()["items"]] == [made[0].number]
    nobody = f"/api/v1/customers/{uuid.uuid4()}/tickets"
    assert (await client.get(nobody, headers=house.admin)).status_code == 404


@pytest.mark.parametrize("part", ["", "/messages", "/events", "/workflow"])
async def test_what_one_may_not_see_does_not_exist(
    client: httpx.AsyncClient,
    database: Database,
    tickets: Tickets,
    house: House,
    make_house: MakeHouse,
    part: str,
) -> None:
    ticket = await make_ticket(database, tickets, house, team_id=house.team_id)
    path = f"{TICKETS}/{ticket.number}{part}"
    stranger = await make_house()
    assert (await client.get(path)).status_code == 401
    assert (await client.get(path, headers=house.intake)).status_code == 403
    assert (await client.get(path, headers=house.agent)).status_code == 200
    assert (await client.get(path, headers=house.headers[Role.VIEWER])).status_code == 404
    assert (await client.get(path, headers=stranger.admin)).status_code == 404
    huge = f"{TICKETS}/{2**63}{part}"
    assert (await client.get(huge, headers=house.admin)).status_code == 422


@pytest.mark.parametrize("path", [TICKETS, f"{TICKETS}/counts", "/api/v1/search?q=printer"])
async def test_lists_are_of_ones_own_tenant_and_need_a_permission(
    client: httpx.AsyncClient,
    database: Database,
    tickets: Tickets,
    house: House,
    make_house: MakeHouse,
    path: str,
) -> None:
    await make_ticket(database, tickets, house)
    stranger = await make_house()
    assert (await client.get(path)).status_code == 401
    assert (await client.get(path, headers=house.intake)).status_code == 403
    body = (await client.get(path, headers=stranger.admin)).json()
    assert not body.get("items")
    assert not any((body.get("categories") or {}).values())


async def test_a_link_does_not_tell_of_a_ticket_one_may_not_see(
    client: httpx.AsyncClient, database: Database, tickets: Tickets, house: House
) -> None:
    shown = await make_ticket(database, tickets, house, subject="Shown")
    hidden = await make_ticket(database, tickets, house, subject="Secret", team_id=house.team_id)
    async with database.transaction(house.tenant_id) as work:
        await work.execute(
            "insert into relations (tenant_id, source_id, kind, target_id, created_at)"
            " values (:t, :s, 'parent', :o, now())",
            {"t": house.tenant_id, "s": hidden.id, "o": shown.id},
        )
    path = f"{TICKETS}/{shown.number}"
    seen = (await client.get(path, headers=house.admin)).json()["relations"]
    assert seen == [
        {
            "kind": "parent",
            "direction": "incoming",
            "ticket_id": str(hidden.id),
            "number": hidden.number,
            "subject": "Secret",
            "status": hidden.status,
        }
    ]
    answer = await client.get(path, headers=house.headers[Role.VIEWER])
    assert "Secret" not in answer.text
    assert answer.json()["relations"][0]["number"] == hidden.number


class Driven:
    """Workflows that answer, with how often they were asked."""

    def __init__(self, answer: dict[str, object] | None) -> None:
        self.answer = answer
        self.asked = 0

    async def current(self, slug: str, number: int) -> dict[str, object] | None:
        self.asked += 1
        return self.answer

    def link(self, slug: str, number: int) -> str | None:
        return f"http://temporal/{slug}/{number}"

    async def start_bulk(self, slug: str, tenant_id: uuid.UUID, job_id: uuid.UUID) -> bool:
        return False

    async def healthy(self) -> bool:
        return True


@pytest.fixture
async def driven(settings: Settings, resources: Resources) -> tuple[Driven, FastAPI]:
    workflows = Driven({"waits_for": "2026-01-01T00:00:00Z"})
    return workflows, create_app(settings, dataclasses.replace(resources, workflows=workflows))


async def test_a_workflow_answers_for_itself_or_the_row_does(
    driven: tuple[Driven, FastAPI], database: Database, tickets: Tickets, house: House
) -> None:
    workflows, app = driven
    ticket = await make_ticket(database, tickets, house)
    path = f"{TICKETS}/{ticket.number}/workflow"
    transport = httpx.ASGITransport(app, client=(str(uuid.uuid4()), 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        live = (await client.get(path, headers=house.admin)).json()
        assert live["live"] is True
        assert live["current"] == workflows.answer
        assert live["link"] == f"http://temporal/{house.slug}/{ticket.number}"
        workflows.answer = None
        row = (await client.get(path, headers=house.admin)).json()
        assert row["live"] is False
        assert row["current"] is None
        assert row["deadline_at"] is None


async def test_search_right_after_a_change_finds_it(
    client: httpx.AsyncClient, database: Database, tickets: Tickets, house: House
) -> None:
    ticket = await make_ticket(database, tickets, house, subject="Volcano in the hall")
    answer = await client.get("/api/v1/search", headers=house.admin, params={"q": "volcano"})
    assert answer.status_code == 200
    body = answer.json()
    assert [item["number"] for item in body["items"]] == [ticket.number]
    assert body["items"][0]["snippets"]["subject"].startswith("<mark>Volcano</mark>")
    assert body["degraded"] is True  # this application has no index
    assert body["total"] == 1
    change = Changed(subject="Geyser")
    by = house.users[Role.ADMIN]
    await happens(database, tickets, house.tenant_id, ticket.number, change, by=by)
    after = await client.get("/api/v1/search", headers=house.admin, params={"q": "geyser"})
    assert [item["number"] for item in after.json()["items"]] == [ticket.number]


@pytest.mark.parametrize("query", ["", "q=", "q=" + "x" * 301, "q=a%00b", "q=a&limit=51"])
async def test_a_search_for_nothing_or_too_much_is_refused(
    client: httpx.AsyncClient, house: House, query: str
) -> None:
    answer = await client.get(f"/api/v1/search?{query}", headers=house.admin)
    assert answer.status_code == 422, answer.text


def test_a_breach_shows_as_soon_as_the_time_has_passed() -> None:
    now = datetime.now(UTC)
    assert not is_breached(now, None, now=now)
    assert is_breached(now, None, now=now + timedelta(seconds=1))
    assert is_breached(None, now, now=now)
    assert not is_breached(None, None, now=now)


async def test_a_list_says_of_a_ticket_what_the_ticket_says_of_itself(
    client: httpx.AsyncClient, database: Database, tickets: Tickets, house: House
) -> None:
    made = await make_ticket(database, tickets, house)
    path = f"/api/v1/tickets/{made.number}"
    agent = str(house.users[Role.AGENT])
    change = {"priority": "high", "type": "incident", "tags": ["ä", "b"], "assignee_id": agent}
    assert (await client.patch(path, json=change, headers=house.admin)).status_code == 200
    body = {"reason": "help", "team_id": str(house.team_id)}
    assert (await client.post(f"{path}/escalate", json=body, headers=house.admin)).status_code in (
        200,
        201,
    )
    alone = (await client.get(path, headers=house.admin)).json()
    answer = await client.get("/api/v1/tickets?limit=200", headers=house.admin)
    [listed] = [one for one in answer.json()["items"] if one["number"] == made.number]
    assert listed == {name: alone[name] for name in listed}
    assert set(listed) == set(TicketOut.model_fields)
    assert TicketOut.model_validate(listed)


@pytest.mark.parametrize("nonsense", ["2020", "1577836800", "2020-01-01", "2020-01-01T00:00:00"])
async def test_a_time_without_its_offset_is_no_time(
    client: httpx.AsyncClient, house: House, nonsense: str
) -> None:
    for where in (
        f"{TICKETS}?created_from={nonsense}",
        f"{TICKETS}?due_to={nonsense}",
        f"{TICKETS}/counts?updated_to={nonsense}",
        f"/api/v1/audit?since={nonsense}",
        f"/api/v1/audit?until={nonsense}",
    ):
        answer = await client.get(where, headers=house.admin)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), where
    for exact in ("2020-01-01T00:00:00Z", "2020-01-01T00:00:00.5%2B02:00"):
        answer = await client.get(f"{TICKETS}?created_from={exact}", headers=house.admin)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", [TICKETS, f"{TICKETS}/counts"])
async def test_a_status_that_there_is_not_is_refused_and_those_there_are_are_named(
    client: httpx.AsyncClient, house: House, path: str
) -> None:
    for query in ("status=ghost", "status=open&status=ghost", "status=ghost&tag=none"):
        answer = await client.get(f"{path}?{query}", headers=house.admin)
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown_status")
        assert "open, pending" in answer.json()["detail"]
    assert (await client.get(f"{path}?status=open", headers=house.admin)).status_code == 200


async def test_counts_are_of_what_the_list_shows_under_the_same_filter(
    client: httpx.AsyncClient, house: House
) -> None:
    for subject, tags, priority in (("A", ["x"], "high"), ("B", ["x"], "low"), ("C", [], "high")):
        body = {
            "subject": subject,
            "requester": {"email": "mia@example.org"},
            "text": "Help",
            "tags": tags,
            "priority": priority,
            "assignee_id": str(house.users[Role.AGENT]) if subject == "A" else None,
        }
        made = await client.post(TICKETS, json=body, headers=house.admin)
        assert made.status_code == 201
    for query in ("", "tag=x", "priority=high", "tag=x&priority=high", "tag=none", "assignee=none",
                  "status=open", "category=closed"):  # fmt: skip
        listed = (await client.get(f"{TICKETS}?{query}", headers=house.agent)).json()["items"]
        counts = (await client.get(f"{TICKETS}/counts?{query}", headers=house.agent)).json()
        assert sum(counts["categories"].values()) == len(listed), query
        assert counts["mine"] == sum(
            t["assignee_id"] == str(house.users[Role.AGENT]) for t in listed
        )
    wrong = await client.get(f"{TICKETS}/counts?sort=due", headers=house.agent)
    assert wrong.status_code == 422
