"""What time alone brings to a ticket, in the order in which it was due."""

from datetime import datetime

from domain.states import Category
from domain.tickets.draft import Draft
from domain.tickets.escalation import carry_out
from domain.tickets.postponing import remind
from domain.tickets.state import SYSTEM
from domain.tickets.statuses import enter_category


def settle(draft: Draft, *, until: datetime) -> None:
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
            remind(draft, moment, late_cause)
        elif draft.get("auto_close_at") == moment:
            enter_category(draft, Category.CLOSED)
            draft.record(
                "auto_closed", key=f"auto_closed/{draft.was.id}/{draft.next_seq}", actor=SYSTEM,
                cause=late_cause, occurred_at=moment,
            )  # fmt: skip
            draft.observe()
        else:
            carry_out(draft, moment)
    raise AssertionError("a deadline that never settles")
