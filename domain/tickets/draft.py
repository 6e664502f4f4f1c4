"""A decision in the making: what one event has changed so far, entry by entry."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Literal, overload
from uuid import UUID

from domain import sla
from domain.desk import Desk
from domain.routing import Roster
from domain.scoring import pressure_of
from domain.states import ActorKind, Category, Priority, Visibility
from domain.tickets.decision import (
    AuthorKind,
    Call,
    Decision,
    Entry,
    MessageMove,
    Notice,
    RelationChange,
    StoredMessage,
)
from domain.tickets.events import Event, NewMessage
from domain.tickets.standing import SILENT, created_by, subject_of
from domain.tickets.state import DERIVED, Actor, Ticket
from domain.triage import Spam

_MENTION = re.compile(r"(?<![\w@])@([a-z0-9][a-z0-9._-]*[a-z0-9]|[a-z0-9])", re.IGNORECASE)
_FIELDS = frozenset(field.name for field in fields(Ticket))


# What those who watch a ticket hear of; the assignee hears what concerns them anyway.
WATCHED = frozenset(
    {"customer_replied", "agent_replied", "note_added", "escalated", "merged", "auto_closed"}
)


def author_kind(actor: Actor) -> AuthorKind:
    """Who a message is by. What is imported was written by somebody, where it comes from."""
    match actor.kind:
        case ActorKind.CUSTOMER:
            return "customer"
        case ActorKind.USER | ActorKind.IMPORT:
            return "user"
        case ActorKind.AUTOMATION | ActorKind.MODEL:
            return "automation"
        case ActorKind.SYSTEM:
            return "system"


class Draft:
    """Mutable on the inside only: `decide` makes one, fills it and takes its decision."""

    def __init__(
        self,
        ticket: Ticket,
        clocks: Iterable[sla.Clock],
        event: Event,
        desk: Desk,
        now: datetime,
        past: Sequence[sla.Fact] | None = None,
    ) -> None:
        self.was = ticket
        self.event = event
        self.desk = desk
        self.now = now  # the moment that is being decided
        self.heard_at = now  # when it is decided; later, where a timer or a mail came late
        self._values: dict[str, object] = {}
        self._stands: sla.Subject | None = None  # worked out when it is asked for
        # What was due until now was due under the terms its clocks were planned by.
        self.terms = desk.terms_of(ticket.policy_id, ticket.policy_version)
        if self.terms is None and ticket.policy_id is not None:
            self.terms = self.in_force()
        self._stood = self.stands if ticket.seq else None  # as the clocks last saw it
        self._timed_by = self.terms  # under which they last saw it
        self._past = past
        self._changes: dict[str, list[object]] = {}
        self._entries: list[Entry] = []
        self._clocks_before = tuple(clocks)
        self.clocks = self._clocks_before
        self.messages: list[StoredMessage] = []
        self.notices: list[Notice] = []
        self.relations: list[RelationChange] = []
        self.moves: list[MessageMove] = []
        self.watchers: frozenset[UUID] = frozenset()
        self.watch: set[UUID] = set()
        self.unwatch: set[UUID] = set()
        self.mails: list[UUID] = []
        self.calls: list[Call] = []
        self.turns: list[tuple[UUID, int]] = []
        self.roster: Roster | None = None  # how those stand who may be given it
        self.wants_past = False

    # What is, with what this event has changed so far.

    @property
    def ticket(self) -> Ticket:
        return replace(self.was, **self._values) if self._values else self.was  # type: ignore[arg-type]

    @property
    def category(self) -> Category:
        return self._values.get("category", self.was.category)  # type: ignore[return-value]

    @overload
    def get(self, name: Literal["assignee_id", "team_id"]) -> UUID | None: ...
    @overload
    def get(self, name: Literal["tags", "decided"]) -> tuple[str, ...]: ...
    @overload
    def get(self, name: Literal["priority"]) -> Priority | None: ...
    @overload
    def get(self, name: Literal["unanswered"]) -> int: ...
    @overload
    def get(self, name: Literal["fields"]) -> Mapping[str, object]: ...
    @overload
    def get(self, name: Literal["reminder", "escalation"]) -> Mapping[str, object] | None: ...
    @overload
    def get(self, name: str) -> object: ...

    def get(self, name: str) -> object:
        """A property of the ticket, as it is by now."""
        return self._values[name] if name in self._values else getattr(self.was, name)

    @property
    def assignee_id(self) -> UUID | None:
        return self.get("assignee_id")

    @property
    def team_id(self) -> UUID | None:
        return self.get("team_id")

    @property
    def tags(self) -> tuple[str, ...]:
        return self.get("tags")

    @property
    def is_spam(self) -> bool:
        return self.get("spam") == Spam.SPAM

    @property
    def decisions(self) -> tuple[str, ...]:
        """The properties a person has decided."""
        return self.get("decided")

    @property
    def next_seq(self) -> int:
        """The seq of the entry that is being filled."""
        return self.was.seq + len(self._entries) + 1

    @property
    def touched(self) -> bool:
        """Whether this event has brought anything yet."""
        return bool(self._entries)

    @property
    def changed(self) -> bool:
        return bool(self._changes)

    # Changes.

    def set(self, name: str, value: object) -> None:
        assert name in _FIELDS, name
        before = self.get(name)
        if before == value:
            return
        self._values[name] = value
        self._stands = None
        if name in DERIVED:
            return
        change = self._changes.setdefault(name, [before, value])
        change[1] = value
        if change[0] == change[1]:
            del self._changes[name]

    def wake(self) -> None:
        self.set("snoozed_until", None)
        self.set("snoozed", None)

    def decided(self, *names: str) -> None:
        """A person decided these properties: a model leaves them alone from now on."""
        self.set("decided", tuple(sorted({*self.decisions, *names})))

    def undecided(self, name: str) -> None:
        """What a person decided about it holds no longer."""
        if name in self.decisions:
            self.set("decided", tuple(one for one in self.decisions if one != name))

    def say(
        self,
        message: NewMessage,
        *,
        visibility: Visibility,
        channel: str,
        author: Actor,
        as_customer: bool | None = None,
    ) -> None:
        """A message. `as_customer`: it counts as a customer's, or as nobody's when False."""
        kind = author_kind(author)
        self.messages.append(
            StoredMessage(
                message=message,
                seq=self.next_seq,
                author_kind=kind,
                author_id=author.id,
                visibility=visibility,
                channel=channel,
                created_at=self.now,
            )
        )
        if visibility is Visibility.PUBLIC:
            self.set("message_seq", self.next_seq)
            if kind == "customer" if as_customer is None else as_customer:
                self.set("customer_at", self.now)
                self.set("waiting_since", self.get("waiting_since") or self.now)
                self.set("unanswered", self.get("unanswered") + 1)
            elif kind == "user" and as_customer is None:  # what a rule sends answers nobody
                self.set("agent_at", self.now)
                self.answered()
        if author.kind not in (ActorKind.CUSTOMER, ActorKind.IMPORT):  # neither calls anybody now
            named = {m.group(1).lower().rstrip(".") for m in _MENTION.finditer(message.text)}
            self.tell((self.desk.handles[h] for h in named if h in self.desk.handles), "mentioned")

    def answered(self) -> None:
        """Nobody waits for a reply any more."""
        self.set("waiting_since", None)
        self.set("unanswered", 0)

    def tell(
        self, users: Iterable[UUID], kind: str, data: Mapping[str, object] | None = None
    ) -> None:
        """Each of `users` but the actor learns of the entry that is being filled.

        Of spam nobody hears, but what a person does with it.
        """
        if self.is_spam and self.event.actor.kind is not ActorKind.USER:
            return
        known = {(n.user_id, n.seq, n.kind) for n in self.notices}
        for user in users:
            agent = self.desk.agents.get(user)
            told = (user, self.next_seq, kind) in known
            if agent is None or not agent.active or user == self.event.actor.id or told:
                continue
            self.notices.append(Notice(user, self.next_seq, kind, dict(data or {})))
            known.add((user, self.next_seq, kind))

    # Entries and clocks.

    @property
    def stands(self) -> sla.Subject:
        """The ticket as the conditions of policies see it now."""
        if self._stands is None:
            self._stands = subject_of(self.get)
        return self._stands

    def in_force(self) -> sla.Terms | None:
        """What is promised to the ticket as it stands."""
        return self.desk.terms(self.stands)

    def record(
        self,
        kind: str,
        *,
        data: Mapping[str, object] | None = None,
        key: str | None = None,
        actor: Actor | None = None,
        cause: Mapping[str, object] | None = None,
        occurred_at: datetime | None = None,
    ) -> None:
        """Closes the entry that was being filled; the next changes belong to the next one."""
        # A rule's message is no news that somebody has answered.
        by_person = (actor or self.event.actor).kind is ActorKind.USER
        if kind in WATCHED and (by_person or kind != "agent_replied"):
            self.tell(self.watchers, kind)
        if kind not in SILENT:
            self.terms = self.in_force()
            policy = self.terms.policy if self.terms else None
            self.set("policy_id", policy.id if policy else None)
            self.set("policy_version", policy.version if policy else None)
        given = dict(data or {})
        if occurred_at is not None and occurred_at != self.now:
            given["applied_at"] = self.now  # it should have happened earlier
        self._entries.append(
            Entry(
                seq=self.next_seq,
                type=kind,
                key=key or self.event.key,
                actor=actor or self.event.actor,
                cause=self.event.cause if cause is None else cause,
                changes=self._changes,
                data=given,
                occurred_at=occurred_at or self.now,
            )
        )
        self._changes = {}

    def observe(
        self,
        *,
        creation: bool = False,
        customer_message: bool = False,
        agent_reply: bool = False,
        cancelled: str | None = None,
        note: bool = False,
        automatic: bool = False,
        answered: bool = False,
        since: datetime | None = None,
    ) -> None:
        """The clocks learn what the last entry brought.

        A ticket that begins may count from `since`, and owes no first reply where it is `answered`.
        """
        was = self.was
        stands = self.stands
        fact = sla.Fact(
            at=self.now,
            category=self.category,
            priority=self.get("priority"),
            created_by=created_by(was.created_by_kind),
            created_at=since if creation else was.created_at,
            replied=answered or was.agent_at is not None,
            customer_message=customer_message,
            agent_reply=agent_reply,
            note=note,
            automatic=automatic,
            cancelled=cancelled,
            subject=stands,
            was=self._stood,
        )
        before = sla.Past(self._past or (), self._timed_by)
        if creation or self._past is None:
            self.wants_past |= not creation and sla.wants_past(
                self.clocks, fact, before, self.terms
            )
            self.clocks = sla.observe(self.clocks, fact, self.terms)
        else:
            self.clocks = sla.observe(self.clocks, fact, self.terms, past=before)
            self._past = (*self._past, fact)
        self._stood, self._timed_by = stands, self.terms

    def fire(self, moment: datetime) -> tuple[sla.Due, ...]:
        """The steps due at `moment`. Breaches among what is due are recorded here."""
        self.clocks, dues = sla.fire(
            self.clocks,
            self.terms,
            now=moment,
            detected_at=self.heard_at,
            subject=self.stands,
            withdrawn=self.terms is not None and not self.desk.offers(self.terms.policy.id),
        )
        late = self.event.cause.get("late")  # why nobody was there in time
        for due in dues:
            if due.kind == "step":
                continue
            clock = next(c for c in self.clocks if (c.metric, c.cycle) == (due.metric, due.cycle))
            earliest = [t for t in (self.get("breached_at"), due.at) if isinstance(t, datetime)]
            self.set("breached_at", min(earliest))
            self.record(
                "sla_breached",
                key=f"breach/{self.was.id}/{due.metric}/{due.cycle}",
                actor=Actor(ActorKind.AUTOMATION),
                cause={
                    **self.event.cause,
                    "policy": str(clock.policy_id),
                    "version": clock.policy_version,
                },
                data={
                    "metric": due.metric,
                    "cycle": due.cycle,
                    "late_by_seconds": max(0, int(due.lateness.total_seconds())),
                    **({"late_because": late} if late else {}),
                    **({"caused_by": due.caused_by} if due.caused_by else {}),
                },
                occurred_at=due.at,
            )
        return tuple(due for due in dues if due.kind == "step")

    def decision(self) -> Decision:
        """Everything collected, with due times and the next deadline worked out anew."""
        if not self._entries:
            return Decision(ticket=self.was, clocks=self._clocks_before)
        assert not self._changes, f"changes without an entry: {self._changes}"
        self._due_times()
        self._triage_ends()
        self.set("pressure", pressure_of(self.get))
        self.set("deadline_at", self.deadline())
        self.set("seq", self.was.seq + len(self._entries))
        self.set("updated_at", self.heard_at)
        before = {(c.metric, c.cycle): c for c in self._clocks_before}
        by_person = self.event.actor.kind is ActorKind.USER
        return Decision(
            ticket=self.ticket,
            entries=tuple(self._entries),
            clocks=self.clocks,
            changed_clocks=tuple(c for c in self.clocks if before.get((c.metric, c.cycle)) != c),
            messages=tuple(self.messages),
            notices=tuple(self.notices),
            relations=tuple(self.relations),
            moves=tuple(self.moves),
            watch=frozenset(self.watch),
            unwatch=frozenset(self.unwatch),
            # What a rule would say to a spammer tells them that somebody is there.
            mails=() if self.is_spam and not by_person else tuple(self.mails),
            calls=tuple(self.calls),
            turns=tuple(self.turns),
            wants_past=self.wants_past,
        )

    def _due_times(self) -> None:
        shown = sla.summary(self.clocks)
        self.set("first_reply_due_at", shown["first_reply_due_at"])
        self.set("resolution_due_at", shown["resolution_due_at"])
        self.set("next_due_at", shown["next_due_at"])

    def _triage_ends(self) -> None:
        """A ticket that is over waits for no verdict any more; one that comes back does again."""
        state = self.get("triage")
        if self.category.is_over and state == "pending":
            self.set("triage", "skipped")
        elif not self.category.is_over and state == "skipped":
            self.set("triage", "pending" if self.desk.settings.triage else "off")

    def deadline(self) -> datetime | None:
        """When something happens by itself next; None when nothing will."""
        if self.category.is_over:
            return None
        moments = [
            sla.next_moment(self.clocks, self.terms),
            self.get("snoozed_until"),
            self.get("remind_at"),
            self.get("auto_close_at"),
        ]
        return min((m for m in moments if isinstance(m, datetime)), default=None)
