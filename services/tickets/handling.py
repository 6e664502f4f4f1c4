"""Everything that happens to tickets: one transaction each, through the one rule book."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from domain.desk import Desk
from domain.errors import Invalid, TicketNotFound
from domain.permissions import Permission, Principal, check
from domain.scoring import RECENT
from domain.sla import Clock, Terms
from domain.states import ActorKind, Category
from domain.tickets import (
    Actor,
    AgentReplied,
    CustomerReplied,
    NewTicket,
    Ticket,
    decide,
    open_ticket,
)
from domain.tickets.replay import Recorded, facts_of
from models import ledger
from models.base import new_id
from models.session import Statement, Work
from services import routing
from services.desks import Desks
from services.tickets.asking import Origin, Outcome, Requester, Step, TicketRequest
from services.tickets.staleness import decided, refuse_stale, wished_by
from services.tickets.writing import audited, rows_of, written


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
        # Which version of the desk is in force is read last: who left while the agents of a team
        # were waited for is not in it any more.
        rows, clock_rows, *standing, [around] = await work.batch(
            ledger.lock_tickets(tenant, numbers),
            ledger.clocks_of(tenant, numbers),
            *routing.at_events(known, payloads),
            ledger.surroundings(tenant, numbers, (s.event.key for s in steps)),
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
        elif standing_in := routing.at_absences(desk, payloads, tickets, now=moment):
            standing = await work.batch(*standing_in)
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
            wished = wished_by(step.event)
            if wished is not None:
                await refuse_stale(work, ticket, step, wished)
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
                await refuse_stale(work, ticket, step, decided(decision))
            if decision.follow_up:
                assert isinstance(step.event.payload, CustomerReplied)
                wrote, _ = written(desk, ticket, decision, step, caller, origin, addresses)
                await work.batch(*statements, *wrote)
                return [await self._follow_up(work, decision.ticket, step, moment)]
            wrote, calls = written(desk, ticket, decision, step, caller, origin, addresses)
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
        new: TicketRequest,
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
        *standing, [row] = await work.batch(*routing.at_creation(at_hand, **wish), known)
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
        if caller is None or caller.kind == "intake" or new.on_behalf:
            actor = Actor(ActorKind.CUSTOMER, customer_id)
        else:
            actor = caller.actor
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
            [audited(tenant, decision.ticket, decision.entries[0], caller, origin, moment)]
            if caller is not None
            else []
        )
        wrote, calls = rows_of(
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
        [rows] = await work.batch(ledger.read_by_id(work.tenant_id, ticket_id))
        if not rows:
            raise TicketNotFound
        return ledger.to_ticket(rows[0])


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
    desk: Desk, caller: Principal | None, who: Requester | None, customer_id: uuid.UUID
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
