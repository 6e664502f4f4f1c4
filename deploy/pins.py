"""Prints pins out of requirements.lock, with their hashes, for an installation without the rest.

`python deploy/pins.py` prints what pyproject.toml's own dependencies are locked to, with their
extras; `python deploy/pins.py NAME…` the packages named. Standard library only: it runs in an image
where nothing is installed yet.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_NAME = re.compile(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?")


def pins(root: Path, names: Iterable[str] = ()) -> str:
    """Requirements in pip's format. Raises LookupError for a package that is not locked."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    locked: dict[str, list[str]] = {}
    for block in re.split(r"(?m)^(?=[A-Za-z0-9])", (root / "requirements.lock").read_text("utf-8")):
        if block and not block.startswith("#"):
            locked.setdefault(_canonical(block), []).append(block.rstrip() + "\n")
    chosen: list[str] = []
    for wanted in list(names) or project["dependencies"]:
        found = _NAME.match(wanted)
        name = _canonical(wanted)
        if found is None or name not in locked:
            raise LookupError(f"{wanted} is not in requirements.lock")
        extras = found[2] or ""
        chosen += [re.sub("==", f"{extras}==", block, count=1) for block in locked[name]]
    return "".join(chosen)


def _canonical(requirement: str) -> str:
    found = _NAME.match(requirement)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""


if __name__ == "__main__":
    try:
        sys.stdout.write(pins(ROOT, sys.argv[1:]))
    except LookupError as error:
        sys.exit(str(error))
