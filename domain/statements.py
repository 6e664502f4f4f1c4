"""A month's promises to one customer or organization as a document that can be proved.

A statement is JSON in one spelling. It holds the hash of the statement before it, its own hash, and
a signature over that hash: whoever changes a figure, or takes a statement out of the row, is seen.
"""

import hashlib
import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from domain.calendars import Zone

FIRST = "0" * 64  # what the first statement of a chain follows
SIGNATURE = "HMAC-SHA256"
_SEALS = ("hash", "signature")
_WHOSE = ("tenant", "kind", "subject_id")  # the same throughout a chain
_PURPOSE = b"holdfast sla statement 1"


# After a month's end, for what a timer that came late still has to say about it.
PATIENCE = timedelta(hours=1)
MOST_MONTHS = 36


class StatementPlan(BaseModel):
    """Statements of every organization that are made by themselves, month by month."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    zone: Zone = Field(description="Whose midnight ends a month.")
    first_month: str = Field(
        pattern=r"^20[0-9]{2}-(0[1-9]|1[0-2])$",
        description="The first month that is stated, as 2026-05.",
    )

    @property
    def first(self) -> date:
        return date.fromisoformat(f"{self.first_month}-01")


def month_after(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def span_of(month: date, zone: str) -> tuple[datetime, datetime]:
    """From the month's first midnight (included) to the next month's (excluded), in UTC."""
    local = ZoneInfo(zone)
    after = month_after(month)
    since = datetime(month.year, month.month, 1, tzinfo=local)
    until = datetime(after.year, after.month, 1, tzinfo=local)
    return since.astimezone(UTC), until.astimezone(UTC)


def months_due(plan: StatementPlan, made: Collection[date], *, now: datetime) -> list[date]:
    """The months that are over and were not stated yet, in their order."""
    found: list[date] = []
    month = plan.first
    while span_of(month, plan.zone)[1] + PATIENCE <= now:
        if month not in made:
            found.append(month)
        month = month_after(month)
    return found[-MOST_MONTHS:]


def signing_key(secret: str, tenant: str) -> bytes:
    """The key of one tenant's statements, worked out from the server's secret."""
    derived = hmac.digest(secret.encode(), _PURPOSE, "sha256")
    return hmac.digest(derived, tenant.encode(), "sha256")


def spelled(said: Mapping[str, object]) -> bytes:
    """The one way a document is written down before it is hashed."""
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hash_of(said: Mapping[str, object]) -> str:
    """Over everything but the seals themselves; the hash before is part of it."""
    bare = {name: value for name, value in said.items() if name not in _SEALS}
    return hashlib.sha256(spelled(bare)).hexdigest()


def sealed(said: Mapping[str, object], key: bytes) -> dict[str, object]:
    """The document with its hash and its signature."""
    own = hash_of(said)
    signature = hmac.new(key, own.encode(), hashlib.sha256).hexdigest()
    return {**said, "hash": own, "signature": signature}


@dataclass(frozen=True, slots=True)
class Proof:
    """What a check has found; `fault` is a sentence, None where all is well."""

    fault: str | None
    signed: bool  # the signature was looked at, not the hash alone

    @property
    def holds(self) -> bool:
        return self.fault is None


def proved(said: Mapping[str, object], *, key: bytes | None, before: str | None = None) -> Proof:
    """Whether a statement is as it was signed; `before` is the hash that it must follow.

    Without the key only the hash is checked: that finds accidents, not forgers.
    """
    if said.get("hash") != hash_of(said):
        return Proof("Its figures do not fit its hash: it was changed.", key is not None)
    if before is not None and said.get("previous") != before:
        return Proof("It does not follow the statement before it.", key is not None)
    if key is None:
        return Proof(None, False)
    wanted = hmac.new(key, str(said["hash"]).encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(wanted, str(said.get("signature", ""))):
        return Proof(
            "Its signature is not this server's: it was forged, or signed elsewhere.", True
        )
    return Proof(None, True)


def chain_fault(statements: Sequence[Mapping[str, object]], key: bytes) -> str | None:
    """Where a row of statements first fails to hold, in words."""
    before = FIRST
    for position, said in enumerate(statements, start=1):
        if said.get("position") != position:
            return f"Statement {position} is missing."
        if any(said.get(name) != statements[0].get(name) for name in _WHOSE):
            return f"Statement {position} is another's."
        proof = proved(said, key=key, before=before)
        if proof.fault is not None:
            return f"Statement {position}: {proof.fault}"
        before = str(said["hash"])
    return None
