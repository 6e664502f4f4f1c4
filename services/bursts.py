"""Many similar tickets in an hour: found, proposed as one problem, accepted or dismissed."""

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from domain.bursts import FEWEST, MOST_TICKETS, WITHIN, Burst, New, bursts
from domain.desk import Desk
from domain.errors import Conflict, NotFound, Unavailable
from domain.permissions import Principal
from domain.states import Channel, RelationKind, TicketType, Visibility
from domain.tickets import Event, Linked, NewMessage, Ticket
from models.base import new_id
from models.session import Database, Row, Work
from services import desks
from services.tickets import Origin, Requester, Step, TicketRequest, Tickets

logger = logging.getLogger(__name__)

MOST_LINKED = 200
"""Tickets that one proposal names; the newest, where there are more."""

_BEFORE = timedelta(days=7)
_MOST_BEFORE = 2_000
_AGAIN_AFTER = timedelta(hours=6)  # what was decided on is not proposed again before
_LISTED = (
    "select b.id, b.state, b.title, b.terms, b.first_at, b.last_at, b.created_at, b.decided_at,"
    " b.decided_by_id, p.number as problem_number, array(select t.number from tickets t"
    " where t.tenant_id = b.tenant_id and t.id = any(b.ticket_ids) order by t.number) as numbers"
    " from burst_proposals b left join tickets p on p.tenant_id = b.tenant_id"
    " and p.id = b.problem_id where b.tenant_id = %(tenant)s"
)


class BurstNotFound(NotFound):
    code = "burst_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such proposal.")


class Decided(Conflict):
    code = "burst_decided"

    def __init__(self, state: str) -> None:
        super().__init__(f"This proposal was {state} already.")


# Finding them.


async def detect(
    relay_database: Database,
    database: Database,
    *,
    now: datetime,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Proposes a problem for each burst of the last hour, of all tenants; how many are new.

    A burst that goes on grows its proposal. May run twice at once: one of a tenant waits.
    """
    async with relay_database.transaction(None) as work:
        [busy] = await work.batch(
            (
                "select n.id from tenants n where (select count(*) from (select from tickets t"
                f" where t.tenant_id = n.id and t.created_at > %s limit {FEWEST}) c) >= {FEWEST}"
                " order by n.id",
                (now - WITHIN,),
            )
        )
    proposed = 0
    for tenant in busy:
        try:
            async with database.transaction(tenant["id"]) as work:
                proposed += await _of_tenant(work, now)
        except Unavailable:
            raise
        except Exception:  # one tenant's trouble must not hold up the others
            logger.exception("bursts of tenant %s were not looked for", tenant["id"])
        progress(proposed)
    return proposed


async def _of_tenant(work: Work, now: datetime) -> int:
    words = (
        "(select left(m.body_text, 4000) from messages m where m.tenant_id = t.tenant_id"
        " and m.ticket_id = t.id and m.visibility = 'public' order by m.created_at, m.id limit 1)"
    )
    values = {"tenant": work.tenant_id, "since": now - WITHIN, "from": now - WITHIN - _BEFORE}
    # Of those that somebody is at already (problems, and what is tied to one) nothing is proposed.
    [new, before] = await work.batch(
        (
            f"select t.id, t.requester_id, t.created_at, t.subject, {words} as text from tickets t"
            " where t.tenant_id = %(tenant)s and t.created_at > %(since)s"
            " and t.category <> 'merged' and t.type is distinct from 'problem'"
            " and t.spam is distinct from 'spam'"  # a wave of it is nobody's outage
            " and not exists (select from relations r where r.tenant_id = t.tenant_id"
            " and r.target_id = t.id and r.kind = 'problem')"
            f" order by t.created_at desc, t.id desc limit {MOST_TICKETS}",
            values,
        ),
        (
            f"select t.created_at, t.subject, {words} as text from tickets t"
            " where t.tenant_id = %(tenant)s and t.created_at <= %(since)s"
            " and t.created_at > %(from)s and t.category <> 'merged'"
            f" order by t.created_at desc, t.id desc limit {_MOST_BEFORE}",
            values,
        ),
    )
    oldest = min((row["created_at"] for row in before), default=now - WITHIN - _BEFORE)
    found = await asyncio.to_thread(
        bursts,
        [
            New(r["id"], r["requester_id"], r["created_at"], r["subject"], r["text"] or "")
            for r in new
        ],
        [f"{row['subject']}\n{row['text'] or ''}" for row in before],
        hours=(now - WITHIN - oldest) / timedelta(hours=1),
    )
    return sum([await _propose(work, burst, now) for burst in found])


async def _propose(work: Work, burst: Burst, now: datetime) -> bool:
    """Writes a proposal down, or adds to the one that there is; whether it is new."""
    members = burst.tickets[-MOST_LINKED:]
    ids = [one.id for one in members]
    await work.batch(
        (
            "select pg_advisory_xact_lock(hashtextextended(%s, 0))",
            (f"bursts/{work.tenant_id}",),
        )
    )
    [known] = await work.batch(
        (
            "select id, state, ticket_ids from burst_proposals where tenant_id = %s"
            " and (state = 'open' or created_at > %s) and ticket_ids && %s::uuid[]"
            " order by (state = 'open') desc, id desc limit 1",
            (work.tenant_id, now - _AGAIN_AFTER, ids),
        )
    )
    if known:
        if known[0]["state"] == "open" and not set(ids) <= set(known[0]["ticket_ids"]):
            every = list(dict.fromkeys([*known[0]["ticket_ids"], *ids]))[-MOST_LINKED:]
            await work.batch(
                (
                    "update burst_proposals set ticket_ids = %s::uuid[], last_at = %s"
                    " where tenant_id = %s and id = %s",
                    (every, members[-1].created_at, work.tenant_id, known[0]["id"]),
                )
            )
        return False
    proposal = new_id()
    await work.batch(
        (
            "insert into burst_proposals (tenant_id, id, state, title, terms, ticket_ids,"
            " first_at, last_at, created_at) values (%s, %s, 'open', %s, %s, %s::uuid[], %s, %s,"
            " %s)",
            (
                work.tenant_id, proposal, burst.title, list(burst.terms), ids,
                members[0].created_at, members[-1].created_at, now,
            ),
        )
    )  # fmt: skip
    await _tell(work, await desks.load(work), proposal, burst, now)
    return True


async def _tell(work: Work, desk: Desk, proposal: uuid.UUID, burst: Burst, now: datetime) -> None:
    """Supervisors hear of it, on the first of its tickets."""
    first = burst.tickets[0]
    for user_id in desk.supervisors:
        await work.execute(
            "insert into notifications (tenant_id, id, user_id, ticket_id, seq, kind, data,"
            " created_at) select :tenant, :id, :user, t.id, t.seq, 'burst',"
            " jsonb_build_object('burst_id', cast(:burst as text), 'tickets', cast(:n as integer)),"
            " :now from tickets t where t.tenant_id = :tenant and t.id = :ticket"
            " on conflict do nothing",
            {
                "tenant": work.tenant_id,
                "id": new_id(),
                "user": user_id,
                "ticket": first.id,
                "burst": str(proposal),
                "n": len(burst.tickets),
                "now": now,
            },
        )


# Deciding on them.


async def proposals(work: Work, *, state: str | None = None, limit: int = 50) -> Sequence[Row]:
    """Proposals, the newest first."""
    [rows] = await work.batch(
        (
            f"{_LISTED} and (%(state)s::text is null or b.state = %(state)s)"
            " order by b.id desc limit %(limit)s",
            {"tenant": work.tenant_id, "state": state, "limit": limit},
        )
    )
    return rows


async def proposal(work: Work, burst_id: uuid.UUID) -> Row:
    """One proposal. Raises BurstNotFound."""
    [rows] = await work.batch(
        (f"{_LISTED} and b.id = %(id)s", {"tenant": work.tenant_id, "id": burst_id})
    )
    if not rows:
        raise BurstNotFound
    return rows[0]


async def accept(
    work: Work,
    tickets: Tickets,
    caller: Principal,
    desk: Desk,
    burst_id: uuid.UUID,
    *,
    key: str,
    origin: Origin,
    now: datetime,
) -> Row:
    """Opens a problem ticket in the caller's name and ties the tickets to it.

    Raises BurstNotFound, Decided.
    """
    shown = await proposal(work, burst_id)
    agent = desk.agents[caller.id] if caller.id else None
    assert agent is not None, "proposals are decided on by people"
    numbers = ", ".join(f"#{number}" for number in shown["numbers"])
    outcome = await tickets.create(
        work,
        TicketRequest(
            key=f"burst/{burst_id}/{key}",
            subject=shown["title"],
            message=NewMessage(
                new_id(), f"{len(shown['numbers'])} tickets in an hour say the same: {numbers}"
            ),
            channel=Channel.AGENT,
            requester=Requester("email", agent.email, agent.name),
            visibility=Visibility.INTERNAL,
            type=TicketType.PROBLEM,
            cause={**origin.cause, "burst": str(burst_id)},
        ),
        caller=caller,
        origin=origin,
    )
    # After the ticket: making its customer may begin the work anew, which would let go of a lock.
    row = await _locked(work, burst_id)
    await _tie(work, tickets, caller, outcome.ticket, row["ticket_ids"], key=key, origin=origin)
    await _decide(work, caller, burst_id, "accepted", now, problem_id=outcome.ticket.id)
    return await proposal(work, burst_id)


async def dismiss(work: Work, caller: Principal, burst_id: uuid.UUID, *, now: datetime) -> Row:
    """It was nothing. Raises BurstNotFound, Decided."""
    await _locked(work, burst_id)
    await _decide(work, caller, burst_id, "dismissed", now)
    return await proposal(work, burst_id)


async def _locked(work: Work, burst_id: uuid.UUID) -> Row:
    [rows] = await work.batch(
        (
            "select state, ticket_ids from burst_proposals where tenant_id = %s and id = %s"
            " for update",
            (work.tenant_id, burst_id),
        )
    )
    if not rows:
        raise BurstNotFound
    if rows[0]["state"] != "open":
        raise Decided(rows[0]["state"])
    return rows[0]


async def _decide(
    work: Work,
    caller: Principal,
    burst_id: uuid.UUID,
    state: str,
    now: datetime,
    *,
    problem_id: uuid.UUID | None = None,
) -> None:
    await work.batch(
        (
            "update burst_proposals set state = %s, decided_at = %s, decided_by_id = %s,"
            " problem_id = %s where tenant_id = %s and id = %s",
            (state, now, caller.id, problem_id, work.tenant_id, burst_id),
        )
    )


async def _tie(
    work: Work,
    tickets: Tickets,
    caller: Principal,
    problem: Ticket,
    ids: Sequence[uuid.UUID],
    *,
    key: str,
    origin: Origin,
) -> None:
    """Both sides tell of it in their timelines. In the order of ids, as everybody locks tickets."""
    [rows] = await work.batch(
        (
            "select id, number from tickets where tenant_id = %s and id = any(%s)"
            " and category <> 'merged' order by id",
            (work.tenant_id, list(ids)),
        )
    )
    for row in rows:
        await tickets.handle(
            work,
            *(
                Step(
                    here,
                    Event(
                        key=f"burst/{key}/{row['id']}/{outgoing}",
                        actor=caller.actor,
                        payload=Linked(RelationKind.PROBLEM, there_id, there, outgoing=outgoing),
                        cause=origin.cause,
                    ),
                )
                for here, there, there_id, outgoing in (
                    (problem.number, row["number"], row["id"], True),
                    (row["number"], problem.number, problem.id, False),
                )
            ),
            caller=caller,
            origin=origin,
        )


__all__ = ["BurstNotFound", "Decided", "accept", "detect", "dismiss", "proposal", "proposals"]
