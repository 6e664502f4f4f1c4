"""What tenants have set up, loaded once per configuration version."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

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
from domain.rotas import Override, Rota
from domain.sla import Policy
from domain.staffing import RoutingRules
from domain.starting import Offered
from domain.states import Category
from domain.webhooks import Endpoint
from models.session import Row, Work
from services import freshness
from services.routing import to_absence

# Old versions of policies that one desk remembers; beyond that they are read again when needed.
MOST_VERSIONS = 500


@dataclass(frozen=True)
class LoadedDesk(Desk):
    """A desk, with those that want to hear of what is decided."""

    webhooks: Mapping[uuid.UUID, Endpoint] = field(default_factory=dict)
    watched: bool = False  # a rule of it has something to say about promises
    workflows: Mapping[str, Offered] = field(default_factory=dict)  # beside those that ship


class Desks:
    """Desks by tenant. A stale one is never used: each transaction names the version it saw."""

    def __init__(self, *, capacity: int = 500) -> None:
        self._known: LRUCache[uuid.UUID, LoadedDesk] = LRUCache(capacity)

    def known(self, tenant_id: uuid.UUID) -> LoadedDesk | None:
        """What this process has in memory, maybe of an older version: to guess what to ask for."""
        return self._known.get(tenant_id)

    async def get(self, work: Work, version: int) -> LoadedDesk:
        """The tenant's desk at `version` or newer, from memory or with one more round trip."""
        if work.configuration_changed:
            return await load(work)
        known = self._known.get(work.tenant_id)
        if known is None or known.config_version < version:
            before, known = known, await load(work)
            if before is not None:  # what was in force a moment ago, tickets are timed by still
                known = _with_versions(known, (*before.policy_versions.values(), *before.policies))
            self._known[work.tenant_id] = known
        return known

    async def knowing(
        self, work: Work, desk: LoadedDesk, timed_by: Iterable[tuple[uuid.UUID | None, int | None]]
    ) -> LoadedDesk:
        """The desk with the policy versions that tickets are `timed_by`, which are kept for ever.

        Asks the database only for versions that this process has not seen yet.
        """
        wanted = {
            (policy_id, version)
            for policy_id, version in timed_by
            if policy_id is not None
            and version is not None
            and desk.terms_of(policy_id, version) is None
        }
        if not wanted:
            return desk
        [rows] = await work.batch(
            (
                "select v.body from policy_versions v join unnest(%s::uuid[], %s::int[]) w(id, n)"
                " on v.policy_id = w.id and v.version = w.n where v.tenant_id = %s",
                ([one for one, _ in wanted], [version for _, version in wanted], work.tenant_id),
            )
        )
        desk = _with_versions(desk, (Policy.model_validate(row["body"]) for row in rows))
        known = self._known.get(work.tenant_id)
        same = known is not None and known.config_version == desk.config_version
        if rows and same and not work.configuration_changed:
            self._known[work.tenant_id] = desk
        return desk

    async def current(self, work: Work) -> LoadedDesk:
        """The tenant's desk now: asks for the version first."""
        [rows] = await work.batch(
            ("select config_version from tenants where id = %s", (work.tenant_id,))
        )
        return await self.get(work, rows[0]["config_version"])


def _with_versions(desk: LoadedDesk, policies: Iterable[Policy]) -> LoadedDesk:
    more = {(policy.id, policy.version): policy for policy in policies}
    kept = {**desk.policy_versions, **more}
    return replace(desk, policy_versions=kept if len(kept) <= MOST_VERSIONS else more)


async def load(work: Work) -> LoadedDesk:
    """Reads everything rules may ask about the tenant, in one round trip."""
    tenant = work.tenant_id
    one = (tenant,)
    (
        tenants,
        statuses,
        fields,
        teams,
        members,
        agents,
        policies,
        calendars,
        hooks,
        [watching],
        offered,
        rotas,
        overrides,
    ) = await work.batch(
        ("select id, slug, settings, config_version from tenants where id = %s", one),
        ("select * from statuses where tenant_id = %s order by position, key", one),
        ("select * from field_definitions where tenant_id = %s", one),
        ("select * from teams where tenant_id = %s", one),
        (
            "select m.team_id, m.user_id, m.lead, m.on_call from team_members m join users u"
            " on u.tenant_id = m.tenant_id and u.id = m.user_id and u.active"
            " where m.tenant_id = %s order by m.user_id",
            one,
        ),
        (
            "select id, name, email, handle, role, active, capacity, absent, absent_from,"
            " absent_until, replacement_id from users where tenant_id = %s",
            one,
        ),
        (
            "select v.body from policies p join policy_versions v on v.tenant_id = p.tenant_id"
            " and v.policy_id = p.id and v.version = p.version"
            " where p.tenant_id = %s and p.active order by p.position, p.id",
            one,
        ),
        ("select calendar_id, version, body from calendar_versions where tenant_id = %s", one),
        ("select id, url, events, active from webhooks where tenant_id = %s", one),
        (
            "select exists (select from alerts where tenant_id = %s and active) as on",
            one,
        ),
        ("select name, type, queue from step_workflows where tenant_id = %s", one),
        ("select team_id, body from rotas where tenant_id = %s", one),
        (
            "select team_id, user_id, since, until from rota_overrides where tenant_id = %s"
            " order by created_at, id",
            one,
        ),
    )
    row = tenants[0]
    return LoadedDesk(
        tenant_id=tenant,
        slug=row["slug"],
        config_version=row["config_version"],
        settings=DeskSettings.model_validate(row["settings"]),
        statuses={r["key"]: _status(r) for r in statuses},
        fields={r["key"]: _field(r) for r in fields},
        teams=_teams(teams, members, rotas, overrides),
        agents={r["id"]: _agent(r) for r in agents},
        policies=tuple(Policy.model_validate(r["body"]) for r in policies),
        calendars={
            (r["calendar_id"], r["version"]): Calendar.model_validate(r["body"]) for r in calendars
        },
        webhooks={
            r["id"]: Endpoint(r["id"], r["url"], frozenset(r["events"]), r["active"]) for r in hooks
        },
        watched=watching["on"],
        workflows={r["name"]: Offered(r["name"], r["type"], r["queue"]) for r in offered},
    )


async def changed(work: Work) -> None:
    """Every process reloads this tenant's desk before it decides anything again."""
    work.configuration_changed = True
    freshness.changed(work.tenant_id)
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


def _agent(row: Row) -> Agent:
    return Agent(
        id=row["id"],
        name=row["name"],
        email=row["email"],
        handle=row["handle"],
        role=row["role"],
        active=row["active"],
        capacity=row["capacity"],
        absence=to_absence(row),
    )


def _teams(
    rows: list[Row], members: list[Row], rotas: list[Row], overrides: list[Row]
) -> Mapping[uuid.UUID, Team]:
    turns = {each["team_id"]: Rota.model_validate(each["body"]) for each in rotas}
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
            rules=RoutingRules.model_validate(row["rules"]),
            on_call=tuple(
                m["user_id"] for m in members if m["team_id"] == row["id"] and m["on_call"]
            ),
            rota=turns.get(row["id"]),
            overrides=tuple(
                Override(each["user_id"], each["since"], each["until"])
                for each in overrides
                if each["team_id"] == row["id"]
            ),
        )
        for row in rows
    }
