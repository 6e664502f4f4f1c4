"""What the documents name exists: files, commands, variables with their defaults, metrics."""

import re
from pathlib import Path

import pytest
from pydantic import AliasChoices
from pydantic_core import PydanticUndefined
from typer.main import get_command

from cli.app import app
from settings import Settings

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
TOP = {path.name for path in ROOT.iterdir() if not path.name.startswith(".")}
SUFFIXES = {".py", ".md", ".sql", ".toml", ".yml", ".yaml", ".env", ".sh", ".json", ".lock", ".ini"}
# In a desk's home, not in the repository.
ELSEWHERE = {"secrets.json"}

_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")


def named_paths(text: str) -> set[str]:
    """What looks like a path in this repository."""
    found = {code for code in _CODE.findall(text) if _PATH.fullmatch(code)}
    return {
        path
        for path in found - ELSEWHERE
        if not path.startswith(".")
        and (("/" in path and path.split("/")[0] in TOP) or Path(path).suffix in SUFFIXES)
    }


def table_below(heading: str, text: str) -> list[list[str]]:
    """The cells of the first table after a heading, without its head."""
    lines = iter(text[text.index(f"{heading}\n") :].splitlines())
    rows: list[list[str]] = []
    for line in lines:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
        elif rows:
            break
    return rows[2:]


def operations() -> str:
    return (ROOT / "docs" / "operations.md").read_text("utf-8")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_and_link_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text("utf-8")
    missing = sorted(path for path in named_paths(text) if not (ROOT / path).exists())
    dead = sorted(
        link
        for link in _LINK.findall(text)
        if "://" not in link and not (document.parent / link).exists()
    )
    assert (missing, dead) == ([], [])


def test_looking_for_paths_finds_them() -> None:
    text = "`worker.py`, `api/nothing.py`, `domain/`, `ticket/TENANT/1`, `a.b`, `holdfast up`"
    assert named_paths(text) == {"worker.py", "api/nothing.py", "domain/"}


def test_the_table_of_the_environment_is_what_settings_read() -> None:
    told = {
        row[0].strip("`"): row[1].strip("`")
        for row in table_below("### The environment", operations())
    }
    read: dict[str, str] = {}
    for field in Settings.model_fields.values():
        assert isinstance(field.validation_alias, AliasChoices)
        if field.default is PydanticUndefined:
            default = "required"
        elif field.default is None:
            default = "none"
        elif isinstance(field.default, bool):
            default = str(field.default).lower()
        else:
            default = str(field.default)
        read |= {str(name): default for name in field.validation_alias.choices}
    assert told == read


def test_the_table_of_metrics_is_what_the_code_counts() -> None:
    counted: dict[str, set[str]] = {}
    for folder in ("api", "services", "adapters", "activities", "workflows"):
        for path in (ROOT / folder).rglob("*.py"):
            for name, labels in re.findall(
                r'\b(?:Counter|Gauge|Histogram)\(\s*"(\w+)",[^()\[]*[\[(]([^\])]*)[\])]',
                path.read_text("utf-8"),
            ):
                counted[name] = set(re.findall(r'"(\w+)"', labels))
    told = {
        row[0].strip("`"): set(_CODE.findall(row[1]))
        for row in table_below("## Metrics", operations())
    }
    assert told == counted


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_document_names_is_one(document: Path) -> None:
    commands: set[str] = set()
    top = get_command(app)
    for name, command in top.commands.items():  # type: ignore[attr-defined]
        commands.add(name)
        commands |= {f"{name} {below}" for below in getattr(command, "commands", {})}
    text = document.read_text("utf-8")
    blocks = re.findall(r"```\n(.*?)```", text, re.DOTALL)
    said = [*_CODE.findall(text), *"\n".join(blocks).splitlines()]
    for line in said:
        for first, second in re.findall(r"\bholdfast ([a-z]+)(?: ([a-z]+))?", line):
            if re.search(r"\b(database|owner|user|-d) holdfast", line):
                continue  # the database of that name
            known = f"{first} {second}" in commands or first in {
                c for c in commands if " " not in c
            }
            assert known, line
            if any(c.startswith(f"{first} ") for c in commands):
                assert f"{first} {second}" in commands, line


_TEST = re.compile(r"`(test_\w+)`")


def names_of_tests() -> set[str]:
    """The name of every test there is."""
    found: set[str] = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        found.update(re.findall(r"^ *(?:async )?def (test_\w+)", path.read_text("utf-8"), re.M))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_test_that_a_document_names_is_one(document: Path) -> None:
    assert set(_TEST.findall(document.read_text("utf-8"))) - names_of_tests() == set()


def test_every_rule_about_promises_names_a_test_that_guards_it() -> None:
    text = (ROOT / "docs" / "sla.md").read_text("utf-8")
    head: list[str] | None = None
    rules, unguarded = 0, []
    for line in text.splitlines():
        if not line.startswith("|"):
            head = None
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if head is None:
            head = cells
        elif "test" in head and not set(line) <= set("|- "):
            rules += 1
            if not _TEST.search(cells[head.index("test")]):
                unguarded.append(line)
    assert unguarded == []
    assert rules > 60


def test_every_decision_has_its_line_to_quote_and_says_where_it_is_enforced() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text("utf-8")
    decisions = sorted(folder.glob("[0-9]*.md"))
    assert [path.name[:4] for path in decisions] == [
        f"{number:04}" for number in range(1, len(decisions) + 1)
    ]
    for path in decisions:
        text = path.read_text("utf-8")
        assert path.name in index
        assert text.startswith(f"# {int(path.name[:4])}. ")
        assert re.search(r"^> ", text, re.MULTILINE), path.name
        for part in ("**Context.**", "**Consequences.**", "**Not chosen.**", "**Enforced by**"):
            assert part in text, f"{path.name}: {part}"
        assert len(text.split()) < 400, f"{path.name} is longer than half a page"
