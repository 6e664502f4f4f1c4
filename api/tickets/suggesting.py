"""What may answer a ticket, what is like it, and what it says in short."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api.deps import Allowed, From, Served, Tx
from api.editing import record
from api.routing import Route
from api.shapes import Request, Shape, examples
from api.tickets.acting import Number, Replier
from domain import placeholders
from domain.permissions import Permission, Principal
from domain.summaries import Author
from services import canned, suggestions, summaries
from services.suggestions import Kind, Verdict
from services.tickets import clock

router = APIRouter(prefix="/api/v1/tickets", tags=["suggestions"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.TICKETS_VIEW))]
Knower = Annotated[Principal, Depends(Allowed(Permission.KNOWLEDGE_VIEW))]


class VerdictsOut(Shape):
    """What people did with a suggestion so far."""

    accepted: int = 0
    edited: int = 0
    rejected: int = 0


class SuggestionOut(Shape):
    kind: Kind
    source_id: UUID = Field(description="Of the article, the canned response, or the message.")
    title: str = Field(description="The article's, the response's, or the past ticket's subject.")
    text: str = Field(description="What would be sent; of an article, its beginning.")
    snippet: str
    language: str | None
    same_language: bool = Field(description="Whether it is the ticket's, as far as is known.")
    score: float = Field(ge=0, le=1)
    why: list[str] = Field(description="The ticket's words that decided, the weightiest first.")
    boost: float = Field(description="The factor that verdicts put into the score.")
    verdicts: VerdictsOut
    number: int | None = Field(description="Of the past ticket; of replies only.")
    slug: str | None = Field(description="Of articles only.")
    audience: str | None = Field(description="Of articles: an internal one is not for customers.")
    missing: list[str] = Field(description="Placeholders with nothing to put in their place.")
    written_at: datetime | None


class SuggestionsOut(Shape):
    language: str | None = Field(description="The ticket's, as set or as read off its words.")
    items: list[SuggestionOut]


class VerdictIn(Request):
    """What was done with a suggestion: sent as it was, sent after changes, or not wanted."""

    model_config = examples(
        {
            "kind": "article",
            "source_id": "0198c5c6-b2c3-7d4e-8f50-617283940516",
            "verdict": "accepted",
        }
    )

    kind: Kind
    source_id: UUID
    verdict: Verdict


class SimilarOut(Shape):
    number: int
    subject: str
    status: str
    category: str
    created_at: datetime
    score: float = Field(ge=0, le=1)
    why: list[str]
    same_requester: bool
    identical: bool = Field(description="Nearly word for word.")
    duplicate: bool = Field(description="Likely the same matter, told twice.")
    linked: bool = Field(description="The two are tied already.")


class SimilarsOut(Shape):
    items: list[SimilarOut]


class SentenceOut(Shape):
    text: str
    message_id: UUID
    author: Author
    internal: bool = Field(description="From a note: not for customers.")


class WrittenPart(Shape):
    """In a language model's words; whatever it states is in the messages it names."""

    text: str = Field(description="Empty where there is nothing to say.")
    message_ids: list[UUID]


class WrittenOut(Shape):
    """What the desk's language model made of the public messages, as it was asked for."""

    problem: WrittenPart
    tried: WrittenPart
    state: WrittenPart
    model: str
    prompt_version: str
    created_at: datetime
    since: int = Field(description="Public messages that came after it: none, and it is current.")


class SummaryOut(Shape):
    messages: int = Field(description="How many there are.")
    problem: list[SentenceOut]
    tried: list[SentenceOut]
    state: list[SentenceOut] = Field(description="How it stands: the last words of both sides.")
    written: WrittenOut | None = Field(
        description="The newest of `POST /api/v1/tickets/{number}/summaries`; null without one."
    )


class RenderedOut(Shape):
    """A canned response as it would read in a ticket."""

    text: str
    missing: list[str]


@router.get("/{number}/suggestions", summary="What may answer a ticket")
async def list_suggestions(
    number: Number,
    caller: Viewer,
    work: Tx,
    served: Served,
    limit: Annotated[int, Query(ge=1, le=20, description="At most of each kind.")] = 5,
) -> SuggestionsOut:
    """Articles, canned responses and replies in resolved tickets, by the subject and the customer's
    latest words; what is in the ticket's language first. Nothing is sent by itself."""
    desk = await served.desks.current(work)
    found = await suggestions.suggestions(work, caller, number, desk=desk, limit=limit)
    return SuggestionsOut(
        language=found.language, items=[SuggestionOut.model_validate(one) for one in found.items]
    )


@router.post("/{number}/suggestions/feedback", summary="Say what became of a suggestion")
async def judge_suggestion(
    number: Number, body: VerdictIn, caller: Replier, work: Tx, origin: From
) -> VerdictsOut:
    """One verdict per person, ticket and source; the last counts. It moves the source's score by at
    most a quarter."""
    counts = await suggestions.judge(
        work,
        caller,
        number,
        kind=body.kind,
        source_id=body.source_id,
        verdict=body.verdict,
        now=clock(),
    )
    said: dict[str, object] = {"number": number, "kind": body.kind, "verdict": body.verdict}
    await record(work, caller, origin, "suggestion.judged", body.kind, body.source_id, said)
    return VerdictsOut(**counts)


@router.get("/{number}/summary", summary="A conversation in short")
async def read_summary(number: Number, caller: Viewer, work: Tx) -> SummaryOut:
    """Sentences of the conversation itself, each with the message it is from: nothing is put into
    other words. Notes count too: it is for agents. Beside them stands what a language model wrote,
    where somebody asked for it."""
    short = await summaries.of_ticket(work, caller, number)
    found, written = short.summary, short.written
    return SummaryOut(
        messages=short.messages,
        problem=[SentenceOut.model_validate(one) for one in found.problem],
        tried=[SentenceOut.model_validate(one) for one in found.tried],
        state=[SentenceOut.model_validate(one) for one in found.state],
        written=WrittenOut.model_validate({**written, **written["parts"]}) if written else None,
    )


@router.get("/{number}/similar", summary="Tickets like this one")
async def list_similar(
    number: Number,
    caller: Viewer,
    work: Tx,
    limit: Annotated[int, Query(ge=1, le=50)] = 10,
) -> SimilarsOut:
    """Likely duplicates first: the same requester within a week, or nearly the same words. Tie two
    together with `POST /api/v1/tickets/{number}/links`."""
    found = await suggestions.similar(work, caller, number, limit=limit)
    return SimilarsOut(
        items=[
            SimilarOut(
                number=one.ticket["number"],
                subject=one.ticket["subject"],
                status=one.ticket["status"],
                category=one.ticket["category"],
                created_at=one.ticket["created_at"],
                score=one.score,
                why=list(one.why),
                same_requester=one.same_requester,
                identical=one.identical,
                duplicate=one.duplicate,
                linked=one.ticket["linked"],
            )
            for one in found
        ]
    )


@router.get("/{number}/canned-responses/{response_id}", summary="A canned response for a ticket")
async def render_canned_response(
    number: Number,
    response_id: UUID,
    caller: Viewer,
    _: Knower,
    work: Tx,
    served: Served,
) -> RenderedOut:
    """Its placeholders filled, as plain text."""
    desk = await served.desks.current(work)
    names = await suggestions.names_for(work, caller, number, desk=desk)
    row = await canned.response(work, caller, response_id)
    text, missing = placeholders.rendered(row["body"], names)
    return RenderedOut(text=text, missing=list(missing))
