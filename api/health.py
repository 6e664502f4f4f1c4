"""Whether this process lives, whether it can serve, and what it counted."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from api.deps import Served
from api.document import operation_id
from api.resources import Resources
from api.shapes import Shape
from domain.errors import Unavailable

router = APIRouter(tags=["health"], generate_unique_id_function=operation_id)

PROBE_SECONDS = 2.0

State = Literal["up", "down", "off"]


class Dependency(Shape):
    """One server this process leans on. `off`: none is set up."""

    state: State
    milliseconds: float | None = None
    without: str | None = None


class Readiness(Shape):
    ready: bool
    degraded: list[str]
    dependencies: dict[str, Dependency]


# What is lost while each is away; only Postgres is needed to serve.
WITHOUT = {
    "postgres": "nothing is accepted",
    "redis": "live updates pause; rate limits are counted per process",
    "temporal": "timers, mails and triage wait until it is back",
    "search": "search answers from Postgres, marked degraded",
}


@router.head("/livez", include_in_schema=False)
@router.get("/livez", summary="Whether the process runs")
async def livez() -> dict[str, str]:
    return {"state": "up"}


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    summary="Whether requests can be served, and what is degraded",
    responses={503: {"model": Readiness, "description": "Postgres does not answer."}},
)
async def readyz(served: Served, response: Response) -> Readiness:
    """200 while Postgres answers; other servers that are away are named, not fatal."""
    probes: dict[str, Callable[[], Awaitable[bool]] | None] = {
        "postgres": lambda: _postgres(served),
        "redis": (lambda: _redis(served)) if served.redis is not None else None,
        "temporal": served.workflows.healthy,
        "search": _search(served),
    }
    states = dict(
        zip(probes, await asyncio.gather(*(_ask(n, p) for n, p in probes.items())), strict=True)
    )
    ready = states["postgres"].state == "up"
    if not ready:
        response.status_code = 503
        response.headers["Retry-After"] = "2"
    return Readiness(
        ready=ready,
        degraded=[name for name, found in states.items() if found.state == "down"],
        dependencies=states,
    )


@router.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    return Response(generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _ask(name: str, probe: Callable[[], Awaitable[bool]] | None) -> Dependency:
    if probe is None:
        return Dependency(state="off", without=WITHOUT[name])
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            up = await probe()
    except Exception:  # a probe that fails in whatever way says one thing: it is down
        up = False
    return Dependency(
        state="up" if up else "down",
        milliseconds=round((time.perf_counter() - began) * 1000, 1),
        without=None if up else WITHOUT[name],
    )


async def _postgres(served: Resources) -> bool:
    try:
        async with served.database.transaction(None) as work:
            await work.execute("select 1")
    except Unavailable:
        return False
    return True


async def _redis(served: Resources) -> bool:
    return served.redis is not None and bool(await served.redis.ping())


def _search(served: Resources) -> Callable[[], Awaitable[bool]] | None:
    if served.settings.typesense_url is None:
        return None
    return served.search.healthy
