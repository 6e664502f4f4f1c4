"""Bulk changes over HTTP: never more than the same change to one ticket would be allowed."""

import uuid
from datetime import UTC, datetime

import httpx
import pytest

from api.resources import Resources
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
