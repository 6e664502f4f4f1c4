"""Drafts of policies and calendars tried on the past: a job with progress, and nothing else."""

import asyncio
import multiprocessing
import os
import pickle
import threading
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from cachetools import LRUCache
from psycopg.types.json import Jsonb

from domain.comparison import Comparison, Turned
from domain.errors import Conflict, Invalid, NotFound
from domain.permissions import Principal
from domain.simulation import NOBODY, Flip, Tally
from models.base import new_id
from models.session import Database, Row, Work
from services import audit, floors, jobs, lives
from services.bulk import Progress
from services.drafts import plan_of
from services.lives import Told, lived_through
from services.tickets import Origin

CHUNK = 2000  # tickets
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

    `request` holds the drafts: `{"policies": [{"id", ...}], "new_policies": [{"name", "position",
    ...}], "calendars": [{"id", "body"}], "zone"}`, each of which may be left out; `policy` and
    `calendar` hold one of them. `{"staffing": [...], "zone"}` tries other people instead of other
    promises. It is checked here; what cannot be is refused with Invalid.
    """
    if until <= since or until - since > LONGEST:
        raise Invalid(
            f"A simulation covers up to {LONGEST.days} days, and ends after it begins.",
            fields={"/until": "does not fit the beginning"},
        )
    staffing = "staffing" in request
    if staffing and set(request) - {"staffing", "zone"}:
        raise Invalid(
            "Try another staffing by itself, or drafts of promises by themselves.",
            fields={"/staffing": "stands beside drafts"},
        )
    if staffing:
        await floors.changes_of(work, request)
    else:
        await plan_of(work, request, since=since, until=until)
    row = await work.row(
        "select (select count(*) from simulations s where s.tenant_id = :tenant"
        "  and s.state in ('queued', 'running', 'paused')) as waiting,"
        " (select count(*) from tickets t where t.tenant_id = :tenant and t.created_at < :until"
        f"  and {'t.created_at' if staffing else 't.updated_at'} >= :since) as total",
        {
            "tenant": work.tenant_id,
            "since": since - floors.WARM if staffing else since,
            "until": until,
        },
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
        *([jobs.told("simulation", work.tenant_id, simulation_id)] if outbox else ()),
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
    forgotten = ", basis = null, carry = null" if ended else ""
    await work.execute(
        f"update simulations set state = :state, finished_at = :ended{forgotten}"
        " where tenant_id = :tenant and id = :id",
        {"state": then, "ended": ended, "tenant": work.tenant_id, "id": simulation_id},
    )
    if wish == "resume":
        await work.batch(jobs.told("simulation", work.tenant_id, simulation_id))
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
    Without any it is done in a thread. While one chunk is folded the next is read.
    """

    def __init__(self, database: Database, processes: Processes | None = None) -> None:
        self._database = database
        self._processes = processes
        # By simulation and version of the configuration: pickled, as processes want it.
        self._plans: LRUCache[tuple[uuid.UUID, int], bytes] = LRUCache(8)
        # The chunk after the one being folded, by simulation and where it begins.
        self._ahead: LRUCache[tuple[uuid.UUID, int], asyncio.Task[list[Told]]] = LRUCache(4)

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
            if "staffing" in row["request"]:
                return await self._staffed(tenant_id, row, now=now)
            plan = await self._plan(work, row)
            ahead = self._ahead.pop((simulation_id, row["cursor"]), None)
            if ahead is None:
                tickets = await lives.read(work, row, after=row["cursor"], limit=CHUNK)
        if ahead is not None:
            tickets = await ahead
        last = tickets[-1][0] if tickets else row["cursor"]
        if len(tickets) == CHUNK:
            self._ahead[simulation_id, last] = asyncio.create_task(
                self._read(tenant_id, row, after=last)
            )
        tally, found = await self._simulated(plan, tickets)
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

    async def _plan(self, work: Work, row: Row) -> bytes:
        """The plan, read again only where the desk was set up otherwise meanwhile."""
        key = (row["id"], row["config_version"])
        plan = self._plans.get(key)
        if plan is None:
            made = await plan_of(work, row["request"], since=row["since"], until=row["until"])
            plan = self._plans[key] = pickle.dumps(made)
        return plan

    async def _read(self, tenant_id: uuid.UUID, row: Row, *, after: int) -> list[Told]:
        async with self._database.transaction(tenant_id, reading=True) as work:
            return await lives.read(work, row, after=after, limit=CHUNK)

    async def _staffed(self, tenant_id: uuid.UUID, row: Row, *, now: datetime) -> Progress:
        """The next tickets on both floors: today's people, and those that are tried."""
        simulation_id = row["id"]
        async with self._database.transaction(tenant_id, reading=True) as work:
            kept = await work.row(
                "select basis, carry from simulations where tenant_id = :tenant and id = :id",
                {"tenant": tenant_id, "id": simulation_id},
            )
            assert kept is not None
            basis: bytes | None = kept["basis"]
            if basis is None:  # who was there is looked up once
                found = await floors.basis_of(work, row)
            else:
                carry = floors.Carry.of(kept["carry"])
                rows = await floors.read(work, row, carry, limit=floors.CHUNK)
        if basis is None:
            changes: dict[str, object] = {"basis": found}
            return await self._keep(tenant_id, row, changes, [], read=0, final=False, now=now)
        final = len(rows) < floors.CHUNK
        told = [(each["number"], each["timeline"], each["promises"]) for each in rows]
        upto = None if final else rows[-1]["created_at"].timestamp()
        loop = asyncio.get_running_loop()
        few = self._processes is None or len(rows) < FEW
        pool = self._processes.pool() if self._processes is not None and not few else None
        passed = await asyncio.gather(
            *(
                loop.run_in_executor(pool, floors.advance, basis, which, floor, told, upto)
                for which, floor in enumerate(carry.floors)
            )
        )
        comparison = Comparison.of(row["tally"])
        turned = floors.compare(comparison, carry, passed, basis)
        carry.floors = [one.floor for one in passed]
        if rows:
            carry.after = (rows[-1]["created_at"].isoformat(), str(rows[-1]["id"]))
        tally = {
            "tickets": row["done"] + len(rows),
            "modelled": int(row["tally"].get("modelled", 0)) + passed[0].jobs,
            **comparison.told(),
            "load": floors.load_after(row["tally"].get("load"), passed),
        }
        changes = {"tally": Jsonb(tally), "carry": None if final else carry.packed()}
        if final:
            changes["basis"] = None  # nobody needs to know any more who was there when
        return await self._keep(
            tenant_id, row, changes, turned, read=len(rows), final=final, now=now
        )

    async def _keep(
        self,
        tenant_id: uuid.UUID,
        row: Row,
        changes: Mapping[str, object],
        turned: Sequence[Turned],
        *,
        read: int,
        final: bool,
        now: datetime,
    ) -> Progress:
        """The chunk is committed, unless another attempt was quicker or it was stopped."""
        async with self._database.transaction(tenant_id) as work:
            held = await self._row(work, row["id"], lock=True)
            if held["cursor"] != row["cursor"] or held["state"] not in ("queued", "running"):
                return Progress(held["state"], 1)
            state = "finished" if final else "running"
            names = ", ".join(f"{name} = %s" for name in changes)
            await work.batch(
                (
                    f"update simulations set {names}, state = %s, done = done + %s,"
                    " cursor = cursor + %s, total = greatest(total, done + %s), finished_at = %s"
                    " where tenant_id = %s and id = %s",
                    (
                        *changes.values(), state, read, max(1, read), read,
                        now if final else None, tenant_id, row["id"],
                    ),
                ),
                *_flips(tenant_id, row["id"], [_as_flip(each) for each in turned]),
            )  # fmt: skip
        if final and self._processes is not None:
            self._processes.close()
        return Progress(state, max(0, held["total"] - held["done"] - read))

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
            "select s.id, s.state, s.request, s.since, s.until, s.total, s.done, s.cursor, s.tally,"
            " t.config_version from simulations s join tenants t on t.id = s.tenant_id"
            " where s.tenant_id = :tenant and s.id = :id" + (" for update of s" if lock else ""),
            {"tenant": work.tenant_id, "id": simulation_id},
        )
        if row is None:
            raise SimulationNotFound
        return row

    async def _simulated(self, plan: bytes, tickets: Sequence[Told]) -> tuple[Tally, list[Flip]]:
        loop = asyncio.get_running_loop()
        half = (len(tickets) + 1) // 2
        few = self._processes is None or len(tickets) < FEW
        parts = [tickets] if few else [tickets[:half], tickets[half:]]
        pool = self._processes.pool() if self._processes is not None and not few else None
        try:
            done = await asyncio.gather(
                *(loop.run_in_executor(pool, lived_through, plan, part) for part in parts)
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


def _as_flip(turned: Turned) -> Flip:
    due = None if turned.due is None else datetime.fromtimestamp(turned.due, UTC)
    team = None if turned.team == NOBODY else uuid.UUID(turned.team)
    return Flip(
        turned.number, turned.metric, 1, turned.before, turned.after, due, due, team, turned.hour
    )


def _tally(stored: Row) -> Tally:
    return Tally(**stored)


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
