"""Rules that watch promises: setting them up, what they say now, when they fired."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from domain.alerts import (
    MOST_ALERTS,
    AlertRule,
    Attainment,
    Breaches,
    Figures,
    Told,
    Verdict,
    judge,
    named,
    reached,
)
from domain.errors import Conflict, Invalid, NotFound
from models.base import new_id
from models.session import Row, Work
from services import configuration, desks, promises, watching
from services.configuration import Changes
from services.desks import LoadedDesk
from services.promises import CAUSES, Chosen

_COLUMNS = (
    "a.id, a.name, a.active, a.rule, a.created_by, a.created_at, a.updated_at, a.evaluated_at,"
    " a.figures, f.id as firing_id, f.fired_at"
)
_FROM = (
    "alerts a left join alert_firings f on f.tenant_id = a.tenant_id and f.alert_id = a.id"
    " and f.ended_at is null"
)
_FIRING = (
    "id, alert_id, name, rule, since, until, figures, fired_at, told, reminders, reminded_at,"
    " ended_at, ended_because, ended_with"
)


class AlertNotFound(NotFound):
    code = "alert_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such alert.")


class FiringNotFound(NotFound):
    code = "firing_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such firing.")


# Setting them up.


async def alerts(work: Work) -> Sequence[Row]:
    """All rules by name, each with its open firing, if it has one."""
    return await work.rows(
        f"select {_COLUMNS} from {_FROM} where a.tenant_id = :tenant order by a.name, a.id",
        {"tenant": work.tenant_id},
    )


async def alert(work: Work, alert_id: uuid.UUID) -> Row:
    """One rule. Raises AlertNotFound."""
    row = await work.row(
        f"select {_COLUMNS} from {_FROM} where a.tenant_id = :tenant and a.id = :id",
        {"tenant": work.tenant_id, "id": alert_id},
    )
    if row is None:
        raise AlertNotFound
    return row


async def create(
    work: Work,
    *,
    name: str,
    rule: AlertRule,
    active: bool,
    by: uuid.UUID | None,
    now: datetime,
) -> Row:
    """A new rule, looked at within seconds where it is switched on."""
    await configuration.hold(work)
    known = await alerts(work)
    if len(known) >= MOST_ALERTS:
        raise Conflict(f"A desk has at most {MOST_ALERTS} alerts.")
    _refuse_name(name, known, None)
    await check(work, rule)
    alert_id = new_id()
    await work.batch(
        (
            "insert into alerts (tenant_id, id, name, active, rule, created_by, created_at,"
            " updated_at) values (%s, %s, %s, %s, %s, %s, %s, %s)",
            (
                work.tenant_id, alert_id, name, active, Jsonb(rule.model_dump(mode="json")), by,
                now, now,
            ),
        ),
        watching.mark(work.tenant_id),
    )  # fmt: skip
    work.wake_relay()
    await desks.changed(work)
    return await alert(work, alert_id)


async def change(
    work: Work,
    alert_id: uuid.UUID,
    *,
    name: str | None,
    rule: AlertRule | None,
    active: bool | None,
    now: datetime,
) -> tuple[Row, Changes]:
    """The rule with other values, and what changed.

    What is open ends, untold, where the rule is switched off or asks for something else: under
    other terms it may fire anew.
    """
    await configuration.hold(work)
    before = await alert(work, alert_id)
    changes: Changes = {}
    if name is not None and name != before["name"]:
        _refuse_name(name, await alerts(work), alert_id)
        changes["name"] = [before["name"], name]
    was = AlertRule.model_validate(before["rule"])
    if rule is not None and rule != was:
        await check(work, rule)
        changes["rule"] = [before["rule"], rule.model_dump(mode="json")]
    if active is not None and active != before["active"]:
        changes["active"] = [before["active"], active]
    if not changes:
        return before, {}
    await work.batch(
        (
            "update alerts set name = %s, rule = %s, active = %s, updated_at = %s,"
            " evaluated_at = null where tenant_id = %s and id = %s",
            (
                name or before["name"],
                Jsonb((rule or was).model_dump(mode="json")),
                before["active"] if active is None else active,
                now, work.tenant_id, alert_id,
            ),
        ),
        watching.mark(work.tenant_id),
    )  # fmt: skip
    work.wake_relay()
    if active is False:
        await _close(work, alert_id, "switched off", now=now)
    elif rule is not None and rule.asks != was.asks:
        await _close(work, alert_id, "the rule was changed", now=now)
    await desks.changed(work)
    return await alert(work, alert_id), changes


async def delete(work: Work, alert_id: uuid.UUID, *, now: datetime) -> Row:
    """Takes the rule away. Its firings stay on record."""
    await configuration.hold(work)
    row = await alert(work, alert_id)
    await _close(work, alert_id, "the rule was deleted", now=now)
    await work.execute(
        "delete from alerts where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": alert_id},
    )
    await desks.changed(work)
    return row


async def _close(work: Work, alert_id: uuid.UUID, because: str, *, now: datetime) -> None:
    await work.execute(
        "update alert_firings set ended_at = :now, ended_because = :because"
        " where tenant_id = :tenant and alert_id = :id and ended_at is null",
        {"now": now, "because": because, "tenant": work.tenant_id, "id": alert_id},
    )


async def check(work: Work, rule: AlertRule) -> None:
    """Whom and what a rule names is here. Raises Invalid."""
    if unknown := sorted(set(rule.without) - set(CAUSES)):
        raise Invalid(
            f"No breach has the cause {unknown[0]!r}.",
            fields={"/rule/without": f"are some of {', '.join(CAUSES)}"},
        )
    wanted = named(rule)
    rows = await work.rows(
        "select id, 'policy' as kind from policies where tenant_id = :tenant and id = any(:ids)"
        " union all select id, 'team' from teams"
        "  where tenant_id = :tenant and active and id = any(:ids)"
        " union all select id, 'organization' from organizations"
        "  where tenant_id = :tenant and id = any(:ids)"
        " union all select id, 'user' from users"
        "  where tenant_id = :tenant and active and id = any(:ids)"
        " union all select id, 'webhook' from webhooks"
        "  where tenant_id = :tenant and active and id = any(:ids)",
        {"tenant": work.tenant_id, "ids": list({id_ for _, _, id_ in wanted})},
    )
    known = {(row["kind"], row["id"]) for row in rows}
    for where, kind, id_ in wanted:
        if (kind, id_) not in known:
            raise Invalid(
                f"The rule names something that is not here: no {kind} has this id.",
                fields={f"/rule{where}": f"names no {kind}"},
            )


def _refuse_name(name: str, rows: Sequence[Row], own: uuid.UUID | None) -> None:
    if any(row["name"] == name and row["id"] != own for row in rows):
        raise Conflict(f"There is one named {name!r} already.", fields={"/name": "is taken"})


# What they say.


def chosen(rule: AlertRule, *, now: datetime) -> Chosen:
    """The cycles that a rule is about, as reports choose them."""
    metric = rule.watches.metric
    return Chosen(
        since=now - rule.watches.within,
        until=now,
        metric=() if metric is None else (metric,),
        priority=tuple(rule.priorities),
        channel=tuple(rule.channels),
        policy=rule.policies,
        team=rule.teams,
        organization=rule.organizations,
        without=rule.without,
    )


async def figures(work: Work, rule: AlertRule, *, now: datetime) -> Figures:
    """What a rule finds in its window now."""
    about = chosen(rule, now=now)
    match rule.watches:
        case Attainment():
            row = await promises.kept(work, about)
            return Figures(
                about.since, about.until, met=row["met"], missed=row["missed"], oldest=row["oldest"]
            )
        case Breaches():
            row = await promises.broken(work, about)
            return Figures(
                about.since, about.until, breaches=row["breaches"], late=row["late"],
                oldest=row["oldest"],
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tried:
    """What a rule says now, and whom it would tell."""

    verdict: Verdict
    figures: Mapping[str, object]
    told: Told


async def tried(work: Work, desk: LoadedDesk, rule: AlertRule, *, now: datetime) -> Tried:
    """What a rule says now; nobody is told anything."""
    found = await figures(work, rule, now=now)
    return Tried(judge(rule, found), found.said(rule), reached(rule, desk, switched(desk)))


def switched(desk: LoadedDesk) -> dict[uuid.UUID, bool]:
    """The desk's webhooks, and which of them are on."""
    return {hook.id: hook.active for hook in desk.webhooks.values()}


# When they fired.


async def firings(
    work: Work,
    *,
    alert_id: uuid.UUID | None,
    only_open: bool,
    before: uuid.UUID | None,
    limit: int,
) -> list[Row]:
    """Firings, the newest first; also those of rules that are gone."""
    return await work.rows(
        f"select {_FIRING} from alert_firings where tenant_id = :tenant"
        " and (cast(:alert as uuid) is null or alert_id = :alert)"
        " and (not :only_open or ended_at is null)"
        " and (cast(:before as uuid) is null or id < :before) order by id desc limit :limit",
        {
            "tenant": work.tenant_id, "alert": alert_id, "only_open": only_open,
            "before": before, "limit": limit,
        },
    )  # fmt: skip


async def firing(work: Work, firing_id: uuid.UUID) -> Row:
    """One firing. Raises FiringNotFound."""
    row = await work.row(
        f"select {_FIRING} from alert_firings where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": firing_id},
    )
    if row is None:
        raise FiringNotFound
    return row
