"""A ticket at one moment, and who acts on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from domain.states import ActorKind, Category, Channel, Priority, TicketType


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something. `id` is a user's or a customer's; machines have none."""

    kind: ActorKind
    id: UUID | None = None

    @property
    def is_person(self) -> bool:
        return self.kind in (ActorKind.USER, ActorKind.CUSTOMER)


SYSTEM = Actor(ActorKind.SYSTEM)
MODEL = Actor(ActorKind.MODEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """What is known of a ticket after event `seq`. The columns of its row, by the same names."""

    id: UUID
    number: int
    subject: str
    status: str
    category: Category
    channel: Channel
    requester_id: UUID
    created_by_kind: ActorKind
    created_by_id: UUID | None
    seq: int
    message_seq: int
    created_at: datetime
    updated_at: datetime
    type: TicketType | None = None
    priority: Priority | None = None
    team_id: UUID | None = None
    assignee_id: UUID | None = None
    organization_id: UUID | None = None
    tags: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    language: str | None = None
    customer_at: datetime | None = None
    agent_at: datetime | None = None
    resolved_at: datetime | None = None
    closed_at: datetime | None = None
    merged_into: UUID | None = None
    snoozed_until: datetime | None = None
    snoozed: str | None = None
    remind_at: datetime | None = None
    reminder: Mapping[str, object] | None = None
    auto_close_at: datetime | None = None
    escalation: Mapping[str, object] | None = None
    policy_id: UUID | None = None
    policy_version: int | None = None
    first_reply_due_at: datetime | None = None
    resolution_due_at: datetime | None = None
    next_due_at: datetime | None = None
    breached_at: datetime | None = None
    deadline_at: datetime | None = None
    triage: str = "pending"
    topic: str | None = None
    sentiment: str | None = None
    frustration: str | None = None
    spam: str | None = None
    verdict: Mapping[str, object] | None = None
    decided: tuple[str, ...] = ()
    mood_due: int | None = None  # the event with the customer's last words, where not read yet
    # What lists are sorted by, see domain/scoring.py: whatever does not change with the clock, in
    # tenths of a point, and since when somebody waits for an answer to how many messages.
    pressure: int = 0
    waiting_since: datetime | None = None
    unanswered: int = 0
    tier: str | None = None  # of the organization, when somebody last said it
    earlier: int = 0  # other tickets of the requester in the weeks before


# What follows from the events by rule (clocks, sequence, times): no entry of the timeline lists
# them among its changes, and replaying the events gives them again.
DERIVED = frozenset(
    {
        "seq", "message_seq", "updated_at", "customer_at", "agent_at", "next_due_at", "deadline_at",
        "first_reply_due_at", "resolution_due_at", "breached_at", "decided", "verdict", "triage",
        "auto_close_at", "resolved_at", "closed_at", "pressure", "waiting_since", "unanswered",
        "earlier", "mood_due",
    }
)  # fmt: skip
