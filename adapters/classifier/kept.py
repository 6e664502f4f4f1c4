"""Models of many desks in one process: kept by content, checked before use, few in memory."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from cachetools import LRUCache

from adapters.classifier import files
from adapters.classifier.files import ModelDamaged
from adapters.classifier.learning import Tell, learn
from adapters.classifier.model import Model, TextModel
from adapters.files import DiskStore, FileMissing, Store
from domain.learning import ModelUnusable

BUDGET_BYTES: Final = 256 << 20  # of files; a model takes about twice its file in memory
_CHUNK: Final = 1 << 20


class Taught(NamedTuple):
    """A model as it will be served: read back from the bytes that are kept."""

    content: bytes
    model: Model

    @property
    def threshold(self) -> float:
        return self.model.heads[0].measures.threshold


class KeptModels:
    """Keeps desks' models in a store and hands them out, checked against the sum in Postgres."""

    def __init__(self, store: Store, *, budget_bytes: int = BUDGET_BYTES) -> None:
        self._store = store
        # By tenant too: a sum of another desk's model opens nothing here.
        self._known: LRUCache[tuple[uuid.UUID, str], tuple[TextModel, int]] = LRUCache(
            budget_bytes, getsizeof=lambda entry: entry[1]
        )
        self._turns: WeakValueDictionary[tuple[uuid.UUID, str], asyncio.Lock] = (
            WeakValueDictionary()
        )

    async def keep(self, tenant_id: uuid.UUID, taught: Taught) -> str:
        """Stores the bytes under their sha256, which is returned; durable when it is."""
        kept = await self._store.keep(tenant_id, _chunks(taught.content), limit_bytes=files.LARGEST)
        return kept.sha256

    async def model(self, tenant_id: uuid.UUID, sha256: str, *, version: str) -> TextModel:
        """The model whose file has this sum. Raises ModelUnusable for any other.

        Read once, however many ask for it at the same time.
        """
        turn = self._turns.setdefault((tenant_id, sha256), asyncio.Lock())
        async with turn:
            return await self._model(tenant_id, sha256, version)

    async def _model(self, tenant_id: uuid.UUID, sha256: str, version: str) -> TextModel:
        known = self._known.get((tenant_id, sha256))
        if known is not None and known[0].version == version:
            return known[0]
        place = Path(f"model {version}")
        content = bytearray()
        try:
            async for chunk in await self._store.open(tenant_id, sha256):
                content += chunk
                if len(content) > files.LARGEST:
                    raise ModelUnusable(f"{place} cannot be used: it is larger than any model.")
        except FileMissing:
            raise ModelUnusable(f"{place} cannot be used: its file is missing.") from None
        except OSError as error:
            raise ModelUnusable(
                f"{place} cannot be used: its file cannot be read ({error.strerror})."
            ) from error
        try:
            found = await asyncio.to_thread(files.opened, bytes(content), place, sha256=sha256)
        except ModelDamaged as damaged:
            raise ModelUnusable(str(damaged)) from damaged
        if len(found.heads) != 1:
            raise ModelUnusable(f"{place} cannot be used: it answers more than one question.")
        model = TextModel(found, version)
        if len(content) <= self._known.maxsize:
            self._known[(tenant_id, sha256)] = (model, len(content))
        return model

    async def forget(self, tenant_id: uuid.UUID, sha256: str) -> None:
        """The file is gone."""
        self._known.pop((tenant_id, sha256), None)
        await self._store.remove(tenant_id, sha256)


def store_under(folder: Path) -> Store:
    """Where desks' models are kept on disk; workers on other machines need the same folder."""
    return DiskStore(folder / "desks")


def teach(
    texts: Sequence[str], labels: Sequence[str], *, name: str, precision: float, tell: Tell
) -> Taught:
    """A model taught from these rows. `tell` hears how far it is, and may raise to stop.

    Raises Unteachable. Takes a minute for many rows: not for the event loop.
    """
    content = files.packed(learn(texts, labels, name=name, precision=precision, tell=tell))
    return Taught(content, files.unpacked(content))


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _CHUNK):
        yield content[start : start + _CHUNK]
