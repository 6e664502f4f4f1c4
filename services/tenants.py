"""Making a tenant: its row, its counter, its statuses, its first admin."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.errors import IntegrityError
from pydantic import ValidationError
from sqlalchemy import insert, update

from domain.desk import DeskSettings, default_statuses
from domain.errors import Conflict, Invalid, NotFound
from domain.permissions import Principal
from models.accounts import Tenant
from models.session import Database, Row, Work
from models.tickets import Status
from services import audit, desks, routing
from services.tickets import Origin


class SlugTaken(Conflict):
    code = "slug_taken"

    def __init__(self, slug: str) -> None:
        super().__init__(f"There is a tenant named {slug!r} already.", fields={"/slug": "is taken"})


@dataclass(frozen=True, slots=True)
class NewTenant:
    slug: str
    name: str
    settings: DeskSettings = field(default_factory=DeskSettings)
    rate_class: str = "standard"


async def create_tenant(work: Work, new: NewTenant, *, tenant_id: uuid.UUID, now: datetime) -> None:
    """The tenant with its default statuses. `work` is that of the tenant to be made."""
    if not new.slug or not new.slug.replace("-", "a").isalnum() or new.slug != new.slug.lower():
        raise Invalid(
            "A tenant's short name has lower-case letters, digits and dashes.",
            fields={"/slug": "is not a short name"},
        )
    try:
        await work.execute(
            "select holdfast_create_tenant(:id, :slug, :name, :rate_class, :now)",
            {
                "id": tenant_id,
                "slug": new.slug,
                "name": new.name,
                "rate_class": new.rate_class,
                "now": now,
            },
        )
    except IntegrityError as error:
        raise SlugTaken(new.slug) from error
    await work.execute(
        update(Tenant)
        .where(Tenant.id == tenant_id)
        .values(settings=new.settings.model_dump(mode="json"))
    )
    await work.execute(
        insert(Status).values(
            [
                {
                    "tenant_id": tenant_id,
                    "key": s.key,
                    "name": s.name,
                    "category": s.category.value,
                    "customer_label": s.customer_label,
                    "position": s.position,
                    "required_fields": [],
                }
                for s in default_statuses()
            ]
        )
    )


async def find_tenant(database: Database, slug: str) -> uuid.UUID | None:
    """The id behind a short name."""
    async with database.transaction(None) as work:
        row = await work.row("select holdfast_tenant(:slug) as id", {"slug": slug})
    return row["id"] if row else None


async def tenant(work: Work) -> Row:
    """The tenant itself, its settings complete."""
    found = await work.row(
        "select id, slug, name, rate_class, config_version, settings from tenants where id = :id",
        {"id": work.tenant_id},
    )
    if found is None:
        raise NotFound("There is no such tenant.")
    return found | {"settings": DeskSettings.model_validate(found["settings"])}


async def hold(work: Work) -> None:
    """Nobody else changes the tenant until the commit."""
    await work.execute(
        "select 1 from tenants where id = :id for no key update", {"id": work.tenant_id}
    )


async def change_tenant(
    work: Work,
    *,
    name: str | None,
    settings: Mapping[str, object] | None,
    caller: Principal | None,
    origin: Origin | None,
    now: datetime,
) -> None:
    """Changes the tenant's name, and of its settings those that are given. Raises Invalid."""
    await hold(work)
    was = await tenant(work)
    before: DeskSettings = was["settings"]
    after = before
    if settings is not None:
        try:
            after = DeskSettings.model_validate(before.model_dump(mode="json") | dict(settings))
        except ValidationError as error:
            raise Invalid(
                "Some settings are not valid.",
                fields={
                    "/".join(["/settings", *(str(step) for step in fault["loc"])]): fault["msg"]
                    for fault in error.errors()
                },
            ) from error
        await _refuse_unknown_teams(work, after)
    old, new = before.model_dump(mode="json"), after.model_dump(mode="json")
    changes: dict[str, object] = {
        f"settings.{key}": [old[key], new[key]] for key in new if old[key] != new[key]
    }
    if name is not None and name != was["name"]:
        changes["name"] = [was["name"], name]
    if not changes:
        return
    await work.execute(
        update(Tenant)
        .where(Tenant.id == work.tenant_id)
        .values(settings=new, name=name if name is not None else was["name"])
    )
    await desks.changed(work)
    if "settings.retraining" in changes:  # turns that would have been are not made up for
        await work.execute(
            "update tenants set retraining_looked_at = :now where id = :id",
            {"id": work.tenant_id, "now": now},
        )
    if "settings.load_weights" in changes:  # what somebody holds may be less than it was
        await routing.queues_may_move(work, "load_weights_changed", all_teams=True)
    await audit.record(
        work,
        caller=caller,
        origin=origin,
        action="tenant.changed",
        target_kind="tenant",
        target_id=work.tenant_id,
        data={"changes": changes},
        now=now,
    )


async def _refuse_unknown_teams(work: Work, settings: DeskSettings) -> None:
    named = {f"/settings/topic_teams/{topic}": team for topic, team in settings.topic_teams.items()}
    if settings.default_team_id is not None:
        named["/settings/default_team_id"] = settings.default_team_id
    if not named:
        return
    rows = await work.rows(
        "select id from teams where tenant_id = :tenant and id = any(:ids)",
        {"tenant": work.tenant_id, "ids": list(set(named.values()))},
    )
    known = {row["id"] for row in rows}
    unknown = {pointer: "is not a team" for pointer, team in named.items() if team not in known}
    if unknown:
        raise Invalid("The settings name a team that does not exist.", fields=unknown)
