"""Tickets under promises: what messages, people and policies do to their clocks, and the replay."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.desk import Desk
from domain.errors import Conflict, Invalid, Refusal
from domain.sla import (
    CallWebhook,
    Clock,
    Metric,
    Notify,
    Outcome,
    Policy,
    RaisePriority,
    StartWorkflow,
    Step,
    Terms,
    WriteNote,
)
from domain.states import ActorKind, Category, Channel, Priority, Visibility
from domain.tickets import (
    SYSTEM,
    Absorbed,
    Acknowledged,
    Actor,
    AgentLeft,
    AgentReplied,
    Changed,
    CustomerReplied,
    DueSet,
    Entry,
    Labelled,
    Payload,
    Retiered,
    Retimed,
    TimeAdvanced,
    decide,
)
from domain.tickets.events import Event, NoteAdded
from domain.tickets.replay import Recorded, facts_of, replay
from domain.verify import Hours, Line, Promise, disagreements
from tests.domain.test_tickets import (
    ADA,
    BEN,
    BY_CUSTOMER,
    CALENDAR,
    CUSTOMER,
    CYD,
    FIRST,
    HOUR,
    MINUTE,
    OTHER,
    POLICY,
    SECOND,
    START,
    USER,
    Life,
    desk,
    uid,
    words,
)

FRT, NRT, FIX = Metric.FIRST_REPLY, Metric.NEXT_REPLY, Metric.RESOLUTION
OWN = Metric("custom:owned")


def policy(
    *steps: Step, version: int = 1, id: UUID = POLICY, within: timedelta = 8 * HOUR, **more: object
) -> Policy:
    every = dict.fromkeys(Priority, within)
    fields: dict[str, object] = {
        "id": id,
        "version": version,
        "name": f"Policy {id.int}",
        "calendar_id": CALENDAR,
        "calendar_version": 1,
        "targets": {FRT: every, NRT: every, FIX: every},
        "steps": steps,
        **more,
    }
    return Policy.model_validate(fields)


def under(*policies: Policy) -> Desk:
    return replace(
        desk(), policies=policies, policy_versions={(p.id, p.version): p for p in policies}
    )


def moved_on(before: Desk, *policies: Policy) -> Desk:
    """The desk with other policies in force, the old ones still known."""
    return replace(
        before,
        policies=policies,
        policy_versions={**before.policy_versions, **{(p.id, p.version): p for p in policies}},
    )


def clock(life: Life, metric: Metric, cycle: int = 1) -> Clock:
    [found] = [c for c in life.clocks if c.metric == metric and c.cycle == cycle]
    return found


def recorded(entries: Sequence[Entry]) -> list[Recorded]:
    """The entries as they come back out of the database."""

    def plain(value: object) -> dict[str, object]:
        loaded: dict[str, object] = json.loads(json.dumps(value, default=str))
        return loaded

    return [
        Recorded(
            e.seq,
            e.type,
            e.actor.kind.value,
            plain(dict(e.changes)),  # type: ignore[arg-type]
            {k: v for k, v in plain(dict(e.data)).items() if v is not None},
            e.occurred_at,
        )
        for e in entries
    ]


def agrees(life: Life) -> None:
    """The clocks kept event by event are those that the timeline alone gives."""

    def terms_of(id: UUID, version: int) -> Terms:
        found = life.desk.terms_of(id, version)
        assert found is not None
        return found

    again = replay(recorded(life.entries), terms_of, now=life.ticket.updated_at)
    have = {(c.metric, c.cycle): c for c in life.clocks}
    want = {(c.metric, c.cycle): c for c in again.clocks}
    assert set(have) == set(want)
    for key, kept in have.items():
        assert unnoticed(kept) == unnoticed(want[key])
    recounted(life)


def recounted(life: Life) -> None:
    """What `holdfast sla verify` works out by itself is what was kept."""
    lines = [
        Line(
            seq=e.seq, type=e.type, actor_kind=e.actor_kind, changes=e.changes, data=e.data,
            occurred_at=e.occurred_at, recorded_at=heard,
        )
        for e, heard in zip(recorded(life.entries), life.heard, strict=True)
    ]  # fmt: skip

    def promise_of(id: UUID, version: int) -> Promise:
        terms = life.desk.terms_of(id, version)
        assert terms is not None
        return Promise(terms.policy, Hours(terms.calendar))

    assert [str(one) for one in disagreements(lines, life.clocks, promise_of)] == []


def unnoticed(kept: Clock) -> Clock:
    """Without what depends on when it was noticed: a replay cannot know how late that was."""
    log = tuple(done.model_copy(update={"skipped": None}) for done in kept.steps_log)
    return kept.model_copy(update={"detected_at": None, "steps_log": log})


# --- who wrote ----------------------------------------------------------------------------------


def test_an_automatic_mail_is_kept_and_neither_reopens_nor_resumes_nor_starts_anything() -> None:
    life = Life(under(policy()))
    life.agent_writes("pending")
    before = life.ticket
    automatic = CustomerReplied(words(id=5), CUSTOMER, Channel.EMAIL, automatic=True)
    life(automatic, actor=BY_CUSTOMER)
    assert (life.ticket.category, life.ticket.customer_at) == (
        Category.PENDING,
        before.customer_at,
    )
    assert len(life.last.messages) == 1
    assert clock(life, FIX).paused_since == clock(life, FIX).pauses[-1].start
    assert not [c for c in life.clocks if c.metric is NRT]
    agrees(life)


def test_a_ticket_that_an_automatic_mail_opened_promises_nothing_until_a_person_writes() -> None:
    life = Life(under(policy()), opened_by=Actor(ActorKind.AUTOMATION))
    assert not life.clocks
    life.customer_writes(after=HOUR)
    assert {c.started_at for c in life.clocks} == {START + HOUR}
    agrees(life)


def test_an_agent_who_is_the_requester_asks_and_does_not_answer() -> None:
    life = Life(under(policy()))
    life(AgentReplied(words(id=5), as_requester=True))
    assert clock(life, FRT).is_running
    assert life.last.mails == ()
    life.agent_writes("pending", actor=Actor(ActorKind.USER, BEN))
    life(AgentReplied(words(id=6), as_requester=True))
    assert life.ticket.category is Category.OPEN
    assert clock(life, NRT).is_running
    agrees(life)


def test_an_answer_counts_whatever_its_channel() -> None:
    for channel in Channel:
        life = Life(under(policy()))
        life(AgentReplied(words(id=5), channel))
        assert not clock(life, FRT).is_running


def test_an_agents_ticket_with_a_public_first_comment_owes_the_customers_next_message() -> None:
    life = Life(under(policy()), actor=USER)
    assert {c.metric for c in life.clocks} == {FIX}
    life.customer_writes()
    assert {c.metric for c in life.clocks} == {FIX, NRT}
    agrees(life)


def test_a_note_is_no_answer() -> None:
    life = Life(under(policy()))
    life(NoteAdded(words(id=5)))
    assert clock(life, FRT).is_running


# --- which policy -------------------------------------------------------------------------------

VIP = policy(id=uid(50), within=2 * HOUR, conditions={"field": "tags", "op": "has", "value": "vip"})


def test_the_policy_is_chosen_anew_when_a_condition_starts_or_stops_holding() -> None:
    life = Life(under(VIP, policy()))
    assert life.ticket.policy_id == POLICY
    life(Changed(add_tags=("vip",)))
    assert (life.ticket.policy_id, clock(life, FIX).due_at) == (uid(50), START + 2 * HOUR)
    assert clock(life, FIX).planned_because == "policy_change"
    life(Changed(remove_tags=("vip",)))
    assert (life.ticket.policy_id, clock(life, FIX).due_at) == (POLICY, START + 8 * HOUR)
    agrees(life)


def test_a_policy_that_changes_in_between_judges_nothing_that_was_due_before() -> None:
    life = Life(under(policy(within=HOUR)))
    life.desk = moved_on(life.desk, policy(within=8 * HOUR, version=2))
    life.now = START + 2 * HOUR
    life(Changed(add_tags=("x",)))
    assert clock(life, FIX).breached_at == START + HOUR
    assert clock(life, FIX).policy_version == 2
    agrees(life)


def test_retiming_applies_what_is_in_force_and_says_nothing_where_nothing_changed() -> None:
    life = Life(under(policy()))
    assert life(Retimed(), actor=SYSTEM).entries == ()
    life.desk = moved_on(life.desk, policy(within=HOUR, version=2))
    life(Retimed(), actor=SYSTEM, after=3 * HOUR)
    assert life.types == ["sla_retimed", "sla_breached", "sla_breached"]
    assert clock(life, FIX).caused_by == "policy_change"
    assert life.last.entries[1].data["caused_by"] == "policy_change"
    assert life(Retimed(), actor=SYSTEM).entries == ()
    agrees(life)


GOLD = policy(id=uid(51), within=HOUR, conditions={"field": "tier", "value": "gold"})


def test_another_tier_changes_what_is_promised_and_how_pressing_it_is() -> None:
    life = Life(under(GOLD, policy()))
    assert clock(life, FIX).due_at == START + 8 * HOUR
    was = life.ticket.pressure
    assert life(Retiered(None), actor=SYSTEM).entries == ()
    life(Retiered("gold"), actor=SYSTEM)
    assert (life.types, life.last.entries[0].changes["tier"]) == (["tier_changed"], [None, "gold"])
    assert (life.ticket.policy_id, life.ticket.pressure - was) == (uid(51), 80)
    assert clock(life, FIX).due_at == START + HOUR
    agrees(life)
    life(Changed(assignee_id=ADA, status="closed"))
    assert life(Retiered("vip"), actor=SYSTEM).entries == ()


def test_a_ticket_of_a_tier_begins_with_its_promise_and_its_timeline_says_so() -> None:
    life = Life(under(GOLD, policy()), tier="gold")
    assert life.ticket.policy_id == uid(51)
    assert life.entries[0].data["tier"] == "gold"
    agrees(life)


def test_a_policy_that_is_taken_out_of_force_nags_nobody_any_more() -> None:
    steps = [
        Step(id=id, metric=FIX, offset=after, action=action)
        for id, after, action in (
            ("first", timedelta(0), Notify(to=("supervisors",))),
            ("boss", 2 * HOUR, RaisePriority()),
            ("again", 4 * HOUR, Notify(to=("supervisors",))),
        )
    ]
    life = Life(under(policy(*steps)))
    life.agent_writes()
    life.time_passes(8 * HOUR)
    assert "sla_step" in life.types
    life.desk = moved_on(life.desk)  # deactivated, and nothing takes its place
    life.time_passes(3 * HOUR)
    [said] = [e for e in life.last.entries if e.type == "sla_step"]
    assert said.data["skipped"] == "the policy is no longer in force"
    assert not life.last.notices
    assert life.ticket.priority is not Priority.HIGH
    assert life.ticket.policy_id is None
    assert life.ticket.deadline_at is None  # and no timer is left that could come
    life.time_passes(24 * HOUR)
    assert life.types == []
    agrees(life)


def test_in_a_list_a_first_reply_that_came_late_stays_a_miss() -> None:
    life = Life(under(policy(within=HOUR)))
    life(AgentReplied(words(id=5)), after=2 * HOUR)
    assert (clock(life, FRT).outcome, life.ticket.breached_at) == (Outcome.MISSED, START + HOUR)
    life(AgentReplied(words(id=6)), after=HOUR)
    life(Changed(status="resolved"))
    life.customer_writes(after=HOUR)
    assert life.ticket.breached_at == START + HOUR
    agrees(life)


def test_a_promise_that_is_new_to_an_old_ticket_asks_for_its_past_and_counts_its_pauses() -> None:
    life = Life(under())
    life(Changed(status="pending"), after=HOUR)
    life(Changed(status="open"), after=3 * HOUR)
    life.desk = moved_on(life.desk, policy())
    event = Event(key="x", actor=SYSTEM, payload=Retimed(), cause={"test": True})
    now = life.now + HOUR
    blind = decide(life.ticket, life.clocks, event, life.desk, now=now)
    assert blind.wants_past
    past = facts_of(recorded(life.entries))
    knowing = decide(life.ticket, life.clocks, event, life.desk, now=now, past=past)
    assert not knowing.wants_past
    [fix] = [c for c in knowing.clocks if c.metric is FIX]
    assert fix.due_at == START + 11 * HOUR
    life.ticket, life.clocks = knowing.ticket, knowing.clocks
    life.entries += knowing.entries
    life.heard += [life.ticket.updated_at] * len(knowing.entries)
    agrees(life)


def test_an_ordinary_event_asks_for_no_past() -> None:
    life = Life(under(policy()))
    for _ in range(3):
        assert not life.customer_writes().wants_past
        assert not life.agent_writes().wants_past
    assert not life.agent_writes("resolved").wants_past


# --- people steer the clocks --------------------------------------------------------------------


def test_a_person_sets_a_due_date_with_a_reason_and_gives_it_back() -> None:
    life = Life(under(policy()))
    life(DueSet(FIX, START + 20 * HOUR, "agreed on the phone"))
    assert life.types == ["sla_due_set"]
    assert life.ticket.resolution_due_at == START + 20 * HOUR
    life(Changed(priority=Priority.URGENT))
    assert life.ticket.resolution_due_at == START + 20 * HOUR
    life(DueSet(FIX, None, ""))
    assert life.types == ["sla_due_reset"]
    assert life.ticket.resolution_due_at == START + 8 * HOUR
    assert life(DueSet(FIX, None, "")).entries == ()
    agrees(life)


def test_a_due_date_needs_a_reason_and_a_running_clock() -> None:
    life = Life(under(policy()))
    with pytest.raises(Invalid, match="Say why"):
        life(DueSet(FIX, START + 20 * HOUR, " "))
    with pytest.raises(Conflict, match="no running"):
        life(DueSet(Metric.AGENT_WORK, START + 20 * HOUR, "because"))


def test_an_acknowledgement_holds_up_the_next_tier() -> None:
    ladder = (
        Step(id="lead", metric=FIX, offset=timedelta(0), action=Notify(to=("supervisors",))),
        Step(id="boss", metric=FIX, offset=HOUR, tier=2, action=Notify(to=("supervisors",))),
    )
    life = Life(under(policy(*ladder)))
    life.agent_writes()
    life.time_passes(8 * HOUR)
    life(Acknowledged(life.now + 3 * HOUR))
    assert life.types == ["sla_acknowledged"]
    life.time_passes(2 * HOUR)
    assert life.types == []
    life.time_passes(HOUR)
    assert life.types == ["sla_step"]
    agrees(life)


def test_an_acknowledgement_lasts_a_week_at_most_and_needs_something_to_hold_up() -> None:
    life = Life(under(policy()))
    for until in (life.now, life.now + timedelta(days=8)):
        with pytest.raises(Invalid):
            life(Acknowledged(until))
    bare = Life(under())
    with pytest.raises(Conflict):
        bare(Acknowledged(bare.now + HOUR))


# --- what steps do ------------------------------------------------------------------------------


def test_a_step_notes_calls_and_starts_each_under_a_key_of_its_own() -> None:
    several = Step(
        id="all",
        metric=FIX,
        percent=50,
        action=WriteNote(text="Half of the time is gone."),
        also=(CallWebhook(webhook_id=OTHER), StartWorkflow(name="page-somebody")),
    )
    life = Life(under(policy(several)))
    life.agent_writes()
    life.time_passes(4 * HOUR)
    [note] = life.last.messages
    assert (note.visibility, note.author_kind) == (Visibility.INTERNAL, "automation")
    assert [(c.kind, c.webhook_id, c.workflow) for c in life.last.calls] == [
        ("webhook", OTHER, None),
        ("workflow", None, "page-somebody"),
    ]
    [entry] = life.last.entries
    assert {c.seq for c in life.last.calls} == {entry.seq} == {note.seq}
    keys = [c.key for c in life.last.calls]
    assert len(set(keys)) == 2
    assert all(key.startswith(entry.key) for key in keys)
    assert clock(life, FRT).outcome == "met"  # a note of ours is no reply
    agrees(life)


def test_a_step_tells_leads_those_on_call_admins_and_watchers() -> None:
    to = Notify(to=("team_leads", "on_call", "watchers"))
    life = Life(under(policy(Step(id="x", metric=FIX, offset=-HOUR, action=to))))
    team = replace(life.desk.teams[FIRST], leads=frozenset({ADA}), on_call=(BEN,))
    life.desk = replace(life.desk, teams={**life.desk.teams, FIRST: team})
    life(Changed(team_id=FIRST))
    event = Event(key="t", actor=SYSTEM, payload=TimeAdvanced(), cause={"test": True})
    found = decide(
        life.ticket, life.clocks, event, life.desk,
        now=START + 7 * HOUR, watchers=frozenset({CYD}),
    )  # fmt: skip
    warned = [n.user_id for n in found.notices if n.kind == "sla_warning"]
    assert set(warned) == {ADA, BEN, CYD}


def test_a_warning_that_a_late_timer_brings_after_the_deadline_tells_nobody_and_says_so() -> None:
    warn = Step(id="warn", metric=FIX, offset=-HOUR, action=Notify(to=("supervisors",)))
    life = Life(under(policy(warn)))
    life.agent_writes()
    life.time_passes(10 * HOUR)
    assert life.types == ["sla_step", "sla_breached"]
    assert life.last.entries[0].data["skipped"] == "the deadline had passed when it was noticed"
    assert not [n for n in life.last.notices if n.kind == "sla_warning"]
    assert life.last.entries[0].occurred_at == START + 7 * HOUR


def test_a_breach_keeps_who_was_responsible_then() -> None:
    life = Life(under(policy()))
    life(Changed(team_id=FIRST, assignee_id=ADA))
    life.time_passes(9 * HOUR)
    life(Changed(team_id=SECOND, assignee_id=BEN))
    assert (clock(life, FIX).team_id, clock(life, FIX).assignee_id) == (FIRST, ADA)
    other = Life(under(policy()))
    other(Changed(team_id=FIRST, assignee_id=ADA))
    other(AgentLeft(ADA), actor=SYSTEM)
    assert clock(other, FIX).assignee_id is None
    agrees(other)


# --- merging and splitting ----------------------------------------------------------------------


def test_a_ticket_that_takes_in_an_older_one_counts_from_there_if_that_is_wanted() -> None:
    life = Life(under(policy()))
    life(Absorbed(OTHER, 8))
    assert clock(life, FIX).due_at == START + 8 * HOUR
    life(Absorbed(OTHER, 8, inherits=START - 2 * HOUR))
    assert clock(life, FIX).due_at == START + 6 * HOUR
    agrees(life)


def test_a_split_ticket_starts_when_it_is_split_or_when_its_message_came() -> None:
    now = Life(under(policy()))
    assert clock(now, FIX).started_at == START
    then = Life(under(policy()), clocks_from=START - 3 * HOUR)
    assert {c.started_at for c in then.clocks} == {START - 3 * HOUR}
    assert clock(then, FRT).due_at == START + 5 * HOUR
    agrees(then)


def test_a_split_ticket_owes_a_reply_only_if_what_was_moved_is_unanswered() -> None:
    life = Life(under(policy()), answered=True)
    assert {c.metric for c in life.clocks} == {FIX}
    agrees(life)


# --- whatever happens ---------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, database=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 13), st.sampled_from((0, 20, 60, 240, 500, 1500))), max_size=14
    )
)
def test_the_timeline_alone_gives_the_clocks_that_were_kept(
    story: list[tuple[int, int]],
) -> None:
    up = Step(id="up", metric=FIX, percent=80, action=Notify(to=("team",)), tier=1)
    boss = Step(id="boss", metric=FIX, offset=HOUR, action=WriteNote(text="!"), tier=2)
    own = [{
        "metric": OWN,
        "starts": {"field": "assignee", "op": "unset"},
        "stops": {"field": "assignee", "op": "set"},
    }]  # fmt: skip
    every = dict.fromkeys(Priority, 8 * HOUR)
    targets = dict.fromkeys((FRT, NRT, FIX, Metric.AGENT_WORK, OWN), every)
    life = Life(under(VIP, policy(up, boss, targets=targets, clocks=own)))
    for number, (what, minutes) in enumerate(story):
        payloads: list[tuple[Payload, Actor]] = [
            (CustomerReplied(words(id=100 + number), CUSTOMER, Channel.EMAIL), BY_CUSTOMER),
            (CustomerReplied(words(id=100 + number), CUSTOMER, Channel.EMAIL, True), BY_CUSTOMER),
            (AgentReplied(words(id=100 + number)), USER),
            (AgentReplied(words(id=100 + number), status="pending"), USER),
            (AgentReplied(words(id=100 + number), as_requester=True), USER),
            (Changed(status="resolved"), USER),
            (Changed(status="on_hold"), USER),
            (Changed(add_tags=("vip",)), USER),
            (Changed(remove_tags=("vip",), priority=Priority.URGENT), USER),
            (Changed(team_id=FIRST, assignee_id=ADA), USER),
            (Labelled(priority=Priority.URGENT, sentiment="negative"), USER),
            (DueSet(FIX, START + 30 * HOUR, "so agreed"), USER),
            (Acknowledged(life.now + timedelta(hours=2, minutes=minutes)), USER),
            (TimeAdvanced(), SYSTEM),
        ]
        payload, actor = payloads[what]
        try:
            life(payload, actor=actor, after=minutes * MINUTE)
        except Refusal:
            continue
    life.time_passes(MINUTE)
    agrees(life)
