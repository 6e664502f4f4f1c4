"""Summaries that the desk's language model writes, from the public words of a ticket alone."""

import asyncio
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from domain import digests
from domain.desk import Desk
from domain.digests import MOST_ANSWERED, MOST_MESSAGES, PARTS, PROMPT_VERSION, Line
from domain.permissions import Principal
from domain.redaction import Redactor
from domain.triage import own_words
from models.session import Database, Row, Work
from services import language_models, suggestions
from services.language_models import Asking, Shown
from services.sealing import Seal

_MOST_TEXT = 20_000  # of a message: quotes are cut from it afterwards
_MOST_REDACTED = 5_000  # of what is left, of which LONGEST_MESSAGE is shown


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer rests on `lines`; `subject` is redacted as they are."""

    asked: language_models.Question
    subject: str = ""
    lines: tuple[Line, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether somebody is asked now, and it has not come to something already."""
        return bool(self.asked.messages)


async def ask(
    work: Work,
    caller: Principal,
    number: int,
    *,
    summary_id: uuid.UUID,
    desk: Desk,
    seal: Seal,
    now: datetime,
) -> Question:
    """Writes down what is asked; or what it has come to already, under the same id.

    Notes among agents stay in the house. Raises TicketNotFound, NoLanguageModel, BudgetSpent.
    """
    asking = await suggestions.asking_of(work, caller, number)
    known = await language_models.asked_before(work, summary_id)
    if known is not None:
        return Question(language_models.Question(summary_id, known))
    settings = await language_models.enabled(work)
    rows = await _public(work, asking.id)
    names = {asking.names[name] or "" for name in ("customer.name", "customer.email")}
    names |= {row[name] for row in rows for name in ("customer", "agent") if row[name]}
    said = [own_words(row["body_text"])[:_MOST_REDACTED] for row in rows]
    words = _words_in(asking.subject, *said)
    # A desk has hundreds of agents, and a conversation speaks of few.
    names |= {agent.name for agent in desk.agents.values() if _words_in(agent.name) & words}
    redactor = Redactor(sorted(names - {""}))
    # Cut after it is redacted: half an address would not be known for one.
    subject, *texts = await asyncio.to_thread(
        lambda: [redactor.redacted(text) for text in (asking.subject, *said)]
    )
    lines = digests.lines_of(
        [
            ("customer" if row["author_kind"] == "customer" else "agent", text)
            for row, text in zip(rows, texts, strict=True)
        ]
    )
    messages = digests.prompt(subject, lines, language=asking.language)
    question = await language_models.reserve(
        work,
        summary_id,
        settings,
        kind="summary",
        ticket_id=asking.id,
        user_id=caller.id,
        messages=messages if any(line.text.strip() for line in lines) else (),
        sources=[
            {"mark": line.mark, "message_id": str(row["id"]), "cited": False}
            for line, row in zip(lines, rows, strict=True)
        ],
        prompt_version=PROMPT_VERSION,
        most_tokens=MOST_ANSWERED,
        redactor=redactor,
        seal=seal,
        now=now,
    )
    return Question(question, subject, tuple(lines))


async def answered(
    database: Database,
    tenant_id: uuid.UUID,
    question: Question,
    models: Asking,
    *,
    now: Callable[[], datetime],
) -> Row:
    """The summary, once the model was asked; no transaction is open meanwhile."""
    ids = {one["mark"]: one["message_id"] for one in question.asked.row["sources"]}

    def read(content: str) -> Shown:
        assert question.asked.redactor is not None
        told = digests.told(content, question.subject, question.lines, question.asked.redactor)
        parts: dict[str, object] = {
            part: {"text": told[part].text, "message_ids": [ids[m] for m in told[part].marks]}
            for part in PARTS
        }
        text = "\n".join(one.text for one in told.values() if one.text)
        return Shown(text, frozenset(m for one in told.values() for m in one.marks), parts)

    return await language_models.answered(
        database, tenant_id, question.asked, models, read, now=now
    )


async def newest(work: Work, ticket_id: uuid.UUID) -> Row | None:
    """The last summary that a model wrote of a ticket, and how many public words came since."""
    [rows] = await work.batch(
        (
            "select d.*, (select count(*)::int from messages m where m.tenant_id = d.tenant_id"
            " and m.ticket_id = d.ticket_id and m.visibility = 'public'"
            " and m.author_kind in ('customer', 'user') and m.created_at > d.created_at) as since"
            " from drafts d where d.tenant_id = %s and d.ticket_id = %s and d.kind = 'summary'"
            " and d.state = 'drafted' order by d.created_at desc, d.id desc limit 1",
            (work.tenant_id, ticket_id),
        )
    )
    return rows[0] if rows else None


def id_of(tenant_id: uuid.UUID, number: int, key: str) -> uuid.UUID:
    """The summary that a request of that key makes: the same for a key that is sent again."""
    return uuid.uuid5(tenant_id, f"summary/{number}/{key}")


def _words_in(*texts: str) -> set[str]:
    return {word for text in texts for word in re.findall(r"\w{2,}", text.casefold())}


async def _public(work: Work, ticket_id: uuid.UUID) -> list[Row]:
    """What customers and agents said to each other, in order, the middle of a long one left out."""
    first = MOST_MESSAGES // 4
    of_ticket = (
        f"select m.id, m.author_kind, left(m.body_text, {_MOST_TEXT}) as body_text, m.created_at,"
        " c.name as customer, u.name as agent from messages m"
        " left join customers c on c.tenant_id = m.tenant_id and c.id = m.author_id"
        " left join users u on u.tenant_id = m.tenant_id and u.id = m.author_id"
        " where m.tenant_id = %(tenant)s and m.ticket_id = %(ticket)s"
        " and m.visibility = 'public' and m.author_kind in ('customer', 'user')"
    )
    [rows] = await work.batch(
        (
            f"select * from (({of_ticket} order by m.created_at, m.id limit %(first)s) union"
            f" ({of_ticket} order by m.created_at desc, m.id desc limit %(last)s)) m"
            " order by m.created_at, m.id",
            {
                "tenant": work.tenant_id,
                "ticket": ticket_id,
                "first": first,
                "last": MOST_MESSAGES - first,
            },
        )
    )
    return rows


__all__ = ["Question", "answered", "ask", "id_of", "newest"]
