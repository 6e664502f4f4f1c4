"""A challenger beside what answers now, on the rows that both could be right about."""

from collections.abc import Sequence, Set

from domain.learning import (
    FORGETFUL,
    LEAST_HELD_OUT,
    Judgement,
    Measures,
    Outcome,
    judged,
    measured,
)


def compared(
    challenger: Sequence[Outcome], champion: Sequence[Outcome], *, known: Set[str], named: str
) -> tuple[Measures, Judgement]:
    """What answers now, measured where it was taught what is right, and who is the better there.

    `known` are its labels; both were asked the same rows. Where there are too few such rows, all
    count. A challenger that is as good there, but for chance, and better in all, because it knows
    labels that the other never heard of, is not refused for knowing more.
    """
    both = [place for place, one in enumerate(champion) if one.right in known]
    absent = len(champion) - len(both)
    whole = judged(measured(challenger), measured(champion), named=named)
    if not absent or len(both) < LEAST_HELD_OUT:
        return measured(champion), whole
    theirs = measured([champion[place] for place in both], not_taught=absent)
    ours = measured([challenger[place] for place in both], not_taught=absent)
    judgement = judged(ours, theirs, named=named)
    more = f"{absent} further decisions are for labels that {named} was never taught"
    if not judgement.promoted and whole.promoted and ours.accuracy >= theirs.accuracy - FORGETFUL:
        judgement = Judgement(True, whole.because)
    return theirs, Judgement(judgement.promoted, f"{judgement.because[:-1]}; {more}.")


__all__ = ["compared"]
