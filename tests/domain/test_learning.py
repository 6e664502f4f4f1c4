"""Which decisions are labels, what a model has to show, when it is listened to."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.learning import (
    DEFAULTS,
    Apply,
    FieldSettings,
    Happened,
    Measures,
    Outcome,
    Row,
    TooLittle,
    at_threshold,
    is_applied,
    judged,
    labels_of,
    measured,
    split,
)
from domain.triage import Guess, Prediction

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def event(
    kind: str,
    actor: str,
    changes: dict[str, object] | None = None,
    *,
    labels: dict[str, str] | None = None,
    minute: int = 0,
    in_bulk: bool = False,
) -> Happened:
    return Happened(
        type=kind,
        actor_kind=actor,
        changes={name: [None, value] for name, value in (changes or {}).items()},
        data={"labels": labels} if labels else {},
        at=NOON + timedelta(minutes=minute),
        in_bulk=in_bulk,
    )


def said(*timeline: Happened) -> dict[str, tuple[str, str]]:
    return {name: (label.value, label.source) for name, label in labels_of(timeline).items()}


VERDICT = event(
    "triaged", "model", {"topic": "billing", "priority": "high", "sentiment": "negative"}
)
MINE = event("assigned", "user", {"team_id": "T1"})
ROUTED = event("assigned", "automation", {"team_id": "T1"})
RESOLVED = event("changed", "user", {"category": "resolved"})


@pytest.mark.parametrize(
    ("timeline", "labels"),
    [
        ((VERDICT,), {}),
        ((VERDICT, ROUTED, event("auto_closed", "system", {"category": "closed"})), {}),
        # Resolved by a person with what stood: it was good enough. A mood nobody looked at.
        (
            (VERDICT, ROUTED, RESOLVED),
            {"topic": ("billing", "kept"), "priority": ("high", "kept"), "team": ("T1", "kept")},
        ),
        ((VERDICT, event("changed", "user", {"priority": "low"})), {"priority": ("low", "set")}),
        (
            (VERDICT, event("labelled", "user", labels={"topic": "billing", "team": "T2"})),
            {"topic": ("billing", "told"), "team": ("T2", "told")},
        ),
        # The last word counts, also a machine's: what it overwrote is not what stands.
        (
            (event("changed", "user", {"priority": "low"}),
             event("sla_step", "automation", {"priority": "urgent"})),
            {},
        ),
        ((event("changed", "user", {"priority": "low"}, in_bulk=True), RESOLVED), {}),
        ((VERDICT, event("changed", "user", {"category": "resolved"}, in_bulk=True)), {}),
        ((MINE, event("escalated", "user", {"team_id": "T9"})), {}),
        ((MINE, event("undone", "user", {"team_id": None})), {}),
        # Raised because it was late: that says nothing about its words.
        ((VERDICT, event("sla_step", "automation", {"priority": "urgent"}), RESOLVED),
         {"topic": ("billing", "kept")}),
        ((event("labelled", "automation", labels={"topic": "billing"}),), {}),
        # Whoever was answered and helped was no spammer; a ticket that was only closed may be one.
        ((event("agent_replied", "user"), RESOLVED), {"spam": ("not_spam", "kept")}),
        ((event("agent_replied", "automation"), RESOLVED), {}),
        ((event("labelled", "user", labels={"spam": "spam"}), event("agent_replied", "user"),
          RESOLVED), {"spam": ("spam", "told")}),
        ((event("triaged", "model", {"spam": "spam", "language": "de"}), RESOLVED),
         {"spam": ("spam", "kept")}),
    ],
)  # fmt: skip
def test_what_people_decide_about_one_ticket_is_a_label(
    timeline: tuple[Happened, ...], labels: dict[str, tuple[str, str]]
) -> None:
    assert said(*timeline) == labels


def rows(count: int, labels: str = "ab") -> list[Row]:
    return [
        Row(f"text {n}", labels[n % len(labels)], "set", NOON + timedelta(minutes=n), n)
        for n in range(count)
    ]


@given(st.permutations(rows(100)))
def test_a_model_is_asked_only_about_what_was_decided_after_all_it_was_taught(
    shuffled: list[Row],
) -> None:
    taught, held_out = split(shuffled)
    assert max(row.at for row in taught) < min(row.at for row in held_out)
    assert (len(taught), len(held_out)) == (80, 20)


@pytest.mark.parametrize(
    ("given_rows", "sentence"),
    [
        (rows(0), "0 decisions of people are too few to learn from"),
        (rows(59), "at least 60 are needed, 1 more."),
        (rows(90, "a"), "All 70 older decisions say 'a'"),
    ],
)
def test_too_little_is_refused_with_what_is_missing(given_rows: list[Row], sentence: str) -> None:
    with pytest.raises(TooLittle, match=sentence):
        split(given_rows)


def test_many_rows_hold_out_no_more_than_measuring_needs() -> None:
    taught, held_out = split(rows(9_000))
    assert (len(taught), len(held_out)) == (8_000, 1_000)


def test_measures_of_a_handful_worked_out_by_hand() -> None:
    found = measured(
        [
            Outcome("a", "a", 0.95, True),
            Outcome("a", "b", 0.65, True),
            Outcome("b", "b", 0.65, False),
            Outcome("c", "b", 0.35, False),
        ]
    )
    assert (found.rows, found.accuracy, found.answered, found.coverage) == (4, 0.5, 2, 0.5)
    assert found.precision == 0.5
    # a: 2 of 1 said + 2 asked; b: 2 of 3 said + 1 asked; c: never.
    assert found.macro_f1 == pytest.approx((2 / 3 + 2 / 4 + 0) / 3)
    assert found.calibration_error == pytest.approx((0.05 + 2 * 0.15 + 0.35) / 4)
    assert [(b.rows, b.right) for b in found.reliability] == [(1, 0), (2, 0.5), (1, 1)]
    assert sum(one.rows for one in found.confusion) == 4
    assert measured([]).rows == 0


def measures(accuracy: float = 0.8, macro: float = 0.7, ece: float = 0.05) -> Measures:
    return Measures(
        rows=200, accuracy=accuracy, macro_f1=macro, calibration_error=ece, answered=150,
        coverage=0.75, precision=0.9,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("challenger", "promoted", "because"),
    [
        (measures(0.82), True, "Better: 82.0 % of 200 later decisions right, version 3 80.0 %."),
        (measures(0.79, 0.9, 0.01), False, "Worse: 79.0 %"),
        (measures(0.81, 0.67), False, "Worse on rare labels"),
        (measures(0.81, 0.7, 0.11), False, "Its probabilities can be believed less"),
        (measures(0.83, 0.7, 0.11), True, "Better"),
        (measures(0.81).model_copy(update={"precision": 0.87}), False, "What it answers is right"),
        (measures(0.83).model_copy(update={"precision": 0.87}), True, "Better"),
        (measures(0.81).model_copy(update={"precision": 0.5, "answered": 9}), True, "Better"),
        (measures(0.8, 0.7, 0.04), True, "Better"),
        (measures(), False, "No better"),
    ],
)
def test_a_challenger_has_to_be_better_and_lose_nothing(
    challenger: Measures, promoted: bool, because: str
) -> None:
    judgement = judged(challenger, measures(), named="version 3")
    assert judgement.promoted is promoted
    assert judgement.because.startswith(because)


@pytest.mark.parametrize(
    ("settings", "found", "applied"),
    [
        (FieldSettings(apply="never", wanted_precision=0.5), measures(), False),
        (FieldSettings(apply="always"), None, True),
        (FieldSettings(apply="earned", wanted_precision=0.9), measures(), True),
        (FieldSettings(apply="earned", wanted_precision=0.91), measures(), False),
        (FieldSettings(apply="earned", wanted_precision=0.5), None, False),
        (
            FieldSettings(wanted_precision=0.9),
            measures().model_copy(update={"answered": 19}),
            False,
        ),
    ],
)
def test_an_answer_is_done_once_it_has_earned_it(
    settings: FieldSettings, found: Measures | None, applied: bool
) -> None:
    assert is_applied(settings, found) is applied


def test_all_that_a_model_learns_is_earned_unless_somebody_says_otherwise() -> None:
    assert {name: one.apply for name, one in DEFAULTS.items()} == {
        "topic": "earned", "sentiment": "earned", "priority": "earned", "team": "earned",
        "spam": "earned", "language": "always",
    }  # fmt: skip


@pytest.mark.parametrize("apply", ["earned", "always"])
def test_what_is_withheld_is_not_done_whatever_was_earned(apply: Apply) -> None:
    settings = FieldSettings(apply=apply, wanted_precision=0.5)
    assert is_applied(settings, measures())
    fell = settings.model_copy(update={"withheld": "It fell."})
    assert not is_applied(fell, measures())


def graded() -> Measures:
    """Sure answers are right, half-sure ones every second time; a strange text is never counted."""
    return measured(
        [Outcome("a", "a", 0.95, True)] * 30
        + [Outcome("a", "a", 0.6, True), Outcome("b", "a", 0.6, True)] * 10
        + [Outcome("a", "a", 0.99, False, known=False)] * 10
    )


def test_a_threshold_set_by_hand_is_measured_where_it_stands() -> None:
    found = graded()
    assert found.at(None) == (50, 50 / 60, 40 / 50)
    assert found.at(0.6) == (50, 50 / 60, 40 / 50)
    assert found.at(0.61) == found.at(0.95) == (30, 0.5, 1.0)
    assert found.at(0.96) == (0, 0.0, 0.0)
    assert found.at(0.0) == found.at(0.6)
    assert measures().at(0.7) is None  # of before curves were kept


@pytest.mark.parametrize(
    ("threshold", "applied"), [(None, False), (0.6, False), (0.9, True), (0.96, False)]
)
def test_what_is_earned_is_earned_at_the_threshold_in_force(
    threshold: float | None, applied: bool
) -> None:
    settings = FieldSettings(wanted_precision=0.9, threshold=threshold)
    assert is_applied(settings, graded()) is applied


def test_a_threshold_set_by_hand_makes_a_model_speak_or_be_silent_but_not_about_the_strange() -> (
    None
):
    def said(probability: float, *, strange: bool = False) -> Prediction:
        return Prediction(
            label="a", probability=probability, abstained=True, top=(), strangeness=0.1,
            out_of_scope=strange, model_version="topic-1",
        )  # fmt: skip

    assert at_threshold(said(0.6), None).abstained
    assert not at_threshold(said(0.6), 0.6).abstained
    assert at_threshold(said(0.59), 0.6).abstained
    assert at_threshold(said(0.99, strange=True), 0.6).abstained
    # What ships may be silent for other reasons: by hand it says less, never more.
    plain = Guess(label="a", probability=0.7, abstained=True, top=())
    assert at_threshold(plain, 0.1).abstained
    aloud = plain.model_copy(update={"abstained": False})
    assert [at_threshold(aloud, at).abstained for at in (0.7, 0.71)] == [False, True]
