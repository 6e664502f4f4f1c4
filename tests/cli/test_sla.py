"""`holdfast sla verify` and `simulate` over a desk on which a lot has happened."""

import asyncio
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from domain.rotas import Rota
from models.session import Database
from services import rotas
from tests.conftest import Urls
from tests.making import make_agent, make_team
from tests.services.test_verifying import busy_desk


@pytest.fixture
def desk(urls: Urls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    monkeypatch.setenv("DATABASE_URL", urls.app)
    monkeypatch.setenv("MIGRATION_DATABASE_URL", urls.owner)
    monkeypatch.setenv("RELAY_DATABASE_URL", urls.relay)
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:9")
    monkeypatch.setenv("HOLDFAST_SECRET_KEY", "only for tests: " + "s" * 32)
    return ["--home", str(tmp_path)]


async def slug_of(database: Database, tenant: uuid.UUID) -> str:
    async with database.transaction(tenant) as work:
        row = await work.row("select slug from tenants where id = :t", {"t": tenant})
    assert row is not None
    return str(row["slug"])


async def invoke(*arguments: str) -> tuple[int, str]:
    """The command in a thread: it brings a loop of its own."""
    run = await asyncio.to_thread(CliRunner().invoke, app, ["sla", *arguments])
    return run.exit_code, run.stdout


async def test_the_command_agrees_with_a_true_desk_and_names_what_was_changed(
    database: Database, tenant: uuid.UUID, desk: list[str]
) -> None:
    await busy_desk(database, tenant, seed=3, tickets=5, events=60)
    slug = await slug_of(database, tenant)
    code, said = await invoke("verify", "--tenant", slug, "--json", *desk)
    assert (code, json.loads(said)["agrees"]) == (0, True)
    async with database.transaction(tenant) as work:
        row = await work.row(
            "update clocks c set due_at = c.due_at + interval '1 minute' from tickets t"
            " where t.tenant_id = c.tenant_id and t.id = c.ticket_id and c.tenant_id = :t"
            " and c.metric = 'first_reply' and t.number = (select min(number) from tickets"
            "  where tenant_id = :t) returning t.number",
            {"t": tenant},
        )
    assert row is not None
    code, said = await invoke("verify", "--tenant", slug, *desk)
    assert code == 1
    assert f"ticket {row['number']}: first_reply cycle 1: due is kept as" in said


async def test_the_command_tries_a_draft_and_shows_before_and_after(
    database: Database, tenant: uuid.UUID, desk: list[str], tmp_path: Path
) -> None:
    await busy_desk(database, tenant, seed=4, tickets=4, events=60)
    slug = await slug_of(database, tenant)
    code, said = await invoke("simulate", "--tenant", slug, "--months", "36", "--json", *desk)
    found = json.loads(said)
    assert (code, found["state"], found["tickets"], found["different"]) == (0, "finished", 4, 0)
    draft = tmp_path / "draft.json"
    draft.write_text("[]")
    code, _ = await invoke("simulate", "--tenant", slug, "--draft", str(draft), *desk)
    assert code == 1


async def test_the_command_tries_a_new_policy_and_another_staffing(
    database: Database, tenant: uuid.UUID, desk: list[str], tmp_path: Path
) -> None:
    await busy_desk(database, tenant, seed=5, tickets=4, events=60)
    slug, draft = await slug_of(database, tenant), tmp_path / "draft.json"
    hours = {"timezone": "UTC", "weekly": {"mon": [["09:00", "17:00"]]}}
    new = {"calendar": hours, "position": 1, "targets": {"first_reply": {"normal": "PT1M"}}}
    for said, words in (
        ({"new_policies": [new]}, "with another verdict"),
        ({"staffing": [{"agents": 2}]}, "The model's fit is unknown"),
    ):
        draft.write_text(json.dumps(said))
        where = ["--tenant", slug, "--months", "36", "--draft", str(draft), *desk]
        code, shown = await invoke("simulate", *where)
        assert code == 0
        assert words in " ".join(shown.split())
    draft.write_text(json.dumps({"staffing": [{"agents": "many"}]}))
    code, _ = await invoke("simulate", "--tenant", slug, "--draft", str(draft), *desk)
    assert code == 1


async def test_the_command_says_who_is_on_call(
    database: Database, tenant: uuid.UUID, desk: list[str]
) -> None:
    async with database.transaction(tenant) as work:
        team = await make_team(work)
        ada = await make_agent(work, "Ada", teams=(team,))
        layer = {"user_ids": [ada], "first": "2020-01-01"}
        await rotas.put_rota(
            work, team, Rota.model_validate({"layers": [layer]}), by=ada, now=datetime.now(UTC)
        )
    slug = await slug_of(database, tenant)
    code, said = await invoke("oncall", str(team), "--tenant", slug, "--json", *desk)
    assert (code, [turn["name"] for turn in json.loads(said)["turns"]]) == (0, ["Ada"])
    code, _ = await invoke("oncall", "Nowhere", "--tenant", slug, *desk)
    assert code == 1
