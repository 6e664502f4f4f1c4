"""`holdfast workflow`: an operator says what steps may start."""

import asyncio
import json
import uuid

import pytest
from typer.testing import CliRunner

from cli.app import app
from models.session import Database
from tests.cli.test_sla import desk, slug_of

__all__ = ["desk"]

pytestmark = pytest.mark.slow


async def invoke(*arguments: str) -> tuple[int, str]:
    run = await asyncio.to_thread(CliRunner().invoke, app, ["workflow", *arguments])
    return run.exit_code, run.stdout


async def test_a_workflow_is_offered_listed_and_withdrawn(
    database: Database,
    tenant: uuid.UUID,
    desk: list[str],
) -> None:
    slug = await slug_of(database, tenant)
    code, _ = await invoke("offer", "refund", "--tenant", slug, "--queue", "billing", *desk)
    assert code == 0
    code, said = await invoke("list", "--tenant", slug, "--json", *desk)
    found = {one["name"]: one for one in json.loads(said)["workflows"]}
    assert (code, found["refund"]["queue"], found["refund"]["type"]) == (0, "billing", "refund")
    assert found["briefing"]["ships"] is True
    # Holdfast's own queues are nobody else's.
    code, _ = await invoke("offer", "other", "--tenant", slug, "--queue", "tickets", *desk)
    assert code == 1
    code, _ = await invoke("withdraw", "refund", "--tenant", slug, *desk)
    assert code == 0
    code, said = await invoke("list", "--tenant", slug, *desk)
    assert "refund" not in said
