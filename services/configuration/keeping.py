"""How a change of a tenant's configuration is written: one at a time, each name and key once."""

import re
import uuid
from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb

from domain.errors import Conflict
from models.session import Row, Work
from services import desks

KEY = re.compile(r"[a-z][a-z0-9_]{0,62}")

Changes = dict[str, list[object]]


class KeyTaken(Conflict):
    code = "key_taken"

    def __init__(self, key: str) -> None:
        super().__init__(f"{key!r} is in use already.", fields={"/key": "is taken"})


def key_of(name: str) -> str:
    """A key made from a name, for where none was given."""
    key = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60]
    return key if KEY.fullmatch(key) else f"s_{key}".rstrip("_")


async def hold(work: Work) -> None:
    """One change of a tenant's configuration at a time: each checks what the last one left."""
    await work.batch(("select 1 from tenants where id = %s for update", (work.tenant_id,)))


def refuse_name(name: str, rows: Sequence[Row], own: uuid.UUID | None) -> None:
    """Raises Conflict where another of these rows than the own one has the name."""
    if any(row["name"] == name and row["id"] != own for row in rows):
        raise Conflict(f"There is one named {name!r} already.", fields={"/name": "is taken"})


def texts(value: object) -> Sequence[str]:
    """A list of texts out of a body; empty where it is none."""
    return [str(v) for v in value] if isinstance(value, list | tuple | set | frozenset) else []


async def insert(work: Work, table: str, row: Mapping[str, object]) -> None:
    """A new row of the tenant's."""
    names = ", ".join(row)
    marks = ", ".join(f"%({name})s" for name in row)
    values = {n: Jsonb(v) if isinstance(v, dict) else v for n, v in row.items()}
    await work.batch(
        (
            f"insert into {table} (tenant_id, {names}) values (%(tenant_id)s, {marks})",
            {"tenant_id": work.tenant_id, **values},
        )
    )


async def update(
    work: Work, table: str, key_name: str, key: str, before: Row, new: Mapping[str, object]
) -> tuple[Row, Changes]:
    """The row as it is then, and what of it was changed, with its earlier values."""
    values = {n: v for n, v in new.items() if v != before[n]}
    if values:
        await work.execute(
            f"update {table} set {', '.join(f'{n} = :{n}' for n in values)}"
            f" where tenant_id = :tenant and {key_name} = :key_",
            {**values, "tenant": work.tenant_id, "key_": key},
        )
        await desks.changed(work)
    return {**before, **values}, {n: [before[n], v] for n, v in values.items()}
