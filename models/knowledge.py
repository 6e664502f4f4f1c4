"""What a desk knows: articles, canned responses, and the keys by which past tickets are found."""

import uuid
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Owned


def _own(column: str, table: str, *, cascade: bool = True) -> ForeignKeyConstraint:
    return ForeignKeyConstraint(
        ["tenant_id", column],
        [f"{table}.tenant_id", f"{table}.id"],
        ondelete="CASCADE" if cascade else None,
    )


class Section(Owned, Base):
    """A shelf of the knowledge base."""

    __tablename__ = "sections"
    __table_args__ = (Index("uq_sections_tenant_id_name", "tenant_id", "name", unique=True),)

    name: Mapped[str] = mapped_column(Text)
    description: Mapped[str] = mapped_column(Text, server_default="")
    position: Mapped[int]
    created_at: Mapped[datetime]


class Article(Owned, Base):
    """An article in one language. What it says is in its versions."""

    __tablename__ = "articles"
    __table_args__ = (
        _own("section_id", "sections", cascade=False),
        # An address in the portal leads to one article.
        Index("uq_articles_tenant_id_slug", "tenant_id", "slug", unique=True),
        # Translations of one another: the same group, each language once.
        Index(
            "uq_articles_tenant_id_group_id_language",
            "tenant_id",
            "group_id",
            "language",
            unique=True,
        ),
        Index("ix_articles_updated", "tenant_id", text("updated_at desc"), text("id desc")),
        Index("ix_articles_keys", "keys", postgresql_using="gin"),
        CheckConstraint("state in ('draft', 'review', 'published', 'archived')", name="state"),
        CheckConstraint("audience in ('internal', 'public')", name="audience"),
        CheckConstraint(
            "state <> 'published' or published_version is not null", name="published_version"
        ),
        CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]{0,99}$'", name="slug"),
    )

    group_id: Mapped[uuid.UUID]
    section_id: Mapped[uuid.UUID | None]
    slug: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(Text)
    audience: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    version: Mapped[int]  # the newest
    published_version: Mapped[int | None]  # what readers see
    created_by_id: Mapped[uuid.UUID | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    published_at: Mapped[datetime | None]
    # By which it is found, see domain/lexical.py: of the newest version and of the published one.
    keys: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")


class ArticleVersion(Base):
    """What an article said at a time. Only ever appended."""

    __tablename__ = "article_versions"
    __table_args__ = (_own("article_id", "articles"),)

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    article_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)  # Markdown
    body_html: Mapped[str] = mapped_column(Text)  # sanitised
    body_text: Mapped[str] = mapped_column(Text)
    keywords: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    restored_from: Mapped[int | None]
    author_id: Mapped[uuid.UUID | None]
    created_at: Mapped[datetime]


class ArticleFeedback(Owned, Base):
    """Whether an article helped somebody; each reader has one say."""

    __tablename__ = "article_feedback"
    __table_args__ = (
        _own("article_id", "articles"),
        Index("uq_article_feedback_once", "tenant_id", "article_id", "reader", unique=True),
    )

    article_id: Mapped[uuid.UUID]
    version: Mapped[int]
    # "user:" and an id, or "public:" and a keyed hash of an address and a day.
    reader: Mapped[str] = mapped_column(Text)
    helpful: Mapped[bool]
    comment: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]


class CannedResponse(Owned, Base):
    """A text that agents send often, with placeholders."""

    __tablename__ = "canned_responses"
    __table_args__ = (
        _own("team_id", "teams", cascade=False),
        Index("uq_canned_responses_tenant_id_name", "tenant_id", "name", unique=True),
        Index("ix_canned_responses_keys", "keys", postgresql_using="gin"),
    )

    name: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    team_id: Mapped[uuid.UUID | None]  # null: everybody's
    language: Mapped[str | None] = mapped_column(Text)
    active: Mapped[bool] = mapped_column(server_default="true")
    created_by_id: Mapped[uuid.UUID | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    keys: Mapped[list[int]] = mapped_column(ARRAY(BigInteger), server_default="{}")


class TicketKeys(Base):
    """By which a ticket's question is found: its subject and the customer's first words."""

    __tablename__ = "ticket_keys"
    __table_args__ = (
        _own("ticket_id", "tickets"),
        Index("ix_ticket_keys_keys", "keys", postgresql_using="gin"),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    ticket_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    keys: Mapped[list[int]] = mapped_column(ARRAY(BigInteger))


class SuggestionVerdict(Owned, Base):
    """What somebody did with a suggestion on a ticket; the last thing they said counts."""

    __tablename__ = "suggestion_verdicts"
    __table_args__ = (
        _own("ticket_id", "tickets"),
        _own("user_id", "users"),
        Index(
            "uq_suggestion_verdicts_once",
            "tenant_id",
            "ticket_id",
            "user_id",
            "kind",
            "source_id",
            unique=True,
        ),
        Index("ix_suggestion_verdicts_source", "tenant_id", "kind", "source_id"),
        CheckConstraint("kind in ('article', 'canned', 'reply')", name="kind"),
        CheckConstraint("verdict in ('accepted', 'edited', 'rejected')", name="verdict"),
    )

    ticket_id: Mapped[uuid.UUID]
    user_id: Mapped[uuid.UUID]
    kind: Mapped[str] = mapped_column(Text)
    source_id: Mapped[uuid.UUID]
    verdict: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class BurstProposal(Owned, Base):
    """Many tickets in an hour that say much the same: perhaps one problem."""

    __tablename__ = "burst_proposals"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "problem_id"],
            ["tickets.tenant_id", "tickets.id"],
            ondelete="SET NULL (problem_id)",
        ),
        Index("ix_burst_proposals_state", "tenant_id", "state", text("id desc")),
        CheckConstraint("state in ('open', 'accepted', 'dismissed')", name="state"),
    )

    state: Mapped[str] = mapped_column(Text)
    title: Mapped[str] = mapped_column(Text)
    terms: Mapped[list[str]] = mapped_column(ARRAY(Text))
    ticket_ids: Mapped[list[uuid.UUID]] = mapped_column(ARRAY(Uuid()))
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
    created_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decided_by_id: Mapped[uuid.UUID | None]
    problem_id: Mapped[uuid.UUID | None]
