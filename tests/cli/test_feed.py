"""Feeding: what counts as a failure, and how long a customer waited."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from cli import feed
from cli.feed import Tally

ITEM: dict[str, object] = {"external_id": "S-1", "subject": "Lamp", "text": "Dark."}
TAKEN = (201, {"number": 7})


def answering(*answers: tuple[int, object]) -> Callable[[httpx.Request], httpx.Response]:
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        status, body = left.pop(0)
        return httpx.Response(status, json=body)

    return answer


async def submitted(*answers: tuple[int, object]) -> Tally:
    tally = Tally()
    transport = httpx.MockTransport(answering(*answers))
    async with httpx.AsyncClient(transport=transport, base_url="http://desk") as api:
        await feed._submit(api, ITEM, "key", tally)
    return tally


@pytest.mark.parametrize("status", [409, 429, 503])
async def test_a_desk_that_asks_for_patience_is_no_failure(status: int) -> None:
    tally = await submitted((status, {}), TAKEN)
    assert (tally.accepted, tally.failures) == (1, 0)


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_mistake_of_the_desk_counts_though_the_next_attempt_succeeds(status: int) -> None:
    tally = await submitted((status, {"detail": "oh"}), TAKEN)
    assert (tally.accepted, tally.failures) == (1, 1)
    assert tally.errors[0].startswith(f"S-1: {status} ")


async def test_a_refusal_is_not_asked_again() -> None:
    tally = await submitted((422, {"detail": "no"}))
    assert (tally.accepted, tally.failures) == (0, 1)


async def test_the_time_is_from_the_first_attempt_to_the_acceptance() -> None:
    tally = await submitted((503, {}), (503, {}), TAKEN)
    # Between the three attempts it waited 0.1 and 0.2 seconds.
    assert tally.milliseconds[0] >= 295
    assert tally.report()["p99_ms"] == tally.report()["p50_ms"] == round(tally.milliseconds[0], 1)


async def test_lines_that_are_no_tickets_are_errors_and_the_others_are_fed(tmp_path: Path) -> None:
    good = '{"subject": "Lamp", "body": "Dark.", "requester": {"email": "a@example.org"}}'
    broken = ['{"body": "x"}', "no JSON", "[1]", '"\\ud8', "[" * 100_000]
    file = tmp_path / "t.jsonl"
    file.write_bytes("\n".join([good, *broken, good, ""]).encode() + b"\xff\xfe\n")
    tally = Tally()
    numbers = iter(range(1, 9))
    transport = httpx.MockTransport(
        lambda request: httpx.Response(201, json={"number": next(numbers)})
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://desk") as api:
        await feed._feed(api, feed._items(file), tally, rate=0, concurrency=4)
    assert (tally.accepted, tally.failures) == (2, 6)
    lines = sorted(error.partition(" is no ticket: ")[0] for error in tally.errors)
    assert lines == [f"t.jsonl, line {number}" for number in (2, 3, 4, 5, 6, 8)]


@pytest.mark.parametrize(("learning", "waited"), [(True, True), (False, False)])
async def test_a_desk_that_still_trains_its_first_model_is_waited_for(
    learning: bool, waited: bool
) -> None:
    tally = Tally(numbers={7: None}, workflows=1)
    asked = 0

    async def is_learning() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            tally.triaged = 1
        return learning

    await feed._catch_up(tally, timedelta(milliseconds=1), learning=is_learning)
    assert tally.caught_up is waited
