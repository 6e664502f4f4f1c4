"""The worker is killed while steps come due: no step happens twice, and none is lost."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from domain.sla import (
    Action,
    AddTag,
    CallWebhook,
    Metric,
    RaisePriority,
    StartWorkflow,
    Step,
    WriteNote,
)
from domain.tickets import Ticket
from models.session import Row
from services import webhooks
from services.desks import Desks
from services.tickets import Tickets
from tests.activities.test_webhooks import Endpoint
from tests.crash.desk import LiveDesk, live_desk, until
from tests.invariants import broken
from tests.making import make_policy, make_ticket

pytestmark = [pytest.mark.crash, pytest.mark.stack]

MANY = 40
HOUR = timedelta(hours=1)
# Around the deadline, in seconds; each step is one that could be seen twice.
STEPS = ("tag", "raise", "note", "page", "brief")


@pytest.fixture
async def desk(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[LiveDesk]:
    monkeypatch.setenv("HOLDFAST_WEBHOOKS_ALLOW_PRIVATE", "true")  # ours is on the loopback
    async with live_desk(tmp_path_factory.mktemp("steps") / "home") as desk:
        yield desk


async def _policy(desk: LiveDesk, url: str) -> None:
    now = datetime.now(UTC)
    async with desk.database.transaction(desk.tenant) as work:
        hook = await webhooks.create(
            work, name="Pager", url=url, events=[], allow_private=True, now=now
        )
        actions: tuple[Action, ...] = (
            AddTag(tag="late"),
            RaisePriority(),
            WriteNote(text="Somebody look at this."),
            CallWebhook(webhook_id=hook["id"]),
            StartWorkflow(name="briefing"),
        )
        steps = tuple(
            Step(
                id=name,
                metric=Metric.FIRST_REPLY,
                offset=timedelta(seconds=4 * place - 8),
                action=action,
            )
            for place, (name, action) in enumerate(zip(STEPS, actions, strict=True))
        )
        await work.execute("update policies set active = false, name = 'Before'")
        await make_policy(work, steps=steps, first_reply=HOUR, resolution=None)
        await work.execute(
            "update tenants set settings = settings || jsonb_build_object('triage', false)"
            " where id = :t",
            {"t": desk.tenant},
        )


async def _done(desk: LiveDesk) -> tuple[list[Row], list[Row], list[Row]]:
    """Steps and breaches, what rules wrote, and deliveries."""
    async with desk.database.transaction(desk.tenant) as work:
        return (
            await work.rows(
                "select ticket_id, type, data ->> 'step' as step from events"
                " where type in ('sla_step', 'sla_breached')"
            ),
            await work.rows(
                "select ticket_id, left(body_text, 8) as words from messages"
                " where author_kind = 'automation'"
            ),
            await work.rows("select ticket_id, kind, state, payload, error from deliveries"),
        )


@pytest.mark.parametrize("seed", [1, 2])
async def test_workers_killed_at_any_moment_do_each_step_once(desk: LiveDesk, seed: int) -> None:
    endpoint, tickets, chance = Endpoint(), Tickets(Desks()), random.Random(seed)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    async with server:
        await _policy(desk, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook")
        begun, made = time.monotonic(), list[Ticket]()
        for _ in range(MANY):
            opened = datetime.now(UTC) - HOUR + timedelta(seconds=chance.uniform(10, 20))
            made.append(await make_ticket(desk.database, tickets, desk.tenant, now=opened))
        kills = 0
        while time.monotonic() - begun < 28:
            await asyncio.sleep(chance.uniform(0.2, 2.5))
            await desk.kill("worker")
            kills += 1

        async def missing() -> str | None:
            entries, _, deliveries = await _done(desk)
            waiting = sum(row["state"] in ("queued", "sending") for row in deliveries)
            if len(entries) < MANY * (len(STEPS) + 1) or waiting:
                return f"{len(entries)} entries, {waiting} deliveries wait"
            return None

        await until(missing, within=90)

        async def unbriefed() -> str | None:
            _, words, _ = await _done(desk)
            found = sum(row["words"] == "Briefing" for row in words)
            return None if found >= MANY else f"{found} of {MANY} are briefed"

        await until(unbriefed, within=60)
    entries, words, deliveries = await _done(desk)
    wanted = {ticket.id for ticket in made}
    assert kills >= 4
    assert Counter((row["ticket_id"], row["step"]) for row in entries) == Counter(
        (id_, step) for id_ in wanted for step in (*STEPS, None)
    )
    assert Counter((row["ticket_id"], row["words"]) for row in words) == Counter(
        (id_, said) for id_ in wanted for said in ("Somebody", "Briefing")
    )
    # A start may always be tried again; a call that broke off half-way is shown to a person.
    states = Counter((row["kind"], row["state"]) for row in deliveries)
    assert states["workflow", "sent"] == MANY
    assert states["webhook", "sent"] + states["webhook", "unknown"] == MANY, states
    heard = Counter(headers["webhook-id"] for headers, _ in endpoint.heard)
    assert set(heard.values()) <= {1}
    told = {
        row["payload"]["id"]
        for row in deliveries
        if (row["kind"], row["state"]) == ("webhook", "sent")
    }
    assert told <= set(heard)
    assert await broken(desk.database, desk.tenant, now=datetime.now(UTC)) == []
