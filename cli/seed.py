"""A desk that looks lived in: people, promises, customers, and tickets in every state.

Everything goes through the services, as if it had happened then, in one transaction: a start that
was broken off leaves nothing behind.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cli import logins
from cli.accounts import new_password
from cli.logins import Login
from cli.place import database
from cli.stories import (
    CUSTOMERS,
    ORGANIZATIONS,
    PEOPLE,
    STORIES,
    TEAMS,
    TOPIC_TEAMS,
    Story,
    Turn,
)
from domain.calendars import Calendar, due_at
from domain.desk import DeskSettings
from domain.learning import TriageField
from domain.permissions import GRANTS, Principal, Role
from domain.sla import Metric
from domain.states import ActorKind, Priority
from domain.tickets import (
    KEEP,
    Actor,
    AgentReplied,
    Changed,
    CustomerReplied,
    Event,
    NewMessage,
    NoteAdded,
    Payload,
    ReminderSet,
    Snoozed,
    Ticket,
)
from models.base import new_id
from models.session import Work
from services import audit, configuration, customers, learning, merging, people
from services.auth import hash_password
from services.desks import Desks
from services.tenants import NewTenant, change_tenant, create_tenant, find_tenant
from services.tickets import Requester, Step, TicketRequest, Tickets, clock
from services.tokens import RateClass
from settings import Settings
from stack.home import Home

SLUG = "demo"
NAME = "Harbour Supplies"
DOMAIN = "harbour.example"

_HOURS = [["09:00", "12:30"], ["13:15", "17:00"]]
CALENDAR = Calendar.model_validate(
    {
        "timezone": "Europe/Berlin",
        "weekly": dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), _HOURS),
    }
)
# Open hours; seven and a quarter are a day.
TARGETS = {
    Metric.FIRST_REPLY: {
        Priority.URGENT: 1, Priority.HIGH: 3, Priority.NORMAL: 7.25, Priority.LOW: 14.5,
    },
    Metric.RESOLUTION: {
        Priority.URGENT: 7.25, Priority.HIGH: 14.5, Priority.NORMAL: 36.25, Priority.LOW: 72.5,
    },
}  # fmt: skip
# An action at a distance from a deadline, in open time: warn before, push at it, tell after it.
STEPS = (
    ("reply-soon", Metric.FIRST_REPLY, -0.5, {"kind": "notify", "to": ["assignee", "team"]}),
    ("reply-late", Metric.FIRST_REPLY, 0.0, {"kind": "raise_priority"}),
    ("reply-very-late", Metric.FIRST_REPLY, 1.0, {"kind": "notify", "to": ["supervisors"]}),
    ("solve-soon", Metric.RESOLUTION, -2.0, {"kind": "notify", "to": ["assignee"]}),
    ("solve-late", Metric.RESOLUTION, 0.0, {"kind": "add_tag", "tag": "overdue"}),
    ("solve-very-late", Metric.RESOLUTION, 2.0, {"kind": "notify", "to": ["supervisors"]}),
)


# A desk to look at has no past to prove a model on: here what ships is believed, so that a newcomer
# sees topics and moods filled in. Any other desk's models earn it first.
DONE_UNPROVEN: Final[tuple[TriageField, ...]] = ("topic", "sentiment")
UNPROVEN: Final = (
    "topic and sentiment are filled in here without proof (apply: always);"
    " elsewhere a model earns that first"
)


@dataclass(frozen=True, slots=True)
class Furnished:
    """A tenant with people and promises, and no ticket yet."""

    people: dict[str, uuid.UUID]
    teams: dict[str, uuid.UUID]


async def seed(home: Home, settings: Settings, progress: Callable[[str, str], None]) -> bool:
    """The demo tenant exists afterwards; whether it was made now."""
    async with database(settings) as opened:
        if await find_tenant(opened, SLUG) is not None:
            return False
        progress("demo", f"making the tenant {SLUG} with {len(STORIES) + 1} tickets")
        passwords = {one.key: new_password() for one in PEOPLE}
        tenant_id, now = new_id(), clock()
        async with opened.transaction(tenant_id) as work:
            made = await furnish(
                work, slug=SLUG, name=NAME, passwords=passwords, now=now - timedelta(days=60)
            )
            await _tell(work, made, now=now)
            # Before the commit: a password that nobody wrote down would be lost.
            logins.write(
                home,
                [Login(SLUG, address(one.key), passwords[one.key], one.role) for one in PEOPLE],
            )
    progress("demo", f"made; {UNPROVEN}")
    return True


def address(key: str) -> str:
    return f"{key}@{DOMAIN}"


async def furnish(
    work: Work,
    *,
    slug: str,
    name: str,
    passwords: dict[str, str],
    now: datetime,
    rate_class: RateClass = "standard",
) -> Furnished:
    """A new tenant with everybody in their teams, opening hours, promises and organizations.

    `work` is that of the tenant to be made. Who has no password cannot sign in.
    """
    await create_tenant(
        work, NewTenant(slug, name, rate_class=rate_class), tenant_id=work.tenant_id, now=now
    )
    known: dict[str, uuid.UUID] = {}
    for one in PEOPLE:
        password = passwords.get(one.key)
        known[one.key] = await people.create_user(
            work,
            email=address(one.key),
            name=one.name,
            role=one.role,
            password_hash=await hash_password(password) if password else None,
            now=now,
        )
    teams = {
        team: await people.create_team(work, name=team, routing=routing, now=now)
        for team, routing in TEAMS.items()
    }
    for one in PEOPLE:
        for team in one.teams:
            await people.put_member(work, teams[team], known[one.key], lead=one.lead)
    calendar = await configuration.create_calendar(work, name="Office", body=CALENDAR, now=now)
    await configuration.create_policy(work, name="Standard", terms=_terms(calendar["id"]), now=now)
    for organization, domain in ORGANIZATIONS.items():
        await customers.create_organization(work, name=organization, domains=[domain], now=now)
    settings = DeskSettings(
        default_team_id=teams["Support"],
        topic_teams={topic.value: teams[team] for topic, team in TOPIC_TEAMS.items()},
    )
    await change_tenant(
        work,
        name=None,
        settings=settings.model_dump(mode="json", include={"default_team_id", "topic_teams"}),
        caller=None,
        origin=None,
        now=now,
    )
    for question in DONE_UNPROVEN:
        _, changes = await learning.set_field(work, question, {"apply": "always"}, now=now)
        await audit.record(
            work, caller=None, origin=None, action="triage_field.changed",
            target_kind="triage_field", target_id=question, data={"changes": changes}, now=now,
        )  # fmt: skip
    return Furnished(known, teams)


def _terms(calendar_id: uuid.UUID) -> dict[str, object]:
    return {
        "calendar_id": calendar_id,
        "targets": {
            metric: {priority: timedelta(hours=hours) for priority, hours in targets.items()}
            for metric, targets in TARGETS.items()
        },
        "steps": [
            {"id": name, "metric": metric, "offset": timedelta(hours=offset), "action": action}
            for name, metric, offset, action in STEPS
        ],
    }


# Tickets.


async def _tell(work: Work, made: Furnished, *, now: datetime) -> None:
    """Every story, oldest first; then one that somebody sent twice."""
    tickets = Tickets(Desks())
    numbers: dict[str, int] = {}
    for story in sorted(STORIES, key=lambda one: one.age, reverse=True):
        numbers[story.subject] = await _live(work, tickets, made, story, now=now)
    twice = next(one for one in STORIES if one.subject == "Where is my parcel?")
    again = await _created(
        work, tickets, made, twice, "Parcel 40417??", "Did you get my message?", at=now
    )
    await merging.merge(
        tickets,
        work,
        source=again.number,
        target=numbers[twice.subject],
        key="demo/merge",
        caller=Principal(
            tenant_id=work.tenant_id,
            tenant_slug=SLUG,
            kind="user",
            id=made.people["samuel"],
            role=Role.SUPERVISOR,
            grants=GRANTS[Role.SUPERVISOR],
            auth_method="demo",
        ),
    )


async def _live(
    work: Work, tickets: Tickets, made: Furnished, story: Story, *, now: datetime
) -> int:
    """One story from its first message to where it stands now; the ticket's number."""
    at = now - story.age
    ticket = await _created(work, tickets, made, story, story.subject, story.text, at=at)
    events: list[tuple[timedelta, str, Payload]] = []
    if story.team is not None:
        change = Changed(
            team_id=made.teams[story.team],
            assignee_id=made.people[story.agent] if story.agent else KEEP,
            priority=story.priority or KEEP,
            add_tags=story.tags,
        )
        events.append((timedelta(minutes=12), story.agent or "samuel", change))
    events += [
        (turn.after, turn.by, _payload(turn, story, ticket, now=now)) for turn in story.turns
    ]
    for place, (after, by, payload) in enumerate(events):
        left = len(events) - place
        # People answer while the office is open, and whatever happened is past.
        at = max(at, min(due_at(at, after, CALENDAR), now - timedelta(minutes=left)))
        actor = (
            Actor(ActorKind.USER, made.people[by])
            if by
            else Actor(ActorKind.CUSTOMER, ticket.requester_id)
        )
        event = Event(key=f"demo/{ticket.number}/{place}", actor=actor, payload=payload)
        [outcome] = await tickets.handle(work, Step(ticket.number, event), now=at)
        at = outcome.ticket.updated_at
    return ticket.number


async def _created(
    work: Work,
    tickets: Tickets,
    made: Furnished,
    story: Story,
    subject: str,
    text: str,
    *,
    at: datetime,
) -> Ticket:
    name, mail = CUSTOMERS[story.customer]
    outcome = await tickets.create(
        work,
        TicketRequest(
            key=f"demo/{subject}",
            subject=subject,
            message=NewMessage(new_id(), text),
            channel=story.channel,
            requester=Requester("email", mail, name),
            language=story.language,
            cause={"demo": True},
        ),
        now=at,
    )
    return outcome.ticket


def _payload(turn: Turn, story: Story, ticket: Ticket, *, now: datetime) -> Payload:
    message = NewMessage(new_id(), turn.text)
    match turn.kind:
        case "reply" if turn.by:
            return AgentReplied(message, status=turn.status)
        case "reply":
            return CustomerReplied(message, ticket.requester_id, story.channel)
        case "note":
            return NoteAdded(message)
        case "change":
            assert turn.status is not None
            return Changed(status=turn.status)
        case "snooze":
            assert turn.lasts is not None
            return Snoozed(now + turn.lasts, wake_on_reply=True)
        case "remind":
            assert turn.lasts is not None
            return ReminderSet(now + turn.lasts, turn.text)


__all__ = ["NAME", "SLUG", "Furnished", "address", "furnish", "seed"]
