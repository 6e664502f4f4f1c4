"""Clocks: when they start, pause, stop, what they report, and that late firing changes nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.calendars import Calendar, Weekday, due_at, elapsed
from domain.sla import (
    AddTag,
    Clock,
    Due,
    Fact,
    Metric,
    Notify,
    Outcome,
    Policy,
    RaisePriority,
    Reassign,
    Step,
    Terms,
    Vector,
    fire,
    next_moment,
    observe,
    revive,
    solve,
    spent,
    summary,
)
from domain.states import Category, Priority

FIRST_REPLY, RESOLUTION = Metric.FIRST_REPLY, Metric.RESOLUTION
OPEN, PENDING, RESOLVED = Category.OPEN, Category.PENDING, Category.RESOLVED
hours = [timedelta(hours=n) for n in range(25)]
minutes = [timedelta(minutes=n) for n in range(121)]

OFFICE = Calendar.model_validate(
    {
        "timezone": "Europe/Berlin",
        "weekly": {day: [("09:00", "17:00")] for day in list(Weekday)[:5]},
    }
)
NIGHTS = Calendar.model_validate(
    {"timezone": "Europe/Berlin", "weekly": {day: [("22:00", "06:00")] for day in Weekday}}
)
NEVER = Calendar(timezone="Europe/Berlin")
PROMISES = {
    FIRST_REPLY: {
        Priority.NORMAL: hours[4],
        Priority.HIGH: hours[2],
        Priority.URGENT: hours[1],
    },
    RESOLUTION: {
        Priority.NORMAL: hours[8],
        Priority.HIGH: hours[4],
        Priority.URGENT: hours[2],
    },
}  # nothing for low


def t(text: str) -> datetime:
    """`MO 10:00` to `SU …` in the week of 2 June 2025 in Berlin (+02), `MO+ …` the week after."""
    name, clock = text.split()
    day = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"].index(name[:2]) + 7 * name.count("+")
    hour, minute = clock.split(":")
    return datetime(2025, 6, 2 + day, tzinfo=UTC) + timedelta(
        hours=int(hour) - 2, minutes=int(minute)
    )


def terms(
    *steps: Step,
    calendar: Calendar = OFFICE,
    version: int = 1,
    targets: dict[Metric, dict[Priority, timedelta]] | None = None,
    pause_in: dict[Metric, frozenset[Category]] | None = None,
) -> Terms:
    policy = Policy(
        id=UUID(int=1),
        version=version,
        name="Standard",
        calendar_id=UUID(int=2),
        calendar_version=1 if calendar is OFFICE else 2,
        targets=PROMISES if targets is None else targets,
        steps=steps,
    )
    if pause_in is not None:
        policy = Policy.model_validate({**policy.model_dump(), "pause_in": pause_in})
    return Terms(policy=policy, calendar=calendar)


def step(name: str, offset: timedelta, *, metric: Metric = RESOLUTION, wall: bool = False) -> Step:
    return Step(
        id=name,
        metric=metric,
        offset=offset,
        time="wall" if wall else "business",
        action=Notify(to=("assignee",)),
    )


TERMS = terms()


def created(
    at: str = "MO 10:00",
    *,
    by: str = "customer",
    category: Category = Category.NEW,
    priority: Priority | None = Priority.NORMAL,
    under: Terms | None = TERMS,
) -> tuple[Clock, ...]:
    author = "customer" if by == "customer" else "agent"
    fact = Fact(
        at=t(at),
        category=category,
        priority=priority,
        created_by="customer" if author == "customer" else "agent",
    )
    return observe((), fact, under)


def then(
    clocks: Sequence[Clock],
    at: str,
    category: Category = OPEN,
    *,
    priority: Priority | None = Priority.NORMAL,
    reply: bool = False,
    cancelled: str | None = None,
    under: Terms | None = TERMS,
) -> tuple[Clock, ...]:
    fact = Fact(
        at=t(at),
        category=category,
        priority=priority,
        agent_reply=reply,
        cancelled=cancelled,
    )
    return observe(clocks, fact, under)


def one(clocks: Sequence[Clock], metric: Metric, cycle: int = 1) -> Clock:
    (found,) = [c for c in clocks if c.metric is metric and c.cycle == cycle]
    return found


def told(reports: Sequence[Due]) -> list[tuple[str, datetime]]:
    return [("breach" if r.step is None else r.step.id, r.at) for r in reports]


LATER = "MO+ 12:00"  # a week on, when everything is long due


# --- first reply --------------------------------------------------------------------------------


def test_first_reply_starts_when_a_customer_creates_the_ticket() -> None:
    clock = one(created("MO 10:00"), FIRST_REPLY)
    assert (clock.started_at, clock.due_at, clock.target) == (
        t("MO 10:00"),
        t("MO 14:00"),
        hours[4],
    )
    assert (clock.policy_version, clock.calendar_id) == (1, UUID(int=2))


def test_an_agents_own_ticket_owes_no_first_reply_but_a_resolution() -> None:
    assert [clock.metric for clock in created(by="agent")] == [RESOLUTION]


def test_a_customers_further_message_starts_no_first_reply() -> None:
    fact = Fact(at=t("MO 11:00"), category=OPEN, customer_message=True)
    assert [c.metric for c in observe(created(by="agent"), fact, TERMS)] == [RESOLUTION]


def test_first_reply_runs_on_while_the_ticket_is_pending() -> None:
    clocks = then(created(), "MO 11:00", PENDING)
    assert one(clocks, FIRST_REPLY).due_at == t("MO 14:00")
    assert told(fire(clocks, TERMS, now=t("TU 09:00"))[1]) == [("breach", t("MO 14:00"))]


def test_the_first_public_reply_by_an_agent_meets_it_and_a_second_changes_nothing() -> None:
    clocks = then(created(), "MO 11:00", reply=True)
    first = one(clocks, FIRST_REPLY)
    assert (first.outcome, first.stopped_at) == (Outcome.MET, t("MO 11:00"))
    assert one(then(clocks, "MO 12:00", reply=True), FIRST_REPLY) == first


def test_a_status_change_is_no_reply() -> None:
    assert one(then(created(), "MO 11:00", OPEN), FIRST_REPLY).is_running


def test_a_reply_in_the_second_of_creation_counts() -> None:
    assert one(then(created(), "MO 10:00", reply=True), FIRST_REPLY).outcome is Outcome.MET


def test_a_reply_exactly_when_due_is_in_time_even_if_the_timer_was_quicker() -> None:
    clocks = created()
    in_time = then(clocks, "MO 14:00", reply=True)
    assert one(in_time, FIRST_REPLY).outcome is Outcome.MET
    fired, reports = fire(clocks, TERMS, now=t("MO 14:00"))
    assert told(reports) == [("breach", t("MO 14:00"))]
    assert then(fired, "MO 14:00", reply=True) == in_time


def test_a_late_reply_is_a_miss_dated_at_the_due_time_although_nothing_fired() -> None:
    clocks = then(created(), "MO 16:00", reply=True)
    clock = one(clocks, FIRST_REPLY)
    assert (clock.outcome, clock.breached_at) == (Outcome.MISSED, t("MO 14:00"))
    assert clock.detected_at is None
    after, reports = fire(clocks, TERMS, now=t("MO 16:00"))
    assert told(reports) == [("breach", t("MO 14:00"))]
    assert reports[0].lateness == hours[2]
    assert one(after, FIRST_REPLY).detected_at == t("MO 16:00")
    assert told(fire(after, TERMS, now=t(LATER))[1]) == [("breach", t("TU 10:00"))]  # resolution


def test_a_reply_after_hours_is_late_though_no_open_time_was_used() -> None:
    clocks = then(created("MO 13:00"), "MO 17:01", reply=True)
    assert one(clocks, FIRST_REPLY).outcome is Outcome.MISSED


def test_reopening_never_restarts_the_first_reply() -> None:
    clocks = then(created(), "MO 11:00", RESOLVED, reply=True)
    clocks = then(clocks, "MO 12:00", OPEN)
    assert [c.cycle for c in clocks if c.metric is FIRST_REPLY] == [1]


def test_a_ticket_resolved_without_a_word_owes_no_reply_any_more() -> None:
    clock = one(then(created(), "MO 11:00", RESOLVED), FIRST_REPLY)
    assert (clock.outcome, clock.cancelled_because) == (Outcome.CANCELLED, "resolved")
    late = one(then(created(), "MO 15:00", RESOLVED), FIRST_REPLY)
    assert (late.outcome, late.breached_at) == (Outcome.MISSED, t("MO 14:00"))


# --- resolution and pauses ----------------------------------------------------------------------


def test_resolution_pauses_while_pending_in_business_time() -> None:
    clocks = then(created(), "MO 12:00", PENDING)
    assert one(clocks, RESOLUTION).due_at is None
    assert one(clocks, RESOLUTION).paused_since == t("MO 12:00")
    clocks = then(clocks, "TU 10:00", OPEN)
    # Six hours were left. On the wall clock the pause took 22 hours, of open time only six.
    assert one(clocks, RESOLUTION).due_at == t("TU 16:00")
    assert spent(one(clocks, RESOLUTION), OFFICE, now=t("TU 11:00")) == hours[3]


def test_a_pause_over_the_weekend_gives_no_days_away() -> None:
    clocks = then(created("FR 15:00"), "FR 18:00", PENDING)
    assert one(then(clocks, "SA 12:00"), RESOLUTION).due_at == t("MO+ 15:00")


def test_waiting_for_a_third_party_pauses_only_if_the_policy_says_so() -> None:
    clocks = then(created(), "MO 12:00", Category.ON_HOLD)
    assert one(clocks, RESOLUTION).paused_since is None
    lenient = terms(pause_in={RESOLUTION: frozenset({PENDING, Category.ON_HOLD})})
    clocks = then(created(under=lenient), "MO 12:00", Category.ON_HOLD, under=lenient)
    assert one(clocks, RESOLUTION).paused_since == t("MO 12:00")
    clocks = then(clocks, "MO 13:00", PENDING, under=lenient)
    clocks = then(clocks, "MO 14:00", OPEN, under=lenient)
    assert one(clocks, RESOLUTION).due_at == t("TU 12:00")


def test_a_paused_clock_reports_neither_steps_nor_a_breach() -> None:
    warned = terms(step("warn", -hours[1]), step("wall", -hours[1], wall=True))
    clocks = then(created(under=warned), "MO 12:00", PENDING, under=warned)
    clocks = then(clocks, "MO 12:30", PENDING, reply=True, under=warned)
    assert next_moment(clocks, warned) is None
    assert fire(clocks, warned, now=t(LATER)) == (clocks, ())


def test_a_deadline_from_before_the_pause_is_still_missed_when_noticed_during_it() -> None:
    clocks = then(created(by="agent"), "TU 12:00", PENDING)
    assert one(clocks, RESOLUTION).breached_at == t("TU 10:00")
    assert told(fire(clocks, TERMS, now=t("WE 12:00"))[1]) == [("breach", t("TU 10:00"))]


def test_resolving_meets_it_and_closing_at_once_does_too() -> None:
    for category in (RESOLVED, Category.CLOSED):
        clock = one(then(created(), "MO 16:00", category), RESOLUTION)
        assert (clock.outcome, clock.stopped_at) == (Outcome.MET, t("MO 16:00"))
        assert clock.due_at == t("TU 10:00")


def test_resolving_from_pending_ends_the_pause_and_shows_the_deadline_as_it_stood() -> None:
    clocks = then(created(), "MO 12:00", PENDING)
    clock = one(then(clocks, "TU 10:00", RESOLVED), RESOLUTION)
    assert clock.outcome is Outcome.MET
    assert clock.due_at == t("TU 16:00")
    assert [(p.start, p.end) for p in clock.pauses] == [(t("MO 12:00"), t("TU 10:00"))]


def test_resolving_from_pending_under_other_terms_shows_no_deadline_that_never_applied() -> None:
    clocks = then(created(), "MO 12:00", PENDING)
    clocks = then(clocks, "TU 10:00", RESOLVED, under=terms(calendar=NIGHTS, version=2))
    clock = one(clocks, RESOLUTION)
    assert (clock.outcome, clock.due_at, clock.calendar_version) == (Outcome.MET, None, 1)


def test_a_ticket_created_pending_is_paused_from_its_start() -> None:
    clocks = created(category=PENDING)
    assert one(clocks, RESOLUTION).paused_since == t("MO 10:00")
    assert one(then(clocks, "TU 09:00"), RESOLUTION).due_at == t("TU 17:00")


def test_a_ticket_created_resolved_has_no_endless_clocks() -> None:
    clocks = created(by="agent", category=RESOLVED)
    assert one(clocks, RESOLUTION).outcome is Outcome.MET
    assert next_moment(clocks, TERMS) is None
    assert not any(clock.is_running for clock in created(category=Category.CLOSED))


# --- reopening ----------------------------------------------------------------------------------


def test_reopening_starts_a_cycle_that_counts_on_and_skips_the_resolved_time() -> None:
    clocks = then(created(), "MO 12:00", RESOLVED)
    clocks = then(clocks, "WE 09:00", OPEN)
    first, second = one(clocks, RESOLUTION), one(clocks, RESOLUTION, cycle=2)
    assert first.outcome is Outcome.MET
    assert (second.started_at, second.due_at) == (t("MO 10:00"), t("WE 15:00"))
    clocks = then(clocks, "WE 14:00", RESOLVED)
    assert one(clocks, RESOLUTION, cycle=2).outcome is Outcome.MET
    third = one(then(clocks, "TH 09:00", OPEN), RESOLUTION, cycle=3)
    assert third.due_at == t("TH 10:00")


def test_a_step_done_is_not_done_again_in_the_next_cycle_even_with_more_time() -> None:
    warned = terms(step("warn", -hours[2]))
    clocks = created(by="agent", priority=Priority.HIGH, under=warned)
    clocks, reports = fire(clocks, warned, now=t("MO 12:00"))
    assert told(reports) == [("warn", t("MO 12:00"))]
    clocks = then(clocks, "MO 13:00", RESOLVED, priority=Priority.HIGH, under=warned)
    clocks = then(clocks, "WE 09:00", under=warned)
    assert one(clocks, RESOLUTION, cycle=2).due_at == t("WE 14:00")
    assert told(fire(clocks, warned, now=t("WE 13:00"))[1]) == []


def test_a_pause_before_resolving_and_the_resolved_time_count_as_one() -> None:
    clocks = then(created(), "MO 11:00", PENDING)
    clocks = then(clocks, "MO 12:00", RESOLVED)
    (pause,) = one(then(clocks, "MO 13:00"), RESOLUTION, cycle=2).pauses
    assert (pause.start, pause.end) == (t("MO 11:00"), t("MO 13:00"))


def test_reopening_into_pending_stays_paused() -> None:
    clocks = then(created(), "MO 12:00", RESOLVED)
    clocks = then(clocks, "MO 13:00", PENDING)
    second = one(clocks, RESOLUTION, cycle=2)
    assert second.paused_since == t("MO 12:00")
    assert one(then(clocks, "MO 14:00"), RESOLUTION, cycle=2).due_at == t("TU 12:00")


def test_a_missed_cycle_stays_missed_and_the_next_is_missed_without_new_alarms() -> None:
    nagging = terms(step("warn", -hours[1]), step("boss", hours[1]), step("chief", hours[4]))
    clocks = created(by="agent", under=nagging)
    clocks, _ = fire(clocks, nagging, now=t("TU 10:00"))
    clocks = then(clocks, "TU 12:00", RESOLVED, under=nagging)
    clocks = then(clocks, "WE 09:00", OPEN, under=nagging)
    first, second = one(clocks, RESOLUTION), one(clocks, RESOLUTION, cycle=2)
    assert first.outcome is Outcome.MISSED
    assert (second.breached_at, second.is_running) == (t("TU 10:00"), True)
    # "boss" was dropped with the first cycle; what lies ahead of the reopening still comes.
    clocks, reports = fire(clocks, nagging, now=t(LATER))
    assert told(reports) == [("chief", t("WE 11:00"))]
    clocks = then(clocks, LATER, RESOLVED, under=nagging)
    assert one(clocks, RESOLUTION, cycle=2).outcome is Outcome.MISSED


def test_a_miss_nobody_noticed_is_reported_once_although_the_ticket_was_reopened() -> None:
    clocks = then(created(by="agent"), "TU 12:00", RESOLVED)
    clocks = then(clocks, "WE 09:00", OPEN)
    clocks, reports = fire(clocks, TERMS, now=t(LATER))
    assert [(r.cycle, r.at) for r in reports] == [(1, t("TU 10:00"))]


def test_a_ticket_resolved_exactly_when_due_is_late_from_the_moment_it_is_reopened() -> None:
    clocks = then(created(by="agent"), "TU 10:00", RESOLVED)
    clocks = then(clocks, "WE 12:00", OPEN)
    assert one(clocks, RESOLUTION).outcome is Outcome.MET
    assert told(fire(clocks, TERMS, now=t(LATER))[1]) == [("breach", t("WE 12:00"))]


# --- changed terms ------------------------------------------------------------------------------


def test_a_raised_priority_moves_the_deadline_and_keeps_the_time_used() -> None:
    clocks = then(created(), "MO 11:00", priority=Priority.HIGH)
    assert one(clocks, RESOLUTION).due_at == t("MO 14:00")
    assert one(clocks, FIRST_REPLY).due_at == t("MO 12:00")
    assert one(clocks, RESOLUTION).started_at == t("MO 10:00")


def test_a_changed_priority_keeps_the_pauses_taken() -> None:
    clocks = then(created(), "MO 11:00", PENDING)
    clocks = then(clocks, "MO 13:00", OPEN)
    clocks = then(clocks, "MO 13:30", OPEN, priority=Priority.HIGH)
    assert one(clocks, RESOLUTION).due_at == t("MO 16:00")


def test_a_change_that_puts_the_deadline_into_the_past_is_a_breach_at_the_change() -> None:
    clocks = then(created("MO 09:00", by="agent"), "MO 12:00", priority=Priority.URGENT)
    clock = one(clocks, RESOLUTION)
    assert (clock.due_at, clock.breached_at) == (t("MO 11:00"), t("MO 12:00"))
    assert told(fire(clocks, TERMS, now=t("MO 12:01"))[1]) == [("breach", t("MO 12:00"))]


def test_a_lowered_priority_does_not_take_a_breach_back() -> None:
    clocks = created("MO 09:00", by="agent", priority=Priority.URGENT)
    clocks = then(clocks, "MO 12:00", priority=Priority.NORMAL)
    assert one(clocks, RESOLUTION).breached_at == t("MO 11:00")
    clocks, reports = fire(clocks, TERMS, now=t(LATER))
    assert told(reports) == [("breach", t("MO 11:00"))]
    assert one(then(clocks, LATER, RESOLVED), RESOLUTION).outcome is Outcome.MISSED


def test_a_ticket_without_a_priority_counts_as_normal() -> None:
    assert one(created(priority=None), RESOLUTION).target == hours[8]


def test_another_calendar_counts_from_the_start_too() -> None:
    at_night = terms(calendar=NIGHTS, version=2)
    clocks = then(created(), "MO 11:00", under=at_night)
    clock = one(clocks, RESOLUTION)
    assert (clock.due_at, clock.policy_version, clock.calendar_version) == (t("TU 06:00"), 2, 2)


def test_a_priority_without_a_target_has_no_clock() -> None:
    assert created(priority=Priority.LOW) == ()
    assert created(under=None) == ()


def test_a_target_that_goes_leaves_a_clock_that_promises_nothing_and_may_come_back() -> None:
    clocks = then(created(by="agent"), "MO 11:00", priority=Priority.LOW)
    assert one(clocks, RESOLUTION).due_at is None
    assert next_moment(clocks, TERMS) is None
    assert one(then(clocks, "MO 12:00", RESOLVED), RESOLUTION).outcome is Outcome.CANCELLED
    back = then(clocks, "MO 12:00")
    assert one(back, RESOLUTION).due_at == t("TU 10:00")
    gone = then(clocks, "MO 12:00", under=None)
    assert fire(gone, None, now=t(LATER)) == (gone, ())


def test_a_policy_that_comes_late_counts_from_the_creation() -> None:
    late = Fact(
        at=t("MO 15:00"),
        category=OPEN,
        created_by="customer",
        created_at=t("MO 10:00"),
        replied=True,
    )
    (clock,) = observe((), late, TERMS)
    assert (clock.metric, clock.due_at) == (RESOLUTION, t("TU 10:00"))
    unanswered = Fact(
        at=t("MO 15:00"), category=OPEN, created_by="customer", created_at=t("MO 10:00")
    )
    assert one(observe((), unanswered, TERMS), FIRST_REPLY).breached_at == t("MO 15:00")


def test_a_calendar_that_never_opens_has_no_deadline() -> None:
    never = terms(step("warn", -hours[1]), calendar=NEVER)
    clocks = created(under=never)
    assert [clock.due_at for clock in clocks] == [None, None]
    assert fire(clocks, never, now=t(LATER)) == (clocks, ())
    assert one(then(clocks, LATER, RESOLVED, under=never), RESOLUTION).outcome is Outcome.MET


# --- merging ------------------------------------------------------------------------------------


def test_merging_cancels_running_clocks_without_a_verdict() -> None:
    clocks = then(created(), "MO 12:00", Category.MERGED)
    assert {clock.outcome for clock in clocks} == {Outcome.CANCELLED}
    assert {clock.cancelled_because for clock in clocks} == {"merged"}
    assert fire(clocks, TERMS, now=t(LATER)) == (clocks, ())
    overdue = then(created(), "WE 12:00", Category.MERGED)
    assert not summary(overdue)["breached"]


def test_merging_leaves_verdicts_alone() -> None:
    clocks = then(created(), "MO 11:00", reply=True)
    clocks = then(clocks, "MO 12:00", Category.MERGED, reply=False)
    assert one(clocks, FIRST_REPLY).outcome is Outcome.MET
    assert one(clocks, RESOLUTION).outcome is Outcome.CANCELLED


def test_any_other_reason_cancels_too() -> None:
    clocks = then(created(), "MO 12:00", cancelled="spam")
    assert {clock.cancelled_because for clock in clocks} == {"spam"}


# --- steps --------------------------------------------------------------------------------------


def test_steps_before_and_after_the_deadline_count_in_open_time() -> None:
    ladder = terms(step("warn", -hours[2]), step("boss", hours[8]), step("next", minutes[30]))
    clocks = created("MO 10:00", by="agent", under=ladder)
    assert next_moment(clocks, ladder) == t("MO 16:00")
    _, reports = fire(clocks, ladder, now=t(LATER))
    assert told(reports) == [
        ("warn", t("MO 16:00")),
        ("breach", t("TU 10:00")),
        ("next", t("TU 10:30")),
        ("boss", t("WE 10:00")),
    ]


def test_a_step_on_the_wall_clock_ignores_the_opening_hours() -> None:
    wall = terms(step("early", -hours[2], wall=True), step("evening", hours[8], wall=True))
    _, reports = fire(created(by="agent", under=wall), wall, now=t(LATER))
    assert told(reports) == [
        ("early", t("TU 08:00")),
        ("breach", t("TU 10:00")),
        ("evening", t("TU 18:00")),
    ]


def test_a_step_that_would_precede_the_start_happens_at_the_start() -> None:
    early = terms(step("warn", -hours[12]), step("wall", -hours[24] * 3, wall=True))
    _, reports = fire(created(by="agent", under=early), early, now=t("MO 10:00"))
    assert told(reports) == [("warn", t("MO 10:00")), ("wall", t("MO 10:00"))]


def test_a_step_on_the_wall_clock_that_falls_into_a_pause_happens_when_it_ends() -> None:
    wall = terms(step("late", hours[2], wall=True))
    clocks = created("MO 10:00", by="agent", priority=Priority.URGENT, under=wall)
    clocks, _ = fire(clocks, wall, now=t("MO 12:00"))
    clocks = then(clocks, "MO 13:00", PENDING, priority=Priority.URGENT, under=wall)
    assert next_moment(clocks, wall) is None
    clocks = then(clocks, "MO 15:00", OPEN, priority=Priority.URGENT, under=wall)
    assert told(fire(clocks, wall, now=t(LATER))[1]) == [("late", t("MO 15:00"))]


def test_a_step_done_stays_done_when_the_deadline_moves() -> None:
    warned = terms(step("warn", -hours[2]))
    clocks, _ = fire(created(by="agent", under=warned), warned, now=t("MO 16:00"))
    assert one(clocks, RESOLUTION).steps_done == ("warn",)
    clocks = then(clocks, "MO 16:30", PENDING, under=warned)
    clocks = then(clocks, "WE 09:00", OPEN, under=warned)
    _, reports = fire(clocks, warned, now=t(LATER))
    assert told(reports) == [("breach", t("WE 10:30"))]


def test_a_step_that_a_change_put_into_the_past_happens_at_the_change_and_in_its_order() -> None:
    ladder = terms(step("after", minutes[30]), step("warn", -hours[1]))
    clocks = created("MO 09:00", by="agent", under=ladder)
    clocks = then(clocks, "MO 12:00", priority=Priority.URGENT, under=ladder)
    _, reports = fire(clocks, ladder, now=t("MO 12:30"))
    at = t("MO 12:00")
    assert told(reports) == [("warn", at), ("breach", at), ("after", at)]


def test_the_steps_of_a_stopped_clock_are_dropped() -> None:
    ladder = terms(step("warn", -hours[2]), step("boss", hours[1]))
    clocks = then(created(by="agent", under=ladder), "MO 15:00", RESOLVED, under=ladder)
    assert next_moment(clocks, ladder) is None
    assert fire(clocks, ladder, now=t(LATER)) == (clocks, ())


def test_after_an_outage_everything_comes_once_in_order_with_its_true_time() -> None:
    ladder = terms(
        step("reply-warn", -hours[1], metric=FIRST_REPLY),
        step("reply-boss", hours[1], metric=FIRST_REPLY),
        step("warn", -hours[4]),
        step("boss", hours[1]),
    )
    clocks = created(under=ladder)
    after, reports = fire(clocks, ladder, now=t(LATER))
    assert [(r.metric, *pair) for r, pair in zip(reports, told(reports), strict=True)] == [
        (FIRST_REPLY, "reply-warn", t("MO 13:00")),
        (RESOLUTION, "warn", t("MO 14:00")),
        (FIRST_REPLY, "breach", t("MO 14:00")),
        (FIRST_REPLY, "reply-boss", t("MO 15:00")),
        (RESOLUTION, "breach", t("TU 10:00")),
        (RESOLUTION, "boss", t("TU 11:00")),
    ]
    assert {r.detected_at for r in reports} == {t(LATER)}
    assert fire(after, ladder, now=t(LATER)) == (after, ())
    assert next_moment(after, ladder) is None


def test_firing_at_each_next_moment_reports_what_firing_once_does() -> None:
    ladder = terms(
        step("warn", -hours[4]), step("boss", hours[1]), step("wall", hours[3], wall=True)
    )
    clocks = created(under=ladder)
    _, at_once = fire(clocks, ladder, now=t(LATER))
    piecemeal: list[Due] = []
    while (moment := next_moment(clocks, ladder)) is not None:
        clocks, reports = fire(clocks, ladder, now=moment)
        assert reports
        assert all(report.lateness == timedelta() for report in reports)
        piecemeal += reports
    assert told(piecemeal) == told(at_once)


# --- lists, values, vectors ---------------------------------------------------------------------


def test_a_list_shows_the_deadlines_that_approach_and_the_breaches_that_happened() -> None:
    clocks = created()
    shown = summary(clocks)
    assert shown["first_reply_due_at"] == shown["next_due_at"] == t("MO 14:00")
    assert (shown["resolution_due_at"], shown["breached"]) == (t("TU 10:00"), False)
    clocks = then(clocks, "MO 16:00", PENDING, reply=True)
    shown = summary(clocks)
    # A late reply must not hide the miss.
    assert (shown["first_reply_due_at"], shown["first_reply_breached_at"]) == (None, t("MO 14:00"))
    assert (shown["resolution_due_at"], shown["resolution_paused_since"]) == (None, t("MO 16:00"))
    assert (shown["next_due_at"], shown["breached"]) == (None, True)


def test_clocks_and_policies_survive_json() -> None:
    ladder = terms(
        step("warn", -hours[1]),
        Step(id="tag", metric=RESOLUTION, offset=hours[1], action=AddTag(tag="late")),
        Step(id="up", metric=RESOLUTION, offset=hours[1], action=RaisePriority()),
        Step(
            id="give",
            metric=FIRST_REPLY,
            offset=hours[1],
            time="wall",
            action=Reassign(team_id=UUID(int=7)),
        ),
    )
    assert Policy.model_validate_json(ladder.policy.model_dump_json()) == ladder.policy
    clocks, _ = fire(then(created(), "MO 12:00", PENDING), ladder, now=t(LATER))
    for clock in clocks:
        assert Clock.model_validate_json(clock.model_dump_json()) == clock


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"steps": [step("a", hours[1]), step("a", hours[2])]}, "share an id"),
        ({"pause_in": {"resolution": ["resolved"]}}, "only while the ticket is active"),
        ({"targets": {"resolution": {"normal": 0}}}, "greater than"),
        ({"targets": {"lunch": {}}}, "first_reply"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(
    changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Policy.model_validate({**TERMS.policy.model_dump(), **changes})


def test_reassigning_to_nobody_is_refused() -> None:
    with pytest.raises(ValidationError, match="a team or a person"):
        Reassign()


@pytest.mark.parametrize(
    ("start", "target", "pauses", "due"),
    [
        ("2025-03-28T15:30Z", 240, [], "2025-03-31T10:30Z"),
        ("2025-03-28T16:30+01:00", 240, [], "2025-03-31T10:30Z"),
        (
            "2025-06-06T13:00Z",
            240,
            [["2025-06-06T14:00Z", "2025-06-09T07:00Z"]],
            "2025-06-09T10:00Z",
        ),
        ("2025-06-06T13:00:20Z", 60, [], "2025-06-06T14:00:20Z"),
        ("2025-06-06T13:00:00Z", 60, [], "2025-06-06T14:00:00Z"),
        ("2025-06-06T13:00Z", 0.5, [], "2025-06-06T13:00:30Z"),
    ],
)
def test_a_vector_is_solved_as_finely_as_it_is_written(
    start: str, target: float, pauses: list[list[str]], due: str
) -> None:
    line = {
        "id": "x",
        "calendar": OFFICE.model_dump(mode="json"),
        "start": start,
        "target_minutes": target,
        "pauses": pauses,
        "due": due,
    }
    assert solve(Vector.model_validate(line)) == due


# --- laws ---------------------------------------------------------------------------------------

LADDER = terms(
    step("warn", -hours[1]),
    step("boss", hours[2]),
    step("reply", -minutes[30], metric=FIRST_REPLY),
)
AT_NIGHT = terms(*LADDER.policy.steps, calendar=NIGHTS, version=2)


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[Fact, Terms | None]]:
    """A ticket's facts in the order of time, some in the same instant, with the terms then."""
    at = t("MO 08:00") + minutes[1] * draw(st.integers(0, 5000))
    by = draw(st.sampled_from(("customer", "agent")))
    story: list[tuple[Fact, Terms | None]] = []
    in_force = st.sampled_from((LADDER, LADDER, LADDER, AT_NIGHT, None))
    priorities = st.sampled_from((None, *Priority))
    categories = st.sampled_from((Category.NEW, OPEN, OPEN, PENDING, Category.ON_HOLD, RESOLVED))
    story.append(
        (
            Fact(
                at=at,
                category=draw(categories),
                priority=draw(priorities),
                created_by="customer" if by == "customer" else "agent",
            ),
            draw(in_force),
        )
    )
    for _ in range(draw(st.integers(0, 7))):
        at += minutes[1] * draw(st.sampled_from((0, 30, 60, 240, 480, 481, 1440, 3000)))
        category = draw(categories)
        if draw(st.integers(0, 11)) == 0:
            category = Category.MERGED
        fact = Fact(
            at=at, category=category, priority=draw(priorities), agent_reply=draw(st.booleans())
        )
        story.append((fact, draw(in_force)))
    return story


def replayed(
    story: Sequence[tuple[Fact, Terms | None]], firings: Sequence[datetime]
) -> tuple[tuple[Clock, ...], list[Due]]:
    """The clocks after the story, with `fire` called at these times between its facts."""
    clocks: tuple[Clock, ...] = ()
    reports: list[Due] = []
    in_force: Terms | None = None
    waiting = sorted(firings)
    for fact, terms_then in story:
        while waiting and waiting[0] <= fact.at:
            clocks, found = fire(clocks, in_force, now=waiting.pop(0))
            reports += found
        clocks, in_force = observe(clocks, fact, terms_then), terms_then
    for now in waiting:
        clocks, found = fire(clocks, in_force, now=now)
        reports += found
    return clocks, reports


END = t("MO 08:00") + timedelta(days=60)


@settings(max_examples=120, deadline=None, database=None)
@given(stories(), st.lists(st.integers(0, 20_000), max_size=8), st.booleans())
def test_firing_more_often_changes_no_breach_time_and_no_verdict(
    story: list[tuple[Fact, Terms | None]], offsets: list[int], at_facts_too: bool
) -> None:
    start = story[0][0].at
    firings = [start + minutes[1] * offset for offset in offsets]
    if at_facts_too:
        firings += [fact.at for fact, _ in story]

    def verdicts(clocks: Sequence[Clock]) -> list[tuple[object, ...]]:
        return [
            (c.metric, c.cycle, c.outcome, c.breached_at, c.due_at, c.pauses, c.stopped_at)
            for c in clocks
        ]

    seldom, _ = replayed(story, [END])
    often, reports = replayed(story, [*firings, END])
    assert verdicts(often) == verdicts(seldom)
    steps = [(r.metric, r.cycle, r.step.id) for r in reports if r.step is not None]
    assert len(steps) == len(set(steps))
    assert all(report.at <= report.detected_at for report in reports)


@settings(max_examples=80, deadline=None, database=None)
@given(stories())
def test_a_clock_agrees_with_its_own_record(story: list[tuple[Fact, Terms | None]]) -> None:
    clocks, _ = replayed(story, [END])
    for clock in clocks:
        calendar = OFFICE if clock.calendar_version == 1 else NIGHTS
        if clock.due_at is not None and clock.target is not None:
            assert due_at(clock.started_at, clock.target, calendar, clock.pauses) == clock.due_at
        if clock.outcome is Outcome.MET:
            assert clock.target is not None
            assert clock.stopped_at is not None
            assert clock.breached_at is None
            used = elapsed(clock.started_at, clock.stopped_at, calendar, clock.pauses)
            assert used == spent(clock, calendar, now=END) <= clock.target
        if clock.outcome is Outcome.MISSED:
            assert clock.breached_at is not None
            assert clock.stopped_at is not None
            assert clock.breached_at <= clock.stopped_at
        assert (clock.stopped_at is None) == clock.is_running


def _merged_and_back(category: Category) -> dict[Metric, Clock]:
    """Opened Monday 09:00, in `category` from 10:00, merged 11:00 to 15:00."""
    clocks = observe(
        (), Fact(at=t("MO 09:00"), category=Category.NEW, created_by="customer"), TERMS
    )
    clocks = observe(clocks, Fact(at=t("MO 10:00"), category=category), TERMS)
    clocks = observe(clocks, Fact(at=t("MO 11:00"), category=Category.MERGED), TERMS)
    assert {clock.outcome for clock in clocks} == {Outcome.CANCELLED}
    back = revive(clocks, TERMS, at=t("MO 15:00"))
    return {c.metric: c for c in observe(back, Fact(at=t("MO 15:00"), category=category), TERMS)}


def test_an_unmerged_ticket_is_promised_again_from_its_start() -> None:
    clocks = _merged_and_back(OPEN)
    assert clocks[FIRST_REPLY].due_at == t("MO 13:00")
    assert clocks[RESOLUTION].due_at == t("MO 17:00")
    assert {clock.outcome for clock in clocks.values()} == {Outcome.RUNNING}


def test_what_came_due_while_merged_is_missed_as_of_the_unmerging() -> None:
    _clocks, dues = fire(tuple(_merged_and_back(OPEN).values()), TERMS, now=t("MO 16:00"))
    assert [(due.metric, due.at) for due in dues] == [(FIRST_REPLY, t("MO 15:00"))]


def test_a_ticket_merged_while_pending_was_pending_all_along() -> None:
    resolution = _merged_and_back(PENDING)[RESOLUTION]
    assert resolution.paused_since == t("MO 10:00")
    resumed = observe((resolution,), Fact(at=t("TU 09:00"), category=OPEN), TERMS)
    # One hour was used before the pause; seven are left on Tuesday morning.
    assert resumed[0].due_at == t("TU 16:00")
