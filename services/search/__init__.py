"""Tickets found by words, and the index that finds them."""

from services.search.filling import documents_of, rebuild
from services.search.finding import Found, Results, Search

__all__ = ["Found", "Results", "Search", "documents_of", "rebuild"]
