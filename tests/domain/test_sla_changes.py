"""Changes of priority, policy, calendar and due date; merging; promises that come late."""

from datetime import timedelta
from uuid import UUID

import pytest

from domain.sla import BusinessDays, Metric, Outcome, Terms, inherit, revive, set_due
from domain.states import Category, Priority
from tests.domain.lives import ALWAYS, KIM, OFFICE, H, Life, promise, step, t, told

FIRST, NEXT, FIX = Metric.FIRST_REPLY, Metric.NEXT_REPLY, Metric.RESOLUTION
OPEN, PENDING, RESOLVED = Category.OPEN, Category.PENDING, Category.RESOLVED
WEEK = "MO+ 17:00"


# --- one rule for every change ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        ({"priority": Priority.HIGH}, "priority_change"),
        ({"terms": promise(FIX, within=H, version=2)}, "policy_change"),
        ({"terms": promise(FIX, within=H, policy=7)}, "policy_change"),
        (
            {"terms": promise(FIX, calendar=ALWAYS, version=2, calendar_version=2)},
            "calendar_change",
        ),
    ],
)
def test_a_change_that_makes_a_ticket_late_breaches_then_and_names_its_cause(
    changed: dict[str, Terms | Priority], cause: str
) -> None:
    life = Life(promise(FIX)).opens("MO 11:00").then("MO 12:00", PENDING).then("MO 13:00", OPEN)
    life.then("TU 10:30", **changed)  # type: ignore[arg-type]
    clock = life.clock(FIX)
    assert clock.started_at == t("MO 11:00")
    assert [(p.start, p.end) for p in clock.pauses] == [(t("MO 12:00"), t("MO 13:00"))]
    assert (clock.breached_at, clock.caused_by) == (t("TU 10:30"), cause)
    [due] = life.fires("TU 11:00")
    assert (due.at, due.caused_by) == (t("TU 10:30"), cause)


def test_what_has_ended_is_left_alone_by_another_priority_policy_and_calendar() -> None:
    life = Life(promise(FIRST, FIX)).opens("MO 09:00").then("MO 10:00", reply=True)
    life.then("MO 12:00", Category.RESOLVED).then("TU 09:00", Category.OPEN)
    ended = [clock for clock in life.clocks if not clock.is_running]
    assert len(ended) == 2
    for change in (
        {"priority": Priority.HIGH},
        {"terms": promise(FIRST, FIX, within=H, version=2)},
        {"terms": promise(FIRST, FIX, calendar=ALWAYS, calendar_version=2, version=3)},
        {"terms": promise(FIRST, FIX, policy=2)},
        {"terms": None},
    ):
        life.then("TU 10:00", **change)
        assert [clock for clock in life.clocks if clock in ended] == ended


def test_a_breach_by_time_alone_has_no_cause() -> None:
    life = Life(promise(FIX, within=2 * H)).opens("MO 09:00").then("MO 10:00", tags=("x",))
    [due] = life.fires("MO 12:00")
    assert (due.caused_by, life.clock(FIX).caused_by) == (None, None)


def test_eight_hours_with_one_used_become_four_with_three_left() -> None:
    life = Life(promise(FIX)).opens("MO 09:00")
    life.then("MO 10:00", terms=promise(FIX, within=4 * H, version=2))
    assert life.clock(FIX).due_at == t("MO 13:00")


def test_another_policy_takes_over_with_its_own_steps() -> None:
    first = promise(FIX, steps=[step("warn", FIX, -2 * H)])
    other = promise(FIX, policy=2, steps=[step("warn", FIX, -1 * H)])
    life = Life(first).opens("MO 09:00")
    assert told(life.fires("MO 15:00")) == [("warn", t("MO 15:00"))]
    life.then("MO 15:30", terms=other)
    assert told(life.fires("MO 16:30")) == [("warn", t("MO 16:00"))]


# --- due override -------------------------------------------------------------------------------


def overridden(due: str, at: str = "MO 10:00") -> Life:
    life = Life(promise(FIX, steps=[step("warn", FIX, -1 * H)])).opens("MO 09:00")
    life.clocks = set_due(
        life.clocks, life.terms, metric=FIX, due_at=t(due), at=t(at), by=KIM, reason="agreed"
    )
    return life


def test_a_due_date_that_a_person_sets_is_not_moved_by_priority_policy_or_calendar() -> None:
    life = overridden("WE 12:00")
    life.then("MO 11:00", priority=Priority.HIGH)
    life.then("MO 12:00", terms=promise(FIX, within=H, version=2))
    life.then("MO 13:00", terms=promise(FIX, calendar=ALWAYS, version=3, calendar_version=2))
    clock = life.clock(FIX)
    assert clock.due_at == t("WE 12:00")
    assert clock.due_override is not None
    assert (clock.due_override.by, clock.due_override.reason) == (KIM, "agreed")


def test_steps_follow_a_due_date_that_a_person_sets() -> None:
    assert told(overridden("WE 12:00").fires("WE 13:00", noticed="WE 11:00")) == [
        ("warn", t("WE 11:00")),
        ("breach", t("WE 12:00")),
    ]


def test_a_due_date_set_into_the_past_is_a_breach_now() -> None:
    clock = overridden("MO 09:30").clock(FIX)
    assert (clock.breached_at, clock.caused_by) == (t("MO 10:00"), "due_override")


def test_a_due_date_given_back_is_the_policys_again() -> None:
    life = overridden("WE 12:00")
    life.clocks = set_due(life.clocks, life.terms, metric=FIX, due_at=None, at=t("TU 12:00"))
    clock = life.clock(FIX)
    assert (clock.due_at, clock.due_override) == (t("MO 17:00"), None)
    assert (clock.breached_at, clock.caused_by) == (t("TU 12:00"), "due_reset")


def test_a_due_date_that_a_person_set_waits_for_the_end_of_a_pause() -> None:
    life = overridden("MO 12:00").then("MO 11:00", PENDING)
    assert life.clock(FIX).due_at is None
    assert life.fires("MO 13:00") == []
    life.then("MO 14:00", OPEN)
    assert told(life.fires("MO 15:00"))[-1] == ("breach", t("MO 14:00"))


# --- business days ------------------------------------------------------------------------------

SHORT_FRIDAY = OFFICE.model_copy(update={"weekly": {**OFFICE.weekly, "fri": (("09:00", "12:00"),)}})


def in_days(days: int) -> Terms:
    targets = {"resolution": {"normal": BusinessDays(business_days=days)}}
    return promise(calendar=SHORT_FRIDAY, targets=targets)


@pytest.mark.parametrize(
    ("start", "days", "due"),
    [
        ("MO 10:00", 1, "TU 17:00"),  # the day it starts on has begun: it does not count
        ("MO 08:00", 1, "MO 17:00"),  # it has not begun yet
        ("WE 10:00", 2, "FR 12:00"),  # a short day is a day
        ("FR 13:00", 1, "MO+ 17:00"),
        ("SA 10:00", 2, "TU+ 17:00"),
    ],
)
def test_a_target_in_business_days_ends_with_the_close_of_the_last(
    start: str, days: int, due: str
) -> None:
    clock = Life(in_days(days)).opens(start).clock(FIX)
    assert (clock.due_at, clock.target_days) == (t(due), days)


def test_a_pause_moves_the_end_of_business_days_by_the_open_time_it_takes() -> None:
    life = Life(in_days(1)).opens("MO 10:00").then("MO 16:00", PENDING).then("TU 10:00", OPEN)
    assert life.clock(FIX).due_at == t("WE 11:00")
    assert life.then("WE 10:59", RESOLVED).clock(FIX).outcome is Outcome.MET


def test_another_calendar_makes_other_business_days_worth_something_else() -> None:
    life = Life(in_days(1)).opens("TH 10:00")
    assert life.clock(FIX).due_at == t("FR 12:00")
    whole = promise(targets=in_days(1).policy.targets, calendar_version=2, version=2)
    life.then("TH 11:00", terms=whole)
    assert (life.clock(FIX).due_at, life.clock(FIX).planned_because) == (
        t("FR 17:00"),
        "calendar_change",
    )


# --- promises that come late --------------------------------------------------------------------


def test_a_policy_that_first_applies_to_an_old_ticket_knows_the_pauses_before_it() -> None:
    life = Life(None).opens("MO 09:00").then("MO 10:00", PENDING).then("MO 15:00", OPEN)
    life.then("MO 16:00", terms=promise(FIX))
    clock = life.clock(FIX)
    assert clock.started_at == t("MO 09:00")
    assert (
        clock.due_at
        == Life(promise(FIX))
        .opens("MO 09:00")
        .then("MO 10:00", PENDING)
        .then("MO 15:00", OPEN)
        .clock(FIX)
        .due_at
        == t("TU 14:00")
    )
    assert (clock.planned_at, clock.planned_because) == (t("MO 16:00"), "late_start")


def test_a_ticket_that_gets_a_priority_with_a_promise_knows_the_pauses_before_it() -> None:
    life = Life(promise(FIX)).opens("MO 09:00", priority=Priority.LOW)
    life.then("MO 10:00", PENDING).then("MO 12:00", OPEN)
    assert not life.has(FIX)
    life.then("MO 13:00", priority=Priority.NORMAL)
    assert life.clock(FIX).due_at == t("TU 11:00")


def test_a_policy_that_applies_while_the_ticket_waits_is_paused_since_the_wait_began() -> None:
    life = Life(None).opens("MO 09:00").then("MO 10:00", PENDING)
    life.then("TU 10:00", tags=("vip",), terms=promise(FIX))
    assert life.clock(FIX).paused_since == t("MO 10:00")


def test_a_late_promise_counts_the_wait_that_is_going_on() -> None:
    life = Life(None).opens("MO 09:00").then("MO 10:00", OPEN, reply=True)
    life.then("MO 11:00", customer=True).then("MO 12:00", terms=promise(FIRST, NEXT, within=4 * H))
    assert not life.has(FIRST)
    assert life.clock(NEXT).due_at == t("MO 15:00")


def test_a_late_promise_makes_nobody_late_before_it_came() -> None:
    life = Life(None).opens("MO 09:00").then("WE 12:00", terms=promise(FIRST))
    clock = life.clock(FIRST)
    assert (clock.breached_at, clock.caused_by) == (t("WE 12:00"), "late_start")


def test_a_late_promise_about_what_is_over_promises_nothing() -> None:
    life = Life(None).opens("MO 09:00").then("MO 10:00", RESOLVED, reply=True)
    life.then("MO 11:00", tags=("x",), terms=promise(FIRST, FIX))
    assert not life.clocks


def test_a_late_promise_about_reopened_work_counts_both_times_and_not_the_time_between() -> None:
    life = Life(None).opens("MO 09:00").then("MO 11:00", RESOLVED).then("TU 09:00", OPEN)
    life.then("TU 10:00", terms=promise(FIX))
    assert (life.clock(FIX).cycle, life.clock(FIX).due_at) == (1, t("TU 15:00"))


# --- merging and splitting ----------------------------------------------------------------------


def test_merging_cancels_with_its_reason_and_unmerging_revives() -> None:
    life = Life(promise(FIRST, FIX)).opens("MO 09:00").then("MO 10:00", Category.MERGED)
    assert {(c.outcome, c.cancelled_because) for c in life.clocks} == {
        (Outcome.CANCELLED, "merged")
    }
    assert life.fires(WEEK) == []
    life.clocks = revive(life.clocks, life.terms, at=t("MO 11:00"))
    assert {c.due_at for c in life.clocks} == {t("MO 17:00")}
    assert {c.used for c in life.clocks} == {None}


def test_the_target_of_a_merge_keeps_its_own_clocks_or_inherits_the_earlier_start() -> None:
    life = Life(promise(FIX, NEXT)).opens("TU 09:00")
    kept = life.clock(FIX)
    life.clocks = inherit(life.clocks, life.terms, start=t("MO 15:00"), at=t("TU 10:00"))
    clock = life.clock(FIX)
    assert (clock.started_at, clock.due_at) == (t("MO 15:00"), t("TU 15:00"))
    assert kept.due_at == t("TU 17:00")
    life.clocks = inherit(life.clocks, life.terms, start=t("TU 09:00"), at=t("TU 10:00"))
    assert life.clock(FIX) == clock  # a younger one gives nothing


def test_what_an_inherited_start_makes_late_is_late_from_the_merge_on() -> None:
    life = Life(promise(FIX)).opens("WE 09:00")
    life.clocks = inherit(life.clocks, life.terms, start=t("MO 09:00"), at=t("WE 10:00"))
    clock = life.clock(FIX)
    assert (clock.breached_at, clock.caused_by) == (t("WE 10:00"), "merge_inherited")


# --- versions and steps -------------------------------------------------------------------------


def test_a_step_under_another_name_is_the_same_step_in_the_next_version() -> None:
    life = Life(promise(FIX, steps=[step("warn", FIX, -2 * H)])).opens("MO 09:00")
    assert told(life.fires("MO 15:00")) == [("warn", t("MO 15:00"))]
    renamed = promise(FIX, version=2, steps=[step("first warning", FIX, -2 * H)])
    life.then("MO 15:30", terms=renamed)
    assert life.fires("MO 16:59") == []


def test_a_step_with_another_distance_under_the_same_name_is_not_repeated() -> None:
    life = Life(promise(FIX, steps=[step("warn", FIX, -2 * H)])).opens("MO 09:00")
    life.fires("MO 15:00")
    life.then("MO 15:30", terms=promise(FIX, version=2, steps=[step("warn", FIX, -1 * H)]))
    assert life.fires("MO 16:59") == []


def test_two_steps_of_one_version_that_do_the_same_are_two_steps() -> None:
    twice = promise(FIX, steps=[step("a", FIX, -2 * H), step("b", FIX, -2 * H)])
    assert [name for name, _ in told(Life(twice).opens("MO 09:00").fires("MO 15:00"))] == ["a", "b"]


def test_what_each_step_was_is_kept_with_its_policy_and_version() -> None:
    life = Life(promise(FIX, version=4, steps=[step("warn", FIX, -2 * H)])).opens("MO 09:00")
    [due] = life.fires("MO 15:10")
    [done] = life.clock(FIX).steps_log
    assert (done.step, done.policy_version, done.at) == ("warn", 4, t("MO 15:00"))
    assert due.key == f"resolution/1/{UUID(int=1).hex}.4/warn"


def test_time_before_a_change_is_not_lost_however_often_it_changes() -> None:
    life = Life(promise(FIX)).opens("MO 09:00")
    for minute in range(10, 50, 10):
        priority = Priority.HIGH if minute % 20 else Priority.NORMAL
        life.then(f"MO 09:{minute}", priority=priority)
    assert life.clock(FIX).due_at == t("MO 17:00")
    assert life.clock(FIX).started_at + timedelta(hours=8) == life.clock(FIX).due_at
