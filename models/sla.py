"""Calendars and policies by version, and the clocks that ran under them."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Interval, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, Owned
from models.tickets import _of_ticket


class Calendar(Owned, Base):
    __tablename__ = "calendars"
    __table_args__ = (Index("uq_calendars_tenant_id_name", "tenant_id", "name", unique=True),)

    name: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    active: Mapped[bool] = mapped_column(server_default="true")
    created_at: Mapped[datetime]


class CalendarVersion(Base):
    """What a calendar said. Never changed: past clocks refer to it."""

    __tablename__ = "calendar_versions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "calendar_id"],
            ["calendars.tenant_id", "calendars.id"],
            ondelete="CASCADE",
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    calendar_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[Json]
    created_at: Mapped[datetime]


class Policy(Owned, Base):
    __tablename__ = "policies"
    __table_args__ = (Index("uq_policies_tenant_id_name", "tenant_id", "name", unique=True),)

    name: Mapped[str] = mapped_column(Text)
    position: Mapped[int]  # the first that matches a ticket is in force
    version: Mapped[int]
    active: Mapped[bool] = mapped_column(server_default="true")
    created_at: Mapped[datetime]


class PolicyVersion(Base):
    """What a policy promised. Never changed: past clocks refer to it."""

    __tablename__ = "policy_versions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "policy_id"],
            ["policies.tenant_id", "policies.id"],
            ondelete="CASCADE",
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    policy_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[Json]
    created_at: Mapped[datetime]


class PolicyDraft(Base):
    """What a policy might promise next: tried, discussed, and not in force."""

    __tablename__ = "policy_drafts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "policy_id"],
            ["policies.tenant_id", "policies.id"],
            ondelete="CASCADE",
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    policy_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    body: Mapped[Json]
    updated_by: Mapped[uuid.UUID | None]
    updated_at: Mapped[datetime]


class Clock(Base):
    """One cycle of one promise on one ticket."""

    __tablename__ = "clocks"
    __table_args__ = (
        _of_ticket(),
        CheckConstraint(
            "outcome in ('running', 'met', 'missed', 'cancelled', 'not_applicable')", name="outcome"
        ),
        # One running cycle per promise.
        Index(
            "uq_clocks_one_running",
            "tenant_id",
            "ticket_id",
            "metric",
            unique=True,
            postgresql_where=text("stopped_at is null"),
        ),
        # Reports count cycles by the time they ended.
        Index(
            "ix_clocks_ended",
            "tenant_id",
            "stopped_at",
            postgresql_where=text("stopped_at is not null"),
        ),
        # Alerts count breaches by when they were; few rows have one.
        Index(
            "ix_clocks_breached",
            "tenant_id",
            "breached_at",
            postgresql_where=text("breached_at is not null"),
        ),
        # And by when they were noticed, where that was later.
        Index(
            "ix_clocks_noticed_late",
            "tenant_id",
            "detected_at",
            postgresql_where=text("detected_at - breached_at >= interval '1 minute'"),
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    ticket_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    metric: Mapped[str] = mapped_column(Text, primary_key=True)
    cycle: Mapped[int] = mapped_column(primary_key=True)
    policy_id: Mapped[uuid.UUID | None]
    policy_version: Mapped[int | None]
    calendar_id: Mapped[uuid.UUID | None]
    calendar_version: Mapped[int | None]
    target: Mapped[timedelta | None] = mapped_column(Interval)
    started_at: Mapped[datetime]
    planned_at: Mapped[datetime]  # since when the present target and calendar apply
    due_at: Mapped[datetime | None]
    pauses: Mapped[list[Json]] = mapped_column(JSONB, server_default="[]")
    stopped_at: Mapped[datetime | None]
    outcome: Mapped[str] = mapped_column(Text)
    cancelled_because: Mapped[str | None] = mapped_column(Text)
    breached_at: Mapped[datetime | None]
    detected_at: Mapped[datetime | None]
    steps_done: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    target_days: Mapped[int | None]  # as promised, where in business days; `target` is their worth
    planned_because: Mapped[str | None] = mapped_column(Text)
    caused_by: Mapped[str | None] = mapped_column(Text)  # the change that broke it, if one did
    team_id: Mapped[uuid.UUID | None]  # responsible now, or at the breach
    assignee_id: Mapped[uuid.UUID | None]
    due_override: Mapped[Json | None] = mapped_column(JSONB)
    acknowledged: Mapped[Json | None] = mapped_column(JSONB)
    steps_log: Mapped[list[Json]] = mapped_column(JSONB, server_default="[]")
    used: Mapped[timedelta | None] = mapped_column(Interval)  # open time that counted, at the end
    paused: Mapped[timedelta | None] = mapped_column(Interval)  # all time in pauses, at the end
    max_pause: Mapped[timedelta | None] = mapped_column(Interval)  # what the policy in force says
    pause_limit: Mapped[timedelta | None] = mapped_column(Interval)  # what counts of the pauses
