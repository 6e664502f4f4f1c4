"""Workflows that a step may start: named beforehand by whoever runs the desk."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from domain.lifecycle import BATCH

MOST_OFFERED: Final = 50
# Longer ago, a start that was not confirmed may have ended and been forgotten by Temporal since.
SURE_FOR: Final = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Offered:
    """A name that steps use, and what it stands for: a workflow's type, on a task queue."""

    name: str
    type: str
    queue: str
    about: str = ""


# What every desk may start without anybody's doing.
SHIPPED: Mapping[str, Offered] = {
    offer.name: offer
    for offer in (
        Offered(
            "briefing",
            "BriefingWorkflow",
            BATCH,
            "Writes a note for whoever takes over: who has it, what is late, what was said.",
        ),
    )
}


def offered_names(own: Mapping[str, object]) -> list[str]:
    """Every name a step of this desk may use, in order."""
    return sorted({*SHIPPED, *own})


def started_as(slug: str, key: str) -> str:
    """What the workflow of a start is called: the same for every attempt at the same start."""
    return f"step/{slug}/{hashlib.sha256(key.encode()).hexdigest()[:32]}"


class StartRefused(Exception):
    """Temporal takes this start at no time; its message says why."""


class StartUnreachable(Exception):
    """Temporal did not answer: the workflow may have been started, or not."""
