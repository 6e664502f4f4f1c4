"""Promises checked from the outside: recounts, simulations, statements."""

import asyncio
import contextlib
import json
import os
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import typer

from cli.output import Mistake, answer, answers, command, line, notes, table
from cli.place import database, settings_of, tenant_named, tenants_meant
from domain.comparison import Comparison
from domain.permissions import GRANTS, Principal, Role
from domain.statements import proved, signing_key
from services import simulations, statements, verifying
from services.desks import Desks
from services.rotas import planned
from services.tickets import Origin, clock
from stack.home import Home
from stack.processes import StackError


@command
async def verify(home: Path, slug: str | None, *, most: int, as_json: bool) -> None:
    """Recounts every cycle and ends with exit code 1 where a row and its timeline disagree."""
    settings = settings_of(Home(home))
    chosen = await tenants_meant(settings, slug)
    reports: list[dict[str, object]] = []
    async with database(settings) as opened:
        for one in chosen:
            with notes.status(f"recounting {one['slug']}") as shown:
                name = one["slug"]
                found = await verifying.verify(
                    opened,
                    one["id"],
                    most=most,
                    progress=lambda done, name=name: shown.update(  # type: ignore[misc]
                        f"recounting {name}: {done} tickets"
                    ),
                )
            reports.append(
                {
                    "tenant": one["slug"],
                    "tickets": found.tickets,
                    "cycles": found.cycles,
                    "faults": [
                        {
                            "ticket": fault.number,
                            "metric": fault.found.metric,
                            "cycle": fault.found.cycle,
                            "what": fault.found.what,
                            "said": str(fault),
                        }
                        for fault in found.faults
                    ],
                }
            )
            if found.faults and most == 1:
                break  # the first disagreement is enough
    agreed = not any(one["faults"] for one in reports)
    if as_json:
        answer({"agrees": agreed, "tenants": reports})
    else:
        shown_table = table("tenant", "tickets", "cycles", "recounted")
        for one in reports:
            verdict = "[red]disagrees[/]" if one["faults"] else "[green]agrees[/]"
            shown_table.add_row(
                str(one["tenant"]), str(one["tickets"]), str(one["cycles"]), verdict
            )
        answers.print(shown_table)
        for one in reports:
            for fault in one["faults"]:  # type: ignore[attr-defined]
                answers.print(f"{one['tenant']}: {fault['said']}", markup=False, soft_wrap=True)
    if not agreed:
        raise typer.Exit(1)


@command
async def simulate(
    home: Path,
    slug: str,
    *,
    draft: Path | None,
    months: int,
    zone: str,
    as_json: bool,
) -> None:
    """Tries a draft on the last months, here and now, and shows what would have been otherwise."""
    settings = settings_of(Home(home))
    request = _draft(draft) | {"zone": zone}
    until = clock()
    async with database(settings) as opened:
        tenant = await tenant_named(opened, slug)
        async with opened.transaction(tenant) as work:
            caller = Principal(
                tenant_id=tenant, tenant_slug=slug, kind="system", grants=GRANTS[Role.ADMIN]
            )
            row = await simulations.queue(
                work,
                caller=caller,
                request=request,
                since=until - months * timedelta(days=30),
                until=until,
                origin=Origin(auth_method="cli"),
                now=until,
                outbox=False,  # no workflow: this process does it
            )
        runner = simulations.SimulationRunner(opened, simulations.Processes())
        with notes.status("living through the past") as shown:
            while True:
                progress = await runner.chunk(tenant, row["id"], now=clock())
                if progress.state != "running":
                    break
                shown.update(f"living through the past: {progress.left} tickets left")
        async with opened.transaction(tenant, reading=True) as work:
            row = await simulations.simulation(work, row["id"])
    tally = row["tally"]
    if as_json:
        answer({"id": str(row["id"]), "state": row["state"], **tally})
        return
    if "staffing" in request:
        _staffing(tally)
        return
    shown_table = table("promise", "kept before", "kept after", "attainment before", "after")
    for name, (met, missed, met_after, missed_after) in sorted(tally["metrics"].items()):
        shown_table.add_row(
            name, str(met), str(met_after), _percent(met, missed), _percent(met_after, missed_after)
        )
    answers.print(shown_table)
    answers.print(
        f"{tally['tickets']} tickets, {tally['flipped']} of them with another verdict;"
        f" {tally['different']} cycles differ in anything at all."
    )


def _staffing(tally: Mapping[str, Any]) -> None:
    """Kept as recorded, as modelled today and as tried; and how far to believe it."""
    told = Comparison.of(tally)
    shown_table = table("promise", "recorded", "modelled today", "tried")
    for name, sums in sorted(told.metrics.items()):
        shown_table.add_row(name, *(_percent(sums[n], sums[n + 1]) for n in (0, 2, 4)))
    for share in (0.5, 0.9):
        waits = [one.quantile(share) for one in told.waits.get("all", [])]
        minutes = ["-" if one is None else f"{one / 60:.0f} min" for one in waits]
        if minutes:
            shown_table.add_row(f"first reply within, {share:.0%}", *minutes)
    answers.print(shown_table)
    agreed = f"{told.agreed} of {told.compared} verdicts as recorded"
    answers.print(
        f"{tally['modelled']} of {tally['tickets']} tickets modelled, {told.flipped} promises"
        f" judged otherwise. The model's fit is {told.fit}: {agreed} with today's staffing."
    )


@command
async def on_call(home: Path, slug: str, team: str, *, weeks: int, as_json: bool) -> None:
    """Who of a team is on call now and in the weeks ahead."""
    settings = settings_of(Home(home))
    now = clock()
    async with database(settings) as opened:
        tenant = await tenant_named(opened, slug)
        async with opened.transaction(tenant, reading=True) as work:
            desk = await Desks().current(work)
    found = [one for one in desk.teams.values() if team in (one.name, str(one.id))]
    if not found:
        raise Mistake(f"There is no team {team!r}.")
    plan = planned(desk, found[0].id, since=now, weeks=weeks)
    turns = [
        {
            "since": one.since.isoformat(timespec="minutes"),
            "until": one.until.isoformat(timespec="minutes"),
            "user_id": None if one.duty is None else str(one.duty.user_id),
            "name": None if one.duty is None else desk.agents[one.duty.user_id].name,
        }
        for one in plan.stretches
    ]
    by_hand = [desk.agents[one].name for one in plan.by_hand]
    if as_json:
        answer({"team": found[0].name, "by_hand": by_hand, "turns": turns})
        return
    if by_hand:
        line(f"Named by hand, before the rota: {', '.join(by_hand)}")
    shown_table = table("from (UTC)", "until (UTC)", "on call")
    for turn in turns:
        name = turn["name"] or "nobody: those who lead are told"
        shown_table.add_row(str(turn["since"])[:16], str(turn["until"])[:16], name)
    answers.print(shown_table)


def _draft(file: Path | None) -> dict[str, object]:
    if file is None:
        return {}
    try:
        said = json.loads(file.read_text("utf-8-sig"))
    except ValueError as error:
        raise Mistake(f"{file} is not JSON: {error}") from error
    kinds = {"policy", "calendar", "policies", "new_policies", "calendars", "staffing"}
    if not isinstance(said, dict) or set(said) - kinds:
        raise Mistake(f"{file} is an object with any of: {', '.join(sorted(kinds))}.")
    return said


def _percent(met: int, missed: int) -> str:
    return "-" if not met + missed else f"{met / (met + missed) * 100:.2f} %"


def verify_statements(files: Sequence[Path], home: Path, *, as_json: bool) -> None:
    """Checks statements by their hash and signature; several are also one chain.

    Where no desk is at hand only the hash is checked, and that is said.
    """
    secret = os.environ.get("HOLDFAST_SECRET_KEY")
    if secret is None and home.exists():
        with contextlib.suppress(StackError, Mistake):
            secret = settings_of(Home(home)).secret_key.get_secret_value()
    found: list[dict[str, object]] = []
    said = [_statement(file) for file in files]
    for file, one in zip(files, said, strict=True):
        key = signing_key(secret, str(one.get("tenant"))) if secret else None
        before = None
        for other in said:
            place = one.get("position")
            follows = isinstance(place, int) and other.get("position") == place - 1
            same = all(
                other.get(name) == one.get(name) for name in ("tenant", "kind", "subject_id")
            )
            if follows and same:
                before = str(other.get("hash"))
        proof = proved(one, key=key, before=before)
        found.append({"file": str(file), "fault": proof.fault, "signature_checked": proof.signed})
    holds = not any(one["fault"] for one in found)
    if as_json:
        answer({"holds": holds, "statements": found})
    else:
        for each in found:
            good = "as it was signed" if each["signature_checked"] else "its hash fits; the key of"
            good += "" if each["signature_checked"] else " the desk was not at hand"
            line(f"{each['file']}: {each['fault'] or good}")
    if not holds:
        raise typer.Exit(1)


def _statement(file: Path) -> dict[str, object]:
    """The signed document, whether it was saved alone or in the answer that held it."""
    try:
        said = json.loads(file.read_text("utf-8-sig"))
    except ValueError as error:
        raise Mistake(f"{file} is not JSON: {error}") from error
    if isinstance(said, dict) and isinstance(said.get("said"), dict):
        said = said["said"]
    if not isinstance(said, dict) or "hash" not in said:
        raise Mistake(f"{file} is no statement.")
    return said


@command
async def make_statement(
    home: Path, slug: str, *, kind: str, subject: UUID, month: str, out: Path | None
) -> None:
    """Signs a month and writes the statement: JSON, or a PDF where the file is called so."""
    settings = settings_of(Home(home))
    try:
        first = date.fromisoformat(f"{month}-01")
    except ValueError as error:
        raise Mistake(f"{month!r} is not a month such as 2026-04.") from error
    if kind not in ("customer", "organization"):
        raise Mistake("A statement is for a customer or an organization.")
    async with database(settings) as opened:
        tenant = await tenant_named(opened, slug)
        async with opened.transaction(tenant) as work:
            row = await statements.make(
                work,
                secret=settings.secret_key.get_secret_value(),
                kind=kind,  # type: ignore[arg-type]
                subject_id=subject,
                month=first,
                caller=None,
                origin=None,
                now=clock(),
            )
    said = bytes(row["said"])
    if out is None:
        line(said.decode())
        return
    written = statements.as_pdf(row) if out.suffix == ".pdf" else said
    await asyncio.to_thread(out.write_bytes, written)
