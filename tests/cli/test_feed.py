"""Feeding: what counts as a failure, and how long a customer waited."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from cli import feed
from cli.feed import Tally
from cli.output import Mistake

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


def test_a_line_that_is_no_ticket_is_named(tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_text('{"body": "x"}\n')
    with pytest.raises(Mistake, match="line 1 is no ticket"):
        list(feed._items(file))
