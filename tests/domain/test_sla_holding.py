"""What holds a step up: acknowledgements, quiet hours, pauses, and all of them in one night."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.calendars import Calendar, Interval
from domain.sla import (
    AddTag,
    Clock,
    Fact,
    Metric,
    QuietHours,
    Subject,
    acknowledge,
    acknowledged_until,
    fire,
    next_moment,
    observe,
    upcoming,
)
from domain.states import Category
from tests.domain.lives import ALWAYS, KIM, LEE, TEAM_A, H, Life, M, promise, step, t, told

FIX = Metric.RESOLUTION
BERLIN = Calendar.model_validate(
    {**ALWAYS.model_dump(), "timezone": "Europe/Berlin", "holidays": [], "overrides": {}}
)


def at(text: str, zone: str = "Europe/Berlin") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


# --- acknowledgements ---------------------------------------------------------------------------


def ladder() -> Life:
    """Due Mon 10:00; the lead at 10:30, the boss at 11:00, the chief at 13:00."""
    life = Life(
        promise(
            FIX,
            within=H,
            steps=[
                step("lead", FIX, 30 * M),
                step("boss", FIX, 60 * M, tier=2),
                step("chief", FIX, 180 * M, tier=3),
            ],
        )
    ).opens("MO 09:00", team_id=TEAM_A)
    life.fires("MO 10:30")
    return life


def test_a_shorter_acknowledgement_takes_nothing_from_a_longer_one_that_still_holds() -> None:
    life = ladder()
    life.clocks = acknowledge(life.clocks, at=t("MO 10:40"), until=t("MO 11:40"), by=KIM)
    held = life.clocks
    life.clocks = acknowledge(life.clocks, at=t("MO 10:45"), until=t("MO 10:50"), by=LEE)
    assert life.clocks == held
    assert acknowledged_until(life.clocks) == t("MO 11:40")
    assert told(life.fires("MO 11:39")) == []
    assert told(life.fires("MO 11:40")) == [("boss", t("MO 11:40"))]


def test_a_longer_acknowledgement_reaches_further_and_one_after_the_end_counts_anew() -> None:
    life = ladder()
    life.clocks = acknowledge(life.clocks, at=t("MO 10:40"), until=t("MO 10:50"), by=KIM)
    life.clocks = acknowledge(life.clocks, at=t("MO 10:45"), until=t("MO 11:45"), by=LEE)
    assert told(life.fires("MO 12:00")) == [("boss", t("MO 11:45"))]
    # It ended at 11:45: five minutes from 12:55 on are five minutes, and hold up the chief.
    life.clocks = acknowledge(life.clocks, at=t("MO 12:58"), until=t("MO 13:03"), by=KIM)
    assert acknowledged_until(life.clocks) == t("MO 13:03")
    assert told(life.fires("MO 14:00")) == [("chief", t("MO 13:03"))]


def test_one_that_ends_in_the_instant_the_next_is_given_holds_no_more() -> None:
    life = ladder()
    life.clocks = acknowledge(life.clocks, at=t("MO 10:40"), until=t("MO 10:50"), by=KIM)
    life.clocks = acknowledge(life.clocks, at=t("MO 10:50"), until=t("MO 10:55"), by=LEE)
    [clock] = life.clocks
    assert clock.acknowledged is not None
    assert (clock.acknowledged.by, clock.acknowledged.until) == (LEE, t("MO 10:55"))


def test_a_clock_that_began_after_an_acknowledgement_is_held_by_the_next_one_alone() -> None:
    nrt = Metric.NEXT_REPLY
    life = (
        Life(promise(FIX, nrt, within=2 * H, steps=[step("boss", nrt, 0 * H, tier=2)]))
        .opens("MO 09:00", team_id=TEAM_A)
        .then("MO 09:10", Category.OPEN, reply=True)
    )
    life.clocks = acknowledge(life.clocks, at=t("MO 09:20"), until=t("MO 14:20"), by=KIM)
    life.then("MO 09:30", customer=True)
    assert life.clock(nrt).acknowledged is None
    life.clocks = acknowledge(life.clocks, at=t("MO 11:20"), until=t("MO 11:50"), by=LEE)
    assert acknowledged_until(life.clocks) == t("MO 14:20")
    assert told(life.fires("MO 12:00"))[1:] == [("breach", t("MO 11:30")), ("boss", t("MO 11:50"))]


Words = st.lists(
    st.tuples(st.integers(0, 90), st.integers(1, 240)), min_size=1, max_size=6
)  # minutes after the one before, and for how many


@pytest.mark.slow
@settings(max_examples=150, deadline=None, database=None)
@given(Words)
def test_no_acknowledgement_ever_brings_a_step_forward(words: list[tuple[int, int]]) -> None:
    """Until the latest end of what was said and is not over, higher tiers wait."""
    life, now = ladder(), t("MO 10:30")
    happened: list[tuple[str, datetime]] = []
    spans: list[tuple[datetime, datetime]] = []
    for gap, length in words:
        now += gap * M
        life.clocks, dues = fire(life.clocks, life.terms, now=now)
        happened += told(dues)
        before = next_moment(life.clocks, life.terms)
        life.clocks = acknowledge(life.clocks, at=now, until=now + length * M, by=KIM)
        spans.append((now, now + length * M))
        after = next_moment(life.clocks, life.terms)
        assert before is None or (after is not None and after >= before)
    _, dues = fire(life.clocks, life.terms, now=now + 30 * H)
    happened += told(dues)
    assert [name for name, _ in happened] == ["boss", "chief"]
    for name, meant in (("boss", t("MO 11:00")), ("chief", t("MO 13:00"))):
        true = meant
        for since, until in spans:  # in the order they were said
            if since < true < until:
                true = until
        assert dict(happened)[name] == true


# --- quiet hours --------------------------------------------------------------------------------


def walked(when: datetime, quiet: tuple[str, str], zone: str) -> datetime:
    """The first minute from then on at which a clock on the wall shows a time that is not quiet."""
    start, end = quiet
    at = when
    while True:
        shown = at.astimezone(ZoneInfo(zone)).strftime("%H:%M")
        inside = start <= shown < end if start < end else shown >= start or shown < end
        if not inside:
            return at
        at += timedelta(minutes=1) - timedelta(seconds=at.second, microseconds=at.microsecond)


CLOCKS_CHANGE = [
    ("Europe/Berlin", "2026-03-29T00:30"),  # 02:00 is 03:00
    ("Europe/Berlin", "2026-10-25T00:30"),  # 03:00 is 02:00
    ("America/New_York", "2026-03-08T00:10"),
    ("America/New_York", "2026-11-01T00:10"),
    ("Australia/Lord_Howe", "2026-04-05T00:10"),  # by half an hour
    ("Australia/Lord_Howe", "2026-10-04T00:10"),
    ("America/Santiago", "2026-09-05T22:30"),  # midnight is left out
    ("America/Santiago", "2026-04-04T22:30"),
    ("UTC", "2026-05-04T00:10"),
]
HOURS = [("22:00", "07:00"), ("22:00", "02:30"), ("02:30", "06:00"), ("02:15", "02:45"),
         ("00:00", "08:00"), ("23:30", "23:45"), ("08:00", "20:00"), ("03:00", "02:00"),
         ("18:00", "24:00"), ("00:00", "23:59")]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("zone", "around"), CLOCKS_CHANGE)
@pytest.mark.parametrize("quiet", HOURS)
def test_quiet_hours_end_as_clocks_on_the_wall_show_it(
    zone: str, around: str, quiet: tuple[str, str]
) -> None:
    hours = QuietHours(start=quiet[0], end=quiet[1])
    first = at(around, zone) - 30 * H
    for quarter in range(0, 60 * 4, 5):
        when = first + quarter * 15 * M + timedelta(seconds=quarter % 7)
        assert hours.after(when, zone) == walked(when, quiet, zone), when.astimezone(ZoneInfo(zone))


Tier = tuple[str, timedelta, dict[str, object]]


def night(*steps: Tier, quiet: tuple[str, str] = ("22:00", "07:00")) -> Life:
    """Due an hour after it was opened, in Berlin, whose nights are quiet."""
    held = {"start": quiet[0], "end": quiet[1]}
    made = [step(name, FIX, offset, quiet=held, **more) for name, offset, more in steps]
    return Life(promise(FIX, within=H, calendar=BERLIN, steps=made))


def opened(life: Life, when: datetime) -> Life:
    subject = Subject(category=Category.NEW, team_id=TEAM_A)
    fact = Fact(at=when, category=Category.NEW, created_by="customer", customer_message=True,
                subject=subject)  # fmt: skip
    life.subject, life.clocks = subject, observe((), fact, life.terms)
    return life


TIERS: tuple[Tier, ...] = (
    ("note", 10 * M, {"action": AddTag(tag="late")}),
    ("lead", 60 * M, {"tier": 2}),
    ("boss", 120 * M, {"tier": 3}),
    ("chief", 180 * M, {"tier": 4}),
)


@pytest.mark.parametrize("evening", ["2026-03-28T21:30", "2026-10-24T21:30", "2026-05-04T21:30"])
def test_tiers_that_pile_up_in_one_quiet_night_come_once_each_in_their_order(evening: str) -> None:
    life = opened(night(*reversed(TIERS)), at(evening))
    morning = at(evening[:8] + f"{int(evening[8:10]) + 1:02}T07:00")
    foretold = told(upcoming(life.clocks, life.terms))
    clocks, once = fire(life.clocks, life.terms, now=morning + 9 * H, subject=life.subject)
    assert told(once) == foretold == [
        ("breach", at(evening) + H),
        *((name, morning) for name in ("note", "lead", "boss", "chief")),
    ]  # fmt: skip
    assert fire(clocks, life.terms, now=morning + 99 * H)[1] == ()
    # Told minute by minute it is the same, and nothing comes while it is quiet.
    bit: list[tuple[str, datetime]] = []
    now = at(evening)
    while now <= morning + H:
        now += 17 * M
        life.clocks, dues = fire(life.clocks, life.terms, now=now, subject=life.subject)
        bit += told(dues)
    assert bit == foretold


def test_steps_in_clock_time_and_in_wall_time_part_where_clocks_change() -> None:
    """Open from 1:00 to 9:00 by the clock in Berlin: one of these nights has an hour less."""
    nights = Calendar.model_validate(
        {"timezone": "Europe/Berlin", "weekly": {d: [("01:00", "09:00")] for d in ("sat", "sun")}}
    )
    steps = [step("open", FIX, 3 * H), step("wall", FIX, 3 * H, time="wall")]
    for day, open_at in (("2026-03-29", "06:00"), ("2026-10-25", "04:00"), ("2026-06-07", "05:00")):
        life = Life(promise(FIX, within=H, calendar=nights, steps=steps))
        opened(life, at(f"{day}T01:00"))
        due = at(f"{day}T01:00") + H
        found = dict(told(upcoming(life.clocks, life.terms)))
        assert found == {"breach": due, "open": due + 3 * H, "wall": due + 3 * H}
        assert found["open"] == at(f"{day}T{open_at}")
    # A window that closes in between: open time waits for the next night, the wall does not.
    life = Life(promise(FIX, within=6 * H, calendar=nights, steps=steps))
    opened(life, at("2026-03-28T01:00"))
    found = dict(told(upcoming(life.clocks, life.terms)))
    assert (found["wall"], found["open"]) == (at("2026-03-28T10:00"), at("2026-03-29T02:00"))


def test_quiet_by_pauses_by_acknowledgement_a_step_comes_when_none_of_them_holds_it() -> None:
    """Twelve quiet nights, and on each of these days the ticket is pending: none is too many."""
    life = opened(night(("boss", 30 * M, {"tier": 2})), at("2026-05-04T21:00"))
    [clock] = life.clocks
    pauses = tuple(
        Interval(start=at(f"2026-05-{day:02}T06:30"), end=at(f"2026-05-{day:02}T22:30"))
        for day in range(5, 17)
    )
    waits = clock.model_copy(update={"pauses": pauses})
    held = acknowledge((waits,), at=at("2026-05-04T21:10"), until=at("2026-05-07T03:00"), by=KIM)
    [_, boss] = told(upcoming(held, life.terms))
    assert boss == ("boss", at("2026-05-17T07:00"))
    [_, alone] = told(upcoming((waits,), life.terms))
    assert alone == ("boss", at("2026-05-17T07:00"))


Piles = st.lists(
    st.tuples(st.integers(-50, 2000), st.integers(1, 4), st.booleans()), min_size=1, max_size=6
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, database=None)
@given(
    Piles,
    st.sampled_from(CLOCKS_CHANGE[:4]),
    st.sampled_from(HOURS[:5]),
    st.lists(st.integers(1, 700), max_size=8),
    st.integers(0, 1440),
)
def test_whatever_is_quiet_no_step_is_lost_doubled_early_or_out_of_order(
    pile: list[tuple[int, int, bool]],
    change: tuple[str, str],
    quiet: tuple[str, str],
    wakes: list[int],
    minute: int,
) -> None:
    zone, around = change
    calendar = Calendar.model_validate({**BERLIN.model_dump(), "timezone": zone})
    held = {"start": quiet[0], "end": quiet[1]}
    steps = [
        step(f"s{n}", FIX, minutes * M, tier=tier, time="wall" if wall else "business",
             quiet=held, action=AddTag(tag="x"))
        for n, (minutes, tier, wall) in enumerate(pile)
    ]  # fmt: skip
    begin = at(around, zone) - 24 * H + minute * M
    life = Life(promise(FIX, within=H, calendar=calendar, steps=steps))
    opened(life, begin)
    meant = {f"s{n}": begin + H + minutes * M for n, (minutes, _, _) in enumerate(pile)}
    wanted = {name: walked(when, quiet, zone) for name, when in meant.items()}
    clocks: tuple[Clock, ...] = life.clocks
    found: list[tuple[str, datetime]] = []
    now = begin
    for wake in (*wakes, 9000):
        now += wake * M
        clocks, dues = fire(clocks, life.terms, now=now, subject=life.subject)
        found += [one for one in told(dues) if one[0] != "breach"]
    assert dict(found) == wanted
    assert len(found) == len(pile)
    assert [w for _, w in found] == sorted(wanted.values())
    for (one, first), (other, second) in pairwise(found):
        assert first < second or meant[one] <= meant[other]
