"""Escalated and handed back by several at once, while steps fire, and where teams have gone."""

import asyncio
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.resources import Resources
from domain.permissions import Role
from domain.sla import Metric, Notify, Reassign, Step
from domain.tickets import SYSTEM, Changed, Event, TimeAdvanced
from models.session import Database, Row
from services import desks, people
from services.tickets import Step as TicketStep
from tests import making
from tests.api.conftest import House

pytestmark = pytest.mark.slow  # many at once

API = "/api/v1/tickets"
HOUR = timedelta(hours=1)


class Ticket:
    """A ticket of the first line, whose agent has it; a second and a third line beside it."""

    def __init__(self, client: httpx.AsyncClient, house: House, database: Database) -> None:
        self.client, self.house, self.database = client, house, database
        self.number = 0
        self.second = self.third = uuid.UUID(int=0)

    async def ask(
        self,
        path: str,
        body: object = None,
        *,
        role: Role = Role.AGENT,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        return await self.client.post(
            f"{API}/{self.number}/{path}", json=body,
            headers={**self.house.headers[role], **(headers or {})},
        )  # fmt: skip

    async def escalate(
        self, team: uuid.UUID, role: Role = Role.AGENT, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        said = {"reason": f"Too hard for {role.value}.", "team_id": str(team)}
        return await self.ask("escalate", said, role=role, headers=headers)

    async def back(
        self, role: Role = Role.SUPERVISOR, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return await self.ask("hand-back", {"reason": "Done."}, role=role, headers=headers)

    async def rows(self, sql: str, **more: object) -> list[Row]:
        async with self.database.transaction(self.house.tenant_id) as work:
            return await work.rows(sql, {"t": self.house.tenant_id, "n": self.number, **more})

    async def events(self, kind: str) -> list[Row]:
        return await self.rows(
            "select e.* from events e join tickets t on t.tenant_id = e.tenant_id"
            " and t.id = e.ticket_id where t.tenant_id = :t and t.number = :n and e.type = :kind"
            " order by e.seq",
            kind=kind,
        )

    async def now(self) -> Row:
        [row] = await self.rows("select * from tickets where tenant_id = :t and number = :n")
        return row

    async def told(self, kind: str) -> set[uuid.UUID]:
        rows = await self.rows(
            "select n.user_id from notifications n join tickets t on t.tenant_id = n.tenant_id"
            " and t.id = n.ticket_id where t.tenant_id = :t and t.number = :n and n.kind = :kind",
            kind=kind,
        )
        return {row["user_id"] for row in rows}


@pytest.fixture
async def ticket(
    client: httpx.AsyncClient, house: House, database: Database, resources: Resources
) -> Ticket:
    made = Ticket(client, house, database)
    async with database.transaction(house.tenant_id) as work:
        made.second = await making.make_team(work, "Second")
        made.third = await making.make_team(work, "Third")
        for team in (made.second, made.third):  # or the agent would lose sight of it on the way
            await people.put_member(work, team, house.users[Role.AGENT], lead=False)
    found = await making.make_ticket(database, resources.tickets, house.tenant_id)
    made.number = found.number
    agent = house.users[Role.AGENT]
    await making.happens(
        database, resources.tickets, house.tenant_id, made.number,
        Changed(team_id=house.team_id, assignee_id=agent), by=agent,
    )  # fmt: skip
    return made


async def test_two_who_escalate_at_once_both_count_and_both_hear_of_the_end(
    ticket: Ticket, house: House
) -> None:
    answers = await asyncio.gather(
        ticket.escalate(ticket.second, Role.AGENT),
        ticket.escalate(ticket.third, Role.ADMIN),
        ticket.escalate(ticket.second, Role.SUPERVISOR),
    )
    assert [a.status_code for a in answers] == [200, 200, 200]
    assert sorted(a.json()["escalation"]["level"] for a in answers) == [1, 2, 3]
    events = await ticket.events("escalated")
    assert [e["data"]["level"] for e in events] == [1, 2, 3]
    last = await ticket.now()
    assert str(last["team_id"]) == last["escalation"]["team_id"]
    back = await ticket.back(Role.SUPERVISOR)
    assert back.status_code == 200, back.text
    row = await ticket.now()
    assert (row["team_id"], row["assignee_id"]) == (house.team_id, house.users[Role.AGENT])
    # Everybody who asked, but whoever handed it back.
    assert await ticket.told("handed_back") == {house.users[Role.AGENT], house.users[Role.ADMIN]}
    # A later escalation begins anew: who asked before it is not told again.
    assert (await ticket.escalate(ticket.third, Role.ADMIN)).json()["escalation"]["level"] == 1
    assert "asked_by" not in (await ticket.now())["escalation"]


async def test_of_two_upon_one_version_the_second_is_told_what_the_first_did(
    ticket: Ticket,
) -> None:
    tag = f'"{(await ticket.now())["seq"]}"'
    answers = await asyncio.gather(
        *(
            ticket.escalate(team, role, {"If-Match": tag})
            for team, role in ((ticket.second, Role.SUPERVISOR), (ticket.third, Role.ADMIN))
        )
    )
    assert sorted(a.status_code for a in answers) == [200, 409]
    [refused] = [a.json() for a in answers if a.status_code == 409]
    assert refused["code"] == "changed_meanwhile"
    assert "/escalation" in {one["pointer"] for one in refused["errors"]}
    assert len(await ticket.events("escalated")) == 1


async def test_one_key_escalates_once_however_often_and_from_however_many_at_once(
    ticket: Ticket,
) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    answers = await asyncio.gather(*(ticket.escalate(ticket.second, headers=key) for _ in range(4)))
    assert {a.status_code for a in answers} <= {200, 409}
    again = await ticket.escalate(ticket.second, headers=key)
    assert (again.status_code, again.json()["escalation"]["level"]) == (200, 1)
    assert len(await ticket.events("escalated")) == 1
    other = await ticket.ask("escalate", {"reason": "x", "team_id": str(ticket.third)}, headers=key)
    assert other.status_code == 422
    back = {"Idempotency-Key": str(uuid.uuid4())}
    ended = [await ticket.back(headers=back) for _ in range(2)]
    assert [a.status_code for a in ended] == [200, 200]
    assert len(await ticket.events("handed_back")) == 1
    assert (await ticket.back()).status_code == 409  # another wish, and nothing is escalated


async def test_who_hands_back_at_once_does_so_once(ticket: Ticket, house: House) -> None:
    await ticket.escalate(ticket.second)
    answers = await asyncio.gather(*(ticket.back(role) for role in (Role.SUPERVISOR, Role.ADMIN)))
    assert sorted(a.status_code for a in answers) == [200, 409]
    assert len(await ticket.events("handed_back")) == 1
    assert (await ticket.now())["team_id"] == house.team_id


async def test_escalating_and_handing_back_at_once_leaves_it_one_of_both(
    ticket: Ticket, house: House
) -> None:
    for _ in range(4):
        await ticket.escalate(ticket.second)
        answers = await asyncio.gather(ticket.back(), ticket.escalate(ticket.third, Role.ADMIN))
        assert {a.status_code for a in answers} == {200}
        row = await ticket.now()
        if row["escalation"] is None:
            assert (row["team_id"], row["assignee_id"]) == (house.team_id, house.users[Role.AGENT])
        else:
            assert row["team_id"] == ticket.third
            assert row["escalation"]["level"] == 1
            assert (await ticket.back()).status_code == 200
        row = await ticket.now()
        assert (row["team_id"], row["assignee_id"]) == (house.team_id, house.users[Role.AGENT])


async def test_it_goes_back_to_who_had_it_when_it_is_handed_back_not_when_somebody_looked(
    ticket: Ticket, house: House, database: Database
) -> None:
    """While one waits to hand back, it is handed back, given away and escalated again."""
    await ticket.escalate(ticket.second)
    tenant = house.tenant_id
    late: asyncio.Task[httpx.Response] | None = None
    async with database.transaction(tenant) as work:
        [row] = await work.rows(
            "select id from tickets where tenant_id = :t and number = :n for update",
            {"t": tenant, "n": ticket.number},
        )
        late = asyncio.create_task(ticket.back(Role.ADMIN))
        # Until it waits for the lock that this holds.
        for _ in range(500):
            waits = await work.rows("select 1 from pg_locks where not granted", {})
            if waits:
                break
            await asyncio.sleep(0.01)
        assert waits
        await work.execute(
            "insert into events (tenant_id, ticket_id, seq, key, type, actor_kind, changes, data,"
            " cause, occurred_at, recorded_at) select tenant_id, id, seq + n, 'k' || n,"
            " case n when 1 then 'handed_back' else 'escalated' end, 'user',"
            " case n when 1 then '{}'::jsonb else jsonb_build_object('team_id',"
            "  jsonb_build_array(cast(:third as text), cast(:second as text)),"
            "  'assignee_id', '[null, null]'::jsonb) end,"
            " '{}', '{}', now(), now() from tickets, generate_series(1, 2) n"
            " where tenant_id = :t and id = :id",
            {"t": tenant, "id": row["id"], "third": str(ticket.third),
             "second": str(ticket.second)},
        )  # fmt: skip
        await work.execute(
            "update tickets set seq = seq + 2 where tenant_id = :t and id = :id",
            {"t": tenant, "id": row["id"]},
        )
    answer = await late
    assert answer.status_code == 200, answer.text
    assert (await ticket.now())["team_id"] == ticket.third


@pytest.mark.parametrize("gone", ["team", "agent", "both", "left the team"])
async def test_handed_back_to_what_has_gone_it_is_with_what_is_left_and_says_so(
    ticket: Ticket, house: House, database: Database, gone: str
) -> None:
    await ticket.escalate(ticket.second)
    agent = house.users[Role.AGENT]
    async with database.transaction(house.tenant_id) as work:
        if gone in ("team", "both"):
            await work.execute("update teams set active = false where id = :i",
                               {"i": house.team_id})  # fmt: skip
        if gone in ("agent", "both"):
            await work.execute("update users set active = false where id = :i", {"i": agent})
        if gone == "left the team":
            await work.execute("delete from team_members where user_id = :i", {"i": agent})
        await desks.changed(work)
    back = await ticket.back(Role.ADMIN)
    assert back.status_code == 200, back.text
    row = await ticket.now()
    wanted = {
        "team": (None, agent), "agent": (house.team_id, None), "both": (None, None),
        "left the team": (house.team_id, None),
    }  # fmt: skip
    assert (row["team_id"], row["assignee_id"]) == wanted[gone]
    assert row["escalation"] is None
    [event] = await ticket.events("handed_back")
    assert event["data"]["refused"]
    # Nobody chose nobody: whoever finds tickets for people may find this one.
    assert ("assignee_id" in (row["decided"] or ())) is (gone == "team")
    assert ("team_id" in (row["decided"] or ())) is (gone != "both")


async def test_what_is_merged_or_closed_is_not_escalated(
    ticket: Ticket, house: House, database: Database, resources: Resources
) -> None:
    into = await making.make_ticket(database, resources.tickets, house.tenant_id)
    await ticket.escalate(ticket.second)
    merged = await ticket.ask("merge", {"into": into.number}, role=Role.ADMIN)
    assert merged.status_code == 200, merged.text
    for answer in (await ticket.escalate(ticket.third, Role.ADMIN), await ticket.back()):
        assert (answer.status_code, answer.json()["code"]) == (409, "ticket_merged")
    ticket.number = into.number
    agent = house.users[Role.AGENT]
    await making.happens(
        database, resources.tickets, house.tenant_id, into.number,
        Changed(status="closed", assignee_id=agent, team_id=house.team_id), by=agent,
    )  # fmt: skip
    for answer in (await ticket.escalate(ticket.second, Role.ADMIN), await ticket.back()):
        assert (answer.status_code, answer.json()["code"]) == (409, "ticket_closed")
    assert await ticket.events("escalated") == []


async def test_a_step_that_fires_while_it_is_handed_back_comes_once_and_both_are_kept(
    ticket: Ticket, house: House, database: Database, resources: Resources
) -> None:
    tenant = house.tenant_id
    steps = (
        Step(id="wake", metric=Metric.RESOLUTION, offset=HOUR, action=Notify(to=("admins",))),
        Step(id="move", metric=Metric.RESOLUTION, offset=2 * HOUR,
             action=Reassign(team_id=ticket.third)),
    )  # fmt: skip
    async with database.transaction(tenant) as work:
        await making.make_policy(work, first_reply=None, resolution=HOUR, steps=steps)
    old = await making.make_ticket(
        database, resources.tickets, tenant, now=datetime.now(UTC) - 4 * HOUR
    )
    ticket.number = old.number
    agent = house.users[Role.AGENT]
    await making.happens(
        database, resources.tickets, tenant, old.number, Changed(team_id=house.team_id), by=agent,
        now=old.created_at,
    )  # fmt: skip

    async def fires() -> None:
        event = Event(key=str(uuid.uuid4()), actor=SYSTEM, payload=TimeAdvanced(), cause={"a": 1})
        async with database.transaction(tenant) as work:
            await resources.tickets.handle(work, TicketStep(old.number, event))

    answers = await asyncio.gather(
        fires(), ticket.escalate(ticket.second, Role.ADMIN), fires(), ticket.back(), fires()
    )
    assert answers[1].status_code == 200
    assert answers[3].status_code in (200, 409)  # before it was escalated there is nothing to end
    assert [e["data"]["step"] for e in await ticket.events("sla_step")] == ["wake", "move"]
    if answers[3].status_code == 409:
        assert (await ticket.now())["team_id"] == ticket.second
        assert (await ticket.back()).status_code == 200
    # The step that was due moved it before anybody escalated: there it goes back to.
    assert (await ticket.now())["team_id"] == ticket.third
