"""Due times of worked cases, by the same arithmetic the desk uses."""

import json
from pathlib import Path

import typer
from pydantic import ValidationError

from cli.output import Mistake, line
from domain.calendars import NeverOpen, StillPaused
from domain.sla import Vector, solve


def due(file: Path) -> None:
    """Prints each case's due time, in the file's order. Raises Mistake for what is no case."""
    unanswered = False
    for number, text in enumerate(file.read_text("utf-8").splitlines(), start=1):
        if not text.strip():
            continue
        try:
            vector = Vector.model_validate(json.loads(text))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the line"
            raise Mistake(f"{file}, line {number}: {where}: {first['msg']}") from error
        except ValueError as error:
            raise Mistake(f"{file}, line {number} is not JSON: {error}") from error
        try:
            found: dict[str, object] = {"id": vector.id, "due": solve(vector)}
        except (NeverOpen, StillPaused, OverflowError) as error:
            unanswered = True
            found = {"id": vector.id, "due": None, "why": str(error)}
        line(json.dumps(found, ensure_ascii=False))
    if unanswered:
        raise typer.Exit(1)
