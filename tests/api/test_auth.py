"""Signing in and out, tokens, links: success and refusal share their set-up."""

import asyncio
import dataclasses
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.limits import CLASSES
from api.resources import Resources
from domain.errors import Unauthenticated
from domain.permissions import Role
from domain.states import Scope
from models.session import Database
from services import freshness, people
from services.auth import Auth, SessionEnded
from services.passwords import PasswordLinks
from services.tickets import Origin
from services.tokens import create_token
from settings import Settings
from tests.api.conftest import House, MakeHouse, make_ticket

PASSWORD = "correct horse battery"


@dataclass
class Person:
    email: str
    tenant_id: uuid.UUID
    slug: str
    user_id: uuid.UUID


@pytest.fixture
async def person(database: Database) -> Person:
    """The admin of a tenant of their own, with a password."""
    slug = f"p-{uuid.uuid4().hex[:12]}"
    email = f"{slug}@example.org"
    made = await people.create_tenant_with_admin(
        database, slug=slug, name="Acme", email=email, password=PASSWORD
    )
    return Person(email, made.tenant_id, slug, made.user_id)


async def sign_in(client: httpx.AsyncClient, person: Person) -> dict[str, str]:
    answer = await client.post(
        "/api/v1/auth/login", json={"email": person.email, "password": PASSWORD}
    )
    assert answer.status_code == 200, answer.text
    tokens: dict[str, str] = answer.json()
    return tokens


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def actions(database: Database, tenant_id: uuid.UUID) -> list[str]:
    async with database.transaction(tenant_id) as work:
        rows = await work.rows(
            "select action from audit_entries where tenant_id = :t order by id", {"t": tenant_id}
        )
    return [row["action"] for row in rows]


async def test_a_password_opens_a_session_that_says_who_one_is(
    client: httpx.AsyncClient, person: Person, database: Database
) -> None:
    tokens = await sign_in(client, person)
    me = (await client.get("/api/v1/auth/me", headers=bearer(tokens["access_token"]))).json()
    assert me["id"] == str(person.user_id)
    assert me["role"] == "admin"
    assert me["tenant_slug"] == person.slug
    assert me["permissions"]["people.manage"] == "tenant"
    assert "session.started" in await actions(database, person.tenant_id)


@pytest.mark.parametrize("who", ["wrong password", "unknown address", "other tenant"])
async def test_every_failed_login_looks_the_same(
    client: httpx.AsyncClient, person: Person, house: House, who: str
) -> None:
    body = {"email": person.email, "password": PASSWORD}
    if who == "wrong password":
        body["password"] = "not the right one"
    elif who == "unknown address":
        body["email"] = "nobody@example.org"
    else:
        body["tenant"] = house.slug
    answer = await client.post("/api/v1/auth/login", json=body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (401, "wrong_credentials")
    assert problem["detail"] == "The e-mail address or the password is wrong."
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_an_address_in_two_tenants_is_asked_which_only_after_the_right_password(
    client: httpx.AsyncClient, person: Person, database: Database
) -> None:
    other = f"q-{uuid.uuid4().hex[:12]}"
    await people.create_tenant_with_admin(
        database, slug=other, name="Other", email=person.email, password=PASSWORD
    )
    body = {"email": person.email, "password": "not the right one"}
    assert (await client.post("/api/v1/auth/login", json=body)).status_code == 401
    body["password"] = PASSWORD
    answer = await client.post("/api/v1/auth/login", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "tenant_needed")
    answer = await client.post("/api/v1/auth/login", json={**body, "tenant": other})
    assert answer.json()["tenant_slug"] == other


async def test_a_refresh_token_works_once_and_its_reuse_ends_the_session(
    client: httpx.AsyncClient, person: Person, database: Database
) -> None:
    first = await sign_in(client, person)
    answer = await client.post(
        "/api/v1/auth/refresh", json={"refresh_token": first["refresh_token"]}
    )
    second = answer.json()
    assert answer.status_code == 200
    assert second["refresh_token"] != first["refresh_token"]
    reused = await client.post(
        "/api/v1/auth/refresh", json={"refresh_token": first["refresh_token"]}
    )
    assert (reused.status_code, reused.json()["code"]) == (401, "session_ended")
    after = await client.post(
        "/api/v1/auth/refresh", json={"refresh_token": second["refresh_token"]}
    )
    assert after.status_code == 401
    me = await client.get("/api/v1/auth/me", headers=bearer(second["access_token"]))
    assert me.status_code == 401
    assert "session.reuse_detected" in await actions(database, person.tenant_id)


async def test_a_refresh_token_from_several_renewals_ago_ends_the_session_too(
    client: httpx.AsyncClient, person: Person, database: Database
) -> None:
    first = await sign_in(client, person)
    newest = first
    for _ in range(3):
        body = {"refresh_token": newest["refresh_token"]}
        newest = (await client.post("/api/v1/auth/refresh", json=body)).json()
    forged = first["refresh_token"][:-2] + ("AA" if first["refresh_token"][-2:] != "AA" else "BB")
    for token, lives_on in ((forged, True), (first["refresh_token"], False)):
        answer = await client.post("/api/v1/auth/refresh", json={"refresh_token": token})
        assert (answer.status_code, answer.json()["code"]) == (401, "session_ended")
        me = await client.get("/api/v1/auth/me", headers=bearer(newest["access_token"]))
        assert (me.status_code == 200) is lives_on
    assert (await actions(database, person.tenant_id)).count("session.reuse_detected") == 1


async def test_of_refreshes_at_the_same_moment_at_most_one_succeeds(
    client: httpx.AsyncClient, person: Person
) -> None:
    tokens = await sign_in(client, person)
    body = {"refresh_token": tokens["refresh_token"]}
    answers = await asyncio.gather(
        *(client.post("/api/v1/auth/refresh", json=body) for _ in range(6))
    )
    assert sorted(a.status_code for a in answers) == [200, 401, 401, 401, 401, 401]


async def test_logout_ends_the_session_and_others_sessions_are_out_of_reach(
    client: httpx.AsyncClient, person: Person, make_house: MakeHouse
) -> None:
    one, two = await sign_in(client, person), await sign_in(client, person)
    mine = (await client.get("/api/v1/auth/sessions", headers=bearer(one["access_token"]))).json()
    assert {s["id"]: s["current"] for s in mine["items"]} == {
        one["session_id"]: True,
        two["session_id"]: False,
    }
    stranger = await make_house()
    foreign = await client.delete(
        f"/api/v1/auth/sessions/{one['session_id']}", headers=stranger.admin
    )
    assert foreign.status_code == 404
    ended = await client.delete(
        f"/api/v1/auth/sessions/{two['session_id']}", headers=bearer(one["access_token"])
    )
    assert ended.status_code == 204
    out = await client.post("/api/v1/auth/logout", headers=bearer(one["access_token"]))
    assert out.status_code == 204
    for tokens in (one, two):
        me = await client.get("/api/v1/auth/me", headers=bearer(tokens["access_token"]))
        assert me.status_code == 401


async def test_an_access_token_expires_and_a_forged_one_is_nobody(
    resources: Resources, person: Person
) -> None:
    moment = datetime.now(UTC)
    auth = Auth(
        resources.database, secret="x" * 40, public_url="", now=lambda: moment, cache_seconds=0
    )
    signed = await auth.login(
        email=person.email, password=PASSWORD, tenant=None, user_agent="", origin=Origin()
    )
    assert (await auth.principal(f"Bearer {signed.access_token}")).id == person.user_id
    claims = jwt.decode(signed.access_token, options={"verify_signature": False})
    forged = [
        jwt.encode(claims, "y" * 40, algorithm="HS256"),
        jwt.encode(claims, "", algorithm="none"),
        "no.such.token",
        "hf_nothing",
    ]
    for token in forged:
        with pytest.raises(Unauthenticated):
            await auth.principal(f"Bearer {token}")
    moment += timedelta(minutes=11)
    with pytest.raises(Unauthenticated, match="expired"):
        await auth.principal(f"Bearer {signed.access_token}")


async def test_changing_the_password_needs_the_old_one_and_ends_the_other_sessions(
    client: httpx.AsyncClient, person: Person
) -> None:
    one, two = await sign_in(client, person), await sign_in(client, person)
    headers = bearer(one["access_token"])
    wrong = {"current_password": "not the right one", "new_password": "another long one"}
    answer = await client.post("/api/v1/auth/password", json=wrong, headers=headers)
    assert answer.status_code == 422
    short = {"current_password": PASSWORD, "new_password": "short"}
    answer = await client.post("/api/v1/auth/password", json=short, headers=headers)
    assert answer.status_code == 422
    right = {"current_password": PASSWORD, "new_password": "another long one"}
    answer = await client.post("/api/v1/auth/password", json=right, headers=headers)
    assert answer.status_code == 204
    assert (await client.get("/api/v1/auth/me", headers=headers)).status_code == 200
    me = await client.get("/api/v1/auth/me", headers=bearer(two["access_token"]))
    assert me.status_code == 401


async def test_an_invitation_sets_a_password_once(client: httpx.AsyncClient, house: House) -> None:
    email = f"{uuid.uuid4().hex}@example.org"
    made = await client.post(
        "/api/v1/users", json={"email": email, "name": "New"}, headers=house.admin
    )
    assert made.status_code == 201
    link = made.json()["link"]
    body = {"link": link, "password": PASSWORD}
    assert (await client.post("/api/v1/auth/password-link", json=body)).status_code == 204
    again = await client.post("/api/v1/auth/password-link", json=body)
    assert (again.status_code, again.json()["code"]) == (422, "link_spent")
    login = await client.post("/api/v1/auth/login", json={"email": email, "password": PASSWORD})
    assert login.status_code == 200


async def test_a_reset_answers_the_same_for_anybody_and_sends_the_link_to_the_one_who_exists(
    app: FastAPI, resources: Resources, client: httpx.AsyncClient, person: Person
) -> None:
    answers = [
        await client.post("/api/v1/auth/password-reset", json={"email": email})
        for email in (person.email, "nobody@example.org")
    ]
    assert [a.status_code for a in answers] == [202, 202]
    assert answers[0].content == answers[1].content
    async with resources.database.transaction(person.tenant_id) as work:
        queued = await work.rows("select ticket_id from outbox where kind = 'link'")
        # What a workflow will mail, committed before the answer left.
        [letter] = [
            await PasswordLinks(
                resources.settings.secret_key.get_secret_value(), public_url="https://desk.example"
            ).letter(work, row["ticket_id"], now=datetime.now(UTC))
            for row in queued
        ]
    assert letter is not None
    assert letter.to == person.email
    link = next(line for line in letter.text.splitlines() if "#" in line)
    body = {"link": link, "password": "a fresh password"}
    assert (await client.post("/api/v1/auth/password-link", json=body)).status_code == 204
    login = {"email": person.email, "password": "a fresh password"}
    assert (await client.post("/api/v1/auth/login", json=login)).status_code == 200


async def test_a_scoped_token_reaches_what_it_names_and_makes_no_wider_one(
    client: httpx.AsyncClient, house: House
) -> None:
    made = await client.post(
        "/api/v1/tokens",
        json={"name": "bot", "scopes": ["people.view", "tokens"]},
        headers=house.admin,
    )
    assert made.status_code == 201, made.text
    scoped = bearer(made.json()["secret"])
    assert (await client.get("/api/v1/users", headers=scoped)).status_code == 200
    assert (await client.get("/api/v1/audit", headers=scoped)).status_code == 403
    wider = await client.post("/api/v1/tokens", json={"name": "more"}, headers=scoped)
    assert wider.status_code == 403
    same = await client.post(
        "/api/v1/tokens", json={"name": "same", "scopes": ["people.view"]}, headers=scoped
    )
    assert same.status_code == 201
    unknown = await client.post(
        "/api/v1/tokens", json={"name": "x", "scopes": ["cake"]}, headers=house.admin
    )
    assert unknown.status_code == 422


async def test_a_revoked_or_expired_token_is_nobody(
    client: httpx.AsyncClient, house: House, database: Database
) -> None:
    made = (await client.post("/api/v1/tokens", json={"name": "t"}, headers=house.agent)).json()
    token = bearer(made["secret"])
    assert (await client.get("/api/v1/auth/me", headers=token)).status_code == 200
    path = f"/api/v1/tokens/{made['id']}"
    viewer = await client.delete(path, headers=house.headers[Role.VIEWER])
    assert viewer.status_code == 404
    assert (await client.delete(path, headers=token)).status_code == 204
    assert (await client.get("/api/v1/auth/me", headers=token)).status_code == 401
    past = datetime.now(UTC) - timedelta(days=1)
    async with database.transaction(house.tenant_id) as work:
        old = await create_token(
            work,
            kind="personal",
            name="old",
            user_id=house.users[Role.AGENT],
            now=past,
            expires_at=past + timedelta(hours=1),
        )
    assert (await client.get("/api/v1/auth/me", headers=bearer(old.secret))).status_code == 401


async def test_what_a_process_knows_of_a_credential_is_at_most_five_seconds_old(
    database: Database, house: House
) -> None:
    auth = Auth(database, secret="x" * 40, public_url="")
    assert auth._known.ttl == 5.0 < freshness.SECONDS
    header = house.agent["Authorization"]
    freshness._changed.clear()
    before = await auth.principal(header)
    assert await auth.principal(header) is before


async def test_what_the_process_itself_has_revoked_or_changed_counts_at_once(
    settings: Settings, resources: Resources, person: Person, house: House
) -> None:
    """Over an application that remembers callers, as a real one does."""
    auth = Auth(resources.database, secret="x" * 40, public_url="")
    app = create_app(settings, dataclasses.replace(resources, auth=auth))
    transport = httpx.ASGITransport(app, client=(str(uuid.uuid4()), 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:

        async def asked(headers: dict[str, str]) -> int:
            return (await client.get("/api/v1/auth/me", headers=headers)).status_code

        freshness._changed.clear()
        one, two = await sign_in(client, person), await sign_in(client, person)
        mine, other = bearer(one["access_token"]), bearer(two["access_token"])
        made = await client.post("/api/v1/tokens", headers=mine, json={"name": "script"})
        token = bearer(made.json()["secret"])
        assert [await asked(who) for who in (mine, other, token)] == [200, 200, 200]
        await client.delete(f"/api/v1/auth/sessions/{two['session_id']}", headers=mine)
        assert await asked(other) == 401
        freshness._changed.clear()
        await client.delete(f"/api/v1/tokens/{made.json()['id']}", headers=mine)
        assert await asked(token) == 401
        freshness._changed.clear()
        await client.post("/api/v1/auth/logout", headers=mine)
        assert await asked(mine) == 401
        freshness._changed.clear()
        assert (await client.get("/api/v1/users", headers=house.agent)).status_code == 200
        await client.patch(
            f"/api/v1/users/{house.users[Role.AGENT]}", headers=house.admin, json={"active": False}
        )
        assert await asked(house.agent) == 401


async def test_a_credential_that_is_remembered_counts_no_longer_than_until_it_expires(
    database: Database, house: House
) -> None:
    moment = datetime.now(UTC)
    auth = Auth(database, secret="x" * 40, public_url="", now=lambda: moment)
    async with database.transaction(house.tenant_id) as work:
        made = await create_token(
            work, kind="intake", name="brief", user_id=None, now=moment,
            expires_at=moment + timedelta(seconds=2),
        )  # fmt: skip
    freshness._changed.clear()
    header = f"Bearer {made.secret}"
    assert (await auth.principal(header)).kind == "intake"
    assert await auth.principal(header) is await auth.principal(header)
    moment += timedelta(seconds=2)
    with pytest.raises(Unauthenticated, match="expired"):
        await auth.principal(header)


async def test_the_tenant_decides_how_far_its_agents_see(
    database: Database, resources: Resources, make_house: MakeHouse, client: httpx.AsyncClient
) -> None:
    usual, wide = await make_house(), await make_house(agent_scope="tenant")
    seen = []
    for house in (usual, wide):
        me = (await client.get("/api/v1/auth/me", headers=house.agent)).json()
        seen.append(me["permissions"]["tickets.view"])
        assert me["permissions"]["customers.view"] == "tenant"
    assert seen == [Scope.TEAM, Scope.TENANT]


async def test_an_intake_key_may_submit_and_nothing_else(
    client: httpx.AsyncClient, house: House
) -> None:
    me = (await client.get("/api/v1/auth/me", headers=house.intake)).json()
    assert me["permissions"] == {"intake": "tenant"}
    assert (await client.get("/api/v1/users", headers=house.intake)).status_code == 403


async def test_too_many_logins_for_one_address_are_refused_with_the_time_to_wait(
    client: httpx.AsyncClient,
) -> None:
    body = {"email": f"{uuid.uuid4().hex}@example.org", "password": "not the right one"}
    statuses = []
    for _ in range(11):
        answer = await client.post("/api/v1/auth/login", json=body)
        statuses.append(answer.status_code)
    assert statuses[:10] == [401] * 10
    assert statuses[10] == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert answer.json()["code"] == "too_many_requests"


async def test_who_leaves_a_team_loses_its_tickets_and_keeps_the_others(
    client: httpx.AsyncClient, house: House, resources: Resources, database: Database
) -> None:
    agent = house.users[Role.AGENT]
    theirs = [
        await make_ticket(
            database, resources.tickets, house, assignee_id=agent, team_id=house.team_id
        )
        for _ in range(3)
    ]
    other = await make_ticket(database, resources.tickets, house, assignee_id=agent)
    gone = await client.delete(
        f"/api/v1/teams/{house.team_id}/members/{agent}", headers=house.admin
    )
    assert gone.status_code == 204, gone.text
    async with database.transaction(house.tenant_id) as work:
        rows = await work.rows(
            "select id, assignee_id, team_id from tickets where tenant_id = :t",
            {"t": house.tenant_id},
        )
        events = await work.rows(
            "select ticket_id from events where tenant_id = :t and type = 'assignee_left'",
            {"t": house.tenant_id},
        )
    assigned = {row["id"]: row["assignee_id"] for row in rows}
    assert [assigned[t.id] for t in theirs] == [None] * 3
    # Given to the agent without naming a team, the ticket may have got theirs by rule.
    if other.team_id != house.team_id:
        assert assigned[other.id] == agent
    assert {t.id for t in theirs} <= {row["ticket_id"] for row in events}


async def test_who_guesses_from_everywhere_does_not_keep_the_owner_out(
    app: FastAPI, person: Person, resources: Resources
) -> None:
    async def sign_in_from(address: str, password: str) -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as browser:
            return await browser.post(
                "/api/v1/auth/login", json={"email": person.email, "password": password}
            )

    home = "198.51.100.7"
    assert (await sign_in_from(home, PASSWORD)).status_code == 200
    limit = CLASSES["account"] or 0
    guesses = [await sign_in_from(f"203.0.113.{n}", "a guess, and wrong") for n in range(limit + 1)]
    assert {g.status_code for g in guesses} == {401, 429}
    elsewhere = await sign_in_from("192.0.2.1", PASSWORD)
    assert elsewhere.status_code == 429  # whoever that is
    owner = await sign_in_from(home, PASSWORD)
    assert owner.status_code == 200, owner.text
    assert int(owner.headers["RateLimit-Limit"]) == CLASSES["login"]

    # Their own address is no licence to guess.
    at_home = [await sign_in_from(home, "a guess, and wrong") for _ in range(CLASSES["login"] or 0)]
    assert at_home[-1].status_code == 429
    # Nor is a month-old memory of one.
    async with resources.database.transaction(person.tenant_id) as work:
        await work.execute("update login_sessions set used_at = used_at - interval '31 days'")
    assert not await resources.auth.is_familiar(email=person.email, tenant=None, ip=home)


async def test_a_session_that_two_had_makes_no_address_familiar(
    person: Person, resources: Resources
) -> None:
    auth, origin = resources.auth, Origin(ip="198.51.100.8")
    signed = await auth.login(
        email=person.email, password=PASSWORD, tenant=None, user_agent="", origin=origin
    )
    asked = {"email": person.email, "tenant": None, "ip": origin.ip}
    assert await auth.is_familiar(**asked)  # type: ignore[arg-type]
    await auth.refresh(signed.refresh_token, origin=origin)
    with pytest.raises(SessionEnded):
        await auth.refresh(signed.refresh_token, origin=origin)
    assert not await auth.is_familiar(**asked)  # type: ignore[arg-type]
    assert not await auth.is_familiar(email=person.email, tenant="nowhere", ip=origin.ip)
