"""What an export tells of a ticket's measures: with a policy, and on a desk that has none."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from domain.sla import Metric, Outcome, Terms
from domain.states import Priority
from domain.tickets import AgentReplied, Changed, DueSet
from domain.tickets.history import Kind, MetricEvent, metric_events
from tests.domain.test_ticket_promises import moved_on, policy, recorded, under
from tests.domain.test_tickets import HOUR, START, Life, uid, words

FIRST, FIX, WORK = Metric.FIRST_REPLY, Metric.RESOLUTION, Metric.AGENT_WORK


def told(life: Life, metric: Metric) -> list[tuple[str, timedelta]]:
    return [(e.kind.value, e.at - START) for e in events(life) if e.metric is metric]


def events(life: Life) -> tuple[MetricEvent, ...]:
    def terms_of(id: object, version: int) -> Terms:
        found = life.desk.terms_of(id, version)  # type: ignore[arg-type]
        assert found is not None
        return found

    return metric_events(recorded(life.entries), terms_of, now=life.now)


def busy(life: Life) -> Life:
    life(AgentReplied(words(id=5), status="pending"), after=HOUR)
    life(Changed(status="open"), after=2 * HOUR)
    life(Changed(status="resolved"), after=HOUR)
    life(Changed(status="open"), after=20 * HOUR)
    return life


def test_every_measure_is_activated_without_any_policy_and_nothing_is_breached() -> None:
    life = busy(Life(under()))
    assert life.clocks == ()
    assert {e.kind for e in events(life)} == {
        Kind.ACTIVATE, Kind.PAUSE, Kind.RESUME, Kind.FULFILL, Kind.CANCEL, Kind.UPDATE_STATUS
    }  # fmt: skip
    assert told(life, FIRST) == [
        ("activate", 0 * HOUR), ("fulfill", HOUR), ("update_status", HOUR)
    ]  # fmt: skip
    assert told(life, WORK) == [
        ("activate", 0 * HOUR), ("pause", HOUR), ("resume", 3 * HOUR), ("fulfill", 4 * HOUR),
        ("update_status", 4 * HOUR), ("activate", 24 * HOUR),
    ]  # fmt: skip
    [took] = [e for e in events(life) if e.metric is WORK and e.kind is Kind.UPDATE_STATUS]
    assert (took.business, took.calendar, took.paused) == (None, 4 * HOUR, 2 * HOUR)
    started = {e.metric for e in events(life) if e.kind is Kind.ACTIVATE}
    assert started >= {m for m in Metric if not m.is_own} - {Metric.NEXT_REPLY}


def test_a_promise_tells_its_targets_its_breach_and_its_outcome() -> None:
    life = busy(Life(under(policy(within=HOUR / 2))))
    [applied] = [e for e in events(life) if e.metric is FIRST and e.kind is Kind.APPLY_SLA]
    assert (applied.target, applied.due_at) == (HOUR / 2, START + HOUR / 2)
    assert told(life, FIRST) == [
        ("activate", 0 * HOUR), ("apply_sla", 0 * HOUR), ("breach", HOUR / 2), ("fulfill", HOUR),
        ("update_status", HOUR),
    ]  # fmt: skip
    [end] = [e for e in events(life) if e.metric is FIRST and e.kind is Kind.FULFILL]
    assert end.outcome is Outcome.MISSED
    # What this policy does not promise is told all the same.
    assert ("activate", 0 * HOUR) in told(life, WORK)


def test_each_change_of_the_promise_is_told_with_its_cause() -> None:
    life = Life(under(policy()))
    life.desk = moved_on(life.desk, policy(id=uid(60), within=4 * HOUR))
    life(Changed(add_tags=("x",)), after=HOUR)
    life(Changed(priority=Priority.HIGH), after=HOUR)
    life(DueSet(FIX, START + 30 * HOUR, "so agreed"), after=HOUR)
    life.desk = moved_on(life.desk)
    life(Changed(add_tags=("y",)), after=HOUR)
    applied = [e for e in events(life) if e.metric is FIX and e.kind is Kind.APPLY_SLA]
    assert [(e.at - START, e.target, e.because) for e in applied] == [
        (0 * HOUR, 8 * HOUR, None),
        (HOUR, 4 * HOUR, "policy_change"),
        (3 * HOUR, 4 * HOUR, "due_override"),
        (4 * HOUR, None, "policy_change"),
    ]


@settings(max_examples=40, deadline=None, database=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 900)), max_size=10), st.booleans())
def test_whatever_happens_each_cycle_begins_once_and_ends_at_most_once(
    story: list[tuple[int, int]], promised: bool
) -> None:
    life = Life(under(policy()) if promised else under())
    for number, (what, minutes) in enumerate(story):
        status = ("open", "pending", "on_hold", "resolved", None)[what]
        payload = AgentReplied(words(id=100 + number)) if status is None else Changed(status=status)
        life(payload, after=timedelta(minutes=minutes))
    found = events(life)
    assert list(found) == sorted(found, key=lambda event: event.at)
    for key in {(e.metric, e.cycle) for e in found}:
        mine = [e.kind for e in found if (e.metric, e.cycle) == key]
        assert mine.count(Kind.ACTIVATE) == 1
        assert mine[0] is Kind.ACTIVATE
        assert mine.count(Kind.FULFILL) + mine.count(Kind.CANCEL) <= 1
        assert 0 <= mine.count(Kind.PAUSE) - mine.count(Kind.RESUME) <= 1
