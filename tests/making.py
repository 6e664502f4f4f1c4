"""What tests make before they begin: people, promises, tickets."""

import uuid
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert

from domain.calendars import Calendar
from domain.sla import Metric, Policy, Step
from domain.states import ActorKind, Channel, Priority
from domain.tickets import Actor, Event, NewMessage, Payload, Ticket
from models import accounts, sla
from models.base import new_id
from models.session import Database, Work
from services import desks
from services.tickets import Requester, TicketRequest, Tickets
from services.tickets import Step as TicketStep

ALWAYS = Calendar.model_validate(
    {
        "timezone": "UTC",
        "weekly": {
            day: [["00:00", "24:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
        },
    }
)


async def make_agent(
    work: Work, name: str = "Ada", *, role: str = "agent", teams: tuple[uuid.UUID, ...] = ()
) -> uuid.UUID:
    """An agent of the work's tenant, in those teams."""
    agent_id, now = new_id(), datetime.now(UTC)
    handle = f"{name.lower()}-{agent_id.hex[-6:]}"
    await work.execute(
        insert(accounts.User).values(
            tenant_id=work.tenant_id,
            id=agent_id,
            email=f"{handle}@example.org",
            name=name,
            handle=handle,
            role=role,
            created_at=now,
            updated_at=now,
        )
    )
    for team_id in teams:
        await work.execute(
            insert(accounts.TeamMember).values(
                tenant_id=work.tenant_id, team_id=team_id, user_id=agent_id
            )
        )
    await desks.changed(work)
    return agent_id


async def make_team(work: Work, name: str = "Support", *, routing: str = "manual") -> uuid.UUID:
    team_id = new_id()
    await work.execute(
        insert(accounts.Team).values(
            tenant_id=work.tenant_id,
            id=team_id,
            name=f"{name} {team_id.hex[-4:]}",
            routing=routing,
            created_at=datetime.now(UTC),
        )
    )
    await desks.changed(work)
    return team_id


async def make_policy(
    work: Work,
    *,
    first_reply: timedelta | None = timedelta(hours=1),
    resolution: timedelta | None = timedelta(hours=8),
    steps: tuple[Step, ...] = (),
    calendar: Calendar = ALWAYS,
) -> Policy:
    """The promise in force for the tenant from now on, the same for every priority."""
    now = datetime.now(UTC)
    calendar_id, policy_id = new_id(), new_id()
    targets = {
        metric: dict.fromkeys(Priority, target)
        for metric, target in ((Metric.FIRST_REPLY, first_reply), (Metric.RESOLUTION, resolution))
        if target is not None
    }
    policy = Policy(
        id=policy_id,
        version=1,
        name="Promise",
        calendar_id=calendar_id,
        calendar_version=1,
        targets=targets,
        steps=steps,
    )
    common = {"tenant_id": work.tenant_id, "created_at": now}
    await work.execute(
        insert(sla.Calendar).values(id=calendar_id, name=str(calendar_id), version=1, **common)
    )
    await work.execute(
        insert(sla.CalendarVersion).values(
            calendar_id=calendar_id, version=1, body=calendar.model_dump(mode="json"), **common
        )
    )
    await work.execute(
        insert(sla.Policy).values(id=policy_id, name="Promise", position=1, version=1, **common)
    )
    await work.execute(
        insert(sla.PolicyVersion).values(
            policy_id=policy_id, version=1, body=policy.model_dump(mode="json"), **common
        )
    )
    await desks.changed(work)
    return policy


async def make_ticket(
    database: Database,
    tickets: Tickets,
    tenant: uuid.UUID,
    *,
    email: str = "kim@example.com",
    subject: str = "It does not work",
    text: str = "Please help.",
    key: str | None = None,
    now: datetime | None = None,
) -> Ticket:
    """A customer's ticket."""
    async with database.transaction(tenant) as work:
        outcome = await tickets.create(
            work,
            TicketRequest(
                key=key or str(uuid.uuid4()),
                subject=subject,
                message=NewMessage(new_id(), text),
                channel=Channel.EMAIL,
                requester=Requester("email", email, "Kim"),
            ),
            now=now,
        )
    return outcome.ticket


async def happens(
    database: Database,
    tickets: Tickets,
    tenant: uuid.UUID,
    number: int,
    payload: Payload,
    *,
    by: uuid.UUID | None = None,
    key: str | None = None,
    now: datetime | None = None,
) -> Ticket:
    """The ticket after something a person did to it; `by` is an agent, else it is the customer."""
    actor = Actor(ActorKind.USER, by) if by else Actor(ActorKind.CUSTOMER)
    async with database.transaction(tenant) as work:
        [outcome] = await tickets.handle(
            work,
            TicketStep(number, Event(key=key or str(uuid.uuid4()), actor=actor, payload=payload)),
            now=now,
        )
    return outcome.ticket


def words(text: str = "Words.") -> NewMessage:
    return NewMessage(new_id(), text)
