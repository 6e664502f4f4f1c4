"""Whose models learn anew by themselves, and when: each desk by its own plan."""

import uuid
from collections.abc import Callable, Mapping
from datetime import datetime

from domain.desk import DeskSettings
from domain.errors import Conflict
from domain.learning import COLUMNS, FIELDS, TriageField
from domain.permissions import Principal
from domain.retraining import RetrainingPlan, is_due, next_turn
from models.session import Database, Row, Work
from services import learning, tenants
from services.tickets import Origin


async def plan_of(work: Work, *, now: datetime) -> Row:
    """The desk's plan, when it was last looked who is to learn, and when that is next."""
    row = await work.row(
        "select settings, retraining_looked_at, created_at from tenants where id = :id",
        {"id": work.tenant_id},
    )
    assert row is not None
    plan = _plan(row)
    return {
        **plan.model_dump(),
        "last": row["retraining_looked_at"],
        "next": next_turn(plan, looked_at=_looked_at(row), now=now),
    }


async def change_plan(
    work: Work,
    given: Mapping[str, object],
    *,
    caller: Principal,
    origin: Origin,
    now: datetime,
) -> Row:
    """The plan afterwards; audited as the setting of the tenant that it is. Raises Invalid."""
    await tenants.hold(work)
    row = await work.row("select settings from tenants where id = :id", {"id": work.tenant_id})
    assert row is not None
    await tenants.change_tenant(
        work,
        name=None,
        settings={"retraining": _plan(row).model_dump(mode="json") | dict(given)},
        caller=caller,
        origin=origin,
        now=now,
    )
    return await plan_of(work, now=now)


async def train_where_due(
    relay_database: Database,
    database: Database,
    *,
    now: datetime,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Every desk whose turn it is, and whose people judged enough, trains; how many models.

    One look is enough for all desks: the plan of each is in its row, those whose turn it is look
    at an index of their own, and what is queued waits for its turn on the models' queue.
    """
    async with relay_database.transaction(None) as work:
        rows = await work.rows(
            "select id, jsonb_build_object('retraining', settings -> 'retraining') as settings,"
            " retraining_looked_at, created_at from tenants order by id"
        )
    queued = 0
    for row in rows:
        plan = _plan(row)
        if is_due(plan, looked_at=_looked_at(row), now=now):
            queued += await _train(database, row["id"], plan, now)
        progress(queued)
    return queued


async def _train(
    database: Database, tenant_id: uuid.UUID, plan: RetrainingPlan, now: datetime
) -> int:
    queued = 0
    async with database.transaction(tenant_id) as work:
        for name in await _due(work, plan.least_new):
            try:
                await learning.train(work, name, caller=None, origin=None, now=now)
                queued += 1
            except Conflict:
                continue  # somebody was quicker
        await work.execute(
            "update tenants set retraining_looked_at = :now where id = :id",
            {"id": tenant_id, "now": now},
        )
    return queued


async def _due(work: Work, enough: int) -> list[TriageField]:
    """Questions that people decided of so many tickets since their last training."""
    rows = await work.rows(
        "select f.field from unnest(cast(:fields as text[]), cast(:columns as text[]))"
        " f(field, col)"
        " left join lateral (select m.created_at, m.state from triage_models m"
        "  where m.tenant_id = :tenant and m.field = f.field order by m.version desc limit 1) l"
        "  on true"
        " where coalesce(l.state, '') not in ('queued', 'training')"
        " and (select count(*) from (select from tickets t where t.tenant_id = :tenant"
        "  and t.updated_at > coalesce(l.created_at, '-infinity') and f.col = any(t.decided)"
        "  limit :enough) new) >= :enough",
        {
            "tenant": work.tenant_id,
            "fields": list(FIELDS),
            "columns": [COLUMNS[field] for field in FIELDS],
            "enough": enough,
        },
    )
    return [row["field"] for row in rows]


def _plan(row: Row) -> RetrainingPlan:
    said = row["settings"].get("retraining")
    return RetrainingPlan.model_validate(said) if said else DeskSettings().retraining


def _looked_at(row: Row) -> datetime:
    looked: datetime = row["retraining_looked_at"] or row["created_at"]
    return looked
