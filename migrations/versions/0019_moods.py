"""Moods follow the conversation: how fed up somebody is, and which words wait to be read."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Tickets from before have no frustration until their customer writes again."""
    op.execute("set local lock_timeout = '5s'")
    op.add_column("tickets", sa.Column("frustration", sa.Text(), nullable=True))
    op.add_column("tickets", sa.Column("mood_due", sa.Integer(), nullable=True))
    op.create_check_constraint(
        op.f("ck_tickets_frustration"), "tickets", "frustration in ('none', 'some', 'high')"
    )


def downgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.drop_constraint(op.f("ck_tickets_frustration"), "tickets")
    op.drop_column("tickets", "mood_due")
    op.drop_column("tickets", "frustration")
