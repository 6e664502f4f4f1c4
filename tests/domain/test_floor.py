"""The model of a floor: what people would have answered when, and where that is known by hand."""

from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.comparison import Comparison, Load, Modelled
from domain.crew import Person, TeamChange, today, under
from domain.floor import Answered, Floor, Member, told, untold
from domain.workload import NOBODY, Estimate, Heard, Job, Promise, Task, job_of

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
MONDAY = 1_772_409_600.0  # 2 March 2026, 0:00 UTC
OFFICE = tuple((MONDAY + n * DAY + 9 * HOUR, MONDAY + n * DAY + 17 * HOUR) for n in range(5))


def job(number: int, at: float, *, effort: float = 20, rank: int = 2, **more: object) -> Job:
    """A ticket of one answer, due after an hour."""
    arrived = MONDAY + at * MINUTE
    promise = Promise("first_reply", arrived, arrived + HOUR, None, None)
    said: dict[str, object] = {
        "skills": (), "tasks": (Task(0.0, effort * MINUTE),), "tail": None,
        "promises": (promise,), **more,
    }  # fmt: skip
    return Job(number, "t", arrived, rank, **said)  # type: ignore[arg-type]


def member(name: str, **more: object) -> Member:
    return Member(name, ("t",), **{"shifts": OFFICE, **more})  # type: ignore[arg-type]


def answered(crew: list[Member], jobs: list[Job], until: float = 5 * DAY) -> dict[int, float]:
    """Minutes since Monday 0:00 at which each was answered."""
    floor = Floor(crew, Load("UTC"))
    for one in jobs:
        floor.arrive(one)
    done = floor.run(MONDAY + until)
    return {one.job.number: (one.at - MONDAY) / MINUTE for one in done if one.at is not None}


NINE = 9 * 60


def test_one_after_the_other_and_the_urgent_first() -> None:
    jobs = [job(1, NINE), job(2, NINE + 1), job(3, NINE + 2), job(4, NINE + 3, rank=0)]
    assert answered([member("a")], jobs) == {
        1: NINE + 20, 4: NINE + 40, 2: NINE + 60, 3: NINE + 80,
    }  # fmt: skip


def test_what_comes_at_night_waits_and_work_goes_on_where_it_stopped() -> None:
    late = 17 * 60 - 5
    found = answered([member("a")], [job(1, 2 * 60), job(2, late)])
    assert found == {1: NINE + 20, 2: 24 * 60 + NINE + 15}


def test_two_share_the_work_and_a_third_with_nothing_to_do_changes_nothing() -> None:
    jobs = [job(n, NINE) for n in range(1, 5)]
    two = answered([member("a"), member("b")], jobs)
    assert sorted(two.values()) == [NINE + 20, NINE + 20, NINE + 40, NINE + 40]
    alone = [job(n, NINE + 30 * n) for n in range(5)]
    assert answered([member("a")], alone) == answered([member("a"), member("b")], alone)


def test_with_a_limit_tickets_are_given_ahead_and_not_beyond_it() -> None:
    """The first is given three of them; so the second, who comes later, finds one left."""
    later = ((MONDAY + 9.5 * HOUR, MONDAY + 17 * HOUR),)
    jobs = [job(n, NINE, effort=60) for n in range(1, 5)]
    pulled = answered([member("a"), member("b", shifts=later)], jobs)
    assert sorted(pulled.values()) == [NINE + 60, NINE + 90, NINE + 120, NINE + 150]
    given_ahead = answered([member("a", capacity=3), member("b", shifts=later)], jobs)
    assert sorted(given_ahead.values()) == [NINE + 60, NINE + 90, NINE + 120, NINE + 180]


def test_a_skill_somebody_has_is_waited_for_and_one_nobody_has_is_not() -> None:
    french = member("b", skills=frozenset({"language:fr"}))
    asks: dict[str, Any] = {"skills": ("language:fr",)}
    jobs = [job(1, NINE, **asks), job(2, NINE, **asks)]
    assert answered([member("a"), french], jobs) == {1: NINE + 20, 2: NINE + 40}
    assert answered([member("a"), member("b")], jobs) == {1: NINE + 20, 2: NINE + 20}


def test_the_next_answer_is_for_whoever_gave_the_first() -> None:
    twice = job(1, NINE, tasks=(Task(0, 20 * MINUTE), Task(30 * MINUTE, 10 * MINUTE)), tail=60.0,
                promises=(Promise("resolution", 0, None, None, None),))  # fmt: skip
    others = [job(2, NINE + 45, effort=60)]
    found = answered([member("a"), member("b")], [twice, *others])
    assert found == {2: NINE + 105, 1: NINE + 105 + 10 + 1}  # though the other was free


def test_nobody_there_leaves_everything_and_what_was_due_is_missed() -> None:
    floor = Floor([], Load("UTC"))
    floor.arrive(job(1, NINE))
    assert floor.run(MONDAY + DAY) == []
    [left] = floor.end(MONDAY + DAY)
    assert (left.job.number, left.at) == (1, None)


@given(
    jobs=st.lists(
        st.tuples(st.integers(0, 4000), st.integers(1, 90), st.integers(0, 3)), min_size=1,
        max_size=25,
    ),
    capacity=st.sampled_from([None, 1, 3]),
    cuts=st.lists(st.integers(0, 5000), max_size=4),
)  # fmt: skip
def test_cut_into_chunks_and_put_away_between_them_it_is_the_same(
    jobs: list[tuple[int, int, int]], capacity: int | None, cuts: list[int]
) -> None:
    made = [job(n, at, effort=effort, rank=rank) for n, (at, effort, rank) in enumerate(jobs)]
    made.sort(key=lambda one: one.arrived)
    crew = [member("a", capacity=capacity), member("b")]
    whole = answered(crew, made)
    floor, found = Floor(crew, Load("UTC")), list[Answered]()
    for cut in [*sorted(cuts), 5 * 24 * 60]:
        upto = MONDAY + cut * MINUTE
        again = Floor(crew, Load("UTC"))
        again.restore(floor.state())
        floor = again
        while made and made[0].arrived < upto:
            floor.arrive(made.pop(0))
        found += floor.run(upto)
    assert {one.job.number: (one.at - MONDAY) / MINUTE for one in found if one.at} == whole


@given(efforts=st.lists(st.integers(1, 200), min_size=1, max_size=30), people=st.integers(1, 4))
def test_no_work_is_lost_and_none_is_done_while_nobody_is_there(
    efforts: list[int], people: int
) -> None:
    load = Load("UTC")
    floor = Floor([member(str(n)) for n in range(people)], load)
    for number, effort in enumerate(efforts):
        floor.arrive(job(number, NINE + 13 * number, effort=effort))
    done = floor.run(MONDAY + 5 * DAY)
    if len(done) == len(efforts):
        assert sum(load.done) == pytest.approx(sum(efforts) * MINUTE)
    assert sum(load.done) <= people * 5 * 8 * HOUR + 1e-6
    assert all(hour % 24 in range(9, 17) for hour, worked in enumerate(load.done) if worked)


def test_a_job_said_and_read_is_the_same() -> None:
    one = job(7, NINE, skills=("tag:vip",), tail=3.0)
    assert untold(told(one)) == one


# What is read from a timeline.


def heard(kind: str, minute: float, who: str = "kim", **changes: object) -> Heard:
    person = "customer" if kind in ("ticket_created", "customer_replied") else "user"
    pairs = {name: [None, value] for name, value in changes.items()}
    return Heard(kind, person, who, pairs, False, False, MONDAY + minute * MINUTE)


def test_an_answer_takes_from_when_it_could_be_begun_until_it_was_sent() -> None:
    timeline = [
        heard("ticket_created", 540, "c"),
        heard("changed", 580, "boss", assignee_id="ada", team_id="t", priority="urgent"),
        heard("agent_replied", 592, "ada"),
        heard("customer_replied", 700, "c"),
        heard("agent_replied", 705, "ada", category="resolved"),
    ]
    found = job_of(1, timeline, (), Estimate({}))
    assert found is not None
    assert (found.team, found.rank, found.tail) == ("t", 0, 0.0)
    assert found.arrived == MONDAY + 580 * MINUTE  # when it came to its team
    assert found.tasks == (Task(0.0, 12 * MINUTE), Task(108 * MINUTE, 5 * MINUTE))


def test_who_answers_much_in_an_hour_takes_no_more_than_a_share_of_it() -> None:
    timeline = [heard("ticket_created", 0, "c"), heard("agent_replied", 600, "ada")]
    hour = int((MONDAY + 600 * MINUTE) // HOUR)
    found = job_of(1, timeline, (), Estimate({"ada": {hour: 6}}))
    assert found is not None
    assert found.tasks == (Task(0.0, 10 * MINUTE),)


def test_where_nothing_is_seen_of_the_work_the_teams_usual_time_counts() -> None:
    estimate = Estimate({})
    for _ in range(30):
        estimate.effort("t", "ada", 0.0, 300.0)
    assert estimate.effort("t", "ada", 50.0, 50.0) == pytest.approx(300, rel=0.06)
    assert estimate.effort("other", "ada", 50.0, 50.0) == 600


def test_a_ticket_nobody_answered_is_no_work_and_an_agents_own_first_words_are_none() -> None:
    assert job_of(1, [heard("ticket_created", 0)], (), Estimate({})) is None
    own = [heard("ticket_created", 0), heard("agent_replied", 0)]
    assert job_of(1, own, (), Estimate({})) is None


# Who is there.


def person(name: str, hours: list[int], answers: int = 1) -> Person:
    return Person(
        id=name, teams=(NOBODY,), capacity=None, skills=frozenset(), calendar=None,
        hours=[int(MONDAY // HOUR) + hour for hour in hours], answers=answers,
    )  # fmt: skip


def test_without_a_calendar_somebody_was_there_from_the_first_to_the_last_thing_they_did() -> None:
    [one] = today([person("a", [8, 9, 12, 20])])
    assert [((a - MONDAY) / HOUR, (b - MONDAY) / HOUR) for a, b in one.shifts] == [
        (8, 13), (20, 21),
    ]  # fmt: skip


def test_more_and_fewer_begin_with_whoever_answers_most() -> None:
    people = [person("a", [8], 3), person("b", [9], 9)]

    def names(**change: object) -> list[str]:
        made = under(people, [TeamChange(**change)], since=MONDAY, until=MONDAY + DAY)
        return [m.name for m in made]

    assert names() == ["a", "b"]
    assert names(agents=-1) == ["a"]
    assert names(agents=-9) == []
    more = under(people, [TeamChange(agents=2)], since=MONDAY, until=MONDAY + DAY)
    assert [m.shifts for m in more[2:]] == [more[1].shifts, more[0].shifts]


def test_other_hours_hold_on_the_dates_on_which_somebody_worked() -> None:
    calendar = {"timezone": "Europe/Berlin", "weekly": {"mon": [["18:00", "20:00"]]}}
    change = TeamChange.model_validate({"calendar": calendar, "capacity": 4, "agents": 1})
    made = under([person("a", [9, 40])], [change], since=MONDAY, until=MONDAY + DAY)
    assert [((a - MONDAY) / HOUR, (b - MONDAY) / HOUR) for a, b in made[0].shifts] == [(17, 19)]
    assert [m.capacity for m in made] == [4, 4]
    assert made[1].shifts[-1][1] <= MONDAY + 2 * DAY


def test_somebody_named_is_not_there() -> None:
    gone = UUID(int=5)
    people = [person(str(gone), [8]), person("b", [9])]
    made = under(people, [TeamChange(without=(gone,))], since=MONDAY, until=MONDAY + DAY)
    assert [m.name for m in made] == ["b"]


# Counting.


def test_verdicts_of_three_sides_are_counted_and_a_bad_fit_says_so() -> None:
    comparison = Comparison()
    late, early = MONDAY + 2 * HOUR, MONDAY + HOUR / 2

    def promise(verdict: str, at: float | None) -> Modelled:
        due = MONDAY + HOUR
        return Modelled(1, "first_reply", "t", MONDAY, due, verdict, early, at)

    for _ in range(40):
        comparison.add(
            promise("met", early), promise("met", None), since=MONDAY, until=MONDAY + DAY,
            zone=ZoneInfo("UTC"),
        )  # fmt: skip
    assert comparison.metrics == {"first_reply": [40, 0, 40, 0, 0, 40]}
    assert (comparison.fit, comparison.flipped) == ("good", 40)
    again = Comparison.of(comparison.told())
    assert again == comparison
    for _ in range(20):
        again.add(
            promise("met", late), promise("met", late), since=MONDAY, until=MONDAY + DAY,
            zone=ZoneInfo("UTC"),
        )  # fmt: skip
    assert (again.fit, again.agreed, again.compared) == ("poor", 40, 60)
    median = again.waits["all"][1].quantile(0.5)
    assert median == pytest.approx(HOUR / 2, rel=0.06)
