"""`python -m bench [names...]`: measures Holdfast against bare equivalents, in one run."""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import orjson

from bench import acting, creating, engine, listing, memory, relaying, retiming, simulating, timing
from bench.figures import Figure
from bench.place import Place, place

Bench = Callable[[Place], Awaitable[list[Figure]]]

BENCHES: dict[str, Bench] = {
    "create": creating.run,
    "action": acting.run,
    "list": listing.run,
    "relay": relaying.run,
    "timer": timing.run,
    "memory": memory.run,
    "simulate": simulating.run,
    "retime": retiming.run,
}
# Those that need no server.
ALONE: dict[str, Callable[[], list[Figure]]] = {"engine": engine.run}
ALL = [*ALONE, *BENCHES]


async def measure(names: list[str], told: Callable[[str], None]) -> list[Figure]:
    """All figures of those benches, each on a desk of its own."""
    figures: list[Figure] = []
    for name in names:
        began = time.monotonic()
        told(f"== {name}")
        if name in ALONE:
            found = ALONE[name]()
        else:
            async with place() as where:
                found = await BENCHES[name](where)
        figures += found
        for figure in found:
            told(figure.line())
        told(f"== {name}: {time.monotonic() - began:.0f} s")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(ALL)}")
    parser.add_argument("--json", action="store_true", help="figures as JSON on standard output")
    parser.add_argument("--strict", action="store_true", help="exit 1 where a budget is exceeded")
    asked = parser.parse_args()
    unknown = set(asked.names) - set(ALL)
    if unknown:
        parser.error(f"there is no bench {', '.join(sorted(unknown))}")
    out = sys.stderr if asked.json else sys.stdout

    def told(line: str) -> None:
        out.write(line + "\n")
        out.flush()

    figures = asyncio.run(measure(asked.names or ALL, told))
    if asked.json:
        sys.stdout.buffer.write(orjson.dumps([f.told() for f in figures], option=2) + b"\n")
    over = [figure.name for figure in figures if not figure.ok]
    if over:
        told(f"over budget: {', '.join(over)}")
    return 1 if over and asked.strict else 0


if __name__ == "__main__":
    sys.exit(main())
