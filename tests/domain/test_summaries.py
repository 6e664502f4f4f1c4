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


SIGNATURE = (
    "Jonas Weber\nWeber Elektrotechnik GmbH\nIndustriestraße 14, 70565 Stuttgart\n"
    "Tel.: +49 711 4455 667 | Mobil: 0171 4455667 | Fax: 0711 4455 668\n"
    "jonas.weber@weber-elektro.example | www.weber-elektro.example\n"
    "Geschäftsführer: Jonas Weber, Amtsgericht Stuttgart HRB 445566, USt-IdNr. DE445566778\n"
    "Diese E-Mail enthält vertrauliche Informationen, bestimmt für den genannten Empfänger."
)
GOODS = (
    "Pos. 1: 3 x Sicherungsautomat B16, Art.-Nr. 445566, 12,90 EUR\n"
    "Pos. 2: 5 x Leitungsschutz C20, Art.-Nr. 445567, 18,40 EUR\n"
    "Pos. 3: 1 x Verteilerkasten 12-reihig, Art.-Nr. 445568, 94,00 EUR"
)


def everything(found: Summary) -> str:
    return texts((*found.problem, *found.tried, *found.state))


def test_a_signature_that_comes_with_every_mail_is_never_the_summary() -> None:
    told = [
        ("customer", "Die Lieferung 88120 kam heute ohne den Verteilerkasten an."),
        ("agent", "Wir haben beim Lager nachgefragt, der Kasten wurde dort vergessen."),
        ("customer", "Ohne den Verteilerkasten steht die Baustelle seit heute still."),
        ("agent", "Der Verteilerkasten geht heute mit einem Kurier an Sie heraus."),
        ("customer", "Der Kurier war da, der Verteilerkasten hat aber eine Delle."),
    ]
    found = summary(
        "Lieferung 88120 unvollständig",
        [
            said(n, "customer" if who == "customer" else "agent", f"{text}\n\n{SIGNATURE}")
            for n, (who, text) in enumerate(told, start=1)
        ],
    )
    shown = everything(found)
    for text in (told[0][1], told[4][1]):
        assert text in shown
    for wrong in ("Tel.", "HRB", "www.", "Industriestraße", "vertraulich"):
        assert wrong not in shown


def test_a_list_of_goods_gives_way_to_what_is_said_of_it() -> None:
    mail = f"Guten Tag,\n{GOODS}\nDie Position zwei fehlt in der Lieferung.\n{SIGNATURE}"
    found = summary("Bestellung 445566", [said(1, "customer", mail)])
    assert texts(found.problem) == "Die Position zwei fehlt in der Lieferung."


def test_an_english_block_of_contact_data_says_nothing() -> None:
    block = (
        "Mary Miller, Head of Facilities\nPhone: +44 20 7946 0123 Ext. 445\n"
        "Mobile +44 7700 900123\nAcme Holdings Ltd, 14 High Street, London SW1A 2AA\n"
        "Registered office: 14 High Street, Company No. 01234567, VAT GB 123 4567 89\n"
        "This message is confidential and intended for the addressee only."
    )
    found = summary(
        "Door reader",
        [
            said(1, "customer", f"The door reader rejects every badge since Monday.\n{block}"),
            said(2, "agent", "We have reset the door reader from here."),
            said(3, "customer", f"It rejects the badges again this morning.\n{block}"),
        ],
    )
    assert "rejects every badge" in texts(found.problem)
    assert "again this morning" in texts(found.state)
    assert not {"7946", "confidential", "Registered"} & set(everything(found).split())


def test_a_sentence_with_a_number_in_it_is_still_a_sentence() -> None:
    found = summary(
        "No ring back",
        [said(1, "customer", "Please call me on +49 711 4455667 once the router is replaced.")],
    )
    assert "call me on" in texts(found.problem)


def test_where_there_is_nothing_but_a_list_the_list_is_shown() -> None:
    assert summary("Order", [said(1, "customer", GOODS)]).problem
