"""What time brings: breaches and steps, in the order of their true time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from domain.calendars import Calendar
from domain.sla.clocks import Clock, Due, StepDone
from domain.sla.conditions import Subject
from domain.sla.metrics import Outcome
from domain.sla.plan import after_pauses, breach_of, used_up_at, whole
from domain.sla.policies import Policy, Step, Terms


def fire(
    clocks: Sequence[Clock],
    terms: Terms | None,
    *,
    now: datetime,
    detected_at: datetime | None = None,
    subject: Subject | None = None,
    withdrawn: bool = False,
) -> tuple[tuple[Clock, ...], tuple[Due, ...]]:
    """The clocks with everything due up to `now` marked, and what that is, in order of true time.

    Firing again gives nothing new. After an outage all that was missed comes at once, each with the
    time at which it should have come. `detected_at` says when it was noticed, where that was after
    `now`. `subject` is the ticket, for steps that depend on it. `withdrawn` says that the policy of
    `terms` is in force for nobody any more: its steps come and do nothing.

    How late it is noticed changes no breach, and no step that changes the ticket; only who is still
    worth telling: a warning whose deadline has passed by then is skipped.
    """
    after = list(clocks)
    reports = []
    noticed = detected_at or now
    for moment in in_order(_pending(clocks, terms)):
        if moment.at > now:
            break
        clock = after[moment.order.clock]
        skipped: str | None = None
        if moment.step is None:
            changes: dict[str, object] = {
                "breached_at": moment.at,
                "detected_at": noticed,
                "caused_by": moment.caused_by,
            }
        else:
            assert terms is not None
            skipped = WITHDRAWN if withdrawn else None
            skipped = skipped or _pointless(moment.step, clock, subject, noticed)
            done = StepDone(
                step=moment.step.id,
                same=moment.step.same,
                policy_id=terms.policy.id,
                policy_version=terms.policy.version,
                at=moment.at,
                tier=moment.step.tier,
                skipped=skipped,
            )
            changes = {
                "steps_done": (*clock.steps_done, moment.step.id),
                "steps_log": (*clock.steps_log, done),
            }
        after[moment.order.clock] = clock.model_copy(update=changes)
        reports.append(
            Due(
                at=moment.at,
                metric=clock.metric,
                cycle=clock.cycle,
                kind="breach" if moment.step is None else "step",
                step=moment.step,
                detected_at=noticed,
                skipped=skipped,
                caused_by=moment.caused_by,
                policy_id=clock.policy_id,
                policy_version=clock.policy_version if terms is None else terms.policy.version,
            )
        )
    return tuple(after), tuple(reports)


def next_moment(clocks: Sequence[Clock], terms: Terms | None) -> datetime | None:
    """When `fire` next has something to say; it may lie in the past. None: only a fact can tell."""
    return min((moment.at for moment in _pending(clocks, terms)), default=None)


def upcoming(clocks: Sequence[Clock], terms: Terms | None) -> tuple[Due, ...]:
    """Everything `fire` will say if nothing happens, in order: what comes next on this ticket."""
    return tuple(
        Due(
            at=moment.at,
            metric=clocks[moment.order.clock].metric,
            cycle=clocks[moment.order.clock].cycle,
            kind="breach" if moment.step is None else "step",
            step=moment.step,
            detected_at=moment.at,
            caused_by=moment.caused_by,
            policy_id=clocks[moment.order.clock].policy_id,
            policy_version=clocks[moment.order.clock].policy_version,
        )
        for moment in in_order(_pending(clocks, terms))
    )


WITHDRAWN = "the policy is no longer in force"


def _pointless(step: Step, clock: Clock, subject: Subject | None, noticed: datetime) -> str | None:
    """Why a step that has come is not carried out, if it is not."""
    if "unassigned" in step.only_if and subject is not None and subject.assignee_id is not None:
        return "the ticket is assigned"
    if "unacknowledged" in step.only_if and clock.acknowledged is not None:
        return "it was acknowledged"
    if step.is_warning and step.only_tells:
        deadline = clock.breached_at or clock.due_at
        if deadline is not None and deadline <= noticed:
            return "the deadline had passed when it was noticed"
    return None


class Order(NamedTuple):
    """By true time; what a late plan pushed to one instant keeps the order it was meant in."""

    at: datetime
    planned: datetime
    rank: int  # warnings, then the breach, then what follows it
    clock: int
    position: int


@dataclass(frozen=True, slots=True)
class Moment:
    order: Order
    step: Step | None  # None: the breach
    caused_by: str | None = None

    @property
    def at(self) -> datetime:
        return self.order.at


def in_order(moments: Iterable[Moment]) -> list[Moment]:
    return sorted(moments, key=lambda moment: moment.order)


def _pending(clocks: Sequence[Clock], terms: Terms | None) -> Iterable[Moment]:
    """Every breach not yet reported and every step not yet done, in no order."""
    for index, clock in enumerate(clocks):
        if clock.outcome is not Outcome.RUNNING and (
            clock.breached_at is None
            or clock.detected_at is not None
            or clock.outcome in (Outcome.CANCELLED, Outcome.NOT_APPLICABLE)
        ):
            continue
        if clock.detected_at is None:
            breach = None
            if clock.breached_at is not None:
                breach = clock.breached_at, clock.caused_by
            elif clock.is_running:
                breach = breach_of(clock)
            if breach is not None:
                at, cause = breach
                yield Moment(Order(at, clock.due_at or at, 1, index, 0), None, cause)
        if clock.is_running:
            yield from step_moments(clock, terms, index)


def step_moments(clock: Clock, terms: Terms | None, index: int = 0) -> Iterable[Moment]:
    """The steps of a clock that have not come yet."""
    if terms is None or not clock.promises or clock.policy_id != terms.policy.id:
        return
    for position, step in enumerate(terms.policy.steps):
        if step.metric != clock.metric or _is_done(clock, step, terms.policy):
            continue
        meant = _meant_at(clock, step, terms.calendar)
        if meant is None:
            continue
        at = _held_up(clock, step, max(meant, clock.planned_at), terms.calendar.timezone)
        if at is not None:
            yield Moment(Order(at, meant, 0 if step.is_warning else 2, index, position), step)


def _is_done(clock: Clock, step: Step, policy: Policy) -> bool:
    """Whether a step has come in this cycle.

    In the version of the policy that did it a step is its id. In another version it is the same if
    it has that id or does the same at the same distance: renamed, it does not come again. In
    another policy only what it does counts.
    """
    if not clock.steps_done:
        return False
    logged = False
    for done in clock.steps_log:
        logged = logged or done.step == step.id
        if done.policy_id == policy.id and done.policy_version == policy.version:
            if done.step == step.id:
                return True
        elif done.same == step.same or (done.policy_id == policy.id and done.step == step.id):
            return True
    return step.id in clock.steps_done and not logged  # done before there was a log


def _meant_at(clock: Clock, step: Step, calendar: Calendar) -> datetime | None:
    """When a step is meant to come, whenever it was planned."""
    if step.time == "business":
        promised = whole(clock, calendar)
        if promised is None:
            return None
        if step.percent is not None:
            return used_up_at(clock, promised * (step.percent / 100), calendar)
        assert step.offset is not None
        return used_up_at(clock, promised + step.offset, calendar)
    if clock.due_at is None:
        return None
    distance = step.offset
    if step.percent is not None:
        distance = (clock.due_at - clock.started_at) * (step.percent / 100 - 1)
    assert distance is not None
    return after_pauses(max(clock.due_at + distance, clock.started_at), clock.counted)


def _held_up(clock: Clock, step: Step, at: datetime, zone: str) -> datetime | None:
    """`at`, or when pauses, quiet hours and an acknowledgement let the step come."""
    while True:  # each round is later; where the last pause ends, so does this
        free: datetime | None = at
        seen = clock.acknowledged
        if (
            seen is not None
            and seen.at <= at < seen.until
            and step.tier > _tier_done(clock, seen.at)
        ):
            free = seen.until
        if step.quiet is not None:
            free = step.quiet.after(free or at, zone)
        if free != at:
            free = after_pauses(free or at, clock.counted)
        if free is None or free == at:
            return free
        at = free


def _tier_done(clock: Clock, by: datetime) -> int:
    """The highest tier that had come when somebody acknowledged, carried out or not."""
    return max((done.tier for done in clock.steps_log if done.at <= by), default=0)
