"""Merging tickets, taking it back, splitting messages off."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Response
from pydantic import Field

from api.deps import Allowed, EventKey, From, Served, Tx
from api.routing import Route
from api.shapes import Request, Shape, examples
from api.tickets.shapes import TicketOut, ticket_out
from api.versions import Seen
from domain.permissions import Permission, Principal
from services import merging

router = APIRouter(prefix="/api/v1/tickets", tags=["tickets"], route_class=Route)

Merger = Annotated[Principal, Depends(Allowed(Permission.TICKETS_MERGE))]
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]


class MergeRequest(Request):
    model_config = examples({"into": 1042})

    into: int = Field(gt=0, lt=2**63, description="The ticket that goes on.")


class Merged(Shape):
    source: TicketOut
    target: TicketOut


class SplitRequest(Request):
    model_config = examples(
        {
            "message_ids": ["0198c5c3-6d7e-7f80-91a2-a3b4c5d6e7f8"],
            "subject": "And the invoice is wrong, too",
        }
    )

    message_ids: list[UUID] = Field(min_length=1, max_length=500)
    subject: str | None = Field(default=None, min_length=1, max_length=500)
    from_message: bool = Field(
        default=False,
        description="Its clocks count from the customer's first message in it, not from now.",
    )


class Split(Shape):
    source: TicketOut
    created: TicketOut


@router.post("/{number}/merge", summary="Merge into another ticket")
async def merge_ticket(
    number: Number, asked: MergeRequest, caller: Merger, served: Served, work: Tx, origin: From,
    key: EventKey, seen: Seen, response: Response,
) -> Merged:  # fmt: skip
    """Merges this ticket into another. Replies to it go there from now on; it can be taken back.

    `If-Match` and `ETag` are of this ticket, `source`.
    """
    result = await merging.merge(
        served.tickets, work, source=number, target=asked.into, key=key, caller=caller,
        origin=origin, seen=seen,
    )  # fmt: skip
    desk = await served.desks.current(work)
    response.headers["ETag"] = f'"{result.source.ticket.seq}"'
    return Merged(
        source=ticket_out(result.source.ticket, desk), target=ticket_out(result.target.ticket, desk)
    )


@router.post("/{number}/unmerge", summary="Take a merge back")
async def unmerge_ticket(
    number: Number, caller: Merger, served: Served, work: Tx, origin: From, key: EventKey,
    seen: Seen, response: Response,
) -> Merged:  # fmt: skip
    """Makes a merged ticket itself again, with every message that was written in it."""
    result = await merging.unmerge(
        served.tickets, work, source=number, key=key, caller=caller, origin=origin, seen=seen
    )
    desk = await served.desks.current(work)
    response.headers["ETag"] = f'"{result.source.ticket.seq}"'
    return Merged(
        source=ticket_out(result.source.ticket, desk), target=ticket_out(result.target.ticket, desk)
    )


@router.post("/{number}/split", status_code=201, summary="Split messages off into a new ticket")
async def split_ticket(
    number: Number, asked: SplitRequest, caller: Merger, served: Served, work: Tx, origin: From,
    key: EventKey, seen: Seen, response: Response,
) -> Split:  # fmt: skip
    """Moves chosen messages into a new ticket of the same requester, linked to this one."""
    result = await merging.split(
        served.tickets, work, number=number, message_ids=asked.message_ids,
        subject=asked.subject, key=key, caller=caller, origin=origin, seen=seen,
        from_message=asked.from_message,
    )  # fmt: skip
    desk = await served.desks.current(work)
    response.headers["ETag"] = f'"{result.source.ticket.seq}"'
    return Split(
        source=ticket_out(result.source.ticket, desk),
        created=ticket_out(result.created.ticket, desk),
    )
