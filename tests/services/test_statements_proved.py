"""Statements as a customer would check them: with a few lines of their own, whatever was done."""

import asyncio
import hashlib
import hmac
import itertools
import json
import uuid
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from typer.testing import CliRunner

from cli.app import app
from domain.errors import Conflict
from domain.statements import chain_fault, signing_key
from models.session import Database, Row
from services import statements
from tests.conftest import Urls
from tests.services.test_statements import SECRET, customer_of, said, signed

pytestmark = pytest.mark.slow  # months of tickets
JUNE = datetime(2026, 7, 2, tzinfo=UTC)
MONTHS = [date(2026, month, 1) for month in (3, 4, 5, 6)]
NAME = "Жанна 東京 \u202egnp.exe\n2. Zeile \U0001f600"


def by_hand(document: bytes, secret: str) -> tuple[bool, bool]:
    """Whether hash and signature fit, from the words of docs/reports.md alone."""
    told = json.loads(document)
    bare = {name: told[name] for name in sorted(told) if name not in ("hash", "signature")}
    text = json.dumps(bare, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    own = hashlib.sha256(text.encode("utf-8")).hexdigest()
    first = hmac.new(secret.encode(), b"holdfast sla statement 1", hashlib.sha256).digest()
    key = hmac.new(first, told["tenant"].encode(), hashlib.sha256).digest()
    seal = hmac.new(key, told["hash"].encode(), hashlib.sha256).hexdigest()
    return own == told["hash"], seal == told["signature"]


def inside(postgres: str, urls: Urls) -> str:
    """The tests' database as its superuser sees it: nothing keeps them from anything."""
    return make_conninfo(postgres, dbname=conninfo_to_dict(urls.app)["dbname"])


@pytest.fixture
async def four(database: Database, tenant: uuid.UUID) -> tuple[uuid.UUID, list[Row]]:
    """A customer with a name of many scripts, and their statements of four months."""
    customer = await customer_of(database, tenant)
    async with database.transaction(tenant) as work:
        await work.execute(
            "update customers set name = :name where id = :id", {"name": NAME, "id": customer}
        )
    return customer, [await signed(database, tenant, customer, m, now=JUNE) for m in MONTHS]


async def chain(database: Database, tenant: uuid.UUID, customer: uuid.UUID) -> str | None:
    async with database.transaction(tenant) as work:
        return await statements.chain(work, secret=SECRET, kind="customer", subject_id=customer)


async def test_whoever_has_the_words_and_the_secret_finds_each_as_it_was_signed(
    four: tuple[uuid.UUID, list[Row]],
) -> None:
    for row in four[1]:
        document = bytes(row["said"])
        assert by_hand(document, SECRET) == (True, True)
        assert by_hand(document, SECRET + "x") == (True, False)
        assert json.loads(document)["subject"] == NAME


async def test_no_order_but_the_true_one_and_no_gap_but_at_the_end_holds(
    four: tuple[uuid.UUID, list[Row]],
) -> None:
    told = [said(row) for row in four[1]]
    key = signing_key(SECRET, str(told[0]["tenant"]))
    for many in range(1, 5):
        for chosen in itertools.permutations(range(4), many):
            fault = chain_fault([told[n] for n in chosen], key)
            assert (fault is None) is (chosen == tuple(range(many))), chosen
    twice: Sequence[dict[str, object]] = [told[0], told[0], told[1]]
    assert chain_fault(twice, key) == "Statement 2 is missing."


async def test_every_single_value_that_is_changed_is_found(
    four: tuple[uuid.UUID, list[Row]],
) -> None:
    document = bytes(four[1][0]["said"])
    told = json.loads(document)
    key = signing_key(SECRET, told["tenant"])

    def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        match value:
            case dict():
                return [p for name, one in value.items() for p in places(one, (*path, name))]
            case list():
                return [p for n, one in enumerate(value) for p in places(one, (*path, n))]
        return [path]

    for path in places(told):
        changed = json.loads(document)
        inside = changed
        for name in path[:-1]:
            inside = inside[name]
        was = inside[path[-1]]
        inside[path[-1]] = (was or 0) + 1 if isinstance(was, int | float) else f"{was}!"
        assert chain_fault([changed], key) is not None, path
        rest = [said(row) for row in four[1][1:]]
        assert chain_fault([changed, *rest], key) is not None, path


async def test_another_customers_statement_in_the_row_is_found(
    database: Database, tenant: uuid.UUID, urls: Urls, postgres: str
) -> None:
    """Signed by us, and whole: it is only not this customer's."""
    customer = await customer_of(database, tenant)
    row = await signed(database, tenant, customer, MONTHS[0])
    stranger = uuid.uuid4()
    with psycopg.connect(inside(postgres, urls), autocommit=True) as owner:
        owner.execute(
            "insert into statements (tenant_id, id, kind, subject_id, month, position, said, hash,"
            " created_at) select tenant_id, %s, kind, %s, month, position, said, hash, created_at"
            " from statements where id = %s",
            (uuid.uuid4(), stranger, row["id"]),
        )
    assert await chain(database, tenant, customer) is None
    assert await chain(database, tenant, stranger) == "Statement 1 is another's."


async def test_what_was_tampered_with_in_the_database_itself_is_found(
    database: Database,
    tenant: uuid.UUID,
    four: tuple[uuid.UUID, list[Row]],
    urls: Urls,
    postgres: str,
) -> None:
    customer, rows = four
    assert await chain(database, tenant, customer) is None
    with psycopg.connect(inside(postgres, urls), autocommit=True) as owner:
        changed = bytes(rows[1]["said"]).replace(b'"missed":0', b'"missed":1')
        if changed == bytes(rows[1]["said"]):
            changed = bytes(rows[1]["said"]).replace(b'"met":0', b'"met":1')
        assert changed != bytes(rows[1]["said"])
        owner.execute("update statements set said = %s where id = %s", (changed, rows[1]["id"]))
        fault = await chain(database, tenant, customer)
        assert fault is not None
        assert fault.startswith("Statement 2: Its figures do not fit")
        owner.execute("delete from statements where id = %s", (rows[1]["id"],))
        assert await chain(database, tenant, customer) == "Statement 2 is missing."


async def test_two_who_sign_a_month_at_once_sign_it_once_and_the_chain_holds(
    database: Database, tenant: uuid.UUID
) -> None:
    customer = await customer_of(database, tenant)
    for month in MONTHS[:2]:
        made = await asyncio.gather(
            *(signed(database, tenant, customer, month) for _ in range(4)), return_exceptions=True
        )
        assert sum(isinstance(one, Conflict) for one in made) == 3
        assert [type(one) for one in made if isinstance(one, BaseException)] == [
            statements.StatementMade
        ] * 3
    assert await chain(database, tenant, customer) is None


async def test_a_file_that_was_bent_is_named_and_breaks_nothing(
    four: tuple[uuid.UUID, list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_SECRET_KEY", SECRET)
    home = ["--home", str(tmp_path / "home")]
    files = []
    for row in four[1]:
        files.append(tmp_path / f"{row['position']}.json")
        files[-1].write_bytes(bytes(row["said"]))
    verify = ["sla", "statement", "verify"]
    run = CliRunner().invoke(app, [*verify, *map(str, reversed(files)), *home])
    assert (run.exit_code, run.stdout.count("as it was signed")) == (0, 4)
    for bent in ({"position": "first"}, {"position": None}, {"hash": None}, {"signature": 7},
                 {"tenant": None}, {"position": 2.5}):  # fmt: skip
        files[1].write_text(json.dumps({**said(four[1][1]), **bent}))
        run = CliRunner().invoke(app, [*verify, *map(str, files), *home])
        assert run.exit_code == 1, bent
        assert f"{files[1]}: It" in run.stdout, run.stdout
        assert run.exception is None or isinstance(run.exception, SystemExit)


async def test_a_name_of_any_script_is_printed_and_kept(
    four: tuple[uuid.UUID, list[Row]],
) -> None:
    page = await asyncio.to_thread(statements.as_pdf, four[1][0])
    assert page.startswith(b"%PDF-")
