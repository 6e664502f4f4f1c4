"""A job at work: its tickets in chunks, each with an outcome of its own."""

import asyncio
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from psycopg.types.json import Jsonb

from domain.errors import Refusal, Unavailable
from domain.permissions import Principal
from domain.tickets import Event, Undone
from models import ledger
from models.session import Database, Row, Work
from services.auth import load_principal
from services.bulk.change import BulkChange
from services.tickets import Origin, Outcome, Step, Tickets

logger = logging.getLogger(__name__)

CHUNK = 20
# Timing anew is one thing done to a ticket, and many of them have to be: an open desk's worth.
RETIMING_CHUNK = 500
# So many share a transaction, and are locked as long as it takes: some tens of milliseconds.
RETIMED_AT_ONCE = 20
# After each, the desk has this many times as long for itself: agents do not queue behind a policy.
PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    state: str
    left: int


class BulkRunner:
    """What the job's workflow does, a chunk at a time. Every chunk may be repeated."""

    def __init__(self, database: Database, tickets: Tickets) -> None:
        self._database = database
        self._tickets = tickets

    async def chunk(
        self,
        tenant_id: uuid.UUID,
        job_id: uuid.UUID,
        *,
        now: datetime,
        alive: Callable[[], None] = lambda: None,
    ) -> Progress:
        """Works through the next tickets, each in its own transaction; how the job stands then."""
        async with self._database.transaction(tenant_id) as work:
            row = await work.row(
                "select state, action, created_by, permissions, request from bulk_jobs"
                " where tenant_id = :tenant and id = :id for update",
                {"tenant": tenant_id, "id": job_id},
            )
            if row is None:
                return Progress("gone", 0)
            doing: Literal["queued", "done"] = "done" if row["state"] == "undoing" else "queued"
            retimes = BulkChange(values=row["action"]).retimes
            if row["state"] not in ("queued", "running", "undoing"):
                return Progress(row["state"], 0)
            todo = await work.rows(
                "select number, seq, before from bulk_items where tenant_id = :tenant"
                " and job_id = :id and state = :state order by number limit :limit",
                {
                    "tenant": tenant_id,
                    "id": job_id,
                    "state": doing,
                    "limit": RETIMING_CHUNK if retimes else CHUNK,
                },
            )
            if not todo:
                state = "undone" if row["state"] == "undoing" else "finished"
                await work.execute(
                    "update bulk_jobs set state = :state, finished_at = :now"
                    " where tenant_id = :tenant and id = :id",
                    {"state": state, "now": now, "tenant": tenant_id, "id": job_id},
                )
                return Progress(state, 0)
            if row["state"] == "queued":
                await work.execute(
                    "update bulk_jobs set state = 'running' where tenant_id = :tenant and id = :id",
                    {"tenant": tenant_id, "id": job_id},
                )
        if retimes:
            for first in range(0, len(todo), RETIMED_AT_ONCE):
                alive()
                begun = time.monotonic()
                some = todo[first : first + RETIMED_AT_ONCE]
                if not await self._retime(tenant_id, job_id, some, row):
                    for item in some:  # one of them is refused: each answers for itself
                        await self._apply(tenant_id, job_id, item, row)
                await asyncio.sleep((time.monotonic() - begun) * PAUSE)
            todo = []
        for item in todo:
            alive()
            if doing == "done":
                await self._undo(tenant_id, job_id, item, row)
            else:
                await self._apply(tenant_id, job_id, item, row)
        async with self._database.transaction(tenant_id) as work:
            left = await work.row(
                "select count(*) as n from bulk_items"
                " where tenant_id = :tenant and job_id = :id and state = :state",
                {"tenant": tenant_id, "id": job_id, "state": doing},
            )
        return Progress("running", left["n"] if left else 0)

    async def _apply(
        self, tenant_id: uuid.UUID, job_id: uuid.UUID, item: Row, job_row: Row
    ) -> None:
        number = item["number"]
        change = BulkChange(values=job_row["action"])
        try:
            async with self._database.transaction(tenant_id) as work:
                if not await _still(work, job_id, number, "queued"):
                    return
                caller = await _asker(work, job_row)
                [outcome] = await self._tickets.handle(
                    work,
                    Step(
                        number,
                        Event(
                            key=f"bulk/{job_id}/{number}",
                            actor=caller.actor,
                            payload=change.payload(),
                            cause={**job_row["request"], "bulk": str(job_id)},
                        ),
                        change.permissions,
                    ),
                    caller=caller,
                    origin=_from(job_row),
                )
                own = [e for e in outcome.entries if e.key == f"bulk/{job_id}/{number}"]
                if own and change.retimes:
                    code, detail = _retimed(outcome)
                    await _settle(
                        work, job_id, number, "done", seq=own[0].seq, code=code, detail=detail
                    )
                elif own:
                    before = {name: values[0] for name, values in own[0].changes.items()}
                    await _settle(work, job_id, number, "done", seq=own[0].seq, before=before)
                else:
                    await _settle(work, job_id, number, "unchanged")
        except Unavailable:
            raise  # nothing was done; the chunk is tried again
        except Exception as error:
            code, detail = _why(error)
            async with self._database.transaction(tenant_id) as work:
                await _settle(work, job_id, number, "refused", code=code, detail=detail)

    async def _retime(
        self, tenant_id: uuid.UUID, job_id: uuid.UUID, items: Sequence[Row], job_row: Row
    ) -> bool:
        """Times these anew in one transaction; False where that was refused, and nothing done."""
        change = BulkChange(values=job_row["action"])
        keys = {item["number"]: f"bulk/{job_id}/{item['number']}" for item in items}
        try:
            async with self._database.transaction(tenant_id) as work:
                still = await work.rows(
                    "select number from bulk_items where tenant_id = :tenant and job_id = :job"
                    " and number = any(:numbers) and state = 'queued' order by number for update",
                    {"tenant": tenant_id, "job": job_id, "numbers": list(keys)},
                )
                caller = await _asker(work, job_row)
                outcomes = await self._tickets.handle(
                    work,
                    *(
                        Step(
                            row["number"],
                            Event(
                                key=keys[row["number"]],
                                actor=caller.actor,
                                payload=change.payload(),
                                cause={**job_row["request"], "bulk": str(job_id)},
                            ),
                            change.permissions,
                        )
                        for row in still
                    ),
                    caller=caller,
                    origin=_from(job_row),
                )
                settled = [
                    (row["number"], *_result(outcome, keys[row["number"]]))
                    for row, outcome in zip(still, outcomes, strict=True)
                ]
                await work.batch(
                    (
                        "update bulk_items i set state = u.state, code = u.code, detail = u.detail,"
                        " seq = coalesce(u.seq, i.seq) from unnest(%s::bigint[], %s::text[],"
                        " %s::text[], %s::text[], %s::int[]) u(number, state, code, detail, seq)"
                        " where i.tenant_id = %s and i.job_id = %s and i.number = u.number",
                        ([list(c) for c in zip(*settled, strict=True)] or [[]] * 5)
                        + [tenant_id, job_id],
                    )
                )
        except Unavailable:
            raise  # nothing was done; the chunk is tried again
        except Exception as error:
            _why(error)
            return False
        return True

    async def _undo(self, tenant_id: uuid.UUID, job_id: uuid.UUID, item: Row, job_row: Row) -> None:
        number, before = item["number"], item["before"] or {}
        try:
            async with self._database.transaction(tenant_id) as work:
                if not await _still(work, job_id, number, "done"):
                    return
                # Locked first: what is put back must not overwrite what comes in between.
                await work.batch(ledger.lock_tickets(tenant_id, [number]))
                touched = await _touched_since(work, number, item["seq"])
                both = sorted(set(before) & touched)
                if both:
                    await _settle(
                        work,
                        job_id,
                        number,
                        "kept",
                        code="changed_meanwhile",
                        detail=f"Somebody has changed {', '.join(both)} since.",
                    )
                    return
                caller = await _asker(work, job_row)
                await self._tickets.handle(
                    work,
                    Step(
                        number,
                        Event(
                            key=f"bulk/{job_id}/{number}/undo",
                            actor=caller.actor,
                            payload=Undone(before),
                            cause={**job_row["request"], "bulk": str(job_id), "undo": True},
                        ),
                        BulkChange(values=job_row["action"]).permissions,
                    ),
                    caller=caller,
                    origin=_from(job_row),
                )
                await _settle(work, job_id, number, "undone")
        except Unavailable:
            raise
        except Exception as error:
            code, detail = _why(error)
            async with self._database.transaction(tenant_id) as work:
                await _settle(work, job_id, number, "kept", code=code, detail=detail)


def _result(outcome: Outcome, key: str) -> tuple[str, str | None, str | None, int | None]:
    """Of one that was timed anew: its state, code, detail, and the event's seq."""
    own = next((entry for entry in outcome.entries if entry.key == key), None)
    if own is None:
        return "unchanged", None, None, None
    return ("done", *_retimed(outcome), own.seq)


def _retimed(outcome: Outcome) -> tuple[str | None, str]:
    """What timing anew brought to a ticket: whether it is late because of it, and its next due."""
    broken = [
        str(entry.data["metric"]) for entry in outcome.entries if entry.type == "sla_breached"
    ]
    due = outcome.ticket.next_due_at
    then = f"Next due {due.isoformat(timespec='seconds')}." if due else "Nothing is due."
    return ("breached", f"Late now: {', '.join(broken)}. {then}") if broken else (None, then)


async def _asker(work: Work, job_row: Row) -> Principal:
    """Who asked for the job, with what they may do now of what they could do then."""
    caller = await load_principal(work, job_row["created_by"])
    kept = set(job_row["permissions"])
    grants = {p: scope for p, scope in caller.grants.items() if p.value in kept}
    return replace(caller, grants=grants)


def _why(error: Exception) -> tuple[str, str]:
    """What is told of a ticket that could not be changed; a bug must not hold up the others."""
    if isinstance(error, Refusal):
        return error.code, error.detail
    logger.exception("a bulk change failed", exc_info=error)
    return "internal", "Something went wrong with this ticket. It was left as it was."


def _from(job_row: Row) -> Origin:
    request = job_row["request"].get("request")
    return Origin(request_id=str(request) if request else None, auth_method="bulk")


async def _still(work: Work, job_id: uuid.UUID, number: int, state: str) -> bool:
    """Whether the item is still to be done: neither cancelled nor done by another attempt."""
    row = await work.row(
        "select state from bulk_items where tenant_id = :tenant and job_id = :job"
        " and number = :number for update",
        {"tenant": work.tenant_id, "job": job_id, "number": number},
    )
    return row is not None and row["state"] == state


async def _settle(
    work: Work,
    job_id: uuid.UUID,
    number: int,
    state: str,
    *,
    code: str | None = None,
    detail: str | None = None,
    seq: int | None = None,
    before: Mapping[str, object] | None = None,
) -> None:
    await work.batch(
        (
            "update bulk_items set state = %s, code = %s, detail = %s,"
            " seq = coalesce(%s, seq), before = coalesce(%s, before)"
            " where tenant_id = %s and job_id = %s and number = %s",
            (
                state,
                code,
                detail,
                seq,
                Jsonb(dict(before)) if before is not None else None,
                work.tenant_id,
                job_id,
                number,
            ),
        )
    )


async def _touched_since(work: Work, number: int, seq: int) -> set[str]:
    rows = await work.rows(
        "select distinct k from tickets t join events e on e.tenant_id = t.tenant_id"
        " and e.ticket_id = t.id and e.seq > :seq, jsonb_object_keys(e.changes) k"
        " where t.tenant_id = :tenant and t.number = :number",
        {"tenant": work.tenant_id, "number": number, "seq": seq},
    )
    return {row["k"] for row in rows}
