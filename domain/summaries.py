"""A long conversation in a few of its own sentences: the problem, what was tried, how it stands.

Nothing is put into other words, so nothing can be made up: each sentence names the message it is
from. A sentence is chosen for what it shares with the rest of the conversation, for where it
stands, and for who said it, in any language that separates sentences. Addresses, numbers and lists
of goods come again and again without saying anything: they are left out.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from domain.lexical import resemblance, says_little, words_in
from domain.triage import own_words

Author = Literal["customer", "agent", "machine"]

MOST_MESSAGES: Final = 200
MOST_OF_EACH: Final = {"problem": 3, "tried": 4, "state": 2}
LONGEST_SENTENCE: Final = 300

_MOST_TEXT: Final = 6_000  # characters of a message
_MOST_SENTENCES: Final = 60  # of a message
_FEWEST_WORDS: Final = 4  # "Hello Mr Sommer," and "Thanks!" say nothing
_SAME: Final = 0.6
_SHORT: Final = 3
_FADE: Final = 0.12  # how much less each further sentence of a message says
_OPENING: Final = 2  # of the customer's messages that state the problem
_NUMBERED: Final = 0.35  # of the words of a sentence; with more it is a list or an address
_SPOKEN: Final = 2  # small words that make a line with a number to call a sentence all the same
_OF_NUMBERS: Final = 0.1
_MARKED: Final = re.compile(
    r"[\w.+-]+@[\w-]+\.\w|https?://|\bwww\.|\+?\(?\d[\d ()/.-]{6,}\d"  # mail, page, telephone
    r"|\b(?:tel|phone|fon|telefon|mobil|mobile|cell|fax|iban|bic|vat|ust|hrb|skype)\b"
    r"|\b(?:registered office|managing directors?|company (?:no|number)|geschäftsführer\w*"
    r"|amtsgericht|handelsregister|steuernummer|kundennummer|customer (?:no|number|id))\b"
    r"|\d[.,]\d\d ?(?:€|eur|usd|chf|gbp|\$|£)|(?:€|\$|£|eur|usd) ?\d|\b\d+ ?(?:x|×|stk|pcs|st\.)\b"
    r"|\b(?:art|sku|item|pos|artikel)\b[\w.-]* ?(?:no|nr)?[.:#]* ?\w*\d",
    re.IGNORECASE,
)
_DISCLAIMED: Final = re.compile(
    r"(?:confidential|vertraulich\w*|intended (?:solely |only )?for the|intended recipient"
    r"|bestimmt(?:e|er|en)? (?:empfänger|adressat)\w*|before printing|umweltbewusst)",
    re.IGNORECASE,
)
_BETWEEN: Final = re.compile(r"(?<=[.!?…])[\s]+|\s*\n\s*|(?<=[。！？।؟])\s*")


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the conversation; `internal` ones are notes among agents."""

    id: UUID
    author: Author
    text: str
    internal: bool = False


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as it was written, and where."""

    text: str
    message_id: UUID
    author: Author
    internal: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """Each part in the order of the conversation; a short one may have a problem only."""

    problem: tuple[Sentence, ...]
    tried: tuple[Sentence, ...]
    state: tuple[Sentence, ...]


@dataclass(frozen=True, slots=True)
class _Placed:
    sentence: Sentence
    message: int  # its place in the conversation
    place: int  # its own place in the message
    words: tuple[str, ...]


def summary(subject: str, messages: Sequence[Said]) -> Summary:
    """The conversation in short. Of a very long one the beginning and the end are read."""
    read = _bounded([one for one in messages if one.author != "machine"])
    placed = [one for number, message in enumerate(read) for one in _sentences(number, message)]
    if not placed:
        return Summary((), (), ())
    placed = [one for one in placed if _says_something(one)] or placed
    weights = _weights(placed, subject)
    opening = _opening(read)
    last = _closing(read, opening)
    groups: dict[str, list[_Placed]] = {"problem": [], "tried": [], "state": []}
    for one in placed:
        if one.message in last:
            groups["state"].append(one)
        elif one.message in opening:
            groups["problem"].append(one)
        else:
            groups["tried"].append(one)
    taken: list[_Placed] = []
    chosen = {
        part: _chosen(groups[part], weights, MOST_OF_EACH[part], taken)
        for part in ("problem", "state", "tried")
    }
    return Summary(chosen["problem"], chosen["tried"], chosen["state"])


def _bounded(messages: Sequence[Said]) -> Sequence[Said]:
    if len(messages) <= MOST_MESSAGES:
        return messages
    first = MOST_MESSAGES // 4
    return [*messages[:first], *messages[first - MOST_MESSAGES :]]


def _opening(read: Sequence[Said]) -> set[int]:
    """What states the problem: what the customer wrote before anybody answered, and the first."""
    opening: set[int] = set()
    for number, message in enumerate(read):
        if message.author != "customer" and opening:
            break
        opening.add(number)
        if len(opening) == _OPENING:
            break
    return opening or {0}


def _closing(read: Sequence[Said], opening: set[int]) -> set[int]:
    """What says how it stands: the customer's and the agents' last public words."""
    closing: set[int] = set()
    for author in ("customer", "agent"):
        for number in range(len(read) - 1, -1, -1):
            if read[number].author == author and not read[number].internal:
                closing.add(number)
                break
    # Somebody's last words of long ago are not how it stands.
    newest = max(closing, default=0)
    return {one for one in closing if one not in opening and newest - one <= 2}


def _sentences(number: int, message: Said) -> list[_Placed]:
    found: list[_Placed] = []
    for piece in _BETWEEN.split(own_words(message.text)[:_MOST_TEXT]):
        text = " ".join((piece or "").split())
        words = tuple(words_in(text))
        if len(words) < _FEWEST_WORDS:
            continue
        if len(text) > LONGEST_SENTENCE:
            text = f"{text[: LONGEST_SENTENCE - 1].rstrip()}…"
        sentence = Sentence(text, message.id, message.author, message.internal)
        found.append(_Placed(sentence, number, len(found), words))
        if len(found) == _MOST_SENTENCES:
            break
    return found


def _says_something(one: _Placed) -> bool:
    """Whether it is a sentence somebody wrote, not an address, a list of goods or small print."""
    text = one.sentence.text
    small = sum(map(says_little, one.words))
    if _DISCLAIMED.search(text):
        return False
    numbers = sum(any(c.isdigit() for c in word) for word in one.words)
    if numbers > _NUMBERED * len(one.words) and small < _SPOKEN:
        return False
    return small >= _SPOKEN or _MARKED.search(text) is None


def _weights(placed: Sequence[_Placed], subject: str) -> dict[str, float]:
    """What a word says: more where it comes again, little where everybody says it."""
    met = Counter(word for one in placed for word in set(one.words))
    about = set(words_in(subject))
    weights: dict[str, float] = {}
    for word, count in met.items():
        share = count / len(placed)
        weight = math.log(1 + count) * (1 - min(share, 0.9))
        if any(c.isdigit() for c in word):
            weight *= 1 if word in about else _OF_NUMBERS  # "order 4711", not a telephone's
        elif len(word) <= _SHORT and word.isascii():
            weight *= 0.3
        weights[word] = weight * (2 if word in about else 1)
    return weights


def _chosen(
    group: Sequence[_Placed], weights: dict[str, float], most: int, taken: list[_Placed]
) -> tuple[Sentence, ...]:
    """The best of a group that do not repeat what was taken, in their order."""

    def worth(one: _Placed) -> float:
        said = sum(weights[word] for word in set(one.words))
        # By the root, not by the number of words: between a list of nouns and a whole paragraph.
        worth = said / math.sqrt(len(one.words) + 4)
        return worth * (0.8 if one.sentence.internal else 1.0) / (1 + _FADE * one.place)

    best: list[_Placed] = []
    for one in sorted(group, key=lambda one: (-worth(one), one.message, one.place)):
        if len(best) == most:
            break
        if all(resemblance(one.sentence.text, o.sentence.text) < _SAME for o in taken):
            best.append(one)
            taken.append(one)
    best.sort(key=lambda one: (one.message, one.place))
    return tuple(one.sentence for one in best)


__all__ = ["MOST_MESSAGES", "Author", "Said", "Sentence", "Summary", "summary"]
