"""What a timeline tells the clocks, read plainly: one moment for each of its entries."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from domain.sla.conditions import FIELDS, AllOf, AnyOf, Condition, Not, Op, Test
from domain.sla.policies import Policy
from domain.states import Category, Priority
from domain.verify.hours import Hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the timeline."""

    seq: int
    type: str
    actor_kind: str
    changes: Mapping[str, list[object]]
    data: Mapping[str, object]
    occurred_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Promise:
    """A version of a policy and the hours it counts in."""

    policy: Policy
    hours: Hours


PromiseOf = Callable[[UUID, int], Promise]

# After these the clocks learn nothing, whatever else the entry says.
UNHEARD = (
    "absorbed", "linked", "note_added", "released", "reminded", "reminder_cleared",
    "reminder_set", "sla_acknowledged", "sla_breached", "sla_due_reset", "sla_due_set",
    "snoozed", "split", "unlinked", "unwatched", "watched", "woken",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Moment:
    """A ticket right after one entry, and right before it where that matters."""

    seq: int
    type: str
    data: Mapping[str, object]
    at: datetime
    recorded: datetime
    heard: bool
    values: Mapping[str, object]
    values_before: Mapping[str, object] | None  # as the clocks last saw the ticket
    opened_by: str
    created_at: datetime
    is_creation: bool
    customer_wrote: bool
    agent_answered: bool
    automatic: bool
    answered: bool  # an agent had answered before
    promise: Promise | None
    promise_before: Promise | None
    reply_over: bool = False  # the first reply is not owed any more; filled in when that is known
    pretended_priority: Priority | None = None

    @property
    def category(self) -> Category:
        return Category(str(self.values["category"]))

    @property
    def category_before(self) -> Category | None:
        before = self.values_before
        return None if before is None else Category(str(before["category"]))

    @property
    def priority(self) -> Priority:
        """None counts as normal."""
        return self.pretended_priority or Priority(str(self.values.get("priority") or "normal"))

    @property
    def is_done(self) -> bool:
        return self.category in (Category.RESOLVED, Category.CLOSED)

    @property
    def is_active(self) -> bool:
        return self.category in (Category.NEW, Category.OPEN, Category.PENDING, Category.ON_HOLD)

    @property
    def is_merged(self) -> bool:
        return self.type == "merged" or self.category is Category.MERGED

    @property
    def is_reopened(self) -> bool:
        return self.is_active and self.category_before in (Category.RESOLVED, Category.CLOSED)

    def happened(self) -> set[str]:
        """What conditions may ask for as `event.NAME`."""
        names = {
            "created": self.is_creation,
            "customer_message": self.customer_wrote,
            "agent_reply": self.agent_answered,
            "automatic": self.automatic,
            "resolved": self.is_done and self.category_before != self.category,
            "reopened": self.is_reopened,
        }
        return {name for name, is_so in names.items() if is_so}


@dataclass(slots=True)
class Told:
    """A timeline, read."""

    moments: list[Moment] = field(default_factory=list)
    until: datetime | None = None  # when its last entry was recorded
    gap: int | None = None  # the first entry that is missing


def read(lines: Iterable[Line], promise_of: PromiseOf) -> Told:
    """The moments of a timeline in order."""
    told = Told()
    values: dict[str, object] = {}
    before: dict[str, object] | None = None
    opened_by, answered = "agent", False
    created_at: datetime | None = None
    promise: Promise | None = None
    for place, line in enumerate(lines, start=1):
        if line.seq != place and told.gap is None:
            told.gap = place
        data = line.data
        at = time_of(data["applied_at"]) if data.get("applied_at") else line.occurred_at
        is_creation = line.type == "ticket_created"
        if is_creation:
            opener = str(data["opened_by"])
            opened_by = {"customer": "customer", "automation": "machine"}.get(opener, "agent")
            for name in ("subject", "status", "category", "channel", "language"):
                values[name] = data.get(name)
            values["requester_id"] = data.get("requester_id")
            values["organization_id"] = data.get("organization_id")
            created_at = at
        since = data.get("clocks_from") if is_creation else None  # split off, and older than this
        values = {**values, **{name: pair[1] for name, pair in line.changes.items()}}
        promise_before = promise
        if "policy_id" in line.changes or "policy_version" in line.changes:
            policy = values.get("policy_id")
            promise = (
                promise_of(UUID(str(policy)), int(str(values.get("policy_version"))))
                if policy
                else None
            )
        inherits = line.type == "absorbed" and bool(data.get("inherits"))
        heard = line.type not in UNHEARD or inherits
        automatic = bool(data.get("automatic"))
        is_requester = bool(data.get("as_requester"))
        by_agent = line.type == "agent_replied" and line.actor_kind == "user" and not is_requester
        by_agent = by_agent or (is_creation and bool(data.get("agent_reply")))
        by_customer = line.type == "customer_replied" or is_requester
        if is_creation and opened_by == "customer" and data.get("message_id"):
            by_customer = True
        told.moments.append(
            Moment(
                seq=line.seq,
                type=line.type,
                data=data,
                at=at,
                recorded=line.recorded_at,
                heard=heard,
                values=values,
                values_before=before,
                opened_by=opened_by,
                created_at=min(at, time_of(since)) if since else created_at or at,
                is_creation=is_creation and not since,
                customer_wrote=by_customer and not automatic,
                agent_answered=by_agent and not automatic,
                automatic=automatic,
                answered=answered or bool(data.get("answered")),
                promise=promise,
                promise_before=promise_before,
            )
        )
        told.until = max(told.until or line.recorded_at, line.recorded_at)
        if heard:
            before = values
            answered = answered or by_agent
    return told


def time_of(written: object) -> datetime:
    return datetime.fromisoformat(str(written))


# --- conditions ---------------------------------------------------------------------------------


def holds(condition: Condition, values: Mapping[str, object], happened: set[str]) -> bool:
    """Whether a condition is true of a ticket as the timeline writes it."""
    if isinstance(condition, AllOf):
        return all(holds(part, values, happened) for part in condition.all)
    if isinstance(condition, AnyOf):
        return any(holds(part, values, happened) for part in condition.any)
    if isinstance(condition, Not):
        return not holds(condition.negated, values, happened)
    return _answer(condition, _asked(condition.field, values, happened))


def _asked(name: str, values: Mapping[str, object], happened: set[str]) -> object:
    if name.startswith("event."):
        return name.removeprefix("event.") in happened
    if name.startswith("fields."):
        fields = values.get("fields")
        key = name.removeprefix("fields.")
        return fields.get(key) if isinstance(fields, Mapping) else None
    return values.get(FIELDS[name])


def _answer(test: Test, value: object) -> bool:
    wanted, op = test.value, test.op
    many = value if isinstance(value, list | tuple) else [value]
    if op in (Op.SET, Op.UNSET):
        return (value in (None, "", [], ())) is (op is Op.UNSET)
    if op in (Op.IS, Op.IS_NOT):
        return any(_equal(one, wanted) for one in many) is (op is Op.IS)
    if op in (Op.IN, Op.NOT_IN):
        listed = wanted if isinstance(wanted, tuple) else ()
        found = any(_equal(one, each) for one in many for each in listed)
        return found is (op is Op.IN)
    if op in (Op.HAS, Op.HAS_NOT):
        if isinstance(value, list | tuple):
            found = any(_equal(one, wanted) for one in value)
        else:
            both = isinstance(value, str) and isinstance(wanted, str)
            found = both and str(wanted).casefold() in str(value).casefold()
        return found is (op is Op.HAS)
    order = _order(test.field, value, wanted)
    if order is None:
        return False
    verdicts: dict[Op, bool] = {
        Op.BELOW: order < 0, Op.AT_MOST: order <= 0, Op.ABOVE: order > 0, Op.AT_LEAST: order >= 0
    }  # fmt: skip
    return verdicts[op]


def _equal(one: object, other: object) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, str) and isinstance(other, str):
        return one.casefold() == other.casefold()
    return one == other


def _order(name: str, one: object, other: object) -> int | None:
    """Below zero, zero or above, where there is an order: of priorities, numbers or texts."""
    if name == "priority":
        ranks = [priority.value for priority in Priority]
        known = one in ranks and other in ranks
        return ranks.index(str(one)) - ranks.index(str(other)) if known else None
    if isinstance(one, bool) or isinstance(other, bool):
        return None
    if isinstance(one, int | float) and isinstance(other, int | float):
        return (one > other) - (one < other)
    if isinstance(one, str) and isinstance(other, str):
        return (one > other) - (one < other)
    return None
