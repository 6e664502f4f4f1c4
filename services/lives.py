"""Tickets' lives as simulations read them: fetched as text, understood where they are folded.

Postgres writes a ticket's timeline and its cycles as one JSON text each. The worker hands the texts
on as they came; the processes that fold decode them, so that both cores have work and the worker's
own loop has little.
"""

import pickle
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import lru_cache

import orjson

from domain.simulation import Flip, Kept, Lived, Plan, Tally, simulate
from domain.tickets.replay import Recorded
from models.session import Row, Work

Told = tuple[int, datetime, str | None, str | None]  # number, last change, timeline, cycles

# Where a ticket was sent, and who else could have had it, is long and tells the clocks nothing.
_READ = (
    "select t.number, t.updated_at,"
    " (select json_agg(json_build_array(e.seq, e.type, e.actor_kind, e.changes,"
    "  e.data - 'routing', e.occurred_at) order by e.seq) from events e"
    "  where e.tenant_id = t.tenant_id and e.ticket_id = t.id)::text as timeline,"
    " (select json_agg(json_build_array(c.metric, c.cycle, c.outcome, c.started_at, c.due_at,"
    "  c.stopped_at, c.breached_at, (extract(epoch from c.target) * 1000000)::bigint, c.team_id))"
    "  from clocks c where c.tenant_id = t.tenant_id and c.ticket_id = t.id)::text as kept"
    " from tickets t where t.tenant_id = :tenant and t.number > :after"
    " and t.created_at < :until and t.updated_at >= :since order by t.number limit :limit"
)


async def read(work: Work, row: Row, *, after: int, limit: int) -> list[Told]:
    """The next tickets of a simulation with all that happened to them, in one round trip."""
    found = await work.rows(
        _READ,
        {
            "tenant": work.tenant_id, "after": after, "since": row["since"],
            "until": row["until"], "limit": limit,
        },
    )  # fmt: skip
    return [(each["number"], each["updated_at"], each["timeline"], each["kept"]) for each in found]


def lived_through(plan: bytes, told: Sequence[Told]) -> tuple[Tally, list[Flip]]:
    """What `simulate` finds; the plan is pickled, and understood once in each process."""
    return simulate(_plan(plan), lives(told))


def lives(told: Iterable[Told]) -> Iterable[Lived]:
    """The tickets, decoded one after the other."""
    for number, updated_at, timeline, kept in told:
        yield Lived(
            number,
            updated_at,
            [
                Recorded(seq, kind, actor, changes, data, _time(at))
                for seq, kind, actor, changes, data, at in orjson.loads(timeline or "[]")
            ],
            [
                Kept(
                    metric,
                    cycle,
                    outcome,
                    _time(started),
                    _maybe(due),
                    _maybe(stopped),
                    _maybe(breached),
                    None if target is None else timedelta(microseconds=target),
                    None if team is None else _uuid(team),
                )
                for metric, cycle, outcome, started, due, stopped, breached, target, team in (
                    orjson.loads(kept or "[]")
                )
            ],
        )


@lru_cache(maxsize=4)
def _plan(pickled: bytes) -> Plan:
    plan = pickle.loads(pickled)  # written by this program a moment ago
    assert isinstance(plan, Plan)
    return plan


_time = datetime.fromisoformat


def _maybe(at: str | None) -> datetime | None:
    return None if at is None else _time(at)


@lru_cache(maxsize=4096)
def _uuid(written: str) -> uuid.UUID:
    return uuid.UUID(written)
