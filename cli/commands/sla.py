"""Promises: due times, recounts, what-if, statements; and workflows that steps may start."""

from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from cli.options import DEFAULT_HOME, HomeOption, Json, Slug
from cli.output import sentences

sla = typer.Typer(help="Promises: due times, recounts, what-if, statements.", no_args_is_help=True)
statement = typer.Typer(help="Signed monthly statements.", no_args_is_help=True)
sla.add_typer(statement, name="statement")
workflow = typer.Typer(help="Workflows that steps of policies may start.", no_args_is_help=True)


@sla.command("due")
def sla_due(
    file: Annotated[
        Path, typer.Option("--file", exists=True, dir_okay=False, help="Cases, one JSON a line.")
    ],
) -> None:
    """Print `{"id", "due"}` for each case of a file: calendar, start, target, pauses.

    Needs no server. Exit code 1 when a case cannot be answered; its line says why.
    """
    from cli.due import due

    with sentences():
        due(file)


@sla.command("verify")
def verify_sla(
    slug: Annotated[str | None, typer.Option("--tenant", help="Only this one.")] = None,
    most: Annotated[
        int, typer.Option("--most", min=1, help="Stop after so many tickets that disagree.")
    ] = 1,
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Recount every cycle from its ticket's timeline, with code of its own. Exit code 1 at the
    first that disagrees, naming ticket and cycle."""
    from cli.sla import verify

    verify(home, slug, most=most, as_json=as_json)


@sla.command("simulate")
def simulate_sla(
    slug: Slug,
    draft: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help='JSON: {"policies", "new_policies", "calendars"}, or {"staffing"}, each a list.',
        ),
    ] = None,
    months: Annotated[int, typer.Option(min=1, max=36, help="The last so many.")] = 3,
    zone: Annotated[str, typer.Option(help="Whose hours of the week.")] = "UTC",
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Try drafts of policies and calendars, or another staffing, on the past. Nobody is told, no
    ticket changes."""
    from cli.sla import simulate

    simulate(home, slug, draft=draft, months=months, zone=zone, as_json=as_json)


@sla.command("oncall")
def on_call(
    slug: Slug,
    team: Annotated[str, typer.Argument(help="Its name or id.")],
    weeks: Annotated[int, typer.Option(min=1, max=26, help="How far ahead.")] = 4,
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Who of a team is on call now, and in the weeks ahead."""
    from cli.sla import on_call

    on_call(home, slug, team, weeks=weeks, as_json=as_json)


@statement.command("verify")
def verify_statement(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="As signed.")],
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Check signed statements; several of one customer are checked as a chain. Exit code 1 where
    one was changed, forged, or does not follow the one before."""
    from cli.sla import verify_statements

    with sentences():
        verify_statements(files, home, as_json=as_json)


@statement.command("make")
def make_statement(
    slug: Slug,
    subject: Annotated[UUID, typer.Argument(help="The customer's or organization's id.")],
    month: Annotated[str, typer.Option(help="One that is over, as 2026-04.")],
    kind: Annotated[str, typer.Option(help="organization or customer.")] = "organization",
    out: Annotated[Path | None, typer.Option(help="Where to; a PDF where it is called so.")] = None,
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Sign a month of a customer or organization."""
    from cli.sla import make_statement

    make_statement(home, slug, kind=kind, subject=subject, month=month, out=out)


@workflow.command("offer")
def offer_workflow(
    name: Annotated[
        str, typer.Argument(help="What steps call it: small letters, digits, - and _.")
    ],
    slug: Slug,
    queue: Annotated[str, typer.Option(help="The task queue that your worker waits on.")],
    type: Annotated[
        str | None, typer.Option(help="The workflow's type, where it is not the name.")
    ] = None,
    about: Annotated[str, typer.Option(help="What it does, for whoever writes policies.")] = "",
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Let steps of a tenant's policies start a workflow of yours."""
    from cli import starting

    starting.offer(home, slug=slug, name=name, type=type, queue=queue, about=about, as_json=as_json)


@workflow.command("withdraw")
def withdraw_workflow(
    name: Annotated[str, typer.Argument(help="As it was offered.")],
    slug: Slug,
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Let no step start it any more."""
    from cli import starting

    starting.withdraw(home, slug=slug, name=name, as_json=as_json)


@workflow.command("list")
def list_workflows(slug: Slug, home: HomeOption = DEFAULT_HOME, as_json: Json = False) -> None:
    """Show what steps may start."""
    from cli import starting

    starting.listed(home, slug=slug, as_json=as_json)
