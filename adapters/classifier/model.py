"""What is learnt, and how it answers. Nothing here trains, and nothing changes once made."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.sparse import csr_matrix
from scipy.special import softmax
from threadpoolctl import ThreadpoolController

from adapters.classifier import vectors
from adapters.classifier.features import Matrix, Reader, Vocabulary, folded
from adapters.classifier.network import Network
from adapters.classifier.vectors import Encoder
from domain.triage import Prediction, predicted

_AT_ONCE: Final = 256  # texts read together: bounds the memory that a long list takes
_MOST_WORDS: Final = 5  # that are named as having decided
_AROUND: Final = ".,;:!?()[]{}\"'`«»„“”‚‘’…"  # stands around a word and is no part of it
_SMALL_WORDS: Final = """
    a an and are at be been by for from had has have he her his i in is it its me my of on or our
    she so than that the their them they this to us was we with you your
    als am auf aus bei das dem den der des die du ein eine einem einen einer er es fuer habe haben
    hat ich ihr ihre im ist mein meine mir mit oder sie sind uns und unser unsere von war was wir
    zu zum zur
"""
_TELL_NOTHING: Final = frozenset(_SMALL_WORDS.split())
_MOST_TOLD: Final = 3  # labels a prediction names


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


class Mix(BaseModel):
    """In which proportion the two students' scores are added; the temperature is in it too."""

    model_config = ConfigDict(frozen=True)

    linear: float
    network: float

    def of(
        self, linear: NDArray[np.floating], network: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """The scores whose softmax are the probabilities."""
        return np.asarray(linear * self.linear + network * self.network, dtype=np.float64)


class Measures(BaseModel):
    """How well a head did on rows it had not seen.

    `coverage` is the share of held-out texts with a probability of at least `threshold`,
    `precision` the share of those that were right, `accuracy` that of all held-out texts.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    held_out: int
    accuracy: float
    macro_f1: float
    calibration_error: float
    threshold: float
    coverage: float
    precision: float


@dataclass(frozen=True)
class Head:
    """One of the questions a model answers.

    `linear` has a row for each column of the vocabulary, `network` too or for those before the
    pairs; behind them both have rows for the dimensions of a sentence vector, if the model reads
    those.
    Texts whose best score is below `usual` are stranger than nineteen of twenty held-out ones.
    """

    name: str
    labels: tuple[str, ...]
    linear: Matrix
    intercepts: Matrix
    network: Network | None
    mix: Mix
    measures: Measures
    usual: float


@dataclass(frozen=True)
class Model:
    """All that is learnt, as numbers and text.

    `probe` is what the encoder it was taught with makes of one sentence; None where it reads no
    sentence vectors.
    """

    vocabulary: Vocabulary
    heads: tuple[Head, ...]
    probe: Matrix | None = None

    @property
    def is_answerable(self) -> bool:
        """Whether this process has the sentence vectors it needs, if it needs any."""
        if self.probe is None:
            return True
        encoder = vectors.installed()
        return encoder is not None and encoder.is_as(self.probe)


class Answers(NamedTuple):
    """What a head says about some texts: probabilities with a row a text, and strangeness."""

    shares: NDArray[np.float64]
    strangeness: NDArray[np.float64]


@dataclass(frozen=True)
class TextModel:
    """A model that can be asked. Threads may share one."""

    model: Model
    version: str
    reader: Reader = field(init=False)
    encoder: Encoder | None = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reader", Reader(self.model.vocabulary))
        object.__setattr__(
            self, "encoder", None if self.model.probe is None else vectors.installed()
        )

    @property
    def head(self) -> Head:
        """The only head of a model that was taught one question."""
        [head] = self.model.heads
        return head

    def predict(self, text: str, *, why: bool = True) -> Prediction:
        """The label of any text, how sure, and (`why`) the words that decided."""
        return self.predict_many([text], why=why)[0]

    def predict_many(self, texts: Sequence[str], *, why: bool = False) -> list[Prediction]:
        """A prediction for each text, in order; the same as one by one, and quicker."""
        if len(texts) == 1:
            return self._predicted_of(texts, why=why)
        made: list[Prediction] = []
        # The matrices are too thin for threads to pay: a second core only spins.
        with _threads().limit(limits=1, user_api="blas"):
            for start in range(0, len(texts), _AT_ONCE):
                made.extend(self._predicted_of(texts[start : start + _AT_ONCE], why=why))
        return made

    def _predicted_of(self, texts: Sequence[str], *, why: bool) -> list[Prediction]:
        bare, head = [folded(text) for text in texts], self.head
        rows = self.reader.rows(bare)
        spoken = None if self.encoder is None else self.encoder.encode(texts)
        answers = self.answers(rows, head, spoken)
        best = _best(answers.shares)
        told = np.take_along_axis(answers.shares, best, axis=1).tolist()
        return [
            predicted(
                [head.labels[label] for label in labels],
                probabilities,
                threshold=head.measures.threshold,
                strangeness=strangeness,
                model_version=self.version,
                words=self.deciding_words(bare[row], rows[row], head, labels[0]) if why else (),
            )
            for row, (labels, probabilities, strangeness) in enumerate(
                zip(best.tolist(), told, answers.strangeness.tolist(), strict=True)
            )
        ]

    def answers(self, rows: csr_matrix, head: Head, spoken: Matrix | None = None) -> Answers:
        """What `head` says about rows of the reader's; `spoken` are the same texts' vectors."""
        columns, core = self.model.vocabulary.columns, self.model.vocabulary.core
        linear = rows @ head.linear[:columns] + head.intercepts
        if spoken is not None:
            linear += spoken @ head.linear[columns:]
        scores = linear * head.mix.linear
        if head.network is not None:
            with_pairs = len(head.network.inner) == len(head.linear)
            read = rows if with_pairs else _before(rows, core)
            scores = scores + head.network.scores(read, spoken) * head.mix.network
        return Answers(softmax(scores, axis=1), _strangeness(scores, head))

    def deciding_words(
        self, text: str, row: csr_matrix, head: Head, label: int
    ) -> tuple[tuple[str, float], ...]:
        """The telling words that spoke most for `label` against the mean of all labels.

        Exact for the linear part of the terms: with the pairs, which belong to no single word, the
        weights of all words add up to its score. A sentence vector belongs to no word either.
        """
        weights = head.linear[row.indices]
        spoke = (weights[:, label] - weights.mean(axis=1)) * row.data
        by_column = dict(zip(row.indices.tolist(), spoke.tolist(), strict=True))
        words = self.reader.columns_by_word(text)
        shared = Counter(chain.from_iterable(columns for _, columns in words))
        dealt = {column: by_column.get(column, 0.0) / count for column, count in shared.items()}
        weight: dict[str, float] = {}
        for chunk, columns in words:
            word = chunk.strip(_AROUND) or chunk
            weight[word] = weight.get(word, 0.0) + sum(dealt[column] for column in columns)
        ranked = sorted(weight.items(), key=lambda entry: -entry[1])
        spoke_for = [(word, round(part, 4)) for word, part in ranked if part > 0]
        # Whatever an article weighs, nobody learns anything from its name.
        telling = [entry for entry in spoke_for if entry[0] not in _TELL_NOTHING]
        return tuple((telling or spoke_for)[:_MOST_WORDS])


def _best(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """The places of the largest numbers of each row, the largest first; of equal ones the first."""
    left, rows = shares.copy(), np.arange(len(shares))
    found = []
    for _ in range(min(_MOST_TOLD, shares.shape[1])):
        found.append(left.argmax(axis=1))
        left[rows, found[-1]] = -1
    return np.column_stack(found)


def _before(rows: csr_matrix, core: int) -> csr_matrix:
    """The columns before `core`, quicker than by slicing."""
    kept = rows.indices < core
    ends = np.concatenate(([0], np.cumsum(kept)))[rows.indptr]
    return csr_matrix((rows.data[kept], rows.indices[kept], ends), shape=(rows.shape[0], core))


def _strangeness(scores: NDArray[np.float64], head: Head) -> NDArray[np.float64]:
    """From 0 (like what was taught) to 1 (like nothing seen); a half where `usual` is."""
    return np.asarray(1 / (1 + np.exp(np.clip(scores.max(axis=1) - head.usual, -50, 50))))
