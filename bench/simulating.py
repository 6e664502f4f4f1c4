"""How fast drafts and another staffing are tried on the past: tickets a second, two processes."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import orjson
import psycopg

from bench.engine import OFFICE, START, terms
from bench.figures import Figure, floor
from bench.place import Place
from domain.calendars import Calendar
from domain.permissions import GRANTS, Principal, Role
from domain.sla import Clock
from domain.tickets.replay import Recorded, replay
from models.session import Database, Row
from services import simulations, verifying
from services.tickets import Origin, clock

TICKETS = 10_000
AGENTS = 40
HOUR = timedelta(hours=1)
MINUTES = 5  # that a hundred thousand tickets may take


async def run(place: Place) -> list[Figure]:
    """Ten thousand tickets of eight entries, four clocks and three steps each, forty agents."""
    environment = place.live.desk.environment()
    tenant = UUID(str(place.live.tenant))
    _fill(place.superuser_url, tenant)
    database = Database(environment["DATABASE_URL"], pool_size=4)
    caller = Principal(
        tenant_id=tenant, tenant_slug=place.live.slug, kind="system", grants=GRANTS[Role.ADMIN]
    )
    processes = simulations.Processes()
    try:
        runner = simulations.SimulationRunner(database, processes)

        async def tried(request: dict[str, object]) -> tuple[Row, float]:
            async with database.transaction(tenant) as work:
                row = await simulations.queue(
                    work, caller=caller, request=request, since=START - 24 * HOUR,
                    until=START + timedelta(days=60), origin=Origin(), now=clock(), outbox=False,
                )  # fmt: skip
            began = time.perf_counter()
            while (await runner.chunk(tenant, row["id"], now=clock())).state == "running":
                pass
            seconds = time.perf_counter() - began
            async with database.transaction(tenant, reading=True) as work:
                return await simulations.simulation(work, row["id"]), seconds

        done, seconds = await tried({})
        assert done["tally"]["different"] == 0, done["tally"]
        staffed, staffing_seconds = await tried({"staffing": [{"agents": 4}]})
        assert staffed["tally"]["modelled"] == TICKETS, staffed["tally"]
        began = time.perf_counter()
        recounted = await verifying.verify(database, tenant)
        recount = time.perf_counter() - began
        assert not recounted.faults, str(recounted.faults[0])
    finally:
        processes.close()
        await database.close()
    rate, staffing_rate = done["done"] / seconds, staffed["done"] / staffing_seconds
    return [
        floor(
            "simulated tickets a second", rate, 100_000 / (MINUTES * 60),
            f"{done['done']} in {seconds:.1f} s; 100,000 in {100_000 / rate / 60:.1f} minutes",
        ),
        floor(
            "tickets a second on two floors", staffing_rate, 100_000 / (MINUTES * 60),
            f"{staffed['done']} in {staffing_seconds:.1f} s;"
            f" 100,000 in {100_000 / staffing_rate / 60:.1f} minutes",
        ),
        Figure(
            "recounted tickets a second", recounted.tickets / recount,
            detail=f"{recounted.tickets} tickets, {recounted.cycles} cycles",
        ),
    ]  # fmt: skip


def _fill(superuser_url: str, tenant: UUID) -> None:
    """A population of lives like those of the engine's bench, written as the desk writes them."""
    calendar = Calendar.model_validate(OFFICE)
    promise = terms(calendar)
    policy = promise.policy
    written = orjson.loads(policy.model_dump_json())
    with psycopg.connect(superuser_url) as connection:
        at = START
        connection.execute(
            "insert into calendars (tenant_id, id, name, version, created_at)"
            " values (%s, %s, 'bench', 1, %s)", (tenant, policy.calendar_id, at),
        )  # fmt: skip
        connection.execute(
            "insert into calendar_versions (tenant_id, calendar_id, version, body, created_at)"
            " values (%s, %s, 1, %s, %s)",
            (tenant, policy.calendar_id, calendar.model_dump_json(), at),
        )
        connection.execute(
            "insert into policies (tenant_id, id, name, position, version, created_at)"
            " values (%s, %s, 'bench', 9, 1, %s)", (tenant, policy.id, at),
        )  # fmt: skip
        connection.execute(
            "insert into policy_versions (tenant_id, policy_id, version, body, created_at)"
            " values (%s, %s, 1, %s, %s)",
            (tenant, policy.id, orjson.dumps(written).decode(), at),
        )
        customer = uuid4()
        connection.execute(
            "insert into customers (tenant_id, id, name, created_at, updated_at)"
            " values (%s, %s, 'bench', %s, %s)", (tenant, customer, at, at),
        )  # fmt: skip
        agents = [uuid4() for _ in range(AGENTS)]
        for agent in agents:
            connection.execute(
                "insert into users (tenant_id, id, email, name, handle, role, created_at,"
                " updated_at) values (%s, %s, %s, 'bench', %s, 'agent', %s, %s)",
                (tenant, agent, f"{agent.hex}@example.org", agent.hex, at, at),
            )
        _tickets(connection, tenant, customer, promise.policy.id, calendar, agents)


def _life(number: int, policy: UUID) -> list[Recorded]:
    """Opened, answered, pending, answered, raised, resolved, reopened, resolved."""
    begins = START + timedelta(minutes=7 * (number % 4000))
    told = []
    values: dict[str, object] = {"category": "new", "priority": None}
    for seq, (hours, category, kind) in enumerate(
        (
            (0, "new", "ticket_created"), (2 + number % 9, "open", "agent_replied"),
            (12, "pending", "changed"), (20, "open", "customer_replied"), (21, "open", "changed"),
            (26, "resolved", "agent_replied"), (50, "open", "customer_replied"),
            (74, "resolved", "agent_replied"),
        ), start=1,
    ):  # fmt: skip
        changes: dict[str, list[object]] = {}
        if seq == 1:
            changes = {"policy_id": [None, str(policy)], "policy_version": [None, 1]}
        elif values["category"] != category:
            changes = {"category": [values["category"], category]}
        if seq == 5:
            changes["priority"] = [None, "high"]
        values["category"] = category
        data: dict[str, object] = {}
        if seq == 1:
            data = {"opened_by": "customer", "category": "new", "status": "new", "message_id": "m"}
        who = "customer" if kind in ("customer_replied", "ticket_created") else "user"
        told.append(Recorded(seq, kind, who, changes, data, begins + hours * HOUR))
    return told


def _tickets(
    connection: psycopg.Connection[tuple[object, ...]],
    tenant: UUID,
    customer: UUID,
    policy: UUID,
    calendar: Calendar,
    agents: Sequence[UUID],
) -> None:
    promise = terms(calendar)
    lives = [(number, uuid4(), _life(number, policy)) for number in range(1, TICKETS + 1)]
    cursor = connection.cursor()
    with cursor.copy(
        "copy tickets (tenant_id, id, number, seq, subject, status, category, channel,"
        " requester_id, created_by_kind, created_at, updated_at, resolved_at, policy_id,"
        " policy_version, message_seq) from stdin"
    ) as copy:
        for number, id, told in lives:
            last = told[-1].occurred_at
            copy.write_row(
                (
                    tenant, id, 1_000_000 + number, len(told), "bench", "resolved", "resolved",
                    "email", customer, "customer", told[0].occurred_at, last, last, policy, 1, 1,
                )
            )  # fmt: skip
    with cursor.copy(
        "copy events (tenant_id, ticket_id, seq, type, key, actor_kind, actor_id, cause, changes,"
        " data, occurred_at, recorded_at) from stdin"
    ) as copy:
        for number, id, told in lives:
            agent = agents[number % len(agents)]
            for each in told:
                who = agent if each.actor_kind == "user" else None
                copy.write_row(
                    (
                        tenant, id, each.seq, each.type, f"{id}/{each.seq}", each.actor_kind,
                        who, "{}",
                        orjson.dumps(each.changes).decode(), orjson.dumps(each.data).decode(),
                        each.occurred_at, each.occurred_at,
                    )
                )  # fmt: skip
    with cursor.copy(
        "copy clocks (tenant_id, ticket_id, metric, cycle, policy_id, policy_version, calendar_id,"
        " calendar_version, target, started_at, planned_at, due_at, pauses, stopped_at, outcome,"
        " cancelled_because, breached_at, detected_at, caused_by, used, paused) from stdin"
    ) as copy:
        for _, id, told in lives:
            found = replay(told, lambda *_: promise, now=told[-1].occurred_at)
            for one in found.clocks:
                copy.write_row((tenant, id, *_row(one)))


def _row(one: Clock) -> Sequence[object]:
    pauses = [pause.model_dump(mode="json") for pause in one.pauses]
    detected: datetime | None = one.detected_at
    return (
        one.metric.value, one.cycle, one.policy_id, one.policy_version, one.calendar_id,
        one.calendar_version, one.target, one.started_at, one.planned_at, one.due_at,
        orjson.dumps(pauses).decode(), one.stopped_at, one.outcome.value, one.cancelled_because,
        one.breached_at, detected, one.caused_by, one.used, one.paused,
    )  # fmt: skip
