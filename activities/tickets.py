"""Bringing a ticket up to the workflow's time, and telling the workflow what that leaves to do."""

import time
from collections.abc import Mapping
from datetime import timedelta

import structlog
from prometheus_client import Histogram
from temporalio import activity

from domain.lifecycle import Advance, Effect, TicketRef, TicketState, state_of, to_read
from domain.tickets import SYSTEM, Event, TimeAdvanced
from models import ledger
from models.session import Database
from services.tickets import Outcome, Step, Tickets

# Less is what a busy moment takes.
WORTH_A_REASON = timedelta(seconds=30)

# From a heartbeat to a weekend on which nothing ran.
LATENESS = Histogram(
    "timer_lateness_seconds",
    "From the moment something came due to its being noticed.",
    ["kind"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 5, 15, 60, 300, 1800, 7200, 86400, 259200),
)


def bind(ref: TicketRef, trace: Mapping[str, str]) -> None:
    """What this activity logs from here on names the ticket and the request behind it.

    Activities run in tasks of their own, each with its own context: nothing has to be unbound.
    """
    said = {f"{name}_id": value for name, value in trace.items()}  # as the API's log names them
    structlog.contextvars.bind_contextvars(ticket=ref.workflow_id, **said)


class TicketActivities:
    """Short transactions; every one may be repeated."""

    def __init__(self, database: Database, tickets: Tickets, *, search_attributes: bool) -> None:
        self._began = time.monotonic()
        self._database = database
        self._tickets = tickets
        self._search_attributes = search_attributes

    @activity.defn
    async def advance(self, asked: Advance) -> TicketState:
        """The ticket after everything that was due by `asked.now` has happened."""
        ref = asked.ticket
        bind(ref, asked.trace)
        came_due: Outcome | None = None
        async with self._database.transaction(ref.tenant_id) as work:
            rows, open_deliveries = await work.batch(
                ledger.read_ticket(ref.tenant_id, ref.number),
                ledger.open_deliveries(ref.tenant_id, ref.number),
            )
            if not rows:  # the tenant is gone, or the database is older than this workflow
                return TicketState(
                    seq=asked.cursor,
                    over=True,
                    status="unknown",
                    waits_for="nothing: there is no such ticket",
                )
            ticket = ledger.to_ticket(rows[0])
            if ticket.deadline_at is not None and ticket.deadline_at <= asked.now:
                [came_due] = await self._tickets.handle(
                    work,
                    Step(
                        ref.number,
                        Event(
                            key=f"time/{ticket.id}/{asked.now.isoformat()}",
                            actor=SYSTEM,
                            payload=TimeAdvanced(),
                            cause={
                                "workflow": ref.workflow_id,
                                "run": asked.run_id,
                                **self._late(asked.now - ticket.deadline_at),
                            },
                        ),
                        awaited=True,
                    ),
                    now=asked.now,
                )
                ticket = came_due.ticket
        if came_due is not None:  # committed: what is counted has happened
            _count(came_due)
        effects = [Effect(kind=row["kind"], id=str(row["id"])) for row in open_deliveries]
        if came_due is not None:  # queued a moment ago, after the others were read
            effects += [Effect(kind=kind, id=str(one)) for kind, one in came_due.calls]
        effects += to_read(ticket)
        return state_of(ticket, effects, shows=self._search_attributes)

    def _late(self, late: timedelta) -> dict[str, str]:
        """Why something is noticed so much too late, as far as this worker can know."""
        if late < WORTH_A_REASON:
            return {}
        if late > timedelta(seconds=time.monotonic() - self._began):
            return {"late": "no worker was running"}  # this one was not, and no other had it
        if activity.in_activity() and activity.info().attempt > 1:
            return {"late": "the database did not answer"}
        return {}


def _count(outcome: Outcome) -> None:
    """How late each thing was noticed that time brought."""
    recorded = outcome.ticket.updated_at
    for entry in outcome.entries:
        LATENESS.labels(entry.type).observe((recorded - entry.occurred_at).total_seconds())
