"""The public door: customers submit, and read and answer their own ticket through a signed link.

Two ways in: an intake key (a web site's server, a mail gateway, a chat bot), or a form that anybody
may send for a tenant. Both answer with the ticket's number and its link.
"""

import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal, Self
from uuid import UUID

from cachetools import LRUCache
from fastapi import APIRouter, Depends, Path, UploadFile
from fastapi.responses import StreamingResponse
from pydantic import Field, model_validator

from api.attachments import A_FILE, AttachmentOut, chunks_of, sent
from api.deps import Allowed, EventKey, From, Served, Tx
from api.problems import also
from api.resources import Resources
from api.routing import Route
from api.shapes import Email, Request, Shape, examples
from domain.errors import Invalid, NotFound
from domain.permissions import Permission, Principal
from domain.states import ActorKind, Category, Channel
from domain.tickets import Actor, CustomerReplied, Event, NewMessage, Ticket
from models.base import new_id
from models.session import Work
from services import files
from services.customers import IdentityKind, clean_identity
from services.links import Links, TicketLink
from services.public import Shown, shown
from services.tenants import find_tenant
from services.tickets import Origin, Requester, Step, TicketRequest, clock
from services.words import words

router = APIRouter(prefix="/public/v1", tags=["public"], route_class=Route)

Intake = Annotated[Principal, Depends(Allowed(Permission.INTAKE))]
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
InChannel = Literal["email", "portal", "chat", "api", "phone", "web"]


class IdentityIn(Request):
    kind: IdentityKind
    value: Annotated[str, Field(min_length=1, max_length=320)]


class SubmitterIn(Request):
    """Who asks: an address, or another way they are known."""

    email: Email | None = None
    identity: IdentityIn | None = None
    name: Name | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.email is None) == (self.identity is None):
            raise ValueError("name the requester by either email or identity")
        return self

    @property
    def requester(self) -> Requester:
        if self.identity is not None:
            known = clean_identity(
                self.identity.kind, self.identity.value, pointer="/requester/identity/value"
            )
        else:
            known = clean_identity("email", str(self.email), pointer="/requester/email")
        return Requester(known.kind, known.value, self.name)


class Submission(Request):
    subject: Annotated[str, Field(min_length=1, max_length=500)]
    text: str | None = None
    html: str | None = None
    fields: Annotated[dict[str, object], Field(max_length=100)] = Field(
        default_factory=dict, description="Custom fields that customers may fill in."
    )
    language: Language | None = None


class IntakeSubmission(Submission):
    model_config = examples(
        {
            "subject": "My parcel has not come",
            "text": "It was to be here on Tuesday. Order 81234.",
            "requester": {"email": "maria.sommer@example.com", "name": "Maria Sommer"},
            "channel": "web",
            "external_id": "shop-81234",
            "language": "en",
        },
        {
            "subject": "Card refused",
            "html": "<p>My card was <b>refused</b> twice.</p>",
            "requester": {"identity": {"kind": "external", "value": "shop-customer-5512"}},
            "channel": "chat",
        },
    )

    requester: SubmitterIn
    channel: InChannel = "api"
    external_id: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        default=None, description="What the sending system calls this; told in the timeline."
    )


class FormSubmission(Submission):
    model_config = examples(
        {
            "subject": "My parcel has not come",
            "text": "It was to be here on Tuesday. Order 81234.",
            "email": "maria.sommer@example.com",
            "name": "Maria Sommer",
            "language": "en",
        }
    )

    email: Email
    name: Name | None = None
    website: str = Field(
        default="", description="Leave empty. Hidden on the page: only programs fill it in."
    )


class Submitted(Shape):
    """`link` opens the ticket to whoever has it: give it to the customer only."""

    number: int
    link: str
    url: str


class PublicMessage(Shape):
    id: UUID
    from_you: bool
    author_name: str | None
    text: str
    html: str | None
    created_at: datetime
    attachments: list[AttachmentOut]


class PublicTicket(Shape):
    number: int
    subject: str
    status: str = Field(description="In the words the desk has for customers.")
    over: bool = Field(description="An answer opens a follow-up.")
    created_at: datetime
    updated_at: datetime
    fields: dict[str, object]
    messages: list[PublicMessage]


class CustomerReply(Request):
    model_config = examples({"text": "It came this morning. Thank you!"})

    text: str | None = None
    html: str | None = None
    attachments: Annotated[list[UUID], Field(max_length=files.MOST_PER_MESSAGE)] = Field(
        default_factory=list
    )


@lru_cache(maxsize=4)
def links_of(secret: str) -> Links:
    return Links(secret)


def links(served: Resources) -> Links:
    return links_of(served.settings.secret_key.get_secret_value())


# A tenant's short name never changes, so it is looked up once per process.
_tenants: LRUCache[tuple[int, str], uuid.UUID] = LRUCache(10_000)


async def _tenant(
    tenant: Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")], served: Served
) -> uuid.UUID:
    key = (id(served.database), tenant)
    found = _tenants.get(key)
    if found is None:
        found = await find_tenant(served.database, tenant)
        if found is None:
            raise NotFound("There is no such desk.")
        _tenants[key] = found
    return found


async def _form_work(
    tenant_id: Annotated[uuid.UUID, Depends(_tenant)], served: Served
) -> AsyncIterator[Work]:
    async with served.database.transaction(tenant_id) as work:
        yield work


FormTx = Annotated[Work, Depends(_form_work, scope="function")]


async def _opened(
    link: Annotated[str, Path(min_length=60, max_length=200)], served: Served
) -> TicketLink:
    return links(served).read(link, now=clock())


Opened = Annotated[TicketLink, Depends(_opened)]


async def _link_work(opened: Opened, served: Served) -> AsyncIterator[Work]:
    async with served.database.transaction(opened.tenant_id) as work:
        yield work


LinkTx = Annotated[Work, Depends(_link_work, scope="function")]


@router.post("/tickets", status_code=201, summary="Submit with an intake key")
async def submit(
    body: IntakeSubmission,
    caller: Intake,
    work: Tx,
    served: Served,
    origin: From,
    key: EventKey,
) -> Submitted:
    """The customer is made where nobody has that address. One ticket per Idempotency-Key."""
    cause = {"intake_key": str(caller.id)}
    if body.external_id is not None:
        cause["external_id"] = body.external_id
    return await _create(
        body, body.requester.requester, Channel(body.channel), cause, caller, work, served, origin,
        key,
    )  # fmt: skip


@router.post(
    "/{tenant}/tickets",
    status_code=201,
    summary="Submit the form of a desk",
    responses=also(404),
)
async def submit_form(
    body: FormSubmission, work: FormTx, served: Served, origin: From, key: EventKey
) -> Submitted:
    if body.website:
        raise Invalid("Leave that field empty.", fields={"/website": "is not for people"})
    requester = SubmitterIn(email=body.email, name=body.name).requester
    # A key is the sender's own: two strangers may choose the same one.
    own_key = f"form:{origin.ip}:{key}"
    return await _create(
        body, requester, Channel.WEB, {"form": True}, None, work, served, origin, own_key
    )


async def _create(
    body: Submission,
    requester: Requester,
    channel: Channel,
    cause: Mapping[str, object],
    caller: Principal | None,
    work: Work,
    served: Resources,
    origin: Origin,
    key: str,
) -> Submitted:
    """The hot path: two round trips and the commit, where the customer is known."""
    said = words(body.text, body.html)
    outcome = await served.tickets.create(
        work,
        TicketRequest(
            key=key,
            subject=body.subject,
            message=NewMessage(new_id(), said.text, said.html),
            channel=channel,
            requester=requester,
            fields=body.fields,
            language=body.language,
            cause=cause,
        ),
        caller=caller,
        origin=origin,
    )
    return submitted(served, work.tenant_id, outcome.ticket)


def submitted(served: Resources, tenant_id: uuid.UUID, ticket: Ticket) -> Submitted:
    link = links(served).sign(tenant_id, ticket.id, now=clock())
    base = served.settings.public_url.rstrip("/")
    return Submitted(number=ticket.number, link=link, url=f"{base}/portal/tickets/{link}")


@router.get("/tickets/{link}", summary="Read one's own ticket", responses=also(404))
async def read_ticket(opened: Opened, work: LinkTx, served: Served) -> PublicTicket:
    """What was said in public, nothing internal. After a merge it reads on in the other ticket."""
    seen = await shown(work, served.desks, opened.ticket_id)
    ticket = seen.ticket
    return PublicTicket(
        number=ticket.number,
        subject=ticket.subject,
        status=seen.status,
        over=ticket.category is Category.CLOSED,  # what was merged goes on elsewhere
        created_at=ticket.created_at,
        updated_at=seen.messages[-1]["created_at"] if seen.messages else ticket.created_at,
        fields=seen.fields,
        messages=_messages(seen),
    )


def _messages(seen: Shown) -> list[PublicMessage]:
    agents = seen.desk.agents
    return [
        PublicMessage(
            id=row["id"],
            from_you=row["author_kind"] == "customer",
            author_name=agents[row["author_id"]].name if row["author_id"] in agents else None,
            text=row["body_text"],
            html=row["body_html"],
            created_at=row["created_at"],
            attachments=[
                AttachmentOut(**a) for a in seen.attachments if a["message_id"] == row["id"]
            ],
        )
        for row in seen.messages
    ]


@router.post(
    "/tickets/{link}/replies",
    status_code=201,
    summary="Answer on one's own ticket",
    responses=also(404),
)
async def reply(
    body: CustomerReply,
    opened: Opened,
    work: LinkTx,
    served: Served,
    origin: From,
    key: EventKey,
) -> Submitted:
    """Reopens what waits or was resolved. On a closed ticket it opens a follow-up: see the link."""
    row = await work.row(
        "select number, requester_id from tickets where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": opened.ticket_id},
    )
    if row is None:
        raise NotFound("There is no such ticket.")
    customer_id: UUID = row["requester_id"]
    said = words(body.text, body.html, may_be_empty=bool(body.attachments))
    held = await files.claim(work, body.attachments, uploaded_by=_uploader(opened))
    event = Event(
        key=f"link:{opened.ticket_id}:{key}",
        actor=Actor(ActorKind.CUSTOMER, customer_id),
        payload=CustomerReplied(
            NewMessage(new_id(), said.text, said.html, held), customer_id, Channel.PORTAL
        ),
        cause={**origin.cause, "link": True},
    )
    [outcome] = await served.tickets.handle(work, Step(row["number"], event), origin=origin)
    same = outcome.ticket.requester_id == customer_id
    if not same:  # merged into somebody else's: the customer keeps their own number and link
        link = links(served).sign(work.tenant_id, opened.ticket_id, now=clock())
        base = served.settings.public_url.rstrip("/")
        return Submitted(number=row["number"], link=link, url=f"{base}/portal/tickets/{link}")
    return submitted(served, work.tenant_id, outcome.ticket)


@router.post(
    "/tickets/{link}/attachments",
    status_code=201,
    summary="Upload a file to answer with",
    responses=also(404),
)
async def upload(file: UploadFile, opened: Opened, work: LinkTx, served: Served) -> AttachmentOut:
    """It waits until an answer names it."""
    row = await files.files_under(served.settings.home).upload(
        work,
        filename=file.filename or "file",
        content_type=file.content_type,
        chunks=chunks_of(file),
        uploaded_by=_uploader(opened),
        now=clock(),
    )
    return AttachmentOut(**row)


@router.get(
    "/tickets/{link}/attachments/{attachment_id}",
    summary="Download a file of one's own ticket",
    response_class=StreamingResponse,
    responses=A_FILE,
)
async def download(
    attachment_id: UUID, opened: Opened, work: LinkTx, served: Served
) -> StreamingResponse:
    seen = await shown(work, served.desks, opened.ticket_id)
    found = await files.files_under(served.settings.home).for_customer(
        work, attachment_id, seen.message_ids
    )
    return sent(found)


def _uploader(opened: TicketLink) -> str:
    return f"link:{opened.ticket_id}"
