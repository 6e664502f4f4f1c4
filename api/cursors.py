"""Where a list goes on: the last key seen, so that rows added meanwhile shift nothing."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated
from uuid import UUID

from fastapi import Query

from domain.errors import Invalid

Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
Cursor = Annotated[
    str | None, Query(max_length=100, description="`next` of the page before; none for the first.")
]


def after_id(cursor: str | None) -> UUID | None:
    """The id a page of a list ordered by id begins after. Raises Invalid."""
    if cursor is None:
        return None
    try:
        return UUID(bytes=urlsafe_b64decode(cursor + "=="))
    except ValueError as error:
        raise Invalid(
            "This cursor is not one of ours.", fields={"query/cursor": "is not a cursor"}
        ) from error


def cursor_of(last: UUID) -> str:
    """The cursor that goes on after a row's id."""
    return urlsafe_b64encode(last.bytes).decode().rstrip("=")
