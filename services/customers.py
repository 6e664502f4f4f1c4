"""Customers, the ways they are known, and the organizations they belong to."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Literal

from email_validator import EmailNotValidError, validate_email

from domain.errors import Conflict, Invalid, NotFound
from domain.states import Tier
from models import ledger
from models.base import new_id
from models.session import Row, Work
from services import retelling, tiers

IdentityKind = Literal["email", "phone", "chat", "external"]


class IdentityTaken(Conflict):
    code = "identity_taken"

    def __init__(self, kind: str) -> None:
        super().__init__(f"That {kind} belongs to another customer.", fields={"/value": "is taken"})


class NameTaken(Conflict):
    code = "name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is one named {name!r} already.", fields={"/name": "is taken"})


class CustomerInUse(Conflict):
    code = "in_use"

    def __init__(self, what: str) -> None:
        super().__init__(f"This {what} cannot be removed while others refer to it.")


class _NoCustomer(NotFound):
    code = "customer_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such customer.")


class _NoOrganization(NotFound):
    code = "organization_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such organization.")


@dataclass(frozen=True, slots=True)
class Identity:
    kind: IdentityKind
    value: str


def clean_identity(kind: str, value: str, *, pointer: str = "/value") -> Identity:
    """An identity in the one spelling it is stored and found under. Raises Invalid."""
    match kind:
        case "email":
            return Identity("email", clean_email(value, pointer=pointer))
        case "phone":
            digits = "".join(c for c in value if c.isascii() and c.isdigit())
            if not 4 <= len(digits) <= 15 or any(c not in "+0123456789 ()-./" for c in value):
                raise Invalid("That is not a phone number.", fields={pointer: "is no number"})
            return Identity("phone", ("+" if value.strip().startswith("+") else "") + digits)
        case "chat" | "external":
            clean = value.strip()
            if not 1 <= len(clean) <= 200 or not clean.isprintable():
                raise Invalid("That id is empty or too long.", fields={pointer: "is no id"})
            return Identity("chat" if kind == "chat" else "external", clean)
    raise Invalid("A customer is known by email, phone, chat or external id.")


def clean_email(value: str, *, pointer: str = "/email") -> str:
    """The address in lower case. Raises Invalid."""
    try:
        return _normalized(value)
    except EmailNotValidError as error:
        raise Invalid("That is not an e-mail address.", fields={pointer: str(error)}) from error


@lru_cache(maxsize=10_000)
def _normalized(value: str) -> str:
    """Those who write, write again."""
    return validate_email(value, check_deliverability=False).normalized.lower()


_CUSTOMER = (
    "select c.id, c.name, c.organization_id, o.name as organization_name, c.language,"
    " c.created_at, c.updated_at,"
    " coalesce((select json_agg(json_build_object('id', i.id, 'kind', i.kind, 'value', i.value,"
    "  'verified_at', i.verified_at, 'created_at', i.created_at) order by i.created_at, i.id)"
    "  from customer_identities i where i.tenant_id = c.tenant_id and i.customer_id = c.id),"
    "  '[]'::json) as identities"
    " from customers c left join organizations o on o.tenant_id = c.tenant_id"
    " and o.id = c.organization_id where c.tenant_id = :tenant"
)


async def customer(work: Work, customer_id: uuid.UUID) -> Row:
    """A customer with their identities. Raises NotFound."""
    row = await work.row(
        f"{_CUSTOMER} and c.id = :id", {"tenant": work.tenant_id, "id": customer_id}
    )
    if row is None:
        raise _NoCustomer
    return row


async def customers(
    work: Work,
    *,
    limit: int,
    before: uuid.UUID | None = None,
    starts_with: str | None = None,
    organization_id: uuid.UUID | None = None,
) -> Sequence[Row]:
    """Customers, newest first; those whose name or an address starts with the words given."""
    conditions, values = "", {"tenant": work.tenant_id, "limit": limit}
    if before is not None:
        conditions += " and c.id < :before"
        values["before"] = before
    if organization_id is not None:
        conditions += " and c.organization_id = :organization"
        values["organization"] = organization_id
    if starts_with:
        conditions += (
            " and c.id in (select n.id from customers n where n.tenant_id = :tenant"
            " and lower(n.name) like :start union select i.customer_id from customer_identities i"
            " where i.tenant_id = :tenant and i.value like :start)"
        )
        plain = starts_with.lower()
        for special in ("\\", "%", "_"):
            plain = plain.replace(special, f"\\{special}")
        values["start"] = f"{plain}%"
    return await work.rows(f"{_CUSTOMER}{conditions} order by c.id desc limit :limit", values)


async def create_customer(
    work: Work,
    *,
    name: str,
    identities: Sequence[Identity],
    organization_id: uuid.UUID | None,
    language: str | None,
    now: datetime,
) -> uuid.UUID:
    """A new customer; in the organization that has their address's domain unless one is given.

    Raises IdentityTaken.
    """
    if organization_id is None:
        organization_id = await _organization_for(work, identities)
    else:
        await organization(work, organization_id)
    customer_id = new_id()
    await work.batch(
        ledger.insert_customer(
            work.tenant_id, id=customer_id, name=name, organization_id=organization_id, at=now
        )
    )
    if language is not None:
        await work.execute(
            "update customers set language = :language where tenant_id = :tenant and id = :id",
            {"language": language, "tenant": work.tenant_id, "id": customer_id},
        )
    for identity in identities:
        await _insert_identity(work, customer_id, identity, verified=False, now=now)
    return customer_id


async def change_customer(
    work: Work, customer_id: uuid.UUID, changes: Mapping[str, object], *, now: datetime
) -> dict[str, list[object]]:
    """Puts new values in place; what changed, as [before, after]. Tickets keep theirs."""
    if changes.get("organization_id") is not None:
        await organization(work, uuid.UUID(str(changes["organization_id"])))
    return await _change(
        work, "customers", customer_id, changes, ("name", "organization_id", "language"), now
    )


async def remove_customer(work: Work, customer_id: uuid.UUID) -> None:
    """Removes a customer who never wrote. Raises CustomerInUse for one with tickets."""
    found = await work.row(
        "select exists(select from tickets where tenant_id = :tenant and requester_id = c.id)"
        " as used from customers c where tenant_id = :tenant and id = :id for update",
        {"tenant": work.tenant_id, "id": customer_id},
    )
    if found is None:
        raise _NoCustomer
    if found["used"]:
        raise CustomerInUse("customer")
    await work.execute(
        "delete from customers where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": customer_id},
    )


async def add_identity(
    work: Work, customer_id: uuid.UUID, identity: Identity, *, verified: bool, now: datetime
) -> uuid.UUID:
    """One more way to know a customer; the one there is where it is theirs already.

    Raises IdentityTaken where it is somebody else's.
    """
    identity_id, is_new = await _insert_identity(
        work, customer_id, identity, verified=verified, now=now
    )
    if is_new and identity.kind == "email":
        await retelling.begin(work, "customer", customer_id)  # tickets are found by it
    return identity_id


async def _insert_identity(
    work: Work, customer_id: uuid.UUID, identity: Identity, *, verified: bool, now: datetime
) -> tuple[uuid.UUID, bool]:
    """The id of the identity, and whether it is new."""
    identity_id = new_id()
    [made] = await work.batch(
        ledger.insert_identity(
            work.tenant_id,
            id=identity_id,
            customer_id=customer_id,
            kind=identity.kind,
            value=identity.value,
            verified_at=now if verified else None,
            at=now,
        )
    )
    if made:
        return identity_id, True
    known = await work.row(
        "select id, customer_id from customer_identities"
        " where tenant_id = :tenant and kind = :kind and value = :value",
        {"tenant": work.tenant_id, "kind": identity.kind, "value": identity.value},
    )
    if known is None or known["customer_id"] != customer_id:
        raise IdentityTaken(identity.kind)
    return uuid.UUID(str(known["id"])), False


async def verify_identity(
    work: Work, customer_id: uuid.UUID, identity_id: uuid.UUID, *, now: datetime
) -> None:
    """Marks an identity as proven. Raises NotFound."""
    result = await work.rows(
        "update customer_identities set verified_at = coalesce(verified_at, :now)"
        " where tenant_id = :tenant and customer_id = :customer and id = :id returning id",
        {"now": now, "tenant": work.tenant_id, "customer": customer_id, "id": identity_id},
    )
    if not result:
        raise NotFound("There is no such identity.")


async def remove_identity(work: Work, customer_id: uuid.UUID, identity_id: uuid.UUID) -> Row:
    """Takes an identity away; what it was. Raises NotFound."""
    result = await work.rows(
        "delete from customer_identities where tenant_id = :tenant and customer_id = :customer"
        " and id = :id returning kind, value",
        {"tenant": work.tenant_id, "customer": customer_id, "id": identity_id},
    )
    if not result:
        raise NotFound("There is no such identity.")
    if result[0]["kind"] == "email":
        await retelling.begin(work, "customer", customer_id)
    return result[0]


# Organizations.

_ORGANIZATION = "id, name, domains, fields ->> 'tier' as tier, created_at, updated_at"


async def organization(work: Work, organization_id: uuid.UUID) -> Row:
    """An organization. Raises NotFound."""
    row = await work.row(
        f"select {_ORGANIZATION} from organizations where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": organization_id},
    )
    if row is None:
        raise _NoOrganization
    return row


async def organizations(
    work: Work,
    *,
    limit: int,
    before: uuid.UUID | None = None,
    starts_with: str | None = None,
    tier: Tier | None = None,
) -> Sequence[Row]:
    """Organizations, newest first."""
    conditions, values = "", {"tenant": work.tenant_id, "limit": limit}
    if before is not None:
        conditions += " and id < :before"
        values["before"] = before
    if starts_with:
        conditions += " and starts_with(lower(name), :start)"
        values["start"] = starts_with.lower()
    if tier is not None:
        conditions += " and lower(trim(fields ->> 'tier')) = :tier"
        values["tier"] = tier
    return await work.rows(
        f"select {_ORGANIZATION} from organizations where tenant_id = :tenant{conditions}"
        " order by id desc limit :limit",
        values,
    )


async def create_organization(
    work: Work, *, name: str, domains: Sequence[str], tier: Tier | None = None, now: datetime
) -> uuid.UUID:
    """A new organization. Raises NameTaken, Conflict for a domain that is another's."""
    await _refuse_taken(work, None, name=name, domains=domains)
    organization_id = new_id()
    await work.execute(
        "insert into organizations (tenant_id, id, name, domains, fields, created_at, updated_at)"
        " values (:tenant, :id, :name, :domains, jsonb_strip_nulls("
        " jsonb_build_object('tier', cast(:tier as text))), :now, :now)",
        {
            "tenant": work.tenant_id,
            "id": organization_id,
            "name": name,
            "domains": list(domains),
            "tier": tier,
            "now": now,
        },
    )
    return organization_id


async def change_organization(
    work: Work,
    organization_id: uuid.UUID,
    changes: Mapping[str, object],
    *,
    by: uuid.UUID | None = None,
    now: datetime,
) -> dict[str, list[object]]:
    """Puts new values in place; what changed, as [before, after].

    Its open tickets hear of another tier once this is committed, some at a time.
    """
    name, domains = changes.get("name"), changes.get("domains")
    await _refuse_taken(
        work,
        organization_id,
        name=str(name) if name is not None else None,
        domains=[str(d) for d in domains] if isinstance(domains, list | tuple) else (),
    )
    before = await hold(work, "organizations", organization_id)
    changed = await _change(
        work, "organizations", organization_id, changes, ("name", "domains"), now
    )
    was = before["fields"].get("tier")
    if "tier" in changes and changes["tier"] != was:
        await work.execute(
            "update organizations set fields = jsonb_strip_nulls((fields - 'tier')"
            " || jsonb_build_object('tier', cast(:tier as text))), updated_at = :now"
            " where tenant_id = :tenant and id = :id",
            {
                "tier": changes["tier"],
                "now": now,
                "tenant": work.tenant_id,
                "id": organization_id,
            },
        )
        changed["tier"] = [was, changes["tier"]]
        await tiers.begin(work, organization_id, by=by)
    return changed


async def remove_organization(work: Work, organization_id: uuid.UUID) -> None:
    """Removes an organization nobody belongs to. Raises CustomerInUse."""
    await organization(work, organization_id)
    used = await work.row(
        "select 1 as used where exists(select from customers where tenant_id = :tenant"
        " and organization_id = :id) or exists(select from tickets where tenant_id = :tenant"
        " and organization_id = :id)",
        {"tenant": work.tenant_id, "id": organization_id},
    )
    if used is not None:
        raise CustomerInUse("organization")
    await work.execute(
        "delete from organizations where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": organization_id},
    )


def clean_domains(domains: Sequence[str]) -> list[str]:
    """Domains in lower case, once each, in order. Raises Invalid for what is none."""
    clean: list[str] = []
    for place, given in enumerate(domains):
        domain = given.strip().lower().lstrip("@")
        labels = domain.split(".")
        if (
            len(domain) > 253
            or len(labels) < 2
            or not all(
                label and len(label) <= 63 and label.replace("-", "a").isalnum() for label in labels
            )
        ):
            raise Invalid(
                f"{given!r} is not a domain.", fields={f"/domains/{place}": "is no domain"}
            )
        clean.append(domain)
    return sorted(set(clean))


async def _refuse_taken(
    work: Work, own: uuid.UUID | None, *, name: str | None, domains: Sequence[str]
) -> None:
    rows = await work.rows(
        "select id, name, domains from organizations where tenant_id = :tenant"
        " and (name = :name or domains && cast(:domains as text[]))",
        {"tenant": work.tenant_id, "name": name, "domains": list(domains)},
    )
    for row in rows:
        if row["id"] == own:
            continue
        if row["name"] == name:
            raise NameTaken(row["name"])
        shared = sorted(set(row["domains"]) & set(domains))
        raise Conflict(
            f"{shared[0]} belongs to {row['name']}.", fields={"/domains": f"{shared[0]} is taken"}
        )


async def _organization_for(work: Work, identities: Sequence[Identity]) -> uuid.UUID | None:
    for identity in identities:
        if identity.kind == "email":
            host = identity.value.rpartition("@")[2]
            [rows] = await work.batch(ledger.organization_of_domain(work.tenant_id, host))
            if rows:
                return uuid.UUID(str(rows[0]["id"]))
    return None


async def hold(work: Work, table: Literal["customers", "organizations"], id_: uuid.UUID) -> Row:
    """The row itself: nobody else changes it until the commit. Raises NotFound."""
    before = await work.row(
        f"select * from {table} where tenant_id = :tenant and id = :id for update",
        {"tenant": work.tenant_id, "id": id_},
    )
    if before is None:
        raise _NoCustomer if table == "customers" else _NoOrganization
    return before


async def _change(
    work: Work,
    table: Literal["customers", "organizations"],
    id_: uuid.UUID,
    changes: Mapping[str, object],
    known: Sequence[str],
    now: datetime,
) -> dict[str, list[object]]:
    before = await hold(work, table, id_)
    new = {n: changes[n] for n in known if n in changes and changes[n] != before[n]}
    if new:
        await work.execute(
            f"update {table} set {', '.join(f'{n} = :{n}' for n in new)}, updated_at = :now"
            " where tenant_id = :tenant and id = :id",
            {**new, "now": now, "tenant": work.tenant_id, "id": id_},
        )
    if "name" in new:
        await retelling.begin(work, "customer" if table == "customers" else "organization", id_)
    return {name: [before[name], value] for name, value in new.items()}
