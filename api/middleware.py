"""What every request gets, whatever its route: an id, safe headers, a log line, a measurement."""

import re
import time
import uuid
from functools import lru_cache
from typing import cast

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem, template, unexpected
from domain.permissions import Principal

MAX_BODY_BYTES = 30 * 1024 * 1024  # a mail with its attachments, as most mail servers take it

logger = structlog.get_logger("holdfast.access")

REQUESTS = Counter("http_requests_total", "Requests answered.", ("method", "route", "status"))
DURATION = Histogram(
    "http_request_duration_seconds",
    "From the first byte of the request to the last of the response.",
    ("method", "route"),
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
)

_SANE_ID = re.compile(r"[A-Za-z0-9._:/+=-]{8,128}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SAFE = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HUNG_UP = 499  # as web servers count it; never sent
_HSTS = "max-age=31536000"


@lru_cache(maxsize=10_000)
def _measured(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, str(status)), DURATION.labels(method, route)


class Envelope:
    """Names each request, and answers for whatever was left unanswered."""

    def __init__(self, app: ASGIApp, *, https: bool = False) -> None:
        self._app = app
        # Only where the desk is reached by https: else a browser could reach it no more.
        safe = {**_SAFE, **({"Strict-Transport-Security": _HSTS} if https else {})}
        self._safe = [(name.lower().encode(), value.encode()) for name, value in safe.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope)
        request_id = _sane(given.get("x-request-id")) or uuid.uuid4().hex
        correlation_id = _sane(given.get("x-correlation-id"))
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["correlation_id"] = correlation_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        if correlation_id:
            structlog.contextvars.bind_contextvars(correlation_id=correlation_id)
        began = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                said = message["headers"]
                names = {name for name, _ in said}
                added = [(b"x-request-id", request_id.encode())]
                if correlation_id:
                    added.append((b"x-correlation-id", correlation_id.encode()))
                added += [pair for pair in self._safe if pair[0] not in names]
                message["headers"] = [*said, *added]
            await send(message)

        try:
            await self._app(scope, receive, answer)
        except ClientDisconnect:
            # Hung up before all was sent: nobody is there to be answered, nothing is wrong here.
            status = status or _HUNG_UP
        except Exception as error:
            response = unexpected(error, scope)
            if status:  # half an answer is out: cut the connection, do not end it neatly
                raise
            await response(scope, receive, answer)
        finally:
            self._measure(scope, status, time.perf_counter() - began)

    @staticmethod
    def _measure(scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route = template(scope)
        answered, took = _measured(method, route, status)
        answered.inc()
        took.observe(seconds)
        if route in ("/livez", "/readyz", "/metrics"):
            return
        caller = cast("Principal | None", scope["state"].get("principal"))
        logger.info(
            "request",
            method=method,
            route=route,
            status=status,
            duration_ms=round(seconds * 1000, 1),
            tenant=caller.tenant_slug if caller else None,
        )


def _sane(given: str | None) -> str | None:
    return given if given is not None and _SANE_ID.fullmatch(given) else None


class BodyLimit:
    """Refuses bodies over a size: by their announced length, or while they come in."""

    def __init__(self, app: ASGIApp, limit_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._limit = limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        detail = f"A request holds at most {self._limit} bytes."
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced) > self._limit:
            response = problem(
                status=413,
                code="too_large",
                detail=detail,
                path=scope["path"],
                request_id=scope.get("state", {}).get("request_id"),
            )
            await response(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            if message["type"] == "http.request":
                taken += len(message.get("body", b""))
                if taken > self._limit:
                    raise HTTPException(413, detail)
            return message

        await self._app(scope, counted, send)
