"""What is measured: the metrics, and how each of them starts, pauses, ends and repeats."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import GetJsonSchemaHandler

from domain.states import Category

_OWN = re.compile(r"(custom|group):[a-z][a-z0-9_]{0,47}")
_MOST_NAMES = 10_000  # remembered, so that one name is one object; beyond that memory matters more


class Metric(StrEnum):
    """The metrics that ship, and any `custom:…` or `group:…` name that a policy defines.

    `resolution` is the total resolution: it counts on after a reopening. `total_resolution` is
    another way to write it.
    """

    FIRST_REPLY = "first_reply"
    NEXT_REPLY = "next_reply"
    PERIODIC_UPDATE = "periodic_update"
    PAUSABLE_UPDATE = "pausable_update"
    REQUESTER_WAIT = "requester_wait"
    AGENT_WORK = "agent_work"
    FIRST_RESOLUTION = "first_resolution"
    RESOLUTION = "resolution"

    @property
    def is_own(self) -> bool:
        """Defined by a policy, not by this program."""
        return ":" in self.value

    @classmethod
    def _missing_(cls, value: object) -> "Metric | None":
        if value == "total_resolution":
            return cls.RESOLUTION
        if not isinstance(value, str) or not _OWN.fullmatch(value):
            return None
        made = str.__new__(cls, value)
        made._name_ = made._value_ = value
        if len(cls._value2member_map_) < _MOST_NAMES:
            cls._value2member_map_[value] = made
        return made

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: Any, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """As documents describe it: names that ship, and names of one's own."""
        said = handler(schema)
        described = handler.resolve_ref_schema(said)
        described.pop("enum", None)
        names = "|".join((*(metric.value for metric in _SHIPPED), "total_resolution"))
        described["pattern"] = f"^(?:{names}|{_OWN.pattern})$"
        return said


_SHIPPED = tuple(Metric)


class Outcome(StrEnum):
    RUNNING = "running"
    MET = "met"
    MISSED = "missed"
    CANCELLED = "cancelled"  # ended without a verdict: merged away, or nothing was promised
    NOT_APPLICABLE = "not_applicable"  # never had anything to measure: created when all was over


class Repeat(StrEnum):
    """What follows a cycle that has ended."""

    ONCE = "once"  # nothing
    EACH = "per_cycle"  # a new cycle, counted from its own start, whenever it starts again
    ON = "cumulative"  # a new cycle that counts on from where the last one stopped


class Signal(StrEnum):
    """What a fact can mean to a metric."""

    CREATED_BY_CUSTOMER = "created_by_customer"
    CREATED_BY_AGENT = "created_by_agent"
    CUSTOMER_MESSAGE = "customer_message"
    CUSTOMER_WAITS = "customer_waits"  # a customer's message that the first reply does not cover
    FIRST_WORDS = "first_words"  # a person's first message in a ticket that a machine opened
    AGENT_REPLY = "agent_reply"
    UPDATED = "updated"  # an agent's reply on a ticket that stays active
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How one metric is measured."""

    starts: frozenset[Signal]
    meets: frozenset[Signal]
    drops: frozenset[Signal] = frozenset()  # ends it with nothing left to promise
    pauses: frozenset[Category] = frozenset()  # unless the policy says otherwise
    repeat: Repeat = Repeat.ONCE


_CREATION = frozenset({Signal.CREATED_BY_CUSTOMER, Signal.CREATED_BY_AGENT, Signal.FIRST_WORDS})
_RESOLVED = frozenset({Signal.RESOLVED})
_REPLY = frozenset({Signal.AGENT_REPLY})
_WAITING = frozenset({Category.PENDING})

RULES: Mapping[Metric, Rule] = {
    Metric.FIRST_REPLY: Rule(
        starts=frozenset({Signal.CREATED_BY_CUSTOMER, Signal.FIRST_WORDS}),
        meets=_REPLY,
        # Resolved without a word (spam, solved by the customer): nobody must be chased for a reply.
        drops=_RESOLVED,
    ),
    Metric.NEXT_REPLY: Rule(
        starts=frozenset({Signal.CUSTOMER_WAITS}), meets=_REPLY, drops=_RESOLVED, repeat=Repeat.EACH
    ),
    Metric.PERIODIC_UPDATE: Rule(
        starts=frozenset({Signal.UPDATED}), meets=_REPLY, drops=_RESOLVED, repeat=Repeat.EACH
    ),
    Metric.PAUSABLE_UPDATE: Rule(
        starts=frozenset({Signal.UPDATED}),
        meets=_REPLY,
        drops=_RESOLVED,
        pauses=_WAITING,
        repeat=Repeat.EACH,
    ),
    Metric.REQUESTER_WAIT: Rule(
        starts=_CREATION, meets=_RESOLVED, pauses=_WAITING, repeat=Repeat.ON
    ),
    Metric.AGENT_WORK: Rule(
        starts=_CREATION,
        meets=_RESOLVED,
        pauses=frozenset({Category.PENDING, Category.ON_HOLD}),
        repeat=Repeat.ON,
    ),
    Metric.FIRST_RESOLUTION: Rule(starts=_CREATION, meets=_RESOLVED, pauses=_WAITING),
    Metric.RESOLUTION: Rule(starts=_CREATION, meets=_RESOLVED, pauses=_WAITING, repeat=Repeat.ON),
}
