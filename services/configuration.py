"""What a tenant sets up: statuses, custom fields, calendars, policies."""

import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from psycopg.types.json import Jsonb
from pydantic import ValidationError

from domain.calendars import Calendar
from domain.errors import Conflict, Invalid, NotFound
from domain.sla import Policy
from domain.starting import offered_names
from domain.states import Category
from models.base import new_id
from models.session import Row, Work
from services import desks

MOST_STATUSES, MOST_FIELDS, MOST_STEPS = 200, 300, 50
_KEY = re.compile(r"[a-z][a-z0-9_]{0,62}")

Changes = dict[str, list[object]]


class KeyTaken(Conflict):
    code = "key_taken"

    def __init__(self, key: str) -> None:
        super().__init__(f"{key!r} is in use already.", fields={"/key": "is taken"})


class LastOfItsCategory(Conflict):
    code = "last_of_category"

    def __init__(self, category: str) -> None:
        super().__init__(
            f"This is the only active status of {category}: rules would have none to go to."
            " Add another first."
        )


def key_of(name: str) -> str:
    """A key made from a name, for where none was given."""
    key = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:60]
    return key if _KEY.fullmatch(key) else f"s_{key}".rstrip("_")


# Statuses.


async def statuses(work: Work) -> Sequence[Row]:
    """All statuses, in order, those no longer in use too."""
    return await work.rows(
        "select * from statuses where tenant_id = :tenant order by position, key",
        {"tenant": work.tenant_id},
    )


async def status(work: Work, key: str) -> Row:
    """One status. Raises NotFound."""
    for row in await statuses(work):
        if row["key"] == key:
            return row
    raise NotFound(f"There is no status {key!r}.")


async def create_status(work: Work, new: Mapping[str, object]) -> Row:
    """A new status at the end of the list."""
    await hold(work)
    known = {row["key"]: row for row in await statuses(work)}
    key = str(new.get("key") or key_of(str(new["name"])))
    if not _KEY.fullmatch(key):
        raise Invalid("A key has lower-case letters, digits and _.", fields={"/key": "is no key"})
    if key in known:
        raise KeyTaken(key)
    if len(known) >= MOST_STATUSES:
        raise Conflict(f"A desk has at most {MOST_STATUSES} statuses.")
    if new["category"] == Category.MERGED:
        raise Invalid(
            "There is one merged status, and merging sets it.", fields={"/category": "is merged"}
        )
    await _check_status(work, {*known, key}, new)
    row = {
        "key": key,
        "name": new["name"],
        "category": str(new["category"]),
        "customer_label": new.get("customer_label") or new["name"],
        "colour": new.get("colour") or "#64748b",
        "position": max((r["position"] for r in known.values()), default=-1) + 1,
        "transitions": new.get("transitions"),
        "required_fields": list(_texts(new.get("required_fields"))),
        "active": True,
    }
    await _insert(work, "statuses", row)
    await desks.changed(work)
    return row


async def change_status(work: Work, key: str, new: Mapping[str, object]) -> tuple[Row, Changes]:
    """The status with new values, and what changed. Its key and category never change."""
    await hold(work)
    known = {row["key"]: row for row in await statuses(work)}
    before = known.get(key)
    if before is None:
        raise NotFound(f"There is no status {key!r}.")
    if new.get("active") is False and before["active"]:
        alike = [r for r in known.values() if r["category"] == before["category"] and r["active"]]
        if len(alike) == 1:
            raise LastOfItsCategory(before["category"])
    await _check_status(work, set(known), new)
    return await _update(work, "statuses", "key", key, before, new)


async def order_statuses(work: Work, keys: Sequence[str]) -> Changes:
    """Puts the statuses in this order; the first active of a category is the one rules use."""
    await hold(work)
    before = [row["key"] for row in await statuses(work)]
    if sorted(keys) != sorted(before):
        raise Invalid(
            "Name every status once.", fields={"/keys": f"are not exactly: {', '.join(before)}"}
        )
    await work.batch(
        *(
            (
                "update statuses set position = %s where tenant_id = %s and key = %s",
                (place, work.tenant_id, key),
            )
            for place, key in enumerate(keys)
        )
    )
    await desks.changed(work)
    return {} if list(keys) == before else {"order": [before, list(keys)]}


async def _check_status(work: Work, keys: set[str], new: Mapping[str, object]) -> None:
    for name in _texts(new.get("transitions")):
        if name not in keys:
            raise Invalid(
                f"There is no status {name!r}.", fields={"/transitions": f"{name} is not known"}
            )
    wanted = _texts(new.get("required_fields"))
    if wanted:
        fields = {row["key"] for row in await fields_of(work) if row["active"]}
        for name in wanted:
            if name not in fields:
                raise Invalid(
                    f"There is no field {name!r}.",
                    fields={"/required_fields": f"{name} is not known"},
                )


# Custom fields.


async def fields_of(work: Work) -> Sequence[Row]:
    """All custom fields, in order."""
    return await work.rows(
        "select * from field_definitions where tenant_id = :tenant order by position, key",
        {"tenant": work.tenant_id},
    )


async def field(work: Work, key: str) -> Row:
    """One custom field. Raises NotFound."""
    for row in await fields_of(work):
        if row["key"] == key:
            return row
    raise NotFound(f"There is no field {key!r}.")


async def create_field(work: Work, new: Mapping[str, object]) -> Row:
    """A new custom field at the end of the list."""
    await hold(work)
    known = await fields_of(work)
    key = str(new.get("key") or key_of(str(new["label"])))
    if not _KEY.fullmatch(key):
        raise Invalid("A key has lower-case letters, digits and _.", fields={"/key": "is no key"})
    if key in {row["key"] for row in known}:
        raise KeyTaken(key)
    if len(known) >= MOST_FIELDS:
        raise Conflict(f"A desk has at most {MOST_FIELDS} fields.")
    row = {
        "key": key,
        "label": new["label"],
        "kind": new["kind"],
        "options": list(_texts(new.get("options"))),
        "pattern": new.get("pattern"),
        "customer_visible": bool(new.get("customer_visible")),
        "customer_editable": bool(new.get("customer_editable")),
        "position": max((r["position"] for r in known), default=-1) + 1,
        "active": True,
    }
    _check_field(row)
    await _insert(work, "field_definitions", row)
    await desks.changed(work)
    return row


async def change_field(work: Work, key: str, new: Mapping[str, object]) -> tuple[Row, Changes]:
    """The field with new values, and what changed. Its key and kind never change."""
    await hold(work)
    before = next((row for row in await fields_of(work) if row["key"] == key), None)
    if before is None:
        raise NotFound(f"There is no field {key!r}.")
    _check_field({**before, **new})
    if new.get("active") is False:
        needed = [r["key"] for r in await statuses(work) if key in r["required_fields"]]
        if needed:
            raise Conflict(f"The status {needed[0]!r} needs this field. Change that first.")
    return await _update(work, "field_definitions", "key", key, before, new)


# Nested repetition is what makes a pattern take for ever on a text made for it.
_NESTED = re.compile(r"[*+}]\)?[^()]*\)(?:[*+]|\{\d*,)")


def _check_field(row: Mapping[str, object]) -> None:
    options = _texts(row.get("options"))
    if row["kind"] in ("select", "multiselect"):
        if not options:
            raise Invalid("Say which options there are.", fields={"/options": "are needed"})
        if len(set(options)) < len(options):
            raise Invalid("Two options are the same.", fields={"/options": "repeat"})
    elif options:
        raise Invalid("Only lists have options.", fields={"/options": "mean nothing here"})
    pattern = row.get("pattern")
    if pattern is None:
        return
    if row["kind"] != "text":
        raise Invalid("Only texts have a pattern.", fields={"/pattern": "means nothing here"})
    try:
        re.compile(str(pattern))
    except (re.error, OverflowError, RecursionError) as error:
        raise Invalid("That is not a pattern.", fields={"/pattern": str(error)}) from error
    if _NESTED.search(str(pattern)):
        raise Invalid(
            "That pattern repeats what repeats: it could take for ever.",
            fields={"/pattern": "repeats a repetition"},
        )


# Calendars.


async def calendars(work: Work) -> Sequence[Row]:
    """Every calendar in its present version."""
    return await work.rows(
        "select c.id, c.name, c.version, c.active, v.body, c.created_at, v.created_at as changed_at"
        " from calendars c join calendar_versions v on v.tenant_id = c.tenant_id"
        " and v.calendar_id = c.id and v.version = c.version"
        " where c.tenant_id = :tenant order by c.name, c.id",
        {"tenant": work.tenant_id},
    )


async def calendar(work: Work, calendar_id: uuid.UUID) -> Row:
    """A calendar in its present version. Raises NotFound."""
    for row in await calendars(work):
        if row["id"] == calendar_id:
            return row
    raise NotFound("There is no such calendar.")


async def create_calendar(work: Work, *, name: str, body: Calendar, now: datetime) -> Row:
    """A new calendar. Raises Conflict for a name in use."""
    await hold(work)
    _refuse_name(name, await calendars(work), None)
    calendar_id = new_id()
    await _insert(
        work,
        "calendars",
        {"id": calendar_id, "name": name, "version": 1, "active": True, "created_at": now},
    )
    await _keep_calendar(work, calendar_id, 1, body, now)
    await desks.changed(work)
    return await calendar(work, calendar_id)


async def change_calendar(
    work: Work,
    calendar_id: uuid.UUID,
    *,
    name: str | None,
    body: Calendar | None,
    active: bool | None,
    now: datetime,
) -> tuple[Row, Changes]:
    """The calendar in a new version; policies that use it move on to that version too.

    Clocks that ended stay as they were; open tickets are timed anew at their next event.
    """
    await hold(work)
    before = await calendar(work, calendar_id)
    changes: Changes = {}
    if name is not None and name != before["name"]:
        _refuse_name(name, await calendars(work), calendar_id)
        changes["name"] = [before["name"], name]
    if active is not None and active != before["active"]:
        users = [
            p["name"]
            for p in await policies(work)
            if p["active"] and p["body"]["calendar_id"] == str(calendar_id)
        ]
        if users and not active:
            raise Conflict(f"The policy {users[0]!r} uses this calendar. Change that first.")
        changes["active"] = [before["active"], active]
    version = before["version"]
    if body is not None and body != Calendar.model_validate(before["body"]):
        version += 1
        changes["body"] = [before["body"], body.model_dump(mode="json")]
        await _keep_calendar(work, calendar_id, version, body, now)
    if changes:
        await work.execute(
            "update calendars set name = :name, active = :active, version = :version"
            " where tenant_id = :tenant and id = :id",
            {
                "name": name or before["name"],
                "active": before["active"] if active is None else active,
                "version": version,
                "tenant": work.tenant_id,
                "id": calendar_id,
            },
        )
        if version != before["version"]:
            for row in await policies(work):
                policy = Policy.model_validate(row["body"])
                if policy.calendar_id == calendar_id:
                    await _keep_policy(
                        work,
                        policy.model_copy(
                            update={"version": row["version"] + 1, "calendar_version": version}
                        ),
                        now,
                    )
        await desks.changed(work)
    return await calendar(work, calendar_id), changes


async def _keep_calendar(
    work: Work, calendar_id: uuid.UUID, version: int, body: Calendar, now: datetime
) -> None:
    await _insert(
        work,
        "calendar_versions",
        {
            "calendar_id": calendar_id,
            "version": version,
            "body": body.model_dump(mode="json"),
            "created_at": now,
        },
    )


# Policies.


async def policies(work: Work) -> Sequence[Row]:
    """Every policy in its present version, in order: the first active one is in force."""
    return await work.rows(
        "select p.id, p.name, p.position, p.version, p.active, v.body, p.created_at,"
        " v.created_at as changed_at from policies p join policy_versions v"
        " on v.tenant_id = p.tenant_id and v.policy_id = p.id and v.version = p.version"
        " where p.tenant_id = :tenant order by p.position, p.id",
        {"tenant": work.tenant_id},
    )


async def policy(work: Work, policy_id: uuid.UUID) -> Row:
    """A policy in its present version. Raises NotFound."""
    for row in await policies(work):
        if row["id"] == policy_id:
            return row
    raise NotFound("There is no such policy.")


async def create_policy(
    work: Work, *, name: str, terms: Mapping[str, object], now: datetime, active: bool = True
) -> Row:
    """A new policy behind the others. `terms` are a policy's, without id and versions."""
    await hold(work)
    known = await policies(work)
    _refuse_name(name, known, None)
    made = await checked_policy(work, new_id(), 1, name, terms)
    await _insert(
        work,
        "policies",
        {
            "id": made.id,
            "name": name,
            "position": max((row["position"] for row in known), default=-1) + 1,
            "version": 1,
            "active": active,
            "created_at": now,
        },
    )
    await _keep_policy(work, made, now)
    await desks.changed(work)
    return await policy(work, made.id)


async def change_policy(
    work: Work,
    policy_id: uuid.UUID,
    *,
    name: str | None,
    terms: Mapping[str, object] | None,
    active: bool | None,
    now: datetime,
) -> tuple[Row, Changes]:
    """The policy, in a new version where its terms changed; open tickets follow later."""
    await hold(work)
    before = await policy(work, policy_id)
    changes: Changes = {}
    called = name or before["name"]
    if called != before["name"]:
        _refuse_name(called, await policies(work), policy_id)
        changes["name"] = [before["name"], called]
    if active is not None and active != before["active"]:
        changes["active"] = [before["active"], active]
    wanted = {**terms_of(before["body"]), **(terms or {})}
    next_version = await checked_policy(work, policy_id, before["version"] + 1, called, wanted)
    now_in_force = Policy.model_validate(before["body"])
    if next_version.model_copy(update={"version": now_in_force.version}) != now_in_force:
        if terms:
            changes["body"] = [before["body"], next_version.model_dump(mode="json")]
        await _keep_policy(work, next_version, now)
    if changes:
        await work.execute(
            "update policies set name = :name, active = :active"
            " where tenant_id = :tenant and id = :id",
            {
                "name": called,
                "active": before["active"] if active is None else active,
                "tenant": work.tenant_id,
                "id": policy_id,
            },
        )
        await desks.changed(work)
    return await policy(work, policy_id), changes


async def order_policies(work: Work, ids: Sequence[uuid.UUID]) -> Changes:
    """Puts the policies in this order."""
    await hold(work)
    before = [row["id"] for row in await policies(work)]
    if sorted(ids) != sorted(before):
        raise Invalid("Name every policy once.", fields={"/ids": "are not exactly the policies"})
    await work.batch(
        *(
            (
                "update policies set position = %s where tenant_id = %s and id = %s",
                (place, work.tenant_id, id_),
            )
            for place, id_ in enumerate(ids)
        )
    )
    await desks.changed(work)
    return {} if list(ids) == before else {"order": [before, list(ids)]}


def terms_of(body: Mapping[str, object]) -> dict[str, object]:
    """What a policy's body says beside what it is called and which version it is."""
    mine = ("id", "version", "name", "calendar_version")
    return {name: value for name, value in body.items() if name not in mine}


async def checked_policy(
    work: Work, policy_id: uuid.UUID, version: int, name: str, terms: Mapping[str, object]
) -> Policy:
    """The policy those terms make, checked against the desk. Raises Invalid."""
    steps = terms.get("steps")
    if isinstance(steps, Sequence) and len(steps) > MOST_STEPS:
        raise Invalid(f"At most {MOST_STEPS} steps.", fields={"/steps": "are too many"})
    known = {str(row["id"]): row for row in await calendars(work)}
    used = known.get(str(terms.get("calendar_id")))
    if used is None:
        raise Invalid("There is no such calendar.", fields={"/calendar_id": "is not known"})
    try:
        made = Policy.model_validate(
            {
                **terms,
                "id": policy_id,
                "version": version,
                "name": name,
                "calendar_version": used["version"],
            }
        )
    except ValidationError as error:
        raise Invalid(
            "That is not a policy.",
            fields={
                "/" + "/".join(str(part) for part in fault["loc"]): fault["msg"]
                for fault in error.errors()
            },
        ) from error
    await _check_named(work, made)
    return made


async def _check_named(work: Work, made: Policy) -> None:
    """Whom and what steps and clocks name is here, and can be done. Raises Invalid."""
    rows = await work.rows(
        "select id, 'team' as kind from teams where tenant_id = :tenant and active"
        " union all select id, 'user' from users where tenant_id = :tenant and active"
        " union all select id, 'webhook' from webhooks where tenant_id = :tenant and active",
        {"tenant": work.tenant_id},
    )
    own = await work.rows(
        "select name from step_workflows where tenant_id = :tenant", {"tenant": work.tenant_id}
    )
    known: dict[str, set[uuid.UUID]] = {"team": set(), "user": set(), "webhook": set()}
    for row in rows:
        known[row["kind"]].add(row["id"])
    for place, clock in enumerate(made.clocks):
        if not set(clock.teams) <= known["team"]:
            raise Invalid(
                "A clock names a team that is not here.",
                fields={f"/clocks/{place}/teams": "names no active team"},
            )
    for place, step in enumerate(made.steps):
        actions = [("action", step.action)]
        actions += [(f"also/{n}", action) for n, action in enumerate(step.also)]
        for where, action in actions:
            named: list[tuple[str, object]] = []
            if action.kind == "reassign":
                named += [("team", action.team_id), ("user", action.assignee_id)]
            elif action.kind == "notify":
                named += [("user", to) for to in action.to if isinstance(to, uuid.UUID)]
            elif action.kind == "call_webhook":
                named.append(("webhook", action.webhook_id))
            elif action.kind == "start_workflow":
                names = offered_names(dict.fromkeys(row["name"] for row in own))
                if action.name not in names:
                    raise Invalid(
                        f"This desk offers no workflow {action.name!r}.",
                        fields={f"/steps/{place}/{where}/name": f"is one of {', '.join(names)}"},
                    )
            for kind, id_ in named:
                if id_ is not None and id_ not in known[kind]:
                    raise Invalid(
                        f"A step names a {kind} that is not here.",
                        fields={f"/steps/{place}/{where}": f"names no active {kind}"},
                    )


async def _keep_policy(work: Work, made: Policy, now: datetime) -> None:
    await _insert(
        work,
        "policy_versions",
        {
            "policy_id": made.id,
            "version": made.version,
            "body": made.model_dump(mode="json"),
            "created_at": now,
        },
    )
    await work.execute(
        "update policies set version = :version where tenant_id = :tenant and id = :id",
        {"version": made.version, "tenant": work.tenant_id, "id": made.id},
    )


# Parts.


async def hold(work: Work) -> None:
    """One change of a tenant's configuration at a time: each checks what the last one left."""
    await work.batch(("select 1 from tenants where id = %s for update", (work.tenant_id,)))


def _refuse_name(name: str, rows: Sequence[Row], own: uuid.UUID | None) -> None:
    if any(row["name"] == name and row["id"] != own for row in rows):
        raise Conflict(f"There is one named {name!r} already.", fields={"/name": "is taken"})


def _texts(value: object) -> Sequence[str]:
    return [str(v) for v in value] if isinstance(value, list | tuple | set | frozenset) else []


async def _insert(work: Work, table: str, row: Mapping[str, object]) -> None:
    names = ", ".join(row)
    marks = ", ".join(f"%({name})s" for name in row)
    values = {n: Jsonb(v) if isinstance(v, dict) else v for n, v in row.items()}
    await work.batch(
        (
            f"insert into {table} (tenant_id, {names}) values (%(tenant_id)s, {marks})",
            {"tenant_id": work.tenant_id, **values},
        )
    )


async def _update(
    work: Work, table: str, key_name: str, key: str, before: Row, new: Mapping[str, object]
) -> tuple[Row, Changes]:
    values = {n: v for n, v in new.items() if v != before[n]}
    if values:
        await work.execute(
            f"update {table} set {', '.join(f'{n} = :{n}' for n in values)}"
            f" where tenant_id = :tenant and {key_name} = :key_",
            {**values, "tenant": work.tenant_id, "key_": key},
        )
        await desks.changed(work)
    return {**before, **values}, {n: [before[n], v] for n, v in values.items()}
