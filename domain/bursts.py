"""Many tickets in a short time that say much the same: perhaps one thing is broken.

A word is loud when it is in many of an hour's tickets and in few of those before: by the hour, and
by the ticket. Tickets that share several loud words are one burst; words that this desk hears every
day never make one, nor do greetings and words that hold sentences together.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from domain.courtesies import OF_MAIL
from domain.lexical import folded, says_little, words_in

WITHIN: Final = timedelta(hours=1)
FEWEST: Final = 5
"""Tickets, and as many requesters: one customer who writes five times is not an outage."""

MOST_TICKETS: Final = 1_000  # of an hour that are compared
_LOUDER: Final = 4.0  # times as often an hour as before
_DENSER: Final = 3.0  # times as often a ticket as before
_SHARED: Final = 2  # loud words that two tickets of a burst have in common
_SHORTEST: Final = 3
_MOST_WORDS: Final = 60
_MOST_BURSTS: Final = 10
_OF_MAIL: Final = frozenset(folded(word) for word in OF_MAIL)


@dataclass(frozen=True, slots=True)
class New:
    """A new ticket."""

    id: UUID
    requester_id: UUID
    created_at: datetime
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Burst:
    """Tickets that likely have one cause, oldest first, and the words that they share."""

    tickets: tuple[New, ...]
    terms: tuple[str, ...]

    @property
    def title(self) -> str:
        """The subject that says most of what they share."""
        terms = set(self.terms)

        def said(one: New) -> tuple[int, int, datetime]:
            words = words_in(one.subject)
            return (-len(terms & set(words)), len(words), one.created_at)

        return min(self.tickets, key=said).subject


def bursts(new: Sequence[New], before: Iterable[str], *, hours: float) -> list[Burst]:
    """The bursts among an hour's tickets. `before` are texts of tickets of the `hours` before it.

    The largest first; a ticket is in one burst.
    """
    looked_at = sorted(new, key=lambda one: one.created_at)[-MOST_TICKETS:]
    if len(looked_at) < FEWEST:
        return []
    said = {one.id: _distinct(f"{one.subject}\n{one.text}") for one in looked_at}
    past = [_distinct(text) for text in before]
    usual = Counter(word for words in past for word in words)
    met = Counter(word for words in said.values() for word in words)
    loud = {
        word: _loudness(count, usual[word] / max(hours, 1.0))
        for word, count in met.items()
        if count >= FEWEST
        and count >= _LOUDER * usual[word] / max(hours, 1.0)
        # A busy hour makes every word louder; its share of the tickets it does not.
        and count / len(looked_at) >= _DENSER * (usual[word] + 0.5) / (len(past) + 1)
    }
    found: list[Burst] = []
    left = {one.id: one for one in looked_at}
    while len(found) < _MOST_BURSTS:
        burst = _loudest(left, said, loud)
        if burst is None:
            break
        found.append(burst)
        for one in burst.tickets:
            left.pop(one.id)
    return sorted(found, key=lambda one: -len(one.tickets))


def _loudest(
    left: Mapping[UUID, New], said: Mapping[UUID, frozenset[str]], loud: Mapping[str, float]
) -> Burst | None:
    """The tickets around the loudest word that also share others."""
    met = Counter(word for id_ in left for word in said[id_] if word in loud)
    for seed, count in sorted(met.items(), key=lambda m: (-loud[m[0]] * m[1], m[0])):
        if count < FEWEST:
            continue
        around = [id_ for id_ in left if seed in said[id_]]
        beside = Counter(word for id_ in around for word in said[id_] if word in loud)
        # Words of at least half of them are what they are about.
        core = {word for word, n in beside.items() if 2 * n >= len(around)}
        members = [left[id_] for id_ in around if len(said[id_] & core) >= _SHARED]
        if len(members) >= FEWEST and len({one.requester_id for one in members}) >= FEWEST:
            terms = sorted(core, key=lambda word: (-loud[word] * beside[word], word))
            return Burst(tuple(members), tuple(terms[:8]))
    return None


def _loudness(count: int, usual: float) -> float:
    return math.log((count + 1) / (usual + 0.5))


def _distinct(text: str) -> frozenset[str]:
    words = (
        word
        for word in words_in(text[:8_000])
        if (len(word) > _SHORTEST or not word.isascii())
        and not word.isdigit()
        and not says_little(word)
        and word not in _OF_MAIL
    )
    return frozenset(list(dict.fromkeys(words))[:_MOST_WORDS])


__all__ = ["FEWEST", "MOST_TICKETS", "WITHIN", "Burst", "New", "bursts"]
