"""Monthly statements: signed, chained, made once; whatever is changed in them is seen."""

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from domain.errors import Conflict, Invalid
from domain.statements import FIRST, chain_fault, proved, signing_key
from models.session import Database, Row
from services import statements
from tests.services.test_simulations import answered_after

pytestmark = pytest.mark.slow  # documents are drawn

SECRET = "only for tests: " + "s" * 32
LATER = datetime(2026, 6, 1, tzinfo=UTC)
MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)


async def customer_of(database: Database, tenant: uuid.UUID) -> uuid.UUID:
    await answered_after(database, tenant, [10, 20, 75])
    async with database.transaction(tenant) as work:
        [row] = await work.rows("select id from customers where tenant_id = :t", {"t": tenant})
    return uuid.UUID(str(row["id"]))


async def signed(
    database: Database, tenant: uuid.UUID, customer: uuid.UUID, month: date, now: datetime = LATER
) -> Row:
    async with database.transaction(tenant) as work:
        return await statements.make(
            work, secret=SECRET, kind="customer", subject_id=customer, month=month, caller=None,
            origin=None, now=now,
        )  # fmt: skip


def said(row: Row) -> dict[str, object]:
    found: dict[str, object] = json.loads(bytes(row["said"]))
    return found


async def test_a_month_is_signed_and_follows_the_month_before(
    database: Database, tenant: uuid.UUID
) -> None:
    customer = await customer_of(database, tenant)
    march = said(await signed(database, tenant, customer, MARCH))
    april = said(await signed(database, tenant, customer, APRIL))
    total = march["total"]
    assert isinstance(total, Mapping)
    assert (total["met"], total["missed"]) == (2, 1)
    assert total["minutes_over"] == 15
    missed = march["missed"]
    assert isinstance(missed, list)
    assert [one["metric"] for one in missed] == ["first_reply"]
    assert (march["previous"], april["previous"]) == (FIRST, march["hash"])
    async with database.transaction(tenant) as work:
        assert (
            await statements.chain(work, secret=SECRET, kind="customer", subject_id=customer)
            is None
        )
    key = signing_key(SECRET, str(march["tenant"]))
    assert chain_fault([march, april], key) is None
    assert chain_fault([april], key) == "Statement 1 is missing."


async def test_a_month_is_signed_once_when_it_is_over_and_in_order(
    database: Database, tenant: uuid.UUID
) -> None:
    customer = await customer_of(database, tenant)
    with pytest.raises(Invalid):
        await signed(database, tenant, customer, MARCH, now=datetime(2026, 3, 31, 23, tzinfo=UTC))
    await signed(database, tenant, customer, APRIL)
    for month in (MARCH, APRIL):
        with pytest.raises(Conflict):
            await signed(database, tenant, customer, month)
    with pytest.raises(Invalid):
        await signed(database, tenant, uuid.uuid4(), MARCH)


async def test_whatever_is_changed_or_forged_is_seen(
    database: Database, tenant: uuid.UUID, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = await customer_of(database, tenant)
    row = await signed(database, tenant, customer, MARCH)
    true = said(row)
    key = signing_key(SECRET, str(true["tenant"]))
    assert proved(true, key=key).holds
    assert not proved({**true, "missed": []}, key=key).holds
    other = signing_key("another server " + "x" * 32, str(true["tenant"]))
    assert "forged" in str(proved(true, key=other).fault)
    assert (proved(true, key=None).holds, proved(true, key=None).signed) == (True, False)
    assert statements.as_pdf(row).startswith(b"%PDF-")

    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(bytes(row["said"]))
    bad.write_text(json.dumps({"said": {**true, "subject": "Somebody else"}}))
    monkeypatch.setenv("HOLDFAST_SECRET_KEY", SECRET)
    home = ["--home", str(tmp_path / "home")]
    run = CliRunner().invoke(app, ["sla", "statement", "verify", str(good), *home])
    assert (run.exit_code, run.stdout) == (0, f"{good}: as it was signed\n")
    run = CliRunner().invoke(app, ["sla", "statement", "verify", str(good), str(bad), *home])
    assert run.exit_code == 1
    assert f"{bad}: Its figures do not fit its hash: it was changed." in run.stdout


async def test_the_database_lets_nobody_change_what_was_signed(
    database: Database, tenant: uuid.UUID
) -> None:
    customer = await customer_of(database, tenant)
    await signed(database, tenant, customer, MARCH)
    with pytest.raises(Exception, match="permission denied"):
        async with database.transaction(tenant) as work:
            await work.execute("update statements set position = 2")
