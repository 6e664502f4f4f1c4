"""What lists of tickets are ordered by, in SQL about a ticket `t`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from domain import scoring

# Written as in the predicates of partial indexes, so that the planner sees that they apply.
ACTIVE = "t.category in ('new', 'open', 'pending', 'on_hold')"
# As in ix_tickets_priority.
RANK = (
    "(case t.priority when 'urgent' then 4 when 'high' then 3 when 'normal' then 2"
    " when 'low' then 1 else 0 end)"
)
# As domain.scoring.by_time and pressure_of have it, in tenths of a point: what an active ticket
# scores at %(scored_at)s. Never less than its `pressure`, nor more than MOST_BY_TIME above it.
_AT = "%(scored_at)s::timestamptz"
TENTHS = (
    f"(t.pressure + case when t.breached_at is not null or t.next_due_at <= {_AT}"
    f" then {scoring.BREACHED}"
    + "".join(
        f" when t.next_due_at <= {_AT} + interval '{int(within.total_seconds())} seconds'"
        f" then {points}"
        for within, points in scoring.DUE
    )
    + f" else 0 end + coalesce(least({scoring.MOST_WAITING}, greatest(0, floor(date_part('epoch',"
    f" {_AT} - t.waiting_since) / {int(scoring.TENTH.total_seconds())}))), 0)::int)"
)


class Sort(StrEnum):
    """The orders of a list, each walked along one index."""

    UPDATED_DESC = "-updated_at"
    UPDATED = "updated_at"
    CREATED_DESC = "-created_at"
    CREATED = "created_at"
    DUE = "due"
    PRIORITY_DESC = "-priority"
    PRIORITY = "priority"
    SCORE_DESC = "-score"
    NUMBER = "number"
    NUMBER_DESC = "-number"


@dataclass(frozen=True, slots=True)
class Order:
    column: str  # what is ordered by, before the id
    of_row: str  # where a row of the page has it
    kind: Literal["time", "integer"]
    descending: bool


ORDERS: Mapping[Sort, Order] = {
    Sort.UPDATED_DESC: Order("t.updated_at", "updated_at", "time", True),
    Sort.UPDATED: Order("t.updated_at", "updated_at", "time", False),
    Sort.CREATED_DESC: Order("t.created_at", "created_at", "time", True),
    Sort.CREATED: Order("t.created_at", "created_at", "time", False),
    Sort.DUE: Order("t.next_due_at", "next_due_at", "time", False),
    Sort.PRIORITY_DESC: Order(RANK, "rank", "integer", True),
    Sort.PRIORITY: Order(RANK, "rank", "integer", False),
    Sort.SCORE_DESC: Order(TENTHS, "tenths", "integer", True),
    Sort.NUMBER: Order("t.number", "number", "integer", False),
    Sort.NUMBER_DESC: Order("t.number", "number", "integer", True),
}
