"""What a running desk says about itself, for `status`, `down` and every other command."""

from collections.abc import Mapping
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from stack.home import Home, write_privately
from stack.processes import Identity, Status

Phase = Literal["starting", "ready", "stopping", "stopped"]
Origin = Literal["embedded", "outside", "absent", "program"]


class ServiceState(BaseModel):
    """One server or program.

    `outside`: the environment names a server that is not ours. `absent`: its wheel does not exist
    for this platform, and the desk works without; `note` says so.
    """

    model_config = ConfigDict(frozen=True)

    origin: Origin
    status: Status | None = None
    process: Identity | None = None
    address: str | None = None
    ports: Mapping[str, int] = {}
    restarts: int = 0
    note: str | None = None
    namespace: str | None = None  # of somebody else's Temporal, where the usual one was taken


class State(BaseModel):
    """One desk. Holds no secret. Ports stay remembered in it while the desk is stopped."""

    model_config = ConfigDict(frozen=True)

    phase: Phase
    supervisor: Identity | None = None
    started_at: AwareDatetime | None = None
    url: str | None = None
    services: Mapping[str, ServiceState] = {}
    ports: Mapping[str, int] = {}


def read(home: Home) -> State | None:
    """The state as last written, whether or not that desk still runs."""
    try:
        return State.model_validate_json(home.state_file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def write(home: Home, state: State) -> None:
    write_privately(home.state_file, state.model_dump_json(indent=2))


def running(home: Home) -> State | None:
    """The state of the desk whose supervisor is alive now, or None."""
    state = read(home)
    if state is None or state.supervisor is None or not state.supervisor.is_alive():
        return None
    return state
