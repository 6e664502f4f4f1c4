"""One change to many tickets: the list is fixed at once, each ticket answers for itself."""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from psycopg.types.json import Jsonb

from domain.desk import Desk
from domain.errors import Conflict, Invalid, NotFound, Refusal, Unavailable
from domain.permissions import Permission, Principal
from domain.states import Priority, TicketType
from domain.tickets import Changed, Event, Retimed, Undone
from models import ledger
from models.base import new_id
from models.session import Database, Row, Work
from services import audit
from services.auth import load_principal
from services.tickets import Origin, Outcome, Step, Tickets
from services.views import TicketFilter, Views

logger = logging.getLogger(__name__)

MOST = 1000
CHUNK = 20
# Timing anew is one thing done to a ticket, and many of them have to be: an open desk's worth.
RETIMING_CHUNK = 500
# So many share a transaction, and are locked as long as it takes: some tens of milliseconds.
RETIMED_AT_ONCE = 20


class BulkNotFound(NotFound):
    code = "bulk_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such bulk job.")


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkChange:
    """What is to be changed, as it is stored with the job. Only what is in `values` is touched.

    `retimed` names the policies that tickets are timed anew for, where that is the job.
    """

    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def retimes(self) -> bool:
        return "retimed" in self.values

    def payload(self) -> Changed | Retimed:
        """What happens to each ticket."""
        return Retimed() if self.retimes else self.changed()

    def changed(self) -> Changed:
        given = dict(self.values)
        if given.get("priority") is not None:
            given["priority"] = Priority(str(given["priority"]))
        if given.get("type") is not None:
            given["type"] = TicketType(str(given["type"]))
        for name in ("team_id", "assignee_id"):
            if given.get(name) is not None:
                given[name] = uuid.UUID(str(given[name]))
        for name in ("tags", "add_tags", "remove_tags"):
            if name in given:
                given[name] = tuple(given[name])  # type: ignore[arg-type]
        return Changed(**given)  # type: ignore[arg-type]

    def check(self, desk: Desk) -> None:
        """Refuses what no ticket could take, before a job is made of it. Raises Invalid."""
        change = self.changed()
        if isinstance(change.status, str) and change.status not in desk.statuses:
            raise Invalid("There is no such status.", fields={"/change/status": "is not known"})
        if isinstance(change.team_id, uuid.UUID):
            team = desk.teams.get(change.team_id)
            if team is None or not team.active:
                raise Invalid(
                    "There is no such team.", fields={"/change/team_id": "names no active team"}
                )
        if isinstance(change.assignee_id, uuid.UUID):
            agent = desk.agents.get(change.assignee_id)
            if agent is None or not agent.active:
                raise Invalid(
                    "There is no such agent.",
                    fields={"/change/assignee_id": "names nobody who takes tickets"},
                )

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """What the same change to one ticket would need, and the right to change many."""
        if self.retimes:
            return (Permission.SLA_MANAGE,)
        asked = set(self.values) - {"reason"}
        needed = [Permission.TICKETS_BULK]
        if asked & {"team_id", "assignee_id"}:
            needed.append(Permission.TICKETS_ASSIGN)
        if asked - {"team_id", "assignee_id"}:
            needed.append(Permission.TICKETS_CHANGE)
        return tuple(needed)


async def queue(
    work: Work,
    views: Views,
    *,
    caller: Principal,
    numbers: Sequence[int] | None,
    wanted: TicketFilter | None,
    change: BulkChange,
    origin: Origin,
    now: datetime,
) -> Row:
    """The job, committed with its list; its workflow is started by the relay.

    A filter is evaluated once, here: what matches later is not touched. Each ticket is changed with
    what the caller may do then, and never with more than they could when they asked: a ticket out
    of their reach is refused when its turn comes.
    """
    if not change.values:
        raise Invalid("Say what to change.", fields={"/change": "is empty"})
    change.changed()
    for permission in change.permissions:
        caller.require(permission)
    if wanted is not None:
        page = await views.tickets(work, caller, wanted, now=now, limit=MOST)
        if page.next is not None:
            raise Invalid(
                f"More than {MOST} tickets match. Narrow the filter.",
                fields={"/filter": f"matches more than {MOST} tickets"},
            )
        chosen = [item.row["number"] for item in page.items]
    else:
        chosen = sorted(set(numbers or ()))
        if len(chosen) > MOST:
            raise Invalid(
                f"At most {MOST} tickets at once.", fields={"/numbers": f"names more than {MOST}"}
            )
    if not chosen:
        raise Invalid("No ticket is meant.", fields={"/numbers": "is empty"})
    return await _put(
        work,
        caller=caller,
        change=change,
        items=("select n from unnest(%s::bigint[]) n", (chosen,)),
        origin=origin,
        now=now,
    )


async def retime(
    work: Work,
    policy_ids: Sequence[uuid.UUID],
    *,
    caller: Principal,
    origin: Origin,
    now: datetime,
) -> Row:
    """A job that times every active ticket anew that may be promised something else by now.

    That are all but those timed by the present version of one of these policies: their conditions
    may hold for others than before. A ticket that is promised the same is `unchanged`. Closed and
    resolved ones are left alone; who reopens one times it anew.
    """
    for permission in BulkChange(values={"retimed": ()}).permissions:
        caller.require(permission)
    concerned: tuple[str, tuple[object, ...]] = (
        "select t.number as n from tickets t where t.tenant_id = %s"
        " and t.category in ('new', 'open', 'pending', 'on_hold') and not exists (select from"
        " policies p where p.tenant_id = t.tenant_id and p.id = any(%s) and p.active"
        " and p.id = t.policy_id and p.version = t.policy_version)",
        (work.tenant_id, list(policy_ids)),
    )
    return await _put(
        work,
        caller=caller,
        change=BulkChange(values={"retimed": [str(one) for one in policy_ids]}),
        items=concerned,
        origin=origin,
        now=now,
    )


async def _put(
    work: Work,
    *,
    caller: Principal,
    change: BulkChange,
    items: tuple[str, tuple[object, ...]],
    origin: Origin,
    now: datetime,
) -> Row:
    """The job's rows; `items` is a query that gives the number of each ticket as `n`."""
    job_id = new_id()
    tenant = work.tenant_id
    await work.batch(
        (
            "insert into bulk_jobs (tenant_id, id, created_by, action, permissions, request,"
            " state, total, created_at) values (%s, %s, %s, %s, %s, %s, 'queued', %s, %s)",
            (
                tenant,
                job_id,
                caller.id,
                Jsonb(dict(change.values)),
                sorted(p.value for p in caller.grants),
                Jsonb(origin.cause),
                0,
                now,
            ),
        ),
        (
            "insert into bulk_items (tenant_id, job_id, number, state)"
            f" select %s, %s, i.n, 'queued' from ({items[0]}) i",
            (tenant, job_id, *items[1]),
        ),
        # Of a query, what it found when it was asked for the last time.
        (
            "update bulk_jobs set total = (select count(*) from bulk_items"
            " where tenant_id = %s and job_id = %s) where tenant_id = %s and id = %s",
            (tenant, job_id, tenant, job_id),
        ),
        _outbox(tenant, job_id),
    )
    made = await job(work, job_id, caller)
    await audit.record(
        work,
        caller=caller,
        origin=origin,
        action="bulk.queued",
        target_kind="bulk_job",
        target_id=job_id,
        data={"total": made["total"], "change": dict(change.values)},
        now=now,
    )
    work.wake_relay()
    return made


async def job(work: Work, job_id: uuid.UUID, caller: Principal) -> Row:
    """The job with a count per result. Seen by who asked for it, and by supervisors and admins."""
    row = await work.row(
        "select j.id, j.created_by, j.action, j.state, j.total, j.created_at, j.finished_at,"
        " (select coalesce(jsonb_object_agg(c.state, c.n), '{}') from (select i.state,"
        "  count(*) as n from bulk_items i where i.tenant_id = j.tenant_id and i.job_id = j.id"
        "  group by i.state) c) as counts"
        " from bulk_jobs j where j.tenant_id = :tenant and j.id = :id",
        {"tenant": work.tenant_id, "id": job_id},
    )
    if row is None or not (row["created_by"] == caller.id or _oversees(caller)):
        raise BulkNotFound
    return row


async def items(
    work: Work, job_id: uuid.UUID, caller: Principal, *, after: int, limit: int
) -> list[Row]:
    """What became of each ticket, by number."""
    await job(work, job_id, caller)
    return await work.rows(
        "select number, state, code, detail, seq from bulk_items"
        " where tenant_id = :tenant and job_id = :id and number > :after"
        " order by number limit :limit",
        {"tenant": work.tenant_id, "id": job_id, "after": after, "limit": limit},
    )


async def cancel(
    work: Work, job_id: uuid.UUID, caller: Principal, *, origin: Origin, now: datetime
) -> Row:
    """What is not done yet will not be done; what is done stays, and can be undone."""
    await _locked(work, job_id)
    row = await job(work, job_id, caller)
    if row["state"] not in ("queued", "running"):
        raise Conflict(f"The job is {row['state']}; there is nothing left to cancel.")
    await work.batch(
        (
            "update bulk_jobs set state = 'cancelled', finished_at = %s"
            " where tenant_id = %s and id = %s",
            (now, work.tenant_id, job_id),
        ),
        (
            "update bulk_items set state = 'cancelled'"
            " where tenant_id = %s and job_id = %s and state = 'queued'",
            (work.tenant_id, job_id),
        ),
    )
    await audit.record(
        work,
        caller=caller,
        origin=origin,
        action="bulk.cancelled",
        target_kind="bulk_job",
        target_id=job_id,
    )
    return await job(work, job_id, caller)


async def undo(work: Work, job_id: uuid.UUID, caller: Principal, *, origin: Origin) -> Row:
    """Each ticket the job changed gets its earlier values back, if nobody changed them since."""
    await _locked(work, job_id)
    row = await job(work, job_id, caller)
    if BulkChange(values=row["action"]).retimes:
        raise Conflict("Timing anew is undone by putting the policy back and timing anew again.")
    if row["state"] not in ("finished", "cancelled"):
        raise Conflict(f"The job is {row['state']}. It can be undone once it has ended.")
    if not row["counts"].get("done"):
        raise Conflict("The job changed nothing; there is nothing to undo.")
    await work.batch(
        (
            "update bulk_jobs set state = 'undoing', finished_at = null"
            " where tenant_id = %s and id = %s",
            (work.tenant_id, job_id),
        ),
        _outbox(work.tenant_id, job_id),
    )
    await audit.record(
        work,
        caller=caller,
        origin=origin,
        action="bulk.undo",
        target_kind="bulk_job",
        target_id=job_id,
    )
    work.wake_relay()
    return await job(work, job_id, caller)


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
                some = todo[first : first + RETIMED_AT_ONCE]
                if not await self._retime(tenant_id, job_id, some, row):
                    for item in some:  # one of them is refused: each answers for itself
                        await self._apply(tenant_id, job_id, item, row)
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


def _oversees(caller: Principal) -> bool:
    return caller.scope(Permission.AUDIT_VIEW) is not None


def _outbox(tenant_id: uuid.UUID, job_id: uuid.UUID) -> tuple[str, tuple[object, ...]]:
    """The relay starts the job's workflow, now or when Temporal is back."""
    return (
        "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, created_at,"
        " available_at) values ('workflows', %s, %s, 0, 'bulk', 0, now(), now())",
        (tenant_id, job_id),
    )


async def _locked(work: Work, job_id: uuid.UUID) -> None:
    await work.execute(
        "select 1 from bulk_jobs where tenant_id = :tenant and id = :id for update",
        {"tenant": work.tenant_id, "id": job_id},
    )


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
