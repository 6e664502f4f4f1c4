"""Names in canned texts."""

import pytest

from domain.errors import Invalid
from domain.placeholders import check, first_name, rendered

VALUES = {
    "customer.name": "Maria Sommer",
    "customer.first_name": "Maria",
    "ticket.number": "1042",
    "agent.name": None,
}


def test_names_are_filled_in() -> None:
    said = rendered("Hello {{customer.name}}, {{ ticket.number }} is done.", VALUES)
    assert said.text == "Hello Maria Sommer, 1042 is done."
    assert said.missing == ()


def test_what_is_missing_is_named_or_falls_back() -> None:
    said = rendered("{{agent.name}} and {{agent.name|your team}}", VALUES)
    assert said.text == " and your team"
    assert said.missing == ("agent.name",)


def test_a_value_is_not_looked_through_again() -> None:
    said = rendered("Hello {{customer.name}}", {"customer.name": "{{ticket.number}}"})
    assert said.text == "Hello {{ticket.number}}"


def test_a_value_is_one_plain_line_of_bounded_length() -> None:
    wild = "Eve\r\n\r\nBcc: all\u202e\u0000" + "x" * 10_000
    said = rendered("{{customer.name}}", {"customer.name": wild}).text
    assert said.startswith("Eve Bcc: all ")
    assert "\n" not in said
    assert "\u202e" not in said
    assert len(said) <= 200


def test_braces_that_are_no_placeholder_stay() -> None:
    text = "{ {customer.name} } {{}} {% if %} ${x}"
    assert rendered(text, VALUES).text == text


def test_an_unknown_name_is_refused_when_it_is_written() -> None:
    check("{{customer.name}} {{ticket.subject|it}}")
    with pytest.raises(Invalid, match=r"customer\.password"):
        check("{{customer.password}}")
    with pytest.raises(Invalid):
        check("{{customer.__class__}}")


def test_the_first_name_of_an_address_is_unknown() -> None:
    assert first_name("Maria Sommer") == "Maria"
    assert first_name("maria@example.com") is None
    assert first_name(None) is None
