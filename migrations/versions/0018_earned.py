"""Refused models stay refused; what is watched, withheld, set by hand; whose turn it is."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

SEEN = ("triage_models", "audit_entries")


def upgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.add_column("triage_fields", sa.Column("threshold", sa.Float(), nullable=True))
    op.add_column("triage_fields", sa.Column("withheld", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_triage_fields_threshold"), "triage_fields", "threshold between 0 and 1"
    )
    op.add_column("triage_models", sa.Column("objection", sa.Text(), nullable=True))
    op.add_column("triage_models", sa.Column("replaced_by", sa.Integer(), nullable=True))
    op.add_column("triage_models", sa.Column("live", postgresql.JSONB(), nullable=True))
    op.add_column(
        "tenants", sa.Column("retraining_looked_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.execute("grant update (retraining_looked_at) on tenants to holdfast_app")
    _remember_refusals()


def downgrade() -> None:
    op.execute("set local lock_timeout = '5s'")
    op.drop_column("tenants", "retraining_looked_at")
    for column in ("live", "replaced_by", "objection"):
        op.drop_column("triage_models", column)
    op.drop_constraint(op.f("ck_triage_fields_threshold"), "triage_fields")
    for column in ("withheld", "threshold"):
        op.drop_column("triage_fields", column)


def _remember_refusals() -> None:
    """Who was put in place in spite of a refusal has lost it from its row; the audit log has it.

    The owner of the tables sees no rows under FORCE, so for this once it has policies.
    """
    for table in SEEN:
        op.execute(f"create policy earned on {table} to holdfast_owner using (true)")
    op.execute("update triage_models set objection = coalesce(detail, 'It was refused.')"
               " where state = 'refused'")  # fmt: skip
    op.execute(
        "update triage_models m set objection = coalesce(a.data ->> 'because', 'It was refused.'),"
        " state = case m.state when 'retired' then 'refused' else m.state end"
        " from audit_entries a where a.tenant_id = m.tenant_id and a.target_id = m.id::text"
        " and a.action = 'triage_model.refused' and m.state in ('retired', 'champion')"
    )
    # Who was measured to be better says so, and than which; rolled back, it says that instead.
    op.execute(
        "update triage_models m set replaced_by = c.version from triage_models c"
        " where c.tenant_id = m.tenant_id and c.field = m.field and m.state = 'retired'"
        " and c.compared_with = 'version ' || m.version and c.detail like 'Better%'"
        " and c.state in ('champion', 'retired')"
    )
    for table in SEEN:
        op.execute(f"drop policy earned on {table}")
