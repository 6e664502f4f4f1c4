"""A draft tried on the past: what was gives what was, and a stricter one flips what it must."""

import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from api.simulations import SimulationIn
from domain.errors import Conflict, Invalid
from domain.permissions import Principal, Role, grants_of
from domain.sla import Policy
from domain.tickets import AgentReplied, Changed
from models.session import Database, Row
from services import jobs, simulations
from services.desks import Desks
from services.simulations import Processes, SimulationRunner
from services.tickets import Origin, Tickets
from tests.conftest import Urls
from tests.making import ALWAYS, happens, make_agent, make_policy, make_ticket, words
from tests.services.test_verifying import MONDAY, busy_desk

pytestmark = pytest.mark.slow  # processes are started

SINCE, UNTIL = MONDAY - timedelta(days=1), MONDAY + timedelta(days=90)


@pytest.fixture
async def caller(database: Database, tenant: uuid.UUID) -> Principal:
    async with database.transaction(tenant) as work:
        user = await make_agent(work, role="supervisor")
    return Principal(
        tenant_id=tenant, tenant_slug="t", kind="user", id=user, role=Role.SUPERVISOR,
        grants=grants_of(Role.SUPERVISOR),
    )  # fmt: skip


async def queued(database: Database, caller: Principal, request: dict[str, object]) -> Row:
    async with database.transaction(caller.tenant_id) as work:
        return await simulations.queue(
            work, caller=caller, request=request, since=SINCE, until=UNTIL,
            origin=Origin(request_id="test"), now=datetime.now(UTC),
        )  # fmt: skip


async def finished(
    database: Database, caller: Principal, row: Row, processes: Processes | None = None
) -> Row:
    runner = SimulationRunner(database, processes)
    while True:
        progress = await runner.chunk(caller.tenant_id, row["id"], now=datetime.now(UTC))
        if progress.state != "running":
            break
    async with database.transaction(caller.tenant_id) as work:
        return await simulations.simulation(work, row["id"])


async def state_of(database: Database, tenant: uuid.UUID) -> list[list[Row]]:
    async with database.transaction(tenant) as work:
        return [
            await work.rows(f"select * from {table} where tenant_id = :t order by 1, 2, 3, 4",
                            {"t": tenant})
            for table in ("tickets", "clocks", "events", "notifications", "deliveries")
        ]  # fmt: skip


@pytest.mark.parametrize("draft", ["nothing", "the policy in force"])
async def test_the_current_policy_gives_exactly_what_was_and_changes_nothing(
    database: Database, tenant: uuid.UUID, caller: Principal, draft: str
) -> None:
    await busy_desk(database, tenant, seed=11, tickets=12, events=150)
    before = await state_of(database, tenant)
    request: dict[str, object] = {}
    if draft != "nothing":
        async with database.transaction(tenant) as work:
            [policy] = await work.rows(
                "select id from policies where tenant_id = :t", {"t": tenant}
            )
        request = {"policy": {"id": str(policy["id"])}}
    row = await finished(database, caller, await queued(database, caller, request))
    tally = row["tally"]
    assert row["state"] == "finished"
    assert (row["done"], tally["tickets"], tally["different"], tally["flipped"]) == (12, 12, 0, 0)
    assert tally["cycles"] > 0
    for counts in tally["metrics"].values():
        assert counts[:2] == counts[2:]
    assert await state_of(database, tenant) == before


async def answered_after(
    database: Database, tenant: uuid.UUID, minutes: list[int]
) -> tuple[Policy, list[int]]:
    """Tickets of Monday 7:00 that were answered then; an hour is promised."""
    desk = Tickets(Desks())
    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
        policy = await make_policy(work, first_reply=timedelta(hours=1), resolution=None)
    numbers = []
    for late in minutes:
        ticket = await make_ticket(database, desk, tenant, now=MONDAY)
        numbers.append(ticket.number)
        await happens(
            database, desk, tenant, ticket.number, AgentReplied(words()), by=agent,
            now=MONDAY + timedelta(minutes=late),
        )  # fmt: skip
    return policy, numbers


async def test_a_stricter_target_flips_exactly_the_tickets_between_the_two(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    policy, numbers = await answered_after(database, tenant, [10, 29, 30, 31, 59, 61])
    targets = {"first_reply": dict.fromkeys(("low", "normal", "high", "urgent"), "PT30M")}
    row = await queued(database, caller, {"policy": {"id": str(policy.id), "targets": targets}})
    tally = (await finished(database, caller, row))["tally"]
    assert tally["metrics"] == {"first_reply": [5, 1, 3, 3]}
    assert tally["teams"] == {"none": [5, 1, 3, 3]}
    assert tally["hours"] == {"7": [5, 1, 3, 3]}
    async with database.transaction(tenant) as work:
        flips = await simulations.flips(work, row["id"], after=(0, "", 0), limit=100)
    assert [(f["number"], f["before"], f["after"]) for f in flips] == [
        (numbers[3], "met", "missed"),
        (numbers[4], "met", "missed"),
    ]
    assert flips[0]["due_after"] == MONDAY + timedelta(minutes=30)


async def test_other_hours_are_tried_in_the_place_of_a_calendar(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    policy, _ = await answered_after(database, tenant, [61, 200])
    body = ALWAYS.model_dump(mode="json") | {"weekly": {"mon": [["09:00", "17:00"]]}}
    request: dict[str, object] = {"calendar": {"id": str(policy.calendar_id), "body": body}}
    tally = (await finished(database, caller, await queued(database, caller, request)))["tally"]
    assert tally["metrics"] == {"first_reply": [0, 2, 1, 1]}  # due at ten now, not at eight


async def test_a_holiday_that_was_forgotten_names_what_it_would_have_spared_and_rewrites_nothing(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    policy, numbers = await answered_after(database, tenant, [30, 61, 1079, 1081])
    body = ALWAYS.model_dump(mode="json") | {"holidays": [f"{MONDAY:%Y-%m-%d}"]}

    async def cycles() -> list[Row]:
        async with database.transaction(tenant) as work:
            return await work.rows("select * from clocks order by ticket_id, metric, cycle")

    before = await cycles()
    request: dict[str, object] = {"calendar": {"id": str(policy.calendar_id), "body": body}}
    row = await finished(database, caller, await queued(database, caller, request))
    assert row["tally"]["metrics"] == {"first_reply": [1, 3, 3, 1]}  # due Tuesday 1:00
    async with database.transaction(tenant) as work:
        flips = await simulations.flips(work, row["id"], after=(0, "", 0), limit=100)
    assert [(f["number"], f["before"], f["after"]) for f in flips] == [
        (number, "missed", "met") for number in numbers[1:3]
    ]
    assert await cycles() == before


async def test_a_limit_of_pauses_is_tried_for_a_policy_in_force_and_for_a_new_one(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    desk = Tickets(Desks())
    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
        policy = await make_policy(work, first_reply=None, resolution=timedelta(hours=2))
    ticket = await make_ticket(database, desk, tenant, now=MONDAY)
    for hours, status in ((1, "pending"), (9, "open"), (9.5, "resolved")):
        await happens(
            database, desk, tenant, ticket.number, Changed(status=status), by=agent,
            now=MONDAY + timedelta(hours=hours),
        )  # fmt: skip
    limit = {"resolution": "PT3H"}

    async def tried(request: dict[str, object]) -> object:
        asked = SimulationIn.model_validate(request).model_dump(mode="json", exclude_unset=True)
        row = await finished(database, caller, await queued(database, caller, asked))
        return row["tally"]["metrics"]

    assert await tried({}) == {"resolution": [1, 0, 1, 0]}
    assert await tried({"policy": {"id": str(policy.id), "max_pause": limit}}) == {
        "resolution": [1, 0, 0, 1]
    }
    new: dict[str, object] = {
        "position": 1, "calendar_id": str(policy.calendar_id), "max_pause": limit,
        "targets": {"resolution": dict.fromkeys(("low", "normal", "high", "urgent"), "PT2H")},
    }  # fmt: skip
    assert await tried({"new_policies": [new]}) == {"resolution": [1, 0, 0, 1]}


async def test_conditions_choose_anew_among_the_policies(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    policy, numbers = await answered_after(database, tenant, [10, 70])
    async with database.transaction(tenant) as work:
        await work.execute(
            "update tickets set subject = subject where tenant_id = :t", {"t": tenant}
        )
    nobody = {"field": "priority", "op": "is", "value": "urgent"}
    row = await queued(database, caller, {"policy": {"id": str(policy.id), "conditions": nobody}})
    tally = (await finished(database, caller, row))["tally"]
    assert tally["metrics"] == {"first_reply": [1, 1, 0, 0]}
    assert tally["flipped"] == len(numbers)


EVERY = ("low", "normal", "high", "urgent")


@pytest.mark.parametrize("others", [1, 3])
async def test_a_new_policy_behind_all_others_that_matches_nothing_changes_nothing(
    database: Database, tenant: uuid.UUID, caller: Principal, others: int
) -> None:
    """Also where tickets lived under several versions and policies one after the other."""
    await busy_desk(database, tenant, seed=17, tickets=12, events=150)
    async with database.transaction(tenant) as work:
        for _ in range(others - 1):
            await work.execute(
                "update policies set name = id::text where tenant_id = :t", {"t": tenant}
            )
            await make_policy(work, first_reply=timedelta(minutes=20))
        [policy, *_] = await work.rows(
            "select body from policies p join policy_versions v on v.tenant_id = p.tenant_id"
            " and v.policy_id = p.id and v.version = p.version where p.tenant_id = :t"
            " order by p.position, p.id",
            {"t": tenant},
        )
    new: dict[str, object] = {
        "name": "Nobody's",
        "calendar_id": policy["body"]["calendar_id"],
        "targets": {"first_reply": dict.fromkeys(EVERY, "PT1M")},
        "conditions": {"field": "tags", "op": "has", "value": "no ticket has it"},
    }
    tally = (await finished(database, caller, await queued(
        database, caller, {"new_policies": [new, {**new, "position": 1}]}
    )))["tally"]  # fmt: skip
    assert (tally["tickets"], tally["different"], tally["flipped"]) == (12, 0, 0)


async def test_a_new_policy_takes_the_tickets_it_is_for_if_it_stands_ahead(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    policy, _ = await answered_after(database, tenant, [10, 40])
    body = ALWAYS.model_dump(mode="json")
    targets = {"first_reply": dict.fromkeys(EVERY, "PT30M")}
    new: dict[str, object] = {"calendar": body, "targets": targets}

    async def tried(*drafts: dict[str, object], **more: object) -> object:
        request: dict[str, object] = {"new_policies": list(drafts), **more}
        row = await finished(database, caller, await queued(database, caller, request))
        return row["tally"]["metrics"]

    assert await tried({**new, "position": 1}) == {"first_reply": [2, 0, 1, 1]}
    assert await tried(new) == {"first_reply": [2, 0, 2, 0]}  # behind one that takes them all
    moved = [{"id": str(policy.id), "position": 2}]
    assert await tried({**new, "position": 1}, policies=moved) == {"first_reply": [2, 0, 1, 1]}
    gone = [{"id": str(policy.id), "active": False}]
    assert await tried(new, policies=gone) == {"first_reply": [2, 0, 1, 1]}
    email = {**new, "position": 1, "conditions": {"field": "channel", "op": "is", "value": "api"}}
    assert await tried(email) == {"first_reply": [2, 0, 2, 0]}


async def test_policies_and_calendars_are_tried_together(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    policy, _ = await answered_after(database, tenant, [10, 61, 200])
    body = ALWAYS.model_dump(mode="json") | {"weekly": {"mon": [["09:00", "17:00"]]}}
    request: dict[str, object] = {
        "policies": [
            {"id": str(policy.id), "targets": {"first_reply": dict.fromkeys(EVERY, "PT90M")}}
        ],
        "calendars": [{"id": str(policy.calendar_id), "body": body}],
    }
    tally = (await finished(database, caller, await queued(database, caller, request)))["tally"]
    assert tally["metrics"] == {"first_reply": [1, 2, 3, 0]}  # until 10:30 instead of 8:00


async def test_it_is_paused_resumed_and_cancelled_by_its_row_and_a_chunk_twice_counts_once(
    database: Database, tenant: uuid.UUID, caller: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "CHUNK", 2)
    await answered_after(database, tenant, [10, 20, 70, 80, 90])
    row = await queued(database, caller, {})
    runner = SimulationRunner(database)
    now = datetime.now(UTC)

    async def steer(wish: str) -> Row:
        async with database.transaction(tenant) as work:
            return await simulations.steer(
                work, row["id"], wish, caller=caller, origin=Origin(), now=now
            )

    assert (await runner.chunk(tenant, row["id"], now=now)).state == "running"
    await steer("pause")
    assert (await runner.chunk(tenant, row["id"], now=now)).state == "paused"
    resumed = await steer("resume")
    assert (resumed["done"], resumed["total"]) == (2, 5)
    with pytest.raises(Conflict):
        await steer("resume")
    done = await finished(database, caller, row)
    assert (done["state"], done["done"], done["tally"]["tickets"]) == ("finished", 5, 5)
    assert done["tally"]["metrics"] == {"first_reply": [2, 3, 2, 3]}
    with pytest.raises(Conflict):
        await steer("cancel")
    other = await queued(database, caller, {})
    async with database.transaction(tenant) as work:
        await simulations.steer(
            work, other["id"], "cancel", caller=caller, origin=Origin(), now=now
        )
    assert (await finished(database, caller, other))["done"] == 0


async def test_a_draft_that_is_none_is_refused_before_a_job_is_made_of_it(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    policy, _ = await answered_after(database, tenant, [])
    unknown = str(uuid.uuid4())
    drafts: list[dict[str, object]] = [
        {"policy": {"id": unknown}},
        {"calendar": {"id": unknown, "body": ALWAYS.model_dump(mode="json")}},
        {"policy": {"id": str(policy.id), "calendar_id": unknown}},
        {"policy": {"id": str(policy.id), "targets": {"first_reply": {"normal": "-PT1H"}}}},
        {"policies": [{"id": str(policy.id)}, {"id": str(policy.id)}]},
        {"policies": [{"id": str(policy.id), "position": 0}]},
        {"new_policies": [{"targets": {}}]},
        {"new_policies": [{"targets": {}, "calendar_id": unknown}]},
        {"new_policies": [{"targets": {"first_reply": 3}, "calendar_id": str(policy.calendar_id)}]},
        {"new_policies": [{"targets": {}, "calendar_id": str(policy.calendar_id), "clocks": [
            {"metric": "group:line", "teams": [unknown]}]}]},
        {"calendars": [{"id": unknown, "body": ALWAYS.model_dump(mode="json")}]},
    ]  # fmt: skip
    for request in drafts:
        with pytest.raises(Invalid):
            await queued(database, caller, request)


async def test_it_is_folded_in_processes_of_its_own_which_end_with_it(
    database: Database, tenant: uuid.UUID, caller: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulations, "FEW", 0)
    await answered_after(database, tenant, [10, 70, 80])
    processes = Processes(1)
    row = await finished(database, caller, await queued(database, caller, {}), processes)
    assert row["tally"]["metrics"] == {"first_reply": [1, 2, 1, 2]}
    assert processes._pool is None


async def test_what_was_cut_short_is_told_again_and_what_was_paused_is_not(
    database: Database, tenant: uuid.UUID, caller: Principal, urls: Urls
) -> None:
    left, paused = [await queued(database, caller, {}) for _ in range(2)]
    async with database.transaction(tenant) as work:
        await simulations.steer(
            work, paused["id"], "pause", caller=caller, origin=Origin(), now=datetime.now(UTC)
        )
    relays = Database(urls.relay, pool_size=2)

    async def told() -> Counter[object]:
        async with relays.transaction(None) as work:
            rows = await work.rows(
                "select ticket_id from outbox where tenant_id = :t and kind = 'simulation'",
                {"t": tenant},
            )
        return Counter(row["ticket_id"] for row in rows)

    try:
        before = await told()
        await jobs.restart(relays)
        after = await told()
    finally:
        await relays.close()
    assert after - before == Counter([left["id"]])
