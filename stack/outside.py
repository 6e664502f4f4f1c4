"""A Postgres that somebody else runs: its roles are made if possible, and looked at before use."""

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import make_conninfo

from stack.home import Secrets
from stack.postgres import DATABASE, create_database, create_roles, database_sql, roles_sql
from stack.processes import StackError

OLDEST = 16
ROLES: Mapping[str, str] = {
    "DATABASE_URL": "holdfast_app",
    "MIGRATION_DATABASE_URL": "holdfast_owner",
    "RELAY_DATABASE_URL": "holdfast_relay",
}
LOOKUP = "holdfast_lookup"
# Where a superuser signs in who means no database in particular.
_MAINTENANCE = frozenset({"", "postgres", "template1"})
_SQL = "stack/roles.sql and stack/database.sql (docs/operations.md, Own servers, has the commands)"


class OutsidePostgres(StackError):
    """What is wrong with somebody else's Postgres, and what to do about it."""


def is_alone(environment: Mapping[str, str]) -> bool:
    """Whether all that is said of a Postgres is DATABASE_URL: it names who may make the roles."""
    return [name for name in ROLES if environment.get(name)] == ["DATABASE_URL"]


def addresses(url: str, secrets: Secrets) -> dict[str, str]:
    """What the roles' addresses are on the server at `url`, with this home's passwords."""
    parts = urlsplit(url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise OutsidePostgres("DATABASE_URL is no address of a Postgres: postgresql://….")
    named = parts.path.strip("/")
    path = f"/{DATABASE if named in _MAINTENANCE else named}"
    where = parts.netloc.rpartition("@")[2]
    return {
        variable: urlunsplit(
            ("postgresql", f"{role}:{getattr(secrets, role)}@{where}", path, parts.query, "")
        )
        for variable, role in ROLES.items()
    }


def make_roles(url: str, secrets: Secrets) -> dict[str, str]:
    """The addresses of the roles and the database, which exist on that server afterwards.

    `url` signs in as a superuser. Raises OutsidePostgres, also where the roles are another desk's:
    new passwords would lock that one out.
    """
    found = addresses(url, secrets)
    name = urlsplit(found["DATABASE_URL"]).path.strip("/")
    signed_in = _server(url)
    with _connected("DATABASE_URL", signed_in) as connection:
        _refuse_old(connection)
        row = connection.execute(
            "select current_user, rolsuper from pg_roles where rolname = current_user"
        ).fetchone()
        assert row is not None
        if not row[1]:
            raise OutsidePostgres(
                f"DATABASE_URL signs in as {row[0]}. Set MIGRATION_DATABASE_URL and"
                " RELAY_DATABASE_URL as well, for the other two roles; or let DATABASE_URL alone"
                " name a superuser, and the roles are made."
            )
        known = connection.execute(
            "select rolname from pg_authid where rolname = any(%s) and rolpassword is not null",
            [list(ROLES.values())],
        ).fetchall()
    for variable, role in ROLES.items():
        if (role,) in known and not _signs_in(found[variable]):
            raise OutsidePostgres(
                f"The Postgres of DATABASE_URL has the role {role} already, with another desk's"
                " password. Set DATABASE_URL, MIGRATION_DATABASE_URL and RELAY_DATABASE_URL, each"
                " for its role."
            )
    create_roles(signed_in, passwords={role: getattr(secrets, role) for role in ROLES.values()})
    create_database(signed_in, name)
    return found


def look(environment: Mapping[str, str]) -> None:
    """Passes where the three addresses lead to a database that a desk can use.

    What only a superuser can mend is mended where MIGRATION_DATABASE_URL signs in as one.
    Raises OutsidePostgres, which says what is missing and how it is made.
    """
    with _connected("DATABASE_URL", environment["DATABASE_URL"]) as connection:
        _refuse_old(connection)
        row = connection.execute(
            "select current_user, rolsuper or rolbypassrls from pg_roles"
            " where rolname = current_user"
        ).fetchone()
        assert row is not None
        if row[1]:
            raise OutsidePostgres(
                f"DATABASE_URL signs in as {row[0]}, whom row-level security does not bind: tenants"
                " would not be kept apart. Sign in as holdfast_app; or set DATABASE_URL alone,"
                " and the roles are made with passwords of their own."
            )
    with _connected("MIGRATION_DATABASE_URL", environment["MIGRATION_DATABASE_URL"]) as connection:
        missing = _missing(connection)
        row = connection.execute(
            "select rolsuper from pg_roles where rolname = current_user"
        ).fetchone()
        if missing and row is not None and row[0]:
            connection.execute(roles_sql().encode())
            connection.execute(database_sql().encode())
            missing = _missing(connection)
    if missing:
        raise OutsidePostgres(
            f"The Postgres of DATABASE_URL is not ready: {'; '.join(missing)}."
            f" Run {_SQL} there as a superuser."
        )
    for variable in ("DATABASE_URL", "RELAY_DATABASE_URL"):
        with _connected(variable, environment[variable]) as connection:
            row = connection.execute(
                "select current_user, pg_has_role(current_user, %s, 'member')", [ROLES[variable]]
            ).fetchone()
            assert row is not None
            if not row[1]:
                raise OutsidePostgres(
                    f"{variable} signs in as {row[0]}. What it may see belongs to"
                    f" {ROLES[variable]}: sign in as that role."
                )


def _missing(connection: psycopg.Connection) -> list[str]:
    """What a migration would stumble over, in words."""
    roles = [*ROLES.values(), LOOKUP]
    there = {
        name
        for (name,) in connection.execute(
            "select rolname from pg_roles where rolname = any(%s)", [roles]
        )
    }
    if absent := [role for role in roles if role not in there]:
        return [f"there is no role {', '.join(absent)}"]
    row = connection.execute(
        "select exists (select from pg_extension where extname = 'vector'),"
        " pg_has_role(current_user, 'holdfast_lookup', 'set'),"
        " has_schema_privilege('public', 'create'),"
        " has_database_privilege(current_database(), 'create'),"
        " has_schema_privilege('holdfast_lookup', 'public', 'create'),"
        " has_schema_privilege('holdfast_app', 'public', 'usage')"
        "  and has_schema_privilege('holdfast_relay', 'public', 'usage')"
    ).fetchone()
    assert row is not None
    sentences = (
        "the extension vector is not in the database",
        "the owner may not act as holdfast_lookup",
        "the owner may not create in the schema public",
        "the owner may not create schemas in the database",
        "holdfast_lookup may not create in the schema public",
        "holdfast_app and holdfast_relay may not use the schema public",
    )
    return [sentence for holds, sentence in zip(row, sentences, strict=True) if not holds]


def _refuse_old(connection: psycopg.Connection) -> None:
    version = connection.info.server_version // 10_000
    if version < OLDEST:
        raise OutsidePostgres(
            f"The Postgres of DATABASE_URL is {version}; Holdfast needs {OLDEST} or later."
        )


def _server(url: str) -> str:
    """`url`; where its database is still to be made, the server's `postgres`."""
    elsewhere = make_conninfo(url, dbname="postgres")
    try:
        with _connected("DATABASE_URL", url):
            return url
    except OutsidePostgres as refused:
        try:
            with _connected("DATABASE_URL", elsewhere):
                return elsewhere
        except OutsidePostgres:
            raise refused from None


def _signs_in(url: str) -> bool:
    """Whether that role and password are right, whatever the database."""
    for address in (url, make_conninfo(url, dbname="postgres")):
        try:
            with _connected("", address):
                return True
        except OutsidePostgres:
            continue
    return False


def _connected(variable: str, url: str) -> psycopg.Connection:
    """A connection, each statement its own transaction. Raises OutsidePostgres."""
    try:
        return psycopg.connect(url, connect_timeout=5, autocommit=True)
    except psycopg.Error as error:
        said = str(error).strip().splitlines()
        reason = said[-1].strip() if said else type(error).__name__
        raise OutsidePostgres(f"{variable} leads to no database: {reason}") from error
