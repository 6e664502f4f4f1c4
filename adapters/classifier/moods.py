"""Short messages and how they sound, put together from phrases written by hand (`moods/*.toml`).

Requests say little about a mood, and a mood is seldom named. These teach the question of sentiment
alone; lines are dealt into the same folds as those of `phrases.py`.
"""

import random
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, field_validator

from domain.triage import Sentiment

FOLDER: Final = Path(__file__).with_name("moods")
_MESSAGES: Final = {Sentiment.NEGATIVE: 190, Sentiment.NEUTRAL: 90, Sentiment.POSITIVE: 110}
_SEED: Final = 20_261_124
_SLOT: Final = re.compile(r"\{(\w+)\}")


class _Mood(BaseModel):
    """The lines of one mood, and what may stand behind them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: list[str]
    endings: list[str]

    @field_validator("*", mode="before")
    @classmethod
    def _one_phrase_a_line(cls, block: str) -> list[str]:
        return block.strip().splitlines()


class _Moods(BaseModel):
    """One language."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: dict[str, list[str]]
    negative: _Mood
    neutral: _Mood
    positive: _Mood


def files() -> list[Path]:
    """The phrase files, one a language, in a fixed order."""
    return sorted(FOLDER.glob("*.toml"))


def messages(folds: int) -> Iterator[tuple[str, Sentiment, int]]:
    """(text, sentiment, fold) of each, the same ones every time."""
    for path in files():
        moods = _Moods.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        for fold in range(folds):
            for sentiment, count in _MESSAGES.items():
                chance = random.Random(f"{_SEED}/{path.stem}/{fold}/{sentiment}")
                mood: _Mood = getattr(moods, sentiment)
                lines = mood.lines[fold::folds]
                asides = moods.neutral.lines[fold::folds]
                for number in range(count):
                    said = [lines[number % len(lines)]]
                    if chance.random() < 0.4:
                        said.append(chance.choice(lines))
                    if chance.random() < 0.25:
                        said.insert(chance.choice((0, 1)), chance.choice(asides))
                    if chance.random() < 0.3:
                        said.append(chance.choice(mood.endings))
                    joined = chance.choice((". ", ", ", " ", "! ", "\n")).join(dict.fromkeys(said))
                    filled = _SLOT.sub(lambda m: chance.choice(moods.slots[m[1]]), joined)  # noqa: B023
                    yield _typed(filled, chance), sentiment, fold


def _typed(text: str, chance: random.Random) -> str:
    manner = chance.random()
    if chance.random() < 0.08:  # a link alone makes nobody a spammer
        text = f"{text} http://t.example/{chance.randrange(16**6):06x}"
    if manner < 0.06:
        return text.upper()
    if manner < 0.4:
        return text[:1].upper() + text[1:]
    if manner < 0.5:
        return f"@support {text}"
    return text
