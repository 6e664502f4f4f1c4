"""Two models are compared where both could be right, and what one never heard of counts apart."""

from domain.challenging import compared
from domain.learning import Outcome, measured

OLD, NEW = ("billing", "orders"), "returns"


def outcomes(right: int, wrong: int, *, new: int = 0, knows: bool = False) -> list[Outcome]:
    """So many answers on the old labels; `new` rows of a label that it says if it `knows` it."""
    said = [Outcome(OLD[n % 2], OLD[n % 2], 0.9, True) for n in range(right)]
    said += [Outcome(OLD[n % 2], OLD[1 - n % 2], 0.7, True) for n in range(wrong)]
    return said + [Outcome(NEW, NEW if knows else OLD[0], 0.8, True) for _ in range(new)]


def test_a_worse_challenger_does_not_win_by_labels_the_other_was_never_taught() -> None:
    challenger = outcomes(30, 20, new=25, knows=True)
    champion = outcomes(48, 2, new=25)
    theirs, judgement = compared(challenger, champion, known=set(OLD), named="version 3")
    assert (theirs.rows, theirs.not_taught, theirs.accuracy) == (50, 25, 0.96)
    assert not judgement.promoted
    assert "25 further decisions are for labels that version 3 was never taught" in (
        judgement.because
    )


def test_one_that_is_as_good_and_knows_more_is_promoted() -> None:
    challenger = outcomes(49, 1, new=25, knows=True)
    champion = outcomes(49, 1, new=25)
    assert compared(challenger, champion, known=set(OLD), named="version 3")[1].promoted


def test_where_hardly_a_row_is_shared_all_of_them_count() -> None:
    challenger = outcomes(5, 5, new=40, knows=True)
    champion = outcomes(10, 0, new=40)
    theirs, judgement = compared(challenger, champion, known=set(OLD), named="what ships")
    assert (theirs.rows, theirs.not_taught) == (50, 0)
    assert judgement.promoted


def test_where_both_know_every_label_nothing_is_counted_apart() -> None:
    champion = outcomes(40, 10)
    theirs, judgement = compared(outcomes(45, 5), champion, known=set(OLD), named="version 3")
    assert theirs == measured(champion)
    assert judgement.promoted
    assert "never taught" not in judgement.because
