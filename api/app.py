"""The composition root of the HTTP door: `uvicorn --factory api.app:create_app`."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from redis.asyncio import Redis

from adapters.limits import SharedCounter
from adapters.logs import configure_logging
from adapters.search import SearchIndex
from adapters.temporal import Facade
from api import (
    articles,
    attachments,
    audit,
    auth,
    bulk,
    bursts,
    canned,
    customers,
    document,
    escalations,
    health,
    holidays,
    knowledge,
    notifications,
    pages,
    people,
    policies,
    problems,
    promises,
    public,
    queues,
    search,
    simulations,
    sla,
    statements,
    tenants,
    tickets,
    tokens,
    triage,
    webhooks,
)
from api import settings as settings_
from api.limits import Limits
from api.middleware import BodyLimit, Envelope
from api.resources import Resources
from models.session import Database
from services.auth import Auth
from services.desks import Desks
from services.search import Search
from services.tickets import Tickets
from settings import Settings

logger = logging.getLogger(__name__)

DESCRIPTION = """
The help desk that keeps its promises. Errors are problems as in RFC 9457; every POST but signing in
and renewing tokens takes an `Idempotency-Key`; lists go on with `cursor`. A foreign id answers 404,
like one that never was. What was changed since you read it is not overwritten: send its `ETag` back
as `If-Match`.
"""


def routers() -> list[APIRouter]:
    """Every router of the application."""
    return [
        module.router
        for module in (
            # Looked through in this order at every request: the busiest first.
            public, tickets, auth, tenants, people, queues, tokens, audit,
            customers, settings_, sla, attachments, notifications, search, bulk,
            promises, simulations, statements,
            webhooks, policies, holidays, escalations,
            knowledge, canned, articles, bursts, triage,
        )
    ]  # fmt: skip


def create_app(settings: Settings | None = None, resources: Resources | None = None) -> FastAPI:
    """The application. Given `resources`, it uses them and leaves closing them to their owner."""
    settings = settings or (resources.settings if resources else Settings())
    if resources is None:
        configure_logging(settings)
    redis_url = settings.redis_url.get_secret_value() if settings.redis_url is not None else None
    counter = SharedCounter(redis_url)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # Nothing here waits for a server: Redis, Typesense and Temporal may come later.
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(counter.close)
            if resources is None:
                app.state.resources = await stack.enter_async_context(opened(settings))
                # What was imported stays: the collector need not walk through it again and again.
                gc.collect()
                gc.freeze()
            served: Resources = app.state.resources
            bell = asyncio.create_task(served.database.ring(), name="ring the relay")
            try:
                yield
            finally:
                bell.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await bell

    app = FastAPI(
        title="Holdfast",
        version="1",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # api.pages serves it, from here instead of from a CDN
        redoc_url=None,
    )
    if resources is not None:
        app.state.resources = resources
    app.state.limits = Limits(counter)
    problems.install(app)
    app.add_middleware(BodyLimit)
    # Added last, so it is the outermost.
    app.add_middleware(Envelope, https=settings.public_url.startswith("https:"))
    for router in (*routers(), health.router, pages.router):
        _take(app, router)
    document.complete(app)
    return app


def _take(app: FastAPI, router: APIRouter) -> None:
    """Adds a router's endpoints to the application itself.

    `include_router` would keep them in a tree, and a request would be held against every route at
    each level of it, twice.
    """
    for route in router.routes:
        if isinstance(route, APIRoute):
            app.router.routes.append(route)
        else:
            _take(app, route.original_router)  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Resources]:
    """What requests are served with; connects at the first use, is closed at the end."""
    async with contextlib.AsyncExitStack() as stack:
        database = Database(
            settings.database_url.get_secret_value(),
            pool_size=settings.database_pool_size,
            name="holdfast-api",
        )
        stack.push_async_callback(database.close)
        index = None
        if settings.typesense_url is not None and settings.typesense_api_key is not None:
            key = settings.typesense_api_key.get_secret_value()
            index = SearchIndex(settings.typesense_url, key)
            stack.push_async_callback(index.close)
        redis = None
        if settings.redis_url is not None:
            redis = Redis.from_url(
                settings.redis_url.get_secret_value(),
                socket_timeout=1.0,
                socket_connect_timeout=1.0,
            )
            stack.push_async_callback(redis.aclose)
        desks = Desks()
        auth = Auth(
            database,
            secret=settings.secret_key.get_secret_value(),
            public_url=settings.public_url,
        )
        yield Resources(
            settings=settings,
            database=database,
            desks=desks,
            tickets=Tickets(desks),
            auth=auth,
            search=Search(desks, index),
            workflows=Facade(settings),
            redis=redis,
        )


__all__ = ["create_app", "opened", "routers"]
