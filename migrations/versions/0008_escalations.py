"""What escalation steps call and whom they wake: webhooks, who is on call, drafts of policies."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("generation", sa.Integer(), server_default="1", nullable=False),
        sa.Column("rotated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_webhooks_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_webhooks")),
    )
    op.create_index("uq_webhooks_tenant_id_name", "webhooks", ["tenant_id", "name"], unique=True)
    op.create_table(
        "policy_drafts",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("policy_id", sa.Uuid(), nullable=False),
        sa.Column("body", postgresql.JSONB(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "policy_id"],
            ["policies.tenant_id", "policies.id"],
            name=op.f("fk_policy_drafts_tenant_id_policy_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "policy_id", name=op.f("pk_policy_drafts")),
    )
    for table in ("webhooks", "policy_drafts"):
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        op.execute(
            f"create policy own on {table} to holdfast_app using ({MINE}) with check ({MINE})"
        )
        op.execute(f"grant select, insert, update, delete on {table} to holdfast_app")
    for column in (
        sa.Column("webhook_id", sa.Uuid(), nullable=True),
        sa.Column("payload", postgresql.JSONB(), nullable=True),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.Column("replay_of", sa.Uuid(), nullable=True),
    ):
        op.add_column("deliveries", column)
    op.create_foreign_key(
        op.f("fk_deliveries_tenant_id_webhook_id"),
        "deliveries",
        "webhooks",
        ["tenant_id", "webhook_id"],
        ["tenant_id", "id"],
        ondelete="SET NULL (webhook_id)",
    )
    op.create_index(
        "ix_deliveries_webhook",
        "deliveries",
        ["tenant_id", "webhook_id", "id"],
        postgresql_where=sa.text("webhook_id is not null"),
    )
    op.add_column(
        "team_members", sa.Column("on_call", sa.Boolean(), server_default="false", nullable=False)
    )
    op.execute("grant update (on_call) on team_members to holdfast_app")
    op.create_index(
        "ix_tickets_escalated",
        "tickets",
        ["tenant_id", "id"],
        postgresql_where=sa.text("escalation is not null"),
    )


def downgrade() -> None:
    op.drop_index("ix_tickets_escalated", "tickets")
    op.drop_column("team_members", "on_call")
    op.drop_index("ix_deliveries_webhook", "deliveries")
    op.drop_constraint(op.f("fk_deliveries_tenant_id_webhook_id"), "deliveries")
    for column in ("webhook_id", "payload", "response_status", "response", "replay_of"):
        op.drop_column("deliveries", column)
    op.drop_table("policy_drafts")
    op.drop_table("webhooks")
