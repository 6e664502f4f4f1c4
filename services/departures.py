"""Those who left a team or the house: their tickets are let go, whatever dies meanwhile."""

import logging
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy import insert

from domain.errors import Unavailable
from domain.permissions import Principal
from domain.tickets import SYSTEM, AgentLeft, Event
from models.accounts import Departure
from models.base import new_id
from models.session import Database, Row, Work
from services.tickets import Origin, Step, Tickets

logger = logging.getLogger(__name__)

# A release takes seconds; one that takes longer was cut short, or does no harm twice.
UNFINISHED_AFTER = timedelta(minutes=1)
RELEASE_CHUNK = 50  # tickets let go per transaction: their locks are held for some milliseconds


async def record(
    work: Work,
    user_id: uuid.UUID,
    team_id: uuid.UUID | None,
    *,
    origin: Origin | None,
    now: datetime,
) -> None:
    """Committed with the leaving: whatever happens to this process, the tickets are let go."""
    await work.execute(
        insert(Departure).values(
            tenant_id=work.tenant_id,
            id=new_id(),
            user_id=user_id,
            team_id=team_id,
            cause=dict(origin.cause) if origin else {},
            created_at=now,
        )
    )


async def finish(
    relay_database: Database,
    database: Database,
    tickets: Tickets,
    *,
    now: datetime,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Lets go of the tickets of those who left while a process died over it; how many tickets.

    Of those who left a minute before `now` and are not finished: whoever let them go is not at it.
    """
    async with relay_database.transaction(None) as work:
        left = await work.rows(
            "select distinct on (tenant_id, user_id, team_id) tenant_id, user_id, team_id, cause"
            " from departures where created_at <= :before"
            " order by tenant_id, user_id, team_id, id",
            {"before": now - UNFINISHED_AFTER},
        )
    released = 0
    for one in left:
        try:
            released += await release(
                database,
                tickets,
                tenant_id=one["tenant_id"],
                user_id=one["user_id"],
                team_id=one["team_id"],
                cause=one["cause"],
            )
        except Unavailable:
            raise
        except Exception:  # one that cannot be finished must not hold up the others
            logger.exception("tickets of user %s are not all released", one["user_id"])
        progress(released)
    return released


async def release(
    database: Database,
    tickets: Tickets,
    *,
    tenant_id: uuid.UUID,
    user_id: uuid.UUID,
    team_id: uuid.UUID | None,
    caller: Principal | None = None,
    origin: Origin | None = None,
    cause: Mapping[str, object] | None = None,
) -> int:
    """Takes open tickets from somebody who left a team (all teams: None); how many.

    Runs after the change itself was committed, so that no ticket is given to them meanwhile, in
    transactions of some tickets each. Broken off, it may be run again: it looks for what is left,
    and `finish` does so within minutes.
    """
    released = 0
    after: uuid.UUID | None = None
    departure = new_id()
    why: dict[str, object] = {
        **(origin.cause if origin else cause or {}),
        "agent_left": str(user_id),
    }
    if team_id is not None:
        why["team"] = str(team_id)
    while True:
        async with database.transaction(tenant_id) as work:
            # Before the look at what is left: one that comes later is not over with this.
            over = await _departures(work, user_id, team_id)
            came_back = await _belongs(work, user_id, team_id)
            rows = [] if came_back else await _held(work, user_id, team_id, after)
            if not rows:
                await work.execute(
                    "delete from departures where tenant_id = :tenant and id = any(:over)",
                    {"tenant": tenant_id, "over": over},
                )
                return released
            outcomes = await tickets.handle(
                work,
                *(
                    Step(
                        row["number"],
                        Event(
                            key=f"left/{departure}/{row['id']}",
                            actor=caller.actor if caller else SYSTEM,
                            payload=AgentLeft(user_id),
                            cause=why,
                        ),
                    )
                    for row in rows
                ),
                caller=caller,
                origin=origin,
            )
            released += sum(outcome.applied for outcome in outcomes)
            after = rows[-1]["id"]


async def _departures(work: Work, user_id: uuid.UUID, team_id: uuid.UUID | None) -> list[uuid.UUID]:
    rows = await work.rows(
        "select id from departures where tenant_id = :tenant and user_id = :user"
        " and team_id is not distinct from cast(:team as uuid)",
        {"tenant": work.tenant_id, "user": user_id, "team": team_id},
    )
    return [row["id"] for row in rows]


async def _belongs(work: Work, user_id: uuid.UUID, team_id: uuid.UUID | None) -> bool:
    """Whether they came back since: then their tickets stay theirs."""
    if team_id is None:
        sql = (
            "select 1 as one from users where tenant_id = :tenant and id = :user and active"
            " and role <> 'viewer'"
        )
    else:
        sql = (
            "select 1 as one from team_members where tenant_id = :tenant and user_id = :user"
            " and team_id = :team"
        )
    values: dict[str, object] = {"tenant": work.tenant_id, "user": user_id}
    return await work.row(sql, values | ({"team": team_id} if team_id else {})) is not None


async def _held(
    work: Work, user_id: uuid.UUID, team_id: uuid.UUID | None, after: uuid.UUID | None
) -> list[Row]:
    where = ""
    values: dict[str, object] = {"tenant": work.tenant_id, "user": user_id, "n": RELEASE_CHUNK}
    if team_id is not None:
        where, values["team"] = " and team_id = :team", team_id
    if after is not None:
        where, values["after"] = f"{where} and id > :after", after
    return await work.rows(
        "select id, number from tickets where tenant_id = :tenant and assignee_id = :user"
        f" and category not in ('closed', 'merged'){where} order by id limit :n",
        values,
    )


__all__ = ["finish", "record", "release"]
