"""Drafts of policies and calendars tried on the past: a job with progress, and nothing else."""

import asyncio
import multiprocessing
import os
import threading
import uuid
from collections.abc import Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, replace
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb
from pydantic import ValidationError

from domain.calendars import Calendar
from domain.errors import Conflict, Invalid, NotFound
from domain.permissions import Principal
from domain.simulation import (
    Flip,
    Kept,
    Lived,
    Plan,
    Tally,
    simulate,
    with_calendar,
    with_policy,
)
from domain.sla import Policy, Terms
from domain.tickets.replay import Recorded
from models.base import new_id
from models.session import Database, Row, Work
from services import audit
from services.bulk import Progress
from services.tickets import Origin

CHUNK = 1000  # tickets
FEW = 200  # are not worth starting processes for
LONGEST = timedelta(days=1100)
AT_ONCE = 3  # that have not ended, for each tenant: each takes a core
_SHOWN = (
    "id, created_by, request, state, since, until, total, done, tally, error, created_at,"
    " finished_at"
)


class SimulationNotFound(NotFound):
    code = "simulation_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such simulation.")


async def queue(
    work: Work,
    *,
    caller: Principal,
    request: Mapping[str, object],
    since: datetime,
    until: datetime,
    origin: Origin,
    now: datetime,
    outbox: bool = True,
) -> Row:
    """The simulation, committed; its workflow is started by the relay, unless `outbox` is off.

    `request` is the draft: `{"policy": {"id", ...}, "calendar": {"id", "body"}, "zone"}`, each of
    which may be left out. It is checked here; what cannot be is refused with Invalid.
    """
    if until <= since or until - since > LONGEST:
        raise Invalid(
            f"A simulation covers up to {LONGEST.days} days, and ends after it begins.",
            fields={"/until": "does not fit the beginning"},
        )
    await plan_of(work, request, since=since, until=until)
    row = await work.row(
        "select (select count(*) from simulations s where s.tenant_id = :tenant"
        "  and s.state in ('queued', 'running', 'paused')) as waiting,"
        " (select count(*) from tickets t where t.tenant_id = :tenant and t.created_at < :until"
        "  and t.updated_at >= :since) as total",
        {"tenant": work.tenant_id, "since": since, "until": until},
    )
    assert row is not None
    if row["waiting"] >= AT_ONCE:
        raise Conflict(f"{AT_ONCE} simulations have not ended yet. Wait, or cancel one.")
    simulation_id = new_id()
    await work.batch(
        (
            "insert into simulations (tenant_id, id, created_by, request, state, since, until,"
            " total, created_at) values (%s, %s, %s, %s, 'queued', %s, %s, %s, %s)",
            (
                work.tenant_id, simulation_id, caller.id, Jsonb(dict(request)), since, until,
                row["total"], now,
            ),
        ),
        *([_outbox(work.tenant_id, simulation_id)] if outbox else ()),
    )  # fmt: skip
    await audit.record(
        work, caller=caller, origin=origin, action="simulation.queued",
        target_kind="simulation", target_id=simulation_id, data=dict(request), now=now,
    )  # fmt: skip
    work.wake_relay()
    return await simulation(work, simulation_id)


async def simulation(work: Work, simulation_id: uuid.UUID) -> Row:
    """One simulation, how far it is and what it has found so far."""
    row = await work.row(
        f"select {_SHOWN} from simulations where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": simulation_id},
    )
    if row is None:
        raise SimulationNotFound
    return row


async def simulations(work: Work, *, before: uuid.UUID | None, limit: int) -> list[Row]:
    """All of them, newest first."""
    where = " and id < :before" if before else ""
    return await work.rows(
        f"select {_SHOWN} from simulations where tenant_id = :tenant{where}"
        " order by id desc limit :limit",
        {"tenant": work.tenant_id, "limit": limit, **({"before": before} if before else {})},
    )


async def flips(
    work: Work, simulation_id: uuid.UUID, *, after: tuple[int, str, int], limit: int
) -> list[Row]:
    """The cycles whose verdict would have been another, by ticket."""
    await simulation(work, simulation_id)
    number, metric, cycle = after
    return await work.rows(
        "select number, metric, cycle, before, after, due_before, due_after, team_id, hour"
        " from simulation_flips where tenant_id = :tenant and simulation_id = :id"
        " and (number, metric, cycle) > (:number, :metric, :cycle)"
        " order by number, metric, cycle limit :limit",
        {
            "tenant": work.tenant_id, "id": simulation_id, "number": number, "metric": metric,
            "cycle": cycle, "limit": limit,
        },
    )  # fmt: skip


_STEERED: Mapping[str, tuple[tuple[str, ...], str]] = {
    "cancel": (("queued", "running", "paused"), "cancelled"),
    "pause": (("queued", "running"), "paused"),
    "resume": (("paused",), "running"),
}


async def steer(
    work: Work,
    simulation_id: uuid.UUID,
    wish: str,
    *,
    caller: Principal,
    origin: Origin,
    now: datetime,
) -> Row:
    """Cancels, pauses or resumes; the chunk that runs is finished first. Raises Conflict."""
    found, then = _STEERED[wish]
    await work.execute(
        "select 1 from simulations where tenant_id = :tenant and id = :id for update",
        {"tenant": work.tenant_id, "id": simulation_id},
    )
    row = await simulation(work, simulation_id)
    if row["state"] not in found:
        raise Conflict(f"The simulation is {row['state']}; it cannot {wish}.")
    ended = now if then == "cancelled" else None
    await work.execute(
        "update simulations set state = :state, finished_at = :ended"
        " where tenant_id = :tenant and id = :id",
        {"state": then, "ended": ended, "tenant": work.tenant_id, "id": simulation_id},
    )
    if wish == "resume":
        await work.batch(_outbox(work.tenant_id, simulation_id))
        work.wake_relay()
    await audit.record(
        work, caller=caller, origin=origin, action=f"simulation.{then}",
        target_kind="simulation", target_id=simulation_id, now=now,
    )  # fmt: skip
    return await simulation(work, simulation_id)


class Processes:
    """Processes to fold in: started when they are needed, gone when a simulation has ended."""

    def __init__(self, count: int = 2) -> None:
        self._count = count
        self._pool: ProcessPoolExecutor | None = None

    def pool(self) -> Executor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._count,
                mp_context=multiprocessing.get_context("spawn"),  # threads run here: no fork
                initializer=_end_with_parent,
            )
        return self._pool

    def close(self) -> None:
        """What is under way is finished."""
        if self._pool is not None:
            self._pool.shutdown(wait=False)
            self._pool = None


def _end_with_parent() -> None:
    """A worker that is killed takes its processes along: nobody else would end them."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


class SimulationRunner:
    """What the workflow does, a chunk at a time; a chunk that is repeated changes nothing.

    Folding is CPU: it is done in processes of its own, so that the worker's timers stay on time.
    Without any it is done in a thread.
    """

    def __init__(self, database: Database, processes: Processes | None = None) -> None:
        self._database = database
        self._processes = processes

    async def chunk(
        self, tenant_id: uuid.UUID, simulation_id: uuid.UUID, *, now: datetime
    ) -> Progress:
        """Lives through the next tickets; how the simulation stands then."""
        async with self._database.transaction(tenant_id, reading=True) as work:
            try:
                row = await self._row(work, simulation_id)
            except SimulationNotFound:
                return Progress("gone", 0)
            if row["state"] not in ("queued", "running"):
                return Progress(row["state"], 0)
            plan = await plan_of(work, row["request"], since=row["since"], until=row["until"])
            tickets = await _tickets(work, row)
        tally, found = await self._simulated(plan, tickets)
        last = tickets[-1].number if tickets else row["cursor"]
        async with self._database.transaction(tenant_id) as work:
            held = await self._row(work, simulation_id, lock=True)
            if held["cursor"] != row["cursor"] or held["state"] not in ("queued", "running"):
                return Progress(held["state"], 1)  # another attempt was quicker, or it was stopped
            total = _tally(held["tally"])
            total.add(tally)
            state = "running" if len(tickets) == CHUNK else "finished"
            await work.batch(
                (
                    "update simulations set state = %s, done = done + %s, cursor = %s, tally = %s,"
                    " total = greatest(total, done + %s), finished_at = %s"
                    " where tenant_id = %s and id = %s",
                    (
                        state, len(tickets), last, Jsonb(asdict(total)), len(tickets),
                        now if state == "finished" else None, tenant_id, simulation_id,
                    ),
                ),
                *_flips(tenant_id, simulation_id, found),
            )  # fmt: skip
        if state == "finished" and self._processes is not None:
            self._processes.close()
        return Progress(state, max(0, held["total"] - held["done"] - len(tickets)))

    async def fail(self, tenant_id: uuid.UUID, simulation_id: uuid.UUID, *, why: str) -> None:
        """The simulation has failed, and says why."""
        async with self._database.transaction(tenant_id) as work:
            await work.execute(
                "update simulations set state = 'failed', error = :why"
                " where tenant_id = :tenant and id = :id and state in ('queued', 'running')",
                {"why": why[:500], "tenant": tenant_id, "id": simulation_id},
            )

    async def _row(self, work: Work, simulation_id: uuid.UUID, *, lock: bool = False) -> Row:
        row = await work.row(
            "select state, request, since, until, total, done, cursor, tally from simulations"
            " where tenant_id = :tenant and id = :id" + (" for update" if lock else ""),
            {"tenant": work.tenant_id, "id": simulation_id},
        )
        if row is None:
            raise SimulationNotFound
        return row

    async def _simulated(self, plan: Plan, tickets: list[Lived]) -> tuple[Tally, list[Flip]]:
        loop = asyncio.get_running_loop()
        half = (len(tickets) + 1) // 2
        few = self._processes is None or len(tickets) < FEW
        parts = [tickets] if few else [tickets[:half], tickets[half:]]
        pool = self._processes.pool() if self._processes is not None and not few else None
        try:
            done = await asyncio.gather(
                *(loop.run_in_executor(pool, simulate, plan, part) for part in parts)
            )
        except BrokenProcessPool:
            assert self._processes is not None
            self._processes.close()  # one was killed; the chunk is tried again with new ones
            raise
        tally, found = Tally(), list[Flip]()
        for more, flipped in done:
            tally.add(more)
            found += flipped
        return tally, found


async def plan_of(
    work: Work, request: Mapping[str, object], *, since: datetime, until: datetime
) -> Plan:
    """What is tried, from the draft as it is stored. Raises Invalid."""
    versions = await work.rows(
        "select p.id, p.active, p.position, p.version as current, v.version, v.body from policies p"
        " join policy_versions v on v.tenant_id = p.tenant_id and v.policy_id = p.id"
        " where p.tenant_id = :tenant order by p.position, p.id, v.version",
        {"tenant": work.tenant_id},
    )
    calendars = {
        (row["calendar_id"], row["version"]): Calendar.model_validate(row["body"])
        for row in await work.rows(
            "select calendar_id, version, body from calendar_versions where tenant_id = :tenant",
            {"tenant": work.tenant_id},
        )
    }
    terms: dict[tuple[uuid.UUID, int], Terms] = {}
    current: list[Policy] = []
    for row in versions:
        policy = Policy.model_validate(row["body"])
        calendar = calendars.get((policy.calendar_id, policy.calendar_version))
        if calendar is not None:
            terms[policy.id, policy.version] = Terms(policy, calendar, calendars)
            if row["active"] and row["version"] == row["current"]:
                current.append(policy)
    order: tuple[Policy, ...] | None = None
    asked = request.get("policy")
    if isinstance(asked, Mapping):
        draft = _draft(asked, terms, current, calendars)
        terms = with_policy(terms, draft)
        if "conditions" in asked:
            order = tuple(draft.policy if each.id == draft.policy.id else each for each in current)
    told = request.get("calendar")
    if isinstance(told, Mapping):
        calendar_id = uuid.UUID(str(told["id"]))
        if not any(known == calendar_id for known, _ in calendars):
            raise Invalid("There is no such calendar.", fields={"/calendar/id": "is not known"})
        terms = with_calendar(terms, calendar_id, Calendar.model_validate(told["body"]))
    return Plan(
        terms=terms, since=since, until=until, zone=str(request.get("zone") or "UTC"), order=order
    )


def _draft(
    asked: Mapping[str, object],
    terms: Mapping[tuple[uuid.UUID, int], Terms],
    current: list[Policy],
    calendars: Mapping[tuple[uuid.UUID, int], Calendar],
) -> Terms:
    """The draft: the policy's present version with what is asked for in its place."""
    policy_id = uuid.UUID(str(asked["id"]))
    now = next((policy for policy in current if policy.id == policy_id), None)
    if now is None:
        raise Invalid("There is no such policy in force.", fields={"/policy/id": "is not known"})
    changes = {name: value for name, value in asked.items() if name != "id"}
    if "calendar_id" in changes:
        wanted = uuid.UUID(str(changes["calendar_id"]))
        newest = max((v for known, v in calendars if known == wanted), default=None)
        if newest is None:
            raise Invalid(
                "There is no such calendar.", fields={"/policy/calendar_id": "is not known"}
            )
        changes["calendar_version"] = newest
    try:
        policy = Policy.model_validate({**now.model_dump(mode="json"), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        place = "/".join(str(part) for part in first["loc"])
        raise Invalid(
            f"The draft is not a policy: {first['msg']}.", fields={f"/policy/{place}": first["msg"]}
        ) from error
    calendar = calendars[policy.calendar_id, policy.calendar_version]
    return replace(terms[now.id, now.version], policy=policy, calendar=calendar)


async def _tickets(work: Work, row: Row) -> list[Lived]:
    """The next tickets with all that happened to them, in two round trips."""
    tenant = work.tenant_id
    found = await work.rows(
        "select id, number, updated_at from tickets where tenant_id = :tenant"
        " and number > :after and created_at < :until and updated_at >= :since"
        " order by number limit :limit",
        {
            "tenant": tenant, "after": row["cursor"], "since": row["since"],
            "until": row["until"], "limit": CHUNK,
        },
    )  # fmt: skip
    ids = [each["id"] for each in found]
    events, clocks = await work.batch(
        (
            "select ticket_id, seq, type, actor_kind, changes, data, occurred_at from events"
            " where tenant_id = %s and ticket_id = any(%s) order by ticket_id, seq",
            (tenant, ids),
        ),
        (
            "select ticket_id, metric, cycle, outcome, started_at, due_at, stopped_at, breached_at,"
            " target, team_id from clocks where tenant_id = %s and ticket_id = any(%s)",
            (tenant, ids),
        ),
    )
    timelines: dict[uuid.UUID, list[Recorded]] = {}
    kept: dict[uuid.UUID, list[Kept]] = {}
    for each in events:
        timelines.setdefault(each.pop("ticket_id"), []).append(Recorded(**each))
    for each in clocks:
        kept.setdefault(each.pop("ticket_id"), []).append(Kept(**each))
    return [
        Lived(
            each["number"], each["updated_at"], timelines.get(each["id"], []),
            kept.get(each["id"], []),
        )
        for each in found
    ]  # fmt: skip


def _tally(stored: Mapping[str, object]) -> Tally:
    return Tally(**stored)  # type: ignore[arg-type]


def _flips(
    tenant_id: uuid.UUID, simulation_id: uuid.UUID, found: list[Flip]
) -> list[tuple[str, tuple[object, ...]]]:
    if not found:
        return []
    return [
        (
            "insert into simulation_flips (tenant_id, simulation_id, number, metric, cycle, before,"
            " after, due_before, due_after, team_id, hour) select %s, %s, f.* from unnest("
            "%s::bigint[], %s::text[], %s::int[], %s::text[], %s::text[], %s::timestamptz[],"
            " %s::timestamptz[], %s::uuid[], %s::smallint[]) f on conflict do nothing",
            (
                tenant_id, simulation_id,
                [f.number for f in found], [f.metric for f in found], [f.cycle for f in found],
                [f.before or "none" for f in found], [f.after or "none" for f in found],
                [f.due_before for f in found], [f.due_after for f in found],
                [f.team_id for f in found], [f.hour for f in found],
            ),
        )
    ]  # fmt: skip


def _outbox(tenant_id: uuid.UUID, simulation_id: uuid.UUID) -> tuple[str, tuple[object, ...]]:
    """The relay starts the workflow, now or when Temporal is back."""
    return (
        "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, created_at,"
        " available_at) values ('workflows', %s, %s, 0, 'simulation', 0, now(), now())",
        (tenant_id, simulation_id),
    )
