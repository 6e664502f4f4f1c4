"""Webhooks: where a tenant wants to be told, what each of them is told, and what became of it."""

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import orjson

from domain.alerts import AlertRule
from domain.errors import Conflict, Invalid, NotFound
from domain.sla import CallWebhook, Policy
from domain.tickets import Decision, Entry, Ticket
from domain.webhooks import (
    EVENTS,
    LONGEST_URL,
    MOST_WEBHOOKS,
    ROTATION,
    Endpoint,
    is_public,
)
from models import ledger
from models.base import new_id
from models.session import Row, Statement, Work
from services import configuration, desks, jobs
from services.configuration import Changes
from services.desks import LoadedDesk

_COLUMNS = "id, name, url, events, active, generation, rotated_at, created_at, updated_at"
_LOGGED = (
    "d.id, d.ticket_id, t.number, d.payload -> 'body' ->> 'type' as type, d.state, d.attempts,"
    " d.error, d.response_status, d.response, d.replay_of, d.created_at, d.updated_at, d.sent_at"
)


class WebhookNotFound(NotFound):
    code = "webhook_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such webhook.")


class WebhookSecrets:
    """Secrets of endpoints, worked out from the desk's own key: the database holds none."""

    def __init__(self, key: str) -> None:
        self._key = hmac.digest(b"webhooks", key.encode(), "sha256")

    def of(self, tenant_id: object, webhook_id: object, generation: int) -> str:
        """The secret as its receiver keeps it, `whsec_…`."""
        name = f"{tenant_id}\0{webhook_id}\0{generation}".encode()
        secret = hmac.digest(self._key, name, "sha256")
        return f"whsec_{base64.b64encode(secret).decode()}"


# What is told, decided with each event.


def told(
    desk: LoadedDesk, decision: Decision, *, at: datetime
) -> Iterator[tuple[uuid.UUID | None, Statement]]:
    """The calls that follow from a decision, each with the id of its delivery.

    Without an id where it is only written down: its webhook is switched off.
    """
    if not desk.webhooks:
        return
    by_seq = {entry.seq: entry for entry in decision.entries}
    for call in decision.calls:
        entry = by_seq.get(call.seq)
        if call.kind == "webhook" and call.webhook_id is not None and entry is not None:
            yield from _queued(
                desk, decision.ticket, call.webhook_id, entry, call.key, at, named=True
            )
    for hook in desk.webhooks.values():
        for entry in decision.entries if hook.events and hook.active else ():
            if entry.type in hook.events:
                yield from _queued(desk, decision.ticket, hook.id, entry, entry.key, at)


def _queued(
    desk: LoadedDesk,
    ticket: Ticket,
    webhook_id: uuid.UUID,
    entry: Entry,
    key: str,
    at: datetime,
    *,
    named: bool = False,
) -> Iterator[tuple[uuid.UUID | None, Statement]]:
    hook = desk.webhooks.get(webhook_id)
    if hook is None:
        return  # the step of an old version names one that was deleted since
    # What a step calls is another message than what a subscription brings, for the same entry.
    whole = f"webhook/{hook.id}/{'call' if named else 'event'}/{key}"
    delivery_id = new_id()
    yield (
        delivery_id if hook.active else None,
        ledger.insert_webhook_call(
            desk.tenant_id,
            id=delivery_id,
            ticket_id=ticket.id,
            webhook_id=hook.id,
            key=whole,
            url=hook.url,
            payload={
                "id": f"msg_{hashlib.sha256(whole.encode()).hexdigest()[:32]}",
                "body": _body(ticket, entry),
            },
            state="queued" if hook.active else "cancelled",
            error=None if hook.active else "The webhook is switched off.",
            at=at,
        ),
    )


def _body(ticket: Ticket, entry: Entry) -> dict[str, object]:
    return {
        "type": f"ticket.{entry.type}",
        "timestamp": entry.occurred_at,
        "data": {
            "ticket": {
                "id": ticket.id,
                "number": ticket.number,
                "status": ticket.status,
                "category": ticket.category.value,
                "priority": ticket.priority,
                "team_id": ticket.team_id,
                "assignee_id": ticket.assignee_id,
                "next_due_at": ticket.next_due_at,
            },
            "seq": entry.seq,
            "actor": entry.actor.kind.value,
            "changes": dict(entry.changes),
            "details": {name: value for name, value in entry.data.items() if value is not None},
        },
    }


def body_of(payload: Mapping[str, object]) -> bytes:
    """What goes out: the same bytes at every attempt, however Postgres orders the keys."""
    return orjson.dumps(payload["body"], option=orjson.OPT_SORT_KEYS)


def generations(row: Mapping[str, object], *, now: datetime) -> tuple[int, ...]:
    """Whose secrets sign: the present one, and for a day after a change the one before."""
    present, rotated = int(str(row["generation"])), row["rotated_at"]
    if isinstance(rotated, datetime) and now - rotated < ROTATION and present > 1:
        return (present, present - 1)
    return (present,)


# What is told of no ticket.


def queued(
    tenant_id: uuid.UUID,
    hook: Endpoint,
    *,
    key: str,
    kind: str,
    data: Mapping[str, object],
    at: datetime,
) -> tuple[uuid.UUID, list[Statement]]:
    """A call that is about no ticket, and its id; a workflow of its own carries it out.

    The same key is told once, however often it is queued.
    """
    whole, delivery_id = f"webhook/{hook.id}/{key}", new_id()
    call = ledger.insert_webhook_call(
        tenant_id,
        id=delivery_id,
        ticket_id=None,
        webhook_id=hook.id,
        key=whole,
        url=hook.url,
        payload={
            "id": f"msg_{hashlib.sha256(whole.encode()).hexdigest()[:32]}",
            "body": {"type": kind, "timestamp": at.isoformat(), "data": dict(data)},
        },
        state="queued",
        error=None,
        at=at,
    )
    return delivery_id, [call, jobs.told("delivery", tenant_id, delivery_id)]


async def test(work: Work, webhook_id: uuid.UUID, *, now: datetime) -> Row:
    """An example, sent as everything is sent: signed, tried again, in the log."""
    hook = await webhook(work, webhook_id)
    if not hook["active"]:
        raise Conflict("The webhook is switched off. Switch it on, then try it.")
    delivery_id, statements = queued(
        work.tenant_id,
        Endpoint(hook["id"], hook["url"]),
        key=f"test/{new_id()}",
        kind="webhook.test",
        data={
            "webhook": {"id": str(hook["id"]), "name": hook["name"]},
            "says": "This is an example. Nothing has happened.",
        },
        at=now,
    )
    await work.batch(*statements)
    work.wake_relay()
    return await delivery(work, webhook_id, delivery_id)


# Setting them up.


async def webhooks(work: Work) -> Sequence[Row]:
    """All webhooks, by name."""
    return await work.rows(
        f"select {_COLUMNS} from webhooks where tenant_id = :tenant order by name, id",
        {"tenant": work.tenant_id},
    )


async def webhook(work: Work, webhook_id: uuid.UUID) -> Row:
    """One webhook. Raises WebhookNotFound."""
    row = await work.row(
        f"select {_COLUMNS} from webhooks where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": webhook_id},
    )
    if row is None:
        raise WebhookNotFound
    return row


async def create(
    work: Work, *, name: str, url: str, events: Sequence[str], allow_private: bool, now: datetime
) -> Row:
    """A new webhook, switched on."""
    await configuration.hold(work)
    known = await webhooks(work)
    if len(known) >= MOST_WEBHOOKS:
        raise Conflict(f"A desk has at most {MOST_WEBHOOKS} webhooks.")
    _refuse_name(name, known, None)
    webhook_id = new_id()
    await work.execute(
        "insert into webhooks (tenant_id, id, name, url, events, created_at, updated_at)"
        " values (:tenant, :id, :name, :url, :events, :now, :now)",
        {
            "tenant": work.tenant_id,
            "id": webhook_id,
            "name": name,
            "url": checked_url(url, allow_private=allow_private),
            "events": _events(events),
            "now": now,
        },
    )
    await desks.changed(work)
    return await webhook(work, webhook_id)


async def change(
    work: Work,
    webhook_id: uuid.UUID,
    given: Mapping[str, object],
    *,
    allow_private: bool,
    now: datetime,
) -> tuple[Row, Changes]:
    """The webhook with other values, and what changed. Calls that wait go to the new address."""
    await configuration.hold(work)
    before = await webhook(work, webhook_id)
    new = dict(given)
    if "name" in new:
        _refuse_name(str(new["name"]), await webhooks(work), webhook_id)
    if "url" in new:
        new["url"] = checked_url(str(new["url"]), allow_private=allow_private)
    events = new.get("events")
    if isinstance(events, Sequence):
        new["events"] = _events([str(event) for event in events])
    values = {name: value for name, value in new.items() if value != before[name]}
    if not values:
        return before, {}
    await work.execute(
        f"update webhooks set {', '.join(f'{name} = :{name}' for name in values)},"
        " updated_at = :now where tenant_id = :tenant and id = :id",
        {**values, "now": now, "tenant": work.tenant_id, "id": webhook_id},
    )
    await desks.changed(work)
    changes: Changes = {name: [before[name], value] for name, value in values.items()}
    return await webhook(work, webhook_id), changes


async def rotate(work: Work, webhook_id: uuid.UUID, *, now: datetime) -> Row:
    """The webhook with another secret. For a day the one before it signs as well."""
    await configuration.hold(work)
    row = await webhook(work, webhook_id)
    if row["rotated_at"] is not None and now - row["rotated_at"] < timedelta(minutes=1):
        raise Conflict("Its secret was changed a moment ago.")
    await work.execute(
        "update webhooks set generation = generation + 1, rotated_at = :now, updated_at = :now"
        " where tenant_id = :tenant and id = :id",
        {"now": now, "tenant": work.tenant_id, "id": webhook_id},
    )
    return await webhook(work, webhook_id)


async def delete(work: Work, webhook_id: uuid.UUID) -> Row:
    """Takes the webhook away. Calls that still wait are cancelled at their turn."""
    await configuration.hold(work)
    row = await webhook(work, webhook_id)
    for policy_row in await configuration.policies(work):
        if policy_row["active"] and webhook_id in called_by(
            Policy.model_validate(policy_row["body"])
        ):
            raise Conflict(
                f"The policy {policy_row['name']!r} calls this webhook. Change that first."
            )
    for alert_row in await work.rows(
        "select name, active, rule from alerts where tenant_id = :tenant",
        {"tenant": work.tenant_id},
    ):
        asked = AlertRule.model_validate(alert_row["rule"]).recipients
        if alert_row["active"] and asked.webhook_id == webhook_id:
            raise Conflict(f"The alert {alert_row['name']!r} calls this webhook. Change it first.")
    await work.execute(
        "delete from webhooks where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": webhook_id},
    )
    await desks.changed(work)
    return row


def called_by(policy: Policy) -> set[uuid.UUID]:
    """The webhooks that a policy's steps call."""
    return {
        action.webhook_id
        for step in policy.steps
        for action in step.actions
        if isinstance(action, CallWebhook)
    }


def _events(events: Sequence[str]) -> list[str]:
    if unknown := sorted(set(events) - EVENTS):
        raise Invalid(
            f"There is no event {unknown[0]!r}. There are: {', '.join(sorted(EVENTS))}.",
            fields={"/events": f"{unknown[0]} is not known"},
        )
    return sorted(set(events))


def _refuse_name(name: str, rows: Sequence[Row], own: uuid.UUID | None) -> None:
    if any(row["name"] == name and row["id"] != own for row in rows):
        raise Conflict(f"There is one named {name!r} already.", fields={"/name": "is taken"})


_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_INSIDE = (".localhost", ".local", ".internal")


def checked_url(url: str, *, allow_private: bool) -> str:
    """The address of an endpoint, as far as it can be judged without asking. Raises Invalid.

    Where a name leads is looked at again at every call, by the adapter that calls.
    """
    schemes = ("https", "http") if allow_private else ("https",)
    wrong = None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        wrong = "is not an address"
    else:
        if len(url) > LONGEST_URL:
            wrong = f"is longer than {LONGEST_URL} characters"
        elif not url.isascii() or not url.isprintable() or " " in url:
            wrong = "holds characters that an address has not"
        elif parts.scheme not in schemes:
            wrong = f"begins with {schemes[0]}://"
        elif not _HOST.fullmatch(host) or port == 0:
            wrong = "names no host"
        elif parts.username is not None or parts.password is not None:
            wrong = "holds a name or password; calls are signed instead"
        elif parts.fragment:
            wrong = "has a fragment, which is never sent"
        elif not allow_private and not _may_be_public(host):
            wrong = "leads into a private network"
    if wrong is not None:
        raise Invalid("That is no address for a webhook.", fields={"/url": wrong})
    return url


def _may_be_public(host: str) -> bool:
    if host == "localhost" or host.endswith(_INSIDE):
        return False
    try:
        return is_public(host)
    except ValueError:
        return True


# What became of the calls.


async def deliveries(
    work: Work, webhook_id: uuid.UUID, *, state: str | None, after: uuid.UUID | None, limit: int
) -> list[Row]:
    """The calls of a webhook, newest first."""
    await webhook(work, webhook_id)
    return await work.rows(
        f"select {_LOGGED} from deliveries d left join tickets t on t.tenant_id = d.tenant_id"
        " and t.id = d.ticket_id where d.tenant_id = :tenant and d.webhook_id = :webhook"
        " and (cast(:state as text) is null or d.state = :state)"
        " and (cast(:after as uuid) is null or d.id < :after) order by d.id desc limit :limit",
        {
            "tenant": work.tenant_id,
            "webhook": webhook_id,
            "state": state,
            "after": after,
            "limit": limit,
        },
    )


async def delivery(work: Work, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> Row:
    """One call, with what it tells. Raises NotFound."""
    row = await work.row(
        f"select {_LOGGED}, d.payload, d.key from deliveries d left join tickets t"
        " on t.tenant_id = d.tenant_id and t.id = d.ticket_id"
        " where d.tenant_id = :tenant and d.webhook_id = :webhook and d.id = :id",
        {"tenant": work.tenant_id, "webhook": webhook_id, "id": delivery_id},
    )
    if row is None:
        raise NotFound("There is no such delivery.")
    return row


async def replay(
    work: Work, webhook_id: uuid.UUID, delivery_id: uuid.UUID, *, now: datetime
) -> Row:
    """The same message once more, as a delivery of its own; receivers know it by its id."""
    hook = await webhook(work, webhook_id)
    row = await delivery(work, webhook_id, delivery_id)
    if row["state"] in ("queued", "sending"):
        raise Conflict("This delivery has not ended yet; it is tried again by itself.")
    if not hook["active"]:
        raise Conflict("The webhook is switched off. Switch it on, then send again.")
    again = new_id()
    told = jobs.told("delivery", work.tenant_id, again)
    if row["ticket_id"] is not None:
        [rows] = await work.batch(ledger.read_by_id(work.tenant_id, row["ticket_id"]))
        told = ledger.insert_outbox(
            work.tenant_id,
            ledger.to_ticket(rows[0]),
            "webhook_replayed",
            actor_id=None,
            cause={},
            destinations=("workflows",),
        )
    await work.batch(
        ledger.insert_webhook_call(
            work.tenant_id,
            id=again,
            ticket_id=row["ticket_id"],
            webhook_id=webhook_id,
            key=f"webhook/{webhook_id}/replay/{again}",
            url=hook["url"],
            payload=row["payload"],
            state="queued",
            error=None,
            at=now,
            replay_of=row["replay_of"] or delivery_id,
        ),
        told,
    )
    work.wake_relay()
    return await delivery(work, webhook_id, again)
