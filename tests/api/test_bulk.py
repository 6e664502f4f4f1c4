"""Bulk changes over HTTP: never more than the same change to one ticket would be allowed."""

import uuid
from datetime import UTC, datetime

import httpx
import pytest

from api.bulk import BulkFilter
from api.resources import Resources
from api.tickets.read import Listing
from domain.permissions import Role
from models.session import Database
from services.bulk import BulkRunner
from services.tokens import create_token
from tests.api.conftest import House
from tests.making import make_ticket


async def token(database: Database, house: House, *scopes: str) -> dict[str, str]:
    async with database.transaction(house.tenant_id) as work:
        made = await create_token(
            work, kind="personal", name="bot", user_id=house.users[Role.ADMIN],
            scopes=frozenset(scopes), now=datetime.now(UTC), rate_class="unlimited",
        )  # fmt: skip
    return {"Authorization": f"Bearer {made.secret}"}


@pytest.mark.parametrize(
    ("scopes", "change", "status"),
    [
        (("tickets.bulk",), {"priority": "urgent"}, 403),
        (("tickets.bulk", "tickets.change"), {"priority": "urgent"}, 202),
        (("tickets.bulk", "tickets.change"), {"assignee_id": None}, 403),
        (("tickets.bulk", "tickets.assign"), {"assignee_id": None}, 202),
        (("tickets.bulk", "tickets.assign"), {"assignee_id": None, "add_tags": ["x"]}, 403),
    ],
)
async def test_a_bulk_change_needs_what_the_single_one_needs(
    client: httpx.AsyncClient,
    database: Database,
    resources: Resources,
    house: House,
    scopes: tuple[str, ...],
    change: dict[str, object],
    status: int,
) -> None:
    ticket = await make_ticket(database, resources.tickets, house.tenant_id)
    headers = await token(database, house, "tickets.view", *scopes)
    answer = await client.post(
        "/api/v1/bulk", json={"numbers": [ticket.number], "change": change}, headers=headers
    )
    assert answer.status_code == status, answer.text


async def test_a_job_is_done_with_no_more_than_its_asker_may_when_its_turn_comes(
    client: httpx.AsyncClient, database: Database, resources: Resources, house: House
) -> None:
    ticket = await make_ticket(database, resources.tickets, house.tenant_id)
    made = await client.post(
        "/api/v1/bulk",
        json={"numbers": [ticket.number], "change": {"priority": "urgent"}},
        headers={**house.headers[Role.SUPERVISOR], "X-Request-ID": "asked-for-it"},
    )
    job = uuid.UUID(made.json()["id"])
    async with database.transaction(house.tenant_id) as work:
        await work.execute(
            "update users set role = 'viewer' where tenant_id = :t and id = :u",
            {"t": house.tenant_id, "u": house.users[Role.SUPERVISOR]},
        )
    runner = BulkRunner(database, resources.tickets)
    await runner.chunk(house.tenant_id, job, now=datetime.now(UTC))
    items = await client.get(f"/api/v1/bulk/{job}/items", headers=house.admin)
    [item] = items.json()["items"]
    assert (item["state"], item["code"]) == ("refused", "forbidden")


async def test_the_request_that_asked_is_the_cause_of_every_change(
    client: httpx.AsyncClient, database: Database, resources: Resources, house: House
) -> None:
    ticket = await make_ticket(database, resources.tickets, house.tenant_id)
    made = await client.post(
        "/api/v1/bulk",
        json={"numbers": [ticket.number], "change": {"add_tags": ["x"]}},
        headers={**house.admin, "X-Request-ID": "asked-for-it", "X-Correlation-ID": "campaign-7"},
    )
    job = uuid.UUID(made.json()["id"])
    await BulkRunner(database, resources.tickets).chunk(house.tenant_id, job, now=datetime.now(UTC))
    async with database.transaction(house.tenant_id) as work:
        [row] = await work.rows(
            "select cause from events where ticket_id = :i and seq = 2", {"i": ticket.id}
        )
    assert row["cause"] == {
        "request": "asked-for-it", "correlation": "campaign-7", "bulk": str(job),
    }  # fmt: skip


async def asked(client: httpx.AsyncClient, house: House, **filters: object) -> httpx.Response:
    body = {"filter": filters, "change": {"add_tags": ["seen"]}}
    return await client.post("/api/v1/bulk", json=body, headers=house.admin)


def test_a_filter_of_the_list_is_a_filter_of_a_bulk_change() -> None:
    listed = set(Listing.model_fields) - {"sort", "limit", "cursor"}
    assert set(BulkFilter.model_fields) == listed
    assert len(listed) > 20
    for name in listed:
        assert BulkFilter.model_fields[name].annotation == Listing.model_fields[name].annotation


async def test_a_bulk_change_reaches_what_the_list_shows_under_the_same_filter(
    client: httpx.AsyncClient, database: Database, resources: Resources, house: House
) -> None:
    for _ in range(2):
        await make_ticket(database, resources.tickets, house.tenant_id)
    opened = await client.post(
        "/api/v1/tickets",
        json={"subject": "Hi", "text": "Hi", "requester": {"email": "mia@example.org"},
              "type": "incident", "tags": ["vip"]},
        headers=house.agent,
    )  # fmt: skip
    assert opened.status_code == 201, opened.text
    for wanted in (
        {"type": ["incident"]},
        {"type": ["none"], "team": ["none"]},
        {"channel": ["email"]},
        {"any_tag": ["vip", "other"]},
        {"tag": ["vip"]},
        {"snoozed": "false"},
        {"breached": False},
        {"created_from": "2020-01-01T00:00:00Z", "created_to": "2090-01-01T00:00:00+02:00"},
        {"assignee": ["none"]},
    ):
        listed = await client.get("/api/v1/tickets", params=wanted, headers=house.admin)
        made = await asked(client, house, **wanted)
        assert made.status_code == 202, made.text
        items = await client.get(f"/api/v1/bulk/{made.json()['id']}/items", headers=house.admin)
        shown = {one["number"] for one in listed.json()["items"]}
        assert {one["number"] for one in items.json()["items"]} == shown, wanted
        assert shown
    both = await asked(client, house, team=[None], tags=["vip"])  # as answers have it
    assert both.json()["total"] == 1


@pytest.mark.parametrize("given", ["2026-05-04T10:12:00", 1777888320, 1777888320.5, "1777888320"])
async def test_a_time_in_a_bulk_filter_says_its_zone(
    client: httpx.AsyncClient, house: House, given: object
) -> None:
    answer = await asked(client, house, created_to=given)
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json()["errors"]] == ["/filter/created_to"]


async def test_a_filter_nobody_knows_is_a_mistake(client: httpx.AsyncClient, house: House) -> None:
    answer = await asked(client, house, colour=["red"])
    assert answer.status_code == 422
    assert "'colour' is not a filter" in answer.text
