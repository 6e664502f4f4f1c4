"""A ticket's life: woken by what was committed and by one timer, it carries out what follows."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate
from temporalio.exceptions import ActivityError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from activities.deliveries import DeliveryActivities
    from activities.tickets import TicketActivities
    from activities.triage import TriageActivities
    from domain.lifecycle import (
        MODELS,
        OUTBOUND,
        Advance,
        Attributes,
        Change,
        Effect,
        EffectInput,
        EffectResult,
        TicketInput,
        TicketState,
    )
    from workflows import options

# A history this long replays in well under a second when its worker was restarted.
MOST_WAKES = 500

_KEYS: tuple[tuple[SearchAttributeKey[Any], str], ...] = (
    (options.TENANT, "tenant"),
    (options.NUMBER, "number"),
    (options.STATUS, "status"),
    (options.PRIORITY, "priority"),
    (options.TEAM, "team"),
    (options.DEADLINE, "deadline"),
)


@workflow.defn
class TicketWorkflow:
    """One per ticket that is not closed. Owns its time and its effects; Postgres owns the truth.

    Signal `changed`: something was committed. Query `current`: what it waits for. It branches on
    what activities returned and on nothing else, so rules may change while tickets stay open.
    """

    @workflow.init
    def __init__(self, ticket: TicketInput) -> None:
        self._ref = ticket.ticket
        self._cursor = ticket.cursor
        self._shown = ticket.shown.attributes or _told_at_the_start()
        self._state: TicketState | None = None
        self._dirty = True
        self._news: TicketState | None = None  # how an effect has left the ticket
        self._trace = dict(ticket.trace)  # of the change that woke it last
        self._wakes = 0
        self._timer: asyncio.Task[None] | None = None
        self._timer_at: datetime | None = None
        self._in_flight: dict[str, Effect] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @workflow.run
    async def run(self, ticket: TicketInput) -> None:
        while True:
            state = self._told() or await self._advance()
            self._carry_out(state.effects)
            self._show(state)
            if state.over and not self._dirty and not self._is_busy():
                await workflow.wait_condition(workflow.all_handlers_finished)
                if not self._dirty:
                    return
                continue
            self._arm(None if state.over else state.deadline)
            if self._is_long() and not self._dirty:
                await self._continue_as_new()
            await workflow.wait_condition(self._has_to_look)

    @workflow.signal
    def changed(self, change: Change) -> None:
        """Something was committed; delivered at least once, in any order."""
        self._dirty = True
        self._trace = change.trace

    @workflow.query
    def current(self) -> dict[str, object]:
        """What the ticket waits for, as of the last time it looked."""
        state = self._state
        return {
            "seq": self._cursor,
            "status": state.status if state else None,
            "waits_for": state.waits_for if state else "its first look at the ticket",
            "deadline": state.deadline.isoformat() if state and state.deadline else None,
            "timer": self._timer_at.isoformat() if self._timer_at else None,
            "effects": [effect.kind for effect in self._in_flight.values()],
            "wakes": self._wakes,
            "run_id": workflow.info().run_id,
        }

    def _told(self) -> TicketState | None:
        """The ticket as an effect has just left it, where nothing else asks for a look."""
        news, self._news = self._news, None
        if news is None or self._dirty or news.seq <= self._cursor:
            return None
        self._wakes += 1
        before = self._state
        shows = before is not None and (before.shows or before.attributes is not None)
        self._cursor = news.seq
        self._state = news.model_copy(update={"shows": shows})
        return self._state

    def _is_busy(self) -> bool:
        """Whether something is in flight that has to come to its end.

        What a model thinks of a ticket that is over is of no use to anybody.
        """
        if any(effect.kind != "triage" for effect in self._in_flight.values()):
            return True
        return bool(self._in_flight) and not workflow.patched("over-without-verdict")

    async def _advance(self) -> TicketState:
        self._dirty = False
        self._wakes += 1
        state = await workflow.execute_local_activity_method(
            TicketActivities.advance,
            Advance(
                ticket=self._ref,
                now=workflow.now(),
                cursor=self._cursor,
                run_id=workflow.info().run_id,
                trace=self._trace,
            ),
            **options.DATABASE,
        )
        self._cursor = max(self._cursor, state.seq)
        self._state = state
        return state

    def _has_to_look(self) -> bool:
        if self._timer is not None and self._timer.done():
            self._dirty = True
        if self._state is not None and self._state.over and not self._in_flight:
            return True
        news = self._news
        return self._dirty or (news is not None and news.seq > self._cursor)

    def _arm(self, deadline: datetime | None) -> None:
        """Exactly one timer, kept as long as the deadline stays where it is."""
        running = self._timer is not None and not self._timer.done()
        if running and deadline == self._timer_at:
            return
        if running:
            assert self._timer is not None
            self._timer.cancel()
        self._timer, self._timer_at = None, deadline
        if deadline is not None:
            wait = max(deadline - workflow.now(), timedelta(0))
            waits_for = self._state.waits_for if self._state else ""
            self._timer = asyncio.create_task(workflow.sleep(wait, summary=f"Until {waits_for}"))

    def _carry_out(self, effects: tuple[Effect, ...]) -> None:
        for effect in effects:
            if effect.id not in self._in_flight:
                self._in_flight[effect.id] = effect
                task = asyncio.create_task(self._effect(effect))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _effect(self, effect: Effect) -> None:
        given = EffectInput(
            ticket=self._ref,
            effect=effect,
            trace=self._trace,
        )
        told: EffectResult | None = None
        try:
            if effect.kind == "triage":
                told = await workflow.execute_activity_method(
                    TriageActivities.triage, given, task_queue=MODELS, **options.MODEL
                )
            else:
                await workflow.execute_activity_method(
                    DeliveryActivities.deliver,
                    given,
                    task_queue=OUTBOUND,
                    summary=f"{effect.kind} {effect.id}",
                    **options.DELIVERY,
                )
        except ActivityError as error:
            if is_cancelled_exception(error):
                raise
            # Given up after days. The row still says so, and the next wake tries again.
            workflow.logger.warning("effect given up", extra={"effect": effect.kind})
        finally:
            del self._in_flight[effect.id]
            # A verdict may have moved the deadline, and nobody else says so.
            if told is not None and told.ticket is not None:
                self._news = told.ticket
            elif effect.kind == "triage":
                self._dirty = True

    def _show(self, state: TicketState) -> None:
        """A stuck ticket explains itself to whoever looks at it in the Temporal UI."""
        until = f", until {state.deadline:%Y-%m-%d %H:%M:%S} UTC" if state.deadline else ""
        busy = ", ".join(effect.kind for effect in self._in_flight.values()) or "none"
        workflow.set_current_details(
            f"Ticket {self._ref.number} of **{self._ref.slug}** is **{state.status}**"
            f" (priority {state.priority or 'none'}), seen up to event {self._cursor}.\n\n"
            f"Waits for {state.waits_for}{until}. Effects in flight: {busy}."
        )
        wanted = state.attributes_of(self._ref)
        if wanted is None or wanted == self._shown:
            return
        workflow.upsert_search_attributes(_updates(self._shown, wanted))
        self._shown = wanted

    def _is_long(self) -> bool:
        return self._wakes >= MOST_WAKES or workflow.info().is_continue_as_new_suggested()

    async def _continue_as_new(self) -> None:
        await workflow.wait_condition(lambda: not self._in_flight or self._dirty)
        await workflow.wait_condition(workflow.all_handlers_finished)
        if self._dirty or self._in_flight:
            return  # look first; there will be another moment
        workflow.continue_as_new(
            TicketInput(ticket=self._ref, cursor=self._cursor)  # attributes go with the run
        )


def _told_at_the_start() -> Attributes | None:
    """What Temporal was told when the ticket was put into its hands, or by the run before."""
    told = {pair.key.name: pair.value for pair in workflow.info().typed_search_attributes}
    if options.TENANT.name not in told:
        return None
    return Attributes(**{name: told.get(key.name) for key, name in _KEYS})


def _updates(shown: Attributes | None, wanted: Attributes) -> list[SearchAttributeUpdate[Any]]:
    """Only what differs from what Temporal was told last."""
    updates: list[SearchAttributeUpdate[Any]] = []
    for key, name in _KEYS:
        value = getattr(wanted, name)
        if value != (getattr(shown, name) if shown is not None else None):
            updates.append(key.value_unset() if value is None else key.value_set(value))
    return updates
