"""A desk whose teams share their agents, worked on by several processes at once."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

from domain import routing
from domain.permissions import Principal, Role, grants_of
from domain.sla import Subject
from domain.staffing import Absence, Presence
from domain.states import Channel
from domain.tickets import (
    NewMessage,
    Ticket,
)
from domain.tickets.standing import subject_of
from models import ledger
from models.base import new_id
from models.session import Database, Row, Work
from services import people, staffing
from services.desks import Desks
from services.queues import QueueDestination
from services.routing import roster_of, to_roster
from services.tickets import Origin, Outcome, Requester, TicketRequest, Tickets
from tests.conftest import MakeTenant
from tests.making import happens, make_agent, make_team


class Storm:
    """A tenant with several teams that share their agents, as several processes see it."""

    def __init__(self, database: Database, tenant: uuid.UUID) -> None:
        self.database = database
        self.tenant = tenant
        self.processes = [Tickets(Desks()) for _ in range(3)]
        self.desks = [Desks() for _ in range(2)]
        self.queues = [QueueDestination(database, Tickets(d), d) for d in self.desks]
        self.teams: list[uuid.UUID] = []
        self.agents: list[uuid.UUID] = []
        self.admin = Principal(
            tenant_id=tenant, tenant_slug="t", kind="user", id=None, role=Role.ADMIN,
            grants=grants_of(Role.ADMIN),
        )  # fmt: skip

    async def team(self, strategy: str) -> uuid.UUID:
        async with self.database.transaction(self.tenant) as work:
            team = await make_team(work, f"Team{len(self.teams)}", routing=strategy)
        self.teams.append(team)
        return team

    async def agent(
        self, *teams: uuid.UUID, capacity: int | None = None, skills: dict[str, int] | None = None
    ) -> uuid.UUID:
        async with self.database.transaction(self.tenant) as work:
            agent = await make_agent(work, f"Agent{len(self.agents)}", teams=teams)
            await staffing.set_capacity(
                work, agent, capacity, None, caller=self.admin, origin=None, now=datetime.now(UTC)
            )
            if skills:
                await staffing.set_skills(
                    work, agent, skills, caller=self.admin, origin=None, now=datetime.now(UTC)
                )
        self.agents.append(agent)
        return agent

    async def takes(
        self, agent: uuid.UUID, capacity: int | None, calendar: uuid.UUID | None = None
    ) -> None:
        async with self.database.transaction(self.tenant) as work:
            await staffing.set_capacity(
                work, agent, capacity, calendar, caller=self.admin, origin=None,
                now=datetime.now(UTC),
            )  # fmt: skip

    async def is_there(
        self, agent: uuid.UUID, state: Presence, absence: Absence | None = None
    ) -> None:
        async with self.database.transaction(self.tenant) as work:
            await staffing.set_availability(
                work, agent, staffing.Availability(presence=state, absence=absence),
                caller=self.admin, origin=Origin(request_id="r"), now=datetime.now(UTC),
            )  # fmt: skip

    async def create(self, work: Work, process: int = 0, **wishes: object) -> Outcome:
        return await self.processes[process].create(
            work,
            TicketRequest(
                key=str(uuid.uuid4()),
                subject="It is broken",
                message=NewMessage(new_id(), "Please help."),
                channel=Channel.EMAIL,
                requester=Requester("email", "kim@example.com", "Kim"),
                **wishes,  # type: ignore[arg-type]
            ),
        )

    async def comes_in(self, process: int = 0, **wishes: object) -> Ticket:
        async with self.database.transaction(self.tenant) as work:
            outcome = await self.create(work, process, **wishes)
        return outcome.ticket

    async def happens(
        self, ticket: Ticket, payload: object, *, by: uuid.UUID | None = None, process: int = 0
    ) -> Ticket:
        return await happens(
            self.database, self.processes[process], self.tenant, ticket.number, payload, by=by  # type: ignore[arg-type]
        )  # fmt: skip

    async def lets_go(self, leaver: uuid.UUID, team: uuid.UUID | None = None) -> None:
        await people.release(
            self.database, self.processes[2], tenant_id=self.tenant, user_id=leaver, team_id=team
        )

    async def drain(self) -> int:
        """All queues, as two relays at once would, until nothing moves."""
        given = 0
        while True:
            some = sum(
                await asyncio.gather(
                    *(q.drain(self.tenant, t, because="storm") for q in self.queues
                      for t in self.teams)
                )
            )  # fmt: skip
            given += some
            if not some:
                return given

    async def rows(self, sql: str, **values: object) -> Sequence[Row]:
        async with self.database.transaction(self.tenant) as work:
            return await work.rows(sql, {"t": self.tenant, **values})

    async def loads(self) -> Counter[uuid.UUID | None]:
        rows = await self.rows(
            "select assignee_id, count(*) as n from tickets where tenant_id = :t"
            " and category in ('new', 'open') and snoozed is null group by 1"
        )
        return Counter({row["assignee_id"]: row["n"] for row in rows})

    async def told(self) -> list[str]:
        return [
            row["kind"]
            for row in await self.rows(
                "select kind from outbox where tenant_id = :t and destination = 'routing'"
                " order by id"
            )
        ]

    async def stuck(self) -> list[str]:
        """Tickets that wait although somebody of their team could take them."""
        found: list[str] = []
        now = datetime.now(UTC)
        async with self.database.transaction(self.tenant) as work:
            desk = await self.desks[0].current(work)
            for row in await work.rows(
                "select * from tickets where tenant_id = :t and assignee_id is null",
                {"t": self.tenant},
            ):
                ticket = ledger.to_ticket(row)
                if not routing.is_queued(desk, ticket, now=now):
                    continue
                [standing] = await work.batch(roster_of([row["team_id"]], moving=False))
                way = routing.route(
                    desk, routing_subject(ticket), number=ticket.number, team_id=ticket.team_id,
                    roster=to_roster(standing), now=now,
                )  # fmt: skip
                if way is not None and way.assignee_id is not None:
                    found.append(f"ticket {ticket.number} waits, and {way.reason}")
        return found

    async def overgiven(self, capacities: dict[uuid.UUID, int]) -> list[str]:
        """What routing gave to somebody who, by what it wrote itself, was full; and by the rows."""
        found = [
            f"{agent} has {n} of {capacities[agent]}"
            for agent, n in (await self.loads()).items()
            if agent in capacities and n > capacities[agent]
        ]
        for row in await self.rows(
            "select data, changes from events where tenant_id = :t and type = 'assigned'"
            " and cause ->> 'rule' = 'routing' and jsonb_exists(changes, 'assignee_id')"
        ):
            chosen = row["changes"]["assignee_id"][1]
            [best] = [
                c for c in row["data"]["routing"]["candidates"] if c["agent_id"] == str(chosen)
            ]
            if "why_not" in best or best["load"] >= best.get("capacity", 10**9):
                found.append(f"given to {best}: {row['data']['reason']}")
        return found


def routing_subject(ticket: Ticket) -> Subject:

    return subject_of(lambda name: getattr(ticket, name))


async def stormy(database: Database, make_tenant: MakeTenant, **settings: object) -> Storm:
    return Storm(database, await make_tenant(triage=False, **settings))
