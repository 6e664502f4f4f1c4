"""Somebody else's Postgres: a superuser's address is enough, and what is missing is named.

The server is one of the run's own, with a name for each role as on any other.
"""

import secrets as random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import migrations
from stack import outside
from stack.beside import environment_of
from stack.desk import Desk
from stack.home import Home, Secrets
from stack.outside import OutsidePostgres
from stack.postgres import create_roles

ROLES = tuple(outside.ROLES.values())
SCRATCH = dict.fromkeys(ROLES, "scratch")  # as the run's other tests sign in


@dataclass
class Server:
    superuser: str
    where: str  # host and port
    name: str  # of a database that does not exist

    def url(self, role: str, password: str, name: str | None = None) -> str:
        return f"postgresql://{role}:{password}@{self.where}/{name or self.name}"

    def addresses(self, **urls: str) -> dict[str, str]:
        ours = {v: self.url(role, "scratch") for v, role in outside.ROLES.items()}
        return ours | urls

    def run(self, *statements: str, name: str = "postgres") -> None:
        url = psycopg.conninfo.make_conninfo(self.superuser, dbname=name)
        with psycopg.connect(url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())


@pytest.fixture
def server(postgres: str) -> Iterator[Server]:
    create_roles(postgres, passwords=SCRATCH)
    said = conninfo_to_dict(postgres)
    name = f"o_{random.token_hex(6)}"
    made = Server(postgres, f"{said['host']}:{said['port']}", name)
    yield made
    create_roles(postgres, passwords=SCRATCH)
    made.run(f'drop database if exists "{name}" with (force)')


def alone(server: Server) -> str:
    said = conninfo_to_dict(server.superuser)
    return server.url(str(said["user"]), str(said["password"]))


def scratch_secrets() -> Secrets:
    return Secrets(holdfast_owner="scratch", holdfast_app="scratch", holdfast_relay="scratch")


@pytest.mark.slow
def test_a_superusers_address_is_enough_for_roles_and_a_database_that_can_be_migrated(
    server: Server,
) -> None:
    made = outside.make_roles(alone(server), scratch_secrets())
    assert made == server.addresses()
    outside.look(made)
    migrations.upgrade(made["MIGRATION_DATABASE_URL"])
    assert outside.make_roles(alone(server), scratch_secrets()) == made  # as at every start
    assert migrations.current(made["MIGRATION_DATABASE_URL"]) == migrations.head()


def test_who_names_no_database_gets_one_of_its_own() -> None:
    for url in ("postgresql://me:x@db:1", "postgresql://me:x@db:1/postgres", "postgres://me@db:1/"):
        assert outside.addresses(url, scratch_secrets())["DATABASE_URL"] == (
            "postgresql://holdfast_app:scratch@db:1/holdfast"
        )
    named = outside.addresses("postgresql://me:x@db:1/desk?sslmode=require", scratch_secrets())
    assert named["RELAY_DATABASE_URL"] == (
        "postgresql://holdfast_relay:scratch@db:1/desk?sslmode=require"
    )


def test_another_desks_roles_keep_their_passwords(server: Server) -> None:
    with pytest.raises(OutsidePostgres, match="has the role holdfast_app already"):
        outside.make_roles(alone(server), Secrets())
    assert outside._signs_in(server.url("holdfast_app", "scratch"))


def test_who_is_no_superuser_alone_is_asked_for_the_other_two(server: Server) -> None:
    url = server.url("holdfast_app", "scratch", "postgres")
    with pytest.raises(OutsidePostgres, match="Set MIGRATION_DATABASE_URL and RELAY_DATABASE_URL"):
        outside.make_roles(url, scratch_secrets())


@pytest.mark.parametrize(
    ("environment", "is_alone"),
    [
        ({"DATABASE_URL": "x"}, True),
        ({"DATABASE_URL": "x", "RELAY_DATABASE_URL": ""}, True),
        ({"DATABASE_URL": "x", "RELAY_DATABASE_URL": "y"}, False),
        ({}, False),
    ],
)
def test_only_database_url_by_itself_names_a_superuser(
    environment: dict[str, str], is_alone: bool
) -> None:
    assert outside.is_alone(environment) is is_alone


@pytest.mark.slow
def test_each_address_that_leads_nowhere_is_named(server: Server) -> None:
    outside.make_roles(alone(server), scratch_secrets())
    for variable, role in outside.ROLES.items():
        wrong = server.addresses(**{variable: server.url(role, "wrong")})
        with pytest.raises(OutsidePostgres, match=f"^{variable} leads to no database: .*password"):
            outside.look(wrong)


@pytest.mark.slow
def test_a_superuser_is_no_application_and_a_stranger_no_relay(server: Server) -> None:
    outside.make_roles(alone(server), scratch_secrets())
    with pytest.raises(OutsidePostgres, match="tenants would not be kept apart"):
        outside.look(server.addresses(DATABASE_URL=alone(server)))
    relay = server.url("holdfast_app", "scratch")
    with pytest.raises(OutsidePostgres, match="RELAY_DATABASE_URL signs in as holdfast_app"):
        outside.look(server.addresses(RELAY_DATABASE_URL=relay))


def test_a_database_without_what_only_a_superuser_can_make_is_told_or_mended(
    server: Server,
) -> None:
    server.run(f'create database "{server.name}" owner holdfast_owner')
    with pytest.raises(OutsidePostgres, match=r"vector .*; .*database\.sql"):
        outside.look(server.addresses())
    server.run("drop owned by holdfast_lookup", name=server.name)
    outside.look(server.addresses(MIGRATION_DATABASE_URL=alone(server)))
    outside.look(server.addresses())


async def test_a_desk_started_with_a_superusers_address_runs_as_its_own_roles(
    server: Server, tmp_path: Path
) -> None:
    home = Home(tmp_path / "home")
    home.create()
    home.secrets_file.write_text(scratch_secrets().model_dump_json())
    elsewhere = {
        "DATABASE_URL": alone(server), "REDIS_URL": "redis://127.0.0.1:1",
        "TYPESENSE_URL": "http://127.0.0.1:1", "TYPESENSE_API_KEY": "none",
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
    }  # fmt: skip
    async with Desk(home, environment=elsewhere, programs=lambda _: ()) as desk:
        await desk.start_servers()
        assert server.addresses().items() <= desk.environment().items()
        beside = environment_of(home, environment=elsewhere)
        assert server.addresses().items() <= beside.items()
        state = home.state_file.read_text()
        assert "scratch" not in state
