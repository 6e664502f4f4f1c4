"""Which tickets a list shows: what was asked for, and what the caller may see of it."""

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum

import orjson

from domain import scoring
from domain.desk import CustomField, Desk
from domain.errors import Invalid
from domain.permissions import Permission, Principal, Scope
from domain.states import Category
from models.session import Work
from services.views.orders import ACTIVE, TENTHS

Parameters = dict[str, object]

BREACHED = "(t.breached_at is not null or coalesce(t.next_due_at < %(now)s, false))"
# As services/promises.py has it of cycles; and what nobody has noticed for so long.
NOTICED_LATE = (
    "(t.category <> 'merged' and case when t.breached_at is not null then exists (select"
    " from clocks c where c.tenant_id = t.tenant_id and c.ticket_id = t.id"
    " and c.breached_at = t.breached_at and c.detected_at - c.breached_at >= interval '1 minute')"
    " else coalesce(t.next_due_at <= %(now)s - interval '1 minute', false) end)"
)
# A tag or field value on at most this many tickets is looked up first; one on more is met soon
# enough while walking the list in its order.
_RARE = 2000


class UnknownField(Invalid):
    code = "unknown_field"

    def __init__(self, key: str) -> None:
        super().__init__(
            f"There is no field {key!r}.",
            fields={f"query/field.{key}": "is not a field of this desk"},
        )


class UnknownStatus(Invalid):
    code = "unknown_status"

    def __init__(self, keys: list[str], known: list[str]) -> None:
        super().__init__(
            f"There is no status {keys[0]!r}. Known: {', '.join(known)}.",
            fields={"query/status": f"{', '.join(keys)}: not a status of this desk"},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketFilter:
    """Which tickets a list shows: all conditions hold; of several values of one, any does.

    None among ids means "nobody" or "no team". `fields` are the values as text.
    """

    status: tuple[str, ...] = ()
    category: tuple[Category, ...] = ()
    team: tuple[uuid.UUID | None, ...] = ()
    assignee: tuple[uuid.UUID | None, ...] = ()
    requester: tuple[uuid.UUID, ...] = ()
    organization: tuple[uuid.UUID, ...] = ()
    priority: tuple[str | None, ...] = ()
    type: tuple[str | None, ...] = ()
    tags_all: tuple[str, ...] = ()
    tags_any: tuple[str, ...] = ()
    channel: tuple[str, ...] = ()
    created_from: datetime | None = None
    created_to: datetime | None = None
    updated_from: datetime | None = None
    updated_to: datetime | None = None
    due_from: datetime | None = None
    due_to: datetime | None = None
    breached: bool | None = None
    noticed_late: bool | None = None
    snoozed: bool | None = None
    escalated: bool | None = None
    score_from: int | None = None
    spam: bool | None = None
    topic: tuple[str, ...] = ()
    sentiment: tuple[str, ...] = ()
    frustration: tuple[str, ...] = ()
    watching: uuid.UUID | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def has_marks(self) -> bool:
        """Whether it asks for tags or field values, which `meet_marks` looks up first."""
        return bool(self.fields or self.tags_all or self.tags_any)

    def fingerprint(self) -> str:
        """The same for the same filter, whatever the order of its values."""
        said = {
            f.name: sorted(map(str, value)) if isinstance(value, tuple) else value
            for f in fields(self)
            if (value := getattr(self, f.name)) not in ((), None, {})
        }
        packed = orjson.dumps(said, option=orjson.OPT_SORT_KEYS, default=str)
        return hashlib.sha256(packed).hexdigest()[:12]


EVERYTHING = TicketFilter()


def visible(
    principal: Principal, permission: Permission = Permission.TICKETS_VIEW
) -> tuple[str, Parameters]:
    """A condition on tickets `t`, with its parameters, that is true where `covers` is.

    Without the permission it is false for all.
    """
    scope = principal.scope(permission)
    if scope is None:
        return "false", {}
    if scope is Scope.TENANT:
        return "true", {}
    reached: list[str] = []
    parameters: Parameters = {}
    if principal.id is not None:
        reached.append("t.assignee_id = %(caller)s or t.created_by_id = %(caller)s")
        parameters["caller"] = principal.id
    if scope is Scope.TEAM:
        reached.append("t.team_id is null")
        if principal.team_ids:
            reached.append("t.team_id = any(%(caller_teams)s)")
            parameters["caller_teams"] = sorted(principal.team_ids)
    # Not null but false, where a column is null: it is selected as well as filtered by.
    return f"coalesce({' or '.join(reached)}, false)" if reached else "false", parameters


def quoted(category: Category) -> str:
    """A literal: a parameter would keep the planner from choosing by how many there are."""
    return f"'{category.value}'"


def conditions_of(
    work: Work, caller: Principal, wanted: TicketFilter, now: datetime
) -> tuple[list[str], Parameters]:
    """What a ticket has to meet, tags and field values left out; see `meet_marks`."""
    scope, parameters = visible(caller)
    conditions = ["t.tenant_id = %(tenant)s", scope]
    parameters |= {"tenant": work.tenant_id, "now": now, "scored_at": now}

    def among(name: str, column: str, values: tuple[object, ...]) -> None:
        if not values:
            return
        known = [v.value if isinstance(v, StrEnum) else v for v in values if v is not None]
        either = []
        if len(known) == 1:  # an equality keeps the order of the index behind it
            either.append(f"{column} = %({name})s")
            parameters[name] = known[0]
        elif known:
            either.append(f"{column} = any(%({name})s)")
            parameters[name] = known
        if None in values:
            either.append(f"{column} is null")
        conditions.append(f"({' or '.join(either)})" if len(either) > 1 else either[0])

    def between(name: str, column: str, low: datetime | None, high: datetime | None) -> None:
        if low is not None:
            conditions.append(f"{column} >= %({name}_from)s")
            parameters[f"{name}_from"] = low
        if high is not None:
            conditions.append(f"{column} < %({name}_to)s")
            parameters[f"{name}_to"] = high

    def claim(condition: str, wanted: bool | None) -> None:
        if wanted is not None:
            conditions.append(condition if wanted else f"not {condition}")

    among("status", "t.status", wanted.status)
    if wanted.category:
        which = ", ".join(quoted(category) for category in sorted(set(wanted.category)))
        many = "," in which  # an equality keeps the order of the index behind it
        conditions.append(f"t.category in ({which})" if many else f"t.category = {which}")
    among("team", "t.team_id", wanted.team)
    among("assignee", "t.assignee_id", wanted.assignee)
    among("requester", "t.requester_id", wanted.requester)
    among("organization", "t.organization_id", wanted.organization)
    among("priority", "t.priority", wanted.priority)
    among("type", "t.type", wanted.type)
    among("channel", "t.channel", wanted.channel)
    among("topic", "t.topic", wanted.topic)
    among("sentiment", "t.sentiment", wanted.sentiment)
    among("frustration", "t.frustration", wanted.frustration)
    between("created", "t.created_at", wanted.created_from, wanted.created_to)
    between("updated", "t.updated_at", wanted.updated_from, wanted.updated_to)
    between("due", "t.next_due_at", wanted.due_from, wanted.due_to)
    # What was merged away promises nothing: it is late for nobody, whatever it was before.
    claim(f"(t.category <> 'merged' and {BREACHED})", wanted.breached)
    claim(NOTICED_LATE, wanted.noticed_late)
    claim("(t.snoozed is not null)", wanted.snoozed)
    claim("(t.escalation is not null)", wanted.escalated)
    claim("(t.spam is not distinct from 'spam')", wanted.spam)
    if wanted.score_from is not None:
        # The first part is what an index serves; the second counts the clock in.
        conditions.append(f"{ACTIVE} and t.pressure >= %(pressure_from)s")
        conditions.append(f"{TENTHS} + 5 >= %(tenths_from)s")
        parameters["tenths_from"] = 10 * wanted.score_from
        parameters["pressure_from"] = 10 * wanted.score_from - 5 - scoring.MOST_BY_TIME
    if wanted.watching is not None:
        conditions.append(
            "t.id in (select w.ticket_id from watchers w where w.tenant_id = %(tenant)s"
            " and w.user_id = %(watching)s)"
        )
        parameters["watching"] = wanted.watching
    return conditions, parameters


async def meet_marks(
    work: Work,
    desk: Desk,
    wanted: TicketFilter,
    conditions: list[str],
    parameters: Parameters,
) -> bool:
    """Adds the conditions on tags and fields; False when no ticket can meet them.

    Row-level security keeps the application from GIN indexes (their operators are not
    leakproof), so a function that may use them names the tickets, unless there are many.
    """
    values = {key: _stored(desk, key, text) for key, text in wanted.fields.items()}
    parameters["tags_all"] = list(wanted.tags_all) or None
    parameters["tags_any"] = list(wanted.tags_any) or None
    parameters["fields"] = orjson.dumps(values).decode() if values else None
    [rows] = await work.batch(
        (
            "select id from holdfast_marked(%(tags_all)s::text[], %(tags_any)s::text[],"
            f" %(fields)s::jsonb, {_RARE + 1}) as id",
            parameters,
        )
    )
    if not rows:
        return False
    if len(rows) <= _RARE:
        conditions.append("t.id = any(%(marked)s)")
        parameters["marked"] = [row["id"] for row in rows]
    if wanted.tags_all:
        conditions.append("t.tags @> %(tags_all)s::text[]")
    if wanted.tags_any:
        conditions.append("t.tags && %(tags_any)s::text[]")
    if values:
        conditions.append("t.fields @> %(fields)s::jsonb")
    return True


def refuse_unknown(wanted: TicketFilter, desk: Desk) -> None:
    unknown = [key for key in wanted.status if key not in desk.statuses]
    if unknown:
        raise UnknownStatus(unknown, list(desk.statuses))


def _stored(desk: Desk, key: str, text: str) -> object:
    """What the tickets hold in a field for the value that an address names as text."""
    definition = desk.fields.get(key)
    if definition is None:
        raise UnknownField(key)
    try:
        return _of_text(definition, text)
    except Invalid as refusal:
        raise Invalid(refusal.detail, fields={f"query/field.{key}": refusal.detail}) from refusal


def _of_text(definition: CustomField, text: str) -> object:
    if definition.kind == "boolean":
        if text.lower() not in ("true", "false"):
            raise Invalid(f"{definition.label} is true or false.")
        return text.lower() == "true"
    if definition.kind == "multiselect":
        return definition.clean([text])
    return definition.clean(text)
