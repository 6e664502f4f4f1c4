"""Conditions as data: a small language over what a ticket is and what has just happened to it.

`{"all": [...]}`, `{"any": [...]}`, `{"not": ...}` around tests such as
`{"field": "priority", "op": "in", "value": ["high", "urgent"]}`. There are no patterns, no
arithmetic and no loops in it: each test costs one look, and a condition holds at most 200 of them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from domain.states import Category, Channel, Priority, TicketType

MOST_TESTS = 200
DEEPEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A ticket as conditions see it."""

    category: Category
    status: str = ""
    priority: Priority | None = None
    type: TicketType | None = None
    channel: Channel | None = None
    team_id: UUID | None = None
    assignee_id: UUID | None = None
    organization_id: UUID | None = None
    requester_id: UUID | None = None
    tags: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    language: str | None = None
    tier: str | None = None
    topic: str | None = None
    sentiment: str | None = None
    subject: str = ""


# Names in conditions, and the attribute behind each.
FIELDS: Mapping[str, str] = {
    **{name: name for name in Subject.__slots__ if name != "fields"},
    "team": "team_id",
    "assignee": "assignee_id",
    "organization": "organization_id",
    "requester": "requester_id",
}
# What a fact may be, asked as `event.NAME`; without a fact none of them is.
EVENTS = frozenset(
    {"created", "customer_message", "agent_reply", "note", "automatic", "resolved", "reopened"}
)


class Op(StrEnum):
    IS = "is"
    IS_NOT = "is_not"
    IN = "in"
    NOT_IN = "not_in"
    HAS = "has"  # a list holds the value; a text has it within, whatever its case
    HAS_NOT = "has_not"
    SET = "set"
    UNSET = "unset"
    BELOW = "below"
    ABOVE = "above"
    AT_MOST = "at_most"
    AT_LEAST = "at_least"


Value = str | int | float | bool | None


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Test(_Frozen):
    """One question about one field. Priorities compare by rank, everything else as it is."""

    __test__ = False

    field: str = Field(min_length=1, max_length=100)
    op: Op = Op.IS
    value: Value | tuple[Value, ...] = None

    @model_validator(mode="before")
    @classmethod
    def _event_happened(cls, raw: object) -> object:
        # {"field": "event.created"} alone asks whether it happened.
        if isinstance(raw, dict) and str(raw.get("field", "")).startswith("event."):
            return {"op": Op.IS, **raw, "value": True if raw.get("value") is None else raw["value"]}
        return raw

    @field_validator("field")
    @classmethod
    def _known(cls, name: str) -> str:
        kind, _, rest = name.partition(".")
        if name in FIELDS or (kind == "fields" and rest) or (kind == "event" and rest in EVENTS):
            return name
        raise ValueError(f"{name!r} is no field of a ticket; custom fields are written fields.KEY")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.op in (Op.IN, Op.NOT_IN) and not isinstance(self.value, tuple):
            raise ValueError(f"{self.op!r} needs a list of values")
        if self.op not in (Op.IN, Op.NOT_IN) and isinstance(self.value, tuple):
            raise ValueError(f"{self.op!r} takes one value")
        return self


class AllOf(_Frozen):
    all: "tuple[Condition, ...]" = Field(max_length=MOST_TESTS)


class AnyOf(_Frozen):
    any: "tuple[Condition, ...]" = Field(max_length=MOST_TESTS)


class Not(_Frozen):
    negated: "Condition" = Field(alias="not")

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, serialize_by_alias=True
    )


def _kind(raw: object) -> str | None:
    if isinstance(raw, dict):
        for name in ("all", "any", "not", "field"):
            if name in raw:
                return name
        return "not" if "negated" in raw else None
    for model, name in ((AllOf, "all"), (AnyOf, "any"), (Not, "not"), (Test, "field")):
        if isinstance(raw, model):
            return name
    return None


Condition = Annotated[
    Annotated[AllOf, Tag("all")]
    | Annotated[AnyOf, Tag("any")]
    | Annotated[Not, Tag("not")]
    | Annotated[Test, Tag("field")],
    Discriminator(_kind),
]


def _bounded(condition: "AllOf | AnyOf | Not | Test") -> "AllOf | AnyOf | Not | Test":
    tests, depth = _size(condition)
    if tests > MOST_TESTS or depth > DEEPEST:
        raise ValueError(f"a condition holds at most {MOST_TESTS} tests, {DEEPEST} levels deep")
    return condition


# As documents describe it: one level, because programs that are made from a document, or try one
# out, lose themselves in what contains itself.
_DESCRIBED = {
    "title": "Condition",
    "description": "`{all: […]}`, `{any: […]}` or `{not: …}` around conditions, or a test of one"
    " field: `{field, op, value}`.",
    "type": "object",
    "properties": {
        "all": {"type": "array", "items": {"type": "object"}, "maxItems": MOST_TESTS},
        "any": {"type": "array", "items": {"type": "object"}, "maxItems": MOST_TESTS},
        "not": {"type": "object"},
        "field": {"type": "string", "minLength": 1, "maxLength": 100},
        "op": {"type": "string", "enum": [op.value for op in Op]},
        "value": {},
    },
    "additionalProperties": False,
    "minProperties": 1,
}
# What a policy holds: a condition of bounded size.
Bounded = Annotated[Condition, AfterValidator(_bounded), WithJsonSchema(_DESCRIBED)]

for _model in (AllOf, AnyOf, Not):
    _model.model_rebuild()


def _size(condition: "AllOf | AnyOf | Not | Test") -> tuple[int, int]:
    match condition:
        case AllOf(all=parts) | AnyOf(any=parts):
            sizes = [_size(part) for part in parts]
            return (
                1 + sum(tests for tests, _ in sizes),
                1 + max((depth for _, depth in sizes), default=0),
            )
        case Not(negated=part):
            tests, depth = _size(part)
            return tests + 1, depth + 1
        case Test():
            return 1, 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a condition holds, and why: a sentence for each test, below its groups."""

    holds: bool
    why: str
    parts: "tuple[Verdict, ...]" = ()

    def lines(self, depth: int = 0) -> Iterator[str]:
        """The whole of it, a line each, indented."""
        yield f"{'  ' * depth}{'yes' if self.holds else 'no'}: {self.why}"
        for part in self.parts:
            yield from part.lines(depth + 1)


def holds(
    condition: "AllOf | AnyOf | Not | Test", subject: Subject, events: frozenset[str] = frozenset()
) -> bool:
    """Whether the condition is true of the ticket, given what has just happened."""
    match condition:
        case AllOf(all=parts):
            return all(holds(part, subject, events) for part in parts)
        case AnyOf(any=parts):
            return any(holds(part, subject, events) for part in parts)
        case Not(negated=part):
            return not holds(part, subject, events)
        case Test():
            return _answers(condition, _value(condition.field, subject, events))


def explain(
    condition: "AllOf | AnyOf | Not | Test", subject: Subject, events: frozenset[str] = frozenset()
) -> Verdict:
    """Like `holds`, with the reason for every part of it."""
    match condition:
        case AllOf(all=parts):
            found = tuple(explain(part, subject, events) for part in parts)
            good = sum(one.holds for one in found)
            return Verdict(good == len(found), f"all: {good} of {len(found)} hold", found)
        case AnyOf(any=parts):
            found = tuple(explain(part, subject, events) for part in parts)
            good = sum(one.holds for one in found)
            return Verdict(good > 0, f"any: {good} of {len(found)} hold", found)
        case Not(negated=part):
            one = explain(part, subject, events)
            return Verdict(not one.holds, "not", (one,))
        case Test():
            value = _value(condition.field, subject, events)
            asked = condition.op.value.replace("_", " ")
            if condition.op not in (Op.SET, Op.UNSET):
                asked += f" {_said(condition.value)}"
            return Verdict(
                _answers(condition, value), f"{condition.field} is {_said(value)}; asked: {asked}"
            )


def _value(name: str, subject: Subject, events: frozenset[str]) -> object:
    kind, _, rest = name.partition(".")
    if kind == "fields":
        return subject.fields.get(rest)
    if kind == "event":
        return rest in events
    value: object = getattr(subject, FIELDS[name])
    return str(value) if isinstance(value, UUID) else value


def _answers(test: Test, value: object) -> bool:
    wanted = test.value
    match test.op:
        case Op.IS:
            return _same(value, wanted)
        case Op.IS_NOT:
            return not _same(value, wanted)
        case Op.IN:
            return _among(value, wanted)
        case Op.NOT_IN:
            return not _among(value, wanted)
        case Op.HAS:
            return _has(value, wanted)
        case Op.HAS_NOT:
            return not _has(value, wanted)
        case Op.SET:
            return not _empty(value)
        case Op.UNSET:
            return _empty(value)
        case Op.BELOW:
            return _compared(value, wanted, lambda a, b: a < b)
        case Op.ABOVE:
            return _compared(value, wanted, lambda a, b: a > b)
        case Op.AT_MOST:
            return _compared(value, wanted, lambda a, b: a <= b)
        case Op.AT_LEAST:
            return _compared(value, wanted, lambda a, b: a >= b)


def _empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, (list, tuple)) and not value)


def _same(value: object, wanted: object) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    if isinstance(value, str) and isinstance(wanted, str):
        return value.casefold() == wanted.casefold()
    if isinstance(value, (list, tuple)):
        return any(_same(one, wanted) for one in value)
    return value == wanted


def _among(value: object, wanted: object) -> bool:
    return isinstance(wanted, tuple) and any(_same(value, one) for one in wanted)


def _has(value: object, wanted: object) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_same(one, wanted) for one in value)
    if isinstance(value, str) and isinstance(wanted, str):
        return wanted.casefold() in value.casefold()
    return False


def _compared(value: object, wanted: object, rule: Callable[[float, float], bool]) -> bool:
    """Numbers and priorities compare, and dates do as texts; anything else is simply not so."""
    if isinstance(value, Priority):
        if wanted not in tuple(Priority):
            return False
        return rule(value.rank, Priority(str(wanted)).rank)
    if isinstance(value, bool) or isinstance(wanted, bool):
        return False
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        return rule(value, wanted)
    if isinstance(value, str) and isinstance(wanted, str):
        return rule((value > wanted) - (value < wanted), 0)
    return False


def _said(value: object) -> str:
    if _empty(value):
        return "nothing"
    if isinstance(value, (list, tuple)):
        return ", ".join(_said(one) for one in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
