"""Rules that watch promises: when things are bad, when it is told, who is told, when to look."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from domain.alerts import (
    SOONEST,
    TOGETHER,
    AlertRule,
    Attainment,
    Breaches,
    Figures,
    Recipients,
    Telling,
    Verdict,
    judge,
    look_again,
    pace,
    reached,
    spelled,
    telling,
)
from domain.desk import Agent, Desk, DeskSettings, Team
from domain.sla import Metric

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ADMINS = Recipients(roles=("admin",))


def kept_rule(below: float = 95, *, at_least: int = 20, within: timedelta = HOUR) -> AlertRule:
    watched = Attainment(metric=Metric.RESOLUTION, below=below, within=within, at_least=at_least)
    return AlertRule(watches=watched, recipients=ADMINS)


def broken_rule(count: int = 3, *, within: timedelta = HOUR) -> AlertRule:
    return AlertRule(watches=Breaches(count=count, within=within), recipients=ADMINS)


def found(**counted: int) -> Figures:
    return Figures(NOW - HOUR, NOW, **counted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "figures", "bad"),
    [
        (kept_rule(95), found(met=95, missed=5), False),  # at the limit is not below it
        (kept_rule(95), found(met=94, missed=6), True),
        (kept_rule(95), found(met=94_999, missed=5_001), True),  # 94.999 % is not 95 %
        (kept_rule(95), found(met=0, missed=19), False),  # too few to say
        (kept_rule(95), found(met=0, missed=20), True),
        (kept_rule(95, at_least=1), found(met=0, missed=1), True),
        (kept_rule(95), found(), False),
        (kept_rule(100), found(met=20), False),
        (kept_rule(100), found(met=1000, missed=1), True),
        (broken_rule(3), found(breaches=2), False),
        (broken_rule(3), found(breaches=3), True),
        (broken_rule(1), found(breaches=0), False),
    ],
)
def test_when_things_are_bad(rule: AlertRule, figures: Figures, bad: bool) -> None:
    assert judge(rule, figures).bad is bad


def test_it_says_why_in_figures_that_do_not_round_the_reason_away() -> None:
    assert judge(kept_rule(90), found(met=41, missed=7)).because == (
        "85.4 % of 48 cycles of resolution were kept within 1 h; the limit is 90 %."
    )
    assert "94.999 %" not in judge(kept_rule(95), found(met=949, missed=51)).because
    assert "94.9990 %" in judge(kept_rule(95), found(met=94_999, missed=5_001)).because
    assert judge(broken_rule(3), found(breaches=4)).because == (
        "4 promises were broken within 1 h; the limit is 3."
    )
    assert "too few to say" in judge(kept_rule(), found(met=1)).because


BAD, GOOD = Verdict(True, ""), Verdict(False, "")


def test_it_fires_once_is_told_again_only_where_wanted_and_says_when_it_is_over() -> None:
    rule = broken_rule()
    assert telling(rule, GOOD, told_at=None, now=NOW) is None
    assert telling(rule, BAD, told_at=None, now=NOW) is Telling.FIRED
    assert telling(rule, BAD, told_at=NOW - 100 * HOUR, now=NOW) is None
    assert telling(rule, GOOD, told_at=NOW, now=NOW) is Telling.OVER
    patient = rule.model_copy(update={"remind_after": 8 * HOUR})
    assert telling(patient, BAD, told_at=NOW - 7 * HOUR, now=NOW) is None
    assert telling(patient, BAD, told_at=NOW - 8 * HOUR, now=NOW) is Telling.AGAIN
    assert telling(patient, GOOD, told_at=NOW - 8 * HOUR, now=NOW) is Telling.OVER


def test_the_clock_alone_matters_when_something_leaves_the_window() -> None:
    rule = broken_rule(within=2 * HOUR)
    assert look_again(rule, found(), told_at=None, now=NOW) is None
    figures = replace(found(breaches=1), oldest=NOW - HOUR)
    assert look_again(rule, figures, told_at=None, now=NOW) == NOW + HOUR
    leaving = replace(figures, oldest=NOW - 2 * HOUR)
    assert look_again(rule, leaving, told_at=None, now=NOW) == NOW + 2 * HOUR / 1440 + (
        SOONEST - 2 * HOUR / 1440
    )
    reminding = rule.model_copy(update={"remind_after": HOUR})
    soon = look_again(reminding, figures, told_at=NOW - HOUR / 2, now=NOW)
    assert soon == NOW + HOUR / 2


def test_what_a_long_window_says_changes_slowly() -> None:
    assert pace(broken_rule(within=HOUR)) == TOGETHER
    assert pace(kept_rule(within=timedelta(days=90))) == SOONEST


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(days=1, hours=12), "1 d 12 h"), (timedelta(minutes=90), "1 h 30 min"),
        (timedelta(), "0 s"), (timedelta(seconds=61), "1 min 1 s"),
    ],
)  # fmt: skip
def test_a_length_is_spelled_in_its_largest_units(length: timedelta, said: str) -> None:
    assert spelled(length) == said


ADA, BEA, CAI, DEE = (uuid.UUID(int=n) for n in range(1, 5))
LINE = uuid.UUID(int=9)


def a_desk(**gone: bool) -> Desk:
    agents = {
        ADA: Agent(ADA, "Ada", "", "ada", "admin"),
        BEA: Agent(BEA, "Bea", "", "bea", "supervisor"),
        CAI: Agent(CAI, "Cai", "", "cai", "agent"),
        DEE: Agent(DEE, "Dee", "", "dee", "agent"),
    }
    agents = {id_: replace(agent, active=agent.handle not in gone) for id_, agent in agents.items()}
    team = Team(LINE, "First line", members=(CAI, DEE), leads=frozenset({CAI}))
    return Desk(uuid.UUID(int=100), "t", 1, DeskSettings(), {}, teams={LINE: team}, agents=agents)


HOOK = uuid.UUID(int=50)


def test_people_roles_and_those_who_lead_are_told_each_once() -> None:
    asked = Recipients(users=(CAI, DEE), roles=("supervisor",), team_leads=(LINE,), webhook_id=HOOK)
    rule = broken_rule().model_copy(update={"recipients": asked})
    assert reached(rule, a_desk(), {HOOK: True}).users == (BEA, CAI, DEE)
    told = reached(rule, a_desk(cai=True), {HOOK: False})
    assert (told.users, told.webhook_id, told.instead) == ((BEA, DEE), None, False)


def test_where_nobody_is_left_the_admins_hear_of_it() -> None:
    asked = Recipients(users=(DEE,), webhook_id=HOOK)
    rule = broken_rule().model_copy(update={"recipients": asked})
    told = reached(rule, a_desk(dee=True), {HOOK: False})
    assert (told.users, told.webhook_id, told.instead) == ((ADA,), None, True)
    assert reached(rule, a_desk(dee=True), {HOOK: True}).users == ()


@pytest.mark.parametrize(
    "said",
    [
        {"watches": {"kind": "breaches", "count": 0}},
        {"watches": {"kind": "breaches", "count": 1, "within": "P91D"}},
        {"watches": {"kind": "attainment", "metric": "resolution", "below": 0, "within": "P1D"}},
        {"watches": {"kind": "attainment", "metric": "resolution", "below": 90, "within": "PT59M"}},
        {"watches": {"kind": "attainment", "below": 90, "within": "P1D"}},
        {"recipients": {}},
        {"remind_after": "PT1M"},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(said: dict[str, object]) -> None:
    sound = {"watches": {"kind": "breaches", "count": 1}, "recipients": {"roles": ["admin"]}}
    AlertRule.model_validate(sound)
    with pytest.raises(ValidationError):
        AlertRule.model_validate({**sound, **said})


def test_only_what_decides_about_good_and_bad_makes_it_another_rule() -> None:
    rule = broken_rule()
    louder = rule.model_copy(update={"remind_after": HOUR, "recipients": Recipients(users=(DEE,))})
    assert louder.asks == rule.asks
    assert broken_rule(4).asks != rule.asks
