"""The words of a worked example: which mean something where, and which are notes among people.

A word that means nothing is refused. Skipping it would answer another question than was asked:
a misspelt list of holidays leaves every holiday open.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches

Names = tuple[str, ...]

START: Names = ("start", "start_utc", "started_at", "created_at", "created", "opened")
CALENDAR: Names = ("calendar", "schedule", "business_hours")
PAUSES: Names = ("pauses", "paused", "pause")
CHANGES: Names = ("changes", "change")
DUE: Names = ("due", "due_at", "due_utc", "expected", "expected_due")
BUSINESS_DAYS: Names = ("business_days", "target_business_days")
TARGETS: Names = ("targets", "target_minutes_by_priority")

ZONE: Names = ("timezone", "time_zone", "tz", "zone", "tzid")
WEEKLY: Names = ("weekly", "week", "hours", "windows", "schedule", "business_hours", "days")
HOLIDAYS: Names = ("holidays", "holiday")
OVERRIDES: Names = ("overrides", "override", "exceptions", "special_days")
EXCLUDED: Names = ("exclude", "excluded", "exclude_holidays", "not_holidays")
WHOLE_CALENDAR = (ZONE, WEEKLY, HOLIDAYS, OVERRIDES, EXCLUDED)

OPENS: Names = ("start", "from", "open", "opens", "begin")
CLOSES: Names = ("end", "to", "close", "closes", "until")
WITHIN: Names = ("windows", "hours", "intervals", "ranges")
CLOSED: Names = ("closed",)
DAYS: Names = ("days", "day", "weekday")
DATE: Names = ("date", "day", "from", "start")
LAST_DATE: Names = ("to", "until", "end")

PAUSED: Names = ("start", "from", "begin", "paused_at", "paused", "since")
RESUMED: Names = ("end", "to", "until", "resumed_at", "resumed")
CHANGED: Names = ("at", "time", "when", "changed_at")
PRIORITY: Names = ("priority", "to")

# What people write for each other; it changes no answer.
_NOTES = frozenset(
    {
        "id", "name", "title", "label", "case", "note", "notes", "comment", "comments",
        "description", "desc", "why", "reason", "source", "tag", "tags", "kind", "group", "author",
        "by", "actor", "status", "local", "start_local", "due_local", "ref", "url",
        "version", "explanation", "remark", "remarks", "rule", "hint", "origin", "seed", "number",
        "index", "case_id", "test", "section", "category", "subject", "expected_local", "schema",
    }
)  # fmt: skip


class UnknownWord(ValueError):
    """A name that means nothing where it stands."""

    code = "unknown_word"

    def __init__(self, name: str, place: str, known: Iterable[str]) -> None:
        near = get_close_matches(plain(name), sorted(known), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        super().__init__(f"{name!r} means nothing in {place}{hint}")


class SaidTwice(ValueError):
    """Two names for one thing, which may differ."""

    code = "said_twice"

    def __init__(self, names: Iterable[str], place: str) -> None:
        both = " and ".join(repr(name) for name in names)
        super().__init__(f"{both} mean the same in {place}: write one of them")


def plain(name: object) -> str:
    """A name as it is compared: `startUtc`, `Start UTC` and `start-utc` are one."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name).strip())
    return parted.lower().replace("-", "_").replace(" ", "_")


def first(raw: object, *names: str) -> object:
    """What stands under the first of these names, however it is written; null is nothing."""
    if not isinstance(raw, Mapping):
        return None
    known = {plain(key): key for key, value in raw.items() if value is not None}
    return next((raw[known[name]] for name in names if name in known), None)


def checked(raw: Mapping[object, object], place: str, *groups: Names, also: Names = ()) -> None:
    """Refuses what means nothing in `place`, and one thing under two names of a group.

    `also` are names that may stand beside each other; a name that begins with `_` or `$` is a note.
    """
    known = {name for group in groups for name in group}.union(also)
    found = [str(key) for key in raw]
    for name in found:
        word = plain(name)
        if word not in known and word not in _NOTES and not name.startswith(("_", "$")):
            raise UnknownWord(name, place, known)
    for group in groups:
        both = [str(key) for key in raw if raw[key] is not None and plain(key) in group]
        if len(both) > 1:
            raise SaidTwice(both, place)
