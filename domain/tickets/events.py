"""What can happen to a ticket. Each comes in an `Event`: who, why, and under which key."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from domain.sla import Metric
from domain.states import Channel, Priority, RelationKind, TicketType
from domain.tickets.state import Actor
from domain.triage import Frustration, Guess, Prediction, Spam, Verdict


@dataclass(frozen=True, slots=True)
class NewMessage:
    """Words as they will be stored: text always, sanitised HTML where the author used it."""

    id: UUID
    text: str
    html: str | None = None
    attachments: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class CustomerReplied:
    message: NewMessage
    customer_id: UUID
    channel: Channel
    automatic: bool = False  # an auto-reply or a bounce: kept, and nothing follows from it


@dataclass(frozen=True, slots=True)
class AgentReplied:
    """A public answer. `seen` is the seq of the last event the author had read, when known."""

    message: NewMessage
    channel: Channel = Channel.AGENT
    status: str | None = None
    seen: int | None = None
    as_requester: bool = False  # the agent is the requester of this ticket: a customer on it


@dataclass(frozen=True, slots=True)
class NoteAdded:
    message: NewMessage


class Keep:
    """Marks a property that an event leaves as it is, where None means "clear it"."""

    def __repr__(self) -> str:
        return "KEEP"


KEEP = Keep()


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """New values for properties; what is KEEP stays. Tags may be set whole or added and removed."""

    subject: str | Keep = KEEP
    status: str | Keep = KEEP
    type: TicketType | Keep | None = KEEP
    priority: Priority | Keep = KEEP
    team_id: UUID | Keep | None = KEEP
    assignee_id: UUID | Keep | None = KEEP
    tags: tuple[str, ...] | Keep = KEEP
    add_tags: tuple[str, ...] = ()
    remove_tags: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    reason: str | None = None
    # Event the caller had read last; changes to the same properties since then conflict.
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class Escalated:
    reason: str
    team_id: UUID | None = None
    assignee_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class HandedBack:
    """An escalation is over. `team_id` and `assignee_id` had the ticket before it began."""

    reason: str
    team_id: UUID | None = None
    assignee_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Snoozed:
    """Out of sight until a time, a reply of the customer, or whichever comes first."""

    until: datetime | None
    wake_on_reply: bool


@dataclass(frozen=True, slots=True)
class Woken:
    """Back in sight before its time, because somebody said so."""


@dataclass(frozen=True, slots=True)
class ReminderSet:
    """A nudge to the assignee at a time; None takes it away."""

    at: datetime | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Linked:
    kind: RelationKind
    other_id: UUID
    other_number: int
    outgoing: bool


@dataclass(frozen=True, slots=True)
class Unlinked:
    kind: RelationKind
    other_id: UUID
    other_number: int
    outgoing: bool


@dataclass(frozen=True, slots=True)
class MergedInto:
    target_id: UUID
    target_number: int


@dataclass(frozen=True, slots=True)
class Absorbed:
    """`inherits` is the start of the source's clocks, where this ticket's are to count from it."""

    source_id: UUID
    source_number: int
    inherits: datetime | None = None


@dataclass(frozen=True, slots=True)
class Unmerged:
    """The source of a merge is itself again. `before` is what the merge changed."""

    target_id: UUID
    target_number: int
    before: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Released:
    source_id: UUID
    source_number: int


@dataclass(frozen=True, slots=True)
class MessagesSplitOff:
    message_ids: tuple[UUID, ...]
    other_id: UUID
    other_number: int


@dataclass(frozen=True, slots=True)
class Watched:
    user_id: UUID


@dataclass(frozen=True, slots=True)
class Unwatched:
    user_id: UUID


@dataclass(frozen=True, slots=True)
class AgentLeft:
    """The assignee is no longer in the ticket's team, or no longer works here."""

    user_id: UUID


@dataclass(frozen=True, slots=True)
class DueSet:
    """A person sets a clock's deadline; None gives it back to the policy."""

    metric: Metric
    due_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Somebody has seen the escalation: higher tiers wait until then."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Retimed:
    """The ticket's promises are worked out anew from what is in force: policies have changed."""


@dataclass(frozen=True, slots=True)
class Retiered:
    """The ticket's organization is another tier to the desk from now on."""

    tier: str | None


@dataclass(frozen=True, slots=True)
class Offered:
    """The ticket waits in its team's queue, and somebody may have become free."""


@dataclass(frozen=True, slots=True)
class TimeAdvanced:
    """It is now at least `now`: whatever was due by then happens."""


@dataclass(frozen=True, slots=True)
class Triaged:
    """A model's verdict. Of what is not in `apply` it is a suggestion only."""

    verdict: Verdict
    apply: frozenset[str] = frozenset({"topic", "priority", "sentiment"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MoodRead:
    """The mood of a later message, which came with event `of_seq`; nothing else is decided anew.

    Without a frustration there was nothing to read: it says nothing in words of its own.
    """

    of_seq: int
    message_id: UUID | None
    sentiment: Prediction | Guess | None = None
    frustration: Frustration | None = None
    model_version: str
    input_sha256: str | None = None
    apply: frozenset[str] = frozenset({"sentiment"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A person says what is right, whether or not a model had said so: it learns from this."""

    topic: str | None = None
    priority: Priority | None = None
    sentiment: str | None = None
    team_id: UUID | None = None
    spam: Spam | None = None
    language: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Undone:
    """What a bulk change did to this ticket is taken back: `before` is put in place."""

    before: Mapping[str, object]


Payload = (
    CustomerReplied
    | AgentReplied
    | NoteAdded
    | Changed
    | Escalated
    | HandedBack
    | Snoozed
    | Woken
    | ReminderSet
    | Linked
    | Unlinked
    | MergedInto
    | Absorbed
    | Unmerged
    | Released
    | MessagesSplitOff
    | Watched
    | Unwatched
    | AgentLeft
    | Offered
    | TimeAdvanced
    | Triaged
    | MoodRead
    | Labelled
    | Undone
    | DueSet
    | Acknowledged
    | Retimed
    | Retiered
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened, under a key that makes it happen once."""

    key: str
    actor: Actor
    payload: Payload
    cause: Mapping[str, object] = field(default_factory=dict)
    # When it happened, if that was before we heard of it (a mail's arrival, a timer's time).
    occurred_at: datetime | None = None
