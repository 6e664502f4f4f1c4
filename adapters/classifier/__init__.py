"""Topic, priority and sentiment of a message, from a small model that lives on this machine.

Importing this loads scikit-learn, so only the worker that classifies does.
"""

import fcntl
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from adapters.classifier import files, training
from adapters.classifier.files import ModelDamaged, read
from adapters.classifier.training import Head, Model
from domain.triage import Verdict, weigh, words_of

__all__ = ["Classifier", "Head", "ModelDamaged", "read"]

log = logging.getLogger(__name__)

_AT_ONCE = 256  # messages classified together: bounds the memory that a long list takes


class Classifier:
    """Reads messages. Nothing in it changes after it was made, so threads may share one."""

    def __init__(self, model: Model, *, version: str) -> None:
        self.version = version
        self.heads = model.heads
        self._words = training.word_vectorizer(model.words)
        self._letters = training.letter_vectorizer(model.letters)
        self._known = frozenset(term for term in model.words.terms if " " not in term)
        self._word_weights = model.weights[: len(model.words.terms)]
        self._letter_weights = model.weights[len(model.words.terms) :]
        self._intercepts = model.intercepts
        self.classify("", "first use")  # the vectorizers finish their set-up before threads come

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The classifier kept in `folder`, trained first (some seconds) where there is none.

        A damaged file is replaced by training again; a folder that cannot be written costs the
        training at each start. Both are logged. One process trains, others wait for it.
        """
        version = training.fingerprint()
        path = folder / f"model-{version}.skops"
        model = _kept(path)
        if model is None:
            try:
                with _alone_in(folder):
                    model = _kept(path)  # another process may have trained meanwhile
                    if model is None:
                        model = training.train()
                        files.write(model, path)
                        log.info("Trained the classifier, version %s", version)
            except OSError as error:
                log.warning("The classifier cannot be kept in %s: %s", folder, error)
                model = model or training.train()
        return cls(model, version=version)

    def classify(self, subject: str, body: str) -> Verdict:
        """What the message is about, how pressing and in what mood; any text is welcome."""
        return self.classify_many([(subject, body)])[0]

    def classify_many(self, messages: Sequence[tuple[str, str]]) -> list[Verdict]:
        """A verdict for each (subject, body), in order; the same as one by one, and quicker."""
        verdicts: list[Verdict] = []
        for start in range(0, len(messages), _AT_ONCE):
            texts = [
                training.folded(words_of(subject, body))
                for subject, body in messages[start : start + _AT_ONCE]
            ]
            for text, scores in zip(texts, self._scores(texts), strict=True):
                verdicts.append(self._verdict(text, scores))
        return verdicts

    def _scores(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """A row a text and a column a label of each head in turn, before they become shares."""
        words, letters = self._words.transform(texts), self._letters.transform(texts)
        scores = words @ self._word_weights + letters @ self._letter_weights + self._intercepts
        return np.asarray(scores, dtype=np.float64)

    def _verdict(self, text: str, scores: NDArray[np.float64]) -> Verdict:
        known_share = self._known_share(text)
        guesses, start = {}, 0
        for head in self.heads:
            end = start + len(head.labels)
            shares = softmax(scores[start:end] / head.temperature)
            guesses[head.name] = weigh(
                dict(zip(head.labels, shares.tolist(), strict=True)),
                threshold=head.threshold,
                known_share=known_share,
            )
            start = end
        return Verdict(
            topic=guesses["topic"],
            priority=guesses["priority"],
            sentiment=guesses["sentiment"],
            model_version=self.version,
        )

    def _known_share(self, text: str) -> float:
        met = [word in self._known for word in training.WORD.findall(text)]
        return sum(met) / len(met) if met else 0.0


def _kept(path: Path) -> Model | None:
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except (ModelDamaged, OSError) as error:
        log.warning("Training the classifier again: %s", error)
        return None


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Holds the folder's lock; the system gives it back if this process dies."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".training.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
