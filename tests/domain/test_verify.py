"""The plain recount agrees with the clocks, whatever happens, and names what does not."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.calendars import Calendar, Interval, NeverOpen, business_days, due_at, elapsed
from domain.sla import Acknowledgement, Clock, Metric, Outcome, Terms
from domain.tickets.replay import Recorded, replay
from domain.verify import Hours, Line, Promise, disagreements
from tests.domain.lives import KIM, OFFICE, TEAM_A, TEAM_B, H, M, promise, t

pytestmark = pytest.mark.slow  # minute by minute

NIGHTS = Calendar.model_validate(
    {
        "timezone": "America/New_York",
        "weekly": {day: [("22:00", "06:00"), ("12:00", "12:30")] for day in ("mon", "wed", "sat")},
        "holidays": ["2025-06-04"],
        "overrides": {"2025-06-05": [("10:00", "11:00")]},
    }
)
OWN = [
    {
        "metric": "custom:owned",
        "starts": {
            "all": [
                {"field": "assignee", "op": "unset"},
                {"field": "priority", "op": "at_least", "value": "normal"},
            ]
        },
        "stops": {"any": [{"field": "assignee", "op": "set"}, {"field": "event.agent_reply"}]},
        "repeat": "per_cycle",
    },
    {"metric": "group:handling", "teams": [str(TEAM_A)]},
]
METRICS = (*Metric, "custom:owned", "group:handling")
POLICIES = [
    promise(*METRICS, clocks=OWN),
    promise(*METRICS, clocks=OWN, within=3 * H, version=2, calendar=NIGHTS, calendar_version=2),
    promise(
        *Metric,
        version=3,
        pause_in={"resolution": ["pending", "on_hold"], "first_reply": ["pending"]},
        pause_when={"agent_work": {"field": "team", "op": "unset"}},
        reopening={"resolution": "restart", "agent_work": "include_resolved",
                   "requester_wait": "never"},
    ),
    promise(Metric.RESOLUTION, Metric.NEXT_REPLY, policy=7, calendar_version=2, calendar=NIGHTS),
]  # fmt: skip
LONGEST = (
    {"resolution": 3 * H, "agent_work": 20 * M, "group:handling": H, "requester_wait": 30 * H},
    {"resolution": 26 * H, "pausable_update": 2 * H, "agent_work": 45 * M},
)
POLICIES += [
    promise(*METRICS, clocks=OWN, version=10 + n, max_pause=longest)
    for n, longest in enumerate(LONGEST)
]
DAYS = promise(Metric.RESOLUTION, version=9).policy.model_dump()
DAYS["max_pause"] = {"resolution": 5 * H}
DAYS["targets"] = {"resolution": {p: {"business_days": 2} for p in ("normal", "high")}}
POLICIES.append(Terms(POLICIES[0].policy.model_validate(DAYS), OFFICE))
CALENDARS_KEPT = {
    (terms.policy.calendar_id, terms.policy.calendar_version): terms.calendar for terms in POLICIES
}
TERMS: Mapping[tuple[UUID, int], Terms] = {
    (terms.policy.id, terms.policy.version): replace(terms, calendars=CALENDARS_KEPT)
    for terms in POLICIES
}
HOURS = {OFFICE: Hours(OFFICE), NIGHTS: Hours(NIGHTS)}


def promise_of(policy: UUID, version: int) -> Promise:
    terms = TERMS[policy, version]
    return Promise(terms.policy, HOURS[terms.calendar])


class Timeline:
    """Entries as the desk writes them."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.values: dict[str, object] = {}

    def add(
        self,
        kind: str,
        at: datetime,
        values: Mapping[str, object] | None = None,
        *,
        actor: str = "user",
        data: Mapping[str, object] | None = None,
    ) -> None:
        values = values or {}
        changes = {
            name: [self.values.get(name), value]
            for name, value in values.items()
            if self.values.get(name) != value
        }
        self.values |= values
        self.lines.append(
            Line(
                seq=len(self.lines) + 1, type=kind, actor_kind=actor, changes=changes,
                data=data or {}, occurred_at=at, recorded_at=at,
            )
        )  # fmt: skip

    def clocks(self, until: datetime | None = None) -> tuple[Clock, ...]:
        """As the engine folds them."""
        recorded = [
            Recorded(
                line.seq, line.type, line.actor_kind, line.changes, line.data, line.occurred_at
            )
            for line in self.lines
        ]
        terms = lambda id, version: TERMS[id, version]  # noqa: E731
        return replay(recorded, terms, now=until or self.lines[-1].recorded_at).clocks


PRIORITIES = (None, "low", "normal", "high", "urgent")
ACTIVE = ("open", "pending", "on_hold")


def in_force(terms: Terms | None) -> dict[str, object]:
    return {
        "policy_id": None if terms is None else str(terms.policy.id),
        "policy_version": None if terms is None else terms.policy.version,
    }


@st.composite
def timelines(draw: st.DrawFn) -> Timeline:
    """A ticket's life as the desk would have written it down."""
    told = Timeline()
    at = t("MO 08:00") + timedelta(seconds=draw(st.integers(0, 180_000)))
    opener = draw(st.sampled_from(("customer", "customer", "user", "automation")))
    category = draw(st.sampled_from(("new", "new", "open", "pending", "resolved")))
    data: dict[str, object] = {
        "opened_by": opener, "status": category, "category": category, "subject": "s",
        "message_id": "m",
    }  # fmt: skip
    if opener == "user" and draw(st.booleans()):
        data["agent_reply"] = True
    told.values = {"status": category, "category": category}
    terms = draw(st.sampled_from((*POLICIES, None)))
    begins = {
        "priority": draw(st.sampled_from(PRIORITIES)),
        "team_id": draw(st.sampled_from((None, str(TEAM_A)))),
    }
    told.add("ticket_created", at, {**begins, **in_force(terms)}, data=data)
    merged: dict[str, object] | None = None
    for _ in range(draw(st.integers(0, 10))):
        at += draw(
            st.sampled_from((timedelta(), 30 * M, 60 * M, 4 * H, 8 * H, 481 * M, 24 * H, 70 * H))
        )
        terms = draw(st.sampled_from((terms, terms, terms, terms, *POLICIES, None)))
        more = in_force(terms)
        if merged is not None:
            told.add("unmerged", at, {**merged, **more})
            merged = None
            continue
        kind = draw(
            st.sampled_from(
                ("customer", "customer", "agent", "agent", "automatic", "changed", "changed",
                 "resolved", "due", "reset", "merged", "absorbed", "watched", "requester", "seen")
            )
        )  # fmt: skip
        status = str(told.values["category"])
        reopened = {"category": "open", "status": "open"} if status == "resolved" else {}
        match kind:
            case "customer":
                told.add("customer_replied", at, {**reopened, **more}, actor="customer")
            case "automatic":
                told.add("customer_replied", at, more, actor="customer", data={"automatic": True})
            case "requester":
                told.add("agent_replied", at, {**reopened, **more}, data={"as_requester": True})
            case "agent":
                after = draw(st.sampled_from((*ACTIVE, "resolved")))
                told.add("agent_replied", at, {"category": after, "status": after, **more})
            case "changed":
                after = draw(st.sampled_from((*ACTIVE, status)))
                values = {
                    "category": after,
                    "status": after,
                    "priority": draw(st.sampled_from((told.values.get("priority"), *PRIORITIES))),
                    "team_id": draw(st.sampled_from((None, str(TEAM_A), str(TEAM_B)))),
                    "assignee_id": draw(st.sampled_from((None, str(KIM)))),
                }
                told.add("changed", at, {**values, **more})
            case "resolved":
                told.add("changed", at, {"category": "resolved", "status": "resolved", **more})
            case "due" | "reset":
                data = {"metric": draw(st.sampled_from(list(Metric))).value}
                if kind == "due":
                    data["due_at"] = (at + draw(st.sampled_from((-3, 1, 30))) * H).isoformat()
                told.add("sla_due_set" if kind == "due" else "sla_due_reset", at, data=data)
            case "merged":
                merged = {"category": status, "status": status}
                told.add("merged", at, {"category": "merged", "status": "merged", **more})
            case "absorbed":
                inherits = {"inherits": (at - 200 * H).isoformat()}
                told.add("absorbed", at, more, data=inherits)
            case "watched":
                told.add("watched", at)
            case "seen":
                until = (at + draw(st.sampled_from((5 * M, 1 * H, 30 * H)))).isoformat()
                asked = draw(st.sampled_from(({"asked": until}, {})))  # as it was, and as it is
                told.add("sla_acknowledged", at, data={"until": until, **asked})
    return told


@settings(max_examples=120, deadline=None, database=None)
@given(timelines())
def test_the_recount_agrees_with_the_clocks_whatever_happened(told: Timeline) -> None:
    assert [str(one) for one in disagreements(told.lines, told.clocks(), promise_of)] == []


SEEN = Acknowledgement(at=t("MO 11:00"), until=t("MO 12:00"), by=KIM)


def story() -> Timeline:
    """Opened Monday 10:00, answered late, resolved Tuesday 12:00."""
    told = Timeline()
    data: dict[str, object] = {
        "opened_by": "customer", "status": "new", "category": "new", "message_id": "m"
    }  # fmt: skip
    values = {"priority": "normal", **in_force(POLICIES[0])}
    told.add("ticket_created", t("MO 10:00"), values, data=data)
    for at, category in (("MO 11:00", "pending"), ("MO 12:00", "open")):
        told.add("changed", t(at), {"category": category, "status": category})
    told.add("agent_replied", t("TU 11:00"))
    told.add("changed", t("TU 12:00"), {"category": "resolved", "status": "resolved"})
    return told


@pytest.mark.parametrize(
    ("what", "metric", "change"),
    [
        ("started", "agent_work", {"started_at": t("MO 10:01")}),
        ("stopped", "agent_work", {"stopped_at": t("TU 11:59")}),
        ("target", "agent_work", {"target": 9 * H}),
        ("pauses", "agent_work", {"pauses": (Interval(start=t("MO 11:00"), end=t("MO 11:59")),)}),
        ("due", "agent_work", {"due_at": t("TU 11:01")}),
        ("open time used", "agent_work", {"used": 1 * H}),
        ("breached", "first_reply", {"breached_at": None}),
        ("breached", "first_reply", {"breached_at": t("TU 10:01")}),
        ("outcome", "first_reply", {"outcome": Outcome.MET}),
        ("acknowledged until", "agent_work", {"acknowledged": SEEN}),
    ],
)
def test_whatever_is_changed_in_a_row_is_named(
    what: str, metric: str, change: dict[str, object]
) -> None:
    told = story()
    rows = [row.model_copy(update=change) if row.metric == metric else row for row in told.clocks()]
    found = disagreements(told.lines, rows, promise_of)
    assert (found[0].metric, found[0].cycle) == (metric, 1)
    assert what in [one.what for one in found]


def test_a_cycle_that_is_missing_or_invented_is_named() -> None:
    told = story()
    rows = list(told.clocks())
    [lost, *_] = disagreements(told.lines, rows[1:], promise_of)
    assert (lost.metric, lost.what, lost.kept) == (rows[0].metric, "the cycle itself", None)
    invented = rows[0].model_copy(update={"cycle": 2})
    [more, *_] = disagreements(told.lines, [*rows, invented], promise_of)
    assert (more.cycle, more.what, more.counted) == (2, "the cycle itself", None)


def test_an_entry_that_is_missing_is_named() -> None:
    told = story()
    lines = [line for line in told.lines if line.seq != 3]
    assert str(disagreements(lines, told.clocks(), promise_of)[0]) == ("the timeline lacks entry 3")


CALENDARS = [
    OFFICE,
    NIGHTS,
    Calendar.model_validate({"timezone": "Europe/Berlin", "weekly": {"sun": [("00:00", "06:00")]}}),
    Calendar.model_validate(
        {"timezone": "Asia/Kolkata", "weekly": {"fri": [("09:30:30", "18:30")]}}
    ),
    Calendar.model_validate(
        {"timezone": "UTC", "overrides": {date(2025, 11, 5).isoformat(): [("08:00", "16:00")]}}
    ),
]
WALKED = {calendar: Hours(calendar) for calendar in CALENDARS[:3]} | {
    CALENDARS[4]: Hours(CALENDARS[4])
}


@settings(max_examples=120, deadline=None, database=None)
@given(
    st.sampled_from(list(WALKED)),
    st.integers(0, 30) | st.integers(220, 229),
    st.integers(0, 3000),
    st.lists(st.tuples(st.integers(0, 6000), st.integers(1, 3000)), max_size=3),
    st.integers(1, 4),
)
def test_the_walk_through_the_minutes_gives_the_same_hours(
    calendar: Calendar, start: int, minutes: int, paused: list[tuple[int, int]], days: int
) -> None:
    begin = datetime(2025, 3, 20, tzinfo=UTC) + timedelta(days=start, minutes=minutes % 1440)
    pauses = [Interval(start=begin + a * M, end=begin + (a + n) * M) for a, n in paused]
    try:
        due = due_at(begin, minutes * M, calendar, pauses)
    except NeverOpen:
        due = None
    assert WALKED[calendar].due(begin, minutes * M, pauses) == due
    end = begin + timedelta(minutes=minutes * 3)
    assert WALKED[calendar].used(begin, end, pauses) == elapsed(begin, end, calendar, pauses)
    try:
        worth = business_days(begin, days, calendar)
    except NeverOpen:
        worth = None
    assert WALKED[calendar].business_days(begin, days) == worth


def test_windows_to_the_second_are_walked_by_the_second() -> None:
    hours, begin = Hours(CALENDARS[3]), datetime(2025, 6, 6, 3, tzinfo=UTC)
    assert hours.due(begin, 45 * timedelta(seconds=1), ()) == due_at(
        begin, 45 * timedelta(seconds=1), CALENDARS[3]
    )
