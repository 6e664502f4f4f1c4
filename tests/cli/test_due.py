"""`holdfast sla due`: worked cases in, due times out, no server anywhere."""

import json
from pathlib import Path

import pytest
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


# --- as people write them -----------------------------------------------------------------------

WEEK = {day: [["09:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
BERLIN = {"timezone": "Europe/Berlin", "weekly": WEEK}
MONDAY = "2025-06-02T07:00Z"  # 09:00 in Berlin


def one(folder: Path, **case: object) -> tuple[int, dict[str, object]]:
    code, [answer], _ = due(
        {"id": "x", "calendar": BERLIN, "start": MONDAY, "target_minutes": 600, **case},
        folder=folder,
    )
    return code, dict(answer)


@pytest.mark.parametrize(
    "weekly",
    [
        {day.upper(): windows for day, windows in WEEK.items()},
        {"Monday": [["9:00", "17:00"]], "Tuesday": [["09:00:00", "17:00:00"]]},
        {"Mon-Fri": "09:00-17:00"},
        {"mon": ["09:00", "17:00"], "tue": ["09:00", "17:00"], "wed": None, "sun": []},
        {"mon": ["09:00-12:00", "12:00-17:00"], "tue": "09:00-13:00,13:00-17:00"},
        {"mon": {"start": "09:00", "end": "17:00"}, "tue": [{"from": "09:00", "to": "17:00"}]},
        {"1": [["09:00", "17:00"]], "2": [["09:00", "17:00"]]},
        {"0": [["09:00", "17:00"]], "1": [["09:00", "17:00"]], "6": []},
        [[["09:00", "17:00"]]] * 5 + [[], []],
        [{"days": ["mon", "tue"], "start": "09:00", "end": "17:00"}],
        [{"day": "mon", "windows": [["09:00", "17:00"]]}, {"day": "tue", "windows": "09:00-17:00"}],
    ],
    ids=str,
)
def test_weekly_hours_are_read_however_they_are_written(weekly: object, tmp_path: Path) -> None:
    calendar = {"timezone": "Europe/Berlin", "weekly": weekly}
    assert one(tmp_path, calendar=calendar) == (0, {"id": "x", "due": "2025-06-03T09:00Z"})


@pytest.mark.parametrize(
    "target",
    [
        {"target_minutes": "600"}, {"target_seconds": 36000}, {"target_hours": 10},
        {"target": "PT10H"}, {"target": 600}, {"target": "10h"}, {"target": {"hours": 10}},
        {"budget_min": 600}, {"priority": "P1", "targets": {"P1": 600}},
    ],
    ids=str,
)  # fmt: skip
def test_a_target_is_read_however_it_is_written(target: dict[str, object], tmp_path: Path) -> None:
    case = {"id": "x", "calendar": BERLIN, "start": MONDAY, **target}
    code, answers, _ = due(case, folder=tmp_path)
    assert (code, answers) == (0, [{"id": "x", "due": "2025-06-03T09:00Z"}])


@pytest.mark.parametrize(
    ("exceptions", "expected"),
    [
        ({"holidays": [{"date": "2025-06-03", "name": "x"}]}, "2025-06-04T09:00Z"),
        ({"holidays": {"2025-06-03": "x"}}, "2025-06-04T09:00Z"),
        ({"holidays": [{"from": "2025-06-03", "to": "2025-06-04"}]}, "2025-06-05T09:00Z"),
        ({"holidays": ["2025-06-03"], "exclude": ["2025-06-03"]}, "2025-06-03T09:00Z"),
        ({"holidays": None, "overrides": None}, "2025-06-03T09:00Z"),
        ({"overrides": {"2025-06-03": "closed"}}, "2025-06-04T09:00Z"),
        ({"overrides": {"2025-06-03": [["12:00", "13:00"]]}}, "2025-06-04T08:00Z"),
        ({"overrides": [{"date": "2025-06-03", "closed": True}]}, "2025-06-04T09:00Z"),
        ({"overrides": [{"date": "2025-06-03", "windows": ["12:00-14:00"]}]}, "2025-06-03T12:00Z"),
    ],
    ids=str,
)  # fmt: skip
def test_exceptions_are_read_however_they_are_written(
    exceptions: dict[str, object], expected: str, tmp_path: Path
) -> None:
    assert one(tmp_path, calendar={**BERLIN, **exceptions})[1]["due"] == expected


@pytest.mark.parametrize(
    "pauses",
    [
        [["2025-06-02T08:00Z", "2025-06-02T09:00Z"]],
        [["2025-06-02T10:00+02:00", "2025-06-02T11:00+02:00"]],
        [{"start": "2025-06-02T08:00Z", "end": "2025-06-02T09:00Z"}],
        [{"from": "2025-06-02T08:00:00Z", "to": "2025-06-02T09:00:00Z"}],
        [["2025-06-02T08:00Z", "2025-06-02T08:40Z"], ["2025-06-02T08:30Z", "2025-06-02T09:00Z"]],
        ["2025-06-02T08:00Z/2025-06-02T09:00Z", ["2025-06-20T08:00Z", None]],
    ],
    ids=str,
)
def test_pauses_are_read_however_they_are_written(pauses: object, tmp_path: Path) -> None:
    assert one(tmp_path, pauses=pauses)[1]["due"] == "2025-06-03T10:00Z"


def test_a_case_that_says_itself_that_nothing_is_due_is_answered(tmp_path: Path) -> None:
    code, answer = one(tmp_path, pauses=[["2025-06-02T08:00Z", None]], due=None)
    assert (code, answer["due"]) == (0, None)
    code, answer = one(tmp_path, pauses=[["2025-06-02T08:00Z"]])
    assert (code, answer["due"]) == (1, None)
    assert "Paused since" in str(answer["why"])


def test_a_change_counts_from_the_start_and_may_be_late_at_once(tmp_path: Path) -> None:
    late = {"at": "2025-06-02T10:00Z", "target_minutes": 120}
    assert one(tmp_path, changes=[late])[1] == {
        "id": "x",
        "due": "2025-06-02T09:00Z",
        "breached_at": "2025-06-02T10:00Z",
    }
    longer = {"at": "2025-06-02T11:00Z", "calendar": {**BERLIN, "weekly": {"wed": WEEK["mon"]}}}
    assert one(tmp_path, target_minutes=60, changes=[longer])[1]["due"] == "2025-06-04T08:00Z"


def test_business_days_end_with_the_close_of_the_last(tmp_path: Path) -> None:
    code, answers, _ = due(
        {"id": "x", "calendar": BERLIN, "start": "2025-06-02T08:00Z", "business_days": 2},
        folder=tmp_path,
    )
    assert (code, answers) == (0, [{"id": "x", "due": "2025-06-04T15:00Z"}])


@pytest.mark.parametrize(
    "target",
    [
        {"target_business_days": 2}, {"target": {"business_days": 2}}, {"target": "2bd"},
        {"target": "2 business days"}, {"target": 2, "unit": "business_days"}, {"businessDays": 2},
    ],
    ids=str,
)  # fmt: skip
def test_business_days_are_read_however_they_are_written(
    target: dict[str, object], tmp_path: Path
) -> None:
    case = {"id": "x", "calendar": BERLIN, "start": "2025-06-02T08:00Z", **target}
    code, answers, _ = due(case, folder=tmp_path)
    assert (code, answers) == (0, [{"id": "x", "due": "2025-06-04T15:00Z"}])


def test_an_unknown_zone_is_told_and_the_other_cases_are_answered(tmp_path: Path) -> None:
    case = {"start": MONDAY, "target_minutes": 60}
    code, answers, complaint = due(
        {"id": "a", "calendar": BERLIN, **case},
        {"id": "b", "calendar": {**BERLIN, "timezone": "Mars/Phobos"}, **case},
        "not json",
        {"id": "c", "calendar": {**BERLIN, "timezone": "europe/BERLIN"}, **case},
        folder=tmp_path,
    )
    assert code == 2
    assert [one["id"] for one in answers] == ["a", "c"]
    told = " ".join(complaint.split())
    assert "line 2: timezone: 'Mars/Phobos' is not an IANA time zone" in told
    assert "line 3 is not JSON" in told
    assert "Traceback" not in told


def test_cases_may_stand_in_one_list(tmp_path: Path) -> None:
    file = tmp_path / "cases.json"
    case = {"id": 7, "timezone": "UTC", "weekly": WEEK, "start": "2025-06-02 09:00"}
    file.write_text(json.dumps([{**case, "target_minutes": 0.5}], indent=1), "utf-8-sig")
    result = CliRunner().invoke(app, ["sla", "due", "--file", str(file)])
    assert json.loads(result.stdout) == {"id": "7", "due": "2025-06-02T09:00:30Z"}


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        ({"target_minutes": -1}, "target_minutes"),
        ({"target_minutes": "soon"}, "not a number of minutes"),
        ({"target_minutes": None, "target": "soon"}, "duration"),
        ({"start": None}, "start"),
        ({"calendar": {"timezone": "UTC", "weekly": {"moonday": []}}}, "is not a day"),
        ({"calendar": {"timezone": "UTC", "weekly": {"mon": [["9", "x"]]}}}, "time of day"),
        ({"calendar": {"timezone": "UTC", "weekly": {"mon": [["24:00", "25:00"]]}}}, "24:00"),
        ({"calendar": {"timezone": "UTC", "holidays": ["soon"]}}, "isoformat"),
        ({"pauses": [["2025-06-02T09:00Z", "2025-06-02T08:00Z"]]}, "end lies before"),
        ({"pauses": [["2025-06-02T09:00Z", None, "x"]]}, "is not a pause"),
        ({"target_minutes": 5, "unit": "parsecs"}, "no unit of time"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_with_its_reason(
    case: dict[str, object], complaint: str, tmp_path: Path
) -> None:
    whole = {"id": "x", "calendar": BERLIN, "start": MONDAY, "target_minutes": 60, **case}
    code, answers, told = due(whole, folder=tmp_path)
    assert (code, answers) == (1, [])
    assert complaint in " ".join(told.split())


@pytest.mark.parametrize(
    ("case", "complaint"),
    [
        ({"grace_minutes": 5}, "'grace_minutes' means nothing in a case"),
        ({"calendar": {**BERLIN, "holidayz": []}}, "in a calendar; did you mean 'holiday"),
        ({"calendar": {"timezone": "UTC", "mon": [["09:00", "17:00"]]}}, "'mon' means nothing"),
        ({"calendar": {**BERLIN, "holidays": [{"date": "2025-06-03", "yearly": True}]}}, "yearly"),
        ({"calendar": {**BERLIN, "overrides": [{"date": "2025-06-03", "window": []}]}}, "override"),
        ({"calendar": {**BERLIN, "weekly": {"mon": {"start": "9:00", "finish": "17:00"}}}}, "fini"),
        ({"pauses": [{"start": MONDAY, "finish": MONDAY}]}, "'finish' means nothing in a pause"),
        ({"changes": [{"at": MONDAY, "was": 60, "target_minutes": 5}]}, "'was' means nothing"),
        ({"calendar": None, "timezone": "UTC", "weekly": WEEK, "wekly": {}}, "'wekly' means nothi"),
    ],
    ids=str,
)
def test_a_word_that_means_nothing_is_told_and_never_skipped(
    case: dict[str, object], complaint: str, tmp_path: Path
) -> None:
    whole = {"id": "x", "calendar": BERLIN, "start": MONDAY, "target_minutes": 60, **case}
    code, answers, told = due(whole, folder=tmp_path)
    assert (code, answers) == (1, [])
    assert complaint in " ".join(told.split())


def test_one_thing_that_is_said_twice_is_refused(tmp_path: Path) -> None:
    case = {"id": "x", "calendar": BERLIN, "start": MONDAY, "target_minutes": 60}
    for doubled in ({"opened": MONDAY}, {"target_hours": 1}, {"business_days": 1}):
        code, answers, told = due({**case, **doubled}, folder=tmp_path)
        assert (code, answers) == (1, [])
        assert "mean the same in a case" in " ".join(told.split())
    line = json.dumps(case)[:-1] + ', "start": "2025-06-03T07:00Z"}'
    code, answers, told = due(line, folder=tmp_path)
    assert (code, answers) == (1, [])
    assert "'start' is said twice" in " ".join(told.split())


def test_notes_among_people_change_no_answer(tmp_path: Path) -> None:
    notes = {"note": "Whit Monday", "case": "G08", "due_local": "Tue 10:00", "_seen": True}
    calendar = {**BERLIN, "holidays": [{"date": "2025-06-02", "name": "Whit Monday"}]}
    assert one(tmp_path, calendar=calendar, **notes)[1]["due"] == "2025-06-04T09:00Z"
