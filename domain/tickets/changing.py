"""Properties of a ticket as somebody wants them; and as they were, put back."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from domain.states import ActorKind, Priority, TicketType
from domain.tickets.draft import Draft
from domain.tickets.events import Changed, Keep
from domain.tickets.handing import assign
from domain.tickets.shapes import clean_fields, clean_subject, clean_tags
from domain.tickets.state import SYSTEM
from domain.tickets.statuses import enter, go

# What undoing puts back as it was; the status is entered, and the rest follows from it.
RESTORED = frozenset(
    {
        "subject", "type", "priority", "team_id", "assignee_id", "tags", "fields", "snoozed_until",
        "snoozed", "remind_at", "reminder", "escalation",
    }
)  # fmt: skip


def properties_of(change: Changed) -> set[str]:
    """The properties a change speaks of."""
    names = {
        name
        for name in ("subject", "status", "type", "priority", "team_id", "assignee_id", "tags")
        if not isinstance(getattr(change, name), Keep)
    }
    if change.add_tags or change.remove_tags:
        names.add("tags")
    if change.fields:
        names.add("fields")
    return names


def asked_properties(change: Changed) -> set[str]:
    """Like the timeline names them: custom fields as `fields.KEY`."""
    names = properties_of(change) - {"fields"}
    return names | {f"fields.{key}" for key in change.fields}


def changed(draft: Draft, change: Changed) -> None:
    """All that a change asks for, in one entry; none where everything is so already."""
    actor = draft.event.actor
    asked = properties_of(change)
    if not isinstance(change.subject, Keep):
        draft.set("subject", clean_subject(change.subject))
    if not isinstance(change.type, Keep):
        draft.set("type", change.type)
    if not isinstance(change.priority, Keep):
        draft.set("priority", change.priority)
    if "tags" in asked:
        have: tuple[str, ...] = (
            draft.tags if isinstance(change.tags, Keep) else clean_tags(change.tags)
        )
        gone = set(clean_tags(change.remove_tags))
        draft.set("tags", clean_tags([t for t in have if t not in gone] + list(change.add_tags)))
    if change.fields:
        draft.set("fields", clean_fields(change.fields, draft.desk, draft.was.fields, by=actor))
    if {"team_id", "assignee_id"} & asked:
        assign(draft, team_id=change.team_id, assignee_id=change.assignee_id, actor=actor)
    if not isinstance(change.status, Keep):
        go(draft, change.status, actor=actor)
    if actor.kind is ActorKind.USER:
        draft.decided(*(asked - {"tags", "subject", "fields"}))
    if not draft.changed:
        return
    only_assignment = asked <= {"team_id", "assignee_id"}
    draft.record(
        "assigned" if only_assignment else "changed",
        data={"reason": change.reason} if change.reason else {},
    )
    draft.observe()


def restore(draft: Draft, before: Mapping[str, object]) -> None:
    """Puts earlier values back, past every check: they were true once."""
    for name, value in before.items():
        if name not in RESTORED:
            continue
        draft.set(name, _revive(name, value))
    _let_go(draft)
    status = draft.desk.statuses.get(str(before.get("status", draft.get("status"))))
    if status is not None:
        enter(draft, status, actor=SYSTEM, restoring=True)


def _let_go(draft: Draft) -> None:
    """Who had it then may have left since; nobody would look at it."""
    agent = draft.desk.agents.get(draft.assignee_id) if draft.assignee_id else None
    team = draft.desk.teams.get(draft.team_id) if draft.team_id else None
    gone = agent is None or not agent.active or (team is not None and agent.id not in team.members)
    if draft.assignee_id is not None and gone:
        draft.set("assignee_id", None)
        draft.undecided("assignee_id")


def _revive(name: str, value: object) -> object:
    """A value as it came out of JSON, in the type the ticket holds it in."""
    if value is None:
        return None
    match name:
        case "team_id" | "assignee_id":
            return UUID(str(value))
        case "tags":
            assert isinstance(value, list | tuple)
            return tuple(value)
        case "priority":
            return Priority(str(value))
        case "type":
            return TicketType(str(value))
        case "snoozed_until" | "remind_at":
            return datetime.fromisoformat(str(value))
    return value
