"""Workflows that steps may start, registered by an operator at the machine."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from cli.output import answer, answers, command, table
from cli.place import database, settings_of, tenant_named
from domain.starting import SHIPPED, Offered
from models.session import Work
from services import starting
from services.tickets import clock
from stack.home import Home


@contextlib.asynccontextmanager
async def _tenants(home: Path, slug: str) -> AsyncIterator[Work]:
    """A transaction of that tenant."""
    async with (
        database(settings_of(Home(home))) as opened,
        opened.transaction(await tenant_named(opened, slug)) as work,
    ):
        yield work


@command
async def offer(
    home: Path, *, slug: str, name: str, type: str | None, queue: str, about: str, as_json: bool
) -> None:
    """From now on steps of that tenant's policies may start it."""
    offered = Offered(name, type or name, queue, about)
    async with _tenants(home, slug) as work:
        await starting.offer(work, offered, now=clock())
    told = {"tenant": slug, "name": name, "type": offered.type, "queue": queue}
    if as_json:
        answer(told)
    else:
        answers.print(f"Steps may start {name}: {offered.type} on the queue {queue}.")


@command
async def withdraw(home: Path, *, slug: str, name: str, as_json: bool) -> None:
    """No step may start it any more."""
    async with _tenants(home, slug) as work:
        await starting.withdraw(work, name)
    if as_json:
        answer({"tenant": slug, "withdrawn": name})
    else:
        answers.print(f"Steps may not start {name} any more.")


@command
async def listed(home: Path, *, slug: str, as_json: bool) -> None:
    """What steps of that tenant's policies may start."""
    async with _tenants(home, slug) as work:
        offers = await starting.offered(work)
    if as_json:
        answer(
            {
                "workflows": [
                    {
                        "name": one.name,
                        "type": one.type,
                        "queue": one.queue,
                        "about": one.about,
                        "ships": one.name in SHIPPED,
                    }
                    for one in offers
                ]
            }
        )
        return
    shown = table("name", "type", "queue", "about")
    for one in offers:
        shown.add_row(one.name, one.type, one.queue, one.about)
    answers.print(shown)
