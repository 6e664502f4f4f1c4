"""The shelves of the knowledge base, in order."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from domain.errors import Conflict, NotFound
from models.base import new_id
from models.session import Row, Statement, Work
from services.configuration import Changes

MOST_SECTIONS = 500


class SectionNotFound(NotFound):
    code = "section_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such section.")


async def sections(work: Work) -> Sequence[Row]:
    """All sections, in order."""
    return await work.rows(
        "select id, name, description, position from sections where tenant_id = :tenant"
        " order by position, name, id",
        {"tenant": work.tenant_id},
    )


async def section(work: Work, section_id: uuid.UUID) -> Row:
    """One section. Raises SectionNotFound."""
    row = await work.row(
        "select id, name, description, position from sections"
        " where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": section_id},
    )
    if row is None:
        raise SectionNotFound
    return row


async def create_section(work: Work, *, name: str, description: str, now: datetime) -> Row:
    """A new section behind the others. Raises Conflict for a name in use."""
    await hold(work)
    known = await sections(work)
    _refuse_name(name, known, None)
    if len(known) >= MOST_SECTIONS:
        raise Conflict(f"A knowledge base has at most {MOST_SECTIONS} sections.")
    section_id = new_id()
    await work.execute(
        "insert into sections (tenant_id, id, name, description, position, created_at)"
        " values (:tenant, :id, :name, :description, :position, :now)",
        {
            "tenant": work.tenant_id,
            "id": section_id,
            "name": name,
            "description": description,
            "position": max((row["position"] for row in known), default=-1) + 1,
            "now": now,
        },
    )
    return await section(work, section_id)


async def change_section(
    work: Work, section_id: uuid.UUID, new: Mapping[str, object]
) -> tuple[Row, Changes]:
    """The section with new values, and what changed."""
    await hold(work)
    before = await section(work, section_id)
    if "name" in new:
        _refuse_name(str(new["name"]), await sections(work), section_id)
    values = {name: value for name, value in new.items() if value != before[name]}
    await update(work, "sections", section_id, values)
    return {**before, **values}, {n: [before[n], v] for n, v in values.items()}


async def delete_section(work: Work, section_id: uuid.UUID) -> Row:
    """Takes an empty section away; what it was. Raises Conflict where articles are in it."""
    await hold(work)
    before = await section(work, section_id)
    held = await work.row(
        "select 1 as one from articles where tenant_id = :tenant and section_id = :id limit 1",
        {"tenant": work.tenant_id, "id": section_id},
    )
    if held is not None:
        raise Conflict("There are articles in this section. Move them first.")
    await work.execute(
        "delete from sections where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": section_id},
    )
    return before


# Parts, which articles share.


def _refuse_name(name: str, rows: Sequence[Row], own: uuid.UUID | None) -> None:
    if any(row["name"] == name and row["id"] != own for row in rows):
        raise Conflict(f"There is one named {name!r} already.", fields={"/name": "is taken"})


async def hold(work: Work) -> None:
    """One change of a tenant's knowledge base at a time: each checks what the last one left."""
    lock: Statement = (
        "select pg_advisory_xact_lock(hashtextextended(%s, 0))",
        (f"knowledge/{work.tenant_id}",),
    )
    await work.batch(lock)


async def update(work: Work, table: str, row_id: uuid.UUID, values: Mapping[str, object]) -> None:
    if values:
        await work.execute(
            f"update {table} set {', '.join(f'{n} = :{n}' for n in values)}"
            " where tenant_id = :tenant and id = :own_id",
            {**values, "tenant": work.tenant_id, "own_id": row_id},
        )
