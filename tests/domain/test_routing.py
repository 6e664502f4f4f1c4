"""Who gets a ticket, and why: strategies, capacity, skills, absence, what moves a queue."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.calendars import Calendar
from domain.desk import Agent, Desk, DeskSettings, Team, default_statuses
from domain.routing import (
    Roster,
    Standing,
    anybody_free,
    back_at,
    is_queued,
    route,
    stand_in,
    to_look_at,
)
from domain.sla import Subject
from domain.staffing import Absence, Need, RoutingRules
from domain.states import ActorKind, Category, Channel, Priority
from domain.tickets import Ticket

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # a Monday
HOUR = timedelta(hours=1)


def uid(number: int) -> UUID:
    return UUID(int=number)


ADA, BEN, CYD, VIC = (uid(n) for n in range(1, 5))
TEAM, OTHER, HOURS = uid(11), uid(12), uid(41)
NAMES = {ADA: "Ada", BEN: "Ben", CYD: "Cyd", VIC: "Vic"}
OPEN = ("normal", "email")


def desk(
    strategy: str = "least_loaded", *, rules: RoutingRules | None = None, **settings: object
) -> Desk:
    members = (ADA, BEN, CYD, VIC)
    team = Team(TEAM, "Front", routing=strategy, members=members, rules=rules or RoutingRules())  # type: ignore[arg-type]
    return Desk(
        tenant_id=uid(99),
        slug="desk",
        config_version=1,
        settings=DeskSettings.model_validate(settings),
        statuses={s.key: s for s in default_statuses()},
        teams={TEAM: team, OTHER: Team(OTHER, "Other", members=(ADA,))},
        agents={
            id_: Agent(
                id_, name, f"{name}@desk.test", name.lower(), "viewer" if id_ == VIC else "agent",
                capacity=4,
            )
            for id_, name in NAMES.items()
        },
        calendars={
            (HOURS, 1): Calendar.model_validate(
                {"timezone": "UTC", "weekly": {"mon": [["12:00", "18:00"]]}}
            )
        },
    )  # fmt: skip


def has(count: int, **more: object) -> Standing:
    return Standing(open={OPEN: count} if count else {}, **more)  # type: ignore[arg-type]


def roster(ada: Standing, ben: Standing, cyd: Standing) -> Roster:
    return Roster({ADA: ada, BEN: ben, CYD: cyd})


def subject(**wishes: object) -> Subject:
    wanted: dict[str, object] = {"category": Category.NEW, "channel": Channel.EMAIL, **wishes}
    return Subject(**wanted)  # type: ignore[arg-type]


def find(at: Desk, who: Roster, **wishes: object) -> tuple[UUID | None, str]:
    way = route(at, subject(**wishes), number=7, team_id=TEAM, roster=who, now=NOW)
    assert way is not None
    assert way.team_id == TEAM
    return way.assignee_id, way.reason


def against(at: Desk, who: Roster, **wishes: object) -> dict[str, object]:
    way = route(at, subject(**wishes), number=7, team_id=TEAM, roster=who, now=NOW)
    assert way is not None
    told = way.how["candidates"]
    assert isinstance(told, list)
    return {one["name"]: one.get("why_not") for one in told}


def test_the_least_loaded_gets_it_and_the_reason_says_how_loaded() -> None:
    who = roster(has(3, capacity=8), has(1, capacity=8), has(2))
    assert find(desk(), who) == (
        BEN, "already in the team; least loaded 1/8, of 3 free in Front"
    )  # fmt: skip


def test_a_tie_goes_to_whoever_was_given_something_longest_ago_and_then_by_id() -> None:
    assert find(desk(), roster(has(1, turn=9), has(1, turn=4), has(1, turn=6)))[0] == BEN
    assert find(desk(), roster(has(1), has(1), has(1)))[0] == ADA


def test_turns_follow_who_was_given_something_longest_ago_however_loaded() -> None:
    at = desk("round_robin")
    assert find(at, roster(has(0, turn=3), has(3, turn=1), has(0, turn=2)))[0] == BEN


def test_manual_teams_get_it_and_nobody_is_looked_for() -> None:
    way = route(
        desk("manual"), subject(), number=7, team_id=TEAM, roster=roster(has(0), has(0), has(0)),
        now=NOW,
    )  # fmt: skip
    assert way is not None
    assert (way.assignee_id, way.reason, way.how) == (None, "already in the team", {})


def test_away_absent_off_hours_and_full_agents_are_passed_over_and_it_says_why() -> None:
    gone = Absence(until=NOW + HOUR)
    who = roster(has(0, online=False), has(0, absence=gone), has(4, capacity=4))
    assert find(desk(), who) == (
        None, "already in the team; waits in Front: 1 at capacity, 2 not there"
    )  # fmt: skip
    assert against(desk(), who) == {
        "Ada": "away",
        "Ben": "absent until 2026-03-02 10:00 UTC",
        "Cyd": "has 4 of 4",
    }
    late = roster(has(0, calendar_id=HOURS), has(9), has(9))
    assert against(desk(), late)["Ada"] == "outside their working hours"
    assert find(desk(), late)[0] == BEN


def test_an_absence_holds_from_its_begin_until_its_end() -> None:
    absence = Absence(since=NOW, until=NOW + HOUR)
    assert [absence.covers(NOW + n * HOUR / 2) for n in (-1, 0, 1, 2)] == [
        False, True, True, False
    ]  # fmt: skip


def test_viewers_and_those_who_just_left_are_given_nothing() -> None:
    who = Roster({ADA: has(5, capacity=9), VIC: has(0)})
    assert find(desk(), who)[0] == ADA
    assert against(desk(), who)["Ben"] == "has just left or joined"
    assert "Vic" not in against(desk(), who)


def test_a_ticket_weighs_what_its_priority_and_channel_say() -> None:
    at = desk(load_weights={"priority": {"urgent": 3}, "channel": {"chat": 0.5}})
    heavy = Standing(open={("urgent", "email"): 1}, capacity=4)
    light = Standing(open={("normal", "chat"): 4}, capacity=4)
    who = roster(heavy, light, has(9, capacity=9))
    assert find(at, who)[0] == BEN  # two against three
    assert against(at, who, priority=Priority.URGENT)["Ben"] == "has 2 of 4"
    # More than anybody can carry goes to who has nothing else; it would wait without end.
    idle = roster(has(0, capacity=2), has(1, capacity=2), has(1, capacity=2))
    assert find(at, idle, priority=Priority.URGENT)[0] == ADA


def test_a_language_somebody_has_is_needed_and_one_that_nobody_has_is_not_waited_for() -> None:
    at = desk("skill_based")
    who = roster(has(0), has(3, skills={"language:fr": 2}), has(0))
    assert find(at, who, language="fr")[0] == BEN
    assert against(at, who, language="fr")["Ada"] == "lacks language:fr"
    assert find(at, who, language="pl")[0] == ADA
    busy = roster(has(0), has(3, skills={"language:fr": 2}, capacity=3), has(0))
    assert find(at, busy, language="fr") == (
        None,
        "already in the team; waits in Front: nobody free has language:fr, 1 at capacity",
    )


def test_the_better_skilled_goes_first_then_the_less_loaded() -> None:
    at = desk("skill_based")
    skilled = roster(
        has(0, skills={"topic:billing": 1}), has(2, skills={"topic:billing": 5}),
        has(1, skills={"topic:billing": 5}),
    )  # fmt: skip
    assert find(at, skilled, topic="billing")[0] == CYD


def test_a_teams_rule_asks_for_a_level_even_where_nobody_has_it() -> None:
    rules = RoutingRules(needs=(Need(skill="vip", level=3, tag="gold"),), skills_from=())
    at = desk("skill_based", rules=rules)
    who = roster(has(0), has(5, skills={"vip": 3}), has(0, skills={"vip": 2}))
    assert find(at, who, tags=("gold",))[0] == BEN
    assert against(at, who, tags=("gold",))["Cyd"] == "lacks vip at level 3"
    assert find(at, who)[0] == ADA
    nobody = roster(has(0), has(0), has(0))
    assert find(at, nobody, tags=("gold",))[0] is None


def test_a_wished_for_skill_goes_first_but_is_not_waited_for() -> None:
    rules = RoutingRules(
        needs=(Need(skill="phone", preferred=True, channel=Channel.PHONE),), skills_from=()
    )
    at = desk("skill_based", rules=rules)
    who = roster(has(0), has(4, skills={"phone": 1}), has(0))
    assert find(at, who, channel=Channel.PHONE)[0] == BEN
    assert find(at, roster(has(0), has(9), has(9)), channel=Channel.PHONE)[0] == ADA


@given(
    st.lists(
        st.tuples(st.integers(0, 6), st.integers(0, 6) | st.none(), st.booleans()),
        min_size=3,
        max_size=3,
    ),
    st.sampled_from(["round_robin", "least_loaded", "skill_based"]),
)
def test_nobody_is_given_more_than_they_can_take_and_somebody_free_is_found(
    rows: list[tuple[int, int | None, bool]], strategy: str
) -> None:
    who = roster(*(has(load, capacity=cap, online=on) for load, cap, on in rows))
    at = desk(strategy)
    able = {
        agent
        for agent, (load, cap, on) in zip((ADA, BEN, CYD), rows, strict=True)
        if on and (cap is None or load < cap)
    }
    found = find(at, who)[0]
    assert (found in able) if able else found is None
    assert anybody_free(at, at.teams[TEAM], who, now=NOW) == bool(able)


@given(st.integers(1, 40))
def test_one_after_the_other_turns_never_differ_by_more_than_one(count: int) -> None:
    at, who = desk("round_robin"), roster(has(0), has(0), has(0))
    for number in range(count):
        way = route(at, subject(), number=number, team_id=TEAM, roster=who, now=NOW)
        assert way is not None
        assert way.assignee_id is not None
        assert way.turn is not None
        who = who.given(way.assignee_id, way.turn, OPEN)
    shares = [sum(one.open.values()) for one in who.standings.values()]
    assert max(shares) - min(shares) <= 1


def test_who_returns_first_by_the_clock_is_known() -> None:
    at = desk()
    who = roster(
        has(0, absence=Absence(until=NOW + HOUR)),
        has(0, absence=Absence()),
        has(0, calendar_id=HOURS),
    )
    assert back_at(at, at.teams[TEAM], who, now=NOW) == NOW + HOUR
    off = roster(has(0, absence=Absence(until=NOW + HOUR), calendar_id=HOURS), has(0), has(0))
    assert back_at(at, at.teams[TEAM], off, now=NOW) == NOW + 3 * HOUR
    assert back_at(at, at.teams[TEAM], roster(has(9), has(0), has(0)), now=NOW) is None


def test_whoever_stands_in_is_there_and_in_the_team_and_circles_end() -> None:
    at = desk()

    def absent(of: UUID, by: UUID | None) -> Agent:
        return replace(at.agents[of], absence=Absence(replacement_id=by))

    team = at.teams[TEAM]
    ada = absent(ADA, BEN)
    assert stand_in(at, ada, team, now=NOW) == at.agents[BEN]
    chain = replace(at, agents={**at.agents, ADA: ada, BEN: absent(BEN, CYD)})
    assert stand_in(chain, ada, team, now=NOW) == at.agents[CYD]
    circle = replace(at, agents={**at.agents, ADA: ada, BEN: absent(BEN, ADA)})
    assert stand_in(circle, ada, team, now=NOW) is None
    assert stand_in(at, ada, at.teams[OTHER], now=NOW) is None
    assert stand_in(at, absent(ADA, VIC), team, now=NOW) is None


def ticket(**wishes: object) -> Ticket:
    has: dict[str, object] = {
        "id": uid(31), "number": 7, "subject": "It is broken", "status": "open",
        "category": Category.OPEN, "channel": Channel.EMAIL, "requester_id": uid(21),
        "created_by_kind": ActorKind.CUSTOMER, "created_by_id": uid(21), "seq": 3,
        "message_seq": 1, "created_at": NOW, "updated_at": NOW, "team_id": TEAM, "triage": "done",
        **wishes,
    }  # fmt: skip
    return Ticket(**has)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wishes", "waits"),
    [
        ({}, True),
        ({"category": Category.NEW}, True),
        ({"assignee_id": ADA}, False),
        ({"category": Category.PENDING}, False),
        ({"snoozed": "reply"}, False),
        ({"decided": ("assignee_id",)}, False),
        ({"team_id": None}, False),
        ({"team_id": OTHER}, False),
        ({"triage": "pending"}, False),
        ({"triage": "pending", "created_at": NOW - HOUR}, True),
    ],
)
def test_what_waits_in_a_queue(wishes: dict[str, object], waits: bool) -> None:
    assert is_queued(desk(), ticket(**wishes), now=NOW) is waits


def test_a_queue_moves_when_a_ticket_comes_into_it_or_somebody_gets_free() -> None:
    at = desk()
    held = ticket(assignee_id=ADA)
    assert to_look_at(at, None, ticket()) == {TEAM}
    assert to_look_at(at, ticket(), ticket()) == set()
    assert to_look_at(at, ticket(team_id=OTHER), ticket()) == {TEAM}
    assert to_look_at(at, held, replace(held, category=Category.RESOLVED)) == {TEAM}
    assert to_look_at(at, held, replace(held, assignee_id=BEN)) == {TEAM}
    assert to_look_at(at, held, replace(held, snoozed="time")) == {TEAM}
    assert to_look_at(at, held, replace(held, priority=Priority.HIGH)) == set()
    boundless = replace(at, agents={**at.agents, ADA: replace(at.agents[ADA], capacity=None)})
    assert to_look_at(boundless, held, replace(held, category=Category.RESOLVED)) == set()
