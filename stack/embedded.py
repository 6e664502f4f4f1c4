"""The embedded servers together: which there are, what leads to them, how they do."""

import asyncio
import signal
from collections.abc import Iterable, Mapping
from datetime import timedelta

from stack.home import Home, Secrets
from stack.postgres import Postgres
from stack.processes import NotReady, end
from stack.servers import HOST, Server, Temporal, Typesense, Valkey
from stack.state import State

SERVERS: tuple[type[Server], ...] = (Postgres, Valkey, Typesense, Temporal)
API = "api"
API_PORT = 8080
WORKER_METRICS = "worker_metrics"
WORKER_METRICS_PORT = 9464


def servers_of(home: Home, state: State) -> list[Server]:
    """Those that a desk has started, where it says that they are."""
    secrets = home.secrets()
    return [
        kind(home, secrets, state.services[kind.name].ports)
        for kind in SERVERS
        if kind.name in state.services and state.services[kind.name].origin == "embedded"
    ]


def environment_from(
    home: Home,
    secrets: Secrets,
    servers: Iterable[Server],
    ports: Mapping[str, int],
    outer: Mapping[str, str],
) -> dict[str, str]:
    """What the servers say about themselves; for the rest, what the operator set comes first."""
    environment = {
        "HOLDFAST_SECRET_KEY": secrets.holdfast_secret_key,
        "HOLDFAST_PUBLIC_URL": f"http://{HOST}:{ports[API]}",
        "MAIL_URL": home.folder("mail").as_uri(),
    }
    theirs = [variable for kind in SERVERS for variable in kind.variables]
    for variable in (*environment, *theirs, "TEMPORAL_UI_URL", "TEMPORAL_NAMESPACE"):
        if outer.get(variable):
            environment[variable] = outer[variable]
    environment["HOLDFAST_HOME"] = str(home.path)
    environment["HOLDFAST_API_PORT"] = str(ports[API])
    if WORKER_METRICS in ports:  # a desk that an older version started has none
        environment["HOLDFAST_WORKER_METRICS_PORT"] = str(ports[WORKER_METRICS])
    for server in servers:
        environment.update(server.environment())
    return environment


def end_leftovers(state: State | None) -> int:
    """Ends what a supervisor that no longer lives had started. The count."""
    if state is None:
        return 0
    by_name = {kind.name: kind.stop_signal for kind in SERVERS}
    left = [
        (service.process, by_name.get(name, signal.SIGTERM))
        for name, service in state.services.items()
        if service.process is not None
    ]
    return end(left, grace=timedelta(seconds=10))


async def probe_all(servers: Iterable[Server]) -> dict[str, str | None]:
    """Per server: None when it does its work, else what is wrong."""

    async def wrong_with(server: Server) -> str | None:
        try:
            await asyncio.to_thread(server.probe)
        except NotReady as error:
            return str(error)
        return None

    several = list(servers)
    answers = await asyncio.gather(*(wrong_with(server) for server in several))
    return {server.name: answer for server, answer in zip(several, answers, strict=True)}
