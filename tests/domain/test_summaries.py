"""A conversation in a few of its own sentences."""

import time
from uuid import UUID

from domain.summaries import LONGEST_SENTENCE, Author, Said, Summary, summary

SUBJECT = "Router restarts every night"


def said(number: int, author: Author, text: str, *, internal: bool = False) -> Said:
    return Said(UUID(int=number), author, text, internal)


CONVERSATION = [
    said(1, "customer", "Hello,\n\nmy router restarts every night at three. The line is dead"
         " until the morning. I wish you a pleasant weekend with good weather.\n\nKind regards\nM"),
    said(2, "agent", "Hi Maria,\nplease unplug the router and wait ten seconds. Does the lamp"
         " turn green afterwards?"),
    said(3, "customer", "I unplugged the router twice. The lamp stays red after every restart."),
    said(4, "agent", "The firmware of this router is old, see the batch list.", internal=True),
    said(5, "agent", "We have updated the firmware of your router from here."),
    said(6, "customer", "The router still restarts every night with the new firmware."),
    said(7, "agent", "We have sent you a new router, it arrives on Friday."),
]  # fmt: skip


def texts(part: tuple[object, ...]) -> str:
    return " ".join(str(getattr(one, "text", "")) for one in part)


def test_it_says_the_problem_what_was_tried_and_how_it_stands() -> None:
    found = summary(SUBJECT, CONVERSATION)
    assert "restarts every night at three" in texts(found.problem)
    assert "lamp stays red" in texts(found.tried)
    assert "updated the firmware" in texts(found.tried)
    assert "arrives on Friday" in texts(found.state)
    assert "still restarts" in texts(found.state)


def test_every_sentence_is_one_of_the_message_it_names() -> None:
    found = summary(SUBJECT, CONVERSATION)
    by_id = {one.id: one for one in CONVERSATION}
    for sentence in (*found.problem, *found.tried, *found.state):
        source = by_id[sentence.message_id]
        assert sentence.text in " ".join(source.text.split())
        assert (sentence.author, sentence.internal) == (source.author, source.internal)


def test_greetings_and_signatures_are_left_out() -> None:
    found = summary(SUBJECT, CONVERSATION)
    everything = texts((*found.problem, *found.tried, *found.state))
    assert "Hello" not in everything
    assert "Kind regards" not in everything


def test_one_message_is_a_problem_and_nothing_else() -> None:
    found = summary(SUBJECT, CONVERSATION[:1])
    assert found.problem
    assert (found.tried, found.state) == ((), ())


def test_what_was_said_twice_is_told_once() -> None:
    same = "The router in the kitchen restarts every night at three."
    found = summary(SUBJECT, [said(n, "customer", same) for n in range(1, 6)])
    assert texts((*found.problem, *found.tried, *found.state)).count("kitchen") == 1


def test_nothing_said_is_an_empty_summary() -> None:
    empty = Summary((), (), ())
    assert summary(SUBJECT, []) == empty
    assert summary(SUBJECT, [said(1, "customer", "Hi!"), said(2, "machine", "x " * 50)]) == empty


def test_it_works_without_spaces_between_words() -> None:
    found = summary(
        "密码", [said(1, "customer", "我忘记了我的密码。请帮我重置密码,谢谢。今天天气很好。")]
    )
    assert "密码" in texts(found.problem)


def test_a_very_long_conversation_is_bounded() -> None:
    endless = [
        said(n, "customer" if n % 2 else "agent", f"Sentence {n} of the router says {n}. " * 400)
        for n in range(1, 1001)
    ]
    began = time.perf_counter()
    found = summary(SUBJECT, endless)
    assert time.perf_counter() - began < 5
    every = (*found.problem, *found.tried, *found.state)
    assert len(every) <= 9
    unbroken = summary(SUBJECT, [said(1, "customer", "router and more words " * 3000)])
    assert all(len(one.text) <= LONGEST_SENTENCE for one in unbroken.problem)
