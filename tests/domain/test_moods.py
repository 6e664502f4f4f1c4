"""The mood of a ticket follows what its customer writes, and a person's word goes before it."""

from collections.abc import Mapping
from uuid import UUID

import pytest

from domain.desk import Desk
from domain.frustration import frustration_of
from domain.lifecycle import MOOD, to_read
from domain.states import ActorKind, Category, Channel, Priority
from domain.tickets import (
    MODEL,
    Actor,
    AgentReplied,
    Changed,
    CustomerReplied,
    Labelled,
    MoodRead,
    NewMessage,
    Triaged,
)
from domain.tickets.replay import Recorded, replay
from domain.triage import Guess, Level, Prediction
from tests.domain.test_tickets import (
    BY_CUSTOMER,
    CUSTOMER,
    SECOND,
    USER,
    Life,
    desk,
    in_category,
    verdict,
    words,
)

FURIOUS = "This is unacceptable. Third time I write, still no answer!!!"


def mood(label: str = "negative", *, abstained: bool = False) -> Prediction:
    return Prediction(
        label=label, probability=0.9, abstained=abstained, top=((label, 0.9),), strangeness=0.1,
        out_of_scope=False, model_version="sentiment-3",
    )  # fmt: skip


def read(
    life: Life,
    text: str = FURIOUS,
    *,
    of_seq: int | None = None,
    guess: Guess | None = None,
    apply: frozenset[str] = frozenset({"sentiment"}),
) -> None:
    due = life.ticket.mood_due or 0
    said = MoodRead(
        of_seq=due if of_seq is None else of_seq, message_id=UUID(int=9),
        sentiment=guess or mood(), frustration=frustration_of(text) if text else None,
        model_version="sentiment-3", apply=apply,
    )  # fmt: skip
    life(said, actor=MODEL)


def triaged(at: Desk | None = None) -> Life:
    life = Life(at)
    life(Triaged(verdict()), actor=MODEL)
    return life


def in_verdict(life: Life, name: str) -> Mapping[str, object]:
    found = (life.ticket.verdict or {})[name]
    assert isinstance(found, Mapping)
    return found


def effects(life: Life) -> list[str]:
    return [effect.id for effect in to_read(life.ticket)]


def test_the_first_message_waits_for_all_and_a_later_one_for_its_mood() -> None:
    life = Life()
    assert (effects(life), life.ticket.mood_due) == (["triage"], None)
    life.customer_writes()
    assert effects(life) == ["triage"]  # first things first
    life(Triaged(verdict()), actor=MODEL)
    assert effects(life) == [MOOD]
    read(life)
    assert effects(life) == []


def test_a_reading_changes_mood_and_score_and_nothing_else() -> None:
    life = triaged(desk(topic_teams={"billing": str(SECOND)}))
    before = life.ticket
    life.customer_writes()
    asked = life.ticket
    read(life)
    after = life.ticket
    assert (after.sentiment, after.frustration) == ("negative", "high")
    assert life.types == ["mood_read"]
    assert after.pressure > asked.pressure
    for name in ("topic", "priority", "team_id", "assignee_id", "language", "spam", "category"):
        assert getattr(after, name) == getattr(asked, name)
    assert after.verdict is not None
    assert before.verdict is not None
    assert after.verdict["topic"] == before.verdict["topic"]
    assert in_verdict(life, "frustration")["level"] == "high"
    assert life.last.entries[0].data["message_seq"] == asked.mood_due


def test_calm_words_take_the_points_of_anger_away_again() -> None:
    life = triaged()
    life.customer_writes()
    read(life)
    angry = life.ticket.pressure
    life.agent_writes()
    life.customer_writes()
    read(life, "That works, thanks.", guess=mood("positive"))
    assert (life.ticket.sentiment, life.ticket.frustration) == ("positive", "none")
    assert life.ticket.pressure < angry


def test_of_many_messages_only_the_last_is_read() -> None:
    life = triaged()
    for _ in range(5):
        life.customer_writes()
    assert effects(life) == [MOOD]
    first = life.ticket.seq - 4
    read(life, of_seq=first)
    assert life.last.entries == ()  # overtaken: there are newer words
    assert effects(life) == [MOOD]
    read(life)
    assert effects(life) == []
    read(life, of_seq=life.ticket.seq - 1)  # the same once more
    assert life.last.entries == ()


def test_what_a_person_says_of_the_mood_stays_and_frustration_follows_newer_words() -> None:
    life = triaged()
    life.customer_writes()
    read(life)
    life(Labelled(sentiment="neutral"))
    assert (life.ticket.sentiment, life.ticket.frustration) == ("neutral", None)
    life.customer_writes()
    read(life)
    assert (life.ticket.sentiment, life.ticket.frustration) == ("neutral", "high")


def test_a_person_who_has_read_the_words_is_not_overruled_by_a_late_reading() -> None:
    life = triaged()
    life.customer_writes()
    due = life.ticket.mood_due
    life(Labelled(sentiment="positive"))
    assert effects(life) == []
    read(life, of_seq=due)
    assert life.last.entries == ()
    assert (life.ticket.sentiment, life.ticket.frustration) == ("positive", None)


def test_a_late_first_verdict_does_not_call_a_customer_frustrated_whom_a_person_found_calm() -> (
    None
):
    life = Life()
    life(Labelled(sentiment="neutral"))
    said = verdict().model_copy(update={"frustration": frustration_of(FURIOUS)})
    life(Triaged(said), actor=MODEL)
    assert life.ticket.frustration is None
    other = Life()
    other(Triaged(said), actor=MODEL)
    assert other.ticket.frustration == Level.HIGH


def test_a_mood_that_is_withheld_or_not_earned_leaves_the_column_as_it_was() -> None:
    life = triaged()
    assert life.ticket.sentiment == "negative"
    life.customer_writes()
    read(life, "ok", guess=mood("positive", abstained=True))
    assert life.ticket.sentiment == "negative"
    life.customer_writes()
    read(life, "ok", guess=mood("positive"), apply=frozenset())
    assert life.ticket.sentiment == "negative"
    assert in_verdict(life, "sentiment")["label"] == "positive"  # the suggestion is kept


def test_nothing_but_a_quote_is_noted_and_leaves_the_mood() -> None:
    life = triaged()
    life.customer_writes()
    read(life)
    life.customer_writes()
    life(
        MoodRead(of_seq=life.ticket.seq, message_id=None, model_version="frustration-1"),
        actor=MODEL,
    )
    assert life.types == ["mood_read"]
    assert (life.ticket.sentiment, life.ticket.frustration) == ("negative", "high")
    assert effects(life) == []


@pytest.mark.parametrize("category", [Category.CLOSED, Category.MERGED])
def test_a_ticket_that_is_over_is_not_read_and_takes_no_reading(category: Category) -> None:
    life = in_category(category)
    assert effects(life) == []
    life(MoodRead(of_seq=3, message_id=None, model_version="1"), actor=MODEL)
    assert life.last.entries == ()


def test_a_ticket_that_closed_before_it_was_read_is_read_when_it_comes_back() -> None:
    life = triaged(desk(reopen_closed=True))
    life.customer_writes()
    life(Changed(status="closed"))
    assert effects(life) == []
    life(Changed(status="open"))
    assert effects(life) == [MOOD]


def test_no_mood_is_read_of_machines_imports_agents_and_where_triage_is_off() -> None:
    message = NewMessage(UUID(int=77), FURIOUS)
    automatic = CustomerReplied(message, CUSTOMER, Channel.EMAIL, automatic=True)
    written = CustomerReplied(message, CUSTOMER, Channel.EMAIL)
    for payload, actor in (
        (automatic, BY_CUSTOMER),
        (written, Actor(ActorKind.IMPORT)),
        (AgentReplied(words(id=5)), USER),
    ):
        life = triaged()
        life(payload, actor=actor)
        assert effects(life) == []
    off = Life(desk(triage=False))
    off.customer_writes()
    assert (effects(off), off.ticket.mood_due) == ([], None)


def test_an_agent_who_is_the_requester_is_read_as_a_customer() -> None:
    life = triaged()
    life(AgentReplied(words(id=5), as_requester=True))
    assert effects(life) == [MOOD]


def test_a_reading_replays_from_the_timeline() -> None:
    life = triaged(desk(promise=True))
    life(Changed(priority=Priority.HIGH))
    life.customer_writes()
    read(life)
    timeline = [
        Recorded(
            e.seq, e.type, e.actor.kind,
            {name: list(change) for name, change in e.changes.items()}, e.data, e.occurred_at,
        )
        for e in life.entries
    ]  # fmt: skip
    again = replay(timeline, lambda *_: life.desk.terms_of(*_), now=life.now)  # type: ignore[arg-type]
    assert again.values["sentiment"] == life.ticket.sentiment
    assert again.values["frustration"] == life.ticket.frustration
    assert [c.due_at for c in again.clocks] == [c.due_at for c in life.clocks]


def test_anger_wears_off_message_by_message() -> None:
    values = [frustration_of(FURIOUS).value]
    for _ in range(4):
        values.append(frustration_of("Any news?", before=values[-1]).value)
    assert values == sorted(values, reverse=True)
    assert values[1] >= 0.35 > values[-1]
    named = frustration_of("Any news?", before=0.8).signs
    assert [(sign.kind, sign.weight) for sign in named] == [("before", 0.4)]
