"""A POST that is sent twice happens once: its answer is kept with what it did."""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from domain.errors import Conflict, Invalid
from models.session import Row, Work


class KeyReused(Invalid):
    code: ClassVar[str] = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used for a different request. Use a new key.",
            fields={"header/Idempotency-Key": "belongs to another request"},
        )


class Busy(Conflict):
    code: ClassVar[str] = "busy"

    def __init__(self) -> None:
        super().__init__("Somebody is changing the same thing. Nothing was done; try again.")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered with."""

    status: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending of a request: who sends it, under which key, asking what."""

    caller: str
    key: str
    fingerprint: bytes

    def _lock(self, tenant_id: uuid.UUID) -> int:
        name = f"{tenant_id}\0{self.caller}\0{self.key}".encode()
        return int.from_bytes(hashlib.sha256(name).digest()[:8], "big", signed=True)

    async def earlier(self, work: Work) -> Answer | None:
        """The answer an earlier sending got; None makes this the first one.

        Sendings of one key wait for each other here. Raises KeyReused.
        """
        tenant = work.tenant_id
        _, rows = await work.batch(
            ("select pg_advisory_xact_lock(%s)", (self._lock(tenant),)),
            (
                "select fingerprint, status, body from idempotency_keys"
                " where tenant_id = %s and caller = %s and key = %s",
                (tenant, self.caller, self.key),
            ),
        )
        return self._answer(rows[0]) if rows else None

    async def keep(self, work: Work, answer: Answer, *, now: datetime) -> Answer | None:
        """Stores the answer, to be committed with what was done.

        Returns another answer where a sending of the same key was committed since `earlier` (a
        transaction that restarts lets go of its locks): then this one is undone and that answer
        is the one to give.
        """
        tenant = work.tenant_id
        [stored] = await work.batch(
            (
                "insert into idempotency_keys"
                " (tenant_id, caller, key, fingerprint, status, body, created_at)"
                " values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing returning status",
                (
                    tenant, self.caller, self.key, self.fingerprint,
                    answer.status, answer.body, now,
                ),
            )
        )  # fmt: skip
        if stored:
            return None
        await work.restart()
        other = await self.earlier(work)
        if other is None:
            raise Busy
        return other

    def _answer(self, row: Row) -> Answer:
        if bytes(row["fingerprint"]) != self.fingerprint:
            raise KeyReused
        return Answer(row["status"], bytes(row["body"]))
