"""Whom a step wakes where those it names are away, have left, or never were."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from itertools import product
from uuid import UUID

import pytest

from domain.desk import Team
from domain.rotas import Override, Rota
from domain.sla import Metric, Notify, Reassign, Step
from domain.staffing import Absence
from domain.tickets import SYSTEM, Changed, Entry, Event, TimeAdvanced, decide
from tests.domain.test_ticket_promises import policy, under
from tests.domain.test_tickets import ADA, BEN, CYD, FIRST, HOUR, START, Life, uid

LEA, SUE, BOB = uid(0x71), uid(0x72), uid(0x73)
AWAY = Absence(START - HOUR, START + 99 * HOUR)
ROTA = Rota.model_validate(
    {"layers": [{"user_ids": [str(BEN)], "first": date(2020, 1, 1), "handover": "00:00"}]}
)


class House:
    """Ada, Ben and Lea are in a team that Lea leads; Sue supervises, Bob administers."""

    def __init__(self, *to: str | UUID, team: bool = True) -> None:
        step = Step(id="wake", metric=Metric.RESOLUTION, offset=-HOUR, action=Notify(to=to))
        self.life = Life(under(policy(step)))
        desk = self.life.desk
        agents = dict(desk.agents)
        for who, name, role in (
            (LEA, "lea", "agent"), (SUE, "sue", "supervisor"), (BOB, "bob", "admin")
        ):  # fmt: skip
            agents[who] = replace(desk.agents[ADA], id=who, name=name, handle=name, role=role)
        for who in (ADA, BEN, CYD):
            agents[who] = replace(agents[who], role="agent")
        desk = replace(desk, agents=agents)
        self.life.desk = desk
        self.team(members=tuple(sorted((ADA, BEN, LEA))), leads=frozenset({LEA}))
        if team:
            self.life(Changed(team_id=FIRST))

    def team(self, **more: object) -> None:
        desk = self.life.desk
        made: Team = replace(desk.teams[FIRST], **more)  # type: ignore[arg-type]
        self.life.desk = replace(desk, teams={**desk.teams, FIRST: made})

    def agent(self, who: UUID, **more: object) -> None:
        desk = self.life.desk
        agents = {**desk.agents, who: replace(desk.agents[who], **more)}  # type: ignore[arg-type]
        teams = {
            key: replace(each, members=tuple(m for m in each.members if agents[m].active),
                         leads=frozenset(m for m in each.leads if agents[m].active),
                         on_call=tuple(m for m in each.on_call if agents[m].active))
            for key, each in desk.teams.items()
        }  # fmt: skip
        self.life.desk = replace(desk, agents=agents, teams=teams)

    def wakes(self, *watchers: UUID) -> tuple[set[UUID], Entry, list[Mapping[str, object]]]:
        event = Event(key="t", actor=SYSTEM, payload=TimeAdvanced(), cause={"test": True})
        found = decide(
            self.life.ticket, self.life.clocks, event, self.life.desk,
            now=START + 7 * HOUR, watchers=frozenset(watchers),
        )  # fmt: skip
        [entry] = [each for each in found.entries if each.type == "sla_step"]
        notices = [n for n in found.notices if n.kind == "sla_warning"]
        return {n.user_id for n in notices}, entry, [n.data for n in notices]


def test_whoever_is_on_call_is_woken_and_nothing_more_is_said() -> None:
    house = House("on_call")
    house.team(rota=ROTA)
    people, entry, notices = house.wakes()
    assert people == {BEN}
    assert "nobody" not in entry.data
    assert all("instead" not in one for one in notices)


@pytest.mark.parametrize("gap", ["no rota", "before its first turn", "away", "left", "by hand"])
def test_where_nobody_is_on_call_those_who_lead_are_woken_and_it_says_so(gap: str) -> None:
    house = House("on_call")
    match gap:
        case "before its first turn":
            late = ROTA.layers[0].model_copy(update={"first": date(2199, 1, 1)})
            house.team(rota=ROTA.model_copy(update={"layers": (late,)}))
        case "away":
            house.team(rota=ROTA)
            house.agent(BEN, absence=AWAY)
        case "left":
            house.team(rota=ROTA)
            house.agent(BEN, active=False)
        case "by hand":
            house.team(on_call=(ADA,))
            house.agent(ADA, absence=AWAY)
    people, entry, notices = house.wakes()
    assert people == {LEA}
    assert (entry.data["nobody"], entry.data["instead"]) == (["on_call"], "team_leads")
    assert [one["instead"] for one in notices] == ["team_leads"]


def test_who_was_named_by_hand_and_is_away_leaves_it_to_the_rota() -> None:
    house = House("on_call")
    house.team(on_call=(ADA,), rota=ROTA)
    assert house.wakes()[0] == {ADA}
    house.agent(ADA, absence=AWAY)
    people, entry, _ = house.wakes()
    assert people == {BEN}
    assert "nobody" not in entry.data
    house.team(on_call=(ADA, LEA))
    assert house.wakes()[0] == {LEA}


def test_stand_ins_who_stand_in_for_each_other_wake_no_stranger_and_lose_nothing() -> None:
    house = House("on_call")
    house.team(rota=ROTA)
    house.agent(BEN, absence=replace(AWAY, replacement_id=ADA))
    house.agent(ADA, absence=replace(AWAY, replacement_id=BEN))
    assert house.wakes()[0] == {LEA}
    house.agent(LEA, absence=replace(AWAY, replacement_id=LEA))
    people, entry, _ = house.wakes()
    assert people == {SUE, BOB}
    assert entry.data["instead"] == "supervisors"


@pytest.mark.parametrize(
    "to", [("on_call",), ("team_leads",), ("assignee",), ("team", "on_call"), (uid(0xDEAD),)]
)
def test_a_step_that_would_reach_nobody_reaches_supervisors_and_says_so(
    to: tuple[str | UUID, ...],
) -> None:
    house = House(*to, team=False)
    people, entry, notices = house.wakes()
    assert people == {SUE, BOB}
    assert (entry.data["nobody"], entry.data["instead"]) == ([str(o) for o in to], "supervisors")
    assert len(notices) == 2
    house.agent(SUE, absence=AWAY)
    assert house.wakes()[0] == {BOB}
    house.agent(BOB, absence=AWAY)
    assert house.wakes()[0] == {SUE, BOB}  # better late than never
    house.agent(SUE, active=False)
    house.agent(BOB, active=False)
    people, entry, _ = house.wakes()
    assert people == set()
    assert entry.data["instead"] == "nobody"


def test_a_lead_who_is_missing_is_no_gap_where_somebody_else_hears_of_it() -> None:
    house = House("team_leads", "assignee")
    house.team(leads=frozenset())
    house.life(Changed(assignee_id=ADA))
    people, entry, _ = house.wakes()
    assert people == {ADA}
    assert "nobody" not in entry.data
    pager = House("on_call", "supervisors")
    pager.team(leads=frozenset())
    people, entry, _ = pager.wakes()
    assert people == {SUE, BOB}
    assert entry.data["nobody"] == ["on_call"]


def test_what_is_for_watchers_alone_may_find_none() -> None:
    house = House("watchers")
    people, entry, _ = house.wakes()
    assert (people, entry.data.get("nobody")) == (set(), None)
    assert house.wakes(CYD)[0] == {CYD}


def test_what_a_step_could_not_do_is_told_to_those_who_lead_and_not_left_in_the_timeline() -> None:
    gone = uid(0xDEAD)
    move = Step(id="move", metric=Metric.RESOLUTION, offset=-HOUR, action=Reassign(team_id=gone))
    house = House("team")
    house.life = Life(replace(house.life.desk, policies=(policy(move),)))
    house.life(Changed(team_id=FIRST))
    people, entry, notices = house.wakes()
    assert people == {LEA}
    assert entry.data["refused"] == "There is no such team."
    assert notices[0]["refused"] == "There is no such team."
    house.agent(LEA, absence=AWAY)
    assert house.wakes()[0] == {SUE, BOB}


@pytest.mark.parametrize(
    ("first", "second"),
    list(product((None, AWAY, "left"), repeat=2)),
)
def test_of_two_shifts_that_overlap_the_later_made_counts_while_its_person_is_there(
    first: Absence | str | None, second: Absence | str | None
) -> None:
    """Ada's shift was made first, Lea's later; beneath both it is Ben's turn."""
    house = House("on_call")
    shift = (START, START + timedelta(days=1))
    house.team(rota=ROTA, overrides=(Override(ADA, *shift), Override(LEA, *shift)))
    for who, state in ((ADA, first), (LEA, second)):
        if isinstance(state, Absence):
            house.agent(who, absence=state)
        elif state:
            house.agent(who, active=False)
    wanted = LEA if second is None else ADA if first is None else BEN
    assert house.wakes()[0] == {wanted}
