"""Servers and programs are killed while tickets come in; nothing that was accepted is lost."""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from adapters.temporal import connect, register_attributes
from services import relay
from services.desks import Desks
from services.tickets import Tickets
from tests.crash.desk import LiveDesk, live_desk, until
from tests.invariants import broken
from tests.making import make_ticket

pytestmark = [pytest.mark.crash, pytest.mark.stack]

VICTIMS = ("worker", "temporal", "valkey", "typesense", "postgres", "api")


@pytest.fixture(scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveDesk]:
    async with live_desk(tmp_path_factory.mktemp("crash") / "home") as desk:
        yield desk


async def _whole(desk: LiveDesk, accepted: dict[str, int]) -> None:
    """Each accepted ticket is there once, with its workflow, its timeline and its due times."""
    await desk.settled()
    numbers = await desk.numbers()
    assert len(set(accepted.values())) == len(accepted), "two submissions got one ticket"
    assert set(accepted.values()) <= set(numbers)

    async def missing() -> str | None:
        running = await desk.running()
        lost = [n for n in accepted.values() if f"ticket/{desk.slug}/{n}" not in running]
        return f"no workflow for {lost[:5]} and {len(lost) - 5} more" if lost else None

    await until(missing, within=60)
    assert await broken(desk.database, desk.tenant, now=datetime.now(UTC)) == []


async def test_nothing_accepted_is_lost_whatever_is_killed(desk: LiveDesk) -> None:
    before = set(await desk.numbers())
    feeding = asyncio.create_task(desk.feed(300, at_once=6, pause=0.05))
    chance = random.Random(7)
    for victim in VICTIMS:
        await asyncio.sleep(chance.uniform(0.3, 1.5))
        await desk.kill(victim)
    fed = await asyncio.wait_for(feeding, 240)
    assert len(fed.accepted) == 300
    await _whole(desk, fed.accepted)
    # Nothing came in twice either: retries under one key are one ticket.
    assert set(await desk.numbers()) - before == set(fed.accepted.values())


async def test_with_temporal_down_agents_go_on_and_a_breach_keeps_its_true_time(
    desk: LiveDesk,
) -> None:
    tickets = Tickets(Desks())
    # Due eight seconds from now: its first reply was promised within the hour.
    opened = datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=8)
    ticket = await make_ticket(desk.database, tickets, desk.tenant, now=opened)
    due = ticket.first_reply_due_at
    assert due is not None
    await desk.settled()
    await desk.desk.take_down("temporal")
    try:
        async with httpx.AsyncClient(base_url=desk.url, timeout=20) as client:
            client.headers["Authorization"] = f"Bearer {desk.agent_token}"
            answer = await client.post(
                f"/api/v1/tickets/{ticket.number}/notes", json={"text": "Looking into it."}
            )
            assert answer.status_code in (200, 201), answer.text
            told = await client.get(f"/api/v1/tickets/{ticket.number}/workflow")
            assert (told.status_code, told.json()["live"]) == (200, False)
            await asyncio.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()) + 2)
            # Breached is what its due time says, whoever has or has not noticed.
            shown = await client.get(f"/api/v1/tickets/{ticket.number}")
            assert shown.json()["sla"]["breached"] is True
    finally:
        await desk.desk.bring_up("temporal")

    async def unnoticed() -> str | None:
        async with desk.database.transaction(desk.tenant) as work:
            row = await work.row(
                "select occurred_at, recorded_at, data from events where ticket_id = :i"
                " and type = 'sla_breached' and data ->> 'metric' = 'first_reply'",
                {"i": ticket.id},
            )
        if row is None:
            return "no breach recorded"
        assert row["occurred_at"] == due
        assert row["recorded_at"] > due + timedelta(seconds=1)
        return None

    await until(unnoticed, within=60)
    assert await broken(desk.database, desk.tenant, now=datetime.now(UTC)) == []


async def test_with_temporals_data_gone_a_rebuild_brings_every_timer_back(desk: LiveDesk) -> None:
    tickets = Tickets(Desks())
    fed = await desk.feed(20)
    await _whole(desk, fed.accepted)
    opened = datetime.now(UTC) - timedelta(hours=1) + timedelta(seconds=25)
    ticket = await make_ticket(desk.database, tickets, desk.tenant, now=opened)
    await desk.desk.take_down("temporal")
    folder: Path = desk.home.folder("temporal")
    shutil.rmtree(folder)
    folder.mkdir()
    await desk.desk.bring_up("temporal")
    await register_attributes(
        await connect(desk.desk.environment()["TEMPORAL_ADDRESS"], "default", patient=True)
    )

    async def away() -> str | None:
        await desk.running()
        return None

    await until(away, within=60)
    gone = {f"ticket/{desk.slug}/{number}" for number in fed.accepted.values()}
    assert not gone & await desk.running()
    written = await relay.rewrite_outbox(desk.relay_database, "workflows")
    assert written >= 21
    await _whole(desk, fed.accepted)

    async def unnoticed() -> str | None:
        async with desk.database.transaction(desk.tenant) as work:
            row = await work.row(
                "select occurred_at from events where ticket_id = :i and type = 'sla_breached'",
                {"i": ticket.id},
            )
        return None if row and row["occurred_at"] == ticket.first_reply_due_at else "no breach"

    await until(unnoticed, within=60)
