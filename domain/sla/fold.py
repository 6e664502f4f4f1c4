"""The fold: a ticket's clocks after each fact, and after what people decide about them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from domain.calendars import elapsed
from domain.sla.clocks import (
    DUE_OVERRIDE,
    DUE_RESET,
    LATE_START,
    MERGE_INHERITED,
    REOPENED,
    UNMERGED,
    Clock,
    DueOverride,
    Fact,
    Pause,
    StepDone,
    stretches,
)
from domain.sla.metrics import RULES, Metric, Outcome, Repeat
from domain.sla.moments import in_order, step_moments
from domain.sla.plan import (
    breached_by,
    is_under,
    paused_or_resumed,
    planned,
    responsible,
    under_terms,
    with_pause,
    without_open,
)
from domain.sla.policies import Terms
from domain.sla.readings import Reading, read


@dataclass(frozen=True, slots=True)
class Past:
    """What a promise that comes late has to know: all facts before, and the terms until now."""

    facts: Sequence[Fact]
    terms: Terms | None


def observe(
    clocks: Sequence[Clock], fact: Fact, terms: Terms | None, *, past: Past | None = None
) -> tuple[Clock, ...]:
    """The clocks after a fact: started, stopped, paused, resumed, re-planned or cancelled by it.

    Facts come in the order of their time. `terms` are those in force after the fact; a clock that
    the fact ends is judged by those before it. Call `fire` afterwards for what this has made due:
    a breach that nobody noticed before a late reply is still reported then. With `past`, a promise
    that is new to an old ticket counts as if it had been there all along, pauses and all, except
    that nothing is late before it was made. Without, it starts at the creation and knows no pauses.
    """
    answered = fact.replied or any(
        clock.metric is Metric.FIRST_REPLY and not clock.is_running for clock in clocks
    )
    after: list[Clock] = []
    for clock in clocks:
        if clock.is_running:
            reading = read(clock.metric, fact, terms, answered=answered, clock=clock)
            after.append(_continued(clock, reading, fact, terms))
        else:
            after.append(clock)
    latest: dict[Metric, Clock] = {}
    for clock in after:
        known = latest.get(clock.metric)
        if known is None or known.cycle < clock.cycle:
            latest[clock.metric] = clock
    for metric in _metrics(clocks, terms):
        last = latest.get(metric)
        if last is not None and last.is_running:
            continue
        begun = _next(metric, last, fact, terms, answered=answered, past=past)
        if begun is not None:
            after.append(begun)
    return tuple(after)


def wants_past(clocks: Sequence[Clock], fact: Fact, past: Past, terms: Terms | None) -> bool:
    """Whether `observe` would need the facts of `past`: something is promised that was not before.

    Facts cost a read; this asks for them only where a promise is new to an old ticket.
    """
    if terms is None or fact.is_creation or fact.cancels:
        return False
    known = {clock.metric for clock in clocks}
    return any(
        metric not in known
        and terms.policy.target(metric, fact.priority) is not None
        and not _promised_before(metric, fact, past)
        for metric in terms.policy.targets
    )


def revive(clocks: Sequence[Clock], terms: Terms | None, *, at: datetime) -> tuple[Clock, ...]:
    """The clocks of a ticket that is unmerged: those the merge cancelled run on from their start.

    One that was paused when it was merged has been paused all along. What came due while they were
    cancelled counts as of `at`. `observe` is told after this.
    """
    return tuple(
        _revived(clock, terms, at=at) if clock.cancelled_because == "merged" else clock
        for clock in clocks
    )


def set_due(
    clocks: Sequence[Clock],
    terms: Terms | None,
    *,
    metric: Metric,
    due_at: datetime | None,
    at: datetime,
    by: UUID | None = None,
    reason: str = "",
) -> tuple[Clock, ...]:
    """The clocks with a person's deadline on the running clock of `metric`; None takes it away.

    From then on no change of priority, policy or calendar moves it. A deadline that is past is a
    breach at `at`; a breach that has been is not taken back.
    """

    def with_due(clock: Clock) -> Clock:
        override = (
            None
            if due_at is None
            else DueOverride(due_at=due_at, by=by, reason=reason or "not said", set_at=at)
        )
        changed = breached_by(clock, at).model_copy(
            update={
                "due_override": override,
                "planned_at": at,
                "planned_because": DUE_RESET if due_at is None else DUE_OVERRIDE,
            }
        )
        return breached_by(planned(changed, terms), at)

    return tuple(
        with_due(clock)
        if clock.metric == metric
        and clock.is_running
        and (due_at is not None or clock.due_override is not None)
        else clock
        for clock in clocks
    )


def inherit(
    clocks: Sequence[Clock], terms: Terms | None, *, start: datetime, at: datetime
) -> tuple[Clock, ...]:
    """The clocks of a ticket that took in an older one: running since the older one's start.

    For clocks that run from a ticket's creation, where the policy wants it so; what this makes
    late is late as of `at`.
    """

    def earlier(clock: Clock) -> Clock:
        changed = breached_by(clock, at).model_copy(
            update={"started_at": start, "planned_at": at, "planned_because": MERGE_INHERITED}
        )
        return breached_by(planned(changed, terms), at)

    return tuple(
        earlier(clock)
        if clock.is_running
        and start < clock.started_at
        and not clock.metric.is_own
        and RULES[clock.metric].repeat is not Repeat.EACH
        else clock
        for clock in clocks
    )


# --- beginning ----------------------------------------------------------------------------------


def _metrics(clocks: Sequence[Clock], terms: Terms | None) -> Iterable[Metric]:
    """Those that may begin something: what is promised, and what has run before."""
    promised = () if terms is None else terms.policy.targets
    ran = {clock.metric for clock in clocks if clock.metric not in promised}
    return (*promised, *sorted(ran)) if ran else promised


def _next(
    metric: Metric,
    last: Clock | None,
    fact: Fact,
    terms: Terms | None,
    *,
    answered: bool,
    past: Past | None,
) -> Clock | None:
    """The cycle that this fact begins after `last`, if it does."""
    if fact.cancels:
        return None
    reading = read(metric, fact, terms, answered=answered, clock=None)
    if reading is None:
        return None
    if last is None:
        return _first(metric, reading, fact, terms, past)
    if reading.repeat is Repeat.ON:
        if metric.is_own and not reading.starts:
            return None
        return _reopened(last, reading, fact, terms)
    if reading.repeat is Repeat.EACH and reading.starts and _is_promised(metric, fact, terms):
        return _fresh(metric, reading, fact, terms, cycle=last.cycle + 1, start=fact.at)
    return None


def _is_promised(metric: Metric, fact: Fact, terms: Terms | None) -> bool:
    return terms is not None and terms.policy.target(metric, fact.priority) is not None


def _first(
    metric: Metric, reading: Reading, fact: Fact, terms: Terms | None, past: Past | None
) -> Clock | None:
    """The first cycle, if this fact starts one and the policy promises something."""
    if terms is None or not _is_promised(metric, fact, terms):
        return None
    if past is not None and not fact.is_creation and not _promised_before(metric, fact, past):
        return _as_if(metric, fact, terms, past)
    if not reading.starts:
        return None
    start = fact.begins if reading.from_creation else fact.at
    if reading.ends_with_reply and reading.repeat is Repeat.ONCE and fact.replied:
        return None  # it was over before anything was promised
    if start < fact.at and fact.is_resolved:
        return None
    return _fresh(metric, reading, fact, terms, cycle=1, start=start)


def _fresh(
    metric: Metric,
    reading: Reading,
    fact: Fact,
    terms: Terms | None,
    *,
    cycle: int,
    start: datetime,
) -> Clock:
    clock = Clock(
        metric=metric,
        cycle=cycle,
        target=None,
        started_at=start,
        planned_at=fact.at,
        planned_because=LATE_START if start < fact.at else None,
    )
    clock = responsible(under_terms(clock, fact, terms), fact)
    clock = planned(paused_or_resumed(clock, fact.at, pausing=reading.pauses), terms)
    if fact.is_creation and reading.drops and not reading.meets:
        return clock.model_copy(
            update={
                "stopped_at": fact.at,
                "outcome": Outcome.NOT_APPLICABLE,
                "cancelled_because": "created resolved",
                "used": timedelta(),
                "paused": timedelta(),
            }
        )
    if reading.repeat is Repeat.EACH:
        return breached_by(clock, fact.at)  # the reply that begins a wait does not end it
    return _ended(clock, reading, fact, terms) or breached_by(clock, fact.at)


def _promised_before(metric: Metric, fact: Fact, past: Past) -> bool:
    if past.terms is None or fact.was is None:
        return False
    return past.terms.policy.target(metric, fact.was.priority) is not None


def _as_if(metric: Metric, fact: Fact, terms: Terms, past: Past) -> Clock | None:
    """The clock as it would run now had the promise been there all along; late only from now on."""
    clocks: tuple[Clock, ...] = ()
    for each in (*past.facts, fact):
        clocks = _alone(metric, clocks, replace(each, priority=fact.priority), terms)
    last = max(clocks, key=lambda clock: clock.cycle, default=None)
    if last is None or not last.is_running:
        return None
    clock = last.model_copy(
        update={
            "cycle": 1,
            "planned_at": fact.at,
            "planned_because": LATE_START,
            "breached_at": None,
            "caused_by": None,
            "steps_done": (),
            "steps_log": (),
        }
    )
    return breached_by(planned(responsible(clock, fact), terms), fact.at)


def _alone(
    metric: Metric, clocks: tuple[Clock, ...], fact: Fact, terms: Terms
) -> tuple[Clock, ...]:
    """`observe` for one metric."""
    last = clocks[-1] if clocks else None
    if last is not None and last.is_running:
        reading = read(metric, fact, terms, answered=fact.replied, clock=last)
        last = _continued(last, reading, fact, terms)
        clocks = (*clocks[:-1], last)
        if last.is_running:
            return clocks
    begun = _next(metric, last, fact, terms, answered=fact.replied, past=None)
    return clocks if begun is None else (*clocks, begun)


# --- reopening ----------------------------------------------------------------------------------


def _reopened(last: Clock, reading: Reading, fact: Fact, terms: Terms | None) -> Clock | None:
    """The next cycle: by default the same start, the time in between counted as a pause."""
    if reading.meets or reading.drops or last.stopped_at is None:
        return None
    chosen = "continue" if terms is None else terms.policy.reopening.get(last.metric, "continue")
    if chosen == "never":
        return None
    if chosen == "restart":
        return _fresh(last.metric, reading, fact, terms, cycle=last.cycle + 1, start=fact.at)
    pauses = last.counted
    if chosen == "continue":
        pauses = with_pause(pauses, Pause(start=last.stopped_at, end=fact.at))
    again = {step.id for step in terms.policy.steps if step.per_cycle} if terms else set()
    clock = Clock(
        metric=last.metric,
        cycle=last.cycle + 1,
        target=None,
        started_at=last.started_at,
        planned_at=fact.at,
        planned_because=REOPENED,
        pauses=pauses,
        steps_done=tuple(id for id in last.steps_done if id not in again),
        steps_log=tuple(done for done in last.steps_log if done.step not in again),
    )
    clock = responsible(under_terms(clock, fact, terms), fact)
    clock = planned(paused_or_resumed(clock, fact.at, pausing=reading.pauses), terms)
    clock = _with_past_steps(clock, fact, terms)
    overdue = breached_by(clock, fact.at)
    if overdue.breached_at is not None and last.breached_at is not None:
        # The same promise, broken once and reported once.
        inherited = {
            "breached_at": last.breached_at,
            "detected_at": last.detected_at or fact.at,
            "caused_by": last.caused_by,
            "team_id": last.team_id,
            "assignee_id": last.assignee_id,
        }
        return overdue.model_copy(update=inherited)
    return overdue


def _with_past_steps(clock: Clock, fact: Fact, terms: Terms | None) -> Clock:
    """The clock with the steps that its cycle begins behind counted as done."""
    past = [m for m in step_moments(clock, terms) if m.order.planned <= fact.at]
    if not past or terms is None:
        return clock
    passed = [m.step for m in in_order(past) if m.step is not None]
    log = (
        StepDone(
            step=step.id,
            same=step.same,
            policy_id=terms.policy.id,
            policy_version=terms.policy.version,
            at=fact.at,
            tier=step.tier,
            skipped="it lay before the reopening",
        )
        for step in passed
    )
    return clock.model_copy(
        update={
            "steps_done": (*clock.steps_done, *(step.id for step in passed)),
            "steps_log": (*clock.steps_log, *log),
        }
    )


# --- going on, and ending -----------------------------------------------------------------------


def _continued(clock: Clock, reading: Reading | None, fact: Fact, terms: Terms | None) -> Clock:
    """A running clock after a fact."""
    ended = _ended(clock, reading, fact, terms)
    if ended is not None:
        return ended
    assert reading is not None
    clock = breached_by(clock, fact.at)
    changed = paused_or_resumed(under_terms(clock, fact, terms), fact.at, pausing=reading.pauses)
    if changed is clock:
        return responsible(clock, fact)
    return breached_by(planned(responsible(changed, fact), terms), fact.at)


def _ended(clock: Clock, reading: Reading | None, fact: Fact, terms: Terms | None) -> Clock | None:
    """The clock with its verdict, if the fact ends it. No reading: it is not measured any more."""
    is_met = reading is not None and reading.meets
    is_gone = reading is None
    if not (fact.cancels or is_gone or is_met or (reading is not None and reading.drops)):
        return None
    judged = breached_by(clock, fact.at)
    if clock.due_at == fact.at:
        # Whoever ends it in the instant it is due is in time, even if the timer was a step ahead.
        early = {"breached_at": None, "caused_by": None}
        judged = clock.model_copy(update=early) if clock.breached_at == fact.at else clock
    if fact.cancels:
        outcome, because = Outcome.CANCELLED, fact.cancels
    elif judged.breached_at is not None:
        outcome, because = Outcome.MISSED, None
    elif is_gone:
        outcome, because = Outcome.CANCELLED, "not measured any more"
    elif not clock.promises:
        outcome, because = Outcome.CANCELLED, "no target"
    elif not is_met:
        outcome, because = Outcome.CANCELLED, "resolved"
    else:
        outcome, because = Outcome.MET, None
    stopped = judged.model_copy(
        update={
            "stopped_at": fact.at,
            "outcome": outcome,
            "cancelled_because": because,
            "detected_at": clock.detected_at if judged.breached_at is not None else None,
            "pauses": without_open(clock.pauses, fact.at),
        }
    )
    stopped = _summed_up(stopped, fact.at, terms)
    if clock.paused_since is not None and terms is not None and is_under(clock, terms.policy):
        return planned(stopped, terms)  # the deadline as it stood when the clock ended
    return stopped


def _summed_up(clock: Clock, at: datetime, terms: Terms | None) -> Clock:
    """The clock with what it used and paused; `used` stays unknown where its calendar is."""
    if terms is not None and not terms.sums:
        return clock
    calendar = None
    if terms is not None:
        calendar = terms.calendar_of(clock.calendar_id, clock.calendar_version)
    paused = (piece for piece in stretches(clock, at) if not piece.running)
    return clock.model_copy(
        update={
            "used": None
            if calendar is None
            else elapsed(clock.started_at, at, calendar, clock.counted),
            "paused": sum((piece.end - piece.start for piece in paused), timedelta()),
        }
    )


def _revived(clock: Clock, terms: Terms | None, *, at: datetime) -> Clock:
    pauses = clock.pauses
    if pauses and pauses[-1].end == clock.stopped_at:
        pauses = (*pauses[:-1], Pause(start=pauses[-1].start, end=None))
    return planned(
        clock.model_copy(
            update={
                "stopped_at": None,
                "outcome": Outcome.RUNNING,
                "cancelled_because": None,
                "planned_at": at,
                "planned_because": UNMERGED,
                "pauses": pauses,
                "used": None,
                "paused": None,
            }
        ),
        terms,
    )
