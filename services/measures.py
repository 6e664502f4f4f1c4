"""A ticket's measures as events, promised or not: from its timeline, for those who may see it."""

import uuid
from collections.abc import Iterable
from datetime import datetime

from domain.errors import TicketNotFound
from domain.permissions import Principal
from domain.sla import Terms
from domain.tickets.history import MetricEvent, metric_events
from domain.tickets.replay import Recorded
from models import ledger
from models.session import Work
from services.desks import Desks
from services.views import visible


async def measures(
    work: Work, loaded: Desks, caller: Principal, number: int, *, now: datetime
) -> tuple[MetricEvent, ...]:
    """All that happened to a ticket's measures, in order. Raises TicketNotFound."""
    scope, parameters = visible(caller)
    parameters |= {"tenant": work.tenant_id, "number": number}
    [around], rows = await work.batch(
        ledger.config_version(work.tenant_id),
        (
            "select t.id from tickets t where t.tenant_id = %(tenant)s and t.number = %(number)s"
            f" and {scope}",
            parameters,
        ),
    )
    if not rows:
        raise TicketNotFound
    [told] = await work.batch(ledger.timeline_of(work.tenant_id, rows[0]["id"]))
    timeline = [Recorded(**row) for row in told]
    desk = await loaded.get(work, around["config_version"])
    desk = await loaded.knowing(work, desk, _versions(timeline))

    def terms_of(policy_id: uuid.UUID, version: int) -> Terms:
        terms = desk.terms_of(policy_id, version)
        assert terms is not None, "versions of policies and calendars are kept for ever"
        return terms

    return metric_events(timeline, terms_of, now=now)


def _versions(timeline: Iterable[Recorded]) -> set[tuple[uuid.UUID, int]]:
    """Every version of a policy that the timeline names."""
    found: set[tuple[uuid.UUID, int]] = set()
    policy: object = None
    version: object = None
    for entry in timeline:
        policy = entry.changes.get("policy_id", [None, policy])[1]
        version = entry.changes.get("policy_version", [None, version])[1]
        if policy is not None and version is not None:
            found.add((uuid.UUID(str(policy)), int(str(version))))
    return found
