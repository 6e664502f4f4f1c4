"""A ticket as its clocks see it: how it stands, whose request it is, what they are not told."""

from collections.abc import Callable
from dataclasses import fields
from typing import Literal

from domain import sla
from domain.states import ActorKind

# Entries after which the clocks learn nothing new.
SILENT = frozenset(
    {
        "absorbed", "linked", "note_added", "released", "reminded", "reminder_cleared",
        "reminder_set", "sla_acknowledged", "sla_breached", "sla_due_reset", "sla_due_set",
        "snoozed", "split", "unlinked", "unwatched", "watched", "woken",
    }
)  # fmt: skip


def subject_of(get: Callable[[str], object]) -> sla.Subject:
    """The ticket as the conditions of policies see it; `get` gives its properties by name."""
    return sla.Subject(**{name: get(name) for name in _SEEN})  # type: ignore[arg-type]


# A ticket has each of them under the same name.
_SEEN = tuple(field.name for field in fields(sla.Subject))


def created_by(kind: ActorKind) -> Literal["customer", "agent", "machine"]:
    """Whose request a ticket is to the clocks; what an automatic mail opened is nobody's yet."""
    match kind:
        case ActorKind.CUSTOMER:
            return "customer"
        case ActorKind.AUTOMATION:
            return "machine"
        case _:
            return "agent"
