"""What goes wrong, as RFC 9457 problems. Families of refusals get their status here, once."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import cast

import orjson
import psycopg
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from psycopg import errors as pg
from starlette.exceptions import HTTPException
from starlette.types import Scope

from api.limits import Standing
from domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Refusal,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
)

logger = logging.getLogger(__name__)

FAMILIES: tuple[tuple[type[Refusal], int, str], ...] = (
    (Unauthenticated, 401, "We do not know who you are"),
    (Forbidden, 403, "You may not do this"),
    (NotFound, 404, "There is no such thing"),
    (Conflict, 409, "This does not fit what it has become"),
    (TooLarge, 413, "The request is too large"),
    (Invalid, 422, "The request is not valid"),
    (TooMany, 429, "Too many requests"),
    (Unavailable, 503, "Not available right now"),
)
MEDIA_TYPE = "application/problem+json"
UNAVAILABLE_RETRY_SECONDS = "2"

_TITLES = {status: title for _, status, title in FAMILIES} | {
    400: "The request cannot be read",
    405: "This method is not allowed here",
    500: "Something went wrong on our side",
}
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def problem(
    *,
    status: int,
    code: str,
    detail: str,
    path: str,
    request_id: str | None,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem as a response."""
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    body = {
        "type": f"urn:holdfast:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "instance": path,
        "request_id": request_id,
        "errors": errors or [],
    }
    return Response(
        orjson.dumps(body), status_code=status, media_type=MEDIA_TYPE, headers=headers or {}
    )


def _answer(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    standing: Standing | None = getattr(request.state, "standing", None)
    return problem(
        status=status,
        code=code,
        detail=detail,
        path=request.url.path,
        request_id=getattr(request.state, "request_id", None),
        errors=errors,
        headers={**(standing.headers if standing else {}), **(headers or {})},
    )


def _refused(request: Request, refusal: Refusal) -> Response:
    status = next((s for family, s, _ in FAMILIES if isinstance(refusal, family)), 422)
    headers: dict[str, str] = {}
    if isinstance(refusal, Unauthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="holdfast"'
    if isinstance(refusal, TooMany):
        headers["Retry-After"] = str(refusal.retry_after)
    if isinstance(refusal, Unavailable):
        headers["Retry-After"] = UNAVAILABLE_RETRY_SECONDS
    return _answer(
        request,
        status,
        refusal.code,
        refusal.detail,
        errors=[{"pointer": p, "detail": d} for p, d in refusal.fields.items()],
        headers=headers,
    )


async def _on_refusal(request: Request, error: Exception) -> Response:
    return _refused(request, cast("Refusal", error))


def _pointer(location: tuple[str | int, ...]) -> str:
    where, *rest = location
    steps = [str(step).replace("~", "~0").replace("/", "~1") for step in rest]
    if where == "body":
        return "".join(f"/{step}" for step in steps)
    return "/".join([str(where), *steps])


def _steps(fault: Mapping[str, object], body: object) -> tuple[str | int, ...]:
    """The way to a fault in the body as it was sent.

    Pydantic also names which of several shapes it tried; that is no place in anybody's body.
    """
    where, *rest = cast("tuple[str | int, ...]", fault["loc"])
    if where != "body":
        return (where, *rest)
    found: list[str | int] = []
    value = body
    for place, step in enumerate(rest):
        follows = rest[place + 1 : place + 2]
        is_last = not follows
        if _leads(value, step):
            inside = value[step]  # type: ignore[index]
            named = any(_leads(value, each) and not _leads(inside, each) for each in follows)
            if named and not isinstance(follows[0], int):
                continue  # the name of a shape that happens to be that of a field
            found.append(step)
            value = inside
        elif is_last and fault["type"] == "missing":
            found.append(step)
    return ("body", *found)


def _leads(value: object, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(value, list) and 0 <= step < len(value)
    return isinstance(value, dict) and step in value


async def _on_validation(request: Request, error: Exception) -> Response:
    faults = cast("RequestValidationError", error).errors()
    broken = next((f for f in faults if f["type"] == "json_invalid"), None)
    if broken is not None:
        return _answer(
            request,
            400,
            "malformed_json",
            f"The body is not JSON: {broken['ctx']['error']} at character {broken['loc'][-1]}.",
        )
    body = cast("RequestValidationError", error).body
    errors = [
        {"pointer": _pointer(_steps(f, body)), "detail": f["msg"].removeprefix("Value error, ")}
        for f in faults[:50]
    ]
    first = errors[0]
    where = first["pointer"] or "the body"
    return _answer(request, 422, "invalid", f"{where}: {first['detail']}.", errors=errors)


async def _on_http(request: Request, error: Exception) -> Response:
    refused = cast("HTTPException", error)
    code = _CODES.get(refused.status_code, "refused")
    detail = str(refused.detail or HTTPStatus(refused.status_code).phrase)
    if refused.status_code == 404 and detail == "Not Found":
        detail = "There is nothing at this address."
    if refused.status_code == 405:
        detail = f"{request.method} is not allowed here."
    return _answer(request, refused.status_code, code, detail, headers=dict(refused.headers or {}))


async def _on_database(request: Request, error: Exception) -> Response:
    """Constraints and limits of the tables that no rule caught before.

    The database's own words name columns and values: they are logged, never sent.
    """
    match error:
        case pg.UniqueViolation():
            code, status = "already_exists", 409
            detail = "There is one like this already."
        case pg.ForeignKeyViolation():
            code, status = "unknown_reference", 422
            detail = "The request names something that does not exist, or is still in use."
        case pg.CheckViolation() | pg.NotNullViolation():
            code, status = "invalid", 422
            detail = "A value is not one that is allowed."
        case psycopg.DataError():
            code, status = "invalid", 422
            detail = "A value cannot be stored: a character or a number out of range."
        case pg.LockNotAvailable() | pg.DeadlockDetected() | pg.SerializationFailure():
            code, status = "busy", 409
            detail = "Somebody is changing the same thing. Nothing was done; try again."
        case pg.QueryCanceled():
            return _refused(request, Unavailable("This took too long. Nothing was changed."))
        case psycopg.OperationalError() | psycopg.InterfaceError():
            logger.warning("the database went away", exc_info=error)
            return _refused(
                request, Unavailable("The database does not answer. Nothing was changed.")
            )
        case _:
            return unexpected(error, request.scope)
    # Neither its words nor the statement's values: both hold what people wrote.
    logger.warning(
        "the database refused: %s (constraint %s)",
        type(error).__name__,
        error.diag.constraint_name if isinstance(error, psycopg.Error) else None,
    )
    headers = {"Retry-After": "1"} if code == "busy" else {}
    return _answer(request, status, code, detail, headers=headers)


async def _on_text(request: Request, error: Exception) -> Response:
    """Half a surrogate pair: JSON can spell it, UTF-8 cannot."""
    del error
    return _answer(request, 422, "invalid", "A text holds characters that are not Unicode.")


def unexpected(error: BaseException, scope: Scope) -> Response:
    """A bug: logged with its traceback, told without a word of it.

    The log has the route's template, never the path: some paths are signed links.
    """
    logger.error("unexpected error", exc_info=error, extra={"route": template(scope)})
    return problem(
        status=500,
        code="internal",
        detail="This is a mistake of ours and has been logged. Quote the request id.",
        path=scope["path"],
        request_id=scope.get("state", {}).get("request_id"),
    )


def template(scope: Scope) -> str:
    """The route's path with its parameters' names, so that a metric has few labels."""
    route = scope.get("route")
    return str(getattr(route, "path", None) or "unknown")


def install(app: FastAPI) -> None:
    """Makes every failure of `app` a problem."""
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(RequestValidationError, _on_validation)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(psycopg.Error, _on_database)
    app.add_exception_handler(UnicodeEncodeError, _on_text)


_DOCUMENTED = {
    400: "The request cannot be read.",
    401: "No credentials, or none we know.",
    403: "The caller lacks the permission.",
    404: "No such thing, or none the caller may know of.",
    409: "The request does not fit what the thing has become.",
    413: "The body is larger than is taken.",
    422: "The request is not valid; `errors` says where.",
    429: "Too many requests; `Retry-After` says when the next will be taken.",
    503: "Postgres does not answer; nothing was done.",
}


def documented(
    *, known: bool, gated: bool, has_path: bool, method: str
) -> dict[int | str, dict[str, object]]:
    """The problems a route can answer with, for the OpenAPI document."""
    statuses = {422, 429, 503}
    if known:
        statuses.add(401)
    if gated:
        statuses.add(403)
    if has_path:
        statuses.add(404)
    if method in ("POST", "PUT", "PATCH", "DELETE"):
        statuses |= {400, 409}
    if method in ("POST", "PUT", "PATCH"):
        statuses.add(413)
    return also(*statuses)


def also(*statuses: int) -> dict[int | str, dict[str, object]]:
    """Problems for the OpenAPI document: a route names those that its parameters do not tell."""
    return {
        status: {
            "description": _DOCUMENTED[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted(statuses)
    }
