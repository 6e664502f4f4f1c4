"""Every route, found by itself: nobody gets in, no wrong role, no other tenant.

A new route is tested without a word here, unless it has a path parameter of a new kind (add how
to make one to `Samples`), a body (add one that passes validation to `BODIES`), or is meant for
nobody in particular (say why in `PUBLIC`).
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import RouteContext, iter_route_contexts
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from api.app import create_app
from api.resources import Resources
from api.routing import Route
from domain.permissions import GRANTS, Permission, Role
from models.base import new_id
from models.session import Database
from services import statements
from settings import Settings
from tests.api.conftest import House, MakeHouse, make_ticket
from tests.conftest import Urls

PUBLIC = {
    ("GET", "/livez"): "the supervisor asks it",
    ("GET", "/readyz"): "the load balancer asks it",
    ("GET", "/metrics"): "Prometheus asks it; it holds no tenant's data",
    ("GET", "/set-password"): "a page that holds nothing; the link after its # is the credential",
    ("GET", "/portal/tickets/{link}"): "a page that holds nothing; it asks with the signed link",
    ("POST", "/api/v1/auth/login"): "this is how one becomes somebody",
    ("POST", "/api/v1/auth/refresh"): "the refresh token is the credential",
    ("POST", "/api/v1/auth/password-reset"): "who forgot a password cannot sign in",
    ("POST", "/api/v1/auth/password-link"): "the link is the credential",
    ("POST", "/api/v1/tenants"): "a new tenant has nobody yet; the operator may switch it off",
    ("POST", "/public/v1/{tenant}/tickets"): "the contact form",
    ("GET", "/public/v1/{tenant}/articles"): "what is published for customers",
    ("GET", "/public/v1/{tenant}/articles/{slug}"): "likewise",
    ("POST", "/public/v1/{tenant}/articles/{slug}/feedback"): "customers say whether it helped",
    ("GET", "/public/v1/tickets/{link}"): "the signed link is the credential",
    ("POST", "/public/v1/tickets/{link}/replies"): "the signed link is the credential",
    ("POST", "/public/v1/tickets/{link}/attachments"): "the signed link is the credential",
    ("GET", "/public/v1/tickets/{link}/attachments/{attachment_id}"): "likewise",
}
ANYBODY = {
    ("POST", "/api/v1/auth/logout"): "ends the caller's own session",
    ("GET", "/api/v1/auth/me"): "says who the caller is",
    ("GET", "/api/v1/auth/sessions"): "the caller's own",
    ("DELETE", "/api/v1/auth/sessions/{session_id}"): "the caller's own, or people.manage",
    ("POST", "/api/v1/auth/password"): "the caller's own",
}

SAYS: dict[str, object] = {"text": "words"}
CALENDAR = {"timezone": "UTC", "weekly": {"mon": [["09:00", "17:00"]]}}
# What passes validation, by method and path; {} where nothing is needed.
BODIES: dict[tuple[str, str], dict[str, object]] = {
    ("PATCH", "/api/v1/users/{user_id}"): {"name": "Other"},
    ("POST", "/api/v1/users/{user_id}/password-link"): {},
    ("PATCH", "/api/v1/teams/{team_id}"): {"name": "Other"},
    ("PUT", "/api/v1/users/{user_id}/availability"): {"state": "away"},
    ("PUT", "/api/v1/users/{user_id}/skills"): {"skills": {"language:fr": 1}},
    ("PUT", "/api/v1/users/{user_id}/capacity"): {"capacity": 3},
    ("PUT", "/api/v1/teams/{team_id}/members/{user_id}"): {},
    ("POST", "/api/v1/tickets/{number}/replies"): SAYS,
    ("POST", "/api/v1/tickets/{number}/notes"): SAYS,
    ("POST", "/api/v1/tickets/{number}/customer-messages"): SAYS,
    ("PATCH", "/api/v1/tickets/{number}"): {"subject": "Other"},
    ("POST", "/api/v1/tickets/{number}/assign"): {"assignee_id": None},
    ("POST", "/api/v1/tickets/{number}/escalate"): {"reason": "hurry"},
    ("POST", "/api/v1/tickets/{number}/snooze"): {"until": "2999-01-01T00:00:00Z"},
    ("POST", "/api/v1/tickets/{number}/reminder"): {"at": "2999-01-01T00:00:00Z"},
    ("POST", "/api/v1/tickets/{number}/links"): {"kind": "relates", "other": 1},
    ("POST", "/api/v1/tickets/{number}/merge"): {"into": 1},
    ("POST", "/api/v1/tickets/{number}/split"): {"message_ids": [str(uuid.UUID(int=7))]},
    ("PATCH", "/api/v1/customers/{customer_id}"): {"name": "Other"},
    ("POST", "/api/v1/customers/{customer_id}/identities"): {"kind": "phone", "value": "+491"},
    ("PATCH", "/api/v1/organizations/{organization_id}"): {"name": "Other"},
    ("PATCH", "/api/v1/statuses/{key}"): {"name": "Other"},
    ("PATCH", "/api/v1/fields/{key}"): {"label": "Other"},
    ("PATCH", "/api/v1/calendars/{calendar_id}"): {"name": "Other"},
    ("PATCH", "/api/v1/policies/{policy_id}"): {"name": "Other"},
    ("PUT", "/api/v1/policies/{policy_id}/draft"): {"targets": {}},
    ("PUT", "/api/v1/calendars/{calendar_id}/holidays"): {
        "country": "DE",
        "first_year": 2026,
        "last_year": 2026,
    },
    ("POST", "/api/v1/tickets/{number}/due"): {
        "metric": "resolution",
        "due_at": None,
        "reason": "back",
    },
    ("POST", "/api/v1/tickets/{number}/acknowledge"): {"minutes": 5},
    ("POST", "/api/v1/tickets/{number}/hand-back"): {"reason": "done"},
    ("PUT", "/api/v1/teams/{team_id}/on-call"): {"user_ids": []},
    ("PUT", "/api/v1/teams/{team_id}/rota"): {
        "layers": [{"user_ids": [str(uuid.UUID(int=7))], "first": "2026-05-04"}]
    },
    ("POST", "/api/v1/teams/{team_id}/rota/overrides"): {
        "user_id": str(uuid.UUID(int=7)),
        "since": "2999-01-01T00:00:00Z",
        "until": "2999-01-02T00:00:00Z",
    },
    ("PATCH", "/api/v1/webhooks/{webhook_id}"): {"name": "Other"},
    ("PATCH", "/api/v1/sections/{section_id}"): {"name": "Other"},
    ("PATCH", "/api/v1/articles/{article_id}"): {"title": "Other"},
    ("POST", "/api/v1/articles/{article_id}/state"): {"state": "review"},
    ("POST", "/api/v1/articles/{article_id}/restore"): {"version": 1},
    ("POST", "/api/v1/articles/{article_id}/feedback"): {"helpful": True},
    ("PATCH", "/api/v1/canned-responses/{response_id}"): {"name": "Other"},
    ("POST", "/api/v1/tickets/{number}/suggestions/feedback"): {
        "kind": "article",
        "source_id": str(uuid.UUID(int=7)),
        "verdict": "accepted",
    },
}
BODIES |= {
    ("PATCH", "/api/v1/sla/alerts/{alert_id}"): {"name": "Other"},
    ("PATCH", "/api/v1/triage/fields/{field}"): {"wanted_precision": 0.9},
    ("POST", "/api/v1/triage/models/{model_id}/promote"): {},
    ("POST", "/api/v1/tickets/{number}/analysis/feedback"): {"sentiment": "negative"},
    ("POST", "/api/v1/tickets/{number}/drafts"): {},
    ("POST", "/api/v1/tickets/{number}/summaries"): {},
    ("POST", "/api/v1/tickets/{number}/drafts/{draft_id}/feedback"): {"verdict": "edited"},
}
QUERIES = {
    ("DELETE", "/api/v1/tickets/{number}/links"): "kind=relates&other=1",
    ("GET", "/api/v1/calendars/{calendar_id}/preview"): "months=1",
    ("DELETE", "/api/v1/calendars/{calendar_id}/holidays"): "name=DE",
}
# Addressed otherwise than the rest: the reference is not an id of a tenant's row.
NOT_AN_ID = {"link", "tenant", "field"}


@dataclass(frozen=True)
class Door:
    """One method of one route."""

    method: str
    path: str
    permissions: frozenset[Permission]
    public: bool
    parameters: tuple[str, ...]
    has_body: bool

    @property
    def key(self) -> tuple[str, str]:
        return (self.method, self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _doors(app: FastAPI) -> Iterator[Door]:
    for context in iter_route_contexts(app.routes):
        yield from _of(context)


def _of(context: RouteContext) -> Iterator[Door]:
    route, path = context.original_route, str(context.path)
    if path.startswith("/docs") or path == "/openapi.json":
        return  # the documentation, which says the same to everybody
    gated = isinstance(route, Route)
    for method in sorted((context.methods or set()) - {"HEAD"}):
        yield Door(
            method=method,
            path=path,
            permissions=route.permissions if isinstance(route, Route) else frozenset(),
            public=route.public if isinstance(route, Route) else True,
            parameters=tuple(getattr(context, "param_convertors", {}) or ()),
            has_body=gated and getattr(route, "body_field", None) is not None,
        )


# Only the table of routes is read here; no server is asked.
DOORS = list(
    _doors(
        create_app(
            Settings.model_construct(redis_url=None, log_level="INFO", log_format="json"),
            Resources.__new__(Resources),
        )
    )
)
GATED = [door for door in DOORS if not door.public]
ADDRESSED = [door for door in GATED if set(door.parameters) - NOT_AN_ID]


@dataclass
class Samples:
    """Ids of things that exist in one tenant, by the names that path parameters have."""

    house: House
    known: dict[str, str] = field(default_factory=dict)

    def of(self, door: Door, name: str) -> str:
        sample = self.known.get(f"{door.path.split('/')[3]}.{name}") or self.known.get(name)
        if sample is None:
            pytest.fail(
                f"{door} has the path parameter {{{name}}}, and Samples does not know how to make"
                " one. Make one in `sampled`, so that another tenant's can be tried."
            )
        return sample

    def path(self, door: Door, **others: str) -> str:
        filled = {name: others.get(name) or self.of(door, name) for name in door.parameters}
        return door.path.format(**filled)


async def sampled(
    client: httpx.AsyncClient, database: Database, resources: Resources, house: House, name: str
) -> Samples:
    """One of everything, made in `house`; keys carry `name`, so that no other tenant has them."""

    async def make(path: str, body: dict[str, object]) -> dict[str, Any]:
        answer = await client.post(path, json=body, headers=house.admin)
        assert answer.status_code in (200, 201, 202), f"{path}: {answer.text}"
        made: dict[str, Any] = answer.json()
        return made

    samples = Samples(house)
    known = samples.known
    known["user_id"] = str(house.users[Role.AGENT])
    known["team_id"] = str(house.team_id)
    known["token_id"] = str((await make("/api/v1/tokens", {"name": "sample"}))["id"])
    customer = await make(
        "/api/v1/customers", {"name": "Sample", "email": f"{uuid.uuid4().hex}@example.org"}
    )
    known["customer_id"] = customer["id"]
    organization = await make("/api/v1/organizations", {"name": f"Org {name}"})
    known["organization_id"] = organization["id"]
    status = await make("/api/v1/statuses", {"name": f"Waiting {name}", "category": "on_hold"})
    known["statuses.key"] = status["key"]
    field_ = await make("/api/v1/fields", {"label": f"Colour {name}", "kind": "text"})
    known["fields.key"] = field_["key"]
    calendar = await make("/api/v1/calendars", {"name": f"Days {name}", "body": CALENDAR})
    known["calendar_id"] = calendar["id"]
    targets = {"first_reply": dict.fromkeys(("low", "normal", "high", "urgent"), "PT4H")}
    policy = await make(
        "/api/v1/policies",
        {"name": f"Promise {name}", "calendar_id": calendar["id"], "targets": targets},
    )
    known["policy_id"] = policy["id"]
    draft = f"/api/v1/policies/{policy['id']}/draft"
    drafted = await client.put(draft, json={"targets": {}}, headers=house.admin)
    assert drafted.status_code == 200, drafted.text
    hook = await make(
        "/api/v1/webhooks",
        {"name": f"Pager {name}", "url": "https://pager.example.com/x", "events": ["note_added"]},
    )
    known["webhook_id"] = hook["webhook"]["id"]
    rule = {
        "watches": {"kind": "breaches", "count": 1000},
        "recipients": {"roles": ["admin"]},
    }
    alert = await make("/api/v1/sla/alerts", {"name": f"Alert {name}", "rule": rule})
    known["alert_id"], known["firing_id"] = alert["id"], str(new_id())
    rota = {"layers": [{"user_ids": [known["user_id"]], "first": "2026-05-04"}]}
    where = f"/api/v1/teams/{house.team_id}/rota"
    turned = await client.put(where, json=rota, headers=house.admin)
    assert turned.status_code == 200, turned.text
    away = {"since": "2999-01-01T00:00:00Z", "until": "2999-01-02T00:00:00Z"}
    override = await make(f"{where}/overrides", {"user_id": known["user_id"], **away})
    known["override_id"] = override["id"]
    section = await make("/api/v1/sections", {"name": f"Shelf {name}"})
    known["section_id"] = section["id"]
    article = await make(
        "/api/v1/articles",
        {"title": f"Sample {name}", "body": "Words.", "language": "en", "audience": "public"},
    )
    await make(f"/api/v1/articles/{article['id']}/state", {"state": "published"})
    known["article_id"], known["slug"] = article["id"], article["slug"]
    canned = await make("/api/v1/canned-responses", {"name": f"Thanks {name}", "body": "Thanks!"})
    known["response_id"] = canned["id"]
    known["field"] = "topic"
    known["model_id"] = (await make("/api/v1/triage/models", {"field": "topic"}))["id"]
    known["backtest_id"] = (await make("/api/v1/triage/backtests", {"field": "topic"}))["id"]
    upload = await client.post(
        "/api/v1/attachments", files={"file": ("a.txt", b"text")}, headers=house.admin
    )
    assert upload.status_code == 201, upload.text
    known["attachment_id"] = upload.json()["id"]
    for _ in range(5 if name == "theirs" else 1):  # so that the last number is theirs alone
        ticket = await make_ticket(database, resources.tickets, house)
    known["number"] = str(ticket.number)
    noted = await client.post(
        f"/api/v1/tickets/{ticket.number}/notes", json={"text": "Told."}, headers=house.admin
    )
    assert noted.status_code == 201, noted.text
    calls = await client.get(
        f"/api/v1/webhooks/{known['webhook_id']}/deliveries", headers=house.admin
    )
    known["delivery_id"] = calls.json()["items"][0]["id"]
    session, notification, job, burst = new_id(), new_id(), new_id(), new_id()
    draft_id = new_id()
    known["draft_id"] = str(draft_id)
    async with database.transaction(house.tenant_id) as work:
        identity = await work.row(
            "select id from customer_identities where tenant_id = :t and customer_id = :c",
            {"t": house.tenant_id, "c": uuid.UUID(customer["id"])},
        )
        assert identity is not None
        values = {"t": house.tenant_id, "u": house.users[Role.ADMIN], "k": ticket.id}
        await work.execute(
            "insert into login_sessions (tenant_id, id, user_id, refresh_hash, user_agent, ip,"
            " created_at, used_at, expires_at) values (:t, :id, :u, sha256(:h), '', '', now(),"
            " now(), now() + interval '1 day')",
            {**values, "id": session, "h": session.bytes},
        )
        await work.execute(
            "insert into notifications (tenant_id, id, user_id, ticket_id, seq, kind, created_at)"
            " values (:t, :id, :u, :k, 1, 'sample', now())",
            {**values, "id": notification},
        )
        await work.execute(
            "insert into bulk_jobs (tenant_id, id, created_by, action, permissions, state, total,"
            " created_at) values (:t, :id, :u, '{}', '{}', 'finished', 0, now())",
            {**values, "id": job},
        )
        await work.execute(
            "insert into drafts (tenant_id, id, ticket_id, user_id, state, text, model,"
            " prompt_version, input_tokens, output_tokens, cost, created_at)"
            " values (:t, :id, :k, :u, 'drafted', 'Words.', 'm', 'reply-1', 9, 9, 0, now())",
            {**values, "id": draft_id},
        )
        await work.execute(
            "insert into burst_proposals (tenant_id, id, state, title, terms, ticket_ids, first_at,"
            " last_at, created_at) values (:t, :id, 'open', 'Sample', '{}', array[:k]::uuid[],"
            " now(), now(), now())",
            {**values, "id": burst},
        )
    simulation = new_id()
    async with database.transaction(house.tenant_id) as work:
        await work.execute(
            "insert into simulations (tenant_id, id, request, state, since, until, total,"
            " created_at) values (:t, :id, '{}', 'finished', now(), now(), 0, now())",
            {"t": house.tenant_id, "id": simulation},
        )
        await work.execute(
            "insert into alert_firings (tenant_id, id, alert_id, name, rule, since, until, figures,"
            " fired_at, told) select tenant_id, :f, id, name, rule, now(), now(), '{}', now(), 0"
            " from alerts where tenant_id = :t and id = :a",
            {
                "t": house.tenant_id,
                "a": uuid.UUID(known["alert_id"]),
                "f": uuid.UUID(known["firing_id"]),
            },
        )
        statement = await statements.make(
            work,
            secret="only for tests",
            kind="customer",
            subject_id=uuid.UUID(known["customer_id"]),
            month=date(2020, 1, 1),
            caller=None,
            origin=None,
            now=datetime.now(UTC),
        )
    known["statement_id"] = str(statement["id"])
    known["burst_id"] = str(burst)
    known["simulation_id"] = str(simulation)
    known["job_id"] = str(job)
    known["identity_id"] = str(identity["id"])
    known["session_id"] = str(session)
    known["notification_id"] = str(notification)
    return samples


@dataclass
class Two:
    """Two tenants with one of everything each."""

    ours: Samples
    theirs: Samples


@pytest.fixture(scope="module")
async def two(app: FastAPI, database: Database, resources: Resources, make_house: MakeHouse) -> Two:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return Two(
            await sampled(client, database, resources, await make_house(), "ours"),
            await sampled(client, database, resources, await make_house(), "theirs"),
        )


def _plausible(door: Door) -> str:
    """The path filled with ids that nobody has."""
    return door.path.format(
        **{name: "9" if name == "number" else str(uuid.UUID(int=9)) for name in door.parameters}
    )


def test_what_needs_no_caller_or_no_permission_is_listed_with_a_reason() -> None:
    public = {door.key for door in DOORS if door.public}
    assert public <= PUBLIC.keys(), f"public without a reason: {public - PUBLIC.keys()}"
    free = {door.key for door in GATED if not door.permissions}
    assert free <= ANYBODY.keys(), f"for anybody without a reason: {free - ANYBODY.keys()}"
    known = {door.key for door in DOORS}
    stale = (PUBLIC.keys() | ANYBODY.keys() | BODIES.keys() | QUERIES.keys()) - known
    assert not stale, f"listed here, but no longer a route: {stale}"


def test_every_route_of_the_api_is_behind_the_gates_of_its_class(app: FastAPI) -> None:
    for context in iter_route_contexts(app.routes):
        path = str(context.path)
        if path.startswith(("/api/", "/public/")):
            assert isinstance(context.original_route, Route), f"{path} has no route_class=Route"


@pytest.mark.parametrize("door", GATED, ids=str)
async def test_nobody_gets_in_even_with_a_broken_body(
    client: httpx.AsyncClient, door: Door
) -> None:
    headers = {"Content-Type": "application/json"}
    for given in ({}, {"Authorization": "Bearer hf_nobody"}, {"Authorization": "Basic eDp5"}):
        answer = await client.request(
            door.method, _plausible(door), content=b"{", headers=headers | given
        )
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize("door", [d for d in GATED if d.permissions], ids=str)
async def test_a_role_without_the_permission_is_refused_before_its_body_is_read(
    client: httpx.AsyncClient, two: Two, door: Door
) -> None:
    house = two.ours.house
    refused = [house.headers[role] for role in Role if not door.permissions <= GRANTS[role].keys()]
    if door.permissions != {Permission.INTAKE}:
        refused.append(house.intake)
    assert refused, f"everybody has {door.permissions}: what is it for?"
    for headers in refused:
        answer = await client.request(
            door.method,
            two.ours.path(door),
            content=b"{",
            headers={**headers, "Content-Type": "application/json"},
        )
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), answer.text


@pytest.mark.parametrize("door", ADDRESSED, ids=str)
async def test_another_tenants_thing_is_like_one_that_never_was(
    client: httpx.AsyncClient, two: Two, door: Door
) -> None:
    if door.has_body and door.key not in BODIES and door.method in ("PATCH", "PUT"):
        pytest.fail(f"{door} takes a body. Add one that passes validation to BODIES.")
    query = f"?{QUERIES[door.key]}" if door.key in QUERIES else ""
    for name in door.parameters:
        nobodys = "888888" if name == "number" else str(uuid.UUID(int=8))
        if name == "key":
            nobodys = "no_such_key"
        said = []
        for value in (two.theirs.of(door, name), nobodys):
            answer = await client.request(
                door.method,
                two.ours.path(door, **{name: value}) + query,
                json=BODIES.get(door.key),
                headers={**two.ours.house.admin, "X-Request-ID": "the-same"},
            )
            assert answer.status_code == 404, f"{{{name}}}: {answer.status_code} {answer.text}"
            assert answer.headers["content-type"] == "application/problem+json"
            # What the caller sent may be said back to them.
            problem = answer.json() | {"instance": "…"}
            problem["detail"] = problem["detail"].replace(value, "…")
            said.append(problem)
        assert said[0] == said[1]


async def test_lists_hold_ones_own_tenant_only(client: httpx.AsyncClient, two: Two) -> None:
    foreign = set(two.theirs.known.values()) - set(two.ours.known.values())
    foreign -= {v for v in foreign if len(v) < 8}
    lists = [d for d in GATED if d.method == "GET" and not d.parameters and d.permissions]
    assert lists
    for door in lists:
        answer = await client.get(door.path, headers=two.ours.house.admin)
        assert answer.status_code in (200, 422), f"{door}: {answer.text}"
        assert two.theirs.house.slug not in answer.text, str(door)
        for value in foreign:
            assert value not in answer.text, f"{door} shows {value} of another tenant"


# In SQL, as the application.


async def _tables(connection: AsyncConnection) -> dict[str, str]:
    """Every table that belongs to tenants, with the column that says whose a row is."""
    found = await connection.execute(
        text(
            "select c.relname, (select a.attname from pg_attribute a where a.attrelid = c.oid"
            " and a.attname = 'tenant_id' and not a.attisdropped)"
            " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where n.nspname = 'public' and c.relkind in ('r', 'p')"
            " and c.relname <> 'alembic_version'"
        )
    )
    return {name: column or "id" for name, column in found}


async def test_without_a_tenant_no_table_shows_a_row(two: Two, urls: Urls, postgres: str) -> None:
    as_app = create_async_engine(urls.app.replace("postgresql:", "postgresql+psycopg:"))
    superuser = f"{postgres.rpartition('/')[0]}/{urls.app.rpartition('/')[2]}"
    as_all = create_async_engine(superuser.replace("postgresql:", "postgresql+psycopg:"))
    filled = set()
    async with as_app.connect() as app, as_all.connect() as everything:
        tables = await _tables(app)
        assert len(tables) > 20
        for name, column in tables.items():
            assert name == "tenants" or column == "tenant_id", f"{name} belongs to no tenant"
            seen = await app.scalar(text(f"select count(*) from {name}"))
            assert seen == 0, f"{name} shows {seen} rows to nobody"
            if await everything.scalar(text(f"select count(*) from {name}")):
                filled.add(name)
        await app.execute(
            text("select set_config('app.tenant', :t, true)"),
            {"t": str(two.ours.house.tenant_id)},
        )
        for name, column in tables.items():
            seen = await app.scalar(
                text(f"select count(*) from {name} where {column} <> :t"),
                {"t": two.ours.house.tenant_id},
            )
            assert seen == 0, f"{name} shows rows of other tenants"
    await as_app.dispose()
    await as_all.dispose()
    # The proof is worth what it was tried on.
    assert {"tenants", "users", "tickets", "events", "messages", "customers", "outbox",
            "audit_entries", "policies", "clocks", "api_tokens", "files"} <= filled  # fmt: skip


async def test_no_row_can_be_written_for_another_tenant(two: Two, urls: Urls) -> None:
    engine = create_async_engine(urls.app.replace("postgresql:", "postgresql+psycopg:"))
    async with engine.connect() as connection:
        tables = await _tables(connection)
        await connection.rollback()
        for name, column in tables.items():
            for tenant in (str(two.ours.house.tenant_id), ""):
                await connection.execute(
                    text("select set_config('app.tenant', :t, true)"), {"t": tenant}
                )
                with pytest.raises(Exception, match=r"row-level security|permission denied"):
                    await connection.execute(
                        text(f"insert into {name} ({column}) values (:t)"),
                        {"t": two.theirs.house.tenant_id},
                    )
                await connection.rollback()
    await engine.dispose()
