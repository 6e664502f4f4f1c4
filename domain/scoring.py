"""How pressing a ticket is, from 0 to 100, as a list of reasons that add up.

The number orders a queue; the reasons are for whoever asks why. Nothing here is learnt: a rule that
can be read is worth more than a better number that cannot.

Points are counted in tenths. What does not change with the clock is one number, `pressure_of`: it
is written with every event. What grows while nobody does anything (somebody waits, a promise comes
due) follows from instants in the row, so that a list is right at any time without a write.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from domain.states import Category
from domain.triage import Level

MOST: Final = 100
RECENT: Final = timedelta(days=30)
_PRIORITY: Final[Mapping[str, int]] = {"urgent": 400, "high": 260, "normal": 120, "low": 0}
_TOPIC: Final[Mapping[str, int]] = {"outage": 100, "security": 100, "cancellation_refund": 40}
_TIERS: Final[Mapping[str, int]] = {
    "platinum": 120, "vip": 120, "enterprise": 120, "gold": 80, "premium": 80, "silver": 40,
    "business": 40,
}  # fmt: skip
_NEGATIVE: Final = 100
_FRUSTRATED: Final = 120
BREACHED: Final = 250
DUE: Final = ((timedelta(hours=1), 200), (timedelta(hours=4), 120), (timedelta(days=1), 50))
"""What is due within so long, and what that is worth."""
TENTH: Final = timedelta(minutes=24)  # of waiting: ten hours are two and a half points
MOST_WAITING: Final = 120
_AGAIN: Final = 30  # for each message after the first that nobody has answered
_MOST_AGAIN: Final = 90
_BEFORE: Final = 20  # for each other ticket of the weeks before
MOST_BEFORE: Final = 3
_THEIR_TURN: Final = -200
MOST_BY_TIME: Final = BREACHED + MOST_WAITING
"""No clock adds more than this to what `pressure_of` says."""


class Contribution(BaseModel):
    """One reason, and how many points it gives or takes."""

    model_config = ConfigDict(frozen=True)

    name: str
    points: float
    because: str


class Score(BaseModel):
    """`value` is the sum of the contributions, kept within 0 and 100."""

    model_config = ConfigDict(frozen=True)

    value: int = Field(ge=0, le=MOST)
    contributions: tuple[Contribution, ...]


class Pressure(BaseModel):
    """All that counts about one ticket. Probabilities are a model's; 1 for what a person said."""

    model_config = ConfigDict(frozen=True)

    category: Category
    priority: str | None = None
    priority_probability: float = Field(default=1.0, ge=0, le=1)
    sentiment: str | None = None
    sentiment_probability: float = Field(default=1.0, ge=0, le=1)
    frustration: float = Field(default=0.0, ge=0, le=1)
    frustration_words: tuple[str, ...] = ()
    topic: str | None = None
    topic_probability: float = Field(default=1.0, ge=0, le=1)
    tier: str | None = None
    breached: bool = False
    due_at: datetime | None = None
    waiting_since: datetime | None = None  # the customer's first word that nobody has answered
    unanswered: int = Field(default=0, ge=0)  # messages of the customer since the last answer
    other_tickets: int = Field(default=0, ge=0)  # of the same customer, in the weeks before


def pressure(get: Callable[[str], object]) -> Pressure:
    """What counts about a ticket whose properties `get` gives by name.

    What models read off it counts as far as they are sure of it and nobody decided otherwise.
    """
    said, sure = _read(get)
    frustration, words = _frustrated(get)
    return Pressure(
        category=Category(str(get("category"))),
        priority=said["priority"],
        priority_probability=sure["priority"],
        sentiment=said["sentiment"],
        sentiment_probability=sure["sentiment"],
        frustration=frustration,
        frustration_words=words,
        topic=said["topic"],
        topic_probability=sure["topic"],
        tier=_text(get("tier")),
        breached=get("breached_at") is not None,
        due_at=_time(get("next_due_at")),
        waiting_since=_time(get("waiting_since")),
        unanswered=int(str(get("unanswered"))),
        other_tickets=int(str(get("earlier"))),
    )


def pressure_of(get: Callable[[str], object]) -> int:
    """The tenths of a point that do not change with the clock: the row keeps them."""
    said, sure = _read(get)
    return (
        round(_PRIORITY.get(said["priority"] or "", 0) * sure["priority"])
        + (round(_NEGATIVE * sure["sentiment"]) if said["sentiment"] == "negative" else 0)
        + round(_FRUSTRATED * _frustrated(get)[0])
        + round(_TOPIC.get(said["topic"] or "", 0) * sure["topic"])
        + _tier_points(_text(get("tier")))
        + min(_MOST_AGAIN, _AGAIN * max(0, int(str(get("unanswered"))) - 1))
        + _BEFORE * min(MOST_BEFORE, int(str(get("earlier"))))
        + (_THEIR_TURN if get("category") == Category.PENDING else 0)
    )


def by_time(
    *, breached: bool, due_at: datetime | None, waiting_since: datetime | None, now: datetime
) -> int:
    """The tenths of a point that the clock adds at `now`. The SQL of lists says the same."""
    points = _promised(breached, due_at, now)
    if waiting_since is not None and now > waiting_since:
        points += min(MOST_WAITING, (now - waiting_since) // TENTH)
    return points


def shown(tenths: int) -> int:
    """Tenths of a point as a score: whole, from 0 to 100."""
    return min(MOST, max(0, (tenths + 5) // 10))


def scored(ticket: Pressure, *, now: datetime) -> Score:
    """How pressing the ticket is at `now`, and why. What is finished presses nobody."""
    if not ticket.category.is_active:
        return Score(value=0, contributions=())
    found = [
        (name, tenths, because)
        for name, tenths, because in (
            _priority(ticket),
            _sentiment(ticket),
            _frustration(ticket),
            _topic(ticket),
            _tier(ticket),
            _promise(ticket, now),
            _waiting(ticket, now),
            _again(ticket),
            _before(ticket),
            _turn(ticket),
        )
        if tenths
    ]
    return Score(
        value=shown(sum(tenths for _, tenths, _ in found)),
        contributions=tuple(
            Contribution(name=name, points=tenths / 10, because=because)
            for name, tenths, because in found
        ),
    )


def _read(get: Callable[[str], object]) -> tuple[dict[str, str | None], dict[str, float]]:
    """Priority, mood and topic: what stands; else what a model was sure enough of to say."""
    verdict = get("verdict")
    decided = get("decided")
    said: dict[str, str | None] = {}
    sure = {"priority": 1.0, "sentiment": 1.0, "topic": 1.0}
    for name in sure:
        value = _text(get(name))
        guess = verdict.get(name) if isinstance(verdict, Mapping) else None
        if isinstance(guess, Mapping) and not guess["abstained"]:
            is_decided = isinstance(decided, (tuple, list)) and name in decided
            if value is None or (value == guess["label"] and not is_decided):
                value, sure[name] = str(guess["label"]), float(guess["probability"])
        said[name] = value
    return said, sure


def _frustrated(get: Callable[[str], object]) -> tuple[float, tuple[str, ...]]:
    """How fed up the last verdict found the customer, from where that is worth a name, and why."""
    verdict = get("verdict")
    read = verdict.get("frustration") if isinstance(verdict, Mapping) else None
    if not isinstance(read, Mapping) or read["level"] == Level.NONE:
        return 0.0, ()
    return float(read["value"]), tuple(
        str(sign["words"]) for sign in read["signs"] if sign["kind"] not in ("mood", "before")
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _time(value: object) -> datetime | None:
    return value if isinstance(value, datetime) else None


Reason = tuple[str, int, str]  # its name, tenths of a point, and the sentence


def _sure(probability: float) -> str:
    return "" if probability >= 1 else f", {probability:.0%} sure"


def _priority(ticket: Pressure) -> Reason:
    points = round(_PRIORITY.get(ticket.priority or "", 0) * ticket.priority_probability)
    return ("priority", points, f"Priority {ticket.priority}{_sure(ticket.priority_probability)}.")


def _sentiment(ticket: Pressure) -> Reason:
    is_negative = ticket.sentiment == "negative"
    points = round(_NEGATIVE * ticket.sentiment_probability) if is_negative else 0
    said = f"The customer is unhappy{_sure(ticket.sentiment_probability)}."
    return ("sentiment", points, said)


def _frustration(ticket: Pressure) -> Reason:
    points = round(_FRUSTRATED * ticket.frustration)
    words = ", ".join(f"“{one}”" for one in ticket.frustration_words[:3])
    return ("frustration", points, f"The customer is frustrated{': ' if words else ''}{words}.")


def _topic(ticket: Pressure) -> Reason:
    points = round(_TOPIC.get(ticket.topic or "", 0) * ticket.topic_probability)
    return ("topic", points, f"It is about {ticket.topic}{_sure(ticket.topic_probability)}.")


def _tier_points(tier: str | None) -> int:
    return _TIERS.get((tier or "").strip().lower(), 0)


def _tier(ticket: Pressure) -> Reason:
    return ("tier", _tier_points(ticket.tier), f"Their organization is {ticket.tier}.")


def _promised(breached: bool, due_at: datetime | None, now: datetime) -> int:
    if breached:
        return BREACHED
    if due_at is None:
        return 0
    if due_at <= now:
        return BREACHED
    return next((points for within, points in DUE if due_at - now <= within), 0)


def _promise(ticket: Pressure, now: datetime) -> Reason:
    points = _promised(ticket.breached, ticket.due_at, now)
    if ticket.breached:
        return ("sla", points, "A promise was broken.")
    if ticket.due_at is None or ticket.due_at <= now:
        return ("sla", points, "A promise is overdue.")
    return ("sla", points, f"A promise is due in {_span(ticket.due_at - now)}.")


def _waiting(ticket: Pressure, now: datetime) -> Reason:
    if ticket.waiting_since is None:
        return ("waiting", 0, "")
    points = by_time(breached=False, due_at=None, waiting_since=ticket.waiting_since, now=now)
    waited = now - ticket.waiting_since
    return ("waiting", points, f"The customer has waited for {_span(waited)}.")


def _again(ticket: Pressure) -> Reason:
    points = min(_MOST_AGAIN, _AGAIN * max(0, ticket.unanswered - 1))
    return ("repeated_contacts", points, f"{ticket.unanswered} messages without an answer.")


def _before(ticket: Pressure) -> Reason:
    count = min(MOST_BEFORE, ticket.other_tickets)
    more = " or more" if count == MOST_BEFORE else ""
    plural = "s" if count > 1 else ""
    said = f"{count}{more} other ticket{plural} of this customer in the 30 days before."
    return ("recent_tickets", _BEFORE * count, said)


def _turn(ticket: Pressure) -> Reason:
    points = _THEIR_TURN if ticket.category is Category.PENDING else 0
    return ("turn", points, "It is the customer's turn.")


def _span(length: timedelta) -> str:
    minutes = int(length.total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h"
    return f"{minutes // 1440} days"


__all__ = [
    "BREACHED",
    "DUE",
    "MOST_BEFORE",
    "MOST_BY_TIME",
    "MOST_WAITING",
    "RECENT",
    "TENTH",
    "Contribution",
    "Pressure",
    "Score",
    "by_time",
    "pressure",
    "pressure_of",
    "scored",
    "shown",
]
