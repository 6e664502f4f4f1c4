"""What FastAPI works out anew for each request, worked out once per endpoint.

An endpoint's dependencies are known when the application starts, so the order in which they are
called and what each one takes can be laid down then. FastAPI stays the judge of everything else:
it declares the endpoints, and whatever a plan cannot do, or finds wrong with a request, goes
FastAPI's own way and gets FastAPI's own answer.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, Final

from fastapi import Request, Response, params
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from pydantic import BaseModel, ValidationError

Answer = Callable[[object, Response | None], Awaitable[Response]]

_REQUEST: Final = 0
_RESPONSE: Final = 1
_BODY: Final = 2


class Unplanned(Exception):
    """This request goes FastAPI's way."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A dependency or the endpoint: what it takes, by the place where that is found."""

    call: Callable[..., Any]
    takes: tuple[tuple[str, int], ...]
    place: int  # where its result goes


@dataclass(frozen=True, slots=True)
class _Parameters:
    """What one call takes of the path, the query or the headers."""

    source: str
    fields: Sequence[Any]
    places: tuple[tuple[str, int], ...]
    # Headers that may be missing, and are: what stands for them then.
    aliases: tuple[str, ...] = ()
    defaults: tuple[object, ...] = ()

    def read(self, request: Request, found: list[Any]) -> None:
        if self.aliases and not any(alias in request.headers for alias in self.aliases):
            for (_, place), default in zip(self.places, self.defaults, strict=True):
                found[place] = default
            return
        if self.source == "path_params":
            given = request.path_params
            for one, (_, place) in zip(self.fields, self.places, strict=True):
                found[place], errors = one.validate(given[one.alias])
                if errors:
                    raise Unplanned
            return
        values, errors = request_params_to_args(self.fields, getattr(request, self.source))
        if errors:
            raise Unplanned
        for name, place in self.places:
            found[place] = values[name]


@dataclass(slots=True)
class _Draft:
    size: int = 3
    calls: list[_Call] = field(default_factory=list)
    opening: tuple[int, _Call] | None = None  # before which of the calls, and what is opened
    parameters: list[_Parameters] = field(default_factory=list)
    known: dict[object, int] = field(default_factory=dict)
    body: type[BaseModel] | None = None
    responds: bool = False

    def place(self) -> int:
        self.size += 1
        return self.size - 1


class Plan:
    """How one endpoint is called. `made` gives None for one that is beyond it."""

    def __init__(self, draft: _Draft, endpoint: _Call, answer: Answer) -> None:
        self._size = draft.size
        self._parameters = draft.parameters
        self._responds = draft.responds
        self._body = draft.body
        self._opening: _Call | None
        at, self._opening = draft.opening or (len(draft.calls), None)
        self._before = draft.calls[:at]
        self._after = [*draft.calls[at:], endpoint]
        self._answer = answer

    @classmethod
    def made(cls, dependant: Dependant, answer: Answer) -> "Plan | None":
        draft = _Draft()
        try:
            endpoint = _drafted(draft, dependant)
        except Unplanned:
            return None
        return cls(draft, endpoint, answer)

    async def __call__(self, request: Request) -> Response:
        """The endpoint's answer. Raises Unplanned where FastAPI has to look at the request."""
        found: list[Any] = [None] * self._size
        found[_REQUEST] = request
        if self._body is not None:
            found[_BODY] = await _read(request, self._body)
        for part in self._parameters:
            part.read(request, found)
        response = None
        if self._responds:
            found[_RESPONSE] = response = _blank()
        await _carried_out(self._before, found)
        if self._opening is None:
            return await self._answer(await _carried_out(self._after, found), response)
        context: AbstractAsyncContextManager[object] = self._opening.call(
            **{name: found[place] for name, place in self._opening.takes}
        )
        async with context as opened:
            found[self._opening.place] = opened
            return await self._answer(await _carried_out(self._after, found), response)


async def _read(request: Request, kind: type[BaseModel]) -> BaseModel:
    told = request.headers.get("content-type", "")
    if told != "application/json" and not told.startswith("application/json;"):
        raise Unplanned
    try:
        return kind.model_validate_json(await request.body())
    except ValidationError:
        raise Unplanned from None


async def _carried_out(calls: Sequence[_Call], found: list[Any]) -> object:
    """The result of the last of the calls."""
    result: object = None
    for one in calls:
        result = await one.call(**{name: found[place] for name, place in one.takes})
        found[one.place] = result
    return result


def _drafted(draft: _Draft, dependant: Dependant) -> _Call:
    """The call of a dependant, everything before it put into the draft. Raises Unplanned."""
    call = dependant.call
    if (
        call is None
        or dependant.background_tasks_param_name
        or dependant.security_scopes_param_name
        or dependant.websocket_param_name
        or dependant.http_connection_param_name
        or dependant.cookie_params
        or dependant.concurrency is not None
        or not dependant.use_cache
    ):
        raise Unplanned
    takes: list[tuple[str, int]] = []
    for part in dependant.dependencies:
        if part.call not in draft.known:
            drafted = _drafted(draft, part)
            if isasyncgenfunction(part.call):
                if part.scope != "function" or draft.opening is not None:
                    raise Unplanned
                opened = _Call(asynccontextmanager(drafted.call), drafted.takes, drafted.place)
                draft.opening = (len(draft.calls), opened)
            elif _is_awaited(part.call):
                draft.calls.append(drafted)
            else:
                raise Unplanned
            draft.known[part.call] = drafted.place
        if part.name is not None:
            takes.append((part.name, draft.known[part.call]))
    for source, fields in (
        ("path_params", dependant.path_params),
        ("query_params", dependant.query_params),
        ("headers", dependant.header_params),
    ):
        if fields:
            takes += _with_parameters(draft, source, fields)
    if dependant.body_params:
        [body, *others] = dependant.body_params
        said = body.field_info
        if (
            others
            or draft.body is not None
            or type(said) is not params.Body
            or said.embed
            or not said.is_required()
            or not (isinstance(said.annotation, type) and issubclass(said.annotation, BaseModel))
        ):
            raise Unplanned
        draft.body = said.annotation
        takes.append((body.name, _BODY))
    if dependant.request_param_name:
        takes.append((dependant.request_param_name, _REQUEST))
    if dependant.response_param_name:
        draft.responds = True
        takes.append((dependant.response_param_name, _RESPONSE))
    return _Call(call, tuple(takes), draft.place())


def _with_parameters(
    draft: _Draft, source: str, fields: Sequence[Any]
) -> tuple[tuple[str, int], ...]:
    places = tuple((one.name, draft.place()) for one in fields)
    optional = source == "headers" and not any(one.field_info.is_required() for one in fields)
    draft.parameters.append(
        _Parameters(
            source,
            fields,
            places,
            tuple(one.alias for one in fields) if optional else (),
            tuple(one.get_default() for one in fields) if optional else (),
        )
    )
    return places


def _is_awaited(call: object) -> bool:
    return iscoroutinefunction(call) or iscoroutinefunction(type(call).__call__)


def _blank() -> Response:
    """What endpoints set headers and a status on, as FastAPI hands it out."""
    response = Response()
    del response.headers["content-length"]
    response.status_code = None  # type: ignore[assignment]
    return response
