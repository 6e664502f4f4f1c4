import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.triage import (
    LEAST_KNOWN_SHARE,
    LEAST_PROBABILITY,
    LONGEST,
    Guess,
    own_words,
    threshold_for,
    weigh,
    words_of,
)

SHARES = {"billing": 0.7, "orders": 0.2, "sales": 0.06, "other": 0.04}


def test_a_guess_names_the_likeliest_label_and_the_three_best() -> None:
    guess = weigh(SHARES, threshold=0.6)

    assert guess == Guess(
        label="billing",
        probability=0.7,
        abstained=False,
        top=(("billing", 0.7), ("orders", 0.2), ("sales", 0.06)),
    )


@pytest.mark.parametrize(
    ("threshold", "known_share", "abstained"),
    [
        (0.70, 1.0, False),
        (0.71, 1.0, True),
        (0.70, LEAST_KNOWN_SHARE, False),
        (0.70, LEAST_KNOWN_SHARE - 0.01, True),
    ],
)
def test_a_guess_is_withheld_below_its_threshold_or_among_unknown_words(
    threshold: float, known_share: float, abstained: bool
) -> None:
    assert weigh(SHARES, threshold=threshold, known_share=known_share).abstained is abstained


def test_no_threshold_lets_a_guess_below_the_floor_stand() -> None:
    below = LEAST_PROBABILITY - 0.01
    assert weigh({"low": below, "high": 0.3, "normal": 0.31}, threshold=0.0).abstained


def test_equal_probabilities_are_ordered_by_label() -> None:
    assert weigh({"b": 0.5, "a": 0.5}, threshold=0.4).label == "a"


def test_a_guess_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        weigh(SHARES, threshold=0.5).label = "sales"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("outcomes", "precision", "threshold"),
    [
        ([(0.9, True), (0.8, True), (0.7, False), (0.6, False)], 0.9, 0.8),
        ([(0.9, False), (0.8, True), (0.7, True), (0.6, True)], 0.75, 0.6),
        ([(0.9, False)], 0.5, 1.0),
        ([(0.8, True), (0.8, False)], 0.9, 1.0),  # one value cannot be split
        ([], 0.9, 1.0),
    ],
)
def test_the_threshold_is_the_lowest_that_is_precise_enough(
    outcomes: list[tuple[float, bool]], precision: float, threshold: float
) -> None:
    assert threshold_for(outcomes, precision=precision) == threshold


@given(st.lists(st.tuples(st.floats(0, 0.999), st.booleans()), max_size=60))
def test_what_passes_a_threshold_is_as_precise_as_was_asked(
    outcomes: list[tuple[float, bool]],
) -> None:
    threshold = threshold_for(outcomes, precision=0.8)

    passed = [right for probability, right in outcomes if probability >= threshold]
    assert sum(passed) >= 0.8 * len(passed)


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("It is broken.", "It is broken."),
        ("> you wrote this\nIt is broken.\n> and this", "It is broken."),
        ("Still broken.\n\nOn 3 May 2026, Ann <a@example.org> wrote:\n> Try it", "Still broken."),
        ("Geht nicht.\nAm 03.05.26 um 10:00 schrieb Anna:\nVersuchen Sie es", "Geht nicht."),
        ("Help\n-----Original Message-----\nFrom: Ann\nrefund", "Help"),
        ("Help me\n-- \nTom Green\nSales Manager", "Help me"),
        ("Help me\n\nKind regards,\nTom Green\nSales Manager", "Help me"),
        ("Bitte helfen\n\nMit freundlichen Grüßen\nEva Grün\nVertrieb", "Bitte helfen"),
        ("Help me\nSent from my iPhone", "Help me"),
        ("a\x00b\u200bc\r\nd", "a b c\nd"),
        ("one\\ntwo", "one\ntwo"),
        ("", ""),
    ],
)
def test_own_words_leave_out_quotes_and_signatures(text: str, own: str) -> None:
    assert own_words(text) == own


def test_a_thread_with_nothing_above_it_is_read() -> None:
    forwarded = "-----Original Message-----\nFrom: Ann\nThe invoice is wrong."
    assert "The invoice is wrong." in own_words(forwarded)


def test_a_message_made_of_quoted_lines_only_is_read() -> None:
    assert "my answer" in own_words("> question\n> my answer")


def test_a_postscript_after_the_sign_off_is_read() -> None:
    text = "Help me\n\nRegards\nTom\nPS: the invoice is wrong too"
    assert own_words(text).endswith("the invoice is wrong too")


def test_a_sign_off_far_above_the_end_cuts_nothing() -> None:
    text = "First\nRegards\n" + "The rest of a long story.\n" * 40
    assert own_words(text).endswith("long story.")


def test_reply_prefixes_and_tags_are_not_part_of_the_words() -> None:
    assert words_of("Re: AW: [#4711] Fwd: Invoice", "wrong") == "Invoice\nwrong"


@given(st.text(max_size=500), st.text(max_size=500))
def test_any_text_has_words_of_bounded_length(subject: str, body: str) -> None:
    assert len(own_words(body)) <= LONGEST
    assert words_of(subject, body) == words_of(subject, body).strip()


def test_a_huge_text_is_cut() -> None:
    assert len(own_words("word " * 400_000)) <= LONGEST


def test_the_rules_of_triage_load_no_model_library() -> None:
    probe = "import sys, domain.triage; print({'sklearn', 'numpy', 'scipy'} & set(sys.modules))"
    seen = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "set()"
