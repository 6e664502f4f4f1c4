"""`holdfast sla due`: worked cases in, due times out, no server anywhere."""

import json
from pathlib import Path

from typer.testing import CliRunner

from cli.app import app

MONDAYS = {"timezone": "Europe/Berlin", "weekly": {"mon": [["09:00", "17:00"]]}}


def due(*cases: dict[str, object] | str, folder: Path) -> tuple[int, list[dict[str, str]], str]:
    """The exit code, the answers, and what was complained about."""
    file = folder / "cases.jsonl"
    lines = [case if isinstance(case, str) else json.dumps(case) for case in cases]
    file.write_text("\n".join(lines), "utf-8")
    result = CliRunner().invoke(app, ["sla", "due", "--file", str(file)])
    return result.exit_code, [json.loads(one) for one in result.stdout.splitlines()], result.stderr


def test_the_golden_cases_come_out_as_counted_by_hand(shared: Path) -> None:
    file = shared / "data/sla/golden.jsonl"
    golden = [json.loads(one) for one in file.read_text("utf-8").splitlines()]
    result = CliRunner().invoke(app, ["sla", "due", "--file", str(file)])
    assert result.exit_code == 0
    answers = [json.loads(one) for one in result.stdout.splitlines()]
    assert answers == [{"id": one["id"], "due": one["due"]} for one in golden]
    assert len(answers) > 10


def test_an_hour_that_begins_on_friday_is_over_on_monday(tmp_path: Path) -> None:
    code, answers, _ = due(
        {"id": "a", "calendar": MONDAYS, "start": "2026-01-02T12:00Z", "target_minutes": 60},
        {
            "id": "b",
            "calendar": MONDAYS,
            "start": "2026-01-05T08:00Z",
            "target_minutes": 60,
            "pauses": [["2026-01-05T08:30Z", "2026-01-05T09:00Z"]],
        },
        "",
        folder=tmp_path,
    )
    assert code == 0
    assert answers == [
        {"id": "a", "due": "2026-01-05T09:00Z"},
        {"id": "b", "due": "2026-01-05T09:30Z"},
    ]


def test_a_case_without_answer_says_why_and_the_others_are_answered(tmp_path: Path) -> None:
    never = {"timezone": "UTC", "weekly": {}}
    code, answers, _ = due(
        {"id": "never", "calendar": never, "start": "2026-01-05T09:00Z", "target_minutes": 5},
        {"id": "fine", "calendar": MONDAYS, "start": "2026-01-05T09:00Z", "target_minutes": 5},
        folder=tmp_path,
    )
    assert code == 1
    assert [one["id"] for one in answers] == ["never", "fine"]
    assert answers[0]["due"] is None
    assert "open" in answers[0]["why"]
    assert answers[1]["due"] == "2026-01-05T09:05Z"


def test_a_line_that_is_no_case_is_named_in_a_sentence(tmp_path: Path) -> None:
    code, answers, complaint = due(
        {"id": "a", "calendar": MONDAYS, "start": "yesterday", "target_minutes": 1}, folder=tmp_path
    )
    assert (code, answers) == (1, [])
    assert "line 1: start" in " ".join(complaint.split())
    assert "Traceback" not in complaint

    code, _, complaint = due("{", folder=tmp_path)
    assert code == 1
    assert "is not JSON" in " ".join(complaint.split())
