"""What whoever takes a ticket over reads first: how it stands, what is late, what was said."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.sla import Clock
from domain.summaries import Sentence, Summary
from domain.tickets.state import Ticket

_MOST_OF_EACH = 2


@dataclass(frozen=True, slots=True)
class Known:
    """What a briefing is made of, as it was when it was asked for."""

    ticket: Ticket
    status: str  # as the desk calls it
    team: str | None
    agent: str | None
    clocks: Sequence[Clock]
    said: Summary


def briefing(known: Known, *, now: datetime) -> str:
    """The note. Sentences of the conversation are quoted as they were written."""
    ticket = known.ticket
    priority = str(ticket.priority) if ticket.priority else "no priority"
    who = known.agent or "nobody"
    lines = [
        f"Briefing. The ticket is {known.status}, {priority}; {who} has it"
        + (f", in {known.team}." if known.team else ".")
    ]
    if ticket.customer_at is not None and (ticket.agent_at or ticket.created_at) <= (
        ticket.customer_at
    ):
        lines.append(
            f"The customer has waited for an answer for {_long(now - ticket.customer_at)}."
        )
    lines += [_promise(clock, now) for clock in known.clocks if clock.is_running and clock.promises]
    for title, sentences in (("The problem", known.said.problem), ("At last", known.said.state)):
        if quoted := _quoted(sentences):
            lines.append(f"{title}: {quoted}")
    return "\n".join(lines)


def _promise(clock: Clock, now: datetime) -> str:
    name = str(clock.metric).replace("_", " ").replace(":", " ").capitalize()
    if clock.breached_at is not None:
        return f"{name}: missed {_long(now - clock.breached_at)} ago."
    if clock.due_at is None:
        return f"{name}: paused."
    if clock.due_at <= now:
        return f"{name}: was due {_long(now - clock.due_at)} ago."
    return f"{name}: due in {_long(clock.due_at - now)}."


def _quoted(sentences: Sequence[Sentence]) -> str:
    return " ".join(f"“{one.text}”" for one in sentences[:_MOST_OF_EACH])


def _long(span: timedelta) -> str:
    minutes = max(0, int(span.total_seconds() // 60))
    for unit, size in (("d", 1440), ("h", 60)):
        if minutes >= size:
            return f"{minutes // size} {unit}"
    return f"{minutes} min"
