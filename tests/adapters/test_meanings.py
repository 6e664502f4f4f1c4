"""Words that mean much the same: found whole or by their beginning, kept with the model."""

import json

import numpy as np
import pytest
import skops.io

from adapters.classifier import TextModel, files, learn, meanings
from adapters.classifier.features import TOKEN, Reader, folded
from adapters.classifier.features import learnt as vocabulary_of
from adapters.classifier.meanings import Lookup

ASKED = {
    "DELIVERY": ["where is my parcel", "my package has not come", "when do you ship it"],
    "PAYMENT": ["I paid with my card", "the bill is wrong", "invoice for my order"],
}
TEXTS = [text for texts in ASKED.values() for text in texts]
LABELS = [label for label, texts in ASKED.items() for _ in texts]


def test_a_word_has_the_meanings_it_stands_in_and_those_of_its_beginnings() -> None:
    lookup = Lookup(("deliver* parcel", "late parcel", "del"))
    assert lookup.of("parcel") == (0, 1)
    assert lookup.of("delivery") == lookup.of("deliver") == (0,)
    assert lookup.of("del") == (2,)
    assert lookup.of("parcels") == lookup.of("") == ()


def test_without_meanings_nothing_is_found() -> None:
    assert Lookup(()).of("parcel") == ()


def test_each_line_names_words_of_a_text_each_once_and_none_alone() -> None:
    for line in meanings.lines():
        words = line.split()
        assert len(words) > 1, line
        assert len({*words}) == len(words), line
        for word in words:  # what is cut out of texts otherwise would never be found
            assert TOKEN.fullmatch(folded(word.removesuffix("*"))), word


def test_other_words_of_the_same_meaning_share_a_column() -> None:
    vocabulary = vocabulary_of(
        ["my package is late"], pairs=False, least=1, meanings=["Paket* package", "never met"]
    )
    assert vocabulary.meanings == ("paket* package",)  # what no text has is not kept
    [column] = Reader(vocabulary).rows([folded("PAKETE")])[:, vocabulary.core - 1].data
    assert column > 0


def test_umlauts_are_read_as_texts_are() -> None:
    vocabulary = vocabulary_of(["tuer"], pairs=False, least=1, meanings=["Tür Gate"])
    assert vocabulary.meanings == ("tuer gate",)


@pytest.mark.slow
def test_words_that_were_never_taught_are_understood() -> None:
    model = TextModel(learn(TEXTS, LABELS), "v")
    assert model.predict("Lieferung?").label == "DELIVERY"
    assert model.predict("Rechnung!").label == "PAYMENT"


@pytest.mark.slow
def test_a_file_keeps_the_meanings_it_was_taught_with() -> None:
    model = learn(TEXTS, LABELS)
    kept = files.unpacked(files.packed(model))
    assert kept.vocabulary.meanings == model.vocabulary.meanings != ()
    # As long as files keep numbers, to three digits.
    one, other = TextModel(model, "v").predict("Paket"), TextModel(kept, "v").predict("Paket")
    assert other.label == one.label
    assert other.probability == pytest.approx(one.probability, abs=0.01)


@pytest.mark.slow
def test_a_file_from_before_there_were_meanings_is_still_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(meanings, "lines", tuple)
    model = learn(TEXTS, LABELS)
    stored = skops.io.loads(files.packed(model), trusted=[])
    card = json.loads(stored["card"])
    assert stored.pop("meanings") == ""
    old = skops.io.dumps({**stored, "card": json.dumps({**card, "format": 2})})
    read = TextModel(files.unpacked(old), "v")
    assert read.predict("where is my parcel").label == "DELIVERY"
    assert np.array_equal(read.head.intercepts, model.heads[0].intercepts)


@pytest.mark.slow
def test_a_file_of_a_format_not_known_here_is_refused() -> None:
    stored = skops.io.loads(files.packed(learn(TEXTS, LABELS)), trusted=[])
    card = json.loads(stored["card"])
    for number in (1, 8):
        strange = {**stored, "card": json.dumps({**card, "format": number})}
        with pytest.raises(ValueError, match=f"format {number}"):
            files.unpacked(skops.io.dumps(strange))


@pytest.mark.slow
def test_a_file_that_says_it_has_meanings_and_has_none_is_refused() -> None:
    stored = skops.io.loads(files.packed(learn(TEXTS, LABELS)), trusted=[])
    del stored["meanings"]
    with pytest.raises(KeyError):
        files.unpacked(skops.io.dumps(stored))
