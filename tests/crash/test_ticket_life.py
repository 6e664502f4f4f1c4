"""Servers and programs are killed while tickets come in; nothing that was accepted is lost."""

import asyncio
import json
import random
import shutil
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from adapters.temporal import connect, register_attributes
from services import relay
from services.desks import Desks
from services.tickets import Tickets
from tests.crash.desk import LiveDesk, live_desk, patiently, until
from tests.invariants import broken
from tests.making import make_agent, make_ticket
from tests.workflows.test_replay import replayer

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
    await _replays(desk, accepted.values())
    assert await broken(desk.database, desk.tenant, now=datetime.now(UTC)) == []


async def _replays(desk: LiveDesk, numbers: Iterable[int]) -> None:
    """What each lived through can be lived through again, by whichever worker comes next."""
    client = await connect(desk.desk.environment()["TEMPORAL_ADDRESS"], "default", patient=True)
    again, few = replayer(), asyncio.Semaphore(4)

    async def replay(number: int) -> None:
        handle = client.get_workflow_handle(f"ticket/{desk.slug}/{number}")
        async with few:
            await again.replay_workflow(await handle.fetch_history())

    await asyncio.gather(*(replay(number) for number in numbers))


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


def _tickets(file: Path, count: int) -> None:
    """Lines of the shape that `holdfast demo` takes, words of customers of a shop."""
    chance = random.Random(3)
    things, woes = ("lamp", "kettle", "chair", "parcel"), ("is broken", "has not come", "is wrong")
    with file.open("w", encoding="utf-8") as lines:
        for i in range(count):
            thing, woe = chance.choice(things), chance.choice(woes)
            ticket = {
                "external_id": f"S-{i:05}",
                "requester": {"email": f"c{i % 60}@shop.example", "name": f"Customer {i % 60}"},
                "channel": chance.choice(("email", "portal", "chat", "api")),
                "subject": f"My {thing} {woe}",
                "body": f"Hello,\\n\\nmy {thing} {woe}, and I ordered it {i} days ago.\\n\\nThanks",
                "language": "en",
            }
            lines.write(json.dumps(ticket) + "\n")


@dataclass
class Done:
    """What agents were told was done: the words of replies and notes, assignments by ticket."""

    words: list[str] = field(default_factory=list)
    assignments: Counter[int] = field(default_factory=Counter)
    tries: int = 0


async def _acting(
    desk: LiveDesk, number: int, agents: list[uuid.UUID], done: Done, stop: asyncio.Event
) -> None:
    """Assigns a ticket to and fro, answers, takes notes, until told to stop."""
    turn = 0
    while not stop.is_set():
        late = time.monotonic() + 60
        what = ("assign", "notes", "assign", "replies")[turn % 4]
        if what == "assign":
            body: dict[str, object] = {"assignee_id": str(agents[turn // 2 % 2])}
            tries = await desk.act(what, number, body, until_=late)
            done.assignments[number] += 1
        else:
            text = f"Words {turn} for ticket {number}, {uuid.uuid4()}."
            tries = await desk.act(what, number, {"text": text}, until_=late)
            done.words.append(text)
        done.tries += tries
        turn += 1
        await asyncio.sleep(0.15)


async def _looking(desk: LiveDesk, numbers: list[int], stop: asyncio.Event) -> None:
    """Somebody wants to know what these tickets wait for, all the time."""
    while not stop.is_set():
        for number in numbers:
            await desk.look(number)
        await asyncio.sleep(0.05)


@dataclass(frozen=True)
class Found:
    """What Postgres holds afterwards."""

    numbers: set[int]
    external_ids: list[str]
    words: list[str]
    assignments: dict[int, int]


async def _found(desk: LiveDesk, before: set[int], worked_on: list[int]) -> Found:
    new = set(await desk.numbers()) - before
    async with desk.database.transaction(desk.tenant) as work:
        submitted = await work.rows(
            "select e.cause ->> 'external_id' as id from events e"
            " join tickets t on t.tenant_id = e.tenant_id and t.id = e.ticket_id"
            " where e.seq = 1 and t.number = any(:new)",
            {"new": list(new)},
        )
        said = await work.rows("select body_text from messages where body_text like 'Words %'")
        assigned = await work.rows(
            "select t.number, count(*) as times from events e"
            " join tickets t on t.tenant_id = e.tenant_id and t.id = e.ticket_id"
            " where e.actor_id = :agent and t.number = any(:numbers)"
            " and jsonb_exists(e.changes, 'assignee_id') group by t.number",
            {"agent": desk.agent, "numbers": worked_on},
        )
    return Found(
        new,
        [row["id"] for row in submitted],
        [row["body_text"] for row in said],
        {row["number"]: row["times"] for row in assigned},
    )


async def test_the_demo_and_the_agents_lose_nothing_while_everything_is_killed_twice(
    desk: LiveDesk, tmp_path: Path
) -> None:
    file = tmp_path / "tickets.jsonl"
    _tickets(file, 320)
    worked_on = list((await desk.feed(6)).accepted.values())
    await desk.settled()
    # From now on in the team: so none of these tickets is theirs yet, and each assignment counts.
    async with desk.database.transaction(desk.tenant) as work:
        [team] = await work.rows("select id from teams where tenant_id = :t", {"t": desk.tenant})
        agents = [await make_agent(work, name, teams=(team["id"],)) for name in ("Bo", "Cy")]
    before = set(await desk.numbers())
    done, stop = Done(), asyncio.Event()
    demo = await desk.demo(file, limit=300, rate=20)
    try:

        async def not_begun() -> str | None:
            return None if set(await desk.numbers()) - before else "no ticket of the demo"

        await until(not_begun, within=30)
        async with asyncio.TaskGroup() as group:
            for number in worked_on:
                group.create_task(_acting(desk, number, agents, done, stop))
            group.create_task(_looking(desk, worked_on, stop))
            chance = random.Random(11)
            victims = [*VICTIMS, *VICTIMS]
            chance.shuffle(victims)
            for victim in victims:
                await asyncio.sleep(chance.uniform(0.5, 2.5))
                await desk.kill(victim)
            stop.set()
        told = await demo.report(within=150)
    finally:
        demo.end()
    assert told["errors"] == []
    assert told["accepted"] == told["workflows"] == told["triaged"] == 300
    # Our own connections were cut with Postgres: the first that are used again say so.
    found = await patiently(lambda: _found(desk, before, worked_on))
    assert len(found.numbers) == 300
    assert sorted(found.external_ids) == [f"S-{i:05}" for i in range(300)]
    # Each once: neither lost with a process, nor done again by the retry.
    assert sorted(found.words) == sorted(done.words)
    assert found.assignments == done.assignments
    assert len(done.words) >= len(worked_on)
    assert done.tries > len(done.words) + done.assignments.total(), "nobody was ever interrupted"
    await _whole(desk, {str(number): number for number in (*found.numbers, *worked_on)})


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
