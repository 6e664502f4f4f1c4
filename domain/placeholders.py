"""Canned texts with names in double braces, filled in for one ticket: `{{customer.name}}`.

Nothing is evaluated. A name is one of a short list; what is put in its place is plain text on one
line, and is not looked through again, so a customer called `{{agent.name}}` stays that.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final, NamedTuple

from domain.errors import Invalid

KNOWN: Final = (
    "agent.name",
    "customer.email",
    "customer.first_name",
    "customer.name",
    "ticket.number",
    "ticket.subject",
)

_PLACE: Final = re.compile(r"\{\{\s*([^{}|]{1,100}?)\s*(?:\|([^{}]{0,100}))?\}\}")
_MOST: Final = 200


class Rendered(NamedTuple):
    """The text as it may be sent, and which names had nothing to put in their place."""

    text: str
    missing: tuple[str, ...]


def check(body: str) -> None:
    """Passes, or raises Invalid for a placeholder that nobody knows."""
    unknown = sorted({name for name, _ in _PLACE.findall(body)} - set(KNOWN))
    if unknown:
        raise Invalid(
            f"There is no {{{{{unknown[0]}}}}}. Known: {', '.join(KNOWN)}.",
            fields={"/body": f"{unknown[0]} is not known"},
        )


def rendered(body: str, values: Mapping[str, str | None]) -> Rendered:
    """`body` with its placeholders filled; `{{customer.name|there}}` says what to fall back on."""
    missing: dict[str, None] = {}

    def fill(place: re.Match[str]) -> str:
        name, instead = place[1], place[2]
        value = _plain(values.get(name) or "")
        if value:
            return value
        if instead is not None:
            return instead.strip()
        missing[name] = None
        return ""

    return Rendered(_PLACE.sub(fill, body), tuple(missing))


def first_name(name: str | None) -> str | None:
    """What stands before the first space; None for what is rather an address."""
    first = (name or "").split(" ")[0].strip()
    return first if first and "@" not in first else None


def _plain(value: str) -> str:
    """One line without control or formatting characters, of bounded length."""
    shown = "".join(
        " " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c
        for c in value[: 4 * _MOST]
        if unicodedata.category(c) not in ("Cf", "Cs", "Co")
    )
    return " ".join(shown.split())[:_MOST]


__all__ = ["KNOWN", "Rendered", "check", "first_name", "rendered"]
