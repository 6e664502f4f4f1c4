"""Users, teams, the tenant, and what is written down about them."""

import asyncio
import uuid

import httpx
import pytest

from api.resources import Resources
from domain.permissions import Role
from models.session import Database
from services import audit, departures, people
from tests.api.conftest import House, MakeHouse, make_ticket


async def invite(
    client: httpx.AsyncClient, house: House, email: str, **body: object
) -> httpx.Response:
    return await client.post(
        "/api/v1/users", json={"email": email, "name": "New", **body}, headers=house.admin
    )


async def version(database: Database, house: House) -> int:
    async with database.transaction(house.tenant_id) as work:
        row = await work.row(
            "select config_version from tenants where id = :t", {"t": house.tenant_id}
        )
    assert row is not None
    number: int = row["config_version"]
    return number


async def test_an_invited_user_appears_with_a_handle_of_their_own(
    client: httpx.AsyncClient, house: House
) -> None:
    first = (await invite(client, house, "Ann.Lee@one.example")).json()["user"]
    second = (await invite(client, house, "ann.lee@two.example")).json()["user"]
    assert first["email"] == "ann.lee@one.example"
    assert (first["handle"], second["handle"]) == ("ann.lee", "ann.lee-2")
    assert first["invited"] is True
    taken = await invite(client, house, "ann.lee@ONE.example")
    assert (taken.status_code, taken.json()["code"]) == (409, "email_taken")


async def test_users_are_listed_in_pages_that_neither_miss_nor_repeat(
    client: httpx.AsyncClient, house: House
) -> None:
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await client.get(f"/api/v1/users?limit=3{cursor}", headers=house.agent)).json()
        seen += [user["id"] for user in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert sorted(seen) == sorted(str(u) for u in house.users.values())
    found = await client.get("/api/v1/users?q=super", headers=house.agent)
    assert [u["role"] for u in found.json()["items"]] == ["supervisor"]


async def test_every_change_of_people_makes_rules_reload_and_is_written_down(
    client: httpx.AsyncClient, house: House, database: Database
) -> None:
    agent = house.users[Role.AGENT]
    viewer = house.users[Role.VIEWER]
    changes: list[tuple[str, str, dict[str, object], str]] = [
        ("POST", "/api/v1/users", {"email": "x@example.org", "name": "X"}, "user.invited"),
        ("PATCH", f"/api/v1/users/{agent}", {"name": "Renamed"}, "user.changed"),
        ("POST", "/api/v1/teams", {"name": "Second"}, "team.created"),
        ("PATCH", f"/api/v1/teams/{house.team_id}", {"routing": "round_robin"}, "team.changed"),
        ("PUT", f"/api/v1/teams/{house.team_id}/members/{viewer}", {}, "team.member_set"),
        ("PATCH", "/api/v1/tenant", {"settings": {"triage": False}}, "tenant.changed"),
    ]
    for method, path, body, action in changes:
        before = await version(database, house)
        answer = await client.request(method, path, json=body, headers=house.admin)
        assert answer.status_code in (200, 201), answer.text
        assert await version(database, house) > before, path
        log = (await client.get("/api/v1/audit?limit=1", headers=house.admin)).json()
        [entry] = log["items"]
        assert (entry["action"], entry["actor_name"]) == (action, "Admin")
        assert entry["request_id"] == answer.headers["x-request-id"]
        assert entry["auth_method"] == "token"


async def test_the_last_admin_stays_one(client: httpx.AsyncClient, house: House) -> None:
    path = f"/api/v1/users/{house.users[Role.ADMIN]}"
    for change in ({"role": "agent"}, {"active": False}):
        answer = await client.patch(path, json=change, headers=house.admin)
        assert (answer.status_code, answer.json()["code"]) == (409, "last_admin")
    promoted = await client.patch(
        f"/api/v1/users/{house.users[Role.SUPERVISOR]}",
        json={"role": "admin"},
        headers=house.admin,
    )
    assert promoted.status_code == 200
    assert (
        await client.patch(path, json={"role": "agent"}, headers=house.admin)
    ).status_code == 200


async def test_two_admins_who_demote_each_other_leave_one(
    client: httpx.AsyncClient, house: House
) -> None:
    one, two = house.users[Role.ADMIN], house.users[Role.SUPERVISOR]
    await client.patch(f"/api/v1/users/{two}", json={"role": "admin"}, headers=house.admin)
    answers = await asyncio.gather(
        client.patch(f"/api/v1/users/{two}", json={"role": "agent"}, headers=house.admin),
        client.patch(
            f"/api/v1/users/{one}",
            json={"role": "agent"},
            headers=house.headers[Role.SUPERVISOR],
        ),
    )
    assert 200 in {a.status_code for a in answers}
    roles = [
        u["role"] for u in (await client.get("/api/v1/users", headers=house.agent)).json()["items"]
    ]
    assert roles.count("admin") == 1


async def test_who_is_deactivated_is_out_at_once_and_their_tickets_are_free(
    client: httpx.AsyncClient,
    house: House,
    resources: Resources,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(departures, "RELEASE_CHUNK", 2)
    agent = house.users[Role.AGENT]
    for _ in range(5):
        await make_ticket(
            database, resources.tickets, house, assignee_id=agent, team_id=house.team_id
        )
    answer = await client.patch(
        f"/api/v1/users/{agent}", json={"active": False}, headers=house.admin
    )
    assert (answer.status_code, answer.json()["active"]) == (200, False)
    assert (await client.get("/api/v1/auth/me", headers=house.agent)).status_code == 401
    async with database.transaction(house.tenant_id) as work:
        rows = await work.rows(
            "select assignee_id, team_id from tickets where tenant_id = :t",
            {"t": house.tenant_id},
        )
    assert len(rows) == 5
    assert {row["team_id"] for row in rows} == {house.team_id}
    assert agent not in {row["assignee_id"] for row in rows}
    put = await client.put(
        f"/api/v1/teams/{house.team_id}/members/{agent}", json={}, headers=house.admin
    )
    assert put.status_code == 422


async def test_a_release_that_was_cut_short_is_finished_by_asking_again(
    client: httpx.AsyncClient, house: House, resources: Resources, database: Database
) -> None:
    agent = house.users[Role.AGENT]
    ticket = await make_ticket(
        database, resources.tickets, house, assignee_id=agent, team_id=house.team_id
    )
    async with database.transaction(house.tenant_id) as work:  # as if the process died after this
        assert await people.remove_member(work, house.team_id, agent)
    again = await client.delete(
        f"/api/v1/teams/{house.team_id}/members/{agent}", headers=house.admin
    )
    assert again.status_code == 204
    async with database.transaction(house.tenant_id) as work:
        row = await work.row(
            "select assignee_id from tickets where tenant_id = :t and id = :id",
            {"t": house.tenant_id, "id": ticket.id},
        )
    assert row == {"assignee_id": None}


async def test_team_names_are_taken_once_and_members_are_shown(
    client: httpx.AsyncClient, house: House
) -> None:
    made = await client.post("/api/v1/teams", json={"name": "Second"}, headers=house.admin)
    again = await client.post("/api/v1/teams", json={"name": "Second"}, headers=house.admin)
    assert (made.status_code, again.status_code) == (201, 409)
    renamed = await client.patch(
        f"/api/v1/teams/{made.json()['id']}", json={"name": "First line"}, headers=house.admin
    )
    assert (renamed.status_code, renamed.json()["code"]) == (409, "team_name_taken")
    agent = house.users[Role.AGENT]
    lead = await client.put(
        f"/api/v1/teams/{house.team_id}/members/{agent}", json={"lead": True}, headers=house.admin
    )
    assert lead.json()["members"] == [{"user_id": str(agent), "lead": True}]


async def test_anybody_may_found_a_tenant_and_sign_in_to_it(
    client: httpx.AsyncClient, resources: Resources
) -> None:
    slug = f"new-{uuid.uuid4().hex[:10]}"
    body = {
        "slug": slug,
        "name": "New",
        "email": f"{slug}@example.org",
        "password": "long enough words",
    }
    made = await client.post("/api/v1/tenants", json=body)
    assert made.status_code == 201
    again = await client.post("/api/v1/tenants", json={**body, "email": "b@example.org"})
    assert (again.status_code, again.json()["code"]) == (409, "slug_taken")
    login = await client.post(
        "/api/v1/auth/login", json={"email": body["email"], "password": body["password"]}
    )
    headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
    tenant = (await client.get("/api/v1/tenant", headers=headers)).json()
    assert (tenant["slug"], tenant["settings"]["agent_scope"]) == (slug, "team")


async def test_where_sign_up_is_off_only_the_operator_makes_tenants(
    resources: Resources,
) -> None:
    import dataclasses

    from api.app import create_app

    closed = dataclasses.replace(
        resources, settings=resources.settings.model_copy(update={"tenant_signup": False})
    )
    transport = httpx.ASGITransport(create_app(closed.settings, closed))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.post(
            "/api/v1/tenants",
            json={
                "slug": "x",
                "name": "X",
                "email": "x@example.org",
                "password": "long enough words",
            },
        )
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_settings_are_changed_one_by_one_and_checked(
    client: httpx.AsyncClient, house: House, make_house: MakeHouse
) -> None:
    async def patch(settings: dict[str, object]) -> httpx.Response:
        return await client.patch(
            "/api/v1/tenant", json={"settings": settings}, headers=house.admin
        )

    assert (await patch({"agent_scope": "own"})).status_code == 200
    both = (await patch({"default_team_id": str(house.team_id)})).json()["settings"]
    assert (both["agent_scope"], both["default_team_id"]) == ("own", str(house.team_id))
    other = await make_house()
    foreign = await patch({"default_team_id": str(other.team_id)})
    assert foreign.json()["errors"] == [
        {"pointer": "/settings/default_team_id", "detail": "is not a team"}
    ]
    unknown = await patch({"cake": True})
    assert [e["pointer"] for e in unknown.json()["errors"]] == ["/settings/cake"]
    me = (await client.get("/api/v1/auth/me", headers=house.agent)).json()
    assert me["permissions"]["tickets.view"] == "own"


async def test_the_audit_log_is_filtered_paged_and_verified(
    client: httpx.AsyncClient, house: House, database: Database
) -> None:
    for n in range(5):
        await client.post("/api/v1/teams", json={"name": f"T{n}"}, headers=house.admin)
    path = "/api/v1/audit?action=team.created&limit=2"
    seen: list[str] = []
    cursor = ""
    while True:
        page = (await client.get(path + cursor, headers=house.headers[Role.SUPERVISOR])).json()
        seen += [entry["data"]["name"] for entry in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert seen == ["T4", "T3", "T2", "T1", "T0"]
    async with database.transaction(house.tenant_id) as work:
        sealed = await audit.seal(work)
    said = (await client.get("/api/v1/audit/verification", headers=house.admin)).json()
    assert said == {
        "intact": True,
        "sealed": sealed,
        "unsealed": 0,
        "oldest_unsealed_seconds": None,
        "first_bad_position": None,
    }
