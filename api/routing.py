"""The route class of every endpoint: who may, how often, and a POST that happens once."""

import hashlib
import hmac
import inspect
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from dataclasses import replace
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache, wraps
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import orjson
from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, request_response, serialize_response
from pydantic import BaseModel, SecretStr
from starlette.datastructures import UploadFile
from starlette.types import Message, Receive, Scope, Send

from api.deps import (
    IDEMPOTENCY_HEADER,
    Allowed,
    address,
    count,
    idempotency_key,
    limits,
    principal,
    resources,
    sender,
)
from api.document import operation_id
from api.plans import Plan, Unplanned
from api.problems import documented
from domain.errors import Conflict, Invalid, Unauthenticated
from domain.permissions import Permission, Principal
from models.session import Work
from services.idempotency import Answer, AnsweredBefore, Attempt
from services.sealing import Seal, Unsealable

Endpoint = Callable[..., Awaitable[object]]
Handler = Callable[[Request], Coroutine[Any, Any, Response]]

Shown = TypeVar("Shown", bound=Callable[..., object])

_SHOWN_ONCE: set[Callable[..., object]] = set()
_WITHOUT_KEY: set[Callable[..., object]] = set()
# What a repeated answer says again beside its body: where the thing is, and in which version.
_KEPT = ("location", "etag")
_OFFERED = {
    "name": IDEMPOTENCY_HEADER,
    "in": "header",
    "required": False,
    "description": "The same key again gets the same answer and does nothing twice.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}
_request: ContextVar[Request] = ContextVar("request")
_MOST_TOLD = 50  # faults of one request
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


class AlreadyShown(Conflict):
    code = "already_shown"

    def __init__(self) -> None:
        super().__init__(
            "This was done under the same Idempotency-Key, and its secret was shown then. It"
            " cannot be read any more; make a new one with a new key."
        )


def shown_once(endpoint: Shown) -> Shown:
    """Marks an endpoint whose answer holds a secret: it is kept for repetitions under seal."""
    _SHOWN_ONCE.add(endpoint)
    return endpoint


def without_key(endpoint: Shown) -> Shown:
    """Marks a POST that takes no Idempotency-Key: its answer is a secret, made anew each time."""
    _WITHOUT_KEY.add(endpoint)
    return endpoint


class Route(APIRoute):
    """An endpoint behind its gates.

    Before a byte of the body is read: who asks (401), whether they may (403), whether too often
    (429); then whether all it asks is known (422). A POST obeys `Idempotency-Key`.
    """

    def __init__(self, path: str, endpoint: Endpoint, **options: Any) -> None:
        if not inspect.iscoroutinefunction(endpoint):
            raise TypeError(f"{path}: endpoints are coroutines, {endpoint} is not")
        self._gates: frozenset[Permission] = frozenset()
        self._known = False
        self.takes_key = "POST" in (options.get("methods") or ()) and endpoint not in _WITHOUT_KEY
        if self.takes_key:
            endpoint = self._once(endpoint)
        # What the dependencies say is only known once they were read; the OpenAPI document needs
        # it before, so they are read twice.
        probe = APIRoute(path, endpoint, methods=options.get("methods"))
        calls = list(_calls(probe.dependant))
        self._queries = _queries(probe.dependant)
        self._gates = frozenset(c.permission for c in calls if isinstance(c, Allowed))
        self._known = principal in calls
        options["responses"] = {
            **documented(
                known=self._known,
                gated=bool(self._gates),
                has_path=bool(probe.dependant.path_params),
                method=next(iter(options.get("methods") or ("GET",))),
            ),
            **(options.get("responses") or {}),
        }
        if self._known:
            options["openapi_extra"] = {
                "security": [{"bearer": []}],
                **({"x-permission": sorted(self._gates)} if self._gates else {}),
                **(options.get("openapi_extra") or {}),
            }
        if self.takes_key:
            options["openapi_extra"] = {
                **(options.get("openapi_extra") or {}), "parameters": [_OFFERED]
            }  # fmt: skip
        options["generate_unique_id_function"] = operation_id
        super().__init__(path, endpoint, **options)
        self._plan = Plan.made(self.dependant, self._answered)
        if self._plan is not None:
            self._otherwise = request_response(self._by_fastapi)
            self.app = self._serve

    @property
    def permissions(self) -> frozenset[Permission]:
        """What a caller needs, all of it."""
        return self._gates

    @property
    def public(self) -> bool:
        """Whether nobody is asked who they are."""
        return not self._known

    def get_route_handler(self) -> Handler:
        self._unplanned = super().get_route_handler()

        async def handler(request: Request) -> Response:
            await self._pass(request)
            return await self._by_fastapi(request)

        return handler

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An endpoint that has a plan, without FastAPI but for what the plan cannot answer."""
        assert self._plan is not None
        request = Request(scope, receive, send)
        await self._pass(request)
        try:
            response = await self._plan(request)
        except Unplanned:
            body = await request.body()

            async def again() -> Message:
                return {"type": "http.request", "body": body, "more_body": False}

            await self._otherwise(scope, again, send)
            return
        await _with_standing(request, response)(scope, receive, send)

    async def _by_fastapi(self, request: Request) -> Response:
        return _with_standing(request, await self._unplanned(request))

    async def _pass(self, request: Request) -> None:
        """The gates."""
        _request.set(request)
        caller = await _recognised(request) if self._known else None
        if caller is not None:
            standing = await limits(request).caller(caller)
        else:
            standing = await limits(request).public(address(request), self.path_format)
        request.state.standing = standing
        if standing is not None:
            standing.check()
        if caller is not None:
            for permission in self._gates:
                caller.require(permission)
        self._refuse_unknown(request)
        await _refuse_unstorable(request)

    def _refuse_unknown(self, request: Request) -> None:
        """A misspelt filter would show everything, and look like an answer."""
        if self._queries is None or not request.scope["query_string"]:
            return
        unknown = sorted(set(request.query_params) - self._queries)
        if unknown:
            raise Invalid(
                f"{unknown[0]!r} is not a parameter here. Known:"
                f" {', '.join(sorted(self._queries)) or 'none'}.",
                fields={f"query/{name}": "is not known here" for name in unknown[:50]},
            )

    def _once(self, endpoint: Endpoint) -> Endpoint:
        secret = endpoint in _SHOWN_ONCE

        @wraps(endpoint)
        async def once(*args: object, **values: object) -> object:
            work = next((v for v in values.values() if isinstance(v, Work)), None)
            request = _request.get()
            key = idempotency_key(request)
            if work is None or key is None:
                return await endpoint(*args, **values)
            attempt = Attempt(sender(request), key, await _fingerprint(request, values))
            attempt.guard(work)
            try:
                if any(isinstance(value, UploadFile) for value in values.values()):
                    await work.flush()  # it would be stored before the database is asked
                shaped = next((v for v in values.values() if isinstance(v, Response)), None)
                response = await self._answered(await endpoint(*args, **values), shaped)
                body = getattr(response, "body", None)
                if not isinstance(body, bytes):
                    return response  # a stream: nothing to keep
                headers = {n: response.headers[n] for n in _KEPT if n in response.headers}
                kept = _sealed_answer(request, attempt, body) if secret else body
                answer = Answer(response.status_code, kept, headers)
                if work.guarded:
                    await work.flush()  # the endpoint has asked the database nothing
                attempt.keep(work, answer, now=datetime.now(UTC))
            except AnsweredBefore as earlier:
                await work.restart(unguarded=True)
                answer = earlier.answer
                if secret:
                    answer = replace(answer, body=_opened_answer(request, attempt, answer.body))
                return _replayed(answer)
            return response

        return once

    async def _answered(self, raw: object, shaped: Response | None) -> Response:
        """What FastAPI would make of an endpoint's result, made while the transaction is open."""
        if isinstance(raw, Response):
            return raw
        status = (shaped.status_code if shaped else None) or self.status_code or 200
        body = b""
        if isinstance(raw, BaseModel) and type(raw) is self.response_model:
            body = raw.model_dump_json(by_alias=True).encode()  # it was validated when it was made
        elif status not in (204, 304):
            content = await serialize_response(
                field=self.response_field,
                response_content=raw,
                by_alias=self.response_model_by_alias,
                exclude_unset=self.response_model_exclude_unset,
                exclude_none=self.response_model_exclude_none,
                is_coroutine=True,
                dump_json=self.response_field is not None,
            )
            body = content if isinstance(content, bytes) else orjson.dumps(content)
        response = Response(body, status_code=status, media_type="application/json")
        if shaped is not None:
            response.headers.update(
                {k: v for k, v in shaped.headers.items() if k != "content-length"}
            )
        return response


def _with_standing(request: Request, response: Response) -> Response:
    nearest = request.state.standing
    if nearest is not None:
        response.headers.update(nearest.headers)
    return response


async def _recognised(request: Request) -> Principal:
    """The caller. Guessing at credentials is counted; sending none is not."""
    try:
        return await principal(request)
    except Unauthenticated:
        if "authorization" in request.headers:
            await count(request, "public", f"{address(request)}:unknown credentials")
        raise


async def _refuse_unstorable(request: Request) -> None:
    """JSON can spell what Postgres and UTF-8 cannot hold: NUL, and halves of surrogate pairs."""
    if "json" not in request.headers.get("content-type", ""):
        return
    body = await request.body()
    if not _SUSPECT.search(body):
        return
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return  # the parser that comes next says where
    found = [*islice(_unstorable(said), _MOST_TOLD)]
    if found:
        raise Invalid(
            "A text holds a character that cannot be stored (NUL or half a pair).",
            fields=dict.fromkeys(found, "holds a character that cannot be stored"),
        )


def _unstorable(body: object) -> Iterator[str]:
    """Where such texts stand, as pointers; a name that is one is told by what it stands in."""
    left = [("", body)]
    while left:
        pointer, said = left.pop()
        match said:
            case str() if "\0" in said or not _encodes(said):
                yield pointer
            case list():
                left += [(f"{pointer}/{place}", one) for place, one in enumerate(said)][::-1]
            case dict():
                for name, value in reversed(said.items()):
                    if "\0" in name or not _encodes(name):
                        yield pointer
                    else:
                        step = name.replace("~", "~0").replace("/", "~1")
                        left.append((f"{pointer}/{step}", value))


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _calls(dependant: Dependant) -> Iterator[object]:
    for part in dependant.dependencies:
        yield part.call
        yield from _calls(part)


def _queries(dependant: Dependant) -> frozenset[str] | None:
    """The query parameters an endpoint and its dependencies take; None: they look themselves."""
    names: set[str] = set()
    for field in dependant.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind.model_config.get("extra") == "allow":
                return None
            names |= {said.alias or name for name, said in kind.model_fields.items()}
        else:
            names.add(field.alias)
    for part in dependant.dependencies:
        further = _queries(part)
        if further is None:
            return None
        names |= further
    return frozenset(names)


def _seal(request: Request, attempt: Attempt) -> tuple[Seal, str]:
    """The server's, and what an answer to this attempt alone is opened as."""
    secret = resources(request).settings.secret_key.get_secret_value()
    return Seal(secret), f"answer\0{attempt.caller}\0{attempt.key}"


def _sealed_answer(request: Request, attempt: Attempt, body: bytes) -> bytes:
    seal, place = _seal(request, attempt)
    return seal.sealed(body.decode(), place=place)


def _opened_answer(request: Request, attempt: Attempt, body: bytes) -> bytes:
    seal, place = _seal(request, attempt)
    try:
        return seal.opened(body, place=place).encode()
    except Unsealable:  # the server's own key is another by now
        raise AlreadyShown from None


def _replayed(answer: Answer) -> Response:
    return Response(
        answer.body,
        status_code=answer.status,
        media_type="application/json",
        headers={**answer.headers, "Idempotency-Replayed": "true"},
    )


async def _fingerprint(request: Request, values: dict[str, object]) -> bytes:
    """What the request asks, whatever its spelling: the address and the validated values."""
    digest = hashlib.sha256(f"{request.method} {request.scope['path']}".encode())
    for name in sorted(values):
        value = values[name]
        said = await _said(value)
        if said is not None:
            digest.update(b"\0" + name.encode() + b"\0" + said)
        if isinstance(value, BaseModel) and _secrets(type(value)):
            digest.update(_sealed(value, resources(request).settings.secret_key))
    return digest.digest()


@lru_cache(maxsize=1000)
def _secrets(kind: type[BaseModel]) -> tuple[str, ...]:
    return tuple(n for n, said in kind.model_fields.items() if said.annotation is SecretStr)


def _sealed(value: BaseModel, key: SecretStr) -> bytes:
    """Secrets of a request, told apart and not guessed: kept with a key the database has not."""
    said = [getattr(value, name).get_secret_value() for name in _secrets(type(value))]
    return hmac.digest(key.get_secret_value().encode(), json.dumps(said).encode(), "sha256")


async def _said(value: object) -> bytes | None:
    """A value a client sent, as bytes; None for what the server put in."""
    if isinstance(value, BaseModel):
        return value.model_dump_json().encode()
    if isinstance(value, UploadFile):
        digest = hashlib.sha256(f"{value.filename}\0{value.content_type}\0".encode())
        while chunk := await value.read(1 << 20):
            digest.update(chunk)
        await value.seek(0)
        return digest.digest()
    if isinstance(value, list | tuple):
        parts = [await _said(item) for item in value]
        return b"\1".join(part for part in parts if part is not None)
    if isinstance(value, str | int | float | bool | UUID | datetime | Enum):
        return str(value).encode()
    return None
