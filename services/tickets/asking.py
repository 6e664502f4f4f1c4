"""What may be asked of tickets, by whom and on which grounds; and what is answered."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from domain.permissions import Permission
from domain.sla import Clock
from domain.states import Channel, Priority, TicketType, Visibility
from domain.tickets import Actor, Decision, Entry, Event, NewMessage, Ticket

# A delivery: what kind of effect it is, and its id.
Queued = tuple[Literal["webhook", "workflow"], uuid.UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request came from, for the cause of events and for the audit log."""

    request_id: str | None = None
    correlation_id: str | None = None  # the caller's own name for what this is part of
    ip: str | None = None
    auth_method: str | None = None

    @property
    def cause(self) -> dict[str, object]:
        names = {"request": self.request_id, "correlation": self.correlation_id}
        return {name: value for name, value in names.items() if value}


@dataclass(frozen=True, slots=True)
class Step:
    """One event for one ticket."""

    number: int
    event: Event
    # What the caller needs, all of it; nothing where there is no caller to ask.
    permission: Permission | tuple[Permission, ...] = ()
    # The ticket's own workflow waits for the outcome: it looks by itself and need not be woken.
    awaited: bool = False
    seen: int | None = None  # the ticket's seq as whoever asks for this had read it


@dataclass(frozen=True, slots=True)
class Outcome:
    """A ticket after an event, as committed with it. `applied` is False for a key seen before."""

    ticket: Ticket
    entries: tuple[Entry, ...] = ()
    applied: bool = True
    clocks: tuple[Clock, ...] = ()
    decision: Decision | None = None
    # Deliveries that were queued with it and that steps or webhooks asked for.
    calls: tuple[Queued, ...] = ()


@dataclass(frozen=True, slots=True)
class Requester:
    """A customer by one identity; made when nobody has it."""

    kind: str
    value: str
    name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketRequest:
    """What somebody asks a new ticket to be."""

    key: str
    subject: str
    message: NewMessage | None
    channel: Channel
    requester: Requester | None = None
    requester_id: uuid.UUID | None = None
    visibility: Visibility = Visibility.PUBLIC
    status: str | None = None
    type: TicketType | None = None
    priority: Priority | None = None
    team_id: uuid.UUID | None = None
    assignee_id: uuid.UUID | None = None
    tags: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    language: str | None = None
    cause: Mapping[str, object] = field(default_factory=dict)
    occurred_at: datetime | None = None
    actor: Actor | None = None
    # An agent writes down what the customer said: the ticket and its message are the customer's.
    on_behalf: bool = False
    follows_up: uuid.UUID | None = None
    split_from: uuid.UUID | None = None
    clocks_from: datetime | None = None
    answered: bool = False
    opened_by: Actor | None = None
