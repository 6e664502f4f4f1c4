"""Laws of the fold: late firing, twice folding and replaying change nothing; a recount agrees."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.sla import (
    Clock,
    Metric,
    Outcome,
    Past,
    Terms,
    account,
    fire,
    next_moment,
    observe,
    spent,
)
from domain.states import Category, Priority
from tests.domain.lives import KIM, OFFICE, TEAM_A, TEAM_B, H, Life, M, promise, step, t

pytestmark = pytest.mark.slow  # properties over many lives

OPEN, PENDING, RESOLVED = Category.OPEN, Category.PENDING, Category.RESOLVED
OWN = [
    {
        "metric": "custom:owned",
        "starts": {"field": "assignee", "op": "unset"},
        "stops": {"field": "assignee", "op": "set"},
    },
    {"metric": "group:handling"},
]
EVERYTHING = promise(
    *(metric for metric in Metric),
    "custom:owned",
    "group:handling",
    clocks=OWN,
    steps=[
        step("warn", Metric.RESOLUTION, -1 * H),
        step("half", Metric.NEXT_REPLY, percent=50),
        step("boss", Metric.RESOLUTION, 2 * H, tier=2),
        step("wall", Metric.FIRST_REPLY, 1 * H, time="wall"),
    ],
)
QUICKER = promise(*(metric for metric in Metric), within=3 * H, version=2)
slow = settings(max_examples=60, deadline=None, database=None)


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """A ticket's life with all that can happen in it, nothing fired yet."""
    life = Life(draw(st.sampled_from((EVERYTHING, EVERYTHING, None))))
    at = t("MO 08:00") + M * draw(st.integers(0, 3000))

    def stamp() -> str:
        local = at.astimezone(ZoneInfo("Europe/Berlin"))
        week = (local.date() - t("MO 12:00").date()).days // 7
        name = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")[local.weekday()]
        return f"{name}{'+' * week} {local:%H:%M}"

    life.opens(
        stamp(),
        by=draw(st.sampled_from(("customer", "agent", "machine"))),
        category=draw(st.sampled_from((Category.NEW, OPEN, PENDING, RESOLVED))),
        priority=draw(st.sampled_from((None, *Priority))),
        team_id=draw(st.sampled_from((None, TEAM_A))),
    )
    for _ in range(draw(st.integers(0, 8))):
        at += M * draw(st.sampled_from((0, 30, 60, 240, 480, 481, 1440, 3000)))
        more: dict[str, object] = {}
        if draw(st.integers(0, 4)) == 0:
            more["priority"] = draw(st.sampled_from((None, *Priority)))
        if draw(st.integers(0, 3)) == 0:
            more["team_id"] = draw(st.sampled_from((None, TEAM_A, TEAM_B)))
            more["assignee_id"] = draw(st.sampled_from((None, KIM)))
        author = draw(st.sampled_from(("nobody", "customer", "agent")))
        terms = draw(st.sampled_from((life.terms, life.terms, life.terms, EVERYTHING, QUICKER)))
        life.then(
            stamp(),
            draw(st.sampled_from((OPEN, OPEN, PENDING, Category.ON_HOLD, RESOLVED))),
            customer=author == "customer",
            reply=author == "agent",
            automatic=draw(st.integers(0, 5)) == 0,
            terms=terms,
            **more,
        )
    return life


END = t("MO 08:00") + timedelta(days=40)


def folded(life: Life, firings: Sequence[datetime] = ()) -> tuple[Clock, ...]:
    """The clocks of the life's facts, with `fire` called at these times between them."""
    clocks: tuple[Clock, ...] = ()
    terms: Terms | None = None
    waiting = sorted(firings)
    for number, (fact, then) in enumerate(life.facts):
        while waiting and waiting[0] <= fact.at:
            clocks, _ = fire(clocks, terms, now=waiting.pop(0))
        past = Past([told for told, _ in life.facts[:number]], terms if number else None)
        clocks, terms = observe(clocks, fact, then, past=past), then
    for now in waiting:
        clocks, _ = fire(clocks, terms, now=now)
    return clocks


def verdicts(clocks: Sequence[Clock]) -> list[tuple[object, ...]]:
    return [
        (
            c.metric, c.cycle, c.outcome, c.started_at, c.due_at, c.pauses, c.stopped_at,
            c.breached_at, c.caused_by, c.used, c.paused, c.team_id, c.assignee_id, c.target,
        )
        for c in clocks
    ]  # fmt: skip


@slow
@given(lives())
def test_folding_the_same_facts_twice_gives_the_same_clocks(life: Life) -> None:
    assert folded(life) == folded(life) == life.clocks


@slow
@given(lives(), st.lists(st.integers(0, 20_000), max_size=8))
def test_how_often_and_how_late_time_is_told_changes_no_verdict(
    life: Life, offsets: list[int]
) -> None:
    first = life.facts[0][0].at
    often = folded(life, [*(first + M * offset for offset in offsets), END])
    assert verdicts(often) == verdicts(folded(life, [END]))


@slow
@given(lives())
def test_time_told_moment_by_moment_ends_where_it_ends_told_at_once(life: Life) -> None:
    at_once, dues = fire(life.clocks, life.terms, now=END)
    clocks = life.clocks
    keys: list[tuple[str, datetime]] = []
    while (moment := next_moment(clocks, life.terms)) is not None and moment <= END:
        clocks, some = fire(clocks, life.terms, now=moment)
        assert some
        keys += [(due.key, due.at) for due in some]
    assert verdicts(clocks) == verdicts(at_once)
    assert keys == [(due.key, due.at) for due in dues]
    assert fire(at_once, life.terms, now=END) == (at_once, ())


@slow
@given(lives())
def test_every_cycle_agrees_with_its_own_record(life: Life) -> None:
    for clock in fire(life.clocks, life.terms, now=END)[0]:
        found = account(clock, OFFICE, now=END)
        assert found.business <= found.calendar
        assert sum((s.end - s.start for s in found.stretches), timedelta()) == found.calendar
        for before, after in zip(found.stretches, found.stretches[1:], strict=False):
            assert before.end == after.start
            assert before.running is not after.running
        if not clock.is_running and clock.used is not None:
            assert clock.used == found.business == spent(clock, OFFICE, now=END)
            assert clock.paused == found.paused
        if clock.outcome is Outcome.MISSED:
            assert clock.stopped_at is not None
            assert clock.breached_at is not None
            assert clock.started_at <= clock.breached_at <= clock.stopped_at
        if clock.outcome is Outcome.MET:
            assert clock.breached_at is None
            assert clock.target is not None
            assert found.business <= clock.target
        assert (clock.stopped_at is None) == clock.is_running
    running = [c.metric for c in life.clocks if c.is_running]
    assert len(running) == len(set(running))


def minutes_of(clock: Clock, until: datetime) -> timedelta:
    """Open, unpaused minutes, counted one by one on the wall clock of the office."""
    zone, counted, at = ZoneInfo("Europe/Berlin"), 0, clock.started_at
    while at < until:
        local = at.astimezone(zone)
        is_open = local.weekday() < 5 and 9 <= local.hour < 17
        paused = any(p.start <= at and (p.end is None or at < p.end) for p in clock.pauses)
        counted += is_open and not paused
        at += M
    return counted * M


@settings(max_examples=15, deadline=None, database=None)
@given(lives())
def test_a_recount_minute_by_minute_agrees_with_every_cycle(life: Life) -> None:
    for clock in life.clocks:
        until = clock.stopped_at or clock.started_at + timedelta(days=3)
        assert spent(clock, OFFICE, now=until) == minutes_of(clock, until)


@slow
@given(lives())
def test_a_promise_that_comes_late_counts_what_it_would_have_counted_all_along(life: Life) -> None:
    """Taken away before the last fact and given back with it, nothing but the plan is newer."""
    if len(life.facts) < 2 or life.terms is None:
        return
    *before, (last, terms) = life.facts
    told = [fact for fact, _ in before]
    late = observe((), last, terms, past=Past(told, None))
    for clock in late:
        assert clock.is_running
        assert clock.cycle == 1
        assert clock.breached_at in (None, last.at) or clock.breached_at >= last.at
        assert clock.started_at <= last.at
