"""Models that a desk teaches with its own rows: real trainings, of small sets."""

import hashlib
import random
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import skops.io

from adapters.classifier import ModelDamaged, TextModel, Unteachable, features, files, learn
from adapters.classifier.learning import calibration_error, macro_f1
from adapters.classifier.model import Model

pytestmark = pytest.mark.slow  # models are trained

ASKED = {
    "refund": ["give me my money back", "I want a refund", "refund my order please"],
    "delivery": ["where is my parcel", "my package has not arrived", "when will it be delivered"],
    "login": ["I cannot log in", "my password does not work", "the sign in page rejects me"],
}
ENDINGS = ["", "!", " please", " today", " thanks", " asap", " again", " now", " ok?", " help"]


def rows() -> tuple[list[str], list[str]]:
    pairs = [
        (text + ending, label)
        for label, texts in ASKED.items()
        for text in texts
        for ending in ENDINGS
    ]
    return [text for text, _ in pairs], [label for _, label in pairs]


@pytest.fixture(scope="module")
def learnt() -> Model:
    return learn(*rows())


@pytest.fixture(scope="module")
def model(learnt: Model) -> TextModel:
    return TextModel(learnt, "v1")


@pytest.fixture
def path(learnt: Model, tmp_path: Path) -> Path:
    files.write(learnt, tmp_path / "category.skops")
    return tmp_path / "category.skops"


def test_what_was_taught_is_known_in_other_words(model: TextModel) -> None:
    prediction = model.predict("please could I get my money back")
    assert (prediction.label, prediction.model_version) == ("refund", "v1")
    assert len(prediction.top) == 3
    assert sum(share for _, share in prediction.top) == pytest.approx(1)


def test_the_name_of_a_label_is_a_lesson() -> None:
    texts = [f"{start} {end}" for start in ("my", "the", "our", "this") for end in ("one", "two")]
    labels = ["REFUND_REQUEST" if text.endswith("one") else "lostParcel" for text in texts]
    model = TextModel(learn(texts, labels), "v")
    assert model.predict("refund").label == "REFUND_REQUEST"
    assert model.predict("parcel").label == "lostParcel"


def test_a_name_that_says_nothing_teaches_nothing() -> None:
    texts = ["red one", "red two", "blue one", "blue two"]
    model = learn(texts, ["4", "4", "b7", "b7"])
    assert set(model.vocabulary.words) == {"red", "blue", "one", "two"}


def test_the_words_that_decided_are_named(model: TextModel) -> None:
    words = dict(model.predict("hello, my parcel is late").words)
    assert max(words, key=lambda word: words[word]) == "parcel"


def test_the_words_add_up_to_the_linear_score(model: TextModel) -> None:
    text = "parcel parcel money"
    row = model.reader.rows([text])
    head = model.head
    label = head.labels.index("delivery")
    weights = head.linear[row.indices]
    whole = float(((weights[:, label] - weights.mean(axis=1)) * row.data).sum())
    by_word = dict(model.reader.columns_by_word(text))
    assert set(by_word) == {"parcel", "money"}
    named = model.deciding_words(text, row, head, label)
    against = model.deciding_words(text, row, head, head.labels.index("refund"))
    assert dict(named)["parcel"] >= whole > 0  # "money" speaks against it, and is not among them
    assert "money" in dict(against)


def test_a_text_like_nothing_seen_is_left_to_people(model: TextModel) -> None:
    strange = model.predict("quantum chromodynamics of baryons")
    assert (strange.out_of_scope, strange.abstained) == (True, True)
    assert strange.strangeness > model.predict("I want a refund").strangeness


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t",
        "\x00\x01\x1b[31m",
        "🚀🚀😡",
        "\ud800 \udfff",
        "Z" + "\u0335" * 5_000,
        "\ufdfa" * 30_000,
        "x" * 2_000_000,
        "word " * 400_000,
        "<a" * 1_000_000,
        "昨日から" * 10_000,
    ],
    ids=lambda text: repr(text[:10]),
)
def test_any_text_gets_a_prediction(model: TextModel, text: str) -> None:
    prediction = model.predict(text)
    assert 0 <= prediction.probability <= 1
    assert prediction.label in ASKED


@pytest.mark.parametrize("text", ["", "🚀", "\x00\x01"])
def test_a_text_without_words_is_abstained(model: TextModel, text: str) -> None:
    assert model.predict(text).abstained


def test_many_are_predicted_like_each_alone(model: TextModel) -> None:
    texts = rows()[0] * 5
    together = model.predict_many(texts)
    alone = [model.predict(text, why=False) for text in texts]
    assert [each.label for each in together] == [each.label for each in alone]
    for one, other in zip(together, alone, strict=True):
        assert dict(one.top) == pytest.approx(dict(other.top), abs=1e-6)
        assert one.strangeness == pytest.approx(other.strangeness, abs=1e-5)
    assert model.predict_many([]) == []


def test_threads_share_one_model(learnt: Model) -> None:
    fresh = TextModel(learnt, "v1")
    texts = rows()[0]
    expected = [each.label for each in TextModel(learnt, "v1").predict_many(texts)]
    with ThreadPoolExecutor(4) as threads:
        assert [each.label for each in threads.map(fresh.predict, texts)] == expected


def test_training_twice_gives_the_same_model(learnt: Model) -> None:
    assert (
        files.packed(learn(*rows())) == files.packed(learnt)
        or (learn(*rows()).heads[0].linear == learnt.heads[0].linear).all()
    )


@pytest.mark.parametrize(
    ("texts", "labels"),
    [
        (["red", "blue"], ["a", "b"]),
        (["one", "two", "three"], ["a", "b", "c"]),
        (["same", "same", "same"], ["a", "b", "a"]),
        (["", "", "word"], ["a", "b", "a"]),
        (["red"] * 30 + ["blue"], ["a"] * 30 + ["b"]),
        (["🚀", "😡", "!!!"] * 9, ["a", "b", "c"] * 9),
        (["", "", "?"], ["a", "b", "a"]),
        (["今日は", "さようなら", "你好"], ["x", "y", "x"]),
        ([f"number {n}" for n in range(150)], [f"label {n}" for n in range(150)]),
    ],
    ids=[
        "one each",
        "three",
        "equal texts",
        "empty",
        "lonely label",
        "emoji",
        "a mark",
        "no blanks",
        "150 labels",
    ],
)
def test_hardly_any_rows_still_make_a_model(texts: list[str], labels: list[str]) -> None:
    model = TextModel(learn(texts, labels), "v")
    assert {each.label for each in model.predict_many(texts)} <= set(labels)


@pytest.mark.parametrize(
    ("texts", "labels", "why"),
    [
        ([], [], "0 label in 0 rows"),
        (["a", "b"], ["only", "only"], r"1 label \('only'\) in 2 rows"),
        (["", " ", "\n\t"], ["a", "b", "c"], "None of the rows has a text"),
        (["x"] * 151, [str(n) for n in range(151)], "151 labels are too many"),
    ],
)
def test_what_cannot_be_learnt_is_refused_with_a_sentence(
    texts: list[str], labels: list[str], why: str
) -> None:
    with pytest.raises(Unteachable, match=why):
        learn(texts, labels)


def test_training_tells_how_far_it_is_and_can_be_stopped() -> None:
    told: list[float] = []
    learn(*rows(), tell=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0

    def stop(done: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn(*rows(), tell=stop)


def test_a_larger_set_is_taught_to_a_network_too() -> None:
    chance = random.Random(1)
    texts, labels = rows()
    more = [" ".join(chance.sample(text.split(), len(text.split()))) for text in texts * 17]
    model = TextModel(learn(more, labels * 17), "v")
    assert model.head.network is not None
    assert model.head.measures.accuracy > 0.9
    again = files.unpacked(files.packed(model.model))
    kept = TextModel(again, "v").predict_many(texts)
    for one, other in zip(kept, model.predict_many(texts), strict=True):
        assert one.label == other.label
        assert one.probability == pytest.approx(other.probability, abs=0.01)


def test_a_kept_model_answers_like_the_one_that_was_made(path: Path, model: TextModel) -> None:
    kept = TextModel(files.read(path), "v1")
    for text in rows()[0]:
        assert kept.predict(text).label == model.predict(text).label


@pytest.mark.parametrize(
    "harm",
    [lambda c: c[:-50], lambda c: c[:100], lambda c: c[: len(c) // 2] + b"\x00" + c[len(c) // 2 :]],
    ids=["cut", "stump", "grown"],
)
def test_a_file_that_is_not_what_was_written_is_refused(path: Path, harm: object) -> None:
    assert callable(harm)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(ModelDamaged, match="does not match its sum"):
        files.read(path)


def test_a_file_swapped_with_its_sum_is_refused_by_the_sum_kept_elsewhere(
    path: Path, tmp_path: Path
) -> None:
    kept = hashlib.sha256(path.read_bytes()).hexdigest()
    other = tmp_path / "other.skops"
    files.write(learn(["red", "blue"], ["a", "b"]), other)
    path.write_bytes(other.read_bytes())
    files.sum_path(path).write_bytes(files.sum_path(other).read_bytes())
    with pytest.raises(ModelDamaged, match="does not match its sum"):
        files.read(path, sha256=kept)


class Poison:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("this must never run",)


def poisoned(**changes: object) -> bytes:
    stored = skops.io.loads(files.packed(learn(["red", "blue"], ["a", "b"])), trusted=[])
    return bytes(skops.io.dumps({**stored, **changes}))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95pickle",
        poisoned(words=Poison()),
        poisoned(card="{}"),
        poisoned(rarity=np.zeros(3, np.float32)),
        poisoned(**{"0.linear": np.full((2, 2), np.nan, np.float32)}),
        poisoned(neighbours=np.array(["x"], dtype=object)),
    ],
    ids=["empty", "pickle", "foreign type", "no card", "other length", "no numbers", "objects"],
)
def test_a_poisoned_file_is_refused_though_its_sum_is_right(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ModelDamaged, match="does not hold a model"):
        files.read(path, sha256=hashlib.sha256(content).hexdigest())


def test_a_file_larger_than_any_model_is_not_read(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(files.LARGEST + 1)
    with pytest.raises(ModelDamaged, match="larger than"):
        files.read(path)


def test_asking_takes_bounded_memory(learnt: Model) -> None:
    model = TextModel(learnt, "v1")
    tracemalloc.start()
    for start in range(0, 40_000, 1_000):
        model.predict_many([f"parcel{n} money{n * 7}" for n in range(start, start + 1_000)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 60 << 20


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Füße", "fuesse"),
        ("see https://example.org/a?b and ann@example.org", "see  webaddress  and  webaddress "),
        ("@acme thanks", " @someone  thanks"),
        ("a &amp; b &lt;b&gt;", "a & b  "),
        ("order 4711123", "order 0000"),
        ("Ｆｕｌｌ", "full"),
    ],
)
def test_texts_are_folded_alike(text: str, folded: str) -> None:
    assert features.folded(text) == folded


def test_rows_have_the_length_one() -> None:
    vocabulary = features.learnt(["red car", "blue car"], pairs=True, least=1)
    rows = features.Reader(vocabulary).rows(["red car", "car", "", "unknown zz"])
    lengths = np.sqrt(np.asarray(rows.multiply(rows).sum(axis=1))).ravel()
    assert lengths[:2] == pytest.approx([1, 1], abs=1e-5)
    assert lengths[2] == 0


def test_calibration_error_is_none_where_probabilities_are_true() -> None:
    sure = np.array([0.75] * 4 + [0.5] * 2)
    right = np.array([True, True, True, False, True, False])
    assert calibration_error(sure, right) == pytest.approx(0)
    assert calibration_error(np.ones(2), np.array([True, False])) == pytest.approx(0.5)


def test_macro_f1_counts_rare_labels_like_frequent_ones() -> None:
    truth, guessed = np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0])
    assert macro_f1(truth, guessed) == pytest.approx((6 / 7 + 0) / 2)
