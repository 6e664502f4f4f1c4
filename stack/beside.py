"""A desk that already runs, as other commands meet it."""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

import psutil

from stack import outside
from stack.embedded import SERVERS, end_leftovers, environment_from, probe_all, servers_of
from stack.home import Home
from stack.postgres import Postgres
from stack.processes import StackError
from stack.servers import Temporal
from stack.state import State, read, running


def environment_of(home: Home, *, environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables of `settings.py` for a command beside a desk that already runs.

    Addresses of outside servers are not written down anywhere, because they contain passwords:
    they have to be in `environment` (default: this process's). Raises StackError when they are
    not, or when no desk runs.
    """
    outer = dict(os.environ if environment is None else environment)
    state = _running_or_refuse(home)
    for kind in SERVERS:
        service = state.services.get(kind.name)
        if service is not None and service.origin == "outside" and not outer.get(kind.outside):
            raise StackError(f"The desk was started with {kind.outside}; set it here as well.")
    temporal = state.services.get(Temporal.name)
    if temporal is not None and temporal.namespace and not outer.get("TEMPORAL_NAMESPACE"):
        outer["TEMPORAL_NAMESPACE"] = temporal.namespace
    if outside.is_alone(outer):  # the roles were made when the desk was started
        outer |= outside.addresses(outer["DATABASE_URL"], home.secrets())
    return environment_from(home, home.secrets(), servers_of(home, state), state.ports, outer)


def superuser_url_of(home: Home) -> str | None:
    """As `Desk.superuser_url`, for a desk that already runs."""
    servers = servers_of(home, _running_or_refuse(home))
    return next((one.superuser_url for one in servers if isinstance(one, Postgres)), None)


async def health_of(home: Home) -> dict[str, str | None]:
    """As `Desk.health`, for a desk that already runs."""
    return await probe_all(servers_of(home, _running_or_refuse(home)))


def terminate(home: Home, timeout: timedelta = timedelta(seconds=90)) -> bool:
    """Stops the desk on `home` and returns when all of its processes are gone.

    False when there was nothing to stop. A supervisor that was killed may have left processes
    behind; these are ended too. Raises StackError when it takes longer than `timeout`.
    """
    state = read(home)
    if state is None:
        return False
    supervisor = state.supervisor
    process = supervisor.process() if supervisor is not None else None
    if supervisor is None or process is None:
        return end_leftovers(state) > 0
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + timeout.total_seconds()
    while True:
        # Read again: a child may have been restarted since.
        state = read(home) or state
        processes = [one.process for one in state.services.values() if one.process is not None]
        if not any(one.is_alive() for one in (supervisor, *processes)):
            return True
        if time.monotonic() > deadline:
            raise StackError(f"The desk on {home.path} did not end in time; see its logs.")
        time.sleep(0.05)


def _running_or_refuse(home: Home) -> State:
    state = running(home)
    if state is None:
        raise StackError(f"No desk runs on {home.path}. Start it with `holdfast up`.")
    return state
