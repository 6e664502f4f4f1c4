"""Every cycle of a tenant's tickets compared with what its timeline says, page by page."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from domain.calendars import Calendar
from domain.sla import Policy
from domain.verify import Disagreement, Hours, Line, Promise, disagreements
from models import ledger
from models.session import Database, Row, Work

PAGE = 100  # tickets in memory at once
Promises = dict[tuple[uuid.UUID, int], Promise]
_TRIES = 5  # a ticket that people work on may change between two reads


@dataclass(frozen=True, slots=True)
class Fault:
    """The first disagreement of a ticket."""

    number: int
    found: Disagreement

    def __str__(self) -> str:
        return f"ticket {self.number}: {self.found}"


@dataclass(frozen=True, slots=True)
class Verified:
    """How much was compared, and the faults; none where everything agrees."""

    tickets: int
    cycles: int
    faults: tuple[Fault, ...] = ()


async def verify(
    database: Database,
    tenant: uuid.UUID,
    *,
    most: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Recounts every ticket by number; stops once `most` tickets were found to disagree.

    Only `PAGE` tickets with their timelines are in memory at once, however many there are.
    """
    async with database.transaction(tenant, reading=True) as work:
        promises = await _promises(work)
    tickets, cycles, after = 0, 0, 0
    faults: list[Fault] = []
    while True:
        async with database.transaction(tenant, reading=True) as work:
            rows = await work.rows(
                "select id, number, seq from tickets where tenant_id = :tenant and number > :after"
                " order by number limit :limit",
                {"tenant": tenant, "after": after, "limit": PAGE},
            )
            lines, clocks = await _told(work, [row["id"] for row in rows])
        if not rows:
            return Verified(tickets, cycles, tuple(faults))
        for row in rows:
            kept = clocks.get(row["id"], [])
            found = _compared(lines.get(row["id"], []), kept, promises)
            if found:
                found = await _again(database, tenant, row["id"], found)
            tickets, cycles = tickets + 1, cycles + len(kept)
            if found:
                faults.append(Fault(row["number"], found[0]))
                if len(faults) >= most:
                    return Verified(tickets, cycles, tuple(faults))
        after = rows[-1]["number"]
        progress(tickets)


async def _again(
    database: Database, tenant: uuid.UUID, ticket_id: uuid.UUID, found: list[Disagreement]
) -> list[Disagreement]:
    """A disagreement is believed once the ticket has held still while it was read."""
    for _ in range(_TRIES):
        async with database.transaction(tenant, reading=True) as work:
            before = await work.row(
                "select seq from tickets where tenant_id = :tenant and id = :id",
                {"tenant": tenant, "id": ticket_id},
            )
            promises = await _promises(work)
            lines, clocks = await _told(work, [ticket_id])
            after = await work.row(
                "select seq from tickets where tenant_id = :tenant and id = :id",
                {"tenant": tenant, "id": ticket_id},
            )
        found = _compared(lines.get(ticket_id, []), clocks.get(ticket_id, []), promises)
        if not found or before == after:
            return found
    return found


def _compared(lines: list[Line], kept: list[Row], promises: Promises) -> list[Disagreement]:
    clocks = [ledger.to_clock(row) for row in kept]
    try:
        return disagreements(lines, clocks, lambda *named: promises[named])
    except KeyError as missing:
        return [Disagreement("", 0, "the policy that was in force", missing.args[0], None)]


async def _promises(work: Work) -> Promises:
    """Every version of every policy; calendars of the same version share their hours."""
    calendars = {
        (row["calendar_id"], row["version"]): Hours(Calendar.model_validate(row["body"]))
        for row in await work.rows(
            "select calendar_id, version, body from calendar_versions where tenant_id = :tenant",
            {"tenant": work.tenant_id},
        )
    }
    found: dict[tuple[uuid.UUID, int], Promise] = {}
    for row in await work.rows(
        "select body from policy_versions where tenant_id = :tenant", {"tenant": work.tenant_id}
    ):
        policy = Policy.model_validate(row["body"])
        hours = calendars.get((policy.calendar_id, policy.calendar_version))
        if hours is not None:
            found[policy.id, policy.version] = Promise(policy, hours)
    return found


async def _told(
    work: Work, ids: list[uuid.UUID]
) -> tuple[dict[uuid.UUID, list[Line]], dict[uuid.UUID, list[Row]]]:
    """Timelines and clock rows by ticket."""
    lines: dict[uuid.UUID, list[Line]] = {}
    clocks: dict[uuid.UUID, list[Row]] = {}
    if not ids:
        return lines, clocks
    events, kept = await work.batch(
        (
            "select ticket_id, seq, type, actor_kind, changes, data, occurred_at, recorded_at"
            " from events where tenant_id = %s and ticket_id = any(%s) order by ticket_id, seq",
            (work.tenant_id, ids),
        ),
        (
            "select * from clocks where tenant_id = %s and ticket_id = any(%s)"
            " order by ticket_id, metric, cycle",
            (work.tenant_id, ids),
        ),
    )
    for row in events:
        ticket_id = row.pop("ticket_id")
        lines.setdefault(ticket_id, []).append(Line(**row))
    for row in kept:
        clocks.setdefault(row["ticket_id"], []).append(row)
    return lines, clocks
