"""What a desk knows: articles, canned responses, and finding both and past tickets by keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
GRANTS = {
    "sections": "select, insert, update, delete",
    "articles": "select, insert, update",
    "article_versions": "select, insert",
    "article_feedback": "select, insert, update",
    "canned_responses": "select, insert, update",
    "ticket_keys": "select, insert",
    "suggestion_verdicts": "select, insert, update",
    "burst_proposals": "select, insert, update",
}
# Containment is not leakproof, so row-level security keeps the application from the GIN indexes.
# These two may use them; they name the tenant themselves and return ids and numbers only.
FUNCTIONS = """
create function holdfast_spread(what text, wanted bigint[], cap integer)
    returns table (key bigint, n bigint)
    language plpgsql stable security definer set search_path = public set enable_seqscan = off
    as $$
    begin
        return query execute format(
            'select w.k, (select count(*) from (select from %I d where d.tenant_id = $1'
            ' and d.keys @> array[w.k] limit $3) c) from unnest($2) w(k)',
            case what when 'tickets' then 'ticket_keys' when 'articles' then 'articles'
                when 'canned' then 'canned_responses' end)
            using nullif(current_setting('app.tenant', true), '')::uuid, wanted, cap;
    end $$;

-- Those with the most weight of keys in common: of each key (or pair of keys) at most `cap` are
-- looked at, and `most` are named.
create function holdfast_resembling(
    what text, one bigint[], other bigint[], weights float8[], cap integer, most integer)
    returns table (id uuid, score float8)
    language plpgsql stable security definer set search_path = public set enable_seqscan = off
    as $$
    begin
        return query execute format(
            'select d.%2$I, sum(w.weight) from unnest($2, $3, $4) w(one, other, weight)'
            ' cross join lateral (select k.%2$I from %1$I k where k.tenant_id = $1'
            ' and k.keys @> array_remove(array[w.one, w.other], null) limit $5) d'
            ' group by 1 order by 2 desc, 1 desc limit $6',
            case what when 'tickets' then 'ticket_keys' when 'articles' then 'articles'
                when 'canned' then 'canned_responses' end,
            case what when 'tickets' then 'ticket_id' else 'id' end)
            using nullif(current_setting('app.tenant', true), '')::uuid, one, other, weights,
                cap, most;
    end $$;
"""
SIGNATURES = (
    "holdfast_spread(text, bigint[], integer)",
    "holdfast_resembling(text, bigint[], bigint[], float8[], integer, integer)",
)


def upgrade() -> None:
    _tables()
    for table, grants in GRANTS.items():
        op.execute(f"alter table {table} enable row level security")
        op.execute(f"alter table {table} force row level security")
        op.execute(
            f"create policy own on {table} to holdfast_app using ({MINE}) with check ({MINE})"
        )
        op.execute(f"grant {grants} on {table} to holdfast_app")
    # The worker sees which tenants have tickets without keys.
    op.execute("grant select (tenant_id, ticket_id) on ticket_keys to holdfast_relay")
    op.execute("create policy relay on ticket_keys for select to holdfast_relay using (true)")
    for table, column in (
        ("ticket_keys", "ticket_id"),
        ("articles", "id"),
        ("canned_responses", "id"),
    ):
        op.execute(f"grant select (tenant_id, {column}, keys) on {table} to holdfast_lookup")
        op.execute(f"create policy lookup on {table} for select to holdfast_lookup using (true)")
    # As the driver takes it: several statements, nothing bound.
    op.get_bind().connection.driver_connection.execute(FUNCTIONS)  # type: ignore[union-attr]
    for signature in SIGNATURES:
        op.execute(f"alter function {signature} owner to holdfast_lookup")
        op.execute(f"revoke all on function {signature} from public")
        op.execute(f"grant execute on function {signature} to holdfast_app")


def _tables() -> None:
    op.create_table(
        "sections",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_sections_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_sections")),
    )
    op.create_index("uq_sections_tenant_id_name", "sections", ["tenant_id", "name"], unique=True)
    op.create_table(
        "articles",
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.Column("section_id", sa.Uuid(), nullable=True),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("language", sa.Text(), nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("published_version", sa.Integer(), nullable=True),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("keys", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("audience in ('internal', 'public')", name=op.f("ck_articles_audience")),
        sa.CheckConstraint("slug ~ '^[a-z0-9][a-z0-9-]{0,99}$'", name=op.f("ck_articles_slug")),
        sa.CheckConstraint(
            "state <> 'published' or published_version is not null",
            name=op.f("ck_articles_published_version"),
        ),
        sa.CheckConstraint(
            "state in ('draft', 'review', 'published', 'archived')", name=op.f("ck_articles_state")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "section_id"],
            ["sections.tenant_id", "sections.id"],
            name=op.f("fk_articles_tenant_id_section_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"], ["tenants.id"], name=op.f("fk_articles_tenant_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_articles")),
    )
    op.create_index("ix_articles_keys", "articles", ["keys"], unique=False, postgresql_using="gin")
    op.create_index(
        "ix_articles_updated",
        "articles",
        ["tenant_id", sa.text("updated_at desc"), sa.text("id desc")],
        unique=False,
    )
    op.create_index(
        "uq_articles_tenant_id_group_id_language",
        "articles",
        ["tenant_id", "group_id", "language"],
        unique=True,
    )
    op.create_index("uq_articles_tenant_id_slug", "articles", ["tenant_id", "slug"], unique=True)
    op.create_table(
        "article_versions",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("article_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("body_html", sa.Text(), nullable=False),
        sa.Column("body_text", sa.Text(), nullable=False),
        sa.Column("keywords", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("restored_from", sa.Integer(), nullable=True),
        sa.Column("author_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "article_id"],
            ["articles.tenant_id", "articles.id"],
            name=op.f("fk_article_versions_tenant_id_article_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "tenant_id", "article_id", "version", name=op.f("pk_article_versions")
        ),
    )
    op.create_table(
        "article_feedback",
        sa.Column("article_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("helpful", sa.Boolean(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "article_id"],
            ["articles.tenant_id", "articles.id"],
            name=op.f("fk_article_feedback_tenant_id_article_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_article_feedback_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_article_feedback")),
    )
    op.create_index(
        "uq_article_feedback_once",
        "article_feedback",
        ["tenant_id", "article_id", "reader"],
        unique=True,
    )
    op.create_table(
        "canned_responses",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("active", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("created_by_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("keys", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "team_id"],
            ["teams.tenant_id", "teams.id"],
            name=op.f("fk_canned_responses_tenant_id_team_id"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_canned_responses_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_canned_responses")),
    )
    op.create_index(
        "ix_canned_responses_keys",
        "canned_responses",
        ["keys"],
        unique=False,
        postgresql_using="gin",
    )
    op.create_index(
        "uq_canned_responses_tenant_id_name", "canned_responses", ["tenant_id", "name"], unique=True
    )
    op.create_table(
        "ticket_keys",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("keys", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "ticket_id"],
            ["tickets.tenant_id", "tickets.id"],
            name=op.f("fk_ticket_keys_tenant_id_ticket_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "ticket_id", name=op.f("pk_ticket_keys")),
    )
    op.create_index(
        "ix_ticket_keys_keys", "ticket_keys", ["keys"], unique=False, postgresql_using="gin"
    )
    op.create_table(
        "suggestion_verdicts",
        sa.Column("ticket_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Uuid(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "kind in ('article', 'canned', 'reply')", name=op.f("ck_suggestion_verdicts_kind")
        ),
        sa.CheckConstraint(
            "verdict in ('accepted', 'edited', 'rejected')",
            name=op.f("ck_suggestion_verdicts_verdict"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "ticket_id"],
            ["tickets.tenant_id", "tickets.id"],
            name=op.f("fk_suggestion_verdicts_tenant_id_ticket_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["users.tenant_id", "users.id"],
            name=op.f("fk_suggestion_verdicts_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_suggestion_verdicts_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_suggestion_verdicts")),
    )
    op.create_index(
        "ix_suggestion_verdicts_source",
        "suggestion_verdicts",
        ["tenant_id", "kind", "source_id"],
        unique=False,
    )
    op.create_index(
        "uq_suggestion_verdicts_once",
        "suggestion_verdicts",
        ["tenant_id", "ticket_id", "user_id", "kind", "source_id"],
        unique=True,
    )
    op.create_table(
        "burst_proposals",
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("terms", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("ticket_ids", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decided_by_id", sa.Uuid(), nullable=True),
        sa.Column("problem_id", sa.Uuid(), nullable=True),
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.CheckConstraint(
            "state in ('open', 'accepted', 'dismissed')", name=op.f("ck_burst_proposals_state")
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id", "problem_id"],
            ["tickets.tenant_id", "tickets.id"],
            name=op.f("fk_burst_proposals_tenant_id_problem_id"),
            ondelete="SET NULL (problem_id)",
        ),
        sa.ForeignKeyConstraint(
            ["tenant_id"],
            ["tenants.id"],
            name=op.f("fk_burst_proposals_tenant_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "id", name=op.f("pk_burst_proposals")),
    )
    op.create_index(
        "ix_burst_proposals_state",
        "burst_proposals",
        ["tenant_id", "state", sa.text("id desc")],
        unique=False,
    )
