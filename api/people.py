"""Agents and teams."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import EmailStr, Field

from api.cursors import Cursor, Limit, after_id, cursor_of
from api.deps import Allowed, From, Served, Tx
from api.editing import record
from api.resources import Resources
from api.routing import Route, shown_once
from api.shapes import Page, Request, Shape, examples
from api.versions import IfMatch, put_tag
from domain.errors import Forbidden
from domain.permissions import Permission, Principal, Role
from domain.staffing import DEFAULT_RULES, RoutingRules, Strategy
from services import audit, people
from services.passwords import Purpose
from services.tickets import Origin, clock

router = APIRouter(prefix="/api/v1", tags=["people"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.PEOPLE_VIEW))]
Manager = Annotated[Principal, Depends(Allowed(Permission.PEOPLE_MANAGE))]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class User(Shape):
    id: UUID
    email: str
    name: str
    handle: str = Field(description="What follows the @ in a mention.")
    role: Role
    active: bool
    invited: bool = Field(description="Has not set a password yet.")
    team_ids: list[UUID]
    created_at: datetime
    updated_at: datetime


class InviteRequest(Request):
    model_config = examples({"email": "grace@example.org", "name": "Grace Okafor", "role": "agent"})

    email: EmailStr
    name: Name
    role: Role = Role.AGENT


class Invited(Shape):
    user: User
    link: str = Field(description="Lets them set a password; works once, for seven days.")


class UserPatch(Request):
    model_config = examples({"role": "supervisor"}, {"active": False})

    name: Name | None = None
    role: Role | None = None
    active: bool | None = None


class LinkRequest(Request):
    model_config = examples({"purpose": "reset"})

    purpose: Purpose = "reset"


class Link(Shape):
    link: str


class Member(Shape):
    user_id: UUID
    lead: bool


class Team(Shape):
    id: UUID
    name: str
    routing: Strategy
    rules: RoutingRules = Field(description="How it hands out its tickets, beyond that.")
    active: bool
    members: list[Member]
    created_at: datetime


class TeamRequest(Request):
    model_config = examples({"name": "Billing", "routing": "round_robin"})

    name: Name
    routing: Strategy = "manual"
    rules: RoutingRules = DEFAULT_RULES


class TeamPatch(Request):
    model_config = examples({"name": "Billing and refunds"})

    name: Name | None = None
    routing: Strategy | None = None
    rules: RoutingRules | None = None
    active: bool | None = None


class MemberRequest(Request):
    model_config = examples({"lead": True})

    lead: bool = False


# Users.


@router.get("/users", summary="Agents")
async def list_users(
    caller: Viewer,
    work: Tx,
    limit: Limit = 50,
    cursor: Cursor = None,
    active: bool | None = None,
    q: Annotated[str | None, Query(max_length=200, description="In name or address.")] = None,
) -> Page[User]:
    rows = await people.users(work, limit=limit + 1, after=after_id(cursor), active=active, text=q)
    items = [User(**row) for row in rows[:limit]]
    return Page(items=items, next=cursor_of(items[-1].id) if len(rows) > limit else None)


@router.post("/users", status_code=201, summary="Invite somebody")
@shown_once
async def invite(
    body: InviteRequest, caller: Manager, served: Served, work: Tx, origin: From
) -> Invited:
    """Answers with the link to give them; shown once, kept nowhere."""
    now = clock()
    user_id = await people.create_user(
        work, email=body.email, name=body.name, role=body.role, password_hash=None, now=now
    )
    await audit.record(
        work,
        caller=caller,
        origin=origin,
        action="user.invited",
        target_kind="user",
        target_id=user_id,
        data={"email": body.email.lower(), "role": body.role},
        now=now,
    )
    link = await served.auth.make_link(work, user_id, purpose="invite", by_mail=True)
    return Invited(user=User(**await people.user(work, user_id)), link=link)


@router.get("/users/{user_id}", summary="One agent")
async def get_user(user_id: UUID, caller: Viewer, work: Tx, response: Response) -> User:
    shown = User(**await people.user(work, user_id))
    put_tag(response, shown)
    return shown


@router.patch("/users/{user_id}", summary="Change an agent's name or role, or deactivate them")
async def patch_user(
    user_id: UUID,
    body: UserPatch,
    caller: Manager,
    served: Served,
    origin: From,
    expected: IfMatch,
    response: Response,
) -> User:
    """Who is deactivated is signed out everywhere and loses their open tickets; who becomes a
    viewer loses those too."""
    change = people.UserChange(name=body.name, role=body.role, active=body.active)
    async with served.database.transaction(caller.tenant_id) as work:
        if expected:
            await people.hold_user(work, user_id)
            expected.check(User(**await people.user(work, user_id)))
        await people.change_user(work, user_id, change, caller=caller, origin=origin, now=clock())
        shown = User(**await people.user(work, user_id))
    if (
        body.active is False or shown.role is Role.VIEWER
    ):  # again too, should the first time have been cut short
        await _release(served, caller, origin, user_id, None)
    put_tag(response, shown)
    return shown


@router.post("/users/{user_id}/password-link", status_code=201, summary="Make a password link")
@shown_once
async def make_link(
    user_id: UUID, body: LinkRequest, caller: Manager, served: Served, work: Tx, origin: From
) -> Link:
    """For somebody who cannot get one by mail. Shown once, kept nowhere."""
    await people.user(work, user_id)
    if caller.auth_method == "token" and body.purpose == "reset":
        # Else a token with people.manage could take over any account, admins' included.
        raise Forbidden("This needs a sign-in, not a token.")
    link = await served.auth.make_link(work, user_id, purpose=body.purpose)
    await audit.record(
        work,
        caller=caller,
        origin=origin,
        action="password.link_made",
        target_kind="user",
        target_id=user_id,
        data={"purpose": body.purpose},
    )
    return Link(link=link)


# Teams.


@router.get("/teams", summary="Teams")
async def list_teams(
    caller: Viewer, work: Tx, limit: Limit = 50, cursor: Cursor = None
) -> Page[Team]:
    rows = await people.teams(work, limit=limit + 1, after=after_id(cursor))
    items = [Team.model_validate(row) for row in rows[:limit]]
    return Page(items=items, next=cursor_of(items[-1].id) if len(rows) > limit else None)


@router.post("/teams", status_code=201, summary="Make a team")
async def create_team(body: TeamRequest, caller: Manager, work: Tx, origin: From) -> Team:
    now = clock()
    team_id = await people.create_team(
        work, name=body.name, routing=body.routing, rules=body.rules, now=now
    )
    await record(
        work, caller, origin, "team.created", "team", team_id, body.model_dump(mode="json")
    )
    return Team.model_validate(await people.team(work, team_id))


@router.get("/teams/{team_id}", summary="One team")
async def get_team(team_id: UUID, caller: Viewer, work: Tx, response: Response) -> Team:
    shown = Team.model_validate(await people.team(work, team_id))
    put_tag(response, shown)
    return shown


@router.patch("/teams/{team_id}", summary="Rename a team, change its routing, close it")
async def patch_team(
    team_id: UUID,
    body: TeamPatch,
    caller: Manager,
    work: Tx,
    origin: From,
    expected: IfMatch,
    response: Response,
) -> Team:
    if expected:
        await people.hold_team(work, team_id)
        expected.check(Team.model_validate(await people.team(work, team_id)))
    change = people.TeamChange(
        name=body.name, routing=body.routing, rules=body.rules, active=body.active
    )
    changes = await people.change_team(work, team_id, change)
    if changes:
        await record(work, caller, origin, "team.changed", "team", team_id, {"changes": changes})
    shown = Team.model_validate(await people.team(work, team_id))
    put_tag(response, shown)
    return shown


@router.put("/teams/{team_id}/members/{user_id}", summary="Add a member, or make them lead")
async def put_member(
    team_id: UUID,
    user_id: UUID,
    body: MemberRequest,
    caller: Manager,
    work: Tx,
    origin: From,
) -> Team:
    if await people.put_member(work, team_id, user_id, lead=body.lead):
        said = {"user_id": str(user_id), "lead": body.lead}
        await record(work, caller, origin, "team.member_set", "team", team_id, said)
    return Team.model_validate(await people.team(work, team_id))


@router.delete("/teams/{team_id}/members/{user_id}", status_code=204, summary="Take a member out")
async def remove_member(
    team_id: UUID, user_id: UUID, caller: Manager, served: Served, origin: From
) -> None:
    """Their open tickets of that team lose their assignee. Not a member any more: still 204."""
    async with served.database.transaction(caller.tenant_id) as work:
        if await people.remove_member(work, team_id, user_id, origin=origin, now=clock()):
            said = {"user_id": str(user_id)}
            await record(work, caller, origin, "team.member_removed", "team", team_id, said)
    await _release(served, caller, origin, user_id, team_id)


async def _release(
    served: Resources, caller: Principal, origin: Origin, user_id: UUID, team_id: UUID | None
) -> None:
    await people.release(
        served.database,
        served.tickets,
        tenant_id=caller.tenant_id,
        user_id=user_id,
        team_id=team_id,
        caller=caller,
        origin=origin,
    )
