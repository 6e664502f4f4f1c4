"""A POST under a key happens once, whoever repeats it and however fast."""

import asyncio
import dataclasses
import inspect
import uuid
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, FastAPI, File, Response, UploadFile
from fastapi.routing import iter_route_contexts
from pydantic import SecretStr

from api.app import create_app
from api.deps import Caller, EventKey, Tx
from api.resources import Resources
from api.routing import Route
from domain.permissions import Role
from models.session import Database, Work
from services import people
from services.tickets import clock
from settings import Settings
from tests.api.conftest import House

KEY = "Idempotency-Key"


@pytest.fixture(scope="module")
def other_app(settings: Settings, resources: Resources) -> FastAPI:
    """The application with endpoints whose work restarts, that take files, that answer freely."""
    app = create_app(settings, resources)
    router = APIRouter(prefix="/api/v1/odd", route_class=Route)

    @router.post("/restarting", status_code=201)
    async def restarting(caller: Caller, work: Tx, name: str) -> dict[str, str]:
        await work.restart()  # lets go of the key's lock
        await asyncio.sleep(0.05)
        made = await people.create_team(
            work, name=f"{name} {uuid.uuid4()}", routing="manual", now=clock()
        )
        return {"id": str(made)}

    @router.post("/file")
    async def file(
        caller: Caller, work: Tx, upload: Annotated[UploadFile, File()]
    ) -> dict[str, str]:
        return {"content": (await upload.read()).decode(), "nonce": str(uuid.uuid4())}

    @router.post("/accepted")
    async def accepted(caller: Caller, work: Tx, response: Response) -> dict[str, str]:
        response.status_code = 202
        response.headers["X-Extra"] = "yes"
        return {"nonce": str(uuid.uuid4())}

    @router.post("/key")
    async def key(caller: Caller, work: Tx, event_key: EventKey) -> dict[str, str]:
        return {"key": event_key}

    app.include_router(router)
    return app


@pytest.fixture
async def client(other_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(other_app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def team_count(database: Database, house: House) -> int:
    async with database.transaction(house.tenant_id) as work:
        row = await work.row(
            "select count(*) as n from teams where tenant_id = :t", {"t": house.tenant_id}
        )
    assert row is not None
    count: int = row["n"]
    return count


async def test_the_same_key_and_request_gets_the_same_answer_and_happens_once(
    client: httpx.AsyncClient, house: House, database: Database
) -> None:
    before = await team_count(database, house)
    headers = {**house.admin, KEY: "once"}
    first = await client.post("/api/v1/teams", json={"name": "A"}, headers=headers)
    spelled = b'{ "routing": "manual",  "name": "A" }'
    again = await client.post(
        "/api/v1/teams", content=spelled, headers={**headers, "Content-Type": "application/json"}
    )
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert await team_count(database, house) == before + 1


async def test_a_key_for_another_request_is_refused(
    client: httpx.AsyncClient, house: House
) -> None:
    headers = {**house.admin, KEY: "mine"}
    assert (
        await client.post("/api/v1/teams", json={"name": "A"}, headers=headers)
    ).status_code == 201
    for path, body in (
        ("/api/v1/teams", {"name": "B"}),
        ("/api/v1/users", {"name": "A", "email": "a@example.org"}),
    ):
        answer = await client.post(path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_key_belongs_to_its_caller(client: httpx.AsyncClient, house: House) -> None:
    body = {"name": "token"}
    one = await client.post("/api/v1/tokens", json=body, headers={**house.admin, KEY: "same"})
    two = await client.post("/api/v1/tokens", json=body, headers={**house.agent, KEY: "same"})
    assert one.json()["id"] != two.json()["id"]


async def test_a_secret_is_told_again_under_its_key_and_cannot_be_read_in_the_database(
    client: httpx.AsyncClient,
    house: House,
    database: Database,
    settings: Settings,
    resources: Resources,
) -> None:
    headers = {**house.admin, KEY: "secret"}
    made = await client.post("/api/v1/tokens", json={"name": "t"}, headers=headers)
    again = await client.post("/api/v1/tokens", json={"name": "t"}, headers=headers)
    assert (again.status_code, again.content) == (made.status_code, made.content)
    assert made.status_code == 201
    async with database.transaction(house.tenant_id) as work:
        [row] = await work.rows(
            "select body from idempotency_keys where tenant_id = :t", {"t": house.tenant_id}
        )
        assert made.json()["secret"].encode() not in bytes(row["body"])
        assert made.json()["id"].encode() not in bytes(row["body"])
    changed = settings.model_copy(update={"secret_key": SecretStr("another: " + "s" * 32)})
    other = create_app(changed, dataclasses.replace(resources, settings=changed))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(other), base_url="http://test"
    ) as later:
        lost = await later.post("/api/v1/tokens", json={"name": "t"}, headers=headers)
    assert (lost.status_code, lost.json()["code"]) == (409, "already_shown")


@pytest.mark.parametrize("key", ["", "x" * 201, "tab\there"])
async def test_a_key_that_is_no_key_is_refused(
    client: httpx.AsyncClient, house: House, key: str
) -> None:
    answer = await client.post(
        "/api/v1/teams", json={"name": "A"}, headers={**house.admin, KEY: key}
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_a_refused_request_leaves_its_key_free(
    client: httpx.AsyncClient, house: House
) -> None:
    headers = {**house.admin, KEY: "again"}
    taken = await client.post("/api/v1/teams", json={"name": "First line"}, headers=headers)
    assert taken.status_code == 409
    made = await client.post("/api/v1/teams", json={"name": "Second line"}, headers=headers)
    assert made.status_code == 201


async def test_many_at_the_same_moment_happen_once(
    client: httpx.AsyncClient, house: House, database: Database
) -> None:
    before = await team_count(database, house)
    headers = {**house.admin, KEY: "rush"}
    answers = await asyncio.gather(
        *(client.post("/api/v1/teams", json={"name": "R"}, headers=headers) for _ in range(6))
    )
    assert {a.status_code for a in answers} == {201}
    assert len({a.content for a in answers}) == 1
    assert await team_count(database, house) == before + 1


async def test_work_that_restarts_and_lets_go_of_the_lock_still_happens_once(
    client: httpx.AsyncClient, house: House, database: Database
) -> None:
    before = await team_count(database, house)
    headers = {**house.admin, KEY: "restarting"}
    answers = await asyncio.gather(
        *(client.post("/api/v1/odd/restarting?name=x", headers=headers) for _ in range(5))
    )
    assert {a.status_code for a in answers} == {201}
    assert len({a.content for a in answers}) == 1
    assert await team_count(database, house) == before + 1


async def test_a_file_is_part_of_what_a_request_asks(
    client: httpx.AsyncClient, house: House
) -> None:
    headers = {**house.admin, KEY: "file"}
    path = "/api/v1/odd/file"
    first = await client.post(path, files={"upload": ("a", b"one")}, headers=headers)
    again = await client.post(path, files={"upload": ("a", b"one")}, headers=headers)
    other = await client.post(path, files={"upload": ("a", b"two")}, headers=headers)
    assert first.json()["content"] == "one"
    assert again.content == first.content
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_status_and_headers_that_an_endpoint_sets_itself_are_kept(
    client: httpx.AsyncClient, house: House
) -> None:
    headers = {**house.admin, KEY: "accepted"}
    first = await client.post("/api/v1/odd/accepted", headers=headers)
    again = await client.post("/api/v1/odd/accepted", headers=headers)
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.headers["x-extra"] == "yes"
    assert first.json() == again.json()


async def test_an_event_is_named_by_its_caller_and_key(
    client: httpx.AsyncClient, house: House
) -> None:
    named = await client.post("/api/v1/odd/key", headers={**house.admin, KEY: "k"})
    assert named.json() == {"key": f"{house.users[Role.ADMIN]}:k"}
    free = [await client.post("/api/v1/odd/key", headers=house.admin) for _ in range(2)]
    assert free[0].json() != free[1].json()


async def test_a_repeated_answer_says_again_where_the_thing_is_and_in_which_version(
    client: httpx.AsyncClient, house: House
) -> None:
    body = {"subject": "It broke", "text": "Help", "requester": {"email": "a@example.org"}}
    headers = {**house.agent, KEY: "with headers"}
    first = await client.post("/api/v1/tickets", json=body, headers=headers)
    again = await client.post("/api/v1/tickets", json=body, headers=headers)
    assert again.headers["idempotency-replayed"] == "true"
    assert first.headers["location"] == f"/api/v1/tickets/{first.json()['number']}"
    for name in ("location", "etag"):
        assert again.headers[name] == first.headers[name]


# Those without a tenant's transaction in their parameters.
LOOK_THEMSELVES = {
    "/api/v1/auth/password-reset",
    "/api/v1/tickets/{number}/drafts",
    "/api/v1/tickets/{number}/summaries",
}
TAKE_NONE = {"/api/v1/auth/login", "/api/v1/auth/refresh"}


def test_every_post_obeys_a_key_or_says_that_it_takes_none(app: FastAPI) -> None:
    free, takers = set(), set()
    document = app.openapi()["paths"]
    for context in iter_route_contexts(app.routes):
        route, path = context.original_route, str(context.path)
        if not isinstance(route, Route) or "POST" not in (context.methods or ()):
            continue
        asked = inspect.signature(inspect.unwrap(route.endpoint), eval_str=True).parameters
        kinds = {getattr(p.annotation, "__origin__", p.annotation) for p in asked.values()}
        if Work not in kinds:
            free.add(path)
        offered = {p["name"] for p in document[path]["post"].get("parameters", [])}
        assert (KEY in offered) == route.takes_key, path
        if route.takes_key:
            takers.add(path)
        else:
            assert KEY in document[path]["post"]["description"]
    assert free == LOOK_THEMSELVES | TAKE_NONE
    assert takers.isdisjoint(TAKE_NONE)


def new_tenant() -> dict[str, str]:
    return {
        "slug": f"n-{uuid.uuid4().hex[:12]}",
        "name": "New",
        "email": "ada@example.org",
        "password": "correct horse battery staple",
    }


@pytest.fixture
async def stranger(other_app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(other_app, client=(str(uuid.uuid4()), 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


async def test_a_tenant_is_made_once_under_a_key(stranger: httpx.AsyncClient) -> None:
    body, key = new_tenant(), {KEY: "my first desk"}
    first, second = await asyncio.gather(
        *(stranger.post("/api/v1/tenants", json=body, headers=key) for _ in range(2))
    )
    assert (first.status_code, second.status_code) == (201, 201), second.text
    assert first.content == second.content
    other = await stranger.post("/api/v1/tenants", json=new_tenant(), headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    secret = body | {"password": "another horse battery staple"}
    told_apart = await stranger.post("/api/v1/tenants", json=secret, headers=key)
    assert (told_apart.status_code, told_apart.json()["code"]) == (422, "idempotency_key_reused")
    free = await stranger.post("/api/v1/tenants", json=body, headers={KEY: "another"})
    assert (free.status_code, free.json()["code"]) == (409, "slug_taken")


async def test_two_strangers_who_choose_the_same_key_get_a_tenant_each(
    stranger: httpx.AsyncClient, client: httpx.AsyncClient
) -> None:
    key = {KEY: "the same"}
    one = await stranger.post("/api/v1/tenants", json=new_tenant(), headers=key)
    two = await client.post("/api/v1/tenants", json=new_tenant(), headers=key)
    assert (one.status_code, two.status_code) == (201, 201)
    assert one.json()["tenant_id"] != two.json()["tenant_id"]


async def test_a_password_is_changed_once_under_a_key(stranger: httpx.AsyncClient) -> None:
    body = new_tenant()
    await stranger.post("/api/v1/tenants", json=body)
    signed = await stranger.post(
        "/api/v1/auth/login",
        json={"email": body["email"], "password": body["password"], "tenant": body["slug"]},
        headers={KEY: "takes none"},
    )
    headers = {"Authorization": f"Bearer {signed.json()['access_token']}", KEY: "change"}
    change = {"current_password": body["password"], "new_password": "quite another one"}
    for _ in range(2):  # by then the first password is wrong
        answer = await stranger.post("/api/v1/auth/password", json=change, headers=headers)
        assert answer.status_code == 204, answer.text
    assert answer.headers["idempotency-replayed"] == "true"
    other = change | {"new_password": "and yet another one"}
    reused = await stranger.post("/api/v1/auth/password", json=other, headers=headers)
    assert (reused.status_code, reused.json()["code"]) == (422, "idempotency_key_reused")


async def test_a_link_sets_a_password_once_under_a_key(
    stranger: httpx.AsyncClient, house: House
) -> None:
    invited = {"email": "new@example.org", "name": "New"}
    made = await stranger.post("/api/v1/users", json=invited, headers=house.admin)
    body = {"link": made.json()["link"], "password": "correct horse battery staple"}
    for key in ("set", "set"):
        answer = await stranger.post("/api/v1/auth/password-link", json=body, headers={KEY: key})
        assert answer.status_code == 204, answer.text
    spent = await stranger.post("/api/v1/auth/password-link", json=body, headers={KEY: "other"})
    assert (spent.status_code, spent.json()["code"]) == (422, "link_spent")


async def test_a_link_is_mailed_once_under_a_key(
    stranger: httpx.AsyncClient, house: House, database: Database
) -> None:
    email = f"{Role.AGENT.value}@{house.slug}.test.example"
    for key in ("forgot", "forgot", None, None):
        headers = {KEY: key} if key else {}
        answer = await stranger.post(
            "/api/v1/auth/password-reset", json={"email": email}, headers=headers
        )
        assert answer.status_code == 202
    async with database.transaction(house.tenant_id) as work:
        rows = await work.rows(
            "select (select count(*) from password_links where tenant_id = :t) as links,"
            " (select count(*) from outbox where tenant_id = :t and kind = 'link') as mails",
            {"t": house.tenant_id},
        )
    assert rows == [{"links": 3, "mails": 3}]
    empty = await stranger.post(
        "/api/v1/auth/password-reset", json={"email": email}, headers={KEY: ""}
    )
    assert empty.status_code == 422
