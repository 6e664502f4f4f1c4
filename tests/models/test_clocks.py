"""Cycles of clocks come back from their rows as they were written."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import errors

from domain.sla import (
    Acknowledgement,
    Clock,
    DueOverride,
    Metric,
    Outcome,
    Pause,
    StepDone,
)
from models import ledger
from models.base import new_id
from models.session import Database
from services.desks import Desks
from services.tickets import Tickets
from tests.making import make_ticket

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


async def kept(database: Database, tenant: uuid.UUID, *clocks: Clock) -> list[Clock]:
    """What a ticket's clocks are after they were written and read again."""
    ticket = await make_ticket(database, Tickets(Desks()), tenant)
    async with database.transaction(tenant) as work:
        await work.batch(*ledger.upsert_clocks(tenant, ticket.id, clocks))
    async with database.transaction(tenant) as work:
        [rows] = await work.batch(ledger.clocks_of(tenant, [ticket.number]))
    return [ledger.to_clock(row) for row in rows]


async def test_everything_a_cycle_keeps_comes_back(database: Database, tenant: uuid.UUID) -> None:
    person, policy = new_id(), new_id()
    full = Clock(
        metric=Metric("custom:acknowledged"),
        cycle=3,
        policy_id=policy,
        policy_version=2,
        calendar_id=new_id(),
        calendar_version=5,
        target=8 * HOUR,
        target_days=1,
        started_at=AT,
        planned_at=AT + HOUR,
        planned_because="priority_change",
        due_at=AT + 8 * HOUR,
        pauses=(Pause(start=AT + HOUR, end=AT + 2 * HOUR),),
        stopped_at=AT + 10 * HOUR,
        outcome=Outcome.MISSED,
        breached_at=AT + 8 * HOUR,
        detected_at=AT + 9 * HOUR,
        caused_by="policy_change",
        steps_done=("warn",),
        steps_log=(
            StepDone(
                step="warn", same="abc", policy_id=policy, policy_version=2, at=AT, tier=2,
                skipped="the ticket is assigned",
            ),
        ),
        team_id=new_id(),
        assignee_id=person,
        due_override=DueOverride(due_at=AT + 8 * HOUR, by=person, reason="agreed", set_at=AT),
        acknowledged=Acknowledgement(at=AT, until=AT + HOUR, by=person),
        used=9 * HOUR,
        paused=HOUR,
    )  # fmt: skip
    assert await kept(database, tenant, full) == [full]


async def test_a_cycle_that_never_applied_is_kept_as_such(
    database: Database, tenant: uuid.UUID
) -> None:
    plain = Clock(
        metric=Metric.FIRST_REPLY,
        target=HOUR,
        started_at=AT,
        planned_at=AT,
        stopped_at=AT,
        outcome=Outcome.NOT_APPLICABLE,
    )
    assert await kept(database, tenant, plain) == [plain]


async def test_one_cycle_of_a_clock_runs_at_a_time(database: Database, tenant: uuid.UUID) -> None:
    running = Clock(metric=Metric.NEXT_REPLY, target=HOUR, started_at=AT, planned_at=AT)
    with pytest.raises(errors.UniqueViolation):
        await kept(database, tenant, running, running.model_copy(update={"cycle": 2}))
