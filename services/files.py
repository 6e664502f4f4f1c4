"""Attachments: bytes first, then a row, then a message; each used once, by who sent it."""

import hashlib
import unicodedata
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from adapters.files import DiskStore, Store
from domain.errors import Invalid, NotFound
from domain.permissions import Permission, Principal, check
from models import ledger
from models.base import new_id
from models.session import Database, Row, Work

LARGEST_BYTES = 25 * (1 << 20)
MOST_PER_MESSAGE = 20
# An upload waits this long for its message: somebody may write it tomorrow morning.
ABANDONED_AFTER = timedelta(hours=24)
SWEPT_AT_ONCE = 100

# Types that a browser would run as part of our origin if it ever showed them.
_ACTIVE_TYPES = frozenset(
    {
        "text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml",
        "application/xslt+xml", "text/javascript", "application/javascript", "text/css",
        "application/x-shockwave-flash", "application/wasm", "multipart/x-mixed-replace",
    }
)  # fmt: skip
ANY_TYPE = "application/octet-stream"
_TOKEN = "!#$&^_.+-"  # what a media type may hold besides letters and digits


@dataclass(frozen=True, slots=True)
class Download:
    filename: str
    content_type: str
    size_bytes: int
    chunks: AsyncIterator[bytes]


class Files:
    """Keeps and hands out attachments."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def upload(
        self,
        work: Work,
        *,
        filename: str,
        content_type: str | None,
        chunks: AsyncIterator[bytes],
        uploaded_by: str,
        now: datetime,
    ) -> Row:
        """A new attachment that waits for its message. Its bytes are durable before its row is."""
        tenant = work.tenant_id
        name, kind = clean_filename(filename), clean_type(content_type)
        # Until this is committed, nobody takes bytes away: those just kept may be known ones.
        await work.batch(("select pg_advisory_xact_lock_shared(%s)", (_lock_of(tenant),)))
        kept = await self._store.keep(tenant, chunks, limit_bytes=LARGEST_BYTES)
        attachment_id = new_id()
        await work.batch(
            (
                "insert into files (tenant_id, sha256, size_bytes, created_at)"
                " values (%s, %s, %s, %s) on conflict do nothing",
                (tenant, kept.sha256, kept.size_bytes, now),
            ),
            (
                "insert into attachments (tenant_id, id, uploaded_by, filename, content_type,"
                " size_bytes, sha256, created_at) values (%s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    tenant, attachment_id, uploaded_by, name, kind, kept.size_bytes, kept.sha256,
                    now,
                ),
            ),
        )  # fmt: skip
        return {
            "id": attachment_id,
            "filename": name,
            "content_type": kind,
            "size_bytes": kept.size_bytes,
            "sha256": kept.sha256,
        }

    async def for_agent(
        self, work: Work, attachment_id: uuid.UUID, caller: Principal, *, uploaded_by: str
    ) -> Download:
        """An attachment of a ticket that the caller may see, or one they just uploaded."""
        row = await _found(work, attachment_id)
        if row["ticket_number"] is None:
            if row["uploaded_by"] != uploaded_by:
                raise _NoAttachment
        else:
            [tickets] = await work.batch(ledger.read_ticket(work.tenant_id, row["ticket_number"]))
            check(caller, Permission.TICKETS_VIEW, ledger.to_ticket(tickets[0]))
        return await self._download(work, row)

    async def for_customer(
        self, work: Work, attachment_id: uuid.UUID, shown: Sequence[uuid.UUID]
    ) -> Download:
        """An attachment of one of the messages `shown` to the customer."""
        row = await _found(work, attachment_id)
        if row["message_id"] is None or row["message_id"] not in shown:
            raise _NoAttachment
        return await self._download(work, row)

    async def sweep(
        self,
        relay_database: Database,
        database: Database,
        *,
        now: datetime,
        progress: Callable[[int], None] = lambda _: None,
    ) -> int:
        """Forgets uploads that no message named in a day, then bytes nobody needs; how many."""
        async with relay_database.transaction(None) as work:
            waiting = await work.rows(
                "select distinct tenant_id from attachments where message_id is null"
                " and created_at < :before",
                {"before": now - ABANDONED_AFTER},
            )
        forgotten = 0
        for row in waiting:
            while count := await _forget(database, row["tenant_id"], now):
                forgotten += count
                progress(forgotten)
        async with relay_database.transaction(None) as work:
            unused = await work.rows(
                "select distinct tenant_id from files where unused_since is not null"
            )
        for row in unused:
            while await self._clear(database, row["tenant_id"]) == SWEPT_AT_ONCE:
                progress(forgotten)
        return forgotten

    async def _clear(self, database: Database, tenant_id: uuid.UUID) -> int:
        """Takes away some bytes that no attachment names; how many rows were looked at.

        First the bytes, then their row: cut off between the two, the row is found again. No
        upload of the tenant is under way meanwhile, so nobody relies on the bytes unseen.
        """
        async with database.transaction(tenant_id) as work:
            free = await work.row(
                "select pg_try_advisory_xact_lock(:lock) as mine", {"lock": _lock_of(tenant_id)}
            )
            if free is None or not free["mine"]:
                return 0  # somebody uploads; next time
            rows = await work.rows(
                "select f.sha256, exists(select from attachments a where a.tenant_id = f.tenant_id"
                " and a.sha256 = f.sha256) as used from files f where f.tenant_id = :tenant"
                " and f.unused_since is not null limit :n",
                {"tenant": tenant_id, "n": SWEPT_AT_ONCE},
            )
            for row in rows:
                if not row["used"]:
                    await self._store.remove(tenant_id, row["sha256"])
            await work.batch(
                (
                    "delete from files where tenant_id = %s and sha256 = any(%s)",
                    (tenant_id, [row["sha256"] for row in rows if not row["used"]]),
                ),
                (
                    "update files set unused_since = null where tenant_id = %s"
                    " and sha256 = any(%s)",
                    (tenant_id, [row["sha256"] for row in rows if row["used"]]),
                ),
            )
        return len(rows)

    async def _download(self, work: Work, row: Row) -> Download:
        chunks = await self._store.open(work.tenant_id, row["sha256"])
        return Download(row["filename"], shown_type(row["content_type"]), row["size_bytes"], chunks)


class _NoAttachment(NotFound):
    code = "attachment_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such attachment.")


async def claim(work: Work, ids: Sequence[uuid.UUID], *, uploaded_by: str) -> tuple[uuid.UUID, ...]:
    """The uploads, held for a message that this transaction writes.

    Raises Invalid for any that the sender did not upload or that has a message already.
    """
    if not ids:
        return ()
    wanted = tuple(dict.fromkeys(ids))
    if len(wanted) > MOST_PER_MESSAGE:
        raise Invalid(
            f"A message carries at most {MOST_PER_MESSAGE} files.",
            fields={"/attachments": "are too many"},
        )
    [rows] = await work.batch(
        (
            "select id from attachments where tenant_id = %s and id = any(%s)"
            " and uploaded_by = %s and message_id is null order by id for update",
            (work.tenant_id, list(wanted), uploaded_by),
        )
    )
    free = {row["id"] for row in rows}
    for place, id_ in enumerate(ids):
        if id_ not in free:
            raise Invalid(
                "An attachment is not yours, or is part of another message.",
                fields={f"/attachments/{place}": "is not an upload of yours that waits"},
            )
    return wanted


async def _forget(database: Database, tenant_id: uuid.UUID, now: datetime) -> int:
    """Deletes some abandoned uploads' rows and marks what nothing else names; how many.

    One that a message is claiming right now is locked and passed over: it is not abandoned.
    """
    async with database.transaction(tenant_id) as work:
        rows = await work.rows(
            "delete from attachments where tenant_id = :tenant and id in (select id"
            " from attachments where tenant_id = :tenant and message_id is null"
            " and created_at < :before"
            " order by id limit :n for update skip locked) and message_id is null"
            " returning sha256",
            {"tenant": tenant_id, "before": now - ABANDONED_AFTER, "n": SWEPT_AT_ONCE},
        )
        await work.batch(
            (
                "update files f set unused_since = %s where f.tenant_id = %s"
                " and f.sha256 = any(%s) and not exists (select from attachments a"
                " where a.tenant_id = f.tenant_id and a.sha256 = f.sha256)",
                (now, tenant_id, sorted({row["sha256"] for row in rows})),
            )
        )
    return len(rows)


def _lock_of(tenant_id: uuid.UUID) -> int:
    """Shared by who stores files of a tenant, held alone by who takes bytes away."""
    digest = hashlib.blake2b(b"files" + tenant_id.bytes, digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


async def _found(work: Work, attachment_id: uuid.UUID) -> Row:
    row = await work.row(
        "select a.*, t.number as ticket_number from attachments a"
        " left join messages m on m.tenant_id = a.tenant_id and m.id = a.message_id"
        " left join tickets t on t.tenant_id = m.tenant_id and t.id = m.ticket_id"
        " where a.tenant_id = :tenant and a.id = :id",
        {"tenant": work.tenant_id, "id": attachment_id},
    )
    if row is None:
        raise _NoAttachment
    return row


def clean_filename(name: str) -> str:
    """The last part of a path, without what controls a terminal or turns text around."""
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(c for c in last if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
    return shown.strip(" .")[:200] or "file"


def clean_type(given: str | None) -> str:
    """A media type without parameters; `application/octet-stream` for what is none."""
    kind = (given or "").partition(";")[0].strip().lower()
    main, slash, sub = kind.partition("/")
    sane = slash and all(
        part and len(part) <= 80 and all(c.isascii() and (c.isalnum() or c in _TOKEN) for c in part)
        for part in (main, sub)
    )
    return kind if sane else ANY_TYPE


def shown_type(stored: str) -> str:
    """The type a download is sent as: nothing that a browser would run."""
    return ANY_TYPE if stored in _ACTIVE_TYPES or stored.endswith("+xml") else stored


@lru_cache(maxsize=8)
def files_under(home: Path) -> Files:
    """The files of a process: on disk under its home."""
    return Files(DiskStore(home / "files"))
