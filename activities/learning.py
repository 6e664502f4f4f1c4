"""Teaching a desk its own models, and asking one about the past: long work that can be stopped."""

import asyncio
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence, Set
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from temporalio import activity

from domain.challenging import compared
from domain.errors import Invalid
from domain.learning import (
    MOST_ROWS,
    Measures,
    ModelUnusable,
    Outcome,
    Row,
    TriageField,
    measured,
    shipped_labels,
    split,
)
from domain.lifecycle import BacktestRef, LearningResult, TrainingRef
from domain.proving import instead_of
from domain.triage import Guess, Prediction
from models.session import Database
from models.session import Row as DatabaseRow
from services.labelling import Past, past_tickets
from services.tickets import clock
from services.training import Job, Learnt, Trainings, report_problem, version_of

if TYPE_CHECKING:
    from adapters.classifier import Classifier
    from adapters.classifier.kept import KeptModels, Taught

T = TypeVar("T")
Tell = Callable[[float], None]
Ask = Callable[[Sequence[str]], Sequence[Guess]]

logger = logging.getLogger(__name__)

MOST_TICKETS: Final = 100_000  # that are walked through for rows: minutes, not hours
_BEAT_SECONDS: Final = 1.0
_SILENT: Final = Guess(label="", probability=0.0, abstained=True, top=())
_READ, _TAUGHT = 0.1, 0.9  # how far the whole is when rows are read, when the model has learnt


class Teach(Protocol):
    """Makes a model of rows; `adapters.classifier.kept.teach`."""

    def __call__(
        self, texts: Sequence[str], labels: Sequence[str], *, name: str, precision: float,
        tell: Tell,
    ) -> "Taught": ...  # fmt: skip


class Stopped(Exception):
    """Somebody cancelled it; the row says so already."""


class LearningActivities:
    """Trainings and backtests. Rows are read in pieces, models work in a thread of their own."""

    def __init__(
        self,
        database: Database,
        kept: "KeptModels",
        shipped: "Classifier",
        teach: Teach,
        executor: Executor,
    ) -> None:
        self._database = database
        self._trainings = Trainings(database)
        self._kept = kept
        self._shipped = shipped
        self._teach = teach
        self._executor = executor

    @activity.defn
    async def retrain(self, ref: TrainingRef) -> LearningResult:
        """A challenger is taught, asked beside what answers now, and promoted or refused."""
        job = await self._trainings.begin(ref.tenant_id, ref.job_id, now=clock())
        if isinstance(job, str):
            return LearningResult(state=job)
        pulse = _Pulse(lambda done: self._trainings.goes_on(job, done), self._executor)
        try:
            taught, held_out = split(await self._rows(job, pulse))
            learnt = await self._learnt(job, taught, held_out, pulse)
        except Stopped:
            return LearningResult(state="cancelled")
        except Invalid as refusal:  # too little, or nothing that can be told apart
            state = await self._trainings.end(
                ref.tenant_id, ref.job_id, "refused", refusal.detail, now=clock()
            )
            return LearningResult(state=state)
        state = await self._trainings.settle(job, learnt, now=clock())
        for sha256 in await self._trainings.surplus(ref.tenant_id, job.field):
            await self._kept.forget(ref.tenant_id, sha256)
        return LearningResult(state=state)

    @activity.defn
    async def backtest(self, ref: BacktestRef) -> LearningResult:
        """A model asked about past tickets; people's decisions say how often it was right."""
        job = await self._trainings.begin_backtest(ref.tenant_id, ref.job_id)
        if isinstance(job, str):
            return LearningResult(state=job)
        pulse = _Pulse(lambda done: self._trainings.backtest_goes_on(job, done), self._executor)
        now: list[Outcome] = []
        unseen: list[Outcome] = []
        then: list[Outcome] = []
        until = job.model["taught_until"] if job.model else None
        known = _taught(job.field, job.model)
        asked = absent = absent_unseen = 0
        try:
            ask = await self._ask(job, job.model)
            async for past in self._judged(job, most=job.tickets):
                texts = [one.text for one in past]
                guesses = await pulse.run(lambda _, texts=texts: ask(texts))  # type: ignore[misc]
                for one, guess in zip(past, guesses, strict=True):
                    label = one.labels[job.field]
                    is_unseen = until is None or label.at > until
                    then += _as_told(one, job.field)
                    if label.value not in known:  # no answer of it could have been right
                        absent += 1
                        absent_unseen += is_unseen
                        continue
                    outcome = _outcome(label.value, guess)
                    now.append(outcome)
                    if is_unseen:
                        unseen.append(outcome)
                asked += len(past)
                await pulse.beat(min(0.99, asked / job.tickets))
        except Stopped:
            return LearningResult(state="cancelled")
        except ModelUnusable as unusable:
            state = await self._trainings.end_backtest(
                ref.tenant_id, ref.job_id, "failed", detail=str(unusable), now=clock()
            )
            return LearningResult(state=state)
        state = await self._trainings.end_backtest(
            ref.tenant_id,
            ref.job_id,
            "finished",
            detail=_nothing(asked, absent),
            measures=measured(now, not_taught=absent),
            unseen=measured(unseen, not_taught=absent_unseen),
            recorded=measured(then),
            now=clock(),
        )
        return LearningResult(state=state)

    @activity.defn
    async def give_up_retrain(self, ref: TrainingRef) -> LearningResult:
        """The training failed for good; what answers now goes on."""
        detail = "It failed again and again; its workflow and the worker's log say how."
        state = await self._trainings.end(ref.tenant_id, ref.job_id, "failed", detail, now=clock())
        return LearningResult(state=state)

    @activity.defn
    async def give_up_backtest(self, ref: BacktestRef) -> LearningResult:
        """The backtest failed for good."""
        detail = "It failed again and again; its workflow and the worker's log say how."
        state = await self._trainings.end_backtest(
            ref.tenant_id, ref.job_id, "failed", detail=detail, now=clock()
        )
        return LearningResult(state=state)

    # Parts.

    async def _judged(self, job: Job, *, most: int) -> AsyncIterator[list[Past]]:
        """Tickets with a label of the job's field, newest first, `most` of them, in pieces."""
        walked = found = 0
        async for past in past_tickets(self._database, job.tenant_id):
            walked += len(past)
            here = [
                one
                for one in past
                if one.text and job.field in one.labels
                and one.labels[job.field].value in job.labels
            ][: most - found]  # fmt: skip
            found += len(here)
            yield here
            if found >= most or walked >= MOST_TICKETS:
                return

    async def _rows(self, job: Job, pulse: "_Pulse") -> list[Row]:
        rows: list[Row] = []
        async for past in self._judged(job, most=MOST_ROWS):
            for one in past:
                label = one.labels[job.field]
                rows.append(Row(one.text, label.value, label.source, label.at, one.number))
            await pulse.beat(_READ * len(rows) / MOST_ROWS)
        return rows

    async def _learnt(
        self, job: Job, taught: Sequence[Row], held_out: Sequence[Row], pulse: "_Pulse"
    ) -> Learnt:
        made = await pulse.run(
            lambda tell: self._teach(
                [row.text for row in taught],
                [row.label for row in taught],
                name=job.field,
                precision=job.settings.wanted_precision,
                tell=lambda done: tell(_READ + (_TAUGHT - _READ) * done),
            )
        )
        sha256 = await self._kept.keep(job.tenant_id, made)
        version = f"{job.field}-{job.version}"
        challenger = await self._kept.model(job.tenant_id, sha256, version=version)
        texts = [row.text for row in held_out]
        said = _outcomes(held_out, await pulse.run(lambda _: challenger.predict_many(texts)))
        measures = measured(said)
        compared_with, theirs, known = await self._compared(job, taught, held_out, pulse)
        their_measures, judgement = compared(said, theirs, known=known, named=compared_with)
        if job.champion is not None and compared_with != (absent := version_of(job.champion)):
            before = Measures.model_validate(job.champion["measures"])
            judgement = instead_of(judgement, measures, before, named=absent)
        return Learnt(
            sha256=sha256,
            size_bytes=len(made.content),
            rows=len(taught),
            labels=Counter(row.label for row in taught),
            wanted_precision=job.settings.wanted_precision,
            threshold=made.threshold,
            measures=measures,
            compared_with=compared_with,
            compared=their_measures,
            taught_until=max(row.at for row in taught),
            judgement=judgement,
        )

    async def _compared(
        self, job: Job, taught: Sequence[Row], held_out: Sequence[Row], pulse: "_Pulse"
    ) -> tuple[str, list[Outcome], Set[str]]:
        """What answers now, in words, what it says of the held-out rows, and which labels it
        knows."""
        texts = [row.text for row in held_out]
        try:
            if job.champion is not None:
                ask = await self._ask(job, job.champion)
                guesses = await pulse.run(lambda _: ask(texts))
                known = _taught(job.field, job.champion)
                return version_of(job.champion), _outcomes(held_out, guesses), known
        except ModelUnusable:
            pass  # its row says so; what answers in its place is asked instead
        if job.field != "team":
            shipped = await self._ask(job, None)
            guesses = await pulse.run(lambda _: shipped(texts))
            return "the model that ships", _outcomes(held_out, guesses), _taught(job.field, None)
        usual, count = Counter(row.label for row in taught).most_common(1)[0]
        outcomes = [Outcome(row.label, usual, count / len(taught), False) for row in held_out]
        teams = {row.label for row in held_out}
        return "always saying the commonest team", outcomes, teams

    async def _ask(self, job: Job, model: DatabaseRow | None) -> Ask:
        """How to ask a desk's model, or the one that ships. Raises ModelUnusable."""
        field = job.field
        if model is None:

            def shipped(texts: Sequence[str]) -> list[Guess]:
                verdicts = self._shipped.classify_many([("", text) for text in texts])
                guesses = [getattr(verdict, field) or _SILENT for verdict in verdicts]
                # What is none of the desk's labels is withheld on tickets, too.
                return [
                    said
                    if said.label in job.labels
                    else said.model_copy(update={"abstained": True})
                    for said in guesses
                ]

            return shipped
        try:
            found = await self._kept.model(
                job.tenant_id, model["sha256"], version=f"{field}-{model['version']}"
            )
        except ModelUnusable as unusable:
            logger.warning("A model of a desk cannot be asked: %s", unusable)
            await report_problem(self._database, job.tenant_id, model["id"], str(unusable))
            raise
        return found.predict_many


class _Pulse:
    """Says that the work is alive and how far it is, and hears whether it is still wanted."""

    def __init__(self, goes_on: Callable[[float], Awaitable[bool]], executor: Executor) -> None:
        self._goes_on = goes_on
        self._executor = executor
        self._done = 0.0
        self._next = 0.0

    async def beat(self, done: float) -> None:
        """Told at most once a second. Raises Stopped when the work is no longer wanted."""
        self._done = max(self._done, done)
        activity.heartbeat(round(self._done, 3))
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _BEAT_SECONDS
        if not await self._goes_on(self._done):
            raise Stopped

    async def run(self, work: Callable[[Tell], T]) -> T:
        """The result of `work` in the models' thread. Stopped, it ends when it tells next."""
        unwanted = threading.Event()

        def tell(done: float) -> None:
            if unwanted.is_set():
                raise Stopped
            self._done = max(self._done, done)

        future = asyncio.get_running_loop().run_in_executor(self._executor, work, tell)
        future.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        try:
            while not (await asyncio.wait({future}, timeout=_BEAT_SECONDS))[0]:
                await self.beat(self._done)
        except BaseException:
            unwanted.set()
            raise
        return future.result()


def _outcome(right: str, guess: Guess) -> Outcome:
    # What ships is silent for reasons that no threshold takes away.
    known = not (guess.out_of_scope if isinstance(guess, Prediction) else guess.abstained)
    return Outcome(right, guess.label, guess.probability, not guess.abstained, known)


def _outcomes(rows: Sequence[Row], guesses: Sequence[Guess]) -> list[Outcome]:
    return [_outcome(row.label, guess) for row, guess in zip(rows, guesses, strict=True)]


def _taught(field: TriageField, model: DatabaseRow | None) -> Set[str]:
    """The labels that a desk's model was taught, or that the one that ships knows."""
    if model is None:
        return frozenset(shipped_labels(field) or ())
    return frozenset(model["labels"] or ())


def _nothing(asked: int, absent: int) -> str | None:
    """Why a backtest measured nothing, where it did not."""
    if not asked:
        return "Of no past ticket has a person said what is right."
    if asked == absent:
        return "It was taught none of the labels that people gave: there is nothing to measure."
    return None


def _as_told(one: Past, field: TriageField) -> list[Outcome]:
    """What the desk had been told at the time, by whatever model it had then."""
    guess = one.verdicts[-1].guesses.get(field) if one.verdicts else None
    if guess is None:
        return []
    return [
        Outcome(
            one.labels[field].value,
            str(guess["label"]),
            float(str(guess["probability"])),
            not guess["abstained"],
        )
    ]
