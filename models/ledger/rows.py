"""Tickets and clocks, between rows and what the rules see."""

from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from operator import itemgetter

from psycopg.types.json import Jsonb

from domain.sla import Clock
from domain.states import ActorKind, Category, Channel, Priority, TicketType
from domain.tickets import Ticket
from models.session import Row

TICKET_NAMES = tuple(field.name for field in fields(Ticket))
_JSON = frozenset({"fields", "reminder", "escalation", "verdict"})
COLUMNS = ", ".join(TICKET_NAMES)
CLOCK_NAMES = tuple(Clock.model_fields)
CLOCK_COLUMNS = ", ".join(CLOCK_NAMES)


def bind(name: str, value: object) -> object:
    """A property of a ticket or a clock as the driver takes it."""
    if value is None:
        return None
    if name in _JSON:
        return Jsonb(dict(value) if isinstance(value, Mapping) else value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return list(value)
    return value


_TYPED: tuple[tuple[str, Mapping[object, object]], ...] = tuple(
    (name, {None: None, **{member.value: member for member in kind}})
    for name, kind in (
        ("category", Category),
        ("channel", Channel),
        ("created_by_kind", ActorKind),
        ("priority", Priority),
        ("type", TicketType),
    )
)
_named_columns = itemgetter(*TICKET_NAMES)


def to_ticket(row: Row) -> Ticket:
    """The row as the rules see it."""
    values = dict(zip(TICKET_NAMES, _named_columns(row), strict=True))
    for name, members in _TYPED:  # looked up: calling an Enum costs five times as much
        values[name] = members[values[name]]
    values["tags"] = tuple(values["tags"])
    values["decided"] = tuple(values["decided"])
    return Ticket(**values)


def to_clock(row: Row) -> Clock:
    return Clock.model_validate({name: row[name] for name in CLOCK_NAMES})
