"""The demo tenant's passwords, kept beside the desk's other secrets and shown at each start."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from stack.home import Home, write_privately


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody who can sign in."""

    tenant: str
    email: str
    password: str
    role: str


def read(home: Home) -> list[Login]:
    """The logins as last written; none when there was no demo tenant."""
    try:
        return [Login(**one) for one in json.loads(_file(home).read_text("utf-8"))]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def write(home: Home, logins: Sequence[Login]) -> None:
    write_privately(_file(home), json.dumps([asdict(one) for one in logins], indent=2))


def _file(home: Home) -> Path:
    return home.folder("run") / "logins.json"
