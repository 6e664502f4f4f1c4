"""The folder in which a desk keeps everything, and the passwords in it."""

import fcntl
import os
import secrets
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stack.processes import StackError

FOLDERS = (
    "postgres", "temporal", "valkey", "typesense", "logs", "files", "models", "mail", "run",
)  # fmt: skip


class AlreadyRunning(StackError):
    def __init__(self, home: Path) -> None:
        super().__init__(
            f"A desk already runs on {home}. Stop it with `holdfast down`, "
            "or choose another folder with HOLDFAST_HOME."
        )


class ForeignHome(StackError):
    def __init__(self, home: Path, owner: int) -> None:
        super().__init__(
            f"{home} belongs to user {owner}, not to user {os.geteuid()} who runs this. "
            "Run as that user, or choose another folder with HOLDFAST_HOME."
        )


def _password() -> Callable[[], str]:
    return lambda: secrets.token_urlsafe(24)


class Secrets(BaseModel):
    """Passwords and keys of one desk. URL-safe, so that they fit into addresses as they are."""

    model_config = ConfigDict(frozen=True)

    postgres: str = Field(default_factory=_password())
    holdfast_owner: str = Field(default_factory=_password())
    holdfast_app: str = Field(default_factory=_password())
    holdfast_relay: str = Field(default_factory=_password())
    valkey: str = Field(default_factory=_password())
    typesense_api_key: str = Field(default_factory=_password())
    holdfast_secret_key: str = Field(default_factory=lambda: secrets.token_urlsafe(48))


class Home:
    """Where a desk's servers, files and logs are. Nothing outside of `path` is ever touched."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).expanduser().resolve()

    def __repr__(self) -> str:
        return f"Home({str(self.path)!r})"

    def folder(self, name: str) -> Path:
        return self.path / name

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    @property
    def state_file(self) -> Path:
        return self.path / "run" / "state.json"

    @property
    def secrets_file(self) -> Path:
        return self.path / "secrets.json"

    def create(self) -> None:
        """Makes the folders that are missing, readable by their owner alone.

        Raises ForeignHome when somebody else's: files of two owners would end in a database that
        neither can start.
        """
        existed = self.path.exists()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            raise ForeignHome(self.path, owner)
        if existed:
            self.path.chmod(0o700)
        for name in FOLDERS:
            self.folder(name).mkdir(mode=0o700, exist_ok=True)

    def secrets(self) -> Secrets:
        """The desk's secrets, generated at first use; ones added by a later version are filled in.

        Raises StackError when the file cannot be understood: new passwords would lock the desk out
        of its own database.
        """
        try:
            text = self.secrets_file.read_text("utf-8")
        except FileNotFoundError:
            text = "{}"
        try:
            stored = Secrets.model_validate_json(text)
        except ValidationError as error:
            raise StackError(f"{self.secrets_file} is damaged; restore it.") from error
        complete = stored.model_dump_json(indent=2)
        if complete != text:
            write_privately(self.secrets_file, complete)
        return stored

    def lock(self) -> int:
        """An open descriptor that keeps other supervisors away until it is closed.

        The kernel gives the lock back when this process dies, however it dies. Children do not
        inherit the descriptor. Raises AlreadyRunning.
        """
        descriptor = os.open(self.folder("run") / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise AlreadyRunning(self.path) from None
        return descriptor


def write_privately(path: Path, text: str) -> None:
    """`path` holds `text` afterwards, mode 0600; a reader sees the old or the new, never half."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
