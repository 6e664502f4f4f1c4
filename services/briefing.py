"""The note that briefs whoever takes a ticket over, written into the ticket once."""

import asyncio
import uuid
from datetime import datetime

from domain.briefing import Known, briefing
from domain.errors import Refusal, TicketNotFound
from domain.lifecycle import StartInput
from domain.states import ActorKind
from domain.summaries import Said, summary
from domain.tickets import Actor, Event, NewMessage, NoteAdded
from models import ledger
from models.session import Database, Work
from services.desks import Desks
from services.tickets import Step, Tickets

_MOST_MESSAGES = 60
_MOST_TEXT = 10_000


async def brief(
    database: Database, desks: Desks, tickets: Tickets, asked: StartInput, *, now: datetime
) -> str:
    """Writes the note; asked again, there is still one. `written`, or why there is none."""
    async with database.transaction(asked.ticket.tenant_id) as work:
        try:
            note = briefing(await _known(work, desks, asked.ticket.number), now=now)
            await tickets.handle(
                work,
                Step(
                    asked.ticket.number,
                    Event(
                        key=f"briefing/{asked.delivery_id}",
                        actor=Actor(ActorKind.AUTOMATION),
                        payload=NoteAdded(
                            NewMessage(uuid.uuid5(asked.delivery_id, "briefing"), note)
                        ),
                        cause={"step": asked.seq, "delivery": str(asked.delivery_id)},
                    ),
                ),
                now=now,
            )
        except Refusal as refusal:  # closed or merged since, or gone
            await work.restart()
            return refusal.code
    return "written"


async def _known(work: Work, desks: Desks, number: int) -> Known:
    tenant = work.tenant_id
    rows, clock_rows, messages = await work.batch(
        ledger.read_ticket(tenant, number),
        ledger.clocks_of(tenant, [number]),
        (
            "select m.id, m.author_kind, m.visibility, left(m.body_text, %s) as text"
            " from messages m join tickets t on t.tenant_id = m.tenant_id and t.id = m.ticket_id"
            " where t.tenant_id = %s and t.number = %s and m.author_kind in ('customer', 'user')"
            " order by m.created_at desc, m.id desc limit %s",
            (_MOST_TEXT, tenant, number, _MOST_MESSAGES),
        ),
    )
    if not rows:
        raise TicketNotFound
    ticket, desk = ledger.to_ticket(rows[0]), await desks.current(work)
    said = [
        Said(
            row["id"],
            "customer" if row["author_kind"] == "customer" else "agent",
            row["text"],
            internal=row["visibility"] == "internal",
        )
        for row in reversed(messages)
    ]
    status = desk.statuses.get(ticket.status)
    team = desk.teams.get(ticket.team_id) if ticket.team_id else None
    agent = desk.agents.get(ticket.assignee_id) if ticket.assignee_id else None
    return Known(
        ticket=ticket,
        status=status.name if status else ticket.status,
        team=team.name if team else None,
        agent=agent.name if agent else None,
        clocks=[ledger.to_clock(row) for row in clock_rows],
        said=await asyncio.to_thread(summary, ticket.subject, said),
    )
