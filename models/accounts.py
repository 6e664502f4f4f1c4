"""Tenants, the people who work in them, and how those prove who they are."""

import uuid
from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKeyConstraint,
    Index,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, Owned


class Tenant(Base):
    __tablename__ = "tenants"
    __table_args__ = (
        # The slug names workflows, Redis keys and index filters: it never changes.
        CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'", name="slug"),
        CheckConstraint("rate_class in ('standard', 'high', 'unlimited')", name="rate_class"),
    )

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(Text, unique=True)
    name: Mapped[str] = mapped_column(Text)
    settings: Mapped[Json] = mapped_column(server_default="{}")
    # Raised by every change of what rules read (policies, teams, statuses, ...); a process holding
    # an older number reloads before it decides.
    config_version: Mapped[int] = mapped_column(server_default="1")
    rate_class: Mapped[str] = mapped_column(Text, server_default="standard")
    retraining_looked_at: Mapped[datetime | None]  # whose turn it is to learn
    created_at: Mapped[datetime]


class User(Owned, Base):
    """Somebody who works here: an agent in the wide sense, whatever the role."""

    __tablename__ = "users"
    __table_args__ = (
        Index("uq_users_tenant_id_email", "tenant_id", "email", unique=True),
        Index("uq_users_tenant_id_handle", "tenant_id", "handle", unique=True),
        CheckConstraint("email = lower(email)", name="email_lower"),
        CheckConstraint("role in ('admin', 'supervisor', 'agent', 'viewer')", name="role"),
        CheckConstraint("presence in ('online', 'away')", name="presence"),
        CheckConstraint("capacity >= 0", name="capacity"),
        CheckConstraint("absent or (absent_from is null and absent_until is null)", name="absent"),
        CheckConstraint("absent_until > absent_from", name="absence_ends"),
        CheckConstraint("replacement_id <> id", name="replaced_by_another"),
        ForeignKeyConstraint(
            ["tenant_id", "replacement_id"],
            ["users.tenant_id", "users.id"],
            ondelete="SET NULL (replacement_id)",
        ),
        ForeignKeyConstraint(
            ["tenant_id", "calendar_id"],
            ["calendars.tenant_id", "calendars.id"],
            ondelete="SET NULL (calendar_id)",
        ),
    )

    email: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    handle: Mapped[str] = mapped_column(Text)  # what follows the @ in a mention
    role: Mapped[str] = mapped_column(Text)
    password_hash: Mapped[str | None] = mapped_column(Text)  # null: invited, not yet accepted
    active: Mapped[bool] = mapped_column(server_default="true")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    # Whether they take tickets, how many at once, and which.
    presence: Mapped[str] = mapped_column(Text, server_default="online")
    absent: Mapped[bool] = mapped_column(server_default="false")
    absent_from: Mapped[datetime | None]
    absent_until: Mapped[datetime | None]
    replacement_id: Mapped[uuid.UUID | None]
    capacity: Mapped[int | None]  # open tickets at once; null: any number
    skills: Mapped[Json] = mapped_column(server_default="{}")  # name -> level
    calendar_id: Mapped[uuid.UUID | None]  # their working hours; null: always


class Team(Owned, Base):
    __tablename__ = "teams"
    __table_args__ = (
        Index("uq_teams_tenant_id_name", "tenant_id", "name", unique=True),
        CheckConstraint(
            "routing in ('manual', 'round_robin', 'least_loaded', 'skill_based')", name="routing"
        ),
    )

    name: Mapped[str] = mapped_column(Text)
    routing: Mapped[str] = mapped_column(Text, server_default="manual")
    rules: Mapped[Json] = mapped_column(server_default="{}")  # see domain.staffing.RoutingRules
    active: Mapped[bool] = mapped_column(server_default="true")
    created_at: Mapped[datetime]


class TeamMember(Base):
    __tablename__ = "team_members"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "team_id"], ["teams.tenant_id", "teams.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
        Index("ix_team_members_tenant_id_user_id", "tenant_id", "user_id"),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    team_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    lead: Mapped[bool] = mapped_column(server_default="false")
    # Whom escalations of the team wake now; a switch, kept by those who lead.
    on_call: Mapped[bool] = mapped_column(server_default="false")


class Rota(Base):
    """Who of a team is on call when: layers of people who take turns, see domain/rotas.py."""

    __tablename__ = "rotas"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "team_id"], ["teams.tenant_id", "teams.id"], ondelete="CASCADE"
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    team_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    body: Mapped[Json]
    updated_by: Mapped[uuid.UUID | None]
    updated_at: Mapped[datetime]


class RotaOverride(Owned, Base):
    """Somebody who is on call for a while, whoever's turn it is."""

    __tablename__ = "rota_overrides"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "team_id"], ["rotas.tenant_id", "rotas.team_id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
        CheckConstraint("since < until", name="ends"),
        Index("ix_rota_overrides_team", "tenant_id", "team_id", "until"),
    )

    team_id: Mapped[uuid.UUID]
    user_id: Mapped[uuid.UUID]
    since: Mapped[datetime]
    until: Mapped[datetime]
    created_by: Mapped[uuid.UUID | None]
    created_at: Mapped[datetime]


class RoutingTurn(Base):
    """When routing gave an agent something last: by the order of giving, which no clock disturbs.

    Written under the lock that routing holds on the agent. A row of its own, because nobody else
    who changes a user should wait for a ticket, nor a ticket for them.
    """

    __tablename__ = "routing_turns"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    user_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    turn: Mapped[int] = mapped_column(BigInteger)
    given_at: Mapped[datetime]


class LoginSession(Owned, Base):
    """One sign-in on one device; its refresh secret changes at every use."""

    __tablename__ = "login_sessions"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
        Index("ix_login_sessions_tenant_id_user_id", "tenant_id", "user_id"),
        UniqueConstraint("refresh_hash"),
    )

    user_id: Mapped[uuid.UUID]
    refresh_hash: Mapped[bytes]
    # The secret before the present one: seen again, somebody copied it, and the session ends.
    previous_hash: Mapped[bytes | None] = mapped_column(unique=True)
    user_agent: Mapped[str] = mapped_column(Text)
    ip: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    used_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    revoked_reason: Mapped[str | None] = mapped_column(Text)


class Departure(Owned, Base):
    """Somebody left a team, or the house (team null), and may still hold tickets. Written with the
    leaving itself; gone when all of them were let go."""

    __tablename__ = "departures"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(
            ["tenant_id", "team_id"], ["teams.tenant_id", "teams.id"], ondelete="CASCADE"
        ),
    )

    user_id: Mapped[uuid.UUID]
    team_id: Mapped[uuid.UUID | None]
    cause: Mapped[Json] = mapped_column(server_default="{}")  # of the request it came with
    created_at: Mapped[datetime]


class ApiToken(Owned, Base):
    __tablename__ = "api_tokens"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
        UniqueConstraint("token_hash"),
        # A token either acts for a person or takes customers' submissions; never both.
        CheckConstraint("(kind = 'personal') = (user_id is not null)", name="kind_user"),
        CheckConstraint("kind in ('personal', 'intake')", name="kind"),
        CheckConstraint("rate_class in ('standard', 'high', 'unlimited')", name="rate_class"),
    )

    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(Text)
    user_id: Mapped[uuid.UUID | None]
    token_hash: Mapped[bytes]
    hint: Mapped[str] = mapped_column(Text)  # its last four characters
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    rate_class: Mapped[str] = mapped_column(Text, server_default="standard")
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class PasswordLink(Owned, Base):
    """A signed link that sets a password once: a reset or an invitation."""

    __tablename__ = "password_links"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "user_id"], ["users.tenant_id", "users.id"], ondelete="CASCADE"
        ),
    )

    user_id: Mapped[uuid.UUID]
    purpose: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class AuditEntry(Owned, Base):
    """What somebody did. Written in the action's own transaction, chained by the sealer after."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_tenant_id_at", "tenant_id", "at"),
        Index("uq_audit_entries_tenant_id_position", "tenant_id", "position", unique=True),
        Index(
            "ix_audit_entries_unsealed",
            "tenant_id",
            "id",
            postgresql_where="position is null",
        ),
        # A sealed row has its place and its hash, an unsealed one neither.
        CheckConstraint("(position is null) = (hash is null)", name="sealed"),
    )

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)  # no reference: see `Outbox`
    at: Mapped[datetime]
    actor_kind: Mapped[str] = mapped_column(Text)
    actor_id: Mapped[uuid.UUID | None]
    action: Mapped[str] = mapped_column(Text)
    target_kind: Mapped[str] = mapped_column(Text)
    target_id: Mapped[str | None] = mapped_column(Text)
    data: Mapped[Json] = mapped_column(server_default="{}")
    ip: Mapped[str | None] = mapped_column(Text)
    auth_method: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    position: Mapped[int | None]
    hash: Mapped[bytes | None]


class IdempotencyKey(Base):
    """The answer a POST gave, kept so that the same key gets the same answer."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created_at", "created_at"),)

    tenant_id: Mapped[uuid.UUID] = mapped_column(primary_key=True)  # no reference: see `Outbox`
    caller: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    fingerprint: Mapped[bytes]
    status: Mapped[int]
    body: Mapped[bytes]
    # Of the headers, those that tell where the thing is and which version was answered.
    headers: Mapped[Json] = mapped_column(server_default="{}")
    created_at: Mapped[datetime]
