"""What a fact means to a metric: whether it starts, ends or pauses its clock."""

from functools import lru_cache
from typing import NamedTuple

from domain.sla.clocks import Clock, Fact
from domain.sla.conditions import holds
from domain.sla.metrics import RULES, Metric, Repeat, Signal
from domain.sla.policies import OwnClock, Terms
from domain.states import Category


class Reading(NamedTuple):
    starts: bool
    meets: bool
    drops: bool  # ends it without having kept anything
    pauses: bool
    repeat: Repeat
    ends_with_reply: bool
    from_creation: bool  # what it starts began when the ticket was made


def read(
    metric: Metric, fact: Fact, terms: Terms | None, *, answered: bool, clock: Clock | None
) -> Reading | None:
    """None for a metric that the terms do not define (any more)."""
    if not metric.is_own:
        return _shipped(metric, fact, terms, answered=answered)
    own = terms.policy.own(metric) if terms is not None else None
    if own is None:
        return None
    if own.is_group:
        return _stay(own, fact, terms, clock)
    return _custom(own, fact, terms)


def signals(fact: Fact, *, answered: bool) -> frozenset[Signal]:
    """`answered`: the first reply is not owed any more."""
    return _heard(
        fact.created_by,
        fact.is_creation,
        fact.is_creation and fact.automatic,
        fact.by_customer,
        fact.by_agent,
        fact.category,
        fact.is_reopened,
        answered,
    )


# There are few kinds of facts, and each is read once for every promise: what was read before is
# the same again. A simulation reads millions.
@lru_cache(maxsize=4096)
def _heard(
    created_by: str | None,
    is_creation: bool,
    by_machine: bool,
    by_customer: bool,
    by_agent: bool,
    category: Category,
    is_reopened: bool,
    answered: bool,
) -> frozenset[Signal]:
    found = set()
    if created_by == "customer" and not by_machine:
        found.add(Signal.CREATED_BY_CUSTOMER)
    elif created_by == "agent":
        found.add(Signal.CREATED_BY_AGENT)
    if by_customer:
        found.add(Signal.CUSTOMER_MESSAGE)
        if created_by == "machine":
            found.add(Signal.FIRST_WORDS)
        owed_before = not (answered or created_by == "agent" or is_reopened)
        if category.is_active and not is_creation and not owed_before:
            found.add(Signal.CUSTOMER_WAITS)
    if by_agent:
        found.add(Signal.AGENT_REPLY)
        if category.is_active:
            found.add(Signal.UPDATED)
    if category in (Category.RESOLVED, Category.CLOSED):
        found.add(Signal.RESOLVED)
    return frozenset(found)


def _shipped(metric: Metric, fact: Fact, terms: Terms | None, *, answered: bool) -> Reading:
    pausing = RULES[metric].pauses if terms is None else terms.policy.pausing(metric)
    pauses = fact.category in pausing or _paused_when(metric, fact, terms)
    return _meaning(metric, signals(fact, answered=answered), pauses)


@lru_cache(maxsize=4096)
def _meaning(metric: Metric, heard: frozenset[Signal], pauses: bool) -> Reading:
    rule = RULES[metric]
    return Reading(
        starts=bool(rule.starts & heard),
        meets=bool(rule.meets & heard),
        drops=bool(rule.drops & heard),
        pauses=pauses,
        repeat=rule.repeat,
        ends_with_reply=Signal.AGENT_REPLY in rule.meets,
        from_creation=bool(
            rule.starts & heard & {Signal.CREATED_BY_CUSTOMER, Signal.CREATED_BY_AGENT}
        ),
    )


def _paused_when(metric: Metric, fact: Fact, terms: Terms | None) -> bool:
    condition = None if terms is None else terms.policy.pause_when.get(metric)
    return condition is not None and fact.category.is_active and holds(condition, fact.stands)


def _custom(own: OwnClock, fact: Fact, terms: Terms | None) -> Reading:
    assert own.starts is not None
    assert own.stops is not None
    subject, events = fact.stands, fact.events
    stops = holds(own.stops, subject, events)
    is_over = fact.category is Category.CLOSED
    starts = not stops and not is_over and holds(own.starts, subject, events)
    if starts and fact.was is not None and not fact.is_creation:
        starts = not holds(own.starts, fact.was)  # it has become true, it is not just still so
    return Reading(
        starts=starts,
        meets=stops,
        drops=is_over,
        pauses=_own_pause(own, fact, terms),
        repeat=own.repeat,
        ends_with_reply=False,
        from_creation=False,
    )


def _stay(own: OwnClock, fact: Fact, terms: Terms | None, clock: Clock | None) -> Reading:
    team = fact.subject.team_id if fact.subject is not None else None
    is_here = team is not None and fact.category.is_active and (not own.teams or team in own.teams)
    has_left = clock is not None and fact.subject is not None and team != clock.team_id
    return Reading(
        starts=is_here,
        meets=fact.is_resolved or has_left,
        drops=False,
        pauses=_own_pause(own, fact, terms),
        repeat=Repeat.EACH,
        ends_with_reply=False,
        from_creation=False,
    )


# A team does not work while somebody else is waited for, unless the policy says otherwise.
_STAY_PAUSES = RULES[Metric.AGENT_WORK].pauses


def _own_pause(own: OwnClock, fact: Fact, terms: Terms | None) -> bool:
    assert terms is not None
    default = _STAY_PAUSES if own.is_group else frozenset[Category]()
    if fact.category in terms.policy.pause_in.get(own.metric, default):
        return True
    if own.pauses is not None and holds(own.pauses, fact.stands, fact.events):
        return True
    return _paused_when(own.metric, fact, terms)
