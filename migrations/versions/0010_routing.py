"""Who can take a ticket: presence, absence, capacity, skills; whose turn it was; the queue."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

MINE = "tenant_id = nullif(current_setting('app.tenant', true), '')::uuid"
# Locks everybody who may be given something, in the order of their ids, and only then looks: each
# statement of a volatile function sees what was committed until it began. The lock of an agent is
# `holdfast_hold_agents`, for whoever changes what routing reads of them.
FUNCTIONS = """
create function holdfast_hold_agents(agents uuid[]) returns void
    language plpgsql volatile set search_path = public
    as $$
    declare one uuid;
    begin
        for one in select distinct a from unnest(agents) a order by a loop
            perform pg_advisory_xact_lock(hashtextextended('agent ' || one::text, 10));
        end loop;
    end $$;

create function holdfast_roster(
    teams uuid[], numbers bigint[], sharing uuid[], moving boolean)
    returns table (user_id uuid, presence text, absent boolean, absent_from timestamptz,
        absent_until timestamptz, replacement_id uuid, capacity integer, skills jsonb,
        calendar_id uuid, turn bigint, open jsonb)
    language plpgsql volatile set search_path = public
    as $$
    declare
        mine constant uuid := nullif(current_setting('app.tenant', true), '')::uuid;
        members uuid[];
    begin
        select array_agg(distinct m.user_id) into members from team_members m
            where m.tenant_id = mine and m.team_id = any(teams || array(
                select t.team_id from tickets t where t.tenant_id = mine
                and t.number = any(numbers) and t.team_id = any(sharing)));
        if moving then
            perform holdfast_hold_agents(members);
        end if;
        return query
            select u.id, u.presence, u.absent, u.absent_from, u.absent_until, u.replacement_id,
                u.capacity, u.skills, u.calendar_id, coalesce(r.turn, 0),
                (select jsonb_agg(jsonb_build_array(c.priority, c.channel, c.n)) from (
                    select k.priority, k.channel, count(*) as n from tickets k
                    where k.tenant_id = mine and k.assignee_id = u.id
                    and k.category in ('new', 'open') and k.snoozed is null
                    group by k.priority, k.channel) c)
            from users u left join routing_turns r on r.tenant_id = mine and r.user_id = u.id
            where u.tenant_id = mine and u.id = any(members) and u.active;
    end $$;
"""
SIGNATURES = (
    "holdfast_hold_agents(uuid[])",
    "holdfast_roster(uuid[], bigint[], uuid[], boolean)",
)


def upgrade() -> None:
    _columns()
    op.create_table(
        "routing_turns",
        sa.Column("tenant_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant_id", "user_id"],
            ["users.tenant_id", "users.id"],
            name=op.f("fk_routing_turns_tenant_id_user_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", name=op.f("pk_routing_turns")),
    )
    op.execute("alter table routing_turns enable row level security")
    op.execute("alter table routing_turns force row level security")
    op.execute(
        f"create policy own on routing_turns to holdfast_app using ({MINE}) with check ({MINE})"
    )
    op.execute("grant select, insert, update on routing_turns to holdfast_app")
    # The worker finds the queues that somebody waits in, of all tenants.
    op.execute("grant select (tenant_id, id, routing, active) on teams to holdfast_relay")
    op.execute("create policy relay on teams for select to holdfast_relay using (true)")
    op.drop_constraint(op.f("ck_outbox_destination"), "outbox", type_="check")
    op.create_check_constraint(
        op.f("ck_outbox_destination"),
        "outbox",
        "destination in ('workflows', 'index', 'live', 'routing')",
    )
    waits = "category in ('new', 'open') and snoozed is null"
    op.create_index(
        "ix_tickets_load",
        "tickets",
        ["tenant_id", "assignee_id", "priority", "channel"],
        postgresql_where=sa.text(f"{waits} and assignee_id is not null"),
    )
    op.create_index(
        "ix_tickets_waiting",
        "tickets",
        ["tenant_id", "team_id", "next_due_at", "id"],
        postgresql_where=sa.text(f"{waits} and assignee_id is null and team_id is not null"),
    )
    # As the driver takes it: several statements, nothing bound.
    op.get_bind().connection.driver_connection.execute(FUNCTIONS)  # type: ignore[union-attr]
    for signature in SIGNATURES:
        op.execute(f"revoke all on function {signature} from public")
        op.execute(f"grant execute on function {signature} to holdfast_app")


def _columns() -> None:
    for column in (
        sa.Column("presence", sa.Text(), server_default="online", nullable=False),
        sa.Column("absent", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("absent_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("absent_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replacement_id", sa.Uuid(), nullable=True),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("skills", postgresql.JSONB(), server_default="{}", nullable=False),
        sa.Column("calendar_id", sa.Uuid(), nullable=True),
    ):
        op.add_column("users", column)
    for name, condition in (
        ("presence", "presence in ('online', 'away')"),
        ("capacity", "capacity >= 0"),
        ("absent", "absent or (absent_from is null and absent_until is null)"),
        ("absence_ends", "absent_until > absent_from"),
        ("replaced_by_another", "replacement_id <> id"),
    ):
        op.create_check_constraint(op.f(f"ck_users_{name}"), "users", condition)
    op.create_foreign_key(
        op.f("fk_users_tenant_id_replacement_id"),
        "users",
        "users",
        ["tenant_id", "replacement_id"],
        ["tenant_id", "id"],
        ondelete="SET NULL (replacement_id)",
    )
    op.create_foreign_key(
        op.f("fk_users_tenant_id_calendar_id"),
        "users",
        "calendars",
        ["tenant_id", "calendar_id"],
        ["tenant_id", "id"],
        ondelete="SET NULL (calendar_id)",
    )
    op.add_column(
        "teams", sa.Column("rules", postgresql.JSONB(), server_default="{}", nullable=False)
    )
    op.drop_constraint(op.f("ck_teams_routing"), "teams", type_="check")
    op.create_check_constraint(
        op.f("ck_teams_routing"),
        "teams",
        "routing in ('manual', 'round_robin', 'least_loaded', 'skill_based')",
    )
