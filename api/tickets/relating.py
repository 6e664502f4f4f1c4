"""Who watches a ticket, and what it is tied to."""

import uuid
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.deps import Tx
from api.routing import Route
from api.shapes import Request, examples
from api.tickets.acting import (
    Act,
    Acting,
    Changer,
    Number,
    Watcher,
)
from api.tickets.shapes import TicketOut
from domain.errors import Conflict, Invalid, NotFound, TicketNotFound
from domain.permissions import Permission, Principal, check
from domain.states import (
    RelationKind,
)
from domain.tickets import (
    Changed,
    Event,
    Linked,
    Unlinked,
    Unwatched,
    Watched,
)
from models import ledger
from models.session import Work
from services.tickets import Step

router = APIRouter(prefix="/api/v1/tickets", tags=["tickets"], route_class=Route)


class WatchIn(Request):
    model_config = examples({"user_id": "0198c5c1-1d2f-7b31-9e4a-0a1b2c3d4e5f"})

    user_id: UUID | None = Field(default=None, description="Whom; yourself when left out.")


LinkKind = Literal["parent", "duplicate", "relates", "follow_up", "problem"]


class LinkIn(Request):
    """`outgoing`: this ticket is the parent, the duplicate, the follow-up, the problem."""

    model_config = examples({"kind": "duplicate", "other": 1042})

    kind: LinkKind
    other: Annotated[int, Field(ge=1, le=2**63 - 1)]
    outgoing: bool = True


@router.post("/{number}/watch", summary="Follow a ticket")
async def watch(
    number: Number,
    caller: Watcher,
    work: Tx,
    act: Act,
    response: Response,
    body: WatchIn | None = None,
) -> TicketOut:
    user_id, permission = await _whom(work, caller, act, body)
    return await act.act(work, caller, number, Watched(user_id), permission, response)


@router.post("/{number}/unwatch", summary="Follow it no more")
async def unwatch(
    number: Number,
    caller: Watcher,
    work: Tx,
    act: Act,
    response: Response,
    body: WatchIn | None = None,
) -> TicketOut:
    user_id, permission = await _whom(work, caller, act, body)
    return await act.act(work, caller, number, Unwatched(user_id), permission, response)


async def _whom(
    work: Work, caller: Principal, act: Acting, body: WatchIn | None
) -> tuple[UUID, Permission]:
    """Who is to watch, and what deciding that for them takes."""
    assert caller.id is not None
    if body is None or body.user_id in (None, caller.id):
        return caller.id, Permission.TICKETS_VIEW
    caller.require(Permission.TICKETS_CHANGE)
    desk = await act.served.desks.current(work)
    agent = desk.agents.get(body.user_id) if body.user_id else None
    if agent is None or not agent.active:
        raise Invalid("There is no such agent.", fields={"/user_id": "names nobody active"})
    return agent.id, Permission.TICKETS_CHANGE


@router.post("/{number}/links", summary="Tie to another ticket")
async def link(
    number: Number, body: LinkIn, caller: Changer, work: Tx, act: Act, response: Response
) -> TicketOut:
    return await _relate(number, body, caller, work, act, response, add=True)


@router.delete("/{number}/links", summary="Untie from another ticket")
async def unlink(
    number: Number,
    caller: Changer,
    work: Tx,
    act: Act,
    response: Response,
    kind: Annotated[LinkKind, Query()],
    other: Annotated[int, Query(ge=1, le=2**63 - 1)],
    outgoing: Annotated[bool, Query()] = True,
) -> TicketOut:
    body = LinkIn(kind=kind, other=other, outgoing=outgoing)
    return await _relate(number, body, caller, work, act, response, add=False)


async def _relate(
    number: int,
    body: LinkIn,
    caller: Principal,
    work: Work,
    act: Acting,
    response: Response,
    *,
    add: bool,
) -> TicketOut:
    """Both tickets tell of a link in their timelines: all or none."""
    if body.other == number:
        raise Invalid("A ticket is not tied to itself.", fields={"/other": "is this ticket"})
    kind = RelationKind(body.kind)
    source, target = (number, body.other) if body.outgoing else (body.other, number)
    [rows] = await work.batch(ledger.lock_tickets(work.tenant_id, (number, body.other)))
    ids: dict[int, uuid.UUID] = {}
    for ticket in map(ledger.to_ticket, rows):
        check(caller, Permission.TICKETS_CHANGE, ticket)
        ids[ticket.number] = ticket.id
    if len(ids) < 2:
        raise TicketNotFound
    there = await work.row(
        "select source_id from relations where tenant_id = :tenant and kind = :kind"
        " and ((source_id = :source and target_id = :target)"
        " or (kind = 'relates' and source_id = :target and target_id = :source))",
        {
            "tenant": work.tenant_id,
            "source": ids[source],
            "kind": kind.value,
            "target": ids[target],
        },
    )
    if there is not None and there["source_id"] != ids[source]:  # related, told the other way
        source, target = target, source
    if there is None and not add:
        raise NoLink
    if there is None and kind is RelationKind.PARENT:
        await _refuse_circle(work, ids[source], ids[target])
    if there is not None and add:  # tied already: there is nothing to tell
        return await act.act(work, caller, number, Changed(), Permission.TICKETS_CHANGE, response)
    made = Linked if add else Unlinked
    steps = [
        Step(
            here,
            Event(
                key=act.key if here == number else f"{act.key}/other",
                actor=caller.actor,
                payload=made(kind, ids[beyond], beyond, outgoing=here == source),
                cause=act.origin.cause,
            ),
            Permission.TICKETS_CHANGE,
            seen=act.seen if here == number else None,
        )
        for here, beyond in ((number, body.other), (body.other, number))
    ]
    outcomes = await act.served.tickets.handle(work, *steps, caller=caller, origin=act.origin)
    return await act.answer(work, outcomes[0], response)


class NoLink(NotFound):
    code = "not_linked"

    def __init__(self) -> None:
        super().__init__("These tickets are not tied that way.")


async def _refuse_circle(work: Work, parent: UUID, child: UUID) -> None:
    found = await work.rows(
        "with recursive up as (select cast(:parent as uuid) as id union"
        " select r.source_id from relations r join up on r.target_id = up.id"
        " where r.tenant_id = :tenant and r.kind = 'parent')"
        " select (select count(*) from up where id = :child) as circle,"
        " (select count(*) from relations where tenant_id = :tenant and kind = 'parent'"
        "  and target_id = :child) as parents",
        {"tenant": work.tenant_id, "parent": parent, "child": child},
    )
    if found[0]["circle"]:
        raise Conflict("That would make a ticket its own ancestor.", fields={"/other": "is above"})
    if found[0]["parents"]:
        raise Conflict("That ticket has a parent already.", fields={"/other": "has a parent"})
