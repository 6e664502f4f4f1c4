"""When a model that answers has surely fallen, and when it only had bad luck."""

from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.learning import FieldSettings, Judgement, Label, Measures
from domain.proving import Fall, fallen, instead_of, lived, was_right

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def measures(
    precision: float, *, answered: int = 100, accuracy: float = 0.8, rows: int = 200
) -> Measures:
    return Measures(
        rows=rows, accuracy=accuracy, macro_f1=0.7, calibration_error=0.05, answered=answered,
        coverage=answered / rows, precision=precision,
    )  # fmt: skip


BAR = FieldSettings(wanted_precision=0.9)


def of(
    judged: int, right: int, *, reached: float = 0.95, before: Measures | None = None
) -> Fall | None:
    return fallen(lived(judged, right), BAR, measures(reached), before, named="version 3")


@given(st.integers(0, 500).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))))
def test_the_bounds_hold_what_was_seen_and_stay_within_0_and_1(seen: tuple[int, int]) -> None:
    judged, right = seen
    found = lived(judged, right)
    assert 0 <= found.low <= found.high <= 1
    if judged:
        assert found.low <= float(Fraction(right, judged)) + 1e-9
        assert found.high >= float(Fraction(right, judged)) - 1e-9


def test_the_bounds_of_an_example_worked_out_by_hand() -> None:
    # Wilson at z = 2.576, 30 of 40: (.75 + 6.6358/80) / (1 + 6.6358/40) = .7144, give or take
    # 2.576 * sqrt(.75 * .25 / 40 + 6.6358 / (4 * 1600)) / (1 + 6.6358/40) = .1672.
    found = lived(40, 30)
    assert (round(found.low, 3), round(found.high, 3)) == (0.547, 0.882)


@pytest.mark.parametrize(
    ("judged", "right", "falls"),
    [
        (19, 0, False),  # too few, however bad
        (20, 10, True),
        (40, 35, False),  # 87 in 100: it may be 90
        (40, 30, True),
        (400, 350, False),  # 87.5 in 100 of many: up to 91
        (400, 340, True),
    ],
)
def test_a_model_falls_where_it_is_surely_under_the_bar_it_had_reached(
    judged: int, right: int, falls: bool
) -> None:
    found = of(judged, right)
    assert (found is not None) is falls
    if found is not None:
        assert found.back
        assert "surely less than the 90.0 % that are wanted." in found.because


def test_a_model_that_never_reached_the_bar_does_not_fall_for_being_under_it() -> None:
    assert of(100, 60, reached=0.7) is None


def test_a_model_falls_where_it_is_surely_worse_than_what_it_replaced() -> None:
    found = of(100, 60, reached=0.7, before=measures(0.8))
    assert found is not None
    assert found.back
    assert found.because.endswith("60.0 % were right, surely less than the 80.0 % of version 3.")
    # Of nine answers nobody knows how good that was.
    assert of(100, 60, reached=0.7, before=measures(0.8, answered=9)) is None


def test_what_was_surely_worse_still_is_not_put_back() -> None:
    found = of(100, 80, before=measures(0.5))
    assert found is not None
    assert not found.back
    assert "version 3 reached 50.0 % only" in found.because


@pytest.mark.parametrize(
    ("field", "label", "is_over", "right"),
    [
        ("topic", "billing", True, True),
        ("topic", "orders", False, False),
        ("topic", None, True, None),  # nobody has said
        ("sentiment", None, True, True),  # nobody minded
        ("sentiment", None, False, None),
        ("sentiment", "billing", False, True),
        ("sentiment", "negative", True, False),
    ],
)
def test_an_answer_is_judged_by_what_people_said_and_moods_by_what_they_let_stand(
    field: str, label: str | None, is_over: bool, right: bool | None
) -> None:
    said = Label(label, "told", NOON) if label else None
    assert was_right(field, "billing", said, is_over=is_over) is right  # type: ignore[arg-type]


@pytest.mark.parametrize(("accuracy", "promoted"), [(0.5, False), (0.75, True), (0.95, True)])
def test_a_missing_file_does_not_let_a_surely_worse_model_in(
    accuracy: float, promoted: bool
) -> None:
    better = Judgement(True, "Better.")
    challenger = measures(0.9, accuracy=accuracy, rows=100)
    found = instead_of(better, challenger, measures(0.9), named="version 2")
    assert found.promoted is promoted
    assert found.because.endswith("Better.")
    refused = Judgement(False, "Worse.")
    assert instead_of(refused, challenger, measures(0.9), named="version 2") == refused
