"""What a calendar or a policy said before: the versions that past clocks refer to."""

import uuid
from collections.abc import Sequence
from typing import Literal

from domain.errors import NotFound
from models.session import Row, Work
from services.cursors import BadCursor, pack, unpack


async def versions_of(
    work: Work,
    kind: Literal["calendar", "policy"],
    id_: uuid.UUID,
    *,
    limit: int,
    cursor: str | None = None,
) -> tuple[Sequence[Row], str | None]:
    """Its versions with what each said and since when, the newest first; the next cursor.

    Raises NotFound for what is not here, and BadCursor.
    """
    before = 2**31 - 1
    if cursor is not None:
        [said] = unpack(cursor, 1)
        if not isinstance(said, int) or not 0 < said < before:
            raise BadCursor
        before = said
    tables = {"calendar": "calendars", "policy": "policies"}
    found = {"tenant": work.tenant_id, "id": id_}
    if not await work.rows(
        f"select 1 from {tables[kind]} where tenant_id = :tenant and id = :id", found
    ):
        raise NotFound(f"There is no such {kind}.")
    rows = await work.rows(
        f"select version, body, created_at from {kind}_versions where tenant_id = :tenant"
        f" and {kind}_id = :id and version < :before order by version desc limit :limit",
        {**found, "before": before, "limit": limit + 1},
    )
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], pack([rows[limit - 1]["version"]])
