"""The plan of one clock: its target under the terms in force, its deadline, its breach."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from domain.calendars import Calendar, NeverOpen, StillPaused, due_at, elapsed
from domain.sla.clocks import (
    CALENDAR_CHANGE,
    POLICY_CHANGE,
    PRIORITY_CHANGE,
    Clock,
    Fact,
    Pause,
)
from domain.sla.policies import BusinessDays, Policy, Terms, allowance


def is_under(clock: Clock, policy: Policy) -> bool:
    """Whether the clock was planned by exactly this policy and calendar."""
    # As a tuple: what is the same object is not compared by value.
    return (
        clock.policy_id, clock.policy_version, clock.calendar_id, clock.calendar_version
    ) == (policy.id, policy.version, policy.calendar_id, policy.calendar_version)  # fmt: skip


def under_terms(clock: Clock, fact: Fact, terms: Terms | None) -> Clock:
    """The clock with the target now in force; the same object when nothing changed."""
    if terms is None:
        if clock.target is None and clock.target_days is None:
            return clock
        return clock.model_copy(
            update={
                "target": None,
                "target_days": None,
                "planned_at": fact.at,
                "planned_because": POLICY_CHANGE,
            }
        )
    policy = terms.policy
    promised = policy.target(clock.metric, fact.priority)
    days = promised.business_days if isinstance(promised, BusinessDays) else None
    is_same = days == clock.target_days and (days is not None or clock.target == promised)
    if is_same and is_under(clock, policy):
        return clock
    return with_max_pause(clock, policy.max_pause.get(clock.metric), fact.at).model_copy(
        update={
            "target": allowance(promised, clock.started_at, terms.calendar),
            "target_days": days,
            "policy_id": policy.id,
            "policy_version": policy.version,
            "calendar_id": policy.calendar_id,
            "calendar_version": policy.calendar_version,
            "planned_at": fact.at,
            "planned_because": _cause(clock, policy, is_same=is_same),
        }
    )


def _cause(clock: Clock, policy: Policy, *, is_same: bool) -> str | None:
    """What made this plan; a clock's first plan keeps what began the clock."""
    if clock.policy_id is None:
        return clock.planned_because
    if clock.policy_id != policy.id:
        return POLICY_CHANGE
    calendar = (policy.calendar_id, policy.calendar_version)
    if (clock.calendar_id, clock.calendar_version) != calendar and is_same:
        return CALENDAR_CHANGE
    return POLICY_CHANGE if clock.policy_version != policy.version else PRIORITY_CHANGE


def responsible(clock: Clock, fact: Fact) -> Clock:
    """The clock with the team and agent who answer for it now; after a breach they stay."""
    subject = fact.subject
    if subject is None or clock.breached_at is not None:
        return clock
    team_id = subject.team_id
    if clock.metric.startswith("group:") and clock.team_id is not None:
        team_id = clock.team_id  # the team whose stay it measures
    if (clock.team_id, clock.assignee_id) == (team_id, subject.assignee_id):
        return clock
    return clock.model_copy(update={"team_id": team_id, "assignee_id": subject.assignee_id})


def paused_or_resumed(clock: Clock, at: datetime, *, pausing: bool) -> Clock:
    """The clock with a pause begun or ended; the same object when neither."""
    if pausing:
        if clock.paused_since is not None:
            return clock
        pauses = with_pause(clock.pauses, Pause(start=at))
    elif clock.paused_since is not None:
        pauses = without_open(clock.pauses, at)
    else:
        return clock
    return clock.model_copy(update={"pauses": pauses})


def with_max_pause(clock: Clock, longest: timedelta | None, at: datetime) -> Clock:
    """The clock with another limit of its pauses from `at` on; the same object when it is the same.

    Pauses taken stay as they counted. A limit that is new counts what comes; one that changes
    moves by the difference, and never to before what was taken.
    """
    if clock.max_pause == longest:
        return clock
    pauses = settled(clock, at)
    limit = None
    if longest is not None:
        taken = sum(((pause.end or at) - pause.start for pause in pauses), timedelta())
        limit = taken + longest
        if clock.max_pause is not None and clock.pause_limit is not None:
            limit = max(taken, clock.pause_limit - clock.max_pause + longest)
    return clock.model_copy(update={"max_pause": longest, "pause_limit": limit, "pauses": pauses})


def settled(clock: Clock, at: datetime) -> tuple[Pause, ...]:
    """The pauses as they have counted until `at`; one that still counts goes on."""
    if clock.pause_limit is None:
        return clock.pauses
    counted = clock.counted
    runs_on = clock.runs_on_at
    if runs_on is not None and at < runs_on:
        return (*counted[:-1], Pause(start=counted[-1].start))
    return counted


def with_pause(pauses: tuple[Pause, ...], pause: Pause) -> tuple[Pause, ...]:
    """The pauses with one more at the end, made one with the last if it follows without a break."""
    if pauses and pauses[-1].end == pause.start:
        return (*pauses[:-1], Pause(start=pauses[-1].start, end=pause.end))
    return (*pauses, pause)


def without_open(pauses: tuple[Pause, ...], at: datetime) -> tuple[Pause, ...]:
    """The pauses with the one that still lasts ended; one of no length is forgotten."""
    if not pauses or pauses[-1].end is not None:
        return pauses
    *earlier, lasting = pauses
    if lasting.start >= at:
        return tuple(earlier)
    return (*earlier, Pause(start=lasting.start, end=at))


def after_pauses(at: datetime, pauses: Sequence[Pause]) -> datetime | None:
    """The end of the pause that `at` falls into, or `at` itself; None while that pause lasts."""
    for pause in pauses:
        if pause.start < at:
            if pause.end is None:
                return None
            at = max(at, pause.end)
    return at


def planned(clock: Clock, terms: Terms | None) -> Clock:
    """The clock with its deadline worked out anew from the start."""
    due = None
    if clock.due_override is not None:
        due = after_pauses(max(clock.due_override.due_at, clock.started_at), clock.counted)
    elif terms is not None and clock.target is not None:
        due = used_up_at(clock, clock.target, terms.calendar)
    return clock.model_copy(update={"due_at": due})


def used_up_at(clock: Clock, amount: timedelta, calendar: Calendar) -> datetime | None:
    """When a clock has run for `amount`; None while it cannot be known."""
    try:
        return due_at(clock.started_at, max(amount, timedelta()), calendar, clock.counted)
    except (NeverOpen, StillPaused):
        return None


def whole(clock: Clock, calendar: Calendar) -> timedelta | None:
    """The open time from the start to the deadline: the target, or what an override makes of it.

    None where nothing is promised, and while a pause holds up a deadline that a person has set.
    """
    if clock.due_override is None:
        return clock.target
    if clock.due_at is None:
        return None
    return elapsed(clock.started_at, clock.due_at, calendar, clock.counted)


def breach_of(clock: Clock) -> tuple[datetime, str | None] | None:
    """When the promise is broken if nothing happens, and what change did it, if one did."""
    if clock.due_at is None:
        return None
    if clock.planned_at > clock.due_at:
        return clock.planned_at, clock.planned_because
    return clock.due_at, None


def breached_by(clock: Clock, at: datetime) -> Clock:
    """The clock with its breach dated, if its deadline has come by `at`."""
    breach = None if clock.breached_at is not None else breach_of(clock)
    if breach is None or breach[0] > at:
        return clock
    return clock.model_copy(update={"breached_at": breach[0], "caused_by": breach[1]})
