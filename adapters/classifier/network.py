"""A small network over sparse rows: one hidden layer, trained with much forgetting.

scikit-learn's own (`MLPClassifier`) knows no dropout, and without it a network learns a few
thousand short texts by heart within two rounds. Only the rows of the weights that a batch touches
are updated, which makes a round over ten thousand texts a matter of a second or two.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Matrix = NDArray[np.float32]
Numbers = NDArray[np.int64]

_FIRST, _SECOND = 0.9, 0.99  # what Adam remembers of former gradients


@dataclass(frozen=True)
class Network:
    """Weights from terms to the hidden layer and from there to the labels.

    The last rows of `inner` read the dimensions of a sentence vector, where there is one.
    """

    inner: Matrix
    inner_bias: Matrix
    outer: Matrix
    outer_bias: Matrix

    def scores(self, rows: csr_matrix, vectors: Matrix | None = None) -> Matrix:
        """A column a label; the softmax of a row is what the network believes."""
        hidden = rows @ self.inner[: rows.shape[1]]
        if vectors is not None:
            hidden += vectors @ self.inner[rows.shape[1] :]
        hidden += self.inner_bias
        np.maximum(hidden, 0, out=hidden)
        return np.asarray(hidden @ self.outer + self.outer_bias, dtype=np.float32)


@dataclass(frozen=True)
class Schooling:
    """How a network is trained. `unread` and `asleep` are shares left out in each step."""

    hidden: int = 256
    rounds: int = 12
    pace: float = 6e-3
    unread: float = 0.3
    asleep: float = 0.5
    batch: int = 128


def taught(
    rows: csr_matrix,
    answers: Numbers,
    weights: Matrix,
    *,
    labels: int,
    schooling: Schooling,
    chance: np.random.Generator,
    tell: Callable[[float], None] = lambda done: None,
) -> Network:
    """A network that knows `rows`; `answers` are columns, `weights` what each answer counts.

    `tell` hears the share that is done after each round, and may raise to stop it.
    """
    student = _Student(rows.shape[1], labels, schooling, chance)
    count = rows.shape[0]
    steps = schooling.rounds * -(-count // schooling.batch)
    for number in range(schooling.rounds):
        order = chance.permutation(count)
        for start in range(0, count, schooling.batch):
            chosen = order[start : start + schooling.batch]
            student.step(rows[chosen], answers[chosen], weights[chosen], of=steps)
        tell((number + 1) / schooling.rounds)
    return student.network()


class _Student:
    def __init__(
        self, terms: int, labels: int, schooling: Schooling, chance: np.random.Generator
    ) -> None:
        self._schooling, self._chance, self._step = schooling, chance, 0
        spread = np.float32(1 / np.sqrt(schooling.hidden))
        self._inner = _Learning(
            chance.standard_normal((terms, schooling.hidden), dtype=np.float32) * spread
        )
        self._inner_bias = _Learning(np.zeros(schooling.hidden, dtype=np.float32))
        self._outer = _Learning(
            chance.standard_normal((schooling.hidden, labels), dtype=np.float32) * spread
        )
        self._outer_bias = _Learning(np.zeros(labels, dtype=np.float32))

    def step(self, rows: csr_matrix, answers: Numbers, weights: Matrix, *, of: int) -> None:
        self._step += 1
        pace = self._pace(of)
        columns, places = np.unique(rows.indices, return_inverse=True)
        read = csr_matrix(
            (
                rows.data * self._mask(rows.data.shape, self._schooling.unread),
                places.astype(np.int32),
                rows.indptr,
            ),
            shape=(rows.shape[0], len(columns)),
        )
        inner = self._inner.values[columns]
        before = read @ inner + self._inner_bias.values
        awake = self._mask(before.shape, self._schooling.asleep)
        hidden = np.maximum(before, 0) * awake
        error = _softmax(hidden @ self._outer.values + self._outer_bias.values)
        error[np.arange(len(answers)), answers] -= 1
        error *= (weights / len(answers))[:, None]
        inward = (error @ self._outer.values.T) * awake * (before > 0)
        self._outer.learn(hidden.T @ error, pace)
        self._outer_bias.learn(error.sum(axis=0), pace)
        self._inner_bias.learn(inward.sum(axis=0), pace)
        self._inner.learn(np.asarray(read.T @ inward), pace, columns)

    def network(self) -> Network:
        return Network(
            inner=self._inner.values,
            inner_bias=self._inner_bias.values,
            outer=self._outer.values,
            outer_bias=self._outer_bias.values,
        )

    def _pace(self, steps: int) -> np.float32:
        slower = 1 - self._step / (steps + 1)
        warm = np.sqrt(1 - _SECOND**self._step) / (1 - _FIRST**self._step)
        return np.float32(self._schooling.pace * slower * warm)

    def _mask(self, shape: tuple[int, ...], left_out: float) -> Matrix:
        kept = self._chance.random(shape, dtype=np.float32) >= left_out
        return kept.astype(np.float32) / np.float32(1 - left_out)


class _Learning:
    """Weights with Adam's two memories."""

    def __init__(self, values: Matrix) -> None:
        self.values = values
        self._mean, self._square = np.zeros_like(values), np.zeros_like(values)

    def learn(self, slope: Matrix, pace: np.float32, rows: Numbers | None = None) -> None:
        """One step against `slope`, of `rows` only where they are given."""
        at = slice(None) if rows is None else rows
        mean = self._mean[at] * np.float32(_FIRST) + slope * np.float32(1 - _FIRST)
        square = self._square[at] * np.float32(_SECOND) + slope**2 * np.float32(1 - _SECOND)
        self._mean[at], self._square[at] = mean, square
        self.values[at] -= pace * mean / (np.sqrt(square) + np.float32(1e-7))


def _softmax(scores: Matrix) -> Matrix:
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float32)
