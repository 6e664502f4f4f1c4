"""Which texts say the same: words, the keys they are found by, and how alike two texts are.

A desk's tickets, articles and canned responses are found by keys: numbers drawn from a tenant and a
form of a word. Each word has its whole form and up to two coarser ones (its beginning, and its end
or its skeleton), so that an inflected or misspelt word still leads somewhere. What was found is
then read again and scored here, word by word, so that every score can say why.
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from domain.courtesies import FILLERS
from domain.languages import SMALL_WORDS

MOST_ASKED: Final = 60
"""Words of a query that are looked for; the subject's come first, then the newest."""
MOST_KEPT: Final = 60
"""Words of a ticket's question that it can be found by."""
CAP: Final = 1_000
"""From this many documents on, a word says too little to be followed alone."""

_BUDGET: Final = 6_000  # places in documents that one search may look at
_MOST_PROBES: Final = 50
FEW: Final = 200  # documents from which a word needs no inflections to lead somewhere
_WEIGHTIEST: Final = 12  # words of a query that a perfect answer has to share
_LONGEST_WORD: Final = 40
_AFFIX: Final = 4
_FORMED: Final = 5  # letters from which a word has more than its whole form
_LONG: Final = 8  # from here on its end is kept instead of its skeleton
_STEM: Final = 5
_RESEMBLING: Final = 0.4
_OF_STEM: Final = 0.85
_IN_BODY: Final = 0.85
_USUAL_LENGTH: Final = 150
# "our", "und", "what": rare in a small desk, and still saying little.
_SHORT, _OF_SHORT, _OF_SMALL = 3, 0.4, 0.1

_WORD: Final = re.compile(r"\w+")
# Written without spaces: pairs of neighbours stand for words.
_UNSPACED: Final = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)
_VOWELS: Final = frozenset("aeiouy")


def folded(text: str) -> str:
    """`text` in small letters and without accents."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def words_in(text: str) -> list[str]:
    """The words of `text` in order, folded; of scripts without spaces, pairs of characters."""
    found: list[str] = []
    for run in _WORD.findall(folded(text).replace("_", " ")):
        if run.isascii():
            found += _spaced(run)
            continue
        place = 0
        for unspaced in _UNSPACED.finditer(run):
            found += _spaced(run[place : unspaced.start()])
            said = unspaced[0]
            found += [said[i : i + 2] for i in range(max(1, len(said) - 1))]
            place = unspaced.end()
        found += _spaced(run[place:])
    return found


def _spaced(word: str) -> list[str]:
    return [word[:_LONGEST_WORD]] if len(word) > 1 else []


def _distinct(text: str, most: int) -> tuple[str, ...]:
    return tuple(dict.fromkeys(words_in(text)))[:most]


class Forms(NamedTuple):
    """A word's whole form, and the coarser ones that it may be found by; each names its kind."""

    whole: str
    coarse: tuple[str, ...]


@lru_cache(maxsize=20_000)
def forms_of(word: str, *, asked: bool = False) -> Forms:
    """The forms that are kept of a word; `asked`: all that it may be looked for by."""
    whole = f"={word}"
    if len(word) < _FORMED or any(c.isdigit() for c in word):
        return Forms(whole, ())  # of "INV-20417" nothing resembles "INV-20418" usefully
    begins = f"^{word[:_AFFIX]}"
    ends = f"${word[-_AFFIX:]}"
    sounds = set(word[1:].replace("ck", "k")) - _VOWELS
    skeleton = f"~{word[0]}{''.join(sorted(sounds))}"
    if asked:
        return Forms(whole, (begins, ends, skeleton))
    return Forms(whole, (begins, ends if len(word) >= _LONG else skeleton))


def key_of(tenant_id: UUID, form: str) -> int:
    """A number for a form, another one in each tenant: keys of two never meet in an index."""
    digest = hashlib.blake2b(form.encode(), digest_size=8, key=tenant_id.bytes).digest()
    return int.from_bytes(digest, "big", signed=True)


def keys_of(tenant_id: UUID, text: str, *, most_words: int = MOST_KEPT) -> list[int]:
    """What a document is found by."""
    forms: dict[str, None] = {}
    for word in _distinct(text, most_words):
        whole, coarse = forms_of(word)
        forms |= dict.fromkeys((whole, *coarse))
    return sorted(key_of(tenant_id, form) for form in forms)


# Asking.


class Probe(NamedTuple):
    """Follow the documents that have `one` (and `other`); each gains `weight`."""

    one: int
    other: int | None
    weight: float


@dataclass(frozen=True)
class Asked:
    """A query: its words, and under which key each of their forms is kept."""

    words: tuple[str, ...]
    keys: Mapping[str, int]

    @property
    def whole_keys(self) -> list[int]:
        """Those of the words as they are written."""
        return [self._whole(word) for word in self.words]

    @property
    def small_keys(self) -> list[int]:
        """Those of words that every text has: counting them takes longest and says least."""
        return [self._whole(word) for word in self.words if word in _small()]

    def _whole(self, word: str) -> int:
        return self.keys[forms_of(word, asked=True).whole]

    def coarse_keys(self, found: Mapping[int, int]) -> list[int]:
        """Those that are worth counting once it is known how many documents have the words.

        All forms of a word that nobody wrote; the beginning of one that few did.
        """
        keys: set[int] = set()
        for word in self.words:
            whole, coarse = forms_of(word, asked=True)
            documents = found.get(self.keys[whole], 0)
            if documents < FEW and word not in _small():
                keys |= {self.keys[form] for form in (coarse[:1] if documents else coarse)}
        return sorted(keys)


def asked(tenant_id: UUID, *texts: str) -> Asked:
    """What to look for; what comes first is kept where there are too many words."""
    words = _distinct("\n".join(texts), MOST_ASKED)
    forms = {
        form: key_of(tenant_id, form)
        for word in words
        for whole, coarse in (forms_of(word, asked=True),)
        for form in (whole, *coarse)
    }
    return Asked(words, forms)


def rarity(documents: int, total: int) -> float:
    """How much a word says that `documents` of `total` have; never nothing."""
    return math.log(1 + (max(total, documents) - documents + 0.5) / (documents + 0.5))


def _telling(word: str) -> float:
    """What part of its rarity a word is worth."""
    if word in _small():
        return _OF_SMALL
    return _OF_SHORT if len(word) <= _SHORT and word.isascii() else 1.0


@lru_cache(maxsize=1)
def _small() -> frozenset[str]:
    return frozenset(folded(word) for word in SMALL_WORDS | FILLERS)


def says_little(word: str) -> bool:
    """Whether a folded word holds sentences together, greets or asks for help, and no more."""
    return word in _small()


class Spread:
    """How many documents have each form of a query's words, and what that makes them worth."""

    def __init__(self, query: Asked, found: Mapping[int, int], total: int) -> None:
        self._query = query
        self._found = found
        self._total = total

    def _documents(self, form: str) -> int:
        return self._found.get(self._query.keys[form], 0)

    def scorer(self) -> "Scorer":
        """Scores by what each word of the query says; words that lead nowhere are left out."""
        weights: dict[str, float] = {}
        unknown = set()
        for word in self._query.words:
            whole, coarse = forms_of(word, asked=True)
            documents = self._documents(whole)
            if not documents:
                unknown.add(word)
                documents = min((n for n in map(self._documents, coarse) if n), default=0)
            if documents:
                weights[word] = _telling(word) * rarity(documents, self._total)
        if weights.keys() <= _small():
            weights.clear()  # nothing that the query is about leads anywhere
        return Scorer(weights, frozenset(unknown))

    def probes(self) -> list[Probe]:
        """Which keys to follow, the most telling first, within what a search may cost.

        Words that too many documents have are followed in pairs.
        """
        single: list[tuple[float, int, str]] = []
        common: list[str] = []
        for word in self._query.words:
            whole, coarse = forms_of(word, asked=True)
            documents = self._documents(whole)
            if documents >= CAP:
                common.append(whole)
                continue
            share = 0.3  # an inflection of a word that is known; else a misspelling of another
            if documents:
                single.append((rarity(documents, self._total), documents, whole))
            else:
                share = 0.6
            for form in coarse if not documents else coarse[:1]:
                met = self._documents(form)
                if 0 < met < CAP:
                    single.append((share * rarity(met, self._total), met, form))
        keys = self._query.keys
        probes: list[Probe] = []
        left = _BUDGET
        for weight, documents, form in sorted(single, reverse=True):
            if len(probes) < _MOST_PROBES and documents <= left:
                left -= documents
                probes.append(Probe(keys[form], None, weight))
        telling = sorted(common, key=len, reverse=True)[:4]
        weight = rarity(CAP, self._total)
        pairs = [(a, b) for place, a in enumerate(telling) for b in telling[place + 1 :]]
        for a, b in pairs:
            if left >= CAP:
                left -= CAP
                probes.append(Probe(keys[a], keys[b], 2 * weight))
        if not probes and telling:
            probes.append(Probe(keys[telling[0]], None, weight))
        return probes


# Scoring.


class Score(NamedTuple):
    """`value` is 0 to 1; `why` are words of the query, the weightiest first."""

    value: float
    why: tuple[str, ...]


class Scorer:
    """Scores documents against one query.

    `unknown` words are taken for misspelt: only they may match what merely resembles them.
    """

    def __init__(self, weights: Mapping[str, float], unknown: frozenset[str] = frozenset()) -> None:
        self._weights = weights
        self._unknown = unknown
        self._whole = sum(sorted(weights.values(), reverse=True)[:_WEIGHTIEST])

    def score(self, title: str, text: str) -> Score:
        """How much of the query a document shares; its title says more than its text."""
        if not self._whole:
            return Score(0.0, ())
        heading, body = _Words(title), _Words(text)
        parts: dict[str, float] = {}
        for word, weight in self._weights.items():
            misspelt = word in self._unknown
            strength = heading.has(word, misspelt=misspelt)
            if strength < 1:
                strength = max(strength, _IN_BODY * body.has(word, misspelt=misspelt))
            if strength:
                parts[word] = strength * weight
        why = sorted(parts.keys() - _small(), key=lambda word: (-parts[word], word))[:5]
        if not why:  # they greet alike
            return Score(0.0, ())
        # Long texts hold any word by chance.
        longer = 1 + 0.2 * math.log(max(1.0, body.count / _USUAL_LENGTH))
        value = min(1.0, sum(parts.values()) / (self._whole * longer))
        return Score(round(value, 4), tuple(why))


class _Words:
    """The words of a text, by their forms."""

    def __init__(self, text: str) -> None:
        words = words_in(text)
        self.count = len(words)
        self._known = frozenset(words)
        self._by_form: dict[str, list[str]] = {}
        for word in self._known:
            for form in forms_of(word, asked=True).coarse:
                self._by_form.setdefault(form, []).append(word)

    def has(self, word: str, *, misspelt: bool) -> float:
        """1 for the word itself, less for one of its stem, or that resembles it; 0 for none."""
        if word in self._known:
            return 1.0
        best = 0.0
        for form in forms_of(word, asked=True).coarse:
            for other in self._by_form.get(form, ()):
                if word[:_STEM] == other[:_STEM]:
                    return _OF_STEM
                alike = _dice(_runs(word), _runs(other)) if misspelt else 0.0
                if alike >= _RESEMBLING:
                    best = max(best, 0.5 + 0.4 * alike)
        return best


@lru_cache(maxsize=20_000)
def _runs(word: str) -> frozenset[str]:
    padded = f" {word} "
    pairs = {padded[i : i + 2] for i in range(len(padded) - 1)}
    # Neighbours that changed places are the commonest slip: their letters still count.
    return frozenset(pairs | set(word))


def _dice(one: frozenset[str], other: frozenset[str]) -> float:
    return 2 * len(one & other) / (len(one) + len(other)) if one and other else 0.0


def resemblance(one: str, other: str) -> float:
    """The share of three-word runs that two texts have in common, 0 to 1: 1 for a copy."""
    return _dice(_shingles(one[:4_000]), _shingles(other[:4_000]))


@lru_cache(maxsize=8)  # one text is compared with many
def _shingles(text: str) -> frozenset[str]:
    words = words_in(text)
    size = min(3, len(words))
    return frozenset(" ".join(words[i : i + size]) for i in range(len(words) - size + 1) if size)


# Learning from what people did.

_PRIOR: Final = 3.0
_SWING: Final = 0.25
_WORTH: Final[Mapping[str, float]] = {"accepted": 1.0, "edited": 0.7, "rejected": 0.0}


def boost(counts: Mapping[str, int]) -> float:
    """By what a score is multiplied, 0.75 to 1.25, from verdicts on its source.

    The share of verdicts in its favour, as if three more had been half for and half against: one
    click moves little, twenty of a kind nearly as much as any number.
    """
    given = sum(counts.values())
    favour = sum(_WORTH[verdict] * n for verdict, n in counts.items())
    share = (favour + _PRIOR / 2) / (given + _PRIOR)
    return round(1 + _SWING * (2 * share - 1), 4)


# Showing.

_BETWEEN: Final = re.compile(r"(?<=[.!?])\s+|\s*\n\s*|(?<=[。！？])")


def snippet(text: str, why: Sequence[str], *, most: int = 240) -> str:
    """The part of `text` that says most of `why`, on one line."""
    pieces = [piece for piece in _BETWEEN.split(text[:20_000]) if piece and piece.strip()]
    if not pieces:
        return ""
    wanted = set(why)
    met = [len(wanted & set(words_in(piece))) for piece in pieces]
    start = max(range(len(pieces)), key=lambda place: (met[place], -place))
    shown = " ".join(" ".join(pieces[start : start + 6]).split())
    return shown if len(shown) <= most else f"{shown[: most - 1].rstrip()}…"


def in_language(ours: str | None, theirs: str | None) -> bool:
    """Whether two language tags are of one language; what has none fits all."""
    if ours is None or theirs is None:
        return True
    return ours.partition("-")[0].lower() == theirs.partition("-")[0].lower()


def together(texts: Iterable[str]) -> str:
    """Texts as one, what is empty left out."""
    return "\n".join(text for text in texts if text.strip())


__all__ = [
    "CAP",
    "MOST_ASKED",
    "MOST_KEPT",
    "Asked",
    "Forms",
    "Probe",
    "Score",
    "Scorer",
    "Spread",
    "asked",
    "boost",
    "folded",
    "forms_of",
    "in_language",
    "key_of",
    "keys_of",
    "rarity",
    "resemblance",
    "says_little",
    "snippet",
    "together",
    "words_in",
]
