"""What tenants have set up, loaded once per configuration version."""

import uuid
from collections.abc import Mapping

from cachetools import LRUCache

from domain.calendars import Calendar
from domain.desk import (
    Agent,
    CustomField,
    Desk,
    DeskSettings,
    Status,
    Team,
)
from domain.sla import Policy
from domain.states import Category
from models.session import Row, Work


class Desks:
    """Desks by tenant. A stale one is never used: each transaction names the version it saw."""

    def __init__(self, *, capacity: int = 500) -> None:
        self._known: LRUCache[uuid.UUID, Desk] = LRUCache(capacity)

    async def get(self, work: Work, version: int) -> Desk:
        """The tenant's desk at `version` or newer, from memory or with one more round trip."""
        if work.configuration_changed:
            return await load(work)
        known = self._known.get(work.tenant_id)
        if known is None or known.config_version < version:
            known = await load(work)
            self._known[work.tenant_id] = known
        return known

    async def current(self, work: Work) -> Desk:
        """The tenant's desk now: asks for the version first."""
        [rows] = await work.batch(
            ("select config_version from tenants where id = %s", (work.tenant_id,))
        )
        return await self.get(work, rows[0]["config_version"])


async def load(work: Work) -> Desk:
    """Reads everything rules may ask about the tenant, in one round trip."""
    tenant = work.tenant_id
    one = (tenant,)
    tenants, statuses, fields, teams, members, agents, policies, calendars = await work.batch(
        ("select id, slug, settings, config_version from tenants where id = %s", one),
        ("select * from statuses where tenant_id = %s order by position, key", one),
        ("select * from field_definitions where tenant_id = %s", one),
        ("select * from teams where tenant_id = %s", one),
        (
            "select m.team_id, m.user_id, m.lead from team_members m join users u"
            " on u.tenant_id = m.tenant_id and u.id = m.user_id and u.active"
            " where m.tenant_id = %s order by m.user_id",
            one,
        ),
        ("select id, name, email, handle, role, active from users where tenant_id = %s", one),
        (
            "select v.body from policies p join policy_versions v on v.tenant_id = p.tenant_id"
            " and v.policy_id = p.id and v.version = p.version"
            " where p.tenant_id = %s and p.active order by p.position, p.id",
            one,
        ),
        ("select calendar_id, version, body from calendar_versions where tenant_id = %s", one),
    )
    row = tenants[0]
    return Desk(
        tenant_id=tenant,
        slug=row["slug"],
        config_version=row["config_version"],
        settings=DeskSettings.model_validate(row["settings"]),
        statuses={r["key"]: _status(r) for r in statuses},
        fields={r["key"]: _field(r) for r in fields},
        teams=_teams(teams, members),
        agents={r["id"]: Agent(**r) for r in agents},
        policies=tuple(Policy.model_validate(r["body"]) for r in policies),
        calendars={
            (r["calendar_id"], r["version"]): Calendar.model_validate(r["body"]) for r in calendars
        },
    )


async def changed(work: Work) -> None:
    """Every process reloads this tenant's desk before it decides anything again."""
    work.configuration_changed = True
    await work.execute(
        "update tenants set config_version = config_version + 1 where id = :id",
        {"id": work.tenant_id},
    )


def _status(row: Row) -> Status:
    transitions = row["transitions"]
    return Status(
        key=row["key"],
        name=row["name"],
        category=Category(row["category"]),
        customer_label=row["customer_label"],
        position=row["position"],
        transitions=None if transitions is None else frozenset(transitions),
        required_fields=tuple(row["required_fields"]),
        active=row["active"],
    )


def _field(row: Row) -> CustomField:
    return CustomField(
        key=row["key"],
        label=row["label"],
        kind=row["kind"],
        options=tuple(row["options"]),
        pattern=row["pattern"],
        customer_visible=row["customer_visible"],
        customer_editable=row["customer_editable"],
        active=row["active"],
    )


def _teams(rows: list[Row], members: list[Row]) -> Mapping[uuid.UUID, Team]:
    return {
        row["id"]: Team(
            id=row["id"],
            name=row["name"],
            routing=row["routing"],
            members=tuple(m["user_id"] for m in members if m["team_id"] == row["id"]),
            leads=frozenset(
                m["user_id"] for m in members if m["team_id"] == row["id"] and m["lead"]
            ),
            active=row["active"],
        )
        for row in rows
    }
