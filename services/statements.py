"""Signed monthly statements: made once, kept byte for byte, chained per customer."""

import json
import uuid
from collections.abc import Callable
from datetime import date, datetime
from typing import Literal

from adapters.statements import pdf
from domain.errors import Conflict, Invalid, NotFound
from domain.permissions import Principal
from domain.statements import (
    FIRST,
    SIGNATURE,
    StatementPlan,
    chain_fault,
    month_after,
    months_due,
    sealed,
    signing_key,
    span_of,
    spelled,
)
from models.base import new_id
from models.session import Database, Row, Work
from services import alerting, audit, promises
from services.promises import By, Chosen, Every, Which
from services.tickets import Origin

Kind = Literal["organization", "customer"]
_TABLES = {"organization": "organizations", "customer": "customers"}
_LOCK = 0x57A7
MOST_MISSED = 2000  # cycles named one by one; beyond that the statement says how many more


class StatementNotFound(NotFound):
    code = "statement_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such statement.")


class StatementMade(Conflict):
    code = "statement_made"

    def __init__(self, month: str) -> None:
        super().__init__(f"The statement of {month} was signed already. It is not made anew.")


async def make(
    work: Work,
    *,
    secret: str,
    kind: Kind,
    subject_id: uuid.UUID,
    month: date,
    caller: Principal | None,
    origin: Origin | None,
    now: datetime,
) -> Row:
    """The month's statement, signed and chained to the one before. A month is stated once.

    Months are those of the zone that the tenant chose, else of UTC; over when they are stated, and
    stated in their order. One that follows the month before begins where that one ended, so that
    nothing counts twice or never when the tenant chooses another zone.
    """
    tenant = await work.row(
        "select slug, name, settings -> 'monthly_statements' ->> 'zone' as zone from tenants"
        " where id = :t",
        {"t": work.tenant_id},
    )
    assert tenant is not None
    month, zone = month.replace(day=1), tenant["zone"] or "UTC"
    since, until = span_of(month, zone)
    if until > now:
        raise Invalid("The month is not over.", fields={"/month": "has not ended"})
    subject = await work.row(
        f"select name from {_TABLES[kind]} where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": subject_id},
    )
    if subject is None:
        raise Invalid(f"There is no such {kind}.", fields={"/subject_id": "is not known"})
    # One at a time for each chain: two must not follow the same one.
    await work.execute(
        "select pg_advisory_xact_lock((:lock)::int, (:key)::int)",
        {"lock": _LOCK, "key": int.from_bytes(subject_id.bytes[-4:], "big", signed=True)},
    )
    last = await work.row(
        "select position, month, hash, said from statements"
        " where tenant_id = :tenant and kind = :kind and subject_id = :id"
        " order by position desc limit 1",
        {"tenant": work.tenant_id, "kind": kind, "id": subject_id},
    )
    if last is not None and last["month"] == month:
        raise StatementMade(month.isoformat()[:7])
    if last is not None and last["month"] > month:
        raise Conflict("A later month was stated already; statements follow each other.")
    if last is not None and month_after(last["month"]) == month:
        since = datetime.fromisoformat(json.loads(bytes(last["said"]))["to"])
    own = (subject_id,)
    chosen = Chosen(
        since=since,
        until=until,
        customer=own if kind == "customer" else (),
        organization=own if kind == "organization" else (),
    )
    statement_id = new_id()
    said = sealed(
        {
            "format": "holdfast-sla-statement/1",
            "id": str(statement_id),
            "tenant": tenant["slug"],
            "tenant_name": tenant["name"],
            "kind": kind,
            "subject_id": str(subject_id),
            "subject": subject["name"],
            "month": month.isoformat()[:7],
            "from": since.isoformat(),
            "to": until.isoformat(),
            "zone": zone,
            "made_at": now.isoformat(),
            "position": 1 if last is None else last["position"] + 1,
            "previous": FIRST if last is None else bytes(last["hash"]).hex(),
            "signed_with": SIGNATURE,
            "definitions": dict(promises.DEFINITIONS),
            **await _figures(work, chosen, now),
        },
        signing_key(secret, tenant["slug"]),
    )
    await work.batch(
        (
            "insert into statements (tenant_id, id, kind, subject_id, month, position, said, hash,"
            " created_by, created_at) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                work.tenant_id, statement_id, kind, subject_id, month, said["position"],
                spelled(said), bytes.fromhex(str(said["hash"])), caller.id if caller else None, now,
            ),
        )
    )  # fmt: skip
    await audit.record(
        work, caller=caller, origin=origin, action="statement.signed", target_kind="statement",
        target_id=statement_id, data={"month": said["month"], "hash": said["hash"]}, now=now,
    )  # fmt: skip
    return await statement(work, statement_id)


async def _figures(work: Work, chosen: Chosen, now: datetime) -> dict[str, object]:
    """The sums, and each promise that was missed."""
    by_metric = await promises.attainment(
        work, chosen, by=By.METRIC, every=Every.MONTH, zone="UTC", now=now
    )
    total = await promises.total(work, chosen, now=now)
    missed: list[dict[str, object]] = []
    cursor: str | None = None
    while len(missed) < MOST_MISSED:
        rows, cursor = await promises.cycles(
            work, chosen, which=Which.ENDED, outcome=("missed",), now=now, limit=200, cursor=cursor
        )
        missed += [
            {
                "ticket": row["number"],
                "metric": row["metric"],
                "cycle": row["cycle"],
                "policy_version": row["policy_version"],
                "calendar_version": row["calendar_version"],
                "started": row["started_at"].isoformat(),
                "breached": row["breached_at"].isoformat(),
                "ended": row["stopped_at"].isoformat(),
                "cause": row["caused_by"],
                "noticed": row["detected_at"].isoformat() if row["detected_at"] else None,
            }
            for row in rows
        ]
        if cursor is None:
            break
    names = ("met", "missed", "cancelled", "not_applicable", "attainment", "minutes_over", "used")
    return {
        "total": {name: total[name] for name in names},
        "metrics": {
            row["key"]: {name: row[name] for name in names}
            for row in by_metric
            if row["met"] or row["missed"] or row["cancelled"] or row["not_applicable"]
        },
        "missed": missed[:MOST_MISSED],
        "missed_not_listed": max(0, total["missed"] - len(missed[:MOST_MISSED])),
    }


_SHOWN = "id, kind, subject_id, month, position, said, hash, created_by, created_at"


async def statement(work: Work, statement_id: uuid.UUID) -> Row:
    """One, with the signed document as bytes."""
    row = await work.row(
        f"select {_SHOWN} from statements where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": statement_id},
    )
    if row is None:
        raise StatementNotFound
    return row


async def statements(
    work: Work,
    *,
    kind: Kind | None = None,
    subject_id: uuid.UUID | None = None,
    before: uuid.UUID | None = None,
    limit: int,
) -> list[Row]:
    """Those of the tenant, or of one customer or organization, newest first."""
    asked = {"kind": kind, "subject_id": subject_id}
    given: dict[str, object] = {name: value for name, value in asked.items() if value is not None}
    where = "".join(f" and {name} = :{name}" for name in given)
    if before is not None:
        where, given["before"] = f"{where} and id < :before", before
    return await work.rows(
        f"select {_SHOWN} from statements where tenant_id = :tenant{where}"
        " order by id desc limit :limit",
        {"tenant": work.tenant_id, "limit": limit, **given},
    )


def as_pdf(row: Row) -> bytes:
    """The statement as a page to print."""
    document = bytes(row["said"])
    return pdf(json.loads(document), document)


async def chain(work: Work, *, secret: str, kind: Kind, subject_id: uuid.UUID) -> str | None:
    """Where the chain of a customer or organization first fails to hold; None where it holds."""
    tenant = await work.row("select slug from tenants where id = :t", {"t": work.tenant_id})
    assert tenant is not None
    rows = await work.rows(
        "select said from statements where tenant_id = :tenant and kind = :kind"
        " and subject_id = :id order by position",
        {"tenant": work.tenant_id, "kind": kind, "id": subject_id},
    )
    said = [json.loads(bytes(row["said"])) for row in rows]
    if said and (said[0].get("kind"), said[0].get("subject_id")) != (kind, str(subject_id)):
        return "Statement 1 is another's."
    return chain_fault(said, signing_key(secret, tenant["slug"]))


# Made by themselves.


async def make_due(
    relay_database: Database,
    database: Database,
    *,
    secret: str,
    now: datetime,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Makes what tenants want made every month and is due, for organizations; how many.

    Each in a transaction of its own, and each once: broken off or repeated, it goes on with what
    is left. When a month is complete the admins hear of it, in the same transaction as its row.
    """
    async with relay_database.transaction(None) as work:
        planned = await work.rows(
            "select id, settings -> 'monthly_statements' as plan from tenants"
            " where jsonb_typeof(settings -> 'monthly_statements') = 'object' order by id"
        )
    made = 0
    for row in planned:
        tenant, plan = row["id"], StatementPlan.model_validate(row["plan"])
        async with database.transaction(tenant) as work:
            runs = await work.rows(
                "select month from statement_runs where tenant_id = :tenant", {"tenant": tenant}
            )
        for month in months_due(plan, {run["month"] for run in runs}, now=now):
            made += await _make_all(
                database, tenant, plan, month, secret=secret, now=now, progress=progress
            )
            progress(made)
    return made


async def _make_all(
    database: Database,
    tenant: uuid.UUID,
    plan: StatementPlan,
    month: date,
    *,
    secret: str,
    now: datetime,
    progress: Callable[[int], None],
) -> int:
    """A month's statements of every organization that has one before, or to which it happened."""
    since, until = span_of(month, plan.zone)
    async with database.transaction(tenant) as work:
        wanted = await work.rows(
            "select o.id from organizations o where o.tenant_id = :tenant and (exists (select from"
            " statements s where s.tenant_id = o.tenant_id and s.kind = 'organization'"
            " and s.subject_id = o.id) or exists (select from clocks c join tickets t"
            " on t.tenant_id = c.tenant_id and t.id = c.ticket_id where c.tenant_id = o.tenant_id"
            " and t.organization_id = o.id and c.stopped_at >= :since and c.stopped_at < :until))"
            " and not exists (select from statements s where s.tenant_id = o.tenant_id"
            "  and s.kind = 'organization' and s.subject_id = o.id and s.month >= :month)"
            " order by o.id",
            {"tenant": tenant, "since": since, "until": until, "month": month},
        )
    made = 0
    for row in wanted:
        try:
            async with database.transaction(tenant) as work:
                await make(
                    work, secret=secret, kind="organization", subject_id=row["id"], month=month,
                    caller=None, origin=None, now=now,
                )  # fmt: skip
        except (Conflict, Invalid):
            continue  # somebody was faster, or the organization is gone
        made += 1
        progress(made)
    async with database.transaction(tenant) as work:
        await _finish(work, plan, month, now=now)
    return made


async def _finish(work: Work, plan: StatementPlan, month: date, *, now: datetime) -> None:
    """The month is complete: noted once, and told to the admins with it."""
    said = month.isoformat()[:7]
    finished = await work.rows(
        "insert into statement_runs (tenant_id, month, zone, made, finished_at)"
        " select :tenant, :month, :zone, count(*), :now from statements"
        " where tenant_id = :tenant and kind = 'organization' and month = :month"
        " on conflict (tenant_id, month) do nothing returning made",
        {"tenant": work.tenant_id, "month": month, "zone": plan.zone, "now": now},
    )
    if not finished:
        return
    admins = await work.rows(
        "select id from users where tenant_id = :tenant and active and role = 'admin' order by id",
        {"tenant": work.tenant_id},
    )
    told = {"month": said, "zone": plan.zone, "made": finished[0]["made"]}
    if admins:
        await work.batch(
            *(
                alerting.notice(work.tenant_id, admin["id"], "statements_made", told, at=now)
                for admin in admins
            )
        )
