"""When a month of statements begins and ends, and which are due."""

from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from domain.statements import MOST_MONTHS, PATIENCE, StatementPlan, months_due, span_of


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("month", "zone", "since", "until"),
    [
        ("2026-05", "UTC", "2026-05-01T00:00", "2026-06-01T00:00"),
        ("2026-05", "Europe/Berlin", "2026-04-30T22:00", "2026-05-31T22:00"),
        # Clocks are put forward in between, and back.
        ("2026-03", "Europe/Berlin", "2026-02-28T23:00", "2026-03-31T22:00"),
        ("2026-10", "Europe/Berlin", "2026-09-30T22:00", "2026-10-31T23:00"),
        ("2026-12", "Asia/Kolkata", "2026-11-30T18:30", "2026-12-31T18:30"),
    ],
)
def test_a_month_lasts_from_midnight_to_midnight_of_its_zone(
    month: str, zone: str, since: str, until: str
) -> None:
    assert span_of(date.fromisoformat(f"{month}-01"), zone) == (at(since), at(until))


def plan(first: str, zone: str = "Europe/Berlin") -> StatementPlan:
    return StatementPlan(zone=zone, first_month=first)


def test_a_month_is_due_once_it_is_over_there_and_its_timers_have_come() -> None:
    ends = at("2026-05-31T22:00")
    may = [date(2026, 5, 1)]
    assert months_due(plan("2026-05"), (), now=ends + PATIENCE - timedelta(seconds=1)) == []
    assert months_due(plan("2026-05"), (), now=ends + PATIENCE) == may
    assert months_due(plan("2026-05"), may, now=ends + PATIENCE) == []
    assert months_due(plan("2026-06"), (), now=ends + PATIENCE) == []


def test_what_was_missed_comes_in_its_order_and_nothing_from_before_the_first() -> None:
    made = [date(2026, 2, 1)]
    due = months_due(plan("2026-01"), made, now=at("2026-05-15T00:00"))
    assert [month.month for month in due] == [1, 3, 4]
    assert len(months_due(plan("2001-01"), (), now=at("2026-05-15T00:00"))) == MOST_MONTHS


@pytest.mark.parametrize(
    "said",
    [
        {"zone": "Mars/Olympus", "first_month": "2026-05"},
        {"zone": "UTC", "first_month": "2026-13"},
        {"zone": "UTC", "first_month": "May"},
        {"zone": "UTC"},
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(said: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        StatementPlan.model_validate(said)
