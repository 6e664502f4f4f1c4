"""Texts as rows: what is looked up for many at once is what a plain count finds in each."""

import random
from collections import Counter
from itertools import combinations, pairwise

import numpy as np
import pytest

from adapters.classifier import features
from adapters.classifier.features import TOKEN, VIEWS, Reader, Vocabulary, chunks_of, runs_of
from adapters.classifier.meanings import Lookup

SAID = (
    "where is my parcel refund money back please the card was declined again and login does not"
    " work ok ja nein Überweisung 12345 <b>hi</b> :-) !! webaddress 🚀"
)
WORDS = SAID.split()
MEANINGS = ("parcel package", "refund* money", "card")
SHARES = (1.0, 0.7, 1.0, 1.0)  # of words, words met together, letters, meanings


def texts() -> list[str]:
    chance = random.Random(4)
    drawn = [" ".join(chance.choices(WORDS, k=chance.randint(1, 60))) for _ in range(40)]
    odd = ["", "   ", "x" * 300, "parcel " * 90, "nothing-of-this", "\x00"]
    return [features.folded(text) for text in drawn + odd]


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return features.learnt(texts()[:30], pairs=True, least=2, meanings=MEANINGS)


def counted(text: str, vocabulary: Vocabulary) -> dict[int, int]:
    """How often each column is met, one thing after the other."""
    words, columns = {word: n for n, word in enumerate(vocabulary.words)}, Counter[int]()
    neighbours, pairs = vocabulary.neighbours.tolist(), vocabulary.pairs.tolist()
    lookup, count = Lookup(vocabulary.meanings), len(vocabulary.words)
    letters = count + len(neighbours)
    known: list[int] = []
    for chunk in chunks_of(text):
        tokens = TOKEN.findall(chunk)
        known += [words[token] for token in tokens if token in words]
        columns.update(
            letters + vocabulary.letters.index(run)
            for run in runs_of(chunk)
            if run in vocabulary.letters
        )
        first = letters + len(vocabulary.letters)
        columns.update(first + meaning for token in tokens for meaning in lookup.of(token))
    columns.update(known)
    keys = [a * count + b for a, b in pairwise(known)]
    columns.update(count + neighbours.index(key) for key in keys if key in neighbours)
    together = [a * count + b for a, b in combinations(sorted(set(known[:40])), 2)]
    columns.update(vocabulary.core + pairs.index(key) for key in together if key in pairs)
    return columns


def weighed(columns: dict[int, int], vocabulary: Vocabulary) -> dict[int, float]:
    """Logarithmic counts by rarity, each view of its share in a row of length one."""
    words = len(vocabulary.words) + len(vocabulary.neighbours)
    ends = [words, words + len(vocabulary.letters), vocabulary.core, vocabulary.columns]
    view_of = (0, 2, 3, 1)
    squares = [0.0] * VIEWS
    row = {}
    for column, often in columns.items():
        view = view_of[next(n for n, end in enumerate(ends) if column < end)]
        row[column] = ((1 + np.log(often)) * float(vocabulary.rarity[column]), view)
        squares[view] += row[column][0] ** 2
    length = sum(share**2 for share, square in zip(SHARES, squares, strict=True) if square)
    return {
        column: weight * SHARES[view] / (squares[view] * length) ** 0.5
        for column, (weight, view) in row.items()
    }


def test_a_batch_is_read_as_a_plain_count_of_each_text_would(vocabulary: Vocabulary) -> None:
    asked = texts()
    found = Reader(vocabulary).rows(asked)
    for number, text in enumerate(asked):
        row = dict(zip(found[number].indices.tolist(), found[number].data.tolist(), strict=True))
        assert row == pytest.approx(weighed(counted(text, vocabulary), vocabulary), abs=1e-5)
    assert len(vocabulary.pairs), "nothing was met together"


def test_what_was_read_before_changes_nothing(vocabulary: Vocabulary) -> None:
    asked = texts()
    reader = Reader(vocabulary)
    together, again = reader.rows(asked), reader.rows(asked)
    assert (together != again).nnz == 0
    for number, text in enumerate(asked):
        assert (together[number] != Reader(vocabulary).rows([text])).nnz == 0


def test_nothing_to_read_is_no_row(vocabulary: Vocabulary) -> None:
    assert Reader(vocabulary).rows([]).shape == (0, vocabulary.columns)
