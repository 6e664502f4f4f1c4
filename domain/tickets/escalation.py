"""Steps around deadlines, carried out; deadlines and escalations as people steer them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import assert_never
from uuid import UUID, uuid5

from domain import sla
from domain.errors import Conflict, Invalid
from domain.states import ActorKind, Channel, Priority, Visibility
from domain.tickets.decision import Call
from domain.tickets.draft import Draft
from domain.tickets.events import (
    Acknowledged,
    DueSet,
    Escalated,
    HandedBack,
    Keep,
    NewMessage,
    Retimed,
)
from domain.tickets.handing import assign, hand_out
from domain.tickets.shapes import FURTHEST, clean_tags
from domain.tickets.state import Actor
from domain.tickets.waking import call_for, wake

LONGEST_ACKNOWLEDGEMENT = timedelta(days=7)


def carry_out(draft: Draft, moment: datetime) -> None:
    """Everything that comes due at `moment`, each under its own key."""
    for due in draft.fire(moment):
        _step(draft, due)


def timed(draft: Draft, wish: DueSet | Acknowledged | Retimed) -> None:
    """What a person, or a change of policies, does to the clocks themselves."""
    match wish:
        case DueSet():
            _due_set(draft, wish)
        case Acknowledged(until):
            _acknowledged(draft, until)
        case Retimed():
            _retimed(draft)
        case _:
            assert_never(wish)


def escalated(draft: Draft, escalation: Escalated) -> None:
    """One level up: to a team, a person or both; a team alone finds somebody as it always does."""
    if escalation.team_id is None and escalation.assignee_id is None:
        raise Invalid(
            "Say to whom: a team, a person, or both.",
            fields={"/team_id": "or assignee_id is needed"},
        )
    before = draft.get("escalation") or {}
    level = int(str(before.get("level", 0))) + 1
    team: UUID | Keep | None = escalation.team_id or Keep()
    agent: UUID | Keep | None = escalation.assignee_id or Keep()
    if escalation.assignee_id and not escalation.team_id:
        current = draft.desk.teams.get(draft.team_id) if draft.team_id else None
        if current is not None and escalation.assignee_id not in current.members:
            team = None
    assign(draft, team_id=team, assignee_id=agent, actor=draft.event.actor)
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
            **({"asked_by": asked} if (asked := _asked_by(before)) else {}),
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


def handed_back(draft: Draft, back: HandedBack) -> None:
    """The escalation ends; whoever had the ticket before has it again, as far as they still can."""
    raised = draft.get("escalation")
    if raised is None:
        raise Conflict(f"Ticket {draft.was.number} is not escalated.")
    draft.set("escalation", None)
    refused: str | None = None
    # The agent may have left the team since, or the team may be gone: what is left of both.
    for team_id, assignee_id in (
        (back.team_id, back.assignee_id), (back.team_id, None), (None, back.assignee_id),
        (None, None),
    ):  # fmt: skip
        try:
            assign(draft, team_id=team_id, assignee_id=assignee_id, actor=draft.event.actor)
            break
        except Invalid as refusal:
            refused = refused or refusal.detail
    draft.decided("team_id", *(["assignee_id"] if draft.assignee_id else []))
    if draft.assignee_id is None:
        draft.undecided("assignee_id")  # nobody chose nobody: the team finds somebody as always
        if draft.team_id is None and back.team_id is not None:
            draft.undecided("team_id")  # nor no team: routing finds one
    draft.tell(_asked_by(raised), "handed_back", {"reason": back.reason})
    draft.record(
        "handed_back",
        data={"reason": back.reason, "level": raised.get("level"), "refused": refused},
    )
    draft.observe()


def _asked_by(raised: Mapping[str, object]) -> list[UUID]:
    """Everybody who escalated since it was last handed back, each once."""
    asked = raised.get("asked_by")
    everybody = [*(asked if isinstance(asked, list | tuple) else ()), raised.get("by")]
    return list(dict.fromkeys(UUID(str(one)) for one in everybody if one))


def _step(draft: Draft, due: sla.Due) -> None:
    assert draft.terms is not None
    assert due.step is not None
    policy, step = draft.terms.policy, due.step
    data: dict[str, object] = {
        "metric": due.metric,
        "cycle": due.cycle,
        "step": step.id,
        "action": step.action.kind,
    }
    key = f"step/{draft.was.id}/{due.key}"
    if due.skipped is not None:
        data["skipped"] = due.skipped
    else:
        for place, action in enumerate(step.actions):
            _act(draft, due, action, data, key=f"{key}/{place}")
    draft.record(
        "sla_step",
        key=key,
        actor=Actor(ActorKind.AUTOMATION),
        cause={**draft.event.cause, "policy": str(policy.id), "version": policy.version},
        data=data,
        occurred_at=due.at,
    )
    draft.observe()


def _act(
    draft: Draft, due: sla.Due, action: sla.Action, data: dict[str, object], *, key: str
) -> None:
    assert due.step is not None
    told = {"metric": due.metric, "step": due.step.id}
    match action:
        case sla.Notify(to=to):
            kind = "sla_warning" if due.step.is_warning else "sla_breached"
            woken = wake(draft, to)
            draft.tell(sorted(woken.people), kind, {**told, **woken.said})
            data |= woken.said
        case sla.Reassign(team_id=team_id, assignee_id=assignee_id):
            try:
                assign(
                    draft,
                    team_id=team_id or Keep(),
                    assignee_id=assignee_id or Keep(),
                    actor=Actor(ActorKind.AUTOMATION),
                )
            except Invalid as refusal:  # the team or agent of the policy has gone since
                data["refused"] = refusal.detail
                woken = call_for(draft)
                data |= woken.said
                kind = "sla_warning" if due.step.is_warning else "sla_breached"
                draft.tell(
                    sorted(woken.people), kind, {**told, **woken.said, "refused": refusal.detail}
                )
        case sla.RaisePriority(to=to_priority):
            current = draft.get("priority") or Priority.NORMAL
            raised = to_priority or current.raised()
            if raised.rank > current.rank:
                draft.set("priority", raised)
        case sla.AddTag(tag=tag):
            try:
                draft.set("tags", clean_tags([*draft.tags, tag]))
            except Invalid as refusal:
                data["refused"] = refusal.detail
        case sla.WriteNote(text=text):
            draft.say(
                NewMessage(uuid5(draft.was.id, key), text),
                visibility=Visibility.INTERNAL,
                channel=Channel.AGENT,
                author=Actor(ActorKind.AUTOMATION),
            )
        case sla.CallWebhook(webhook_id=webhook_id):
            draft.calls.append(
                Call(kind="webhook", key=key, seq=draft.next_seq, webhook_id=webhook_id, data=told)
            )
        case sla.StartWorkflow(name=name):
            draft.calls.append(
                Call(kind="workflow", key=key, seq=draft.next_seq, workflow=name, data=told)
            )
        case _:
            assert_never(action)


def _due_set(draft: Draft, wish: DueSet) -> None:
    running = [c for c in draft.clocks if c.metric == wish.metric and c.is_running]
    if not running:
        raise Conflict(f"Ticket {draft.was.number} has no running {wish.metric} clock.")
    if wish.due_at is not None and not wish.reason.strip():
        raise Invalid("Say why the deadline is moved.", fields={"/reason": "is empty"})
    if wish.due_at is not None and wish.due_at > draft.now + FURTHEST:
        raise Invalid("The deadline is too far away.", fields={"/due_at": "lies within ten years"})
    if wish.due_at is None and running[0].due_override is None:
        return
    by = draft.event.actor.id
    draft.clocks = sla.set_due(
        draft.clocks,
        draft.terms,
        metric=wish.metric,
        due_at=wish.due_at,
        at=draft.now,
        by=by,
        reason=wish.reason.strip()[:1000],
    )
    draft.record(
        "sla_due_reset" if wish.due_at is None else "sla_due_set",
        data={
            "metric": wish.metric,
            "due_at": wish.due_at,
            "was": running[0].due_at,
            "by": by,
            "reason": wish.reason.strip()[:1000] or None,
        },
    )


def _acknowledged(draft: Draft, until: datetime) -> None:
    if not draft.now < until <= draft.now + LONGEST_ACKNOWLEDGEMENT:
        raise Invalid(
            "An acknowledgement lasts a week at most.", fields={"/until": "lies in the week ahead"}
        )
    if not any(clock.is_running for clock in draft.clocks):
        raise Conflict(f"Ticket {draft.was.number} has nothing that could escalate.")
    by = draft.event.actor.id
    draft.clocks = sla.acknowledge(draft.clocks, at=draft.now, until=until, by=by)
    # What was asked for, and until when it is: an earlier word that reaches further stands.
    holds = max(until, sla.acknowledged_until(draft.clocks) or until)
    draft.record("sla_acknowledged", data={"until": holds, "asked": until, "by": by})


def _retimed(draft: Draft) -> None:
    """An entry only where the terms in force are not those that the ticket is timed by."""
    terms = draft.in_force()
    named = (terms.policy.id, terms.policy.version) if terms else (None, None)
    if named != (draft.get("policy_id"), draft.get("policy_version")):
        draft.record("sla_retimed")
        draft.observe()
