"""Reading tickets: lists, counts, one ticket with all that belongs to it, its timeline."""

from services.views.conversation import Conversation
from services.views.filters import EVERYTHING, TicketFilter, UnknownField, UnknownStatus, visible
from services.views.orders import Sort
from services.views.pages import requester_of, tickets_by_id, with_requester
from services.views.reading import (
    CONVERSATION,
    COUNTED,
    Counts,
    CustomerNotFound,
    Detail,
    Listed,
    Page,
    Timeline,
    Views,
)

__all__ = [
    "CONVERSATION",
    "COUNTED",
    "EVERYTHING",
    "Conversation",
    "Counts",
    "CustomerNotFound",
    "Detail",
    "Listed",
    "Page",
    "Sort",
    "TicketFilter",
    "Timeline",
    "UnknownField",
    "UnknownStatus",
    "Views",
    "requester_of",
    "tickets_by_id",
    "visible",
    "with_requester",
]
