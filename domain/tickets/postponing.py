"""Tickets that sleep until a time or a reply, and reminders of them."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from domain.errors import Conflict, Invalid
from domain.tickets.draft import Draft
from domain.tickets.events import ReminderSet, Snoozed, Woken
from domain.tickets.shapes import FURTHEST
from domain.tickets.state import SYSTEM


def postponed(draft: Draft, wish: Snoozed | Woken | ReminderSet) -> None:
    """What agents put off, or no longer do."""
    match wish:
        case Snoozed(until, wake_on_reply):
            if until is None and not wake_on_reply:
                raise Invalid(
                    "Say when it wakes: a time, the customer's reply, or both.",
                    fields={"/until": "is needed unless wake_on_reply is true"},
                )
            if until is not None:
                _refuse_far(until, draft.now, "/until", "The time to wake")
            if not draft.category.is_active:
                raise Conflict(f"Ticket {draft.was.number} is {draft.category}; nothing to snooze.")
            draft.set("snoozed_until", until)
            draft.set("snoozed", ("either" if until else "reply") if wake_on_reply else "time")
            draft.record("snoozed")
        case Woken():
            draft.wake()
            if draft.changed:
                draft.record("woken")
        case ReminderSet(at, note):
            if at is not None:
                _refuse_far(at, draft.now, "/at", "The time of the reminder")
            draft.set("remind_at", at)
            draft.set("reminder", {"note": note, "by": draft.event.actor.id} if at else None)
            if draft.changed:
                draft.record("reminder_set" if at else "reminder_cleared")


def _refuse_far(at: datetime, now: datetime, pointer: str, what: str) -> None:
    """Times lie ahead, and within what calendars and databases can hold."""
    if at <= now:
        raise Invalid(f"{what} is past.", fields={pointer: "must lie ahead"})
    if at > now + FURTHEST:
        raise Invalid(f"{what} is too far away.", fields={pointer: "lies within ten years"})


def remind(draft: Draft, moment: datetime, cause: Mapping[str, object]) -> None:
    """Whoever has the ticket hears of it; else its team, else whoever wanted to be reminded."""
    reminder = draft.get("reminder") or {}
    team = draft.desk.teams.get(draft.team_id) if draft.team_id else None
    by = reminder.get("by")
    to = [draft.assignee_id] if draft.assignee_id else list(team.members if team else ())
    if not to and by is not None:
        to = [UUID(str(by))]
    draft.tell([t for t in to if t], "reminder", {"note": reminder.get("note", "")})
    draft.set("remind_at", None)
    draft.set("reminder", None)
    draft.record(
        "reminded",
        key=f"reminded/{draft.was.id}/{draft.next_seq}",
        actor=SYSTEM,
        cause=cause,
        data={"note": reminder.get("note", "")},
        occurred_at=moment,
    )
