"""Postgres and only Postgres: tables, constraints, named queries, the session."""
