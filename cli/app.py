"""All commands of `holdfast`, each loaded when it is called."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from cli.options import DEFAULT_HOME, HomeOption, Json, PasswordStdin, Slug
from cli.output import sentences

app = typer.Typer(
    name="holdfast",
    help="Run and look after a help desk. `holdfast up` starts a whole one on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
tenant = typer.Typer(help="Tenants.", no_args_is_help=True)
user = typer.Typer(help="People who work in a tenant.", no_args_is_help=True)
token = typer.Typer(help="API tokens and intake keys.", no_args_is_help=True)
audit = typer.Typer(help="The audit log.", no_args_is_help=True)
rebuild = typer.Typer(help="What can be made anew from Postgres.", no_args_is_help=True)
sla = typer.Typer(help="Promises: due times, recounts, what-if, statements.", no_args_is_help=True)
statement = typer.Typer(help="Signed monthly statements.", no_args_is_help=True)
sla.add_typer(statement, name="statement")
workflow = typer.Typer(help="Workflows that steps of policies may start.", no_args_is_help=True)
triage = typer.Typer(help="Models: a desk's own, and on files of yours.", no_args_is_help=True)
for name, group in (
    ("tenant", tenant),
    ("user", user),
    ("token", token),
    ("audit", audit),
    ("rebuild", rebuild),
    ("sla", sla),
    ("workflow", workflow),
    ("triage", triage),
):
    app.add_typer(group, name=name)


def run(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; refusals become sentences and exit code 1."""
    app(args=None if arguments is None else list(arguments), prog_name="holdfast")


# The desk as a whole.


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


# Tenants, people, tokens.


@tenant.command("create")
def create_tenant(
    slug: Annotated[str, typer.Argument(help="Its short name, never changed: letters, digits, -")],
    email: Annotated[str, typer.Option(help="The first admin's address.")],
    name: Annotated[str | None, typer.Option(help="Its full name.")] = None,
    password_stdin: PasswordStdin = False,
    rate_class: Annotated[str, typer.Option(help="standard, high or unlimited.")] = "standard",
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Make a tenant with its first admin."""
    from cli.accounts import create_tenant, password_from_stdin

    with sentences():
        password = password_from_stdin() if password_stdin else None
    create_tenant(
        home,
        slug=slug,
        name=name or slug,
        email=email,
        password=password,
        rate_class=rate_class,
        as_json=as_json,
    )


@user.command("create")
def create_user(
    slug: Slug,
    email: Annotated[str, typer.Option()],
    name: Annotated[str, typer.Option()],
    role: Annotated[str, typer.Option(help="admin, supervisor, agent or viewer.")] = "agent",
    team: Annotated[list[str] | None, typer.Option(help="A team's name; may be repeated.")] = None,
    password_stdin: PasswordStdin = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Make a user who can sign in."""
    from cli.accounts import create_user, password_from_stdin

    with sentences():
        password = password_from_stdin() if password_stdin else None
    create_user(
        home,
        slug=slug,
        email=email,
        name=name,
        role=role,
        teams=team or [],
        password=password,
        as_json=as_json,
    )


@token.command("create")
def create_token(
    slug: Slug,
    name: Annotated[str, typer.Option(help="What it is for.")],
    email: Annotated[
        str | None, typer.Option(help="Whom it acts for; without, it is an intake key.")
    ] = None,
    scope: Annotated[
        list[str] | None, typer.Option(help="A permission it is limited to; may be repeated.")
    ] = None,
    rate_class: Annotated[str, typer.Option(help="standard, high or unlimited.")] = "standard",
    expires: Annotated[
        int | None, typer.Option(min=1, max=3650, metavar="DAYS", help="Else it does not expire.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Make a personal token, or an intake key that takes customers' tickets. Shown once."""
    from cli.accounts import create_token

    create_token(
        home,
        slug=slug,
        name=name,
        email=email,
        scopes=scope or [],
        rate_class=rate_class,
        days=expires,
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


# Making anew.


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


Wait = Annotated[float, typer.Option(min=0, help="For the worker, in seconds.")]


@triage.command("models")
def triage_models(slug: Slug, home: HomeOption = DEFAULT_HOME, as_json: Json = False) -> None:
    """What models a desk has taught itself, and how they did."""
    from cli.teaching import models

    models(home, slug, as_json=as_json)


@triage.command("train")
def train_triage(
    slug: Slug,
    field: Annotated[str, typer.Option(help="topic, priority, sentiment, team, spam, language.")],
    wait: Wait = 1800.0,
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Teach a model from what people of a desk decided. Exit code 1 where it is refused."""
    from cli.teaching import train

    train(home, slug, field, wait=wait, as_json=as_json)


@triage.command("backtest")
def backtest_triage(
    slug: Slug,
    model: Annotated[str, typer.Option(help="As topic-4; topic alone is the one that ships.")],
    tickets: Annotated[int, typer.Option(min=1, max=20_000, help="The newest so many.")] = 5_000,
    wait: Wait = 1800.0,
    home: HomeOption = DEFAULT_HOME,
    as_json: Json = False,
) -> None:
    """Ask a model about past tickets, beside what people decided. Nothing changes on any ticket."""
    from cli.teaching import backtest

    backtest(home, slug, model, tickets=tickets, wait=wait, as_json=as_json)


@triage.command("evaluate")
def evaluate_triage(
    train: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="CSV to learn from.")],
    test: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="CSV to be asked about.")],
    text: Annotated[
        str, typer.Option(help="The column to read, or several: subject,body.")
    ] = "text",
    label: Annotated[str, typer.Option(help="The column with the right answer.")] = "label",
    out_of_scope: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="CSV of texts that fit no label."),
    ] = None,
) -> None:
    """Train as the desk would, ask about other rows, print the measures as JSON.

    Needs no server. Exit code 2 when a file is not what was said.
    """
    from cli.triage import evaluate

    evaluate(train, test, text=text, label=label, out_of_scope=out_of_scope)


@triage.command("retrieve")
def retrieve_triage(
    documents: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help='{"id", "text"}, one a line.')
    ],
    queries: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help='{"text", "relevant": [ids]}.')
    ],
) -> None:
    """Find documents by text, print hit@1, hit@5 and ndcg@10 as JSON. Needs no server."""
    from cli.triage import retrieve

    retrieve(documents, queries)
