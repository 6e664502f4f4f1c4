"""The people who work here and their teams."""

import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from psycopg.types.json import Jsonb
from sqlalchemy.dialects import postgresql

from domain.desk import DeskSettings
from domain.errors import Conflict, Invalid, NotFound
from domain.permissions import Principal, Role
from domain.staffing import RoutingRules, Strategy
from models.accounts import Team, TeamMember, User
from models.base import new_id
from models.session import Database, Row, Work
from services import audit, departures, desks, routing
from services.auth import end_sessions_of, hash_password
from services.departures import release
from services.tenants import NewTenant, create_tenant
from services.tickets import Origin, clock


class UserNotFound(NotFound):
    code: ClassVar[str] = "user_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such user.")


class TeamNotFound(NotFound):
    code: ClassVar[str] = "team_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such team.")


class EmailTaken(Conflict):
    code: ClassVar[str] = "email_taken"

    def __init__(self) -> None:
        super().__init__(
            "Somebody here has that e-mail address already.", fields={"/email": "is taken"}
        )


class TeamNameTaken(Conflict):
    code: ClassVar[str] = "team_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a team named {name!r} already.", fields={"/name": "is taken"})


class LastAdmin(Conflict):
    code: ClassVar[str] = "last_admin"

    def __init__(self) -> None:
        super().__init__("This is the last active admin. Make somebody else an admin first.")


@dataclass(frozen=True, slots=True, kw_only=True)
class UserChange:
    """New values; None leaves as it is."""

    name: str | None = None
    role: Role | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamChange:
    """New values; None leaves as it is."""

    name: str | None = None
    routing: Strategy | None = None
    rules: RoutingRules | None = None
    active: bool | None = None


@dataclass(frozen=True, slots=True)
class Founded:
    """A tenant with its first admin."""

    tenant_id: uuid.UUID
    user_id: uuid.UUID


# Tenants.


async def create_tenant_with_admin(
    database: Database,
    *,
    slug: str,
    name: str,
    email: str,
    password: str | None,
    admin_name: str | None = None,
    settings: DeskSettings | None = None,
    rate_class: str = "standard",
    origin: Origin | None = None,
    now: Callable[[], datetime] = clock,
) -> Founded:
    """A new tenant and the admin who runs it, all or nothing. Without a password: invited."""
    async with database.transaction(new_id()) as work:
        return await found(
            work,
            NewTenant(slug, name, settings or DeskSettings(), rate_class),
            email=email,
            password=password,
            admin_name=admin_name,
            origin=origin,
            now=now(),
        )


async def found(
    work: Work,
    new: NewTenant,
    *,
    email: str,
    password: str | None,
    admin_name: str | None,
    origin: Origin | None,
    now: datetime,
) -> Founded:
    """The tenant that `work` is for, with its first admin. Without a password: invited."""
    password_hash = None if password is None else await hash_password(password)
    await create_tenant(work, new, tenant_id=work.tenant_id, now=now)
    user_id = await create_user(
        work,
        email=email,
        name=admin_name or email.partition("@")[0],
        role=Role.ADMIN,
        password_hash=password_hash,
        now=now,
    )
    await audit.record(
        work,
        caller=None,
        actor_id=user_id,
        origin=origin,
        action="tenant.created",
        target_kind="tenant",
        target_id=work.tenant_id,
        data={"slug": new.slug, "name": new.name},
        now=now,
    )
    return Founded(work.tenant_id, user_id)


# Users.


async def create_user(
    work: Work,
    *,
    email: str,
    name: str,
    role: Role,
    password_hash: str | None,
    now: datetime,
) -> uuid.UUID:
    """A new user; their handle comes from the address. Raises EmailTaken."""
    email = email.strip().lower()
    user_id = new_id()
    base = re.sub(r"[^a-z0-9._-]+", "-", email.partition("@")[0]).strip("-.")[:40] or "agent"
    taken = {
        row["handle"]
        for row in await work.rows(
            "select handle from users where tenant_id = :tenant"
            " and (handle = :base or handle like :more)",
            {"tenant": work.tenant_id, "base": base, "more": base.replace("_", "\\_") + "-%"},
        )
    }
    handle, number = base, 1
    while handle in taken:
        number += 1
        handle = f"{base}-{number}"
    made = await work.row(
        postgresql.insert(User)
        .values(
            tenant_id=work.tenant_id,
            id=user_id,
            email=email,
            name=name,
            handle=handle,
            role=role.value,
            password_hash=password_hash,
            active=True,
            created_at=now,
            updated_at=now,
        )
        .on_conflict_do_nothing(index_elements=["tenant_id", "email"])
        .returning(User.id)
    )
    if made is None:
        raise EmailTaken
    await desks.changed(work)
    return user_id


_USER = (
    "select u.id, u.email, u.name, u.handle, u.role, u.active, u.created_at, u.updated_at,"
    " u.password_hash is null as invited,"
    " coalesce((select array_agg(m.team_id order by m.team_id) from team_members m"
    " where m.tenant_id = u.tenant_id and m.user_id = u.id), '{}') as team_ids"
    " from users u where u.tenant_id = :tenant"
)


async def users(
    work: Work,
    *,
    limit: int,
    after: uuid.UUID | None = None,
    active: bool | None = None,
    text: str | None = None,
) -> Sequence[Row]:
    """Users, oldest first."""
    where, values = "", dict[str, object](tenant=work.tenant_id, limit=limit)
    if after is not None:
        where, values["after"] = f"{where} and u.id > :after", after
    if active is not None:
        where, values["active"] = f"{where} and u.active = :active", active
    if text:
        where += " and strpos(lower(u.name || ' ' || u.email), lower(:text)) > 0"
        values["text"] = text
    return await work.rows(f"{_USER}{where} order by u.id limit :limit", values)


async def user(work: Work, user_id: uuid.UUID) -> Row:
    """One user. Raises UserNotFound."""
    found = await work.row(f"{_USER} and u.id = :id", {"tenant": work.tenant_id, "id": user_id})
    if found is None:
        raise UserNotFound
    return found


async def hold_user(work: Work, user_id: uuid.UUID) -> Sequence[Row]:
    """The user and the admins who work here: nobody else changes them until the commit.

    Nor is the user given a ticket meanwhile: what was being decided is committed before this, and
    let go with the rest if they leave.
    """
    _, locked = await work.batch(
        routing.hold([user_id]),
        (
            "select id, name, role, active from users where tenant_id = %s"
            " and (id = %s or (role = 'admin' and active)) order by id for update",
            (work.tenant_id, user_id),
        ),
    )
    if not any(row["id"] == user_id for row in locked):
        raise UserNotFound
    return locked


async def change_user(
    work: Work,
    user_id: uuid.UUID,
    change: UserChange,
    *,
    caller: Principal | None,
    origin: Origin | None,
    now: datetime,
) -> bool:
    """Changes a user; whether they take tickets no more with it (see `release`).

    Raises LastAdmin. The admins' rows are locked together, in the order of their ids: of two
    admins who demote each other at once, one is refused.
    """
    tenant = work.tenant_id
    locked = await hold_user(work, user_id)
    was = next(row for row in locked if row["id"] == user_id)
    new = {
        "name": change.name if change.name is not None else was["name"],
        "role": change.role.value if change.role is not None else was["role"],
        "active": change.active if change.active is not None else was["active"],
    }
    was_admin = was["role"] == "admin" and was["active"]
    is_admin = new["role"] == "admin" and new["active"]
    others = [r for r in locked if r["id"] != user_id and r["role"] == "admin" and r["active"]]
    if was_admin and not is_admin and not others:
        raise LastAdmin
    changes = {name: [was[name], new[name]] for name in new if was[name] != new[name]}
    if not changes:
        return False
    await work.execute(
        "update users set name = :name, role = :role, active = :active, updated_at = :now"
        " where tenant_id = :tenant and id = :id",
        {**new, "now": now, "tenant": tenant, "id": user_id},
    )
    left = bool(was["active"]) and not new["active"]
    if left:
        await end_sessions_of(work, user_id, reason="deactivated", now=now)
    takes_none = left or (bool(was["active"]) and "role" in changes and new["role"] == "viewer")
    if takes_none:
        await departures.record(work, user_id, None, origin=origin, now=now)
    await desks.changed(work)
    if "active" in changes or "role" in changes:
        await routing.queues_may_move(work, "user_changed", user_id=user_id)
    await audit.record(
        work,
        caller=caller,
        origin=origin,
        action="user.changed",
        target_kind="user",
        target_id=user_id,
        data={"changes": changes},
        now=now,
    )
    return takes_none


# Teams.


_TEAM = (
    "select t.id, t.name, t.routing, t.rules, t.active, t.created_at,"
    " coalesce((select jsonb_agg(jsonb_build_object('user_id', m.user_id, 'lead', m.lead)"
    " order by m.user_id) from team_members m where m.tenant_id = t.tenant_id"
    " and m.team_id = t.id), '[]') as members from teams t where t.tenant_id = :tenant"
)


async def teams(work: Work, *, limit: int, after: uuid.UUID | None = None) -> Sequence[Row]:
    """Teams with their members, oldest first."""
    more = " and t.id > :after" if after is not None else ""
    return await work.rows(
        f"{_TEAM}{more} order by t.id limit :limit",
        {"tenant": work.tenant_id, "limit": limit} | ({"after": after} if after else {}),
    )


async def team(work: Work, team_id: uuid.UUID) -> Row:
    """One team with its members. Raises TeamNotFound."""
    found = await work.row(f"{_TEAM} and t.id = :id", {"tenant": work.tenant_id, "id": team_id})
    if found is None:
        raise TeamNotFound
    return found


async def create_team(
    work: Work, *, name: str, routing: str, now: datetime, rules: RoutingRules | None = None
) -> uuid.UUID:
    """A new team without members. Raises TeamNameTaken."""
    team_id = new_id()
    made = await work.row(
        postgresql.insert(Team)
        .values(
            tenant_id=work.tenant_id,
            id=team_id,
            name=name,
            routing=routing,
            rules=rules.model_dump(mode="json") if rules else {},
            active=True,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["tenant_id", "name"])
        .returning(Team.id)
    )
    if made is None:
        raise TeamNameTaken(name)
    await desks.changed(work)
    return team_id


async def hold_team(work: Work, team_id: uuid.UUID) -> Row:
    """The team's own row: nobody else changes it until the commit. Raises TeamNotFound."""
    found = await work.row(
        "select name, routing, rules, active from teams"
        " where tenant_id = :tenant and id = :id for update",
        {"tenant": work.tenant_id, "id": team_id},
    )
    if found is None:
        raise TeamNotFound
    return found


async def change_team(work: Work, team_id: uuid.UUID, change: TeamChange) -> dict[str, object]:
    """Changes a team; what changed, as [before, after]. Raises TeamNotFound, TeamNameTaken."""
    was = await hold_team(work, team_id)
    new = {
        "name": change.name if change.name is not None else was["name"],
        "routing": change.routing if change.routing is not None else was["routing"],
        "rules": was["rules"] if change.rules is None else change.rules.model_dump(mode="json"),
        "active": change.active if change.active is not None else was["active"],
    }
    changes: dict[str, object] = {k: [was[k], new[k]] for k in new if was[k] != new[k]}
    if "name" in changes:
        taken = await work.row(
            "select 1 as one from teams where tenant_id = :tenant and name = :name and id <> :id",
            {"tenant": work.tenant_id, "name": new["name"], "id": team_id},
        )
        if taken:
            raise TeamNameTaken(str(new["name"]))
    if changes:
        await work.execute(
            "update teams set name = :name, routing = :routing, rules = :rules, active = :active"
            " where tenant_id = :tenant and id = :id",
            {**new, "rules": Jsonb(new["rules"]), "tenant": work.tenant_id, "id": team_id},
        )
        await desks.changed(work)
        await routing.queues_may_move(work, "team_changed", team_id=team_id)
    return changes


async def put_member(work: Work, team_id: uuid.UUID, user_id: uuid.UUID, *, lead: bool) -> bool:
    """Makes somebody a member, or changes whether they lead; whether anything changed."""
    tenant = work.tenant_id
    known = await work.row(
        "select (select active from users where tenant_id = :tenant and id = :user) as person,"
        " (select true from teams where tenant_id = :tenant and id = :team) as team",
        {"tenant": tenant, "user": user_id, "team": team_id},
    )
    if known is None or known["team"] is None:
        raise TeamNotFound
    if known["person"] is None:
        raise UserNotFound
    if not known["person"]:
        raise Invalid("This person no longer works here. Activate them first.")
    row = postgresql.insert(TeamMember).values(
        tenant_id=tenant, team_id=team_id, user_id=user_id, lead=lead
    )
    changed = await work.row(
        row.on_conflict_do_update(
            index_elements=["tenant_id", "team_id", "user_id"],
            set_={"lead": lead},
            where=TeamMember.lead.is_distinct_from(lead),
        ).returning(TeamMember.user_id)
    )
    if changed is None:
        return False
    await desks.changed(work)
    await routing.queues_may_move(work, "member_set", team_id=team_id)
    return True


async def remove_member(
    work: Work,
    team_id: uuid.UUID,
    user_id: uuid.UUID,
    *,
    origin: Origin | None = None,
    now: datetime | None = None,
) -> bool:
    """Takes somebody out of a team (see `release`); False when they were not in it.

    Raises TeamNotFound, UserNotFound.
    """
    # Whoever is giving them something now has given it before this; it is let go with the rest.
    _, gone = await work.batch(
        routing.hold([user_id]),
        (
            "delete from team_members where tenant_id = %s and team_id = %s and user_id = %s"
            " returning user_id",
            (work.tenant_id, team_id, user_id),
        ),
    )
    if not gone:
        await team(work, team_id)
        await user(work, user_id)
        return False
    await departures.record(work, user_id, team_id, origin=origin, now=now or clock())
    await desks.changed(work)
    return True


__all__ = [
    "EmailTaken",
    "Founded",
    "LastAdmin",
    "TeamChange",
    "TeamNotFound",
    "UserChange",
    "UserNotFound",
    "change_team",
    "change_user",
    "create_team",
    "create_tenant_with_admin",
    "create_user",
    "found",
    "hold_team",
    "hold_user",
    "put_member",
    "release",
    "remove_member",
    "team",
    "teams",
    "user",
    "users",
]
