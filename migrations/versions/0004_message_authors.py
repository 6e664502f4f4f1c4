"""Messages that no person wrote say so."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_constraint(op.f("ck_messages_author_kind"), "messages", type_="check")
    # The owner is under row-level security too: it sees all rows for this statement only.
    op.execute("create policy migrating on messages using (true) with check (true)")
    op.execute("create policy migrating on events for select using (true)")
    op.execute(
        "update messages m set author_kind = case e.actor_kind when 'system' then 'system'"
        " else 'automation' end from events e where e.tenant_id = m.tenant_id"
        " and e.ticket_id = m.origin_ticket_id and e.seq = m.seq"
        " and e.actor_kind in ('system', 'automation', 'model')"
        " and m.author_kind = 'user' and m.author_id is null"
    )
    op.execute("drop policy migrating on events")
    op.execute("drop policy migrating on messages")
    op.create_check_constraint(
        op.f("ck_messages_author_kind"),
        "messages",
        "author_kind in ('customer', 'user', 'automation', 'system')",
    )
