"""What follows from an event: the rows one transaction will write."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from domain.sla import Clock
from domain.states import RelationKind, Visibility
from domain.tickets.events import NewMessage
from domain.tickets.state import Actor, Ticket


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the timeline. `changes` maps a property to [before, after]."""

    seq: int
    type: str
    key: str
    actor: Actor
    cause: Mapping[str, object]
    changes: Mapping[str, list[object]]
    data: Mapping[str, object]
    occurred_at: datetime


# Who wrote a message: two kinds of people, and two of machines.
AuthorKind = Literal["customer", "user", "automation", "system"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    message: NewMessage
    seq: int
    author_kind: AuthorKind
    author_id: UUID | None
    visibility: Visibility
    channel: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """Something one agent is told about one entry."""

    user_id: UUID
    seq: int
    kind: str
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RelationChange:
    kind: RelationKind
    source_id: UUID
    target_id: UUID
    add: bool


@dataclass(frozen=True, slots=True)
class MessageMove:
    """Messages that now belong to `to_id`: those listed, those of one origin, or all."""

    from_id: UUID
    to_id: UUID
    message_ids: tuple[UUID, ...] | None = None
    origin_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Something outside that a step sets off, once per `key`: a webhook, or a workflow by name."""

    kind: Literal["webhook", "workflow"]
    key: str
    seq: int
    webhook_id: UUID | None = None
    workflow: str | None = None
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The ticket after the event, and everything that has to be written with it."""

    ticket: Ticket
    entries: tuple[Entry, ...] = ()
    clocks: tuple[Clock, ...] = ()  # all of them, as they stand now
    changed_clocks: tuple[Clock, ...] = ()
    messages: tuple[StoredMessage, ...] = ()
    notices: tuple[Notice, ...] = ()
    relations: tuple[RelationChange, ...] = ()
    moves: tuple[MessageMove, ...] = ()
    watch: frozenset[UUID] = frozenset()
    unwatch: frozenset[UUID] = frozenset()
    # Public replies that go out to the requester by mail.
    mails: tuple[UUID, ...] = ()
    calls: tuple[Call, ...] = ()
    # Whose turn routing has used up with this, and which turn it was.
    turns: tuple[tuple[UUID, int], ...] = ()
    # A promise is new to this old ticket, and what was before was not told: decide again with
    # `past` (domain.tickets.replay.facts_of), else the pauses before it do not count.
    wants_past: bool = False
    # The ticket is closed for good: what the customer wrote opens a new one that follows it up.
    follow_up: bool = False
