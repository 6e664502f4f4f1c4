"""What models said about a ticket, how pressing it is, and telling them what is right."""

from datetime import datetime
from typing import Annotated, Literal, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import Field, field_validator

from api.deps import Allowed, Tx
from api.routing import Route
from api.shapes import Request, Shape, examples
from api.tickets.acting import Act, Changer, Number, Reason
from api.tickets.shapes import TicketOut
from domain.errors import Invalid
from domain.languages import LANGUAGES
from domain.learning import TriageField
from domain.permissions import Permission, Principal
from domain.states import Priority
from domain.tickets import Event, Labelled
from domain.triage import Level, Sentiment, Spam
from services import learning, verdicts
from services.tickets import Step, clock

Said = TypeVar("Said")

router = APIRouter(prefix="/api/v1/tickets", tags=["tickets"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.TICKETS_VIEW))]


class ShareOut(Shape):
    label: str
    probability: float


class WordOut(Shape):
    """A word that spoke for the label, and how loudly."""

    word: str
    weight: float


class OpinionOut(Shape):
    """`abstained`: not sure enough to be listened to. `out_of_scope`: like nothing it knows."""

    label: str
    probability: float
    abstained: bool
    top: list[ShareOut]
    words: list[WordOut]
    out_of_scope: bool
    strangeness: float | None
    model_version: str


class FieldOpinion(OpinionOut):
    field: TriageField


class StandingOut(Shape):
    """One question: what stands now, what the last verdict said, whether that was done, and who
    of the desk has decided. `overridden`: somebody decided otherwise after the verdict."""

    field: TriageField
    value: str | None
    suggestion: OpinionOut | None
    applied: bool
    overridden: bool
    decided_by_id: UUID | None
    decided_by_name: str | None
    decided_at: datetime | None


class SignOut(Shape):
    """Words that spoke for frustration, and how loudly. What was read `before` counts half."""

    kind: str
    words: str
    weight: float


class FrustrationOut(Shape):
    """How fed up the customer sounds, from 0 to 1, with the words that say so. Read by `rules`."""

    value: float
    level: Level
    signs: list[SignOut]
    rules: str


class VerdictOut(Shape):
    """One verdict, as event `seq` of the timeline has it. `input_sha256` is that of the words it
    was about."""

    seq: int
    at: datetime
    kind: Literal["all", "mood"] = Field(
        description="Whether all was asked, of the first message, or the mood of a later one."
    )
    message_id: UUID | None = Field(description="The message that was read.")
    message_seq: int = Field(description="The event that brought it.")
    frustration: FrustrationOut | None
    model_version: str
    input_sha256: str | None
    applied: list[str]
    opinions: list[FieldOpinion]


class ContributionOut(Shape):
    name: str
    points: float
    because: str


class ScoreOut(Shape):
    """How pressing the ticket is now, from 0 to 100: the sum of its contributions."""

    value: int
    contributions: list[ContributionOut]


class AnalysisOut(Shape):
    number: int
    triage: str
    score: ScoreOut
    frustration: FrustrationOut | None
    mood_pending: bool = Field(description="Whether there are words whose mood is yet to be read.")
    questions: list[StandingOut]
    verdicts: list[VerdictOut]


class FeedbackIn(Request):
    """What is right; what is left out is not spoken of. What a model had said may be confirmed."""

    model_config = examples(
        {"topic": "billing", "priority": "high", "reason": "It is about the second invoice."},
        {"sentiment": "negative"},
        {"spam": "spam"},
    )

    topic: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    priority: Priority | None = None
    sentiment: Sentiment | None = None
    team_id: UUID | None = None
    spam: Spam | None = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}$")] | None = None
    reason: Reason | None = None

    @field_validator("*")
    @classmethod
    def _not_null(cls, value: Said) -> Said:
        if value is None:
            raise ValueError("leave out what you do not speak of, rather than null")
        return value

    @field_validator("language")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in LANGUAGES:
            raise ValueError("is not a language that can be told here, as `en` or `de`")
        return value


_SPOKEN_OF = ("topic", "priority", "sentiment", "team_id", "spam", "language")


@router.get("/{number}/analysis", summary="What models say about a ticket")
async def read_analysis(number: Number, work: Tx, caller: Viewer) -> AnalysisOut:
    """Every verdict with the words that decided, what was done of it, who decided otherwise; and
    how pressing the ticket is, with reasons."""
    return AnalysisOut.model_validate(await verdicts.analysis(work, number, caller, now=clock()))


@router.post("/{number}/analysis/feedback", summary="Say what is right")
async def give_feedback(
    number: Number, body: FeedbackIn, act: Act, caller: Changer, work: Tx, response: Response
) -> TicketOut:
    """Becomes so on the ticket, stays so whatever models say, and teaches the next one.

    A team needs `tickets.assign` as well. What is marked as spam gets the tag `spam`, is given to
    nobody, and what happens to it by itself is told to nobody; `not_spam` gives it back.
    """
    if not body.model_fields_set & set(_SPOKEN_OF):
        raise Invalid(
            f"Say what is right: at least one of {', '.join(_SPOKEN_OF)}.",
            fields={f"/{name}": "is missing, as are the others" for name in _SPOKEN_OF},
        )
    needed = [Permission.TICKETS_CHANGE]
    if body.team_id is not None:
        needed.append(Permission.TICKETS_ASSIGN)
    said = Labelled(
        topic=body.topic,
        priority=body.priority,
        sentiment=body.sentiment,
        team_id=body.team_id,
        spam=body.spam,
        language=body.language,
        reason=body.reason,
    )
    event = Event(key=act.key, actor=caller.actor, payload=said, cause=act.origin.cause)
    [outcome] = await act.served.tickets.handle(
        work,
        Step(number, event, tuple(needed), seen=act.seen),
        caller=caller,
        origin=act.origin,
    )
    if body.topic is not None:  # only who may see the ticket hears what is wrong with the label
        await learning.check_label(work, "topic", body.topic)
    return await act.answer(work, outcome, response)
