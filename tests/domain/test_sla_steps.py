"""Steps around deadlines: when they come, what holds them up, when they are no longer worth it."""

import pytest
from pydantic import ValidationError

from domain.sla import (
    AddTag,
    CallWebhook,
    Metric,
    Notify,
    Policy,
    StartWorkflow,
    Step,
    WriteNote,
    acknowledge,
    fire,
    upcoming,
)
from domain.states import Category
from tests.domain.lives import ALWAYS, KIM, TEAM_A, H, Life, M, promise, step, t, told

FIX, NEXT = Metric.RESOLUTION, Metric.NEXT_REPLY
OPEN, PENDING, RESOLVED = Category.OPEN, Category.PENDING, Category.RESOLVED


def life(*steps: Step, **more: object) -> Life:
    return Life(promise(FIX, steps=steps, **more)).opens("MO 09:00", team_id=TEAM_A)  # type: ignore[arg-type]


def test_a_step_at_a_percentage_counts_in_open_time() -> None:
    ladder = life(step("half", FIX, percent=50), step("over", FIX, percent=150))
    assert told(ladder.fires("TU 17:00")) == [
        ("half", t("MO 13:00")),
        ("breach", t("MO 17:00")),
        ("over", t("TU 13:00")),
    ]


def test_a_percentage_on_the_wall_clock_divides_the_time_on_the_wall() -> None:
    started = Life(promise(FIX, steps=[step("half", FIX, percent=50, time="wall")]))
    started.opens("MO 13:00")
    assert told(started.fires("TU 13:00"))[0] == ("half", t("TU 01:00"))


def test_a_warning_whose_deadline_has_passed_when_it_is_noticed_is_skipped_and_says_so() -> None:
    ladder = life(step("warn", FIX, -1 * H), step("boss", FIX, 1 * H))
    warned, breach, boss = ladder.fires("TU 12:00")
    assert warned.skipped == "the deadline had passed when it was noticed"
    assert (breach.skipped, boss.skipped) == (None, None)
    [kept, _] = ladder.clock(FIX).steps_log
    assert (kept.step, kept.skipped) == ("warn", warned.skipped)


def test_a_warning_that_is_noticed_late_but_before_the_deadline_is_worth_it() -> None:
    [warned] = life(step("warn", FIX, -1 * H)).fires("MO 16:30")
    assert (warned.at, warned.skipped, warned.lateness) == (t("MO 16:00"), None, 30 * M)


def test_how_late_it_is_noticed_spares_no_step_that_changes_the_ticket() -> None:
    tag = step("tag", FIX, -1 * H, action=AddTag(tag="soon"))
    [tagged, _] = life(tag).fires("TU 12:00")
    assert tagged.skipped is None


def test_a_step_only_for_unassigned_tickets_is_skipped_where_somebody_has_it() -> None:
    only = step("nobody", FIX, -1 * H, only_if=["unassigned"])
    assert life(only).fires("MO 16:00")[0].skipped is None
    taken = life(only).then("MO 10:00", assignee_id=KIM)
    assert taken.fires("MO 16:00")[0].skipped == "the ticket is assigned"


def test_a_step_only_for_what_nobody_acknowledged_is_skipped_after_that() -> None:
    seen = life(step("nag", FIX, -1 * H, only_if=["unacknowledged"]))
    seen.clocks = acknowledge(seen.clocks, at=t("MO 10:00"), until=t("MO 10:30"), by=KIM)
    assert seen.fires("MO 16:00")[0].skipped == "it was acknowledged"


def test_an_acknowledgement_holds_up_higher_tiers_until_it_ends() -> None:
    ladder = life(
        step("lead", FIX, 30 * M),
        step("again", FIX, 60 * M),
        step("boss", FIX, 60 * M, tier=2),
        step("chief", FIX, 180 * M, tier=3),
        within=H,
    )
    assert told(ladder.fires("MO 10:30")) == [("breach", t("MO 10:00")), ("lead", t("MO 10:30"))]
    ladder.clocks = acknowledge(ladder.clocks, at=t("MO 10:40"), until=t("MO 11:40"), by=KIM)
    assert told(ladder.fires("MO 11:30")) == [("again", t("MO 11:00"))]
    assert told(ladder.fires("MO 14:00")) == [("boss", t("MO 11:40")), ("chief", t("MO 13:00"))]


def test_what_ends_during_an_acknowledgement_escalates_no_further() -> None:
    ladder = life(step("lead", FIX, 0 * H), step("boss", FIX, 1 * H, tier=2), within=H)
    ladder.fires("MO 10:00")
    ladder.clocks = acknowledge(ladder.clocks, at=t("MO 10:10"), until=t("MO 12:00"))
    ladder.then("MO 11:30", RESOLVED)
    assert ladder.fires("TU 12:00") == []


def test_a_step_in_quiet_hours_waits_until_they_end() -> None:
    quiet = {"start": "22:00", "end": "07:00"}
    night = Life(
        promise(
            FIX, within=H, calendar=ALWAYS,
            steps=[step("late", FIX, 2 * H, quiet=quiet), step("day", FIX, 9 * H, quiet=quiet)],
        )
    )  # fmt: skip
    night.opens("TU 00:00")  # Monday 22:00 in UTC, the calendar's zone
    assert told(night.fires("TU 12:00")) == [
        ("breach", t("TU 01:00")),
        ("late", t("TU 09:00")),  # 07:00 in UTC
        ("day", t("TU 10:00")),
    ]


@pytest.mark.parametrize("hours", [("22:00", "22:00"), ("25:00", "07:00")])
def test_quiet_hours_that_never_end_or_are_none_are_refused(hours: tuple[str, str]) -> None:
    with pytest.raises(ValidationError):
        step("x", FIX, H, quiet={"start": hours[0], "end": hours[1]})


def test_a_step_is_done_once_and_again_in_a_later_cycle_only_if_it_says_so() -> None:
    ladder = life(step("once", FIX, -4 * H), step("each", FIX, -4 * H, per_cycle=True))
    assert len(ladder.fires("MO 13:00")) == 2
    ladder.then("MO 14:00", RESOLVED).then("TU 09:00", OPEN)
    # The next cycle counts on from five hours: it begins behind both.
    assert told(ladder.fires("TU 11:00")) == []
    assert {d.step: d.skipped for d in ladder.clock(FIX, 2).steps_log} == {
        "once": None,
        "each": "it lay before the reopening",
    }
    restarted = life(
        step("once", FIX, -4 * H), step("each", FIX, -4 * H, per_cycle=True),
        reopening={"resolution": "restart"},
    )  # fmt: skip
    restarted.fires("MO 13:00")
    restarted.then("MO 14:00", RESOLVED).then("TU 09:00", OPEN)
    assert [name for name, _ in told(restarted.fires("TU 13:00"))] == ["once", "each"]


def test_each_wait_has_its_own_steps() -> None:
    nagging = Life(promise(NEXT, within=2 * H, steps=[step("warn", NEXT, -1 * H)]))
    nagging.opens("MO 09:00").then("MO 09:30", OPEN, reply=True)
    nagging.then("MO 10:00", customer=True)
    assert [d.cycle for d in nagging.fires("MO 11:00")] == [1]
    nagging.then("MO 11:30", reply=True).then("MO 12:00", customer=True)
    assert [d.cycle for d in nagging.fires("MO 13:00")] == [2]


def test_firing_twice_or_late_changes_nothing() -> None:
    ladder = life(step("warn", FIX, -1 * H), step("boss", FIX, 1 * H, tier=2))
    ladder.clocks = acknowledge(ladder.clocks, at=t("MO 10:00"), until=t("MO 12:00"))
    once, dues = fire(ladder.clocks, ladder.terms, now=t("WE 12:00"), subject=ladder.subject)
    twice, more = fire(once, ladder.terms, now=t("TH 12:00"), subject=ladder.subject)
    assert (twice, more) == (once, ())
    assert len({due.key + due.kind for due in dues}) == len(dues) == 3


def test_what_comes_next_is_told_before_it_comes() -> None:
    ladder = life(step("warn", FIX, -1 * H), step("boss", FIX, 1 * H))
    assert told(upcoming(ladder.clocks, ladder.terms)) == [
        ("warn", t("MO 16:00")),
        ("breach", t("MO 17:00")),
        ("boss", t("TU 10:00")),
    ]


def test_a_step_does_several_things_and_survives_json() -> None:
    several = Step(
        id="all",
        metric=FIX,
        percent=90,
        action=Notify(to=("team_leads", "on_call", KIM)),
        also=(WriteNote(text="look"), CallWebhook(webhook_id=KIM), StartWorkflow(name="page")),
        only_if=("unassigned", "unacknowledged"),
        tier=3,
    )
    assert Step.model_validate_json(several.model_dump_json()) == several
    assert [action.kind for action in several.actions] == [
        "notify", "write_note", "call_webhook", "start_workflow",
    ]  # fmt: skip


@pytest.mark.parametrize("when", [{}, {"offset": H, "percent": 10}])
def test_a_step_has_one_time(when: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="one of them"):
        Step.model_validate({"id": "x", "metric": FIX, "action": AddTag(tag="x"), **when})


def test_steps_of_a_version_from_before_the_log_are_done_by_their_ids() -> None:
    ladder = life(step("warn", FIX, -1 * H))
    ladder.clocks = tuple(c.model_copy(update={"steps_done": ("warn",)}) for c in ladder.clocks)
    assert ladder.fires("MO 16:30") == []
    assert isinstance(ladder.terms and ladder.terms.policy, Policy)
