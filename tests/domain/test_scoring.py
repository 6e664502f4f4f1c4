"""How pressing a ticket is: reasons that add up, within limits, and never against sense."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.frustration import frustration_of
from domain.scoring import (
    MOST_BY_TIME,
    Pressure,
    Score,
    by_time,
    pressure,
    pressure_of,
    scored,
    shown,
)
from domain.states import Category, Tier

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
        ({"frustration": 0.5}, 6, ["frustration"]),
        ({"frustration": 1, "sentiment": "negative"}, 22, ["sentiment", "frustration"]),
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


def test_every_tier_counts_but_the_one_of_everybody() -> None:
    assert [tier for tier in Tier if not of(tier=tier).value] == [Tier.STANDARD]


def test_reasons_say_what_they_are() -> None:
    found = of(
        priority="high", priority_probability=0.83, due_at=NOW + 40 * HOUR / 60, unanswered=2,
        other_tickets=1,
    )  # fmt: skip
    assert [one.because for one in found.contributions] == [
        "Priority high, 83% sure.",
        "A promise is due in 40 min.",
        "2 messages without an answer.",
        "1 other ticket of this customer in the 30 days before.",
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
    assert abs(found.value - min(100, max(0, total))) <= 0.5
    assert all(one.points and one.because for one in found.contributions)


@given(PRESSURES, st.integers(0, 400))
def test_time_alone_never_makes_a_ticket_less_pressing(ticket: Pressure, hours: int) -> None:
    assert scored(ticket, now=NOW + hours * HOUR).value >= scored(ticket, now=NOW).value


ROWS = st.fixed_dictionaries(
    {
        "category": st.sampled_from(Category),
        "priority": st.sampled_from([None, "low", "normal", "high", "urgent"]),
        "sentiment": st.sampled_from([None, "negative", "neutral", "positive"]),
        "topic": st.sampled_from([None, "outage", "billing"]),
        "tier": st.sampled_from([None, " Gold ", "vip", "stone"]),
        "unanswered": st.integers(0, 9),
        "earlier": st.integers(0, 9),
        "breached_at": st.none() | st.just(NOW),
        "next_due_at": st.none() | st.integers(-50, 50).map(lambda h: NOW + h * HOUR / 2),
        "waiting_since": st.none() | st.integers(-5, 99).map(lambda h: NOW - h * HOUR),
        "decided": st.sampled_from([(), ("priority",), ("sentiment",)]),
        "verdict": st.none()
        | st.fixed_dictionaries(
            {
                name: st.fixed_dictionaries(
                    {
                        "label": st.sampled_from(labels),
                        "probability": st.floats(0, 1),
                        "abstained": st.booleans(),
                    }
                )
                for name, labels in (
                    ("priority", ("low", "high", "urgent")),
                    ("sentiment", ("negative", "positive")),
                )
            }
        ),
    }
)


@given(ROWS)
def test_what_the_row_keeps_and_what_the_clock_adds_are_the_score(row: dict[str, object]) -> None:
    whole = scored(pressure(row.__getitem__), now=NOW)
    kept = pressure_of(row.__getitem__)
    added = by_time(
        breached=row["breached_at"] is not None,
        due_at=row["next_due_at"],  # type: ignore[arg-type]
        waiting_since=row["waiting_since"],  # type: ignore[arg-type]
        now=NOW,
    )
    assert 0 <= added <= MOST_BY_TIME
    if Category(str(row["category"])).is_active:
        assert whole.value == shown(kept + added)


def test_what_a_person_decided_counts_whole_and_what_a_model_read_as_far_as_it_is_sure() -> None:
    row: dict[str, object] = {
        "category": "open", "priority": "high", "sentiment": None, "topic": None, "tier": None,
        "unanswered": 1, "earlier": 0, "decided": (),
        "verdict": {
            "priority": {"label": "high", "probability": 0.5, "abstained": False},
            "sentiment": {"label": "negative", "probability": 0.8, "abstained": False},
        },
    }  # fmt: skip
    assert pressure_of(row.__getitem__) == 130 + 80
    assert pressure_of((row | {"decided": ("priority",)}).__getitem__) == 260 + 80


def test_frustration_counts_from_where_it_has_a_name_and_quotes_what_was_said() -> None:
    read = frustration_of("Third time I ask. Unacceptable, my lawyer will write!!").model_dump()
    row = {"category": "open", "unanswered": 0, "earlier": 0, "verdict": {"frustration": read}}
    [reason] = scored(pressure(row.get), now=NOW).contributions
    assert reason.name == "frustration"
    assert reason.points == pytest.approx(12 * read["value"], abs=0.05)
    assert pressure_of(row.get) == round(10 * reason.points)
    assert "“my lawyer”" in reason.because
    calm = frustration_of("Third time lucky, I suppose?").model_dump()
    row["verdict"] = {"frustration": {**calm, "level": "none"}}
    assert pressure_of(row.get) == 0
