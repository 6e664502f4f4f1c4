"""The one rule book: what an event means for a ticket.

`decide` and `open_ticket` are pure. They refuse with a `Refusal`, or return the rows to write.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID

from domain import sla
from domain.desk import Desk
from domain.errors import (
    Conflict,
    Invalid,
    StaleReply,
    TicketClosed,
    TicketMerged,
)
from domain.routing import Roster
from domain.states import (
    ActorKind,
    Category,
    Channel,
    Priority,
    RelationKind,
    TicketType,
    Visibility,
)
from domain.thanks import nothing_but_thanks
from domain.tickets.decision import Decision, MessageMove, RelationChange
from domain.tickets.draft import Draft
from domain.tickets.escalation import carry_out, handed_back, timed
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
    Keep,
    Labelled,
    Linked,
    MergedInto,
    MessagesSplitOff,
    NewMessage,
    NoteAdded,
    Offered,
    Released,
    ReminderSet,
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
from domain.tickets.handing import hand_out, pass_on
from domain.tickets.shapes import clean_fields, clean_subject, clean_tags
from domain.tickets.state import SYSTEM, Actor, Ticket
from domain.tickets.triaging import labelled, triaged

# What reopens when the customer writes again; a new ticket stays new until somebody works on it.
REOPENED_BY_CUSTOMER = frozenset({Category.PENDING, Category.ON_HOLD, Category.RESOLVED})
# What may still be put right on a closed ticket, for reports; everything else needs a follow-up.
CHANGEABLE_WHEN_CLOSED = frozenset({"subject", "tags", "priority"})
FURTHEST = timedelta(days=3660)
# What undoing puts back as it was; the status is entered, and the rest follows from it.
RESTORED = frozenset(
    {
        "subject", "type", "priority", "team_id", "assignee_id", "tags", "fields", "snoozed_until",
        "snoozed", "remind_at", "reminder", "escalation",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTicket:
    """What somebody asks for when a ticket is made. `key` makes it happen once."""

    id: UUID
    number: int
    key: str
    actor: Actor
    subject: str
    requester_id: UUID
    channel: Channel
    message: NewMessage | None
    visibility: Visibility = Visibility.PUBLIC
    organization_id: UUID | None = None
    status: str | None = None
    type: TicketType | None = None
    priority: Priority | None = None
    team_id: UUID | None = None
    assignee_id: UUID | None = None
    tags: tuple[str, ...] = ()
    fields: Mapping[str, object] = field(default_factory=dict)
    language: str | None = None
    cause: Mapping[str, object] = field(default_factory=dict)
    occurred_at: datetime | None = None
    follows_up: UUID | None = None
    split_from: UUID | None = None
    # Its clocks count from here, where that is earlier than now: the time of a message split off.
    clocks_from: datetime | None = None
    answered: bool = False  # what it begins with was answered already: no first reply is owed
    # Whose request it counts as, where that is not the actor's: an agent splits a customer's words.
    opened_by: Actor | None = None
    # What makes it more or less pressing beside what it says; see domain/scoring.py.
    tier: str | None = None
    earlier: int = 0


def open_ticket(
    new: NewTicket, desk: Desk, *, now: datetime, roster: Roster | None = None
) -> Decision:
    """The first rows of a ticket: its creation, its first message, its clocks, its deadline."""
    created = min(now, new.occurred_at or now)
    start = desk.status_for(Category.NEW)
    opener = new.opened_by or new.actor
    event = Event(key=new.key, actor=new.actor, payload=TimeAdvanced(), cause=new.cause)
    blank = Ticket(
        id=new.id,
        number=new.number,
        subject=clean_subject(new.subject),
        status=start.key,
        category=start.category,
        channel=new.channel,
        requester_id=new.requester_id,
        organization_id=new.organization_id,
        created_by_kind=opener.kind,
        created_by_id=opener.id,
        language=new.language,
        tier=new.tier,
        earlier=new.earlier,
        seq=0,
        message_seq=0,
        created_at=created,
        updated_at=created,
        triage="pending" if desk.settings.triage else "off",
    )
    draft = Draft(blank, (), event, desk, created)
    draft.roster = roster
    draft.set("type", new.type)
    draft.set("priority", new.priority)
    draft.set("tags", clean_tags(new.tags))
    draft.set("fields", clean_fields(new.fields, desk, blank.fields, by=new.actor))
    given = [name for name in ("type", "priority", "team_id", "assignee_id") if getattr(new, name)]
    if new.actor.is_person and given:
        draft.decided(*given)
    if new.team_id or new.assignee_id:
        draft.assign(team_id=new.team_id, assignee_id=new.assignee_id, actor=new.actor)
    if new.status is not None:
        draft.go(new.status, actor=new.actor)
    if new.message is not None:
        asks = opener.kind is ActorKind.CUSTOMER  # whoever typed it
        draft.say(
            new.message,
            visibility=new.visibility,
            channel=new.channel,
            author=new.actor,
            as_customer=True if asks else None,
        )
        if new.actor.kind is ActorKind.USER and not asks and new.visibility is Visibility.PUBLIC:
            draft.mails.append(new.message.id)
    for kind, other in (
        (RelationKind.FOLLOW_UP, new.follows_up),
        (RelationKind.SPLIT_FROM, new.split_from),
    ):
        if other is not None:
            draft.relations.append(RelationChange(kind, new.id, other, add=True))
    draft.record(
        "ticket_created",
        data={
            "subject": blank.subject,
            "number": new.number,
            "channel": new.channel,
            "requester_id": new.requester_id,
            "organization_id": new.organization_id,
            "status": start.key,
            "category": start.category,
            "language": new.language,
            "opened_by": opener.kind,
            "message_id": new.message.id if new.message else None,
            "follows_up": new.follows_up,
            "split_from": new.split_from,
            **_beginnings(new, opener),
        },
    )
    by_customer = opener.kind is ActorKind.CUSTOMER
    draft.observe(
        creation=True,
        customer_message=by_customer and new.message is not None,
        agent_reply="agent_reply" in _beginnings(new, opener),
        answered=new.answered,
        since=new.clocks_from,
    )
    if not desk.settings.triage:
        hand_out(draft)  # else once the model has said what it is about
    draft.heard_at = now
    _settle(draft, until=now)
    return draft.decision()


def _beginnings(new: NewTicket, opener: Actor) -> dict[str, object]:
    """What the clocks have to know of a creation that is not of the usual kind."""
    found: dict[str, object] = {}
    if (
        opener.kind is ActorKind.USER
        and new.message is not None
        and new.visibility is Visibility.PUBLIC
    ):
        found["agent_reply"] = True
    if new.answered:
        found["answered"] = True
    if new.clocks_from is not None:
        found["clocks_from"] = new.clocks_from
    return found


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
    _settle(draft, until=max(happened, ticket.updated_at))
    if draft.category.is_over and not _takes(draft, event, desk):
        return draft.decision()
    if isinstance(event.payload, CustomerReplied) and (
        draft.category is Category.CLOSED and not desk.settings.reopen_closed
    ):
        return replace(draft.decision(), follow_up=True)
    _apply(draft, event)
    _settle(draft, until=now)
    return draft.decision()


def _apply(draft: Draft, event: Event) -> None:
    match event.payload:
        case CustomerReplied():
            _customer_replied(draft, event.payload)
        case AgentReplied():
            _agent_replied(draft, event.payload)
        case NoteAdded(message):
            draft.say(
                message, visibility=Visibility.INTERNAL, channel=Channel.AGENT, author=event.actor
            )
            draft.record("note_added", data={"message_id": message.id})
        case Changed():
            _changed(draft, event.payload)
        case Escalated():
            _escalated(draft, event.payload)
        case HandedBack():
            handed_back(draft, event.payload)
        case Snoozed() | Woken() | ReminderSet():
            _postponed(draft, event.payload)
        case Linked() | Unlinked():
            _related(draft, event.payload)
        case MergedInto() | Unmerged():
            _merged(draft, event.payload)
        case Absorbed() | Released():
            _absorbed(draft, event.payload)
        case MessagesSplitOff():
            _split_off(draft, event.payload)
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
        case Offered():
            hand_out(draft)
        case TimeAdvanced():
            pass  # all there was to do is settled
        case Triaged():
            triaged(draft, event.payload)
            hand_out(draft)
        case Labelled():
            labelled(draft, event.payload)
        case Undone(before):
            _restore(draft, before)
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
        case TimeAdvanced() | Triaged() | AgentLeft() | Retimed() | Offered():
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
            asked = _asked(payload)
            if asked <= CHANGEABLE_WHEN_CLOSED:
                return True
            if "status" in asked and desk.settings.reopen_closed:
                return True
    raise TicketClosed(ticket.was.number)


def _customer_replied(draft: Draft, reply: CustomerReplied) -> None:
    was = draft.category
    draft.say(
        reply.message,
        visibility=Visibility.PUBLIC,
        channel=reply.channel,
        author=Actor(ActorKind.CUSTOMER, reply.customer_id),
        as_customer=False if reply.automatic else None,
    )
    if reply.automatic:  # neither starts, satisfies nor resumes anything
        draft.record(
            "customer_replied",
            data={"message_id": reply.message.id, "channel": reply.channel, "automatic": True},
        )
        draft.observe(customer_message=True, automatic=True)
        return
    if was is Category.RESOLVED and _only_thanks(draft, reply.message):
        draft.set("waiting_since", draft.was.waiting_since)  # nobody waits for an answer to thanks
        draft.set("unanswered", draft.was.unanswered)
        if draft.assignee_id is not None:
            draft.tell([draft.assignee_id], "customer_replied", {"thanks": True})
        draft.record(
            "customer_replied",
            data={
                "message_id": reply.message.id,
                "channel": reply.channel,
                "thanks": "It says nothing but thanks, so the ticket stays resolved.",
            },
        )
        draft.observe(customer_message=True)
        return
    if was in REOPENED_BY_CUSTOMER or was is Category.CLOSED:
        draft.enter_category(Category.OPEN)
    if draft.get("snoozed") in ("reply", "either"):
        draft.wake()
    if draft.assignee_id is not None:
        draft.tell([draft.assignee_id], "customer_replied")
    draft.record(
        "customer_replied", data={"message_id": reply.message.id, "channel": reply.channel}
    )
    draft.observe(customer_message=True)
    pass_on(draft)


def _only_thanks(draft: Draft, message: NewMessage) -> bool:
    """Whether a message closes a conversation, on a desk that wants to hear the difference."""
    if not draft.desk.settings.thanks_keep_resolved or message.attachments:
        return False
    names = (agent.name for agent in draft.desk.agents.values())
    return nothing_but_thanks(message.text, names=names)


def _agent_replied(draft: Draft, reply: AgentReplied) -> None:
    ticket = draft.was
    if reply.seen is not None and ticket.message_seq > reply.seen:
        raise StaleReply(
            f"Ticket {ticket.number} has a newer message than you have read."
            " Read it, then send again.",
            fields={"/seen": f"the last public message came with event {ticket.message_seq}"},
        )
    draft.say(
        reply.message,
        visibility=Visibility.PUBLIC,
        channel=reply.channel,
        author=draft.event.actor,
        as_customer=True if reply.as_requester else None,
    )
    if reply.as_requester:
        _requester_wrote(draft, reply)
        return
    if reply.status is not None:
        draft.go(reply.status, actor=draft.event.actor)
        draft.decided("status")
    elif draft.category is Category.NEW:
        draft.enter_category(Category.OPEN)
    draft.mails.append(reply.message.id)
    draft.record("agent_replied", data={"message_id": reply.message.id, "channel": reply.channel})
    draft.observe(agent_reply=draft.event.actor.kind is ActorKind.USER)


def _requester_wrote(draft: Draft, reply: AgentReplied) -> None:
    """An agent who is the requester is a customer on the ticket: a question, no answer."""
    if reply.status is not None:
        draft.go(reply.status, actor=draft.event.actor)
        draft.decided("status")
    elif draft.category in REOPENED_BY_CUSTOMER:
        draft.enter_category(Category.OPEN)
    draft.record(
        "agent_replied",
        data={"message_id": reply.message.id, "channel": reply.channel, "as_requester": True},
    )
    draft.observe(customer_message=True)


def _asked(change: Changed) -> set[str]:
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
    names = _asked(change) - {"fields"}
    return names | {f"fields.{key}" for key in change.fields}


def _changed(draft: Draft, change: Changed) -> None:
    actor = draft.event.actor
    asked = _asked(change)
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
        draft.assign(team_id=change.team_id, assignee_id=change.assignee_id, actor=actor)
    if not isinstance(change.status, Keep):
        draft.go(change.status, actor=actor)
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


def _escalated(draft: Draft, escalation: Escalated) -> None:
    if escalation.team_id is None and escalation.assignee_id is None:
        raise Invalid(
            "Say to whom: a team, a person, or both.",
            fields={"/team_id": "or assignee_id is needed"},
        )
    before: Mapping[str, object] = draft.get("escalation") or {}  # type: ignore[assignment]
    level = int(str(before.get("level", 0))) + 1
    team: UUID | Keep | None = escalation.team_id or Keep()
    agent: UUID | Keep | None = escalation.assignee_id or Keep()
    if escalation.assignee_id and not escalation.team_id:
        current = draft.desk.teams.get(draft.team_id) if draft.team_id else None
        if current is not None and escalation.assignee_id not in current.members:
            team = None
    draft.assign(team_id=team, assignee_id=agent, actor=draft.event.actor)
    draft.decided("team_id", *(["assignee_id"] if escalation.assignee_id else []))
    if not escalation.assignee_id:
        draft.undecided("assignee_id")  # the team finds somebody as it always does
    draft.set(
        "escalation",
        {
            "level": level,
            "reason": escalation.reason,
            "by": draft.event.actor.id,
            "team_id": escalation.team_id,
            "assignee_id": escalation.assignee_id,
            "at": draft.now,
        },
    )
    told = [draft.assignee_id] if draft.assignee_id else []
    if escalation.team_id and not escalation.assignee_id:
        told.extend(draft.desk.teams[escalation.team_id].members)
    draft.tell([t for t in told if t], "escalated", {"reason": escalation.reason, "level": level})
    draft.record("escalated", data={"reason": escalation.reason, "level": level})
    draft.observe()
    if draft.roster is not None:
        hand_out(draft)


def _postponed(draft: Draft, wish: Snoozed | Woken | ReminderSet) -> None:
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


def _related(draft: Draft, link: Linked | Unlinked) -> None:
    if link.kind in (RelationKind.MERGED_INTO, RelationKind.SPLIT_FROM):
        raise Invalid("Merging and splitting make this link.", fields={"/kind": "is made by merge"})
    me, other = draft.was.id, link.other_id
    source, target = (me, other) if link.outgoing else (other, me)
    adding = isinstance(link, Linked)
    if link.outgoing:  # each side records it, one writes it
        draft.relations.append(RelationChange(link.kind, source, target, add=adding))
    draft.record(
        "linked" if adding else "unlinked",
        data={
            "kind": link.kind,
            "outgoing": link.outgoing,
            "ticket_id": other,
            "number": link.other_number,
        },
    )


def _merged(draft: Draft, merge: MergedInto | Unmerged) -> None:
    me, target = draft.was.id, merge.target_id
    if isinstance(merge, MergedInto):
        if target == me:
            raise Invalid(
                "A ticket cannot be merged into itself.", fields={"/into": "is this ticket"}
            )
        draft.set("merged_into", target)
        draft.enter_category(Category.MERGED)
        draft.moves.append(MessageMove(from_id=me, to_id=target))
        draft.relations.append(RelationChange(RelationKind.MERGED_INTO, me, target, add=True))
        draft.record("merged", data={"into": target, "number": merge.target_number})
        draft.observe(cancelled="merged")
        return
    if draft.get("merged_into") != target:
        raise Conflict(f"Ticket {draft.was.number} is not merged into {merge.target_number}.")
    _restore(draft, merge.before)
    draft.set("merged_into", None)
    draft.moves.append(MessageMove(from_id=target, to_id=me, origin_id=me))
    draft.relations.append(RelationChange(RelationKind.MERGED_INTO, me, target, add=False))
    draft.record("unmerged", data={"from": target, "number": merge.target_number})
    draft.clocks = sla.revive(draft.clocks, draft.terms, at=draft.now)
    draft.observe()


def _absorbed(draft: Draft, merge: Absorbed | Released) -> None:
    came = isinstance(merge, Absorbed)
    inherits = merge.inherits if isinstance(merge, Absorbed) else None
    draft.record(
        "absorbed" if came else "released",
        data={
            "ticket_id": merge.source_id,
            "number": merge.source_number,
            **({"inherits": inherits} if inherits else {}),
        },
    )
    if inherits is not None:
        draft.clocks = sla.inherit(draft.clocks, draft.terms, start=inherits, at=draft.now)
        draft.observe()


def _split_off(draft: Draft, split: MessagesSplitOff) -> None:
    draft.moves.append(
        MessageMove(from_id=draft.was.id, to_id=split.other_id, message_ids=split.message_ids)
    )
    draft.record(
        "split",
        data={
            "into": split.other_id,
            "number": split.other_number,
            "message_ids": list(split.message_ids),
        },
    )


def _restore(draft: Draft, before: Mapping[str, object]) -> None:
    """Puts earlier values back, past every check: they were true once."""
    for name, value in before.items():
        if name not in RESTORED:
            continue
        draft.set(name, _revive(name, value))
    status = draft.desk.statuses.get(str(before.get("status", draft.get("status"))))
    if status is not None:
        draft.enter(status, actor=SYSTEM, restoring=True)


def _revive(name: str, value: object) -> object:
    """A value as it came out of JSON, in the type the ticket holds it in."""
    if value is None:
        return None
    match name:
        case "team_id" | "assignee_id":
            return UUID(str(value))
        case "tags":
            return tuple(value)  # type: ignore[arg-type]
        case "priority":
            return Priority(str(value))
        case "type":
            return TicketType(str(value))
        case "snoozed_until" | "remind_at":
            return datetime.fromisoformat(str(value))
    return value


def _settle(draft: Draft, *, until: datetime) -> None:
    """Everything due by `until`, in the order in which it was due, each under its own key.

    The draft's moment moves along, so that what a late timer brings happens when it was due.
    """
    _settle_due(draft, until)
    draft.now = until


def _settle_due(draft: Draft, until: datetime) -> None:
    if draft.category.is_over:
        return
    if not draft.touched and (draft.was.deadline_at is None or draft.was.deadline_at > until):
        return
    late_cause = {**draft.event.cause, "timer": True}
    for _ in range(1000):  # each round settles one moment; a policy has far fewer
        moment = draft.deadline()
        if moment is None or moment > until:
            return
        draft.now = max(moment, draft.now)
        if draft.get("snoozed_until") == moment:
            draft.wake()
            if draft.assignee_id:
                draft.tell([draft.assignee_id], "woken")
            draft.record(
                "woken", key=f"woken/{draft.was.id}/{draft.next_seq}", actor=SYSTEM,
                cause=late_cause, occurred_at=moment,
            )  # fmt: skip
        elif draft.get("remind_at") == moment:
            _remind(draft, moment, late_cause)
        elif draft.get("auto_close_at") == moment:
            draft.enter_category(Category.CLOSED)
            draft.record(
                "auto_closed", key=f"auto_closed/{draft.was.id}/{draft.next_seq}", actor=SYSTEM,
                cause=late_cause, occurred_at=moment,
            )  # fmt: skip
            draft.observe()
        else:
            carry_out(draft, moment)
    raise AssertionError("a deadline that never settles")


def _remind(draft: Draft, moment: datetime, cause: Mapping[str, object]) -> None:
    reminder: Mapping[str, object] = draft.get("reminder") or {}  # type: ignore[assignment]
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


__all__ = ["NewTicket", "asked_properties", "decide", "open_ticket"]
