"""Pauses that count only so long: a table, and what holds for any of them.

Office hours are Monday to Friday 9:00 to 17:00; eight hours are promised.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.calendars import elapsed
from domain.sla import Clock, Metric, Outcome, Pause, Terms, account, next_moment, set_due
from domain.states import Category
from tests.domain.lives import ALWAYS, OFFICE, H, Life, M, promise, step, t

RESOLUTION = Metric.RESOLUTION
Walk = list[tuple[str, Category]]
P, O, R = Category.PENDING, Category.OPEN, Category.RESOLVED  # noqa: E741


def limited(longest: timedelta | None, **more: object) -> Terms:
    terms: dict[str, object] = {"calendar": OFFICE, **more}
    if longest is not None:
        terms["max_pause"] = {RESOLUTION: longest}
    return promise(RESOLUTION, **terms)  # type: ignore[arg-type]


def lived(terms: Terms, walk: Walk) -> Life:
    life = Life(terms).opens("MO 10:00")
    for at, category in walk:
        life.then(at, category=category)
    return life


@pytest.mark.parametrize(
    ("longest", "walk", "due", "runs_on"),
    [
        # Without a limit there is no deadline while it pauses.
        (None, [("MO 12:00", P)], None, None),
        # With one it is known at once: two hours used, an hour paused, six to go from 13:00.
        (1 * H, [("MO 12:00", P)], "TU 11:00", "MO 13:00"),
        # A shorter pause is what it was.
        (3 * H, [("MO 12:00", P), ("MO 13:00", O)], "TU 11:00", None),
        # A longer one counts no more than the limit, also afterwards.
        (1 * H, [("MO 12:00", P), ("MO 16:00", O)], "TU 11:00", None),
        # All pauses together, not each.
        (2 * H, [("MO 11:00", P), ("MO 12:00", O), ("MO 13:00", P)], "TU 12:00", "MO 14:00"),
        (
            2 * H,
            [("MO 11:00", P), ("MO 13:00", O), ("MO 14:00", P), ("MO 16:00", O)],
            "TU 12:00", None,
        ),
        # On the wall clock: a night counts though it gives nothing away.
        (16 * H, [("MO 17:00", P)], "TU 10:00", "TU 09:00"),
        (17 * H, [("MO 17:00", P)], "TU 11:00", "TU 10:00"),
        # The same status again is the same pause.
        (1 * H, [("MO 12:00", P), ("MO 12:30", P)], "TU 11:00", "MO 13:00"),
    ],
)  # fmt: skip
def test_pauses_count_up_to_the_limit_in_total(
    longest: timedelta | None, walk: Walk, due: str | None, runs_on: str | None
) -> None:
    clock = lived(limited(longest), walk).clock(RESOLUTION)
    assert clock.due_at == (None if due is None else t(due))
    assert clock.runs_on_at == (None if runs_on is None else t(runs_on))


def test_a_deadline_is_known_ahead_and_missed_though_the_ticket_still_waits() -> None:
    life = lived(limited(1 * H), [("MO 12:00", P)])
    assert next_moment(life.clocks, life.terms) == t("TU 11:00")
    [breach] = life.fires("TU 12:00")
    assert (breach.kind, breach.at) == ("breach", t("TU 11:00"))
    assert life.clock(RESOLUTION).paused_since == t("MO 12:00")
    life.then("WE 10:00", category=R)
    assert life.clock(RESOLUTION).outcome is Outcome.MISSED


def test_a_step_waits_for_the_end_of_what_counts_and_no_longer() -> None:
    terms = limited(2 * H, steps=[step("half", RESOLUTION, percent=25, time="business")])
    life = lived(terms, [("MO 11:30", P)])
    assert [(due.kind, due.at) for due in life.fires("MO 17:00")] == [("step", t("MO 14:00"))]


def test_what_was_used_and_paused_adds_up_and_says_how_much_is_left() -> None:
    life = lived(limited(1 * H), [("MO 12:00", P), ("MO 16:00", O), ("TU 09:00", R)])
    clock = life.clock(RESOLUTION)
    assert (clock.used, clock.paused) == (6 * H, 1 * H)
    assert [(p.start, p.end) for p in clock.pauses] == [(t("MO 12:00"), t("MO 16:00"))]
    told = account(clock, OFFICE, now=t("TU 09:00"))
    assert (told.business, told.paused) == (6 * H, 1 * H)
    waiting = lived(limited(3 * H), [("MO 12:00", P)]).clock(RESOLUTION)
    left = [waiting.pause_left(t(at)) for at in ("MO 12:00", "MO 13:00", "MO 15:00", "TU 09:00")]
    assert left == [3 * H, 2 * H, timedelta(), timedelta()]
    assert (
        lived(limited(None), [("MO 12:00", P)]).clock(RESOLUTION).pause_left(t("TU 09:00")) is None
    )


def test_after_a_reopening_the_limit_begins_anew_and_the_time_resolved_is_no_part_of_it() -> None:
    walk = [("MO 12:00", P), ("MO 14:00", O), ("MO 15:00", R), ("WE 09:00", O), ("WE 10:00", P)]
    life = lived(limited(1 * H), walk)
    first, second = life.clock(RESOLUTION), life.clock(RESOLUTION, 2)
    assert first.used == 4 * H  # five on the wall, one paused
    # One more by ten, and three to go from eleven, when the second hour of pause is used up.
    assert (second.runs_on_at, second.due_at) == (t("WE 11:00"), t("WE 14:00"))
    pending_at_once = lived(limited(1 * H), [*walk[:3], ("WE 09:00", P)]).clock(RESOLUTION, 2)
    assert pending_at_once.runs_on_at == t("WE 10:00")


@pytest.mark.parametrize(
    ("before", "after", "walk", "runs_on", "due"),
    [
        # New: what was taken stays, the limit counts what comes.
        (None, 1 * H, [("MO 12:00", P)], "MO 15:00", "TU 13:00"),
        # Raised by an hour in a pause that had run out: what ran on in between stays used.
        (1 * H, 2 * H, [("MO 12:00", P)], "MO 15:00", "TU 12:00"),
        # Raised in time: the pause goes on.
        (3 * H, 4 * H, [("MO 12:00", P)], "MO 16:00", "TU 14:00"),
        # Lowered to below what was taken: it runs on from now, nothing is taken back.
        (5 * H, 1 * H, [("MO 12:00", P)], "MO 14:00", "TU 12:00"),
        # Taken away: what had not counted does not count now; the pause that lasts does.
        (1 * H, None, [("MO 12:00", P)], None, None),
    ],
)  # fmt: skip
def test_another_limit_takes_nothing_back(
    before: timedelta | None, after: timedelta | None, walk: Walk, runs_on: str | None,
    due: str | None,
) -> None:  # fmt: skip
    life = lived(limited(before), walk)
    life.then("MO 14:00", category=P, terms=limited(after, version=2))
    clock = life.clock(RESOLUTION)
    assert clock.runs_on_at == (None if runs_on is None else t(runs_on))
    assert clock.due_at == (None if due is None else t(due))


def test_taken_away_the_pause_that_lasts_counts_from_then_on() -> None:
    life = lived(limited(1 * H), [("MO 12:00", P)])
    life.then("MO 14:00", category=P, terms=limited(None, version=2))
    life.then("MO 16:00", category=O)
    spans = [(pause.start, pause.end) for pause in life.clock(RESOLUTION).pauses]
    assert spans == [(t("MO 12:00"), t("MO 13:00")), (t("MO 14:00"), t("MO 16:00"))]


def test_a_deadline_that_a_person_has_set_waits_no_longer_either() -> None:
    life = lived(limited(1 * H), [("MO 12:00", P)])
    clocks = set_due(
        life.clocks, life.terms, metric=RESOLUTION, due_at=t("MO 12:30"), at=t("MO 12:10"),
        reason="asked",
    )  # fmt: skip
    assert clocks[0].due_at == t("MO 13:00")


def test_a_clock_without_a_limit_is_kept_as_ever() -> None:
    clock = lived(limited(None), [("MO 12:00", P), ("MO 13:00", O)]).clock(RESOLUTION)
    assert (clock.max_pause, clock.pause_limit, clock.runs_on_at) == (None, None, None)
    assert clock.counted is clock.pauses


@pytest.mark.parametrize(
    "longest",
    [
        {"resolution": "PT0S"},
        {"resolution": "-PT1H"},
        {"resolution": "P4000D"},
        {"custom:no": "PT1H"},
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(longest: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        promise(RESOLUTION, max_pause=longest)


def test_a_policy_without_a_limit_is_written_as_before() -> None:
    assert "max_pause" not in limited(None).policy.model_dump(mode="json")


@st.composite
def walks(draw: st.DrawFn) -> list[tuple[datetime, Category]]:
    at, found = t("MO 10:00"), []
    for _ in range(draw(st.integers(1, 8))):
        at += draw(st.sampled_from((1, 30, 60, 240, 1000))) * M
        found.append((at, draw(st.sampled_from((P, P, O, Category.ON_HOLD)))))
    return found


def _walked(terms: Terms, walk: list[tuple[datetime, Category]]) -> Clock:
    life = Life(terms).opens("MO 10:00")
    for at, category in walk:
        last, _ = life.facts[-1]
        life._told(replace(last, at=at, category=category, created_by=None))
    return life.clock(RESOLUTION)


@settings(max_examples=150, deadline=None, database=None)
@given(walks(), st.sampled_from((1, 20, 61, 500, 5000)), st.sampled_from((OFFICE, ALWAYS)))
def test_no_more_than_the_limit_counts_and_the_deadline_is_always_known(
    walk: list[tuple[datetime, Category]], longest: int, calendar: object
) -> None:
    limit = longest * M
    clock = _walked(limited(limit, calendar=calendar), walk)
    free = _walked(limited(None, calendar=calendar), walk)
    counted = clock.counted
    assert sum(((p.end or p.start) - p.start for p in counted), timedelta()) <= limit
    assert all(p.end is not None for p in counted)
    # Counted are the beginnings of what was paused, nothing else.
    assert all(
        any(raw.start == p.start and (raw.end is None or raw.end >= p.end) for raw in free.pauses)  # type: ignore[operator]
        for p in counted
    )
    assert clock.pauses == free.pauses
    assert clock.due_at is not None
    if free.due_at is not None:
        assert clock.due_at <= free.due_at
        if not any(p not in counted for p in free.pauses):
            assert clock.due_at == free.due_at
    # The deadline is where exactly what was promised has run: no more, no less.
    begun = clock.started_at
    used = elapsed(begun, clock.due_at, OFFICE if calendar is OFFICE else ALWAYS, _as(counted))
    assert used == clock.target


def _as(pauses: tuple[Pause, ...]) -> list[Pause]:
    return list(pauses)
