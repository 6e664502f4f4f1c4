"""Tickets, what was said in them, and everything that ever happened to them."""

import uuid
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, Owned

_SCORED = (
    "waiting_since", "next_due_at", "breached_at", "category", "team_id", "assignee_id",
    "created_by_id",
)  # fmt: skip
_ACTIVE = "category in ('new', 'open', 'pending', 'on_hold')"


class Status(Base):
    """A tenant's own name for one of the fixed categories."""

    __tablename__ = "statuses"
    __table_args__ = (
        CheckConstraint(
            "category in ('new','open','pending','on_hold','resolved','closed','merged')",
            name="category",
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    category: Mapped[str] = mapped_column(Text)
    customer_label: Mapped[str] = mapped_column(Text)
    colour: Mapped[str] = mapped_column(Text, server_default="#64748b")
    position: Mapped[int]
    # Keys of statuses an agent may go to from here; null: all.
    transitions: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    required_fields: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    active: Mapped[bool] = mapped_column(server_default="true")


class FieldDefinition(Base):
    """A custom field of the tenant's tickets."""

    __tablename__ = "field_definitions"
    __table_args__ = (
        CheckConstraint("key ~ '^[a-z][a-z0-9_]{0,62}$'", name="key"),
        CheckConstraint(
            "kind in ('text','number','integer','boolean','date','datetime','select','multiselect',"
            "'url','email')",
            name="kind",
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    label: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    options: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    pattern: Mapped[str | None] = mapped_column(Text)
    customer_visible: Mapped[bool] = mapped_column(server_default="false")
    customer_editable: Mapped[bool] = mapped_column(server_default="false")
    position: Mapped[int] = mapped_column(server_default="0")
    active: Mapped[bool] = mapped_column(server_default="true")


class Ticket(Owned, Base):
    __tablename__ = "tickets"
    __table_args__ = (
        Index("uq_tickets_tenant_id_number", "tenant_id", "number", unique=True),
        ForeignKeyConstraint(
            ["tenant_id", "requester_id"], ["customers.tenant_id", "customers.id"]
        ),
        ForeignKeyConstraint(["tenant_id", "status"], ["statuses.tenant_id", "statuses.key"]),
        ForeignKeyConstraint(["tenant_id", "team_id"], ["teams.tenant_id", "teams.id"]),
        ForeignKeyConstraint(["tenant_id", "assignee_id"], ["users.tenant_id", "users.id"]),
        ForeignKeyConstraint(["tenant_id", "merged_into"], ["tickets.tenant_id", "tickets.id"]),
        CheckConstraint("(category = 'closed') = (closed_at is not null)", name="closed_at"),
        CheckConstraint("category <> 'resolved' or resolved_at is not null", name="resolved_at"),
        CheckConstraint("(category = 'merged') = (merged_into is not null)", name="merged_into"),
        CheckConstraint("merged_into <> id", name="not_into_itself"),
        # A finished ticket waits for nothing.
        CheckConstraint(
            "deadline_at is null or category not in ('closed', 'merged')", name="deadline_open"
        ),
        CheckConstraint("priority in ('low','normal','high','urgent')", name="priority"),
        CheckConstraint("type in ('question','incident','problem','task')", name="type"),
        CheckConstraint("spam in ('spam', 'not_spam')", name="spam"),
        CheckConstraint("frustration in ('none', 'some', 'high')", name="frustration"),
        CheckConstraint("char_length(subject) between 1 and 500", name="subject_length"),
        Index("ix_tickets_updated", "tenant_id", text("updated_at desc"), text("id desc")),
        Index("ix_tickets_created", "tenant_id", text("created_at desc"), text("id desc")),
        # The queue of those whom somebody asked to help.
        Index(
            "ix_tickets_escalated",
            "tenant_id",
            "id",
            postgresql_where=text("escalation is not null"),
        ),
        # Work queues: what is active, by its next due time; whatever has one, in any case.
        Index(
            "ix_tickets_due",
            "tenant_id",
            "next_due_at",
            "id",
            postgresql_where=text(f"({_ACTIVE}) or next_due_at is not null"),
        ),
        Index(
            "ix_tickets_breached",
            "tenant_id",
            "breached_at",
            postgresql_where=text("breached_at is not null"),
        ),
        Index(
            "ix_tickets_category",
            "tenant_id",
            "category",
            text("updated_at desc"),
            text("id desc"),
        ),
        # The words as lists order by them, see services/views/orders.py.
        Index(
            "ix_tickets_priority",
            "tenant_id",
            text(
                "(case priority when 'urgent' then 4 when 'high' then 3 when 'normal' then 2"
                " when 'low' then 1 else 0 end)"
            ),
            "id",
        ),
        # By how pressing they are, as far as that does not change with the clock.
        Index(
            "ix_tickets_pressure",
            "tenant_id",
            text("pressure desc"),
            text("id desc"),
            postgresql_where=text(_ACTIVE),
            # All that makes a score, and whose it is: a list reads no more rows than it shows.
            postgresql_include=_SCORED,
        ),
        Index("ix_tickets_subject", text("to_tsvector('simple', subject)"), postgresql_using="gin"),
        # What routing asks of everybody: how many open tickets of which kind they have.
        Index(
            "ix_tickets_load",
            "tenant_id",
            "assignee_id",
            "priority",
            "channel",
            postgresql_where=text(
                "category in ('new', 'open') and snoozed is null and assignee_id is not null"
            ),
        ),
        # The queue of a team: what nobody has.
        Index(
            "ix_tickets_waiting",
            "tenant_id",
            "team_id",
            "next_due_at",
            "id",
            postgresql_where=text(
                "category in ('new', 'open') and snoozed is null and assignee_id is null"
                " and team_id is not null"
            ),
        ),
        Index("ix_tickets_assignee", "tenant_id", "assignee_id", text("updated_at desc")),
        Index("ix_tickets_team", "tenant_id", "team_id", text("updated_at desc")),
        Index("ix_tickets_requester", "tenant_id", "requester_id", text("created_at desc")),
        Index("ix_tickets_organization", "tenant_id", "organization_id", text("created_at desc")),
        Index("ix_tickets_tags", "tags", postgresql_using="gin"),
        Index(
            "ix_tickets_fields",
            "fields",
            postgresql_using="gin",
            postgresql_ops={"fields": "jsonb_path_ops"},
        ),
        # Reconciliation asks which deadlines passed without an event.
        Index(
            "ix_tickets_deadline", "deadline_at", postgresql_where=text("deadline_at is not null")
        ),
    )

    number: Mapped[int] = mapped_column(BigInteger)
    subject: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    category: Mapped[str] = mapped_column(Text)
    type: Mapped[str | None] = mapped_column(Text)
    priority: Mapped[str | None] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text)
    team_id: Mapped[uuid.UUID | None]
    assignee_id: Mapped[uuid.UUID | None]
    requester_id: Mapped[uuid.UUID]
    organization_id: Mapped[uuid.UUID | None]
    created_by_kind: Mapped[str] = mapped_column(Text)
    created_by_id: Mapped[uuid.UUID | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    fields: Mapped[Json] = mapped_column(server_default="{}")
    language: Mapped[str | None] = mapped_column(Text)

    seq: Mapped[int]  # of its last event; also its version
    message_seq: Mapped[int]  # of the event that brought its last public message
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    customer_at: Mapped[datetime | None]  # the customer's last message
    agent_at: Mapped[datetime | None]  # the last public reply by an agent
    resolved_at: Mapped[datetime | None]
    closed_at: Mapped[datetime | None]
    merged_into: Mapped[uuid.UUID | None]

    snoozed_until: Mapped[datetime | None]
    snoozed: Mapped[str | None] = mapped_column(Text)  # what wakes it: time | reply | either
    remind_at: Mapped[datetime | None]
    reminder: Mapped[Json | None]
    auto_close_at: Mapped[datetime | None]
    escalation: Mapped[Json | None]

    policy_id: Mapped[uuid.UUID | None]
    policy_version: Mapped[int | None]
    first_reply_due_at: Mapped[datetime | None]
    resolution_due_at: Mapped[datetime | None]
    next_due_at: Mapped[datetime | None]  # the earlier of those still running
    breached_at: Mapped[datetime | None]  # the earliest breach that was recorded
    deadline_at: Mapped[datetime | None]  # when the workflow has to look again

    triage: Mapped[str] = mapped_column(Text, server_default="pending")
    topic: Mapped[str | None] = mapped_column(Text)
    sentiment: Mapped[str | None] = mapped_column(Text)
    frustration: Mapped[str | None] = mapped_column(Text)
    spam: Mapped[str | None] = mapped_column(Text)
    verdict: Mapped[Json | None]
    # Fields a person has decided; a model's verdict never touches them.
    decided: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    mood_due: Mapped[int | None]  # of what event the words wait to be read

    # What its score is made of, see domain/scoring.py.
    pressure: Mapped[int] = mapped_column(server_default="0")
    waiting_since: Mapped[datetime | None]
    unanswered: Mapped[int] = mapped_column(server_default="0")
    tier: Mapped[str | None] = mapped_column(Text)
    earlier: Mapped[int] = mapped_column(server_default="0")


class TicketPart:
    """A row that belongs to a ticket."""

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    ticket_id: Mapped[uuid.UUID]


def _of_ticket(column: str = "ticket_id") -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant_id", column], ["tickets.tenant_id", "tickets.id"], ondelete="CASCADE"
    )


class Event(Base):
    """One thing that happened to a ticket. Only ever appended."""

    __tablename__ = "events"
    __table_args__ = (
        _of_ticket(),
        # Each event is applied once, however often it is delivered.
        Index("uq_events_tenant_id_key", "tenant_id", "key", unique=True),
        # What no person did names what made it happen.
        CheckConstraint("actor_kind in ('user', 'customer') or cause <> '{}'", name="cause"),
        CheckConstraint("seq > 0", name="seq"),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    ticket_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[uuid.UUID | None]
    cause: Mapped[Json]
    changes: Mapped[Json]  # field -> [before, after]
    data: Mapped[Json]
    occurred_at: Mapped[datetime]
    recorded_at: Mapped[datetime]


class Message(TicketPart, Base):
    __tablename__ = "messages"
    __table_args__ = (
        _of_ticket(),
        _of_ticket("origin_ticket_id"),
        Index("ix_messages_ticket", "tenant_id", "ticket_id", "created_at", "id"),
        Index("ix_messages_origin", "tenant_id", "origin_ticket_id"),
        Index(
            "ix_messages_text",
            text("to_tsvector('simple', left(body_text, 100000))"),
            postgresql_using="gin",
        ),
        CheckConstraint("visibility in ('public', 'internal')", name="visibility"),
        CheckConstraint(
            "author_kind in ('customer', 'user', 'automation', 'system')", name="author_kind"
        ),
        # What a customer wrote is never hidden from customers.
        CheckConstraint(
            "author_kind <> 'customer' or visibility = 'public'", name="customer_public"
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    # Where it was written; differs from ticket_id after a merge or a split.
    origin_ticket_id: Mapped[uuid.UUID]
    seq: Mapped[int]  # of the event that brought it, in its origin ticket
    author_kind: Mapped[str] = mapped_column(Text)
    author_id: Mapped[uuid.UUID | None]
    visibility: Mapped[str] = mapped_column(Text)
    channel: Mapped[str] = mapped_column(Text)
    body_text: Mapped[str] = mapped_column(Text)
    body_html: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]


class StoredFile(Base):
    """Bytes kept once per tenant, named by their hash."""

    __tablename__ = "files"
    __table_args__ = (
        Index("ix_files_unused", "unused_since", postgresql_where=text("unused_since is not null")),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    scan: Mapped[str] = mapped_column(Text, server_default="skipped")
    created_at: Mapped[datetime]
    # Since then no attachment names it; the bytes go first, this row after them.
    unused_since: Mapped[datetime | None]


class Attachment(Owned, Base):
    """A file under a name. Without a message it is an upload waiting for one."""

    __tablename__ = "attachments"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "sha256"], ["files.tenant_id", "files.sha256"]),
        ForeignKeyConstraint(
            ["tenant_id", "message_id"],
            ["messages.tenant_id", "messages.id"],
            ondelete="CASCADE",
        ),
        Index("ix_attachments_tenant_id_message_id", "tenant_id", "message_id"),
        Index("ix_attachments_file", "tenant_id", "sha256"),
        Index("ix_attachments_waiting", "created_at", postgresql_where=text("message_id is null")),
    )

    message_id: Mapped[uuid.UUID | None]
    uploaded_by: Mapped[str] = mapped_column(Text)
    filename: Mapped[str] = mapped_column(Text)
    content_type: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class Relation(Base):
    __tablename__ = "relations"
    __table_args__ = (
        _of_ticket("source_id"),
        _of_ticket("target_id"),
        Index("ix_relations_target", "tenant_id", "target_id"),
        CheckConstraint("source_id <> target_id", name="not_itself"),
        CheckConstraint(
            "kind in ('parent','duplicate','relates','follow_up','problem','merged_into',"
            "'split_from')",
            name="kind",
        ),
        # A ticket has one parent.
        Index(
            "uq_relations_one_parent",
            "tenant_id",
            "target_id",
            unique=True,
            postgresql_where=text("kind = 'parent'"),
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    source_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    target_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class Watcher(Base):
    __tablename__ = "watchers"
    __table_args__ = (
        _of_ticket(),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
        Index("ix_watchers_tenant_id_user_id", "tenant_id", "user_id"),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    ticket_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class Notification(Owned, Base):
    """Something an agent should know, shown in the workspace."""

    __tablename__ = "notifications"
    __table_args__ = (
        _of_ticket(),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
        # One event tells one person one thing once.
        Index(
            "uq_notifications_once", "tenant_id", "user_id", "ticket_id", "seq", "kind", unique=True
        ),
        Index("ix_notifications_user", "tenant_id", "user_id", text("id desc")),
        # What an alert tells is about no ticket.
        CheckConstraint("(ticket_id is null) = (seq is null)", name="of_an_event"),
    )

    user_id: Mapped[uuid.UUID]
    ticket_id: Mapped[uuid.UUID | None]
    seq: Mapped[int | None]
    kind: Mapped[str] = mapped_column(Text)
    data: Mapped[Json] = mapped_column(server_default="{}")
    created_at: Mapped[datetime]
    read_at: Mapped[datetime | None]
