"""The audit chain: sealed once, whoever seals; every later change is found."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from models.session import Database
from services import audit
from tests.conftest import Urls


async def write(database: Database, tenant: uuid.UUID, count: int) -> None:
    async with database.transaction(tenant) as work:
        for n in range(count):
            await audit.record(
                work,
                caller=None,
                origin=None,
                action="thing.done",
                target_kind="thing",
                target_id=str(n),
                data={"n": n, "half": 0.5, "names": ["ä", None], "nested": {"b": 1, "a": True}},
            )


async def seal(database: Database, tenant: uuid.UUID, limit: int = 1000) -> int:
    async with database.transaction(tenant) as work:
        return await audit.seal(work, limit=limit)


async def report(database: Database, tenant: uuid.UUID) -> audit.Report:
    async with database.transaction(tenant) as work:
        return await audit.verify(work, now=datetime.now(UTC))


async def test_sealed_entries_add_up_and_unsealed_ones_show_their_age(
    database: Database, tenant: uuid.UUID
) -> None:
    await write(database, tenant, 5)
    assert await seal(database, tenant, limit=3) == 3
    found = await report(database, tenant)
    assert (found.sealed, found.unsealed, found.first_bad_position) == (3, 2, None)
    assert found.oldest_unsealed_age is not None
    assert timedelta(0) <= found.oldest_unsealed_age < timedelta(minutes=1)
    assert await seal(database, tenant) == 2
    assert await seal(database, tenant) == 0
    assert await report(database, tenant) == audit.Report(5, 0, None, None)


async def test_concurrent_sealers_give_each_entry_one_place_without_gaps(
    database: Database, tenant: uuid.UUID
) -> None:
    await write(database, tenant, 60)

    async def until_done() -> int:
        mine = 0
        for _ in range(40):
            mine += await seal(database, tenant, limit=7)
            await asyncio.sleep(0)
        return mine

    assert sum(await asyncio.gather(*(until_done() for _ in range(4)))) == 60
    assert await report(database, tenant) == audit.Report(60, 0, None, None)


async def test_an_entry_that_commits_late_comes_later_in_the_chain(
    database: Database, tenant: uuid.UUID
) -> None:
    async with database.transaction(tenant) as late:
        await audit.record(
            late, caller=None, origin=None, action="late", target_kind="x", target_id=None
        )
        await write(database, tenant, 2)
        assert await seal(database, tenant) == 2
    assert await seal(database, tenant) == 1
    assert await report(database, tenant) == audit.Report(3, 0, None, None)


@pytest.mark.parametrize(
    ("tampering", "position"),
    [
        ("update audit_entries set data = '{\"n\": 99}' where position = 3", 3),
        ("update audit_entries set actor_id = gen_random_uuid() where position = 1", 1),
        ("update audit_entries set at = at - interval '1 day' where position = 5", 5),
        ("delete from audit_entries where position = 2", 2),
        ("update audit_entries set position = position + 1 where position = 5", 5),
        ("update audit_entries set hash = sha256('x') where position = 4", 4),
    ],
)
async def test_tampering_is_found_where_it_happened(
    database: Database, tenant: uuid.UUID, postgres: str, urls: Urls, tampering: str, position: int
) -> None:
    await write(database, tenant, 5)
    await seal(database, tenant)
    name = urls.app.rpartition("/")[2]
    with psycopg.connect(f"{postgres.rpartition('/')[0]}/{name}", autocommit=True) as superuser:
        done = superuser.execute(f"{tampering} and tenant_id = %s".encode(), (tenant,))
        assert done.rowcount == 1
    assert (await report(database, tenant)).first_bad_position == position


async def test_the_application_itself_cannot_rewrite_an_entry(
    database: Database, tenant: uuid.UUID
) -> None:
    await write(database, tenant, 1)
    for statement in (
        "update audit_entries set action = 'x' where tenant_id = :t",
        "delete from audit_entries where tenant_id = :t",
    ):
        with pytest.raises(Exception, match="permission denied"):
            async with database.transaction(tenant) as work:
                await work.execute(statement, {"t": tenant})
