"""Marks that promises moved, written with the very events that moved them."""

import uuid

from domain.alerts import TOGETHER
from domain.sla import Outcome
from domain.tickets import Decision
from models.session import Statement
from services.desks import LoadedDesk

DESTINATION = "alerts"
_JUDGED = (Outcome.MET, Outcome.MISSED)
# A mark that is about to be heard may be heard before this event is committed.
_TOO_LATE_SECONDS = 3


def marked(desk: LoadedDesk, decision: Decision) -> list[Statement]:
    """What a decision writes where a rule of the desk may have something to say about it.

    Nothing, unless a promise was broken or has ended; and nothing on a desk without rules.
    """
    moved = desk.watched and any(
        clock.breached_at is not None or clock.outcome in _JUDGED
        for clock in decision.changed_clocks
    )
    return [mark(desk.tenant_id)] if moved else []


def mark(tenant_id: uuid.UUID) -> Statement:
    """The tenant's rules are looked at soon; a mark that waits already does for this one too.

    Two that are written at once do not see each other, and both stay: nothing is locked.
    """
    return (
        "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, created_at,"
        " available_at) select %s, %s, %s, 0, 'promises', 0, now(), now() + %s where not exists"
        " (select from outbox where destination = %s and tenant_id = %s and available_at >"
        " now() + make_interval(secs => %s) and available_at <= now() + %s)",
        (
            DESTINATION, tenant_id, tenant_id, TOGETHER,
            DESTINATION, tenant_id, _TOO_LATE_SECONDS, TOGETHER,
        ),
    )  # fmt: skip


__all__ = ["DESTINATION", "mark", "marked"]
