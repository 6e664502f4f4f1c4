"""Hundreds of worked cases that nobody worked out: `holdfast sla due` against a recount.

The recount knows nothing of Holdfast's calendars. It walks from the start minute by minute on the
UTC timeline, asks the clock on the wall of the zone, and counts those minutes that are open and not
paused, until the target is used up.
"""

import json
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo, available_timezones

import pytest
from typer.testing import CliRunner

from cli.app import app

pytestmark = pytest.mark.slow

MINUTE = timedelta(minutes=1)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Half hours, quarters, summer time of thirty minutes or two hours or backwards, and none at all.
ODD_ZONES = (
    "Europe/Berlin", "Europe/London", "Europe/Dublin", "America/New_York", "America/St_Johns",
    "America/Sao_Paulo", "Australia/Lord_Howe", "Australia/Adelaide", "Pacific/Chatham",
    "Pacific/Kiritimati", "Asia/Kolkata", "Asia/Kathmandu", "Asia/Tehran", "Asia/Tokyo",
    "Africa/Casablanca", "Africa/Cairo", "Antarctica/Troll", "Atlantic/Azores", "UTC",
)  # fmt: skip
LONGEST = 200 * 24 * 60  # minutes that the recount walks before it gives up

Windows = list[list[str]]
Case = dict[str, object]


# --- the recount --------------------------------------------------------------------------------


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _windows(calendar: Mapping[str, object], day: date) -> Sequence[Sequence[str]]:
    """What is open on a date: its own hours, none on a holiday, else those of its weekday."""
    overrides: Mapping[str, Windows] = calendar.get("overrides", {})  # type: ignore[assignment]
    holidays: Sequence[str] = calendar.get("holidays", ())  # type: ignore[assignment]
    weekly: Mapping[str, Windows] = calendar["weekly"]  # type: ignore[assignment]
    name = day.isoformat()
    if name in overrides:
        return overrides[name]
    return () if name in holidays else weekly.get(DAYS[day.weekday()], ())


def _is_open(calendar: Mapping[str, object], local: datetime) -> bool:
    now, today = local.hour * 60 + local.minute, local.date()
    for start, end in _windows(calendar, today):
        first, last = _minutes(start), _minutes(end)
        if first <= now and (now < last or last <= first):
            return True
    for start, end in _windows(calendar, today - timedelta(days=1)):
        if _minutes(end) <= _minutes(start) and now < _minutes(end):
            return True  # it began yesterday and runs past midnight
    return False


def recount(case: Case) -> datetime | None:
    """When the target is used up; None where it is not within the time walked."""
    calendar: Mapping[str, object] = case["calendar"]  # type: ignore[assignment]
    zone = ZoneInfo(str(calendar["timezone"]))
    at = datetime.fromisoformat(str(case["start"]))
    left = int(str(case["target_minutes"]))
    pauses = [
        (datetime.fromisoformat(one[0]), datetime.fromisoformat(one[1]))
        for one in case["pauses"]  # type: ignore[attr-defined]
    ]
    for _ in range(LONGEST):
        if left == 0:
            return at
        paused = any(start <= at < end for start, end in pauses)
        if not paused and _is_open(calendar, at.astimezone(zone)):
            left -= 1
        at += MINUTE
    return None


# --- cases --------------------------------------------------------------------------------------


@cache
def _changes_of_clocks(zone: str) -> tuple[datetime, ...]:
    """The hours in which the zone's clocks are changed, from 2024 to 2027."""
    found, at = [], datetime(2024, 1, 1, tzinfo=UTC)
    before = at.astimezone(ZoneInfo(zone)).utcoffset()
    while at.year < 2028:
        at += timedelta(hours=1)
        offset = at.astimezone(ZoneInfo(zone)).utcoffset()
        if offset != before:
            found.append(at)
        before = offset
    return tuple(found)


def _time(chance: random.Random) -> str:
    return f"{chance.randrange(24):02}:{chance.choice((0, 0, 0, 30, 15, 45, 1, 59)):02}"


def _hours(chance: random.Random) -> Windows:
    kind = chance.randrange(9)
    if kind < 3:
        return [["09:00", "17:00"]]
    if kind == 3:
        return [["08:00", "12:00"], ["13:30", "18:00"]]
    if kind == 4:
        return [["22:00", "06:00"]]
    if kind == 5:
        return chance.choice(([["00:00", "24:00"]], [["00:00", "00:00"]], [["12:00", "12:00"]]))
    if kind == 6:
        return [["00:30", "03:30"]]  # where clocks are changed
    return [[_time(chance), chance.choice((_time(chance), "24:00"))] for _ in range(kind - 6)]


def _some_calendar(chance: random.Random, zone: str, near: date) -> dict[str, object]:
    same = _hours(chance)
    days = chance.choice((DAYS[:5], DAYS[:5], DAYS, chance.sample(DAYS, chance.randint(1, 4))))
    weekly = {day: same if chance.random() < 0.7 else _hours(chance) for day in days}
    calendar: dict[str, object] = {"timezone": zone, "weekly": weekly}

    def some_dates(most: int) -> list[str]:
        wanted = chance.randrange(most + 1)
        return [(near + timedelta(days=chance.randrange(-1, 9))).isoformat() for _ in range(wanted)]

    if chance.random() < 0.5:
        calendar["holidays"] = sorted(set(some_dates(3)))
    if chance.random() < 0.5:
        calendar["overrides"] = {
            day: [] if chance.random() < 0.4 else _hours(chance) for day in some_dates(3)
        }
    return calendar


def _written(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%MZ")


def some_case(
    chance: random.Random, number: int, place: tuple[str, datetime] | None = None
) -> Case:
    zone = chance.choice(ODD_ZONES) if chance.random() < 0.7 else chance.choice(ZONES)
    start = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randrange(4 * 365 * 1440))
    if place is not None:
        zone, start = place
    elif (changes := _changes_of_clocks(zone)) and chance.random() < 0.6:
        start = chance.choice(changes) - timedelta(minutes=chance.randrange(3 * 1440))
    pauses = []
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3, 5))):
        begins = start + timedelta(minutes=chance.randrange(-600, 6000))
        length = chance.choice((0, 1, 30, 60, 240, 1440, chance.randrange(6000)))
        pauses.append([_written(begins), _written(begins + timedelta(minutes=length))])
    return {
        "id": f"R{number:03}",
        "calendar": _some_calendar(chance, zone, start.date()),
        "start": _written(start),
        "target_minutes": chance.choice((0, 1, 15, 60, 120, 240, 480, 960, chance.randrange(3000))),
        "pauses": pauses,
    }


ZONES = sorted(zone for zone in available_timezones() if "/" in zone and "posix" not in zone)


def answers(cases: Sequence[Case], folder: Path) -> dict[str, str | None]:
    """What the command says, by case."""
    file = folder / "cases.jsonl"
    file.write_text("\n".join(json.dumps(case) for case in cases), "utf-8")
    result = CliRunner().invoke(app, ["sla", "due", "--file", str(file)])
    assert result.exit_code in (0, 1), result.stderr
    return {one["id"]: one["due"] for one in map(json.loads, result.stdout.splitlines())}


def _told(at: datetime | None) -> str | None:
    return None if at is None else _written(at)


@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_cases_a_seed_come_out_as_recounted(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    cases = [some_case(chance, number) for number in range(100)]
    counted = {str(case["id"]): _told(recount(case)) for case in cases}
    said = answers(cases, tmp_path)
    assert set(said) == set(counted)
    # Where the recount gives up, the answer lies beyond what it walked, or there is none.
    wrong = {
        id_: (said[id_], due)
        for id_, due in counted.items()
        if due is not None and said[id_] != due
    }
    assert wrong == {}
    assert sum(due is not None for due in counted.values()) > 85


# Where local midnight is skipped or comes twice, where a whole date is left out, where clocks go by
# thirty minutes or two hours, backwards in spring, or to a half hour for good.
STRANGE_DATES = {
    "America/Sao_Paulo": ("2018-11-03", "2018-02-17"),
    "America/Havana": ("2025-03-08", "2025-11-01"),
    "America/Asuncion": ("2024-03-23", "2024-10-05"),
    "America/Santiago": ("2025-04-05", "2025-09-06"),
    "America/St_Johns": ("2010-03-13", "2010-11-06"),
    "America/Caracas": ("2007-12-08", "2016-04-30"),
    "America/Nuuk": ("2023-03-25", "2024-10-26"),
    "America/Scoresbysund": ("2024-03-30", "2024-10-26"),
    "Africa/Cairo": ("2014-05-15", "2024-04-25", "2024-10-31"),
    "Africa/Casablanca": ("2025-02-22", "2025-04-05"),
    "Asia/Amman": ("2022-02-24", "2022-10-27"),
    "Asia/Beirut": ("2023-03-25", "2024-03-30", "2024-10-26"),
    "Asia/Gaza": ("2023-04-28", "2025-10-24"),
    "Asia/Pyongyang": ("2015-08-14", "2018-05-04"),
    "Asia/Tehran": ("2022-03-21", "2022-09-20"),
    "Antarctica/Troll": ("2025-03-29", "2025-10-25"),
    "Australia/Lord_Howe": ("2025-04-05", "2025-10-04"),
    "Europe/Dublin": ("2025-03-29", "2025-10-25"),
    "Pacific/Apia": ("2011-12-28", "2011-12-29", "2011-12-31"),
    "Pacific/Fakaofo": ("2011-12-29",),
    "Pacific/Kanton": ("1994-12-30",),
    "Pacific/Kwajalein": ("1993-08-20",),
}


def test_where_a_midnight_or_a_whole_date_is_missing_cases_come_out_as_recounted(
    tmp_path: Path,
) -> None:
    chance, cases = random.Random(23), list[Case]()
    for zone, days in STRANGE_DATES.items():
        for day in days * 3:
            begun = datetime.fromisoformat(f"{day}T00:00Z") + timedelta(
                minutes=chance.randrange(-2880, 1440)
            )
            cases.append(some_case(chance, len(cases), (zone, begun)))
    counted = {str(case["id"]): _told(recount(case)) for case in cases}
    said = answers(cases, tmp_path)
    assert {id_: said[id_] for id_, due in counted.items() if due} == {
        id_: due for id_, due in counted.items() if due
    }
    assert sum(due is not None for due in counted.values()) > 120


def test_pauses_may_overlap_touch_nest_lie_outside_and_stand_in_any_order(tmp_path: Path) -> None:
    chance, cases = random.Random(29), []
    for number in range(60):
        case = some_case(chance, number)
        begun = datetime.fromisoformat(str(case["start"]))

        def span(since: int, until: int, begun: datetime = begun) -> list[str]:
            return [_written(begun + n * MINUTE) for n in (since, until)]

        at = chance.randrange(0, 900)
        pauses = [
            span(at, at + 240), span(at + 60, at + 120), span(at + 240, at + 300),
            span(at + 290, at + 500), span(-5000, -4000), span(-60, 30), span(at, at + 240),
            span(at + 700, at + 700), span(900_000, 900_060),
        ]  # fmt: skip
        chance.shuffle(pauses)
        cases.append({**case, "pauses": pauses})
    counted = {str(case["id"]): _told(recount(case)) for case in cases}
    said = answers(cases, tmp_path)
    assert {id_: said[id_] for id_, due in counted.items() if due} == {
        id_: due for id_, due in counted.items() if due
    }


def test_a_target_of_years_is_due_to_the_minute(tmp_path: Path) -> None:
    week = {day: [["09:00", "17:00"]] for day in DAYS[:5]}
    always = {day: [["00:00", "24:00"]] for day in DAYS}
    case = {"start": "2025-06-02T07:00Z", "pauses": []}
    cases = [
        # 2,080 weeks of forty hours, from one Monday 9:00 on: the Friday before the 2,081st.
        {"calendar": {"timezone": "Europe/Berlin", "weekly": week}, "target_minutes": 4_992_000},
        {"calendar": {"timezone": "Asia/Beirut", "weekly": always}, "target_minutes": 10_519_200},
    ]
    said = answers([{"id": str(n), **case, **one} for n, one in enumerate(cases)], tmp_path)
    first = datetime.fromisoformat(case["start"])  # type: ignore[arg-type]
    friday = first + timedelta(weeks=2079, days=4, hours=8)
    assert said == {"0": _written(friday), "1": _written(first + timedelta(minutes=10_519_200))}


def test_the_last_of_several_priorities_decides_from_the_start_on(tmp_path: Path) -> None:
    chance = random.Random(11)
    cases, counted = [], {}
    for number in range(40):
        case = some_case(chance, number)
        begun = datetime.fromisoformat(str(case["start"]))
        last = chance.choice((30, 120, 480))
        due = recount({**case, "target_minutes": last})
        changes = [
            {"at": _written(begun + timedelta(minutes=60 * n)), "target_minutes": minutes}
            for n, minutes in ((2, last), (1, chance.randrange(600)))
        ]
        cases.append({**case, "changes": changes})
        counted[str(case["id"])] = _told(due)
    said = answers(cases, tmp_path)
    assert {id_: said[id_] for id_, due in counted.items() if due} == {
        id_: due for id_, due in counted.items() if due
    }


def test_the_recount_itself_gives_the_golden_answers(shared: Path) -> None:
    golden = (shared / "data/sla/golden.jsonl").read_text("utf-8").splitlines()
    cases = [json.loads(line) for line in golden]
    assert [_told(recount(case)) for case in cases] == [case["due"] for case in cases]
