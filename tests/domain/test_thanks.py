"""What is nothing but thanks, and what only begins like it."""

import csv
import json
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.thanks import nothing_but_thanks

NAMES = ("Grace Okafor", "Jürgen Groß")

THANKS = [
    "Thanks!", "thanks", "Thank you!!", "THANK YOU", "Thx", "ty", "Many thanks.",
    "Thank you very much!", "Thanks a lot, Grace", "Thanks, Grace!", "Ok, thanks.",
    "Great, thank you so much for your help!", "Thanks for the quick reply.",
    "Perfect, that works now. Thanks again!", "It works. Thank you!", "It's working again, thanks",
    "All good now, thanks", "Thanks, everything is fine.", "Awesome 🎉 thanks 🙏", "Thanks :-)",
    "Thank you, much appreciated.", "Thanks team, have a great day!", "Cheers, thanks!",
    "Thanks!\n\nBest regards\nMaria Sommer\nExample Ltd., +49 30 123456",
    "Thanks!\n\nOn Mon, 4 May 2026 at 10:12, Support wrote:\n> Is it working now?\n> Grace",
    "Hi Grace,\n\nthank you!\n\nKind regards,\nMaria",
    "Danke!", "Vielen Dank!", "Vielen lieben Dank", "Herzlichen Dank für die schnelle Hilfe!",
    "Super, danke dir!", "Danke schön", "Dankeschön!", "Danke, hat geklappt.",
    "Perfekt, funktioniert wieder. Danke!", "Passt, danke", "Alles klar, vielen Dank!",
    "Hallo Herr Groß,\n\nvielen Dank!\n\nMit freundlichen Grüßen\nMaria Sommer",
    "Danke und schönen Tag noch".replace(" und", ","), "Merci vielmals", "Ich danke Ihnen!",
    "Vielen Dank, LG", "Danke!\n\nVon meinem iPhone gesendet",
]  # fmt: skip

NOT = [
    "", "   ", "👍", "Ok", "It works.", "Perfect!", "Hello Grace",  # no thanks in it
    "Thanks, but it is still broken.", "Thanks. It does not work.", "Thanks, is it working now",
    "Thanks?", "Thanks, when will it arrive?", "Thanks in advance", "Thank you in advance!",
    "Thanks, please also reset my password", "Thanks, one more thing", "Thanks for nothing",
    "No thanks", "No, thank you.", "Thanks, not fixed", "Thanks for your help so far",
    "Thank you, I will try it tomorrow", "Thanks, see https://example.com", "Thanks, call 12345",
    "Thanks, invoice 4711", "Thanks for the router, the second one is missing",
    "Thanks Bob", "Thanks\nStill Broken", "I do not want to say thanks",
    "Danke, geht aber nicht", "Danke, funktioniert leider nicht.", "Danke, könnten Sie noch",
    "Danke im Voraus", "Danke, passt nicht", "Danke, wann kommt es?", "Nein danke",
    "Danke, bitte schließen Sie das Ticket", "Danke, das Problem besteht weiterhin",
    "Vielen Dank für Ihre Antwort, ich melde mich", "Danke, noch eine Frage",
    "Dank dem Update geht jetzt gar nichts mehr",
    "Thanks!\n\nBest regards\nMaria\nPlease call me back",
    "Danke\n\nViele Grüße\nMaria\nLeider geht es nicht",
    "> Is it fixed?\nNo.\n> Thanks",
    "On Mon, 4 May 2026 at 10:12, Support wrote:\n> thanks",
    "Thanks! " * 20,
    "Merci, mais ça ne marche pas", "Gracias",
]  # fmt: skip


@pytest.mark.parametrize("text", THANKS)
def test_thanks_are_thanks(text: str) -> None:
    assert nothing_but_thanks(text, names=NAMES)


@pytest.mark.parametrize("text", NOT)
def test_whatever_else_is_said_is_no_thanks(text: str) -> None:
    assert not nothing_but_thanks(text, names=NAMES)


@pytest.mark.parametrize("text", THANKS[::3])
@pytest.mark.parametrize(
    "more",
    [
        "Why?", "It does not work.", "Please call me.", "One more question", "Aber es geht nicht.",
        "Können Sie das prüfen", "Order 4711", "It is broken", "when", "geht nicht",
    ],
)  # fmt: skip
def test_a_word_more_and_it_is_none(text: str, more: str) -> None:
    first, rest = text.partition("\n")[::2]
    assert not nothing_but_thanks(f"{first} {more}\n{rest}", names=NAMES)
    assert not nothing_but_thanks(f"{more} {text}", names=NAMES)


@given(st.text(max_size=300), st.sampled_from(THANKS))
def test_any_text_is_answered(text: str, thanks: str) -> None:
    nothing_but_thanks(text)
    nothing_but_thanks(f"{thanks} {text}", names=(text,))


def test_what_could_be_read_in_many_ways_takes_no_longer() -> None:
    began = time.perf_counter()
    for _ in range(20):
        nothing_but_thanks("great good all fine it works now again great thanks all good now x")
        nothing_but_thanks("danke " * 60 + "x")
    assert time.perf_counter() - began < 0.5


@pytest.mark.slow  # tens of thousands of messages
def test_of_what_people_really_asked_nothing_is_taken_for_thanks(shared: Path) -> None:
    data = shared / "data"
    with (data / "tickets" / "tickets.jsonl").open(encoding="utf-8") as lines:
        asked = [str(json.loads(line)["body"] or "") for line in lines]
    with (data / "triage" / "banking77" / "train.csv").open(encoding="utf-8") as file:
        asked += [row["text"] for row in csv.DictReader(file)]
    assert [text for text in asked if nothing_but_thanks(text)] == []
    with (data / "triage" / "clinc150" / "train.csv").open(encoding="utf-8") as file:
        meant = Counter(
            row["label"] for row in csv.DictReader(file) if nothing_but_thanks(row["text"])
        )
    assert set(meant) == {"thank_you"}
    assert meant["thank_you"] >= 20
