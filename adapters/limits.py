"""Counting requests: in Redis for all processes, in memory while Redis is away."""

import logging
import time

from limits.aio.storage import MemoryStorage, RedisStorage
from redis.asyncio import ConnectionPool
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

# While Redis is away it is asked again this often, not at every request.
RETRY_SECONDS = 5.0


class SharedCounter:
    """Hits per key. Never fails: without Redis each process counts by itself."""

    def __init__(self, redis_url: str | None) -> None:
        self._memory = MemoryStorage()
        self._redis: RedisStorage | None = None
        self._pool: ConnectionPool | None = None
        self._asleep_until = 0.0
        if redis_url is not None:
            self._pool = ConnectionPool.from_url(
                redis_url, socket_timeout=0.25, socket_connect_timeout=0.25
            )
            self._redis = RedisStorage(
                f"async+{redis_url}",
                implementation="redispy",
                key_prefix="holdfast:limits",
                connection_pool=self._pool,  # type: ignore[arg-type]
            )

    async def hit(self, key: str, *, seconds: int) -> int:
        """How often the key was hit in its window, this time included."""
        if self._redis is not None and time.monotonic() >= self._asleep_until:
            try:
                return await self._redis.incr(key, seconds)
            except (RedisError, OSError, TimeoutError):
                self._asleep_until = time.monotonic() + RETRY_SECONDS
                logger.warning("rate limits are counted per process: Redis does not answer")
        return await self._memory.incr(key, seconds)

    async def close(self) -> None:
        """Lets the connections go."""
        if self._pool is not None:
            await self._pool.aclose()
