"""Nobody overwrites what they have not read: `ETag` out, `If-Match` in, on tickets and set-up."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.resources import Resources
from domain.permissions import Role
from models.session import Database
from tests.api.conftest import House, make_ticket

TICKETS = "/api/v1/tickets"
Client = httpx.AsyncClient
Said = dict[str, object]

LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.fixture
async def number(house: House, database: Database, resources: Resources) -> int:
    agent = house.users[Role.AGENT]
    ticket = await make_ticket(database, resources.tickets, house, assignee_id=agent)
    return ticket.number


async def version(client: Client, house: House, number: int) -> str:
    read = await client.get(f"{TICKETS}/{number}", headers=house.admin)
    return read.headers["etag"]


async def post(
    client: Client, house: House, where: str, body: Said | None, tag: str | None = None
) -> httpx.Response:
    headers = {**house.admin, **({"If-Match": tag} if tag is not None else {})}
    if body is not None and body.get("team_id") == "?":
        body = body | {"team_id": str(house.team_id)}
    return await client.post(f"{TICKETS}/{where}", json=body, headers=headers)


# An action, what somebody else does meanwhile, and the property both are about.
CLASHES = [
    ("escalate", {"reason": "again", "team_id": "?"}, "escalate",
     {"reason": "first", "team_id": "?"}, "/escalation"),
    ("snooze", {"until": LATER}, "snooze", {"until": LATER, "wake_on_reply": False}, "/snoozed"),
    ("reminder", {"at": LATER, "note": "b"}, "reminder", {"at": LATER}, "/reminder"),
    ("unassign", None, "unassign", None, "/assignee_id"),
    ("claim", None, "unassign", None, "/assignee_id"),
    ("assign", {"assignee_id": None}, "unassign", None, "/assignee_id"),
    ("replies", {"text": "Done", "status": "resolved"}, "replies",
     {"text": "Wait", "status": "pending"}, "/status"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "body", "other", "done", "pointer"), CLASHES, ids=lambda v: str(v)[:20]
)
async def test_an_action_upon_an_old_version_is_refused_where_it_changes_the_same(
    client: Client,
    house: House,
    number: int,
    action: str,
    body: Said | None,
    other: str,
    done: Said | None,
    pointer: str,
) -> None:
    read = await version(client, house, number)
    meanwhile = await post(client, house, f"{number}/{other}", done)
    assert meanwhile.is_success, meanwhile.text
    stale = await post(client, house, f"{number}/{action}", body, read)
    assert stale.status_code == 409, stale.text
    code = "newer_message" if action == "replies" else "changed_meanwhile"
    assert stale.json()["code"] == code
    if action != "replies":
        assert pointer in {e["pointer"] for e in stale.json()["errors"]}
    now = await version(client, house, number)
    if action != "claim":
        assert (await post(client, house, f"{number}/{action}", body, now)).is_success


ACTIONS: list[tuple[str, Said | None]] = [
    ("notes", {"text": "n"}),
    ("replies", {"text": "r"}),
    ("customer-messages", {"text": "c"}),
    ("escalate", {"reason": "now", "team_id": "?"}),
    ("snooze", {"until": LATER}),
    ("wake", None),
    ("reminder", {"at": LATER}),
    ("watch", None),
    ("unwatch", None),
    ("assign", {"assignee_id": None}),
    ("unassign", None),
]


@pytest.mark.parametrize(("action", "body"), ACTIONS, ids=lambda v: str(v)[:20])
async def test_an_action_upon_an_old_version_goes_through_where_others_changed_other_things(
    client: Client, house: House, number: int, action: str, body: Said | None
) -> None:
    read = await version(client, house, number)
    tagged = {"subject": "Other", "add_tags": ["x"]}
    changed = await client.patch(f"{TICKETS}/{number}", json=tagged, headers=house.admin)
    assert changed.status_code == 200
    answer = await post(client, house, f"{number}/{action}", body, read)
    assert answer.is_success, answer.text
    assert answer.json()["subject"] == "Other"


@pytest.mark.parametrize(("action", "body"), [*ACTIONS, ("claim", None)], ids=lambda v: str(v)[:20])
async def test_a_version_that_is_none_or_lies_ahead_does_nothing_and_a_star_fits_any(
    client: Client, house: House, number: int, action: str, body: Said | None
) -> None:
    await post(client, house, f"{number}/unassign", None)
    before = await version(client, house, number)
    for nonsense in ("3", '"', '"three"', '"1", "2"', "w/1"):
        refused = await post(client, house, f"{number}/{action}", body, nonsense)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid"), nonsense
    ahead = await post(client, house, f"{number}/{action}", body, '"9999"')
    assert (ahead.status_code, ahead.json()["code"]) == (409, "no_such_version")
    assert await version(client, house, number) == before
    assert (await post(client, house, f"{number}/{action}", body, "*")).is_success


async def test_links_upon_an_old_version_clash_with_the_same_link_alone(
    client: Client, house: House, number: int, database: Database, resources: Resources
) -> None:
    others = [(await make_ticket(database, resources.tickets, house)).number for _ in range(2)]
    first, second = ({"kind": "relates", "other": other} for other in others)
    read = await version(client, house, number)
    assert (await post(client, house, f"{number}/links", first)).is_success
    assert (await post(client, house, f"{number}/links", second, read)).is_success
    untied = await client.delete(
        f"{TICKETS}/{number}/links?kind=relates&other={others[0]}",
        headers=house.admin | {"If-Match": read},
    )
    assert (untied.status_code, untied.json()["code"]) == (409, "changed_meanwhile")


async def test_a_merge_upon_an_old_version_is_refused_where_the_status_changed(
    client: Client, house: House, number: int, database: Database, resources: Resources
) -> None:
    into: Said = {"into": (await make_ticket(database, resources.tickets, house)).number}
    read = await version(client, house, number)
    await client.patch(f"{TICKETS}/{number}", json={"status": "pending"}, headers=house.admin)
    stale = await post(client, house, f"{number}/merge", into, read)
    assert (stale.status_code, stale.json()["code"]) == (409, "changed_meanwhile")
    now = await version(client, house, number)
    merged = await post(client, house, f"{number}/merge", into, now)
    assert merged.is_success
    assert merged.headers["etag"] == f'"{merged.json()["source"]["seq"]}"'
    assert (await post(client, house, f"{number}/unmerge", None, now)).status_code == 409
    tag = merged.headers["etag"]
    assert (await post(client, house, f"{number}/unmerge", None, tag)).is_success


async def test_the_same_key_again_is_answered_whatever_was_changed_since(
    client: Client, house: House, number: int
) -> None:
    headers = {
        **house.admin,
        "If-Match": await version(client, house, number),
        "Idempotency-Key": "once",
    }
    where = f"{TICKETS}/{number}/escalate"
    body = {"reason": "x", "team_id": str(house.team_id)}
    first = await client.post(where, json=body, headers=headers)
    again = await client.post(where, json=body, headers=headers)
    assert (first.status_code, again.status_code) == (200, 200)
    assert again.headers["etag"] == first.headers["etag"] == f'"{first.json()["seq"]}"'


# What is set up.

CALENDAR = {"timezone": "UTC", "weekly": {"mon": [["09:00", "17:00"]]}}
TARGETS = {"first_reply": dict.fromkeys(("low", "normal", "high", "urgent"), "PT4H")}


async def made(client: Client, house: House, what: str) -> str:
    """The address of a thing of that kind."""
    name = uuid.uuid4().hex[:8]

    async def make(path: str, body: Said, key: str = "id") -> str:
        answer = await client.post(f"/api/v1/{path}", json=body, headers=house.admin)
        assert answer.status_code == 201, answer.text
        return str(answer.json()[key])

    match what:
        case "tenant":
            return "/api/v1/tenant"
        case "users":
            return f"/api/v1/users/{house.users[Role.VIEWER]}"
        case "teams":
            return f"/api/v1/teams/{house.team_id}"
        case "customers":
            return f"/api/v1/customers/{await make('customers', {'name': name})}"
        case "organizations":
            return f"/api/v1/organizations/{await make('organizations', {'name': name})}"
        case "statuses":
            body: Said = {"name": f"Waiting {name}", "category": "on_hold"}
            return f"/api/v1/statuses/{await make('statuses', body, 'key')}"
        case "fields":
            body = {"label": f"Colour {name}", "kind": "text"}
            return f"/api/v1/fields/{await make('fields', body, 'key')}"
        case "calendars":
            return f"/api/v1/calendars/{await make('calendars', {'name': name, 'body': CALENDAR})}"
        case _:
            days = await make("calendars", {"name": name, "body": CALENDAR})
            body = {"name": name, "calendar_id": days, "targets": TARGETS}
            return f"/api/v1/policies/{await make('policies', body)}"


KINDS = [
    "tenant", "users", "teams", "customers", "organizations", "statuses", "fields", "calendars",
    "policies",
]  # fmt: skip


@pytest.mark.parametrize("what", KINDS)
async def test_what_somebody_else_changed_since_it_was_read_is_not_overwritten(
    client: Client, house: House, what: str
) -> None:
    where = await made(client, house, what)
    name = "label" if what == "fields" else "name"
    tag = (await client.get(where, headers=house.admin)).headers["etag"]
    assert (await client.get(where, headers=house.admin)).headers["etag"] == tag

    def change(to: str, given: str | None = None) -> "asyncio.Future[httpx.Response]":
        headers = house.admin | ({"If-Match": given} if given is not None else {})
        sent = client.patch(where, json={name: f"{what} {to}"}, headers=headers)
        return asyncio.ensure_future(sent)

    first = await change("one", tag)
    assert first.status_code == 200, first.text
    assert first.headers["etag"] != tag
    stale = await change("two", tag)
    assert (stale.status_code, stale.json()["code"]) == (409, "changed_meanwhile")
    shown = await client.get(where, headers=house.admin)
    assert shown.json()[name] == f"{what} one"
    assert shown.headers["etag"] == first.headers["etag"]
    assert (await change("three", "*")).status_code == 200
    assert (await change("four")).status_code == 200
    broken = await change("five", "no tag")
    assert (broken.status_code, broken.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize("what", KINDS)
async def test_of_two_at_once_who_read_the_same_one_wins(
    client: Client, house: House, what: str
) -> None:
    where = await made(client, house, what)
    name = "label" if what == "fields" else "name"
    tag = (await client.get(where, headers=house.admin)).headers["etag"]
    answers = await asyncio.gather(
        *(
            client.patch(where, json={name: f"{what} {n}"}, headers=house.admin | {"If-Match": tag})
            for n in range(4)
        )
    )
    assert sorted(a.status_code for a in answers) == [200, 409, 409, 409]
    assert {a.json().get("code") for a in answers if a.is_error} == {"changed_meanwhile"}


async def test_a_tenants_version_does_not_change_with_what_is_set_up_beside_it(
    client: Client, house: House
) -> None:
    tag = (await client.get("/api/v1/tenant", headers=house.admin)).headers["etag"]
    await made(client, house, "statuses")
    assert (await client.get("/api/v1/tenant", headers=house.admin)).headers["etag"] == tag
