"""Statuses, custom fields, calendars and policies over HTTP, and that rules obey them at once."""

import uuid

import httpx
import pytest

from domain.permissions import Role
from models.session import Database
from tests.api.conftest import House, MakeHouse

API = "/api/v1"
Client = httpx.AsyncClient
OFFICE = {
    "timezone": "Europe/Berlin",
    "weekly": {day: [["09:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")},
}
ALWAYS = {
    "timezone": "UTC",
    "weekly": {d: [["00:00", "24:00"]] for d in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")},
}


async def ask(
    client: Client, house: House, method: str, path: str, body: object = None, *, want: int = 200
) -> dict[str, object]:
    answer = await client.request(method, API + path, json=body, headers=house.admin)
    assert answer.status_code == want, answer.text
    said: dict[str, object] = answer.json()
    return said


async def ticket(client: Client, house: House) -> dict[str, object]:
    body = {
        "subject": "Hi", "text": "Hi", "requester": {"email": "a@example.org"}, "on_behalf": True,
    }  # fmt: skip
    return await ask(client, house, "POST", "/tickets", body, want=201)


async def test_a_new_status_is_in_force_with_the_next_request(client: Client, house: House) -> None:
    made = await ticket(client, house)
    status = await ask(
        client, house, "POST", "/statuses",
        {"name": "Waiting for parts", "category": "on_hold", "customer_label": "Ordered"}, want=201,
    )  # fmt: skip
    assert (status["key"], status["active"]) == ("waiting_for_parts", True)
    changed = await ask(
        client, house, "PATCH", f"/tickets/{made['number']}", {"status": "waiting_for_parts"}
    )
    assert (changed["category"], changed["status_name"]) == ("on_hold", "Waiting for parts")


async def test_the_last_active_status_of_a_category_stays(client: Client, house: House) -> None:
    refused = await ask(client, house, "PATCH", "/statuses/pending", {"active": False}, want=409)
    assert refused["code"] == "last_of_category"
    await ask(
        client, house, "POST", "/statuses", {"name": "Later", "category": "pending"}, want=201
    )
    await ask(client, house, "PATCH", "/statuses/pending", {"active": False})
    made = await ticket(client, house)
    await ask(client, house, "PATCH", f"/tickets/{made['number']}", {"status": "pending"}, want=422)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PATCH", "/statuses/open", {"category": "closed"}, 422),
        ("PATCH", "/statuses/none", {"name": "X"}, 404),
        ("PATCH", "/statuses/open", {"transitions": ["nowhere"]}, 422),
        ("PATCH", "/statuses/open", {"required_fields": ["none"]}, 422),
        ("PATCH", "/statuses/open", {"name": None}, 422),
        ("POST", "/statuses", {"name": "Open", "category": "open"}, 409),
        ("POST", "/statuses", {"name": "X", "category": "merged"}, 422),
        ("POST", "/statuses", {"name": "X", "category": "asleep"}, 422),
        ("PUT", "/statuses/order", {"keys": ["open"]}, 422),
        ("POST", "/fields", {"label": "X", "kind": "select"}, 422),
        ("POST", "/fields", {"label": "X", "kind": "text", "options": ["a"]}, 422),
        ("POST", "/fields", {"label": "X", "kind": "text", "pattern": "("}, 422),
        ("POST", "/fields", {"label": "X", "kind": "text", "pattern": "(a+)+"}, 422),
        ("POST", "/fields", {"label": "X", "kind": "number", "pattern": "a"}, 422),
        ("POST", "/fields", {"label": "X", "kind": "colour"}, 422),
        ("PATCH", "/fields/none", {"label": "X"}, 404),
        ("POST", "/calendars", {"name": "X", "body": {"timezone": "Mars/Olympus"}}, 422),
        ("POST", "/policies", {"name": "X", "calendar_id": str(uuid.UUID(int=1)), "targets": {}},
         422),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused(
    client: Client, house: House, method: str, path: str, body: object, status: int
) -> None:
    await ask(client, house, method, path, body, want=status)


async def test_transitions_and_required_fields_bind_agents(client: Client, house: House) -> None:
    await ask(client, house, "POST", "/fields", {"label": "Root cause", "kind": "text"}, want=201)
    await ask(client, house, "PATCH", "/statuses/resolved", {"required_fields": ["root_cause"]})
    await ask(client, house, "PATCH", "/statuses/new", {"transitions": ["resolved"]})
    made = await ticket(client, house)
    where = f"/tickets/{made['number']}"
    assert (await ask(client, house, "PATCH", where, {"status": "open"}, want=409))[
        "code"
    ] == "status_not_allowed"
    await ask(client, house, "PATCH", where, {"status": "resolved"}, want=422)
    body = {"status": "resolved", "fields": {"root_cause": "dust"}}
    assert (await ask(client, house, "PATCH", where, body))["category"] == "resolved"
    assert await ask(client, house, "PATCH", "/fields/root_cause", {"active": False}, want=409)


async def test_order_decides_which_status_rules_use(client: Client, house: House) -> None:
    await ask(client, house, "POST", "/statuses", {"name": "Fresh", "category": "new"}, want=201)
    answer = await client.get(f"{API}/statuses", headers=house.admin)
    keys = [s["key"] for s in answer.json()]
    assert keys[-1] == "fresh"
    await ask(client, house, "PUT", "/statuses/order", {"keys": ["fresh", *keys[:-1]]})
    assert (await ticket(client, house))["status"] == "fresh"


async def test_a_field_no_longer_in_use_takes_no_values(client: Client, house: House) -> None:
    body = {"label": "Plan", "kind": "select", "options": ["basic", "pro"]}
    await ask(client, house, "POST", "/fields", body, want=201)
    where = f"/tickets/{(await ticket(client, house))['number']}"
    await ask(client, house, "PATCH", where, {"fields": {"plan": "gold"}}, want=422)
    await ask(client, house, "PATCH", where, {"fields": {"plan": "pro"}})
    await ask(client, house, "PATCH", "/fields/plan", {"active": False})
    refused = await ask(client, house, "PATCH", where, {"fields": {"plan": "basic"}}, want=422)
    assert refused["errors"] == [{"pointer": "/fields/plan", "detail": "is not known"}]


async def test_policies_and_calendars_are_kept_by_version(
    client: Client, house: House, database: Database
) -> None:
    calendar = await ask(
        client, house, "POST", "/calendars", {"name": "Always", "body": ALWAYS}, want=201
    )
    body = {
        "name": "Standard",
        "calendar_id": calendar["id"],
        "targets": {"first_reply": {"normal": "PT4H"}, "resolution": {"normal": 86400}},
        "steps": [
            {"id": "warn", "metric": "first_reply", "offset": "-PT1H",
             "action": {"kind": "notify", "to": ["assignee", str(house.users[Role.ADMIN])]}},
        ],
    }  # fmt: skip
    policy = await ask(client, house, "POST", "/policies", body, want=201)
    assert (policy["version"], policy["body"]["calendar_version"]) == (1, 1)  # type: ignore[index]
    first = await ticket(client, house)
    assert first["sla"]["first_reply_due_at"] is not None  # type: ignore[index]

    where = f"/policies/{policy['id']}"
    faster = await ask(
        client, house, "PATCH", where, {"targets": {"first_reply": {"normal": "PT1H"}}}
    )
    assert (faster["version"], len(faster["body"]["steps"])) == (2, 1)  # type: ignore[index]
    same = await ask(client, house, "PATCH", where, {"name": "Standard"})
    assert same["version"] == 2

    # The open ticket is timed anew at its next event, not in the request that changed the policy.
    read = await ask(client, house, "GET", f"/tickets/{first['number']}")
    assert read["sla"]["first_reply_due_at"] == first["sla"]["first_reply_due_at"]  # type: ignore[index]
    touched = await ask(client, house, "PATCH", f"/tickets/{first['number']}", {"add_tags": ["x"]})
    assert touched["sla"]["first_reply_due_at"] < first["sla"]["first_reply_due_at"]  # type: ignore[index]

    await ask(
        client, house, "PATCH", f"/calendars/{calendar['id']}",
        {"body": {**ALWAYS, "holidays": ["2030-01-01"]}},
    )  # fmt: skip
    moved = await ask(client, house, "GET", where)
    assert (moved["version"], moved["body"]["calendar_version"]) == (3, 2)  # type: ignore[index]
    assert (await ask(client, house, "PATCH", f"/calendars/{calendar['id']}", {"active": False},
                      want=409))  # fmt: skip
    await ask(client, house, "PATCH", where, {"active": False})
    assert (await ticket(client, house))["sla"]["first_reply_due_at"] is None  # type: ignore[index]
    async with database.transaction(house.tenant_id) as work:
        kept = await work.rows(
            "select version from policy_versions where tenant_id = :tenant order by version",
            {"tenant": house.tenant_id},
        )
        [told] = await work.rows(
            "select data from audit_entries where tenant_id = :tenant"
            " and action = 'policy.changed' and data->'changes' ? 'body' order by id limit 1",
            {"tenant": house.tenant_id},
        )
    assert [row["version"] for row in kept] == [1, 2, 3]
    before, after = told["data"]["changes"]["body"]
    assert before["targets"]["first_reply"] == {"normal": "PT4H"}
    assert after["targets"]["first_reply"] == {"normal": "PT1H"}


async def test_a_step_names_only_people_who_are_here(client: Client, house: House) -> None:
    calendar = await ask(
        client, house, "POST", "/calendars", {"name": "Always", "body": ALWAYS}, want=201
    )
    for action in (
        {"kind": "reassign", "team_id": str(uuid.uuid4())},
        {"kind": "notify", "to": [str(uuid.uuid4())]},
        {"kind": "dance"},
    ):
        body = {
            "name": "P", "calendar_id": calendar["id"], "targets": {},
            "steps": [{"id": "s", "metric": "resolution", "offset": 0, "action": action}],
        }  # fmt: skip
        await ask(client, house, "POST", "/policies", body, want=422)


async def test_policies_are_put_in_order(client: Client, house: House) -> None:
    calendar = await ask(
        client, house, "POST", "/calendars", {"name": "Always", "body": ALWAYS}, want=201
    )
    ids = [
        (
            await ask(
                client, house, "POST", "/policies",
                {"name": name, "calendar_id": calendar["id"], "targets": {}}, want=201,
            )
        )["id"]
        for name in ("A", "B")
    ]  # fmt: skip
    answer = await client.put(f"{API}/policies/order", json={"ids": ids[::-1]}, headers=house.admin)
    assert [p["name"] for p in answer.json()] == ["B", "A"]


async def test_a_calendar_shows_the_days_ahead(client: Client, house: House) -> None:
    body = {"name": "Office", "body": OFFICE}
    calendar = await ask(client, house, "POST", "/calendars", body, want=201)
    answer = await client.get(
        f"{API}/calendars/{calendar['id']}/preview", params={"months": 1}, headers=house.admin
    )
    days = answer.json()
    assert len(days) == 31
    assert sorted({d["open_seconds"] for d in days}) == [0, 8 * 3600]


async def test_who_may_look_and_who_may_change(
    client: Client, house: House, make_house: MakeHouse
) -> None:
    calendar = await ask(
        client, house, "POST", "/calendars", {"name": "Always", "body": ALWAYS}, want=201
    )
    for path in ("/statuses", "/fields", "/calendars", "/policies"):
        assert (await client.get(API + path)).status_code == 401
        assert (await client.get(API + path, headers=house.agent)).status_code == 200
        assert (await client.post(API + path, json={}, headers=house.agent)).status_code == 403
    supervisor = house.headers[Role.SUPERVISOR]
    assert (
        await client.post(
            f"{API}/calendars", json={"name": "B", "body": ALWAYS}, headers=supervisor
        )
    ).status_code == 201
    assert (
        await client.post(f"{API}/statuses", json={"name": "B"}, headers=supervisor)
    ).status_code == 403
    foreign = await make_house()
    where = f"{API}/calendars/{calendar['id']}"
    assert (await client.get(where, headers=foreign.admin)).status_code == 404
    assert (await client.patch(where, json={"name": "X"}, headers=foreign.admin)).status_code == 404
