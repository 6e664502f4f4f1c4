"""Everything that happens to tickets: one transaction each, through the one rule book."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from domain.desk import Desk
from domain.errors import ChangedMeanwhile, Conflict, Invalid, TicketNotFound
from domain.permissions import Permission, Principal, check
from domain.scoring import RECENT
from domain.sla import Clock, Terms
from domain.states import ActorKind, Category, Channel, Priority, TicketType, Visibility
from domain.tickets import (
    Actor,
    AgentReplied,
    Changed,
    CustomerReplied,
    Decision,
    Entry,
    Event,
    NewMessage,
    NewTicket,
    Ticket,
    asked_properties,
    decide,
    open_ticket,
)
from domain.tickets.replay import Recorded, facts_of
from models import ledger
from models.base import new_id
from models.session import Statement, Work
from services import routing, starting, watching, webhooks
from services.desks import Desks, LoadedDesk


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request came from, for the cause of events and for the audit log."""

    request_id: str | None = None
    correlation_id: str | None = None  # the caller's own name for what this is part of
    ip: str | None = None
    auth_method: str | None = None

    @property
    def cause(self) -> dict[str, object]:
        names = {"request": self.request_id, "correlation": self.correlation_id}
        return {name: value for name, value in names.items() if value}


@dataclass(frozen=True, slots=True)
class Step:
    """One event for one ticket."""

    number: int
    event: Event
    # What the caller needs, all of it; nothing where there is no caller to ask.
    permission: Permission | tuple[Permission, ...] = ()
    # The ticket's own workflow waits for the outcome: it looks by itself and need not be woken.
    awaited: bool = False
    seen: int | None = None  # the ticket's seq as whoever asks for this had read it


@dataclass(frozen=True, slots=True)
class Outcome:
    """A ticket after an event, as committed with it. `applied` is False for a key seen before."""

    ticket: Ticket
    entries: tuple[Entry, ...] = ()
    applied: bool = True
    clocks: tuple[Clock, ...] = ()
    decision: Decision | None = None
    # Deliveries that were queued with it and that steps or webhooks asked for.
    calls: "tuple[Queued, ...]" = ()


def clock() -> datetime:
    """The wall clock of this process: the only one that requests are decided by."""
    return datetime.now(UTC)


class Tickets:
    """The use cases. Each takes a `Work`, writes everything in it, and leaves the commit to it."""

    def __init__(self, desks: Desks, *, now: Callable[[], datetime] = clock) -> None:
        self._desks = desks
        self._now = now

    async def handle(
        self,
        work: Work,
        *steps: Step,
        caller: Principal | None = None,
        origin: Origin | None = None,
        now: datetime | None = None,
    ) -> list[Outcome]:
        """Applies each event to its ticket, all or none, two round trips for all of them.

        `now` is the workflow's clock; requests leave it out and get the time after the locks.
        An event whose key was seen before changes nothing and answers with the ticket as it is.
        A third is made where a promise is new to an old ticket: its past has to be read.
        """
        tenant = work.tenant_id
        numbers = sorted({s.number for s in steps})
        known = self._desks.known(tenant)
        payloads = [(s.number, s.event.payload) for s in steps]
        work.look_up()
        rows, clock_rows, [around], *standing = await work.batch(
            ledger.lock_tickets(tenant, numbers),
            ledger.clocks_of(tenant, numbers),
            ledger.surroundings(tenant, numbers, (s.event.key for s in steps)),
            *routing.at_events(known, payloads),
        )
        moment = now or self._now()
        tickets = {row["number"]: ledger.to_ticket(row) for row in rows}
        if len(tickets) < len(numbers):
            raise TicketNotFound
        if caller is not None:
            for step in steps:
                for permission in _each(step.permission):
                    check(caller, permission, tickets[step.number])
        moved = await self._redirected(work, steps, tickets)
        if moved is not None:
            return await self.handle(work, *moved, caller=caller, origin=origin, now=now)
        desk = await self._desks.get(work, around["config_version"])
        desk = await self._desks.knowing(
            work, desk, ((t.policy_id, t.policy_version) for t in tickets.values())
        )
        asking = routing.at_events(desk, payloads)
        if asking and (known is None or known.config_version != desk.config_version):
            standing = await work.batch(*asking)
        roster = routing.to_roster(standing[0]) if standing else None
        clocks: dict[uuid.UUID, tuple[Clock, ...]] = {t.id: () for t in tickets.values()}
        for row in clock_rows:
            clocks[row["ticket_id"]] += (ledger.to_clock(row),)
        seen = set(around["applied"])
        addresses = {uuid.UUID(id_): mail for id_, mail in around["mails"].items() if mail}
        watchers = {
            uuid.UUID(id_): frozenset(uuid.UUID(user) for user in users)
            for id_, users in (around["watchers"] or {}).items()
        }
        statements: list[Statement] = []
        outcomes: list[Outcome] = []
        for asked in steps:
            ticket = tickets[asked.number]
            step = _as_requester(asked, desk, addresses.get(ticket.id))
            if step.event.key in seen:
                outcomes.append(Outcome(ticket, applied=False, clocks=clocks[ticket.id]))
                continue
            wished = _wished(step.event)
            if wished is not None:
                await self._refuse_stale(work, ticket, step, wished)
            decision = decide(
                ticket,
                clocks[ticket.id],
                step.event,
                desk,
                now=moment,
                watchers=watchers.get(ticket.id, frozenset()),
                roster=roster,
            )
            if decision.wants_past:
                earlier = [o for o in outcomes if o.ticket.id == ticket.id]
                decision = decide(
                    ticket,
                    clocks[ticket.id],
                    step.event,
                    desk,
                    now=moment,
                    watchers=watchers.get(ticket.id, frozenset()),
                    roster=roster,
                    past=facts_of(await _timeline(work, ticket, earlier)),
                )
            if wished is None:
                await self._refuse_stale(work, ticket, step, _decided(decision))
            if decision.follow_up:
                assert isinstance(step.event.payload, CustomerReplied)
                wrote, _ = self._write(desk, ticket, decision, step, caller, origin, addresses)
                await work.batch(*statements, *wrote)
                return [await self._follow_up(work, decision.ticket, step, moment)]
            wrote, calls = self._write(desk, ticket, decision, step, caller, origin, addresses)
            statements += wrote
            roster = routing.after(roster, decision)
            tickets[step.number] = decision.ticket
            clocks[ticket.id] = decision.clocks
            outcomes.append(
                Outcome(
                    decision.ticket,
                    decision.entries,
                    bool(decision.entries),
                    decision.clocks,
                    decision,
                    calls,
                )
            )
        if statements:
            work.defer(*statements)
            work.wake_relay()
        return outcomes

    async def create(
        self,
        work: Work,
        new: "TicketRequest",
        *,
        caller: Principal | None = None,
        origin: Origin | None = None,
        now: datetime | None = None,
    ) -> Outcome:
        """A new ticket with its first message; its customer too, where nobody has that identity.

        The same key again answers with the ticket that it made the first time.
        """
        tenant = work.tenant_id
        who = new.requester
        recent = (now or self._now()) - RECENT
        if who is None:
            known = ledger.creation(tenant, new.key, recent=recent, customer_id=new.requester_id)
        else:
            host = who.value.rpartition("@")[2] if who.kind == "email" else ""
            known = ledger.creation(
                tenant, new.key, recent=recent, kind=who.kind, value=who.value, domain=host
            )
        at_hand = self._desks.known(tenant)
        work.look_up()
        wish = {"team_id": new.team_id, "assignee_id": new.assignee_id}
        [row], *standing = await work.batch(known, *routing.at_creation(at_hand, **wish))
        if row["applied"] is not None:
            return Outcome(await self._by_id(work, row["applied"]), applied=False)
        moment = now or self._now()
        desk = await self._desks.get(work, row["config_version"])
        asking = routing.at_creation(desk, **wish)
        if asking and (at_hand is None or at_hand.config_version != desk.config_version):
            standing = await work.batch(*asking)
        if row["customer_id"] is not None:
            customer_id: uuid.UUID = row["customer_id"]
            organization_id = row["customer_organization"]
        elif who is None:
            raise Invalid("There is no such customer.", fields={"/requester_id": "is not known"})
        else:
            customer_id = new_id()
            organization_id = row["organization_id"]
            created = await work.batch(
                ledger.insert_customer(
                    tenant,
                    id=customer_id,
                    name=who.name or who.value,
                    organization_id=organization_id,
                    at=moment,
                ),
                ledger.insert_identity(
                    tenant,
                    id=new_id(),
                    customer_id=customer_id,
                    kind=who.kind,
                    value=who.value,
                    verified_at=None,
                    at=moment,
                ),
            )
            if not created[1]:  # somebody made that customer while we looked: begin again
                await work.restart()
                return await self.create(work, new, caller=caller, origin=origin, now=now)
        by_customer = caller is None or caller.kind == "intake" or new.on_behalf
        actor = Actor(ActorKind.CUSTOMER, customer_id) if by_customer else caller.actor  # type: ignore[union-attr]
        decision = open_ticket(
            NewTicket(
                id=new_id(),
                number=row["number"],
                key=new.key,
                actor=new.actor or actor,
                subject=new.subject,
                requester_id=customer_id,
                organization_id=organization_id,
                channel=new.channel,
                message=new.message,
                visibility=new.visibility,
                status=new.status,
                type=new.type,
                priority=new.priority,
                team_id=new.team_id,
                assignee_id=new.assignee_id,
                tags=new.tags,
                fields=new.fields,
                language=new.language,
                cause={**(origin.cause if origin else {}), **new.cause},
                occurred_at=new.occurred_at,
                follows_up=new.follows_up,
                split_from=new.split_from,
                clocks_from=new.clocks_from,
                tier=row["tier"],
                earlier=row["earlier"],
                answered=new.answered,
                opened_by=new.opened_by or _own_request(desk, caller, who, customer_id),
            ),
            desk,
            now=moment,
            roster=routing.to_roster(standing[0]) if standing else None,
        )
        address = {decision.ticket.id: who.value} if who is not None and who.kind == "email" else {}
        audit = (
            [self._audit(tenant, decision.ticket, decision.entries[0], caller, origin, moment)]
            if caller is not None
            else []
        )
        wrote, calls = self._rows(
            desk, decision, moment=moment, addresses=address, fresh=True, beside=audit
        )
        work.defer(*wrote)
        work.wake_relay()
        return Outcome(decision.ticket, decision.entries, True, decision.clocks, decision, calls)

    async def terms_of(self, work: Work, ticket: Ticket, version: int) -> Terms | None:
        """What a ticket is timed by, at that version of the tenant's configuration or newer."""
        desk = await self._desks.get(work, version)
        desk = await self._desks.knowing(work, desk, [(ticket.policy_id, ticket.policy_version)])
        return desk.terms_of(ticket.policy_id, ticket.policy_version)

    # Parts.

    def _write(
        self,
        desk: LoadedDesk,
        before: Ticket,
        decision: Decision,
        step: Step,
        caller: Principal | None,
        origin: Origin | None,
        addresses: Mapping[uuid.UUID, str],
    ) -> "Written":
        if not decision.entries:
            return [], ()
        moment = decision.ticket.updated_at
        own = next((e for e in decision.entries if e.key == step.event.key), None)
        audit = (
            [self._audit(desk.tenant_id, decision.ticket, own, caller, origin, moment)]
            if caller is not None and own is not None
            else []
        )
        return self._rows(
            desk,
            decision,
            moment=moment,
            addresses=addresses,
            before=before,
            origin_id=_written_in(step.event),
            beside=audit,
            told=ledger.PROJECTIONS if step.awaited else ledger.DESTINATIONS,
        )

    def _rows(
        self,
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
    ) -> "Written":
        """What a decision writes: as one statement all that is new, then what depends on order."""
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

    @staticmethod
    def _audit(
        tenant: uuid.UUID,
        ticket: Ticket,
        entry: Entry,
        caller: Principal,
        origin: Origin | None,
        at: datetime,
    ) -> Statement:
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

    async def _redirected(
        self, work: Work, steps: Sequence[Step], tickets: Mapping[int, Ticket]
    ) -> list[Step] | None:
        """Replies to a merged ticket go where it went. Locks are let go before others are taken."""
        moved: dict[int, tuple[int, uuid.UUID]] = {}
        for step in steps:
            ticket = tickets[step.number]
            if ticket.category is Category.MERGED and isinstance(
                step.event.payload, CustomerReplied
            ):
                [found] = await work.batch(
                    (
                        "with recursive chain as (select id, number, merged_into, 0 as hops"
                        " from tickets where tenant_id = %(tenant)s and id = %(id)s union all"
                        " select t.id, t.number, t.merged_into, c.hops + 1 from tickets t"
                        " join chain c on t.id = c.merged_into"
                        " where t.tenant_id = %(tenant)s and c.hops < 100)"
                        " select number from chain where merged_into is null",
                        {"tenant": work.tenant_id, "id": ticket.id},
                    )
                )
                moved[step.number] = (found[0]["number"], ticket.id)
        if not moved:
            return None
        await work.restart()
        return [
            replace(
                step,
                number=moved[step.number][0],
                seen=None,  # it was of the other ticket
                event=replace(
                    step.event,
                    cause={**step.event.cause, "written_in": str(moved[step.number][1])},
                ),
            )
            if step.number in moved
            else step
            for step in steps
        ]

    async def _refuse_stale(self, work: Work, ticket: Ticket, step: Step, wished: set[str]) -> None:
        """Changes made in ignorance of a newer change to the same property conflict."""
        payload, seen = step.event.payload, step.seen
        if isinstance(payload, Changed) and payload.seen is not None:
            seen = payload.seen
        if seen is None or seen == ticket.seq:
            return
        if seen > ticket.seq:
            raise NotYet(ticket, seen)
        [rows] = await work.batch(
            (
                "select seq, type, changes, data from events"
                " where tenant_id = %s and ticket_id = %s and seq > %s order by seq",
                (work.tenant_id, ticket.id, seen),
            )
        )
        meanwhile = {
            name: row["seq"]
            for row in rows
            for name in _touched(row["type"], row["changes"], row["data"])
        }
        both = sorted(wished & set(meanwhile))
        if both:
            raise ChangedMeanwhile(
                f"Somebody changed {', '.join(both)} since you read ticket {ticket.number}."
                " Read it again, then decide.",
                fields={
                    f"/{name.replace('.', '/')}": f"changed by event {meanwhile[name]}"
                    for name in both
                },
            )

    async def _follow_up(self, work: Work, closed: Ticket, step: Step, moment: datetime) -> Outcome:
        """What a customer writes to a closed ticket opens a new one that follows it up."""
        reply = step.event.payload
        assert isinstance(reply, CustomerReplied)
        return await self.create(
            work,
            TicketRequest(
                key=step.event.key,
                subject=closed.subject,
                requester_id=reply.customer_id,
                channel=reply.channel,
                message=reply.message,
                language=closed.language,
                cause=step.event.cause,
                actor=Actor(ActorKind.CUSTOMER, reply.customer_id),
                follows_up=closed.id,
            ),
            now=moment,
        )

    async def _by_id(self, work: Work, ticket_id: uuid.UUID) -> Ticket:
        rows = await work.rows(
            "select * from tickets where tenant_id = :tenant and id = :id",
            {"tenant": work.tenant_id, "id": ticket_id},
        )
        if not rows:
            raise TicketNotFound
        return ledger.to_ticket(rows[0])


@dataclass(frozen=True, slots=True)
class Requester:
    """A customer by one identity; made when nobody has it."""

    kind: str
    value: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRequest:
    """What somebody asks a new ticket to be."""

    key: str
    subject: str
    message: NewMessage | None
    channel: Channel
    requester: Requester | None = None
    requester_id: uuid.UUID | None = None
    visibility: Visibility = Visibility.PUBLIC
    status: str | None = None
    type: TicketType | None = None
    priority: Priority | None = None
    team_id: uuid.UUID | None = None
    assignee_id: uuid.UUID | None = None
    tags: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    language: str | None = None
    cause: Mapping[str, object] = field(default_factory=dict)
    occurred_at: datetime | None = None
    actor: Actor | None = None
    # An agent writes down what the customer said: the ticket and its message are the customer's.
    on_behalf: bool = False
    follows_up: uuid.UUID | None = None
    split_from: uuid.UUID | None = None
    clocks_from: datetime | None = None
    answered: bool = False
    opened_by: Actor | None = None


# A delivery: what kind of effect it is, and its id.
Queued = tuple[Literal["webhook", "workflow"], uuid.UUID]
# What is to be written, and the calls and starts among it.
Written = tuple[list[Statement], tuple[Queued, ...]]


def _as_requester(step: Step, desk: Desk, requester: str | None) -> Step:
    """An agent who is the requester of the ticket, by their address, is a customer on it."""
    reply, actor = step.event.payload, step.event.actor
    if not isinstance(reply, AgentReplied) or actor.kind is not ActorKind.USER:
        return step
    agent = desk.agents.get(actor.id) if actor.id else None
    if agent is None or requester is None or agent.email.casefold() != requester.casefold():
        return step
    return replace(step, event=replace(step.event, payload=replace(reply, as_requester=True)))


def _own_request(
    desk: Desk, caller: Principal | None, who: "Requester | None", customer_id: uuid.UUID
) -> Actor | None:
    """Likewise, what agents ask for themselves is a customer's request."""
    agent = desk.agents.get(caller.id) if caller is not None and caller.id else None
    if agent is None or who is None or who.kind != "email":
        return None
    same = agent.email.casefold() == who.value.casefold()
    return Actor(ActorKind.CUSTOMER, customer_id) if same else None


async def _timeline(work: Work, ticket: Ticket, earlier: Sequence[Outcome]) -> list[Recorded]:
    """All that happened to a ticket, with what this very transaction has decided and not sent."""
    [rows] = await work.batch(ledger.timeline_of(work.tenant_id, ticket.id))
    known = [Recorded(**row) for row in rows]
    return known + [
        Recorded(
            entry.seq, entry.type, entry.actor.kind.value, entry.changes, entry.data,
            entry.occurred_at,
        )
        for outcome in earlier
        for entry in outcome.entries
    ]  # fmt: skip


def _each(permission: Permission | tuple[Permission, ...]) -> tuple[Permission, ...]:
    return permission if isinstance(permission, tuple) else (permission,)


class NotYet(Conflict):
    """A version was named that the ticket has not reached: it was read somewhere else."""

    code = "no_such_version"

    def __init__(self, ticket: Ticket, seen: int) -> None:
        super().__init__(
            f"Ticket {ticket.number} is at version {ticket.seq}; there is no {seen} yet."
            " Read it again, then decide.",
            fields={"header/If-Match": f"names version {seen}"},
        )


def _wished(event: Event) -> set[str] | None:
    """The properties that a change names; None for what decides by itself which it changes."""
    return asked_properties(event.payload) if isinstance(event.payload, Changed) else None


def _decided(decision: Decision) -> set[str]:
    return {
        name
        for entry in decision.entries
        for name in _touched(entry.type, entry.changes, entry.data)
    }


# Kept beside the rest, and not for people to decide about.
_OWN = frozenset({"policy_id", "policy_version"})


def _touched(kind: str, changes: Mapping[str, object], data: Mapping[str, object]) -> set[str]:
    """The properties an event is about: each custom field and each link by itself."""
    names = set(changes) - {"fields"} - _OWN
    pair = changes.get("fields")
    if isinstance(pair, list):
        old, new = (value or {} for value in pair)
        names |= {f"fields.{key}" for key in {*old, *new} if old.get(key) != new.get(key)}
    if kind in ("linked", "unlinked"):
        names.add(f"links.{data['kind']}.{data['number']}")
    return names


def _written_in(event: Event) -> uuid.UUID | None:
    where = event.cause.get("written_in")
    return uuid.UUID(str(where)) if where else None
