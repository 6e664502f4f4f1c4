"""Search over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from api.deps import Allowed, Served
from api.routing import Route
from api.tickets.shapes import FoundOut, ResultsOut, told
from domain.permissions import Permission, Principal
from services.tickets import clock

router = APIRouter(prefix="/api/v1/search", tags=["search"], route_class=Route)


@router.get("", summary="Search tickets")
async def search(
    served: Served,
    caller: Annotated[Principal, Depends(Allowed(Permission.TICKETS_VIEW))],
    q: Annotated[
        str, Query(min_length=1, max_length=300, pattern="^[^\0]*$", description="Some words.")
    ],
    limit: Annotated[int, Query(ge=1, le=50)] = 20,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> ResultsOut:
    """Tickets that fit the words best; a ticket's number or a customer's address comes first.

    The first page may be longer than `limit`: it begins with what was changed a moment ago.
    """
    results = await served.search.search(served.database, caller, q, limit=limit, cursor=cursor)
    now = clock()
    return ResultsOut(
        items=[
            FoundOut.model_validate(
                {
                    **told(found.listed.row, results.desk, now=now),
                    "snippets": dict(found.snippets),
                }
            )
            for found in results.items
        ],
        next=results.next,
        total=results.total,
        degraded=results.degraded,
    )
