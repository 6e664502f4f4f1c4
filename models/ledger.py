"""The hot write path in raw SQL: what one event reads and writes, ready to be sent in one batch."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from enum import Enum
from functools import lru_cache
from operator import itemgetter

from psycopg.types.json import Jsonb

from domain.scoring import MOST_BEFORE
from domain.sla import Clock
from domain.states import ActorKind, Category, Channel, Priority, TicketType
from domain.tickets import Entry, MessageMove, Notice, RelationChange, StoredMessage, Ticket
from models.session import Row, Statement

_NAMES = tuple(field.name for field in fields(Ticket))
TICKET_NAMES = _NAMES
_JSON = frozenset({"fields", "reminder", "escalation", "verdict"})
_COLUMNS = ", ".join(_NAMES)
_CLOCK_NAMES = tuple(Clock.model_fields)
_CLOCK_COLUMNS = ", ".join(_CLOCK_NAMES)

PROJECTIONS = ("index", "live")
DESTINATIONS = ("workflows", *PROJECTIONS)


def _bind(name: str, value: object) -> object:
    if value is None:
        return None
    if name in _JSON:
        return Jsonb(dict(value) if isinstance(value, Mapping) else value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return list(value)
    return value


_TYPED: tuple[tuple[str, Mapping[object, object]], ...] = tuple(
    (name, {None: None, **{member.value: member for member in kind}})
    for name, kind in (
        ("category", Category),
        ("channel", Channel),
        ("created_by_kind", ActorKind),
        ("priority", Priority),
        ("type", TicketType),
    )
)
_named_columns = itemgetter(*_NAMES)


def to_ticket(row: Row) -> Ticket:
    """The row as the rules see it."""
    values = dict(zip(_NAMES, _named_columns(row), strict=True))
    for name, members in _TYPED:  # looked up: calling an Enum costs five times as much
        values[name] = members[values[name]]
    values["tags"] = tuple(values["tags"])
    values["decided"] = tuple(values["decided"])
    return Ticket(**values)


def to_clock(row: Row) -> Clock:
    return Clock.model_validate({name: row[name] for name in _CLOCK_NAMES})


# Reads.


def lock_tickets(tenant_id: uuid.UUID, numbers: Iterable[int]) -> Statement:
    """The rows of tickets, locked in ascending id order: two of these never deadlock."""
    return (
        f"select {_COLUMNS} from tickets where tenant_id = %s and number = any(%s)"
        " order by id for update",
        (tenant_id, list(numbers)),
    )


def clocks_of(tenant_id: uuid.UUID, numbers: Iterable[int]) -> Statement:
    return (
        f"select c.ticket_id, {', '.join(f'c.{n}' for n in _CLOCK_NAMES)} from clocks c"
        " join tickets t on t.tenant_id = c.tenant_id and t.id = c.ticket_id"
        " where t.tenant_id = %s and t.number = any(%s) order by c.metric, c.cycle",
        (tenant_id, list(numbers)),
    )


def surroundings(tenant_id: uuid.UUID, numbers: list[int], keys: Iterable[str]) -> Statement:
    """One row with what events are decided by beside their tickets.

    `applied` are those of the keys that events have already; `mails` says by ticket id where a
    public reply goes: to the requester's oldest address; `watchers` who watches it.
    """
    return (
        "select n.config_version,"
        " array(select e.key from events e where e.tenant_id = n.id"
        "  and e.key = any(%s)) as applied,"
        " (select jsonb_object_agg(t.id, (select i.value from customer_identities i"
        "   where i.tenant_id = t.tenant_id and i.customer_id = t.requester_id"
        "   and i.kind = 'email' order by i.created_at, i.id limit 1))"
        "  from tickets t where t.tenant_id = n.id and t.number = any(%s)) as mails,"
        " (select jsonb_object_agg(w.ticket_id, w.users) from (select w.ticket_id,"
        "   jsonb_agg(w.user_id) as users from watchers w join tickets t"
        "   on t.tenant_id = w.tenant_id and t.id = w.ticket_id"
        "   where t.tenant_id = n.id and t.number = any(%s) group by w.ticket_id) w) as watchers"
        " from tenants n where n.id = %s",
        (list(keys), numbers, numbers, tenant_id),
    )


def config_version(tenant_id: uuid.UUID) -> Statement:
    return ("select config_version, slug from tenants where id = %s", (tenant_id,))


def creation(
    tenant_id: uuid.UUID,
    key: str,
    *,
    recent: datetime,
    customer_id: uuid.UUID | None = None,
    kind: str = "",
    value: str = "",
    domain: str = "",
) -> Statement:
    """All that a new ticket has to know, in one row, its number taken from the counter.

    The customer is named by id or by an identity; `domain` is that of their mail address. `applied`
    is the ticket that was made under this key before; `earlier` counts theirs since `recent`, as
    far as it matters.
    """
    return (
        "select n.config_version, nextval(%s::regclass) as number,"
        " (select e.ticket_id from events e where e.tenant_id = n.id and e.key = %s) as applied,"
        " c.id as customer_id, c.organization_id as customer_organization,"
        " d.id as organization_id, case when c.id is null then d.tier else"
        "  (select o.fields ->> 'tier' from organizations o where o.tenant_id = n.id"
        "   and o.id = c.organization_id) end as tier,"
        " (select count(*) from (select from tickets t where t.tenant_id = n.id"
        "  and t.requester_id = c.id and t.created_at > %s and t.category <> 'merged'"
        f"  limit {MOST_BEFORE}) theirs) as earlier"
        " from tenants n left join customers c on c.tenant_id = n.id and c.id = coalesce(%s::uuid,"
        "  (select i.customer_id from customer_identities i where i.tenant_id = n.id"
        "   and i.kind = %s and i.value = %s))"
        " left join lateral (select o.id, o.fields ->> 'tier' as tier from organizations o"
        "  where o.tenant_id = n.id and o.domains @> array[%s]::text[] order by o.id limit 1) d"
        " on true where n.id = %s",
        (
            f"numbers.t_{tenant_id.hex}", key, recent, customer_id, kind, value, domain, tenant_id
        ),
    )  # fmt: skip


# Writes.


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
    row = {n: v for n in _NAMES if (v := getattr(ticket, n)) is not None}
    return (
        _insert("tickets", ("tenant_id", *row)),
        [tenant_id, *(_bind(n, v) for n, v in row.items())],
    )


def update_ticket(tenant_id: uuid.UUID, before: Ticket, after: Ticket) -> Statement:
    """Only what changed is sent: a reply touches a handful of columns."""
    changed = [n for n in _NAMES if getattr(before, n) != getattr(after, n)]
    return (
        f"update tickets set {', '.join(f'{n} = %s' for n in changed)}"
        " where tenant_id = %s and id = %s",
        [*(_bind(n, getattr(after, n)) for n in changed), tenant_id, after.id],
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
    f"insert into clocks (tenant_id, ticket_id, {_CLOCK_COLUMNS})"
    f" values ({', '.join(['%s'] * (2 + len(_CLOCK_NAMES)))})"
    " on conflict (tenant_id, ticket_id, metric, cycle) do update set "
    + ", ".join(f"{n} = excluded.{n}" for n in _CLOCK_NAMES if n not in ("metric", "cycle"))
)


def upsert_clocks(
    tenant_id: uuid.UUID, ticket_id: uuid.UUID, clocks: Iterable[Clock]
) -> list[Statement]:
    statements: list[Statement] = []
    # Those that stop first: a new cycle may not run beside the one it follows.
    for clock in sorted(clocks, key=lambda c: (c.stopped_at is None, c.cycle)):
        values: dict[str, object] = {n: _bind(n, getattr(clock, n)) for n in _CLOCK_NAMES}
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


def insert_mail(
    tenant_id: uuid.UUID,
    *,
    id: uuid.UUID,
    ticket_id: uuid.UUID,
    message_id: uuid.UUID,
    key: str,
    recipient: str,
    at: datetime,
) -> Statement:
    return (
        "insert into deliveries (tenant_id, id, ticket_id, message_id, kind, key, recipient, state,"
        " created_at, updated_at) values (%s, %s, %s, %s, 'mail', %s, %s, 'queued', %s, %s)",
        (tenant_id, id, ticket_id, message_id, key, recipient, at, at),
    )


def insert_webhook_call(
    tenant_id: uuid.UUID,
    *,
    id: uuid.UUID,
    ticket_id: uuid.UUID | None,
    webhook_id: uuid.UUID,
    key: str,
    url: str,
    payload: Mapping[str, object],
    state: str,
    error: str | None,
    at: datetime,
    replay_of: uuid.UUID | None = None,
) -> Statement:
    return (
        "insert into deliveries (tenant_id, id, ticket_id, webhook_id, kind, key, recipient,"
        " payload, state, error, replay_of, created_at, updated_at)"
        " values (%s, %s, %s, %s, 'webhook', %s, %s, %s, %s, %s, %s, %s, %s)"
        " on conflict (tenant_id, key) do nothing",
        (
            tenant_id,
            id,
            ticket_id,
            webhook_id,
            key,
            url,
            Jsonb(dict(payload)),
            state,
            error,
            replay_of,
            at,
            at,
        ),
    )


def insert_start(
    tenant_id: uuid.UUID,
    *,
    id: uuid.UUID,
    ticket_id: uuid.UUID,
    key: str,
    name: str,
    payload: Mapping[str, object],
    state: str,
    error: str | None,
    at: datetime,
) -> Statement:
    return (
        "insert into deliveries (tenant_id, id, ticket_id, kind, key, recipient, payload, state,"
        " error, created_at, updated_at)"
        " values (%s, %s, %s, 'workflow', %s, %s, %s, %s, %s, %s, %s)"
        " on conflict (tenant_id, key) do nothing",
        (tenant_id, id, ticket_id, key, name, Jsonb(dict(payload)), state, error, at, at),
    )


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


def organization_of_domain(tenant_id: uuid.UUID, domain: str) -> Statement:
    return (
        "select id from organizations where tenant_id = %s and domains @> array[%s]::text[]"
        " order by id limit 1",
        (tenant_id, domain),
    )


# What the workflow's activities read and write.


def read_ticket(tenant_id: uuid.UUID, number: int) -> Statement:
    return (
        f"select {_COLUMNS} from tickets where tenant_id = %s and number = %s",
        (tenant_id, number),
    )


def read_by_id(tenant_id: uuid.UUID, ticket_id: uuid.UUID) -> Statement:
    return (
        f"select {_COLUMNS} from tickets where tenant_id = %s and id = %s",
        (tenant_id, ticket_id),
    )


def read_numbers(tenant_id: uuid.UUID, numbers: Iterable[int]) -> Statement:
    """Tickets as they are, unlocked."""
    return (
        f"select {_COLUMNS} from tickets where tenant_id = %s and number = any(%s)",
        (tenant_id, list(numbers)),
    )


def open_deliveries(tenant_id: uuid.UUID, number: int) -> Statement:
    return (
        "select d.id, d.kind from deliveries d join tickets t"
        " on t.tenant_id = d.tenant_id and t.id = d.ticket_id"
        " where t.tenant_id = %s and t.number = %s and d.state in ('queued', 'sending')"
        " order by d.id",
        (tenant_id, number),
    )


def first_words(tenant_id: uuid.UUID, number: int) -> Statement:
    """What the ticket began with, in the words of whoever opened it."""
    return (
        "select m.body_text from messages m join tickets t"
        " on t.tenant_id = m.tenant_id and t.id = m.ticket_id"
        " where t.tenant_id = %s and t.number = %s order by m.created_at, m.id limit 1",
        (tenant_id, number),
    )


def lock_delivery(tenant_id: uuid.UUID, delivery_id: uuid.UUID) -> Statement:
    """A delivery with all that its mail is made of; `thread` holds the ids of earlier mails."""
    return (
        "select d.id, d.state, d.kind, d.key, d.recipient, d.payload, d.created_at, d.webhook_id,"
        " w.url, w.active, w.generation, w.rotated_at, t.subject, m.body_text, m.body_html,"
        " (select array_agg(e.key order by e.id) from deliveries e where e.tenant_id = d.tenant_id"
        "  and e.ticket_id = d.ticket_id and e.kind = 'mail' and e.id < d.id) as thread"
        " from deliveries d"
        " left join tickets t on t.tenant_id = d.tenant_id and t.id = d.ticket_id"
        " left join messages m on m.tenant_id = d.tenant_id and m.id = d.message_id"
        " left join webhooks w on w.tenant_id = d.tenant_id and w.id = d.webhook_id"
        " where d.tenant_id = %s and d.id = %s for update of d",
        (tenant_id, delivery_id),
    )


def set_delivery(
    tenant_id: uuid.UUID,
    delivery_id: uuid.UUID,
    state: str,
    error: str | None,
    *,
    now: datetime,
    attempt: bool = False,
    answered: tuple[int, str] | None = None,
) -> Statement:
    """`answered` is the status and the beginning of what a webhook's endpoint said."""
    status, text = answered or (None, None)
    return (
        "update deliveries set state = %s, error = %s, updated_at = %s,"
        " attempts = attempts + %s, sent_at = case when %s = 'sent' then %s else sent_at end,"
        " response_status = coalesce(%s, response_status), response = coalesce(%s, response)"
        " where tenant_id = %s and id = %s",
        (state, error, now, int(attempt), state, now, status, text, tenant_id, delivery_id),
    )


def timeline_of(tenant_id: uuid.UUID, ticket_id: uuid.UUID) -> Statement:
    """All that ever happened to a ticket, as `domain.tickets.replay` reads it."""
    return (
        "select seq, type, actor_kind, changes, data, occurred_at from events"
        " where tenant_id = %s and ticket_id = %s order by seq",
        (tenant_id, ticket_id),
    )


def read_tickets(ticket_ids: Iterable[uuid.UUID]) -> Statement:
    """Tickets of any tenant, for the relay."""
    return (f"select {_COLUMNS} from tickets where id = any(%s)", (list(ticket_ids),))
