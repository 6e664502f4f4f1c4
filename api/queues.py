"""Who takes tickets and which; who waits for somebody, and why."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import Field

from api.deps import Allowed, From, Served, Tx
from api.routing import Route
from api.shapes import Instant, Request, Shape, examples
from domain import routing
from domain.errors import Forbidden, Invalid
from domain.permissions import Permission, Principal, covers
from domain.staffing import Absence, Presence, Skills, Strategy
from domain.states import Priority, Scope
from models.session import Row
from services import people, queues, staffing
from services.routing import to_absence
from services.tickets import clock
from services.views import Views

router = APIRouter(prefix="/api/v1", tags=["routing"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.TICKETS_VIEW))]
PeopleViewer = Annotated[Principal, Depends(Allowed(Permission.PEOPLE_VIEW))]
Worker = Annotated[Principal, Depends(Allowed(Permission.TICKETS_REPLY))]
Manager = Annotated[Principal, Depends(Allowed(Permission.ROUTING_MANAGE))]
State = Literal["online", "away", "absent"]


class StandingOut(Shape):
    """Whether somebody takes tickets, how many at once, and which."""

    user_id: UUID
    name: str
    state: State
    since: datetime | None = Field(description="When the absence begins; null: at once.")
    until: datetime | None = Field(description="When it ends; null: until somebody says so.")
    replacement_id: UUID | None
    capacity: int | None = Field(description="Open tickets at once; null: any number.")
    open_tickets: int
    skills: Skills
    calendar_id: UUID | None = Field(description="Their working hours; null: always.")


class AvailabilityIn(Request):
    model_config = examples(
        {"state": "away"},
        {
            "state": "absent",
            "since": "2026-05-04T22:00:00Z",
            "until": "2026-05-18T06:00:00Z",
            "replacement_id": "0198c5c4-7e8f-7091-a2b3-b4c5d6e7f809",
        },
    )

    state: State
    since: Instant | None = None
    until: Instant | None = None
    replacement_id: UUID | None = Field(default=None, description="Who stands in meanwhile.")

    def said(self) -> staffing.Availability:
        if self.state == "absent":
            absence = Absence(self.since, self.until, self.replacement_id)
            return staffing.Availability(presence=Presence.ONLINE, absence=absence)
        beside = [n for n in ("since", "until", "replacement_id") if getattr(self, n) is not None]
        if beside:
            raise Invalid(
                "Only an absence has a time and a replacement.",
                fields={f"/{name}": "goes with absent" for name in beside},
            )
        return staffing.Availability(presence=Presence(self.state))


class SkillsIn(Request):
    model_config = examples({"skills": {"language:fr": 3, "topic:billing": 1}})

    skills: Skills = Field(description="All of them; the level is 1 to 10.")


class CapacityIn(Request):
    model_config = examples({"capacity": 8})

    capacity: Annotated[int, Field(ge=0, le=100_000)] | None
    calendar_id: UUID | None = None


class CandidateOut(Shape):
    agent_id: UUID
    name: str
    load: float | None = Field(description="Open tickets, weighed as the tenant weighs them.")
    capacity: int | None
    matched: int = Field(description="Levels of the skills that the ticket asks for.")
    why_not: str | None = Field(description="What speaks against them; null: nothing.")


class LastRouting(Shape):
    """The event that changed the ticket's team or agent last."""

    seq: int
    type: str
    occurred_at: datetime
    actor_kind: str
    actor_id: UUID | None
    rule: str | None
    reason: str | None
    candidates: list[Mapping[str, object]]


class RoutingOut(Shape):
    """How a ticket came to whoever has it, and whom it would find now."""

    number: int
    team_id: UUID | None
    strategy: Strategy | None
    assignee_id: UUID | None
    why: str
    queued: bool = Field(description="Waits, and is given out as soon as somebody is free.")
    position: int | None = Field(description="Among those of the team that nobody has.")
    needs: list[str]
    candidates: list[CandidateOut]
    would_go_to: UUID | None
    latest: LastRouting | None


class WaitingOut(Shape):
    number: int
    position: int
    subject: str
    priority: Priority | None
    next_due_at: datetime | None
    created_at: datetime
    why: str
    queued: bool


class QueueOut(Shape):
    """The team's tickets that nobody has, in the order in which they are given out."""

    team_id: UUID
    strategy: Strategy
    total: int
    items: list[WaitingOut]
    members: list[CandidateOut]
    next: str | None = Field(description="`cursor` of the page after this one.")


@router.put("/me/availability", summary="Take tickets, or not for now")
async def put_my_availability(
    body: AvailabilityIn, caller: Worker, work: Tx, origin: From
) -> StandingOut:
    """Queues of one's teams are gone through at once when one becomes available."""
    if caller.id is None or caller.kind != "user":
        raise Forbidden("Only people take tickets.")
    now = clock()
    await staffing.set_availability(
        work, caller.id, body.said(), caller=caller, origin=origin, now=now
    )
    return _standing(await staffing.standing(work, caller.id), now)


@router.get("/users/{user_id}/routing", summary="Whether somebody takes tickets, and which")
async def get_standing(user_id: UUID, caller: PeopleViewer, work: Tx) -> StandingOut:
    return _standing(await staffing.standing(work, user_id), clock())


@router.put("/users/{user_id}/availability", summary="Say whether somebody takes tickets")
async def put_availability(
    user_id: UUID, body: AvailabilityIn, caller: Manager, work: Tx, origin: From
) -> StandingOut:
    now = clock()
    await staffing.set_availability(
        work, user_id, body.said(), caller=caller, origin=origin, now=now
    )
    return _standing(await staffing.standing(work, user_id), now)


@router.put("/users/{user_id}/skills", summary="What somebody can do")
async def put_skills(
    user_id: UUID, body: SkillsIn, caller: Manager, work: Tx, origin: From
) -> StandingOut:
    now = clock()
    await staffing.set_skills(work, user_id, body.skills, caller=caller, origin=origin, now=now)
    return _standing(await staffing.standing(work, user_id), now)


@router.put("/users/{user_id}/capacity", summary="How many tickets somebody takes, and when")
async def put_capacity(
    user_id: UUID, body: CapacityIn, caller: Manager, work: Tx, origin: From
) -> StandingOut:
    now = clock()
    await staffing.set_capacity(
        work, user_id, body.capacity, body.calendar_id, caller=caller, origin=origin, now=now
    )
    return _standing(await staffing.standing(work, user_id), now)


@router.get("/teams/{team_id}/queue", summary="Who waits in a team, and why")
async def get_queue(
    team_id: UUID,
    caller: Viewer,
    served: Served,
    work: Tx,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=500)] = None,
) -> QueueOut:
    """A page of those who wait, in the order in which they are given out."""
    desk = await served.desks.current(work)
    team = desk.teams.get(team_id)
    if team is None:
        raise people.TeamNotFound
    scope = caller.require(Permission.TICKETS_VIEW)
    if scope is Scope.OWN or (scope is Scope.TEAM and team_id not in caller.team_ids):
        raise Forbidden("Your tickets.view does not reach this team's queue.")
    found = await queues.queue(work, desk, team, limit=limit, cursor=cursor, now=clock())
    return QueueOut(
        team_id=team.id,
        strategy=team.routing,
        total=found.total,
        items=[
            WaitingOut(
                number=one.ticket.number,
                position=one.position,
                subject=one.ticket.subject,
                priority=one.ticket.priority,
                next_due_at=one.ticket.next_due_at,
                created_at=one.ticket.created_at,
                why=one.why,
                queued=one.queued,
            )
            for one in found.waiting
            if covers(scope, caller, one.ticket)
        ],
        members=[_candidate(one) for one in found.members],
        next=found.next,
    )


@router.get("/tickets/{number}/routing", summary="Why this agent, or why nobody")
async def get_routing(
    number: Annotated[int, Path(ge=1, lt=2**63)], caller: Viewer, served: Served, work: Tx
) -> RoutingOut:
    """The event that brought the ticket where it is, and how everybody of its team stands now."""
    ticket = await Views(served.desks).waiting(work, caller, number)
    desk = await served.desks.current(work)
    found = await queues.explain(work, desk, ticket, now=clock())
    return RoutingOut(
        number=ticket.number,
        team_id=ticket.team_id,
        strategy=found.team.routing if found.team else None,
        assignee_id=ticket.assignee_id,
        why=found.why,
        queued=found.queued,
        position=found.position,
        needs=list(found.needs),
        candidates=[_candidate(one) for one in found.candidates],
        would_go_to=found.would_go_to,
        latest=_last(found.last) if found.last else None,
    )


def _standing(row: Row, now: datetime) -> StandingOut:
    absence = to_absence(row)
    gone = absence is not None and absence.covers(now)
    return StandingOut(
        user_id=row["user_id"],
        name=row["name"],
        state="absent" if gone else row["presence"],
        since=row["absent_from"],
        until=row["absent_until"],
        replacement_id=row["replacement_id"],
        capacity=row["capacity"],
        open_tickets=row["open_tickets"],
        skills=row["skills"],
        calendar_id=row["calendar_id"],
    )


def _candidate(one: routing.Candidate) -> CandidateOut:
    return CandidateOut.model_validate(one)


def _last(row: Row) -> LastRouting:
    said = row["data"].get("routing") or {}
    return LastRouting(
        seq=row["seq"],
        type=row["type"],
        occurred_at=row["occurred_at"],
        actor_kind=row["actor_kind"],
        actor_id=row["actor_id"],
        rule=row["cause"].get("rule"),
        reason=row["data"].get("reason"),
        candidates=said.get("candidates", []),
    )


__all__ = ["router"]
