"""What a model may say about a ticket, and when it had better say nothing.

A verdict is advice: the rules that read it look at `abstained` first. The model itself lives behind
an adapter; here is only what a verdict means and which words of a message it may be drawn from.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from heapq import nlargest
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

WANTED_PRECISION: Final[Mapping[str, float]] = {
    "topic": 0.92, "priority": 0.85, "sentiment": 0.85, "spam": 0.97,
}  # fmt: skip
"""Of the guesses that are not withheld, this share is to be right. A wrong topic sends a ticket to
people who cannot help, which costs more than the moment an agent needs to set it; below nine in ten
agents learn to ignore the field. A wrong priority is mostly one step off, and a wrong mood changes
nothing by itself, so for those an answer more often is worth a mistake more often. A customer
taken for a spammer is a customer lost."""

LEAST_PROBABILITY: Final = 0.40
"""No guess below this stands, however well the model did on its held-out phrases: those are tidier
than what customers write, so thresholds chosen on them are optimistic."""

LEAST_KNOWN_SHARE: Final = 0.42
"""Of the words in a text the model must have met this share. A language it was never taught still
has a few familiar words (names, "error", "login"), and a linear model is sure of itself on those
alone. Measured on some 8,000 tickets: 95 in 100 English and German ones lie above 0.55, no French,
Spanish or Portuguese one above 0.32."""

STRANGE: Final = 0.5
"""Above this a text is out of scope. The scale is set so that one in twenty texts of a desk's own,
held out from training, lies above it."""

LONGEST: Final = 20_000
"""Characters that are looked at. A request is stated early; what follows is logs and threads."""

_LONGEST_RAW: Final = 60_000  # before quotes are cut: a reply below a long quote is still found
_LONGEST_MARKER: Final = 200  # a line that introduces a quote is never longer than this
_LONGEST_SIGNATURE: Final = 400  # what may follow "Kind regards" and still be a signature


class Topic(StrEnum):
    """What a ticket is about, in terms any help desk shares."""

    ACCOUNT_ACCESS = "account_access"
    BILLING = "billing"
    CANCELLATION_REFUND = "cancellation_refund"
    FEATURE_REQUEST = "feature_request"
    HOW_TO = "how_to"
    ORDERS = "orders"
    OTHER = "other"
    OUTAGE = "outage"
    SALES = "sales"
    SECURITY = "security"
    TECHNICAL_ISSUE = "technical_issue"


class Sentiment(StrEnum):
    NEGATIVE = "negative"
    NEUTRAL = "neutral"
    POSITIVE = "positive"


class Spam(StrEnum):
    """Whether somebody wants help, or wants to sell, to trick, or to be clicked on."""

    NOT_SPAM = "not_spam"
    SPAM = "spam"


class Guess(BaseModel):
    """The likeliest label and how likely; `abstained` means nobody should act on it."""

    model_config = ConfigDict(frozen=True)

    label: str
    probability: float = Field(ge=0, le=1)
    abstained: bool
    top: tuple[tuple[str, float], ...] = Field(max_length=3)


class Prediction(Guess):
    """A guess of a model that a desk taught, with what a person needs in order to trust it.

    `words` are those that spoke most for the label, each with how loudly. `strangeness` runs from 0
    (like what was taught) to 1 (like nothing seen); such texts are `out_of_scope` and abstained.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    words: tuple[tuple[str, float], ...] = ()
    strangeness: float = Field(ge=0, le=1)
    out_of_scope: bool
    model_version: str


class Level(StrEnum):
    """How fed up somebody is, as a lead looks for it: not, be careful, call them."""

    NONE = "none"
    SOME = "some"
    HIGH = "high"


class Sign(BaseModel):
    """Words that spoke for frustration, of which kind, and how loudly."""

    model_config = ConfigDict(frozen=True)

    kind: str
    words: str
    weight: float = Field(ge=0, le=1)


class Frustration(BaseModel):
    """From 0 (calm) to 1, what that is called, and what it was read off; `domain/frustration.py`
    reads it."""

    model_config = ConfigDict(frozen=True)

    value: float = Field(ge=0, le=1)
    level: Level
    signs: tuple[Sign, ...] = ()
    rules: str  # which version of them has read it


class Verdict(BaseModel):
    """What the models think of one message. A `Prediction` says more than a bare `Guess`.

    `model_version` names all of them together; each prediction names its own. There is one of the
    team only where the desk has taught one.
    """

    model_config = ConfigDict(frozen=True, protected_namespaces=())

    topic: Prediction | Guess
    priority: Prediction | Guess
    sentiment: Prediction | Guess
    model_version: str
    language: Prediction | Guess | None = None
    team: Prediction | Guess | None = None
    spam: Prediction | Guess | None = None  # verdicts of before the question was asked have none
    frustration: Frustration | None = None  # by rules; verdicts of before there were any have none
    input_sha256: str | None = None  # of the words it is about


def weigh(
    probabilities: Mapping[str, float], *, threshold: float, known_share: float = 1.0
) -> Guess:
    """The guess that follows from `probabilities`, withheld where it would be a coin toss.

    `known_share` is the part of the text's words that the model has ever seen. Equal
    probabilities are ordered by label, so that the same numbers always give the same guess.
    """
    ranked = sorted(probabilities.items(), key=lambda entry: (-entry[1], entry[0]))
    label, probability = ranked[0]
    doubtful = probability < max(threshold, LEAST_PROBABILITY)
    return Guess(
        label=label,
        probability=probability,
        abstained=doubtful or known_share < LEAST_KNOWN_SHARE,
        top=tuple(ranked[:3]),
    )


def predicted(
    labels: Sequence[str],
    probabilities: Sequence[float],
    *,
    threshold: float,
    strangeness: float,
    model_version: str,
    words: tuple[tuple[str, float], ...] = (),
) -> Prediction:
    """The prediction that follows from a probability for each of `labels`, which are in order.

    It is withheld below `threshold`, which was chosen on held-out texts, and for a text like
    nothing seen, however sure the model is of it: among strange words it clings to familiar ones.
    """
    # Of equal ones the earlier label: `labels` are in order. Not sorted: 150 labels, 10,000 texts.
    best = nlargest(3, range(len(labels)), key=probabilities.__getitem__)
    ranked = [(labels[place], probabilities[place]) for place in best]
    label, probability = ranked[0]
    return Prediction(
        label=label,
        probability=min(probability, 1.0),
        abstained=probability < threshold or strangeness > STRANGE,
        top=tuple(ranked),
        words=words,
        strangeness=strangeness,
        out_of_scope=strangeness > STRANGE,
        model_version=model_version,
    )


def threshold_for(outcomes: Iterable[tuple[float, bool]], *, precision: float) -> float:
    """The lowest probability from which on guesses were right at least `precision` of the time.

    `outcomes` are (probability of the guess, whether it was right) on examples the model was not
    trained on. 1.0 (withhold nearly everything) where no threshold reaches it.
    """
    ranked = sorted(outcomes, key=lambda outcome: -outcome[0])
    lowest, right = 1.0, 0
    for count, (probability, is_right) in enumerate(ranked, start=1):
        right += is_right
        # Equal probabilities pass a threshold together, so only the last of them decides.
        is_last_of_its_value = count == len(ranked) or ranked[count][0] < probability
        if is_last_of_its_value and right >= precision * count:
            lowest = probability
    return lowest


_REPLY_PREFIX = re.compile(
    r"^\s*(?:(?:re|aw|fw|fwd|wg|sv|antw)\s*(?:\[\d{1,3}\])?\s*:|\[[^\]]{1,40}\])\s*", re.I
)
_INVISIBLE = {
    code: " "
    for code in (*range(0x20), *range(0x7F, 0xA0), 0xFEFF, 0xFFFD, *range(0x200B, 0x2010))
    if chr(code) not in "\n\t"
}
_QUOTE_BEGINS = re.compile(
    r"-{2,}\s*(?:original message|ursprüngliche nachricht|original-nachricht|"
    r"forwarded message|weitergeleitete nachricht)\s*-{2,}|"
    r"_{20,}|"
    r"(?:on|am)\s(?=.*\d).{5,150}\b(?:wrote|schrieb)\b.{0,60}:",
    re.I,
)
_SIGN_OFF = re.compile(
    r"(?:(?:kind|best|warm|many)\s+)?(?:regards|wishes)|yours\s+(?:sincerely|faithfully|truly)|"
    r"sincerely|cheers|(?:mit\s+)?(?:freundlichen?|besten?|vielen?|schönen?|lieben?|herzlichen?)"
    r"\s+(?:grüßen?|gruß|grüssen?|gruss)|(?:viele|beste|liebe|schöne)\s+grüße|mfg|lg|vg",
    re.I,
)
_POSTSCRIPT = re.compile(r"p\.?\s?s\b", re.I)
_SENT_FROM = re.compile(r"(?:sent from|get outlook for|von meinem|gesendet von)\b.{0,60}", re.I)


def own_words(text: str) -> str:
    """What the writer of `text` says, without quoted lines, the thread below, and a signature.

    At most 20,000 characters. Where nothing would be left (a bare forward, a message written inside
    the quote) the uncut text is returned: too much to read is better than nothing.
    """
    plain = _plain(text)
    own = "\n".join(_without_signature(_without_quotes(_lines(plain)))).strip()
    kept = own if any(character.isalnum() for character in own) else plain.strip()
    return kept[:LONGEST]


def unquoted(text: str) -> str:
    """Likewise with the signature, and with nothing where all of it is quoted."""
    return "\n".join(_without_quotes(_lines(_plain(text)))).strip()[:LONGEST]


def said_anew(text: str) -> str:
    """What a reply says in words of its own: nothing where all of it is quoted or signature."""
    own = "\n".join(_without_signature(_without_quotes(_lines(_plain(text))))).strip()
    return own[:LONGEST] if any(character.isalnum() for character in own) else ""


def _plain(text: str) -> str:
    # Escaped line breaks arrive from exports that were encoded twice.
    bounded = text[:_LONGEST_RAW].replace("\\r\\n", "\n").replace("\\n", "\n")
    unified = bounded.replace("\r\n", "\n").replace("\r", "\n")
    return unicodedata.normalize("NFKC", unified.translate(_INVISIBLE))


def _lines(plain: str) -> list[str]:
    return [line.strip() for line in plain.split("\n")]


def words_of(subject: str, body: str) -> str:
    """Subject and body as one text to classify, without reply prefixes and bracketed tags."""
    bare = " ".join(subject[:1_000].split())
    while (shorter := _REPLY_PREFIX.sub("", bare, count=1)) != bare:
        bare = shorter
    return f"{own_words(bare)}\n{own_words(body)}".strip()


def _without_quotes(lines: list[str]) -> list[str]:
    kept: list[str] = []
    for line in lines:
        if len(line) <= _LONGEST_MARKER and _QUOTE_BEGINS.fullmatch(line):
            if any(character.isalnum() for previous in kept for character in previous):
                return kept  # an answer above its thread: all below is the thread
            continue  # the thread comes first: the answer is below or between
        if not line.startswith(">") and not _SENT_FROM.fullmatch(line):
            kept.append(line)
    return kept


def _without_signature(lines: list[str]) -> list[str]:
    """`lines` up to the sign-off, looked for from the end so that a long text costs no more."""
    cut, tail_length = len(lines), 0
    for index in range(len(lines) - 1, -1, -1):
        line = lines[index]
        if _POSTSCRIPT.match(line):
            break  # what follows the name still belongs to the message
        is_delimiter = line in ("--", "—")
        is_sign_off = len(line) <= 60 and _SIGN_OFF.fullmatch(line.rstrip(" ,.!")) is not None
        if is_delimiter or is_sign_off:
            cut = index
        tail_length += len(line) + 1
        if tail_length > _LONGEST_SIGNATURE:
            break
    return lines[:cut]
