"""What it costs to submit a ticket, beside an endpoint that does one INSERT."""

import time

from bench.figures import Figure, ceiling, floor, median
from bench.load import Plan, press
from bench.place import Place

CALLERS = 32


async def run(place: Place) -> list[Figure]:
    """The HTTP door by itself (the worker waits), then with the worker at work beside it."""
    await place.live.feed(100, at_once=8)
    await place.settled()
    place.analyze()
    ceiling_seen = await press(Plan((place.nothing(),), CALLERS, 2, 1.0))
    await place.live.desk.take_down("worker")
    targets = (place.pooled(), place.creation())
    beside_each_other = (*targets, place.bare(), place.autocommit())
    alone = await press(Plan(beside_each_other, CALLERS, rounds=4, seconds=1.5))
    bare, create = alone["pooled"], alone["create"]
    await place.live.desk.bring_up("worker")
    began = time.monotonic()
    await place.settled()
    drained = time.monotonic() - began
    beside = await press(Plan(targets, CALLERS, rounds=2, seconds=1.5, warm_up_seconds=0.3))
    await place.settled()
    missing = await place.without_workflow()
    accepted = create.accepted + beside["create"].accepted
    stored = len(await place.live.numbers()) - 100
    numbers = {*create.numbers, *beside["create"].numbers}
    own = median(ceiling_seen["nothing"].rates)
    bare_rate, rate = median(bare.rates), median(create.rates)
    p50, bare_p50 = median(create.milliseconds), median(bare.milliseconds)
    return [
        floor(
            "create.share",
            rate / bare_rate,
            1 / 3,
            f"{rate:.0f}/s of {bare_rate:.0f}/s; p50 {p50:.1f} ms of {bare_p50:.1f} ms;"
            f" the client alone can ask {own:.0f}/s",
        ),
        Figure(
            "create.share_of_unpooled",
            rate / median(alone["bare"].rates),
            detail="of the same transaction on connections that wait in a queue:"
            f" {median(alone['bare'].rates):.0f}/s",
        ),
        Figure(
            "create.share_of_autocommit",
            rate / median(alone["autocommit"].rates),
            detail="of the INSERT by itself, in one round trip:"
            f" {median(alone['autocommit'].rates):.0f}/s",
        ),
        Figure("create.p50", p50 / bare_p50, detail="times the bare endpoint's"),
        Figure(
            "create.share_beside_worker",
            median(beside["create"].rates) / bare_rate,
            detail="worker and Temporal busy with what was created, on the same cores;"
            " of the bare rate without them",
        ),
        ceiling(
            "create.without_workflow",
            missing + (accepted - len(numbers)) + abs(stored - accepted),
            0,
            f"{accepted} accepted, {stored} stored; workflows for those of the first part were"
            f" there after {drained:.0f} s",
        ),
    ]


__all__ = ["run"]
