"""Which port each server listens on: last time's, else the usual one, else a free one."""

import contextlib
import socket
import sys
from collections.abc import Iterable, Mapping

# Above the usual port, and below the range from which systems hand out ports of their own.
NEARBY = 200


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a server could listen on `port` right now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as candidate:
        # As servers do it: a connection of the last run that lingers is no obstacle.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((host, port))
            candidate.listen(1)
        except OSError:
            return False
    return True


class Ports:
    """Hands out ports, none of them twice, and none that another desk was handed.

    A server listens some seconds after its port was chosen: meanwhile a second desk would find it
    free, and later take the first one's answers for its own. So a port is kept under a name that
    the kernel gives to one process, until `release` or the end of that process.
    """

    def __init__(self, remembered: Mapping[str, int]) -> None:
        self._remembered = dict(remembered)
        self._taken: dict[str, int] = {}
        self._kept: dict[int, socket.socket] = {}

    @property
    def remembered(self) -> dict[str, int]:
        """This time's ports, and last time's of servers that were not started this time."""
        return dict(self._remembered)

    @property
    def taken(self) -> dict[str, int]:
        return dict(self._taken)

    def take(self, name: str, usual: int, *, host: str = "127.0.0.1") -> tuple[int, int | None]:
        """The port for `name`, and the port it had to give up because that one is busy."""
        wanted = self._remembered.get(name, usual)
        others = {port for other, port in self._taken.items() if other != name}
        for port in self._candidates(wanted, usual):
            if port not in others and is_free(port, host) and self._keep(port):
                self._taken[name] = self._remembered[name] = port
                return port, None if port == wanted else wanted
        raise OSError(f"no free port near {usual} for {name}")

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Other desks may have the ports from now on. May be repeated."""
        for kept in self._kept.values():
            kept.close()
        self._kept.clear()

    def _keep(self, port: int) -> bool:
        """Whether no other desk on this machine has chosen `port`."""
        if port in self._kept or sys.platform != "linux":
            return True
        with contextlib.ExitStack() as undo:
            name = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            try:
                name.bind(f"\0holdfast/port/{port}")
            except OSError:
                return False
            undo.pop_all()
        self._kept[port] = name
        return True

    @staticmethod
    def _candidates(wanted: int, usual: int) -> Iterable[int]:
        yield wanted
        yield from range(usual, min(usual + NEARBY, 65536))
