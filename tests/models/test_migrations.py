"""What a revision does to rows that were there before it."""

import uuid
from datetime import UTC, datetime, timedelta

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_active_tickets_get_the_score_that_their_next_event_would_give_them(postgres: str) -> None:
    name = f"m_{uuid.uuid4().hex[:12]}"
    owner = _create(postgres, name, template=None).owner
    command.upgrade(migrations._config(migrations._driver(owner)), "0014")
    tenant, customer, organization = (uuid.uuid4() for _ in range(3))
    open_, pending, closed = (uuid.uuid4() for _ in range(3))
    with psycopg.connect(make_conninfo(postgres, dbname=name), autocommit=True) as connection:
        connection.execute(
            "insert into tenants (id, slug, name, created_at) values (%s, 'acme', 'Acme', %s)",
            (tenant, NOW),
        )
        connection.execute(
            "insert into organizations (tenant_id, id, name, fields, created_at, updated_at)"
            " values (%s, %s, 'Org', '{\"tier\": \" Gold \"}', %s, %s)",
            (tenant, organization, NOW, NOW),
        )
        connection.execute(
            "insert into customers (tenant_id, id, name, created_at, updated_at)"
            " values (%s, %s, 'Mia', %s, %s)",
            (tenant, customer, NOW, NOW),
        )
        for number, (id_, category) in enumerate(
            ((open_, "open"), (pending, "pending"), (closed, "closed")), start=1
        ):
            connection.execute(
                "insert into statuses (tenant_id, key, name, category, customer_label, position)"
                " values (%s, %s, %s, %s, 'x', %s)",
                (tenant, category, category, category, number),
            )
            connection.execute(
                "insert into tickets (tenant_id, id, number, subject, status, category,"
                " requester_id, organization_id, channel, created_by_kind, seq, message_seq,"
                " created_at, updated_at, closed_at, agent_at, priority, sentiment, topic)"
                " values (%s, %s, %s, 'Hi', %s, %s, %s, %s, 'email', 'customer', 5, 5, %s, %s,"
                " %s, %s, 'high', 'negative', 'outage')",
                (
                    tenant, id_, number, category, category, customer, organization,
                    NOW + timedelta(minutes=number), NOW, NOW if category == "closed" else None,
                    NOW if id_ == open_ else None,
                ),
            )  # fmt: skip
            for minute, kind in ((-5, "customer"), (1, "customer"), (2, "user"), (3, "customer")):
                connection.execute(
                    "insert into messages (id, tenant_id, ticket_id, origin_ticket_id, seq,"
                    " author_kind, visibility, channel, body_text, created_at)"
                    " values (%s, %s, %s, %s, 1, %s, 'public', 'email', 'x', %s)",
                    (uuid.uuid4(), tenant, id_, id_, kind, NOW + timedelta(minutes=minute)),
                )
        migrations.upgrade(owner)
        rows = connection.execute(
            "select pressure, waiting_since, unanswered, tier, earlier from tickets order by number"
        ).fetchall()
        left = connection.execute(
            "select count(*) from pg_policies where policyname = 'scoring'"
        ).fetchone()
    base = 260 + 100 + 100 + 80
    assert rows == [
        (base + 30, NOW + timedelta(minutes=1), 2, " Gold ", 0),
        (base + 60 + 20 - 200, NOW - timedelta(minutes=5), 3, " Gold ", 1),
        (0, None, 0, None, 0),
    ]
    assert left == (0,)


@pytest.mark.slow
def test_tickets_that_were_over_before_their_verdict_wait_for_none_and_others_still_do(
    postgres: str,
) -> None:
    name = f"m_{uuid.uuid4().hex[:12]}"
    urls = _create(postgres, name, template=None)
    config = migrations._config(migrations._driver(urls.owner))
    command.upgrade(config, "0016")
    tenant, customer = uuid.uuid4(), uuid.uuid4()
    had = [("open", "pending"), ("closed", "pending"), ("closed", "done"), ("closed", "off")]

    def states() -> list[str]:
        with psycopg.connect(make_conninfo(postgres, dbname=name)) as connection:
            return [r[0] for r in connection.execute("select triage from tickets order by number")]

    with psycopg.connect(make_conninfo(postgres, dbname=name), autocommit=True) as connection:
        connection.execute(
            "insert into tenants (id, slug, name, created_at) values (%s, 'acme', 'Acme', %s)",
            (tenant, NOW),
        )
        for place, category in enumerate(("open", "closed")):
            connection.execute(
                "insert into statuses (tenant_id, key, name, category, customer_label, position)"
                " values (%s, %s, %s, %s, 'A', %s)",
                (tenant, category, category, category, place),
            )
        connection.execute(
            "insert into customers (tenant_id, id, name, created_at, updated_at)"
            " values (%s, %s, 'Mia', %s, %s)",
            (tenant, customer, NOW, NOW),
        )
        for number, (category, triage) in enumerate(had, start=1):
            connection.execute(
                "insert into tickets (tenant_id, id, number, subject, status, category,"
                " requester_id, channel, created_by_kind, seq, message_seq, created_at,"
                " updated_at, triage, closed_at) values (%s, %s, %s, 'Hi', %s, %s, %s, 'email',"
                " 'customer', 1, 1, %s, %s, %s, %s)",
                (tenant, uuid.uuid4(), number, category, category, customer, NOW, NOW, triage,
                 NOW if category == "closed" else None),
            )  # fmt: skip
    command.upgrade(config, "0017")
    assert states() == ["pending", "skipped", "done", "off"]
    command.downgrade(config, "0016")
    assert states() == ["pending", "pending", "done", "off"]


@pytest.mark.slow
def test_models_that_were_refused_are_refused_again_and_settings_keep_their_meaning(
    postgres: str,
) -> None:
    name = f"m_{uuid.uuid4().hex[:12]}"
    urls = _create(postgres, name, template=None)
    config = migrations._config(migrations._driver(urls.owner))
    command.upgrade(config, "0017")
    tenant = uuid.uuid4()
    had = [(1, "retired", "Better."), (2, "retired", "Rolled back."), (3, "refused", "Worse."),
           (4, "champion", "Worse than all."), (5, "retired", "Better: by far.")]  # fmt: skip
    with psycopg.connect(make_conninfo(postgres, dbname=name), autocommit=True) as connection:
        connection.execute(
            "insert into tenants (id, slug, name, created_at) values (%s, 'acme', 'Acme', %s)",
            (tenant, NOW),
        )
        connection.execute(
            "insert into triage_fields (tenant_id, field, apply, wanted_precision, updated_at)"
            " values (%s, 'topic', 'always', 0.8, %s)",
            (tenant, NOW),
        )
        for version, state, detail in had:
            model = uuid.uuid4()
            connection.execute(
                "insert into triage_models (tenant_id, id, field, version, state, detail,"
                " measures, compared_with, sha256, created_at) values (%s, %s, 'topic', %s, %s,"
                " %s, '{}', %s, 'ab', %s)",
                (tenant, model, version, state, detail, f"version {1 if version > 3 else 9}", NOW),
            )
            if version in (2, 4):  # somebody insisted
                connection.execute(
                    "insert into audit_entries (id, tenant_id, at, actor_kind, action,"
                    " target_kind, target_id, data) values (%s, %s, %s, 'system',"
                    " 'triage_model.refused', 'triage_model', %s, '{\"because\": \"It errs.\"}')",
                    (uuid.uuid4(), tenant, NOW, str(model)),
                )
        command.upgrade(config, "0018")
        rows = connection.execute(
            "select version, state, objection, replaced_by from triage_models order by version"
        ).fetchall()
        kept = connection.execute(
            "select apply, wanted_precision, threshold, withheld from triage_fields"
        ).fetchall()
        left = connection.execute(
            "select count(*) from pg_policies where policyname = 'earned'"
        ).fetchone()
    assert rows == [
        (1, "retired", None, 5),
        (2, "refused", "It errs.", None),
        (3, "refused", "Worse.", None),
        (4, "champion", "It errs.", None),
        (5, "retired", None, None),
    ]
    assert kept == [("always", 0.8, None, None)]
    assert left == (0,)
    command.downgrade(config, "0017")
