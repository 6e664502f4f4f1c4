"""Business time, against worked examples, a minute-by-minute recount, and its own laws."""

import copy
import json
import pickle
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TypedDict
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.calendars import (
    Calendar,
    Interval,
    NeverOpen,
    StillPaused,
    Weekday,
    due_at,
    elapsed,
    is_open,
    next_opening,
)
from domain.sla import Vector, solve

GOLDEN = Path(__file__).parents[3] / "shared" / "data" / "sla" / "golden.jsonl"

quick = settings(
    max_examples=60,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


def t(text: str) -> datetime:
    return datetime.fromisoformat(text)


def calendar(zone: str, **fields: object) -> Calendar:
    return Calendar.model_validate({"timezone": zone, **fields})


def every_day(*windows: tuple[str, str]) -> dict[str, list[tuple[str, str]]]:
    return {day: list(windows) for day in Weekday}


def weekdays(*windows: tuple[str, str]) -> dict[str, list[tuple[str, str]]]:
    return {day: list(windows) for day in list(Weekday)[:5]}


OFFICE = calendar("Europe/Berlin", weekly=weekdays(("09:00", "17:00")))
ALWAYS = calendar("Europe/Berlin", weekly=every_day(("00:00", "24:00")))


# --- worked examples ----------------------------------------------------------------------------


def test_every_golden_vector_holds() -> None:
    if not GOLDEN.exists():
        pytest.skip(f"no worked examples at {GOLDEN}")
    vectors = [Vector.model_validate_json(line) for line in GOLDEN.read_text().splitlines() if line]
    assert vectors
    assert {v.id: solve(v) for v in vectors} == {v.id: v.due for v in vectors}


@pytest.mark.parametrize(
    ("why", "zone", "fields", "start", "minutes", "due"),
    [
        (
            "the hour the clocks skip is never open",
            "Europe/Berlin",
            {"weekly": {"sun": [("01:30", "03:30")]}},
            "2025-03-30T00:00Z",
            60,
            "2025-03-30T01:30Z",
        ),
        (
            "a window inside the skipped hour opens a week later",
            "Europe/Berlin",
            {"weekly": {"sun": [("02:15", "02:45")]}},
            "2025-03-29T12:00Z",
            30,
            "2025-04-06T00:45Z",
        ),
        (
            "a window inside the repeated hour is open twice",
            "Europe/Berlin",
            {"weekly": {"sun": [("02:15", "02:45")]}},
            "2025-10-25T12:00Z",
            60,
            "2025-10-26T01:45Z",
        ),
        (
            "between its two passes the window is closed",
            "Europe/Berlin",
            {"weekly": {"sun": [("02:15", "02:45")]}},
            "2025-10-26T00:45Z",
            1,
            "2025-10-26T01:16Z",
        ),
        (
            "a repeated half hour counts twice on Lord Howe",
            "Australia/Lord_Howe",
            {"weekly": {"sun": [("01:00", "03:00")]}},
            "2025-04-05T12:00Z",
            150,
            "2025-04-05T16:30Z",
        ),
        (
            "the day Apia left out has no time",
            "Pacific/Apia",
            {"weekly": weekdays(("09:00", "17:00"))},
            "2011-12-29T19:00Z",  # Thursday 09:00; Friday the 30th never was
            9 * 60,
            "2012-01-01T20:00Z",  # Monday 10:00 at +14
        ),
        (
            "a holiday takes its own night shift but not the one reaching into it",
            "Europe/Berlin",
            {"weekly": weekdays(("22:00", "06:00")), "holidays": ["2025-06-04"]},
            "2025-06-03T20:00Z",
            8 * 60 + 60,
            "2025-06-05T21:00Z",
        ),
        (
            "an override wins over a holiday on the same date",
            "Europe/Berlin",
            {
                "weekly": weekdays(("09:00", "17:00")),
                "holidays": ["2025-06-09"],
                "overrides": {"2025-06-09": [("12:00", "13:00")]},
            },
            "2025-06-09T06:00Z",
            60,
            "2025-06-09T11:00Z",
        ),
        (
            "an override opens a day that is otherwise closed",
            "Europe/Berlin",
            {
                "weekly": weekdays(("09:00", "17:00")),
                "overrides": {"2025-06-07": [("10:00", "11:00")]},
            },
            "2025-06-06T15:00Z",
            30,
            "2025-06-07T08:30Z",
        ),
        (
            "windows that overlap, also into the next day, count once",
            "UTC",
            {
                "weekly": {
                    "mon": [("20:00", "04:00"), ("18:00", "22:00")],
                    "tue": [("02:00", "05:00")],
                }
            },
            "2025-06-02T18:00Z",
            11 * 60,
            "2025-06-03T05:00Z",
        ),
        (
            "midnight to midnight is a whole day",
            "Asia/Kathmandu",
            {"weekly": {"mon": [("00:00", "00:00")]}},
            "2025-06-01T18:15Z",
            24 * 60,
            "2025-06-02T18:15Z",
        ),
        (
            "a zone's offset of that time counts, not today's",
            "Europe/Moscow",
            {"weekly": weekdays(("09:00", "17:00"))},
            "2012-06-04T05:00Z",  # Moscow was at +4 then
            60,
            "2012-06-04T06:00Z",
        ),
        (
            "a change of clocks that lasts a week counts",
            "Africa/Tunis",
            {"weekly": every_day(("09:00", "10:00"))},
            "1943-04-20T00:00Z",  # +1 from 17 to 25 April, +2 before and after
            60,
            "1943-04-20T09:00Z",
        ),
        (
            "Morocco moves its clocks for Ramadan",
            "Africa/Casablanca",
            {"weekly": every_day(("09:00", "10:00"))},
            "2025-03-10T00:00Z",
            60,
            "2025-03-10T10:00Z",
        ),
    ],
)
def test_a_worked_example_holds(
    why: str, zone: str, fields: dict[str, object], start: str, minutes: int, due: str
) -> None:
    assert due_at(t(start), timedelta(minutes=minutes), calendar(zone, **fields)) == t(due), why


def test_no_allowance_is_due_at_once_even_while_closed() -> None:
    saturday = t("2025-06-07T10:00Z")
    assert due_at(saturday, timedelta(), OFFICE) == saturday


def test_a_due_time_is_exact_to_the_microsecond_and_in_utc() -> None:
    start = datetime(2025, 6, 3, 11, 0, 0, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    due = due_at(start, timedelta(hours=6, microseconds=5), OFFICE)
    assert due == datetime(2025, 6, 4, 7, 0, 0, 6, tzinfo=UTC)
    assert due.tzinfo is UTC


def test_a_negative_allowance_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        due_at(t("2025-06-03T09:00Z"), timedelta(minutes=-1), OFFICE)


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        due_at(datetime(2025, 6, 3), timedelta(hours=1), OFFICE)  # noqa: DTZ001


# --- sparse calendars ---------------------------------------------------------------------------


def test_a_calendar_without_hours_is_never_open() -> None:
    empty = calendar("Europe/Berlin")
    with pytest.raises(NeverOpen):
        due_at(t("2025-06-03T09:00Z"), timedelta(minutes=1), empty)
    with pytest.raises(NeverOpen):
        next_opening(t("2025-06-03T09:00Z"), empty)
    assert elapsed(t("2020-01-01T00:00Z"), t("2030-01-01T00:00Z"), empty) == timedelta()


def test_dated_openings_are_found_however_far_ahead_and_end_with_the_last() -> None:
    sparse = calendar(
        "Pacific/Auckland",
        overrides={
            "2025-06-10": [],
            "2031-02-03": [("09:00", "10:00")],
            "2190-05-06": [("09:00", "10:00")],
        },
    )
    start = t("2025-06-03T09:00Z")
    assert due_at(start, timedelta(minutes=60), sparse) == t("2031-02-02T21:00Z")
    assert due_at(start, timedelta(minutes=61), sparse) == t("2190-05-05T21:01Z")
    assert next_opening(t("2031-02-02T21:00Z"), sparse) == t("2190-05-05T21:00Z")
    assert elapsed(start, t("2200-01-01T00:00Z"), sparse) == timedelta(hours=2)
    with pytest.raises(NeverOpen):
        due_at(start, timedelta(minutes=121), sparse)
    with pytest.raises(NeverOpen):
        next_opening(t("2190-05-05T22:00Z"), sparse)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "UTC", "Pacific/Pago_Pago"])
def test_a_single_dated_opening_is_found_on_whatever_date_it_falls(zone: str) -> None:
    for day in range(30):
        opened = date(2027, 3, 1) + timedelta(days=day)
        sparse = calendar(zone, overrides={opened.isoformat(): [("23:30", "00:30")]})
        midnight = datetime(opened.year, opened.month, opened.day, tzinfo=ZoneInfo(zone))
        due = due_at(t("2025-06-03T09:00Z"), timedelta(hours=1), sparse)
        assert due == midnight.astimezone(UTC) + timedelta(hours=24, minutes=30)


def test_night_shifts_add_up_over_any_number_of_nights() -> None:
    nights = calendar("UTC", weekly=every_day(("22:00", "06:00")))
    for day in range(60):
        noon = t("2025-06-03T12:00Z") + timedelta(days=day)
        assert elapsed(t("2025-06-03T12:00Z"), noon, nights) == timedelta(hours=8) * day
        assert is_open(noon + timedelta(hours=14), nights)


def test_a_long_closure_is_looked_past() -> None:
    closed_for_years = [
        (date(2025, 1, 1) + timedelta(days=day)).isoformat() for day in range(5 * 365 + 2)
    ]
    closed = calendar(
        "Europe/Berlin", weekly={"mon": [("09:00", "10:00")]}, holidays=closed_for_years
    )
    assert due_at(t("2025-01-01T00:00Z"), timedelta(hours=1), closed) == t("2030-01-07T09:00Z")


def test_an_allowance_beyond_all_time_is_refused_at_once() -> None:
    sparse = calendar("UTC", weekly={"mon": [("09:00", "09:01")]})
    with pytest.raises(NeverOpen):
        due_at(t("2025-06-03T09:00Z"), timedelta(days=3650), sparse)


# --- pauses -------------------------------------------------------------------------------------


def test_a_pause_that_lasts_leaves_no_due_time_unless_it_comes_too_late_to_matter() -> None:
    start = t("2025-06-02T08:00Z")
    lasting = Interval(start=t("2025-06-02T10:00Z"))
    assert due_at(start, timedelta(hours=2), OFFICE, [lasting]) == t("2025-06-02T10:00Z")
    with pytest.raises(StillPaused, match="2025-06-02T10:00"):
        due_at(start, timedelta(hours=2, minutes=1), OFFICE, [lasting])
    assert elapsed(start, t("2025-06-09T10:00Z"), OFFICE, [lasting]) == timedelta(hours=2)


def test_a_pause_from_before_the_start_counts_from_the_start() -> None:
    pause = Interval(start=t("2025-06-01T00:00Z"), end=t("2025-06-02T09:00Z"))
    assert due_at(t("2025-06-02T08:00Z"), timedelta(hours=1), OFFICE, [pause]) == t(
        "2025-06-02T10:00Z"
    )


def test_a_pause_cannot_end_before_it_starts() -> None:
    with pytest.raises(ValidationError, match="before the start"):
        Interval(start=t("2025-06-02T09:00Z"), end=t("2025-06-02T08:00Z"))


# --- open or not --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "expected", "opening"),
    [
        ("2025-06-06T07:00Z", True, "2025-06-06T07:00Z"),
        ("2025-06-06T14:59:59Z", True, "2025-06-06T14:59:59Z"),
        ("2025-06-06T15:00Z", False, "2025-06-09T07:00Z"),
        ("2025-06-06T06:59:59Z", False, "2025-06-06T07:00Z"),
    ],
)
def test_a_window_includes_its_start_and_not_its_end(at: str, expected: bool, opening: str) -> None:
    assert is_open(t(at), OFFICE) is expected
    assert next_opening(t(at), OFFICE) == t(opening)


# --- the value itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"timezone": "Mars/Olympus"}, "not an IANA time zone"),
        ({"timezone": "right/Europe/Berlin"}, "not an IANA time zone"),
        ({"timezone": "../../etc/passwd"}, "not an IANA time zone"),
        ({"timezone": "UTC", "weekly": {"montag": []}}, "'mon', 'tue'"),
        ({"timezone": "UTC", "weekly": {"mon": [("9:00", "17:00")]}}, "'9:00' is not a start"),
        ({"timezone": "UTC", "weekly": {"mon": [("24:00", "17:00")]}}, "'24:00' is not a start"),
        ({"timezone": "UTC", "weekly": {"mon": [("09:00", "25:00")]}}, "'25:00' is not an end"),
        ({"timezone": "UTC", "weekly": {"mon": [("09:00", "24:01")]}}, "'24:01' is not an end"),
        ({"timezone": "UTC", "overrides": {"2025-06-09": [("x", "17:00")]}}, "'x' is not a start"),
        ({"timezone": "UTC", "overrides": {"2025-02-30": []}}, "date"),
        ({"timezone": "UTC", "holiday": ["2025-06-09"]}, "Extra inputs"),
    ],
)
def test_a_wrong_calendar_is_refused_with_a_reason(
    fields: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Calendar.model_validate(fields)


def test_a_calendar_is_equal_by_value_hashable_and_survives_json_copies_and_pickling() -> None:
    first = calendar(
        "Asia/Kolkata",
        weekly=weekdays(("09:30", "18:30")),
        holidays=["2025-12-25", "2025-01-01", "2025-08-15"],
        overrides={"2025-10-20": [("09:30", "12:00")]},
    )
    is_open(t("2025-06-06T12:30Z"), first)
    for other in (
        Calendar.model_validate_json(first.model_dump_json()),
        copy.copy(first),
        copy.deepcopy(first),
        pickle.loads(pickle.dumps(first)),
    ):
        assert other == first
        assert hash(other) == hash(first)
    assert first != first.model_copy(update={"timezone": "UTC"})
    assert json.loads(first.model_dump_json())["holidays"] == [
        "2025-01-01",
        "2025-08-15",
        "2025-12-25",
    ]


def test_a_changed_copy_does_not_answer_with_the_hours_of_the_original() -> None:
    assert is_open(t("2025-06-06T07:00Z"), OFFICE)
    moved = OFFICE.model_copy(update={"timezone": "America/New_York"})
    assert not is_open(t("2025-06-06T07:00Z"), moved)


# --- a recount, minute by minute ----------------------------------------------------------------

# Each with an instant near which something odd happens to its clocks.
ODD_PLACES = [
    ("Australia/Lord_Howe", "2025-04-05T15:00Z"),
    ("Australia/Lord_Howe", "2025-10-04T15:30Z"),
    ("Asia/Kolkata", "2025-03-30T00:00Z"),
    ("America/St_Johns", "2011-03-13T03:31Z"),  # one minute past midnight
    ("America/St_Johns", "2010-11-07T02:31Z"),
    ("Africa/Casablanca", "2025-02-23T02:00Z"),
    ("Africa/Casablanca", "2025-04-06T02:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00Z"),
    ("Europe/Berlin", "2025-10-26T01:00Z"),
    ("America/Santiago", "2025-09-07T04:00Z"),  # midnight itself is skipped
    ("America/Boa_Vista", "2000-10-15T03:00Z"),  # summer time for one week
    ("Asia/Pyongyang", "2018-05-04T15:00Z"),
]
NEARBY = range(-3, 4)


Windows = list[tuple[str, str]]


class Raw(TypedDict):
    timezone: str
    weekly: dict[str, Windows]
    holidays: list[str]
    overrides: dict[str, Windows]


class Recount:
    """Whether a minute is open, asked of the wall clock; shares nothing with what it checks."""

    def __init__(self, raw: Raw) -> None:
        self.zone = ZoneInfo(raw["timezone"])
        self.raw = raw

    def windows(self, day: date) -> Windows:
        if day.isoformat() in self.raw["overrides"]:
            return self.raw["overrides"][day.isoformat()]
        if day.isoformat() in self.raw["holidays"]:
            return []
        name = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[day.weekday()]
        return self.raw["weekly"].get(name, [])

    def is_open(self, minute: datetime) -> bool:
        local = minute.astimezone(self.zone)
        for days_back in (0, 1):
            clock = local.hour * 60 + local.minute + days_back * 1440
            for start, end in self.windows(local.date() - timedelta(days=days_back)):
                opens = int(start[:2]) * 60 + int(start[3:])
                closes = int(end[:2]) * 60 + int(end[3:])
                if closes <= opens:
                    closes += 1440
                if opens <= clock < closes:
                    return True
        return False


@st.composite
def times(draw: st.DrawFn, *, end: bool = False) -> str:
    if draw(st.integers(0, 5)) == 0:
        return draw(st.sampled_from(["00:00", "24:00"])) if end else "00:00"
    return f"{draw(st.integers(0, 23)):02}:{draw(st.sampled_from([0, 1, 15, 30, 59])):02}"


def day_windows() -> st.SearchStrategy[Windows]:
    return st.lists(st.tuples(times(), times(end=True)), max_size=3)


@st.composite
def odd_cases(draw: st.DrawFn) -> tuple[Raw, datetime]:
    zone, moment = draw(st.sampled_from(ODD_PLACES))
    around = t(moment)
    dates = [(around.date() + timedelta(days=day)).isoformat() for day in NEARBY]
    raw: Raw = {
        "timezone": zone,
        "weekly": draw(st.dictionaries(st.sampled_from(sorted(Weekday)), day_windows())),
        "holidays": draw(st.lists(st.sampled_from(dates), max_size=2, unique=True)),
        "overrides": draw(st.dictionaries(st.sampled_from(dates), day_windows(), max_size=2)),
    }
    return raw, around + timedelta(minutes=draw(st.integers(-2500, 200)))


@pytest.mark.slow
@quick
@given(
    odd_cases(),
    st.integers(1, 1500),
    st.lists(st.tuples(st.integers(-100, 3000), st.integers(0, 900)), max_size=3),
)
def test_a_recount_minute_by_minute_agrees(
    case: tuple[Raw, datetime], target: int, spans: list[tuple[int, int]]
) -> None:
    raw, start = case
    subject, recount = Calendar.model_validate(raw), Recount(raw)
    pauses = [
        Interval(start=start + timedelta(minutes=a), end=start + timedelta(minutes=a + length))
        for a, length in spans
    ]
    counted = 0
    for minute in range(4 * 1440):
        now = start + timedelta(minutes=minute)
        opens = recount.is_open(now)
        if minute % 30 == 0:
            assert is_open(now, subject) is opens
            assert elapsed(start, now, subject, pauses) == timedelta(minutes=counted)
        if opens and not any(a <= minute < a + length for a, length in spans):
            counted += 1
            if counted == target:
                due = due_at(start, timedelta(minutes=target), subject, pauses)
                assert due == now + timedelta(minutes=1)
                break


# --- laws ---------------------------------------------------------------------------------------

micros = st.integers(0, 40 * 3600 * 10**6).map(lambda n: timedelta(microseconds=n))


@st.composite
def pause_lists(draw: st.DrawFn, start: datetime) -> list[Interval]:
    spans = draw(st.lists(st.tuples(st.integers(-600, 9000), st.integers(0, 3000)), max_size=4))
    return [
        Interval(start=start + timedelta(minutes=a), end=start + timedelta(minutes=a + length))
        for a, length in spans
    ]


lawful = odd_cases().filter(lambda case: any(case[0]["weekly"].values()))


@quick
@given(lawful, micros, micros, st.data())
def test_due_and_elapsed_undo_each_other_and_add_up(
    case: tuple[Raw, datetime], a: timedelta, b: timedelta, data: st.DataObject
) -> None:
    subject, start = Calendar.model_validate(case[0]), case[1]
    pauses = data.draw(pause_lists(start))
    first, second = due_at(start, a, subject, pauses), due_at(start, a + b, subject, pauses)
    assert elapsed(start, first, subject, pauses) == a
    assert first <= second
    assert due_at(first, b, subject, pauses) == second
    assert elapsed(first, second, subject, pauses) == b
    between = first + (second - first) / 3
    assert elapsed(first, between, subject, pauses) + elapsed(
        between, second, subject, pauses
    ) == elapsed(first, second, subject, pauses)
    assert due_at(start, elapsed(start, between, subject, pauses), subject, pauses) <= between


@quick
@given(lawful, micros, st.data())
def test_a_later_start_or_another_pause_is_never_due_earlier(
    case: tuple[Raw, datetime], allowance: timedelta, data: st.DataObject
) -> None:
    subject, start = Calendar.model_validate(case[0]), case[1]
    pauses = data.draw(pause_lists(start))
    due = due_at(start, allowance, subject, pauses)
    later = start + timedelta(minutes=data.draw(st.integers(0, 3000)))
    assert due_at(later, allowance, subject, pauses) >= min(due, later)
    assert due_at(later, allowance, subject, pauses) >= due or allowance == timedelta()
    if pauses:
        assert due_at(start, allowance, subject, pauses[1:]) <= due


@pytest.mark.slow
@quick
@given(lawful, micros, st.data())
def test_pauses_count_as_their_union_in_any_order(
    case: tuple[Raw, datetime], allowance: timedelta, data: st.DataObject
) -> None:
    subject, start = Calendar.model_validate(case[0]), case[1]
    pauses = data.draw(pause_lists(start))
    due = due_at(start, allowance, subject, pauses)
    split = []
    for pause in pauses:
        assert pause.end is not None
        middle = pause.start + (pause.end - pause.start) / 2
        split += [
            Interval(start=pause.start, end=middle),
            Interval(start=middle, end=pause.end),
            pause,
        ]
    assert due_at(start, allowance, subject, data.draw(st.permutations(split))) == due


@quick
@given(lawful, micros, day_windows())
def test_an_exception_before_the_start_or_after_the_due_changes_nothing(
    case: tuple[Raw, datetime],
    allowance: timedelta,
    windows: Windows,
) -> None:
    raw, start = case
    due = due_at(start, allowance, Calendar.model_validate(raw))
    far = {
        (start.date() - timedelta(days=4)).isoformat(): windows,
        (due.date() + timedelta(days=3)).isoformat(): windows,
    }
    changed = Calendar.model_validate({**raw, "overrides": {**raw["overrides"], **far}})
    assert due_at(start, allowance, changed) == due
