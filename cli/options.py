"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="HOLDFAST_HOME",
        help="The folder in which the desk keeps everything.",
    ),
]
DEFAULT_HOME = Path(".holdfast")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for a script.")]
Slug = Annotated[str, typer.Option("--tenant", help="The tenant's short name.")]
PasswordStdin = Annotated[
    bool,
    typer.Option(
        "--password-stdin", help="Ask for the password, or read it from a pipe; else one is made."
    ),
]
