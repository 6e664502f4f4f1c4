"""Where the desk is that a command speaks of: its home, its settings, its databases."""

import contextlib
import os
from collections.abc import AsyncIterator
from uuid import UUID

from cli.output import Mistake
from models.session import Database, Row
from settings import Settings
from stack.beside import environment_of
from stack.home import Home
from stack.state import running

_NEEDED = ("DATABASE_URL", "MIGRATION_DATABASE_URL", "RELAY_DATABASE_URL", "TEMPORAL_ADDRESS")


def settings_of(home: Home) -> Settings:
    """The settings that lead to the desk: the one running on `home`, else the environment's.

    Raises StackError or Mistake when there is neither.
    """
    if running(home) is None and all(os.environ.get(name) for name in _NEEDED):
        os.environ.setdefault("HOLDFAST_SECRET_KEY", home.secrets().holdfast_secret_key)
    else:
        os.environ.update(environment_of(home))
    return Settings()


def api_url(settings: Settings) -> str:
    """Where the API is reached from this machine."""
    host = settings.api_host
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{settings.api_port}"


@contextlib.asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[Database]:
    """The database as the application sees it: one tenant at a time."""
    opened = Database(settings.database_url.get_secret_value(), pool_size=4, name="holdfast-cli")
    try:
        yield opened
    finally:
        await opened.close()


@contextlib.asynccontextmanager
async def relay_database(settings: Settings) -> AsyncIterator[Database]:
    """The database as the relay sees it: tenants, tickets and the outbox of all."""
    opened = Database(settings.as_relay(), pool_size=4, name="holdfast-cli")
    try:
        yield opened
    finally:
        await opened.close()


async def tenants_meant(settings: Settings, slug: str | None) -> list[Row]:
    """The id and slug of every tenant, or of the one named. Raises Mistake where there is none."""
    async with relay_database(settings) as everything, everything.transaction(None) as work:
        tenants = await work.rows("select id, slug from tenants order by slug")
    chosen = [one for one in tenants if slug is None or one["slug"] == slug]
    if slug is not None and not chosen:
        raise Mistake(f"There is no tenant {slug!r}.")
    return chosen


async def tenant_named(opened: Database, slug: str) -> UUID:
    """The id behind a tenant's short name. Raises Mistake."""
    from services.tenants import find_tenant

    found = await find_tenant(opened, slug)
    if found is None:
        raise Mistake(f"There is no tenant {slug!r}. Make it with `holdfast tenant create {slug}`.")
    return found
