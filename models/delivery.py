"""What still has to reach another system, and what became of it; long jobs and their items."""

import uuid
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, Owned
from models.tickets import _of_ticket


class Outbox(Base):
    """A committed fact that one destination has not been told yet.

    A row per destination rather than a number per destination: rows commit out of the order of
    their ids, so a cursor over ids would skip some. No reference to the tenant: every action writes
    here, and each check would lock the tenant's one row beside all others that do.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        Index("ix_outbox_due", "destination", "available_at", "id"),
        # `routing` is told teams instead of tickets: whose queue may move. `alerts` is told
        # tenants: whose promises are to be looked at.
        CheckConstraint(
            "destination in ('workflows', 'index', 'live', 'routing', 'alerts')", name="destination"
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    destination: Mapped[str] = mapped_column(Text)
    tenant_id: Mapped[uuid.UUID]
    ticket_id: Mapped[uuid.UUID]
    number: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(Text)
    seq: Mapped[int]
    actor_id: Mapped[uuid.UUID | None]
    trace: Mapped[Json] = mapped_column(server_default="{}")  # ids of the request behind it
    created_at: Mapped[datetime]
    available_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None] = mapped_column(Text)


class Delivery(Owned, Base):
    """One outgoing mail, webhook, push or start of a workflow, with a state a person can read."""

    __tablename__ = "deliveries"
    __table_args__ = (
        _of_ticket(),
        # Fixed before the first attempt.
        Index("uq_deliveries_tenant_id_key", "tenant_id", "key", unique=True),
        Index("ix_deliveries_ticket", "tenant_id", "ticket_id", "id"),
        Index(
            "ix_deliveries_open",
            "tenant_id",
            "ticket_id",
            postgresql_where=text("state in ('queued', 'sending')"),
        ),
        Index(
            "ix_deliveries_webhook",
            "tenant_id",
            "webhook_id",
            "id",
            postgresql_where=text("webhook_id is not null"),
        ),
        ForeignKeyConstraint(
            ["tenant_id", "webhook_id"],
            ["webhooks.tenant_id", "webhooks.id"],
            ondelete="SET NULL (webhook_id)",
        ),
        Index(
            "ix_deliveries_workflow",
            "tenant_id",
            "recipient",
            "id",
            postgresql_where=text("kind = 'workflow'"),
        ),
        CheckConstraint("kind in ('mail', 'webhook', 'push', 'workflow')", name="kind"),
        # An alert's call, or one that only tries an endpoint, is about no ticket.
        CheckConstraint("ticket_id is not null or kind = 'webhook'", name="of_a_ticket"),
        CheckConstraint(
            "state in ('queued', 'sending', 'sent', 'failed', 'bounced', 'unknown', 'cancelled')",
            name="state",
        ),
    )

    ticket_id: Mapped[uuid.UUID | None]
    message_id: Mapped[uuid.UUID | None]
    kind: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    recipient: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    webhook_id: Mapped[uuid.UUID | None]
    # What a webhook is told: fixed with the row, so that every attempt says the same.
    payload: Mapped[Json | None]
    response_status: Mapped[int | None]
    response: Mapped[str | None] = mapped_column(Text)  # the beginning of it
    replay_of: Mapped[uuid.UUID | None]


class Webhook(Owned, Base):
    """Where a tenant wants to be told. Its secret is worked out from `generation`, and not kept."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("uq_webhooks_tenant_id_name", "tenant_id", "name", unique=True),)

    name: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    active: Mapped[bool] = mapped_column(server_default="true")
    generation: Mapped[int] = mapped_column(server_default="1")
    rotated_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class StepWorkflow(Base):
    """A workflow that steps of this tenant may start, as an operator has named it."""

    __tablename__ = "step_workflows"

    tenant_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    type: Mapped[str] = mapped_column(Text)
    queue: Mapped[str] = mapped_column(Text)
    about: Mapped[str] = mapped_column(Text, server_default="")
    created_at: Mapped[datetime]


class BulkJob(Owned, Base):
    """One change to many tickets, with the list fixed when it was asked for."""

    __tablename__ = "bulk_jobs"
    __table_args__ = (
        CheckConstraint(
            "state in ('queued', 'running', 'finished', 'cancelled', 'undoing', 'undone')",
            name="state",
        ),
    )

    created_by: Mapped[uuid.UUID]
    action: Mapped[Json]
    # What the caller could do when they asked; what they can still do of it when it is done.
    permissions: Mapped[list[str]] = mapped_column(ARRAY(Text))
    request: Mapped[Json] = mapped_column(server_default="{}")
    state: Mapped[str] = mapped_column(Text)
    total: Mapped[int]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class BulkItem(Base):
    __tablename__ = "bulk_items"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "job_id"], ["bulk_jobs.tenant_id", "bulk_jobs.id"], ondelete="CASCADE"
        ),
        CheckConstraint(
            "state in ('queued', 'done', 'unchanged', 'refused', 'cancelled', 'undone', 'kept')",
            name="state",
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    job_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    code: Mapped[str | None] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
    seq: Mapped[int | None]  # of the event the change made
    before: Mapped[Json | None]  # what undo puts back
