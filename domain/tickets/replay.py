"""A ticket worked out anew from its timeline alone: what the rows must agree with."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Literal
from uuid import UUID

from domain import sla
from domain.states import ActorKind, Category, Channel, Priority, TicketType
from domain.tickets.standing import SILENT, created_by


@dataclass(frozen=True, slots=True)
class Recorded:
    """A row of the timeline."""

    seq: int
    type: str
    actor_kind: str
    changes: Mapping[str, list[object]]
    data: Mapping[str, object]
    occurred_at: datetime


@dataclass(slots=True)
class Replayed:
    """What the timeline says the ticket is."""

    seq: int = 0
    values: dict[str, object] = field(default_factory=dict)
    clocks: tuple[sla.Clock, ...] = ()
    gaps: list[int] = field(default_factory=list)


Version = tuple[UUID, int]  # of a policy
TermsOf = Callable[[UUID, int], sla.Terms]
Choose = Callable[[Version | None, sla.Subject], Version | None]


def replay(
    timeline: Iterable[Recorded],
    terms_of: TermsOf,
    *,
    now: datetime,
    choose: Choose | None = None,
    watch: Callable[[tuple[sla.Clock, ...]], None] | None = None,
) -> Replayed:
    """The ticket after `timeline`, with everything fired that was due by `now`.

    `terms_of` gives a policy version with its calendar. `gaps` names the seqs that are missing.
    With `choose` the ticket is timed by the policy that it answers, told the one that the timeline
    names and how the ticket stands. `watch` is shown the clocks after every entry.
    """
    ticket = Replayed()
    told: list[sla.Fact] = []
    terms: sla.Terms | None = None
    named: Version | None = None
    chosen: Version | None = None
    stands: sla.Subject | None = None
    for entry, values, fact in _facts(timeline):
        ticket.gaps.extend(range(ticket.seq + 1, entry.seq))
        ticket.seq, ticket.values = entry.seq, values
        at = _applied(entry)
        # Time first: what was due before this entry was due under the terms before it.
        ticket.clocks, _ = sla.fire(ticket.clocks, terms, now=at)
        before = terms
        if "policy_id" in entry.changes or "policy_version" in entry.changes:
            policy, version = values.get("policy_id"), values.get("policy_version")
            named = (_uuid(str(policy)), int(str(version))) if policy else None
        stands = stands if fact is None else fact.subject
        wanted = named if choose is None or stands is None else choose(named, stands)
        if wanted != chosen:
            chosen = wanted
            terms = terms_of(*wanted) if wanted else None
        ticket.clocks = _steered(ticket.clocks, entry, terms, at)
        if fact is not None:
            past = sla.Past(told, before)
            ticket.clocks = sla.observe(ticket.clocks, fact, terms, past=past)
            told.append(fact)
        if watch is not None:
            watch(ticket.clocks)
    ticket.clocks, _ = sla.fire(ticket.clocks, terms, now=now)
    return ticket


def facts_of(timeline: Iterable[Recorded]) -> tuple[sla.Fact, ...]:
    """What the clocks were told, entry by entry: the `past` that `decide` may want."""
    return tuple(fact for _, _, fact in _facts(timeline) if fact is not None)


def _steered(
    clocks: tuple[sla.Clock, ...], entry: Recorded, terms: sla.Terms | None, at: datetime
) -> tuple[sla.Clock, ...]:
    """The clocks after what was done to them directly."""
    data = entry.data
    match entry.type:
        case "unmerged":
            return sla.revive(clocks, terms, at=at)
        case "absorbed" if data.get("inherits"):
            return sla.inherit(clocks, terms, start=_time(data["inherits"]), at=at)
        case "sla_due_set" | "sla_due_reset":
            due = data.get("due_at")
            return sla.set_due(
                clocks,
                terms,
                metric=sla.Metric(str(data["metric"])),
                due_at=_time(due) if due else None,
                at=at,
                by=_id(data.get("by")),
                reason=str(data.get("reason") or ""),
            )
        case "sla_acknowledged":
            # An entry that does not say what was asked for is of a time when the last one counted.
            return sla.acknowledge(
                clocks,
                at=at,
                until=_time(data.get("asked") or data["until"]),
                by=_id(data.get("by")),
                shortens="asked" not in data,
            )
    return clocks


def _facts(
    timeline: Iterable[Recorded],
) -> Iterator[tuple[Recorded, dict[str, object], sla.Fact | None]]:
    """Each entry with the values after it and the fact that the clocks were told, if they were."""
    values: dict[str, object] = {}
    opened_by: Literal["customer", "agent", "machine"] = "agent"
    created_at: datetime | None = None
    replied = False
    stood: sla.Subject | None = None
    differs = True  # from how it stood, maybe
    for entry in timeline:
        at, data = _applied(entry), entry.data
        creation = entry.type == "ticket_created"
        if creation:
            created_at = at
            opened_by = created_by(ActorKind(str(data["opened_by"])))
            for name in ("subject", "status", "category", "channel", "language", "tier"):
                values[name] = data.get(name)
            values["requester_id"] = data.get("requester_id")
            values["organization_id"] = data.get("organization_id")
        for name, (_before, after) in entry.changes.items():
            values[name] = after
        differs = differs or creation or bool(entry.changes)
        if entry.type in SILENT and not data.get("inherits"):
            yield entry, values, None
            continue
        stands = _subject(values) if differs or stood is None else stood
        differs = False
        by_user = entry.actor_kind == ActorKind.USER
        as_requester = bool(data.get("as_requester"))
        answers = entry.type == "agent_replied" and by_user and not as_requester
        clocks_from = data.get("clocks_from")
        since = _time(clocks_from) if creation and clocks_from else None
        yield (
            entry,
            values,
            sla.Fact(
                at=at,
                category=stands.category,
                priority=stands.priority,
                created_by=opened_by,
                created_at=since if creation else created_at,
                replied=replied or bool(data.get("answered")),
                customer_message=entry.type == "customer_replied"
                or as_requester
                or (creation and opened_by == "customer" and "message_id" in data),
                agent_reply=answers or (creation and bool(data.get("agent_reply"))),
                automatic=bool(data.get("automatic")),
                cancelled="merged" if entry.type == "merged" else None,
                subject=stands,
                was=stood,
            ),
        )
        stood = stands
        replied = replied or answers or (creation and bool(data.get("agent_reply")))


def _subject(values: Mapping[str, object]) -> sla.Subject:
    """The ticket as conditions see it, from values as the timeline writes them."""

    def text(name: str) -> str | None:
        value = values.get(name)
        return None if value is None else str(value)

    priority, kind, channel = text("priority"), text("type"), text("channel")
    tags, fields = values.get("tags"), values.get("fields")
    return sla.Subject(
        category=Category(str(values["category"])),
        status=text("status") or "",
        priority=Priority(priority) if priority else None,
        type=TicketType(kind) if kind else None,
        channel=Channel(channel) if channel else None,
        team_id=_id(values.get("team_id")),
        assignee_id=_id(values.get("assignee_id")),
        organization_id=_id(values.get("organization_id")),
        requester_id=_id(values.get("requester_id")),
        tags=tuple(str(tag) for tag in tags) if isinstance(tags, (list, tuple)) else (),
        fields=dict(fields) if isinstance(fields, Mapping) else {},
        language=text("language"),
        tier=text("tier"),
        topic=text("topic"),
        sentiment=text("sentiment"),
        subject=text("subject") or "",
    )


def _id(value: object) -> UUID | None:
    return None if value is None else _uuid(str(value))


@lru_cache(maxsize=8192)
def _uuid(written: str) -> UUID:
    return UUID(written)  # the same few teams, people and policies again and again


def _time(value: object) -> datetime:
    return datetime.fromisoformat(str(value))


def _applied(entry: Recorded) -> datetime:
    applied = entry.data.get("applied_at")
    return datetime.fromisoformat(str(applied)) if applied else entry.occurred_at
