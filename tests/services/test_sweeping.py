"""Uploads nobody used are forgotten; bytes go when nothing names them, and never before."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.files import DiskStore
from domain.errors import Invalid
from domain.tickets import NewMessage, NoteAdded
from models.base import new_id
from models.session import Database
from services.desks import Desks
from services.files import ABANDONED_AFTER, Files, claim
from services.tickets import Tickets
from tests.conftest import Urls
from tests.making import happens, make_agent, make_ticket

BY = "user:x"
NOW = datetime.now(UTC)
OLD = NOW - ABANDONED_AFTER - timedelta(minutes=1)


@pytest.fixture
async def relay_database(urls: Urls) -> AsyncIterator[Database]:
    database = Database(urls.relay, pool_size=2)
    yield database
    await database.close()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(DiskStore(tmp_path))


async def pieces(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def upload(
    database: Database, files: Files, tenant: uuid.UUID, content: bytes, *, at: datetime = OLD
) -> uuid.UUID:
    async with database.transaction(tenant) as work:
        row = await files.upload(
            work, filename="a.txt", content_type=None, chunks=pieces(content), uploaded_by=BY,
            now=at,
        )  # fmt: skip
    return uuid.UUID(str(row["id"]))


async def rows(database: Database, tenant: uuid.UUID) -> tuple[int, int]:
    """How many attachments and how many files the tenant has."""
    async with database.transaction(tenant) as work:
        [row] = await work.rows(
            "select (select count(*) from attachments where tenant_id = :t) as attachments,"
            " (select count(*) from files where tenant_id = :t) as files",
            {"t": tenant},
        )
    return row["attachments"], row["files"]


def bytes_kept(place: Path) -> set[str]:
    return {p.name for p in place.rglob("*") if p.is_file()}


def named(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def test_an_upload_that_no_message_named_in_a_day_goes_with_its_bytes(
    database: Database, relay_database: Database, files: Files, tenant: uuid.UUID, tmp_path: Path
) -> None:
    await upload(database, files, tenant, b"abandoned")
    fresh = await upload(database, files, tenant, b"fresh", at=NOW)
    assert await files.sweep(relay_database, database, now=NOW) == 1
    assert bytes_kept(tmp_path) == {named(b"fresh")}
    assert await rows(database, tenant) == (1, 1)
    async with database.transaction(tenant) as work:
        assert await claim(work, [fresh], uploaded_by=BY) == (fresh,)
    assert await files.sweep(relay_database, database, now=NOW) == 0


async def test_a_file_that_a_message_carries_stays_and_so_do_bytes_that_another_needs(
    database: Database, relay_database: Database, files: Files, tenant: uuid.UUID, tmp_path: Path
) -> None:
    tickets = Tickets(Desks())
    async with database.transaction(tenant) as work:
        agent = await make_agent(work)
    ticket = await make_ticket(database, tickets, tenant)
    used = await upload(database, files, tenant, b"the same")
    note = NoteAdded(NewMessage(new_id(), "See this.", attachments=(used,)))
    await happens(database, tickets, tenant, ticket.number, note, by=agent)
    await upload(database, files, tenant, b"the same")  # once more, and forgotten
    assert await files.sweep(relay_database, database, now=NOW) == 1
    assert await rows(database, tenant) == (1, 1)
    assert bytes_kept(tmp_path) == {named(b"the same")}


async def test_an_upload_that_is_being_claimed_is_not_swept(
    database: Database, relay_database: Database, files: Files, tenant: uuid.UUID, tmp_path: Path
) -> None:
    late = await upload(database, files, tenant, b"late but wanted")
    async with database.transaction(tenant) as work:
        await claim(work, [late], uploaded_by=BY)  # held until this message is committed
        assert await asyncio.wait_for(files.sweep(relay_database, database, now=NOW), 5) == 0
    assert await rows(database, tenant) == (1, 1)
    assert bytes_kept(tmp_path) == {named(b"late but wanted")}


async def test_what_was_swept_cannot_be_claimed_any_more(
    database: Database, relay_database: Database, files: Files, tenant: uuid.UUID
) -> None:
    gone = await upload(database, files, tenant, b"gone")
    await files.sweep(relay_database, database, now=NOW)
    async with database.transaction(tenant) as work:
        with pytest.raises(Invalid):
            await claim(work, [gone], uploaded_by=BY)


async def test_bytes_uploaded_again_while_they_are_swept_are_kept(
    database: Database, relay_database: Database, files: Files, tenant: uuid.UUID, tmp_path: Path
) -> None:
    await upload(database, files, tenant, b"again")
    async with database.transaction(tenant) as work:
        # Its bytes are in place, its row is not committed: the sweep must not pull them away.
        await files.upload(
            work, filename="b", content_type=None, chunks=pieces(b"again"), uploaded_by=BY,
            now=NOW,
        )  # fmt: skip
        await files.sweep(relay_database, database, now=NOW)
        assert bytes_kept(tmp_path) == {named(b"again")}
    await files.sweep(relay_database, database, now=NOW)
    assert await rows(database, tenant) == (1, 1)
    assert bytes_kept(tmp_path) == {named(b"again")}
    async with database.transaction(tenant) as work:
        [row] = await work.rows(
            "select unused_since from files where tenant_id = :t", {"t": tenant}
        )
    assert row == {"unused_since": None}


async def test_a_sweep_cut_off_after_the_bytes_is_finished_by_the_next(
    database: Database, relay_database: Database, tenant: uuid.UUID, tmp_path: Path
) -> None:
    class Dying(DiskStore):
        async def remove(self, tenant_id: uuid.UUID, sha256: str) -> None:
            await super().remove(tenant_id, sha256)
            raise SystemExit

    await upload(database, Files(DiskStore(tmp_path)), tenant, b"half")
    with pytest.raises(SystemExit):
        await Files(Dying(tmp_path)).sweep(relay_database, database, now=NOW)
    assert (await rows(database, tenant), bytes_kept(tmp_path)) == ((0, 1), set())
    await Files(DiskStore(tmp_path)).sweep(relay_database, database, now=NOW)
    assert await rows(database, tenant) == (0, 0)
