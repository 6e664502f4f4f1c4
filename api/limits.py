"""How often anybody may ask: which counter a request falls under, and what they are told."""

from dataclasses import dataclass
from time import time
from typing import Protocol

from domain.errors import TooMany
from domain.permissions import Principal

# Requests a minute, by class. None: not counted at all, not even a round trip.
CLASSES: dict[str, int | None] = {
    "login": 10,  # per address and e-mail
    "account": 30,  # per e-mail, from wherever: guessing from many addresses at once
    "signup": 5,
    "public": 120,
    "standard": 600,
    "high": 6_000,
    "unlimited": None,
}
WINDOW_SECONDS = 60


class Counter(Protocol):
    """Counts per key and window."""

    async def hit(self, key: str, *, seconds: int) -> int:
        """How often the key was hit in its window, this time included."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a caller stands in the present window."""

    limit: int
    used: int
    reset: int

    @property
    def left(self) -> int:
        """How many more there may be; below nothing after one too many."""
        return self.limit - self.used

    @property
    def headers(self) -> dict[str, str]:
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(max(0, self.left)),
            "RateLimit-Reset": str(self.reset),
        }

    def check(self) -> None:
        """Passes, or raises TooMany."""
        if self.left < 0:
            raise TooMany(
                f"More than {self.limit} requests a minute. Try again in {self.reset} seconds.",
                retry_after=self.reset,
            )


class Limits:
    """The limits of one process, counted for all of them in Redis where there is one."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    async def caller(self, caller: Principal) -> Standing | None:
        """Counts a request of somebody known: each credential's owner and kind on its own."""
        who = f"{caller.tenant_id}:{caller.kind}:{caller.id}:{caller.auth_method}"
        return await self.count(caller.rate_class, who)

    async def public(self, ip: str, route: str) -> Standing | None:
        """Counts a request of somebody unknown."""
        return await self.count("public", f"{ip}:{route}")

    async def count(self, rate_class: str, who: str) -> Standing | None:
        """Counts one request; None for a class without a limit."""
        limit = CLASSES[rate_class]
        if limit is None:
            return None
        now = time()
        window, gone = divmod(int(now), WINDOW_SECONDS)
        used = await self._counter.hit(f"{rate_class}:{who}:{window}", seconds=WINDOW_SECONDS)
        return Standing(limit, used, WINDOW_SECONDS - gone)
