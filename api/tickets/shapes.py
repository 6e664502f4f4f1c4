"""What tickets, messages and events look like in answers."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import Field

from api.shapes import Page, Shape
from domain import scoring
from domain.desk import Desk
from domain.sla import Clock
from domain.states import Category
from domain.tickets import AuthorKind, Ticket
from domain.triage import Level
from services import timing

_NAMES = tuple(field.name for field in fields(Ticket))
_PRESSING = frozenset(category.value for category in Category if category.is_active)


class RequesterOut(Shape):
    """The customer who asked. Answers to an action on a ticket there is name the id alone."""

    id: UUID
    name: str | None = None
    email: str | None = None


class SlaOut(Shape):
    """When what was promised is due. `breached` is true from the due time on, recorded or not."""

    next_due_at: datetime | None
    first_reply_due_at: datetime | None
    resolution_due_at: datetime | None
    breached: bool
    breached_at: datetime | None
    lateness: str | None = Field(
        default=None,
        description="How late that was noticed, and why where it is known; null: in time. Answers"
        " to an action on a ticket do not say it.",
    )


class EscalationOut(Shape):
    """The newest time somebody asked for help; `level` counts them."""

    level: int
    reason: str
    by: UUID | None
    team_id: UUID | None
    assignee_id: UUID | None
    at: datetime


class TicketOut(Shape):
    """A ticket as lists and answers to actions show it. `seq` is its version."""

    id: UUID
    number: int
    subject: str
    status: str
    status_name: str
    category: str
    type: str | None
    priority: str | None
    channel: str
    team_id: UUID | None
    team_name: str | None
    assignee_id: UUID | None
    assignee_name: str | None
    requester: RequesterOut
    organization_id: UUID | None
    created_by_kind: str
    created_by_id: UUID | None
    tags: list[str]
    fields: dict[str, object]
    language: str | None
    seq: int
    message_seq: int
    created_at: datetime
    updated_at: datetime
    customer_at: datetime | None = Field(description="When the customer last wrote.")
    agent_at: datetime | None = Field(description="When an agent last answered in public.")
    resolved_at: datetime | None
    closed_at: datetime | None
    merged_into: UUID | None
    snoozed_until: datetime | None
    snoozed: str | None
    remind_at: datetime | None
    auto_close_at: datetime | None
    escalation: EscalationOut | None
    sla: SlaOut
    triage: str
    topic: str | None
    sentiment: str | None
    frustration: Level | None = Field(
        description="How fed up the customer's last words are; `analysis` names those that say so."
    )
    spam: str | None
    score: int = Field(ge=0, le=100, description="How pressing it is; `analysis` says why.")


def told(row: Mapping[str, Any], desk: Desk, *, now: datetime | None = None) -> dict[str, object]:
    """A ticket as `TicketOut` shows it, from the values of its row, with the names its desk gives.

    As of its last event unless `now` is later.
    """
    status, team_id, assignee_id = row["status"], row["team_id"], row["assignee_id"]
    named = desk.statuses.get(status)
    team = desk.teams.get(team_id) if team_id else None
    assignee = desk.agents.get(assignee_id) if assignee_id else None
    due, broken = row["next_due_at"], row["breached_at"]
    return {
        "id": row["id"],
        "number": row["number"],
        "subject": row["subject"],
        "status": status,
        "status_name": named.name if named else status,
        "category": row["category"],
        "type": row["type"],
        "priority": row["priority"],
        "channel": row["channel"],
        "team_id": team_id,
        "team_name": team.name if team else None,
        "assignee_id": assignee_id,
        "assignee_name": assignee.name if assignee else None,
        "requester": {
            "id": row["requester_id"],
            "name": row.get("requester_name"),
            "email": row.get("requester_email"),
        },
        "organization_id": row["organization_id"],
        "created_by_kind": row["created_by_kind"],
        "created_by_id": row["created_by_id"],
        "tags": list(row["tags"]),
        "fields": dict(row["fields"] or {}),
        "language": row["language"],
        "seq": row["seq"],
        "message_seq": row["message_seq"],
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
        "customer_at": row["customer_at"],
        "agent_at": row["agent_at"],
        "resolved_at": row["resolved_at"],
        "closed_at": row["closed_at"],
        "merged_into": row["merged_into"],
        "snoozed_until": row["snoozed_until"],
        "snoozed": row["snoozed"],
        "remind_at": row["remind_at"],
        "auto_close_at": row["auto_close_at"],
        # Kept as JSON with a time in another spelling.
        "escalation": EscalationOut.model_validate(row["escalation"]).model_dump(mode="json")
        if row["escalation"]
        else None,
        "sla": {
            "next_due_at": due,
            "first_reply_due_at": row["first_reply_due_at"],
            "resolution_due_at": row["resolution_due_at"],
            "breached": is_breached(due, broken, now=now or row["updated_at"]),
            "breached_at": broken,
            "lateness": _lateness(row, now) if now is not None else None,
        },
        "triage": row["triage"],
        "topic": row["topic"],
        "sentiment": row["sentiment"],
        "frustration": row["frustration"],
        "spam": row["spam"],
        "score": scoring.shown(
            row["pressure"]
            + scoring.by_time(
                breached=broken is not None,
                due_at=due,
                waiting_since=row["waiting_since"],
                now=now or row["updated_at"],
            )
        )
        if row["category"] in _PRESSING
        else 0,
    }


def _lateness(row: Mapping[str, Any], now: datetime) -> str | None:
    """In words, how late it was noticed that a promise is broken, as each clock says it."""
    due, noticed = row["next_due_at"], row.get("noticed")
    if noticed is not None:
        late, because = noticed
        return timing.told_late(timedelta(seconds=late), because)
    if row["breached_at"] is None and due is not None and due < now:
        return timing.not_told_yet(now - due)
    return None


def is_breached(due_at: datetime | None, breached_at: datetime | None, *, now: datetime) -> bool:
    """Whether a promise is broken at `now`, noticed or not. The filter of lists says the same."""
    return breached_at is not None or (due_at is not None and due_at < now)


_values = attrgetter(*_NAMES)


def ticket_out(ticket: Ticket, desk: Desk) -> TicketOut:
    """A ticket as of its last event."""
    row = dict(zip(_NAMES, _values(ticket), strict=True))
    return TicketOut.model_validate(told(row, desk))


class AttachmentOut(Shape):
    id: UUID
    filename: str
    content_type: str
    size_bytes: int
    sha256: str


class DeliveryOut(Shape):
    """What became of one outgoing mail."""

    id: UUID
    kind: str
    recipient: str
    state: Literal["queued", "sending", "sent", "failed", "bounced", "unknown", "cancelled"]
    attempts: int
    error: str | None
    sent_at: datetime | None


class MessageOut(Shape):
    """One thing somebody said. `origin_ticket_id` differs after a merge or a split."""

    id: UUID
    origin_ticket_id: UUID
    seq: int
    author_kind: AuthorKind = Field(
        description="`automation` and `system` are no people: nobody has answered yet."
    )
    author_id: UUID | None
    author_name: str | None = None
    visibility: str
    channel: str
    body_text: str
    body_html: str | None
    created_at: datetime
    attachments: list[AttachmentOut] = Field(default_factory=list)
    deliveries: list[DeliveryOut] = Field(default_factory=list)


class EventOut(Shape):
    """One line of the timeline. `changes` maps a property to [before, after]."""

    seq: int
    type: str
    actor_kind: str
    actor_id: UUID | None
    actor_name: str | None = None
    cause: dict[str, object]
    changes: dict[str, object]
    data: dict[str, object]
    occurred_at: datetime
    recorded_at: datetime


class DueOverrideOut(Shape):
    """A deadline that a person has set, and why."""

    due_at: datetime
    by: UUID | None
    reason: str
    set_at: datetime


class ClockOut(Shape):
    """One cycle of one promise."""

    metric: str
    cycle: int
    outcome: str
    started_at: datetime
    due_at: datetime | None
    paused_since: datetime | None
    stopped_at: datetime | None
    breached_at: datetime | None
    breached: bool
    policy_id: UUID | None
    policy_version: int | None
    calendar_id: UUID | None
    calendar_version: int | None
    target_seconds: int | None = Field(description="What is promised, as open time.")
    target_days: int | None = Field(description="Likewise in business days, where it was.")
    planned_because: str | None = Field(description="What moved the deadline last.")
    caused_by: str | None = Field(description="The change that broke the promise, if one did.")
    cancelled_because: str | None
    team_id: UUID | None = Field(description="Responsible now, or when it was broken.")
    assignee_id: UUID | None
    due_override: DueOverrideOut | None
    acknowledged_until: datetime | None
    detected_at: datetime | None = Field(description="When the breach was noticed.")

    @classmethod
    def of(cls, clock: Clock, *, now: datetime) -> Self:
        return cls(**cls.values_of(clock, now=now))

    @staticmethod
    def values_of(clock: Clock, *, now: datetime) -> dict[str, Any]:
        """What it shows, by name."""
        overdue = clock.is_running and clock.due_at is not None and clock.due_at < now
        override = clock.due_override
        return {
            "metric": clock.metric.value,
            "cycle": clock.cycle,
            "outcome": clock.outcome.value,
            "started_at": clock.started_at,
            "due_at": clock.due_at,
            "paused_since": clock.paused_since,
            "stopped_at": clock.stopped_at,
            "breached_at": clock.breached_at,
            "breached": clock.breached_at is not None or overdue,
            "policy_id": clock.policy_id,
            "policy_version": clock.policy_version,
            "calendar_id": clock.calendar_id,
            "calendar_version": clock.calendar_version,
            "target_seconds": None if clock.target is None else int(clock.target.total_seconds()),
            "target_days": clock.target_days,
            "planned_because": clock.planned_because,
            "caused_by": clock.caused_by,
            "cancelled_because": clock.cancelled_because,
            "team_id": clock.team_id,
            "assignee_id": clock.assignee_id,
            "due_override": None if override is None else DueOverrideOut.model_validate(override),
            "acknowledged_until": clock.acknowledged.until if clock.acknowledged else None,
            "detected_at": clock.detected_at,
        }


class RelationOut(Shape):
    """Another ticket this one is tied to. Its subject only where the caller may see it."""

    kind: str
    direction: Literal["outgoing", "incoming"]
    ticket_id: UUID
    number: int
    subject: str | None
    status: str | None


class WatcherOut(Shape):
    user_id: UUID
    name: str | None


class TicketDetail(TicketOut):
    """A ticket with its conversation and all that belongs to it.

    `messages` are the newest; `earlier` is the cursor of those before them, null when none are.
    """

    messages: list[MessageOut]
    earlier: str | None
    relations: list[RelationOut]
    watchers: list[WatcherOut]
    clocks: list[ClockOut]


class MessagePage(Page[MessageOut]):
    """From the newest backwards; each page in order of time. `next` leads to earlier ones."""


class EventPage(Shape):
    """Events after `since`; `last` is the ticket's newest seq, to see whether there are more."""

    items: list[EventOut]
    last: int


class CountsOut(Shape):
    """How many tickets there are; "1000+" where there are more than that."""

    categories: dict[str, int | str]
    mine: int | str
    unassigned: int | str
    breached: int | str


class WorkflowOut(Shape):
    """What drives a ticket. `live` tells whether its workflow answered; else the row did."""

    live: bool
    deadline_at: datetime | None = Field(description="When something happens by itself next.")
    link: str | None = Field(description="Where an operator sees the workflow.")
    current: dict[str, object] | None = Field(
        default=None, description="The workflow's own words: what it waits for, what is in flight."
    )


class FoundOut(TicketOut):
    """A ticket that fits. `snippets` is HTML by field, safe to show: text with <mark>."""

    snippets: dict[str, str]


class ResultsOut(Page[FoundOut]):
    """`total` is about right. `degraded`: the index is away, Postgres answered instead."""

    total: int
    degraded: bool
