"""What an event writes, row by row; `at_once` makes one statement of many."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache

from psycopg.types.json import Jsonb

from domain.sla import Clock
from domain.tickets import Entry, MessageMove, Notice, RelationChange, StoredMessage, Ticket
from models.ledger.rows import CLOCK_COLUMNS, CLOCK_NAMES, TICKET_NAMES, bind
from models.session import Statement

PROJECTIONS = ("index", "live")
DESTINATIONS = ("workflows", *PROJECTIONS)


def at_once(statements: Sequence[Statement]) -> Statement:
    """One statement that writes what these would: a fraction of the work of sending each.

    For writes of rows that are all different: none of them sees what another one wrote. Their
    parameters are positional.
    """
    if len(statements) == 1:
        return statements[0]
    values: list[object] = []
    for _, parameters in statements:
        assert not isinstance(parameters, Mapping)
        values += parameters
    return (_joined(tuple(sql for sql, _ in statements)), values)


@lru_cache(maxsize=1000)
def _joined(statements: tuple[str, ...]) -> str:
    *others, last = statements
    parts = ", ".join(f"w{i} as ({sql})" for i, sql in enumerate(others))
    return f"with {parts} {last}"


@lru_cache(maxsize=200)
def _insert(table: str, names: tuple[str, ...]) -> str:
    return f"insert into {table} ({', '.join(names)}) values ({', '.join(['%s'] * len(names))})"


def insert_ticket(tenant_id: uuid.UUID, ticket: Ticket) -> Statement:
    """Without its empty columns: nearly half of them are, and each costs something to send."""
    row = {n: v for n in TICKET_NAMES if (v := getattr(ticket, n)) is not None}
    return (
        _insert("tickets", ("tenant_id", *row)),
        [tenant_id, *(bind(n, v) for n, v in row.items())],
    )


def update_ticket(tenant_id: uuid.UUID, before: Ticket, after: Ticket) -> Statement:
    """Only what changed is sent: a reply touches a handful of columns."""
    changed = [n for n in TICKET_NAMES if getattr(before, n) != getattr(after, n)]
    return (
        f"update tickets set {', '.join(f'{n} = %s' for n in changed)}"
        " where tenant_id = %s and id = %s",
        [*(bind(n, getattr(after, n)) for n in changed), tenant_id, after.id],
    )


_INSERT_EVENT = (
    "insert into events (tenant_id, ticket_id, seq, type, key, actor_kind, actor_id, cause,"
    " changes, data, occurred_at, recorded_at)"
    " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


def insert_events(
    tenant_id: uuid.UUID, ticket_id: uuid.UUID, entries: Iterable[Entry], *, recorded_at: datetime
) -> list[Statement]:
    return [
        (
            _INSERT_EVENT,
            (
                tenant_id,
                ticket_id,
                e.seq,
                e.type,
                e.key,
                e.actor.kind.value,
                e.actor.id,
                Jsonb(dict(e.cause)),
                Jsonb(dict(e.changes)),
                Jsonb({k: v for k, v in e.data.items() if v is not None}),
                e.occurred_at,
                recorded_at,
            ),
        )
        for e in entries
    ]


_INSERT_MESSAGE = (
    "insert into messages (tenant_id, id, ticket_id, origin_ticket_id, seq, author_kind, author_id,"
    " visibility, channel, body_text, body_html, created_at)"
    " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)


def insert_messages(
    tenant_id: uuid.UUID,
    ticket_id: uuid.UUID,
    messages: Iterable[StoredMessage],
    *,
    origin_id: uuid.UUID | None = None,
) -> list[Statement]:
    statements: list[Statement] = []
    for m in messages:
        statements.append(
            (
                _INSERT_MESSAGE,
                (
                    tenant_id,
                    m.message.id,
                    ticket_id,
                    origin_id or ticket_id,
                    m.seq,
                    m.author_kind,
                    m.author_id,
                    m.visibility.value,
                    str(m.channel),
                    m.message.text,
                    m.message.html,
                    m.created_at,
                ),
            )
        )
        if m.message.attachments:
            statements.append(
                (
                    "update attachments set message_id = %s"
                    " where tenant_id = %s and id = any(%s) and message_id is null",
                    (m.message.id, tenant_id, list(m.message.attachments)),
                )
            )
    return statements


_UPSERT_CLOCK = (
    f"insert into clocks (tenant_id, ticket_id, {CLOCK_COLUMNS})"
    f" values ({', '.join(['%s'] * (2 + len(CLOCK_NAMES)))})"
    " on conflict (tenant_id, ticket_id, metric, cycle) do update set "
    + ", ".join(f"{n} = excluded.{n}" for n in CLOCK_NAMES if n not in ("metric", "cycle"))
)


def upsert_clocks(
    tenant_id: uuid.UUID, ticket_id: uuid.UUID, clocks: Iterable[Clock]
) -> list[Statement]:
    statements: list[Statement] = []
    # Those that stop first: a new cycle may not run beside the one it follows.
    for clock in sorted(clocks, key=lambda c: (c.stopped_at is None, c.cycle)):
        values: dict[str, object] = {n: bind(n, getattr(clock, n)) for n in CLOCK_NAMES}
        values["pauses"] = Jsonb([p.model_dump(mode="json") for p in clock.pauses])
        values["steps_log"] = Jsonb([d.model_dump(mode="json") for d in clock.steps_log])
        for name in ("due_override", "acknowledged"):
            said = getattr(clock, name)
            values[name] = None if said is None else Jsonb(said.model_dump(mode="json"))
        statements.append((_UPSERT_CLOCK, [tenant_id, ticket_id, *values.values()]))
    return statements


_INSERT_OUTBOX = (
    "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, actor_id, trace,"
    " created_at, available_at) select d, %s, %s, %s, %s, %s, %s, %s, now(), now()"
    " from unnest(%s::text[]) d"
)


def insert_outbox(
    tenant_id: uuid.UUID,
    ticket: Ticket,
    kind: str,
    *,
    actor_id: uuid.UUID | None,
    cause: Mapping[str, object],
    destinations: Iterable[str] = DESTINATIONS,
) -> Statement:
    trace = {name: cause[name] for name in ("request", "correlation") if name in cause}
    return (
        _INSERT_OUTBOX,
        (
            tenant_id,
            ticket.id,
            ticket.number,
            kind,
            ticket.seq,
            actor_id,
            Jsonb(trace),
            list(destinations),
        ),
    )


def insert_notices(
    tenant_id: uuid.UUID,
    ticket_id: uuid.UUID,
    notices: Iterable[tuple[uuid.UUID, Notice]],
    *,
    at: datetime,
) -> list[Statement]:
    return [
        (
            "insert into notifications (tenant_id, id, user_id, ticket_id, seq, kind, data,"
            " created_at) values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
            (tenant_id, id_, n.user_id, ticket_id, n.seq, n.kind, Jsonb(dict(n.data)), at),
        )
        for id_, n in notices
    ]


def write_relations(
    tenant_id: uuid.UUID, changes: Iterable[RelationChange], *, at: datetime
) -> list[Statement]:
    return [
        (
            "insert into relations (tenant_id, source_id, kind, target_id, created_at)"
            " values (%s, %s, %s, %s, %s) on conflict (tenant_id, source_id, kind, target_id)"
            " do nothing",
            (tenant_id, c.source_id, c.kind.value, c.target_id, at),
        )
        if c.add
        else (
            "delete from relations where tenant_id = %s and source_id = %s and kind = %s"
            " and target_id = %s",
            (tenant_id, c.source_id, c.kind.value, c.target_id),
        )
        for c in changes
    ]


def move_messages(tenant_id: uuid.UUID, move: MessageMove) -> Statement:
    """Messages change their ticket; where they were written stays on them."""
    if move.message_ids is not None:
        return (
            "update messages set ticket_id = %s where tenant_id = %s and ticket_id = %s"
            " and id = any(%s)",
            (move.to_id, tenant_id, move.from_id, list(move.message_ids)),
        )
    if move.origin_id is not None:  # back home, with all that had been merged in there before
        return (
            "with recursive home as (select %(origin)s::uuid as id union"
            " select t.id from tickets t join home h on t.merged_into = h.id"
            " where t.tenant_id = %(tenant)s)"
            " update messages set ticket_id = %(to)s where tenant_id = %(tenant)s"
            " and origin_ticket_id in (select id from home) and ticket_id <> %(to)s",
            {"origin": move.origin_id, "to": move.to_id, "tenant": tenant_id},
        )
    return (
        "update messages set ticket_id = %s where tenant_id = %s and ticket_id = %s",
        (move.to_id, tenant_id, move.from_id),
    )


def write_watchers(
    tenant_id: uuid.UUID,
    ticket_id: uuid.UUID,
    *,
    watch: Iterable[uuid.UUID],
    unwatch: Iterable[uuid.UUID],
    at: datetime,
) -> list[Statement]:
    added: list[Statement] = [
        (
            "insert into watchers (tenant_id, ticket_id, user_id, created_at)"
            " values (%s, %s, %s, %s) on conflict do nothing",
            (tenant_id, ticket_id, user, at),
        )
        for user in watch
    ]
    gone = list(unwatch)
    if gone:
        added.append(
            (
                "delete from watchers where tenant_id = %s and ticket_id = %s"
                " and user_id = any(%s)",
                (tenant_id, ticket_id, gone),
            )
        )
    return added


def insert_audit(
    tenant_id: uuid.UUID,
    *,
    id: uuid.UUID,
    at: datetime,
    actor_kind: str,
    actor_id: uuid.UUID | None,
    action: str,
    target_kind: str,
    target_id: str | None,
    data: Mapping[str, object],
    ip: str | None,
    auth_method: str | None,
    request_id: str | None,
) -> Statement:
    return (
        "insert into audit_entries (tenant_id, id, at, actor_kind, actor_id, action, target_kind,"
        " target_id, data, ip, auth_method, request_id)"
        " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            tenant_id, id, at, actor_kind, actor_id, action, target_kind, target_id,
            Jsonb(dict(data)), ip, auth_method, request_id,
        ),
    )  # fmt: skip


def insert_customer(
    tenant_id: uuid.UUID,
    *,
    id: uuid.UUID,
    name: str,
    organization_id: uuid.UUID | None,
    at: datetime,
) -> Statement:
    return (
        "insert into customers (tenant_id, id, name, organization_id, created_at, updated_at)"
        " values (%s, %s, %s, %s, %s, %s)",
        (tenant_id, id, name, organization_id, at, at),
    )


def insert_identity(
    tenant_id: uuid.UUID,
    *,
    id: uuid.UUID,
    customer_id: uuid.UUID,
    kind: str,
    value: str,
    verified_at: datetime | None,
    at: datetime,
) -> Statement:
    """Gives a row when it was new. No update on conflict: that would lock a shared row."""
    return (
        "insert into customer_identities (tenant_id, id, customer_id, kind, value, verified_at,"
        " created_at) values (%s, %s, %s, %s, %s, %s, %s)"
        " on conflict (tenant_id, kind, value) do nothing returning id",
        (tenant_id, id, customer_id, kind, value, verified_at, at),
    )
