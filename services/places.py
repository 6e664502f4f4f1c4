"""Which database this is, among all there are."""

import hashlib

import psycopg

from models.session import Database


async def database_id(database: Database) -> str | None:
    """The same for everybody who uses this database, and for no other one.

    None where the server does not tell its identifier to those who are no superusers.
    """
    try:
        async with database.transaction(None) as work:
            row = await work.row(
                "select s.system_identifier || '/' || d.oid as name"
                " from pg_control_system() s, pg_database d where d.datname = current_database()"
            )
    except psycopg.errors.InsufficientPrivilege:
        return None
    assert row is not None
    return hashlib.sha256(row["name"].encode()).hexdigest()[:12]
