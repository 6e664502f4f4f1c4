"""What names a person or lets somebody in does not leave; what names nobody does."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.redaction import PLACEHOLDER, Redactor, Unusable, without_persons

GOES = [
    # accounts and cards
    ("ACCOUNT", "DE89 3704 0044 0532 0130 00", "pay to {} now"),
    ("ACCOUNT", "DE89370400440532013000", "IBAN: {}"),
    ("ACCOUNT", "de89 3704 0044 0532 0130 01", "meine IBAN ist {}, mit Tippfehler"),
    ("ACCOUNT", "GB29NWBK60161331926819", "pay to {} now"),
    ("ACCOUNT", "AT61 1904 3002 3457 3201", "Konto {}"),
    ("ACCOUNT", "1234567", "Kontonummer {}, BLZ fehlt"),
    ("ACCOUNT", "12-34-56", "sort code {} please"),
    ("ACCOUNT", "COBADEFFXXX", "BIC: {}"),
    ("CARD", "4111 1111 1111 1111", "my card {} was charged"),
    ("CARD", "5500-0000-0000-0004", "Karte {} abgebucht"),
    ("CARD", "378282246310005", "amex {}"),
    # phones
    ("PHONE", "+49 (0) 171 234-5678", "call {} today"),
    ("PHONE", "0171/2345678", "ruf mich an: {}"),
    ("PHONE", "030 5550142", "{} ist meine Nummer"),
    ("PHONE", "020 7946 0958", "ring me on {}."),
    ("PHONE", "(555) 123-4567", "it is {} at home"),
    ("PHONE", "555-123-4567", "it is {} at home"),
    ("PHONE", "0049 30 5550142", "wir: {}"),
    ("PHONE", "15551234567", "you can reach me at {}"),
    ("PHONE", "5550142", "Tel. {}"),
    ("PHONE", "171 2345678", "Handy {}"),
    ("PHONE", "0171 2345678", "order 100238, {}"),
    ("PHONE", "0171 2345678", "am 12.03.2026 {} angerufen"),
    # mail and addresses
    ("EMAIL", "maria.sommer+x@mail.example.co.uk", "write to {} please"),
    ("EMAIL", "j.müller@firma.example", "Mail an {}!"),
    ("ADDRESS", "Lange Straße 12a", "{} ist es"),
    ("ADDRESS", "Hauptstr. 5", "wir sind {} zu finden"),
    ("ADDRESS", "hauptstraße 5", "ich wohne {}"),
    ("ADDRESS", "Goethestraße 12-14", "ich wohne {}"),
    ("ADDRESS", "Birkenweg 3", "ich wohne {}"),
    ("ADDRESS", "Alexanderplatz 1", "beim {}"),
    ("ADDRESS", "Am Kirchberg 7", "ich wohne {}, oben"),
    ("ADDRESS", "10115 Berlin", "wohnhaft in {}"),
    ("ADDRESS", "D-60311 Frankfurt am Main", "wohnhaft in {}"),
    ("ADDRESS", "221b Baker Street", "send it to {}, thanks"),
    ("ADDRESS", "221b baker street", "send it to {}, thanks"),
    ("ADDRESS", "742 Evergreen Terrace", "we live at {} now"),
    ("ADDRESS", "SW1A 1AA", "the flat in {} is empty"),
    ("ADDRESS", "Springfield, IL 62704", "ship to {} please"),
    ("ADDRESS", "Postfach 12 34 56", "an {} senden"),
    ("ADDRESS", "P.O. Box 123", "to {} only"),
    ("ADDRESS", "Rue de la Paix 5, Paris", "Adresse: {}"),
    ("ADDRESS", "12 The Elms, Little Snoring", "My home address: {}"),
    # dates of birth
    ("BIRTHDATE", "12.03.1980", "geboren am {}"),
    ("BIRTHDATE", "1.2.80", "geb. {}"),
    ("BIRTHDATE", "12. März 1980", "Geburtsdatum: {}"),
    ("BIRTHDATE", "03/12/1980", "my date of birth is {}"),
    ("BIRTHDATE", "1980-03-12", "DOB: {}"),
    ("BIRTHDATE", "12 March 1980", "I was born on {}"),
    ("BIRTHDATE", "March 12, 1980", "birthday {}"),
    # secrets
    ("SECRET", "hunter2", "my password is {}."),
    ("SECRET", "hunter2", "password hunter2".replace("hunter2", "{}")),
    ("SECRET", "hunter2", "Password: {}, and it fails"),
    ("SECRET", "sommer", "Passwort: {}"),
    ("SECRET", "Sommer2024!x", "Mein Passwort lautet {}"),
    ("SECRET", "Sommer2024", "das WLAN-Passwort ist {}"),
    ("SECRET", "geheim", 'das Kennwort ist "{}" gewesen'),
    ("SECRET", "geheim", "das Passwort „{}“ geht nicht"),
    ("SECRET", "xY9$kk", "password for the portal is {}"),
    ("SECRET", "p4ss", "Passwort für maria@example.org: {}"),
    ("SECRET", "correctHorse", "password is {}"),
    ("SECRET", "123456", "password {} does not work"),
    ("SECRET", "s3cr3t", 'config {{"password": "{}"}}'),
    ("SECRET", "s3cr3t", "DB_PASSWORD={}"),
    ("SECRET", "abc123xyz", "my API key: {}"),
    ("SECRET", "4711", "my PIN is {}"),
    ("SECRET", "4711", "PIN: {}"),
    ("SECRET", "471108", "die TAN {} kam nie"),
    ("SECRET", "123", "CVV {}"),
    ("SECRET", "889 120", "verification code {}"),
    ("SECRET", "sk-live-9a8b7c6d5e4f3a2b1c0d", "I use {} for it"),
    ("SECRET", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "I use {} for it"),
    ("SECRET", "AKIAIOSFODNN7EXAMPLE", "key id {}"),
    ("SECRET", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "it sent {}"),
    ("SECRET", "abcdefghij.klmnop", "Authorization: Bearer {}"),
    ("SECRET", "q1w2e3r4", "https://app.example/reset?token={}&x=1"),
    ("SECRET", "hunter2", "postgres://kim:{}@db.example/x"),
    ("SECRET", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822c", "hash {} it said"),
    # documents
    ("DOCUMENT", "078-05-1120", "number {} is mine"),
    ("DOCUMENT", "AB 12 34 56 C", "NI {} is mine"),
    ("DOCUMENT", "12 345 678 901", "Steuer-ID: {}"),
    ("DOCUMENT", "65 180539 W 003", "meine ist {}"),
    ("DOCUMENT", "756.1234.5678.97", "AHV {}"),
    ("DOCUMENT", "L01X00T471", "Personalausweisnummer {}"),
    ("DOCUMENT", "C01X0006H", "passport number: {}"),
    ("DOCUMENT", "A123456780", "Versichertennummer {}"),
    # networks
    ("IP", "93.184.216.34", "from {} it is slow"),
    ("IP", "192.168.1.20", "my PC has {}, port 80"),
    ("IP", "2001:db8:85a3::8a2e:370:7334", "my IP is {}"),
    ("IP", "fe80::1", "router {} answers"),
    ("DEVICE", "00:1A:2B:3C:4D:5E", "MAC {}"),
    ("DEVICE", "490154203237518", "IMEI {}"),
    # what one person is known by
    ("CUSTOMER", "K-4711-22", "Kundennummer {}"),
    ("CUSTOMER", "88123456", "customer number: {}"),
    ("CUSTOMER", "V2024/118", "Vertragsnummer: {}"),
    ("NAME", "Maria Sommer", "signed, {}"),
    ("NAME", "MARIA", "greetings from {}"),
]


@pytest.mark.parametrize(("kind", "thing", "sentence"), GOES)
def test_it_goes_as_what_it_is_and_comes_back(kind: str, thing: str, sentence: str) -> None:
    text = sentence.format(thing)
    redactor = Redactor(["Maria Sommer"])
    left = redactor.redacted(text)
    assert f"[[{kind}_1]]" in left
    assert thing not in left
    if "@" not in text:  # and nothing beside it
        assert left == text.replace(thing, f"[[{kind}_1]]")
    assert redactor.restored(left) == text
    of_a_manual = kind == "IP" and thing != "93.184.216.34"  # of a private network
    assert (thing in without_persons(text, ["Maria Sommer"])) == of_a_manual


STAYS = [
    "order 100238 of 12.03.2026 for 1,250.00 EUR",
    "order 4500123456 and order no. 20231107991 are late",
    "order number: 302-1234567-1234567",
    "Bestellung 4500123456, Rechnung 2024-0012345",
    "Bestellnummer: 0012345678",
    "Sendungsnummer 00340434161094042557",
    "tracking number 1234 5678 9012",
    "ticket #12345678 again",
    "Vorgang 20260514001 ist offen",
    "article 4006381333931 is out",
    "serial 4711-0815-2024",
    "it happened on 2026-05-14 at 10:30",
    "2026-05-14 10:30:05 ERROR timeout after 30000 ms",
    "am 14.05.2026 um 10:30 Uhr, wieder am 15.5.26",
    "version 3.14.159 build 4711",
    "Version 10.0.19045.3803, version 1.2.3.4",
    "error 0x80070057 in module 12",
    "1.250.000 EUR and 12345678 EUR",
    "Windows 11 24H2, Office 2021",
    "Marianne is somebody else",
    "I forgot my password and cannot log in",
    "the password reset link does not work",
    "my password is wrong, it says",
    "I entered the password 3 times",
    "please reset my password.",
    "Passwort vergessen und Passwort zurücksetzen",
    "Das Passwort ist falsch, das Kennwort abgelaufen",
    "see https://help.example/password/reset or password https://help.example/pw",
    "the token expired",
    "the pin fell off, the tan line is pretty",
    "das Problem ist weg 2 Tage später",
    "it took 3 days to drive there, 5 way points",
    "Speicherplatz 100 GB frei",
    "12345 Euro, 10000 Stück",
    "the address is wrong, the e-mail address too",
    "born in the cloud",
    "10:30:00 until 11:00:00, 3 of 4",
    "call us within 14 days about order 12345678",
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301 is the request id",
    "https://help.example/articles/how-to-set-up-two-factor-on-2-phones-at-once",
]


@pytest.mark.parametrize("text", STAYS)
def test_what_names_nobody_stays(text: str) -> None:
    assert Redactor(["Maria"]).redacted(text) == text


def test_one_thing_is_one_placeholder_in_every_text_and_another_is_another() -> None:
    redactor = Redactor()
    first = redactor.redacted("a@b.example from 93.184.216.34, Passwort: sommer")
    assert first == "[[EMAIL_1]] from [[IP_1]], Passwort: [[SECRET_1]]"
    assert redactor.redacted("93.184.216.34 and 8.8.8.8") == "[[IP_1]] and [[IP_2]]"
    assert redactor.redacted("c@b.example, a@b.example") == "[[EMAIL_2]], [[EMAIL_1]]"
    assert redactor.count == 5


def test_a_whole_mail_is_readable_without_its_persons() -> None:
    mail = """Hallo, ich bin Maria Sommer, geboren am 12.03.1980.
Meine Bestellung 4500123456 kam nie an. Bitte an Lange Straße 12a, 10115 Berlin.
Rückruf: 0171 2345678. Mein Passwort: hunter2 (IP 93.184.216.34)
IBAN DE89 3704 0044 0532 0130 00, Kundennummer K-4711-22."""
    redactor = Redactor(["Maria Sommer"])
    assert (
        redactor.redacted(mail)
        == """Hallo, ich bin [[NAME_1]], geboren am [[BIRTHDATE_1]].
Meine Bestellung 4500123456 kam nie an. Bitte an [[ADDRESS_1]], [[ADDRESS_2]].
Rückruf: [[PHONE_1]]. Mein Passwort: [[SECRET_1]] (IP [[IP_1]])
IBAN [[ACCOUNT_1]], Kundennummer [[CUSTOMER_1]]."""
    )
    assert redactor.restored(redactor.redacted(mail)) == mail


def test_a_key_in_several_lines_goes_whole() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIB+abc/\nQ==\n-----END RSA PRIVATE KEY-----"
    assert Redactor().redacted(f"here:\n{key}\nthanks") == "here:\n[[SECRET_1]]\nthanks"


def test_a_customer_cannot_forge_a_placeholder() -> None:
    redactor = Redactor()
    redactor.redacted("real@mail.example")
    assert "[[EMAIL_1]]" not in redactor.redacted("I say [[EMAIL_1]]")
    with pytest.raises(Unusable):
        redactor.restored("I say [[EMAIL_2]]")


def test_of_other_customers_nothing_can_come_back_and_manuals_stay_whole() -> None:
    text = "Dear Ann Lee, I wrote to ann@x.example. Open http://192.168.0.1 in your browser."
    assert without_persons(text, ["Ann Lee"]) == (
        "Dear …, I wrote to …. Open http://192.168.0.1 in your browser."
    )


@given(st.text(max_size=300), st.lists(st.text(max_size=20), max_size=3))
def test_any_text_comes_back_as_it_was_but_for_forged_placeholders(
    text: str, names: list[str]
) -> None:
    redactor = Redactor(names)
    left = redactor.redacted(text)
    assert redactor.restored(left) == text.replace("[[", "[ [").replace("]]", "] ]")


_PARTS = st.sampled_from(
    ["password", "Passwort:", " is ", " ", "hunter2", "DE89 3704 0044 0532 0130 00", "0171/2345678",
     "\n", "order ", "4500123456", "[[", "]]", "a@b.example", "12.03.1980", "geboren am ", "Maria",
     "Lange Straße 12", ", ", "93.184.216.34", "\"", "::", "PIN 4711"]
)  # fmt: skip


@given(st.lists(_PARTS, max_size=14))
def test_things_in_any_order_come_back_and_are_never_within_each_other(parts: list[str]) -> None:
    text = "".join(parts)
    redactor = Redactor(["Maria Sommer"])
    left = redactor.redacted(text)
    assert redactor.restored(left) == text.replace("[[", "[ [").replace("]]", "] ]")
    plain = PLACEHOLDER.sub("", left)
    assert "a@b.example" not in plain
    assert not re.search(r"(?<!\w)Maria(?!\w)", plain)


@pytest.mark.parametrize(
    "piece",
    ["a ", "1 ", "1.", "Aa ", "password ", "x@", "ab:", "[[", "12-", "Am A ", "-----BEGIN "],
)
def test_no_text_takes_long_whatever_it_repeats(piece: str) -> None:
    text = (piece * 20_000)[:20_000]
    began = time.process_time()
    Redactor(["Maria Sommer"]).redacted(text)
    assert time.process_time() - began < 5
