"""A ticket worked out anew from its timeline alone: what the rows must agree with."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from domain import sla
from domain.states import ActorKind, Category, Priority

# Entries after which the clocks learn nothing new.
_SILENT = frozenset(
    {
        "absorbed", "assignee_left", "linked", "note_added", "released", "reminded",
        "reminder_cleared", "reminder_set", "sla_breached", "snoozed", "split", "unlinked",
        "unwatched", "watched", "woken",
    }
)  # fmt: skip


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


TermsOf = Callable[[UUID, int], sla.Terms]


def replay(timeline: Iterable[Recorded], terms_of: TermsOf, *, now: datetime) -> Replayed:
    """The ticket after `timeline`, with everything fired that was due by `now`.

    `terms_of` gives a policy version with its calendar. `gaps` names the seqs that are missing.
    """
    ticket = Replayed()
    created_by, created_at, replied = "agent", now, False
    terms: sla.Terms | None = None
    for entry in timeline:
        ticket.gaps.extend(range(ticket.seq + 1, entry.seq))
        ticket.seq = entry.seq
        at = _applied(entry)
        if entry.type == "ticket_created":
            created_at = at
            created_by = "customer" if entry.data["opened_by"] == ActorKind.CUSTOMER else "agent"
            for name in ("subject", "status", "category", "channel"):
                ticket.values[name] = entry.data.get(name)
        # Time first: what was due before this entry was due under the terms before it.
        ticket.clocks, _ = sla.fire(ticket.clocks, terms, now=at)
        for name, (_before, after) in entry.changes.items():
            ticket.values[name] = after
        if "policy_id" in entry.changes or "policy_version" in entry.changes:
            policy, version = ticket.values.get("policy_id"), ticket.values.get("policy_version")
            terms = terms_of(UUID(str(policy)), int(str(version))) if policy else None
        if entry.type in _SILENT:
            continue
        if entry.type == "unmerged":
            ticket.clocks = sla.revive(ticket.clocks, terms, at=at)
        priority = ticket.values.get("priority")
        creation = entry.type == "ticket_created"
        fact = sla.Fact(
            at=at,
            category=Category(str(ticket.values["category"])),
            priority=Priority(str(priority)) if priority else None,
            created_by="customer" if created_by == "customer" else "agent",
            created_at=None if creation else created_at,
            replied=replied,
            customer_message=entry.type == "customer_replied"
            or (creation and created_by == "customer" and "message_id" in entry.data),
            agent_reply=entry.type == "agent_replied" and entry.actor_kind == ActorKind.USER,
            cancelled="merged" if entry.type == "merged" else None,
        )
        ticket.clocks = sla.observe(ticket.clocks, fact, terms)
        if entry.actor_kind == ActorKind.USER and entry.type == "agent_replied":
            replied = True
    ticket.clocks, _ = sla.fire(ticket.clocks, terms, now=now)
    return ticket


def _applied(entry: Recorded) -> datetime:
    applied = entry.data.get("applied_at")
    return datetime.fromisoformat(str(applied)) if applied else entry.occurred_at
