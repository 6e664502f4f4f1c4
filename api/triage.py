"""What a desk's models are, how they did, what they are listened to for; the AI report."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api.deps import Allowed, From, Served, Tx
from api.editing import given, record
from api.routing import Route
from api.shapes import Instant, Request, Shape, examples
from domain.calendars import Zone
from domain.errors import Invalid
from domain.learning import MOST_LABELS, Apply, Measures, TriageField
from domain.permissions import Permission, Principal
from domain.retraining import RARELY
from models.session import Row
from services import learning, promoting, retraining, verdicts
from services.tickets import clock

router = APIRouter(prefix="/api/v1", tags=["triage"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.TRIAGE_VIEW))]
Manager = Annotated[Principal, Depends(Allowed(Permission.TRIAGE_MANAGE))]

LONGEST_REPORT = timedelta(days=366)


class QuestionOut(Shape):
    """One of the questions, as it is answered now."""

    field: TriageField
    apply: Apply
    wanted_precision: float = Field(description="The precision an answer has to earn.")
    labels: list[str]
    own_labels: bool = Field(description="Whether the desk has given the labels itself.")
    model: str | None = Field(description="The desk's own that answers; null: the one that ships.")
    model_id: UUID | None
    threshold: float | None = Field(
        description="Below this it does not answer; null: as what ships is sure enough."
    )
    threshold_by_hand: bool = Field(description="Whether the desk has set it.")
    answered: int | None = Field(description="Of rows it had not seen, at that threshold.")
    precision: float | None = Field(
        description="Of those answers. Null where nothing was measured at that threshold."
    )
    coverage: float | None
    applied: bool = Field(description="Whether answers are done now, or only suggested.")
    withheld: str | None = Field(
        description="Why they are only suggested until a model was measured anew."
    )


class QuestionPatch(Request):
    """What is left out stays. `labels: null` and `threshold: null` give the usual ones back.

    `apply`: `never`, `always`, or `earned`: once the desk's own model has reached the bar on
    decisions it had not seen. `threshold` is kept in hundredths.
    """

    model_config = examples(
        {"apply": "earned", "wanted_precision": 0.95},
        {"threshold": 0.85},
        {"labels": ["network", "hardware", "invoices"]},
    )

    apply: Apply | None = None
    wanted_precision: float | None = Field(default=None, ge=0.5, le=1.0)
    threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    labels: list[str] | None = Field(default=None, max_length=MOST_LABELS)


class MeasuresOut(Shape):
    """How well answers fitted what people decided; `precision` is that of what was answered."""

    rows: int
    accuracy: float
    macro_f1: float
    calibration_error: float
    answered: int
    coverage: float
    precision: float
    not_taught: int = Field(
        default=0,
        description="Decisions for labels that the model was never taught; counted in none above.",
    )


class LiveOut(Shape):
    """What people made of a model's answers since it was put in place; the share that is right
    lies surely between `low` and `high`."""

    at: datetime
    judged: int
    right: int
    precision: float
    low: float
    high: float


class ModelOut(Shape):
    """A training and what came of it: `queued`, `training`, then `champion` (it answers),
    `refused`, `failed` or `cancelled`; a champion that was replaced is `retired`."""

    id: UUID
    field: TriageField
    version: int
    state: str
    detail: str | None = Field(description="Why it became what it is.")
    objection: str | None = Field(
        description="Why it answers only if somebody insists: it was refused, or fell."
    )
    replaced_by: int | None = Field(description="The version that was measured to be better.")
    live: LiveOut | None = Field(description="As last counted, while it answers.")
    problem: str | None = Field(description="Why its file cannot be used; the base model answers.")
    requested_by: UUID | None = Field(description="Null: it was its turn.")
    progress: float
    rows: int | None = Field(description="It was taught.")
    wanted_precision: float | None
    threshold: float | None = Field(description="Below this it does not answer.")
    measures: MeasuresOut | None
    compared_with: str | None
    compared: MeasuresOut | None = Field(description="What answered then, on the same rows.")
    taught_until: datetime | None
    sha256: str | None
    size_bytes: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    promoted_at: datetime | None


class ConfusionOut(Shape):
    """How often `guess` was said where `right` was right."""

    right: str
    guess: str
    rows: int


class BinOut(Shape):
    """Guesses about this sure: how sure on average, and what share of them was right."""

    start: float
    end: float
    rows: int
    probability: float
    right: float


class ModelDetail(ModelOut):
    labels: dict[str, int] | None = Field(description="How many rows of each it was taught.")
    confusion: list[ConfusionOut]
    reliability: list[BinOut]


class TrainIn(Request):
    model_config = examples({"field": "topic"})

    field: TriageField


class PromoteIn(Request):
    """`anyway`, with a reason, puts even a model in place that was measured to be worse."""

    model_config = examples({}, {"anyway": True, "reason": "The hold-out was a week of floods."})

    anyway: bool = False
    reason: Annotated[str, Field(min_length=1, max_length=500)] | None = None


class ScheduleOut(Shape):
    """When models are taught anew by themselves. `next` is null where they never are."""

    enabled: bool
    every_days: int
    hour: int
    zone: str
    least_new: int
    last: datetime | None = Field(description="When it was last looked who is to learn.")
    next: datetime | None


class SchedulePatch(Request):
    """What is left out stays. A question is taught once people judged `least_new` tickets since
    its last training."""

    model_config = examples(
        {"hour": 3, "zone": "Europe/Berlin", "every_days": 7}, {"enabled": False}
    )

    enabled: bool | None = None
    every_days: int | None = Field(default=None, ge=1, le=RARELY)
    hour: int | None = Field(default=None, ge=0, le=23)
    zone: Zone | None = None
    least_new: int | None = Field(default=None, ge=1, le=20_000)


class BacktestIn(Request):
    """Without `model_id` the model that ships is asked."""

    model_config = examples({"field": "priority", "tickets": 5000})

    field: TriageField
    model_id: UUID | None = None
    tickets: int = Field(default=5_000, ge=1, le=learning.MOST_BACKTESTED)


class BacktestOut(Shape):
    """`measures` is what the model says now of past tickets, `unseen` the part of it that was
    decided after all it was taught, `recorded` what the desk was told at the time."""

    id: UUID
    field: TriageField
    model_id: UUID | None
    version: int | None
    state: str
    detail: str | None
    progress: float
    tickets: int
    measures: MeasuresOut | None
    unseen: MeasuresOut | None
    recorded: MeasuresOut | None
    confusion: list[ConfusionOut]
    reliability: list[BinOut]
    created_at: datetime
    finished_at: datetime | None


class TallyOut(Shape):
    """`answered` of those `asked`; of answers that people judged, how many were right, how many
    corrected; of those withheld, how many would have been right or wrong."""

    asked: int
    answered: int
    coverage: float | None
    applied: int
    judged: int
    right: int
    corrected: int
    precision: float | None
    withheld_right: int
    withheld_wrong: int


class WeekOut(TallyOut):
    start: datetime


class FieldReport(TallyOut):
    field: TriageField
    weeks: list[WeekOut]


class TriageReport(Shape):
    """Of tickets made from `start` until `end`; `complete` is false where there were too many."""

    start: datetime
    end: datetime
    tickets: int
    complete: bool
    questions: list[FieldReport]


def _model(row: Row) -> ModelOut:
    return ModelOut.model_validate(row)


def _details(measures: object) -> tuple[list[ConfusionOut], list[BinOut]]:
    if measures is None:
        return [], []
    found = Measures.model_validate(measures)
    return (
        [ConfusionOut.model_validate(one) for one in found.confusion],
        [BinOut.model_validate(one) for one in found.reliability],
    )


def _backtest(row: Row) -> BacktestOut:
    confusion, reliability = _details(row["measures"])
    return BacktestOut(**row, confusion=confusion, reliability=reliability)


@router.get("/triage/fields", summary="What models are asked")
async def list_triage_fields(caller: Viewer, work: Tx) -> list[QuestionOut]:
    """The questions, their labels, the bar each has to reach, and who answers now."""
    return [QuestionOut(**row) for row in await learning.questions(work)]


@router.patch("/triage/fields/{field}", summary="Change how one is answered")
async def change_triage_field(
    field: TriageField, body: QuestionPatch, caller: Manager, work: Tx, origin: From
) -> QuestionOut:
    """Holds from the next verdict on. Labels can be given for topics; the rest has its own."""
    asked = given(body, clears={"labels", "threshold"})
    row, changes = await learning.set_field(work, field, asked, now=clock())
    if changes:
        said: dict[str, object] = {"changes": changes}
        await record(work, caller, origin, "triage_field.changed", "triage_field", field, said)
    return QuestionOut(**row)


@router.post("/triage/fields/{field}/rollback", summary="Back to the former model")
async def roll_back_triage(
    field: TriageField, caller: Manager, work: Tx, origin: From
) -> QuestionOut:
    """The model that answered before answers again; where there is none, the one that ships.

    Models that were refused, or that fell, are passed over.
    """
    row = await promoting.roll_back(work, field, caller=caller, origin=origin, now=clock())
    return QuestionOut(**row)


@router.get("/triage/models", summary="Models of this desk")
async def list_triage_models(
    caller: Viewer,
    work: Tx,
    field: TriageField | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> list[ModelOut]:
    """The newest first, also those that were refused, and what is being taught."""
    return [_model(row) for row in await learning.models(work, field=field, limit=limit)]


@router.post("/triage/models", status_code=202, summary="Teach a model")
async def train_triage_model(body: TrainIn, caller: Manager, work: Tx, origin: From) -> ModelOut:
    """Queues a training on what people of this desk have decided. Its model answers once it was
    measured to be better than what answers now; else it is refused, with the reason."""
    return _model(await learning.train(work, body.field, caller=caller, origin=origin, now=clock()))


@router.get("/triage/models/{model_id}", summary="One model")
async def get_triage_model(model_id: UUID, caller: Viewer, work: Tx) -> ModelDetail:
    """Its measures, what it took for what, and how far its probabilities can be believed."""
    row = await learning.model(work, model_id)
    confusion, reliability = _details(row["measures"])
    return ModelDetail(**row, confusion=confusion, reliability=reliability)


@router.post("/triage/models/{model_id}/cancel", summary="Stop a training")
async def cancel_triage_model(model_id: UUID, caller: Manager, work: Tx, origin: From) -> ModelOut:
    """What answers now goes on answering."""
    return _model(await learning.cancel(work, model_id, caller=caller, origin=origin, now=clock()))


@router.post("/triage/models/{model_id}/promote", summary="Let a model answer")
async def promote_triage_model(
    model_id: UUID, body: PromoteIn, caller: Manager, work: Tx, origin: From
) -> ModelOut:
    """Puts a retired model back, or a refused one in place.

    409 `worse_model` for one that was refused, that fell, or that a better one replaced, unless
    `anyway` with a `reason`, which the audit log keeps.
    """
    row = await promoting.promote(
        work,
        model_id,
        anyway=body.anyway,
        reason=body.reason,
        caller=caller,
        origin=origin,
        now=clock(),
    )
    return _model(row)


@router.get("/triage/schedule", summary="When models learn by themselves")
async def get_triage_schedule(caller: Viewer, work: Tx) -> ScheduleOut:
    """The plan of this desk, and its next turn."""
    return ScheduleOut(**await retraining.plan_of(work, now=clock()))


@router.patch("/triage/schedule", summary="Change when they do")
async def change_triage_schedule(
    body: SchedulePatch, caller: Manager, work: Tx, origin: From
) -> ScheduleOut:
    """Holds from the next turn on. It is the tenant's setting `retraining`, audited as such."""
    asked = given(body, clears=set())
    row = await retraining.change_plan(work, asked, caller=caller, origin=origin, now=clock())
    return ScheduleOut(**row)


@router.post("/triage/backtests", status_code=202, summary="Ask a model about the past")
async def start_backtest(body: BacktestIn, caller: Manager, work: Tx, origin: From) -> BacktestOut:
    """Queues a backtest: a model says what it thinks of past tickets, beside what people decided.
    Nothing changes on any ticket."""
    row = await learning.backtest(
        work,
        body.field,
        model_id=body.model_id,
        tickets=body.tickets,
        caller=caller,
        origin=origin,
        now=clock(),
    )
    return _backtest(row)


@router.get("/triage/backtests/{backtest_id}", summary="One backtest")
async def get_backtest(backtest_id: UUID, caller: Viewer, work: Tx) -> BacktestOut:
    """How far it is, and what it found."""
    return _backtest(await learning.get_backtest(work, backtest_id))


@router.get("/reports/triage", summary="The AI report")
async def report_triage(
    caller: Viewer,
    served: Served,
    start: Instant | None = None,
    end: Instant | None = None,
) -> TriageReport:
    """How much models answered, how often they were right, how often people corrected them; of
    the last twelve weeks unless said otherwise, week by week from `start`."""
    until = end or clock()
    since = start or until - timedelta(weeks=12)
    if not timedelta(0) < until - since <= LONGEST_REPORT:
        raise Invalid(
            "A report covers up to a year, and ends after it begins.",
            fields={"query/start": "is not within a year before the end"},
        )
    return TriageReport(**await verdicts.report(served.database, caller, start=since, end=until))
