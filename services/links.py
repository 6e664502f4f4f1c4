"""Signed links: who holds one may see and answer one ticket, without an account."""

import base64
import binascii
import hmac
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.errors import NotFound

LIFETIME = timedelta(days=180)

_VERSION = b"\x01"
_SIGNED_BYTES = 1 + 16 + 16 + 6
_SIGNATURE_BYTES = 32


@dataclass(frozen=True, slots=True)
class TicketLink:
    """What a link opens."""

    tenant_id: uuid.UUID
    ticket_id: uuid.UUID


class Links:
    """Makes and reads links. Another secret makes all of them void."""

    def __init__(self, secret: str) -> None:
        # A key of its own, so that no signature made for another purpose is ever a link.
        self._key = hmac.digest(secret.encode(), b"holdfast/ticket-link", "sha256")

    def sign(
        self,
        tenant_id: uuid.UUID,
        ticket_id: uuid.UUID,
        *,
        now: datetime,
        life: timedelta = LIFETIME,
    ) -> str:
        """A link that opens the ticket until `now` + `life`, safe in a URL."""
        expiry = int((now + life).timestamp())
        said = _VERSION + tenant_id.bytes + ticket_id.bytes + expiry.to_bytes(6, "big")
        return base64.urlsafe_b64encode(said + self._signature(said)).rstrip(b"=").decode()

    def read(self, link: str, *, now: datetime) -> TicketLink:
        """What the link opens. Raises NotFound for one that is not ours, altered, or expired."""
        try:
            raw = base64.b64decode(
                link.encode("ascii") + b"=" * (-len(link) % 4), altchars=b"-_", validate=True
            )
        except (binascii.Error, ValueError):  # UnicodeEncodeError is a ValueError
            raise _NotFound from None
        said, signature = raw[:_SIGNED_BYTES], raw[_SIGNED_BYTES:]
        if len(signature) != _SIGNATURE_BYTES or not hmac.compare_digest(
            signature, self._signature(said)
        ):
            raise _NotFound
        if int.from_bytes(said[33:], "big") <= now.timestamp():
            raise _NotFound
        return TicketLink(uuid.UUID(bytes=said[1:17]), uuid.UUID(bytes=said[17:33]))

    def _signature(self, said: bytes) -> bytes:
        return hmac.digest(self._key, said, "sha256")


class _NotFound(NotFound):
    """One answer for all: nobody learns which part of a forged link was wrong."""

    code = "link_not_found"

    def __init__(self) -> None:
        super().__init__("This link is not valid, or no longer.")
