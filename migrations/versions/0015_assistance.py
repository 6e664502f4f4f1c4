"""Spam and language as questions, the score lists are sorted by, drafts by a language model."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
ASKED = ("triage_fields", "triage_models", "triage_backtests")
BEFORE = "field in ('topic', 'priority', 'sentiment', 'team')"
AFTER = "field in ('topic', 'priority', 'sentiment', 'team', 'spam', 'language')"
ACTIVE = "category in ('new', 'open', 'pending', 'on_hold')"

SCORED = [
    "waiting_since", "next_due_at", "breached_at", "category", "team_id", "assignee_id",
    "created_by_id",
]  # fmt: skip


def upgrade() -> None:
    op.execute("set local lock_timeout = '10s'")
    for table in ASKED:
        op.drop_constraint(op.f(f"ck_{table}_field"), table, type_="check")
        op.create_check_constraint(op.f(f"ck_{table}_field"), table, AFTER)
    # Constants as defaults: no row is rewritten.
    op.add_column("tickets", sa.Column("spam", sa.Text(), nullable=True))
    op.add_column(
        "tickets", sa.Column("pressure", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("tickets", sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "tickets", sa.Column("unanswered", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("tickets", sa.Column("tier", sa.Text(), nullable=True))
    op.add_column("tickets", sa.Column("earlier", sa.Integer(), server_default="0", nullable=False))
    op.create_check_constraint(op.f("ck_tickets_spam"), "tickets", "spam in ('spam', 'not_spam')")
    _score()
    op.create_index(
        "ix_tickets_pressure",
        "tickets",
        ["tenant_id", sa.text("pressure desc"), sa.text("id desc")],
        unique=False,
        postgresql_where=sa.text(ACTIVE),
        # All that makes a score, and whose tickets somebody may see: read without the rows.
        postgresql_include=SCORED,
    )
    _language_models()


def _score() -> None:
    """Active tickets get what their next event would give them, but for what models were sure of.

    The owner of the tables sees no rows under FORCE, so for this once it has a policy.
    """
    for table in ("tickets", "messages", "organizations"):
        op.execute(
            f"create policy scoring on {table} to holdfast_owner using (true) with check (true)"
        )
    op.execute(
        "update tickets t set waiting_since = s.since, unanswered = s.unanswered, tier = s.tier,"
        " earlier = s.earlier, pressure ="
        "  case t.priority when 'urgent' then 400 when 'high' then 260 when 'normal' then 120"
        "   else 0 end"
        "  + case when t.sentiment = 'negative' then 100 else 0 end"
        "  + case when t.topic in ('outage', 'security') then 100"
        "   when t.topic = 'cancellation_refund' then 40 else 0 end"
        "  + case when lower(trim(s.tier)) in ('platinum', 'vip', 'enterprise') then 120"
        "   when lower(trim(s.tier)) in ('gold', 'premium') then 80"
        "   when lower(trim(s.tier)) in ('silver', 'business') then 40 else 0 end"
        "  + least(90, 30 * greatest(0, s.unanswered - 1)) + 20 * s.earlier"
        "  - case when t.category = 'pending' then 200 else 0 end"
        " from tickets o cross join lateral (select"
        "  (select min(m.created_at) from messages m where m.tenant_id = o.tenant_id"
        "    and m.ticket_id = o.id and m.author_kind = 'customer'"
        "    and m.created_at > coalesce(o.agent_at, '-infinity')) as since,"
        "  (select count(*)::int from messages m where m.tenant_id = o.tenant_id"
        "    and m.ticket_id = o.id and m.author_kind = 'customer'"
        "    and m.created_at > coalesce(o.agent_at, '-infinity')) as unanswered,"
        "  (select g.fields ->> 'tier' from organizations g where g.tenant_id = o.tenant_id"
        "    and g.id = o.organization_id) as tier,"
        "  (select count(*)::int from (select from tickets e where e.tenant_id = o.tenant_id"
        "    and e.requester_id = o.requester_id and e.id <> o.id and e.category <> 'merged'"
        "    and e.created_at < o.created_at"
        "    and e.created_at > o.created_at - interval '30 days' limit 3) e) as earlier) s"
        f" where o.tenant_id = t.tenant_id and o.id = t.id and o.{ACTIVE}"
    )
    for table in ("tickets", "messages", "organizations"):
        op.execute(f"drop policy scoring on {table}")


def _language_models() -> None:
    op.create_table(
        "language_models",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("base_url", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("sealed_key", sa.LargeBinary(), nullable=True),
        sa.Column("timeout_seconds", sa.Integer(), nullable=False),
        sa.Column("daily_tokens", sa.Integer(), nullable=False),
        sa.Column("monthly_tokens", sa.Integer(), nullable=False),
        sa.Column("daily_cost", sa.Float(), nullable=True),
        sa.Column("monthly_cost", sa.Float(), nullable=True),
        sa.Column("input_price", sa.Float(), nullable=False),
        sa.Column("output_price", sa.Float(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "timeout_seconds between 1 and 120", name=op.f("ck_language_models_timeout_seconds")
        ),
        sa.CheckConstraint(
            "daily_tokens >= 0 and monthly_tokens >= 0 and input_price >= 0 and output_price >= 0",
            name=op.f("ck_language_models_limits"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_language_models_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", name=op.f("pk_language_models")),
    )
    op.create_table(
        "drafts",
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("sources", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("prompt_version", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cost", sa.Float(), nullable=False),
        sa.Column("redacted", sa.Integer(), server_default="0", nullable=False),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "state in ('asked', 'drafted', 'refused', 'failed')", name=op.f("ck_drafts_state")
        ),
        sa.CheckConstraint(
            "state <> 'drafted' or text is not null", name=op.f("ck_drafts_drafted")
        ),
        sa.CheckConstraint(
            "verdict in ('accepted', 'edited', 'rejected')", name=op.f("ck_drafts_verdict")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "ticket_id"],
            ["tickets.tenant_id", "tickets.id"],
            name=op.f("fk_drafts_tenant_id_ticket_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["users.tenant_id", "users.id"],
            name=op.f("fk_drafts_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_drafts_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_drafts")),
    )
    op.create_index("ix_drafts_created", "drafts", ["tenant_id", "created_at"], unique=False)
    op.create_index("ix_drafts_ticket", "drafts", ["tenant_id", "ticket_id"], unique=False)
    for table in ("language_models", "drafts"):
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        op.execute(
            f"create policy own on {table} to holdfast_app using ({MINE}) with check ({MINE})"
        )
        op.execute(f"grant select, insert, update on {table} to holdfast_app")
    op.execute("grant delete on language_models to holdfast_app")


def downgrade() -> None:
    op.drop_table("drafts")
    op.drop_table("language_models")
    op.drop_index("ix_tickets_pressure", "tickets")
    op.drop_constraint(op.f("ck_tickets_spam"), "tickets", type_="check")
    for column in ("spam", "pressure", "waiting_since", "unanswered", "tier", "earlier"):
        op.drop_column("tickets", column)
    for table in ASKED:
        op.execute(f"delete from {table} where not ({BEFORE})")
        op.drop_constraint(op.f(f"ck_{table}_field"), table, type_="check")
        op.create_check_constraint(op.f(f"ck_{table}_field"), table, BEFORE)
