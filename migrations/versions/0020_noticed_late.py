"""Breaches that were noticed late are found by when that was: an alert tells of them then."""

from alembic import op
from sqlalchemy import text

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Hardly any breach is one of these: it costs nothing to keep."""
    op.execute("set local lock_timeout = '5s'")
    op.create_index(
        "ix_clocks_noticed_late",
        "clocks",
        ["tenant_id", "detected_at"],
        postgresql_where=text("detected_at - breached_at >= interval '1 minute'"),
    )


def downgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.drop_index("ix_clocks_noticed_late", table_name="clocks")
