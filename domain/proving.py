"""Whether a model that answers still does what it was promoted for, by what people make of it.

A hold-out is yesterday. What people correct afterwards is today: where that says surely, and not by
chance, that a model fell below what was asked of it, it does not stay. Pure, like all rules.
"""

import math
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from domain.learning import (
    LEAST_ANSWERED,
    QUESTIONS,
    FieldSettings,
    Judgement,
    Label,
    Measures,
    TriageField,
    has_earned,
)

LEAST_JUDGED: Final = 20  # of fewer answers even the bound says next to nothing
SURE: Final = 2.576
"""Standard errors: 99 in 100. It is looked at again and again, so one look may err rarely only."""


class Lived(BaseModel):
    """Answers that people judged since the model was put in place, and how many were right.

    The share of right answers lies surely between `low` and `high` (Wilson's interval).
    """

    model_config = ConfigDict(frozen=True)

    judged: int
    right: int
    precision: float
    low: float
    high: float


def lived(judged: int, right: int) -> Lived:
    """What so many judged answers say. Nothing of none: between 0 and 1."""
    if not judged:
        return Lived(judged=0, right=0, precision=0.0, low=0.0, high=1.0)
    share, square = right / judged, SURE * SURE
    middle = (share + square / (2 * judged)) / (1 + square / judged)
    spread = (
        SURE * math.sqrt(share * (1 - share) / judged + square / (4 * judged * judged))
        / (1 + square / judged)
    )  # fmt: skip
    return Lived(
        judged=judged, right=right, precision=share,
        low=max(0.0, middle - spread), high=min(1.0, middle + spread),
    )  # fmt: skip


def was_right(
    field: TriageField, answer: str, label: Label | None, *, is_over: bool
) -> bool | None:
    """Whether people found an answer right; None where nobody has said.

    Where nobody looks when a ticket is resolved, people speak only of what is wrong. There an
    answer that stood to the end counts as right, or three corrections of a thousand answers would
    look like a model that errs always.
    """
    if label is not None:
        return label.value == answer
    return True if is_over and not QUESTIONS[field].kept else None


class Fall(NamedTuple):
    """Why a model may not go on as it did; `back`: what was there before it answers again."""

    because: str
    back: bool


def fallen(
    found: Lived,
    settings: FieldSettings,
    measures: Measures,
    compared: Measures | None,
    *,
    named: str,
) -> Fall | None:
    """What follows from what people made of a model's answers; None while nothing is sure.

    It falls when it is surely right less often than the bar that it had reached, or than what it
    was promoted over (`compared`, called `named`) on the same later decisions. Where that was
    surely worse still, it is not put back: the model goes on, and only suggests.
    """
    if found.judged < LEAST_JUDGED:
        return None
    before = compared.precision if compared and compared.answered >= LEAST_ANSWERED else None
    said = (
        f"Of {found.judged} answers that people judged since it was put in place,"
        f" {_share(found.precision)} were right, surely less than"
    )
    if before is not None and found.high < before:
        return Fall(f"{said} the {_share(before)} of {named}.", back=True)
    if has_earned(settings, measures) and found.high < settings.wanted_precision:
        bar = f"{said} the {_share(settings.wanted_precision)} that are wanted"
        if before is not None and before < found.low:
            return Fall(f"{bar}; {named} reached {_share(before)} only.", back=False)
        return Fall(f"{bar}.", back=True)
    return None


def instead_of(
    judgement: Judgement, measures: Measures, before: Measures, *, named: str
) -> Judgement:
    """The judgement of a challenger while the model that is to answer (`named`) cannot be asked.

    Where its file went missing, beating what ships is no proof: a challenger that is surely worse
    than that model was, each on rows of its own, does not profit from its absence.
    """
    found = lived(measures.rows, round(measures.accuracy * measures.rows))
    if not judgement.promoted or found.high >= before.accuracy:
        return judgement
    return Judgement(
        False,
        f"Surely worse than {named} was ({_share(before.accuracy)} right), whose file cannot be"
        f" read now. {judgement.because}",
    )


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"
