"""Another staffing tried on a desk's past: today's tells what was, one more answers sooner."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from api.simulations import _shown
from domain.errors import Invalid
from domain.permissions import Principal
from domain.tickets import AgentReplied
from models.session import Database, Row
from services import floors, simulations
from services.desks import Desks
from services.simulations import Processes
from services.tickets import Origin, Tickets
from tests.conftest import MakeTenant
from tests.making import ALWAYS, happens, make_agent, make_policy, make_ticket, words
from tests.services.test_simulations import caller, finished, queued, state_of
from tests.services.test_verifying import MONDAY

pytestmark = pytest.mark.slow  # a day of tickets is made

__all__ = ["caller"]
COUNT = 36
MORE: dict[str, object] = {"staffing": [{"agents": 1}]}


async def busy_day(database: Database, tenant: uuid.UUID) -> list[uuid.UUID]:
    """A ticket every ten minutes from 7:00 on; one person who answers one every twenty.

    An hour is promised, so what came after a while is late; another person has nothing to do.
    """
    desk = Tickets(Desks())
    async with database.transaction(tenant) as work:
        busy, idle = await make_agent(work, "Ada"), await make_agent(work, "Ben")
        await make_policy(work, first_reply=timedelta(hours=1), resolution=None)
    for number in range(COUNT):
        at = MONDAY + timedelta(minutes=10 * number)
        ticket = await make_ticket(database, desk, tenant, now=at)
        answered = MONDAY + timedelta(minutes=20 * number + 19)
        await happens(
            database, desk, tenant, ticket.number, AgentReplied(words()), by=busy, now=answered
        )
    return [busy, idle]


async def tried(
    database: Database, caller: Principal, request: dict[str, object],
    processes: Processes | None = None,
) -> Row:  # fmt: skip
    return await finished(database, caller, await queued(database, caller, request), processes)


async def test_todays_staffing_tells_what_was_and_changes_nothing(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    await busy_day(database, tenant)
    before = await state_of(database, tenant)
    row = await tried(database, caller, {"staffing": []})
    assert (row["state"], row["done"]) == ("finished", COUNT)
    found = _shown(row).staffing
    assert found is not None
    [sides] = found.metrics
    assert sides.recorded == sides.today == sides.draft
    assert sides.recorded.met + sides.recorded.missed == COUNT
    assert sides.recorded.missed > 20
    assert (found.calibration.fit, found.calibration.agreed) == ("good", 1.0)
    assert found.waits[0].recorded == found.waits[0].today
    assert found.flipped == 0
    assert await state_of(database, tenant) == before


async def test_one_more_answers_sooner_and_the_tickets_that_turn_are_named(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    await busy_day(database, tenant)
    row = await tried(database, caller, MORE)
    found = _shown(row).staffing
    assert found is not None
    [sides] = found.metrics
    assert sides.today == sides.recorded
    assert (sides.draft.met, sides.draft.missed) == (COUNT, 0)  # two are just enough
    [everybody] = [one for one in found.waits if one.key == "all"]
    assert everybody.draft.p90 is not None
    assert everybody.today.p90 is not None
    assert everybody.draft.p90 < everybody.today.p90 / 5
    assert found.flipped == sides.today.missed
    async with database.transaction(tenant) as work:
        flips = await simulations.flips(work, row["id"], after=(0, "", 0), limit=100)
    assert {(f["before"], f["after"]) for f in flips} == {("missed", "met")}
    assert len(flips) == found.flipped
    asked = sum(hour.asked for hour in found.load)
    assert asked == pytest.approx(sum(hour.done_draft for hour in found.load), abs=0.1)
    assert asked == pytest.approx(COUNT / 3, rel=0.02)
    there = [(sum(h.there_today for h in found.load)), sum(h.there_draft for h in found.load)]
    assert there[1] == pytest.approx(2 * there[0])


async def test_without_whoever_did_it_all_nothing_is_answered(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    [busy, _] = await busy_day(database, tenant)
    row = await tried(database, caller, {"staffing": [{"without": [str(busy)]}]})
    found = _shown(row).staffing
    assert found is not None
    [sides] = found.metrics
    assert (sides.draft.met, sides.draft.missed) == (0, COUNT)


@pytest.mark.parametrize("processes", [False, True])
async def test_in_chunks_and_processes_it_is_the_same(
    database: Database, tenant: uuid.UUID, caller: Principal, monkeypatch: pytest.MonkeyPatch,
    processes: bool,
) -> None:  # fmt: skip
    await busy_day(database, tenant)
    whole = await tried(database, caller, MORE)
    monkeypatch.setattr(floors, "CHUNK", 5)
    monkeypatch.setattr(simulations, "FEW", 0)
    parts = await tried(database, caller, MORE, Processes(2) if processes else None)
    for name in ("metrics", "teams", "hours", "waits", "compared", "agreed", "modelled"):
        assert parts["tally"][name] == whole["tally"][name], name
    assert parts["done"] == COUNT


async def test_it_is_cancelled_between_chunks_and_reads_no_other_tenant(
    database: Database, tenant: uuid.UUID, caller: Principal, make_tenant: MakeTenant,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    await busy_day(database, await make_tenant())
    empty = await tried(database, caller, {"staffing": []})
    assert (empty["tally"]["tickets"], empty["tally"]["modelled"]) == (0, 0)
    await busy_day(database, tenant)
    monkeypatch.setattr(floors, "CHUNK", 5)
    row = await queued(database, caller, MORE)
    runner, now = simulations.SimulationRunner(database), datetime.now(UTC)
    for _ in range(3):
        assert (await runner.chunk(tenant, row["id"], now=now)).state == "running"
    async with database.transaction(tenant) as work:
        await simulations.steer(work, row["id"], "cancel", caller=caller, origin=Origin(), now=now)
    assert (await runner.chunk(tenant, row["id"], now=now)).state == "cancelled"
    async with database.transaction(tenant) as work:
        assert (await simulations.simulation(work, row["id"]))["done"] == 10


async def test_what_names_nobody_here_is_refused(
    database: Database, tenant: uuid.UUID, caller: Principal
) -> None:
    unknown = str(uuid.uuid4())
    wrong: tuple[object, ...] = (
        [{"team_id": unknown}], [{"without": [unknown]}], [{"calendar_id": unknown}],
        [{"agents": 1000}], [{"capacity": 0}], "many", [{}] * 51,
    )  # fmt: skip
    for staffing in wrong:
        with pytest.raises(Invalid):
            await queued(database, caller, {"staffing": staffing})
    with pytest.raises(Invalid):
        await queued(database, caller, {"staffing": [], "calendars": [
            {"id": unknown, "body": ALWAYS.model_dump(mode="json")}]})  # fmt: skip
