"""The composition root of the HTTP door: `uvicorn --factory api.app:create_app`."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.routing import APIRoute
from redis.asyncio import Redis
from starlette.convertors import StringConvertor
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.limits import SharedCounter
from adapters.logs import configure_logging
from adapters.search import SearchIndex
from adapters.temporal import Facade
from api import (
    alerts,
    articles,
    attachments,
    audit,
    auth,
    bulk,
    bursts,
    canned,
    customers,
    document,
    drafting,
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
    rotas,
    search,
    simulations,
    sla,
    starting,
    statements,
    tenants,
    tickets,
    times,
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
            promises, times, simulations, statements, alerts,
            webhooks, policies, holidays, escalations, rotas, starting,
            knowledge, canned, articles, bursts, triage, drafting,
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

    app = Application(
        https=settings.public_url.startswith("https:"),
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
    for router in (*routers(), health.router, pages.router):
        _take(app, router)
    app.router.middleware_stack = Signposts(app.router)
    document.complete(app)
    return app


class Application(FastAPI):
    """FastAPI with just the layers that are needed: the envelope answers for what nobody caught."""

    def __init__(self, *, https: bool, **options: Any) -> None:
        super().__init__(**options)
        self._https = https

    def build_middleware_stack(self) -> ASGIApp:
        refusing = ExceptionMiddleware(
            AsyncExitStackMiddleware(self.router), handlers=self.exception_handlers
        )
        return Envelope(BodyLimit(refusing), https=self._https)


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


# A part of a path, None for any, and at the end the method.
_Sign = str | None | tuple[str]


class Signposts:
    """Leads a request to its endpoint by the parts of its path.

    A router holds a request against one route after the other, some two hundred of them. What is
    not found here goes through that list, and gets the list's answer.
    """

    def __init__(self, router: APIRouter) -> None:
        self._listed: ASGIApp = router.middleware_stack
        self._router = router
        self._signs: dict[_Sign, Any] = {}
        for route in router.routes:
            if isinstance(route, APIRoute) and all(
                type(convertor) is StringConvertor for convertor in route.param_convertors.values()
            ):
                self._put_up(route)

    def _put_up(self, route: APIRoute) -> None:
        here = self._signs
        names: list[tuple[str, int]] = []
        for at, part in enumerate(route.path_format.split("/")):
            if part[:1] == "{" and part[-1:] == "}":
                names.append((part[1:-1], at))
                here = here.setdefault(None, {})
            else:
                here = here.setdefault(part, {})
        for method in route.methods or ():
            here.setdefault((method,), (route, names))

    def find(self, scope: Scope) -> tuple[APIRoute, dict[str, str]] | None:
        """The endpoint for a path and a method, with what the path says."""
        parts = scope["path"].split("/")
        found = _led(self._signs, parts, 0, scope["method"])
        if found is None:
            return None
        route, names = found
        return route, {name: parts[at] for name, at in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = None
        if scope["type"] == "http" and not scope.get("root_path"):
            found = self.find(scope)
        if found is None:
            await self._listed(scope, receive, send)
            return
        route, said = found
        scope["route"], scope["endpoint"], scope["path_params"] = route, route.endpoint, said
        scope["router"] = self._router
        await route.app(scope, receive, send)


def _led(
    signs: Mapping[_Sign, Any], parts: Sequence[str], at: int, method: str
) -> tuple[APIRoute, list[tuple[str, int]]] | None:
    if at == len(parts):
        led: tuple[APIRoute, list[tuple[str, int]]] | None = signs.get((method,))
        return led
    for sign in (parts[at], None):
        if sign is None and not parts[at]:
            continue  # no parameter is empty
        further = signs.get(sign)
        if further is not None and (found := _led(further, parts, at + 1, method)) is not None:
            return found
    return None


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
