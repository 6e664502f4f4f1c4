"""Documents that answer a text: articles, replies and tickets, by their words.

Four readings of the same words are added: BM25 over words and word beginnings, in which a word
nobody wrote counts as the words it resembles; beginnings of words side by side, which tell apart
what shares its words and says something else; letters, which survive typos and compounds; and a
space of some hundred dimensions, in which "refund" and "money back" are near. Where sentence
vectors are installed their space takes its place. Each is between nought and one, so a score means
the same for a short question and a long mail.
"""

import html
import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix, csr_matrix
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from adapters.classifier import vectors
from adapters.classifier.features import Matrix, chunks_of
from domain.triage import LONGEST

Columns = NDArray[np.int64]

_WORD: Final = re.compile(r"\w+")
_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_TAG: Final = re.compile(r"</?[a-z][^<>]{0,200}>")
_ESCAPED: Final = re.compile(r"(?:\\[nrt])+")
_STEM: Final = 5  # letters of a word's beginning that stand for its inflections
_STEM_SHARE: Final = 0.5
_SATURATION, _LENGTH = 1.2, 0.6  # BM25's k1 and b
_MOST_ASKED: Final = 60  # words of a query: the rarest of a long mail say what it is about
_RESEMBLING: Final = 0.55  # share of letter runs in common from which a word is taken for another
_MOST_RESEMBLING: Final = 3
_DIMENSIONS: Final = 192
_MADE_FROM: Final = 20_000  # documents that the space is made from; the others find a place in it
_SHARES: Final = {"words": 0.6, "letters": 0.35, "space": 0.05}
_SHARES_WITH_VECTORS: Final = {"words": 0.45, "letters": 0.3, "space": 0.25}
# Of what stands side by side, beside all of the above: in a long text more of it says something.
_PAIRS, _PAIRS_OF_LONG, _LONG = 0.1, 0.3, 25
_BUCKETS: Final = (12, 20)  # powers of two: pairs share columns, or a desk's would fill the memory
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
class _Weighed:
    """Rows of length one over whatever was counted: runs of letters, pairs of words."""

    rarity: Matrix
    rows: csc_matrix


@dataclass(frozen=True)
class _Letters:
    """Texts by their runs of letters."""

    columns: dict[str, int]
    weighed: _Weighed


class Retriever:
    """Finds documents. Nothing in it changes after it was built, so threads may share one."""

    def __init__(self, documents: Sequence[Document], *, with_vectors: bool = True) -> None:
        self.ids = tuple(document.id for document in documents)
        self._encoder = vectors.installed() if with_vectors else None
        self._shares = _SHARES if self._encoder is None else _SHARES_WITH_VECTORS
        texts = [folded(document.text) for document in documents]
        with threadpool_limits(limits=1):
            self._build_words(texts)
            self._build_pairs(texts)
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
        words = _words(bare)
        scores = (
            self._shares["words"] * self._by_words(asked)
            + self._shares["letters"] * _alike(self._letters, bare)
            + self._shares["space"] * self._by_space(asked, text)
        )
        pairs = _PAIRS_OF_LONG if len(words) > _LONG else _PAIRS
        scores = (1 - pairs) * scores + pairs * self._by_pairs(words)
        count = min(k, len(scores))
        best = np.argpartition(-scores, count - 1)[:count]
        ordered = sorted(best.tolist(), key=lambda row: (-scores[row], row))
        found = [row for row in ordered if scores[row] > 1e-6]
        return [
            Hit(self.ids[row], float(min(scores[row], 1.0)), why)
            for row, why in zip(found, self._why(found, asked), strict=True)
        ]

    def _build_words(self, texts: Sequence[str]) -> None:
        met: dict[str, int] = {}
        columns, often, ends = array("i"), array("f"), array("q", [0])
        for text in texts:
            counted = Counter(_terms(text))
            columns.extend(met.setdefault(term, len(met)) for term in counted)
            often.extend(counted.values())
            ends.append(len(columns))
        self._columns = met
        self._vocabulary = [term for term in met if not term.endswith("*")]
        rows = _matrix(columns, often, ends, len(met))
        lengths = np.maximum(np.asarray(rows.sum(axis=1)).ravel(), 1).astype(np.float32)
        usual = float(lengths.mean()) if len(lengths) else 1.0
        frequency = np.bincount(rows.indices, minlength=len(met))
        self._rarity = np.log(1 + (len(texts) - frequency + 0.5) / (frequency + 0.5)).astype(
            np.float32
        )
        longer = _SATURATION * (1 - _LENGTH + _LENGTH * lengths / usual)
        rows.data = rows.data * (_SATURATION + 1) / (rows.data + np.repeat(longer, np.diff(ends)))
        self._rows = rows.tocsc()

    def _build_pairs(self, texts: Sequence[str]) -> None:
        columns, often, ends = array("i"), array("f"), array("q", [0])
        letters = sum(len(text) for text in texts)  # some six for each pair
        self._buckets = 1 << min(max(_BUCKETS[0], letters.bit_length()), _BUCKETS[1])
        for text in texts:
            counted = Counter(self._pairs_of(_words(text)))
            columns.extend(counted)
            often.extend(counted.values())
            ends.append(len(columns))
        self._pairs = _weighed(_matrix(columns, often, ends, self._buckets))

    def _pairs_of(self, words: Sequence[str]) -> Iterator[int]:
        """The columns of a text's neighbours, by their beginnings; of words nobody wrote, none."""
        numbers = [self._columns.get(_stem(word), -1) for word in words]
        for one, other in pairwise(numbers):
            if one >= 0 and other >= 0:
                yield (one * 1_000_003 + other * 8_191) % self._buckets

    def _build_space(self) -> None:
        weighed = self._rows.tocsr().copy()
        if weighed.nnz:
            weighed.data = weighed.data * self._rarity[weighed.indices]
        dimensions = min(_DIMENSIONS, min(weighed.shape) - 1)
        if dimensions < 2:
            self._axes = np.zeros((weighed.shape[1], 1), np.float32)
        else:
            every = -(-weighed.shape[0] // _MADE_FROM)
            made_from = weighed[::every] if every > 1 else weighed
            _, _, axes = randomized_svd(made_from, dimensions, n_iter=2, random_state=0)
            self._axes = np.ascontiguousarray(axes.T, dtype=np.float32)
        self._places = _of_length_one(np.asarray(weighed @ self._axes, dtype=np.float32))

    def _asked(self, bare: str) -> _Asked:
        often = Counter(_words(bare))
        columns: list[int] = []
        weights: list[float] = []
        words: list[str] = []
        unknown = 0
        for word, count in often.items():
            unknown += word not in self._columns
            standing = self._columns_of(word, guess=unknown <= _MOST_UNKNOWN)
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
        found = _sums(self._rows, np.array(asked.columns, dtype=np.int64), weights)
        # What a document would reach that says each word of the query often.
        return found / ((_SATURATION + 1) * float(weights.sum()))

    def _by_pairs(self, words: Sequence[str]) -> NDArray[np.float64]:
        counted = Counter(self._pairs_of(words))
        columns = np.fromiter(counted, dtype=np.int64, count=len(counted))
        return _cosines(self._pairs, columns, np.array([*counted.values()], np.float32))

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

    def _why(self, rows: Sequence[int], asked: _Asked) -> list[tuple[str, ...]]:
        """For each of `rows` the words of the query that it says, the weightiest first."""
        said: list[dict[str, float]] = [{} for _ in rows]
        wanted = np.array(rows, dtype=np.int64)
        for column, weight, word in zip(*asked, strict=True):
            start, end = self._rows.indptr[column], self._rows.indptr[column + 1]
            within = self._rows.indices[start:end]
            places = np.minimum(np.searchsorted(within, wanted), len(within) - 1)
            for found in np.flatnonzero(within[places] == wanted).tolist():
                part = weight * float(self._rows.data[start + places[found]])
                if part > 0:
                    said[found][word] = said[found].get(word, 0.0) + part
        return [
            tuple(sorted(parts, key=lambda word: (-parts[word], word))[:_MOST_WHY])
            for parts in said
        ]


def folded(text: str) -> str:
    """`text` in one case and without accents, tags and escaped line ends; numbers stay.

    An order's number tells more than anything else in a text, where documents are looked for.
    """
    plain = unicodedata.normalize("NFKC", text[:LONGEST])[:LONGEST].casefold().translate(_UMLAUTS)
    if "\\n" in plain and "\n" not in plain:  # exported with its line ends written out
        plain = _ESCAPED.sub(" ", plain)
    if "&" in plain:
        plain = html.unescape(plain)
    if "<" in plain:
        plain = _TAG.sub(" ", plain)
    if plain.isascii():
        return plain
    return "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))


def _words(text: str) -> list[str]:
    return [word[:_LONGEST_WORD] for word in _WORD.findall(text)]


def _stem(word: str) -> str:
    return word[:_STEM] + "*"


def _terms(text: str) -> list[str]:
    words = _words(text)
    return words + [_stem(word) for word in words]


def _runs(chunk: str) -> Iterator[str]:
    padded = f" {chunk} "
    return (
        padded[start : start + size] for size in _RUNS for start in range(len(padded) - size + 1)
    )


def _letters(texts: Sequence[str]) -> _Letters:
    met: dict[str, int] = {}
    known: dict[str, Columns] = {}  # a chunk's columns: most chunks come again
    columns, often, ends = array("i"), array("f"), array("q", [0])
    for text in texts:
        parts: list[Columns] = []
        for chunk in chunks_of(text):
            part = known.get(chunk)
            if part is None:
                numbers = [met.setdefault(run, len(met)) for run in _runs(chunk)]
                part = known[chunk] = np.array(numbers, dtype=np.int64)
            parts.append(part)
        if parts:
            found, times = np.unique(np.concatenate(parts), return_counts=True)
            columns.frombytes(found.astype(np.int32).tobytes())
            often.frombytes(times.astype(np.float32).tobytes())
        ends.append(len(columns))
    return _Letters(met, _weighed(_matrix(columns, often, ends, len(met))))


def _matrix(
    columns: "array[int]", often: "array[float]", ends: "array[int]", width: int
) -> csr_matrix:
    """Rows as they were collected; the arrays are not copied."""
    return csr_matrix(
        (
            np.frombuffer(often, dtype=np.float32) if often else np.zeros(0, np.float32),
            np.frombuffer(columns, dtype=np.int32) if columns else np.zeros(0, np.int32),
            np.frombuffer(ends, dtype=np.int64),
        ),
        shape=(len(ends) - 1, width),
    )


def _weighed(counts: csr_matrix) -> _Weighed:
    """Counts as rows of length one: their logarithm, times how rare each column is."""
    count, width = counts.shape
    met = np.bincount(counts.indices, minlength=width)
    rarity = (np.log((1 + count) / (1 + met)) + 1).astype(np.float32)
    values = (1 + np.log(counts.data)) * rarity[counts.indices]
    rows = np.repeat(np.arange(count), np.diff(counts.indptr))
    lengths = np.sqrt(np.bincount(rows, weights=values * values, minlength=count))
    values = (values / np.maximum(lengths, 1e-9)[rows]).astype(np.float32)
    matrix = csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)
    return _Weighed(rarity, matrix.tocsc())


def _alike(letters: _Letters, text: str) -> NDArray[np.float64]:
    """The cosine of `text` with each row, by its weightiest runs of letters."""
    counted = Counter(chain.from_iterable(_runs(chunk) for chunk in chunks_of(text)))
    known = [(letters.columns[run], n) for run, n in counted.items() if run in letters.columns]
    return _cosines(
        letters.weighed,
        np.array([column for column, _ in known], dtype=np.int64),
        np.array([times for _, times in known], dtype=np.float32),
    )


def _cosines(weighed: _Weighed, columns: Columns, often: Matrix) -> NDArray[np.float64]:
    """The cosine of a query with each row, by its weightiest columns."""
    values = (1 + np.log(often)) * weighed.rarity[columns] if len(columns) else often
    if len(columns) > _MOST_RUNS:
        kept = np.argsort(-values, kind="stable")[:_MOST_RUNS]
        columns, values = columns[kept], values[kept]
    length = float(np.sqrt((values * values).sum()))
    if not length:
        return np.zeros(weighed.rows.shape[0])
    return _sums(weighed.rows, columns, (values / length).astype(np.float32))


def _sums(rows: csc_matrix, columns: Columns, weights: Matrix) -> NDArray[np.float64]:
    """`rows` times a vector that is nought but in `columns`, without copying any."""
    sums = np.zeros(rows.shape[0], dtype=np.float64)
    for column, weight in zip(columns.tolist(), weights.tolist(), strict=True):
        start, end = rows.indptr[column], rows.indptr[column + 1]
        sums[rows.indices[start:end]] += rows.data[start:end] * weight
    return sums


def _of_length_one(rows: Matrix) -> Matrix:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), dtype=np.float32)
