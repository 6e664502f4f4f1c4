"""What is made of promises: simulations with what they would have changed, signed statements."""

import uuid
from datetime import date, datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
)
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
