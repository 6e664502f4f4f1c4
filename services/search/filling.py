"""What the index holds: documents of tickets as they are now, and all of them made anew."""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from adapters.search import NOBODY, Document, SearchDown, SearchIndex
from models.session import Database, Row, Statement, Work
from services import retelling

logger = logging.getLogger(__name__)

# A thread's newest words; a document is held in memory by the index.
_TEXT = 100_000
# Rows of transactions that began before a rebuild did and were committed after it read them.
_OVERLAP = timedelta(minutes=5)
_REBUILD_BATCH = 500


async def documents_of(work: Work, ticket_ids: Sequence[uuid.UUID]) -> list[Document]:
    """What the index should hold of these tickets, from their rows as they are now."""
    [rows] = await work.batch(_documents(work.tenant_id, ticket_ids))
    return [_document(work.tenant_id, row) for row in rows]


async def rebuild(
    relay_database: Database,
    database: Database,
    index: SearchIndex,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Fills a new index with the tickets of all tenants, then puts it in place; how many.

    The desk stays in use. The old index is searched and written until the exchange. What
    changed since the beginning is then put into the outbox once more, so that the relay tells
    the new index: it alone may decide which of two states of a ticket is the newer.
    """
    [start] = await _relay_rows(relay_database, "select now() as at", {})
    collection = await index.begin_rebuild()
    try:
        filled = await _fill(relay_database, database, index, collection, progress)
        await index.finish_rebuild(collection)
    except BaseException:
        try:
            await index.drop(collection)
        except SearchDown:
            logger.warning("%s is left over; the next rebuild drops it", collection)
        raise
    since = start["at"] - _OVERLAP
    await _tell_again(relay_database, since=since)
    for tenant in await _relay_rows(relay_database, "select id from tenants", {}):
        async with database.transaction(tenant["id"]) as work:
            await retelling.begin_again(work, since=since)
    return filled


async def _fill(
    relay_database: Database,
    database: Database,
    index: SearchIndex,
    collection: str,
    progress: Callable[[int], None],
) -> int:
    filled = 0
    after = (uuid.UUID(int=0), uuid.UUID(int=0))
    while rows := await _relay_rows(
        relay_database,
        "select tenant_id, id from tickets where (tenant_id, id) > (%(tenant)s, %(id)s)"
        " order by tenant_id, id limit %(most)s",
        {"tenant": after[0], "id": after[1], "most": _REBUILD_BATCH},
    ):
        after = (rows[-1]["tenant_id"], rows[-1]["id"])
        for tenant_id in dict.fromkeys(row["tenant_id"] for row in rows):
            ids = [row["id"] for row in rows if row["tenant_id"] == tenant_id]
            async with database.transaction(tenant_id) as work:
                documents = await documents_of(work, ids)
            refused = await index.fill(collection, documents)
            for ticket_id, reason in refused.items():
                logger.warning("the index refuses ticket %s: %s", ticket_id, reason)
            filled += len(documents) - len(refused)
        progress(filled)
    return filled


async def _relay_rows(
    relay_database: Database, sql: str, parameters: Mapping[str, object]
) -> list[Row]:
    async with relay_database.transaction(None) as work:
        [rows] = await work.batch((sql, parameters))
    return rows


async def _tell_again(relay_database: Database, *, since: datetime) -> None:
    """Outbox rows for what changed since then, unless there is one already."""
    async with relay_database.transaction(None) as work:
        await work.batch(
            (
                "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq,"
                " created_at, available_at)"
                " select 'index', t.tenant_id, t.id, t.number, 'reindexed', t.seq, now(), now()"
                " from tickets t where t.updated_at >= %(since)s",
                {"since": since},
            )
        )
        work.wake_relay()


def _documents(tenant_id: uuid.UUID, ticket_ids: Sequence[uuid.UUID]) -> Statement:
    def texts(visibility: str) -> str:
        return (
            f"(select left(string_agg(left(m.body_text, {_TEXT}), e'\\n'"
            f" order by m.created_at desc, m.id desc), {_TEXT}) from messages m"
            " where m.tenant_id = t.tenant_id and m.ticket_id = t.id"
            f" and m.visibility = '{visibility}') as {visibility}_text"
        )

    return (
        "select t.id, t.number, t.subject, t.status, t.category, t.priority, t.team_id,"
        " t.assignee_id, t.created_by_id, t.channel, t.tags, t.updated_at, t.seq,"
        " c.name as requester_name, o.name as organization,"
        " (select string_agg(i.value, ' ' order by i.created_at, i.id)"
        " from customer_identities i where i.tenant_id = t.tenant_id"
        " and i.customer_id = t.requester_id and i.kind = 'email') as requester_email,"
        f" {texts('public')}, {texts('internal')}"
        " from tickets t join customers c on c.tenant_id = t.tenant_id and c.id = t.requester_id"
        " left join organizations o on o.tenant_id = t.tenant_id and o.id = t.organization_id"
        " where t.tenant_id = %s and t.id = any(%s)",
        (tenant_id, list(ticket_ids)),
    )


def _document(tenant_id: uuid.UUID, row: Row) -> Document:
    def name(key: str) -> str:
        return str(row[key]) if row[key] is not None else NOBODY

    return {
        "id": str(row["id"]),
        "tenant_id": str(tenant_id),
        "number": row["number"],
        "number_text": str(row["number"]),
        "subject": row["subject"],
        "requester_name": row["requester_name"],
        "requester_email": row["requester_email"] or "",
        "organization": row["organization"] or "",
        "public_text": row["public_text"] or "",
        "internal_text": row["internal_text"] or "",
        "tags": row["tags"],
        "status": row["status"],
        "category": row["category"],
        "priority": name("priority"),
        "team_id": name("team_id"),
        "assignee_id": name("assignee_id"),
        "created_by_id": name("created_by_id"),
        "channel": row["channel"],
        "updated_at": int(row["updated_at"].timestamp()),
        "seq": row["seq"],
    }
