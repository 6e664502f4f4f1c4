"""Who changes a thing says which version they had read: `ETag` out, `If-Match` in."""

import hashlib
import re
from typing import Annotated

import orjson
from fastapi import Depends, Header, Response
from pydantic import BaseModel

from domain.errors import ChangedMeanwhile, Invalid

_TAG = re.compile(r'(?:W/)?"([^"\s,]{1,100})"')
_SEQ = re.compile(r"[0-9]{1,18}")

Given = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=500,
        description="The `ETag` that was read; what others changed since is not overwritten.",
    ),
]


def named(if_match: str | None) -> str | None:
    """The version an If-Match names; None where any will do. Raises Invalid."""
    if if_match is None or if_match.strip() == "*":
        return None
    found = _TAG.fullmatch(if_match.strip())
    if found is None:
        raise _malformed()
    return found[1]


def _malformed() -> Invalid:
    return Invalid(
        'If-Match holds the ETag that was read, as "12", or *.',
        fields={"header/If-Match": "is no version"},
    )


# Tickets: the version is the seq of the newest event.


async def _seen(if_match: Given = None) -> int | None:
    version = named(if_match)
    if version is None:
        return None
    if not _SEQ.fullmatch(version):
        raise _malformed()
    return int(version)


# The seq of the ticket that a caller had read, when they say so.
Seen = Annotated[int | None, Depends(_seen)]


# Everything else: the version is a hash of what was shown.


def tag_of(shown: BaseModel, *, but: frozenset[str] = frozenset()) -> str:
    """The version of what is shown: another one as soon as anything in it differs."""
    said = shown.model_dump(mode="json", exclude=set(but))
    canonical = orjson.dumps(said, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).hexdigest()[:20]


class Expected:
    """The version a change was decided upon. False where the caller named none."""

    def __init__(self, tag: str | None) -> None:
        self._tag = tag

    def __bool__(self) -> bool:
        return self._tag is not None

    def check(self, shown: BaseModel, *, but: frozenset[str] = frozenset()) -> None:
        """Passes for that version, or raises ChangedMeanwhile. Its row is to be locked by then."""
        if self._tag is not None and tag_of(shown, but=but) != self._tag:
            raise ChangedMeanwhile(
                "Somebody changed this since you read it. Read it again, then decide.",
                fields={"header/If-Match": "is not the present version"},
            )


async def _expected(if_match: Given = None) -> Expected:
    return Expected(named(if_match))


IfMatch = Annotated[Expected, Depends(_expected)]


def put_tag(response: Response, shown: BaseModel, *, but: frozenset[str] = frozenset()) -> None:
    """Tells the version of what is answered."""
    response.headers["ETag"] = f'"{tag_of(shown, but=but)}"'


__all__ = ["Expected", "IfMatch", "Seen", "put_tag", "tag_of"]
