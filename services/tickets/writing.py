"""What a decision writes, as statements that are sent in one batch."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from domain.permissions import Principal
from domain.tickets import Decision, Entry, Event, Ticket
from models import ledger
from models.base import new_id
from models.session import Statement
from services import routing, starting, watching, webhooks
from services.desks import LoadedDesk
from services.tickets.asking import Origin, Queued, Step

# What is to be written, and the calls and starts among it.
Written = tuple[list[Statement], tuple[Queued, ...]]


def written(
    desk: LoadedDesk,
    before: Ticket,
    decision: Decision,
    step: Step,
    caller: Principal | None,
    origin: Origin | None,
    addresses: Mapping[uuid.UUID, str],
) -> Written:
    """What a decision about a known ticket writes, and what of it is a call or a start."""
    if not decision.entries:
        return [], ()
    moment = decision.ticket.updated_at
    own = next((e for e in decision.entries if e.key == step.event.key), None)
    audit = (
        [audited(desk.tenant_id, decision.ticket, own, caller, origin, moment)]
        if caller is not None and own is not None
        else []
    )
    return rows_of(
        desk,
        decision,
        moment=moment,
        addresses=addresses,
        before=before,
        origin_id=_origin_of(step.event),
        beside=audit,
        told=ledger.PROJECTIONS if step.awaited else ledger.DESTINATIONS,
    )


def rows_of(
    desk: LoadedDesk,
    decision: Decision,
    *,
    moment: datetime,
    addresses: Mapping[uuid.UUID, str],
    before: Ticket | None = None,
    origin_id: uuid.UUID | None = None,
    fresh: bool = False,
    beside: Sequence[Statement] = (),
    told: Sequence[str] = ledger.DESTINATIONS,
) -> Written:
    """As one statement all that is new, then what depends on order; `beside` goes with it."""
    tenant, ticket = desk.tenant_id, decision.ticket
    written: list[Statement] = [*beside]
    if fresh:
        written.append(ledger.insert_ticket(tenant, ticket))
    elif before is not None:
        written.append(ledger.update_ticket(tenant, before, ticket))
    written += ledger.insert_events(tenant, ticket.id, decision.entries, recorded_at=moment)
    written += ledger.insert_messages(tenant, ticket.id, decision.messages, origin_id=origin_id)
    written += ledger.insert_notices(
        tenant, ticket.id, [(new_id(), n) for n in decision.notices], at=moment
    )
    recipient = addresses.get(ticket.id)
    if recipient is not None:
        written += [
            ledger.insert_mail(
                tenant,
                id=new_id(),
                ticket_id=ticket.id,
                message_id=message_id,
                key=f"<{message_id.hex}.{ticket.number}@{desk.slug}.holdfast>",
                recipient=recipient,
                at=moment,
            )
            for message_id in decision.mails
        ]
    written += routing.written(desk, before, decision)
    calls = list(webhooks.told(desk, decision, at=moment))
    starts = list(starting.told(desk, decision, at=moment)) if decision.calls else []
    written += [statement for _, statement in (*calls, *starts)]
    written += watching.marked(desk, decision)
    written.append(
        ledger.insert_outbox(
            tenant,
            ticket,
            decision.entries[-1].type,
            actor_id=decision.entries[0].actor.id,
            cause=decision.entries[-1].cause,
            destinations=told,
        )
    )
    clocks = ledger.upsert_clocks(tenant, ticket.id, decision.changed_clocks)
    after: list[Statement] = []
    if fresh:
        written += clocks
    else:  # one may have to stop before the next one runs
        after += clocks
    after += ledger.write_relations(tenant, decision.relations, at=moment)
    after += [ledger.move_messages(tenant, move) for move in decision.moves]
    after += ledger.write_watchers(
        tenant, ticket.id, watch=decision.watch, unwatch=decision.unwatch, at=moment
    )
    queued: list[Queued] = [("webhook", one) for one, _ in calls if one is not None]
    queued += [("workflow", one) for one, _ in starts if one is not None]
    return [ledger.at_once(written), *after], tuple(queued)


def audited(
    tenant: uuid.UUID,
    ticket: Ticket,
    entry: Entry,
    caller: Principal,
    origin: Origin | None,
    at: datetime,
) -> Statement:
    """The audit log's entry about what `caller` did to a ticket."""
    return ledger.insert_audit(
        tenant,
        id=new_id(),
        at=at,
        actor_kind=caller.kind,
        actor_id=caller.id,
        action=f"ticket.{entry.type}",
        target_kind="ticket",
        target_id=str(ticket.id),
        data={"number": ticket.number, "seq": entry.seq, "changes": dict(entry.changes)},
        ip=origin.ip if origin else None,
        auth_method=caller.auth_method,
        request_id=origin.request_id if origin else None,
    )


def _origin_of(event: Event) -> uuid.UUID | None:
    """The ticket that a message was written in, where that was merged into this one."""
    where = event.cause.get("written_in")
    return uuid.UUID(str(where)) if where else None
