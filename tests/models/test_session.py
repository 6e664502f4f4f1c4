"""What a transaction sends, and when."""

import uuid
from datetime import UTC, datetime

import psycopg
import pytest

from models import ledger
from models.base import new_id
from models.session import Database, Row, Statement, Work


class Refused(Exception):
    pass


def customer(tenant: uuid.UUID, name: str, *, id_: uuid.UUID | None = None) -> Statement:
    return ledger.insert_customer(
        tenant, id=id_ or new_id(), name=name, organization_id=None, at=datetime.now(UTC)
    )


async def names(work: Work) -> set[str]:
    return {row["name"] for row in await work.rows("select name from customers")}


async def test_what_was_deferred_is_seen_by_whatever_comes_next(
    database: Database, tenant: uuid.UUID
) -> None:
    async with database.transaction(tenant) as work:
        work.defer(customer(tenant, "Kim"))
        assert await names(work) == {"Kim"}
        work.defer(customer(tenant, "Sam"))
        [rows] = await work.batch(("select count(*) as n from customers", ()))
        assert rows[0]["n"] == 2


async def test_what_was_deferred_is_committed_where_nothing_comes_next(
    database: Database, tenant: uuid.UUID
) -> None:
    async with database.transaction(tenant) as work:
        work.defer(customer(tenant, "Kim"))
    async with database.transaction(tenant) as work:
        assert await names(work) == {"Kim"}


async def test_a_deferred_write_that_fails_fails_the_transaction(
    database: Database, tenant: uuid.UUID
) -> None:
    id_ = new_id()
    with pytest.raises(psycopg.errors.UniqueViolation):
        async with database.transaction(tenant) as work:
            work.defer(customer(tenant, "Kim", id_=id_), customer(tenant, "Sam", id_=id_))
    async with database.transaction(tenant) as work:
        assert await names(work) == set()


async def test_a_guard_is_asked_first_and_what_it_refuses_can_be_taken_back(
    database: Database, tenant: uuid.UUID
) -> None:
    answers: list[list[Row]] = []

    def check(rows: list[Row]) -> None:
        answers.append(rows)
        raise Refused

    async with database.transaction(tenant) as work:
        work.guard(7, ("select count(*) as n from customers", ()), check=check)
        with pytest.raises(Refused):
            await work.batch(customer(tenant, "Kim"))
        await work.restart(unguarded=True)
    assert answers == [[{"n": 0}]]
    async with database.transaction(tenant) as work:
        assert await names(work) == set()


async def test_statements_at_once_write_what_each_of_them_would(
    database: Database, tenant: uuid.UUID
) -> None:
    id_, at = new_id(), datetime.now(UTC)
    identity = ledger.insert_identity(
        tenant, id=new_id(), customer_id=id_, kind="email", value="kim@example.com",
        verified_at=None, at=at,
    )  # fmt: skip
    async with database.transaction(tenant) as work:
        people = [customer(tenant, "Kim", id_=id_), customer(tenant, "50% Sam")]
        [rows] = await work.batch(ledger.at_once([*people, identity]))
        assert len(rows) == 1  # what the last of them answers with
        assert await names(work) == {"Kim", "50% Sam"}
