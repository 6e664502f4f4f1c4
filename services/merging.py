"""Merging tickets and taking it back; splitting messages off into a ticket of their own."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.errors import Conflict, Invalid, TicketNotFound
from domain.permissions import Permission, Principal, check
from domain.states import ActorKind, Category, Channel, Visibility
from domain.tickets import (
    Absorbed,
    Actor,
    Event,
    MergedInto,
    MessagesSplitOff,
    Released,
    Ticket,
    Unmerged,
)
from models import ledger
from models.session import Work
from services.tickets import Origin, Outcome, Step, TicketRequest, Tickets


@dataclass(frozen=True, slots=True)
class Merging:
    """Both sides after a merge or its undoing."""

    source: Outcome
    target: Outcome


async def merge(
    tickets: Tickets,
    work: Work,
    *,
    source: int,
    target: int,
    key: str,
    caller: Principal,
    origin: Origin | None = None,
    seen: int | None = None,
) -> Merging:
    """`source` becomes a redirect to `target`, its messages move there; both remember it.

    Refuses tickets that are closed or merged already, so that no chain can become a circle: both
    rows are locked, in one order, before either is looked at.
    """
    if source == target:
        raise Invalid("A ticket cannot be merged into itself.", fields={"/into": "is this ticket"})
    ids = await _ids(work, source, target)
    [rows, [around]] = await work.batch(
        ledger.read_numbers(work.tenant_id, (source, target)),
        ledger.config_version(work.tenant_id),
    )
    inherits = await _inherited(
        tickets, work, source, [ledger.to_ticket(row) for row in rows], around["config_version"]
    )
    cause = origin.cause if origin else {}
    first, second = await tickets.handle(
        work,
        Step(
            source,
            Event(
                key=key,
                actor=caller.actor,
                payload=MergedInto(ids[target], target),
                cause=cause,
            ),
            Permission.TICKETS_MERGE,
            seen=seen,
        ),
        Step(
            target,
            Event(
                key=f"{key}/absorbed",
                actor=caller.actor,
                payload=Absorbed(ids[source], source, inherits),
                cause=cause,
            ),
            Permission.TICKETS_MERGE,
        ),
        caller=caller,
        origin=origin,
    )
    return Merging(first, second)


async def _inherited(
    tickets: Tickets, work: Work, source: int, both: Sequence[Ticket], version: int
) -> datetime | None:
    """Since when the target's clocks count, where its policy lets them take over the source's
    start: for one and the same requester, and where that is earlier."""
    [other] = [ticket for ticket in both if ticket.number == source]
    [into] = [ticket for ticket in both if ticket.number != source]
    if other.requester_id != into.requester_id or other.created_at >= into.created_at:
        return None
    terms = await tickets.terms_of(work, into, version)
    return other.created_at if terms and terms.policy.merge_inherits_start else None


async def unmerge(
    tickets: Tickets,
    work: Work,
    *,
    source: int,
    key: str,
    caller: Principal,
    origin: Origin | None = None,
    seen: int | None = None,
) -> Merging:
    """`source` is itself again, in the state it was merged in, with every message written in it.

    That includes replies that came to it after the merge and were shown in the target. What was
    written in the target stays there.
    """
    row = await work.row(
        "select s.id, s.category, t.id as target_id, t.number as target from tickets s"
        " left join tickets t on t.tenant_id = s.tenant_id and t.id = s.merged_into"
        " where s.tenant_id = :tenant and s.number = :number",
        {"tenant": work.tenant_id, "number": source},
    )
    if row is None:
        raise TicketNotFound
    if row["category"] != Category.MERGED:
        [rows] = await work.batch(ledger.read_ticket(work.tenant_id, source))
        check(caller, Permission.TICKETS_MERGE, ledger.to_ticket(rows[0]))
        raise Conflict(f"Ticket {source} is not merged.")
    merged = await work.row(
        "select changes from events where tenant_id = :tenant and ticket_id = :id"
        " and type = 'merged' order by seq desc limit 1",
        {"tenant": work.tenant_id, "id": row["id"]},
    )
    assert merged is not None, "merged without an event that says so"
    before = {name: values[0] for name, values in merged["changes"].items()}
    cause = origin.cause if origin else {}
    first, second = await tickets.handle(
        work,
        Step(
            source,
            Event(
                key=key,
                actor=caller.actor,
                payload=Unmerged(row["target_id"], row["target"], before),
                cause=cause,
            ),
            Permission.TICKETS_MERGE,
            seen=seen,
        ),
        Step(
            row["target"],
            Event(
                key=f"{key}/released",
                actor=caller.actor,
                payload=Released(row["id"], source),
                cause=cause,
            ),
            Permission.TICKETS_MERGE,
        ),
        caller=caller,
        origin=origin,
    )
    return Merging(first, second)


@dataclass(frozen=True, slots=True)
class Splitting:
    """The ticket that lost messages, and the one that was made of them."""

    source: Outcome
    created: Outcome


async def split(
    tickets: Tickets,
    work: Work,
    *,
    number: int,
    message_ids: Sequence[uuid.UUID],
    subject: str | None,
    key: str,
    caller: Principal,
    origin: Origin | None = None,
    seen: int | None = None,
    from_message: bool = False,
) -> Splitting:
    """The chosen messages become a new ticket of the same requester, linked both ways.

    A customer's message among them makes it a customer's request; a first reply is owed only where
    nobody has answered since the last of them. Its clocks count from now, or `from_message` from
    the first of them.
    """
    source = await _locked(work, number)
    check(caller, Permission.TICKETS_MERGE, source)
    chosen = await work.rows(
        "select id, author_kind, visibility, created_at from messages"
        " where tenant_id = :tenant and ticket_id = :ticket",
        {"tenant": work.tenant_id, "ticket": source.id},
    )
    wanted = set(message_ids)
    strangers = wanted - {row["id"] for row in chosen}
    if not wanted or strangers:
        raise Invalid(
            "Choose messages of this ticket.",
            fields={"/message_ids": "names a message that is not in this ticket"},
        )
    if len(wanted) == len(chosen):
        raise Invalid(
            "A ticket keeps at least one message. To move everything, merge it.",
            fields={"/message_ids": "names every message"},
        )
    said = [
        row["created_at"]
        for row in chosen
        if row["id"] in wanted and row["author_kind"] == "customer"
    ]
    answers = [
        row["created_at"]
        for row in chosen
        if row["author_kind"] == "user" and row["visibility"] == Visibility.PUBLIC
    ]
    created = await tickets.create(
        work,
        TicketRequest(
            key=f"{key}/split",
            subject=subject or source.subject,
            requester_id=source.requester_id,
            channel=Channel(source.channel),
            message=None,
            type=source.type,
            priority=source.priority,
            team_id=source.team_id,
            tags=source.tags,
            fields=source.fields,
            language=source.language,
            actor=caller.actor,
            opened_by=Actor(ActorKind.CUSTOMER, source.requester_id) if said else None,
            split_from=source.id,
            clocks_from=min(said) if from_message and said else None,
            answered=bool(said) and any(at >= max(said) for at in answers),
        ),
        caller=caller,
        origin=origin,
    )
    [after] = await tickets.handle(
        work,
        Step(
            number,
            Event(
                key=key,
                actor=caller.actor,
                payload=MessagesSplitOff(
                    tuple(sorted(wanted)), created.ticket.id, created.ticket.number
                ),
                cause=origin.cause if origin else {},
            ),
            Permission.TICKETS_MERGE,
            seen=seen,
        ),
        caller=caller,
        origin=origin,
    )
    return Splitting(after, created)


async def _ids(work: Work, *numbers: int) -> dict[int, uuid.UUID]:
    rows = await work.rows(
        "select number, id from tickets where tenant_id = :tenant and number = any(:numbers)",
        {"tenant": work.tenant_id, "numbers": list(numbers)},
    )
    if len(rows) < len(set(numbers)):
        raise TicketNotFound
    return {row["number"]: row["id"] for row in rows}


async def _locked(work: Work, number: int) -> Ticket:
    [rows] = await work.batch(ledger.lock_tickets(work.tenant_id, [number]))
    if not rows:
        raise TicketNotFound
    return ledger.to_ticket(rows[0])
