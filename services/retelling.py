"""Telling the index of all tickets of a customer or an organization that got another name.

The rename writes one row into the outbox. Whoever tells the index turns it into rows of tickets,
some at a time: an organization may have fifty thousand, and nobody waits for them.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from psycopg.types.json import Jsonb

from models.session import Work

# Tickets put into the outbox per transaction: some tens of milliseconds.
BATCH = 500

Renamed = Literal["customer", "organization"]
KINDS: Mapping[str, str] = {"customer": "requester_id", "organization": "organization_id"}


async def begin(work: Work, kind: Renamed, renamed_id: uuid.UUID) -> None:
    """Once this is committed, the index will hear of every ticket that shows the name."""
    await _put(work, kind, renamed_id, step=0, cursor={})
    work.wake_relay()


async def begin_again(work: Work, *, since: datetime) -> None:
    """The same for every name that changed since then: an index filled meanwhile may lack it."""
    for kind, table in (("customer", "customers"), ("organization", "organizations")):
        await work.batch(
            (
                "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq,"
                f" created_at, available_at) select 'index', %s, id, 0, '{kind}', 0, now(), now()"
                f" from {table} where tenant_id = %s and updated_at >= %s and created_at < %s",
                (work.tenant_id, work.tenant_id, since, since),
            )
        )
    work.wake_relay()


async def carry_on(
    work: Work, kind: str, renamed_id: uuid.UUID, *, step: int, cursor: Mapping[str, str]
) -> int:
    """Puts the next tickets into the outbox and the rest after them; how many were put.

    Newest first. Tickets opened since the rename have the new name anyway. Done twice, the index
    hears twice of the same state.
    """
    column = KINDS[kind]
    values: dict[str, object] = {"tenant": work.tenant_id, "id": renamed_id, "n": BATCH}
    further = ""
    if cursor:
        # The plain bound is for the index, which has no ids.
        further = " and created_at <= :at and (created_at, id) < (:at, :last)"
        values["at"] = datetime.fromisoformat(cursor["at"])
        values["last"] = uuid.UUID(cursor["id"])
    rows = await work.rows(
        "select id, number, seq, created_at from tickets"
        f" where tenant_id = :tenant and {column} = :id{further}"
        " order by created_at desc, id desc limit :n",
        values,
    )
    if not rows:
        return 0
    await work.batch(
        (
            "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, created_at,"
            " available_at) select 'index', %s, i, n, 'renamed', s, now(), now()"
            " from unnest(%s::uuid[], %s::bigint[], %s::int[]) u(i, n, s)",
            (
                work.tenant_id,
                [row["id"] for row in rows],
                [row["number"] for row in rows],
                [row["seq"] for row in rows],
            ),
        )
    )
    if len(rows) == BATCH:
        last = rows[-1]
        await _put(
            work,
            kind,
            renamed_id,
            step=step + 1,
            cursor={"at": last["created_at"].isoformat(), "id": str(last["id"])},
        )
    work.wake_relay()
    return len(rows)


async def _put(
    work: Work, kind: str, renamed_id: uuid.UUID, *, step: int, cursor: Mapping[str, str]
) -> None:
    """A row for what is left. Of two for the same name the relay keeps the greater seq: the one
    that is less far, so that a second rename is never taken for the rest of the first."""
    await work.batch(
        (
            "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, trace,"
            " created_at, available_at) values ('index', %s, %s, 0, %s, %s, %s, now(), now())",
            (work.tenant_id, renamed_id, kind, -step, Jsonb(dict(cursor))),
        )
    )
