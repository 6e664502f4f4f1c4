"""Text as rows of numbers: words, neighbours, words met together, runs of letters, and meanings.

Made for speed on short texts: what a chunk of text between blanks consists of is worked out once
and remembered, so that a batch costs little more than looking its chunks up; words side by side
and met together are looked up for all texts of a batch at once.
"""

import html
import re
import unicodedata
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Generic, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from adapters.classifier.meanings import Lookup
from domain.triage import LONGEST

Matrix = NDArray[np.float32]
Keys = NDArray[np.int64]
T = TypeVar("T", int, str)

TOKEN: Final = re.compile(r"\w+|[!?]+|[\u2190-\u2bff\U0001f000-\U0001faff]|[:;=8]['-]?[()DPp/|]|<3")
WORD: Final = re.compile(r"[^\W\d_]\w+")  # of the tokens, those that can be known or not
VIEWS: Final = 4  # words and neighbours; words met together; letters; meanings
WORDS, TOGETHER, LETTERS, MEANINGS = range(VIEWS)
_SHARES: Final = np.array([1.0, 0.7, 1.0, 1.0], dtype=np.float32)  # of each view in the length

_UMLAUTS: Final = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
_ADDRESS: Final = re.compile(r"https?://\S{1,500}|www\.\S{1,500}|\S{1,100}@\S{1,100}\.\w{2,24}")
_MENTION: Final = re.compile(r"(?<!\w)@\w{1,60}")
_TAG: Final = re.compile(r"</?[a-z][^<>]{0,200}>")
_LONG_NUMBER: Final = re.compile(r"\d{4,}")
_SHORTEST_RUN, _LONGEST_RUN = 2, 5  # letters
_LONGEST_CHUNK: Final = 40  # what has no blank for longer (a key, Chinese) is read in pieces
_MOST_PAIRED: Final = 40  # words; pairs of a long text are many and say little
_REMEMBERED: Final = 60_000  # chunks, some 30 MB
_MOST: Final = {"words": 60_000, "neighbours": 80_000, "pairs": 60_000, "letters": 80_000}
_COUNTED_AT_ONCE: Final = 3_000_000  # entries of one counter, before the rarest are forgotten


def folded(text: str) -> str:
    """`text` as the model sees it: one case, "ü" as "ue", no tags, all addresses alike."""
    plain = text[:LONGEST]
    if plain.isascii():  # has no other form, no umlaut, and two cases
        plain = plain.lower()
    else:
        plain = unicodedata.normalize("NFKC", plain)[:LONGEST].casefold().translate(_UMLAUTS)
    if "&" in plain:
        plain = html.unescape(plain)
    if "@" in plain or "/" in plain or "www." in plain:
        plain = _MENTION.sub(" @someone ", _ADDRESS.sub(" webaddress ", plain))
    if "<" in plain:
        plain = _TAG.sub(" ", plain)
    return _LONG_NUMBER.sub("0000", plain)


def chunks_of(text: str) -> Iterator[str]:
    """What stands between blanks, in pieces where it is longer than any word."""
    for chunk in text.split():
        if len(chunk) <= _LONGEST_CHUNK:
            yield chunk
        else:
            for start in range(0, len(chunk), _LONGEST_CHUNK):
                yield chunk[start : start + _LONGEST_CHUNK]


def runs_of(chunk: str) -> Iterator[str]:
    """Two to five letters in a row, the blanks around the chunk included."""
    padded = f" {chunk} "
    for size in range(_SHORTEST_RUN, min(_LONGEST_RUN, len(padded)) + 1):
        for start in range(len(padded) - size + 1):
            yield padded[start : start + size]


@dataclass(frozen=True)
class Vocabulary:
    """What is counted in a text. Columns: words, neighbours, letters, meanings, then pairs.

    `neighbours` and `pairs` are sorted keys: number of the one word times the count of words plus
    number of the other. A meaning is its words between blanks, folded. `rarity` has a number for
    each column.
    """

    words: tuple[str, ...]
    neighbours: Keys
    letters: tuple[str, ...]
    pairs: Keys
    rarity: Matrix
    meanings: tuple[str, ...] = ()

    @property
    def columns(self) -> int:
        return len(self.rarity)

    @property
    def core(self) -> int:
        """The columns before the pairs, which alone a projection is made of."""
        return len(self.words) + len(self.neighbours) + len(self.letters) + len(self.meanings)


class Seen(NamedTuple):
    """A chunk, looked up: its known words, and the columns of its letters and meanings."""

    words: "array[int]"
    letters: "array[int]"


class _Keyed:
    """Finds sorted keys, many at once; most that are asked for are none of them."""

    def __init__(self, keys: Keys, *, first: int) -> None:
        self._keys, self._first = keys, first
        self._is_possible = np.zeros(1 << 20 if len(keys) else 1, dtype=np.bool_)
        self._is_possible[self._folded(keys)] = True

    def found(self, keys: Keys) -> tuple[Keys, Keys]:
        """The columns of those that are known, and their places among `keys`."""
        places = np.flatnonzero(self._is_possible[self._folded(keys)])
        asked = keys[places]
        near = np.searchsorted(self._keys, asked)
        is_known = near < len(self._keys)
        is_known[is_known] = self._keys[near[is_known]] == asked[is_known]
        return near[is_known] + self._first, places[is_known]

    def column(self, key: int) -> int | None:
        """The column of one key."""
        place = bisect_left(self._keys, key)
        is_known = place < len(self._keys) and int(self._keys[place]) == key
        return self._first + place if is_known else None

    def _folded(self, keys: Keys) -> Keys:
        return (keys ^ (keys >> 20)) & (len(self._is_possible) - 1)


class Reader:
    """Turns texts into rows. Threads may share one: its only state is a memory of chunks."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        count, start = len(vocabulary.words), len(vocabulary.words) + len(vocabulary.neighbours)
        self._count = count
        self._words = {word: column for column, word in enumerate(vocabulary.words)}
        self._neighbours = _Keyed(vocabulary.neighbours, first=count)
        self._letters = {run: column for column, run in enumerate(vocabulary.letters, start=start)}
        self._pairs = _Keyed(vocabulary.pairs, first=vocabulary.core)
        self._meanings = Lookup(vocabulary.meanings)
        self._first_meaning = start + len(vocabulary.letters)
        views = np.full(vocabulary.columns, WORDS, dtype=np.int64)
        views[start : self._first_meaning] = LETTERS
        views[self._first_meaning : vocabulary.core] = MEANINGS
        views[vocabulary.core :] = TOGETHER
        self._views = views
        self._seen: dict[str, Seen] = {}

    def rows(self, texts: Sequence[str]) -> csr_matrix:
        """A row of length one (or zero, where nothing is known) for each folded text."""
        letters, words, letter_ends, word_ends = array("i"), array("i"), [0], [0]
        for text in texts:
            for seen in self._chunks(text):
                letters += seen.letters
                words += seen.words
            letter_ends.append(len(letters))
            word_ends.append(len(words))
        said, of_word = _numbers(words), _rows_of(word_ends)
        width = self.vocabulary.columns
        places = [
            _rows_of(letter_ends) * width + _numbers(letters),
            of_word * width + said,
            self._side_by_side(said, of_word),
        ]
        if len(self.vocabulary.pairs):
            places.append(self._met_together(said, of_word, word_ends))
        return self._weighed(np.concatenate(places), len(texts))

    def known_share(self, text: str) -> float:
        """The part of the text's words that is in the vocabulary."""
        met = [word in self._words for word in WORD.findall(text)]
        return sum(met) / len(met) if met else 0.0

    def columns_by_word(self, text: str) -> list[tuple[str, list[int]]]:
        """Each word of the text with the columns it has a part in, for saying what decided.

        A column of two words stands with both.
        """
        found: list[tuple[str, list[int]]] = []
        previous = -1
        for chunk in chunks_of(text):
            seen = self._seen.get(chunk) or self._look_up(chunk)
            columns = seen.letters.tolist()
            for word in seen.words:
                columns.append(word)
                column = self._neighbours.column(previous * self._count + word)
                if previous >= 0 and column is not None:
                    columns.append(column)
                    if found:
                        found[-1][1].append(column)
                previous = word
            found.append((chunk, columns))
        return found

    def _chunks(self, text: str) -> list[Seen]:
        get, chunks = self._seen.get, text.split()
        found = [get(chunk) for chunk in chunks]
        if None not in found:
            return cast(list[Seen], found)
        # Some are new, or too long to be remembered whole.
        return [self._seen.get(piece) or self._look_up(piece) for piece in chunks_of(text)]

    def _side_by_side(self, words: Keys, of: Keys) -> Keys:
        """Where neighbours are met, of words and the rows those stand in."""
        firsts = np.flatnonzero(of[1:] == of[:-1])
        columns, places = self._neighbours.found(words[firsts] * self._count + words[firsts + 1])
        return of[firsts[places]] * self.vocabulary.columns + columns

    def _met_together(self, words: Keys, of: Keys, ends: Sequence[int]) -> Keys:
        """Likewise of every two different ones among the first words of a row."""
        first = np.arange(len(words)) - np.array(ends)[of] < _MOST_PAIRED
        distinct = np.unique(of[first] * self._count + words[first])
        of, words = distinct // self._count, distinct % self._count
        # How many of its row stand behind each word, and where those begin.
        behind = np.searchsorted(of, of, side="right") - np.arange(len(of)) - 1
        starts = np.repeat(np.cumsum(behind) - behind, behind)
        ones = np.repeat(np.arange(len(of)), behind)
        others = ones + 1 + np.arange(len(ones)) - starts
        columns, places = self._pairs.found(words[ones] * self._count + words[others])
        return of[ones[places]] * self.vocabulary.columns + columns

    def _look_up(self, chunk: str) -> Seen:
        words, letters = self._words.get, self._letters.get
        tokens = TOKEN.findall(chunk)
        seen = Seen(
            array("i", [w for w in map(words, tokens) if w is not None]),
            array("i", [r for r in map(letters, runs_of(chunk)) if r is not None]),
        )
        for token in tokens:
            seen.letters.extend(self._first_meaning + n for n in self._meanings.of(token))
        if len(self._seen) >= _REMEMBERED:
            self._seen = {}  # a new one, so that a thread in the middle of the old is not disturbed
        self._seen[chunk] = seen
        return seen

    def _weighed(self, places: Keys, count: int) -> csr_matrix:
        """`count` rows, of where each thing was met: row times the number of columns, and column"""
        places.sort(kind="stable")  # quick where much is in order, as here
        firsts = np.flatnonzero(np.diff(places, prepend=-1))
        often = np.diff(firsts, append=len(places)).astype(np.float32)
        rows = places[firsts] // self.vocabulary.columns
        columns = places[firsts] - rows * self.vocabulary.columns
        data = (1 + np.log(often)) * self.vocabulary.rarity[columns]
        cell = rows * VIEWS + self._views[columns]
        squares = np.bincount(cell, weights=data * data, minlength=count * VIEWS)
        is_met = squares.reshape(-1, VIEWS) > 0
        share = np.sqrt((is_met * _SHARES**2).sum(axis=1))
        factor = is_met * _SHARES / np.maximum(share, 1e-9)[:, None]
        scale = (factor.reshape(-1) / np.sqrt(np.maximum(squares, 1e-12))).astype(np.float32)
        ends = np.searchsorted(rows, np.arange(count + 1))
        return csr_matrix(
            (data * scale[cell], columns.astype(np.int32), ends.astype(np.int32)),
            shape=(count, self.vocabulary.columns),
        )


def _numbers(found: "array[int]") -> Keys:
    return np.array(found, dtype=np.int64)


def _rows_of(ends: Sequence[int]) -> Keys:
    """For each thing found the row it was found in; those of row `n` end at `ends[n + 1]`."""
    return np.repeat(np.arange(len(ends) - 1), np.diff(ends))


def learnt(
    texts: Sequence[str], *, pairs: bool, least: int, meanings: Sequence[str] = ()
) -> Vocabulary:
    """The vocabulary of folded `texts`; runs of letters must occur in `least` of them.

    Of the `meanings` those are kept that occur in any text.
    """
    written = tuple(map(_folded_words, meanings))
    lookup = Lookup(written)
    meant: Counter[int] = Counter()
    words: _Tally[str] = _Tally(_MOST["words"])
    letters: _Tally[str] = _Tally(_MOST["letters"])
    for text in texts:
        chunks = set(chunks_of(text))
        tokens = {token for chunk in chunks for token in TOKEN.findall(chunk)}
        words.add(tokens)
        meant.update({number for token in tokens for number in lookup.of(token)})
        letters.add({run for chunk in chunks for run in runs_of(chunk)})
    kept_words, word_counts = words.kept(1)
    kept_letters, letter_counts = letters.kept(least)
    numbers = {word: number for number, word in enumerate(kept_words)}
    neighbours, together = _met_together(texts, numbers, pairs=pairs)
    neighbour_keys, neighbour_counts = neighbours.kept(1)
    pair_keys, pair_counts = together.kept(2)
    met = sorted(meant)
    counts = np.array(
        [
            *(*word_counts, *neighbour_counts, *letter_counts),
            *(*(meant[number] for number in met), *pair_counts),
        ],
        np.float64,
    )
    return Vocabulary(
        words=tuple(kept_words),
        neighbours=np.array(neighbour_keys, dtype=np.int64),
        letters=tuple(kept_letters),
        pairs=np.array(pair_keys, dtype=np.int64),
        rarity=(np.log((1 + len(texts)) / (1 + counts)) + 1).astype(np.float32),
        meanings=tuple(written[number] for number in met),
    )


def _folded_words(line: str) -> str:
    """Each word of the line as a model sees it, the blanks between them kept."""
    return " ".join(folded(word) for word in line.split())


class _Tally(Generic[T]):
    """In how many texts each thing occurs, with bounded memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[T] = Counter()

    def add(self, things: Iterable[T]) -> None:
        self._counts.update(things)
        if len(self._counts) > _COUNTED_AT_ONCE:
            self._counts = Counter({thing: n for thing, n in self._counts.items() if n > 1})

    def kept(self, least: int) -> tuple[list[T], list[int]]:
        """The most frequent things in order, each with its count."""
        found = [(thing, count) for thing, count in self._counts.items() if count >= least]
        if len(found) > self._most:
            found = sorted(found, key=lambda entry: (-entry[1], entry[0]))[: self._most]
        found.sort()
        return [thing for thing, _ in found], [count for _, count in found]


def _met_together(
    texts: Sequence[str], numbers: dict[str, int], *, pairs: bool
) -> tuple[_Tally[int], _Tally[int]]:
    neighbours: _Tally[int] = _Tally(_MOST["neighbours"])
    together: _Tally[int] = _Tally(_MOST["pairs"])
    count = len(numbers)
    for text in texts:
        tokens = (token for chunk in chunks_of(text) for token in TOKEN.findall(chunk))
        words = [numbers[token] for token in tokens if token in numbers]
        neighbours.add({a * count + b for a, b in pairwise(words)})
        if pairs:
            distinct = sorted(set(words[:_MOST_PAIRED]))
            together.add(
                a * count + b for place, a in enumerate(distinct, 1) for b in distinct[place:]
            )
    return neighbours, together
