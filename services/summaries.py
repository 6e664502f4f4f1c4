"""A ticket's conversation in short."""

import asyncio
from dataclasses import dataclass

from domain.errors import TicketNotFound
from domain.permissions import Principal
from domain.summaries import MOST_MESSAGES, Author, Said, Summary, summary
from models.session import Row, Work
from services import digests
from services.views import visible

_MOST_TEXT = 20_000  # of a message: quotes are cut from it afterwards
_AUTHORS: dict[str, Author] = {"customer": "customer", "user": "agent"}


@dataclass(frozen=True, slots=True)
class InShort:
    """A conversation in its own sentences, and in a model's words where it was asked for them."""

    summary: Summary
    messages: int  # how many there are
    written: Row | None = None


async def of_ticket(work: Work, caller: Principal, number: int) -> InShort:
    """The summary of what the caller may read.

    Raises TicketNotFound.
    """
    scope, parameters = visible(caller)
    parameters |= {
        "tenant": work.tenant_id,
        "number": number,
        "first": MOST_MESSAGES // 4,
        "last": MOST_MESSAGES - MOST_MESSAGES // 4,
    }
    mine = (
        "(select t.id from tickets t where t.tenant_id = %(tenant)s and t.number = %(number)s"
        f" and {scope})"
    )
    of_ticket = f"from messages m where m.tenant_id = %(tenant)s and m.ticket_id = {mine}"
    columns = (
        f"select m.id, m.author_kind, m.visibility, left(m.body_text, {_MOST_TEXT}) as body_text,"
        f" m.created_at {of_ticket} and m.author_kind in ('customer', 'user')"
    )
    tickets, [counted], rows = await work.batch(
        (
            "select t.id, t.subject from tickets t"
            f" where t.id = {mine} and t.tenant_id = %(tenant)s",
            parameters,
        ),
        (f"select count(*) as n {of_ticket}", parameters),
        (
            f"select * from (({columns} order by m.created_at, m.id limit %(first)s) union"
            f" ({columns} order by m.created_at desc, m.id desc limit %(last)s)) m"
            " order by m.created_at, m.id",
            parameters,
        ),
    )
    if not tickets:
        raise TicketNotFound
    said = [
        Said(
            row["id"],
            _AUTHORS[row["author_kind"]],
            row["body_text"],
            internal=row["visibility"] == "internal",
        )
        for row in rows
    ]
    written = await digests.newest(work, tickets[0]["id"])
    # A thousand sentences are half a second.
    found = await asyncio.to_thread(summary, tickets[0]["subject"], said)
    return InShort(found, counted["n"], written)


__all__ = ["InShort", "of_ticket"]
