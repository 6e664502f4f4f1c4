"""Escalation steps that start a workflow: the names a desk offers, and starts as deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
KINDS = "kind in ('mail', 'webhook', 'push'{more})"


def upgrade() -> None:
    op.create_table(
        "step_workflows",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_step_workflows_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "name", name=op.f("pk_step_workflows")),
    )
    op.execute("alter table step_workflows enable row level security")
    op.execute("alter table step_workflows force row level security")
    op.execute(
        f"create policy own on step_workflows to holdfast_app using ({MINE}) with check ({MINE})"
    )
    op.execute("grant select, insert, update, delete on step_workflows to holdfast_app")
    _kinds(KINDS.format(more=", 'workflow'"))
    op.create_index(
        "ix_deliveries_workflow",
        "deliveries",
        ["tenant_id", "recipient", "id"],
        postgresql_where=sa.text("kind = 'workflow'"),
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_workflow", table_name="deliveries")
    op.execute("alter table deliveries no force row level security")
    op.execute("delete from deliveries where kind = 'workflow'")
    op.execute("alter table deliveries force row level security")
    _kinds(KINDS.format(more=""))
    op.drop_table("step_workflows")


def _kinds(check: str) -> None:
    op.drop_constraint(op.f("ck_deliveries_kind"), "deliveries", type_="check")
    op.create_check_constraint(op.f("ck_deliveries_kind"), "deliveries", check)
