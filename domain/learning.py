"""What a desk's people teach its models, and what a model has to show before it is listened to.

Which decisions of a person are labels, how rows are split by time, when one model may take the
place of another, and when what it says is done rather than suggested. Pure, like all rules.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field

from domain.errors import Invalid
from domain.languages import LANGUAGES
from domain.states import Priority
from domain.triage import Guess, Prediction, Sentiment, Spam, Topic

TriageField = Literal["topic", "priority", "sentiment", "team", "spam", "language"]
FIELDS: Final[tuple[TriageField, ...]] = get_args(TriageField)
Apply = Literal["never", "earned", "always"]

LEAST_TAUGHT: Final = 40  # rows; of fewer even two labels are a coin toss
LEAST_HELD_OUT: Final = 20  # of fewer, one row more or less moves every measure by five points
HELD_OUT_SHARE: Final = 0.2
MOST_HELD_OUT: Final = 1_000  # more would measure no better, and teach less
MOST_ROWS: Final = 20_000  # the newest; bounds what a training holds in memory
LONGEST_TAUGHT: Final = 4_000  # characters of a row: a request is stated early
LEAST_ANSWERED: Final = 20  # held-out answers, before a share of them is worth a bar
MOST_LABELS: Final = 150
FORGETFUL: Final = 0.02  # macro-F1 that may be lost where accuracy is won: rare labels count too
MISLEADING: Final = 0.05  # calibration error that may be added
BINS: Final = 15


class TooLittle(Invalid):
    """There is not enough to learn from; the sentence says what is missing."""

    code = "too_little"


class ModelUnusable(Exception):
    """A model's file is missing, or is not what was written; the sentence says which."""


class FieldSettings(BaseModel):
    """How a desk wants one of the questions to be answered.

    `threshold` was set by hand, in hundredths; without one a model answers above its own.
    `withheld` says why nothing is done by itself until a model was measured anew.
    """

    model_config = ConfigDict(frozen=True)

    apply: Apply = "earned"
    wanted_precision: float = Field(default=0.9, ge=0.5, le=1.0)
    labels: tuple[str, ...] | None = Field(default=None, max_length=MOST_LABELS)
    threshold: float | None = Field(default=None, ge=0.0, le=1.0)
    withheld: str | None = None


class Question(BaseModel):
    """What is asked of models about every ticket, and how people teach it. Adding one adds data.

    `labels` are those of a desk that gives none of its own; None: its teams. Where a person
    resolves a ticket with what a machine had set, that is a label if they see it at work
    (`kept`), and what they have answered and resolved is one of `answered`, whatever was said.
    """

    model_config = ConfigDict(frozen=True)

    column: str
    labels: tuple[str, ...] | None
    settings: FieldSettings = FieldSettings()
    own_labels: bool = False
    kept: bool = False
    answered: str | None = None


QUESTIONS: Final[Mapping[TriageField, Question]] = {
    # What is done by itself, a desk's own model earns on that desk's tickets.
    "topic": Question(column="topic", labels=tuple(Topic), own_labels=True, kept=True),
    "sentiment": Question(column="sentiment", labels=tuple(Sentiment)),
    "priority": Question(column="priority", labels=tuple(Priority), kept=True),
    "team": Question(column="team_id", labels=None, kept=True),
    # Told by script and small words: no model answers, so there is nothing a desk could measure.
    "language": Question(
        column="language", labels=LANGUAGES, settings=FieldSettings(apply="always")
    ),
    # Whoever is taken for a spammer is not heard, so the bar is higher.
    "spam": Question(
        column="spam", labels=tuple(Spam), settings=FieldSettings(wanted_precision=0.98),
        kept=True, answered=Spam.NOT_SPAM,
    ),
}  # fmt: skip
COLUMNS: Final[Mapping[TriageField, str]] = {name: QUESTIONS[name].column for name in FIELDS}
DEFAULTS: Final[Mapping[TriageField, FieldSettings]] = {
    name: QUESTIONS[name].settings for name in FIELDS
}


def shipped_labels(field: TriageField) -> tuple[str, ...] | None:
    """The labels of a field that a desk has not given its own; None: its teams."""
    return QUESTIONS[field].labels


# Labels.


@dataclass(frozen=True, slots=True)
class Happened:
    """What one row of the timeline says about labels."""

    type: str
    actor_kind: str
    changes: Mapping[str, Sequence[object]]
    data: Mapping[str, object]
    at: datetime
    in_bulk: bool = False


class Label(NamedTuple):
    """What the right answer was, and how we know.

    `told`: somebody answered the model. `set`: somebody set it. `kept`: somebody resolved the
    ticket with what the model had said.
    """

    value: str
    source: Literal["told", "set", "kept"]
    at: datetime


# A team that comes by these is not who should have had the ticket from the start.
_NO_JUDGEMENT: Final = frozenset({"undone", "escalated", "handed_back"})


def labels_of(timeline: Iterable[Happened]) -> dict[TriageField, Label]:
    """The right answers that people gave on one ticket, the last of each field.

    What is changed for many tickets at once is no judgement of each one's words, and an escalation
    says nothing about who should have begun; neither is a label. Nobody looks at a sentiment when
    they resolve a ticket, so keeping it says nothing either. Whoever is answered and helped was
    no spammer, unless somebody says so.
    """
    found: dict[TriageField, Label] = {}
    standing: dict[TriageField, str] = {}
    answered = read_on = False
    for event in timeline:
        read_on = read_on or event.type == "mood_read"
        by_person = event.actor_kind == "user"
        answered = answered or (event.type == "agent_replied" and by_person)
        if event.type == "labelled" and by_person:
            for field, value in _told(event.data):
                if field == "sentiment" and read_on:
                    found.pop(field, None)  # of later words: a row has the first ones
                    continue
                found[field] = Label(value, "told", event.at)
                standing.pop(field, None)
            continue
        for field, column in COLUMNS.items():
            change = event.changes.get(column)
            if change is None:
                continue
            after = change[1]
            found.pop(field, None)  # whatever it was, it is not what stands now
            standing.pop(field, None)
            if after is None or event.type in _NO_JUDGEMENT or event.in_bulk:
                continue
            if by_person:
                found[field] = Label(str(after), "set", event.at)
            elif _is_opinion(field, event):
                standing[field] = str(after)
        if by_person and not event.in_bulk and _resolves(event):
            for field, value in standing.items():
                found[field] = Label(value, "kept", event.at)
            for field in FIELDS if answered else ():
                meant = QUESTIONS[field].answered
                if meant is not None and field not in found:
                    found[field] = Label(meant, "kept", event.at)
    return found


def _is_opinion(field: TriageField, event: Happened) -> bool:
    """Whether a machine has set it by what the ticket says, and a person sees it at work."""
    if not QUESTIONS[field].kept:
        return False
    is_routed = field == "team" and event.type == "assigned"
    return event.actor_kind == "model" or is_routed


def _told(data: Mapping[str, object]) -> list[tuple[TriageField, str]]:
    labels = data.get("labels")
    if not isinstance(labels, Mapping):
        return []
    return [(field, str(labels[field])) for field in FIELDS if labels.get(field) is not None]


def _resolves(event: Happened) -> bool:
    return list(event.changes.get("category", ()))[1:] in (["resolved"], ["closed"])


# Rows.


class Row(NamedTuple):
    """One text with its right answer."""

    text: str
    label: str
    source: str
    at: datetime
    number: int


def split(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """What to learn from, and the newest part to be asked about.

    A model is asked about tomorrow's tickets, so it is measured on rows that were decided after
    all it was taught. Raises TooLittle.
    """
    ordered = sorted(rows, key=lambda row: (row.at, row.number))
    count = min(MOST_HELD_OUT, max(LEAST_HELD_OUT, round(HELD_OUT_SHARE * len(ordered))))
    taught, held_out = ordered[:-count], ordered[-count:]
    if len(taught) < LEAST_TAUGHT:
        raise TooLittle(
            f"{len(ordered)} decisions of people are too few to learn from: at least"
            f" {LEAST_TAUGHT + LEAST_HELD_OUT} are needed,"
            f" {LEAST_TAUGHT + LEAST_HELD_OUT - len(ordered)} more."
        )
    labels = {row.label for row in taught}
    if len(labels) < 2:
        raise TooLittle(
            f"All {len(taught)} older decisions say {labels.pop()!r}: there is nothing to tell"
            " apart yet. At least two labels are needed."
        )
    return taught, held_out


# Measures.


class Outcome(NamedTuple):
    """What was right, what was said, how surely, and whether it was said aloud.

    `known`: the text was like what the model knows; about others it is silent at any threshold.
    """

    right: str
    guess: str
    probability: float
    answered: bool
    known: bool = True


class Bin(BaseModel):
    """Of guesses about this sure: how sure they were on average, and how many were right."""

    model_config = ConfigDict(frozen=True)

    start: float
    end: float
    rows: int
    probability: float
    right: float


class Count(BaseModel):
    """How often `guess` was said where `right` was right."""

    model_config = ConfigDict(frozen=True)

    right: str
    guess: str
    rows: int


class Measures(BaseModel):
    """How well a model did on rows decided after all it was taught."""

    model_config = ConfigDict(frozen=True)

    rows: int
    accuracy: float
    macro_f1: float
    calibration_error: float
    answered: int
    coverage: float
    precision: float
    not_taught: int = 0  # decisions for labels that the model was never taught; in nothing above
    confusion: tuple[Count, ...] = ()
    reliability: tuple[Bin, ...] = ()
    curve: tuple[tuple[int, int], ...] = ()  # answered and right, from each hundredth on

    def at(self, threshold: float | None) -> "Reached | None":
        """What answers from `threshold` on reach; None where that was not measured.

        Without one: above the threshold that the model was measured with.
        """
        if threshold is None:
            return Reached(self.answered, self.coverage, self.precision)
        if not self.curve:
            return None
        answered, right = self.curve[round(100 * threshold)]
        return Reached(
            answered, answered / self.rows if self.rows else 0.0,
            right / answered if answered else 0.0,
        )  # fmt: skip


class Reached(NamedTuple):
    """Of how many a model answers, which share that is, and how much of it is right."""

    answered: int
    coverage: float
    precision: float


def measured(outcomes: Sequence[Outcome], *, not_taught: int = 0) -> Measures:
    """The measures of what was said. `precision` is that of what was answered, 0 where nothing."""
    rows = len(outcomes)
    if not rows:
        return Measures(
            rows=0, accuracy=0, macro_f1=0, calibration_error=0, answered=0, coverage=0,
            precision=0, not_taught=not_taught,
        )  # fmt: skip
    right = sum(o.guess == o.right for o in outcomes)
    answered = [o for o in outcomes if o.answered]
    bins = _bins(outcomes)
    return Measures(
        rows=rows,
        accuracy=right / rows,
        macro_f1=_macro_f1(outcomes),
        calibration_error=sum(abs(b.probability - b.right) * b.rows for b in bins) / rows,
        answered=len(answered),
        coverage=len(answered) / rows,
        precision=sum(o.guess == o.right for o in answered) / len(answered) if answered else 0.0,
        not_taught=not_taught,
        confusion=tuple(
            Count(right=right_, guess=guess, rows=count)
            for (right_, guess), count in sorted(
                Counter((o.right, o.guess) for o in outcomes).items(),
                key=lambda entry: (-entry[1], entry[0]),
            )
        ),
        reliability=bins,
        curve=_curve(outcomes),
    )


def _curve(outcomes: Sequence[Outcome]) -> tuple[tuple[int, int], ...]:
    """For each hundredth from 0 to 1, how many were surer than that, and how many right."""
    known = [(o.probability, o.guess == o.right) for o in outcomes if o.known]
    found: list[tuple[int, int]] = []
    for hundredth in range(101):
        known = [one for one in known if one[0] >= hundredth / 100]
        found.append((len(known), sum(is_right for _, is_right in known)))
    return tuple(found)


def _bins(outcomes: Sequence[Outcome]) -> tuple[Bin, ...]:
    inside: dict[int, list[Outcome]] = {}
    for outcome in outcomes:
        inside.setdefault(min(int(outcome.probability * BINS), BINS - 1), []).append(outcome)
    return tuple(
        Bin(
            start=place / BINS,
            end=(place + 1) / BINS,
            rows=len(those),
            probability=sum(o.probability for o in those) / len(those),
            right=sum(o.guess == o.right for o in those) / len(those),
        )
        for place, those in sorted(inside.items())
    )


def _macro_f1(outcomes: Sequence[Outcome]) -> float:
    both = Counter(o.right for o in outcomes if o.right == o.guess)
    asked, said = Counter(o.right for o in outcomes), Counter(o.guess for o in outcomes)
    labels = asked.keys() | said.keys()
    return sum(2 * both[one] / (asked[one] + said[one]) for one in labels) / len(labels)


# Which model answers.


class Judgement(NamedTuple):
    promoted: bool
    because: str


def judged(challenger: Measures, champion: Measures, *, named: str) -> Judgement:
    """Whether the challenger takes the place of what answers now, both asked the same rows.

    A model that is wrong more often, that forgets rare labels, or whose answers or probabilities
    can be believed less is refused; one that is the same in everything changes nothing.
    """
    said = (
        f"{_share(challenger.accuracy)} of {challenger.rows} later decisions right, {named}"
        f" {_share(champion.accuracy)}"
    )
    if challenger.accuracy < champion.accuracy:
        return Judgement(False, f"Worse: {said}.")
    if challenger.macro_f1 < champion.macro_f1 - FORGETFUL:
        return Judgement(
            False,
            f"Worse on rare labels: macro-F1 {challenger.macro_f1:.3f}, {named}"
            f" {champion.macro_f1:.3f} ({said}).",
        )
    if challenger.calibration_error > champion.calibration_error + MISLEADING and (
        challenger.accuracy < champion.accuracy + FORGETFUL
    ):
        return Judgement(
            False,
            "Its probabilities can be believed less: calibration error"
            f" {challenger.calibration_error:.3f}, {named} {champion.calibration_error:.3f}"
            f" ({said}).",
        )
    if (
        min(challenger.answered, champion.answered) >= LEAST_ANSWERED
        and challenger.precision < champion.precision - FORGETFUL
        and challenger.accuracy < champion.accuracy + FORGETFUL
    ):
        return Judgement(
            False,
            f"What it answers is right less often: {_share(challenger.precision)}, {named}"
            f" {_share(champion.precision)} ({said}).",
        )
    gains = (
        challenger.accuracy > champion.accuracy,
        challenger.macro_f1 > champion.macro_f1,
        challenger.calibration_error < champion.calibration_error,
    )
    if not any(gains):
        return Judgement(False, f"No better: {said}.")
    return Judgement(True, f"Better: {said}.")


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def has_earned(settings: FieldSettings, measures: Measures | None) -> bool:
    """Whether the answers of the desk's own model reach the bar, on rows it had not seen.

    The one that ships was never measured on this desk's tickets, so it earns nothing.
    """
    reached = measures.at(settings.threshold) if measures is not None else None
    return (
        reached is not None
        and reached.answered >= LEAST_ANSWERED
        and reached.precision >= settings.wanted_precision
    )


def is_applied(settings: FieldSettings, measures: Measures | None) -> bool:
    """Whether an answer is done, not only suggested; `measures` are of the desk's own model."""
    if settings.withheld is not None:
        return False
    match settings.apply:
        case "never":
            return False
        case "always":
            return True
        case "earned":
            return has_earned(settings, measures)


def at_threshold(guess: Guess, threshold: float | None) -> Guess:
    """The guess, said aloud or withheld as a threshold set by hand wants it.

    What ships has reasons of its own to be silent, which no threshold takes away: by hand it can
    only be made to say less.
    """
    if threshold is None:
        return guess
    silent = guess.out_of_scope if isinstance(guess, Prediction) else guess.abstained
    return guess.model_copy(update={"abstained": silent or guess.probability < threshold})
