"""The rule book of tickets: tables of what each event does, and what holds after any of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.calendars import Calendar, Weekday
from domain.desk import Agent, CustomField, Desk, DeskSettings, Status, Team, default_statuses
from domain.errors import (
    Conflict,
    Invalid,
    NeedsAssignee,
    NotAMember,
    Refusal,
    StaleReply,
    StatusNotAllowed,
    TicketClosed,
    TicketMerged,
)
from domain.sla import (
    Action,
    AddTag,
    Clock,
    Metric,
    Notify,
    Outcome,
    Policy,
    RaisePriority,
    Reassign,
    Step,
)
from domain.states import (
    ActorKind,
    Category,
    Channel,
    Priority,
    RelationKind,
    TicketType,
    Visibility,
)
from domain.tickets import (
    DERIVED,
    MODEL,
    SYSTEM,
    Absorbed,
    Actor,
    AgentLeft,
    AgentReplied,
    Changed,
    CustomerReplied,
    Decision,
    Escalated,
    Event,
    Labelled,
    Linked,
    MergedInto,
    MessagesSplitOff,
    NewMessage,
    NewTicket,
    NoteAdded,
    Payload,
    ReminderSet,
    Snoozed,
    Ticket,
    TimeAdvanced,
    Triaged,
    Undone,
    Unmerged,
    Unwatched,
    Watched,
    Woken,
    decide,
    open_ticket,
)
from domain.triage import Guess, Verdict

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)  # a Monday
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def uid(number: int) -> UUID:
    return UUID(int=number)


ADA, BEN, CYD, EVE, VIC = (uid(n) for n in range(1, 6))  # Vic only looks, Eve has left
FIRST, SECOND, GONE = (uid(n) for n in range(11, 14))
CUSTOMER, TICKET, OTHER = uid(21), uid(31), uid(32)
CALENDAR, POLICY = uid(41), uid(42)

USER = Actor(ActorKind.USER, ADA)
BY_CUSTOMER = Actor(ActorKind.CUSTOMER, CUSTOMER)
AGENTS = (
    Agent(ADA, "Ada", "ada@desk.test", "ada", "agent"),
    Agent(BEN, "Ben", "ben@desk.test", "ben", "agent"),
    Agent(CYD, "Cyd", "cyd@desk.test", "cyd", "supervisor"),
    Agent(EVE, "Eve", "eve@desk.test", "eve", "agent", active=False),
    Agent(VIC, "Vic", "vic@desk.test", "vic", "viewer"),
)
TEAMS = (
    Team(FIRST, "First", members=(ADA, BEN)),
    Team(SECOND, "Second", routing="round_robin", members=(BEN, CYD, VIC)),
    Team(GONE, "Gone", members=(ADA,), active=False),
)
FIELDS = (
    CustomField("serial", "Serial", "text", pattern="[0-9]+"),
    CustomField("plan", "Plan", "select", ("basic", "pro"), customer_editable=True),
)
ALWAYS = Calendar.model_validate(
    {"timezone": "UTC", "weekly": {day: [("00:00", "24:00")] for day in Weekday}}
)
REPLY_IN, RESOLVE_IN = 4 * HOUR, 24 * HOUR


def step(id: str, offset: timedelta, action: Action, metric: Metric = Metric.FIRST_REPLY) -> Step:
    return Step(id=id, metric=metric, offset=offset, action=action)


def desk(
    *steps: Step, statuses: Sequence[Status] = (), promise: bool = False, **wishes: object
) -> Desk:
    policy = Policy(
        id=POLICY,
        version=1,
        name="Standard",
        calendar_id=CALENDAR,
        calendar_version=1,
        targets={
            Metric.FIRST_REPLY: {Priority.NORMAL: REPLY_IN, Priority.HIGH: 2 * HOUR},
            Metric.RESOLUTION: {Priority.NORMAL: RESOLVE_IN, Priority.HIGH: 8 * HOUR},
        },
        steps=steps,
    )
    return Desk(
        tenant_id=uid(99),
        slug="desk",
        config_version=1,
        settings=DeskSettings.model_validate(wishes),
        statuses={s.key: s for s in (*default_statuses(), *statuses)},
        fields={f.key: f for f in FIELDS},
        teams={t.id: t for t in TEAMS},
        agents={a.id: a for a in AGENTS},
        policies=(policy,) if steps or promise else (),
        calendars={(CALENDAR, 1): ALWAYS},
    )


def words(text: str = "Hello", *, id: int = 1000) -> NewMessage:
    return NewMessage(uid(id), text)


class Life:
    """One ticket through its events, the way the service keeps it."""

    def __init__(self, at: Desk | None = None, **wishes: object) -> None:
        self.desk = at or desk()
        self.now = START
        asked: dict[str, object] = {
            "actor": BY_CUSTOMER,
            "subject": "It is broken",
            "requester_id": CUSTOMER,
            "channel": Channel.EMAIL,
            "message": words(),
            "key": "created",
            **wishes,
        }
        new = NewTicket(id=TICKET, number=7, **asked)  # type: ignore[arg-type]
        self.last: Decision = open_ticket(new, self.desk, now=self.now)
        self.ticket: Ticket = self.last.ticket
        self.clocks: tuple[Clock, ...] = self.last.clocks
        self.entries = list(self.last.entries)
        self.heard = [self.ticket.updated_at] * len(self.entries)  # when each was written down
        self.count = 0

    def __call__(
        self,
        payload: Payload,
        *,
        actor: Actor = USER,
        after: timedelta = MINUTE,
        occurred_at: datetime | None = None,
    ) -> Decision:
        self.now += after
        self.count += 1
        event = Event(
            key=f"event-{self.count}",
            actor=actor,
            payload=payload,
            cause={"test": True},
            occurred_at=occurred_at,
        )
        self.last = decide(self.ticket, self.clocks, event, self.desk, now=self.now)
        self.ticket, self.clocks = self.last.ticket, self.last.clocks
        self.entries += self.last.entries
        self.heard += [self.ticket.updated_at] * len(self.last.entries)
        return self.last

    def customer_writes(
        self, after: timedelta = MINUTE, occurred_at: datetime | None = None
    ) -> Decision:
        reply = CustomerReplied(words(id=2000 + self.count), CUSTOMER, Channel.EMAIL)
        return self(reply, actor=BY_CUSTOMER, after=after, occurred_at=occurred_at)

    def agent_writes(self, status: str | None = None, *, actor: Actor = USER) -> Decision:
        return self(AgentReplied(words(id=3000 + self.count), status=status), actor=actor)

    def time_passes(self, span: timedelta) -> Decision:
        return self(TimeAdvanced(), actor=SYSTEM, after=span)

    @property
    def types(self) -> list[str]:
        return [entry.type for entry in self.last.entries]

    def clock(self, metric: Metric) -> Clock:
        return max((c for c in self.clocks if c.metric is metric), key=lambda c: c.cycle)


def assigned(at: Desk | None = None, **wishes: object) -> Life:
    return Life(at, **{"team_id": FIRST, "assignee_id": ADA, "actor": BY_CUSTOMER, **wishes})


def in_category(category: Category, at: Desk | None = None) -> Life:
    if category is Category.NEW:
        return Life(at)
    life = assigned(at)
    if category is Category.MERGED:
        life(MergedInto(OTHER, 8))
    elif category is not Category.OPEN:
        life(Changed(status=category.value))
    return life


# --- creation ---


def test_a_ticket_begins_new_with_its_message_and_one_entry() -> None:
    life = Life(subject="  It\nis \x00 broken ")

    assert life.ticket.subject == "It is broken"
    assert (life.ticket.category, life.ticket.seq, life.ticket.message_seq) == (Category.NEW, 1, 1)
    assert life.types == ["ticket_created"]
    assert [m.author_kind for m in life.last.messages] == ["customer"]
    assert life.ticket.customer_at == START
    assert not life.last.mails


@pytest.mark.parametrize("subject", ["", "   ", "\n\x00\t"])
def test_a_ticket_without_a_subject_is_refused(subject: str) -> None:
    with pytest.raises(Invalid):
        Life(subject=subject)


def test_a_ticket_opened_by_an_agent_mails_the_requester_and_remembers_what_was_decided() -> None:
    life = Life(actor=USER, priority=Priority.HIGH, team_id=FIRST, tags=("VIP ", "vip", "a b"))

    assert life.last.mails == (uid(1000),)
    assert life.ticket.decided == ("priority", "team_id")
    assert life.ticket.tags == ("a_b", "vip")
    assert life.ticket.category is Category.NEW  # a team is nobody yet


def test_a_ticket_that_arrived_earlier_dates_from_then() -> None:
    life = Life(desk(promise=True), occurred_at=START - 5 * HOUR)

    assert life.ticket.created_at == START - 5 * HOUR
    assert life.types == ["ticket_created", "sla_breached"]
    assert life.entries[-1].occurred_at == START - 5 * HOUR + REPLY_IN
    assert life.clock(Metric.FIRST_REPLY).detected_at == START


@pytest.mark.parametrize(
    ("given", "pointer"),
    [({"nothing": 1}, "/fields/nothing"), ({"serial": "abc"}, "/fields/serial"),
     ({"plan": "gold"}, "/fields/plan")],
)  # fmt: skip
def test_fields_that_do_not_fit_are_refused_by_name(given: dict[str, object], pointer: str) -> None:
    with pytest.raises(Invalid) as refusal:
        Life(actor=USER, fields=given)
    assert list(refusal.value.fields) == [pointer]


def test_a_customer_sets_only_the_fields_that_customers_may() -> None:
    assert Life(fields={"plan": "pro"}).ticket.fields == {"plan": "pro"}
    with pytest.raises(Invalid):
        Life(fields={"serial": "12"})


# --- status ---


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Category.NEW, Category.NEW),
        (Category.OPEN, Category.OPEN),
        (Category.PENDING, Category.OPEN),
        (Category.ON_HOLD, Category.OPEN),
        (Category.RESOLVED, Category.OPEN),
    ],
)
def test_what_a_customer_writes_reopens_what_waits_or_was_resolved(
    before: Category, after: Category
) -> None:
    life = in_category(before)
    assert life.ticket.category is before
    decision = life.customer_writes()

    assert life.ticket.category is after
    assert life.ticket.customer_at == life.now
    assert life.ticket.message_seq == life.ticket.seq
    assert life.ticket.auto_close_at is None
    assert life.ticket.resolved_at is None
    assert [n.kind for n in decision.notices] == ([] if before is Category.NEW else
                                                  ["customer_replied"])  # fmt: skip


@pytest.mark.parametrize("status", ["open", "pending", "on_hold", "resolved", "closed"])
def test_nothing_becomes_new_again(status: str) -> None:
    life = in_category(Category(status), desk(reopen_closed=True))
    with pytest.raises(StatusNotAllowed):
        life(Changed(status="new"))


def test_a_ticket_is_not_merged_by_its_status() -> None:
    with pytest.raises(StatusNotAllowed):
        Life()(Changed(status="merged"))


@pytest.mark.parametrize("status", ["gone", "asleep"])
def test_a_status_that_is_not_in_use_is_refused(status: str) -> None:
    asleep = Status("asleep", "Asleep", Category.PENDING, "Waiting", 20, active=False)
    with pytest.raises(Invalid):
        Life(desk(statuses=[asleep]))(Changed(status=status))


def test_an_answer_to_a_new_ticket_opens_it() -> None:
    life = Life()
    decision = life.agent_writes()

    assert life.ticket.category is Category.OPEN
    assert decision.mails == (decision.messages[0].message.id,)
    assert life.ticket.agent_at == life.now


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        (ActorKind.AUTOMATION, "automation"),
        (ActorKind.MODEL, "automation"),
        (ActorKind.SYSTEM, "system"),
    ],
)
def test_what_a_machine_sends_is_its_own_and_no_answer(kind: ActorKind, shown: str) -> None:
    life = Life(desk(promise=True))
    life(Watched(BEN))
    before = life.clock(Metric.FIRST_REPLY)
    decision = decide(
        life.ticket, life.clocks,
        Event(key="sent", actor=Actor(kind), payload=AgentReplied(words()), cause={"rule": "x"}),
        life.desk, now=life.now, watchers=frozenset({BEN}),
    )  # fmt: skip
    assert [m.author_kind for m in decision.messages] == [shown]
    assert decision.ticket.agent_at is None
    assert decision.notices == ()  # nobody hears that somebody has answered
    [after] = [c for c in decision.clocks if c.metric is Metric.FIRST_REPLY]
    assert (after.stopped_at, after.due_at) == (None, before.due_at)
    assert len(decision.mails) == 1  # it is sent all the same


def test_who_watches_hears_of_a_persons_answer() -> None:
    life = Life()
    decision = decide(
        life.ticket, life.clocks, Event(key="sent", actor=USER, payload=AgentReplied(words(id=5))),
        life.desk, now=life.now, watchers=frozenset({BEN}),
    )  # fmt: skip
    assert [(n.user_id, n.kind) for n in decision.notices] == [(BEN, "agent_replied")]


def test_an_import_may_bring_a_resolved_ticket_that_nobody_has() -> None:
    life = Life(actor=Actor(ActorKind.IMPORT), status="resolved", cause={"import": "old desk"})
    assert (life.ticket.category, life.ticket.assignee_id) == (Category.RESOLVED, None)
    assert life.ticket.resolved_at == life.now
    late = Life()
    late(Changed(status="resolved"), actor=Actor(ActorKind.IMPORT))
    assert (late.ticket.category, late.ticket.assignee_id) == (Category.RESOLVED, None)


def test_transitions_bind_people_but_not_rules() -> None:
    strict = replace(default_statuses()[1], transitions=frozenset({"pending"}))
    life = assigned(desk(statuses=[strict]))
    with pytest.raises(StatusNotAllowed, match="pending"):
        life(Changed(status="on_hold"))
    life(Changed(status="on_hold"), actor=Actor(ActorKind.AUTOMATION))
    assert life.ticket.status == "on_hold"


def test_a_status_names_the_fields_it_needs() -> None:
    careful = replace(default_statuses()[4], required_fields=("serial",))
    life = assigned(desk(statuses=[careful]))
    with pytest.raises(Invalid) as refusal:
        life(Changed(status="resolved"))
    assert list(refusal.value.fields) == ["/fields/serial"]

    life(Changed(status="resolved", fields={"serial": "12"}))
    assert life.ticket.category is Category.RESOLVED


def test_who_resolves_an_unassigned_ticket_becomes_its_assignee() -> None:
    life = Life()
    life(Changed(status="resolved"))

    assert life.ticket.assignee_id == ADA
    assert life.ticket.resolved_at == life.now
    assert life.ticket.auto_close_at == life.now + 28 * DAY


def test_who_resolves_a_ticket_of_another_team_takes_it_to_their_own() -> None:
    life = Life(team_id=SECOND)
    life(Changed(status="resolved"))

    assert (life.ticket.team_id, life.ticket.assignee_id) == (FIRST, ADA)


@pytest.mark.parametrize(
    ("at", "actor"),
    [(desk(assign_on_resolve=False), USER), (desk(), Actor(ActorKind.AUTOMATION))],
    ids=["the setting is off", "a rule resolves"],
)
def test_an_unassigned_ticket_is_not_resolved(at: Desk, actor: Actor) -> None:
    with pytest.raises(NeedsAssignee):
        Life(at)(Changed(status="resolved"), actor=actor)


# --- closed ---


@pytest.mark.parametrize(
    "payload",
    [
        AgentReplied(words(id=1)),
        NoteAdded(words(id=1)),
        Changed(status="open"),
        Changed(type=TicketType.TASK),
        Changed(team_id=SECOND),
        Changed(assignee_id=None),
        Changed(fields={"plan": "pro"}),
        Changed(subject="New", status="open"),
        Escalated("why", team_id=SECOND),
        Snoozed(None, wake_on_reply=True),
        Woken(),
        ReminderSet(START + 900 * DAY),
        MergedInto(OTHER, 8),
        Absorbed(OTHER, 8),
        MessagesSplitOff((uid(1000),), OTHER, 8),
    ],
    ids=lambda p: repr(p)[:40],
)
def test_a_closed_ticket_refuses(payload: Payload) -> None:
    life = in_category(Category.CLOSED)
    with pytest.raises(TicketClosed):
        life(payload)


def test_subject_tags_and_priority_of_a_closed_ticket_may_be_put_right() -> None:
    life = in_category(Category.CLOSED)
    life(Changed(subject="Right", add_tags=("late",), priority=Priority.LOW))

    assert life.ticket.subject == "Right"
    assert life.ticket.tags == ("late",)
    assert life.ticket.category is Category.CLOSED
    assert life.ticket.deadline_at is None


@pytest.mark.parametrize(
    "payload",
    [
        Linked(RelationKind.RELATES, OTHER, 8, outgoing=True),
        Watched(BEN),
        Unwatched(BEN),
    ],
    ids=["link", "watch", "unwatch"],
)
def test_a_closed_ticket_may_be_linked_and_watched(payload: Payload) -> None:
    life = in_category(Category.CLOSED)
    assert life(payload).entries


@pytest.mark.parametrize("payload", [TimeAdvanced(), AgentLeft(ADA)], ids=["time", "left"])
def test_a_closed_ticket_lets_machines_pass_in_silence(payload: Payload) -> None:
    life = in_category(Category.CLOSED)
    before = life.ticket
    assert life(payload, actor=SYSTEM).entries == ()
    assert life.ticket is before


def test_what_a_customer_writes_to_a_closed_ticket_asks_for_a_follow_up() -> None:
    life = in_category(Category.CLOSED)
    decision = life.customer_writes()

    assert decision.follow_up
    assert (decision.entries, decision.messages) == ((), ())
    assert life.ticket.category is Category.CLOSED


def test_where_the_tenant_wants_it_a_closed_ticket_reopens() -> None:
    life = in_category(Category.CLOSED, desk(reopen_closed=True))
    assert not life.customer_writes().follow_up
    assert (life.ticket.category, life.ticket.closed_at) == (Category.OPEN, None)

    life = in_category(Category.CLOSED, desk(reopen_closed=True))
    life(Changed(status="open"))
    assert life.ticket.category is Category.OPEN


def test_a_resolved_ticket_closes_after_its_days_and_the_entry_tells_the_true_time() -> None:
    life = in_category(Category.RESOLVED, desk(auto_close_after=7 * DAY))
    resolved = life.now
    assert life.ticket.deadline_at == resolved + 7 * DAY
    assert life.time_passes(7 * DAY - MINUTE).entries == ()

    life.time_passes(3 * DAY)

    assert life.types == ["auto_closed"]
    entry = life.last.entries[0]
    assert entry.occurred_at == resolved + 7 * DAY
    assert entry.actor == SYSTEM
    assert entry.cause["timer"] is True
    assert life.ticket.closed_at == resolved + 7 * DAY
    assert life.ticket.resolved_at == resolved
    assert life.ticket.updated_at == life.now


def test_without_the_setting_a_resolved_ticket_stays() -> None:
    life = in_category(Category.RESOLVED, desk(auto_close_after=None))
    assert life.ticket.deadline_at is None
    assert life.time_passes(900 * DAY).entries == ()


def test_a_reply_that_came_before_the_closing_reopens_though_both_are_handled_late() -> None:
    life = in_category(Category.RESOLVED)
    closing = life.now + 28 * DAY
    life.customer_writes(after=30 * DAY, occurred_at=closing - MINUTE)
    assert life.types == ["customer_replied"]
    assert life.ticket.category is Category.OPEN


def test_a_reply_that_came_after_the_closing_finds_the_ticket_closed_though_no_timer_ran() -> None:
    life = in_category(Category.RESOLVED)
    closing = life.now + 28 * DAY
    decision = life.customer_writes(after=30 * DAY, occurred_at=closing + MINUTE)
    assert decision.follow_up
    assert life.types == ["auto_closed"]
    assert decision.messages == ()


# --- assignment ---


def test_assigning_opens_a_new_ticket_and_tells_the_agent() -> None:
    life = Life()
    decision = life(Changed(team_id=FIRST, assignee_id=BEN, reason="knows it"))

    assert life.ticket.category is Category.OPEN
    assert life.types == ["assigned"]
    assert decision.entries[0].data == {"reason": "knows it"}
    assert [(n.user_id, n.kind, n.seq) for n in decision.notices] == [(BEN, "assigned", 2)]
    assert set(life.ticket.decided) == {"team_id", "assignee_id"}


def test_who_takes_a_ticket_is_not_told_of_it() -> None:
    assert Life()(Changed(assignee_id=ADA)).notices == ()


@pytest.mark.parametrize(
    ("change", "error", "pointer"),
    [
        (Changed(team_id=FIRST, assignee_id=CYD), NotAMember, "/assignee_id"),
        (Changed(team_id=GONE), Invalid, "/team_id"),
        (Changed(team_id=uid(777)), Invalid, "/team_id"),
        (Changed(assignee_id=EVE), Invalid, "/assignee_id"),
        (Changed(assignee_id=VIC), Invalid, "/assignee_id"),
        (Changed(assignee_id=uid(777)), Invalid, "/assignee_id"),
    ],
    ids=["not in the team", "team gone", "no team", "agent gone", "viewer", "no agent"],
)
def test_nobody_gets_a_ticket_who_cannot_have_it(
    change: Changed, error: type[Refusal], pointer: str
) -> None:
    with pytest.raises(error) as refusal:
        Life()(change)
    assert list(refusal.value.fields) == [pointer]


@pytest.mark.parametrize(
    ("assignee", "kept"), [(ADA, None), (BEN, BEN)], ids=["outside", "member of both"]
)
def test_a_change_of_team_keeps_the_assignee_only_if_they_are_in_it(
    assignee: UUID, kept: UUID | None
) -> None:
    life = assigned(assignee_id=assignee)
    life(Changed(team_id=SECOND))
    assert (life.ticket.team_id, life.ticket.assignee_id) == (SECOND, kept)
    assert life.ticket.category is Category.OPEN


def test_when_the_assignee_leaves_the_team_keeps_the_ticket() -> None:
    life = assigned()
    life(AgentLeft(BEN), actor=SYSTEM)
    assert life.ticket.assignee_id == ADA
    after = life(AgentLeft(ADA), actor=SYSTEM).ticket
    assert after.team_id == FIRST
    assert after.assignee_id is None
    assert life.types == ["assignee_left"]


# --- notes, mentions, stale replies ---


def test_a_note_is_internal_tells_whom_it_names_and_mails_nobody() -> None:
    life = Life()
    decision = life(NoteAdded(words("@ben, @Cyd. see ada@eve.test @eve @nobody @ada", id=9)))

    assert decision.messages[0].visibility is Visibility.INTERNAL
    assert {(n.user_id, n.kind) for n in decision.notices} == {
        (BEN, "mentioned"), (CYD, "mentioned"),
    }  # fmt: skip
    assert decision.mails == ()
    assert life.ticket.message_seq == 1
    assert life.ticket.category is Category.NEW
    assert life.ticket.agent_at is None


def test_what_a_customer_writes_mentions_nobody() -> None:
    reply = CustomerReplied(words("@ben help"), CUSTOMER, Channel.CHAT)
    assert Life()(reply, actor=BY_CUSTOMER).notices == ()


def test_a_reply_written_before_a_newer_public_message_is_refused() -> None:
    life = assigned()
    seen = life.ticket.seq
    life(NoteAdded(words(id=5)))
    life(AgentReplied(words(id=6), seen=seen))  # a note is not news to the customer

    seen = life.ticket.seq
    life.customer_writes()
    with pytest.raises(StaleReply):
        life(AgentReplied(words(id=7), seen=seen))
    life(AgentReplied(words(id=8), seen=life.ticket.seq))
    life(AgentReplied(words(id=9)))


# --- changes ---


def test_a_change_names_before_and_after_and_nothing_that_stayed() -> None:
    life = Life(tags=("a", "b"))
    decision = life(
        Changed(priority=Priority.HIGH, subject="It is broken", add_tags=("C",), remove_tags=("A",))
    )
    assert decision.entries[0].changes == {
        "priority": [None, Priority.HIGH],
        "tags": [("a", "b"), ("b", "c")],
    }


def test_a_change_that_changes_nothing_leaves_no_entry() -> None:
    life = assigned()
    before = life.ticket
    assert life(Changed(assignee_id=ADA, status="open", tags=())).entries == ()
    assert life.ticket is before


def test_a_field_is_taken_away_by_none_and_the_others_stay() -> None:
    life = Life(actor=USER, fields={"serial": "1", "plan": "pro"})
    life(Changed(fields={"serial": None}))
    assert life.ticket.fields == {"plan": "pro"}


def test_a_ticket_holds_a_hundred_tags() -> None:
    life = Life(tags=tuple(f"t{n}" for n in range(100)))
    with pytest.raises(Invalid):
        life(Changed(add_tags=("one_more",)))


# --- escalation ---


def test_each_escalation_raises_the_level_and_tells_the_team() -> None:
    life = assigned()
    first = life(Escalated("stuck", team_id=SECOND))
    assert life.ticket.escalation is not None
    assert (life.ticket.escalation["level"], life.ticket.escalation["by"]) == (1, ADA)
    assert {n.user_id for n in first.notices if n.kind == "escalated"} == {BEN, CYD, VIC}
    assert (life.ticket.team_id, life.ticket.assignee_id) == (SECOND, None)

    second = life(Escalated("still stuck", assignee_id=CYD))
    assert life.ticket.escalation["level"] == 2
    assert [n.user_id for n in second.notices if n.kind == "escalated"] == [CYD]


def test_an_escalation_to_somebody_outside_the_team_takes_the_ticket_out_of_it() -> None:
    life = assigned()
    life(Escalated("stuck", assignee_id=CYD))
    assert life.ticket.team_id is None
    assert life.ticket.assignee_id == CYD


def test_an_escalation_to_nobody_is_refused() -> None:
    with pytest.raises(Invalid):
        assigned()(Escalated("stuck"))


# --- snooze and reminder ---


@pytest.mark.parametrize(
    ("snooze", "by_reply", "by_time"),
    [
        (Snoozed(START + DAY, wake_on_reply=False), False, True),
        (Snoozed(None, wake_on_reply=True), True, False),
        (Snoozed(START + DAY, wake_on_reply=True), True, True),
    ],
    ids=["time", "reply", "either"],
)
def test_a_snoozed_ticket_wakes_by_what_was_asked_for(
    snooze: Snoozed, by_reply: bool, by_time: bool
) -> None:
    life = assigned()
    life(snooze)
    life.customer_writes()
    assert (life.ticket.snoozed is None) is by_reply

    life = assigned()
    life(snooze)
    decision = life.time_passes(2 * DAY)
    assert (life.ticket.snoozed is None) is by_time
    if by_time:
        assert life.types == ["woken"]
        assert decision.entries[0].occurred_at == START + DAY
        assert [(n.user_id, n.kind) for n in decision.notices] == [(ADA, "woken")]


def test_a_snoozed_ticket_wakes_at_once_when_told_or_resolved() -> None:
    life = assigned()
    life(Snoozed(START + DAY, wake_on_reply=False))
    life(Woken())
    assert (life.ticket.snoozed, life.ticket.snoozed_until) == (None, None)
    assert life(Woken()).entries == ()

    life(Snoozed(START + DAY, wake_on_reply=False))
    life(Changed(status="resolved"))
    assert life.ticket.snoozed is None


@pytest.mark.parametrize(
    ("snooze", "error"),
    [(Snoozed(None, wake_on_reply=False), Invalid), (Snoozed(START, wake_on_reply=True), Invalid)],
    ids=["never", "past"],
)
def test_a_snooze_that_cannot_be_is_refused(snooze: Snoozed, error: type[Refusal]) -> None:
    with pytest.raises(error):
        assigned()(snooze)


def test_a_resolved_ticket_is_not_snoozed() -> None:
    with pytest.raises(Conflict):
        in_category(Category.RESOLVED)(Snoozed(None, wake_on_reply=True))


def test_a_reminder_tells_the_assignee_once_at_its_time() -> None:
    life = assigned()
    life(ReminderSet(START + HOUR, "call back"))
    assert life.ticket.deadline_at == START + HOUR
    decision = life.time_passes(2 * HOUR)

    assert life.types == ["reminded"]
    assert decision.entries[0].occurred_at == START + HOUR
    assert [(n.user_id, n.data) for n in decision.notices] == [(ADA, {"note": "call back"})]
    assert (life.ticket.remind_at, life.ticket.reminder) == (None, None)
    assert life.time_passes(DAY).entries == ()


def test_a_reminder_of_an_unassigned_ticket_tells_the_team_or_who_asked_for_it() -> None:
    life = Life(team_id=FIRST)
    life(ReminderSet(START + HOUR))
    assert {n.user_id for n in life.time_passes(2 * HOUR).notices} == {ADA, BEN}

    life = Life()
    life(ReminderSet(START + HOUR))
    assert {n.user_id for n in life.time_passes(2 * HOUR).notices} == {ADA}


def test_a_reminder_may_be_taken_back_and_none_is_set_for_the_past() -> None:
    life = assigned()
    life(ReminderSet(START + HOUR))
    life(ReminderSet(None))
    assert life.types == ["reminder_cleared"]
    assert life.ticket.deadline_at is None
    assert life(ReminderSet(None)).entries == ()
    with pytest.raises(Invalid):
        life(ReminderSet(START))


# --- merge, split, undo ---


def before_of(decision: Decision) -> dict[str, object]:
    return {name: pair[0] for name, pair in decision.entries[-1].changes.items()}


@pytest.mark.parametrize(
    "category", [Category.NEW, Category.OPEN, Category.PENDING, Category.RESOLVED]
)
def test_unmerging_puts_back_what_merging_took(category: Category) -> None:
    life = in_category(category, desk(promise=True))
    before = life.ticket
    if category.is_active:
        life(Snoozed(START + DAY, wake_on_reply=True))
        before = life.ticket
    merged = life(MergedInto(OTHER, 8))
    assert (life.ticket.category, life.ticket.merged_into) == (Category.MERGED, OTHER)
    assert (life.ticket.snoozed, life.ticket.deadline_at) == (None, None)
    assert all(not clock.is_running for clock in life.clocks)
    assert [(m.from_id, m.to_id) for m in merged.moves] == [(TICKET, OTHER)]

    back = life(Unmerged(OTHER, 8, before_of(merged)))

    for name in ("status", "category", "snoozed", "snoozed_until", "assignee_id", "tags"):
        assert getattr(life.ticket, name) == getattr(before, name), name
    assert life.ticket.merged_into is None
    assert [(m.from_id, m.to_id, m.origin_id) for m in back.moves] == [(OTHER, TICKET, TICKET)]
    assert [r.add for r in (*merged.relations, *back.relations)] == [True, False]


def test_a_resolved_ticket_whose_assignee_left_can_be_unmerged() -> None:
    life = in_category(Category.RESOLVED)
    life(AgentLeft(ADA), actor=SYSTEM)
    merged = life(MergedInto(OTHER, 8))
    life(Unmerged(OTHER, 8, before_of(merged)))
    assert (life.ticket.category, life.ticket.assignee_id) == (Category.RESOLVED, None)


def test_a_ticket_that_is_not_merged_there_cannot_be_unmerged() -> None:
    for life in (in_category(Category.OPEN), in_category(Category.CLOSED)):
        with pytest.raises(Conflict):
            life(Unmerged(OTHER, 8, {}))
    merged = in_category(Category.MERGED)
    with pytest.raises(Conflict):
        merged(Unmerged(uid(33), 9, {}))


def test_a_ticket_is_not_merged_into_itself() -> None:
    with pytest.raises(Invalid):
        Life()(MergedInto(TICKET, 7))


@pytest.mark.parametrize(
    "payload",
    [AgentReplied(words(id=1)), Changed(subject="x"), Undone({"status": "open"})],
    ids=["reply", "change", "undo"],
)
def test_a_merged_ticket_says_so(payload: Payload) -> None:
    with pytest.raises(TicketMerged):
        in_category(Category.MERGED)(payload)


def test_undoing_a_bulk_change_puts_the_values_back_past_every_rule() -> None:
    life = Life()
    changed = life(Changed(status="closed", priority=Priority.HIGH, add_tags=("bulk",)))
    life(Undone(before_of(changed)))
    assert (life.ticket.status, life.ticket.priority, life.ticket.tags) == ("new", None, ())
    assert life.ticket.closed_at is None
    assert life(Undone(before_of(changed))).entries == ()


# --- triage and routing ---


def verdict(topic: str = "billing", priority: str = "high", *, abstained: bool = False) -> Verdict:
    def guess(label: str) -> Guess:
        return Guess(label=label, probability=0.9, abstained=abstained, top=((label, 0.9),))

    return Verdict(
        topic=guess(topic),
        priority=guess(priority),
        sentiment=guess("negative"),
        model_version="m1",
    )


def test_a_verdict_fills_what_nobody_decided_and_routes_in_turn() -> None:
    life = Life(desk(topic_teams={"billing": str(SECOND)}, default_team_id=str(FIRST)))
    life(Triaged(verdict()), actor=MODEL)

    assert (life.ticket.topic, life.ticket.sentiment) == ("billing", "negative")
    assert life.ticket.priority is Priority.HIGH
    assert life.types == ["triaged", "assigned"]
    # Ticket 7 of two who take tickets; Vic of the same team only looks.
    assert (life.ticket.team_id, life.ticket.assignee_id) == (SECOND, CYD)
    assert life.ticket.category is Category.OPEN
    route = life.last.entries[1]
    assert (route.actor.kind, route.cause["rule"]) == (ActorKind.AUTOMATION, "routing")
    assert route.data["reason"] == "topic billing; turn 2 of 2 in Second"


def test_a_verdict_leaves_alone_what_a_person_decided() -> None:
    life = Life(desk(topic_teams={"billing": str(SECOND)}))
    life(Changed(priority=Priority.LOW, team_id=FIRST))
    life(Triaged(verdict()), actor=MODEL)
    assert (life.ticket.priority, life.ticket.team_id) == (Priority.LOW, FIRST)

    life = Life(desk(topic_teams={"billing": str(SECOND)}))
    life(Changed(team_id=FIRST))
    life(Changed(team_id=None))
    life(Triaged(verdict()), actor=MODEL)
    assert life.ticket.team_id is None


def test_a_verdict_that_abstains_changes_nothing_but_the_default_team_still_gets_it() -> None:
    life = Life(desk(topic_teams={"billing": str(SECOND)}, default_team_id=str(FIRST)))
    life(Triaged(verdict(abstained=True)), actor=MODEL)
    assert (life.ticket.topic, life.ticket.priority) == (None, None)
    assert (life.ticket.team_id, life.ticket.assignee_id) == (FIRST, None)
    assert life.ticket.triage == "done"


def test_a_team_that_takes_turns_shares_out_what_was_sent_to_it_without_a_name() -> None:
    life = Life()
    life(Changed(team_id=SECOND))
    life(Triaged(verdict(abstained=True)), actor=MODEL)
    assert life.ticket.assignee_id == CYD


def test_without_triage_a_ticket_is_routed_when_it_is_made() -> None:
    life = Life(desk(triage=False, default_team_id=str(SECOND)))
    assert life.types == ["ticket_created", "assigned"]
    assert (life.ticket.team_id, life.ticket.assignee_id) == (SECOND, CYD)
    assert life.ticket.triage == "off"
    chosen = Life(desk(triage=False, default_team_id=str(SECOND)), actor=USER, team_id=FIRST)
    assert (chosen.ticket.team_id, chosen.ticket.assignee_id) == (FIRST, None)


def test_a_late_verdict_does_not_touch_a_closed_ticket() -> None:
    life = in_category(Category.CLOSED)
    assert life(Triaged(verdict()), actor=MODEL).entries == ()


@pytest.mark.parametrize("category", [Category.CLOSED, Category.MERGED])
def test_a_ticket_that_is_over_before_its_verdict_waits_for_none(category: Category) -> None:
    assert in_category(Category.RESOLVED).ticket.triage == "pending"
    assert in_category(category).ticket.triage == "skipped"


def test_a_ticket_that_comes_back_without_a_verdict_waits_for_one_again() -> None:
    life = in_category(Category.CLOSED, desk(reopen_closed=True))
    life(Changed(status="open"))
    assert life.ticket.triage == "pending"
    life(Triaged(verdict()), actor=MODEL)
    assert life.ticket.triage == "done"
    life(Changed(status="resolved"))
    life.time_passes(30 * 24 * HOUR)
    assert (life.ticket.category, life.ticket.triage) == (Category.CLOSED, "done")


# --- promises ---


def test_a_breach_is_recorded_once_with_its_true_time_however_late_the_timer() -> None:
    life = assigned(desk(promise=True))
    life.time_passes(10 * HOUR)

    assert life.types == ["sla_breached"]
    entry = life.last.entries[0]
    assert entry.occurred_at == START + REPLY_IN
    assert entry.data == {
        "metric": Metric.FIRST_REPLY, "cycle": 1, "late_by_seconds": (6 * 3600),
    }  # fmt: skip
    assert (entry.cause["policy"], entry.cause["version"]) == (str(POLICY), 1)
    assert life.ticket.breached_at == START + REPLY_IN
    clock = life.clock(Metric.FIRST_REPLY)
    assert (clock.breached_at, clock.detected_at) == (START + REPLY_IN, START + 10 * HOUR)
    assert life.time_passes(HOUR).entries == ()


def test_a_late_timer_and_a_reply_in_one_event_come_in_their_true_order() -> None:
    life = assigned(desk(promise=True))
    answered = START + 5 * HOUR
    reply = AgentReplied(words(id=5))
    life(reply, after=30 * HOUR, occurred_at=answered)

    assert life.types == ["sla_breached", "agent_replied", "sla_breached"]
    assert [e.occurred_at for e in life.last.entries] == [
        START + REPLY_IN, answered, START + RESOLVE_IN,
    ]  # fmt: skip
    assert life.clock(Metric.FIRST_REPLY).outcome is Outcome.MISSED
    assert life.last.messages[0].created_at == answered
    assert life.last.messages[0].seq == life.last.entries[1].seq
    assert life.ticket.updated_at == life.now


def test_a_reply_that_came_in_time_but_is_handled_late_keeps_the_promise() -> None:
    life = assigned(desk(promise=True))
    life(AgentReplied(words(id=5)), after=10 * HOUR, occurred_at=START + 3 * HOUR)
    assert life.types == ["agent_replied"]
    assert life.clock(Metric.FIRST_REPLY).outcome is Outcome.MET


def test_steps_happen_once_each_at_their_times_and_name_the_policy() -> None:
    at = desk(
        step("warn", -HOUR, Notify(to=("assignee", "supervisors"))),
        step("tag", timedelta(0), AddTag(tag="Late")),
        step("over", HOUR, Reassign(team_id=SECOND)),
    )
    life = assigned(at)
    life.time_passes(3 * HOUR)
    assert {(n.user_id, n.kind) for n in life.last.notices} == {
        (ADA, "sla_warning"), (CYD, "sla_warning"),
    }  # fmt: skip
    life.time_passes(9 * HOUR)

    assert [(e.type, e.data.get("step"), e.occurred_at) for e in life.entries[1:]] == [
        ("sla_step", "warn", START + 3 * HOUR),
        ("sla_breached", None, START + 4 * HOUR),
        ("sla_step", "tag", START + 4 * HOUR),
        ("sla_step", "over", START + 5 * HOUR),
    ]
    assert life.ticket.tags == ("late",)
    assert (life.ticket.team_id, life.ticket.assignee_id) == (SECOND, None)
    assert life.time_passes(HOUR).entries == ()


@pytest.mark.parametrize(
    "late", [timedelta(0), HOUR, 3 * DAY], ids=["in time", "late", "very late"]
)
def test_what_a_step_sets_off_does_not_depend_on_how_late_the_timer_was(late: timedelta) -> None:
    """A raised priority re-plans the other clock as of the step, not as of the timer."""
    at = desk(
        step("raise", -2 * HOUR, RaisePriority(to=Priority.HIGH)),
        step("resolve-warn", -HOUR, AddTag(tag="soon"), Metric.RESOLUTION),
    )
    life = assigned(at)
    for due in (2 * HOUR, 7 * HOUR, 8 * HOUR):
        if not late:
            life.time_passes(START + due - life.now)
    life.time_passes(8 * HOUR + late if late else HOUR)

    told = [(e.type, e.occurred_at) for e in life.entries[1:] if e.occurred_at <= START + 8 * HOUR]
    assert told == [
        ("sla_step", START + 2 * HOUR),  # now high: two hours for the reply, eight in all
        ("sla_breached", START + 2 * HOUR),
        ("sla_step", START + 7 * HOUR),
        ("sla_breached", START + 8 * HOUR),
    ]


def test_a_step_that_names_somebody_unfit_is_told_and_changes_nothing() -> None:
    life = assigned(desk(step("hand over", HOUR, Reassign(team_id=SECOND, assignee_id=ADA))))
    life.time_passes(6 * HOUR)
    assert "not in Second" in str(life.last.entries[-1].data["refused"])
    assert (life.ticket.team_id, life.ticket.assignee_id) == (FIRST, ADA)


def test_a_tag_that_a_late_step_added_survives_the_change_that_came_with_it() -> None:
    life = assigned(desk(step("tag", timedelta(0), AddTag(tag="late"))), tags=("a",))
    life(Changed(add_tags=("b",)), after=10 * HOUR)
    assert life.ticket.tags == ("a", "b", "late")


def test_resolution_waits_while_the_customer_has_the_ball() -> None:
    life = assigned(desk(promise=True))
    life.agent_writes()
    life(Changed(status="pending"))
    since = life.now
    assert life.ticket.resolution_due_at is None
    life.customer_writes(after=DAY)
    assert life.ticket.resolution_due_at == START + RESOLVE_IN + (life.now - since)
    life(Changed(status="resolved"))
    assert life.clock(Metric.RESOLUTION).outcome is Outcome.MET


# --- what always holds ---

FULL = desk(
    step("warn", -HOUR, Notify(to=("assignee", "team", "supervisors"))),
    step("raise", timedelta(0), RaisePriority()),
    step("tag", HOUR, AddTag(tag="late"), Metric.RESOLUTION),
    step("move", 2 * HOUR, Reassign(team_id=SECOND), Metric.RESOLUTION),
    default_team_id=str(SECOND),
    auto_close_after=timedelta(days=2),
)
FREE = replace(FULL, settings=FULL.settings.model_copy(update={"reopen_closed": True}))

people = st.sampled_from([None, ADA, BEN, CYD, EVE, VIC])
teams = st.sampled_from([None, FIRST, SECOND, GONE])
statuses = st.sampled_from([s.key for s in default_statuses()])
moments = st.integers(-60, 6000).map(lambda m: START + m * MINUTE)
ids = st.integers(10_000, 10**9)


@st.composite
def payloads(draw: st.DrawFn) -> tuple[Payload, Actor]:
    message = NewMessage(uid(draw(ids)), draw(st.sampled_from(["Hi", "@ben @cyd look", ""])))
    changes: dict[str, object] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "subject": st.sampled_from(["One", "Two"]),
                "status": statuses,
                "type": st.sampled_from([None, *TicketType]),
                "priority": st.sampled_from(list(Priority)),
                "team_id": teams,
                "assignee_id": people,
                "add_tags": st.sampled_from([("a",), ("b", "c")]),
                "remove_tags": st.sampled_from([("a",), ("late",)]),
                "fields": st.sampled_from([{"serial": "1"}, {"serial": None}, {"plan": "pro"}]),
            },
        )
    )
    wishes: list[Payload] = [
        AgentReplied(message, status=draw(st.none() | statuses)),
        NoteAdded(message),
        Changed(**changes),  # type: ignore[arg-type]
        Changed(**changes),  # type: ignore[arg-type]
        Escalated("why", team_id=draw(teams), assignee_id=draw(people)),
        Snoozed(draw(st.none() | moments), wake_on_reply=draw(st.booleans())),
        Woken(),
        ReminderSet(draw(st.none() | moments)),
        Linked(RelationKind.RELATES, OTHER, 8, outgoing=True),
        MergedInto(OTHER, 8),
        Unmerged(OTHER, 8, {"status": draw(statuses.filter(lambda s: s != "merged"))}),
        Watched(BEN),
        Labelled(
            topic="network",
            priority=draw(st.none() | st.sampled_from(Priority)),
            team_id=draw(teams),
        ),
        Undone({"status": draw(statuses.filter(lambda s: s != "merged")), "tags": ["x"]}),
    ]
    by_people = draw(st.sampled_from(wishes))
    return draw(
        st.sampled_from(
            [
                (by_people, USER),
                (by_people, Actor(ActorKind.USER, BEN)),
                (CustomerReplied(message, CUSTOMER, Channel.EMAIL), BY_CUSTOMER),
                (TimeAdvanced(), SYSTEM),
                (AgentLeft(draw(st.sampled_from([ADA, BEN, CYD]))), SYSTEM),
                (Triaged(verdict(abstained=draw(st.booleans()))), MODEL),
            ]
        )
    )


def check_table_constraints(ticket: Ticket) -> None:
    """What the CHECK constraints of the tickets table state."""
    assert (ticket.category is Category.CLOSED) == (ticket.closed_at is not None)
    assert ticket.category is not Category.RESOLVED or ticket.resolved_at is not None
    assert (ticket.category is Category.MERGED) == (ticket.merged_into is not None)
    assert ticket.deadline_at is None or not ticket.category.is_over
    assert 1 <= len(ticket.subject) <= 500
    assert (ticket.auto_close_at is not None) == (ticket.category is Category.RESOLVED)
    assert ticket.snoozed is None or ticket.category.is_active
    assert (ticket.remind_at is None) == (ticket.reminder is None)


def check_decision(before: Ticket, decision: Decision, now: datetime) -> None:
    after = decision.ticket
    entries = decision.entries
    # A seq per entry without a gap; time never goes back.
    assert [e.seq for e in entries] == list(range(before.seq + 1, after.seq + 1))
    assert after.updated_at >= before.updated_at
    assert all(e.occurred_at <= max(now, before.updated_at) for e in entries)
    assert all(e.actor.is_person or e.cause for e in entries)
    assert len({e.key for e in entries}) == len(entries)
    # What changed is told: replaying the entries gives the ticket.
    told: dict[str, object] = {}
    for entry in entries:
        for name, (old, new) in entry.changes.items():
            assert told.get(name, getattr(before, name)) == old
            told[name] = new
    for name in Ticket.__slots__:
        if name not in DERIVED:
            assert getattr(after, name) == told.get(name, getattr(before, name)), name
    # Messages and notices belong to entries of this decision.
    seqs = {e.seq for e in entries}
    assert {m.seq for m in decision.messages} <= seqs
    assert {n.seq for n in decision.notices} <= seqs
    told_once = [(n.user_id, n.seq, n.kind) for n in decision.notices]
    assert len(told_once) == len(set(told_once))
    # One running clock per promise, cycles without a gap.
    for metric in Metric:
        cycles = sorted((c for c in decision.clocks if c.metric is metric), key=lambda c: c.cycle)
        assert [c.cycle for c in cycles] == list(range(1, len(cycles) + 1))
        assert all(not c.is_running for c in cycles[:-1])
        assert not after.category.is_over or all(not c.is_running for c in cycles)
    # Nothing is left undone that was due by now.
    assert after.deadline_at is None or after.deadline_at > now


@pytest.mark.slow
@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from([FULL, FREE]),
    st.lists(st.tuples(payloads(), st.integers(-30, 900), st.integers(0, 300)), max_size=14),
)
def test_whatever_happens_in_whatever_order(
    at: Desk, story: list[tuple[tuple[Payload, Actor], int, int]]
) -> None:
    life = Life(at)
    check_table_constraints(life.ticket)
    assert [e.seq for e in life.entries] == list(range(1, life.ticket.seq + 1))
    keys: list[str] = [e.key for e in life.entries]
    for (payload, actor), minutes, lateness in story:
        before, clocks = life.ticket, life.clocks
        late = life.now + (minutes - lateness) * MINUTE
        try:
            decision = life(payload, actor=actor, after=minutes * MINUTE, occurred_at=late)
        except Refusal:
            assert (life.ticket, life.clocks) == (before, clocks)
            continue
        now = max(life.now, before.updated_at)
        if decision.entries:
            check_decision(before, decision, now)
        else:
            assert life.ticket == before
        check_table_constraints(life.ticket)
        keys += [e.key for e in decision.entries]
        assert len(keys) == len(set(keys))

        event = Event(key="again", actor=SYSTEM, payload=TimeAdvanced(), cause={"test": True})
        again = decide(life.ticket, life.clocks, event, at, now=now)
        if decision.entries:
            assert (again.entries, again.ticket) == ((), life.ticket)
    assert all(a.seq + 1 == b.seq for a, b in pairwise(life.entries))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 2000), min_size=1, max_size=8))
def test_the_timeline_of_time_alone_does_not_depend_on_when_timers_run(gaps: list[int]) -> None:
    """Once at the end or many times on the way: the same entries with the same times."""

    def told(life: Life) -> list[tuple[str, datetime, dict[str, list[object]]]]:
        return [(e.type, e.occurred_at, dict(e.changes)) for e in life.entries]

    often, once = assigned(FULL), assigned(FULL)
    for gap in gaps:
        often.time_passes(gap * MINUTE)
    once.time_passes(sum(gaps) * MINUTE)
    assert told(often) == told(once)
    assert replace(often.ticket, updated_at=START) == replace(once.ticket, updated_at=START)
