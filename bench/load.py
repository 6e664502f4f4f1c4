"""The load client: a process of its own that keeps servers busy and says how long they took.

`python -m bench.load` reads a plan as JSON from standard input and prints what it saw as JSON. It
speaks just enough HTTP/1.1 over raw sockets that its own ceiling lies well above any server here.
"""

import asyncio
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import cast

import orjson
import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_NUMBER = re.compile(rb'"number":\s*(\d+)')


@dataclass(frozen=True, slots=True)
class Target:
    """Requests of one kind. In `path`, `headers` and `body`, @N@ is a number never used before,
    @C@ the same modulo `customers`, @T@ one of `numbers` (each caller has its own)."""

    name: str
    port: int
    path: str
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    status: int = 201
    customers: int = 200
    numbers: tuple[int, ...] = ()
    keep_numbers: bool = False  # collect the "number" of every answer


@dataclass(frozen=True, slots=True)
class Plan:
    """Rounds of each target in turn, so that whatever disturbs the machine disturbs all of them."""

    targets: tuple[Target, ...]
    callers: int
    rounds: int
    seconds: float
    warm_up_seconds: float = 1.5


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one target's requests, warm-up left out of `rates` and `milliseconds`."""

    name: str
    rates: tuple[float, ...]
    milliseconds: tuple[float, ...]
    accepted: int  # warm-up included
    refused: int
    numbers: tuple[int, ...]
    complaint: str | None


class _Caller(asyncio.Protocol):
    """One keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = b""
        self._expected = 0
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by descent
        self._peer = self._transport.get_extra_info("peername")[:2]

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._expected:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            found = _LENGTH.search(self._buffer, 0, end + 2)
            self._expected = end + 4 + (int(found[1]) if found else 0)
        if len(self._buffer) >= self._expected and self._answer is not None:
            answer, self._buffer, self._expected = self._buffer, b"", 0
            self._answer.set_result(answer)

    async def ask(self, request: bytes) -> bytes:
        assert self._transport is not None
        if self._transport.is_closing():  # it waited for its turn longer than the server for it
            host, port = self._peer
            await asyncio.get_running_loop().create_connection(lambda: self, host, port)
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class _Tally:
    """Counts the answers to one target's requests."""

    def __init__(self, target: Target, callers: int) -> None:
        self.target = target
        self._made = 0
        self._base = time.time_ns() // 1000  # keys differ between runs too
        lines = [f"{target.method} {target.path} HTTP/1.1", f"Host: 127.0.0.1:{target.port}"]
        lines += [f"{name}: {value}" for name, value in target.headers.items()]
        if target.body:
            lines.append("Content-Type: application/json")
        self._head = "\r\n".join(lines).encode()
        self._body = target.body.encode()
        self._shares = [target.numbers[i::callers] for i in range(callers)]
        self.rates: list[float] = []
        self.milliseconds: list[float] = []
        self.accepted = self.refused = 0
        self.numbers: list[int] = []
        self.complaint: str | None = None

    def request(self, caller: int) -> bytes:
        self._made += 1
        head, body = self._head, self._body
        unique = b"%d" % (self._base + self._made)
        customer = b"%d" % (self._made % self.target.customers)
        share = self._shares[caller]
        ticket = b"%d" % share[self._made % len(share)] if share else b"0"
        for token, value in ((b"@N@", unique), (b"@C@", customer), (b"@T@", ticket)):
            head, body = head.replace(token, value), body.replace(token, value)
        return b"%b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body)

    def take(self, answer: bytes, seconds: float) -> None:
        if int(answer[9:12]) != self.target.status:
            self.refused += 1
            self.complaint = self.complaint or answer.decode(errors="replace")[-600:]
            return
        self.accepted += 1
        self.milliseconds.append(seconds * 1000)
        if self.target.keep_numbers and (found := _NUMBER.search(answer)):
            self.numbers.append(int(found[1]))

    def seen(self) -> Seen:
        return Seen(
            self.target.name,
            tuple(self.rates),
            tuple(self.milliseconds),
            self.accepted,
            self.refused,
            tuple(self.numbers),
            self.complaint,
        )


async def _round(tally: _Tally, callers: Sequence[_Caller], seconds: float) -> float:
    """Keeps every caller busy for so long; answers a second."""
    began = time.perf_counter()
    until, before = began + seconds, tally.accepted

    async def keep_asking(index: int, caller: _Caller) -> None:
        while (asked := time.perf_counter()) < until:
            answer = await caller.ask(tally.request(index))
            tally.take(answer, time.perf_counter() - asked)

    await asyncio.gather(*(keep_asking(i, c) for i, c in enumerate(callers)))
    return (tally.accepted - before) / (time.perf_counter() - began)


async def carry_out(plan: Plan) -> list[Seen]:
    """Warm-up, then the rounds."""
    loop = asyncio.get_running_loop()
    tallies = [_Tally(target, plan.callers) for target in plan.targets]
    connections: list[list[_Caller]] = []
    for target in plan.targets:
        made = [
            await loop.create_connection(_Caller, "127.0.0.1", target.port)
            for _ in range(plan.callers)
        ]
        connections.append([protocol for _, protocol in made])
    for tally, callers in zip(tallies, connections, strict=True):
        if plan.warm_up_seconds:
            await _round(tally, callers, plan.warm_up_seconds)
        tally.milliseconds.clear()
    for _ in range(plan.rounds):
        for tally, callers in zip(tallies, connections, strict=True):
            tally.rates.append(await _round(tally, callers, plan.seconds))
    for callers in connections:
        for caller in callers:
            caller.close()
    return [tally.seen() for tally in tallies]


async def press(plan: Plan) -> dict[str, Seen]:
    """Carries out a plan in a process of its own; what was seen, by the targets' names.

    Raises RuntimeError when an answer was not the expected one: then there is nothing to compare.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(orjson.dumps(asdict(plan)))
    if process.returncode:
        raise RuntimeError(f"the load client ended with {process.returncode}")
    found = {seen["name"]: Seen(**seen) for seen in orjson.loads(out)}
    for seen in found.values():
        if seen.refused:
            raise RuntimeError(f"{seen.name}: {seen.refused} refusals, one is {seen.complaint}")
    return found


def main() -> None:
    told = orjson.loads(sys.stdin.buffer.read())
    targets = tuple(Target(**target) for target in told.pop("targets"))
    seen = uvloop.run(carry_out(Plan(targets=targets, **told)))
    # A writer of its own: an unbuffered standard output takes no more than a pipe holds.
    with open(sys.stdout.fileno(), "wb", closefd=False) as out:
        out.write(orjson.dumps([asdict(one) for one in seen]))


if __name__ == "__main__":
    main()
