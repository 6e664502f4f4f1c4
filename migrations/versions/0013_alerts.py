"""Alert rules about promises, calls and notices that are about no ticket, longest pauses."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
GRANTS = {
    "alerts": "select, insert, update, delete",
    "alert_firings": "select, insert, update",
    "statement_runs": "select, insert",
}
DESTINATIONS = "destination in ('workflows', 'index', 'live', 'routing'{more})"


def upgrade() -> None:
    _alerts()
    _without_tickets()
    for column in ("max_pause", "pause_limit"):
        op.add_column("clocks", sa.Column(column, sa.Interval(), nullable=True))
    # Alerts count breaches by when they were; few rows have one.
    op.create_index(
        "ix_clocks_breached",
        "clocks",
        ["tenant_id", "breached_at"],
        postgresql_where=sa.text("breached_at is not null"),
    )
    op.create_table(
        "statement_runs",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_statement_runs_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "month", name=op.f("pk_statement_runs")),
    )
    for table, grants in GRANTS.items():
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        op.execute(
            f"create policy own on {table} to holdfast_app using ({MINE}) with check ({MINE})"
        )
        op.execute(f"grant {grants} on {table} to holdfast_app")
    # The relay starts again what has not ended, and looks after whose alerts nobody looked.
    op.execute(
        "grant select (tenant_id, id, ticket_id, state, created_at) on deliveries to holdfast_relay"
    )
    op.execute("create policy relay on deliveries for select to holdfast_relay using (true)")
    op.execute("grant select (tenant_id, active, evaluated_at) on alerts to holdfast_relay")
    op.execute("create policy relay on alerts for select to holdfast_relay using (true)")
    op.execute("grant select (tenant_id, month) on statement_runs to holdfast_relay")
    op.execute("create policy relay on statement_runs for select to holdfast_relay using (true)")


def _alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("rule", postgresql.JSONB(), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("evaluated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("figures", postgresql.JSONB(), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_alerts_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_alerts")),
    )
    op.create_index("uq_alerts_tenant_id_name", "alerts", ["tenant_id", "name"], unique=True)
    op.create_table(
        "alert_firings",
        # No reference: what fired stays on record when its rule is gone.
        sa.Column("alert_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rule", postgresql.JSONB(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("figures", postgresql.JSONB(), nullable=False),
        sa.Column("fired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("told", sa.Integer(), nullable=False),
        sa.Column("reminders", sa.Integer(), server_default="0", nullable=False),
        sa.Column("reminded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=True),
        sa.Column("ended_with", postgresql.JSONB(), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "(ended_at is null) = (ended_because is null)", name=op.f("ck_alert_firings_ended")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_alert_firings_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_alert_firings")),
    )
    # However often it is looked at, and by however many: a rule fires once until it is over.
    op.create_index(
        "uq_alert_firings_one_open",
        "alert_firings",
        ["tenant_id", "alert_id"],
        unique=True,
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_index("ix_alert_firings_alert", "alert_firings", ["tenant_id", "alert_id", "id"])


def _without_tickets() -> None:
    """Notices, calls and facts that are about no ticket."""
    op.alter_column("notifications", "ticket_id", nullable=True)
    op.alter_column("notifications", "seq", nullable=True)
    op.create_check_constraint(
        op.f("ck_notifications_of_an_event"), "notifications", "(ticket_id is null) = (seq is null)"
    )
    op.alter_column("deliveries", "ticket_id", nullable=True)
    op.create_check_constraint(
        op.f("ck_deliveries_of_a_ticket"), "deliveries", "ticket_id is not null or kind = 'webhook'"
    )
    op.drop_constraint(op.f("ck_outbox_destination"), "outbox", type_="check")
    op.create_check_constraint(
        op.f("ck_outbox_destination"), "outbox", DESTINATIONS.format(more=", 'alerts'")
    )
