"""`holdfast triage models`, `train` and `backtest` against a desk whose worker is played here."""

import asyncio
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg.types.json import Jsonb
from typer.testing import CliRunner

from cli.app import app
from domain.learning import Measures, Outcome, measured
from models.base import new_id
from models.session import Database
from services.training import Trainings
from tests.cli.test_sla import desk, slug_of

__all__ = ["desk"]

pytestmark = pytest.mark.slow  # commands that wait


def measures(right: int = 45) -> Measures:
    return measured(
        [Outcome("billing", "billing", 0.9, True)] * right
        + [Outcome("orders", "billing", 0.6, True)] * (50 - right)
    )


async def a_model(database: Database, tenant: uuid.UUID, version: int) -> uuid.UUID:
    model_id = new_id()
    async with database.transaction(tenant) as work:
        await work.execute(
            "insert into triage_models (tenant_id, id, field, version, state, detail, rows,"
            " measures, sha256, created_at) values (:t, :id, 'topic', :v, 'champion', 'Better.',"
            " 200, :m, :sha, :now)",
            {
                "t": tenant, "id": model_id, "v": version, "sha": "a" * 64,
                "m": Jsonb(measures().model_dump(mode="json")), "now": datetime.now(UTC),
            },
        )  # fmt: skip
    return model_id


async def invoke(*arguments: str) -> tuple[int, str]:
    run = await asyncio.to_thread(CliRunner().invoke, app, ["triage", *arguments])
    return run.exit_code, run.stdout


async def worker(database: Database, tenant: uuid.UUID) -> None:
    """Ends whatever is queued, as the models' worker does."""
    trainings = Trainings(database)
    while True:
        async with database.transaction(tenant) as work:
            tests = await work.rows(
                "select id from triage_backtests where tenant_id = :t and state = 'queued'",
                {"t": tenant},
            )
            models = await work.rows(
                "select id from triage_models where tenant_id = :t and state = 'queued'",
                {"t": tenant},
            )
        now = datetime.now(UTC)
        for row in tests:
            await trainings.end_backtest(
                tenant, row["id"], "finished", measures=measures(), unseen=measures(40),
                recorded=measured([]), now=now,
            )  # fmt: skip
        for row in models:
            await trainings.end(tenant, row["id"], "refused", "Too few rows.", now=now)
        await asyncio.sleep(0.1)


async def test_a_backtest_of_a_version_is_asked_for_waited_for_and_shown(
    database: Database, tenant: uuid.UUID, desk: list[str]
) -> None:
    model_id = await a_model(database, tenant, 4)
    slug = await slug_of(database, tenant)
    working = asyncio.create_task(worker(database, tenant))
    code, said = await invoke(
        "backtest", "--tenant", slug, "--model", "topic-4", "--json", "--wait", "20", *desk
    )
    found = json.loads(said)
    assert (code, found["state"], found["version"]) == (0, "finished", 4)
    assert found["measures"]["accuracy"] == pytest.approx(0.9)
    assert found["unseen"]["accuracy"] == pytest.approx(0.8)
    code, said = await invoke("backtest", "--tenant", slug, "--model", "topic", *desk)
    assert code == 0
    assert "decided after all it was taught" in said
    working.cancel()
    async with database.transaction(tenant) as work:
        rows = await work.rows(
            "select model_id from triage_backtests where tenant_id = :t order by created_at",
            {"t": tenant},
        )
    assert [row["model_id"] for row in rows] == [model_id, None]


async def test_models_are_listed_and_a_refused_training_ends_with_exit_code_one(
    database: Database, tenant: uuid.UUID, desk: list[str]
) -> None:
    await a_model(database, tenant, 1)
    slug = await slug_of(database, tenant)
    code, said = await invoke("models", "--tenant", slug, "--json", *desk)
    assert (code, [(one["field"], one["version"]) for one in json.loads(said)]) == (
        0, [("topic", 1)],
    )  # fmt: skip
    working = asyncio.create_task(worker(database, tenant))
    code, said = await invoke(
        "train", "--tenant", slug, "--field", "spam", "--json", "--wait", "20", *desk
    )
    working.cancel()
    assert (code, json.loads(said)["detail"]) == (1, "Too few rows.")


@pytest.mark.parametrize("model", ["topic-9", "mood-1", "topic-x", "", "team"])
async def test_what_names_no_model_that_can_be_asked_is_refused(
    database: Database, tenant: uuid.UUID, desk: list[str], model: str, tmp_path: Path
) -> None:
    slug = await slug_of(database, tenant)
    code, _ = await invoke("backtest", "--tenant", slug, "--model", model, *desk)
    assert code == 1


async def test_without_a_worker_the_command_says_so(
    database: Database, tenant: uuid.UUID, desk: list[str]
) -> None:
    slug = await slug_of(database, tenant)
    code, said = await invoke(
        "backtest", "--tenant", slug, "--model", "topic", "--wait", "1", *desk
    )
    assert (code, said) == (1, "")
