"""Messages that nobody asked for, put together from phrases written by hand (`spam/*.toml`).

Offers, tricks and baits of many kinds. Lines are dealt into the same folds as those of
`phrases.py`, so that what a model makes of spam is measured on wording it has not met.
"""

import random
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, field_validator

FOLDER: Final = Path(__file__).with_name("spam")
_MESSAGES_PER_KIND: Final = 36  # of one language in one fold
_SEED: Final = 20_261_123
_SLOT: Final = re.compile(r"\{(\w+)\}")
_DISGUISED: Final = str.maketrans({"a": "@", "i": "1", "o": "0", "e": "3"})


class _Junk(BaseModel):
    """One language."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: dict[str, list[str]]
    frames: dict[str, list[str]]
    kinds: dict[str, dict[str, list[str]]]

    @field_validator("frames", mode="before")
    @classmethod
    def _one_phrase_a_line(cls, table: dict[str, str]) -> dict[str, list[str]]:
        return {key: block.strip().splitlines() for key, block in table.items()}

    @field_validator("kinds", mode="before")
    @classmethod
    def _one_phrase_a_line_by_kind(
        cls, kinds: dict[str, dict[str, str]]
    ) -> dict[str, dict[str, list[str]]]:
        return {
            kind: {key: block.strip().splitlines() for key, block in table.items()}
            for kind, table in kinds.items()
        }


def files() -> list[Path]:
    """The phrase files, one a language, in a fixed order."""
    return sorted(FOLDER.glob("*.toml"))


def messages(folds: int) -> Iterator[tuple[str, str, int]]:
    """(subject, body, fold) of each, the same ones every time."""
    for path in files():
        junk = _Junk.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        for fold in range(folds):
            for kind, table in junk.kinds.items():
                chance = random.Random(f"{_SEED}/{path.stem}/{fold}/{kind}")
                lines = table["lines"][fold::folds]
                subjects = table["subjects"][fold::folds] or table["subjects"]
                for number in range(_MESSAGES_PER_KIND):
                    # Every line has its turn before one is used again.
                    first = lines[number % len(lines)]
                    subject, body = _message(junk, chance, first, lines, subjects, fold, folds)
                    yield subject, body, fold


def _message(
    junk: _Junk,
    chance: random.Random,
    first: str,
    lines: list[str],
    subjects: list[str],
    fold: int,
    folds: int,
) -> tuple[str, str]:
    def of(name: str) -> str:
        return chance.choice(junk.frames[name][fold::folds])

    more = [line for line in lines if line != first]
    said = [first, *chance.sample(more, min(len(more), chance.choice((0, 1, 1, 2, 3))))]
    chance.shuffle(said)
    parts = [" ".join(said) if chance.random() < 0.5 else "\n".join(said)]
    if chance.random() < 0.6:
        parts.insert(0, of("greetings"))
    if chance.random() < 0.55:
        parts.append(of("calls"))
    if chance.random() < 0.45:
        parts.append(of("endings"))
    subject = chance.choice(subjects) if chance.random() < 0.75 else ""
    return _typed(_filled(subject, junk, chance), chance), _typed(
        _filled(chance.choice(("\n\n", "\n", " ")).join(parts), junk, chance), chance
    )


def _filled(text: str, junk: _Junk, chance: random.Random) -> str:
    return _SLOT.sub(lambda found: chance.choice(junk.slots[found[1]]), text)


def _typed(text: str, chance: random.Random) -> str:
    """As it comes: shouted, disguised from filters, with remnants of a page, or plain."""
    manner = chance.random()
    if manner < 0.08:
        return text.upper()
    if manner < 0.15:
        words = text.split(" ")
        return " ".join(w.translate(_DISGUISED) if chance.random() < 0.15 else w for w in words)
    if manner < 0.21:
        return text.replace("\n", "<br>").replace(". ", ".&nbsp; ")
    if manner < 0.27:
        return text.replace(".", " !!!")
    if manner < 0.33:
        return text.lower()
    return text
