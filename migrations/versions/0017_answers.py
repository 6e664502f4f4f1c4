"""A language model sums up too; tickets that were over before their verdict wait for none."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Answers have a kind; triage has an end where no verdict came."""
    op.execute("set local lock_timeout = '5s'")
    op.add_column("drafts", sa.Column("kind", sa.Text(), server_default="reply", nullable=False))
    op.add_column("drafts", sa.Column("parts", postgresql.JSONB(), nullable=True))
    op.create_check_constraint(op.f("ck_drafts_kind"), "drafts", "kind in ('reply', 'summary')")
    _triage("skipped", "category in ('closed', 'merged') and triage = 'pending'")


def downgrade() -> None:
    """Summaries go: nothing could tell them from replies."""
    op.execute("set local lock_timeout = '5s'")
    _triage("pending", "triage = 'skipped'")
    op.execute("create policy answers on drafts to holdfast_owner using (true)")
    op.execute("delete from drafts where kind = 'summary'")
    op.execute("drop policy answers on drafts")
    op.drop_constraint(op.f("ck_drafts_kind"), "drafts")
    op.drop_column("drafts", "parts")
    op.drop_column("drafts", "kind")


def _triage(state: str, of: str) -> None:
    """The owner of the tables sees no rows under FORCE, so for this once it has a policy."""
    op.execute("create policy answers on tickets to holdfast_owner using (true) with check (true)")
    op.execute(f"update tickets set triage = '{state}' where {of}")
    op.execute("drop policy answers on tickets")
