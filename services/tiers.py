"""An organization that is another tier to the desk: its open tickets press more or less.

The change writes one row into the outbox. The relay turns it into events of the tickets, some at a
time: an organization may have fifty thousand, and whoever changes it does not wait for them.
"""

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from psycopg.types.json import Jsonb

from domain.tickets import SYSTEM, Event, Retiered
from models.base import new_id
from models.session import Database, Work
from services.relay import Fact
from services.routing import DESTINATION
from services.tickets import Step, Tickets

KIND: Final = "tier"
CHUNK = 50  # tickets changed per transaction: their locks are held for some milliseconds
# A ticket may be made by what was read before the change and be committed after it. None takes so
# long: whoever looks once more by then has seen them all.
AGAIN_AFTER: Final = timedelta(minutes=1)


async def begin(work: Work, organization_id: uuid.UUID, *, by: uuid.UUID | None) -> None:
    """Once this is committed, every open ticket of the organization will have its tier."""
    await _put(work, organization_id, by=by)
    work.wake_relay()


async def carry_on(database: Database, tickets: Tickets, fact: Fact) -> int:
    """Gives the next tickets the tier that the organization has now; how many there were.

    Closed ones are left alone. A second change while the first is at it begins anew and finds what
    is left; done twice, there is nothing to do.
    """
    async with database.transaction(fact.tenant_id) as work:
        # Nobody changes it again until these tickets have what is read here.
        found = await work.row(
            "select fields ->> 'tier' as tier from organizations"
            " where tenant_id = :tenant and id = :id for share",
            {"tenant": fact.tenant_id, "id": fact.ticket_id},
        )
        if found is None:
            return 0
        rows = await work.rows(
            "select id, number from tickets where tenant_id = :tenant and organization_id = :id"
            " and category not in ('closed', 'merged') and tier is distinct from :tier"
            " and id > :after order by id limit :n",
            {
                "tenant": fact.tenant_id,
                "id": fact.ticket_id,
                "tier": found["tier"],
                "after": uuid.UUID(fact.trace.get("after", str(uuid.UUID(int=0)))),
                "n": CHUNK,
            },
        )
        cause: dict[str, object] = {"organization": str(fact.ticket_id)}
        if fact.actor_id is not None:
            cause["by"] = str(fact.actor_id)
        change = new_id()
        if rows:
            await tickets.handle(
                work,
                *(
                    Step(
                        row["number"],
                        Event(
                            key=f"tier/{change}/{row['id']}",
                            actor=SYSTEM,
                            payload=Retiered(found["tier"]),
                            cause=cause,
                        ),
                    )
                    for row in rows
                ),
            )
        is_last = fact.trace.get("last") == "yes"
        if len(rows) == CHUNK:
            trace = {**fact.trace, "after": str(rows[-1]["id"])}
            await _put(work, fact.ticket_id, by=fact.actor_id, seq=fact.seq - 1, trace=trace)
        elif not is_last:
            await _put(
                work, fact.ticket_id, by=fact.actor_id, seq=fact.seq - 1, trace={"last": "yes"},
                after=AGAIN_AFTER,
            )  # fmt: skip
        work.wake_relay()
    return len(rows)


async def _put(
    work: Work,
    organization_id: uuid.UUID,
    *,
    by: uuid.UUID | None,
    seq: int = 0,
    trace: Mapping[str, str] | None = None,
    after: timedelta = timedelta(0),
) -> None:
    """A row for what is left. Of two for one organization the relay keeps the greater seq: the one
    that is less far."""
    await work.batch(
        (
            "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, actor_id,"
            " trace, created_at, available_at)"
            " values (%s, %s, %s, 0, %s, %s, %s, %s, now(), now() + %s)",
            (
                DESTINATION, work.tenant_id, organization_id, KIND, seq, by,
                Jsonb(dict(trace or {})), after,
            ),
        )
    )  # fmt: skip
