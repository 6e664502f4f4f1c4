"""Asking a model about a ticket. Its verdict is an event like any other, and may come too late."""

import asyncio
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from prometheus_client import Counter
from temporalio import activity

from activities.tickets import bind
from domain.lifecycle import EffectInput, EffectResult
from domain.tickets import MODEL, Event, Triaged
from models import ledger
from models.session import Database
from services.tickets import Step, Tickets

if TYPE_CHECKING:
    from adapters.classifier import Classifier


OUTCOMES = Counter(
    "triage_total",
    "Tickets a model was asked about, by whether it knew the topic.",
    ["outcome"],
)


class TriageActivities:
    def __init__(
        self, database: Database, tickets: Tickets, classifier: "Classifier", executor: Executor
    ) -> None:
        self._database = database
        self._tickets = tickets
        self._classifier = classifier
        self._executor = executor

    @activity.defn
    async def triage(self, asked: EffectInput) -> EffectResult:
        """Classifies the ticket's first message; applied where nobody has decided meanwhile."""
        ref = asked.ticket
        bind(ref, asked.trace)
        async with self._database.transaction(ref.tenant_id) as work:
            rows, words = await work.batch(
                ledger.read_ticket(ref.tenant_id, ref.number),
                ledger.first_words(ref.tenant_id, ref.number),
            )
        if not rows:
            return EffectResult(state="gone")
        ticket = ledger.to_ticket(rows[0])
        if ticket.triage != "pending" or ticket.category.is_over:
            return EffectResult(state=ticket.triage)
        body = words[0]["body_text"] if words else ""
        try:
            verdict = await asyncio.get_running_loop().run_in_executor(
                self._executor, self._classifier.classify, ticket.subject, body
            )
        except Exception:  # tried again by the workflow; what it was is in its history
            OUTCOMES.labels("failed").inc()
            raise
        async with self._database.transaction(ref.tenant_id) as work:
            [outcome] = await self._tickets.handle(
                work,
                Step(
                    ref.number,
                    Event(
                        key=f"triage/{ticket.id}/{verdict.model_version}",
                        actor=MODEL,
                        payload=Triaged(verdict),
                        cause={
                            **asked.trace,
                            "workflow": ref.workflow_id,
                            "run": asked.run_id,
                            "model": verdict.model_version,
                        },
                    ),
                    awaited=True,
                ),
            )
        if outcome.applied:
            OUTCOMES.labels("unsure" if verdict.topic.abstained else "decided").inc()
        return EffectResult(state=outcome.ticket.triage)
