"""A person says what is right, and a model's verdict after it changes nothing of that."""

import pytest

from domain.errors import Invalid, TicketClosed
from domain.states import Category, Priority
from domain.tickets import MODEL, AgentReplied, Changed, Labelled, Triaged
from domain.triage import Guess, Prediction, Spam, Verdict
from tests.domain.test_tickets import FIRST, SECOND, USER, Life, desk, in_category, verdict, words

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


def with_spam(label: Spam, language: str = "de") -> Verdict:
    def guess(of: str) -> Guess:
        return Guess(label=of, probability=0.99, abstained=False, top=((of, 0.99),))

    return verdict().model_copy(update={"spam": guess(label), "language": guess(language)})


def test_a_suspicion_alone_hides_nothing() -> None:
    life = Life(desk(default_team_id=str(FIRST)))
    life(Triaged(with_spam(Spam.SPAM), ALL), actor=MODEL)
    assert (life.ticket.spam, life.ticket.tags) == (None, ())
    assert life.ticket.team_id == FIRST
    assert life.ticket.verdict is not None
    assert life.ticket.verdict["spam"]["label"] == "spam"  # type: ignore[index]


def test_spam_that_a_model_may_mark_is_tagged_given_to_nobody_and_told_to_nobody() -> None:
    life = Life(desk(default_team_id=str(FIRST)))
    life(Triaged(with_spam(Spam.SPAM), ALL | {"spam"}), actor=MODEL)
    assert (life.ticket.spam, life.ticket.tags) == ("spam", ("spam",))
    assert (life.ticket.team_id, life.ticket.assignee_id) == (None, None)
    assert life.last.notices == ()
    assert life.last.mails == ()


def test_what_was_no_spam_after_all_is_given_to_somebody() -> None:
    life = Life(desk(default_team_id=str(FIRST)))
    life(Triaged(with_spam(Spam.SPAM), ALL | {"spam"}), actor=MODEL)
    life(Labelled(spam=Spam.NOT_SPAM), actor=USER)
    assert (life.ticket.spam, life.ticket.tags) == ("not_spam", ())
    assert life.ticket.team_id == FIRST
    assert "spam" in life.ticket.decided
    life(Triaged(with_spam(Spam.SPAM), ALL | {"spam"}), actor=MODEL)
    assert life.ticket.spam == "not_spam"


def test_a_person_marks_spam_and_a_verdict_after_it_changes_nothing() -> None:
    life = Life()
    life(Labelled(spam=Spam.SPAM), actor=USER)
    life(Triaged(with_spam(Spam.NOT_SPAM), ALL | {"spam"}), actor=MODEL)
    assert (life.ticket.spam, life.ticket.tags) == ("spam", ("spam",))


def test_a_language_is_filled_in_once_and_can_be_corrected() -> None:
    life = Life()
    life(Triaged(with_spam(Spam.NOT_SPAM, "de"), ALL | {"language"}), actor=MODEL)
    assert life.ticket.language == "de"
    life(Labelled(language="nl"), actor=USER)
    assert (life.ticket.language, life.ticket.decided) == ("nl", ("language",))


def test_what_happens_to_spam_by_itself_is_told_to_nobody_and_what_people_do_is() -> None:
    life = Life(desk(default_team_id=str(FIRST)), assignee_id=USER.id, team_id=FIRST)
    life.customer_writes()
    assert [one.user_id for one in life.last.notices] == [USER.id]
    life(Labelled(spam=Spam.SPAM), actor=USER)
    life.customer_writes()
    assert life.last.notices == ()
    assert life.ticket.category is not Category.CLOSED


def waits(life: Life) -> tuple[object, int]:
    return life.ticket.waiting_since, life.ticket.unanswered


def test_a_ticket_counts_since_when_how_many_messages_wait_for_an_answer() -> None:
    life = Life()
    began = life.ticket.waiting_since
    assert (began, life.ticket.unanswered) == (life.ticket.created_at, 1)
    life.customer_writes()
    assert waits(life) == (began, 2)
    before = life.ticket.pressure
    life(AgentReplied(words()), actor=USER)
    assert waits(life) == (None, 0)
    assert life.ticket.pressure == before - 30
    life.customer_writes()
    assert life.ticket.waiting_since == life.now
    life(Changed(status="resolved"), actor=USER)
    assert waits(life) == (None, 0)
