"""A POST under a key happens once, whoever repeats it and however fast."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, FastAPI, File, Response, UploadFile

from api.app import create_app
from api.deps import Caller, EventKey, Tx
from api.resources import Resources
from api.routing import Route
from models.session import Database
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


async def test_a_secret_is_shown_once_and_not_kept_for_repetitions(
    client: httpx.AsyncClient, house: House, database: Database
) -> None:
    headers = {**house.admin, KEY: "secret"}
    made = await client.post("/api/v1/tokens", json={"name": "t"}, headers=headers)
    again = await client.post("/api/v1/tokens", json={"name": "t"}, headers=headers)
    assert made.status_code == 201
    assert (again.status_code, again.json()["code"]) == (409, "already_shown")
    async with database.transaction(house.tenant_id) as work:
        rows = await work.rows(
            "select body from idempotency_keys where tenant_id = :t", {"t": house.tenant_id}
        )
    assert [bytes(row["body"]) for row in rows] == [b""]


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
    from domain.permissions import Role

    named = await client.post("/api/v1/odd/key", headers={**house.admin, KEY: "k"})
    assert named.json() == {"key": f"{house.users[Role.ADMIN]}:k"}
    free = [await client.post("/api/v1/odd/key", headers=house.admin) for _ in range(2)]
    assert free[0].json() != free[1].json()
