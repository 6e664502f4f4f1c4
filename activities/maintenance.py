"""Keeping projections true: what fell out of step with Postgres is told again."""

import asyncio
from collections.abc import Callable, Coroutine, Set

from temporalio import activity

from adapters.temporal import TicketWorkflows
from domain.lifecycle import ticket_workflow_id
from models.session import Database, Row
from services import (
    alerting,
    bursts,
    departures,
    jobs,
    lexical,
    proving,
    queues,
    relay,
    retraining,
    statements,
)
from services.files import Files
from services.tickets import Tickets, clock

# A deadline this old without an event means that its timer is lost.
OVERDUE_SECONDS = 120.0


class MaintenanceActivities:
    """What the schedule does: every step may be repeated, and finds by itself what is left."""

    def __init__(
        self,
        relay_database: Database,
        workflows: TicketWorkflows,
        *,
        database: Database,
        tickets: Tickets,
        files: Files,
        secret: str | None = None,
    ) -> None:
        self._database = relay_database
        self._workflows = workflows
        self._app_database = database
        self._tickets = tickets
        self._files = files
        self._secret = secret  # signs statements; without it none are made

    @activity.defn
    async def reconcile(self) -> int:
        """How many open tickets had no run or an unnoticed deadline; each is told again.

        Also finishes what was cut short: bulk jobs, trainings, tickets of those who left, calls
        about no ticket, queues of teams that somebody waits in, rules that nobody looked at. Then
        gives new tickets the keys they are found by, looks for bursts among them, and makes the
        statements of months that are over.
        """
        await jobs.restart(self._database)
        await queues.sweep(self._database)
        await alerting.sweep(self._database)
        running = await _alive(self._workflows.running())
        told = await retell_astray(
            self._database, running, progress=lambda count: activity.heartbeat(count)
        )
        await departures.finish(
            self._database,
            self._app_database,
            self._tickets,
            now=clock(),
            progress=lambda count: activity.heartbeat(count),
        )
        await lexical.catch_up(
            self._database,
            self._app_database,
            progress=lambda count: activity.heartbeat(count),
        )
        await bursts.detect(
            self._database,
            self._app_database,
            now=clock(),
            progress=lambda count: activity.heartbeat(count),
        )
        if self._secret is not None:
            await statements.make_due(
                self._database,
                self._app_database,
                secret=self._secret,
                now=clock(),
                progress=lambda count: activity.heartbeat(count),
            )
        return told

    @activity.defn
    async def train_where_due(self) -> int:
        """How many models of all desks begin to learn: those whose people have judged enough.

        Models that fell below what was asked of them step back first: a challenger is compared
        with what answers.
        """
        await proving.watch(
            self._database,
            self._app_database,
            now=clock(),
            progress=lambda count: activity.heartbeat(count),
        )
        return await retraining.train_where_due(
            self._database,
            self._app_database,
            now=clock(),
            progress=lambda count: activity.heartbeat(count),
        )

    @activity.defn
    async def purge(self) -> int:
        """Forgets idempotency keys older than two days, and abandoned uploads; how many keys."""
        await self._files.sweep(
            self._database,
            self._app_database,
            now=clock(),
            progress=lambda count: activity.heartbeat(count),
        )
        async with self._database.transaction(None) as work:
            rows = await work.rows(
                "with old as (delete from idempotency_keys where created_at < now()"
                " - interval '2 days' returning 1) select count(*) as n from old"
            )
        return int(rows[0]["n"])


async def _alive(asked: Coroutine[object, object, set[str]]) -> set[str]:
    """What was asked for, with a sign of life every five seconds until it is there."""
    task = asyncio.ensure_future(asked)
    try:
        while not (await asyncio.wait({task}, timeout=5))[0]:
            activity.heartbeat()
        return task.result()
    finally:
        task.cancel()


async def retell_astray(
    database: Database, running: Set[str], *, progress: Callable[[int], None]
) -> int:
    """Tells again of each open ticket without a run among `running`, or whose deadline passed
    without an event; how many.
    """

    async def astray(rows: list[Row]) -> list[Row]:
        return [
            row
            for row in rows
            if row["overdue"] or ticket_workflow_id(row["slug"], row["number"]) not in running
        ]

    return await relay.rewrite_outbox(
        database,
        "workflows",
        only_overdue_by_seconds=OVERDUE_SECONDS,
        missing=astray,
        progress=progress,
    )
