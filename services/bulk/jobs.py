"""Jobs as people see them: asked for, looked at, cancelled, undone."""

import uuid
from collections.abc import Sequence
from datetime import datetime

from psycopg.types.json import Jsonb

from domain.errors import Conflict, Invalid, NotFound
from domain.permissions import Permission, Principal
from models.base import new_id
from models.session import Row, Work
from services import audit, jobs
from services.bulk.change import BulkChange
from services.tickets import Origin
from services.views import TicketFilter, Views

MOST = 1000


class BulkNotFound(NotFound):
    code = "bulk_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such bulk job.")


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
    concerned: tuple[str, tuple[object, ...]] = (
        f"{_ACTIVE} and not exists (select from"
        " policies p where p.tenant_id = t.tenant_id and p.id = any(%s) and p.active"
        " and p.id = t.policy_id and p.version = t.policy_version)",
        (work.tenant_id, list(policy_ids)),
    )
    return await _retimed(work, policy_ids, concerned, caller=caller, origin=origin, now=now)


async def withdraw(
    work: Work, policy_id: uuid.UUID, *, caller: Principal, origin: Origin, now: datetime
) -> Row | None:
    """A job that times anew whatever is still timed by a policy; None where nothing is.

    For one that was taken out of force: what nobody promises any more is due for nobody, and what
    another policy promises instead is.
    """
    query = f"{_ACTIVE} and t.policy_id = %s"
    concerned: tuple[str, tuple[object, ...]] = (query, (work.tenant_id, policy_id))
    [found] = await work.batch((f"{query} limit 1", concerned[1]))
    if not found:
        return None
    return await _retimed(work, [policy_id], concerned, caller=caller, origin=origin, now=now)


_ACTIVE = (
    "select t.number as n from tickets t where t.tenant_id = %s"
    " and t.category in ('new', 'open', 'pending', 'on_hold')"
)


async def _retimed(
    work: Work,
    policy_ids: Sequence[uuid.UUID],
    concerned: tuple[str, tuple[object, ...]],
    *,
    caller: Principal,
    origin: Origin,
    now: datetime,
) -> Row:
    change = BulkChange(values={"retimed": [str(one) for one in policy_ids]})
    for permission in change.permissions:
        caller.require(permission)
    return await _put(work, caller=caller, change=change, items=concerned, origin=origin, now=now)


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
        jobs.told("bulk", tenant, job_id),
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
    """The job with a count per result, and per code of what needs a look.

    Seen by who asked for it, and by supervisors and admins.
    """
    row = await work.row(
        "select j.id, j.created_by, j.action, j.state, j.total, j.created_at, j.finished_at,"
        " (select coalesce(jsonb_object_agg(c.state, c.n), '{}') from (select i.state,"
        "  count(*) as n from bulk_items i where i.tenant_id = j.tenant_id and i.job_id = j.id"
        "  group by i.state) c) as counts,"
        " (select coalesce(jsonb_object_agg(c.code, c.n), '{}') from (select i.code,"
        "  count(*) as n from bulk_items i where i.tenant_id = j.tenant_id and i.job_id = j.id"
        "  and i.code is not null group by i.code) c) as codes"
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
        jobs.told("bulk", work.tenant_id, job_id),
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


def _oversees(caller: Principal) -> bool:
    return caller.scope(Permission.AUDIT_VIEW) is not None


async def _locked(work: Work, job_id: uuid.UUID) -> None:
    await work.execute(
        "select 1 from bulk_jobs where tenant_id = :tenant and id = :id for update",
        {"tenant": work.tenant_id, "id": job_id},
    )
