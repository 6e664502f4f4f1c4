"""The messages of a ticket, with what is attached to each and the mails that it went out as."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from domain.desk import Desk
from models.session import Row, Statement
from services.cursors import BadCursor, pack, unpack
from services.views.filters import Parameters


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order of time, each with its "attachments" and "deliveries"."""

    messages: list[Row]
    earlier: str | None


def statements_of(
    parameters: Parameters,
    ticket: str,
    before: tuple[datetime, uuid.UUID] | None,
    limit: int,
) -> list[Statement]:
    """Three statements: messages (newest first, one too many), their attachments, their mails."""
    parameters = parameters | {"some": limit + 1}
    earlier = ""
    if before is not None:
        earlier = " and (m.created_at, m.id) < (%(at)s, %(message_id)s)"
        parameters |= {"at": before[0], "message_id": before[1]}
    chosen = (
        "select m.* from messages m where m.tenant_id = %(tenant)s"
        f" and m.ticket_id = {ticket}{earlier} order by m.created_at desc, m.id desc"
        " limit %(some)s"
    )
    return [
        (
            "select m.id, m.origin_ticket_id, m.seq, m.author_kind, m.author_id, m.visibility,"
            " m.channel, m.body_text, m.body_html, m.created_at, c.name as customer_name,"
            " %(number)s::bigint as number"
            f" from ({chosen}) m left join customers c on m.author_kind = 'customer'"
            " and c.tenant_id = m.tenant_id and c.id = m.author_id"
            " order by m.created_at desc, m.id desc",
            parameters,
        ),
        (
            "select a.id, a.message_id, a.filename, a.content_type, a.size_bytes, a.sha256"
            f" from ({chosen}) m join attachments a on a.tenant_id = m.tenant_id"
            " and a.message_id = m.id order by a.created_at, a.id",
            parameters,
        ),
        (
            "select d.id, d.message_id, d.kind, d.recipient, d.state, d.attempts, d.error,"
            f" d.sent_at from deliveries d where d.tenant_id = %(tenant)s"
            f" and d.ticket_id = {ticket} and d.kind = 'mail' and d.message_id is not null"
            " order by d.created_at, d.id",
            parameters,
        ),
    ]


def assembled(
    desk: Desk, messages: list[Row], attachments: list[Row], deliveries: list[Row], *, limit: int
) -> Conversation:
    """What came back of `statements_of`, put together."""
    shown = messages[:limit]
    earlier = None
    if len(messages) > limit:
        oldest = shown[-1]
        earlier = pack([oldest["number"], oldest["created_at"], oldest["id"]])
    for row in shown:
        row["author_name"] = name_of(desk, row, "author")
        row["attachments"] = [a for a in attachments if a["message_id"] == row["id"]]
        row["deliveries"] = [d for d in deliveries if d["message_id"] == row["id"]]
    return Conversation(shown[::-1], earlier)


def name_of(desk: Desk, row: Row, who: str) -> str | None:
    """Who an `author` or an `actor` is, by a row that has their kind, id and customer's name."""
    if row[f"{who}_kind"] == "user" and row[f"{who}_id"] is not None:
        agent = desk.agents.get(row[f"{who}_id"])
        return agent.name if agent else None
    return cast("str | None", row["customer_name"])


def read_cursor(cursor: str, number: int) -> tuple[datetime, uuid.UUID]:
    """The message before which a page of this ticket's conversation ends. Raises BadCursor."""
    of_number, at, message_id = unpack(cursor, 3)
    try:
        moment = datetime.fromisoformat(str(at))
        if of_number != number or moment.tzinfo is None:
            raise BadCursor
        return moment, uuid.UUID(str(message_id))
    except ValueError as error:
        raise BadCursor from error
