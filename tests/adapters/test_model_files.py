"""Files of models whose network reads pairs of words, and of those from before it did."""

import json
from dataclasses import replace

import numpy as np
import pytest
import skops.io

from adapters.classifier import TextModel, features, files
from adapters.classifier.features import Matrix
from adapters.classifier.model import Head, Measures, Mix, Model
from adapters.classifier.network import Network

TEXTS = ["red car please", "car please red", "blue bus today", "today a blue bus"]
LABELS = ("a", "b", "c")
HIDDEN = 4


def made(*, with_pairs: bool) -> Model:
    """A model with random weights: what they say does not matter here."""
    vocabulary = features.learnt(TEXTS, pairs=True, least=1)
    assert vocabulary.columns > vocabulary.core, "there are no pairs"
    chance = np.random.default_rng(3)

    def weights(*shape: int) -> Matrix:
        return chance.standard_normal(shape, dtype=np.float32)

    network = Network(
        inner=weights(vocabulary.columns if with_pairs else vocabulary.core, HIDDEN),
        inner_bias=weights(HIDDEN),
        outer=weights(HIDDEN, len(LABELS)),
        outer_bias=weights(len(LABELS)),
    )
    head = Head(
        name="label",
        labels=LABELS,
        linear=weights(vocabulary.columns, len(LABELS)),
        intercepts=weights(len(LABELS)),
        network=network,
        mix=Mix(linear=1.0, network=1.0),
        measures=Measures(
            rows=4, held_out=4, accuracy=1, macro_f1=1, calibration_error=0, threshold=0.5,
            coverage=1, precision=1,
        ),
        usual=0.0,
    )  # fmt: skip
    return Model(vocabulary=vocabulary, heads=(head,))


def card_of(content: bytes) -> tuple[dict[str, object], dict[str, object]]:
    stored = skops.io.loads(content, trusted=[])
    return stored, json.loads(stored["card"])


@pytest.mark.parametrize(("with_pairs", "number"), [(True, 6), (False, 4)])
def test_a_kept_model_reads_what_it_was_taught_to_read(with_pairs: bool, number: int) -> None:
    model = made(with_pairs=with_pairs)
    content = files.packed(model)
    assert card_of(content)[1]["format"] == number
    told = TextModel(model, "v").predict_many(TEXTS)
    for one, other in zip(TextModel(files.unpacked(content), "v").predict_many(TEXTS), told,
                          strict=True):  # fmt: skip
        assert dict(one.top) == pytest.approx(dict(other.top), abs=0.01)


def test_a_file_from_before_a_network_read_pairs_is_still_read() -> None:
    model = made(with_pairs=False)
    stored, card = card_of(files.packed(model))
    heads = [
        {name: value for name, value in head.items() if name != "network_reads_pairs"}
        for head in card["heads"]  # type: ignore[attr-defined]
    ]
    old = skops.io.dumps({**stored, "card": json.dumps({**card, "heads": heads})})
    read = TextModel(files.unpacked(old), "v").predict("red car")
    told = TextModel(model, "v").predict("red car")
    assert dict(read.top) == pytest.approx(dict(told.top), abs=0.01)


def test_pairs_change_what_a_network_says() -> None:
    model = made(with_pairs=True)
    [head] = model.heads
    assert head.network is not None
    blind = head.network.inner.copy()
    blind[model.vocabulary.core :] = 0
    network = replace(head.network, inner=blind)
    without = replace(model, heads=(replace(head, network=network),))
    asked = "red car please"
    assert TextModel(model, "v").predict(asked).top != TextModel(without, "v").predict(asked).top


def test_a_network_of_another_size_than_its_card_says_is_refused() -> None:
    for with_pairs in (True, False):
        stored, card = card_of(files.packed(made(with_pairs=with_pairs)))
        heads = [
            {**head, "network_reads_pairs": not with_pairs}
            for head in card["heads"]  # type: ignore[attr-defined]
        ]
        forged = skops.io.dumps({**stored, "card": json.dumps({**card, "heads": heads})})
        with pytest.raises(ValueError, match="inner has the shape"):
            files.unpacked(forged)
