"""How long things take, from timelines: what the clocks would say had all of it been promised."""

import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from domain.calendars import Calendar
from domain.errors import Invalid
from domain.sla import Metric, Outcome, Policy, Terms
from domain.states import Priority
from domain.tickets import AgentReplied, Changed, CustomerReplied
from domain.tickets.replay import Recorded, replay
from models import ledger
from models.session import Database
from services.desks import Desks
from services.tickets import Tickets
from services.times import _HEARD as HEARD
from services.times import MEASURED, By, Chosen, times
from tests.making import ALWAYS, happens, make_agent, make_policy, make_team, make_ticket, words
from tests.services.test_verifying import MONDAY, busy_desk

H = timedelta(hours=1)
NEVER = timedelta(days=3660)
PAUSES = {"requester_wait": ["pending"], "agent_work": ["pending", "on_hold"]}


def everything() -> Terms:
    """All of it promised, for the far future, round the clock."""
    policy = Policy.model_validate(
        {
            "id": uuid.UUID(int=1), "version": 1, "name": "All", "calendar_id": uuid.UUID(int=2),
            "calendar_version": 1, "pause_in": PAUSES,
            "targets": {metric: dict.fromkeys(Priority, NEVER) for metric in MEASURED},
        }
    )  # fmt: skip
    return Terms(policy, Calendar.model_validate(ALWAYS.model_dump()))


def _timed_by(entry: Recorded, policy: Policy) -> dict[str, list[object]]:
    """The changes of an entry, had the ticket been timed by that policy from the first."""
    changes = {n: v for n, v in entry.changes.items() if n not in ("policy_id", "policy_version")}
    if entry.seq == 1:
        changes |= {"policy_id": [None, str(policy.id)], "policy_version": [None, policy.version]}
    return changes


@pytest.mark.slow  # three busy desks
@pytest.mark.parametrize("seed", range(3))
async def test_timelines_say_what_the_clocks_say_where_all_of_it_is_promised(
    database: Database, tenant: uuid.UUID, seed: int
) -> None:
    await busy_desk(database, tenant, seed=100 + seed, tickets=8, events=110)
    terms = everything()
    wanted: Counter[tuple[str, datetime, float]] = Counter()
    async with database.transaction(tenant) as work:
        tickets = await work.rows("select id from tickets where tenant_id = :t", {"t": tenant})
        for ticket in tickets:
            [rows] = await work.batch(ledger.timeline_of(tenant, ticket["id"]))
            told = [Recorded(**row) for row in rows]
            plain = [
                replace(entry, changes=_timed_by(entry, terms.policy))
                for entry in told
                if entry.type not in ("sla_due_set", "sla_due_reset")
            ]
            found = replay(plain, lambda *_: terms, now=told[-1].occurred_at)
            for clock in found.clocks:
                if clock.outcome is not Outcome.MET or clock.stopped_at is None:
                    continue
                took = clock.stopped_at - clock.started_at
                if clock.metric in (Metric.REQUESTER_WAIT, Metric.AGENT_WORK):
                    assert clock.used is not None
                    took = clock.used
                wanted[clock.metric.value, clock.stopped_at, took.total_seconds()] += 1
        counted = await work.rows(
            HEARD.replace("{where}", "t.tenant_id = :tenant")
            + "select metric, stop, extract(epoch from took)::float8 as took from measured"
            " where took is not null",
            {"tenant": tenant},
        )
    got = Counter((row["metric"], row["stop"], row["took"]) for row in counted)
    assert got == wanted
    assert {metric for metric, *_ in got} == {metric.value for metric in MEASURED}


async def test_a_desk_without_a_policy_has_its_times_and_no_clocks(
    database: Database, tenant: uuid.UUID
) -> None:
    desk = Tickets(Desks())
    async with database.transaction(tenant) as work:
        team = await make_team(work)
        agent = await make_agent(work, teams=(team,))
    ticket = await make_ticket(database, desk, tenant, now=MONDAY)
    for at, payload, by in (
        (1 * H, Changed(team_id=team, assignee_id=agent), agent),
        (2 * H, AgentReplied(words(), status="pending"), agent),
        (5 * H, CustomerReplied(words(), ticket.requester_id, ticket.channel), None),
        (6 * H, AgentReplied(words(), status="on_hold"), agent),
        (10 * H, AgentReplied(words(), status="resolved"), agent),
        (20 * H, Changed(status="open"), agent),
        (21 * H, Changed(status="resolved"), agent),
    ):
        await happens(database, desk, tenant, ticket.number, payload, by=by, now=MONDAY + at)
    chosen = Chosen(since=MONDAY, until=MONDAY + 100 * H)
    async with database.transaction(tenant) as work:
        clocks = await work.rows("select metric from clocks where tenant_id = :t", {"t": tenant})
        found = await times(work, chosen, by=By.METRIC)
        of_team = await times(work, chosen, by=By.TEAM)
        early = await times(work, Chosen(since=MONDAY, until=MONDAY + 10 * H), by=By.METRIC)
    assert clocks == []
    said = {row["metric"]: (row["count"], row["mean"] / 60) for row in found}
    assert said == {
        "first_reply": (1, 2.0),
        "next_reply": (1, 1.0),
        "first_resolution": (1, 10.0),
        "resolution": (2, 15.5),  # ten hours, and twenty-one
        "requester_wait": (2, 7.5),  # seven hours without pending, and one more
        "agent_work": (2, 3.5),  # three without being on hold, and one more
    }
    assert {row["key"] for row in of_team} == {str(team)}
    assert {row["metric"] for row in early} == {"first_reply", "next_reply"}


async def test_what_an_agent_opened_or_nobody_answered_has_no_first_reply(
    database: Database, tenant: uuid.UUID
) -> None:
    desk = Tickets(Desks())
    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
        await make_policy(work)
    ticket = await make_ticket(database, desk, tenant, now=MONDAY)
    for at, payload in (
        (1 * H, Changed(assignee_id=agent, status="resolved")),
        (2 * H, AgentReplied(words())),
    ):
        await happens(database, desk, tenant, ticket.number, payload, by=agent, now=MONDAY + at)
    async with database.transaction(tenant) as work:
        found = await times(work, Chosen(since=MONDAY, until=MONDAY + 9 * H), by=By.METRIC)
    assert "first_reply" not in {row["metric"] for row in found}


def test_a_report_that_makes_no_sense_is_refused() -> None:
    now = datetime.now(UTC)
    for since in (now, now + H, now - timedelta(days=401)):
        with pytest.raises(Invalid):
            Chosen(since=since, until=now).check()
