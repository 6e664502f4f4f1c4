"""Sentence vectors: what they teach, and what happens where they are not installed."""

import hashlib
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from adapters.classifier import TextModel, files, learn, vectors
from adapters.classifier.features import Matrix
from adapters.classifier.files import VectorsMissing
from adapters.classifier.kept import KeptModels, Taught, store_under, teach
from adapters.classifier.vectors import DIMENSIONS, Encoder
from adapters.retrieval import Document, Retriever
from domain.learning import ModelUnusable

pytestmark = pytest.mark.slow  # models are trained

OURS = uuid.UUID(int=1)
SAME = {"reimburse": "refund", "cash": "refund", "courier": "parcel", "shipment": "parcel"}
TEXTS = [f"{start} {word}" for word in ("refund", "parcel") for start in ("my", "the", "a", "our")]
LABELS = ["money"] * 4 + ["post"] * 4


class Synonyms:
    """A vector for each meaning, a text's being their sum: an encoder small enough for a test."""

    def __init__(self, seed: str = "") -> None:
        self._seed = seed

    def encode(self, texts: list[str]) -> Matrix:
        return np.array([self._vector(text.split()) for text in texts], dtype=np.float32)

    def _vector(self, words: Sequence[str]) -> Matrix:
        total = np.ones(DIMENSIONS, dtype=np.float32)
        for word in words:
            meaning = self._seed + SAME.get(word, word)
            chance = np.random.default_rng(
                int.from_bytes(hashlib.sha256(meaning.encode()).digest()[:4], "big")
            )
            total += 9 * chance.standard_normal(DIMENSIONS).astype(np.float32)
        return np.asarray(total / np.linalg.norm(total), dtype=np.float32)


def install(monkeypatch: pytest.MonkeyPatch, encoder: Encoder | None) -> None:
    monkeypatch.setattr(vectors, "installed", lambda: encoder)


@pytest.fixture
def with_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, Encoder(Synonyms()))


@pytest.mark.usefixtures("with_vectors")
def test_words_never_taught_are_known_by_what_they_mean() -> None:
    model = TextModel(learn(TEXTS, LABELS), "v")
    assert model.predict("courier shipment").label == "post"
    assert model.predict("reimburse cash").label == "money"
    assert model.predict("reimburse cash").probability > 0.6


@pytest.mark.usefixtures("with_vectors")
def test_a_model_with_vectors_is_the_same_from_its_file() -> None:
    learnt = learn(TEXTS * 190, LABELS * 190)
    assert learnt.heads[0].network is not None  # of many rows and few labels
    assert learn(TEXTS * 60, LABELS * 60).heads[0].network is None
    again = TextModel(files.unpacked(files.packed(learnt)), "v")
    first = TextModel(learnt, "v")
    for text in ("courier", "cash please", "my refund"):
        one, other = first.predict(text), again.predict(text)
        assert one.label == other.label
        assert one.probability == pytest.approx(other.probability, abs=0.01)


@pytest.mark.usefixtures("with_vectors")
def test_vectors_can_be_left_out() -> None:
    assert learn(TEXTS, LABELS, with_vectors=False).probe is None


def test_without_the_extra_models_learn_from_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)
    plain = learn(TEXTS, LABELS)
    assert plain.probe is None
    install(monkeypatch, Encoder(Synonyms()))
    assert (learn(TEXTS, LABELS, with_vectors=False).heads[0].linear == plain.heads[0].linear).all()


@pytest.mark.parametrize("encoder", [None, Encoder(Synonyms("other"))], ids=["none", "others"])
async def test_a_worker_without_these_vectors_refuses_the_file_clearly(
    encoder: Encoder | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    install(monkeypatch, Encoder(Synonyms()))
    taught: Taught = teach(TEXTS, LABELS, name="topic", precision=0.9, tell=lambda done: None)
    files.write(taught.model, tmp_path / "model.skops")
    install(monkeypatch, encoder)
    with pytest.raises(VectorsMissing, match=r"install holdfast\[vectors\]"):
        files.read(tmp_path / "model.skops")
    kept = KeptModels(store_under(tmp_path))
    sha256 = await kept.keep(OURS, taught)
    with pytest.raises(ModelUnusable, match="taught with sentence vectors"):
        await kept.model(OURS, sha256, version="topic-1")


@pytest.mark.usefixtures("with_vectors")
def test_an_article_is_found_by_what_it_means() -> None:
    articles = [Document("post", "about your parcel"), Document("money", "about your refund")]
    index = Retriever.build(articles)
    assert [hit.id for hit in index.search("courier", 1)] == ["post"]
    assert [hit.id for hit in index.search("cash", 1)] == ["money"]
    assert index.search("", 5) == []


needs_the_extra = pytest.mark.skipif(
    vectors.installed() is None, reason="holdfast[vectors] is not installed"
)


@needs_the_extra
@pytest.mark.parametrize(
    "text", ["", "\x00", "🚀🚀", "\ud800 x", "昨日", "x" * 100_000, "\ufdfa" * 999]
)
def test_any_text_has_a_vector_of_length_one(text: str) -> None:
    encoder = vectors.installed()
    assert encoder is not None
    assert np.linalg.norm(encoder.encode([text])[0]) == pytest.approx(1, abs=1e-3)


@needs_the_extra
def test_what_means_the_same_is_near_in_both_languages() -> None:
    encoder = vectors.installed()
    assert encoder is not None
    asked, same, other = encoder.encode(
        ["I want my money back", "Ich möchte mein Geld zurück", "The printer is out of paper"]
    )
    assert asked @ same > asked @ other + 0.3


@needs_the_extra
def test_an_encoder_knows_itself_and_no_other() -> None:
    encoder = vectors.installed()
    assert encoder is not None
    assert encoder.is_as(encoder.probe)
    assert not encoder.is_as(Encoder(Synonyms()).probe)
