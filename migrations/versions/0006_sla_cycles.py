"""Cycles of clocks keep everything they have to show: causes, people, overrides, steps, sums."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in (
        sa.Column("target_days", sa.Integer(), nullable=True),
        sa.Column("planned_because", sa.Text(), nullable=True),
        sa.Column("caused_by", sa.Text(), nullable=True),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("assignee_id", sa.Uuid(), nullable=True),
        sa.Column("due_override", postgresql.JSONB(), nullable=True),
        sa.Column("acknowledged", postgresql.JSONB(), nullable=True),
        sa.Column("steps_log", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("used", sa.Interval(), nullable=True),
        sa.Column("paused", sa.Interval(), nullable=True),
    ):
        op.add_column("clocks", column)
    op.drop_constraint(op.f("ck_clocks_outcome"), "clocks", type_="check")
    op.create_check_constraint(
        op.f("ck_clocks_outcome"),
        "clocks",
        "outcome in ('running', 'met', 'missed', 'cancelled', 'not_applicable')",
    )
    op.create_index(
        "ix_clocks_ended",
        "clocks",
        ["tenant_id", "stopped_at"],
        postgresql_where=sa.text("stopped_at is not null"),
    )
