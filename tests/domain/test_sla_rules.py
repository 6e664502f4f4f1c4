"""Every rule of what starts, satisfies, pauses, repeats and ends a promise, by its name."""

import pytest

from domain.sla import Fact, Metric, Outcome, Policy, account, counts_as, observe, spent
from domain.states import Category, Priority, Visibility
from tests.domain.lives import KIM, LEE, OFFICE, TEAM_A, TEAM_B, H, Life, promise, t

FIRST, NEXT = Metric.FIRST_REPLY, Metric.NEXT_REPLY
PERIODIC, PAUSABLE = Metric.PERIODIC_UPDATE, Metric.PAUSABLE_UPDATE
WAIT, WORK = Metric.REQUESTER_WAIT, Metric.AGENT_WORK
FIRST_FIX, FIX = Metric.FIRST_RESOLUTION, Metric.RESOLUTION
OPEN, PENDING, HOLD, RESOLVED = (
    Category.OPEN, Category.PENDING, Category.ON_HOLD, Category.RESOLVED,
)  # fmt: skip


# --- who counts as what -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("author", "visibility", "more", "expected"),
    [
        ("agent", Visibility.PUBLIC, {}, "agent_reply"),
        ("agent", Visibility.INTERNAL, {}, "note"),
        ("agent", Visibility.PUBLIC, {"is_requester": True}, "customer_message"),
        ("agent", Visibility.PUBLIC, {"automatic": True}, None),
        ("customer", Visibility.PUBLIC, {}, "customer_message"),
        ("customer", Visibility.PUBLIC, {"automatic": True}, None),
        ("machine", Visibility.PUBLIC, {}, None),
    ],
)
def test_author_and_visibility_decide_what_a_message_counts_as_and_no_channel_is_asked(
    author: str, visibility: Visibility, more: dict[str, bool], expected: str | None
) -> None:
    assert counts_as(author=author, visibility=visibility, **more) == expected  # type: ignore[arg-type]


def test_an_agent_who_is_the_requester_counts_as_a_customer() -> None:
    life = Life(promise(FIRST, NEXT)).opens("MO 10:00").then("MO 11:00", OPEN, reply=True)
    as_what = counts_as(author="agent", visibility=Visibility.PUBLIC, is_requester=True)
    life.then("MO 12:00", customer=as_what == "customer_message", reply=as_what == "agent_reply")
    assert life.clock(NEXT).is_running


def test_a_third_party_or_a_copied_end_user_counts_as_a_customer() -> None:
    # No fact says which customer wrote: whoever writes from outside is one.
    assert "requester" not in Fact.__slots__
    life = Life(promise(NEXT)).opens("MO 10:00").then("MO 11:00", OPEN, reply=True)
    assert life.then("MO 12:00", customer=True).clock(NEXT).started_at == t("MO 12:00")


# --- automatic mail and bounces -----------------------------------------------------------------


def test_an_automatic_mail_starts_no_next_reply() -> None:
    life = Life(promise(NEXT)).opens("MO 10:00").then("MO 11:00", OPEN, reply=True)
    assert not life.then("MO 12:00", customer=True, automatic=True).has(NEXT)


def test_an_automatic_reply_of_ours_satisfies_nothing() -> None:
    life = Life(promise(FIRST, PERIODIC)).opens("MO 10:00")
    life.then("MO 10:01", reply=True, automatic=True)
    assert life.clock(FIRST).is_running
    assert not life.has(PERIODIC)


def test_a_bounce_resumes_nothing() -> None:
    life = Life(promise(FIX)).opens("MO 10:00").then("MO 11:00", PENDING)
    life.then("MO 12:00", customer=True, automatic=True)
    assert life.clock(FIX).paused_since == t("MO 11:00")


def test_an_automatic_mail_of_a_customer_opens_a_ticket_that_promises_nothing() -> None:
    created = Fact(
        at=t("MO 10:00"), category=Category.NEW, created_by="customer", customer_message=True,
        automatic=True,
    )  # fmt: skip
    assert observe((), created, promise(FIRST, NEXT)) == ()


def test_a_ticket_that_a_machine_opened_promises_nothing_until_a_person_writes() -> None:
    life = Life(promise(FIRST, FIX)).opens("MO 10:00", by="machine")
    assert not life.clocks
    life.then("MO 12:00", OPEN)
    assert not life.clocks
    life.then("MO 13:00", customer=True)
    assert [(c.metric, c.started_at) for c in life.clocks] == [
        (FIRST, t("MO 13:00")),
        (FIX, t("MO 13:00")),
    ]


# --- first reply --------------------------------------------------------------------------------


def test_a_reply_in_the_second_of_creation_meets_the_first_reply() -> None:
    life = Life(promise(FIRST)).opens("MO 10:00").then("MO 10:00", OPEN, reply=True)
    assert (life.clock(FIRST).outcome, life.clock(FIRST).used) == (Outcome.MET, 0 * H)


def test_a_second_reply_changes_nothing_about_the_first() -> None:
    life = Life(promise(FIRST)).opens("MO 10:00").then("MO 11:00", OPEN, reply=True)
    met = life.clock(FIRST)
    assert life.then("MO 12:00", reply=True).clock(FIRST) == met


def test_a_redacted_reply_stays_a_reply() -> None:
    # Taking words away is no fact to a clock; whatever else happens, the verdict stands.
    life = Life(promise(FIRST)).opens("MO 10:00").then("MO 11:00", OPEN, reply=True)
    met = life.clock(FIRST)
    for category in (PENDING, OPEN, RESOLVED, OPEN):
        life.then("MO 12:00", category)
    assert life.clock(FIRST) == met


def test_a_late_reply_stays_a_miss() -> None:
    life = Life(promise(FIRST, within=H)).opens("MO 10:00").then("MO 12:00", OPEN, reply=True)
    life.then("MO 12:30", reply=True)
    assert life.clock(FIRST).outcome is Outcome.MISSED
    assert life.clock(FIRST).breached_at == t("MO 11:00")


def test_an_agents_ticket_owes_a_next_reply_from_the_customers_first_message() -> None:
    life = Life(promise(FIRST, NEXT)).opens("MO 10:00", by="agent", replies=True)
    assert not life.has(FIRST)
    assert not life.has(NEXT)
    life.then("MO 12:00", OPEN, customer=True)
    assert not life.has(FIRST)
    assert life.clock(NEXT).started_at == t("MO 12:00")


def test_an_agents_note_of_a_call_owes_a_next_reply_from_the_customers_first_message() -> None:
    # Nobody has answered yet, and no first reply is owed that would cover it.
    life = Life(promise(FIRST, NEXT)).opens("MO 10:00", by="agent")
    assert not life.clocks
    life.then("MO 12:00", OPEN, customer=True).then("MO 13:00", customer=True)
    assert [(c.metric, c.started_at) for c in life.clocks] == [(NEXT, t("MO 12:00"))]


def test_what_is_created_resolved_has_no_first_reply_to_miss() -> None:
    life = Life(promise(FIRST)).opens("MO 10:00", category=RESOLVED)
    assert life.clock(FIRST).outcome is Outcome.NOT_APPLICABLE
    assert life.fires("MO+ 10:00") == []


def test_what_is_created_closed_runs_no_clock() -> None:
    every = [metric for metric in Metric if not metric.is_own]
    life = Life(promise(*every)).opens("MO 10:00", category=Category.CLOSED)
    assert not [c.metric for c in life.clocks if c.is_running]
    assert life.clock(FIRST).outcome is Outcome.NOT_APPLICABLE
    assert life.fires("MO+ 10:00") == []


def test_what_is_created_paused_is_paused_from_its_start() -> None:
    life = Life(promise(WORK)).opens("MO 10:00", category=HOLD).then("TU 09:00", OPEN)
    assert life.clock(WORK).due_at == t("TU 17:00")


def test_a_ticket_without_a_priority_is_promised_what_a_normal_one_is() -> None:
    life = Life(promise(FIX)).opens("MO 10:00", priority=None)
    assert life.clock(FIX).due_at == Life(promise(FIX)).opens("MO 10:00").clock(FIX).due_at


# --- next reply ---------------------------------------------------------------------------------


def test_next_reply_counts_from_the_oldest_unanswered_message() -> None:
    life = Life(promise(FIRST, NEXT, within=2 * H)).opens("MO 09:00")
    life.then("MO 09:30", customer=True)
    assert not life.has(NEXT)  # the first reply covers it
    life.then("MO 10:00", OPEN, reply=True)
    life.then("MO 11:00", customer=True).then("MO 12:00", customer=True)
    assert [(c.started_at, c.due_at) for c in life.cycles(NEXT)] == [(t("MO 11:00"), t("MO 13:00"))]


def test_each_wait_is_a_cycle_of_its_own() -> None:
    life = Life(promise(NEXT, within=2 * H)).opens("MO 09:00").then("MO 10:00", OPEN, reply=True)
    life.then("MO 11:00", customer=True).then("MO 12:00", reply=True)
    life.then("MO 13:00", customer=True).then("MO 16:00", reply=True)
    assert [(c.cycle, c.outcome, c.used) for c in life.cycles(NEXT)] == [
        (1, Outcome.MET, H),
        (2, Outcome.MISSED, 3 * H),
    ]


def test_next_reply_does_not_pause_and_ends_when_the_ticket_is_resolved() -> None:
    life = Life(promise(NEXT)).opens("MO 09:00").then("MO 10:00", OPEN, reply=True)
    life.then("MO 11:00", customer=True).then("MO 12:00", PENDING)
    assert life.clock(NEXT).paused_since is None
    life.then("MO 13:00", RESOLVED)
    assert (life.clock(NEXT).outcome, life.clock(NEXT).cancelled_because) == (
        Outcome.CANCELLED,
        "resolved",
    )


def test_thanks_after_the_solution_starts_no_next_reply() -> None:
    life = Life(promise(NEXT)).opens("MO 09:00").then("MO 10:00", RESOLVED, reply=True)
    assert not life.then("MO 11:00", customer=True).has(NEXT)


def test_a_comment_that_reopens_starts_a_next_reply_and_no_first_reply() -> None:
    life = Life(promise(FIRST, NEXT)).opens("MO 09:00").then("MO 10:00", RESOLVED)
    assert life.clock(FIRST).outcome is Outcome.CANCELLED
    life.then("TU 09:00", OPEN, customer=True)
    assert [c.cycle for c in life.cycles(FIRST)] == [1]
    assert life.clock(NEXT).started_at == t("TU 09:00")


def test_a_comment_that_reopens_starts_a_next_reply_where_no_first_reply_is_promised() -> None:
    life = Life(promise(NEXT)).opens("MO 09:00").then("MO 10:00", RESOLVED)
    life.then("TU 09:00", OPEN, customer=True)
    assert life.clock(NEXT).started_at == t("TU 09:00")


# --- updates ------------------------------------------------------------------------------------


def test_periodic_update_counts_from_one_reply_to_the_next_through_pending() -> None:
    life = Life(promise(PERIODIC, within=4 * H)).opens("MO 09:00")
    assert not life.has(PERIODIC)
    life.then("MO 10:00", PENDING, reply=True)
    assert life.clock(PERIODIC).due_at == t("MO 14:00")
    life.then("MO 12:00", reply=True)
    assert [(c.outcome, c.started_at) for c in life.cycles(PERIODIC)] == [
        (Outcome.MET, t("MO 10:00")),
        (Outcome.RUNNING, t("MO 12:00")),
    ]
    life.then("MO 13:00", RESOLVED)
    assert life.clock(PERIODIC, 2).outcome is Outcome.CANCELLED


def test_pausable_update_waits_while_the_customer_is_asked() -> None:
    life = Life(promise(PAUSABLE, within=4 * H)).opens("MO 09:00")
    life.then("MO 10:00", PENDING, reply=True)
    assert life.clock(PAUSABLE).paused_since == t("MO 10:00")
    life.then("MO 12:00", OPEN, customer=True)
    assert life.clock(PAUSABLE).due_at == t("MO 16:00")


def test_updates_begin_again_with_the_first_reply_after_a_reopening() -> None:
    life = Life(promise(PERIODIC, within=4 * H)).opens("MO 09:00").then("MO 10:00", reply=True)
    life.then("MO 11:00", RESOLVED).then("TU 09:00", OPEN, customer=True)
    assert not [c for c in life.cycles(PERIODIC) if c.is_running]
    life.then("TU 10:00", reply=True)
    assert (life.clock(PERIODIC, 2).started_at, life.clock(PERIODIC, 2).due_at) == (
        t("TU 10:00"),
        t("TU 14:00"),
    )


def test_a_reply_that_resolves_asks_for_no_further_update() -> None:
    life = Life(promise(PERIODIC)).opens("MO 09:00").then("MO 10:00", OPEN, reply=True)
    life.then("MO 11:00", RESOLVED, reply=True)
    assert [c.outcome for c in life.cycles(PERIODIC)] == [Outcome.MET]


# --- waiting, work, resolution ------------------------------------------------------------------


@pytest.mark.parametrize(("metric", "hours"), [(WAIT, 3), (WORK, 2), (FIX, 3), (FIRST_FIX, 3)])
def test_what_counts_while_pending_and_on_hold(metric: Metric, hours: int) -> None:
    life = Life(promise(metric)).opens("MO 09:00").then("MO 10:00", PENDING)
    life.then("MO 12:00", HOLD).then("MO 13:00", OPEN).then("MO 14:00", RESOLVED)
    assert life.clock(metric).used == hours * H


def test_waiting_and_work_go_on_counting_after_a_reopening() -> None:
    life = Life(promise(WAIT, WORK)).opens("MO 09:00").then("MO 11:00", RESOLVED)
    life.then("TU 09:00", OPEN).then("TU 10:00", RESOLVED)
    assert [life.clock(m, 2).used for m in (WAIT, WORK)] == [3 * H, 3 * H]


def test_the_first_resolution_is_judged_once_and_the_total_goes_on() -> None:
    life = Life(promise(FIRST_FIX, FIX)).opens("MO 09:00").then("MO 11:00", RESOLVED)
    life.then("TU 09:00", OPEN)
    assert [c.outcome for c in life.cycles(FIRST_FIX)] == [Outcome.MET]
    assert [c.outcome for c in life.cycles(FIX)] == [Outcome.MET, Outcome.RUNNING]


def test_total_resolution_is_another_name_for_resolution() -> None:
    assert Metric("total_resolution") is FIX


def test_a_resolution_that_pauses_in_nothing_counts_all_of_it() -> None:
    life = Life(promise(FIX, pause_in={FIX: frozenset()})).opens("MO 09:00")
    life.then("MO 10:00", PENDING).then("MO 12:00", HOLD).then("MO 13:00", OPEN)
    assert life.clock(FIX).due_at == t("MO 17:00")
    assert life.then("MO 14:00", RESOLVED).clock(FIX).used == 5 * H


def test_a_metric_pauses_by_a_condition_of_the_policy() -> None:
    vendor = {"field": "fields.waiting_for", "value": "vendor"}
    life = Life(promise(FIX, pause_when={"resolution": vendor})).opens("MO 09:00")
    life.then("MO 10:00", fields={"waiting_for": "vendor"})
    assert life.clock(FIX).paused_since == t("MO 10:00")
    life.then("MO 12:00", fields={})
    assert life.clock(FIX).due_at == t("TU 11:00")


# --- reopening, by policy -----------------------------------------------------------------------


def reopened(choice: str) -> Life:
    life = Life(promise(FIX, reopening={"resolution": choice})).opens("MO 09:00")
    return life.then("MO 12:00", RESOLVED).then("TU 10:00", OPEN)


def test_reopening_continues_by_default() -> None:
    assert reopened("continue").clock(FIX, 2).due_at == t("TU 15:00")


def test_reopening_may_start_again_with_the_full_target() -> None:
    again = reopened("restart").clock(FIX, 2)
    assert (again.started_at, again.due_at) == (t("TU 10:00"), t("WE 10:00"))


def test_reopening_may_count_the_time_that_the_ticket_lay_resolved() -> None:
    again = reopened("include_resolved").clock(FIX, 2)
    assert (again.due_at, again.breached_at) == (t("MO 17:00"), t("TU 10:00"))
    assert again.caused_by == "reopened"


def test_reopening_may_promise_nothing_more() -> None:
    assert [c.cycle for c in reopened("never").cycles(FIX)] == [1]


def test_a_breach_stays_a_breach_through_reopening() -> None:
    life = Life(promise(FIX, within=H)).opens("MO 09:00").then("MO 12:00", RESOLVED)
    life.then("TU 10:00", OPEN)
    assert life.clock(FIX).outcome is Outcome.MISSED
    assert life.clock(FIX, 2).breached_at == t("MO 10:00")


# --- custom and group clocks --------------------------------------------------------------------

ACK = {
    "metric": "custom:acknowledged",
    "starts": {"all": [{"field": "priority", "op": "at_least", "value": "high"}]},
    "stops": {"field": "assignee", "op": "set"},
    "pauses": {"field": "tags", "op": "has", "value": "waiting"},
}


def test_a_custom_clock_starts_stops_and_pauses_by_conditions() -> None:
    life = Life(promise("custom:acknowledged", clocks=[ACK])).opens("MO 09:00")
    assert life.clocks == ()
    life.then("MO 10:00", priority=Priority.HIGH)
    assert life.clock("custom:acknowledged").due_at == t("MO 14:00")
    life.then("MO 11:00", tags=("waiting",)).then("MO 12:00", tags=())
    life.then("MO 14:00", assignee_id=KIM)
    clock = life.clock("custom:acknowledged")
    assert (clock.outcome, clock.used, clock.paused) == (Outcome.MET, 3 * H, H)


def test_a_custom_clock_starts_again_only_when_its_condition_becomes_true_again() -> None:
    life = Life(promise("custom:acknowledged", clocks=[ACK])).opens("MO 09:00")
    life.then("MO 10:00", priority=Priority.HIGH).then("MO 11:00", assignee_id=KIM)
    life.then("MO 12:00", assignee_id=None)
    assert len(life.clocks) == 1
    life.then("MO 13:00", priority=Priority.NORMAL).then("MO 14:00", priority=Priority.URGENT)
    assert len(life.clocks) == 1  # nothing is promised for urgent
    life.then("MO 15:00", priority=Priority.LOW).then("MO 16:00", priority=Priority.HIGH)
    assert [c.started_at for c in life.clocks] == [t("MO 10:00"), t("MO 16:00")]


def test_a_custom_clock_hears_what_happened() -> None:
    heard = {
        "metric": "custom:callback",
        "starts": {"field": "event.customer_message"},
        "stops": {"field": "event.agent_reply"},
    }
    life = Life(promise("custom:callback", clocks=[heard])).opens("MO 09:00")
    life.then("MO 10:00", OPEN, reply=True).then("MO 11:00", customer=True)
    assert [c.outcome for c in life.clocks] == [Outcome.MET, Outcome.RUNNING]
    life.then("MO 12:00", Category.CLOSED)
    assert life.clock("custom:callback", 2).outcome is Outcome.CANCELLED


def test_a_custom_clock_that_the_policy_drops_ends_without_a_verdict() -> None:
    life = Life(promise("custom:acknowledged", FIX, clocks=[ACK]))
    life.opens("MO 09:00", priority=Priority.HIGH)
    life.then("MO 10:00", terms=promise(FIX, version=2))
    clock = life.clock("custom:acknowledged")
    assert (clock.outcome, clock.cancelled_because) == (
        Outcome.CANCELLED,
        "not measured any more",
    )


def test_a_custom_clock_may_count_on() -> None:
    work = {
        "metric": "custom:onsite",
        "starts": {"field": "tags", "op": "has", "value": "onsite"},
        "stops": {"field": "tags", "op": "has_not", "value": "onsite"},
        "repeat": "cumulative",
    }
    life = Life(promise("custom:onsite", clocks=[work])).opens("MO 09:00")
    life.then("MO 10:00", tags=("onsite",)).then("MO 11:00", tags=())
    life.then("MO 14:00", tags=("onsite",)).then("MO 16:00", tags=())
    assert [c.used for c in life.cycles("custom:onsite")] == [H, 3 * H]


OLA = [{"metric": "group:handling"}]


def test_each_stay_with_a_team_is_a_cycle_of_the_group_clock() -> None:
    life = Life(promise("group:handling", within=4 * H, clocks=OLA)).opens("MO 09:00")
    assert life.clocks == ()
    life.then("MO 10:00", team_id=TEAM_A, assignee_id=KIM)
    life.then("MO 11:00", assignee_id=LEE)
    life.then("MO 12:00", team_id=TEAM_B, assignee_id=None)
    life.then("TU 12:00", RESOLVED)
    assert [(c.team_id, c.used, c.outcome) for c in life.cycles("group:handling")] == [
        (TEAM_A, 2 * H, Outcome.MET),
        (TEAM_B, 8 * H, Outcome.MISSED),
    ]


def test_a_group_clock_pauses_like_agent_work_and_begins_anew_after_a_reopening() -> None:
    life = Life(promise("group:handling", clocks=OLA)).opens("MO 09:00", team_id=TEAM_A)
    life.then("MO 10:00", HOLD).then("MO 11:00", PENDING).then("MO 12:00", RESOLVED)
    assert life.clock("group:handling").used == H
    life.then("MO 13:00", OPEN)
    assert life.clock("group:handling", 2).started_at == t("MO 13:00")


def test_a_group_clock_may_be_one_teams_alone() -> None:
    only = [{"metric": "group:handling", "teams": [TEAM_B]}]
    life = Life(promise("group:handling", clocks=only)).opens("MO 09:00", team_id=TEAM_A)
    assert life.clocks == ()
    assert life.then("MO 10:00", team_id=TEAM_B).clock("group:handling").team_id == TEAM_B


@pytest.mark.parametrize(
    ("clock", "complaint"),
    [
        ({"metric": "resolution"}, "custom:NAME or group:NAME"),
        ({"metric": "custom:x"}, "what starts and what stops"),
        ({"metric": "group:x", "starts": {"field": "event.created"}}, "team's assignment"),
        ({**ACK, "starts": {"field": "mood"}}, "no field of a ticket"),
        ({**ACK, "starts": {"field": "tags", "op": "in", "value": "a"}}, "needs a list"),
    ],
)
def test_a_clock_that_makes_no_sense_is_refused(clock: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        promise(clocks=[clock])


def test_a_target_for_a_clock_that_is_not_defined_is_refused() -> None:
    with pytest.raises(ValueError, match="no clock is called custom:nothing"):
        promise("custom:nothing")


# --- bundles and records ------------------------------------------------------------------------


def test_children_of_a_bundle_keep_their_own_clocks() -> None:
    parent = Life(promise(FIX)).opens("MO 09:00")
    child = Life(promise(FIX)).opens("MO 11:00")
    parent.then("MO 12:00", RESOLVED)
    assert child.clock(FIX).is_running
    assert child.clock(FIX).due_at == t("TU 11:00")


def test_a_cycle_accounts_for_every_minute_of_it() -> None:
    life = Life(promise(FIX)).opens("FR 15:00").then("FR 16:00", PENDING)
    life.then("MO+ 10:00", OPEN).then("MO+ 12:00", RESOLVED)
    clock = life.clock(FIX)
    found = account(clock, OFFICE, now=t("TU+ 09:00"))
    assert [(s.start, s.end, s.running) for s in found.stretches] == [
        (t("FR 15:00"), t("FR 16:00"), True),
        (t("FR 16:00"), t("MO+ 10:00"), False),
        (t("MO+ 10:00"), t("MO+ 12:00"), True),
    ]
    assert (found.business, found.calendar, found.paused) == (3 * H, 69 * H, 66 * H)
    assert (found.remaining, found.over) == (5 * H, 0 * H)
    assert (clock.used, clock.paused) == (found.business, found.paused)
    assert spent(clock, OFFICE, now=t("TU+ 09:00")) == clock.used


def test_who_is_responsible_is_who_had_it_at_the_breach() -> None:
    life = Life(promise(FIX, within=2 * H)).opens("MO 09:00", team_id=TEAM_A, assignee_id=KIM)
    life.then("MO 12:00", team_id=TEAM_B, assignee_id=LEE)
    life.then("MO 13:00", RESOLVED)
    clock = life.clock(FIX)
    assert (clock.team_id, clock.assignee_id) == (TEAM_A, KIM)
    in_time = Life(promise(FIX)).opens("MO 09:00", team_id=TEAM_A)
    in_time.then("MO 10:00", team_id=TEAM_B).then("MO 11:00", RESOLVED)
    assert in_time.clock(FIX).team_id == TEAM_B


def test_a_policy_stored_before_any_of_this_reads_as_it_did() -> None:
    stored = {
        "id": "00000000-0000-0000-0000-000000000001", "version": 3, "name": "Old",
        "calendar_id": "00000000-0000-0000-0000-000000000002", "calendar_version": 1,
        "targets": {"first_reply": {"normal": "PT4H"}, "resolution": {"normal": "PT8H"}},
        "pause_in": {"resolution": ["pending"]},
        "steps": [
            {"id": "warn", "metric": "resolution", "offset": "-PT1H", "time": "business",
             "action": {"kind": "notify", "to": ["assignee", "team", "supervisors"]}},
            {"id": "up", "metric": "resolution", "offset": "PT30M", "time": "wall",
             "action": {"kind": "raise_priority", "to": None}},
        ],
    }  # fmt: skip
    policy = Policy.model_validate(stored)
    assert policy.model_dump(mode="json") == stored
    assert policy.applies_to(None)


def test_facts_without_their_surroundings_are_understood() -> None:
    fact = Fact(at=t("MO 10:00"), category=OPEN, created_by="customer")
    assert {c.metric for c in observe((), fact, promise(FIRST, FIX, "group:x", clocks=[
        {"metric": "group:x"}
    ]))} == {FIRST, FIX}  # fmt: skip
