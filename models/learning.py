"""What a desk's models are, how they did, and how the desk wants them used."""

import uuid
from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, Text
from sqlalchemy import text as sql
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, Owned

_FIELD = "field in ('topic', 'priority', 'sentiment', 'team', 'spam', 'language')"


class TriageField(Base):
    """What a desk has said about one of the questions; without a row the usual holds."""

    __tablename__ = "triage_fields"
    __table_args__ = (
        CheckConstraint(_FIELD, name="field"),
        CheckConstraint("apply in ('never', 'earned', 'always')", name="apply"),
        CheckConstraint("wanted_precision between 0.5 and 1", name="wanted_precision"),
        CheckConstraint("threshold between 0 and 1", name="threshold"),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    field: Mapped[str] = mapped_column(Text, primary_key=True)
    apply: Mapped[str] = mapped_column(Text)
    wanted_precision: Mapped[float]
    labels: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    threshold: Mapped[float | None]  # set by hand
    withheld: Mapped[str | None] = mapped_column(Text)  # why, until a model was measured anew
    updated_at: Mapped[datetime]


class TriageModel(Owned, Base):
    """One training: asked for, under way, and what came of it. Its file is named by `sha256`."""

    __tablename__ = "triage_models"
    __table_args__ = (
        CheckConstraint(_FIELD, name="field"),
        CheckConstraint(
            "state in ('queued', 'training', 'champion', 'retired', 'refused', 'failed',"
            " 'cancelled')",
            name="state",
        ),
        # What answers has a file and was measured.
        CheckConstraint(
            "state <> 'champion' or (sha256 is not null and measures is not null)", name="champion"
        ),
        Index("uq_triage_models_tenant_id_field_version", "tenant_id", "field", "version",
              unique=True),
        # One answers.
        Index("uq_triage_models_champion", "tenant_id", "field", unique=True,
              postgresql_where=sql("state = 'champion'")),
        # One is learning.
        Index("uq_triage_models_learning", "tenant_id", "field", unique=True,
              postgresql_where=sql("state in ('queued', 'training')")),
    )  # fmt: skip

    field: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    state: Mapped[str] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)  # why it became what it is
    # Why it does not answer unless somebody insists: it was refused, or fell. Never taken away.
    objection: Mapped[str | None] = mapped_column(Text)
    replaced_by: Mapped[int | None]  # the version that was measured to be better
    live: Mapped[Json | None]  # what people made of its answers, as last counted
    problem: Mapped[str | None] = mapped_column(Text)  # why its file could not be used
    requested_by: Mapped[uuid.UUID | None]  # nobody: the schedule
    progress: Mapped[float] = mapped_column(server_default="0")
    rows: Mapped[int | None]  # it was taught
    labels: Mapped[Json | None]  # with how many rows of each
    wanted_precision: Mapped[float | None]  # the precision it was to answer with
    threshold: Mapped[float | None]
    measures: Mapped[Json | None]
    compared_with: Mapped[str | None] = mapped_column(Text)  # what answered then, in words
    compared: Mapped[Json | None]  # its measures on the same rows
    taught_until: Mapped[datetime | None]
    sha256: Mapped[str | None] = mapped_column(Text)
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    promoted_at: Mapped[datetime | None]


class TriageBacktest(Owned, Base):
    """One model asked about past tickets, beside what people decided."""

    __tablename__ = "triage_backtests"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "model_id"],
            ["triage_models.tenant_id", "triage_models.id"],
            ondelete="CASCADE",
        ),
        CheckConstraint(_FIELD, name="field"),
        CheckConstraint(
            "state in ('queued', 'running', 'finished', 'failed', 'cancelled')", name="state"
        ),
        Index("ix_triage_backtests_created", "tenant_id", "created_at"),
    )

    field: Mapped[str] = mapped_column(Text)
    model_id: Mapped[uuid.UUID | None]  # none: the one that ships
    state: Mapped[str] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)
    requested_by: Mapped[uuid.UUID | None]
    progress: Mapped[float] = mapped_column(server_default="0")
    tickets: Mapped[int]  # at most so many, the newest first
    measures: Mapped[Json | None]
    unseen: Mapped[Json | None]  # of what was decided after all the model was taught
    recorded: Mapped[Json | None]  # what the desk had been told at the time, on the same tickets
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
