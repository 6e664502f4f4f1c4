"""What an agent's action costs, beside the bare endpoint; and whether the agent sees it at once."""

import asyncio
import re
from itertools import count

import httpx

from bench.figures import Figure, ceiling, median
from bench.load import Plan, press
from bench.place import WORDS, Place

CALLERS = 16
TICKETS = 160
READERS = 4


async def run(place: Place) -> list[Figure]:
    """Notes and changes on tickets of one's own; then the same again, each one read back."""
    await place.live.feed(TICKETS, at_once=16)
    await place.settled()
    place.analyze()
    numbers = tuple(await place.live.numbers())
    await place.live.desk.take_down("worker")
    note = place.by_agent(
        "note",
        "POST",
        "/api/v1/tickets/@T@/notes",
        f'{{"text": "@N@: {WORDS}"}}',
        numbers=numbers,
    )
    change = place.by_agent(
        "change",
        "PATCH",
        "/api/v1/tickets/@T@",
        '{"subject": "Order @N@ has not arrived"}',
        numbers=numbers,
        status=200,
    )
    targets = (place.pooled(), place.bare(), note, change)
    seen = await press(Plan(targets, CALLERS, rounds=3, seconds=2.0))
    bare = median(seen["pooled"].milliseconds)
    unpooled = median(seen["bare"].milliseconds)
    figures = []
    for name in ("note", "change"):
        p50 = median(seen[name].milliseconds)
        rate = median(seen[name].rates)
        detail = f"p50 {p50:.1f} ms of {bare:.1f} ms; {rate:.0f}/s; unpooled {p50 / unpooled:.1f}"
        figures.append(ceiling(f"action.{name}_p50", p50 / bare, 3.0, detail))
    unseen, read = await _read_back(place, numbers[:READERS])
    figures.append(
        ceiling("action.unseen_by_their_author", unseen, 0, f"{read} actions read back at once")
    )
    return figures


async def _read_back(place: Place, numbers: tuple[int, ...]) -> tuple[int, int]:
    """How many of an agent's actions the agent's next request did not show; of how many."""
    unseen, read = 0, 0
    headers = {"Authorization": f"Bearer {place.live.agent_token}"}
    async with httpx.AsyncClient(base_url=place.live.url, headers=headers, timeout=20) as client:

        async def act(number: int) -> None:
            nonlocal unseen, read
            path, made = f"/api/v1/tickets/{number}", count()
            for _ in range(25):
                words = f"subject {next(made)} of {number}"
                changed = await client.patch(path, json={"subject": words})
                shown = (await client.get(path)).json()
                unseen += shown["subject"] != words or shown["seq"] < changed.json()["seq"]
                words = f"note {next(made)} on {number}"
                await client.post(f"{path}/notes", json={"text": words})
                text = (await client.get(path)).text
                unseen += re.search(f'"{words}"', text) is None
                read += 2

        await asyncio.gather(*(act(number) for number in numbers))
    return unseen, read


__all__ = ["run"]
