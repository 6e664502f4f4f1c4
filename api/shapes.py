"""Shapes that several endpoints share."""

import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)
from pydantic.config import JsonDict
from pydantic.networks import validate_email

Item = TypeVar("Item")

_ISO = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)")


def _spelled(value: object) -> object:
    if isinstance(value, datetime) or (isinstance(value, str) and _ISO.fullmatch(value)):
        return value
    raise ValueError("is a time with its offset, as 2026-05-04T10:12:00Z or …+02:00")


def _counted_from(value: datetime) -> datetime:
    """Months before it and years after it are times too."""
    if not 1900 <= value.year <= 9000:
        raise ValueError("is a time between the years 1900 and 9000")
    return value


# A time in an address or a body. Without this a number is one too: seconds since 1970, or
# milliseconds where it is large, which nobody means; and so is a time that leaves its zone open.
Instant = Annotated[AwareDatetime, BeforeValidator(_spelled), AfterValidator(_counted_from)]


@lru_cache(maxsize=10_000)
def _address(value: str) -> str:
    return validate_email(value)[1]


# As pydantic's EmailStr, which looks at each letter again whenever a customer writes again.
Email = Annotated[
    str, AfterValidator(_address), WithJsonSchema({"type": "string", "format": "email"})
]


class Shape(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Request(BaseModel):
    """What a client sends. A name we do not know is a mistake they should hear of."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


def examples(*bodies: JsonDict) -> ConfigDict:
    """What a request may look like, for its page in the documentation; all of it is valid."""
    return ConfigDict(json_schema_extra={"examples": [*bodies]})


class Page(Shape, Generic[Item]):
    """Some of a list. `next` is the cursor of the rest; null at the end."""

    items: list[Item]
    next: str | None = None


class Fault(BaseModel):
    """One thing wrong with the request, and where.

    `pointer` is a JSON pointer into the body (`/subject`), or names what else was wrong:
    `query/limit`, `path/number`, `header/Idempotency-Key`.
    """

    pointer: str
    detail: str


class Problem(BaseModel):
    """Why a request was not carried out (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:holdfast:problem:invalid",
                    "title": "The request is not valid",
                    "status": 422,
                    "detail": "Say what the ticket is about.",
                    "code": "invalid",
                    "instance": "/api/v1/tickets",
                    "request_id": "0198c5c0f7a27c3e9f7b6a1d2c3b4a59",
                    "errors": [{"pointer": "/subject", "detail": "Field required"}],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Never changes; programs go by it.")
    instance: str
    request_id: str | None = None
    errors: list[Fault] = Field(default_factory=list)
