"""Whose turn it is to learn: by each desk's own days, hour and clock."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.retraining import RetrainingPlan, is_due, next_turn

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
BERLIN = RetrainingPlan(hour=3, zone="Europe/Berlin")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_the_hour_is_that_of_the_desks_own_clock() -> None:
    looked = at("2026-05-04T01:00")  # three in Berlin, in summer
    assert not is_due(BERLIN, looked_at=looked, now=at("2026-05-05T00:59"))
    assert is_due(BERLIN, looked_at=looked, now=at("2026-05-05T01:00"))
    assert next_turn(BERLIN, looked_at=looked, now=NOON) == at("2026-05-05T01:00")
    winter = at("2026-12-04T12:00")
    assert next_turn(BERLIN, looked_at=winter, now=winter) == at("2026-12-05T02:00")


def test_an_outage_costs_no_turn_and_makes_none_twice() -> None:
    looked, now = at("2026-05-01T01:00"), at("2026-05-04T17:20")
    assert is_due(BERLIN, looked_at=looked, now=now)
    assert next_turn(BERLIN, looked_at=looked, now=now) == now
    assert not is_due(BERLIN, looked_at=now, now=now + timedelta(minutes=15))


def test_who_wants_none_has_no_next_turn() -> None:
    plan = RetrainingPlan(enabled=False)
    long_ago = NOON - timedelta(days=900)
    assert not is_due(plan, looked_at=long_ago, now=NOON)
    assert next_turn(plan, looked_at=long_ago, now=NOON) is None


PLANS = st.builds(
    RetrainingPlan, every_days=st.integers(1, 90), hour=st.integers(0, 23),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns",
                          "Pacific/Apia", "Pacific/Chatham"]),
)  # fmt: skip


@given(PLANS, st.integers(0, 60 * 24 * 700))
def test_the_next_turn_is_when_it_is_due_next_and_not_before(
    plan: RetrainingPlan, minutes: int
) -> None:
    now = NOON + timedelta(minutes=minutes)
    turn = next_turn(plan, looked_at=now, now=now)
    assert turn is not None
    assert now < turn <= now + timedelta(days=plan.every_days, hours=2)
    assert not is_due(plan, looked_at=now, now=turn - timedelta(seconds=1))
    assert is_due(plan, looked_at=now, now=turn)


@pytest.mark.parametrize(
    "wrong", [{"hour": 24}, {"every_days": 0}, {"zone": "Mars/Base"}, {"least_new": 0}]
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RetrainingPlan.model_validate(wrong)
