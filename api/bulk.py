"""One change to many tickets."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field, model_validator

from api.deps import Allowed, From, Served, Tx
from api.routing import Route
from api.shapes import Page, Request, Shape, examples
from api.tickets.read import Filter
from domain.errors import Invalid
from domain.permissions import Permission, Principal
from domain.states import Priority, TicketType
from models.session import Row
from services import bulk
from services.tickets import clock
from services.views import Views

router = APIRouter(prefix="/api/v1/bulk", tags=["bulk"], route_class=Route)

Bulker = Annotated[Principal, Depends(Allowed(Permission.TICKETS_BULK))]
Tags = Annotated[list[str], Field(max_length=100)]


class BulkFilter(Filter):
    """Tickets by what they are now, in the words of the ticket list: each of its filters is here.

    As answers have it, null in a list stands for `none`, and `tags` for `tag`.
    """

    @model_validator(mode="before")
    @classmethod
    def _as_answers_have_it(cls, given: object) -> object:
        if not isinstance(given, Mapping):
            return given
        meant = {
            name: ["none" if one is None else one for one in value]
            if name in ("team", "assignee", "priority", "type") and isinstance(value, list)
            else value
            for name, value in given.items()
        }
        if "tags" in meant and "tag" not in meant:
            meant["tag"] = meant.pop("tags")
        return meant


class BulkPatch(Request):
    """What becomes of each ticket; what is left out stays. Null takes a team or assignee away."""

    status: str | None = None
    type: TicketType | None = None
    priority: Priority | None = None
    team_id: UUID | None = None
    assignee_id: UUID | None = None
    tags: Tags | None = None
    add_tags: Tags = Field(default_factory=list)
    remove_tags: Tags = Field(default_factory=list)
    fields: dict[str, object] = Field(default_factory=dict)
    reason: str | None = Field(default=None, max_length=500)

    def change(self) -> bulk.BulkChange:
        given = self.model_dump(mode="json", exclude_unset=True)
        for name in ("status", "priority", "tags"):
            if name in given and given[name] is None:
                raise Invalid(
                    f"A ticket's {name} cannot be taken away.",
                    fields={f"/change/{name}": "is null"},
                )
        return bulk.BulkChange(values=given)


class BulkRequest(Request):
    model_config = examples(
        {
            "numbers": [1042, 1043, 1051],
            "change": {"status": "resolved", "add_tags": ["outage-may"], "reason": "Mail is back."},
        },
        {
            "filter": {"category": ["new", "open"], "team": ["none"], "tag": ["billing"]},
            "change": {"team_id": "0198c5c1-0b4e-7a10-8c2d-4f5e6a7b8c9d"},
        },
    )

    numbers: list[Annotated[int, Field(gt=0)]] | None = Field(default=None, max_length=bulk.MOST)
    filter: BulkFilter | None = None
    change: BulkPatch


class BulkJob(Shape):
    """`counts`: tickets queued, done, unchanged, refused, cancelled, undone, kept.

    `codes` counts those with a code: `breached` are late now that they are timed anew, any other
    says why tickets were refused or kept.
    """

    id: UUID
    created_by: UUID
    state: str
    total: int
    counts: dict[str, int]
    codes: dict[str, int]
    action: dict[str, object]
    created_at: datetime
    finished_at: datetime | None


class BulkItem(Shape):
    """What became of one ticket. `code` and `detail` say why, where it was refused or kept."""

    number: int
    state: str
    code: str | None
    detail: str | None
    seq: int | None


def _job(row: Row) -> BulkJob:
    return BulkJob.model_validate(row)


@router.post("", status_code=202, summary="Change many tickets")
async def start_bulk(
    asked: BulkRequest, caller: Bulker, served: Served, work: Tx, origin: From
) -> BulkJob:
    """Queues a change to up to 1,000 tickets, named by number or matched once by a filter.

    Each ticket answers for itself: follow the job, cancel it, undo it.
    """
    if (asked.numbers is None) == (asked.filter is None):
        raise Invalid(
            "Name the tickets by number or by filter.",
            fields={"/numbers": "or filter is needed, not both"},
        )
    change = asked.change.change()
    change.check(await served.desks.current(work))
    row = await bulk.queue(
        work,
        Views(served.desks),
        caller=caller,
        numbers=asked.numbers,
        wanted=asked.filter.filter(caller) if asked.filter else None,
        change=change,
        origin=origin,
        now=clock(),
    )
    return _job(row)


@router.get("/{job_id}", summary="One job")
async def get_bulk(job_id: UUID, caller: Bulker, work: Tx) -> BulkJob:
    """How far a job is."""
    return _job(await bulk.job(work, job_id, caller))


@router.get("/{job_id}/items", summary="A job, ticket by ticket")
async def list_bulk_items(
    job_id: UUID,
    caller: Bulker,
    work: Tx,
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: Annotated[int, Query(ge=0)] = 0,
) -> Page[BulkItem]:
    """What became of each ticket."""
    rows = await bulk.items(work, job_id, caller, after=cursor, limit=limit + 1)
    more = str(rows[limit - 1]["number"]) if len(rows) > limit else None
    return Page(items=[BulkItem.model_validate(row) for row in rows[:limit]], next=more)


@router.post("/{job_id}/cancel", summary="Stop a job")
async def cancel_bulk(job_id: UUID, caller: Bulker, work: Tx, origin: From) -> BulkJob:
    """Stops a job; tickets it has changed stay changed until it is undone."""
    return _job(await bulk.cancel(work, job_id, caller, origin=origin, now=clock()))


@router.post("/{job_id}/undo", status_code=202, summary="Take a job back")
async def undo_bulk(job_id: UUID, caller: Bulker, work: Tx, origin: From) -> BulkJob:
    """Puts every changed ticket back, except where somebody changed the same since."""
    return _job(await bulk.undo(work, job_id, caller, origin=origin))
