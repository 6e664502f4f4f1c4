"""How pressing a ticket is, from 0 to 100, as a list of reasons that add up.

The number orders a queue; the reasons are for whoever asks why. Nothing here is learnt: a rule that
can be read is worth more than a better number that cannot.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from domain.states import Category

MOST: Final = 100
_PRIORITY: Final[Mapping[str, float]] = {"urgent": 40, "high": 26, "normal": 12, "low": 0}
_TOPIC: Final[Mapping[str, float]] = {"outage": 10, "security": 10, "cancellation_refund": 4}
_TIERS: Final[Mapping[str, float]] = {
    "platinum": 12, "vip": 12, "enterprise": 12, "gold": 8, "premium": 8, "silver": 4,
    "business": 4,
}  # fmt: skip
_NEGATIVE: Final = 10.0
_BREACHED: Final = 25.0
# What is due within so long, and what that is worth.
_DUE: Final = ((timedelta(hours=1), 20.0), (timedelta(hours=4), 12.0), (timedelta(days=1), 5.0))
_HOURS_A_POINT: Final = 4.0  # of waiting
_MOST_WAITING: Final = 12.0
_AGAIN: Final = 3.0  # for each message after the first that nobody has answered
_MOST_AGAIN: Final = 9.0
_BEFORE: Final = 2.0  # for each other ticket of the last weeks
_MOST_BEFORE: Final = 6.0
_THEIR_TURN: Final = -20.0


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
    topic: str | None = None
    tier: str | None = None
    breached: bool = False
    due_at: datetime | None = None
    waiting_since: datetime | None = None  # the customer's first word that nobody has answered
    unanswered: int = Field(default=0, ge=0)  # messages of the customer since the last answer
    other_tickets: int = Field(default=0, ge=0)  # of the same customer, in the last weeks


def scored(ticket: Pressure, *, now: datetime) -> Score:
    """How pressing the ticket is at `now`, and why. What is finished presses nobody."""
    if not ticket.category.is_active:
        return Score(value=0, contributions=())
    found = [
        one
        for one in (
            _priority(ticket),
            _sentiment(ticket),
            _topic(ticket),
            _tier(ticket),
            _promise(ticket, now),
            _waiting(ticket, now),
            _again(ticket),
            _before(ticket),
            _turn(ticket),
        )
        if one is not None and one.points
    ]
    total = round(sum(one.points for one in found))
    return Score(value=min(MOST, max(0, total)), contributions=tuple(found))


def _made(name: str, points: float, because: str) -> Contribution:
    return Contribution(name=name, points=round(points, 1), because=because)


def _sure(probability: float) -> str:
    return "" if probability >= 1 else f", {probability:.0%} sure"


def _priority(ticket: Pressure) -> Contribution | None:
    if ticket.priority is None:
        return None
    points = _PRIORITY.get(ticket.priority, 0) * ticket.priority_probability
    how = _sure(ticket.priority_probability)
    return _made("priority", points, f"Priority {ticket.priority}{how}.")


def _sentiment(ticket: Pressure) -> Contribution | None:
    if ticket.sentiment != "negative":
        return None
    how = _sure(ticket.sentiment_probability)
    points = _NEGATIVE * ticket.sentiment_probability
    return _made("sentiment", points, f"The customer is unhappy{how}.")


def _topic(ticket: Pressure) -> Contribution | None:
    points = _TOPIC.get(ticket.topic or "", 0)
    return _made("topic", points, f"It is about {ticket.topic}.") if points else None


def _tier(ticket: Pressure) -> Contribution | None:
    points = _TIERS.get((ticket.tier or "").strip().lower(), 0)
    return _made("tier", points, f"Their organization is {ticket.tier}.") if points else None


def _promise(ticket: Pressure, now: datetime) -> Contribution | None:
    if ticket.breached:
        return _made("sla", _BREACHED, "A promise was broken.")
    if ticket.due_at is None:
        return None
    left = ticket.due_at - now
    if left <= timedelta(0):
        return _made("sla", _BREACHED, "A promise is overdue.")
    for within, points in _DUE:
        if left <= within:
            return _made("sla", points, f"A promise is due in {_span(left)}.")
    return None


def _waiting(ticket: Pressure, now: datetime) -> Contribution | None:
    if ticket.waiting_since is None or now <= ticket.waiting_since:
        return None
    waited = now - ticket.waiting_since
    points = min(_MOST_WAITING, waited / timedelta(hours=1) / _HOURS_A_POINT)
    return _made("waiting", points, f"The customer has waited for {_span(waited)}.")


def _again(ticket: Pressure) -> Contribution | None:
    if ticket.unanswered < 2:
        return None
    points = min(_MOST_AGAIN, _AGAIN * (ticket.unanswered - 1))
    said = f"{ticket.unanswered} messages without an answer."
    return _made("repeated_contacts", points, said)


def _before(ticket: Pressure) -> Contribution | None:
    if not ticket.other_tickets:
        return None
    points = min(_MOST_BEFORE, _BEFORE * ticket.other_tickets)
    plural = "s" if ticket.other_tickets > 1 else ""
    said = f"{ticket.other_tickets} other ticket{plural} of this customer in 30 days."
    return _made("recent_tickets", points, said)


def _turn(ticket: Pressure) -> Contribution | None:
    if ticket.category is not Category.PENDING:
        return None
    return _made("turn", _THEIR_TURN, "It is the customer's turn.")


def _span(length: timedelta) -> str:
    minutes = int(length.total_seconds() // 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h"
    return f"{minutes // 1440} days"


__all__ = ["Contribution", "Pressure", "Score", "scored"]
