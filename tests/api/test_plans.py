"""An endpoint's plan does what FastAPI would do, and leaves to FastAPI what it cannot."""

import re
from collections.abc import AsyncIterator
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, Header, Path, Query, Response, UploadFile
from fastapi import Request as Asking
from fastapi.routing import APIRoute
from starlette.routing import Match

from api.app import Signposts
from api.plans import Plan
from api.routing import Route, without_key
from api.shapes import Request, Shape

SEEN: list[str] = []


class Asked(Request):
    words: str


class Told(Shape):
    words: str
    number: int
    seen: int | None
    tags: list[str]


async def _once() -> str:
    SEEN.append("once")
    return "once"


async def _opened(first: Annotated[str, Depends(_once)]) -> AsyncIterator[str]:
    SEEN.append("opened")
    try:
        yield f"{first}, opened"
    except BaseException:
        SEEN.append("broken")
        raise
    SEEN.append("closed")


async def _header(if_match: Annotated[int | None, Header()] = None) -> int | None:
    return if_match


@without_key
async def everything(
    number: Annotated[int, Path(ge=1)],
    body: Asked,
    opened: Annotated[str, Depends(_opened, scope="function")],
    once: Annotated[str, Depends(_once)],
    seen: Annotated[int | None, Depends(_header)],
    response: Response,
    tag: Annotated[list[str] | None, Query()] = None,
) -> Told:
    assert (opened, once) == ("once, opened", "once")
    if body.words == "break":
        raise RuntimeError("broken off")
    response.headers["ETag"] = '"7"'
    return Told(words=body.words, number=number, seen=seen, tags=tag or [])


async def nothing(number: int) -> None:
    assert number


async def with_a_file(file: UploadFile) -> None:
    assert file


async def in_a_thread(number: Annotated[int, Depends(lambda: 1)]) -> None:
    assert number


def _route(endpoint: object, path: str = "/x/{number}", **options: object) -> APIRoute:
    return APIRoute(path, endpoint, **options)  # type: ignore[arg-type]


class _Planned(Route):
    """The route of every endpoint, without its gates."""

    async def _pass(self, request: Asking) -> None:
        request.state.standing = None


@pytest.fixture(params=["planned", "by FastAPI"])
def client(request: pytest.FixtureRequest) -> httpx.AsyncClient:
    app = FastAPI()
    kind: type[APIRoute] = _Planned if request.param == "planned" else APIRoute
    routes = [
        kind("/x/{number}", everything, methods=["POST"], status_code=201),
        kind("/n/{number}", nothing, methods=["DELETE"], status_code=204),
    ]
    assert all(route._plan is not None for route in routes if isinstance(route, Route))
    app.router.routes.extend(routes)
    SEEN.clear()
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


async def test_what_an_endpoint_asks_for_it_gets(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/x/3?tag=a&tag=b", json={"words": " hello "}, headers={"If-Match": "5"}
    )
    assert answer.status_code == 201
    assert answer.json() == {"words": "hello", "number": 3, "seen": 5, "tags": ["a", "b"]}
    assert answer.headers["etag"] == '"7"'
    assert SEEN == ["once", "opened", "closed"]  # what two ask for is called once


async def test_what_is_not_said_has_its_default(client: httpx.AsyncClient) -> None:
    answer = await client.post("/x/3", json={"words": "hello"})
    assert answer.json() == {"words": "hello", "number": 3, "seen": None, "tags": []}


async def test_an_answer_without_a_body_has_none(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/n/1")
    assert (answer.status_code, answer.content) == (204, b"")


async def test_what_was_opened_hears_of_what_went_wrong(client: httpx.AsyncClient) -> None:
    assert (await client.post("/x/3", json={"words": "break"})).status_code == 500
    assert SEEN == ["once", "opened", "broken"]


@pytest.mark.parametrize(
    ("path", "content", "kind", "where"),
    [
        ("/x/0", b'{"words": "hello"}', "application/json", ["path", "number"]),
        ("/x/abc", b'{"words": "hello"}', "application/json", ["path", "number"]),
        ("/x/3", b'{"word": "hello"}', "application/json", ["body", "words"]),
        ("/x/3", b'{"words": ', "application/json", ["body", 10]),
        ("/x/3", b"[]", "application/json", ["body"]),
        ("/x/3", b"", "application/json", ["body"]),
        ("/x/3", b'{"words": "hello"}', "text/plain", ["body"]),
        ("/x/3", b"\xff", "application/json", None),
    ],
)
async def test_what_is_wrong_with_a_request_fastapi_says(
    client: httpx.AsyncClient, path: str, content: bytes, kind: str, where: list[object] | None
) -> None:
    answer = await client.post(path, content=content, headers={"Content-Type": kind})
    if where is None:
        assert answer.status_code == 400
    else:
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == where


async def test_json_by_another_name_is_taken_as_well(client: httpx.AsyncClient) -> None:
    for kind in ("application/json; charset=utf-8", "application/merge-patch+json"):
        answer = await client.post(
            "/x/3", content=b'{"words": "hello"}', headers={"Content-Type": kind}
        )
        assert answer.status_code == 201, kind


@pytest.mark.parametrize("endpoint", [with_a_file, in_a_thread])
def test_files_and_threads_are_left_to_fastapi(endpoint: object) -> None:
    route = _route(endpoint, "/x", methods=["POST"])
    assert Plan.made(route.dependant, Route._answered) is None  # type: ignore[arg-type]


def test_nearly_every_endpoint_has_a_plan(app: FastAPI) -> None:
    routes = [route for route in app.router.routes if isinstance(route, Route)]
    without = [route.path for route in routes if route._plan is None]
    assert len(without) < len(routes) / 20, without


def test_signposts_lead_where_the_list_of_routes_leads(app: FastAPI) -> None:
    signposts = app.router.middleware_stack
    assert isinstance(signposts, Signposts)
    routes = [route for route in app.router.routes if isinstance(route, APIRoute)]
    for route in routes:
        path = re.sub(r"\{\w+\}", "7", route.path_format)
        for method in route.methods or ():
            scope = {"type": "http", "method": method, "path": path}
            listed = next(r for r in routes if r.matches(scope)[0] is Match.FULL)
            found = signposts.find(scope)
            assert found is not None, (method, path)
            assert found == (listed, listed.matches(scope)[1]["path_params"])
    nowhere = [
        ("GET", "/api/v1/nothing"), ("PUT", "/api/v1/tickets"), ("GET", "/api/GET"),
        ("GET", "/api/v1/tickets/"), ("GET", "api/v1/tickets"), ("GET", "//api/v1/tickets"),
    ]  # fmt: skip
    for method, path in nowhere:
        assert signposts.find({"type": "http", "method": method, "path": path}) is None
