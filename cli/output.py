"""What people and scripts see: answers on stdout, progress and complaints on stderr."""

import asyncio
import contextlib
import functools
import json
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from typing import NoReturn, ParamSpec, TypeVar

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from domain.errors import Refusal
from stack.processes import StackError

P = ParamSpec("P")
T = TypeVar("T")

# Wide enough for an address when nobody looks at a terminal, so that logs are not wrapped.
_WIDTH = None if sys.stdout.isatty() else 140

answers = Console(width=_WIDTH, highlight=False)
notes = Console(stderr=True, width=_WIDTH, highlight=False)


class Mistake(Exception):
    """What the operator asked cannot be done; the sentence says what to do instead."""


def say(text: str) -> None:
    """A line of progress."""
    notes.print(text, markup=False)


def answer(value: Mapping[str, object] | Sequence[object]) -> None:
    """The one object a script waits for."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def line(text: str) -> None:
    """A line of the answer, as it is."""
    sys.stdout.write(text + "\n")


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table in the house's looks."""
    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for column in columns:
        made.add_column(column, header_style="dim", overflow="fold")
    return made


def fail(sentence: str) -> NoReturn:
    """Ends the command with a sentence and exit code 1."""
    notes.print(f"[bold red]holdfast:[/] {escape(sentence)}")
    raise typer.Exit(1)


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Turns what an operator can act on into a sentence; everything else is a bug and surfaces."""
    try:
        yield
    except Refusal as refusal:
        fields = "".join(f"\n  {name} {what}" for name, what in refusal.fields.items())
        fail(refusal.detail + fields)
    except (StackError, Mistake) as error:
        fail(str(error))


def command(
    function: Callable[P, Coroutine[object, object, T]],
) -> Callable[P, T]:
    """A coroutine as a command of Typer's, its refusals shown as sentences."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with sentences():
            return asyncio.run(function(*args, **kwargs))

    return run
