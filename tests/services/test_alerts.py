"""Rules that watch promises, over real rows: told once, by what counted, and by the clock."""

import asyncio
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from domain.alerts import AlertRule, Telling
from domain.errors import Conflict
from domain.states import Priority
from domain.tickets import SYSTEM, AgentReplied, Changed, Event, Ticket, TimeAdvanced
from models.session import Database, Row
from services import alerting, alerts, webhooks
from services.alerting import AlertDestination, look
from services.desks import Desks
from services.relay import Relay
from services.tickets import Step, Tickets
from services.watching import DESTINATION
from tests.conftest import MakeTenant, Urls
from tests.making import happens, make_agent, make_policy, make_team, make_ticket, words

HOUR = timedelta(hours=1)
# Ahead of Postgres's clock for as long as any run of the tests: a mark for "later" stays later,
# and whoever drains the outbox by a clock that stands still comes to an end.
NOW = datetime.now(UTC) + timedelta(hours=12)


@dataclass
class Watch:
    """A tenant with a promise of an hour, an admin, and whatever rules are added."""

    database: Database
    tenant: uuid.UUID
    tickets: Tickets
    desks: Desks
    admin: uuid.UUID

    async def rule(self, name: str = "Many at once", **said: object) -> Row:
        rule = AlertRule.model_validate(
            {
                "watches": {"kind": "breaches", "count": 2, "within": "PT3H"},
                "recipients": {"roles": ["admin"]},
                **said,
            }
        )
        async with self.database.transaction(self.tenant) as work:
            return await alerts.create(
                work, name=name, rule=rule, active=True, by=self.admin, now=NOW
            )

    async def ticket(self, opened: datetime, **changes: object) -> Ticket:
        ticket = await make_ticket(self.database, self.tickets, self.tenant, now=opened)
        if changes:
            await happens(
                self.database, self.tickets, self.tenant, ticket.number,
                Changed(**changes), by=self.admin, now=opened,  # type: ignore[arg-type]
            )  # fmt: skip
        return ticket

    async def until(self, ticket: Ticket, at: datetime) -> None:
        """The ticket's timer comes."""
        event = Event(key=str(uuid.uuid4()), actor=SYSTEM, payload=TimeAdvanced(), cause={"a": 1})
        async with self.database.transaction(self.tenant) as work:
            await self.tickets.handle(work, Step(ticket.number, event), now=at)

    async def breach(self, at: datetime, **changes: object) -> Ticket:
        """A ticket whose first reply is missed at that time."""
        ticket = await self.ticket(at - HOUR, **changes)
        await self.until(ticket, at)
        return ticket

    async def answered(self, at: datetime, *, late: bool, **changes: object) -> Ticket:
        ticket = await self.ticket(at - (2 * HOUR if late else HOUR / 2), **changes)
        await happens(
            self.database, self.tickets, self.tenant, ticket.number, AgentReplied(words()),
            by=self.admin, now=at,
        )  # fmt: skip
        return ticket

    async def look(self, now: datetime) -> list[Telling]:
        async with self.database.transaction(self.tenant) as work:
            return await look(work, self.desks, now=now)

    async def rows(self, sql: str) -> list[Row]:
        async with self.database.transaction(self.tenant) as work:
            return await work.rows(
                f"select {sql} where tenant_id = :tenant", {"tenant": self.tenant}
            )

    async def told(self) -> list[str]:
        rows = await self.rows("kind from notifications")
        return sorted(row["kind"] for row in rows if row["kind"].startswith("sla_alert"))

    async def firings(self) -> list[Row]:
        async with self.database.transaction(self.tenant) as work:
            return await alerts.firings(work, alert_id=None, only_open=False, before=None, limit=50)


@pytest.fixture
async def watch(database: Database, tenant: uuid.UUID) -> Watch:
    desks = Desks()
    async with database.transaction(tenant) as work:
        admin = await make_agent(work, role="admin")
        await make_policy(work, resolution=None)
    return Watch(database, tenant, Tickets(desks), desks, admin)


async def test_it_fires_once_stays_silent_and_says_when_it_is_over(watch: Watch) -> None:
    await watch.rule()
    await watch.breach(NOW - HOUR)
    assert await watch.look(NOW) == []
    await watch.breach(NOW + timedelta(minutes=1))
    assert await watch.look(NOW + timedelta(minutes=2)) == [Telling.FIRED]
    for minutes in (10, 20, 110):
        assert await watch.look(NOW + timedelta(minutes=minutes)) == []
    # The older breach leaves the three hours.
    assert await watch.look(NOW + 2 * HOUR + timedelta(seconds=1)) == [Telling.OVER]
    assert await watch.look(NOW + 2 * HOUR + timedelta(minutes=2)) == []
    assert await watch.told() == ["sla_alert", "sla_alert_over"]
    [firing] = await watch.firings()
    assert firing["figures"]["breaches"] == 2
    assert firing["ended_with"]["breaches"] == 1
    assert firing["told"] == 1
    notices = await watch.rows("data, ticket_id from notifications n")
    assert {notice["ticket_id"] for notice in notices} == {None}
    assert {notice["data"]["firing_id"] for notice in notices} == {str(firing["id"])}
    await watch.breach(NOW + 3 * HOUR)
    await watch.breach(NOW + 3 * HOUR)
    assert await watch.look(NOW + 3 * HOUR + timedelta(minutes=1)) == [Telling.FIRED]
    assert len(await watch.firings()) == 2


async def test_while_it_stays_bad_it_is_told_again_where_wanted(watch: Watch) -> None:
    await watch.rule(watches={"kind": "breaches", "count": 1, "within": "P1D"}, remind_after="PT2H")
    await watch.breach(NOW)
    told = [await watch.look(NOW + timedelta(minutes=m)) for m in (1, 60, 119, 122, 200, 243)]
    assert [one for many in told for one in many] == [
        Telling.FIRED, Telling.AGAIN, Telling.AGAIN
    ]  # fmt: skip
    [firing] = await watch.firings()
    assert firing["reminders"] == 2


async def test_attainment_counts_what_ended_in_its_window_and_nothing_else(watch: Watch) -> None:
    await watch.rule(
        watches={
            "kind": "attainment", "metric": "first_reply", "below": 75, "within": "PT2H",
            "at_least": 4,
        }
    )  # fmt: skip
    await watch.answered(NOW - 5 * HOUR, late=True)  # before the window
    await watch.answered(NOW - HOUR, late=True)
    await watch.answered(NOW - HOUR, late=False)
    await watch.answered(NOW - HOUR, late=False)
    await watch.ticket(NOW - 3 * HOUR)  # overdue, and not ended
    assert await watch.look(NOW) == []  # three have ended
    await watch.answered(NOW, late=False)
    assert await watch.look(NOW + timedelta(minutes=1)) == []  # 75 % is not below 75 %
    await watch.answered(NOW + timedelta(minutes=2), late=True)
    assert await watch.look(NOW + timedelta(minutes=3)) == [Telling.FIRED]
    [firing] = await watch.firings()
    assert (firing["figures"]["met"], firing["figures"]["missed"]) == (3, 2)
    assert firing["figures"]["attainment"] == 60
    # Too few are left to say anything: it is over, and says why.
    assert await watch.look(NOW + 2 * HOUR) == [Telling.OVER]
    [firing] = await watch.firings()
    assert "too few" in firing["ended_because"]


async def test_a_rule_sees_only_what_it_is_narrowed_to(watch: Watch) -> None:
    async with watch.database.transaction(watch.tenant) as work:
        team = await make_team(work)
    for name, filters in (
        ("priority", {"priorities": ["high"]}),
        ("team", {"teams": [str(team)]}),
        ("channel", {"channels": ["phone"]}),
        ("metric", {"watches": {"kind": "breaches", "count": 2, "metric": "resolution"}}),
        ("both", {"channels": ["email"], "priorities": ["high"], "teams": [str(team)]}),
    ):
        await watch.rule(name, **filters)
    await watch.breach(NOW, priority=Priority.HIGH)
    await watch.breach(NOW, team_id=team)
    await watch.breach(NOW, priority=Priority.HIGH)
    await watch.look(NOW + timedelta(minutes=1))
    assert {row["name"] for row in await watch.firings()} == {"priority"}
    await watch.breach(NOW + timedelta(minutes=1), team_id=team)
    await watch.look(NOW + timedelta(minutes=3))
    assert {row["name"] for row in await watch.firings()} == {"priority", "team"}


async def test_a_promise_broken_once_counts_once_though_its_ticket_is_reopened(
    database: Database, tenant: uuid.UUID
) -> None:
    desks = Desks()
    async with database.transaction(tenant) as work:
        admin = await make_agent(work, role="admin")
        await make_policy(work, first_reply=None, resolution=HOUR)
    watch = Watch(database, tenant, Tickets(desks), desks, admin)
    await watch.rule()
    ticket = await watch.breach(NOW - HOUR)
    for status, minutes in (("resolved", -30), ("open", -20), ("resolved", -10)):
        await happens(
            database, watch.tickets, tenant, ticket.number,
            Changed(assignee_id=admin, status=status), by=admin,
            now=NOW + timedelta(minutes=minutes),
        )  # fmt: skip
    cycles = await watch.rows("cycle, breached_at from clocks")
    assert len({row["cycle"] for row in cycles}) == 2
    assert len({row["breached_at"] for row in cycles}) == 1
    assert await watch.look(NOW) == []
    async with database.transaction(tenant) as work:
        [row] = await alerts.alerts(work)
    assert row["figures"]["breaches"] == 1


async def test_two_who_look_at_once_tell_once(watch: Watch) -> None:
    await watch.rule()
    await watch.breach(NOW)
    await watch.breach(NOW)
    at = NOW + timedelta(minutes=1)
    told = await asyncio.gather(*(watch.look(at) for _ in range(4)))
    assert sum(map(len, told)) == 1
    assert await watch.told() == ["sla_alert"]


async def test_whoever_dies_before_it_is_recorded_has_told_nobody(watch: Watch) -> None:
    class Killed(BaseException):
        pass

    async with watch.database.transaction(watch.tenant) as work:
        hook = await webhooks.create(
            work, name="Pager", url="https://pager.example.com/x", events=[],
            allow_private=False, now=NOW,
        )  # fmt: skip
    await watch.rule(recipients={"roles": ["admin"], "webhook_id": str(hook["id"])})
    await watch.breach(NOW)
    await watch.breach(NOW)
    at = NOW + timedelta(minutes=1)

    async def dies() -> None:
        async with watch.database.transaction(watch.tenant) as work:
            assert await look(work, watch.desks, now=at) == [Telling.FIRED]
            raise Killed

    with pytest.raises(Killed):
        await dies()
    assert await watch.told() == []
    assert await watch.rows("id from deliveries") == []
    assert await watch.look(at) == [Telling.FIRED]
    assert await watch.look(at) == []  # as the relay may, where it died after the commit
    assert await watch.told() == ["sla_alert"]
    [call] = await watch.rows("id, ticket_id, state, payload from deliveries")
    assert (call["ticket_id"], call["state"]) == (None, "queued")
    assert call["payload"]["body"]["type"] == "sla_alert.fired"
    assert call["payload"]["body"]["data"]["figures"]["breaches"] == 2
    waiting = await watch.rows("ticket_id from outbox o")
    assert call["id"] in {row["ticket_id"] for row in waiting}
    async with watch.database.transaction(watch.tenant) as work:
        with pytest.raises(Conflict, match="Many at once"):
            await webhooks.delete(work, hook["id"])


async def marks(watch: Watch) -> int:
    rows = await watch.rows("destination from outbox o")
    return sum(row["destination"] == DESTINATION for row in rows)


async def heard(urls: Urls) -> None:
    """All marks are gone."""
    relay_database = Database(urls.relay, pool_size=1)
    async with relay_database.transaction(None) as work:
        await work.execute("delete from outbox where destination = 'alerts'")
    await relay_database.close()


async def test_a_broken_or_kept_promise_marks_its_desk_and_nothing_else_does(
    watch: Watch, urls: Urls
) -> None:
    await watch.breach(NOW)
    assert await marks(watch) == 0  # nobody watches
    await watch.rule()
    await heard(urls)
    ticket = await watch.ticket(NOW)
    await happens(
        watch.database, watch.tickets, watch.tenant, ticket.number,
        Changed(subject="Another"), by=watch.admin, now=NOW,
    )  # fmt: skip
    assert await marks(watch) == 0
    await watch.answered(NOW, late=False)
    assert await marks(watch) == 1
    await watch.breach(NOW)
    await watch.answered(NOW, late=True)
    assert await marks(watch) == 1  # the one that waits does for them too


async def test_a_mark_is_heard_by_the_relay_and_the_clock_is_left_to_it(
    watch: Watch, urls: Urls
) -> None:
    await watch.rule()
    await watch.breach(NOW)
    await watch.breach(NOW)
    relay_database = Database(urls.relay, pool_size=2)
    try:
        async with relay_database.transaction(None) as work:
            await work.execute(
                "update outbox set available_at = now() where destination = 'alerts'"
                " and tenant_id = :tenant",
                {"tenant": watch.tenant},
            )
        destination = AlertDestination(
            watch.database, watch.desks, now=lambda: NOW + timedelta(minutes=1)
        )
        while await Relay(relay_database, destination).drain():
            pass
    finally:
        await relay_database.close()
    assert await watch.told() == ["sla_alert"]
    async with watch.database.transaction(watch.tenant) as work:
        [row] = await work.rows(
            "select available_at from outbox where destination = 'alerts' and tenant_id = :tenant",
            {"tenant": watch.tenant},
        )
    # In three hours the breaches leave the window.
    assert row["available_at"] == NOW + 3 * HOUR


async def test_a_desk_that_was_forgotten_is_found(watch: Watch, urls: Urls) -> None:
    await watch.rule()
    await heard(urls)
    relay_database = Database(urls.relay, pool_size=2)
    try:
        assert await alerting.sweep(relay_database) >= 1
        assert await marks(watch) == 1
        assert await alerting.sweep(relay_database) == 0
    finally:
        await relay_database.close()


async def test_another_tenants_breaches_are_none_of_ours(
    watch: Watch, make_tenant: MakeTenant
) -> None:
    await watch.rule()
    other = await make_tenant()
    desks = Desks()
    async with watch.database.transaction(other) as work:
        admin = await make_agent(work, role="admin")
        await make_policy(work, resolution=None)
    theirs = Watch(watch.database, other, Tickets(desks), desks, admin)
    for _ in range(3):
        await theirs.breach(NOW)
    assert await watch.look(NOW + timedelta(minutes=1)) == []
    assert await theirs.look(NOW + timedelta(minutes=1)) == []


async def test_other_terms_end_what_is_open_untold_and_other_recipients_do_not(
    watch: Watch,
) -> None:
    row = await watch.rule()
    await watch.breach(NOW)
    await watch.breach(NOW)
    assert await watch.look(NOW + timedelta(minutes=1)) == [Telling.FIRED]
    rule = AlertRule.model_validate(row["rule"])

    async def change(rule: AlertRule | None, active: bool | None = None) -> None:
        async with watch.database.transaction(watch.tenant) as work:
            await alerts.change(work, row["id"], name=None, rule=rule, active=active, now=NOW)

    await change(rule.model_copy(update={"remind_after": 100 * HOUR}))
    assert await watch.look(NOW + timedelta(minutes=2)) == []
    stricter = rule.watches.model_copy(update={"count": 1})
    await change(rule.model_copy(update={"watches": stricter}))
    assert await watch.look(NOW + timedelta(minutes=3)) == [Telling.FIRED]
    await change(None, active=False)
    assert await watch.look(NOW + timedelta(minutes=4)) == []
    ended = [firing["ended_because"] for firing in await watch.firings()]
    assert ended == ["switched off", "the rule was changed"]
    assert await watch.told() == ["sla_alert", "sla_alert"]
