"""What a customer sees of their own ticket."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from domain.desk import Desk
from domain.errors import TicketNotFound
from domain.tickets import Ticket
from models import ledger
from models.session import Row, Work
from services.desks import Desks


@dataclass(frozen=True, slots=True)
class Shown:
    """A ticket with its conversation, as its requester may know it."""

    ticket: Ticket
    desk: Desk
    messages: Sequence[Row]
    attachments: Sequence[Row]

    @property
    def message_ids(self) -> list[uuid.UUID]:
        return [row["id"] for row in self.messages]

    @property
    def fields(self) -> dict[str, object]:
        """The custom fields that customers may see, by their labels."""
        return {
            definition.label: self.ticket.fields[key]
            for key, definition in self.desk.fields.items()
            if definition.customer_visible and definition.active and key in self.ticket.fields
        }

    @property
    def status(self) -> str:
        known = self.desk.statuses.get(self.ticket.status)
        return known.customer_label if known else self.ticket.status


# Only what is public, and only what was written in tickets of the same requester: a merge may have
# brought another customer's words into this one. After a merge the conversation goes on in the
# ticket that this one went into, if that is the same person's.
_MESSAGES = """
with recursive chain as (
    select id, merged_into, requester_id, 0 as hops from tickets
    where tenant_id = %(tenant)s and id = %(id)s
    union all
    select t.id, t.merged_into, t.requester_id, c.hops + 1 from tickets t
    join chain c on t.id = c.merged_into
    where t.tenant_id = %(tenant)s and c.hops < 100 and t.requester_id = c.requester_id
)
select m.id, m.author_kind, m.author_id, m.channel, m.body_text, m.body_html, m.created_at
from messages m
join tickets o on o.tenant_id = m.tenant_id and o.id = m.origin_ticket_id
where m.tenant_id = %(tenant)s and m.visibility = 'public'
  and (m.ticket_id in (select id from chain) or m.origin_ticket_id = %(id)s)
  and o.requester_id = (select requester_id from chain where hops = 0)
order by m.created_at, m.id limit 500
"""


async def shown(work: Work, desks: Desks, ticket_id: uuid.UUID) -> Shown:
    """The ticket behind a link. Raises TicketNotFound."""
    tenant = work.tenant_id
    values = {"tenant": tenant, "id": ticket_id}
    tickets, messages, config = await work.batch(
        ledger.read_by_id(tenant, ticket_id), (_MESSAGES, values), ledger.config_version(tenant)
    )
    if not tickets or not config:
        raise TicketNotFound
    [attachments] = await work.batch(
        (
            "select id, message_id, filename, content_type, size_bytes from attachments"
            " where tenant_id = %s and message_id = any(%s) order by id",
            (tenant, [row["id"] for row in messages]),
        )
    )
    return Shown(
        ledger.to_ticket(tickets[0]),
        await desks.get(work, config[0]["config_version"]),
        messages,
        attachments,
    )
