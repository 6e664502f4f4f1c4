"""Ticket actions over HTTP: what they answer, who may, and what two people at once get."""

import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.resources import Resources
from domain.permissions import Role
from models.session import Database
from services import people
from tests.api.conftest import House, MakeHouse, make_ticket

TICKETS = "/api/v1/tickets"
Client = httpx.AsyncClient


async def create(client: Client, house: House, **asked: object) -> dict[str, object]:
    body = {
        "subject": "It broke",
        "text": "Please help.",
        "requester": {"email": "Mia@Example.org", "name": "Mia"},
        "on_behalf": True,
        **asked,
    }
    answer = await client.post(TICKETS, json=body, headers=house.agent)
    assert answer.status_code == 201, answer.text
    made: dict[str, object] = answer.json()
    return made


async def timeline(database: Database, house: House, number: object) -> list[dict[str, object]]:
    async with database.transaction(house.tenant_id) as work:
        return await work.rows(
            "select e.* from events e join tickets t on t.tenant_id = e.tenant_id"
            " and t.id = e.ticket_id where t.tenant_id = :tenant and t.number = :number"
            " order by e.seq",
            {"tenant": house.tenant_id, "number": number},
        )


async def rows(
    database: Database, house: House, sql: str, **values: object
) -> list[dict[str, object]]:
    async with database.transaction(house.tenant_id) as work:
        return await work.rows(sql, {"tenant": house.tenant_id, **values})


async def test_a_ticket_for_a_known_customer_is_theirs_and_carries_its_version(
    client: Client, house: House, database: Database
) -> None:
    first = await create(client, house)
    answer = await client.post(
        TICKETS,
        json={
            "subject": "Again",
            "html": "<p>Hi <b>there</b><script>x()</script></p><img src=x onerror=y>",
            "requester": {"email": "mia@example.org"},
            "priority": "high",
            "tags": ["VIP"],
            "assignee_id": str(house.users[Role.AGENT]),
        },
        headers=house.agent,
    )

    assert answer.status_code == 201
    second = answer.json()
    assert second["requester"]["id"] == first["requester"]["id"]  # type: ignore[index]
    assert (first["created_by_kind"], second["created_by_kind"]) == ("customer", "user")
    assert answer.headers["etag"] == f'"{second["seq"]}"'
    assert answer.headers["location"] == f"{TICKETS}/{second['number']}"
    assert (second["category"], second["tags"]) == ("open", ["vip"])
    [message] = await rows(
        database, house,
        "select * from messages where tenant_id = :tenant and ticket_id = :id", id=second["id"],
    )  # fmt: skip
    assert message["body_text"] == "Hi there"
    assert message["body_html"] == "<p>Hi <b>there</b></p>"
    [delivery] = await rows(
        database, house, "select recipient from deliveries where tenant_id = :tenant"
    )
    assert delivery["recipient"] == "mia@example.org"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"requester": {"id": str(uuid.UUID(int=1))}}, "/requester/id"),
        ({"requester": {}}, "/requester"),
        ({"requester": {"phone": "call me"}}, "/requester/phone"),
        ({"text": "  "}, "/text"),
        ({"text": "x" * 200_001}, "/text"),
        ({"fields": {"none": 1}}, "/fields/none"),
        ({"surprise": 1}, "/surprise"),
        ({"attachments": [str(uuid.UUID(int=2))]}, "/attachments/0"),
    ],
    ids=lambda v: str(v)[:30],
)
async def test_what_is_wrong_with_a_new_ticket_is_named(
    client: Client, house: House, change: dict[str, object], pointer: str
) -> None:
    body = {"subject": "It broke", "text": "Help", "requester": {"email": "a@example.org"}}
    answer = await client.post(TICKETS, json=body | change, headers=house.agent)
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json()["errors"]] == [pointer]


async def test_an_answer_is_refused_where_the_customer_wrote_meanwhile(
    client: Client, house: House, database: Database
) -> None:
    made = await create(client, house)
    where = f"{TICKETS}/{made['number']}"
    logged = await client.post(
        f"{where}/customer-messages", json={"text": "One more thing"}, headers=house.agent
    )
    assert logged.status_code == 201
    stale = {"text": "Done.", "status": "resolved", "seen": made["seq"]}
    answer = await client.post(f"{where}/replies", json=stale, headers=house.agent)
    assert (answer.status_code, answer.json()["code"]) == (409, "newer_message")

    fresh = stale | {"seen": logged.json()["seq"]}
    answer = await client.post(f"{where}/replies", json=fresh, headers=house.agent)
    assert answer.status_code == 201
    assert answer.json()["category"] == "resolved"
    assert answer.json()["assignee_id"] == str(house.users[Role.AGENT])
    told = await timeline(database, house, made["number"])
    said = next(e for e in told if e["type"] == "customer_replied")
    assert said["actor_kind"] == "customer"
    assert said["cause"]["logged_by"] == str(house.users[Role.AGENT])  # type: ignore[index]


async def test_the_same_key_answers_once_with_the_same_words(
    client: Client, house: House, database: Database
) -> None:
    made = await create(client, house)
    for _ in range(2):
        answer = await client.post(
            f"{TICKETS}/{made['number']}/notes",
            json={"text": "Once"},
            headers=house.agent | {"Idempotency-Key": "note-1"},
        )
        assert answer.status_code == 201
    told = await timeline(database, house, made["number"])
    assert [e["type"] for e in told].count("note_added") == 1


async def test_changes_to_different_properties_merge_and_to_the_same_one_conflict(
    client: Client, house: House
) -> None:
    made = await create(client, house)
    where = f"{TICKETS}/{made['number']}"
    read = {"If-Match": f'"{made["seq"]}"'}
    one = await client.patch(where, json={"priority": "high"}, headers=house.agent | read)
    assert one.status_code == 200

    other = await client.patch(
        where, json={"subject": "Broken", "add_tags": ["x"]}, headers=house.admin | read
    )
    assert (other.status_code, other.json()["priority"]) == (200, "high")

    same = await client.patch(where, json={"priority": "low"}, headers=house.admin | read)
    assert (same.status_code, same.json()["code"]) == (409, "changed_meanwhile")
    assert [e["pointer"] for e in same.json()["errors"]] == ["/priority"]

    again = {"If-Match": other.headers["etag"]}
    assert (
        await client.patch(where, json={"priority": "low"}, headers=house.admin | again)
    ).status_code == 200
    broken = await client.patch(where, json={}, headers=house.admin | {"If-Match": "12"})
    assert broken.status_code == 422


async def test_null_clears_and_what_cannot_be_cleared_is_refused(
    client: Client, house: House
) -> None:
    made = await create(client, house, team_id=str(house.team_id), type="task")
    where = f"{TICKETS}/{made['number']}"
    answer = await client.patch(where, json={"team_id": None, "type": None}, headers=house.agent)
    assert (answer.json()["team_id"], answer.json()["type"]) == (None, None)
    assert (
        await client.patch(where, json={"priority": None}, headers=house.agent)
    ).status_code == 422


async def test_a_claimed_ticket_is_not_claimed_by_another(client: Client, house: House) -> None:
    made = await create(client, house)
    where = f"{TICKETS}/{made['number']}"
    mine = await client.post(f"{where}/claim", headers=house.agent)
    assert mine.json()["assignee_id"] == str(house.users[Role.AGENT])
    assert (await client.post(f"{where}/claim", headers=house.agent)).status_code == 200
    theirs = await client.post(f"{where}/claim", headers=house.admin)
    assert (theirs.status_code, theirs.json()["code"]) == (409, "claimed")

    body = {"assignee_id": str(house.users[Role.ADMIN]), "reason": "I know this one"}
    taken = await client.post(f"{where}/assign", json=body, headers=house.admin)
    assert taken.json()["assignee_id"] == str(house.users[Role.ADMIN])
    outside = {"team_id": str(house.team_id), "assignee_id": str(house.users[Role.ADMIN])}
    refused = await client.post(f"{where}/assign", json=outside, headers=house.admin)
    assert (refused.status_code, refused.json()["code"]) == (422, "not_a_member")
    freed = await client.post(f"{where}/unassign", headers=house.admin)
    assert freed.json()["assignee_id"] is None


async def test_escalating_hands_on_and_counts(client: Client, house: House) -> None:
    made = await create(client, house)
    where = f"{TICKETS}/{made['number']}/escalate"
    body = {"reason": "stuck", "assignee_id": str(house.users[Role.SUPERVISOR])}
    answer = await client.post(where, json=body, headers=house.agent)
    assert answer.json()["escalation"]["level"] == 1
    assert (await client.post(where, json={"reason": "x"}, headers=house.agent)).status_code == 422


async def test_snooze_wake_and_reminders(client: Client, house: House) -> None:
    made = await create(client, house)
    where = f"{TICKETS}/{made['number']}"
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()

    body = {"until": later, "wake_on_reply": False}
    assert (await client.post(f"{where}/snooze", json=body, headers=house.agent)).json()[
        "snoozed"
    ] == "time"
    woken = await client.post(f"{where}/wake", headers=house.agent)
    assert woken.json()["snoozed_until"] is None
    body = {"at": later, "note": "call"}
    reminded = await client.post(f"{where}/reminder", json=body, headers=house.agent)
    assert reminded.json()["remind_at"] is not None
    forgotten = await client.delete(f"{where}/reminder", headers=house.agent)
    assert forgotten.json()["remind_at"] is None
    body = {"at": past}
    assert (
        await client.post(f"{where}/reminder", json=body, headers=house.agent)
    ).status_code == 422
    body = {"at": "2099-01-01T00:00:00"}
    assert (
        await client.post(f"{where}/reminder", json=body, headers=house.agent)
    ).status_code == 422  # whose midnight?


async def test_watching_for_oneself_and_for_others(
    client: Client, house: House, database: Database
) -> None:
    made = await create(client, house)
    where = f"{TICKETS}/{made['number']}"
    viewer = house.headers[Role.VIEWER]
    assert (await client.post(f"{where}/watch", headers=viewer)).status_code == 200
    other = {"user_id": str(house.users[Role.AGENT])}
    assert (await client.post(f"{where}/watch", json=other, headers=viewer)).status_code == 403
    assert (await client.post(f"{where}/watch", json=other, headers=house.admin)).is_success
    nobody = {"user_id": str(uuid.uuid4())}
    assert (
        await client.post(f"{where}/watch", json=nobody, headers=house.admin)
    ).status_code == 422
    assert (await client.post(f"{where}/unwatch", headers=viewer)).status_code == 200
    watching = await rows(database, house, "select user_id from watchers where tenant_id = :tenant")
    assert [w["user_id"] for w in watching] == [house.users[Role.AGENT]]


async def test_links_are_told_on_both_sides_and_make_no_circle(
    client: Client, house: House, database: Database
) -> None:
    parent, child, grandchild = [(await create(client, house))["number"] for _ in range(3)]
    for above, below in ((parent, child), (child, grandchild)):
        body = {"kind": "parent", "other": below}
        assert (
            await client.post(f"{TICKETS}/{above}/links", json=body, headers=house.agent)
        ).status_code == 200
    again = {"kind": "parent", "other": parent, "outgoing": False}
    assert (
        await client.post(f"{TICKETS}/{child}/links", json=again, headers=house.agent)
    ).status_code == 200  # as it is already
    for number, body in (
        (grandchild, {"kind": "parent", "other": parent}),
        (parent, {"kind": "parent", "other": grandchild}),
        (parent, {"kind": "relates", "other": parent}),
        (parent, {"kind": "merged_into", "other": child}),
    ):
        answer = await client.post(f"{TICKETS}/{number}/links", json=body, headers=house.agent)
        assert answer.status_code in (409, 422), answer.text
    told = await timeline(database, house, child)
    assert [e["data"]["outgoing"] for e in told if e["type"] == "linked"] == [False, True]  # type: ignore[index]

    query = {"kind": "parent", "other": str(child)}
    where = f"{TICKETS}/{parent}/links"
    assert (await client.delete(where, params=query, headers=house.agent)).status_code == 200
    assert (await client.delete(where, params=query, headers=house.agent)).status_code == 404
    left = await rows(database, house, "select 1 from relations where tenant_id = :tenant")
    assert len(left) == 1


async def test_a_closed_ticket_refuses_and_what_the_customer_says_opens_a_follow_up(
    client: Client, house: House, database: Database
) -> None:
    made = await create(client, house)
    where = f"{TICKETS}/{made['number']}"
    await client.patch(where, json={"status": "closed"}, headers=house.agent)
    refused = await client.post(f"{where}/replies", json={"text": "Hi"}, headers=house.agent)
    assert (refused.status_code, refused.json()["code"]) == (409, "ticket_closed")
    answer = await client.post(
        f"{where}/customer-messages", json={"text": "Not solved!"}, headers=house.agent
    )
    assert answer.status_code == 201
    assert answer.json()["number"] != made["number"]
    [relation] = await rows(
        database, house, "select kind, target_id from relations where tenant_id = :tenant"
    )
    assert (relation["kind"], str(relation["target_id"])) == ("follow_up", made["id"])


ACTIONS = [
    ("POST", "replies", {"text": "x"}, "tickets.reply"),
    ("POST", "notes", {"text": "x"}, "tickets.note"),
    ("POST", "customer-messages", {"text": "x"}, "tickets.reply"),
    ("PATCH", "", {"priority": "low"}, "tickets.change"),
    ("POST", "claim", None, "tickets.assign"),
    ("POST", "assign", {"assignee_id": None}, "tickets.assign"),
    ("POST", "unassign", None, "tickets.assign"),
    ("POST", "escalate", {"reason": "x", "assignee_id": str(uuid.UUID(int=1))}, "tickets.escalate"),
    ("POST", "snooze", {}, "tickets.change"),
    ("POST", "wake", None, "tickets.change"),
    ("POST", "reminder", {"at": "2099-01-01T00:00:00Z"}, "tickets.change"),
    ("DELETE", "reminder", None, "tickets.change"),
    ("POST", "links", {"kind": "relates", "other": 1}, "tickets.change"),
]


@pytest.mark.parametrize(("method", "path", "body", "permission"), ACTIONS)
async def test_nobody_acts_who_may_not(
    client: Client,
    make_house: MakeHouse,
    database: Database,
    resources: Resources,
    method: str,
    path: str,
    body: dict[str, object] | None,
    permission: str,
) -> None:
    house, foreign = await make_house(), await make_house()
    async with database.transaction(house.tenant_id) as work:
        team = await people.create_team(
            work, name="Elsewhere", routing="manual", now=datetime.now(UTC)
        )
    first = await make_ticket(database, resources.tickets, house)
    hidden = await make_ticket(database, resources.tickets, house, team_id=team)
    assert (first.number, hidden.number) == (1, 2)

    async def ask(number: int, headers: dict[str, str]) -> httpx.Response:
        where = f"{TICKETS}/{number}/{path}".rstrip("/")
        return await client.request(method, where, json=body, headers=headers)

    assert (await ask(1, {})).status_code == 401
    assert (await ask(1, house.intake)).status_code == 403
    viewer = await ask(1, house.headers[Role.VIEWER])
    assert viewer.status_code == 403
    assert permission in viewer.json()["detail"]
    # Another team's ticket, another tenant's, and none at all look the same.
    answers = [
        await ask(2, house.agent), await ask(2, foreign.agent), await ask(99, house.agent)
    ]  # fmt: skip
    assert {(a.status_code, a.json()["code"]) for a in answers} == {(404, "ticket_not_found")}
    assert await timeline(database, house, 2) == (await timeline(database, house, 2))[:1]


async def test_what_agents_do_is_in_the_audit_log(
    client: Client, house: House, database: Database
) -> None:
    made = await create(client, house)
    await client.patch(
        f"{TICKETS}/{made['number']}", json={"priority": "high"}, headers=house.agent
    )
    log = await rows(
        database, house,
        "select action, actor_id, data from audit_entries where tenant_id = :tenant"
        " and target_kind = 'ticket' order by id",
    )  # fmt: skip
    assert [entry["action"] for entry in log] == ["ticket.ticket_created", "ticket.changed"]
    assert {entry["actor_id"] for entry in log} == {house.users[Role.AGENT]}
    assert log[1]["data"]["changes"] == {"priority": [None, "high"]}  # type: ignore[index]


async def test_notifications_are_ones_own_and_are_read_once(client: Client, house: House) -> None:
    made = await create(client, house)
    where = f"{TICKETS}/{made['number']}"
    for word in ("one", "two", "three"):
        await client.post(
            f"{where}/notes", json={"text": f"@agent look {word}"}, headers=house.admin
        )
    path = "/api/v1/notifications"
    page = (await client.get(path, params={"limit": 2}, headers=house.agent)).json()
    assert (len(page["items"]), page["unread"]) == (2, 3)
    assert {i["kind"] for i in page["items"]} == {"mentioned"}
    assert page["items"][0]["number"] == made["number"]
    rest = await client.get(path, params={"limit": 2, "cursor": page["next"]}, headers=house.agent)
    assert (len(rest.json()["items"]), rest.json()["next"]) == (1, None)
    assert (await client.get(path, headers=house.admin)).json()["items"] == []

    one = page["items"][0]["id"]
    assert (await client.post(f"{path}/{one}/read", headers=house.admin)).status_code == 404
    assert (await client.post(f"{path}/{one}/read", headers=house.agent)).status_code == 200
    unread = (await client.get(path, params={"unread": True}, headers=house.agent)).json()
    assert (len(unread["items"]), unread["unread"]) == (2, 2)
    assert (await client.post(f"{path}/read", headers=house.agent)).json() == {"marked": 2}


async def test_a_new_ticket_is_answered_with_its_requesters_name_and_address(
    client: Client, house: House
) -> None:
    for _ in range(2):  # made, then known
        made = await create(client, house)
        requester = made["requester"]
        assert isinstance(requester, dict)
        assert (requester["name"], requester["email"]) == ("Mia", "mia@example.org")


async def test_two_tickets_that_relate_do_so_once_from_whichever_side_it_was_said(
    client: Client, house: House, database: Database
) -> None:
    one, two = [(await create(client, house))["number"] for _ in range(2)]

    async def tie(number: object, other: object, outgoing: bool) -> None:
        body = {"kind": "relates", "other": other, "outgoing": outgoing}
        answer = await client.post(f"{TICKETS}/{number}/links", json=body, headers=house.agent)
        assert answer.is_success, answer.text

    for number, other in ((one, two), (two, one)):
        for outgoing in (True, False):
            await tie(number, other, outgoing)
    found = await rows(database, house, "select kind from relations where tenant_id = :tenant")
    assert [row["kind"] for row in found] == ["relates"]
    told = await timeline(database, house, one)
    assert [e["type"] for e in told].count("linked") == 1

    untied = await client.delete(
        f"{TICKETS}/{two}/links?kind=relates&other={one}", headers=house.agent
    )
    assert untied.status_code == 200
    assert not await rows(database, house, "select 1 as x from relations where tenant_id = :tenant")


async def test_a_requester_nobody_knows_is_pointed_to_where_it_stands_in_the_body(
    client: httpx.AsyncClient, house: House
) -> None:
    body = {"subject": "Hi", "text": "Hi", "requester": {"id": str(uuid.uuid4())}}
    answer = await client.post("/api/v1/tickets", json=body, headers=house.agent)
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == ["/requester/id"]
