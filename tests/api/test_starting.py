"""Which workflows steps may start: the names a desk offers, and what it says of others."""

from datetime import UTC, datetime

import httpx
import pytest

from domain.errors import Conflict, Invalid, NotFound
from domain.permissions import Role
from domain.starting import Offered
from models.session import Database
from services import starting
from tests.api.conftest import House
from tests.api.test_timing import Desk

NOW = datetime.now(UTC)


@pytest.fixture
def desk(client: httpx.AsyncClient, house: House) -> Desk:
    return Desk(client, house)


def step(name: str, **more: object) -> dict[str, object]:
    return {
        "id": "start", "metric": "resolution", "percent": 50,
        "action": {"kind": "start_workflow", "name": name}, **more,
    }  # fmt: skip


async def test_an_unknown_workflow_is_refused_with_its_place_and_the_names_there_are(
    desk: Desk, database: Database
) -> None:
    async with database.transaction(desk.house.tenant_id) as work:
        await starting.offer(work, Offered("refund", "Refund", "billing"), now=NOW)
    calendar = await desk.calendar()
    for steps, place in (
        ([step("nothing")], "/steps/0/action/name"),
        ([step("refund", also=[{"kind": "start_workflow", "name": "x"}])], "/steps/0/also/0/name"),
    ):
        body = {"name": "P", "calendar_id": calendar, "targets": {}, "steps": steps}
        refused = await desk.ask("POST", "/policies", body, want=422)
        [error] = refused["errors"]
        assert place in error.values()
        assert "is one of briefing, refund" in error.values()
    made = await desk.policy(steps=[step("refund"), {**step("briefing"), "id": "brief"}])
    assert [one["action"]["name"] for one in made["body"]["steps"]] == ["refund", "briefing"]


async def test_the_names_are_listed_and_what_was_started_too(
    desk: Desk, database: Database
) -> None:
    tenant = desk.house.tenant_id
    async with database.transaction(tenant) as work:
        await starting.offer(work, Offered("refund", "Refund", "old"), now=NOW)
        await starting.offer(work, Offered("refund", "Refund", "billing", "Pays back."), now=NOW)
    listed = (await desk.ask("GET", "/step-workflows"))["items"]
    assert [(one["name"], one["queue"], one["ships"]) for one in listed] == [
        ("briefing", "batch", True),
        ("refund", "billing", False),
    ]
    assert await desk.ask("GET", "/step-workflows/starts") == {"items": [], "next": None}
    await desk.ask("GET", "/step-workflows", want=403, role=Role.AGENT)


async def test_what_is_offered_is_checked_and_what_is_used_stays(
    desk: Desk, database: Database
) -> None:
    tenant = desk.house.tenant_id
    async with database.transaction(tenant) as work:
        await starting.offer(work, Offered("refund", "Refund", "billing"), now=NOW)
    await desk.policy(steps=[step("refund")])
    async with database.transaction(tenant) as work:
        for wrong in (
            Offered("Re fund", "Refund", "billing"),
            Offered("briefing", "Mine", "billing"),
            Offered("other", "Other", "tickets"),
            Offered("other", "Other", ""),
        ):
            with pytest.raises(Invalid):
                await starting.offer(work, wrong, now=NOW)
        with pytest.raises(Conflict, match="Standard"):
            await starting.withdraw(work, "refund")
        for name in ("briefing", "nothing"):
            with pytest.raises(NotFound):
                await starting.withdraw(work, name)
