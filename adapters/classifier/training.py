"""The model that ships: trained from the phrases in this package, before a desk has taught its own.

`measure` says what it can do. Real mail is less tidy than these phrases, so treat its numbers as
the upper end; a desk's own corrected tickets are the better teacher once there are some hundreds.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import sklearn

import domain.triage
from adapters.classifier import (
    features,
    files,
    junk,
    learning,
    linear,
    mixing,
    model,
    moods,
    network,
    phrases,
)
from adapters.classifier.features import folded
from adapters.classifier.learning import Question
from adapters.classifier.model import Head, Model
from domain.triage import WANTED_PRECISION, Spam, words_of

_RECIPE: Final = tuple(
    Path(module.__file__ or "")
    for module in (
        features,
        files,
        junk,
        learning,
        linear,
        mixing,
        model,
        moods,
        network,
        phrases,
        domain.triage,
    )
)


def fingerprint() -> str:
    """Changes whenever training would give another model: phrases, code, or scikit-learn."""
    digest = hashlib.sha256(sklearn.__version__.encode())
    for path in (*phrases.files(), *junk.files(), *moods.files(), *_RECIPE, Path(__file__)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def train() -> Model:
    """A model from all phrases, calibrated and given its thresholds on phrases held out in turn."""
    rows = [*_rows()]
    questions = []
    for name, precision in WANTED_PRECISION.items():
        chosen = [number for number, row in enumerate(rows) if name in row.answers]
        answers = [rows[number].answers[name] for number in chosen]
        parts = np.array([rows[number].fold for number in chosen])
        questions.append(Question(name, np.array(chosen), answers, precision, parts))
    return learning.learn_all([folded(row.words) for row in rows], questions, light=True)


class _Row(NamedTuple):
    """A text, and the right answers to the questions it teaches."""

    words: str
    answers: Mapping[str, str]
    fold: int


def _rows() -> Iterator[_Row]:
    for each in phrases.examples():
        answers = {
            "topic": each.topic.value,
            "priority": each.priority.value,
            "sentiment": each.sentiment.value,
            "spam": Spam.NOT_SPAM.value,
        }
        yield _Row(words_of(each.subject, each.body), answers, each.fold)
    for subject, body, fold in junk.messages(phrases.FOLDS):
        yield _Row(words_of(subject, body), {"spam": Spam.SPAM.value}, fold)
    for text, sentiment, fold in moods.messages(phrases.FOLDS):
        answers = {"sentiment": sentiment.value, "spam": Spam.NOT_SPAM.value}
        yield _Row(words_of("", text), answers, fold)


def measure() -> tuple[Head, ...]:
    """What the model can do, asked about phrases it was not taught; the thresholds follow from it.

    A third of the phrases at a time is held out. The thresholds were chosen on the same answers,
    which flatters precision a little, and the model in use has seen all phrases, which these three
    had not.
    """
    return train().heads
