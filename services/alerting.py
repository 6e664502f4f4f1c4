"""Looking at the rules that watch promises, and telling what they find: once, whatever dies.

A look is one transaction: what a rule found, that it fired, its notices and its calls are written
together or not at all. So whoever looks again after a crash finds either nothing or all of it.
"""

import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from prometheus_client import Counter
from psycopg.types.json import Jsonb

from domain.alerts import (
    AlertRule,
    Figures,
    Telling,
    Verdict,
    judge,
    look_again,
    pace,
    reached,
    telling,
)
from domain.errors import Unavailable
from models.base import new_id
from models.session import Database, Row, Statement, Work
from services import alerts, webhooks
from services.desks import Desks, LoadedDesk
from services.relay import Fact
from services.tickets import clock
from services.watching import DESTINATION

logger = logging.getLogger(__name__)

TOLD = Counter("sla_alerts_total", "What rules that watch promises have told.", ["what"])
# So long nobody looked: a mark was lost, or never written.
FORGOTTEN = timedelta(minutes=10)
_NOTICES = {
    Telling.FIRED: "sla_alert", Telling.AGAIN: "sla_alert_again", Telling.OVER: "sla_alert_over"
}  # fmt: skip


class AlertDestination:
    """Where the relay tells whose promises moved: their rules are looked at."""

    name = DESTINATION
    locks_tickets = False

    def __init__(
        self, database: Database, desks: Desks, *, now: Callable[[], datetime] = clock
    ) -> None:
        self._database = database
        self._desks = desks
        self._now = now

    async def tell(self, facts: Sequence[Fact]) -> dict[uuid.UUID, str]:
        failed: dict[uuid.UUID, str] = {}
        for fact in facts:
            try:
                async with self._database.transaction(fact.tenant_id) as work:
                    told = await look(work, self._desks, now=self._now())
            except Unavailable:
                raise
            except Exception as error:
                logger.exception("the alerts of %s cannot be looked at", fact.slug)
                failed[fact.ticket_id] = f"{type(error).__name__}: see the worker's log"
                continue
            for one in told:  # committed: what is counted has been told
                TOLD.labels(one.value).inc()
        return failed


async def look(work: Work, desks: Desks, *, now: datetime) -> list[Telling]:
    """Looks at every rule that it is time for, tells what follows; what was told."""
    tenant = work.tenant_id
    # The tenant's row first: whoever changes a rule locks in this order too. The rules are locked
    # before they are read: who waited for another look has to see the firing that it made.
    _, _, rows = await work.batch(
        ("select 1 from tenants where id = %s for key share", (tenant,)),
        (
            "select 1 from alerts where tenant_id = %s and active order by id for update",
            (tenant,),
        ),
        (
            "select a.id, a.name, a.rule, a.evaluated_at, f.id as firing_id, f.fired_at,"
            " f.reminded_at, f.reminders from alerts a left join alert_firings f"
            " on f.tenant_id = a.tenant_id and f.alert_id = a.id and f.ended_at is null"
            " where a.tenant_id = %s and a.active order by a.id",
            (tenant,),
        ),
    )
    if not rows:
        return []
    desk = await desks.current(work)
    statements: list[Statement] = []
    told: list[Telling] = []
    moments: list[datetime] = []
    for row in rows:
        rule = AlertRule.model_validate(row["rule"])
        told_at: datetime | None = row["reminded_at"] or row["fired_at"]
        last = row["evaluated_at"]
        if last is not None and timedelta() <= now - last < pace(rule):
            moments.append(last + pace(rule))
            continue
        found = await alerts.figures(work, rule, now=now)
        verdict = judge(rule, found)
        what = telling(rule, verdict, told_at=told_at, now=now)
        if what is not None:
            statements += _told(desk, row, rule, found, verdict, what, now)
            told.append(what)
            told_at = None if what is Telling.OVER else now
        statements.append(
            (
                "update alerts set evaluated_at = %s, figures = %s"
                " where tenant_id = %s and id = %s",
                (now, Jsonb({**found.said(rule), "says": verdict.because}), tenant, row["id"]),
            )
        )
        again = look_again(rule, found, told_at=told_at, now=now)
        if again is not None:
            moments.append(again)
    if moments:
        statements.append(_look_at(tenant, min(moments)))
    if statements:
        await work.batch(*statements)
        work.wake_relay()
    return told


def _told(
    desk: LoadedDesk,
    row: Row,
    rule: AlertRule,
    found: Figures,
    verdict: Verdict,
    what: Telling,
    now: datetime,
) -> list[Statement]:
    """What is written when a rule has something to tell: its firing, the notices, the call."""
    tenant, figures = desk.tenant_id, found.said(rule)
    firing_id: uuid.UUID = new_id() if what is Telling.FIRED else row["firing_id"]
    to = reached(rule, desk, alerts.switched(desk))
    said: Mapping[str, object] = {
        "alert_id": str(row["id"]),
        "alert": row["name"],
        "firing_id": str(firing_id),
        "says": verdict.because,
        "figures": figures,
        **({"instead": True} if to.instead else {}),
    }
    match what:
        case Telling.FIRED:
            count = len(to.users) + (to.webhook_id is not None)
            written = _fired(tenant, firing_id, row, found, figures, count, now)
            times = 0
        case Telling.AGAIN:
            times = int(row["reminders"]) + 1
            written = (
                "update alert_firings set reminders = %s, reminded_at = %s"
                " where tenant_id = %s and id = %s",
                (times, now, tenant, firing_id),
            )
        case Telling.OVER:
            times = int(row["reminders"])
            written = (
                "update alert_firings set ended_at = %s, ended_because = %s, ended_with = %s"
                " where tenant_id = %s and id = %s",
                (now, verdict.because, Jsonb(figures), tenant, firing_id),
            )
    statements = [written]
    statements += [notice(tenant, user, _NOTICES[what], said, at=now) for user in to.users]
    hook = desk.webhooks.get(to.webhook_id) if to.webhook_id is not None else None
    if hook is not None:
        step = f"{what.value}/{times}" if what is Telling.AGAIN else what.value
        _, call = webhooks.queued(
            tenant,
            hook,
            key=f"alert/{firing_id}/{step}",
            kind=f"sla_alert.{what.value}",
            data=said,
            at=now,
        )
        statements += call
    return statements


def _fired(
    tenant: uuid.UUID,
    firing_id: uuid.UUID,
    row: Row,
    found: Figures,
    figures: dict[str, object],
    count: int,
    now: datetime,
) -> Statement:
    return (
        "insert into alert_firings (tenant_id, id, alert_id, name, rule, since, until, figures,"
        " fired_at, told) values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (
            tenant, firing_id, row["id"], row["name"], Jsonb(row["rule"]), found.since, found.until,
            Jsonb(figures), now, count,
        ),
    )  # fmt: skip


def notice(
    tenant: uuid.UUID,
    user_id: uuid.UUID,
    kind: str,
    data: Mapping[str, object],
    *,
    at: datetime,
) -> Statement:
    """Something that a person should know and that is about no ticket."""
    return (
        "insert into notifications (tenant_id, id, user_id, kind, data, created_at)"
        " values (%s, %s, %s, %s, %s, %s)",
        (tenant, new_id(), user_id, kind, Jsonb(dict(data)), at),
    )


def _look_at(tenant: uuid.UUID, at: datetime) -> Statement:
    """The rules are looked at again then, unless somebody looks before and says otherwise."""
    return (
        "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, created_at,"
        " available_at) select %(to)s, %(tenant)s, %(tenant)s, 0, 'the clock', 0, now(), %(at)s"
        " where not exists (select from outbox where destination = %(to)s"
        " and tenant_id = %(tenant)s and available_at > now() and available_at <= %(at)s)",
        {"to": DESTINATION, "tenant": tenant, "at": at},
    )


async def sweep(relay_database: Database) -> int:
    """Tells of every tenant whose rules nobody has looked at for long, whatever was forgotten."""
    async with relay_database.transaction(None) as work:
        rows = await work.rows(
            "insert into outbox (destination, tenant_id, ticket_id, number, kind, seq, created_at,"
            " available_at) select :to, a.tenant_id, a.tenant_id, 0, 'reconciled', 0, now(), now()"
            " from (select distinct tenant_id from alerts where active and"
            " (evaluated_at is null or evaluated_at < now() - :forgotten)) a where not exists"
            " (select from outbox o where o.destination = :to and o.tenant_id = a.tenant_id"
            " and o.available_at <= now()) returning id",
            {"to": DESTINATION, "forgotten": FORGOTTEN},
        )
        if rows:
            work.wake_relay()
    return len(rows)


__all__ = ["AlertDestination", "look", "notice", "sweep"]
