"""Topic, priority, sentiment and language of a message, from small models on this machine.

`Classifier` is the one that ships; `learn` makes one from a desk's own rows, and `TextModel` asks
it. Importing this loads scikit-learn, so only the worker that classifies does.
"""

import fcntl
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from adapters.classifier import files, phrases, training
from adapters.classifier.features import folded
from adapters.classifier.files import ModelDamaged, read
from adapters.classifier.learning import Unteachable, learn
from adapters.classifier.model import Head, Model, TextModel
from domain.languages import language_of
from domain.triage import LEAST_KNOWN_SHARE, STRANGE, Guess, Prediction, Verdict, weigh, words_of

__all__ = [
    "Classifier",
    "Head",
    "Model",
    "ModelDamaged",
    "TextModel",
    "Unteachable",
    "learn",
    "read",
]

log = logging.getLogger(__name__)

_TAUGHT = frozenset(path.stem for path in phrases.files())
_AT_ONCE = 256  # messages classified together: bounds the memory that a long list takes


class Classifier:
    """Reads messages. Nothing in it changes after it was made, so threads may share one."""

    def __init__(self, model: Model, *, version: str) -> None:
        self.version = version
        self.heads = model.heads
        self._text_model = TextModel(model, version)
        self.classify("", "first use")  # what is loaded late is loaded before threads come

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
                        files.write(training.train(), path)
                        # As it was kept, so that every process answers the same to the digit.
                        model = read(path)
                        log.info("Trained the classifier, version %s", version)
            except OSError as error:
                log.warning("The classifier cannot be kept in %s: %s", folder, error)
                model = model or files.unpacked(files.packed(training.train()))
        return cls(model, version=version)

    def classify(self, subject: str, body: str) -> Verdict:
        """What the message is about, how pressing and in what mood; any text is welcome."""
        [verdict] = self._verdicts([words_of(subject, body)], why=True)
        return verdict

    def classify_many(self, messages: Sequence[tuple[str, str]]) -> list[Verdict]:
        """A verdict for each (subject, body), in order; as one by one, but quicker and without
        the words that decided."""
        verdicts: list[Verdict] = []
        for start in range(0, len(messages), _AT_ONCE):
            words = [words_of(*message) for message in messages[start : start + _AT_ONCE]]
            verdicts.extend(self._verdicts(words, why=False))
        return verdicts

    def _verdicts(self, words: Sequence[str], *, why: bool) -> Iterator[Verdict]:
        texts, reader = [folded(each) for each in words], self._text_model.reader
        rows = reader.rows(texts)
        answers = [self._text_model.answers(rows, head) for head in self.heads]
        for number, text in enumerate(texts):
            language = language_of(words[number])
            is_foreign = not language.abstained and language.label not in _TAUGHT
            known_share = 0.0 if is_foreign else reader.known_share(text)
            guesses: dict[str, Guess] = {}
            for head, answer in zip(self.heads, answers, strict=True):
                guess = weigh(
                    dict(zip(head.labels, answer.shares[number].tolist(), strict=True)),
                    threshold=head.measures.threshold,
                    known_share=known_share,
                )
                label = head.labels.index(guess.label)
                guesses[head.name] = Prediction(
                    **dict(guess),
                    words=self._text_model.deciding_words(text, rows[number], head, label)
                    if why
                    else (),
                    # What it was not taught to read is stranger to it than any score can say.
                    strangeness=max(STRANGE, 1 - known_share)
                    if known_share < LEAST_KNOWN_SHARE
                    else min(STRANGE, float(answer.strangeness[number])),
                    out_of_scope=known_share < LEAST_KNOWN_SHARE,
                    model_version=self.version,
                )
            yield Verdict(
                topic=guesses["topic"],
                priority=guesses["priority"],
                sentiment=guesses["sentiment"],
                spam=guesses["spam"],
                language=language,
                model_version=self.version,
            )


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
