"""Where attachments' bytes are kept: by content, once per tenant."""

import asyncio
import contextlib
import hashlib
import os
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from domain.errors import NotFound, TooLarge

CHUNK_BYTES = 1 << 20


class FileTooLarge(TooLarge):
    code = "file_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"A file holds at most {limit_bytes // (1 << 20)} MB.", fields={"/file": "is too large"}
        )


class FileMissing(NotFound):
    code = "file_missing"

    def __init__(self) -> None:
        super().__init__("The bytes of this file are not in the store.")


@dataclass(frozen=True, slots=True)
class Kept:
    sha256: str
    size_bytes: int


class Store(Protocol):
    """What a place for files has to do. What `keep` returned is durable."""

    async def keep(
        self, tenant_id: uuid.UUID, chunks: AsyncIterator[bytes], *, limit_bytes: int
    ) -> Kept:
        """Stores the bytes under their hash. Raises FileTooLarge, keeping nothing."""

    async def open(self, tenant_id: uuid.UUID, sha256: str) -> AsyncIterator[bytes]:
        """The bytes, in pieces. Raises FileMissing before the first."""

    async def remove(self, tenant_id: uuid.UUID, sha256: str) -> None:
        """The bytes are gone; also where there were none."""


class DiskStore:
    """Files under one folder: `<root>/<tenant>/<first two of the hash>/<hash>`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def keep(
        self, tenant_id: uuid.UUID, chunks: AsyncIterator[bytes], *, limit_bytes: int
    ) -> Kept:
        partial = self._root / "incoming" / uuid.uuid4().hex
        digest, size = hashlib.sha256(), 0
        file = await asyncio.to_thread(_create, partial)
        try:
            async for chunk in chunks:
                size += len(chunk)
                if size > limit_bytes:
                    raise FileTooLarge(limit_bytes)
                digest.update(chunk)
                await asyncio.to_thread(file.write, chunk)
            sha256 = digest.hexdigest()
            await asyncio.to_thread(_settle, file, partial, self._path(tenant_id, sha256))
        except BaseException:
            await asyncio.to_thread(_discard, file, partial)
            raise
        return Kept(sha256, size)

    async def open(self, tenant_id: uuid.UUID, sha256: str) -> AsyncIterator[bytes]:
        try:
            file = await asyncio.to_thread(self._path(tenant_id, sha256).open, "rb")
        except FileNotFoundError:
            raise FileMissing from None
        return _chunks(file)

    async def remove(self, tenant_id: uuid.UUID, sha256: str) -> None:
        await asyncio.to_thread(self._path(tenant_id, sha256).unlink, missing_ok=True)

    def _path(self, tenant_id: uuid.UUID, sha256: str) -> Path:
        return self._root / tenant_id.hex / sha256[:2] / sha256


async def _chunks(file: IO[bytes]) -> AsyncIterator[bytes]:
    try:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
    finally:
        file.close()


def _create(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path.open("xb")


def _settle(file: IO[bytes], partial: Path, place: Path) -> None:
    """Bytes, then name, then folder: after a crash a name stands for all of its bytes."""
    file.flush()
    os.fsync(file.fileno())
    file.close()
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial.replace(place)  # the same bytes where there was one already
    for folder in (place.parent, place.parent.parent, place.parent.parent.parent):
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _discard(file: IO[bytes], partial: Path) -> None:
    file.close()
    with contextlib.suppress(FileNotFoundError):
        partial.unlink()
