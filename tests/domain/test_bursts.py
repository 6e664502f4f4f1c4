"""Many tickets in an hour that say much the same."""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from domain.bursts import FEWEST, New, bursts

AT = datetime(2026, 5, 4, 10, tzinfo=UTC)
OUTAGE = (
    ("Internet down", "My internet connection in Hamburg is down since nine."),
    ("No connection", "No internet connection in Hamburg, what is going on?"),
    ("Internet connection dead", "Whole house in Hamburg has no internet connection."),
    ("Hamburg offline", "Your internet connection does not work in Hamburg."),
    ("Line is dead", "Internet connection is dead, I live in Hamburg."),
    ("Help", "Hamburg: internet connection lost again."),
)
USUAL = (
    ("Invoice", "Where is my invoice for April?"),
    ("Delivery", "When does my parcel arrive, order 4711?"),
    ("Password", "I forgot my password and want a new one."),
    ("Cancel", "Please cancel my contract at the end of the year."),
    ("Address", "I have moved, this is my new address."),
)


def new(said: tuple[str, str], number: int, *, requester: int | None = None) -> New:
    return New(
        UUID(int=number), UUID(int=requester or number), AT + timedelta(minutes=number), *said
    )


def before(*, each: int) -> list[str]:
    return [f"{subject}\n{text}" for subject, text in USUAL for _ in range(each)]


def test_an_outage_is_one_burst_with_the_words_it_is_about() -> None:
    tickets = [new(one, n) for n, one in enumerate((*OUTAGE, *USUAL), start=1)]
    [found] = bursts(tickets, before(each=20), hours=24)
    assert {one.id.int for one in found.tickets} == set(range(1, len(OUTAGE) + 1))
    assert {"internet", "connection", "hamburg"} <= set(found.terms)
    assert "nternet" in found.title


def test_what_a_desk_hears_all_day_is_no_burst() -> None:
    tickets = [new(USUAL[0], n) for n in range(1, 8)]
    assert bursts(tickets, before(each=24 * 6), hours=24) == []
    assert len(bursts(tickets, before(each=1), hours=24)) == 1


def test_one_customer_who_writes_often_is_no_burst() -> None:
    tickets = [new(one, n, requester=77) for n, one in enumerate(OUTAGE, start=1)]
    assert bursts(tickets, [], hours=24) == []


def test_few_tickets_are_no_burst() -> None:
    tickets = [new(one, n) for n, one in enumerate(OUTAGE[: FEWEST - 1], start=1)]
    assert bursts(tickets, [], hours=24) == []
    assert bursts([], [], hours=24) == []


def test_different_matters_in_one_hour_are_no_burst() -> None:
    tickets = [new(one, n) for n, one in enumerate(USUAL * 1, start=1)]
    assert bursts(tickets, [], hours=24) == []


def test_two_outages_are_two_bursts() -> None:
    other = [(f"Card refused {n}", "My credit card payment was refused.") for n in range(7)]
    tickets = [new(one, n) for n, one in enumerate((*OUTAGE, *other), start=1)]
    found = bursts(tickets, before(each=20), hours=24)
    assert [len(one.tickets) for one in found] == [7, 6]


def test_a_thousand_tickets_are_compared_within_seconds() -> None:
    tickets = [
        new((f"Subject {n}", " ".join(f"word{(n * k) % 977}" for k in range(60))), n)
        for n in range(1, 3000)
    ]
    began = time.perf_counter()
    bursts(tickets, before(each=500), hours=24)
    assert time.perf_counter() - began < 5


GREETINGS = (
    "Hello team, I hope you are well. Could you please help me with this? Thank you in advance.",
    "Dear support team, good morning. Please help, I have a question. Many thanks and best wishes.",
    "Hi there, I would like to ask for your help. Please get back to me soon. Thanks a lot.",
    "Hallo liebes Team, ich hoffe, Sie können mir helfen. Vielen Dank im Voraus.",
    "Sehr geehrte Damen und Herren, ich habe ein Problem und bitte um Hilfe. Mit bestem Dank.",
    "Guten Tag, könnten Sie mir bitte bei folgender Frage weiterhelfen? Herzliche Grüße.",
)
MATTERS = (
    "invoice April twice", "parcel Munich late", "password forgotten", "contract renewal date",
    "colour of the sofa", "warranty for a drill", "discount for students", "newsletter stop",
    "wrong size shoes", "gift card balance", "scanner driver update", "calendar sync phone",
    "export as spreadsheet", "delivery window Saturday", "broken zipper jacket",
    "VAT number correction", "meeting room booking", "license transfer laptop",
    "battery swells tablet", "missing charger box", "voucher expired", "seat upgrade flight",
    "recipe allergens list", "keyboard layout swiss", "router manual pdf", "bank details changed",
    "data protection officer", "sample fabric blue", "allergy to material", "spare key order",
)  # fmt: skip


def test_thirty_tickets_that_only_greet_alike_are_no_burst() -> None:
    tickets = [
        new((f"Hello, please help: {about}", f"{GREETINGS[n % 6]}\n{about}."), n + 1)
        for n, about in enumerate(MATTERS)
    ]
    assert len(tickets) == 30
    assert bursts(tickets, [], hours=24) == []
    assert bursts(tickets, before(each=5), hours=24) == []


def test_ten_tickets_of_an_outage_are_found_among_two_hundred() -> None:
    usual = [
        new((f"Question {n}", f"{GREETINGS[n % 6]} {MATTERS[n % 30]} {MATTERS[(7 * n) % 30]}"), n)
        for n in range(1, 191)
    ]
    outage = [
        new((OUTAGE[n % 6][0], f"{GREETINGS[n % 6]} {OUTAGE[n % 6][1]}"), 500 + n)
        for n in range(10)
    ]
    past = [f"{one.subject}\n{one.text}" for one in usual for _ in range(5)]
    [found] = bursts([*usual, *outage], past, hours=24)
    assert {one.id.int for one in found.tickets} == set(range(500, 510))
    assert {"internet", "connection", "hamburg"} >= set(found.terms[:2])
    assert not {"hello", "please", "team", "help", "danke", "hallo"} & set(found.terms)
