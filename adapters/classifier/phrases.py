"""The phrases the model learns from, and the messages made of them.

The phrases are written by hand (`languages/*.toml`), the messages are put together by code:
greeting, request, urgency, mood, sign-off, with slips of the keyboard. Phrases are dealt into folds
before any message is made, so a message of one fold shares no phrase with a message of another;
only greetings, sign-offs and the words in the slots are common. A model is therefore measured on
wording it has never met, not on another arrangement of the wording it was taught.
"""

import random
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, field_validator

from domain.states import Priority
from domain.triage import Sentiment, Topic

FOLDS: Final = 3
FOLDER: Final = Path(__file__).with_name("languages")
_MESSAGES_PER_TOPIC: Final = 72  # of one language in one fold: 11 topics, 2 languages, 3 folds
_SEED: Final = 20_260_301
_SLOT: Final = re.compile(r"\{(\w+)\}")
_BREAKS: Final = ("<br>", "<br/>\n", "\n&nbsp;\n", "\r\n")


class Example(NamedTuple):
    """A message as a customer might send it, and what a careful agent would make of it."""

    subject: str
    body: str
    topic: Topic
    priority: Priority
    sentiment: Sentiment
    fold: int


class _Phrases(BaseModel):
    """One language."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slots: dict[str, list[str]]
    frames: dict[str, list[str]]
    priority: dict[Priority, list[str]]
    sentiment: dict[Sentiment, list[str]]
    topics: dict[Topic, dict[str, list[str]]]

    @field_validator("frames", "priority", "sentiment", mode="before")
    @classmethod
    def _one_phrase_a_line(cls, table: dict[str, str]) -> dict[str, list[str]]:
        return {key: block.strip().splitlines() for key, block in table.items()}

    @field_validator("topics", mode="before")
    @classmethod
    def _one_phrase_a_line_by_topic(
        cls, topics: dict[str, dict[str, str]]
    ) -> dict[str, dict[str, list[str]]]:
        return {
            topic: {key: block.strip().splitlines() for key, block in table.items()}
            for topic, table in topics.items()
        }


def files() -> list[Path]:
    """The phrase files, one a language, in a fixed order."""
    return sorted(FOLDER.glob("*.toml"))


def examples() -> list[Example]:
    """About five thousand messages, the same ones every time."""
    made: list[Example] = []
    for path in files():
        phrases = _Phrases.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        for fold in range(FOLDS):
            # A stream of its own for each cell: a phrase added to one topic changes no other topic.
            for topic in phrases.topics:
                chance = random.Random(f"{_SEED}/{path.stem}/{fold}/{topic}")
                made.extend(_Writer(phrases, topic, fold, chance).messages(_MESSAGES_PER_TOPIC))
    return made


class _Writer:
    """Writes messages about one topic from the phrases of one fold."""

    def __init__(self, phrases: _Phrases, topic: Topic, fold: int, chance: random.Random) -> None:
        table = phrases.topics[topic]
        self._phrases, self._topic, self._fold, self._chance = phrases, topic, fold, chance
        self._subjects = _dealt(table["subjects"], fold)
        self._requests = [
            (priority, text)
            for priority in Priority
            for text in _dealt(table.get(priority, []), fold)
        ]
        self._urgency = {key: _dealt(lines, fold) for key, lines in phrases.priority.items()}
        self._mood = {key: _dealt(lines, fold) for key, lines in phrases.sentiment.items()}

    def messages(self, count: int) -> Iterator[Example]:
        for number in range(count):
            # Every request has its turn before one is used again.
            priority, request = self._requests[number % len(self._requests)]
            yield self._message(priority, request)

    def _message(self, priority: Priority, request: str) -> Example:
        chance = self._chance
        if chance.random() < 0.12 and priority == self._ordinary():
            subject, sentences = chance.choice(self._subjects), []
        else:
            subject, sentences = self._subject(), [request]
            if chance.random() < 0.3:
                second_priority, second = chance.choice(self._requests)
                if second_priority.rank <= priority.rank and second != request:
                    sentences.append(second)
        priority, urgency = self._with_urgency(priority)
        sentiment, mood = self._with_mood()
        sentences += urgency
        sentences.insert(chance.choice((0, len(sentences))), mood)
        body = self._framed([sentence for sentence in sentences if sentence])
        return Example(
            subject=self._typed(self._filled(subject)),
            body=self._typed(self._filled(body)),
            topic=self._topic,
            priority=priority,
            sentiment=sentiment,
            fold=self._fold,
        )

    def _ordinary(self) -> Priority:
        """The priority most requests of this topic have, which a bare subject line stands for."""
        ranks = sorted(priority.rank for priority, _ in self._requests)
        return list(Priority)[ranks[len(ranks) // 2]]

    def _subject(self) -> str:
        return self._chance.choices(
            [self._chance.choice(self._subjects), self._frame("subjects"), ""], [55, 20, 25]
        )[0]

    def _with_urgency(self, priority: Priority) -> tuple[Priority, list[str]]:
        """The priority after a sentence about urgency, and the sentence.

        Such a sentence says more than the request: "no rush" about a login is low. It never
        contradicts the request: nobody takes their time over a stolen password.
        """
        said: Priority | None = self._chance.choices(
            [None, Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.LOW],
            [46, 18, 17, 7, 12],
        )[0]
        if said is None or (said.rank < priority.rank and priority.rank > Priority.NORMAL.rank):
            return priority, []
        sentence = self._chance.choice(self._urgency[said])
        return (priority if said is Priority.NORMAL else said), [sentence]

    def _with_mood(self) -> tuple[Sentiment, str]:
        sentiment = self._chance.choices(list(Sentiment), [28, 50, 22])[0]
        lines = self._mood.get(sentiment)
        return (sentiment, self._chance.choice(lines)) if lines else (sentiment, "")

    def _framed(self, sentences: Sequence[str]) -> str:
        text = self._chance.choice((" ", "\n", "\n\n")).join(sentences)
        style = self._chance.random()
        if style < 0.35:
            return text
        parts = [self._frame("greetings")]
        if style > 0.6:
            parts += [self._frame("openings")] * (self._chance.random() < 0.6)
        parts.append(text)
        if style > 0.5:
            parts.append(self._frame("closings"))
            if self._chance.random() < 0.3:
                parts.append(self._frame("closings"))
        parts.append(self._frame("signatures"))
        return "\n\n".join(parts)

    def _frame(self, name: str) -> str:
        return self._chance.choice(self._phrases.frames[name])

    def _filled(self, text: str) -> str:
        slots = self._phrases.slots
        return _SLOT.sub(lambda found: self._chance.choice(slots[found[1]]), text)

    def _typed(self, text: str) -> str:
        """As it comes from a hurried keyboard, now and then."""
        manner = self._chance.random()
        if manner < 0.15:
            return " ".join(map(self._slipped, text.split(" ")))
        if manner < 0.27:
            return text.lower()
        if manner < 0.30:
            return text.upper()
        if manner < 0.38:
            return re.sub(r"[.,!?]", "", text)
        if manner < 0.42:  # what a mail program or an export leaves of a page
            return text.replace("\n", self._chance.choice(_BREAKS))
        if manner < 0.45:
            return f"<div><p>{text.replace(chr(10), '</p><p>')}</p></div>"
        return text

    def _slipped(self, word: str) -> str:
        if len(word) < 5 or self._chance.random() > 0.2:
            return word
        at = self._chance.randrange(1, len(word) - 2)
        if self._chance.random() < 0.5:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return word[:at] + word[at + 1 :]


def _dealt(lines: Sequence[str], fold: int) -> list[str]:
    """The phrases of one fold; of a list shorter than the folds, all of it is shared."""
    return list(lines[fold::FOLDS]) if len(lines) >= FOLDS else list(lines)
