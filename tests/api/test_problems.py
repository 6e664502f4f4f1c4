"""Every failure is a problem that says what a client can do, and nothing else."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator, MutableMapping

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from api.app import create_app, opened
from api.deps import Caller, Tx
from api.limits import CLASSES
from api.middleware import MAX_BODY_BYTES
from api.resources import Resources
from api.routing import Route
from domain.errors import Conflict, Invalid, TooMany, Unavailable
from domain.permissions import Role
from settings import Settings
from tests.api.conftest import House


@pytest.fixture(scope="module")
def broken(settings: Settings, resources: Resources) -> FastAPI:
    """The application with routes that fail in every way."""
    app = create_app(settings, resources)
    router = APIRouter(prefix="/api/v1/broken", route_class=Route)

    @router.get("/bug")
    async def bug(caller: Caller) -> None:
        raise RuntimeError("the password is swordfish")

    @router.get("/refusal/{kind}")
    async def refusal(kind: str, caller: Caller) -> None:
        raise {
            "conflict": Conflict("Not now."),
            "invalid": Invalid("No.", fields={"/subject": "is rude"}),
            "often": TooMany("Slowly.", retry_after=7),
            "down": Unavailable("Away."),
        }[kind]

    @router.post("/sql/{kind}")
    async def sql(kind: str, caller: Caller, work: Tx) -> None:
        tenant, user = {"t": work.tenant_id}, {"t": work.tenant_id, "u": caller.id}
        if kind == "unique":
            await work.batch(
                (
                    "insert into team_members (tenant_id, team_id, user_id)"
                    " select tenant_id, team_id, user_id from team_members where tenant_id = %s",
                    (work.tenant_id,),
                )
            )
        elif kind == "foreign":
            await work.execute(
                "insert into team_members (tenant_id, team_id, user_id)"
                " values (:t, gen_random_uuid(), :u)",
                user,
            )
        elif kind == "check":
            await work.execute("update users set role = 'king' where tenant_id = :t", tenant)
        elif kind == "number":
            await work.execute("select cast(:n as int) + 2147483647", {"n": 1})
        elif kind == "nul":
            await work.rows("select :x as x", {"x": "a\0b"})
        elif kind == "busy":
            await work.execute("set local lock_timeout = '50ms'")
            await work.execute("select 1 from tenants where id = :t for update", tenant)

    app.include_router(router)
    return app


@pytest.fixture
async def client(broken: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(broken, client=(str(uuid.uuid4()), 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("refusal/conflict", 409, "conflict"),
        ("refusal/invalid", 422, "invalid"),
        ("refusal/often", 429, "too_many_requests"),
        ("refusal/down", 503, "unavailable"),
        ("sql/unique", 409, "already_exists"),
        ("sql/foreign", 422, "unknown_reference"),
        ("sql/check", 422, "invalid"),
        ("sql/number", 422, "invalid"),
        ("sql/nul", 422, "invalid"),
        ("bug", 500, "internal"),
    ],
)
async def test_every_failure_is_a_problem_of_its_family(
    client: httpx.AsyncClient, house: House, path: str, status: int, code: str
) -> None:
    method = "POST" if path.startswith("sql") else "GET"
    answer = await client.request(method, f"/api/v1/broken/{path}", headers=house.admin)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["instance"] == f"/api/v1/broken/{path}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert "swordfish" not in answer.text
    assert "psycopg" not in answer.text
    if status in (429, 503):
        assert answer.headers["retry-after"] == {429: "7", 503: "2"}[status]


async def test_a_lock_that_somebody_holds_is_a_conflict_to_try_again(
    client: httpx.AsyncClient, house: House, resources: Resources
) -> None:
    async with resources.database.transaction(house.tenant_id) as work:
        await work.execute("select 1 from tenants where id = :t for update", {"t": house.tenant_id})
        answer = await client.post("/api/v1/broken/sql/busy", headers=house.admin)
    assert (answer.status_code, answer.json()["code"]) == (409, "busy")
    assert answer.headers["retry-after"] == "1"


async def test_what_is_wrong_with_a_body_is_said_by_json_pointers(
    client: httpx.AsyncClient, house: House
) -> None:
    answer = await client.post(
        "/api/v1/users", json={"email": "nobody", "role": "king", "cake": 1}, headers=house.admin
    )
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (422, "invalid")
    assert {e["pointer"] for e in problem["errors"]} == {"/email", "/name", "/role", "/cake"}
    listed = await client.get("/api/v1/users?limit=0", headers=house.admin)
    assert [e["pointer"] for e in listed.json()["errors"]] == ["query/limit"]
    path = await client.get("/api/v1/users/not-an-id", headers=house.admin)
    assert [e["pointer"] for e in path.json()["errors"]] == ["path/user_id"]
    cursor = await client.get("/api/v1/users?cursor=nonsense", headers=house.admin)
    assert [e["pointer"] for e in cursor.json()["errors"]] == ["query/cursor"]


@pytest.mark.parametrize(
    ("part", "value", "pointers"),
    [
        ("conditions", {"field": "weather", "op": "is", "value": 1}, {"/conditions/field"}),
        ("conditions", {"op": "is", "value": 1}, {"/conditions"}),
        (
            "conditions",
            {"all": [{"any": [{"field": "tags", "op": "haz", "value": "x"}]}]},
            {"/conditions/all/0/any/0/op"},
        ),
        ("targets", {"weather": {"normal": "PT1H"}}, {"/targets/weather"}),
        ("targets", {"first_reply": {"normal": "soon"}}, {"/targets/first_reply/normal"}),
        (
            "targets",
            {"first_reply": {"normal": {"business_days": 0}}},
            {"/targets/first_reply/normal", "/targets/first_reply/normal/business_days"},
        ),
        (
            "steps",
            [{"id": "a", "metric": "first_reply", "percent": 5,
              "action": {"kind": "notify", "to": ["cat"]}}],
            {"/steps/0/action/to/0", "/steps/0/action/to"},
        ),
        (
            "steps",
            [{"id": "a", "metric": "first_reply", "percent": 5,
              "action": {"kind": "start_workflow"}}],
            {"/steps/0/action/name"},
        ),
    ],
)  # fmt: skip
async def test_a_pointer_leads_to_a_place_in_the_body_whatever_shapes_were_tried(
    client: httpx.AsyncClient, house: House, part: str, value: object, pointers: set[str]
) -> None:
    body = {"name": "Gold", "calendar_id": str(uuid.uuid4()), "targets": {}, part: value}
    answer = await client.post("/api/v1/policies", json=body, headers=house.admin)
    problem = answer.json()
    assert answer.status_code == 422, answer.text
    assert {e["pointer"] for e in problem["errors"]} == pointers
    assert not any(e["detail"].startswith("Value error") for e in problem["errors"])


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b'{"name": ', 400, "malformed_json"),
        (b'{"name": "\xff"}', 400, "bad_request"),
        (b'{"name": "a\\u0000b"}', 422, "invalid"),
        (b'{"name": "a\\ud800b"}', 422, "invalid"),
        (b"[]", 422, "invalid"),
        (b"", 422, "invalid"),
    ],
)
async def test_a_body_that_cannot_be_read_or_stored_is_refused(
    client: httpx.AsyncClient, house: House, content: bytes, status: int, code: str
) -> None:
    headers = {**house.admin, "Content-Type": "application/json"}
    answer = await client.post("/api/v1/teams", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def test_a_character_that_cannot_be_stored_is_named_by_where_it_stands(
    client: httpx.AsyncClient, house: House
) -> None:
    body = rb'{"name": "fine", "a/b": ["fine", {"c": "bad\u0000"}], "d": "\ud800", "e\u0000": 1}'
    headers = {**house.admin, "Content-Type": "application/json"}
    answer = await client.post("/api/v1/teams", content=body, headers=headers)
    assert answer.status_code == 422, answer.text
    assert {one["pointer"] for one in answer.json()["errors"]} == {"/a~1b/1/c", "/d", ""}


async def test_a_backslash_before_u0000_is_a_text_like_any_other(
    client: httpx.AsyncClient, house: House
) -> None:
    answer = await client.post("/api/v1/teams", json={"name": "C:\\u0000"}, headers=house.admin)
    assert (answer.status_code, answer.json()["name"]) == (201, "C:\\u0000")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/api/v1/nowhere", 404, "not_found"),
        ("PATCH", "/api/v1/users", 405, "method_not_allowed"),
    ],
)
async def test_unknown_addresses_and_methods_are_problems_too(
    client: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_body_over_the_limit_is_refused_announced_or_not(
    client: httpx.AsyncClient, house: House
) -> None:
    headers = {**house.admin, "Content-Type": "application/json"}
    announced = await client.post(
        "/api/v1/teams",
        content=b"{}",
        headers={**headers, "Content-Length": str(MAX_BODY_BYTES + 1)},
    )
    assert (announced.status_code, announced.json()["code"]) == (413, "too_large")

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(MAX_BODY_BYTES // 1_000_000 + 2):
            yield b" " * 1_000_000

    streamed = await client.post("/api/v1/teams", content=endless(), headers=headers)
    assert (streamed.status_code, streamed.json()["code"]) == (413, "too_large")


async def test_every_answer_has_a_request_id_and_safe_headers(client: httpx.AsyncClient) -> None:
    answer = await client.get(
        "/livez", headers={"X-Request-ID": "my-request-1", "X-Correlation-ID": "my-errand-1"}
    )
    assert answer.headers["x-request-id"] == "my-request-1"
    assert answer.headers["x-correlation-id"] == "my-errand-1"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    insane = await client.get("/livez", headers={"X-Request-ID": "a b\tc"})
    assert insane.headers["x-request-id"] != "a b\tc"
    docs = await client.get("/docs")
    assert "script-src" in docs.headers["content-security-policy"]


async def test_readiness_names_what_is_down_and_counts_only_postgres(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/readyz")
    said = answer.json()
    assert answer.status_code == 200
    assert said["ready"] is True
    assert said["degraded"] == ["temporal"]
    assert said["dependencies"]["postgres"]["state"] == "up"
    assert said["dependencies"]["redis"]["state"] == "off"


async def test_without_postgres_nothing_is_accepted_and_everybody_is_told(
    settings: Settings,
) -> None:
    down = settings.model_copy(
        update={"database_url": type(settings.database_url)("postgresql://x:y@127.0.0.1:9/none")}
    )
    async with opened(down) as resources:
        app = create_app(down, resources)
        transport = httpx.ASGITransport(app)
        client = httpx.AsyncClient(transport=transport, base_url="http://test")
        ready = await client.get("/readyz")
        asked = await client.get("/api/v1/users", headers={"Authorization": "Bearer hf_x"})
        await client.aclose()
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert (asked.status_code, asked.json()["code"]) == (503, "unavailable")
    assert asked.headers["retry-after"] == "2"


async def test_requests_are_measured_by_the_templates_of_their_routes(
    client: httpx.AsyncClient, house: House
) -> None:
    await client.get(f"/api/v1/users/{house.users[Role.ADMIN]}", headers=house.admin)
    text = (await client.get("/metrics")).text
    assert 'route="/api/v1/users/{user_id}"' in text
    assert str(house.users[Role.ADMIN]) not in text


async def test_a_limited_caller_is_told_where_they_stand_and_an_unlimited_one_is_not_counted(
    client: httpx.AsyncClient, house: House
) -> None:
    public = await client.post("/api/v1/auth/refresh", json={"refresh_token": "hfr_none"})
    assert public.headers["ratelimit-limit"] == str(CLASSES["public"])
    assert public.headers["ratelimit-remaining"] == str((CLASSES["public"] or 0) - 1)
    assert 1 <= int(public.headers["ratelimit-reset"]) <= 60
    intake = await client.get("/api/v1/auth/me", headers=house.intake)
    assert intake.headers["ratelimit-limit"] == str(CLASSES["standard"])
    unlimited = await client.get("/api/v1/auth/me", headers=house.admin)
    assert "ratelimit-limit" not in unlimited.headers


async def test_guessing_at_tokens_is_counted(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(
            client.get("/api/v1/users", headers={"Authorization": f"Bearer hf_{n}"})
            for n in range((CLASSES["public"] or 0) + 5)
        )
    )
    assert {a.status_code for a in answers} <= {401, 429}
    assert any(a.status_code == 429 for a in answers)


async def test_the_document_shows_problems_credentials_and_keys(client: httpx.AsyncClient) -> None:
    document = json.loads((await client.get("/openapi.json")).content)
    operation = document["paths"]["/api/v1/users"]["post"]
    assert operation["security"] == [{"bearer": []}]
    assert operation["x-permission"] == ["people.manage"]
    assert {"400", "401", "403", "409", "422", "429", "503"} <= operation["responses"].keys()
    content = operation["responses"]["409"]["content"]
    assert content["application/problem+json"]["schema"]["$ref"].endswith("/Problem")
    assert document["components"]["schemas"]["Problem"]["examples"]
    assert any(p["name"] == "Idempotency-Key" for p in operation["parameters"])


async def test_guessing_at_one_account_is_counted_from_wherever_it_comes(app: FastAPI) -> None:
    guess = {"email": f"{uuid.uuid4().hex}@example.org", "password": "wrong wrong wrong"}
    answers = []
    for n in range((CLASSES["account"] or 0) + 1):
        transport = httpx.ASGITransport(app, client=(f"{uuid.uuid4()}", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as elsewhere:
            email = guess["email"].upper() if n % 2 else guess["email"]
            answers.append(
                await elsewhere.post("/api/v1/auth/login", json=guess | {"email": email})
            )
    assert {a.status_code for a in answers[:-1]} == {401}
    assert answers[-1].status_code == 429
    assert answers[-1].headers["ratelimit-limit"] == str(CLASSES["account"])
    assert answers[-1].headers["ratelimit-remaining"] == "0"


async def test_a_refusals_headers_speak_of_the_limit_that_was_hit(
    client: httpx.AsyncClient,
) -> None:
    guess = {"email": f"{uuid.uuid4().hex}@example.org", "password": "wrong wrong wrong"}
    limit = CLASSES["login"] or 0
    for left in range(limit - 1, -1, -1):
        answer = await client.post("/api/v1/auth/login", json=guess)
        assert answer.status_code == 401
        assert answer.headers["ratelimit-remaining"] == str(left)
    hit = await client.post("/api/v1/auth/login", json=guess)
    assert hit.status_code == 429
    assert hit.headers["ratelimit-limit"] == str(limit)
    assert hit.headers["ratelimit-remaining"] == "0"
    assert hit.headers["retry-after"] == hit.headers["ratelimit-reset"]


async def test_a_bug_is_logged_by_its_route_and_never_by_its_path(
    settings: Settings, resources: Resources, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(settings, resources)
    router = APIRouter(prefix="/api/v1/odd", route_class=Route)

    @router.get("/{link}")
    async def broken(link: str) -> None:
        raise RuntimeError("a bug")

    app.include_router(router)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/api/v1/odd/signed-secret")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    [record] = [r for r in caplog.records if r.getMessage() == "unexpected error"]
    assert record.__dict__["route"] == "/api/v1/odd/{link}"
    assert "signed-secret" not in str(record.__dict__)


@pytest.mark.parametrize("address", ["https://desk.example.org", "http://127.0.0.1:8080"])
async def test_https_is_insisted_upon_where_the_desk_is_reached_by_it(
    settings: Settings, resources: Resources, address: str
) -> None:
    app = create_app(settings.model_copy(update={"public_url": address}), resources)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/livez")
    https = address.startswith("https")
    assert answer.headers.get("strict-transport-security") == (
        "max-age=31536000" if https else None
    )


async def test_a_parameter_that_is_not_known_is_refused_and_those_known_are_named(
    client: httpx.AsyncClient, house: House
) -> None:
    for path in (
        "users", "teams", "customers", "organizations", "audit", "tokens", "notifications",
        "statuses", "fields", "calendars", "policies", "auth/sessions",
    ):  # fmt: skip
        answer = await client.get(f"/api/v1/{path}?limi=5&actve=true", headers=house.admin)
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid"), path
        assert [e["pointer"] for e in answer.json()["errors"]] == ["query/actve", "query/limi"]
    answer = await client.get("/api/v1/users?limi=5", headers=house.admin)
    assert "active, cursor, limit, q" in answer.json()["detail"]
    nobody = await client.get("/api/v1/users?limi=5")
    assert nobody.status_code == 401


async def test_who_hangs_up_while_sending_is_no_mistake_of_ours(
    app: FastAPI, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    authorization = house.admin["Authorization"].encode()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": "/api/v1/teams", "raw_path": b"/api/v1/teams",
        "root_path": "", "query_string": b"", "client": (str(uuid.uuid4()), 1),
        "headers": [
            (b"host", b"test"), (b"authorization", authorization),
            (b"content-type", b"application/json"), (b"content-length", b"40"),
        ],
    }  # fmt: skip
    said: list[object] = []
    heard: Iterator[MutableMapping[str, object]] = iter(
        [
            {"type": "http.request", "body": b'{"name": "Nig', "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> MutableMapping[str, object]:
        return next(heard)

    async def send(message: MutableMapping[str, object]) -> None:
        said.append(message)

    await app(scope, receive, send)
    assert said == []
    assert "unexpected error" not in caplog.text


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_load_balancers_may_ask_for_the_head_only(
    client: httpx.AsyncClient, path: str
) -> None:
    assert (await client.head(path)).status_code == 200
