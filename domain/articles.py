"""An article's life: which step is next, who may take it, and how its address is made."""

import re
from enum import StrEnum
from typing import Final

from domain.errors import Conflict
from domain.lexical import folded
from domain.permissions import Permission


class State(StrEnum):
    """Of an article's newest words. What readers see is the version that was published last."""

    DRAFT = "draft"
    REVIEW = "review"
    PUBLISHED = "published"
    ARCHIVED = "archived"


class Audience(StrEnum):
    INTERNAL = "internal"
    PUBLIC = "public"


_STEPS: Final = {
    (State.DRAFT, State.REVIEW): Permission.KNOWLEDGE_WRITE,
    (State.REVIEW, State.DRAFT): Permission.KNOWLEDGE_WRITE,
    (State.DRAFT, State.PUBLISHED): Permission.KNOWLEDGE_PUBLISH,
    (State.REVIEW, State.PUBLISHED): Permission.KNOWLEDGE_PUBLISH,
    (State.DRAFT, State.ARCHIVED): Permission.KNOWLEDGE_PUBLISH,
    (State.REVIEW, State.ARCHIVED): Permission.KNOWLEDGE_PUBLISH,
    (State.PUBLISHED, State.ARCHIVED): Permission.KNOWLEDGE_PUBLISH,
    (State.ARCHIVED, State.DRAFT): Permission.KNOWLEDGE_PUBLISH,
}


class StepNotAllowed(Conflict):
    code = "step_not_allowed"


class Archived(Conflict):
    code = "archived"

    def __init__(self) -> None:
        super().__init__("This article is archived. Make it a draft again before you change it.")


def step(before: State, after: State) -> Permission:
    """What taking that step needs. Raises StepNotAllowed where there is none."""
    needed = _STEPS.get((before, after))
    if needed is None:
        ways = sorted(to.value for of, to in _STEPS if of is before)
        raise StepNotAllowed(
            f"An article goes from {before.value} to {' or '.join(ways)}.",
            fields={"/state": f"does not follow {before.value}"},
        )
    return needed


def slug_of(title: str) -> str:
    """The part of an address that a title makes; "article" where it has no Latin letter."""
    plain = re.sub(r"[^a-z0-9]+", "-", folded(title.replace("ß", "ss"))).strip("-")
    return plain[:80].strip("-") or "article"


__all__ = ["Archived", "Audience", "State", "StepNotAllowed", "slug_of", "step"]
