"""The desk's language model: drafts that rest on the desk's own words, and summaries."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from prometheus_client import Counter
from pydantic import Field, SecretStr

from api.deps import Allowed, EventKey, From, Served, Tx
from api.editing import record
from api.routing import Route
from api.shapes import Request, Shape, examples
from api.tickets.acting import Number, Replier
from api.tickets.suggesting import WrittenPart
from domain.permissions import Permission, Principal
from domain.webhooks import LONGEST_URL
from models.session import Row
from services import audit, digests, drafting, language_models
from services.sealing import Seal
from services.suggestions import Kind, Verdict
from services.tickets import clock

router = APIRouter(prefix="/api/v1", tags=["language model"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.TRIAGE_VIEW))]
Admin = Annotated[Principal, Depends(Allowed(Permission.SETTINGS_MANAGE))]
Tokens = Annotated[int, Field(ge=0, le=1_000_000_000)]
Money = Annotated[float, Field(ge=0, le=1_000_000)]

DRAFTS = Counter(
    "drafts_total", "Drafts and summaries that were asked for, by what came of them.", ["state"]
)
TOKENS = Counter("draft_tokens_total", "Tokens that drafts and summaries took.", ["direction"])


class UsedOut(Shape):
    """What was used, questions that are under way counted at the most they can take."""

    tokens: int
    cost: float


class LanguageModelOut(Shape):
    """How drafts are made. The key is never shown."""

    enabled: bool
    base_url: str | None = Field(description="Null: none was set up.")
    model: str | None
    has_key: bool
    timeout_seconds: int
    daily_tokens: int
    monthly_tokens: int
    daily_cost: float | None
    monthly_cost: float | None
    input_price: float = Field(description="For a million tokens.")
    output_price: float
    used_today: UsedOut = Field(description="Days and months are those of UTC.")
    used_this_month: UsedOut
    updated_at: datetime | None


class LanguageModelIn(Request):
    """A server that speaks the chat-completions protocol. Switched off unless `enabled`."""

    model_config = examples(
        {
            "enabled": True,
            "base_url": "https://models.example.com/v1",
            "model": "small-instruct",
            "key": "a secret of that server",
            "daily_tokens": 200_000,
            "monthly_tokens": 2_000_000,
            "input_price": 0.2,
            "output_price": 0.6,
            "monthly_cost": 25,
        }
    )

    enabled: bool = False
    base_url: Annotated[str, Field(min_length=1, max_length=LONGEST_URL)] = Field(
        description="What stands before `/chat/completions`; on the open internet, https."
    )
    model: Annotated[str, Field(min_length=1, max_length=200)]
    key: Annotated[SecretStr, Field(max_length=1000)] | None = Field(
        default=None, description="Left out, it stays; empty, there is none."
    )
    timeout_seconds: int = Field(default=20, ge=1, le=120)
    daily_tokens: Tokens = 200_000
    monthly_tokens: Tokens = 2_000_000
    daily_cost: Money | None = None
    monthly_cost: Money | None = None
    input_price: Money = 0.0
    output_price: Money = 0.0


class DraftSource(Shape):
    """Something that was shown to the model; `cited` where the draft rests on it."""

    mark: str
    kind: Kind
    source_id: UUID
    title: str
    snippet: str
    number: int | None = Field(description="Of the past ticket; of replies only.")
    slug: str | None = Field(description="Of articles only.")
    score: float
    cited: bool


class DraftOut(Shape):
    """`drafted`: read it before you send it. `refused`: there was nothing to rest on, or what came
    back did not; `failed`: the model was not there. Then the sources themselves are the help."""

    id: UUID
    state: Literal["asked", "drafted", "refused", "failed"]
    detail: str | None = Field(description="Why there is no draft.")
    text: str | None
    sources: list[DraftSource]
    model: str
    prompt_version: str
    input_tokens: int
    output_tokens: int
    cost: float
    redacted: int = Field(description="How many things about persons were kept back.")
    verdict: Verdict | None
    user_id: UUID
    created_at: datetime
    finished_at: datetime | None


class SummaryPartsOut(Shape):
    problem: WrittenPart
    tried: WrittenPart
    state: WrittenPart


class WrittenSummaryOut(Shape):
    """`drafted`: its parts are there. `refused`: what came back rests on no message, or there was
    nothing to sum up; `failed`: the model was not there. Then the ticket's own sentences remain."""

    id: UUID
    state: Literal["asked", "drafted", "refused", "failed"]
    detail: str | None = Field(description="Why there is no summary.")
    parts: SummaryPartsOut | None
    model: str
    prompt_version: str
    input_tokens: int
    output_tokens: int
    cost: float
    redacted: int = Field(description="How many things about persons were kept back.")
    user_id: UUID
    created_at: datetime
    finished_at: datetime | None


class DraftVerdictIn(Request):
    """What was done with it: sent as it was, sent after changes, or not wanted."""

    model_config = examples({"verdict": "edited"})

    verdict: Verdict


def _seal(served: Served) -> Seal:
    return Seal(served.settings.secret_key.get_secret_value())


@router.get("/language-model", summary="How drafts are made")
async def get_language_model(caller: Viewer, work: Tx) -> LanguageModelOut:
    """The desk's language model, its limits and what was used of them."""
    return LanguageModelOut.model_validate(await language_models.settings_of(work, now=clock()))


@router.put("/language-model", summary="Set up a language model")
async def put_language_model(
    body: LanguageModelIn, caller: Admin, served: Served, work: Tx, origin: From
) -> LanguageModelOut:
    """Text of this desk leaves for that server from then on, when an agent asks for a draft; names,
    addresses, numbers that name somebody, dates of birth and passwords are replaced before. The key
    is kept sealed."""
    row, changed = await language_models.put(
        work,
        body.model_dump(exclude={"key"}),
        key=body.key.get_secret_value() if body.key is not None else None,
        seal=_seal(served),
        allow_private=served.settings.language_models_allow_private,
        now=clock(),
    )
    if changed:
        said: dict[str, object] = {"changed": changed, "base_url": row["base_url"]}
        await record(work, caller, origin, "language_model.changed", "language_model", None, said)
    return LanguageModelOut.model_validate(row)


@router.delete("/language-model", status_code=204, summary="Forget the language model")
async def delete_language_model(caller: Admin, work: Tx, origin: From) -> None:
    """Its key too. What was drafted stays as it is."""
    if await language_models.remove(work):
        await record(work, caller, origin, "language_model.deleted", "language_model", None, {})


@router.post("/tickets/{number}/drafts", status_code=201, summary="Draft a reply")
async def draft_reply(
    number: Number, caller: Replier, served: Served, origin: From, key: EventKey
) -> DraftOut:
    """Asks the desk's language model for a reply that rests on what suggestions found, and nothing
    else. It is a suggestion: nothing is ever sent by itself, and nothing on the ticket changes.

    409 `no_language_model` where there is none, `budget_spent` where it may cost no more.
    """
    async with served.database.transaction(caller.tenant_id) as work:
        desk = await served.desks.current(work)
        question = await drafting.ask(
            work,
            caller,
            number,
            draft_id=drafting.id_of(caller.tenant_id, number, key),
            desk=desk,
            seal=_seal(served),
            now=clock(),
        )
        if question.is_new or question.asked.row["state"] == "refused":
            await audit.record(
                work,
                caller=caller,
                origin=origin,
                action="draft.asked",
                target_kind="draft",
                target_id=question.asked.id,
                data={"number": number, "redacted": question.asked.row["redacted"]},
            )
    # No transaction is open while somebody else is asked.
    models = language_models.models(allow_private=served.settings.language_models_allow_private)
    row = await drafting.answered(served.database, caller.tenant_id, question, models, now=clock)
    if question.is_new:
        _count(row)
    return _shown(row)


@router.post(
    "/tickets/{number}/summaries", status_code=201, summary="Sum up a conversation in other words"
)
async def write_summary(
    number: Number, caller: Replier, served: Served, origin: From, key: EventKey
) -> WrittenSummaryOut:
    """Asks the desk's language model for the problem, what was tried and how it stands, from the
    public messages alone, redacted as for drafts; each part names the messages it rests on. Notes
    stay in the house. `GET /api/v1/tickets/{number}/summary` shows the newest beside the ticket's
    own sentences, which need no model.

    409 `no_language_model` where there is none, `budget_spent` where it may cost no more.
    """
    async with served.database.transaction(caller.tenant_id) as work:
        desk = await served.desks.current(work)
        question = await digests.ask(
            work,
            caller,
            number,
            summary_id=digests.id_of(caller.tenant_id, number, key),
            desk=desk,
            seal=_seal(served),
            now=clock(),
        )
        if question.is_new:
            await audit.record(
                work,
                caller=caller,
                origin=origin,
                action="summary.asked",
                target_kind="summary",
                target_id=question.asked.id,
                data={"number": number, "redacted": question.asked.row["redacted"]},
            )
    # No transaction is open while somebody else is asked.
    models = language_models.models(allow_private=served.settings.language_models_allow_private)
    row = await digests.answered(served.database, caller.tenant_id, question, models, now=clock)
    if question.is_new:
        _count(row)
    return WrittenSummaryOut.model_validate(row)


@router.get("/tickets/{number}/drafts", summary="What was drafted for a ticket")
async def list_drafts(number: Number, caller: Replier, work: Tx) -> list[DraftOut]:
    """The newest first, also those that came to nothing."""
    return [_shown(row) for row in await drafting.drafts(work, caller, number)]


@router.post("/tickets/{number}/drafts/{draft_id}/feedback", summary="Say what became of a draft")
async def judge_draft(
    number: Number, draft_id: UUID, body: DraftVerdictIn, caller: Replier, work: Tx, origin: From
) -> DraftOut:
    """The last verdict counts."""
    row = await drafting.judge(work, caller, number, draft_id, body.verdict)
    said: dict[str, object] = {"number": number, "verdict": body.verdict}
    await record(work, caller, origin, "draft.judged", "draft", draft_id, said)
    return _shown(row)


def _count(row: Row) -> None:
    DRAFTS.labels(row["state"]).inc()
    TOKENS.labels("input").inc(row["input_tokens"])
    TOKENS.labels("output").inc(row["output_tokens"])


def _shown(row: Row) -> DraftOut:
    return DraftOut.model_validate(row)
