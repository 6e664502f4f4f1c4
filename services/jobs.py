"""Jobs: rows that a workflow of its own works on. The outbox tells Temporal of them."""

import uuid

from models.session import Database, Statement

_INSERT = (
    "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, created_at,"
    " available_at) "
)
# Each kind's rows that have not ended. What was queued within a minute was told, or is about to be:
# that counts for calls alone, which come in hundreds.
_UNFINISHED = (
    "select tenant_id, id, 'bulk' as kind from bulk_jobs"
    " where state in ('queued', 'running', 'undoing')",
    "select tenant_id, id, 'simulation' from simulations where state in ('queued', 'running')",
    "select tenant_id, id, 'retrain' from triage_models where state in ('queued', 'training')",
    "select tenant_id, id, 'backtest' from triage_backtests where state in ('queued', 'running')",
    "select tenant_id, id, 'delivery' from deliveries where ticket_id is null"
    " and state in ('queued', 'sending') and created_at < now() - interval '1 minute'",
)


def told(kind: str, tenant_id: uuid.UUID, row_id: uuid.UUID) -> Statement:
    """The relay starts the job's workflow after the commit, or when Temporal is back.

    Kinds are those of `domain.lifecycle.job_ref`.
    """
    return (
        _INSERT + "values ('workflows', %s, %s, 0, %s, 0, now(), now())",
        (tenant_id, row_id, kind),
    )


async def restart(relay_database: Database) -> int:
    """Tells Temporal again of every job that has not ended; how many. Those that run go on."""
    async with relay_database.transaction(None) as work:
        rows = await work.rows(
            f"{_INSERT} select 'workflows', tenant_id, id, 0, kind, 0, now(), now()"
            f" from ({' union all '.join(_UNFINISHED)}) jobs returning id"
        )
        if rows:
            work.wake_relay()
    return len(rows)
