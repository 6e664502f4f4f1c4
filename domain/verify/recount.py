"""Every cycle of every promise, counted anew from what the timeline tells.

One promise at a time, from the first entry to the last, with the rules written out as they read in
docs/sla.md. Nothing here is fast and nothing is shared with the clocks it checks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from domain.calendars import Interval
from domain.sla.metrics import Metric
from domain.sla.policies import BusinessDays, Policy, Target
from domain.states import Category
from domain.verify.cycles import Cycle, Ids
from domain.verify.told import Moment, Promise, holds, time_of

# What starts with the ticket; of these, what goes on after it was reopened.
FROM_CREATION = ("first_reply", "requester_wait", "agent_work", "first_resolution", "resolution")
GOES_ON = ("requester_wait", "agent_work", "resolution")
# What an answer keeps; being resolved without one ends it with nothing to judge.
KEPT_BY_REPLY = ("first_reply", "next_reply", "periodic_update", "pausable_update")
AGAIN_AND_AGAIN = ("next_reply", "periodic_update", "pausable_update")
PAUSES: Mapping[str, tuple[Category, ...]] = {
    "pausable_update": (Category.PENDING,),
    "requester_wait": (Category.PENDING,),
    "agent_work": (Category.PENDING, Category.ON_HOLD),
    "first_resolution": (Category.PENDING,),
    "resolution": (Category.PENDING,),
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What one moment means to one promise."""

    starts: bool
    keeps: bool
    drops: bool
    pauses: bool
    repeats: str  # once, per_cycle, cumulative
    start: datetime


def recount(
    moments: Sequence[Moment], *, until: datetime, also: Sequence[Metric] = ()
) -> list[Cycle]:
    """Every cycle of a ticket as of `until`, by metric and number."""
    names = {*also}
    for moment in moments:
        if moment.promise is not None:
            names.update(moment.promise.policy.targets)
    first = _walk(Metric.FIRST_REPLY, moments, until=until, note_reply=True)
    found = [*first]
    for metric in sorted(names - {Metric.FIRST_REPLY}):
        found += _walk(metric, moments, until=until)
    return found


def _walk(
    metric: Metric,
    moments: Sequence[Moment],
    *,
    until: datetime,
    note_reply: bool = False,
) -> list[Cycle]:
    cycles: list[Cycle] = []
    for place, moment in enumerate(moments):
        last = cycles[-1] if cycles else None
        if last is not None:
            last.notice(moment.at)
        _steer(last, moment)
        if note_reply:
            moment.reply_over = moment.answered or (last is not None and not last.runs)
        if not moment.heard:
            continue
        if last is not None and last.runs:
            _go_on(last, moment)
        if last is None or not last.runs:
            begun = _begin(metric, last, moment, moments[:place])
            if begun is not None:
                cycles.append(begun)
    if cycles:
        cycles[-1].notice(until)
    _written_down(cycles, moments)
    return cycles


def _written_down(cycles: Sequence[Cycle], moments: Sequence[Moment]) -> None:
    """What the timeline says was noticed and done in each cycle."""
    numbered = {cycle.number: cycle for cycle in cycles}
    for moment in moments:
        is_told = moment.type in ("sla_breached", "sla_step")
        if not is_told or not cycles or moment.data.get("metric") != cycles[0].metric.value:
            continue
        cycle = numbered.get(int(str(moment.data.get("cycle"))))
        if cycle is not None and moment.type == "sla_breached":
            cycle.noticed = moment.recorded
        elif cycle is not None:
            cycle.steps.add(str(moment.data.get("step")))


# --- what a moment means ------------------------------------------------------------------------


def _read(metric: Metric, moment: Moment, cycle: Cycle | None) -> Reading | None:
    """None where the policy in force does not define the clock."""
    name = metric.value
    if name.startswith("group:"):
        return _read_stay(metric, moment, cycle)
    if name.startswith("custom:"):
        return _read_custom(metric, moment)
    starts, start = False, moment.at
    first_words = moment.opened_by == "machine" and moment.customer_wrote
    if name in FROM_CREATION:
        by_customer = moment.opened_by == "customer"
        by_customer = by_customer and not (moment.is_creation and moment.automatic)
        by_agent = moment.opened_by == "agent" and name != "first_reply"
        starts = by_customer or by_agent or first_words
        if by_customer or by_agent:
            start = min(moment.created_at, moment.at)
    elif name == "next_reply":
        # The first reply covers what the customer writes until it is given.
        covered = not (moment.reply_over or moment.opened_by == "agent" or moment.is_reopened)
        starts = (
            moment.customer_wrote and moment.is_active and not moment.is_creation and not covered
        )
    else:
        starts = moment.agent_answered and moment.is_active
    by_reply = name in KEPT_BY_REPLY
    return Reading(
        starts=starts,
        keeps=moment.agent_answered if by_reply else moment.is_done,
        drops=by_reply and moment.is_done,
        pauses=_pauses(metric, moment, PAUSES.get(name, ())),
        repeats="per_cycle"
        if name in AGAIN_AND_AGAIN
        else "cumulative"
        if name in GOES_ON
        else "once",
        start=start,
    )


def _read_stay(metric: Metric, moment: Moment, cycle: Cycle | None) -> Reading | None:
    own = moment.promise.policy.own(metric) if moment.promise else None
    if own is None:
        return None
    team = moment.values.get("team_id")
    is_here = team is not None and moment.is_active
    if own.teams:
        is_here = is_here and str(team) in {str(each) for each in own.teams}
    return Reading(
        starts=is_here,
        keeps=moment.is_done or (cycle is not None and team != cycle.team),
        drops=False,
        pauses=_pauses(metric, moment, (Category.PENDING, Category.ON_HOLD)),
        repeats="per_cycle",
        start=moment.at,
    )


def _read_custom(metric: Metric, moment: Moment) -> Reading | None:
    own = moment.promise.policy.own(metric) if moment.promise else None
    if own is None or own.starts is None or own.stops is None:
        return None
    happened = moment.happened()
    stops = holds(own.stops, moment.values, happened)
    is_closed = moment.category is Category.CLOSED
    starts = not stops and not is_closed and holds(own.starts, moment.values, happened)
    if starts and moment.values_before is not None and not moment.is_creation:
        starts = not holds(own.starts, moment.values_before, set())
    return Reading(
        starts=starts,
        keeps=stops,
        drops=is_closed,
        pauses=_pauses(metric, moment, ()),
        repeats=own.repeat.value,
        start=moment.at,
    )


def _pauses(metric: Metric, moment: Moment, usual: Sequence[Category]) -> bool:
    if moment.promise is None:
        return moment.category in usual
    policy = moment.promise.policy
    silent_means_none = metric in (Metric.FIRST_REPLY, Metric.RESOLUTION)
    chosen = policy.pause_in.get(metric, frozenset(() if silent_means_none else usual))
    if moment.category in chosen:
        return True
    own = policy.own(metric)
    asked = own.pauses if own is not None else None
    if asked is not None and holds(asked, moment.values, moment.happened()):
        return True
    condition = policy.pause_when.get(metric)
    return condition is not None and moment.is_active and holds(condition, moment.values, set())


# --- how a cycle begins, goes on and ends -------------------------------------------------------


def _begin(
    metric: Metric, last: Cycle | None, moment: Moment, past: Sequence[Moment]
) -> Cycle | None:
    if moment.is_merged:
        return None
    reading = _read(metric, moment, None)
    if reading is None:
        return None
    if last is None:
        if not _is_promised(metric, moment.promise, moment):
            return None
        if moment.type != "ticket_created" and not _was_promised(metric, moment):
            return _late(metric, moment, past)
        if not reading.starts:
            return None
        if metric is Metric.FIRST_REPLY and moment.answered:
            return None
        if reading.start < moment.at and moment.is_done:
            return None
        return _fresh(metric, 1, reading.start, reading, moment)
    if reading.repeats == "cumulative":
        if metric.is_own and not reading.starts:
            return None
        return _reopened(last, reading, moment)
    again = reading.repeats == "per_cycle" and reading.starts
    if again and _is_promised(metric, moment.promise, moment):
        return _fresh(metric, last.number + 1, moment.at, reading, moment)
    return None


def _fresh(metric: Metric, number: int, start: datetime, reading: Reading, moment: Moment) -> Cycle:
    cycle = Cycle(
        metric=metric,
        number=number,
        started=start,
        planned=moment.at,
        planned_because="late_start" if start < moment.at else None,
        team=moment.values.get("team_id"),
    )
    _respond(cycle, moment)
    _under(cycle, moment)
    if reading.pauses:
        cycle.pause(moment.at)
    cycle.plan(moment.promise)
    if moment.is_creation and reading.drops and not reading.keeps:
        cycle.outcome, cycle.because = "not_applicable", "created resolved"
        cycle.stopped = moment.at
    elif reading.repeats == "per_cycle" or not _end(cycle, reading, moment):
        cycle.notice(moment.at)  # what begins a wait does not end it
    return cycle


def _late(metric: Metric, moment: Moment, past: Sequence[Moment]) -> Cycle | None:
    """A promise new to an old ticket: as if it had been there all along, but late only from now."""
    cycles: list[Cycle] = []
    for one in (*[each for each in past if each.heard], moment):
        each = replace(
            one,
            type="ticket_created",  # so that it is not itself late
            promise=moment.promise,
            pretended_priority=moment.priority,
            reply_over=one.answered,
        )
        last = cycles[-1] if cycles else None
        if last is not None and last.runs:
            _go_on(last, each)
        if last is None or not last.runs:
            begun = _begin(metric, last, each, ())
            if begun is not None:
                cycles.append(begun)
    if not cycles or not cycles[-1].runs:
        return None
    cycle = cycles[-1]
    cycle.number, cycle.planned, cycle.planned_because = 1, moment.at, "late_start"
    cycle.breached = cycle.caused_by = None
    _respond(cycle, moment)
    cycle.plan(moment.promise)
    cycle.notice(moment.at)
    return cycle


def _respond(cycle: Cycle, moment: Moment) -> None:
    cycle.answered_by(moment.values.get("team_id"), moment.values.get("assignee_id"))


def _reopened(last: Cycle, reading: Reading, moment: Moment) -> Cycle | None:
    """Work goes on: the same start, and the time in between a pause, unless the policy says."""
    if reading.keeps or reading.drops or last.stopped is None:
        return None
    chosen = "continue"
    if moment.promise is not None:
        chosen = moment.promise.policy.reopening.get(last.metric, "continue")
    if chosen == "never":
        return None
    if chosen == "restart":
        return _fresh(last.metric, last.number + 1, moment.at, reading, moment)
    cycle = Cycle(
        metric=last.metric,
        number=last.number + 1,
        started=last.started,
        planned=moment.at,
        planned_because="reopened",
        pauses=list(last.counting()),
        team=moment.values.get("team_id"),
        goes_on=last,
    )
    _respond(cycle, moment)
    if chosen == "continue":
        cycle.pause(last.stopped)
        start = cycle.pauses.pop().start
        cycle.pauses.append(Interval(start=start, end=moment.at))
    _under(cycle, moment)
    if reading.pauses:
        cycle.pause(moment.at)
    cycle.plan(moment.promise)
    cycle.notice(moment.at)
    if cycle.breached is not None and last.breached is not None:
        cycle.breached, cycle.caused_by = last.breached, last.caused_by  # broken once
        cycle.answers = last.answers
    return cycle


def _go_on(cycle: Cycle, moment: Moment) -> None:
    reading = _read(cycle.metric, moment, cycle)
    if _end(cycle, reading, moment) or reading is None:
        return
    cycle.notice(moment.at)
    _respond(cycle, moment)
    changed = _under(cycle, moment)
    if reading.pauses != cycle.is_paused:
        changed = True
        if reading.pauses:
            cycle.pause(moment.at)
        else:
            cycle.resume(moment.at)
    if changed:
        cycle.plan(moment.promise)
        cycle.notice(moment.at)


def _end(cycle: Cycle, reading: Reading | None, moment: Moment) -> bool:
    """Gives the verdict where the moment ends the cycle; whether it does."""
    keeps = reading is not None and reading.keeps
    if not (moment.is_merged or reading is None or keeps or reading.drops):
        return False
    cycle.notice(moment.at)
    if cycle.due == moment.at and cycle.breached == moment.at:
        cycle.breached = cycle.caused_by = None  # in the last instant is in time
    promises = cycle.target is not None or cycle.override is not None
    if moment.is_merged:
        cycle.outcome, cycle.because = "cancelled", "merged"
    elif cycle.breached is not None:
        cycle.outcome = "missed"
    elif reading is None:
        cycle.outcome, cycle.because = "cancelled", "not measured any more"
    elif not promises:
        cycle.outcome, cycle.because = "cancelled", "no target"
    elif not keeps:
        cycle.outcome, cycle.because = "cancelled", "resolved"
    else:
        cycle.outcome = "met"
    was_paused = cycle.is_paused
    cycle.resume(moment.at)
    cycle.stopped = moment.at
    cycle.is_summed = moment.promise is not None and cycle.ids is not None
    if was_paused and moment.promise is not None and cycle.ids == _ids(moment.promise.policy):
        cycle.plan(moment.promise)
    return True


def _steer(cycle: Cycle | None, moment: Moment) -> None:
    """What is done to a clock directly: unmerged, made older, given a due date, seen."""
    if cycle is None:
        return
    if moment.type == "unmerged" and cycle.because == "merged":
        if cycle.pauses and cycle.pauses[-1].end == cycle.stopped:
            cycle.pauses[-1] = Interval(start=cycle.pauses[-1].start)
        cycle.stopped, cycle.outcome, cycle.because = None, "running", None
        cycle.planned, cycle.planned_because = moment.at, "unmerged"
        cycle.plan(moment.promise)
    elif moment.type == "absorbed" and moment.data.get("inherits"):
        start = time_of(moment.data["inherits"])
        inherits = not cycle.metric.is_own and cycle.metric.value not in AGAIN_AND_AGAIN
        if cycle.runs and inherits and start < cycle.started:
            cycle.started = start
            cycle.planned, cycle.planned_because = moment.at, "merge_inherited"
            cycle.plan(moment.promise)
            cycle.notice(moment.at)
    elif moment.type == "sla_acknowledged" and cycle.runs:
        cycle.acknowledge(moment.at, moment.data.get("asked"), moment.data["until"])
    elif moment.type in ("sla_due_set", "sla_due_reset"):
        wanted = moment.data.get("due_at")
        is_mine = cycle.runs and Metric(str(moment.data["metric"])) is cycle.metric
        if is_mine and (wanted or cycle.override is not None):
            cycle.override = time_of(wanted) if wanted else None
            said = moment.data.get("by"), moment.data.get("reason") or "not said"
            cycle.by_hand = (cycle.override, *said, moment.at) if wanted else None
            cycle.planned = moment.at
            cycle.planned_because = "due_override" if wanted else "due_reset"
            cycle.plan(moment.promise)
            cycle.notice(moment.at)


def _under(cycle: Cycle, moment: Moment) -> bool:
    """Takes the plan in force; whether it is another than before."""
    promise = moment.promise
    if promise is None:
        if cycle.promised is None and cycle.target is None:
            return False
        cycle.promised = cycle.target = cycle.days = None
        cycle.planned, cycle.planned_because = moment.at, "policy_change"
        return True
    promised, ids = _promised(cycle.metric, promise.policy, moment), _ids(promise.policy)
    is_same = promised == cycle.promised
    if is_same and ids == cycle.ids:
        return False
    if cycle.ids is not None:
        cycle.planned_because = _why(cycle.ids, ids, is_same=is_same)
    cycle.limit(promise.policy.max_pause.get(cycle.metric), moment.at)
    cycle.promised, cycle.ids, cycle.planned = promised, ids, moment.at
    cycle.hours = promise.hours
    cycle.days = promised.business_days if isinstance(promised, BusinessDays) else None
    if isinstance(promised, BusinessDays):
        cycle.target = promise.hours.business_days(cycle.started, promised.business_days)
    else:
        cycle.target = promised
    return True


def _why(before: Ids, after: Ids, *, is_same: bool) -> str:
    if before[0] != after[0]:
        return "policy_change"
    if before[2:] != after[2:] and is_same:
        return "calendar_change"
    return "policy_change" if before[1] != after[1] else "priority_change"


def _ids(policy: Policy) -> Ids:
    return policy.id, policy.version, policy.calendar_id, policy.calendar_version


def _promised(metric: Metric, policy: Policy, moment: Moment) -> Target | None:
    return policy.targets.get(metric, {}).get(moment.priority)


def _is_promised(metric: Metric, promise: Promise | None, moment: Moment) -> bool:
    return promise is not None and _promised(metric, promise.policy, moment) is not None


def _was_promised(metric: Metric, moment: Moment) -> bool:
    before = moment.values_before
    if moment.promise_before is None or before is None:
        return False
    return _is_promised(metric, moment.promise_before, replace(moment, values=before))
