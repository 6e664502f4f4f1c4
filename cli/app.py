"""All commands of `holdfast`, each loaded when it is called."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from cli.commands import accounts, sla, triage
from cli.options import DEFAULT_HOME, HomeOption, Json
from cli.output import sentences

app = typer.Typer(
    name="holdfast",
    help="Run and look after a help desk. `holdfast up` starts a whole one on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
audit = typer.Typer(help="The audit log.", no_args_is_help=True)
rebuild = typer.Typer(help="What can be made anew from Postgres.", no_args_is_help=True)
for name, group in (
    ("tenant", accounts.tenant),
    ("user", accounts.user),
    ("token", accounts.token),
    ("audit", audit),
    ("rebuild", rebuild),
    ("sla", sla.sla),
    ("workflow", sla.workflow),
    ("triage", triage.triage),
):
    app.add_typer(group, name=name)


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; refusals become sentences and exit code 1."""
    app(args=None if arguments is None else list(arguments), prog_name="holdfast")


@app.command()
def up(
    home: HomeOption = DEFAULT_HOME,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return once the desk answers.")
    ] = False,
    demo: Annotated[
        bool, typer.Option("--demo/--no-demo", help="Make a demo tenant at the first start.")
    ] = True,
    port: Annotated[
        int | None, typer.Option(help="The API's port; else 8080, or a free one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Start servers, API and worker, and show where they are. Ctrl-C stops all of it."""
    from cli import desk

    with sentences():
        desk.up(home, detach=detach, demo=demo, port=port, as_json=as_json)


@app.command()
def down(home: HomeOption = DEFAULT_HOME, as_json: Json = False) -> None:
    """Stop the desk, wherever it was started."""
    from cli import desk

    with sentences():
        desk.down(home, as_json=as_json)


@app.command()
def status(home: HomeOption = DEFAULT_HOME, as_json: Json = False) -> None:
    """What runs, where, and whether it answers. Exit code 1 when the desk is not in order."""
    from cli import desk

    with sentences():
        desk.status(home, as_json=as_json)


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="api, worker, postgres, …; else all.")] = None,
    home: HomeOption = DEFAULT_HOME,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="How many to begin with.")
    ] = 20,
) -> None:
    """Show what servers and programs wrote."""
    from cli import desk

    with sentences():
        desk.logs(home, name, follow=follow, lines=lines)


@app.command()
def doctor(home: HomeOption = DEFAULT_HOME, as_json: Json = False) -> None:
    """Examine a running desk, and say what to do about each finding. Exit code 1 on a failure."""
    from cli.doctor import doctor

    doctor(home, as_json=as_json)


@app.command()
def reset(
    home: HomeOption = DEFAULT_HOME,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop the desk and delete everything it keeps in its home."""
    from cli import desk

    with sentences():
        desk.reset(home, yes=yes)


@app.command()
def migrate(home: HomeOption = DEFAULT_HOME, as_json: Json = False) -> None:
    """Bring the database to the newest schema and register Temporal's search attributes."""
    from cli.upkeep import migrate

    migrate(home, as_json=as_json)


@app.command()
def demo(
    file: Annotated[
        Path, typer.Option("--from", exists=True, dir_okay=False, help="Tickets, one JSON a line.")
    ],
    home: HomeOption = DEFAULT_HOME,
    rate: Annotated[
        float, typer.Option(min=0, help="Tickets a second; 0: as fast as it goes.")
    ] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Requests at once.")] = 16,
    slug: Annotated[str, typer.Option("--tenant", help="Whose customers they are.")] = "crowd",
    key: Annotated[
        str | None, typer.Option(envvar="HOLDFAST_INTAKE_KEY", help="That tenant's intake key.")
    ] = None,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds without progress before giving up.")
    ] = 60,
    as_json: Json = False,
) -> None:
    """Feed tickets through the HTTP API as their customers, and watch the desk catch up."""
    from cli.feed import demo

    demo(
        home,
        file,
        rate=rate,
        limit=limit,
        concurrency=concurrency,
        slug=slug,
        key=key,
        patience=timedelta(seconds=timeout),
        as_json=as_json,
    )


@audit.command("verify")
def verify_audit(
    slug: Annotated[str | None, typer.Option("--tenant", help="Only this one.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Work out the audit log's chain anew. Exit code 1 where it was tampered with."""
    from cli.upkeep import verify_audit

    verify_audit(home, slug, as_json=as_json)


@rebuild.command("workflows")
def rebuild_workflows(
    home: HomeOption = DEFAULT_HOME,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Wake every open ticket, whether its workflow runs or not."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Start workflows that are missing, wake those that missed a deadline, while in use."""
    from cli.upkeep import rebuild_workflows

    rebuild_workflows(home, everything=everything, as_json=as_json)


@rebuild.command("index")
def rebuild_index(home: HomeOption = DEFAULT_HOME, as_json: Json = False) -> None:
    """Fill a new search index and put it in place, while the desk is in use."""
    from cli.upkeep import rebuild_index

    rebuild_index(home, as_json=as_json)
