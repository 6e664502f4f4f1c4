"""Drafts of replies: what the desk's language model is shown, and what it drafted."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from domain import drafting
from domain.desk import Desk
from domain.drafting import MOST_ANSWERED, MOST_SOURCES, PROMPT_VERSION, Source
from domain.errors import NotFound
from domain.permissions import Principal
from domain.redaction import Redactor, without_persons
from domain.triage import own_words
from models.session import Database, Row, Work
from services import language_models, suggestions
from services.language_models import Asking, Shown
from services.sealing import Seal
from services.suggestions import Suggestion, Verdict

_EACH: Final = 3  # sources of a kind that are shown to the model


class DraftNotFound(NotFound):
    code = "draft_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such draft.")


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer rests on `sources`; `words` are the redacted ones it was asked in."""

    asked: language_models.Question
    sources: tuple[Source, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether somebody is asked now, and it has not come to something already."""
        return bool(self.asked.messages)


async def ask(
    work: Work,
    caller: Principal,
    number: int,
    *,
    draft_id: uuid.UUID,
    desk: Desk,
    seal: Seal,
    now: datetime,
) -> Question:
    """Writes down what is asked; or what it has come to already, under the same id.

    Raises TicketNotFound, NoLanguageModel, BudgetSpent.
    """
    asking = await suggestions.asking_of(work, caller, number)
    known = await language_models.asked_before(work, draft_id)
    if known is not None:
        return Question(language_models.Question(draft_id, known))
    settings = await language_models.enabled(work)
    found = await suggestions.suggestions(work, caller, number, desk=desk, limit=_EACH)
    chosen = [one for one in found.items if one.audience != "internal"][:MOST_SOURCES]
    others = await _persons(work, chosen)
    names = [asking.names[name] or "" for name in ("customer.name", "customer.email")]
    agent = desk.agents.get(caller.id) if caller.id else None
    redactor = Redactor([*names, agent.name if agent else ""])
    subject = redactor.redacted(asking.subject)
    words = tuple(redactor.redacted(own_words(text)) for text in asking.latest)

    def own(one: Suggestion, text: str) -> str:
        """What the desk says to everybody stays; of past replies, what is about others goes."""
        return without_persons(text, others) if one.kind == "reply" else text

    # A canned response is filled in already: this customer's and this agent's names are in it.
    sources = tuple(
        Source(
            f"S{place}",
            redactor.redacted(own(one, one.title)),
            redactor.redacted(own(one, one.text))[: drafting.LONGEST_SOURCE],
        )
        for place, one in enumerate(chosen, start=1)
    )
    messages = drafting.prompt(subject, words, sources, language=asking.language)
    question = await language_models.reserve(
        work,
        draft_id,
        settings,
        kind="reply",
        ticket_id=asking.id,
        user_id=caller.id,
        messages=messages if sources else (),
        sources=[_cited(mark, one) for mark, one in zip(sources, chosen, strict=True)],
        prompt_version=PROMPT_VERSION,
        most_tokens=MOST_ANSWERED,
        redactor=redactor,
        seal=seal,
        now=now,
    )
    return Question(question, sources, (subject, *words))


async def answered(
    database: Database,
    tenant_id: uuid.UUID,
    question: Question,
    models: Asking,
    *,
    now: Callable[[], datetime],
) -> Row:
    """The draft, once the model was asked; no transaction is open meanwhile."""

    def read(content: str) -> Shown:
        assert question.asked.redactor is not None
        draft = drafting.drafted(content, question.sources, question.words, question.asked.redactor)
        return Shown(draft.text, frozenset(draft.cited))

    return await language_models.answered(
        database, tenant_id, question.asked, models, read, now=now
    )


async def drafts(work: Work, caller: Principal, number: int) -> list[Row]:
    """What was drafted for a ticket, newest first. Raises TicketNotFound."""
    asking = await suggestions.asking_of(work, caller, number)
    return await work.rows(
        "select d.* from drafts d where d.tenant_id = :tenant and d.ticket_id = :ticket"
        " and d.kind = 'reply' order by d.created_at desc, d.id desc limit 50",
        {"tenant": work.tenant_id, "ticket": asking.id},
    )


async def judge(
    work: Work, caller: Principal, number: int, draft_id: uuid.UUID, verdict: Verdict
) -> Row:
    """Records what became of a draft. Raises TicketNotFound, DraftNotFound."""
    asking = await suggestions.asking_of(work, caller, number)
    row = await work.row(
        "update drafts set verdict = :verdict where tenant_id = :tenant and id = :id"
        " and ticket_id = :ticket and kind = 'reply' and state = 'drafted' returning *",
        {"tenant": work.tenant_id, "id": draft_id, "ticket": asking.id, "verdict": verdict},
    )
    if row is None:
        raise DraftNotFound
    return row


def id_of(tenant_id: uuid.UUID, number: int, key: str) -> uuid.UUID:
    """The draft that a request of that key makes: the same for a key that is sent again."""
    return uuid.uuid5(tenant_id, f"draft/{number}/{key}")


# Parts.


async def _persons(work: Work, chosen: Sequence[Suggestion]) -> list[str]:
    """Those of whom past replies may speak: their customers and their authors."""
    replies = [one.source_id for one in chosen if one.kind == "reply"]
    if not replies:
        return []
    [rows] = await work.batch(
        (
            "select c.name, u.name as author from messages m join tickets t"
            " on t.tenant_id = m.tenant_id and t.id = m.ticket_id"
            " join customers c on c.tenant_id = t.tenant_id and c.id = t.requester_id"
            " left join users u on u.tenant_id = m.tenant_id and u.id = m.author_id"
            " where m.tenant_id = %s and m.id = any(%s)",
            (work.tenant_id, replies),
        )
    )
    return [name for row in rows for name in (row["name"], row["author"]) if name]


def _cited(mark: Source, one: Suggestion) -> dict[str, object]:
    return {
        "mark": mark.mark,
        "kind": one.kind,
        "source_id": str(one.source_id),
        "title": one.title,
        "snippet": one.snippet,
        "number": one.number,
        "slug": one.slug,
        "score": one.score,
        "cited": False,
    }


__all__ = [
    "DraftNotFound",
    "Question",
    "answered",
    "ask",
    "drafts",
    "id_of",
    "judge",
]
