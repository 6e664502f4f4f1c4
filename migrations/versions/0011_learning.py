"""What the desk learns from its people: models with their measures, settings, backtests."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
TABLES = ("triage_fields", "triage_models", "triage_backtests")
# What the worker has to find across tenants: jobs that wait, and files that are damaged.
RELAYED = {
    "triage_models": "tenant_id, id, field, version, state, problem, sha256, created_at",
    "triage_backtests": "tenant_id, id, state",
}
FIELD = "field in ('topic', 'priority', 'sentiment', 'team')"


def upgrade() -> None:
    _tables()
    for table in TABLES:
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        op.execute(
            f"create policy own on {table} to holdfast_app using ({MINE}) with check ({MINE})"
        )
        op.execute(f"grant select, insert, update on {table} to holdfast_app")
    for table, columns in RELAYED.items():
        op.execute(f"grant select ({columns}) on {table} to holdfast_relay")
        op.execute(f"create policy relay on {table} for select to holdfast_relay using (true)")


def _tables() -> None:
    op.create_table(
        "triage_fields",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("apply", sa.Text(), nullable=False),
        sa.Column("wanted_precision", sa.Float(), nullable=False),
        sa.Column("labels", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(FIELD, name=op.f("ck_triage_fields_field")),
        sa.CheckConstraint(
            "apply in ('never', 'earned', 'always')", name=op.f("ck_triage_fields_apply")
        ),
        sa.CheckConstraint(
            "wanted_precision between 0.5 and 1", name=op.f("ck_triage_fields_wanted_precision")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_triage_fields_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "field", name=op.f("pk_triage_fields")),
    )
    op.create_table(
        "triage_models",
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("progress", sa.Float(), server_default="0", nullable=False),
        sa.Column("rows", sa.Integer(), nullable=True),
        sa.Column("labels", postgresql.JSONB(), nullable=True),
        sa.Column("wanted_precision", sa.Float(), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("measures", postgresql.JSONB(), nullable=True),
        sa.Column("compared_with", sa.Text(), nullable=True),
        sa.Column("compared", postgresql.JSONB(), nullable=True),
        sa.Column("taught_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("promoted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(FIELD, name=op.f("ck_triage_models_field")),
        sa.CheckConstraint(
            "state in ('queued', 'training', 'champion', 'retired', 'refused', 'failed',"
            " 'cancelled')",
            name=op.f("ck_triage_models_state"),
        ),
        sa.CheckConstraint(
            "state <> 'champion' or (sha256 is not null and measures is not null)",
            name=op.f("ck_triage_models_champion"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_triage_models_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_triage_models")),
    )
    op.create_index(
        "uq_triage_models_tenant_id_field_version",
        "triage_models",
        ["tenant_id", "field", "version"],
        unique=True,
    )
    op.create_index(
        "uq_triage_models_champion",
        "triage_models",
        ["tenant_id", "field"],
        unique=True,
        postgresql_where=sa.text("state = 'champion'"),
    )
    op.create_index(
        "uq_triage_models_learning",
        "triage_models",
        ["tenant_id", "field"],
        unique=True,
        postgresql_where=sa.text("state in ('queued', 'training')"),
    )
    op.create_table(
        "triage_backtests",
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("requested_by", sa.Uuid(), nullable=True),
        sa.Column("progress", sa.Float(), server_default="0", nullable=False),
        sa.Column("tickets", sa.Integer(), nullable=False),
        sa.Column("measures", postgresql.JSONB(), nullable=True),
        sa.Column("unseen", postgresql.JSONB(), nullable=True),
        sa.Column("recorded", postgresql.JSONB(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(FIELD, name=op.f("ck_triage_backtests_field")),
        sa.CheckConstraint(
            "state in ('queued', 'running', 'finished', 'failed', 'cancelled')",
            name=op.f("ck_triage_backtests_state"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "model_id"],
            ["triage_models.tenant_id", "triage_models.id"],
            name=op.f("fk_triage_backtests_tenant_id_model_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_triage_backtests_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_triage_backtests")),
    )
    op.create_index(
        "ix_triage_backtests_created",
        "triage_backtests",
        ["tenant_id", "created_at"],
        unique=False,
    )
