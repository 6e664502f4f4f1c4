"""Frustration is read off what customers say of being let down, not off what has gone wrong."""

import pytest

from domain.frustration import frustration_of
from domain.triage import Guess, Level, Prediction, said_anew

CALM = (
    "The printer on the second floor shows error 49 and does not print any more.",
    "How do I change my password? Thanks in advance!",
    "I would like to cancel my subscription at the end of the month, please.",
    "Our shop is down, nobody can check out. Please have a look as soon as you can.",
    "This is urgent: the VPN does not connect since this morning.",
    "I am not angry, I only want to know where my parcel is.",
    "Thank you, it works again and again I am impressed!",
    "ERROR: E_CONN at line 3. We are on HTTP and SSL, with the DNS of our provider.",
    "Could you send me the second invoice once again? I lost it.",
    "I am writing for the first time. My account is locked.",
    "No problem at all, take your time.",
    "Is there still a discount for students?",
    "Der Drucker im zweiten Stock zeigt einen Fehler und druckt nicht mehr.",
    "Wie ändere ich mein Passwort? Vielen Dank im Voraus!",
    "Ich möchte mein Abo zum Monatsende kündigen.",
    "Der Shop ist nicht erreichbar, bitte schauen Sie nach.",
    "Ich bin nicht verärgert, ich wüsste nur gern, wo mein Paket bleibt.",
    "Die Anmeldung ist seit heute Morgen unmöglich, es kommt Fehler 503.",
    "Der Fehler tritt mehrmals am Tag auf.",
    "Haben Sie noch Größe 42? Dann nehme ich sie.",
    "Das Gerät ist sauerstoffdicht, sagt das Handbuch. Stimmt das?",
    "",
    "😀😀😀",
)

ANNOYED = (
    "This is the third time I write about the same invoice.",
    "I still haven't received my refund.",
    "I have been waiting for three weeks.",
    "I have already called you about this.",
    "I got no reply to my last mail.",
    "Very disappointed with how this was handled.",
    "WHERE IS MY ORDER!!!",
    "Nobody answers the phone.",
    "Ich schreibe Ihnen zum dritten Mal wegen derselben Rechnung.",
    "Mein Geld ist immer noch nicht da.",
    "Ich habe Ihnen bereits zweimal geschrieben.",
    "Ich warte seit drei Wochen auf eine Lieferung.",
    "Auf meine Mail kam keine Antwort.",
    "Ich bin sehr enttäuscht.",
    "WO BLEIBT MEINE BESTELLUNG???",
    "Niemand meldet sich bei mir.",
)

FURIOUS = (
    "Third time I ask and still no answer. This is unacceptable.",
    "I am fed up. Refund me or I will cancel everything.",
    "If this is not fixed by Friday you will hear from my lawyer. Ridiculous service!!!",
    "THIS IS A JOKE!!! I have been waiting for six weeks and nobody cares.",
    "Worst support I ever had. Never again.",
    "I've had enough, no response for weeks now, and you keep ignoring me.",
    "I’m extremely frustrated: this is my fourth email about it.",
    "Zum dritten Mal: es geht immer noch nicht. Das ist inakzeptabel!",
    "So eine Frechheit, seit Wochen keine Antwort. Mein Anwalt meldet sich.",
    "Mir reicht's, sonst kündige ich fristlos!!!",
    "Meine Geduld ist am Ende, das ist die vierte Mail.",
    "Ich bin stinksauer. Schon wieder falsch geliefert, was soll das?!",
    "Unverschämt! Niemand fühlt sich zuständig, ich wechsle zur Konkurrenz.",
)


@pytest.mark.parametrize("text", CALM)
def test_trouble_alone_is_no_frustration(text: str) -> None:
    assert frustration_of(text).level is Level.NONE, frustration_of(text)


@pytest.mark.parametrize("text", ANNOYED)
def test_being_let_down_is_some(text: str) -> None:
    assert frustration_of(text).level is Level.SOME, frustration_of(text)


@pytest.mark.parametrize("text", FURIOUS)
def test_anger_threats_and_repetition_together_are_high(text: str) -> None:
    found = frustration_of(text)
    assert found.level is Level.HIGH, found
    assert all(sign.words.lower() in text.lower().replace("’", "'") for sign in found.signs)


def test_every_reading_names_the_words_that_made_it() -> None:
    found = frustration_of("Third time now, and still no reply. Unacceptable!!")
    assert {(sign.kind, sign.words) for sign in found.signs} == {
        ("again", "third time now"),
        ("silence", "still no"),
        ("anger", "unacceptable"),
        ("marks", "!!"),
    }
    assert [sign.weight for sign in found.signs] == sorted(
        (sign.weight for sign in found.signs), reverse=True
    )


def _mood(negative: float, positive: float) -> Guess:
    shares = {"negative": negative, "neutral": 1 - negative - positive, "positive": positive}
    top = tuple(sorted(shares.items(), key=lambda one: -one[1]))
    return Guess(label=top[0][0], probability=top[0][1], abstained=False, top=top)


def test_a_mood_alone_is_no_frustration_but_adds_to_it() -> None:
    assert frustration_of("It broke.", _mood(1, 0)).level is Level.NONE
    text = "I still haven't received my refund."
    alone, with_mood = frustration_of(text), frustration_of(text, _mood(0.9, 0))
    assert with_mood.value > alone.value
    assert with_mood.signs[-1].kind == "mood"
    assert frustration_of(text, _mood(0.4, 0.2)) == alone


def test_joy_is_not_taken_for_shouting() -> None:
    text = "THANK YOU SO MUCH!!!"
    assert frustration_of(text, _mood(0, 0.95)).level is Level.NONE


def test_a_mood_that_the_model_could_not_read_says_nothing() -> None:
    strange = Prediction(**dict(_mood(1, 0)), strangeness=0.9, out_of_scope=True, model_version="1")
    assert frustration_of("Ça ne marche pas.", strange).value == 0


def test_a_tenth_mark_is_no_louder_than_the_third_and_nothing_is_over_one() -> None:
    furious = " ".join(FURIOUS)
    assert 0.9 < frustration_of(furious).value <= 1
    assert frustration_of("Really!!!!!!!!!!!!!!!").value == frustration_of("Really!!").value


def test_a_reply_that_only_quotes_says_nothing_anew() -> None:
    quoted = "> This is unacceptable, third time!\n> Fix it"
    assert said_anew(quoted) == ""
    assert said_anew("--\nJane Roe\nUnacceptable Ltd.") == ""
    assert said_anew(f"All good now.\n{quoted}") == "All good now."


@pytest.mark.parametrize(
    "text",
    ["a " * 200_000, "waiting " * 50_000, "A" * 400_000, "!" * 400_000, "if " * 100_000, "\x00ÄÖ"],
)
def test_what_is_long_or_odd_is_read_without_trouble(text: str) -> None:
    assert 0 <= frustration_of(text).value <= 1
