"""Due times of worked cases, by the same arithmetic the desk uses."""

import json
from collections.abc import Iterator
from pathlib import Path

import typer
from pydantic import ValidationError

from cli.output import line, notes
from domain.calendars import NeverOpen, StillPaused
from domain.sla.vectors import Vector, breach_of, complaint, due_of, unknown_zone, written

NO_ANSWER, NO_ZONE = 1, 2


def due(file: Path) -> None:
    """Prints each case's due time, in the file's order; what is wrong with the others is told.

    Ends with code 1 where a case has no answer (unless it says itself that there is none) or is no
    case, with 2 where one names an unknown time zone. The other cases are answered all the same.
    """
    code = 0
    for where, text in _cases(file):
        try:
            raw = json.loads(text, object_pairs_hook=_once)
        except SaidTwice as error:
            _complain(f"{where}: {error}")
            code = max(code, NO_ANSWER)
            continue
        except ValueError as error:
            _complain(f"{where} is not JSON: {error}")
            code = max(code, NO_ANSWER)
            continue
        try:
            vector = Vector.model_validate(raw)
        except (ValidationError, OverflowError) as error:
            zone = unknown_zone(raw)
            why = complaint(error) if zone is None else f"timezone: {zone}"
            named = f" (case {raw['id']})" if isinstance(raw, dict) and raw.get("id") else ""
            _complain(f"{where}: {why}{named}")
            code = max(code, NO_ANSWER if zone is None else NO_ZONE)
            continue
        found, answered = _answer(vector)
        if not answered:
            code = max(code, NO_ANSWER)
        line(json.dumps(found, ensure_ascii=False))
    if code:
        raise typer.Exit(code)


class SaidTwice(ValueError):
    """One name twice in one JSON object: readers keep the last, people may mean either."""


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found:
            raise SaidTwice(f"{name!r} is said twice")
        found[name] = value
    return found


def _answer(vector: Vector) -> tuple[dict[str, object], bool]:
    """What is printed for a case, and whether that is all one can ask for."""
    try:
        found: dict[str, object] = {
            "id": vector.id,
            "due": written(due_of(vector), to_the_second=vector.to_the_second),
        }
        breach = breach_of(vector)
    except (NeverOpen, StillPaused) as error:
        return {"id": vector.id, "due": None, "why": str(error)}, vector.expects_none
    except OverflowError:
        why = "The target reaches beyond the year 9999."
        return {"id": vector.id, "due": None, "why": why}, vector.expects_none
    if breach is not None:
        found["breached_at"] = written(breach, to_the_second=vector.to_the_second)
    return found, True


def _cases(file: Path) -> Iterator[tuple[str, str]]:
    """Each case with where it stands: one a line, or all of them as one JSON list."""
    text = file.read_text("utf-8-sig")
    if text.lstrip().startswith("["):
        try:
            listed = json.loads(text, object_pairs_hook=_once)
        except SaidTwice:
            yield str(file), text  # said again where it is read
            return
        except ValueError:
            listed = []
        if listed and all(isinstance(one, dict) for one in listed):
            for number, one in enumerate(listed, start=1):
                yield f"{file}, case {number}", json.dumps(one)
            return
    for number, one in enumerate(text.splitlines(), start=1):
        if one.strip():
            yield f"{file}, line {number}", one


def _complain(sentence: str) -> None:
    notes.print(f"holdfast: {sentence}", markup=False, soft_wrap=True)
