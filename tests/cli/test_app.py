"""What the commands are called, and how they refuse."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.app import app
from stack.home import Home

COMMANDS = (
    "up", "down", "status", "logs", "doctor", "reset", "migrate", "demo", "tenant create",
    "user create", "token create", "audit verify", "rebuild workflows", "rebuild index", "sla due",
)  # fmt: skip


def run(*arguments: str, home: Path | None = None) -> tuple[int, str, str]:
    environment = {} if home is None else {"HOLDFAST_HOME": str(home)}
    result = CliRunner().invoke(app, arguments, env=environment)
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    code, text, _ = run(*command.split(), "--help")
    assert code == 0
    assert "Usage:" in text


@pytest.mark.parametrize(
    "command",
    [
        ["doctor"],
        ["migrate"],
        ["rebuild", "workflows"],
        ["audit", "verify"],
        ["tenant", "create", "acme", "--email", "a@acme.example"],
    ],
)
def test_a_command_without_a_desk_says_how_to_start_one(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    code, _, complaint = run(*command, home=tmp_path)
    assert code == 1
    assert "No desk runs on" in complaint
    assert "holdfast up" in complaint


def test_the_status_of_no_desk_is_stopped_and_a_failure(tmp_path: Path) -> None:
    code, text, _ = run("status", "--json", home=tmp_path)
    assert code == 1
    assert json.loads(text)["phase"] == "stopped"


def test_stopping_what_does_not_run_is_no_failure(tmp_path: Path) -> None:
    code, text, _ = run("down", "--json", home=tmp_path)
    assert (code, json.loads(text)) == (0, {"stopped": False})


def test_logs_show_the_end_of_the_one_that_is_named(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create()
    home.log("api").write_text("one\ntwo\nthree\n")
    home.log("worker").write_text("other\n")
    assert run("logs", "api", "-n", "2", home=tmp_path)[:2] == (0, "two\nthree\n")
    everything = run("logs", home=tmp_path)[1]
    assert "api        three" in everything
    assert "worker     other" in everything

    code, _, complaint = run("logs", "mailer", home=tmp_path)
    assert code == 1
    assert "Logs: api, worker" in complaint


def test_reset_deletes_the_desk_and_nothing_else(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    home.secrets()
    (home.folder("files") / "a").write_text("a")
    (home.path / "holiday.jpg").write_text("not ours")
    result = CliRunner().invoke(app, ["reset", "--home", str(home.path)], input="n\n")
    assert result.exit_code == 1
    assert home.secrets_file.exists()

    assert run("reset", "--yes", home=home.path)[0] == 0
    assert [one.name for one in home.path.iterdir()] == ["holiday.jpg"]


def test_reset_leaves_a_folder_alone_in_which_no_desk_was(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    assert run("reset", "--yes", home=tmp_path)[0] == 0
    assert (tmp_path / "files").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["user", "create", "--tenant", "acme", "--email", "a@acme.example", "--name", "A"],
        ["tenant", "create", "acme", "--email", "a@acme.example"],
    ],
)
def test_a_password_is_no_argument_and_none_sent_is_a_mistake(
    command: list[str], tmp_path: Path
) -> None:
    assert run(*command, "--password", "on the command line", home=tmp_path)[0] == 2
    result = CliRunner().invoke(
        app, [*command, "--password-stdin"], input="", env={"HOLDFAST_HOME": str(tmp_path)}
    )
    assert result.exit_code == 1
    assert "no password on the standard input" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "command",
    [
        ["tenant", "create", "acme", "--email", "nobody"],
        ["user", "create", "--tenant", "acme", "--email", "bo@", "--name", "Bo"],
    ],
)
def test_nobody_is_made_who_could_not_sign_in_under_their_address(
    command: list[str], tmp_path: Path
) -> None:
    code, _, complaint = run(*command, home=tmp_path)
    assert code == 1
    assert "That is not an e-mail address." in complaint
