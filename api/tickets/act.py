"""What people do to tickets. Each answers with the ticket as it is now, its version in the ETag."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import AwareDatetime, EmailStr, Field, model_validator

from api.deps import Allowed, EventKey, From, Served, Tx
from api.resources import Resources
from api.routing import Route
from api.shapes import Request, examples
from api.tickets.shapes import TicketOut, ticket_out
from api.versions import Seen
from domain.errors import Conflict, Invalid, NotFound, TicketNotFound
from domain.permissions import Permission, Principal, check
from domain.states import (
    ActorKind,
    Channel,
    Priority,
    RelationKind,
    TicketType,
    Visibility,
)
from domain.tickets import (
    KEEP,
    Actor,
    AgentReplied,
    Changed,
    CustomerReplied,
    Escalated,
    Event,
    Linked,
    NewMessage,
    NoteAdded,
    Payload,
    ReminderSet,
    Snoozed,
    Unlinked,
    Unwatched,
    Watched,
    Woken,
)
from models import ledger
from models.base import new_id
from models.session import Work
from services import files
from services.customers import clean_identity
from services.tickets import Origin, Outcome, Requester, Step, TicketRequest
from services.views import requester_of
from services.words import words

router = APIRouter(prefix="/api/v1/tickets", tags=["tickets"], route_class=Route)

Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
Tag = Annotated[str, Field(min_length=1, max_length=100)]
Tags = Annotated[list[Tag], Field(max_length=100)]
Fields = Annotated[dict[str, object], Field(max_length=300)]
Reason = Annotated[str, Field(min_length=1, max_length=1000)]
Read = Annotated[
    int | None, Field(ge=0, description="`seq` of the ticket as the author last read it.")
]

Creator = Annotated[Principal, Depends(Allowed(Permission.TICKETS_CREATE))]
Replier = Annotated[Principal, Depends(Allowed(Permission.TICKETS_REPLY))]
Noter = Annotated[Principal, Depends(Allowed(Permission.TICKETS_NOTE))]
Changer = Annotated[Principal, Depends(Allowed(Permission.TICKETS_CHANGE))]
Assigner = Annotated[Principal, Depends(Allowed(Permission.TICKETS_ASSIGN))]
Escalator = Annotated[Principal, Depends(Allowed(Permission.TICKETS_ESCALATE))]
Watcher = Annotated[Principal, Depends(Allowed(Permission.TICKETS_VIEW))]


class Spoken(Request):
    """Something said: text, HTML, or both. Files are uploaded before and named here."""

    text: str | None = None
    html: str | None = None
    attachments: Annotated[list[UUID], Field(max_length=files.MOST_PER_MESSAGE)] = Field(
        default_factory=list
    )


class RequesterIn(Request):
    """Who asks: a customer by id, or anybody by an address or number (made where nobody has it)."""

    id: UUID | None = None
    email: EmailStr | None = None
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
    occurred_at: AwareDatetime | None = None


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


class SnoozeIn(Request):
    model_config = examples(
        {"until": "2027-01-08T08:00:00Z"}, {"until": None, "wake_on_reply": True}
    )

    until: AwareDatetime | None = None
    wake_on_reply: bool = True


class ReminderIn(Request):
    model_config = examples(
        {"at": "2027-01-08T08:00:00Z", "note": "Ask whether the part has come."}
    )

    at: AwareDatetime
    note: Annotated[str, Field(max_length=1000)] = ""


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


class Acting:
    """What every action needs beside its caller: where it came from, under which key, and which
    version of the ticket it was decided upon."""

    def __init__(
        self, served: Resources, origin: Origin, key: str, seen: int | None = None
    ) -> None:
        self.served = served
        self.origin = origin
        self.key = key
        self.seen = seen

    async def act(
        self,
        work: Work,
        caller: Principal,
        number: int,
        payload: Payload,
        permission: Permission,
        response: Response,
        *,
        actor: Actor | None = None,
        cause: Mapping[str, object] | None = None,
        occurred_at: datetime | None = None,
    ) -> TicketOut:
        """One event on one ticket."""
        event = Event(
            key=self.key,
            actor=actor or caller.actor,
            payload=payload,
            cause={**self.origin.cause, **(cause or {})},
            occurred_at=occurred_at,
        )
        [outcome] = await self.served.tickets.handle(
            work, Step(number, event, permission, seen=self.seen), caller=caller, origin=self.origin
        )
        return await self.answer(work, outcome, response)

    async def answer(self, work: Work, outcome: Outcome, response: Response) -> TicketOut:
        response.headers["ETag"] = f'"{outcome.ticket.seq}"'
        # The desk it was decided by: any version in memory is no older, so this asks nothing.
        return ticket_out(outcome.ticket, await self.served.desks.get(work, 0))


async def _creating(served: Served, origin: From, key: EventKey) -> Acting:
    return Acting(served, origin, key)


async def _acting(served: Served, origin: From, key: EventKey, seen: Seen) -> Acting:
    return Acting(served, origin, key, seen)


Create = Annotated[Acting, Depends(_creating)]
Act = Annotated[Acting, Depends(_acting)]


async def spoken(work: Work, body: Spoken, uploaded_by: str) -> NewMessage:
    """What was said as it will be stored, its files held."""
    said = words(body.text, body.html, may_be_empty=bool(body.attachments))
    held = await files.claim(work, body.attachments, uploaded_by=uploaded_by)
    return NewMessage(new_id(), said.text, said.html, held)


def uploader(caller: Principal) -> str:
    """How a caller's uploads are marked as theirs."""
    return f"{caller.kind}:{caller.id}"


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
    outcome = await act.served.tickets.create(
        work,
        TicketRequest(
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
        ),
        caller=caller,
        origin=act.origin,
    )
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
        CustomerReplied(message, customer_id, body.channel),
        Permission.TICKETS_REPLY,
        response,
        actor=Actor(ActorKind.CUSTOMER, customer_id),
        cause={"logged_by": str(caller.id)},
        occurred_at=body.occurred_at,
    )


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


# Whose it is.


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


# Later.


@router.post("/{number}/snooze", summary="Put out of sight until later")
async def snooze(
    number: Number, body: SnoozeIn, caller: Changer, work: Tx, act: Act, response: Response
) -> TicketOut:
    payload = Snoozed(body.until, wake_on_reply=body.wake_on_reply)
    return await act.act(work, caller, number, payload, Permission.TICKETS_CHANGE, response)


@router.post("/{number}/wake", summary="Bring back into sight")
async def wake(
    number: Number, caller: Changer, work: Tx, act: Act, response: Response
) -> TicketOut:
    return await act.act(work, caller, number, Woken(), Permission.TICKETS_CHANGE, response)


@router.post("/{number}/reminder", summary="Be reminded")
async def remind(
    number: Number, body: ReminderIn, caller: Changer, work: Tx, act: Act, response: Response
) -> TicketOut:
    payload = ReminderSet(body.at, body.note)
    return await act.act(work, caller, number, payload, Permission.TICKETS_CHANGE, response)


@router.delete("/{number}/reminder", summary="Take the reminder back")
async def forget_reminder(
    number: Number, caller: Changer, work: Tx, act: Act, response: Response
) -> TicketOut:
    payload = ReminderSet(None)
    return await act.act(work, caller, number, payload, Permission.TICKETS_CHANGE, response)


# Watchers.


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


# Links.


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


__all__ = ["router", "spoken", "uploader"]
