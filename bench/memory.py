"""How the Temporal server grows per idle ticket, beside workflows that hold one timer.

The bare ones are begun at the pace at which tickets came. How full SQLite packs the fifty indexes
of running workflows depends on it: beginnings in order leave pages half empty, hasty ones less so.

What is stored is held to a budget. What is resident is only told (docs/decisions/0022).
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psutil

from bench import workflows
from bench.figures import Figure, ceiling
from bench.load import Plan, press
from bench.place import Place, place

FEW, MANY = 1000, 3000


@dataclass(frozen=True)
class Size:
    """What the server takes with so many idle workflows."""

    count: int
    resident: int
    stored: int


async def run(where: Place) -> list[Figure]:
    """Tickets on this desk, bare workflows on a server of another one."""
    ticket, pace = await _tickets(where)
    async with place() as other:
        bare = await _bare(other, apart=pace)
    return [
        Figure(
            "memory.resident",
            ticket[0] / max(bare[0], 1.0),
            detail=(
                f"{ticket[0] / 1024:.1f} KiB a ticket of {bare[0] / 1024:.1f} KiB a bare workflow"
            ),
        ),
        ceiling(
            "memory.stored",
            ticket[1] / max(bare[1], 1.0),
            1.2,
            f"{ticket[1] / 1024:.1f} KiB a ticket of {bare[1] / 1024:.1f} KiB a bare workflow",
        ),
    ]


async def _tickets(where: Place) -> tuple[tuple[float, float], float]:
    """What each takes, and how many seconds apart they came."""
    sizes: list[Size] = []
    before, spent = len(await where.live.numbers()), 0.0
    for wanted in (FEW, MANY):
        began = time.monotonic()
        while len(await where.live.numbers()) < wanted:
            await press(Plan((where.creation(),), 8, 1, 0.5, warm_up_seconds=0))
            await where.settled()
        spent += time.monotonic() - began
        sizes.append(await _size(where, len(await where.live.numbers())))
    return _growth(*sizes), spent / max(sizes[-1].count - before, 1)


async def _bare(where: Place, *, apart: float) -> tuple[float, float]:
    client = await where.client()
    sizes: list[Size] = []
    later = datetime.now(UTC) + timedelta(hours=8)
    async with workflows.working(client):
        for count in (FEW, MANY - FEW):
            await workflows.start(client, count, later, apart=apart)
            sizes.append(await _size(where, count + (sizes[0].count if sizes else 0)))
    return _growth(*sizes)


async def _size(where: Place, count: int) -> Size:
    """Once nothing moves any more: what is written grows as long as tasks are under way."""
    files, process = where.live.home.path, psutil.Process(where.live.pid("temporal"))

    def stored() -> int:
        return sum(f.stat().st_size for f in files.rglob("temporal*.db*"))

    before = -1
    while before != stored():
        before = stored()
        await asyncio.sleep(3)
    return Size(count, process.memory_info().rss, before)


def _growth(few: Size, many: Size) -> tuple[float, float]:
    more = many.count - few.count
    return (many.resident - few.resident) / more, (many.stored - few.stored) / more


__all__ = ["run"]
