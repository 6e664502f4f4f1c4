"""Business days, closing times, holiday lists, and the preview of a year."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.calendars import (
    Calendar,
    HolidayList,
    NeverOpen,
    Reason,
    Weekday,
    business_days,
    close_of_business_day,
    closing,
    due_at,
    elapsed,
    preview,
)
from tests.domain.lives import ALWAYS, OFFICE, H, t

NIGHTS = Calendar.model_validate(
    {
        "timezone": "Europe/Berlin",
        "weekly": {day: [("22:00", "06:00")] for day in list(Weekday)[:5]},
    }
)


@pytest.mark.parametrize(
    ("start", "count", "close"),
    [
        ("MO 09:00", 1, "MO 17:00"),
        ("MO 09:01", 1, "TU 17:00"),
        ("FR 12:00", 1, "MO+ 17:00"),
        ("SA 12:00", 5, "FR+ 17:00"),
    ],
)
def test_business_days_count_whole_days_from_the_start_on(
    start: str, count: int, close: str
) -> None:
    assert close_of_business_day(t(start), count, OFFICE) == t(close)


def test_a_night_shift_is_the_business_day_it_begins_on() -> None:
    assert close_of_business_day(t("MO 23:00"), 1, NIGHTS) == t("WE 06:00")
    assert close_of_business_day(t("MO 21:00"), 1, NIGHTS) == t("TU 06:00")


def test_a_holiday_is_no_business_day_and_a_short_day_is_one() -> None:
    special = OFFICE.model_copy(
        update={
            "holidays": frozenset({date(2025, 6, 3)}),
            "overrides": {date(2025, 6, 4): (("10:00", "11:00"),)},
        }
    )
    assert close_of_business_day(t("MO 12:00"), 1, special) == t("WE 11:00")
    assert business_days(t("MO 12:00"), 1, special) == 6 * H


def test_business_days_that_never_come_are_refused() -> None:
    once = Calendar.model_validate(
        {"timezone": "UTC", "overrides": {"2025-06-10": [("09:00", "10:00")]}}
    )
    assert close_of_business_day(t("MO 09:00"), 1, once) == datetime(2025, 6, 10, 10, tzinfo=UTC)
    with pytest.raises(NeverOpen):
        close_of_business_day(t("MO 09:00"), 2, once)
    with pytest.raises(ValueError, match="counted from one"):
        close_of_business_day(t("MO 09:00"), 0, once)


@settings(max_examples=60, deadline=None, database=None)
@given(st.integers(0, 30_000), st.integers(1, 12))
def test_business_days_are_worth_their_open_time_and_more_days_are_never_sooner(
    minute: int, count: int
) -> None:
    for calendar in (OFFICE, NIGHTS):
        start = t("MO 00:00") + timedelta(minutes=minute)
        close = close_of_business_day(start, count, calendar)
        assert due_at(start, business_days(start, count, calendar), calendar) == close
        assert close < close_of_business_day(start, count + 1, calendar)
        assert business_days(start, count, calendar) >= count * 8 * H
        assert elapsed(start, close, calendar) == business_days(start, count, calendar)


def test_open_time_ends_at_closing_or_never() -> None:
    assert closing(t("MO 09:00"), OFFICE) == t("MO 17:00")
    assert closing(t("MO 17:00"), OFFICE) is None
    assert closing(t("TU 03:00"), NIGHTS) == t("TU 06:00")
    assert closing(t("MO 09:00"), ALWAYS) is None


def test_windows_may_be_exact_to_the_second() -> None:
    exact = Calendar.model_validate(
        {"timezone": "UTC", "weekly": {"mon": [("09:00:30", "17:00:15")]}}
    )
    monday = datetime(2025, 6, 2, tzinfo=UTC)
    whole = elapsed(monday, monday + timedelta(days=1), exact)
    assert whole == timedelta(hours=8, seconds=-15)


# --- holiday lists ------------------------------------------------------------------------------

BAVARIA = HolidayList(
    name="DE-BY",
    source="holidays of Bavaria",
    days={
        date(2025, 6, 9): "Whit Monday",
        date(2025, 6, 19): "Corpus Christi",
        date(2025, 11, 11): "St. Martin",
        date(2026, 11, 11): "St. Martin",
    },
)


def test_a_holiday_list_closes_its_dates() -> None:
    with_list = OFFICE.model_copy(update={"lists": (BAVARIA,)})
    assert elapsed(t("MO+ 00:00"), t("TU+ 00:00"), with_list) == 0 * H
    assert with_list != OFFICE
    assert Calendar.model_validate_json(with_list.model_dump_json()) == with_list


def test_one_holiday_is_excluded_by_its_date_and_one_of_every_year_by_its_name() -> None:
    chosen = BAVARIA.model_copy(
        update={
            "excluded": frozenset({date(2025, 6, 9)}),
            "excluded_names": frozenset({"St. Martin"}),
        }
    )
    with_list = OFFICE.model_copy(update={"lists": (chosen,)})
    assert list(with_list.closed) == [date(2025, 6, 19)]
    assert elapsed(t("MO+ 00:00"), t("TU+ 00:00"), with_list) == 8 * H


def test_a_calendar_without_lists_is_stored_as_it_always_was() -> None:
    assert set(OFFICE.model_dump(mode="json")) == {"timezone", "weekly", "holidays", "overrides"}


def test_a_list_without_a_name_is_refused() -> None:
    with pytest.raises(ValidationError):
        HolidayList(name="")


# --- preview ------------------------------------------------------------------------------------


def test_a_preview_shows_each_date_with_its_windows_and_why_it_is_closed() -> None:
    special = OFFICE.model_copy(
        update={
            "lists": (BAVARIA,),
            "holidays": frozenset({date(2025, 6, 10)}),
            "overrides": {
                date(2025, 6, 11): (),
                date(2025, 6, 12): (("10:00", "12:00"), ("13:00", "14:00")),
            },
        }
    )
    days = preview(special, date(2025, 6, 6), days=7)
    assert [(day.open, day.reason, day.why_closed) for day in days] == [
        (8 * H, Reason.WEEKDAY, None),
        (0 * H, Reason.WEEKDAY, "Closed on this weekday."),
        (0 * H, Reason.WEEKDAY, "Closed on this weekday."),
        (0 * H, Reason.HOLIDAY, "Holiday: Whit Monday."),
        (0 * H, Reason.HOLIDAY, "Holiday."),
        (0 * H, Reason.OVERRIDE, "Closed on this date."),
        (3 * H, Reason.OVERRIDE, None),
    ]
    assert days[0].windows == ((t("FR 09:00"), t("FR 17:00")),)


def test_a_year_ahead_adds_up_to_what_is_open_in_it() -> None:
    year = preview(NIGHTS, date(2025, 6, 2), days=366)
    first, last = t("MO 12:00"), t("MO 12:00") + timedelta(days=366)
    assert sum((day.open for day in year), timedelta()) == elapsed(first, last, NIGHTS)
    # Clocks change in Berlin on a Sunday morning, when no shift of these nights is on.
    assert {day.open for day in year} == {0 * H, 8 * H}


def test_the_night_on_which_clocks_change_is_as_long_as_it_is() -> None:
    every = Calendar.model_validate(
        {"timezone": "Europe/Berlin", "weekly": {day: [("22:00", "06:00")] for day in Weekday}}
    )
    assert preview(every, date(2025, 10, 25), days=1)[0].open == 9 * H
    assert preview(every, date(2026, 3, 28), days=1)[0].open == 7 * H
