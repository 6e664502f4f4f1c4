"""A month's promises to one customer or organization as a document that can be proved.

A statement is JSON in one spelling. It holds the hash of the statement before it, its own hash, and
a signature over that hash: whoever changes a figure, or takes a statement out of the row, is seen.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FIRST = "0" * 64  # what the first statement of a chain follows
SIGNATURE = "HMAC-SHA256"
_SEALS = ("hash", "signature")
_PURPOSE = b"holdfast sla statement 1"


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
        proof = proved(said, key=key, before=before)
        if proof.fault is not None:
            return f"Statement {position}: {proof.fault}"
        before = str(said["hash"])
    return None
