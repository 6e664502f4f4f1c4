"""A desk's language model, and what it was asked to draft."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Owned


class LanguageModel(Base):
    """Where drafts come from, and how much they may cost. Without a row there are none."""

    __tablename__ = "language_models"
    __table_args__ = (
        CheckConstraint("timeout_seconds between 1 and 120", name="timeout_seconds"),
        CheckConstraint(
            "daily_tokens >= 0 and monthly_tokens >= 0 and input_price >= 0 and output_price >= 0",
            name="limits",
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(
        ForeignKey("tenants.id", ondelete="CASCADE"), primary_key=True
    )
    enabled: Mapped[bool] = mapped_column(server_default="false")
    base_url: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    sealed_key: Mapped[bytes | None] = mapped_column(LargeBinary)  # see services/sealing.py
    timeout_seconds: Mapped[int]
    daily_tokens: Mapped[int]
    monthly_tokens: Mapped[int]
    daily_cost: Mapped[float | None]
    monthly_cost: Mapped[float | None]
    input_price: Mapped[float]  # for a million tokens, in whatever money the desk counts
    output_price: Mapped[float]
    updated_at: Mapped[datetime]


class Draft(Owned, Base):
    """One question to the language model. While it is asked, the most it can cost is counted."""

    __tablename__ = "drafts"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "ticket_id"], ["tickets.tenant_id", "tickets.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
        CheckConstraint("kind in ('reply', 'summary')", name="kind"),
        CheckConstraint("state in ('asked', 'drafted', 'refused', 'failed')", name="state"),
        CheckConstraint("state <> 'drafted' or text is not null", name="drafted"),
        CheckConstraint("verdict in ('accepted', 'edited', 'rejected')", name="verdict"),
        Index("ix_drafts_created", "tenant_id", "created_at"),
        Index("ix_drafts_ticket", "tenant_id", "ticket_id"),
    )

    kind: Mapped[str] = mapped_column(Text, server_default="reply")
    ticket_id: Mapped[uuid.UUID]
    user_id: Mapped[uuid.UUID]
    state: Mapped[str] = mapped_column(Text)
    detail: Mapped[str | None] = mapped_column(Text)  # why there is no draft
    text: Mapped[str | None] = mapped_column(Text)
    parts: Mapped[dict[str, object] | None] = mapped_column(JSONB)  # of a summary
    sources: Mapped[list[object]] = mapped_column(JSONB, server_default="[]")
    model: Mapped[str] = mapped_column(Text)
    prompt_version: Mapped[str] = mapped_column(Text)
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    cost: Mapped[float]
    redacted: Mapped[int] = mapped_column(server_default="0")
    verdict: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
