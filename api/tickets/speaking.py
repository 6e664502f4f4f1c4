"""Making tickets, and what is said in them."""

from typing import Annotated, Self
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field, model_validator

from api.deps import Tx
from api.routing import Route
from api.shapes import Email, Instant, Request, examples
from api.tickets.acting import (
    Act,
    Create,
    Creator,
    Fields,
    Noter,
    Number,
    Read,
    Replier,
    Spoken,
    Tags,
    spoken,
    uploader,
)
from api.tickets.shapes import TicketOut
from domain.errors import Invalid, TicketNotFound
from domain.permissions import Permission
from domain.states import (
    ActorKind,
    Channel,
    Priority,
    TicketType,
    Visibility,
)
from domain.tickets import (
    Actor,
    AgentReplied,
    CustomerReplied,
    NoteAdded,
)
from services.customers import clean_identity
from services.tickets import Requester, TicketRequest
from services.views import requester_of

router = APIRouter(prefix="/api/v1/tickets", tags=["tickets"], route_class=Route)


class RequesterIn(Request):
    """Who asks: a customer by id, or anybody by an address or number (made where nobody has it)."""

    id: UUID | None = None
    email: Email | None = None
    phone: Annotated[str, Field(max_length=40)] | None = None
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(v is not None for v in (self.id, self.email, self.phone)) != 1:
            raise ValueError("name the requester by exactly one of id, email, phone")
        return self


class NewTicketIn(Spoken):
    model_config = examples(
        {
            "subject": "Router keeps restarting",
            "text": "Called at 9:40: it restarts every ten minutes.",
            "requester": {"email": "maria.sommer@example.com", "name": "Maria Sommer"},
            "on_behalf": True,
            "channel": "phone",
            "type": "incident",
            "priority": "high",
            "tags": ["router"],
            "language": "en",
        },
        {
            "subject": "Order a spare switch",
            "text": "For the Hamburg rack.",
            "requester": {"email": "it@example.com"},
            "visibility": "internal",
            "type": "task",
        },
    )

    subject: Annotated[str, Field(min_length=1, max_length=500)]
    requester: RequesterIn
    on_behalf: bool = Field(
        default=False, description="The words are the customer's (a call, a letter), not yours."
    )
    visibility: Visibility = Visibility.PUBLIC
    channel: Channel = Channel.AGENT
    status: str | None = None
    type: TicketType | None = None
    priority: Priority | None = None
    team_id: UUID | None = None
    assignee_id: UUID | None = None
    tags: Tags = Field(default_factory=list)
    fields: Fields = Field(default_factory=dict)
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] | None = None

    @model_validator(mode="after")
    def _customer_is_heard(self) -> Self:
        if self.on_behalf and self.visibility is Visibility.INTERNAL:
            raise ValueError("what a customer said is never internal")
        return self


class ReplyIn(Spoken):
    model_config = examples(
        {
            "text": "We have sent a new router; it arrives on Friday.",
            "status": "pending",
            "seen": 3,
        },
        {
            "html": "<p>Please try <b>version 4.2</b>.</p>",
            "attachments": ["0198c5c3-5c6d-7e7f-8091-92a3b4c5d6e7"],
        },
    )

    status: str | None = None
    seen: Read = None


class NoteIn(Spoken):
    model_config = examples({"text": "@grace-okafor can you check the serial number?"})


class CustomerMessageIn(Spoken):
    model_config = examples(
        {
            "text": "She called again: it works since noon.",
            "channel": "phone",
            "occurred_at": "2026-05-04T10:12:00Z",
        }
    )

    channel: Channel = Channel.PHONE
    occurred_at: Instant | None = None
    automatic: bool = Field(
        default=False,
        description="A machine answered for them (away, a bounce): kept, and nothing follows.",
    )


@router.post("", status_code=201, summary="Create a ticket")
async def create_ticket(
    body: NewTicketIn, caller: Creator, work: Tx, act: Create, response: Response
) -> TicketOut:
    who = body.requester
    requester = None
    if who.email is not None:
        found = clean_identity("email", who.email, pointer="/requester/email")
        requester = Requester(found.kind, found.value, who.name)
    elif who.phone is not None:
        found = clean_identity("phone", who.phone, pointer="/requester/phone")
        requester = Requester(found.kind, found.value, who.name)
    if body.team_id is not None or body.assignee_id is not None:
        caller.require(Permission.TICKETS_ASSIGN)
    message = None
    if body.text is not None or body.html is not None or body.attachments:
        message = await spoken(work, body, uploader(caller))
    asked = TicketRequest(
        key=act.key,
        subject=body.subject,
        message=message,
        channel=body.channel,
        requester=requester,
        requester_id=who.id,
        on_behalf=body.on_behalf,
        visibility=body.visibility,
        status=body.status,
        type=body.type,
        priority=body.priority,
        team_id=body.team_id,
        assignee_id=body.assignee_id,
        tags=tuple(body.tags),
        fields=body.fields,
        language=body.language,
        cause={"logged_by": str(caller.id)} if body.on_behalf else {},
    )
    try:
        outcome = await act.served.tickets.create(work, asked, caller=caller, origin=act.origin)
    except Invalid as refusal:  # in this body the id stands elsewhere than in the request it makes
        if "/requester_id" in refusal.fields:
            refusal.fields["/requester/id"] = refusal.fields.pop("/requester_id")
        raise
    response.headers["Location"] = f"/api/v1/tickets/{outcome.ticket.number}"
    made = await act.answer(work, outcome, response)
    name, email = await requester_of(work, outcome.ticket.requester_id)
    asking = made.requester.model_copy(update={"name": name, "email": email})
    return made.model_copy(update={"requester": asking})


@router.post("/{number}/replies", status_code=201, summary="Answer the customer")
async def reply(
    number: Number, body: ReplyIn, caller: Replier, work: Tx, act: Act, response: Response
) -> TicketOut:
    """With `If-Match` (or `seen`), it is refused where somebody wrote meanwhile (409
    `newer_message`), or changed what it changes (409 `changed_meanwhile`)."""
    if body.status is not None:
        caller.require(Permission.TICKETS_CHANGE)
    message = await spoken(work, body, uploader(caller))
    payload = AgentReplied(
        message, status=body.status, seen=body.seen if body.seen is not None else act.seen
    )
    return await act.act(work, caller, number, payload, Permission.TICKETS_REPLY, response)


@router.post("/{number}/notes", status_code=201, summary="Write an internal note")
async def note(
    number: Number, body: NoteIn, caller: Noter, work: Tx, act: Act, response: Response
) -> TicketOut:
    """`@handle` tells that agent. Customers never see notes."""
    payload = NoteAdded(await spoken(work, body, uploader(caller)))
    return await act.act(work, caller, number, payload, Permission.TICKETS_NOTE, response)


@router.post("/{number}/customer-messages", status_code=201, summary="Log what the customer said")
async def customer_message(
    number: Number,
    body: CustomerMessageIn,
    caller: Replier,
    work: Tx,
    act: Act,
    response: Response,
) -> TicketOut:
    """By phone, by letter, at the counter. On a closed ticket this opens its follow-up."""
    row = await work.row(
        "select requester_id from tickets where tenant_id = :tenant and number = :number",
        {"tenant": work.tenant_id, "number": number},
    )
    if row is None:
        raise TicketNotFound
    customer_id: UUID = row["requester_id"]
    message = await spoken(work, body, uploader(caller))
    return await act.act(
        work,
        caller,
        number,
        CustomerReplied(message, customer_id, body.channel, automatic=body.automatic),
        Permission.TICKETS_REPLY,
        response,
        actor=Actor(ActorKind.CUSTOMER, customer_id),
        cause={"logged_by": str(caller.id)},
        occurred_at=body.occurred_at,
    )
