"""The audit log: what people did, chained so that nobody can quietly change it afterwards."""

import asyncio
import hashlib
import logging
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from prometheus_client import Gauge

from domain.errors import Unavailable
from domain.permissions import Principal
from models import ledger
from models.base import new_id
from models.session import Database, Row, Work
from services.tickets import Origin, clock

logger = logging.getLogger(__name__)

UNSEALED_AGE = Gauge(
    "audit_unsealed_age_seconds", "Age of the oldest entry that no one sealed yet.", []
)
SEAL_BATCH = 1_000
_FIRST = bytes(32)  # what the first entry of a chain follows
_HASHED = (
    "id", "at", "actor_kind", "actor_id", "action", "target_kind", "target_id", "data", "ip",
    "auth_method", "request_id",
)  # fmt: skip
_COLUMNS = ", ".join(_HASHED)
_SEALER = 0x5EA1


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found. `first_bad_position` is where the chain first fails to add up."""

    sealed: int
    unsealed: int
    oldest_unsealed_age: timedelta | None
    first_bad_position: int | None


async def record(
    work: Work,
    *,
    caller: Principal | None,
    origin: Origin | None,
    action: str,
    target_kind: str,
    target_id: uuid.UUID | str | None,
    data: Mapping[str, object] | None = None,
    now: datetime | None = None,
    actor_id: uuid.UUID | None = None,
) -> None:
    """Writes down what somebody did, in the transaction in which they did it.

    `actor_id` names the user where there is no caller yet (a login, a link).
    """
    kind = caller.kind if caller else ("user" if actor_id else "system")
    method = caller.auth_method if caller else (origin.auth_method if origin else None)
    await work.batch(
        ledger.insert_audit(
            work.tenant_id,
            id=new_id(),
            at=now or clock(),
            actor_kind=kind,
            actor_id=caller.id if caller else actor_id,
            action=action,
            target_kind=target_kind,
            target_id=None if target_id is None else str(target_id),
            data=data or {},
            ip=origin.ip if origin else None,
            auth_method=method,
            request_id=origin.request_id if origin else None,
        )
    )


async def seal(work: Work, *, limit: int = SEAL_BATCH) -> int:
    """Chains committed entries that no one sealed yet, oldest first; how many.

    One sealer at a time per tenant: the others get 0 and need not wait. An entry gets the next
    position and a hash over the hash before it and its own content. Only committed entries are
    visible here, and positions are given in the order of sealing, without gaps: so an entry that
    commits late, with an earlier id, simply comes later in the chain. The chain says what was
    known by when, not in what order things began, which is why no waiting is needed.
    """
    tenant = work.tenant_id
    key = int.from_bytes(hashlib.sha256(tenant.bytes).digest()[:4], "big", signed=True)
    [held] = await work.batch(("select pg_try_advisory_xact_lock(%s, %s) as mine", (_SEALER, key)))
    if not held[0]["mine"]:
        return 0
    last, rows = await work.batch(
        (
            "select position, hash from audit_entries where tenant_id = %s"
            " and position is not null order by position desc limit 1",
            (tenant,),
        ),
        (
            f"select {_COLUMNS} from audit_entries where tenant_id = %s and position is null"
            " order by id limit %s",
            (tenant, limit),
        ),
    )
    if not rows:
        return 0
    position: int = last[0]["position"] if last else 0
    previous = bytes(last[0]["hash"]) if last else _FIRST
    positions: list[int] = []
    hashes: list[bytes] = []
    for row in rows:
        position += 1
        previous = chained(previous, tenant, position, row)
        positions.append(position)
        hashes.append(previous)
    await work.batch(
        (
            "update audit_entries a set position = s.position, hash = s.hash"
            " from unnest(%s::uuid[], %s::int[], %s::bytea[]) as s(id, position, hash)"
            " where a.tenant_id = %s and a.id = s.id",
            ([row["id"] for row in rows], positions, hashes, tenant),
        )
    )
    return len(rows)


async def verify(work: Work, *, now: datetime) -> Report:
    """Works out every hash of the tenant's chain anew and says where it first differs.

    A changed, removed, inserted or reordered sealed entry shows as the first bad position. Cutting
    off the newest entries shows against a position noted elsewhere, not here.
    """
    tenant = work.tenant_id
    waiting = await work.row(
        "select count(*) as many, min(at) as oldest from audit_entries"
        " where tenant_id = :tenant and position is null",
        {"tenant": tenant},
    )
    assert waiting is not None
    sealed, previous, bad = 0, _FIRST, None
    after = 0
    while bad is None:
        rows = await work.rows(
            f"select {_COLUMNS}, position, hash from audit_entries where tenant_id = :tenant"
            " and position > :after order by position limit 5000",
            {"tenant": tenant, "after": after},
        )
        if not rows:
            break
        for row in rows:
            expected = sealed + 1
            previous = chained(previous, tenant, expected, row)
            if row["position"] != expected or bytes(row["hash"]) != previous:
                bad = expected
                break
            sealed = expected
        after = rows[-1]["position"]
    total = await work.row(
        "select count(*) as many from audit_entries where tenant_id = :tenant"
        " and position is not null",
        {"tenant": tenant},
    )
    return Report(
        sealed=total["many"] if total else 0,
        unsealed=waiting["many"],
        oldest_unsealed_age=now - waiting["oldest"] if waiting["oldest"] else None,
        first_bad_position=bad,
    )


def chained(previous: bytes, tenant_id: uuid.UUID, position: int, row: Row) -> bytes:
    """The hash of an entry at a place in the chain: over the one before and all it says."""
    said = {name: row[name] for name in _HASHED} | {"tenant": tenant_id, "position": position}
    canonical = orjson.dumps(said, option=orjson.OPT_SORT_KEYS | orjson.OPT_UTC_Z)
    return hashlib.sha256(previous + canonical).digest()


async def entries(
    work: Work,
    *,
    limit: int,
    before: uuid.UUID | None = None,
    action: str | None = None,
    actor_id: uuid.UUID | None = None,
    target_kind: str | None = None,
    target_id: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Sequence[Row]:
    """Entries, newest first, that match all that is given."""
    conditions = {
        "a.id < :before": before,
        "a.action = :action": action,
        "a.actor_id = :actor_id": actor_id,
        "a.target_kind = :target_kind": target_kind,
        "a.target_id = :target_id": target_id,
        "a.at >= :since": since,
        "a.at < :until": until,
    }
    asked = {sql: value for sql, value in conditions.items() if value is not None}
    where = "".join(f" and {sql}" for sql in asked)
    named = {sql.rpartition(":")[2]: value for sql, value in asked.items()}
    return await work.rows(
        "select a.id, a.at, a.actor_kind, a.actor_id, u.name as actor_name, a.action,"
        " a.target_kind, a.target_id, a.data, a.ip, a.auth_method, a.request_id, a.position"
        " from audit_entries a left join users u on u.tenant_id = a.tenant_id"
        f" and u.id = a.actor_id where a.tenant_id = :tenant{where}"
        " order by a.id desc limit :limit",
        {"tenant": work.tenant_id, "limit": limit, **named},
    )


async def seal_all(relay: Database, database: Database, *, every: float = 2.0) -> None:
    """Seals what was written in any tenant, every few seconds, until cancelled."""
    while True:
        try:
            async with relay.transaction(None) as work:
                waiting = await work.rows(
                    "select tenant_id, min(at) as oldest from audit_entries"
                    " where position is null group by tenant_id order by oldest limit 1000"
                )
            age = clock() - waiting[0]["oldest"] if waiting else timedelta()
            UNSEALED_AGE.set(max(0.0, age.total_seconds()))
            for row in waiting:
                sealed = SEAL_BATCH
                while sealed == SEAL_BATCH:
                    async with database.transaction(row["tenant_id"]) as work:
                        sealed = await seal(work)
        except Unavailable:
            logger.warning("entries wait to be sealed: no database")
        await asyncio.sleep(every)
