"""Models: a desk's own, and on files of yours."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import DEFAULT_HOME, HomeOption, Json, Slug

triage = typer.Typer(help="Models: a desk's own, and on files of yours.", no_args_is_help=True)

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
