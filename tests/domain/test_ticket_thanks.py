"""A ticket that is resolved stays so when its customer only says thanks, where that is wanted."""

from uuid import UUID

import pytest

from domain.sla import Metric
from domain.states import Category, Channel
from domain.tickets import AgentReplied, Changed, CustomerReplied, NewMessage
from tests.domain.test_tickets import ADA, BY_CUSTOMER, CUSTOMER, Life, desk, in_category, words

WANTED = desk(thanks_keep_resolved=True)


def says(
    text: str,
    *attachments: UUID,
    life: Life | None = None,
    automatic: bool = False,
) -> Life:
    """A resolved ticket, or another, after its customer has written."""
    life = life or in_category(Category.RESOLVED, WANTED)
    message = NewMessage(UUID(int=4242), text, attachments=tuple(attachments))
    life(CustomerReplied(message, CUSTOMER, Channel.EMAIL, automatic=automatic), actor=BY_CUSTOMER)
    return life


def test_thanks_are_kept_and_told_and_reopen_nothing() -> None:
    before = in_category(Category.RESOLVED, WANTED)
    closes = before.ticket.auto_close_at
    life = says("Vielen Dank!", life=before)
    assert life.ticket.category is Category.RESOLVED
    assert life.types == ["customer_replied"]
    assert "nothing but thanks" in str(life.last.entries[-1].data["thanks"])
    assert [stored.message.text for stored in life.last.messages] == ["Vielen Dank!"]
    assert [(n.user_id, n.kind, dict(n.data)) for n in life.last.notices] == [
        (ADA, "customer_replied", {"thanks": True})
    ]
    assert life.ticket.auto_close_at == closes  # it closes when it would have
    assert (life.ticket.waiting_since, life.ticket.unanswered) == (None, 0)  # nobody waits
    assert life.ticket.customer_at == life.now
    assert life.last.changed_clocks == ()
    assert all(clock.metric is not Metric.NEXT_REPLY for clock in life.clocks)


def test_one_click_reopens_it_all_the_same() -> None:
    life = says("Thanks!")
    life(Changed(status="open"))
    assert life.ticket.category is Category.OPEN


def test_thanks_may_name_who_helped() -> None:
    assert says("Thanks, Ada!").ticket.category is Category.RESOLVED
    assert says("Thanks, Zebulon!").ticket.category is Category.OPEN


@pytest.mark.parametrize("text", ["It is broken again.", "Thanks, but no.", "Thanks?"])
def test_anything_else_reopens(text: str) -> None:
    assert says(text).ticket.category is Category.OPEN


def test_thanks_with_a_file_reopen() -> None:
    assert says("Thanks!", UUID(int=7)).ticket.category is Category.OPEN


def test_without_the_setting_thanks_reopen_as_ever() -> None:
    life = says("Thanks!", life=in_category(Category.RESOLVED, desk()))
    assert life.ticket.category is Category.OPEN


@pytest.mark.parametrize("category", [Category.PENDING, Category.ON_HOLD])
def test_thanks_before_it_is_resolved_are_an_answer(category: Category) -> None:
    life = says("Thanks!", life=in_category(category, WANTED))
    assert life.ticket.category is Category.OPEN
    assert "thanks" not in life.last.entries[-1].data


def test_what_is_written_after_thanks_reopens() -> None:
    life = says("Thanks!")
    life(CustomerReplied(words("It broke.", id=5), CUSTOMER, Channel.EMAIL), actor=BY_CUSTOMER)
    assert life.ticket.category is Category.OPEN
    life(AgentReplied(words("Again?", id=6), status="resolved"))
    assert life.last.ticket.category is Category.RESOLVED
