"""Who is on call: turns by the local clock, layers, overrides, and days on which clocks change."""

import itertools
from datetime import UTC, date, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.rotas import Layer, Override, Rota, handover, on_call_at, schedule

ADA, BEN, CAT = UUID(int=1), UUID(int=2), UUID(int=3)
NAMES = {ADA: "ada", BEN: "ben", CAT: "cat"}
BERLIN = ZoneInfo("Europe/Berlin")
HOUR = timedelta(hours=1)


def layer(**more: object) -> Layer:
    said = {"user_ids": (ADA, BEN, CAT), "first": date(2026, 3, 2), "handover": "09:00"}
    return Layer.model_validate({**said, **more})


def rota(*layers: Layer, zone: str = "Europe/Berlin") -> Rota:
    return Rota(zone=zone, layers=layers or (layer(),))


def at(written: str) -> datetime:
    """A local time in Berlin."""
    return datetime.fromisoformat(written).replace(tzinfo=BERLIN).astimezone(UTC)


def who(one: Rota, written: str, *overrides: Override) -> str | None:
    duty = on_call_at(one, at(written), overrides)
    return None if duty is None else NAMES[duty.user_id]


@pytest.mark.parametrize(
    ("when", "name"),
    [
        ("2026-03-02 08:59", None), ("2026-03-02 09:00", "ada"), ("2026-03-09 08:59", "ada"),
        ("2026-03-09 09:00", "ben"), ("2026-03-23 09:00", "ada"), ("2027-03-01 09:00", "ben"),
    ],
)  # fmt: skip
def test_weeks_change_hands_at_the_handover(when: str, name: str | None) -> None:
    assert who(rota(), when) == name


def test_days_and_turns_of_any_length() -> None:
    daily, ten = rota(layer(turn_days=1)), rota(layer(turn_days=10))
    assert [who(daily, f"2026-03-0{day} 10:00") for day in (2, 3, 4, 5)] == [
        "ada", "ben", "cat", "ada",
    ]  # fmt: skip
    assert [who(ten, when) for when in ("2026-03-12 08:00", "2026-03-12 09:00")] == ["ada", "ben"]


def test_a_turn_is_an_hour_shorter_in_spring_and_longer_in_autumn() -> None:
    """Clocks change in Berlin on 29 March and on 25 October 2026."""
    daily = layer(turn_days=1)
    begins = [handover(daily, n, BERLIN) for n in range(300)]
    lengths = {b: after - b for b, after in itertools.pairwise(begins)}
    assert lengths[at("2026-03-28 09:00")] == 23 * HOUR
    assert lengths[at("2026-10-24 09:00")] == 25 * HOUR
    assert sorted(set(lengths.values())) == [23 * HOUR, 24 * HOUR, 25 * HOUR]
    one = rota(daily)
    for begin, after in itertools.pairwise(begins):
        first, last = on_call_at(one, begin), on_call_at(one, after - timedelta(microseconds=1))
        assert first == last != on_call_at(one, after)


def test_a_handover_in_a_skipped_or_repeated_hour_happens_once() -> None:
    night = layer(turn_days=1, handover="02:30")
    skipped = handover(night, (date(2026, 3, 29) - date(2026, 3, 2)).days, BERLIN)
    assert skipped == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)  # clocks show 3:30
    repeated = handover(night, (date(2026, 10, 25) - date(2026, 3, 2)).days, BERLIN)
    assert repeated == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # the first 2:30
    found = schedule(rota(night), repeated - 3 * HOUR, repeated + 3 * HOUR)
    assert [stretch.until for stretch in found] == [repeated, repeated + 3 * HOUR]


def test_the_first_layer_that_somebody_has_decides() -> None:
    nights = layer(user_ids=(CAT,), weekly={"mon": [["18:00", "08:00"]]})
    one = rota(nights, layer(user_ids=(ADA,)))
    assert who(one, "2026-03-09 17:59") == "ada"
    assert who(one, "2026-03-09 18:00") == "cat"
    assert who(one, "2026-03-10 07:59") == "cat"  # Monday's night
    assert who(one, "2026-03-10 18:00") == "ada"
    assert who(rota(nights), "2026-03-10 18:00") is None


def test_an_override_goes_before_every_layer_and_the_last_one_counts() -> None:
    swap = Override(CAT, at("2026-03-03 12:00"), at("2026-03-03 18:00"))
    other = Override(BEN, at("2026-03-03 15:00"), at("2026-03-03 16:00"))
    told = [who(rota(), f"2026-03-03 {hour}:00", swap, other) for hour in (11, 12, 15, 16, 18)]
    assert told == ["ada", "cat", "ben", "cat", "ada"]


def test_who_is_not_fit_is_passed_over_and_nobody_takes_their_turn_in_the_layer() -> None:
    one, when = rota(layer(), layer(user_ids=(CAT,))), at("2026-03-03 12:00")

    def fit(user_id: UUID, _: datetime) -> bool:
        return user_id != ADA

    duty = on_call_at(one, when, fit=fit)
    assert duty is not None
    assert (duty.user_id, duty.layer) == (CAT, 1)
    assert on_call_at(rota(), when, fit=fit) is None
    away = Override(ADA, when, when + HOUR)
    assert on_call_at(one, when, [away], fit=fit) == duty


moments = st.integers(0, 365 * 24 * 60).map(
    lambda minutes: datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


@given(
    since=moments, hours=st.integers(1, 900), turn=st.integers(1, 9),
    handed=st.sampled_from(["00:00", "02:30", "09:00", "23:59"]), probe=st.floats(0, 0.999),
    nights=st.booleans(), swap=st.tuples(moments, st.integers(1, 400)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
)  # fmt: skip
def test_a_schedule_says_at_every_moment_what_is_true_then(
    since: datetime, hours: int, turn: int, handed: str, probe: float, nights: bool,
    swap: tuple[datetime, int], zone: str,
) -> None:  # fmt: skip
    weekly = {day: [["22:00", "06:00"]] for day in ("mon", "wed", "sun")} if nights else {}
    one = rota(layer(turn_days=turn, handover=handed, weekly=weekly), zone=zone)
    until = since + hours * HOUR
    overrides = [Override(BEN, swap[0], swap[0] + swap[1] * HOUR)]
    found = schedule(one, since, until, overrides)
    assert (found[0].since, found[-1].until) == (since, until)
    assert all(a.until == b.since and a.duty != b.duty
               for a, b in itertools.pairwise(found))  # fmt: skip
    when = since + (until - since) * probe
    [stretch] = [s for s in found if s.since <= when < s.until]
    assert stretch.duty == on_call_at(one, when, overrides)


@pytest.mark.parametrize(
    "said",
    [{"user_ids": []}, {"handover": "24:00"}, {"handover": "9:00"}, {"turn_days": 0},
     {"first": "1999-12-31"}, {"weekly": {"mon": [["25:00", "26:00"]]}}],
)  # fmt: skip
def test_what_is_no_layer_is_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        layer(**said)
