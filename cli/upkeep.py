"""Migrations, the audit chain, and what can be made anew from Postgres."""

import asyncio
import os
from pathlib import Path

import typer
from temporalio.service import RPCError

import migrations
from activities.maintenance import retell_astray
from adapters.search import SearchDown, SearchIndex
from adapters.temporal import TicketWorkflows, connect_from, register_attributes
from cli.output import Mistake, answer, answers, command, notes, say, table
from cli.place import database, relay_database, settings_of, tenants_meant
from services import audit, jobs
from services.search import rebuild
from services.tickets import clock
from settings import Settings
from stack import outside
from stack.home import Home
from stack.state import running


@command
async def migrate(home: Path, *, as_json: bool) -> None:
    """Brings schema and search attributes up to date and says what that took."""
    settings = settings_of(Home(home))
    url = settings.as_owner()
    if running(Home(home)) is None:  # the environment's own servers
        await asyncio.to_thread(outside.look, os.environ)
    before = await asyncio.to_thread(migrations.current, url)
    await asyncio.to_thread(migrations.upgrade, url)
    registered = await register(settings)
    after = migrations.head()
    if as_json:
        answer({"from": before, "to": after, "search_attributes": registered})
        return
    say(f"The schema is at {after}." if before == after else f"Migrated {before} to {after}.")
    if registered:
        say(f"Registered search attributes: {', '.join(registered)}.")


async def register(settings: Settings) -> list[str]:
    """The search attributes that were missing and are registered now."""
    if not settings.search_attributes:
        return []
    try:
        client = await connect_from(settings, patient=False)
        return await register_attributes(client)
    except (RPCError, RuntimeError) as error:
        raise Mistake(
            f"Temporal at {settings.temporal_address} did not register the search attributes"
            f" ({error}). Where they may not be registered, set HOLDFAST_SEARCH_ATTRIBUTES=false."
        ) from error


@command
async def verify_audit(home: Path, slug: str | None, *, as_json: bool) -> None:
    """Checks the chains and ends with exit code 1 where one does not add up."""
    settings = settings_of(Home(home))
    chosen = await tenants_meant(settings, slug)
    reports: list[dict[str, object]] = []
    async with database(settings) as opened:
        for one in chosen:
            async with opened.transaction(one["id"]) as work:
                found = await audit.verify(work, now=clock())
            age = found.oldest_unsealed_age
            reports.append(
                {
                    "tenant": one["slug"],
                    "sealed": found.sealed,
                    "unsealed": found.unsealed,
                    "oldest_unsealed_seconds": None if age is None else age.total_seconds(),
                    "first_bad_position": found.first_bad_position,
                }
            )
    broken = [one for one in reports if one["first_bad_position"] is not None]
    if as_json:
        answer({"sound": not broken, "tenants": reports})
    else:
        shown = table("tenant", "sealed", "not yet sealed", "chain")
        for one in reports:
            bad = one["first_bad_position"]
            verdict = "[green]adds up[/]" if bad is None else f"[red]broken at entry {bad}[/]"
            shown.add_row(str(one["tenant"]), str(one["sealed"]), str(one["unsealed"]), verdict)
        answers.print(shown)
    if broken:
        raise typer.Exit(1)


@command
async def rebuild_workflows(home: Path, *, everything: bool, as_json: bool) -> None:
    """Puts tickets without a run, or with an unnoticed deadline, into the outbox of the relay."""
    settings = settings_of(Home(home))
    try:
        client = await connect_from(settings, patient=False)
        known: set[str] = set() if everything else await TicketWorkflows(client).running()
    except (RPCError, RuntimeError) as error:
        raise Mistake(f"Temporal does not answer: {error}") from error
    async with relay_database(settings) as opened:
        written = await retell_astray(opened, known, progress=lambda count: say(f"{count} tickets"))
        await jobs.restart(opened)
    if as_json:
        answer({"tickets": written})
    else:
        say(f"The relay tells of {written} open tickets now; their workflows start or look again.")


@command
async def rebuild_index(home: Path, *, as_json: bool) -> None:
    """Fills a new index with every ticket and exchanges it for the old one."""
    settings = settings_of(Home(home))
    if settings.typesense_url is None or settings.typesense_api_key is None:
        raise Mistake("This desk has no search index: it searches in Postgres.")
    index = SearchIndex(settings.typesense_url, settings.typesense_api_key.get_secret_value())
    try:
        async with relay_database(settings) as everything, database(settings) as opened:
            with notes.status("filling the index") as shown:
                count = await rebuild(
                    everything,
                    opened,
                    index,
                    progress=lambda done: shown.update(f"filling the index: {done} tickets"),
                )
    except SearchDown as error:
        raise Mistake(f"Typesense does not answer: {error}") from error
    finally:
        await index.close()
    if as_json:
        answer({"tickets": count})
    else:
        say(f"The index holds {count} tickets.")
