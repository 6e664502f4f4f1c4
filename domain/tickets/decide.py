"""The one rule book: what an event means for a ticket.

`decide` is pure, like `open_ticket`. It refuses with a `Refusal`, or returns the rows to write.
What each event does is in the module named for it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import assert_never
from uuid import UUID

from domain import sla
from domain.desk import Desk
from domain.errors import Conflict, TicketClosed, TicketMerged
from domain.routing import Roster
from domain.states import Category, Channel, Visibility
from domain.tickets.changing import changed, properties_of, restore
from domain.tickets.decision import Decision
from domain.tickets.draft import Draft
from domain.tickets.escalation import escalated, handed_back, timed
from domain.tickets.events import (
    Absorbed,
    Acknowledged,
    AgentLeft,
    AgentReplied,
    Changed,
    CustomerReplied,
    DueSet,
    Escalated,
    Event,
    HandedBack,
    Labelled,
    Linked,
    MergedInto,
    MessagesSplitOff,
    MoodRead,
    NoteAdded,
    Offered,
    Released,
    ReminderSet,
    Retiered,
    Retimed,
    Snoozed,
    TimeAdvanced,
    Triaged,
    Undone,
    Unlinked,
    Unmerged,
    Unwatched,
    Watched,
    Woken,
)
from domain.tickets.handing import hand_out
from domain.tickets.postponing import postponed
from domain.tickets.relating import absorbed, merged, related, split_off
from domain.tickets.settling import settle
from domain.tickets.speaking import agent_replied, customer_replied
from domain.tickets.state import Ticket
from domain.tickets.triaging import labelled, mood_read, triaged

# What may still be put right on a closed ticket, for reports; everything else needs a follow-up.
CHANGEABLE_WHEN_CLOSED = frozenset({"subject", "tags", "priority"})


def decide(
    ticket: Ticket,
    clocks: Iterable[sla.Clock],
    event: Event,
    desk: Desk,
    *,
    now: datetime,
    watchers: frozenset[UUID] = frozenset(),
    roster: Roster | None = None,
    past: Sequence[sla.Fact] | None = None,
) -> Decision:
    """What `event` does to `ticket`. A time before the ticket's last event is raised to it.

    `roster` says how those stand who may be given it, where somebody has looked. `past` is all
    that the clocks were told until now; see `Decision.wants_past`.
    """
    now = max(now, ticket.updated_at)
    happened = min(event.occurred_at or now, now)
    draft = Draft(ticket, clocks, event, desk, ticket.updated_at, past)
    draft.heard_at = now
    draft.watchers = watchers
    draft.roster = roster
    # What was due before this happened comes first, even when its timer is late.
    settle(draft, until=max(happened, ticket.updated_at))
    if draft.category.is_over and not _takes(draft, event, desk):
        return draft.decision()
    if isinstance(event.payload, CustomerReplied) and (
        draft.category is Category.CLOSED and not desk.settings.reopen_closed
    ):
        return replace(draft.decision(), follow_up=True)
    _apply(draft, event)
    settle(draft, until=now)
    return draft.decision()


def _apply(draft: Draft, event: Event) -> None:
    match event.payload:
        case CustomerReplied():
            customer_replied(draft, event.payload)
        case AgentReplied():
            agent_replied(draft, event.payload)
        case NoteAdded(message):
            draft.say(
                message, visibility=Visibility.INTERNAL, channel=Channel.AGENT, author=event.actor
            )
            draft.record("note_added", data={"message_id": message.id})
        case Changed():
            changed(draft, event.payload)
        case Escalated():
            escalated(draft, event.payload)
        case HandedBack():
            handed_back(draft, event.payload)
        case Snoozed() | Woken() | ReminderSet():
            postponed(draft, event.payload)
        case Linked() | Unlinked():
            related(draft, event.payload)
        case MergedInto() | Unmerged():
            merged(draft, event.payload)
        case Absorbed() | Released():
            absorbed(draft, event.payload)
        case MessagesSplitOff():
            split_off(draft, event.payload)
        case Watched(user_id):
            draft.watch.add(user_id)
            draft.record("watched", data={"user_id": user_id})
        case Unwatched(user_id):
            draft.unwatch.add(user_id)
            draft.record("unwatched", data={"user_id": user_id})
        case AgentLeft(user_id):
            if draft.assignee_id == user_id:
                draft.set("assignee_id", None)
                draft.undecided("assignee_id")  # whoever chose them did not choose nobody
                draft.record("assignee_left", data={"user_id": user_id})
                draft.observe()
        case Retiered(tier):
            draft.set("tier", tier)
            if draft.changed:
                draft.record("tier_changed")
                draft.observe()
        case Offered():
            hand_out(draft)
        case TimeAdvanced():
            pass  # all there was to do is settled
        case Triaged():
            triaged(draft, event.payload)
            hand_out(draft)
        case MoodRead():
            mood_read(draft, event.payload)
        case Labelled():
            labelled(draft, event.payload)
        case Undone(before):
            restore(draft, before)
            if draft.changed:
                draft.record("undone")
                draft.observe()
        case DueSet() | Acknowledged() | Retimed():
            timed(draft, event.payload)
        case _:
            assert_never(event.payload)


def _takes(ticket: Draft, event: Event, desk: Desk) -> bool:
    """Whether a finished ticket takes the event; raises where somebody should be told why not."""
    payload = event.payload
    match payload:
        case TimeAdvanced() | Triaged() | MoodRead() | AgentLeft():
            return False
        case Retimed() | Retiered() | Offered():
            return False
        case Linked() | Unlinked() | Watched() | Unwatched() | Released():
            return True
        case Undone() if ticket.category is Category.CLOSED:
            return True
        case Unmerged():
            if ticket.category is not Category.MERGED:
                raise Conflict(f"Ticket {ticket.was.number} is not merged.")
            return True
        case _ if ticket.category is Category.MERGED:
            raise TicketMerged(ticket.was.number)
        case CustomerReplied():
            return True
        case Labelled(team_id=None):
            return True
        case Changed():
            asked = properties_of(payload)
            if asked <= CHANGEABLE_WHEN_CLOSED:
                return True
            if "status" in asked and desk.settings.reopen_closed:
                return True
    raise TicketClosed(ticket.was.number)
