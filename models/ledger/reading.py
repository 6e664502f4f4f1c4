"""What is read before an event is decided, and what the workflow's activities read."""

import uuid
from collections.abc import Iterable
from datetime import datetime

from domain.scoring import MOST_BEFORE
from models.ledger.rows import CLOCK_NAMES, COLUMNS
from models.session import Statement


def lock_tickets(tenant_id: uuid.UUID, numbers: Iterable[int]) -> Statement:
    """The rows of tickets, locked in ascending id order: two of these never deadlock."""
    return (
        f"select {COLUMNS} from tickets where tenant_id = %s and number = any(%s)"
        " order by id for update",
        (tenant_id, list(numbers)),
    )


def clocks_of(tenant_id: uuid.UUID, numbers: Iterable[int]) -> Statement:
    return (
        f"select c.ticket_id, {', '.join(f'c.{n}' for n in CLOCK_NAMES)} from clocks c"
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


def organization_of_domain(tenant_id: uuid.UUID, domain: str) -> Statement:
    return (
        "select id from organizations where tenant_id = %s and domains @> array[%s]::text[]"
        " order by id limit 1",
        (tenant_id, domain),
    )


def read_ticket(tenant_id: uuid.UUID, number: int) -> Statement:
    return (
        f"select {COLUMNS} from tickets where tenant_id = %s and number = %s",
        (tenant_id, number),
    )


def read_by_id(tenant_id: uuid.UUID, ticket_id: uuid.UUID) -> Statement:
    return (
        f"select {COLUMNS} from tickets where tenant_id = %s and id = %s",
        (tenant_id, ticket_id),
    )


def read_numbers(tenant_id: uuid.UUID, numbers: Iterable[int]) -> Statement:
    """Tickets as they are, unlocked."""
    return (
        f"select {COLUMNS} from tickets where tenant_id = %s and number = any(%s)",
        (tenant_id, list(numbers)),
    )


def read_tickets(ticket_ids: Iterable[uuid.UUID]) -> Statement:
    """Tickets of any tenant, for the relay."""
    return (f"select {COLUMNS} from tickets where id = any(%s)", (list(ticket_ids),))


def timeline_of(tenant_id: uuid.UUID, ticket_id: uuid.UUID) -> Statement:
    """All that ever happened to a ticket, as `domain.tickets.replay` reads it."""
    return (
        "select seq, type, actor_kind, changes, data, occurred_at from events"
        " where tenant_id = %s and ticket_id = %s order by seq",
        (tenant_id, ticket_id),
    )


def words_of_event(tenant_id: uuid.UUID, number: int, seq: int) -> Statement:
    """The message that an event of a ticket brought, unless it is another ticket's by now."""
    return (
        "select m.id, m.body_text from tickets t join events e on e.tenant_id = t.tenant_id"
        " and e.ticket_id = t.id and e.seq = %s join messages m on m.tenant_id = t.tenant_id"
        " and m.ticket_id = t.id and m.id = (e.data ->> 'message_id')::uuid"
        " where t.tenant_id = %s and t.number = %s",
        (seq, tenant_id, number),
    )


def first_words(tenant_id: uuid.UUID, number: int) -> Statement:
    """What the ticket began with, in the words of whoever opened it."""
    return (
        "select m.body_text from messages m join tickets t"
        " on t.tenant_id = m.tenant_id and t.id = m.ticket_id"
        " where t.tenant_id = %s and t.number = %s order by m.created_at, m.id limit 1",
        (tenant_id, number),
    )
