"""Holiday lists: of countries and regions, and from files that other programs wrote."""

import importlib.util
from datetime import date

import pytest

from adapters import holidays
from domain.calendars import Calendar
from domain.errors import Invalid

known = pytest.mark.skipif(
    importlib.util.find_spec("holidays") is None, reason="the list of public holidays is missing"
)
YEAR = (date(2025, 1, 1), date(2025, 12, 31))


def ics(*entries: str) -> str:
    body = "".join(f"BEGIN:VEVENT\r\n{entry}\r\nEND:VEVENT\r\n" for entry in entries)
    return f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{body}END:VCALENDAR\r\n"


def days(text: str, first: date = YEAR[0], last: date = YEAR[1]) -> dict[str, str]:
    found = holidays.of_ics(text, name="File", first=first, last=last)
    return {day.isoformat(): name for day, name in found.days.items()}


# --- countries ----------------------------------------------------------------------------------


@pytest.mark.slow
@known
def test_a_region_has_holidays_that_its_country_has_not() -> None:
    germany = holidays.of_country("de", years=[2025], language="de")
    bavaria = holidays.of_country("DE", region="BY", years=[2025], language="de")
    assert date(2025, 12, 25) in germany.days
    extra = set(bavaria.days) - set(germany.days)
    assert date(2025, 6, 19) in extra  # Corpus Christi
    assert (bavaria.name, len(bavaria.source) > 0) == ("DE-BY", True)


@known
def test_a_single_holiday_can_be_left_out_when_a_calendar_uses_the_list() -> None:
    listed = holidays.of_country(
        "DE", region="BY", years=range(2025, 2028), excluded=[date(2025, 6, 19)]
    )
    calendar = Calendar.model_validate({"timezone": "Europe/Berlin", "lists": [listed]})
    assert date(2025, 6, 19) not in calendar.closed
    assert date(2026, 6, 4) in calendar.closed
    assert {day.year for day in listed.days} == {2025, 2026, 2027}


@known
@pytest.mark.parametrize(
    ("country", "region", "field"), [("XX", None, "/country"), ("DE", "XX", "/region")]
)
def test_an_unknown_country_or_region_is_refused(
    country: str, region: str | None, field: str
) -> None:
    with pytest.raises(Invalid) as refused:
        holidays.of_country(country, region=region, years=[2025])
    assert field in refused.value.fields


@known
def test_a_language_without_names_is_refused_and_the_others_are_told() -> None:
    with pytest.raises(Invalid, match="en_US") as refused:
        holidays.of_country("DE", years=[2025], language="xx")
    assert "/language" in refused.value.fields
    english = holidays.of_country("DE", years=[2025], language="en_US")
    assert english.days[date(2025, 1, 1)] == "New Year's Day"


@known
@pytest.mark.parametrize("years", [[], range(2000, 2040)])
def test_years_are_some_and_not_too_many(years: list[int]) -> None:
    with pytest.raises(Invalid):
        holidays.of_country("DE", years=years)


@known
def test_countries_are_told_with_their_regions() -> None:
    assert "BY" in holidays.countries()["DE"]


# --- files --------------------------------------------------------------------------------------


def test_whole_days_are_holidays_with_their_names() -> None:
    text = ics(
        "DTSTART;VALUE=DATE:20250609\r\nDTEND;VALUE=DATE:20250610\r\nSUMMARY:Whit Monday",
        "DTSTART;VALUE=DATE:20251224\r\nDTEND;VALUE=DATE:20251227\r\nSUMMARY:Christmas\\, closed",
        "DTSTART;VALUE=DATE:20250815\r\nSUMMARY:One day\r\n without an end",
    )
    assert days(text) == {
        "2025-06-09": "Whit Monday",
        "2025-08-15": "One daywithout an end",
        "2025-12-24": "Christmas, closed",
        "2025-12-25": "Christmas, closed",
        "2025-12-26": "Christmas, closed",
    }


def test_an_entry_with_times_closes_the_dates_it_lies_on() -> None:
    text = ics(
        "DTSTART;TZID=Europe/Berlin:20250609T090000\r\nDTEND;TZID=Europe/Berlin:20250609T170000",
        "DTSTART:20250702T000000\r\nDURATION:P2D",
    )
    assert set(days(text)) == {"2025-06-09", "2025-07-02", "2025-07-03"}


def test_an_entry_repeats_every_year_until_it_ends() -> None:
    text = ics(
        "DTSTART;VALUE=DATE:20200501\r\nRRULE:FREQ=YEARLY\r\nSUMMARY:May Day",
        "DTSTART;VALUE=DATE:20240229\r\nRRULE:FREQ=YEARLY\r\nSUMMARY:Leap",
        "DTSTART;VALUE=DATE:20230101\r\nRRULE:FREQ=YEARLY;COUNT=3\r\nSUMMARY:Thrice",
        "DTSTART;VALUE=DATE:20230301\r\nRRULE:FREQ=YEARLY;UNTIL=20240301\r\nSUMMARY:Twice",
        "DTSTART;VALUE=DATE:20240401\r\nRRULE:FREQ=YEARLY;INTERVAL=2\r\nSUMMARY:Second",
    )
    assert days(text, date(2025, 1, 1), date(2028, 12, 31)) == {
        "2025-01-01": "Thrice",
        "2025-05-01": "May Day",
        "2026-04-01": "Second",
        "2026-05-01": "May Day",
        "2027-05-01": "May Day",
        "2028-02-29": "Leap",
        "2028-04-01": "Second",
        "2028-05-01": "May Day",
    }


def test_dates_are_added_and_taken_out_one_by_one() -> None:
    text = ics(
        "DTSTART;VALUE=DATE:20250101\r\nRDATE;VALUE=DATE:20250201,20250301"
        "\r\nEXDATE;VALUE=DATE:20250201\r\nSUMMARY:X"
    )
    assert set(days(text)) == {"2025-01-01", "2025-03-01"}


def test_cancelled_entries_and_alarms_inside_entries_are_passed_over() -> None:
    text = ics(
        "DTSTART;VALUE=DATE:20250101\r\nSTATUS:CANCELLED",
        "DTSTART;VALUE=DATE:20250102\r\nBEGIN:VALARM\r\nDURATION:P9D\r\nEND:VALARM\r\nSUMMARY:Y",
    )
    assert days(text) == {"2025-01-02": "Y"}


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        ics("DTSTART:tomorrow"),
        ics("DTSTART;VALUE=DATE:20250230"),
        ics("DTSTART;VALUE=DATE:20250101\r\nDURATION:long"),
        ics("DTSTART;VALUE=DATE:20250101\r\nRRULE:FREQ=WEEKLY"),
        ics("DTSTART;VALUE=DATE:20250101\r\nRRULE:FREQ=YEARLY;BYDAY=1MO"),
        ics("DTSTART;VALUE=DATE:20250101\r\nRRULE:FREQ=YEARLY;INTERVAL=two"),
        ics("DTSTART;VALUE=DATE:20250101\r\nRRULE:FREQ=YEARLY;COUNT="),
        ics("DTSTART;VALUE=DATE:99991231"),
        ics("DTSTART;VALUE=DATE:20250101\r\nDTEND;VALUE=DATE:00010101"),
        ics("DTSTART;VALUE=DATE:00010101\r\nDTEND;VALUE=DATE:99991231\r\nRRULE:FREQ=YEARLY"),
        ics("DTSTART;VALUE=DATE:20250101\r\nDURATION:P99999999999W"),
        ics(f"DTSTART;VALUE=DATE:20250101\r\nDURATION:P{'9' * 5000}D"),
        "x" * (holidays.MOST_BYTES + 1),
    ],
)
def test_what_is_not_understood_is_refused_instead_of_opening_closed_days(text: str) -> None:
    with pytest.raises(Invalid):
        days(text)


def test_a_name_holds_nothing_that_cannot_be_stored() -> None:
    assert days(ics("DTSTART;VALUE=DATE:20250101\r\nSUMMARY:New\0 Year")) == {
        "2025-01-01": "New Year"
    }


def test_a_file_without_entries_closes_nothing() -> None:
    assert days(ics()) == {}
