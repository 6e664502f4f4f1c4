"""Documents that answer a text: articles, replies and tickets, by their words.

Three readings of the same words are added: BM25 over words and word beginnings, in which a word
nobody wrote counts as the words it resembles; letters, which survive typos and compounds; and a
space of some hundred dimensions, in which "refund" and "money back" are near. Where sentence
vectors are installed their space takes its place. Each is between nought and one, so a score means
the same for a short question and a long mail.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from adapters.classifier import vectors
from adapters.classifier.features import Matrix, chunks_of, folded

_WORD: Final = re.compile(r"\w+")
_STEM: Final = 5  # letters of a word's beginning that stand for its inflections
_STEM_SHARE: Final = 0.5
_SATURATION, _LENGTH = 1.2, 0.6  # BM25's k1 and b
_MOST_ASKED: Final = 60  # words of a query: the rarest of a long mail say what it is about
_RESEMBLING: Final = 0.55  # share of letter runs in common from which a word is taken for another
_MOST_RESEMBLING: Final = 3
_DIMENSIONS: Final = 192
_SHARES: Final = {"words": 0.6, "letters": 0.35, "space": 0.05}
_SHARES_WITH_VECTORS: Final = {"words": 0.45, "letters": 0.3, "space": 0.25}
_NEAR: Final = 0.5  # cosine of sentence vectors above which texts have to do with each other
_RUNS: Final = (3, 4)
_MOST_RUNS: Final = 400  # of letters in a query
_MOST_UNKNOWN: Final = 20  # words of a query that are compared with all words there are
_MOST_WHY: Final = 5
_LONGEST_WORD: Final = 40


class Document(NamedTuple):
    """What can be found."""

    id: str
    text: str


class Hit(NamedTuple):
    """A document found. `score` is 0 to 1; `why` are words of the query, the weightiest first."""

    id: str
    score: float
    why: tuple[str, ...]


class _Asked(NamedTuple):
    """The terms of a query: columns, weights, and the word of the query each came from."""

    columns: list[int]
    weights: list[float]
    words: list[str]


@dataclass(frozen=True)
class _Letters:
    """Rows of length one over runs of letters."""

    columns: dict[str, int]
    rarity: Matrix
    rows: csc_matrix


class Retriever:
    """Finds documents. Nothing in it changes after it was built, so threads may share one."""

    def __init__(self, documents: Sequence[Document], *, with_vectors: bool = True) -> None:
        self.ids = tuple(document.id for document in documents)
        self._encoder = vectors.installed() if with_vectors else None
        self._shares = _SHARES if self._encoder is None else _SHARES_WITH_VECTORS
        texts = [folded(document.text) for document in documents]
        with threadpool_limits(limits=1):
            self._build_words(texts)
            self._letters = _letters(texts)
            self._resembling = _letters(self._vocabulary)
            if self._encoder is None:
                self._build_space()
            else:
                self._places = self._encoder.encode([document.text for document in documents])
                self._places[[not _WORD.search(text) for text in texts]] = 0

    @classmethod
    def build(cls, documents: Iterable[Document], *, with_vectors: bool = True) -> Self:
        """A retriever over `documents`; a document without a word is never found.

        It reads sentence vectors too where they are installed, unless that is not wanted.
        """
        return cls(tuple(documents), with_vectors=with_vectors)

    def search(self, text: str, k: int = 5) -> list[Hit]:
        """The `k` documents that answer `text` best, best first; equal ones by their place.

        Fewer where fewer share anything with it, none for a text without a word.
        """
        bare = folded(text)
        asked = self._asked(bare)
        if not self.ids or k < 1 or not _WORD.search(bare):
            return []
        by_words = self._by_words(asked)
        scores = (
            self._shares["words"] * by_words
            + self._shares["letters"] * _alike(self._letters, bare)
            + self._shares["space"] * self._by_space(asked, text)
        )
        count = min(k, len(scores))
        best = np.argpartition(-scores, count - 1)[:count]
        ordered = sorted(best.tolist(), key=lambda row: (-scores[row], row))
        return [
            Hit(self.ids[row], float(min(scores[row], 1.0)), self._why(row, asked))
            for row in ordered
            if scores[row] > 1e-6
        ]

    def _build_words(self, texts: Sequence[str]) -> None:
        counts = [Counter(_terms(text)) for text in texts]
        met = Counter(term for counted in counts for term in counted)
        terms = sorted(met)
        self._columns = {term: column for column, term in enumerate(terms)}
        self._vocabulary = [term for term in terms if not term.endswith("*")]
        self._rarity = np.array(
            [math.log(1 + (len(texts) - met[t] + 0.5) / (met[t] + 0.5)) for t in terms], np.float32
        )
        lengths = np.array([max(counted.total(), 1) for counted in counts], dtype=np.float32)
        usual = float(lengths.mean()) if len(lengths) else 1.0
        rows = np.repeat(np.arange(len(texts)), [len(counted) for counted in counts])
        columns = np.array([self._columns[t] for c in counts for t in c], dtype=np.int64)
        often = np.array([n for c in counts for n in c.values()], dtype=np.float32)
        longer = _SATURATION * (1 - _LENGTH + _LENGTH * lengths / usual)
        values = often * (_SATURATION + 1) / (often + longer[rows]) if len(rows) else often
        self._rows = csr_matrix(
            (values.astype(np.float32), (rows, columns)), shape=(len(texts), len(terms))
        ).tocsc()

    def _build_space(self) -> None:
        weighed = self._rows.tocsr().copy()
        if weighed.nnz:
            weighed.data = weighed.data * self._rarity[weighed.indices]
        dimensions = min(_DIMENSIONS, min(weighed.shape) - 1)
        if dimensions < 2:
            self._axes = np.zeros((weighed.shape[1], 1), np.float32)
        else:
            _, _, axes = randomized_svd(weighed, dimensions, n_iter=2, random_state=0)
            self._axes = np.ascontiguousarray(axes.T, dtype=np.float32)
        self._places = _of_length_one(np.asarray(weighed @ self._axes, dtype=np.float32))

    def _asked(self, bare: str) -> _Asked:
        often = Counter(_WORD.findall(bare))
        columns: list[int] = []
        weights: list[float] = []
        words: list[str] = []
        unknown = 0
        for word, count in often.items():
            unknown += word not in self._columns
            standing = self._columns_of(word[:_LONGEST_WORD], guess=unknown <= _MOST_UNKNOWN)
            for column, share in standing:
                columns.append(column)
                weights.append(share * (1 + math.log(count)) * float(self._rarity[column]))
                words.append(word)
        if len(columns) > 2 * _MOST_ASKED:
            kept = sorted(range(len(columns)), key=lambda i: -weights[i])[: 2 * _MOST_ASKED]
            columns, weights, words = (
                [columns[i] for i in kept],
                [weights[i] for i in kept],
                [words[i] for i in kept],
            )
        return _Asked(columns, weights, words)

    def _columns_of(self, word: str, *, guess: bool) -> list[tuple[int, float]]:
        """The columns a word of a query stands for, each with how much it does."""
        column = self._columns.get(word)
        stem = self._columns.get(_stem(word))
        found = [] if stem is None else [(stem, _STEM_SHARE)]
        if column is not None:
            return [(column, 1.0), *found]
        if not guess or len(word) < 4 or word.isdigit():
            return found
        return [*found, *self._columns_resembling(word)]

    def _columns_resembling(self, word: str) -> list[tuple[int, float]]:
        alike = _alike(self._resembling, word)
        best = np.argsort(-alike, kind="stable")[:_MOST_RESEMBLING]
        return [
            (self._columns[self._vocabulary[i]], float(alike[i]))
            for i in best.tolist()
            if alike[i] >= _RESEMBLING
        ]

    def _by_words(self, asked: _Asked) -> NDArray[np.float64]:
        if not asked.columns:
            return np.zeros(len(self.ids))
        weights = np.array(asked.weights, dtype=np.float32)
        found = self._rows[:, asked.columns] @ weights
        # What a document would reach that says each word of the query often.
        return np.asarray(found / ((_SATURATION + 1) * weights.sum()), dtype=np.float64)

    def _by_space(self, asked: _Asked, text: str) -> NDArray[np.float64]:
        if self._encoder is not None:
            [place] = self._encoder.encode([text])
            return np.maximum(
                (np.asarray(self._places @ place, dtype=np.float64) - _NEAR) / _NEAR, 0
            )
        if not asked.columns:
            return np.zeros(len(self.ids))
        weights = np.array(asked.weights, dtype=np.float32)
        place = _of_length_one((weights @ self._axes[asked.columns])[None, :])[0]
        return np.maximum(np.asarray(self._places @ place, dtype=np.float64), 0)

    def _why(self, row: int, asked: _Asked) -> tuple[str, ...]:
        said: dict[str, float] = {}
        for column, weight, word in zip(*asked, strict=True):
            part = weight * float(self._rows[row, column])
            if part > 0:
                said[word] = said.get(word, 0.0) + part
        return tuple(sorted(said, key=lambda word: (-said[word], word))[:_MOST_WHY])


def _stem(word: str) -> str:
    return word[:_STEM] + "*"


def _terms(text: str) -> list[str]:
    words = [word[:_LONGEST_WORD] for word in _WORD.findall(text)]
    return words + [_stem(word) for word in words]


def _runs(text: str) -> Counter[str]:
    return Counter(
        padded[start : start + size]
        for padded in (f" {chunk} " for chunk in chunks_of(text))
        for size in _RUNS
        for start in range(len(padded) - size + 1)
    )


def _letters(texts: Sequence[str]) -> _Letters:
    counts = [_runs(text) for text in texts]
    met = Counter(run for counted in counts for run in counted)
    columns = {run: column for column, run in enumerate(sorted(met))}
    rarity = np.array([math.log((1 + len(texts)) / (1 + met[r])) + 1 for r in columns], np.float32)
    built = [_weighed(counted, columns, rarity) for counted in counts]
    ends = np.cumsum([0, *(len(indices) for indices, _ in built)])
    rows = csr_matrix(
        (
            np.concatenate([values for _, values in built] or [np.zeros(0, np.float32)]),
            np.concatenate([indices for indices, _ in built] or [np.zeros(0, np.int64)]),
            ends,
        ),
        shape=(len(texts), len(columns)),
    )
    return _Letters(columns, rarity, rows.tocsc())


def _alike(letters: _Letters, text: str) -> NDArray[np.float64]:
    """The cosine of `text` with each row, by its weightiest runs of letters."""
    indices, values = _weighed(_runs(text), letters.columns, letters.rarity)
    if len(indices) > _MOST_RUNS:
        kept = np.argsort(-values, kind="stable")[:_MOST_RUNS]
        indices, values = indices[kept], values[kept]
        values = values / np.linalg.norm(values)
    if not len(indices):
        return np.zeros(letters.rows.shape[0])
    return np.asarray(letters.rows[:, indices] @ values, dtype=np.float64)


def _weighed(
    counted: Counter[str], columns: dict[str, int], rarity: Matrix
) -> tuple[NDArray[np.int64], Matrix]:
    known = [(columns[run], count) for run, count in counted.items() if run in columns]
    indices = np.array([column for column, _ in known], dtype=np.int64)
    values = (1 + np.log(np.array([count for _, count in known], np.float32))) * rarity[indices]
    length = float(np.sqrt((values * values).sum()))
    return indices, (values / length if length else values).astype(np.float32)


def _of_length_one(rows: Matrix) -> Matrix:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), dtype=np.float32)
