"""Everything that happens to tickets: one transaction each, through the one rule book."""

from services.tickets.asking import Origin, Outcome, Queued, Requester, Step, TicketRequest
from services.tickets.handling import Tickets, clock
from services.tickets.staleness import NotYet

__all__ = [
    "NotYet",
    "Origin",
    "Outcome",
    "Queued",
    "Requester",
    "Step",
    "TicketRequest",
    "Tickets",
    "clock",
]
