"""One change to many tickets: the list is fixed at once, each ticket answers for itself."""

from services.bulk.change import BulkChange
from services.bulk.jobs import MOST, BulkNotFound, cancel, items, job, queue, retime, undo, withdraw
from services.bulk.running import CHUNK, BulkRunner, Progress

__all__ = [
    "CHUNK",
    "MOST",
    "BulkChange",
    "BulkNotFound",
    "BulkRunner",
    "Progress",
    "cancel",
    "items",
    "job",
    "queue",
    "retime",
    "undo",
    "withdraw",
]
