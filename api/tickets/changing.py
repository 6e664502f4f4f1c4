"""What a ticket is, and whose."""

from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field, model_validator

from api.deps import Tx
from api.routing import Route
from api.shapes import Request, examples
from api.tickets.acting import (
    Act,
    Assigner,
    Changer,
    Escalator,
    Fields,
    Number,
    Read,
    Reason,
    Tags,
)
from api.tickets.shapes import TicketOut
from domain.errors import Conflict, Invalid
from domain.permissions import Permission
from domain.states import (
    Priority,
    TicketType,
)
from domain.tickets import (
    KEEP,
    Changed,
    Escalated,
    HandedBack,
)
from services.timing import before_escalation

router = APIRouter(prefix="/api/v1/tickets", tags=["tickets"], route_class=Route)


class TicketPatch(Request):
    """What is left out stays; null clears."""

    model_config = examples(
        {
            "status": "resolved",
            "add_tags": ["firmware"],
            "reason": "Fixed by version 4.2.",
            "seen": 5,
        },
        {"priority": "urgent", "assignee_id": None},
    )

    subject: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    status: str | None = None
    type: TicketType | None = None
    priority: Priority | None = None
    team_id: UUID | None = None
    assignee_id: UUID | None = None
    tags: Tags | None = None
    add_tags: Tags = Field(default_factory=list)
    remove_tags: Tags = Field(default_factory=list)
    fields: Fields = Field(default_factory=dict)
    reason: Reason | None = None
    seen: Read = None

    @model_validator(mode="after")
    def _clears_what_can_be_cleared(self) -> Self:
        for name in ("subject", "status", "priority", "tags"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} cannot be null")
        return self


class AssignIn(Request):
    model_config = examples(
        {
            "team_id": "0198c5c1-0b4e-7a10-8c2d-4f5e6a7b8c9d",
            "assignee_id": "0198c5c1-1d2f-7b31-9e4a-0a1b2c3d4e5f",
            "reason": "Knows these routers.",
        }
    )

    team_id: UUID | None = None
    assignee_id: UUID | None = None
    reason: Reason | None = None
    seen: Read = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set & {"team_id", "assignee_id"}:
            raise ValueError("name a team, an agent, or both")
        return self


class UnassignIn(Request):
    model_config = examples({"reason": "On leave from Monday."})

    reason: Reason | None = None


class EscalateIn(Request):
    model_config = examples(
        {"reason": "The whole site is down.", "team_id": "0198c5c1-0b4e-7a10-8c2d-4f5e6a7b8c9d"}
    )

    reason: Reason
    team_id: UUID | None = None
    assignee_id: UUID | None = None


class HandBackIn(Request):
    model_config = examples({"reason": "The line is up again; the rest is routine."})

    reason: Reason


@router.patch("/{number}", summary="Change properties")
async def change_ticket(
    number: Number,
    body: TicketPatch,
    caller: Changer,
    work: Tx,
    act: Act,
    response: Response,
) -> TicketOut:
    """With `If-Match` (or `seen`), changes to what somebody else changed meanwhile are refused.

    409 `changed_meanwhile` names the properties; changes to other properties are merged.
    """
    asked = body.model_fields_set
    if asked & {"team_id", "assignee_id"}:
        caller.require(Permission.TICKETS_ASSIGN)
    if body.tags is not None and (body.add_tags or body.remove_tags):
        raise Invalid(
            "Set the tags, or add and remove some; not both.", fields={"/tags": "with add_tags"}
        )
    payload = Changed(
        subject=body.subject if body.subject is not None else KEEP,
        status=body.status if body.status is not None else KEEP,
        type=body.type if "type" in asked else KEEP,
        priority=body.priority if body.priority is not None else KEEP,
        team_id=body.team_id if "team_id" in asked else KEEP,
        assignee_id=body.assignee_id if "assignee_id" in asked else KEEP,
        tags=tuple(body.tags) if body.tags is not None else KEEP,
        add_tags=tuple(body.add_tags),
        remove_tags=tuple(body.remove_tags),
        fields=body.fields,
        reason=body.reason,
        seen=body.seen,
    )
    return await act.act(work, caller, number, payload, Permission.TICKETS_CHANGE, response)


@router.post("/{number}/claim", summary="Take a ticket")
async def claim(
    number: Number, caller: Assigner, work: Tx, act: Act, response: Response
) -> TicketOut:
    """409 `claimed` where somebody else has it: take it from them with `assign`."""
    row = await work.row(
        "select assignee_id from tickets where tenant_id = :tenant and number = :number for update",
        {"tenant": work.tenant_id, "number": number},
    )
    payload = Changed(assignee_id=caller.id)
    if row is not None and row["assignee_id"] not in (None, caller.id):
        # Whether they may know of the ticket at all is asked first, by an event that does nothing.
        await act.act(work, caller, number, Changed(), Permission.TICKETS_ASSIGN, response)
        raise Claimed(number)
    return await act.act(work, caller, number, payload, Permission.TICKETS_ASSIGN, response)


class Claimed(Conflict):
    code = "claimed"

    def __init__(self, number: int) -> None:
        super().__init__(f"Somebody else has ticket {number}. Assign it to yourself to take over.")


@router.post("/{number}/assign", summary="Assign to a team, an agent, or both")
async def assign(
    number: Number, body: AssignIn, caller: Assigner, work: Tx, act: Act, response: Response
) -> TicketOut:
    asked = body.model_fields_set
    payload = Changed(
        team_id=body.team_id if "team_id" in asked else KEEP,
        assignee_id=body.assignee_id if "assignee_id" in asked else KEEP,
        reason=body.reason,
        seen=body.seen,
    )
    return await act.act(work, caller, number, payload, Permission.TICKETS_ASSIGN, response)


@router.post("/{number}/unassign", summary="Take the agent off; the team keeps the ticket")
async def unassign(
    number: Number,
    caller: Assigner,
    work: Tx,
    act: Act,
    response: Response,
    body: UnassignIn | None = None,
) -> TicketOut:
    payload = Changed(assignee_id=None, reason=body.reason if body else None)
    return await act.act(work, caller, number, payload, Permission.TICKETS_ASSIGN, response)


@router.post("/{number}/escalate", summary="Hand on to those who can help")
async def escalate(
    number: Number, body: EscalateIn, caller: Escalator, work: Tx, act: Act, response: Response
) -> TicketOut:
    payload = Escalated(body.reason, team_id=body.team_id, assignee_id=body.assignee_id)
    return await act.act(work, caller, number, payload, Permission.TICKETS_ESCALATE, response)


@router.post("/{number}/hand-back", summary="End an escalation")
async def hand_back(
    number: Number, body: HandBackIn, caller: Escalator, work: Tx, act: Act, response: Response
) -> TicketOut:
    """Team and agent from before the escalation have the ticket again; an agent who has left the
    team since does not. 409 where nothing is escalated."""
    team_id, assignee_id = await before_escalation(work, number)
    payload = HandedBack(body.reason, team_id=team_id, assignee_id=assignee_id)
    return await act.act(work, caller, number, payload, Permission.TICKETS_ESCALATE, response)
