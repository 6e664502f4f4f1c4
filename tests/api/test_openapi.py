"""The OpenAPI document: complete for people, and true for programs.

The first half reads the document. The second half sends what the document allows, chosen by
Schemathesis, and holds each answer against what the document says of it.
"""

import contextlib
import dataclasses
import json
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, get_args

import anyio.from_thread
import httpx
import jsonschema_rs
import pytest
import requests
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as examples
from hypothesis.errors import Unsatisfiable
from pydantic import BaseModel, TypeAdapter, ValidationError

from api.app import create_app, opened
from api.document import HEADERS, JSON
from api.problems import MEDIA_TYPE
from api.resources import Resources
from api.routing import Route
from api.samples import sample_of
from api.shapes import Problem
from models.session import Database
from services.auth import Auth
from services.links import Links
from settings import Settings
from tests.api.conftest import House, MakeHouse, make_ticket
from tests.api.test_isolation import ANYBODY, PUBLIC, sampled

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal
    from schemathesis import Case
    from schemathesis.schemas import BaseSchema

pytestmark = pytest.mark.slow  # all of every operation's document

Said = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One method of one path, as the document has it."""

    method: str
    path: str
    said: Said = field(repr=False, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        return (self.method.upper(), self.path)

    @property
    def body(self) -> Said | None:
        """The schema of its JSON body, if it takes one."""
        content = self.said.get("requestBody", {}).get("content", {})
        schema: Said | None = content.get("application/json", {}).get("schema")
        return schema

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


# Only the document is read here; no server is asked.
_BARE = create_app(
    Settings.model_construct(redis_url=None, log_level="INFO", log_format="json"),
    Resources.__new__(Resources),
)
DOCUMENT: Said = json.loads(json.dumps(_BARE.openapi()))
OPERATIONS = [
    Operation(method, path, said)
    for path, methods in DOCUMENT["paths"].items()
    for method, said in methods.items()
]
each_operation = pytest.mark.parametrize("operation", OPERATIONS, ids=str)


# What people read.


def test_every_route_is_in_the_document() -> None:
    routed = {
        (method, str(context.path))
        for context in iter_route_contexts(_BARE.routes)
        if isinstance(context.original_route, Route)
        for method in context.methods or ()
    }
    assert {operation.key for operation in OPERATIONS} - routed == {
        ("GET", "/livez"),
        ("GET", "/readyz"),
    }
    assert routed <= {operation.key for operation in OPERATIONS}


def test_operation_ids_are_unique() -> None:
    ids = Counter(operation.said.get("operationId") for operation in OPERATIONS)
    assert [name for name, count in ids.items() if count > 1 or not name] == []


def test_operation_ids_are_names_that_stay() -> None:
    """Programs are generated from them: no path and no method, which may move."""
    for operation in OPERATIONS:
        name = operation.said["operationId"]
        assert re.fullmatch(r"[a-z]+(_[a-z]+){0,3}", name), name
        assert name.startswith("public_") == operation.path.startswith("/public/"), name


def answers() -> list[tuple[str, Said]]:
    """Every JSON that is answered when all goes well."""
    return [
        (f"{operation} {status}", said["content"][JSON])
        for operation in OPERATIONS
        for status, said in operation.said["responses"].items()
        if status < "300" and JSON in said.get("content", {})
    ]


@pytest.mark.parametrize("content", [pytest.param(said, id=name) for name, said in answers()])
def test_every_answer_has_an_example_that_its_schema_allows(content: Said) -> None:
    assert "example" in content, sample_of(
        content["schema"], DOCUMENT["components"]["schemas"], place=""
    )
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    faults = jsonschema_rs.validator_for(schema, validate_formats=True).iter_errors(
        content["example"]
    )
    assert [fault.message for fault in faults] == []


def test_every_header_that_is_documented_is_described() -> None:
    for operation in OPERATIONS:
        for answer in operation.said["responses"].values():
            for name, said in answer.get("headers", {}).items():
                assert said == {"$ref": f"#/components/headers/{name}"}
                assert name in DOCUMENT["components"]["headers"]


TOLD = frozenset(name.lower() for name in HEADERS)


def refuse_undocumented(answer: httpx.Response, operation: Operation) -> None:
    """Each header that tells something is in the document, and what is promised is sent."""
    said = operation.said["responses"][str(answer.status_code)].get("headers", {})
    documented = {name.lower() for name in said}
    sent = TOLD & set(answer.headers)
    assert sent <= documented, f"{operation}: {sent - documented}"
    assert documented & {"etag", "location"} <= sent, f"{operation}: {documented - sent}"


@pytest.mark.parametrize("again", [False, True], ids=["first", "repeated"])
async def test_headers_are_sent_as_documented(
    client: httpx.AsyncClient, house: House, again: bool
) -> None:
    known = {operation.key: operation for operation in OPERATIONS}
    body = {"subject": "Hi", "text": "Hi", "requester": {"email": "mia@example.org"}}
    headers = {**house.agent, "Idempotency-Key": "once"}
    for _ in range(1 + again):
        made = await client.post("/api/v1/tickets", json=body, headers=headers)
    assert made.status_code == 201
    assert ("Idempotency-Replayed" in made.headers) == again
    refuse_undocumented(made, known["POST", "/api/v1/tickets"])
    shown = await client.get(made.headers["Location"], headers=house.agent)
    refuse_undocumented(shown, known["GET", "/api/v1/tickets/{number}"])
    changed = await client.patch(
        made.headers["Location"], json={"priority": "high"},
        headers={**house.agent, "If-Match": shown.headers["ETag"]},
    )  # fmt: skip
    refuse_undocumented(changed, known["PATCH", "/api/v1/tickets/{number}"])
    assert changed.headers["ETag"] != shown.headers["ETag"]


@each_operation
def test_every_operation_says_what_it_does_and_to_what_it_belongs(operation: Operation) -> None:
    summary, name = operation.said["summary"], operation.said["operationId"]
    assert not name.startswith(summary.lower().replace(" ", "_")), "FastAPI's guess, not a sentence"
    assert summary[0].isupper()
    assert len(summary) <= 60
    assert not summary.endswith(".")
    assert len(operation.said["tags"]) == 1


def named(schema: Said) -> Said:
    """What a schema or a reference to one says."""
    if "$ref" in schema:
        found: Said = DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    wanted = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return named(wanted[0]) if len(wanted) == 1 else schema


def bodies() -> dict[tuple[str, str], Any]:
    """The type of each operation's body."""
    found: dict[tuple[str, str], Any] = {}
    for context in iter_route_contexts(_BARE.routes):
        route = context.original_route
        body = getattr(route, "body_field", None)
        if isinstance(route, Route) and body is not None:
            for method in context.methods or ():
                found[method, str(context.path)] = body.field_info.annotation
    return found


BODIES = bodies()
# What reads each body.
MODELS: dict[tuple[str, str], TypeAdapter[object]] = {
    key: TypeAdapter(body) for key, body in BODIES.items()
}


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.body is not None], ids=str)
def test_every_body_has_examples_that_are_valid(operation: Operation) -> None:
    assert operation.body is not None
    shown = named(operation.body).get("examples", [])
    assert shown, "give the request model `model_config = examples({…})`"
    for example in shown:
        read = MODELS[operation.key].validate_json(json.dumps(example), strict=False)
        assert isinstance(read, BaseModel)
        assert set(example) == read.model_fields_set


def models_in(
    annotation: object, within: frozenset[object] = frozenset()
) -> Iterator[type[BaseModel]]:
    """The models a type is made of, each with those inside it; one inside itself once."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in within:
            return
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation, within | {annotation})
    for part in get_args(annotation):
        yield from models_in(part, within)


def times_in_bodies() -> dict[str, TypeAdapter[object]]:
    """What reads each time in each body."""
    found: dict[str, TypeAdapter[object]] = {}
    for body in BODIES.values():
        for model in models_in(body):
            for name, one in model.model_fields.items():
                kind: Any = Annotated[(one.annotation, *one.metadata, None)]
                reads = TypeAdapter[object](kind)
                if '"date-time"' in json.dumps(reads.json_schema()) and not any(
                    models_in(one.annotation)
                ):
                    found[f"{model.__name__}.{name}"] = reads
    return found


TIMES = times_in_bodies()


@pytest.mark.parametrize("written", ["1777888320", "1777888320.5", '"1777888320"', "true",
                                   '"2026-05-04T10:12:00"', '"2026-05-04"'])  # fmt: skip
@pytest.mark.parametrize("place", sorted(TIMES))
def test_a_time_in_a_body_is_written_out_with_its_offset(place: str, written: str) -> None:
    with pytest.raises(ValidationError):
        TIMES[place].validate_json(written)
    TIMES[place].validate_json('"2026-05-04T10:12:00+02:00"')


def test_the_times_in_bodies_were_found() -> None:
    assert len(TIMES) > 8, sorted(TIMES)


def test_an_example_shows_no_placeholder() -> None:
    for operation in OPERATIONS:
        if operation.body is not None:
            shown = json.dumps(named(operation.body)["examples"])
            for poor in ("string", "foo", "bar", "lorem", "test", "xxx"):
                assert f'"{poor}' not in shown.lower(), f"{operation}: {poor}"


@each_operation
def test_every_error_is_documented_as_a_problem(operation: Operation) -> None:
    answers, key = operation.said["responses"], operation.key
    problems = {int(status) for status in answers if status >= "400"}
    if key in {("GET", "/livez"), ("GET", "/readyz")}:
        return  # for machines that look at the status; /readyz answers 503 in its own shape
    wanted = {422, 429, 503}
    if key not in PUBLIC:
        wanted.add(401)
    if key not in PUBLIC and key not in ANYBODY:
        wanted.add(403)
    if "{" in operation.path:
        wanted.add(404)
    if operation.method != "get":
        wanted |= {400, 409}
    if operation.body is not None:
        wanted.add(413)
    assert wanted <= problems
    for status in problems:
        assert list(answers[str(status)]["content"]) == [MEDIA_TYPE]
        schema = answers[str(status)]["content"][MEDIA_TYPE]["schema"]
        assert schema == {"$ref": "#/components/schemas/Problem"}


def test_the_problem_of_the_document_is_the_one_that_is_sent() -> None:
    assert set(DOCUMENT["components"]["schemas"]["Problem"]["properties"]) == set(
        Problem.model_fields
    )


@each_operation
def test_who_may_is_documented(operation: Operation) -> None:
    assert ("security" in operation.said) == (operation.key not in PUBLIC)


# What programs get.

TRIES = 8
WRONG_TRIES = 6
# What is taken away at the end, the others need.
IN_ORDER = sorted(OPERATIONS, key=lambda operation: operation.method == "delete")
each_in_order = pytest.mark.parametrize("operation", IN_ORDER, ids=str)


@dataclass
class Door:
    """The application on an event loop of its own, and somebody who may do everything."""

    portal: "BlockingPortal"
    app: FastAPI
    house: House
    known: dict[str, str]

    def send(self, case: "Case[Any]", operation: Operation) -> httpx.Response:
        answer: httpx.Response = self.portal.call(self._send, case, operation)
        return answer

    async def _send(self, case: "Case[Any]", operation: Operation) -> httpx.Response:
        headers = {name: str(value) for name, value in (case.headers or {}).items()}
        if operation.path == "/public/v1/tickets":
            headers |= self.house.intake
        elif operation.key not in PUBLIC:
            headers |= self.house.admin
        asked = requests.Request(
            **case.as_transport_kwargs(base_url="http://test", headers=headers)
        )
        sent = asked.prepare()
        # An address of its own for each: what is tried is not how often one may try.
        transport = httpx.ASGITransport(self.app, client=(str(uuid.uuid4()), 1))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(
                sent.method or "GET",
                sent.url or "",
                headers={name: str(value) for name, value in sent.headers.items()},
                content=sent.body.encode() if isinstance(sent.body, str) else sent.body,  # type: ignore[arg-type]
                timeout=20,
            )

    def parameters(self, operation: Operation) -> dict[str, str]:
        """Where the path leads to something that exists."""
        named = [p["name"] for p in operation.said.get("parameters", []) if p["in"] == "path"]
        noun = [*operation.path.split("/"), "", ""][3]
        return {name: self.known.get(f"{noun}.{name}") or self.known[name] for name in named}

    def known_instead(self, body: Any) -> Any:
        """An example's body with what exists here in the place of what exists in examples."""
        if isinstance(body, dict):
            return {
                name: self.known[IDS[name]]
                if name in IDS and isinstance(value, str)
                else int(self.known["other"])
                if name in ("into", "other")
                else self.known_instead(value)
                for name, value in body.items()
            }
        return body


# Ids in the bodies of examples, and the sample that takes their place.
IDS = {
    "team_id": "team_id",
    "assignee_id": "user_id",
    "user_id": "user_id",
    "calendar_id": "calendar_id",
    "organization_id": "organization_id",
    "section_id": "section_id",
    "translation_of": "article_id",
    "source_id": "article_id",
    "policy_id": "policy_id",
    "webhook_id": "webhook_id",
}


@pytest.fixture(scope="module")
async def prepared(
    make_house: MakeHouse, database: Database, resources: Resources, app: FastAPI
) -> dict[str, Any]:
    house = await make_house()
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        samples = await sampled(client, database, resources, house, "openapi")
    ticket = await make_ticket(database, resources.tickets, house)
    return {"house": house, "known": samples.known, "ticket": ticket}


@pytest.fixture(scope="module")
def door(settings: Settings, prepared: dict[str, Any]) -> Iterator[Door]:
    """Schemathesis asks from threads without a loop, so the application gets one to itself."""

    @contextlib.asynccontextmanager
    async def serving() -> AsyncIterator[FastAPI]:
        async with opened(settings) as made:
            auth = Auth(
                made.database,
                secret=settings.secret_key.get_secret_value(),
                public_url=settings.public_url,
                cache_seconds=0,
            )
            yield create_app(settings, dataclasses.replace(made, auth=auth))

    house, ticket = prepared["house"], prepared["ticket"]
    link = Links(settings.secret_key.get_secret_value()).sign(
        house.tenant_id, ticket.id, now=ticket.created_at
    )
    known = {
        **prepared["known"], "tenant": house.slug, "link": link, "other": str(ticket.number),
    }  # fmt: skip
    with (
        anyio.from_thread.start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(serving()) as app,
    ):
        yield Door(portal, app, house, known)


@lru_cache(maxsize=1)
def schema() -> "BaseSchema":
    import schemathesis  # a second to load: only where it is used

    return schemathesis.openapi.from_dict(DOCUMENT)


def try_out(door: Door, operation: Operation, *, tries: int, wrong: bool = False) -> Counter[int]:
    """Sends what the document allows (or, `wrong`, what it does not); how often which status.

    Every answer is held against the document.
    """
    from schemathesis import GenerationMode
    from schemathesis.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    described = schema()[operation.path][operation.method.upper()]
    statuses: Counter[int] = Counter()

    def one(case: "Case[Any]") -> None:
        answer = door.send(case, operation)
        statuses[answer.status_code] += 1
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        case.validate_response(
            answer,
            checks=[
                status_code_conformance,
                content_type_conformance,
                response_headers_conformance,
                response_schema_conformance,
            ],
        )
        if answer.status_code < 300:
            refuse_undocumented(answer, operation)
        if answer.status_code >= 400:
            assert answer.headers["content-type"] == MEDIA_TYPE
            Problem.model_validate(answer.json())

    bounded = examples(
        max_examples=tries,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    parameters = door.parameters(operation)
    if wrong:
        found = described.as_strategy(GenerationMode.NEGATIVE)
        with contextlib.suppress(Unsatisfiable):  # nothing can be said wrong to some
            bounded(given(found)(one))()
        return statuses
    found = described.as_strategy(path_parameters=parameters)
    bounded(given(found)(one))()

    def shown(case: "Case[Any]") -> None:
        case.path_parameters = parameters
        case.body = door.known_instead(case.body)
        one(case)

    for strategy in described.get_strategies_from_examples():
        examples(bounded, max_examples=1)(given(strategy)(shown))()
    return statuses


@pytest.mark.slow
@each_in_order
def test_answers_are_as_the_document_says(operation: Operation, door: Door) -> None:
    try_out(door, operation, tries=TRIES)


@pytest.mark.slow
@each_in_order
def test_what_the_document_does_not_allow_is_refused_in_its_words(
    operation: Operation, door: Door
) -> None:
    try_out(door, operation, tries=WRONG_TRIES, wrong=True)
