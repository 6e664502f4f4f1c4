"""Calendars and policies. A change of one is a new version; what was promised keeps its own."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from pydantic import ValidationError

from domain.calendars import Calendar
from domain.errors import Conflict, Invalid, NotFound
from domain.sla import Policy
from domain.starting import offered_names
from models.base import new_id
from models.session import Row, Work
from services import desks, routing
from services.configuration.keeping import Changes, hold, insert, refuse_name

MOST_STEPS = 50


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
    refuse_name(name, await calendars(work), None)
    calendar_id = new_id()
    await insert(
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
        refuse_name(name, await calendars(work), calendar_id)
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
            await routing.queues_may_move(work, "calendar_changed", calendar_id=calendar_id)
        await desks.changed(work)
    return await calendar(work, calendar_id), changes


async def _keep_calendar(
    work: Work, calendar_id: uuid.UUID, version: int, body: Calendar, now: datetime
) -> None:
    await insert(
        work,
        "calendar_versions",
        {
            "calendar_id": calendar_id,
            "version": version,
            "body": body.model_dump(mode="json"),
            "created_at": now,
        },
    )


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
    refuse_name(name, known, None)
    made = await checked_policy(work, new_id(), 1, name, terms)
    await insert(
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
        refuse_name(called, await policies(work), policy_id)
        changes["name"] = [before["name"], called]
    if active is not None and active != before["active"]:
        changes["active"] = [before["active"], active]
    # Nobody is kept from switching one off because somebody whom it names has left.
    if terms or called != before["name"] or active:
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
        "select id, 'team' as kind, active from teams where tenant_id = :tenant"
        " union all select id, 'user', active from users where tenant_id = :tenant"
        " union all select id, 'webhook', active from webhooks where tenant_id = :tenant",
        {"tenant": work.tenant_id},
    )
    own = await work.rows(
        "select name from step_workflows where tenant_id = :tenant", {"tenant": work.tenant_id}
    )
    known: dict[str, set[uuid.UUID]] = {"team": set(), "user": set(), "webhook": set()}
    for row in rows:
        if row["active"]:
            known[row["kind"]].add(row["id"])
    switched_off = {row["id"] for row in rows if not row["active"]}
    for place, clock in enumerate(made.clocks):
        if not set(clock.teams) <= known["team"]:
            raise Invalid(
                "A clock names a team that is not here.",
                fields={f"/clocks/{place}/teams": "names no active team"},
            )
    for place, step in enumerate(made.steps):
        if step.quiet is not None and step.quiet.are_all_day:
            raise Invalid(
                "Quiet hours have an end: in these a step would wait for ever.",
                fields={f"/steps/{place}/quiet": "last the whole day"},
            )
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
                if id_ in switched_off:
                    raise Invalid(
                        f"A step names a {kind} that is switched off. Switch it on again, or name"
                        " another.",
                        fields={f"/steps/{place}/{where}": f"names a {kind} that is switched off"},
                    )
                if id_ is not None and id_ not in known[kind]:
                    raise Invalid(
                        f"A step names a {kind} that is not here.",
                        fields={f"/steps/{place}/{where}": f"names no active {kind}"},
                    )


async def _keep_policy(work: Work, made: Policy, now: datetime) -> None:
    await insert(
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
