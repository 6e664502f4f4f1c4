"""Rules that watch promises, under pressure: two at once, flapping, borders, rules that go away."""

import asyncio
import uuid
from datetime import timedelta
from itertools import pairwise

import pytest

from domain.alerts import AlertRule, Telling
from models.session import Database
from services import alerts, webhooks
from services.alerting import AlertDestination, look
from services.desks import Desks
from services.relay import Relay
from services.watching import DESTINATION
from tests.conftest import Urls
from tests.services.test_alerts import HOUR, NOW, Watch, watch

__all__ = ["watch"]
pytestmark = pytest.mark.slow  # many looks
MINUTE, TICK = timedelta(minutes=1), timedelta(microseconds=1)


async def waiting(database: Database, tenant: uuid.UUID) -> None:
    """Somebody waits for a lock that another holds."""
    for _ in range(1000):
        async with database.transaction(tenant) as work:
            if await work.rows("select 1 from pg_locks where not granted", {}):
                return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


@pytest.mark.parametrize("later", [timedelta(), 2 * MINUTE, 2 * HOUR])
async def test_who_waits_for_another_look_sees_what_it_told(watch: Watch, later: timedelta) -> None:
    """However much later the second one's clock is: what is open is open, and told once."""
    await watch.rule()
    await watch.breach(NOW)
    await watch.breach(NOW)
    async with watch.database.transaction(watch.tenant) as work:
        assert await look(work, watch.desks, now=NOW + MINUTE) == [Telling.FIRED]
        second = asyncio.create_task(watch.look(NOW + MINUTE + later))
        await waiting(watch.database, watch.tenant)
    assert await second == []
    assert await watch.told() == ["sla_alert"]
    assert len(await watch.firings()) == 1


@pytest.mark.parametrize("meanwhile", ["deleted", "switched off", "other terms"])
async def test_a_rule_that_goes_while_somebody_waits_to_look_tells_nothing(
    watch: Watch, meanwhile: str
) -> None:
    row = await watch.rule()
    await watch.breach(NOW)
    await watch.breach(NOW)
    assert await watch.look(NOW + MINUTE) == [Telling.FIRED]
    async with watch.database.transaction(watch.tenant) as work:
        at = NOW + 2 * MINUTE
        if meanwhile == "deleted":
            await alerts.delete(work, row["id"], now=at)
        elif meanwhile == "switched off":
            await alerts.change(work, row["id"], name=None, rule=None, active=False, now=at)
        else:
            rule = AlertRule.model_validate(row["rule"])
            more = rule.model_copy(update={"watches": rule.watches.model_copy(update={"count": 9})})
            await alerts.change(work, row["id"], name=None, rule=more, active=None, now=at)
        # The window is over by then: a look that saw the firing would say so.
        late = asyncio.create_task(watch.look(NOW + 9 * HOUR))
        await waiting(watch.database, watch.tenant)
    assert await late == []
    assert await watch.told() == ["sla_alert"]
    [firing] = await watch.firings()
    assert (firing["ended_at"], firing["ended_with"]) == (NOW + 2 * MINUTE, None)


async def test_looks_and_changes_at_once_never_lock_each_other_out(watch: Watch) -> None:
    rows = [await watch.rule(f"Rule {n}") for n in range(4)]
    await watch.breach(NOW)
    await watch.breach(NOW)

    async def flips(row: dict[str, object], n: int) -> None:
        async with watch.database.transaction(watch.tenant) as work:
            await alerts.change(
                work, uuid.UUID(str(row["id"])), name=None, rule=None, active=n % 2 == 0,
                now=NOW + n * MINUTE,
            )  # fmt: skip

    async with asyncio.timeout(60):
        told = await asyncio.gather(
            *(watch.look(NOW + n * MINUTE) for n in range(1, 7)),
            *(flips(dict(row), n) for n in range(1, 5) for row in rows),
            return_exceptions=True,
        )
    assert [one for one in told if isinstance(one, BaseException)] == []
    fired = sum(len(one) for one in told if isinstance(one, list))
    assert len(await watch.firings()) == fired
    still = [f for f in await watch.firings() if f["ended_at"] is None]
    assert len({f["alert_id"] for f in still}) == len(still)


async def test_a_breach_counts_from_its_instant_until_the_window_has_passed_over_it(
    watch: Watch,
) -> None:
    """The beginning of a window is part of it, its end is not; so no breach counts twice or never
    in windows that follow each other."""
    await watch.rule(watches={"kind": "breaches", "count": 1, "within": "PT3H"})
    await watch.breach(NOW)
    assert await watch.look(NOW) == []
    assert await watch.look(NOW + 15 * timedelta(seconds=1)) == [Telling.FIRED]
    assert await watch.look(NOW + 3 * HOUR) == []
    [firing] = await watch.firings()
    assert firing["ended_at"] is None
    assert await watch.look(NOW + 3 * HOUR + TICK) == []  # a look a moment ago was soon enough
    assert await watch.look(NOW + 3 * HOUR + MINUTE) == [Telling.OVER]


async def test_what_flaps_is_told_as_often_as_it_turns_and_each_firing_is_whole(
    watch: Watch,
) -> None:
    await watch.rule(watches={"kind": "breaches", "count": 2, "within": "PT1H"})
    at, told = NOW, list[Telling]()
    for _ in range(4):
        await watch.breach(at)
        await watch.breach(at)
        for minutes in (1, 20, 59, 62, 90):
            told += await watch.look(at + minutes * MINUTE)
        at += 2 * HOUR
    assert told == [Telling.FIRED, Telling.OVER] * 4
    assert sorted(await watch.told()) == ["sla_alert"] * 4 + ["sla_alert_over"] * 4
    firings = await watch.firings()
    assert all(f["ended_at"] is not None and f["ended_with"]["breaches"] == 0 for f in firings)
    ordered = sorted(firings, key=lambda f: f["fired_at"])
    assert all(a["ended_at"] <= b["fired_at"] for a, b in pairwise(ordered))


async def test_what_broke_while_the_workers_were_down_is_told_when_they_are_back(
    watch: Watch,
) -> None:
    await watch.rule(watches={"kind": "breaches", "count": 2, "within": "PT1H"})
    for minutes in (0, 1):
        ticket = await watch.ticket(NOW + minutes * MINUTE - HOUR)  # broken one hour later
        await watch.until(ticket, NOW + 5 * HOUR)
    assert await watch.look(NOW + 5 * HOUR + MINUTE) == [Telling.FIRED]
    [firing] = await watch.firings()
    assert (firing["figures"]["breaches"], firing["figures"]["noticed_late"]) == (2, 2)
    async with watch.database.transaction(watch.tenant) as work:
        [row] = await alerts.alerts(work)
    assert "2 of them before it and noticed only now" in row["figures"]["says"]
    assert await watch.look(NOW + 5 * HOUR + 59 * MINUTE) == []
    assert await watch.look(NOW + 6 * HOUR + 2 * MINUTE) == [Telling.OVER]


async def test_nothing_ended_is_neither_good_nor_bad(watch: Watch) -> None:
    await watch.rule(
        watches={"kind": "attainment", "metric": "first_reply", "below": 100, "within": "PT2H",
                 "at_least": 1}
    )  # fmt: skip
    await watch.ticket(NOW - 5 * HOUR)  # overdue, and never ended
    assert await watch.look(NOW) == []
    async with watch.database.transaction(watch.tenant) as work:
        [row] = await alerts.alerts(work)
    assert row["figures"]["attainment"] is None
    assert "too few to say" in row["figures"]["says"]
    await watch.answered(NOW + MINUTE, late=True)
    assert await watch.look(NOW + 2 * MINUTE) == [Telling.FIRED]
    # The only one leaves the window: with none left it is over, and not divided by zero.
    assert await watch.look(NOW + 3 * HOUR) == [Telling.OVER]
    [firing] = await watch.firings()
    assert firing["ended_with"]["attainment"] is None


async def test_a_breach_right_after_a_look_is_looked_at_though_the_pace_holds_it_up(
    watch: Watch, urls: Urls
) -> None:
    await watch.rule(watches={"kind": "breaches", "count": 1, "within": "PT1H"})
    assert await watch.look(NOW) == []
    await watch.breach(NOW + TICK)
    assert await watch.look(NOW + timedelta(seconds=1)) == []  # too soon; it left itself a mark
    rows = await watch.rows("destination, available_at from outbox o")
    marked = [row["available_at"] for row in rows if row["destination"] == DESTINATION]
    assert min(marked) <= NOW + MINUTE
    relay = Database(urls.relay, pool_size=2)
    try:
        async with relay.transaction(None) as work:
            await work.execute(
                "update outbox set available_at = now() where destination = 'alerts'"
                " and tenant_id = :t",
                {"t": watch.tenant},
            )
        heard = AlertDestination(watch.database, watch.desks, now=lambda: NOW + MINUTE)
        while await Relay(relay, heard).drain():
            pass
    finally:
        await relay.close()
    assert await watch.told() == ["sla_alert"]


async def test_a_mark_for_a_rule_that_is_gone_is_heard_and_says_nothing(
    watch: Watch, urls: Urls
) -> None:
    row = await watch.rule()
    await watch.breach(NOW)
    await watch.breach(NOW)
    async with watch.database.transaction(watch.tenant) as work:
        await alerts.delete(work, row["id"], now=NOW)
    relay = Database(urls.relay, pool_size=2)
    try:
        async with relay.transaction(None) as work:
            await work.execute(
                "update outbox set available_at = now() where destination = 'alerts'"
                " and tenant_id = :t",
                {"t": watch.tenant},
            )
        heard = AlertDestination(watch.database, Desks(), now=lambda: NOW + MINUTE)
        while await Relay(relay, heard).drain():
            pass
    finally:
        await relay.close()
    assert await watch.told() == []
    rows = await watch.rows("destination from outbox o")
    assert [row for row in rows if row["destination"] == DESTINATION] == []


async def test_the_same_call_queued_twice_is_one_delivery(watch: Watch) -> None:
    async with watch.database.transaction(watch.tenant) as work:
        hook = await webhooks.create(
            work, name="Pager", url="https://pager.example.com/x", events=[],
            allow_private=False, now=NOW,
        )  # fmt: skip
    await watch.rule(
        recipients={"webhook_id": str(hook["id"])}, remind_after="PT1H",
        watches={"kind": "breaches", "count": 1, "within": "P1D"},
    )  # fmt: skip
    await watch.breach(NOW)
    for minutes in (1, 62, 62, 123, 124):
        await asyncio.gather(*(watch.look(NOW + minutes * MINUTE) for _ in range(3)))
    calls = await watch.rows("payload, key from deliveries")
    assert sorted(one["payload"]["body"]["type"] for one in calls) == [
        "sla_alert.again", "sla_alert.again", "sla_alert.fired",
    ]  # fmt: skip
    assert len({one["payload"]["id"] for one in calls}) == len({one["key"] for one in calls}) == 3
