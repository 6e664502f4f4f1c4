"""Asking models about a ticket. Their verdict is an event like any other, and may come too late."""

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from prometheus_client import Counter
from temporalio import activity

from activities.tickets import bind
from domain.frustration import RULES, frustration_of
from domain.learning import (
    FIELDS,
    FieldSettings,
    Measures,
    ModelUnusable,
    TriageField,
    at_threshold,
    is_applied,
    shipped_labels,
)
from domain.lifecycle import MOOD, Effect, EffectInput, EffectResult, state_of, to_read
from domain.tickets import MODEL, Event, MoodRead, Payload, Ticket, Triaged
from domain.triage import Guess, Prediction, Spam, Verdict, said_anew, words_of
from models import ledger
from models.session import Database, Row
from services import learning
from services.tickets import Outcome, Step, Tickets
from services.training import report_problem

if TYPE_CHECKING:
    from adapters.classifier import Classifier
    from adapters.classifier.kept import KeptModels

logger = logging.getLogger(__name__)

OUTCOMES = Counter(
    "triage_total",
    "Tickets a model was asked about, by whether it knew the topic.",
    ["outcome"],
)
SPAM = Counter(
    "triage_spam_total",
    "Tickets by what was thought of them: marked as spam, only suggested, clean, or unsure.",
    ["outcome"],
)
MOODS = Counter(
    "triage_moods_total",
    "Later messages by what came of their mood: read, empty, overtaken, or failed.",
    ["outcome"],
)
UNUSABLE = Counter(
    "triage_unusable_models_total",
    "Times a desk's own model could not be used and the one that ships answered.",
    ["field"],
)


class TriageActivities:
    """Asks what a desk has taught, where it has taught anything; else the model that ships."""

    def __init__(
        self,
        database: Database,
        tickets: Tickets,
        classifier: "Classifier",
        executor: Executor,
        kept: "KeptModels | None" = None,
    ) -> None:
        self._database = database
        self._tickets = tickets
        self._classifier = classifier
        self._executor = executor
        self._kept = kept

    @activity.defn
    async def triage(self, asked: EffectInput) -> EffectResult:
        """Classifies the ticket's first message; applied where nobody has decided meanwhile.

        Of later ones the mood is read: the last that came, whichever asked for it.
        """
        ref = asked.ticket
        bind(ref, asked.trace)
        if asked.effect.id == MOOD:
            return await self._mood(asked)
        async with self._database.transaction(ref.tenant_id) as work:
            rows, words, said, champions = await work.batch(
                ledger.read_ticket(ref.tenant_id, ref.number),
                ledger.first_words(ref.tenant_id, ref.number),
                learning.field_settings(ref.tenant_id),
                learning.champions(ref.tenant_id),
            )
        if not rows:
            return EffectResult(state="gone")
        ticket = ledger.to_ticket(rows[0])
        if ticket.triage != "pending" or ticket.category.is_over:
            return EffectResult(state=ticket.triage)
        body = words[0]["body_text"] if words else ""
        settings = learning.read_settings(said)
        try:
            verdict, measures = await self._verdict(
                ref.tenant_id, ticket, body, settings, champions
            )
        except Exception:  # tried again by the workflow; what it was is in its history
            OUTCOMES.labels("failed").inc()
            raise
        applied = frozenset(
            field for field, wanted in settings.items() if is_applied(wanted, measures.get(field))
        )
        outcome, effects = await self._say(
            asked,
            key=f"triage/{ticket.id}/{verdict.model_version}",
            said=Triaged(verdict, applied),
            model=verdict.model_version,
        )
        if outcome.applied:
            OUTCOMES.labels("unsure" if verdict.topic.abstained else "decided").inc()
            SPAM.labels(_spam(verdict, outcome.ticket)).inc()
        return EffectResult(
            state=outcome.ticket.triage, ticket=state_of(outcome.ticket, effects, shows=False)
        )

    async def _mood(self, asked: EffectInput) -> EffectResult:
        """Reads the mood of the last words that nobody has read yet, and nothing else of them."""
        ref = asked.ticket
        async with self._database.transaction(ref.tenant_id) as work:
            [rows] = await work.batch(ledger.read_ticket(ref.tenant_id, ref.number))
            ticket = ledger.to_ticket(rows[0]) if rows else None
            seq = ticket.mood_due if ticket else None
            if ticket is None or seq is None or ticket.category.is_over:
                return EffectResult(state="gone" if ticket is None else "read")
            words, said, champions = await work.batch(
                ledger.words_of_event(ref.tenant_id, ref.number, seq),
                learning.field_settings(ref.tenant_id),
                learning.champions(ref.tenant_id),
            )
        text = said_anew(words[0]["body_text"]) if words else ""
        wanted = learning.read_settings(said)["sentiment"]
        try:
            reading = await self._read_mood(ref.tenant_id, ticket, text, wanted, champions)
        except Exception:
            MOODS.labels("failed").inc()
            raise
        outcome, effects = await self._say(
            asked,
            key=f"mood/{ticket.id}/{seq}",
            said=replace(reading, of_seq=seq, message_id=words[0]["id"] if words else None),
            model=reading.model_version,
        )
        if not outcome.applied:  # newer words came while these were read: look again
            MOODS.labels("overtaken").inc()
            return EffectResult(state="overtaken")
        MOODS.labels("empty" if reading.frustration is None else "read").inc()
        return EffectResult(state="read", ticket=state_of(outcome.ticket, effects, shows=False))

    async def _read_mood(
        self,
        tenant_id: UUID,
        ticket: Ticket,
        text: str,
        wanted: FieldSettings,
        champions: Sequence[Row],
    ) -> MoodRead:
        """How `text` sounds to the desk's own model, or to the one that ships; of event 0."""
        if not text:
            return MoodRead(of_seq=0, message_id=None, model_version=RULES)
        loop = asyncio.get_running_loop()
        shipped = await loop.run_in_executor(self._executor, self._classifier.classify, "", text)
        guess: Guess = shipped.sentiment
        version = shipped.model_version
        measures: Measures | None = None
        for row in champions:
            if row["field"] == "sentiment":
                own = await self._own(tenant_id, row, words_of("", text))
                if own is not None:
                    guess, version = own, own.model_version
                    measures = Measures.model_validate(row["measures"])
        guess = _as_wanted(guess, wanted, "sentiment")
        return MoodRead(
            of_seq=0,
            message_id=None,
            sentiment=guess,
            frustration=frustration_of(text, guess, before=_before(ticket)),
            model_version=version,
            input_sha256=_sum(text),
            apply=frozenset({"sentiment"} if is_applied(wanted, measures) else ()),
        )

    async def _say(
        self, asked: EffectInput, *, key: str, said: Payload, model: str
    ) -> tuple[Outcome, list[Effect]]:
        """Writes what models say as an event; what is then to be carried out."""
        ref = asked.ticket
        async with self._database.transaction(ref.tenant_id) as work:
            [outcome] = await self._tickets.handle(
                work,
                Step(
                    ref.number,
                    Event(
                        key=key,
                        actor=MODEL,
                        payload=said,
                        cause={
                            **asked.trace,
                            "workflow": ref.workflow_id,
                            "run": asked.run_id or activity.info().workflow_run_id,
                            "model": model,
                        },
                    ),
                    awaited=True,
                ),
            )
            [waiting] = await work.batch(ledger.open_deliveries(ref.tenant_id, ref.number))
        effects = [Effect(kind=row["kind"], id=str(row["id"])) for row in waiting]
        return outcome, [*effects, *to_read(outcome.ticket)]

    async def _verdict(
        self,
        tenant_id: UUID,
        ticket: Ticket,
        body: str,
        settings: Mapping[TriageField, FieldSettings],
        champions: Sequence[Row],
    ) -> tuple[Verdict, dict[TriageField, Measures]]:
        """What each question's model says; measures of those that this desk has taught."""
        loop = asyncio.get_running_loop()
        shipped = await loop.run_in_executor(
            self._executor, self._classifier.classify, ticket.subject, body
        )
        words = words_of(ticket.subject, body)
        opinions: dict[str, Guess] = {
            field: said for field in FIELDS if (said := getattr(shipped, field)) is not None
        }
        versions = [shipped.model_version]
        measures: dict[TriageField, Measures] = {}
        for row in sorted(champions, key=lambda one: str(one["field"])):
            opinion = await self._own(tenant_id, row, words)
            if opinion is not None:
                field: TriageField = row["field"]
                opinions[field] = opinion
                versions.append(opinion.model_version)
                measures[field] = Measures.model_validate(row["measures"])
        for field, wanted in settings.items():
            said = opinions.get(field)
            if said is not None:
                opinions[field] = _as_wanted(said, wanted, field)
        verdict = shipped.model_copy(
            update={
                **opinions,
                "model_version": "+".join(versions),
                "frustration": frustration_of(words, opinions["sentiment"]),
                "input_sha256": _sum(words),
            }
        )
        return verdict, measures

    async def _own(self, tenant_id: UUID, model: Row, words: str) -> Prediction | None:
        """What a desk's own model says; None where its file cannot be used, which its row says."""
        if self._kept is None:
            return None
        try:
            found = await self._kept.model(
                tenant_id, model["sha256"], version=f"{model['field']}-{model['version']}"
            )
        except ModelUnusable as unusable:
            UNUSABLE.labels(model["field"]).inc()
            logger.error("%s The model that ships answers in its place.", unusable)
            await report_problem(self._database, tenant_id, model["id"], str(unusable))
            return None
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, found.predict, words
        )


def _as_wanted(guess: Guess, wanted: FieldSettings, field: TriageField) -> Guess:
    """The guess as the desk's settings for a question want it said."""
    said = at_threshold(guess, wanted.threshold)
    # Which teams there are is seen when the verdict is applied.
    labels = wanted.labels or shipped_labels(field)
    if labels is not None and said.label not in labels:
        # None of the desk's labels: it has others by now than those the model was taught.
        return said.model_copy(update={"abstained": True})
    return said


def _before(ticket: Ticket) -> float:
    """How fed up the customer sounded until now."""
    read = (ticket.verdict or {}).get("frustration")
    return float(read["value"]) if isinstance(read, Mapping) else 0.0


def _sum(words: str) -> str:
    return hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()


def _spam(verdict: Verdict, ticket: Ticket) -> str:
    if ticket.spam == Spam.SPAM:
        return "marked"
    if verdict.spam is None or verdict.spam.abstained:
        return "unsure"
    return "suggested" if verdict.spam.label == Spam.SPAM else "clean"
