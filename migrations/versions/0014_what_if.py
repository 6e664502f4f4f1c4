"""What-if of staffing, and who is on call when."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
GRANTS = {
    "rotas": "select, insert, update, delete",
    "rota_overrides": "select, insert, delete",
}


def upgrade() -> None:
    op.add_column("simulations", sa.Column("basis", sa.LargeBinary(), nullable=True))
    op.add_column("simulations", sa.Column("carry", sa.LargeBinary(), nullable=True))
    op.create_table(
        "rotas",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("body", postgresql.JSONB(), nullable=False),
        sa.Column("updated_by", sa.Uuid(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "team_id"],
            ["teams.tenant_id", "teams.id"],
            name=op.f("fk_rotas_tenant_id_team_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "team_id", name=op.f("pk_rotas")),
    )
    op.create_table(
        "rota_overrides",
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("since < until", name=op.f("ck_rota_overrides_ends")),
        sa.ForeignKeyConstraint(
            ["tenant_id", "team_id"],
            ["rotas.tenant_id", "rotas.team_id"],
            name=op.f("fk_rota_overrides_tenant_id_team_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["users.tenant_id", "users.id"],
            name=op.f("fk_rota_overrides_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_rota_overrides_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_rota_overrides")),
    )
    op.create_index(
        "ix_rota_overrides_team", "rota_overrides", ["tenant_id", "team_id", "until"], unique=False
    )
    for table, grants in GRANTS.items():
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        op.execute(
            f"create policy own on {table} to holdfast_app using ({MINE}) with check ({MINE})"
        )
        op.execute(f"grant {grants} on {table} to holdfast_app")


def downgrade() -> None:
    op.drop_table("rota_overrides")
    op.drop_table("rotas")
    op.drop_column("simulations", "carry")
    op.drop_column("simulations", "basis")
