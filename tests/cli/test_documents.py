"""What the documents promise about tasks, commands and dependencies is so."""

import re
import subprocess
import tomllib
from pathlib import Path

import typer.main

from cli.app import app

ROOT = Path(__file__).resolve().parent.parent.parent


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_every_direct_dependency_has_a_reason_and_no_other() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    named = [one for group in groups for one in group]
    wanted = {re.split(r"[\[=<>;~ ]", one)[0] for one in named}
    told = set(re.findall(r"^\| `([a-z0-9-]+)` \| \S", read("docs/dependencies.md"), re.M))
    assert told == wanted


def test_every_task_that_is_written_about_exists() -> None:
    listed = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    tasks = set(re.findall(r"make ([a-z-]+)", listed))
    assert {"setup", "up", "down", "test", "test-fast", "check", "migrate", "record", "bench",
            "lock", "help"} <= tasks  # fmt: skip
    for document in ("README.md", "CONTRIBUTING.md", ".ci/run"):
        assert set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)?)\b", read(document))) & tasks
    for document in ("README.md", "CONTRIBUTING.md"):
        assert set(re.findall(r"`make ([a-z-]+)", read(document))) <= tasks


def test_every_command_that_the_readme_names_exists() -> None:
    group = typer.main.get_command(app)
    commands = set(getattr(group, "commands", {}))
    named = set(re.findall(r"`holdfast ([a-z]+)", read("README.md")))
    assert named
    assert named <= commands


def test_every_file_that_the_readme_names_exists() -> None:
    named = re.findall(r"`([a-z_]+/[a-z_/.]*|[a-z]+\.py)`", read("README.md"))
    missing = [one for one in named if not (ROOT / one).exists()]
    assert len(named) > 15
    assert missing == []
