"""Lists of tickets, one ticket, its conversation, its timeline, what drives it."""

import re
from typing import Annotated, Literal, Self
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Header, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from api.deps import Allowed, Served, Tx
from api.routing import Route
from api.shapes import Instant, Page
from api.tickets.shapes import (
    ClockOut,
    CountsOut,
    EventOut,
    EventPage,
    MessageOut,
    MessagePage,
    RelationOut,
    TicketDetail,
    TicketOut,
    WatcherOut,
    WorkflowOut,
    told,
)
from domain.permissions import Permission, Principal
from domain.states import Category, Channel, Priority, TicketType
from domain.triage import Level
from services.tickets import clock
from services.views import COUNTED, Detail, Sort, TicketFilter, Views
from services.views import Page as ListPage

router = APIRouter(prefix="/api/v1", tags=["tickets"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.TICKETS_VIEW))]
# Ticket numbers are bigint; a larger one names nothing and must not reach Postgres.
Number = Annotated[int, Path(ge=1, lt=2**63)]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=500)]
Text = Annotated[str, Field(max_length=200)]

_FIELD = re.compile(r"field\.[a-z][a-z0-9_]{0,62}")


async def _views(served: Served) -> Views:
    return Views(served.desks)


Reading = Annotated[Views, Depends(_views)]


class Filter(BaseModel):
    """Which tickets are meant.

    All conditions hold together; of a parameter given several times any value does. `field.KEY`
    compares the custom field KEY.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="allow",
        json_schema_extra={"additionalProperties": {"type": "string"}},
    )

    status: list[Text] = Field(default=[], max_length=50)
    category: list[Category] = Field(default=[])
    team: list[UUID | Literal["mine", "none"]] = Field(default=[], max_length=50)
    assignee: list[UUID | Literal["me", "none"]] = Field(default=[], max_length=50)
    requester: list[UUID] = Field(default=[], max_length=50)
    organization: list[UUID] = Field(default=[], max_length=50)
    priority: list[Priority | Literal["none"]] = []
    type: list[TicketType | Literal["none"]] = []
    tag: list[Text] = Field(default=[], max_length=20, description="All of these tags.")
    any_tag: list[Text] = Field(default=[], max_length=20, description="Any of these tags.")
    channel: list[Channel] = []
    created_from: Instant | None = None
    created_to: Instant | None = Field(default=None, description="Before this time.")
    updated_from: Instant | None = None
    updated_to: Instant | None = Field(default=None, description="Before this time.")
    due_from: Instant | None = None
    due_to: Instant | None = Field(default=None, description="Before this time.")
    breached: bool | None = Field(
        default=None, description="Whether a promise is broken now, recorded or not."
    )
    noticed_late: bool | None = Field(
        default=None,
        description="Whether that was noticed a minute or more late, or not for so long.",
    )
    snoozed: Literal["true", "false", "any"] = "any"
    escalated: bool | None = None
    score_from: int | None = Field(
        default=None, ge=1, le=100, description="Active ones that score at least so much now."
    )
    spam: Literal["true", "false", "any"] = Field(
        default="any", description="Whether they are marked as spam. What is only suspected is not."
    )
    topic: list[Text] = Field(default=[], max_length=20)
    sentiment: list[Text] = Field(default=[], max_length=20)
    frustration: list[Level] = Field(
        default=[], max_length=3, description="How fed up the customer's last words are."
    )
    watching: Literal["me"] | None = None

    @model_validator(mode="after")
    def _knows_its_names(self) -> Self:
        for name, value in (self.model_extra or {}).items():
            if not _FIELD.fullmatch(name):
                raise ValueError(f"{name!r} is not a filter")
            if not isinstance(value, str) or "\0" in value or len(value) > 1000:
                raise ValueError(f"{name} takes one value")
        return self

    def filter(self, caller: Principal) -> TicketFilter:
        """The filter with "me" and "mine" put into ids."""
        mine: list[UUID | None] = []
        if "mine" in self.team:
            # Nobody's team: the list is empty then, not everybody's.
            mine = [*sorted(caller.team_ids)] or [UUID(int=0)]
        return TicketFilter(
            status=tuple(self.status),
            category=tuple(self.category),
            team=(*mine, *(_or_none(t) for t in self.team if t != "mine")),
            assignee=tuple(caller.id if a == "me" else _or_none(a) for a in self.assignee),
            requester=tuple(self.requester),
            organization=tuple(self.organization),
            priority=tuple(_word(p) for p in self.priority),
            type=tuple(_word(t) for t in self.type),
            tags_all=tuple(self.tag),
            tags_any=tuple(self.any_tag),
            channel=tuple(self.channel),
            created_from=self.created_from,
            created_to=self.created_to,
            updated_from=self.updated_from,
            updated_to=self.updated_to,
            due_from=self.due_from,
            due_to=self.due_to,
            breached=self.breached,
            noticed_late=self.noticed_late,
            snoozed=None if self.snoozed == "any" else self.snoozed == "true",
            escalated=self.escalated,
            score_from=self.score_from,
            spam=None if self.spam == "any" else self.spam == "true",
            topic=tuple(self.topic),
            sentiment=tuple(self.sentiment),
            frustration=tuple(self.frustration),
            watching=caller.id if self.watching else None,
            fields={
                name.removeprefix("field."): str(value)
                for name, value in (self.model_extra or {}).items()
            },
        )


class Listing(Filter):
    """What a list shows and in which order."""

    sort: Sort = Sort.UPDATED_DESC
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=500)


def _or_none(value: UUID | str) -> UUID | None:
    return value if isinstance(value, UUID) else None


def _word(value: str) -> str | None:
    return None if value == "none" else str(value)


@router.get("/tickets", summary="Tickets")
async def list_tickets(
    asked: Annotated[Listing, Query()], work: Tx, caller: Viewer, views: Reading
) -> Page[TicketOut]:
    """A page of the tickets the caller may see."""
    now = clock()
    page = await views.tickets(
        work,
        caller,
        asked.filter(caller),
        now=now,
        sort=asked.sort,
        limit=asked.limit,
        cursor=asked.cursor,
    )
    return _page(page)  # type: ignore[return-value]


@router.get("/tickets/counts", summary="How many tickets")
async def count_tickets(
    asked: Annotated[Filter, Query()], work: Tx, caller: Viewer, views: Reading
) -> CountsOut:
    """How many tickets there are of each category; active ones that are the caller's, nobody's,
    or past a promise. Takes the filters of the list, and counts among what that would show."""
    counts = await views.counts(work, caller, now=clock(), wanted=asked.filter(caller))
    return CountsOut(
        categories={name: _up_to(count) for name, count in counts.categories.items()},
        mine=_up_to(counts.mine),
        unassigned=_up_to(counts.unassigned),
        breached=_up_to(counts.breached),
    )


@router.get(
    "/tickets/{number}",
    summary="One ticket",
    responses={304: {"description": "Nothing has changed."}},
)
async def read_ticket(
    number: Number,
    response: Response,
    work: Tx,
    caller: Viewer,
    views: Reading,
    if_none_match: Annotated[str | None, Header(max_length=500)] = None,
) -> TicketDetail:
    """A ticket with its newest messages, relations, watchers and clocks.

    The ETag is the ticket's seq; it says what an action was decided upon.
    """
    now = clock()
    for seq in re.findall(r'"(\d{1,9})"', if_none_match or ""):
        if await views.unchanged_since(work, caller, number, int(seq), now=now):
            return Response(status_code=304, headers=_headers(int(seq)))  # type: ignore[return-value]
    detail = await views.ticket(work, caller, number)
    response.headers.update(_headers(detail.listed.row["seq"]))
    base = TicketOut.model_validate(told(detail.listed.row, detail.desk, now=now))
    return TicketDetail(
        **dict(base),
        messages=[MessageOut.model_validate(row) for row in detail.conversation.messages],
        earlier=detail.conversation.earlier,
        relations=_relations(detail),
        watchers=[
            WatcherOut(user_id=one, name=agent.name if agent else None)
            for one in detail.watchers
            for agent in (detail.desk.agents.get(one),)
        ],
        clocks=[ClockOut.of(one, now=now) for one in detail.clocks],
    )


@router.get("/tickets/{number}/messages", summary="The conversation")
async def list_messages(
    number: Number,
    work: Tx,
    caller: Viewer,
    views: Reading,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> MessagePage:
    """The conversation from its end backwards; each page in order of time."""
    page = await views.messages(work, caller, number, limit=limit, cursor=cursor)
    return MessagePage(
        items=[MessageOut.model_validate(row) for row in page.messages], next=page.earlier
    )


@router.get("/tickets/{number}/events", summary="The timeline")
async def list_events(
    number: Number,
    work: Tx,
    caller: Viewer,
    views: Reading,
    since: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> EventPage:
    """The timeline after event `since`: who or what changed the ticket, when and why."""
    timeline = await views.events(work, caller, number, since=since, limit=limit)
    return EventPage(
        items=[EventOut.model_validate(row) for row in timeline.events], last=timeline.last
    )


@router.get("/tickets/{number}/workflow", summary="What drives a ticket")
async def read_workflow(
    number: Number, served: Served, caller: Viewer, views: Reading
) -> WorkflowOut:
    """What the ticket's workflow waits for; from the row where the workflow does not answer."""
    # No transaction stays open while another system is asked: that may take two seconds.
    async with served.database.transaction(caller.tenant_id) as work:
        ticket = await views.waiting(work, caller, number)
    current = None
    if not ticket.category.is_over:
        current = await served.workflows.current(caller.tenant_slug, number)
    return WorkflowOut(
        live=current is not None,
        deadline_at=ticket.deadline_at,
        link=served.workflows.link(caller.tenant_slug, number),
        current=current,
    )


@router.get("/customers/{customer_id}/tickets", summary="Tickets of a customer")
async def list_customer_tickets(
    customer_id: UUID,
    work: Tx,
    caller: Viewer,
    views: Reading,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[TicketOut]:
    """What a customer has asked so far, newest first."""
    page = await views.of_customer(
        work, caller, customer_id, now=clock(), limit=limit, cursor=cursor
    )
    return _page(page)  # type: ignore[return-value]


def _page(page: ListPage) -> Response:
    """A page as JSON, straight from its rows: fifty tickets need no fifty models."""
    now = clock()
    said = {
        "items": [told(one.row, page.desk, now=now) for one in page.items],
        "next": page.next,
    }
    return Response(orjson.dumps(said, option=orjson.OPT_UTC_Z), media_type="application/json")


def _up_to(count: int) -> int | str:
    return count if count <= COUNTED else f"{COUNTED}+"


def _headers(seq: int) -> dict[str, str]:
    return {"ETag": f'"{seq}"', "Cache-Control": "private, no-cache"}


def _relations(detail: Detail) -> list[RelationOut]:
    own = detail.listed.ticket.id
    return [
        RelationOut(
            kind=row["kind"],
            direction="outgoing" if row["source_id"] == own else "incoming",
            ticket_id=row["ticket_id"],
            number=row["number"],
            # A link must not tell what the permission keeps back.
            subject=row["subject"] if row["seen"] else None,
            status=row["status"] if row["seen"] else None,
        )
        for row in detail.relations
    ]
