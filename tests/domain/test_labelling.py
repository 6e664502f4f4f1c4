"""A person says what is right, and a model's verdict after it changes nothing of that."""

import pytest

from domain.errors import Invalid, TicketClosed
from domain.states import Category, Priority
from domain.tickets import MODEL, Labelled, Triaged
from domain.triage import Prediction, Verdict
from tests.domain.test_tickets import FIRST, SECOND, USER, Life, desk, in_category, verdict

ALL = frozenset({"topic", "priority", "sentiment", "team"})


def with_team(team: object) -> Verdict:
    guess = Prediction(
        label=str(team), probability=0.97, abstained=False, top=((str(team), 0.97),),
        words=(("router", 1.2),), strangeness=0.1, out_of_scope=False, model_version="team-1",
    )  # fmt: skip
    return verdict().model_copy(update={"team": guess})


def test_what_a_person_says_is_right_becomes_so_and_stays() -> None:
    life = Life()
    life(Labelled(topic="network", sentiment="positive", priority=Priority.LOW), actor=USER)
    assert (life.ticket.topic, life.ticket.sentiment) == ("network", "positive")
    assert life.ticket.decided == ("priority", "sentiment", "topic")
    life(Triaged(verdict()), actor=MODEL)
    assert (life.ticket.topic, life.ticket.sentiment) == ("network", "positive")
    assert life.ticket.priority is Priority.LOW
    assert life.ticket.triage == "done"


def test_a_confirmation_changes_nothing_and_is_written_down() -> None:
    life = Life()
    life(Triaged(verdict()), actor=MODEL)
    decision = life(Labelled(topic="billing", reason="Yes."), actor=USER)
    [entry] = decision.entries
    assert (entry.type, entry.changes) == ("labelled", {})
    assert entry.data == {"labels": {"topic": "billing"}, "reason": "Yes."}


def test_what_is_not_to_be_applied_is_kept_as_a_suggestion() -> None:
    life = Life()
    decision = life(Triaged(verdict(), frozenset({"sentiment"})), actor=MODEL)
    assert (life.ticket.topic, life.ticket.priority) == (None, None)
    assert life.ticket.sentiment == "negative"
    entry = decision.entries[0]
    assert entry.data["applied"] == ["sentiment"]
    assert entry.data["verdict"]["topic"]["label"] == "billing"  # type: ignore[index]


def test_a_model_that_may_sends_a_ticket_to_the_team_it_named() -> None:
    life = Life(desk(default_team_id=str(FIRST)))
    life(Triaged(with_team(SECOND), ALL), actor=MODEL)
    assert life.ticket.team_id == SECOND
    assert life.ticket.verdict is not None
    assert life.ticket.verdict["team"]["words"] == [["router", 1.2]]  # type: ignore[index]
    without = Life(desk(default_team_id=str(FIRST)))
    without(Triaged(with_team(SECOND), ALL - {"team"}), actor=MODEL)
    assert without.ticket.team_id == FIRST


@pytest.mark.parametrize("label", ["no id at all", "0198c5c1-0b4e-7a10-8c2d-4f5e6a7b8c9d"])
def test_a_team_that_is_not_there_any_more_is_not_named(label: str) -> None:
    life = Life(desk())
    life(Triaged(with_team(label), ALL), actor=MODEL)
    assert life.ticket.team_id is None


def test_a_team_that_is_not_there_is_refused_from_people() -> None:
    with pytest.raises(Invalid, match="no such team"):
        Life()(Labelled(team_id=USER.id), actor=USER)


def test_a_closed_ticket_may_still_teach_but_is_sent_nowhere() -> None:
    life = in_category(Category.CLOSED)
    life(Labelled(topic="network"), actor=USER)
    assert life.ticket.topic == "network"
    assert life.ticket.category is Category.CLOSED
    with pytest.raises(TicketClosed):
        life(Labelled(team_id=FIRST), actor=USER)
