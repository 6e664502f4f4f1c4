"""What all of authentication shares."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from cachetools import TTLCache

from domain.permissions import Principal
from models.session import Database
from services.auth.hashing import PASSWORD_MAX, matches
from services.passwords import PasswordLinks
from services.tickets import Origin, clock

CACHE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Known:
    """Whose a credential is, until it expires."""

    principal: Principal
    expires_at: datetime | None


class Base:
    """Keys, the clock, and the patience for hashing."""

    def __init__(
        self,
        database: Database,
        *,
        secret: str,
        public_url: str,
        now: Callable[[], datetime] = clock,
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        self._database = database
        # Each use has a key of its own: a link can never pass for an access token.
        self._access_key = hashlib.sha256(b"access\0" + secret.encode()).digest()
        self._refresh_key = hashlib.sha256(b"refresh\0" + secret.encode()).digest()
        self._links = PasswordLinks(secret, public_url=public_url)
        self._now = now
        self._known: TTLCache[bytes, Known] = TTLCache(50_000, max(cache_seconds, 0.000_1))
        # Hashing is memory and CPU: more at once would only make all of them late.
        self._hashing = asyncio.Semaphore(4)

    async def _verify(self, stored: str, password: str) -> bool:
        async with self._hashing:
            return await asyncio.to_thread(matches, stored, password[:PASSWORD_MAX])


def by(origin: Origin, method: str) -> Origin:
    """The origin with what the caller proved themselves by."""
    return Origin(request_id=origin.request_id, ip=origin.ip, auth_method=method)
