"""Who of a team is on call when: rotas and the exceptions from them, kept and shown."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from psycopg.types.json import Jsonb

from domain.desk import Desk
from domain.errors import Conflict, Invalid, NotFound
from domain.rotas import Rota, Stretch, schedule
from models.base import new_id
from models.session import Row, Work
from services import configuration, desks
from services.configuration import Changes

MOST_OVERRIDES = 200  # of a team
KEPT = timedelta(days=30)  # overrides that are over
LONGEST = timedelta(days=366)


class RotaNotFound(NotFound):
    code = "rota_not_found"

    def __init__(self) -> None:
        super().__init__("This team has no rota.")


class OverrideNotFound(NotFound):
    code = "override_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such override.")


@dataclass(frozen=True, slots=True)
class OnCallPlan:
    """Who is on call now and what comes; `leads` are told where nobody is."""

    by_hand: tuple[uuid.UUID, ...]
    stretches: list[Stretch]
    leads: tuple[uuid.UUID, ...]


async def rota(work: Work, team_id: uuid.UUID) -> Row:
    """A team's rota with its overrides. Raises NotFound."""
    teams, found, overrides = await work.batch(
        ("select 1 from teams where tenant_id = %s and id = %s", (work.tenant_id, team_id)),
        (
            "select team_id, body, updated_by, updated_at from rotas"
            " where tenant_id = %s and team_id = %s",
            (work.tenant_id, team_id),
        ),
        (
            "select id, user_id, since, until, created_by, created_at from rota_overrides"
            " where tenant_id = %s and team_id = %s order by since, id",
            (work.tenant_id, team_id),
        ),
    )
    if not teams:
        raise NotFound("There is no such team.")
    if not found:
        raise RotaNotFound
    return {**found[0], "overrides": overrides}


async def put_rota(
    work: Work, team_id: uuid.UUID, new: Rota, *, by: uuid.UUID | None, now: datetime
) -> tuple[Row, Changes]:
    """The rota in the place of the one before, whose overrides stay. Raises NotFound, Invalid."""
    await configuration.hold(work)
    members = await _members(work, team_id)
    for place, layer in enumerate(new.layers):
        if strangers := set(layer.user_ids) - members:
            raise Invalid(
                "Only members of the team can be on call for it.",
                fields={f"/layers/{place}/user_ids": f"{min(strangers)} is not in the team"},
            )
    body = new.model_dump(mode="json")
    before = await work.rows(
        "select body from rotas where tenant_id = :tenant and team_id = :team",
        {"tenant": work.tenant_id, "team": team_id},
    )
    await work.batch(
        (
            "insert into rotas (tenant_id, team_id, body, updated_by, updated_at)"
            " values (%s, %s, %s, %s, %s) on conflict (tenant_id, team_id) do update set"
            " body = excluded.body, updated_by = excluded.updated_by,"
            " updated_at = excluded.updated_at",
            (work.tenant_id, team_id, Jsonb(body), by, now),
        )
    )
    await desks.changed(work)
    was = before[0]["body"] if before else None
    return await rota(work, team_id), {} if was == body else {"rota": [was, body]}


async def drop_rota(work: Work, team_id: uuid.UUID) -> None:
    """No rota any more, and no overrides. Raises NotFound."""
    await configuration.hold(work)
    await rota(work, team_id)
    await work.execute(
        "delete from rotas where tenant_id = :tenant and team_id = :team",
        {"tenant": work.tenant_id, "team": team_id},
    )
    await desks.changed(work)


async def add_override(
    work: Work,
    team_id: uuid.UUID,
    *,
    user_id: uuid.UUID,
    since: datetime,
    until: datetime,
    by: uuid.UUID | None,
    now: datetime,
) -> Row:
    """Somebody is on call for a while instead. Raises NotFound, Invalid, Conflict."""
    await configuration.hold(work)
    row = await rota(work, team_id)
    if user_id not in await _members(work, team_id):
        raise Invalid(
            "Only members of the team can be on call for it.",
            fields={"/user_id": "is not in the team"},
        )
    if not since < until <= since + LONGEST or until <= now:
        raise Invalid(
            "An override ends after it begins, within a year, and is not over.",
            fields={"/until": "does not fit"},
        )
    over = [each["id"] for each in row["overrides"] if each["until"] < now - KEPT]
    if len(row["overrides"]) - len(over) >= MOST_OVERRIDES:
        raise Conflict(f"A team has at most {MOST_OVERRIDES} overrides.")
    made = {"id": new_id(), "user_id": user_id, "since": since, "until": until,
            "created_by": by, "created_at": now}  # fmt: skip
    await work.batch(
        (
            "delete from rota_overrides where tenant_id = %s and id = any(%s)",
            (work.tenant_id, over),
        ),
        (
            "insert into rota_overrides (tenant_id, team_id, id, user_id, since, until, created_by,"
            " created_at) values (%s, %s, %s, %s, %s, %s, %s, %s)",
            (work.tenant_id, team_id, *made.values()),
        ),
    )
    await desks.changed(work)
    return made


async def drop_override(work: Work, team_id: uuid.UUID, override_id: uuid.UUID) -> Row:
    """The override as it was. Raises NotFound."""
    await configuration.hold(work)
    row = await work.row(
        "delete from rota_overrides where tenant_id = :tenant and team_id = :team and id = :id"
        " returning id, user_id, since, until, created_by, created_at",
        {"tenant": work.tenant_id, "team": team_id, "id": override_id},
    )
    if row is None:
        raise OverrideNotFound
    await desks.changed(work)
    return row


def planned(desk: Desk, team_id: uuid.UUID, *, since: datetime, weeks: int) -> OnCallPlan:
    """Who is on call from `since` on, for so many weeks. Raises NotFound."""
    team = desk.teams.get(team_id)
    if team is None:
        raise NotFound("There is no such team.")
    until = since + timedelta(weeks=weeks)
    found = [Stretch(since, until, None)]
    if team.rota is not None:
        absences = [
            agent.absence
            for agent in desk.agents.values()
            if agent.absence is not None and agent.id in team.members
        ]
        found = schedule(
            team.rota,
            since,
            until,
            team.overrides,
            fit=partial(desk.is_fit, team),
            moments=[at for one in absences for at in (one.since, one.until) if at is not None],
        )
    by_hand = tuple(user for user in team.on_call if desk.is_fit(team, user, since))
    leads = tuple(user for user in sorted(team.leads) if desk.is_fit(team, user, since))
    return OnCallPlan(by_hand, found, leads)


async def _members(work: Work, team_id: uuid.UUID) -> set[uuid.UUID]:
    rows = await work.rows(
        "select t.id, m.user_id from teams t left join team_members m"
        " on m.tenant_id = t.tenant_id and m.team_id = t.id"
        " where t.tenant_id = :tenant and t.id = :team",
        {"tenant": work.tenant_id, "team": team_id},
    )
    if not rows:
        raise NotFound("There is no such team.")
    return {row["user_id"] for row in rows if row["user_id"] is not None}
