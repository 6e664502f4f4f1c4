"""How pressing a ticket is: reasons that add up, within limits, and never against sense."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.scoring import Pressure, Score, scored
from domain.states import Category

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def of(**known: object) -> Score:
    return scored(Pressure.model_validate({"category": "open", **known}), now=NOW)


@pytest.mark.parametrize(
    ("known", "value", "names"),
    [
        ({}, 0, []),
        ({"priority": "urgent"}, 40, ["priority"]),
        ({"priority": "high", "priority_probability": 0.5}, 13, ["priority"]),
        ({"sentiment": "negative"}, 10, ["sentiment"]),
        ({"sentiment": "positive"}, 0, []),
        ({"topic": "outage"}, 10, ["topic"]),
        ({"tier": " Gold "}, 8, ["tier"]),
        ({"tier": "stone"}, 0, []),
        ({"breached": True, "due_at": NOW + HOUR}, 25, ["sla"]),
        ({"due_at": NOW - HOUR}, 25, ["sla"]),
        ({"due_at": NOW + HOUR}, 20, ["sla"]),
        ({"due_at": NOW + 3 * HOUR}, 12, ["sla"]),
        ({"due_at": NOW + 25 * HOUR}, 0, []),
        ({"waiting_since": NOW - 8 * HOUR}, 2, ["waiting"]),
        ({"waiting_since": NOW - 800 * HOUR}, 12, ["waiting"]),
        ({"unanswered": 1}, 0, []),
        ({"unanswered": 3}, 6, ["repeated_contacts"]),
        ({"other_tickets": 9}, 6, ["recent_tickets"]),
        ({"category": "pending", "priority": "high"}, 6, ["priority", "turn"]),
        ({"category": "resolved", "priority": "urgent", "breached": True}, 0, []),
    ],
)
def test_each_reason_has_its_points(known: dict[str, object], value: int, names: list[str]) -> None:
    found = of(**known)
    assert (found.value, [one.name for one in found.contributions]) == (value, names)


def test_reasons_say_what_they_are() -> None:
    found = of(
        priority="high", priority_probability=0.83, due_at=NOW + 40 * HOUR / 60, unanswered=2,
        other_tickets=1,
    )  # fmt: skip
    assert [one.because for one in found.contributions] == [
        "Priority high, 83% sure.",
        "A promise is due in 40 min.",
        "2 messages without an answer.",
        "1 other ticket of this customer in 30 days.",
    ]


PRESSURES = st.builds(
    Pressure,
    category=st.sampled_from(Category),
    priority=st.sampled_from([None, "low", "normal", "high", "urgent", "odd"]),
    priority_probability=st.floats(0, 1),
    sentiment=st.sampled_from([None, "negative", "neutral", "positive"]),
    sentiment_probability=st.floats(0, 1),
    topic=st.sampled_from([None, "outage", "billing"]),
    tier=st.sampled_from([None, "vip", "silver"]),
    breached=st.booleans(),
    due_at=st.none() | st.integers(-500, 500).map(lambda h: NOW + h * HOUR),
    waiting_since=st.none() | st.integers(-5, 500).map(lambda h: NOW - h * HOUR),
    unanswered=st.integers(0, 50),
    other_tickets=st.integers(0, 50),
)


@given(PRESSURES)
def test_the_score_is_the_sum_of_its_reasons_within_its_limits(ticket: Pressure) -> None:
    found = scored(ticket, now=NOW)
    total = sum(one.points for one in found.contributions)
    assert 0 <= found.value <= 100
    # Each reason is rounded to a tenth, and there are nine at most.
    assert abs(found.value - min(100, max(0, total))) <= 1
    assert all(one.points and one.because for one in found.contributions)


@given(PRESSURES, st.integers(0, 400))
def test_time_alone_never_makes_a_ticket_less_pressing(ticket: Pressure, hours: int) -> None:
    assert scored(ticket, now=NOW + hours * HOUR).value >= scored(ticket, now=NOW).value
