"""Making a tenant: its row, its counter, its statuses, its first admin."""

import uuid
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from domain.desk import DeskSettings, default_statuses
from domain.errors import Conflict, Invalid
from models.accounts import Tenant
from models.session import Database, Work
from models.tickets import Status


class SlugTaken(Conflict):
    code = "slug_taken"

    def __init__(self, slug: str) -> None:
        super().__init__(
            f"There is a tenant named {slug!r} already.", fields={"/slug": "is taken"}
        )


@dataclass(frozen=True, slots=True)
class NewTenant:
    slug: str
    name: str
    settings: DeskSettings = DeskSettings()
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


