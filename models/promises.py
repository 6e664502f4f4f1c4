"""What is made of promises: simulations, signed statements, rules that watch them."""

import uuid
from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, Owned


class Simulation(Owned, Base):
    """A draft of a policy or calendar, tried on the past. Its state steers its workflow."""

    __tablename__ = "simulations"
    __table_args__ = (
        Index("ix_simulations_created", "tenant_id", "created_at", "id"),
        CheckConstraint(
            "state in ('queued', 'running', 'paused', 'finished', 'cancelled', 'failed')",
            name="state",
        ),
    )

    created_by: Mapped[uuid.UUID | None]
    request: Mapped[Json]
    state: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime]
    until: Mapped[datetime]
    total: Mapped[int]
    done: Mapped[int] = mapped_column(server_default="0")
    cursor: Mapped[int] = mapped_column(BigInteger, server_default="0")  # a ticket's number
    tally: Mapped[Json] = mapped_column(server_default="{}")
    # Of another staffing: who was there when, and how far the floors are.
    basis: Mapped[bytes | None] = mapped_column(LargeBinary)
    carry: Mapped[bytes | None] = mapped_column(LargeBinary)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class SimulationFlip(Base):
    """A promise whose verdict would have been another."""

    __tablename__ = "simulation_flips"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "simulation_id"],
            ["simulations.tenant_id", "simulations.id"],
            ondelete="CASCADE",
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    simulation_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    metric: Mapped[str] = mapped_column(Text, primary_key=True)
    cycle: Mapped[int] = mapped_column(primary_key=True)
    before: Mapped[str] = mapped_column(Text)
    after: Mapped[str] = mapped_column(Text)
    due_before: Mapped[datetime | None]
    due_after: Mapped[datetime | None]
    team_id: Mapped[uuid.UUID | None]
    hour: Mapped[int] = mapped_column(SmallInteger)  # of the week, from Monday 0:00


class Statement(Owned, Base):
    """What was promised to somebody in a month and what was kept: signed, never changed."""

    __tablename__ = "statements"
    __table_args__ = (
        # One chain per customer or organization: each holds the hash of the one before.
        Index("uq_statements_position", "tenant_id", "kind", "subject_id", "position", unique=True),
        Index("uq_statements_month", "tenant_id", "kind", "subject_id", "month", unique=True),
        Index("ix_statements_month", "tenant_id", "month", "id"),
        CheckConstraint("kind in ('organization', 'customer')", name="kind"),
    )

    kind: Mapped[str] = mapped_column(Text)
    subject_id: Mapped[uuid.UUID]
    month: Mapped[date] = mapped_column(Date)
    position: Mapped[int]
    said: Mapped[bytes] = mapped_column(LargeBinary)  # the signed document, byte for byte
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    created_by: Mapped[uuid.UUID | None]
    created_at: Mapped[datetime]


class StatementRun(Base):
    """A month whose statements were all made by themselves: once for each tenant."""

    __tablename__ = "statement_runs"

    tenant_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    zone: Mapped[str] = mapped_column(Text)
    made: Mapped[int]
    finished_at: Mapped[datetime]


class Alert(Owned, Base):
    """A rule that watches promises. `figures` are those of the last look at it."""

    __tablename__ = "alerts"
    __table_args__ = (Index("uq_alerts_tenant_id_name", "tenant_id", "name", unique=True),)

    name: Mapped[str] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(server_default="true")
    rule: Mapped[Json]
    created_by: Mapped[uuid.UUID | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    evaluated_at: Mapped[datetime | None]
    figures: Mapped[Json | None] = mapped_column(JSONB)


class AlertFiring(Owned, Base):
    """A rule that found things bad, from then until it found them good again."""

    __tablename__ = "alert_firings"
    __table_args__ = (
        # However often it is looked at, and by however many: a rule fires once until it is over.
        Index(
            "uq_alert_firings_one_open",
            "tenant_id",
            "alert_id",
            unique=True,
            postgresql_where=text("ended_at is null"),
        ),
        Index("ix_alert_firings_alert", "tenant_id", "alert_id", "id"),
        CheckConstraint("(ended_at is null) = (ended_because is null)", name="ended"),
    )

    alert_id: Mapped[uuid.UUID]  # no reference: what fired stays on record when its rule is gone
    name: Mapped[str] = mapped_column(Text)
    rule: Mapped[Json]  # as it was when it fired
    since: Mapped[datetime]  # of the cycles behind the figures
    until: Mapped[datetime]
    figures: Mapped[Json]
    fired_at: Mapped[datetime]
    told: Mapped[int]
    reminders: Mapped[int] = mapped_column(server_default="0")
    reminded_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ended_because: Mapped[str | None] = mapped_column(Text)
    ended_with: Mapped[Json | None] = mapped_column(JSONB)
