"""Desks' models in one process: checked before use, few in memory, none of another desk."""

import asyncio
import uuid
from pathlib import Path

import pytest

from adapters.classifier import files
from adapters.classifier.kept import KeptModels, Taught, store_under, teach
from adapters.classifier.model import Model
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


def file_of(folder: Path, tenant_id: uuid.UUID, sha256: str) -> Path:
    return folder / "desks" / tenant_id.hex / sha256[:2] / sha256


async def test_a_file_put_in_the_place_of_another_is_refused_and_what_was_read_goes_on(
    taught: Taught, tmp_path: Path
) -> None:
    texts, labels = ["pay me now", "my screen is black"] * 20, ["hardware", "billing"] * 20
    evil = teach(texts, labels, name="topic", precision=0.9, tell=lambda _: None)
    kept = KeptModels(store_under(tmp_path))
    ours, theirs = await kept.keep(OURS, taught), await kept.keep(THEIRS, evil)
    reading = await kept.model(OURS, ours, version="topic-1")
    file_of(tmp_path, OURS, ours).write_bytes(file_of(tmp_path, THEIRS, theirs).read_bytes())
    # What is in memory was checked when it was read.
    assert await kept.model(OURS, ours, version="topic-1") is reading
    with pytest.raises(ModelUnusable, match="its content does not match its sum"):
        await KeptModels(store_under(tmp_path)).model(OURS, ours, version="topic-1")
    # Nor does a link into another desk's folder open its model under the sum of one's own.
    file_of(tmp_path, OURS, ours).unlink()
    file_of(tmp_path, OURS, ours).symlink_to(file_of(tmp_path, THEIRS, theirs))
    with pytest.raises(ModelUnusable, match="its content does not match its sum"):
        await KeptModels(store_under(tmp_path)).model(OURS, ours, version="topic-1")


async def test_a_file_that_cannot_be_read_is_a_model_that_cannot_be_used(
    taught: Taught, tmp_path: Path
) -> None:
    kept = KeptModels(store_under(tmp_path))
    sha256 = await kept.keep(OURS, taught)
    file_of(tmp_path, OURS, sha256).unlink()
    file_of(tmp_path, OURS, sha256).mkdir()
    with pytest.raises(ModelUnusable, match="its file cannot be read"):
        await kept.model(OURS, sha256, version="topic-1")


async def test_many_who_ask_at_once_have_the_file_read_once(
    taught: Taught, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, opened = list[str](), files.opened

    def counted(content: bytes, path: Path, *, sha256: str) -> Model:
        read.append(sha256)
        return opened(content, path, sha256=sha256)

    monkeypatch.setattr(files, "opened", counted)
    kept = KeptModels(store_under(tmp_path))
    sha256 = await kept.keep(OURS, taught)
    found = await asyncio.gather(*(kept.model(OURS, sha256, version="topic-1") for _ in range(20)))
    assert read == [sha256]
    assert all(one is found[0] for one in found)
