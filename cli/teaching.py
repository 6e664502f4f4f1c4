"""A desk's own models from the command line: listed, taught, asked about the past."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple, cast
from uuid import UUID

import typer

from cli.output import Mistake, answer, answers, command, notes, table
from cli.place import database, settings_of, tenant_named
from domain.learning import FIELDS, TriageField
from domain.permissions import GRANTS, Principal, Role
from models.session import Database, Row, Work
from services import learning
from services.tickets import Origin, clock
from stack.home import Home

_POLLED: Final = 0.5  # seconds
_DONE: Final = frozenset({"champion", "retired", "refused", "failed", "cancelled", "finished"})
_VERSION = re.compile(r"(?P<field>[a-z]+)(?:-(?P<version>\d{1,9}|shipped))?")
_SAID: Final = ("rows", "accuracy", "macro_f1", "calibration_error", "coverage", "precision")


class Version(NamedTuple):
    """A model as people name it: `topic-4`, or `topic` for the one that ships."""

    field: TriageField
    number: int | None


@command
async def models(home: Path, slug: str, *, as_json: bool) -> None:
    """Which models a desk has, newest first, and how they did."""
    async with database(settings_of(Home(home))) as opened:
        tenant = await tenant_named(opened, slug)
        async with opened.transaction(tenant, reading=True) as work:
            rows = await learning.models(work)
    if as_json:
        answer([_model(row) for row in rows])
        return
    shown = table("model", "state", "rows", "accuracy", "precision", "coverage", "why")
    for row in rows:
        said = row["measures"] or {}
        shown.add_row(
            f"{row['field']}-{row['version']}", row["state"], str(row["rows"] or ""),
            *(_share(said.get(name)) for name in ("accuracy", "precision", "coverage")),
            row["problem"] or row["objection"] or row["detail"] or "",
        )  # fmt: skip
    answers.print(shown)


@command
async def train(home: Path, slug: str, field: str, *, wait: float, as_json: bool) -> None:
    """Queues a training and says what came of it. Exit code 1 where no model answers from it."""
    named = _version(field)
    async with database(settings_of(Home(home))) as opened:
        tenant = await tenant_named(opened, slug)
        caller, origin = _caller(tenant, slug), Origin(auth_method="cli")
        async with opened.transaction(tenant) as work:
            row = await learning.train(work, named.field, caller=caller, origin=origin, now=clock())
        row = await _ended(opened, tenant, row, wait, lambda w: learning.model(w, row["id"]))
    if as_json:
        answer(_model(row))
    else:
        answers.print(f"{row['field']}-{row['version']}: {row['state']}. {row['detail'] or ''}")
    if row["state"] in ("refused", "failed", "cancelled"):
        raise typer.Exit(1)


@command
async def backtest(
    home: Path, slug: str, model: str, *, tickets: int, wait: float, as_json: bool
) -> None:
    """Lets a model say what it thinks of past tickets, beside what people decided."""
    named = _version(model)
    async with database(settings_of(Home(home))) as opened:
        tenant = await tenant_named(opened, slug)
        async with opened.transaction(tenant) as work:
            row = await learning.backtest(
                work,
                named.field,
                model_id=await _id(work, named),
                tickets=tickets,
                caller=_caller(tenant, slug),
                origin=Origin(auth_method="cli"),
                now=clock(),
            )
        row = await _ended(opened, tenant, row, wait, lambda w: learning.get_backtest(w, row["id"]))
    if as_json:
        answer(_backtest(row))
    else:
        shown = table("of past tickets", *_SAID)
        for name, what in (
            ("measures", "all"),
            ("unseen", "decided after all it was taught"),
            ("recorded", "what the desk was told then"),
        ):
            said = row[name] or {}
            shown.add_row(
                what, str(said.get("rows", "")), *(_share(said.get(n)) for n in _SAID[1:])
            )
        answers.print(shown)
        if row["detail"]:
            answers.print(row["detail"], markup=False)
    if row["state"] != "finished":
        raise typer.Exit(1)


def _version(text: str) -> Version:
    found = _VERSION.fullmatch(text)
    if found is None or found["field"] not in FIELDS:
        known = ", ".join(FIELDS)
        raise Mistake(
            f"{text!r} names no model: say FIELD-VERSION, or FIELD for the one that ships. Fields:"
            f" {known}."
        )
    number = found["version"]
    return Version(
        cast("TriageField", found["field"]),
        int(number) if number is not None and number.isdigit() else None,
    )


async def _id(work: Work, named: Version) -> UUID | None:
    if named.number is None:
        return None
    row = await work.row(
        "select id from triage_models where tenant_id = :tenant and field = :field"
        " and version = :version",
        {"tenant": work.tenant_id, "field": named.field, "version": named.number},
    )
    if row is None:
        raise Mistake(
            f"There is no {named.field}-{named.number} here. See `holdfast triage models`."
        )
    return cast("UUID", row["id"])


async def _ended(
    opened: Database,
    tenant: UUID,
    row: Row,
    wait: float,
    read: Callable[[Work], Awaitable[Row]],
) -> Row:
    """The job once the worker is through with it. Raises Mistake when that takes too long."""
    left = wait
    with notes.status("waiting for the worker") as shown:
        while row["state"] not in _DONE:
            if left <= 0:
                raise Mistake(
                    f"It is {row['state']} after {wait:g} seconds and goes on; its id is"
                    f" {row['id']}. Does the worker run? See `holdfast status`."
                )
            await asyncio.sleep(_POLLED)
            left -= _POLLED
            async with opened.transaction(tenant, reading=True) as work:
                row = await read(work)
            shown.update(f"{row['state']}, {row['progress']:.0%}")
    return row


def _caller(tenant: UUID, slug: str) -> Principal:
    return Principal(tenant_id=tenant, tenant_slug=slug, kind="system", grants=GRANTS[Role.ADMIN])


def _model(row: Row) -> dict[str, object]:
    names = (
        "id", "field", "version", "state", "detail", "objection", "problem", "rows",
        "compared_with",
    )  # fmt: skip
    return {
        **{name: row[name] for name in names},
        "measures": _measures(row["measures"]),
        "compared": _measures(row["compared"]),
    }


def _backtest(row: Row) -> dict[str, object]:
    names = ("id", "field", "version", "state", "detail", "tickets")
    return {
        **{name: row[name] for name in names},
        **{name: _measures(row[name]) for name in ("measures", "unseen", "recorded")},
    }


def _measures(said: Mapping[str, object] | None) -> dict[str, object] | None:
    return None if said is None else {name: said[name] for name in (*_SAID, "answered")}


def _share(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, (int, float)) else ""


__all__ = ["backtest", "models", "train"]
