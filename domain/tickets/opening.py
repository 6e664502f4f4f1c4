"""How a ticket begins: its creation, its first message, its clocks, its deadline."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from domain.desk import Desk
from domain.routing import Roster
from domain.states import (
    ActorKind,
    Category,
    Channel,
    Priority,
    RelationKind,
    TicketType,
    Visibility,
)
from domain.tickets.decision import Decision, RelationChange
from domain.tickets.draft import Draft
from domain.tickets.events import Event, NewMessage, TimeAdvanced
from domain.tickets.handing import assign, hand_out
from domain.tickets.settling import settle
from domain.tickets.shapes import clean_fields, clean_subject, clean_tags
from domain.tickets.state import Actor, Ticket
from domain.tickets.statuses import go


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTicket:
    """What somebody asks for when a ticket is made. `key` makes it happen once."""

    id: UUID
    number: int
    key: str
    actor: Actor
    subject: str
    requester_id: UUID
    channel: Channel
    message: NewMessage | None
    visibility: Visibility = Visibility.PUBLIC
    organization_id: UUID | None = None
    status: str | None = None
    type: TicketType | None = None
    priority: Priority | None = None
    team_id: UUID | None = None
    assignee_id: UUID | None = None
    tags: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    language: str | None = None
    cause: Mapping[str, object] = field(default_factory=dict)
    occurred_at: datetime | None = None
    follows_up: UUID | None = None
    split_from: UUID | None = None
    # Its clocks count from here, where that is earlier than now: the time of a message split off.
    clocks_from: datetime | None = None
    answered: bool = False  # what it begins with was answered already: no first reply is owed
    # Whose request it counts as, where that is not the actor's: an agent splits a customer's words.
    opened_by: Actor | None = None
    # What makes it more or less pressing beside what it says; see domain/scoring.py.
    tier: str | None = None
    earlier: int = 0


def open_ticket(
    new: NewTicket, desk: Desk, *, now: datetime, roster: Roster | None = None
) -> Decision:
    """The first rows of a ticket: its creation, its first message, its clocks, its deadline."""
    created = min(now, new.occurred_at or now)
    start = desk.status_for(Category.NEW)
    opener = new.opened_by or new.actor
    event = Event(key=new.key, actor=new.actor, payload=TimeAdvanced(), cause=new.cause)
    blank = Ticket(
        id=new.id,
        number=new.number,
        subject=clean_subject(new.subject),
        status=start.key,
        category=start.category,
        channel=new.channel,
        requester_id=new.requester_id,
        organization_id=new.organization_id,
        created_by_kind=opener.kind,
        created_by_id=opener.id,
        language=new.language,
        tier=new.tier,
        earlier=new.earlier,
        seq=0,
        message_seq=0,
        created_at=created,
        updated_at=created,
        triage="pending" if desk.settings.triage else "off",
    )
    draft = Draft(blank, (), event, desk, created)
    draft.roster = roster
    draft.set("type", new.type)
    draft.set("priority", new.priority)
    draft.set("tags", clean_tags(new.tags))
    draft.set("fields", clean_fields(new.fields, desk, blank.fields, by=new.actor))
    given = [name for name in ("type", "priority", "team_id", "assignee_id") if getattr(new, name)]
    if new.actor.is_person and given:
        draft.decided(*given)
    if new.team_id or new.assignee_id:
        assign(draft, team_id=new.team_id, assignee_id=new.assignee_id, actor=new.actor)
    if new.status is not None:
        go(draft, new.status, actor=new.actor)
    if new.message is not None:
        asks = opener.kind is ActorKind.CUSTOMER  # whoever typed it
        draft.say(
            new.message,
            visibility=new.visibility,
            channel=new.channel,
            author=new.actor,
            as_customer=True if asks else None,
        )
        if new.actor.kind is ActorKind.USER and not asks and new.visibility is Visibility.PUBLIC:
            draft.mails.append(new.message.id)
    for kind, other in (
        (RelationKind.FOLLOW_UP, new.follows_up),
        (RelationKind.SPLIT_FROM, new.split_from),
    ):
        if other is not None:
            draft.relations.append(RelationChange(kind, new.id, other, add=True))
    draft.record(
        "ticket_created",
        data={
            "subject": blank.subject,
            "number": new.number,
            "channel": new.channel,
            "requester_id": new.requester_id,
            "organization_id": new.organization_id,
            "status": start.key,
            "category": start.category,
            "language": new.language,
            "tier": new.tier,
            "opened_by": opener.kind,
            "message_id": new.message.id if new.message else None,
            "follows_up": new.follows_up,
            "split_from": new.split_from,
            **_beginnings(new, opener),
        },
    )
    by_customer = opener.kind is ActorKind.CUSTOMER
    draft.observe(
        creation=True,
        customer_message=by_customer and new.message is not None,
        agent_reply="agent_reply" in _beginnings(new, opener),
        answered=new.answered,
        since=new.clocks_from,
    )
    if not desk.settings.triage:
        hand_out(draft)  # else once the model has said what it is about
    draft.heard_at = now
    settle(draft, until=now)
    return draft.decision()


def _beginnings(new: NewTicket, opener: Actor) -> dict[str, object]:
    """What the clocks have to know of a creation that is not of the usual kind."""
    found: dict[str, object] = {}
    if (
        opener.kind is ActorKind.USER
        and new.message is not None
        and new.visibility is Visibility.PUBLIC
    ):
        found["agent_reply"] = True
    if new.answered:
        found["answered"] = True
    if new.clocks_from is not None:
        found["clocks_from"] = new.clocks_from
    return found
