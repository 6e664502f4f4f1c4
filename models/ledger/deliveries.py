"""Effects on the outside, each a row with a state: mails, calls of webhooks, workflows."""

import uuid
from collections.abc import Mapping
from datetime import datetime

from psycopg.types.json import Jsonb

from models.session import Statement


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


def open_deliveries(tenant_id: uuid.UUID, number: int) -> Statement:
    return (
        "select d.id, d.kind from deliveries d join tickets t"
        " on t.tenant_id = d.tenant_id and t.id = d.ticket_id"
        " where t.tenant_id = %s and t.number = %s and d.state in ('queued', 'sending')"
        " order by d.id",
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
