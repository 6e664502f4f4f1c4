"""Where a list goes on: opaque to callers, and refused by every other list than its own."""

import base64

import orjson

from domain.errors import Invalid


class BadCursor(Invalid):
    code = "bad_cursor"

    def __init__(self) -> None:
        super().__init__(
            "This cursor belongs to another list. Begin at the first page.",
            fields={"query/cursor": "does not fit this filter and order"},
        )


def pack(value: object) -> str:
    """A cursor that holds this value, as JSON has it."""
    return base64.urlsafe_b64encode(orjson.dumps(value, default=str)).decode().rstrip("=")


def unpack(cursor: str, size: int) -> list[object]:
    """The `size` parts of what was packed. Raises BadCursor for anything else.

    A caller can send what nobody packed: each part has yet to be looked at.
    """
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        parts = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except ValueError as error:
        raise BadCursor from error
    if not isinstance(parts, list) or len(parts) != size:
        raise BadCursor
    return parts
