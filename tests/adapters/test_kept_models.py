"""Desks' models in one process: checked before use, few in memory, none of another desk."""

import uuid
from pathlib import Path

import pytest

from adapters.classifier.kept import KeptModels, Taught, store_under, teach
from domain.learning import ModelUnusable

OURS, THEIRS = uuid.UUID(int=1), uuid.UUID(int=2)


@pytest.fixture(scope="module")
def taught() -> Taught:
    texts = [f"The printer {n} jams" for n in range(20)] + [f"Invoice {n} wrong" for n in range(20)]
    labels = ["hardware"] * 20 + ["billing"] * 20
    return teach(texts, labels, name="topic", precision=0.9, tell=lambda _: None)


async def test_a_model_is_asked_as_it_was_kept(taught: Taught, tmp_path: Path) -> None:
    kept = KeptModels(store_under(tmp_path))
    sha256 = await kept.keep(OURS, taught)
    model = await kept.model(OURS, sha256, version="topic-1")
    prediction = model.predict("My printer jams")
    assert (prediction.label, prediction.model_version) == ("hardware", "topic-1")
    assert await kept.model(OURS, sha256, version="topic-1") is model


async def test_a_sum_opens_nothing_of_another_desk(taught: Taught, tmp_path: Path) -> None:
    kept = KeptModels(store_under(tmp_path))
    sha256 = await kept.keep(OURS, taught)
    await kept.model(OURS, sha256, version="topic-1")
    with pytest.raises(ModelUnusable, match="its file is missing"):
        await kept.model(THEIRS, sha256, version="topic-1")


async def test_only_what_fits_is_held_in_memory(taught: Taught, tmp_path: Path) -> None:
    size = len(taught.content)
    for budget, is_held in ((3 * size // 2, False), (2 * size, True), (size // 2, False)):
        kept = KeptModels(store_under(tmp_path), budget_bytes=budget)
        ours, theirs = await kept.keep(OURS, taught), await kept.keep(THEIRS, taught)
        first = await kept.model(OURS, ours, version="topic-1")
        await kept.model(THEIRS, theirs, version="topic-1")
        assert (await kept.model(OURS, ours, version="topic-1") is first) == is_held


async def test_what_is_forgotten_is_gone(taught: Taught, tmp_path: Path) -> None:
    kept = KeptModels(store_under(tmp_path))
    sha256 = await kept.keep(OURS, taught)
    await kept.model(OURS, sha256, version="topic-1")
    await kept.forget(OURS, sha256)
    with pytest.raises(ModelUnusable, match="its file is missing"):
        await kept.model(OURS, sha256, version="topic-1")
