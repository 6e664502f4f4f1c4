"""Every body field that names something: another tenant's is like one that never was.

The fields are found in the schemas of all bodies. A new field that takes an id is tried without a
word here, unless its name is new: then say in `NAMES` what it names. Fields without a schema of
their own are in `BESIDE`. The second half tries every route with tokens of every scope.
"""

import copy
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from api.resources import Resources
from domain.permissions import Permission, Role
from models.base import Base
from models.session import Database
from services.tokens import create_token
from tests.api.conftest import MakeHouse
from tests.api.test_isolation import GATED, PUBLIC, Door, Samples, sampled
from tests.api.test_openapi import DOCUMENT, OPERATIONS, Operation, Said

pytestmark = pytest.mark.slow  # every field of every body

# What a field names, by its own name: one of the samples of the matrix of paths.
NAMES = {
    "team_id": "team_id",
    "team": "team_id",
    "team_leads": "team_id",
    "default_team_id": "team_id",
    "topic_teams": "team_id",
    "assignee_id": "user_id",
    "assignee": "user_id",
    "user_id": "user_id",
    "replacement_id": "user_id",
    "to": "user_id",
    "users": "user_id",
    "calendar_id": "calendar_id",
    "calendar.id": "calendar_id",
    "ids": "policy_id",
    "organization_id": "organization_id",
    "organization": "organization_id",
    "organizations": "organization_id",
    "requester": "customer_id",
    "requester.id": "customer_id",
    "attachments": "attachment_id",
    "section_id": "section_id",
    "translation_of": "article_id",
    "source_id": "article_id",
    "policy_id": "policy_id",
    "policies": "policy_id",
    "policy.id": "policy_id",
    "policies.id": "policy_id",
    "calendars.id": "calendar_id",
    "without": "user_id",
    "subject_id": "customer_id",
    "webhook_id": "webhook_id",
    "model_id": "model_id",
    "teams": "team_id",
    "user_ids": "user_id",
    "message_ids": "message_id",
    "into": "number",
    "other": "number",
    "status": "statuses.key",
    "keys": "statuses.key",
    "transitions": "statuses.key",
    "required_fields": "fields.key",
}
# Of these, a word with that meaning is no id, but names a row all the same.
BY_WORD = {"into", "other", "status", "keys", "transitions", "required_fields"}
# Fields of bodies that are free in the document.
BESIDE = {
    ("PATCH", "/api/v1/tenant"): [("settings", "default_team_id"), ("settings", "topic_teams")],
}
# Named, but by what no table holds: there is nothing of another tenant's to link.
TABLELESS: dict[str, str] = {}
# What is asked of nobody's tenant, or is no link to a row.
EXEMPT = {
    ("POST", "/api/v1/bulk", "filter.status.0"): "a filter compares words",
}
STEP = {"id": "warn", "metric": "first_reply", "offset": "PT0S"}


@dataclass(frozen=True)
class Field:
    """One place of one body where something is named."""

    operation: Operation
    path: tuple[str, ...]

    @property
    def sample(self) -> str:
        """What it names, as the samples call it."""
        words = [part for part in self.path if part != "0"]
        name = NAMES.get(".".join(words[-2:])) or NAMES.get(words[-1])
        if name is None:
            pytest.fail(f"{self} takes an id. Say in NAMES what it names.")
        return name

    def __str__(self) -> str:
        return f"{self.operation} {'.'.join(self.path)}"


def _fields(schema: Said, path: tuple[str, ...], seen: frozenset[str]) -> Iterator[tuple[str, ...]]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in seen:
            yield from _fields(DOCUMENT["components"]["schemas"][name], path, seen | {name})
        return
    for kind in ("anyOf", "oneOf", "allOf"):
        for one in schema.get(kind, ()):
            yield from _fields(one, path, seen)
    words = [part for part in path if part != "0"]
    is_plain = schema.get("type") in ("string", "integer")
    if schema.get("format") == "uuid" or (is_plain and words and words[-1] in BY_WORD):
        yield path
    if "items" in schema:
        yield from _fields(schema["items"], (*path, "0"), seen)
    for name, said in schema.get("properties", {}).items():
        yield from _fields(said, (*path, name), seen)


def fields() -> list[Field]:
    found = []
    for operation in OPERATIONS:
        if operation.key in PUBLIC or operation.body is None:
            continue
        paths = [*_fields(operation.body, (), frozenset()), *BESIDE.get(operation.key, ())]
        found += [
            Field(operation, path)
            for path in dict.fromkeys(paths)
            if (*operation.key, ".".join(path)) not in EXEMPT and path[-1] not in TABLELESS
        ]
    return found


FIELDS = fields()


def body_with(field: Field, value: str, known: dict[str, str]) -> dict[str, Any]:
    """An example of the document, all its ids ours, with `value` in the field's place."""
    operation = field.operation
    assert operation.body is not None
    name = operation.body["$ref"].rpartition("/")[2] if "$ref" in operation.body else None
    if name is None:  # may be left out: the model stands beside null
        name = operation.body["anyOf"][0]["$ref"].rpartition("/")[2]
    shown = DOCUMENT["components"]["schemas"][name]["examples"]
    body = copy.deepcopy(next((e for e in shown if field.path[0] in e), shown[0]))
    body = ours_instead(body, known)
    if field.path[0] == "filter":
        body.pop("numbers", None)
    _put(body, field.path, value)
    return body  # type: ignore[no-any-return]


def ours_instead(said: Any, known: dict[str, str], name: str = "") -> Any:
    """The same with our own ids in the place of those that stand in examples."""
    if isinstance(said, dict):
        return {key: ours_instead(value, known, key) for key, value in said.items()}
    if isinstance(said, list):
        return [ours_instead(value, known, name) for value in said if name != "attachments"]
    if isinstance(said, str) and name in NAMES and len(said) == 36 and said.count("-") == 4:
        return known[NAMES[name]]
    if name in ("into", "other"):
        return int(known["second"])
    return said


def _put(body: dict[str, Any], path: tuple[str, ...], value: str) -> None:
    given: Any = int(value) if path[-1] in ("into", "other") else value
    if path[0] == "policy":  # terms that nobody has stored
        return _put(body["policy"], path[1:], value)
    if path[:2] in (("new_policies", "0"), ("policies", "0")):
        return _put(body[path[0]][0], path[2:], value)
    if path[:2] == ("clocks", "0"):
        body["clocks"] = [{"metric": "group:line", "teams": [given]}]
        return None
    if path == ("settings", "topic_teams"):
        body["settings"] = {"topic_teams": {"network": given}}
        return None
    if path[:2] == ("steps", "0"):
        name = next(part for part in path[3:] if part != "0")
        kind = {"to": "notify", "webhook_id": "call_webhook"}.get(name, "reassign")
        made = {"kind": kind, name: [given] if name == "to" else given}
        body["steps"] = [{**STEP, "action": made}]
        if path[2] == "also":
            body["steps"] = [{**STEP, "action": {"kind": "add_tag", "tag": "late"}, "also": [made]}]
        return None
    if path == ("requester", "id"):  # instead of an address, not beside it
        body["requester"] = {"id": given}
        return None
    here: Any = body
    for part, following in zip(path, (*path[1:], ""), strict=True):
        if following == "":
            if part == "0":
                here[:] = [given]
            else:
                here[part] = given
        elif part != "0":
            here = here.setdefault(part, [] if following == "0" else {})
        else:
            here = here[0]
    return None


@dataclass
class Both:
    ours: Samples
    theirs: Samples


@pytest.fixture(scope="module")
async def both(
    app: FastAPI, database: Database, resources: Resources, make_house: MakeHouse
) -> Both:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        made = []
        for name in ("ours", "theirs"):
            samples = await sampled(client, database, resources, await make_house(), name)
            headers = samples.house.admin
            shown = await client.get(
                f"/api/v1/tickets/{samples.known['number']}/messages", headers=headers
            )
            samples.known["message_id"] = shown.json()["items"][0]["id"]
            body = {"subject": "Hi", "text": "Hi", "requester": {"email": "mia@example.org"}}
            second = await client.post("/api/v1/tickets", json=body, headers=headers)
            samples.known["second"] = str(second.json()["number"])
            made.append(samples)
        return Both(*made)


@pytest.mark.parametrize("field", FIELDS, ids=str)
async def test_what_a_body_names_of_another_tenant_is_like_what_never_was(
    client: httpx.AsyncClient, both: Both, field: Field
) -> None:
    operation, sample = field.operation, field.sample
    known = both.ours.known
    theirs = both.theirs.known[sample]
    nobodys = {"number": "888888"}.get(sample) or (
        "no_such_key" if sample.endswith(".key") else str(uuid.UUID(int=8))
    )
    if sample == "number" and int(theirs) <= int(known["second"]):
        pytest.fail("the number is ours too: nothing is tried")
    noun = [*operation.path.split("/"), "", ""][3]
    parameters = {
        name: known.get(f"{noun}.{name}") or known[name]
        for name in (p["name"] for p in operation.said.get("parameters", ()) if p["in"] == "path")
    }
    said = []
    for value in (theirs, nobodys):
        body = body_with(field, value, known)
        assert value in json.dumps(body), f"{field}: the id is not in what is sent"
        answer = await client.request(
            operation.method.upper(),
            operation.path.format(**parameters),
            json=body,
            headers={**both.ours.house.admin, "X-Request-ID": "the-same"},
        )
        assert 400 <= answer.status_code < 500, f"{field}: {answer.status_code} {answer.text}"
        assert answer.status_code not in (400, 401, 403, 405, 429), answer.text
        said.append((answer.status_code, answer.text.replace(value, "…")))
    assert said[0] == said[1], f"{field} tells another tenant's id from one that never was"
    # The body itself is sound: with our own, the refusal is another one or none.
    assert b"Field required" not in said[0][1].encode(), said[0][1]


def test_the_fields_that_name_something_were_found() -> None:
    found = {field.sample for field in FIELDS}
    assert found == set(NAMES.values())
    assert len(FIELDS) > 35


def test_what_no_table_holds_has_none_yet() -> None:
    assert not set(TABLELESS.values()) & set(Base.metadata.tables), "name its sample in NAMES"


# Scopes.


SCOPED = [d for d in GATED if d.permissions and Permission.INTAKE not in d.permissions]


@dataclass
class Keys:
    """Tokens of one admin: by permission, one that has it alone and one that has all others."""

    only: dict[frozenset[Permission], dict[str, str]]
    without: dict[frozenset[Permission], dict[str, str]]


@pytest.fixture(scope="module")
async def keys(both: Both, database: Database) -> Keys:
    made = Keys({}, {})
    house = both.ours.house
    async with database.transaction(house.tenant_id) as work:
        for needed in {door.permissions for door in SCOPED}:
            everything = {p for p in Permission if p is not Permission.INTAKE}
            for place, scopes in ((made.only, needed), (made.without, everything - needed)):
                token = await create_token(
                    work, kind="personal", name="scoped", user_id=house.users[Role.ADMIN],
                    scopes=frozenset(p.value for p in scopes), now=datetime.now(UTC),
                    rate_class="unlimited",
                )  # fmt: skip
                place[needed] = {"Authorization": f"Bearer {token.secret}"}
    return made


@pytest.mark.parametrize("door", SCOPED, ids=str)
async def test_a_token_opens_what_its_scopes_name_and_nothing_else(
    client: httpx.AsyncClient, both: Both, keys: Keys, door: Door
) -> None:
    """A body that cannot be read: past the gate it is refused as such, and nothing is done."""
    nowhere = both.ours.path(door, **{n: _nobodys(n) for n in door.parameters})
    shut = await client.request(
        door.method, nowhere, content=b"{",
        headers={**keys.without[door.permissions], "Content-Type": "application/json"},
    )  # fmt: skip
    assert (shut.status_code, shut.json()["code"]) == (403, "forbidden"), shut.text
    opened = await client.request(
        door.method, nowhere, content=b"{",
        headers={**keys.only[door.permissions], "Content-Type": "application/json"},
    )  # fmt: skip
    assert opened.status_code not in (401, 403), opened.text


@pytest.mark.parametrize("door", [d for d in SCOPED if d.method == "GET" and d.parameters], ids=str)
async def test_a_scoped_token_reaches_no_other_tenant(
    client: httpx.AsyncClient, both: Both, keys: Keys, door: Door
) -> None:
    for name in door.parameters:
        path = both.ours.path(door, **{name: both.theirs.of(door, name)})
        answer = await client.get(path, headers=keys.only[door.permissions])
        assert answer.status_code in (404, 422), answer.text


def _nobodys(name: str) -> str:
    if name == "key":
        return "no_such_key"
    return "888888" if name == "number" else str(uuid.UUID(int=8))
