"""The people who ask, and whom they belong to."""

import uuid
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Json, Owned


class Organization(Owned, Base):
    __tablename__ = "organizations"
    __table_args__ = (
        Index("uq_organizations_tenant_id_name", "tenant_id", "name", unique=True),
        Index("ix_organizations_domains", "domains", postgresql_using="gin"),
    )

    name: Mapped[str] = mapped_column(Text)
    domains: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}")
    fields: Mapped[Json] = mapped_column(server_default="{}")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Customer(Owned, Base):
    __tablename__ = "customers"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "organization_id"], ["organizations.tenant_id", "organizations.id"]
        ),
        Index("ix_customers_tenant_id_organization_id", "tenant_id", "organization_id"),
        # Found by how the name begins.
        Index("ix_customers_name", "tenant_id", text("lower(name) text_pattern_ops")),
    )

    name: Mapped[str] = mapped_column(Text)
    organization_id: Mapped[uuid.UUID | None]
    language: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class CustomerIdentity(Owned, Base):
    """One way a customer is known: an address, a number, an id in another system."""

    __tablename__ = "customer_identities"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "customer_id"],
            ["customers.tenant_id", "customers.id"],
            ondelete="CASCADE",
        ),
        # An identity belongs to one customer.
        Index(
            "uq_customer_identities_tenant_id_kind_value", "tenant_id", "kind", "value", unique=True
        ),
        Index("ix_customer_identities_tenant_id_customer_id", "tenant_id", "customer_id"),
        # Found by how the address begins.
        Index("ix_customer_identities_value", "tenant_id", text("value text_pattern_ops")),
        CheckConstraint("kind in ('email', 'phone', 'chat', 'external')", name="kind"),
        CheckConstraint("kind <> 'email' or value = lower(value)", name="email_lower"),
    )

    customer_id: Mapped[uuid.UUID]
    kind: Mapped[str] = mapped_column(Text)
    value: Mapped[str] = mapped_column(Text)
    verified_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
