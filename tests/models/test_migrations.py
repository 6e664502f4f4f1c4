"""What a revision does to rows that were there before it."""

import uuid
from datetime import UTC, datetime

import psycopg
import pytest
from alembic import command
from psycopg.conninfo import make_conninfo

import migrations
from tests.conftest import _create

NOW = datetime.now(UTC)


@pytest.fixture
def before_authors(postgres: str) -> tuple[str, str]:
    """A database at 0003: as its owner, and as the superuser, who is under no policy."""
    name = f"m_{uuid.uuid4().hex[:12]}"
    urls = _create(postgres, name, template=None)
    command.upgrade(migrations._config(migrations._driver(urls.owner)), "0003")
    return urls.owner, make_conninfo(postgres, dbname=name)


def test_messages_that_a_machine_wrote_are_found_and_no_others(
    before_authors: tuple[str, str],
) -> None:
    owner, superuser = before_authors
    tenant, ticket, customer, agent = (uuid.uuid4() for _ in range(4))
    wrote = {1: ("customer", customer), 2: ("user", agent), 3: ("system", None),
             4: ("automation", None), 5: ("import", None)}  # fmt: skip
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(
            "insert into tenants (id, slug, name, created_at) values (%s, 'acme', 'Acme', %s)",
            (tenant, NOW),
        )
        connection.execute(
            "insert into statuses (tenant_id, key, name, category, customer_label, position)"
            " values (%s, 'open', 'Open', 'open', 'Open', 1)",
            (tenant,),
        )
        connection.execute(
            "insert into customers (tenant_id, id, name, created_at, updated_at)"
            " values (%s, %s, 'Mia', %s, %s)",
            (tenant, customer, NOW, NOW),
        )
        connection.execute(
            "insert into tickets (tenant_id, id, number, subject, status, category, requester_id,"
            " channel, created_by_kind, seq, message_seq, created_at, updated_at, triage)"
            " values (%s, %s, 1, 'Hi', 'open', 'open', %s, 'email', 'customer', 5, 5, %s, %s,"
            " 'off')",
            (tenant, ticket, customer, NOW, NOW),
        )
        for seq, (kind, author) in wrote.items():
            connection.execute(
                "insert into events (tenant_id, ticket_id, seq, type, key, actor_kind, actor_id,"
                " cause, changes, data, occurred_at, recorded_at) values (%s, %s, %s, 'said', %s,"
                " %s, %s, '{\"a\": 1}', '{}', '{}', %s, %s)",
                (tenant, ticket, seq, str(seq), kind, author, NOW, NOW),
            )
            connection.execute(
                "insert into messages (id, tenant_id, ticket_id, origin_ticket_id, seq,"
                " author_kind, author_id, visibility, channel, body_text, created_at)"
                " values (%s, %s, %s, %s, %s, %s, %s, 'public', 'email', 'x', %s)",
                (uuid.uuid4(), tenant, ticket, ticket, seq,
                 "customer" if kind == "customer" else "user", author, NOW),
            )  # fmt: skip
        migrations.upgrade(owner)
        rows = connection.execute("select seq, author_kind from messages order by seq").fetchall()
        left = connection.execute(
            "select count(*) from pg_policies where policyname = 'migrating'"
        ).fetchone()
    assert [kind for _, kind in rows] == ["customer", "user", "system", "automation", "user"]
    assert left == (0,)
