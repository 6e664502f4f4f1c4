"""A POST that is sent twice happens once: its answer is kept with what it did."""

import hashlib
import hmac
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from psycopg.types.json import Jsonb

from domain.errors import Invalid
from models.session import Row, Statement, Work


class KeyReused(Invalid):
    code: ClassVar[str] = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used for a different request. Use a new key.",
            fields={"header/Idempotency-Key": "belongs to another request"},
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request was answered with."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class AnsweredBefore(Exception):
    """The request was carried out by an earlier sending of it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("answered before")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sending of a request: who sends it, under which key, asking what."""

    caller: str
    key: str
    fingerprint: bytes

    def _lock(self, tenant_id: uuid.UUID) -> int:
        name = f"{tenant_id}\0{self.caller}\0{self.key}".encode()
        return int.from_bytes(hashlib.sha256(name).digest()[:8], "big", signed=True)

    def guard(self, work: Work) -> None:
        """Asks for an earlier answer together with whatever the work sends first.

        That raises AnsweredBefore, or KeyReused: nothing of the work may stay then. Sendings of
        one key wait for each other there, until the first one is committed.
        """

        def check(rows: list[Row]) -> None:
            if rows:
                raise AnsweredBefore(self._answer(rows[0]))

        work.guard(self._lock(work.tenant_id), self._question(work.tenant_id), check=check)

    def _question(self, tenant: uuid.UUID) -> Statement:
        return (
            "select fingerprint, status, body, headers from idempotency_keys"
            " where tenant_id = %s and caller = %s and key = %s",
            (tenant, self.caller, self.key),
        )

    def keep(self, work: Work, answer: Answer, *, now: datetime) -> None:
        """Stores the answer with what was done: both are committed, or neither."""
        work.defer(
            (
                "insert into idempotency_keys"
                " (tenant_id, caller, key, fingerprint, status, body, headers, created_at)"
                " values (%s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    work.tenant_id, self.caller, self.key, self.fingerprint,
                    answer.status, answer.body, Jsonb(dict(answer.headers)), now,
                ),
            )
        )  # fmt: skip

    def _answer(self, row: Row) -> Answer:
        if bytes(row["fingerprint"]) != self.fingerprint:
            raise KeyReused
        return Answer(row["status"], bytes(row["body"]), row["headers"])


def founded_under(secret: str, caller: str, key: str) -> uuid.UUID:
    """The id of what has no tenant yet, as it is one: the same for a key that is sent again.

    The server's secret is part of it, so that nobody can choose a key that leads to an id.
    """
    name = f"{caller}\0{key}".encode()
    return uuid.UUID(
        bytes=hmac.digest(secret.encode(), b"founded\0" + name, "sha256")[:16], version=5
    )
