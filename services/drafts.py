"""Drafts of policies and calendars made into a plan that the past can be lived through under."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from domain.calendars import Calendar
from domain.errors import Invalid
from domain.simulation import Order, Plan, ordered, with_calendar, with_policy
from domain.sla import Policy, Terms
from domain.sla.policies import OwnClock
from models.session import Work

MOST_DRAFTS = 20  # of a kind in one simulation
# What is new has an id of its own, the same for every chunk: made of its place in the request.
_NEW = uuid.UUID("b6d0a3f8-4c0e-5d7c-9a55-6f2d31f2c8a1")
# Given to one of these, a policy may be in force for other tickets than it was.
_CHOOSING = {"conditions", "position", "active"}


@dataclass
class _Stored:
    """What the desk has: policies in their order, whether they are in force, calendars."""

    policies: list[tuple[Policy, bool]]
    terms: dict[tuple[uuid.UUID, int], Terms]
    calendars: dict[tuple[uuid.UUID, int], Calendar]

    def newest(self, calendar_id: uuid.UUID) -> int | None:
        return max((v for known, v in self.calendars if known == calendar_id), default=None)


async def plan_of(
    work: Work, request: Mapping[str, object], *, since: datetime, until: datetime
) -> Plan:
    """What is tried, from the drafts as they are stored. Raises Invalid."""
    stored = await _stored(work)
    teams = {
        row["id"]
        for row in await work.rows(
            "select id from teams where tenant_id = :tenant", {"tenant": work.tenant_id}
        )
    }
    drafts: list[tuple[Policy, int | None]] = []
    changed: set[uuid.UUID] = set()
    retired: set[uuid.UUID] = set()
    terms: Mapping[tuple[uuid.UUID, int], Terms] = stored.terms
    for where, asked in _each(request, "policy", "policies"):
        draft, place = _draft(where, asked, stored)
        _check_teams(where, draft.policy.clocks, teams)
        if draft.policy.id in {policy.id for policy, _ in drafts} | retired:
            raise Invalid("One draft for each policy.", fields={f"{where}/id": "is there twice"})
        terms = with_policy(terms, draft)
        if asked.get("active") is False:
            retired.add(draft.policy.id)
        else:
            drafts.append((draft.policy, place))
        if _CHOOSING & asked.keys():
            changed.add(draft.policy.id)
    for number, (where, asked) in enumerate(_each(request, "", "new_policies")):
        draft, place = _new(where, asked, stored, uuid.uuid5(_NEW, str(number)))
        _check_teams(where, draft.policy.clocks, teams)
        terms = with_policy(terms, draft)
        drafts.append((draft.policy, place))
        changed.add(draft.policy.id)
    seen: set[uuid.UUID] = set()
    for where, asked in _each(request, "calendar", "calendars"):
        calendar_id = uuid.UUID(str(asked["id"]))
        if stored.newest(calendar_id) is None:
            raise Invalid("There is no such calendar.", fields={f"{where}/id": "is not known"})
        if calendar_id in seen:
            raise Invalid("One draft for each calendar.", fields={f"{where}/id": "is there twice"})
        seen.add(calendar_id)
        terms = with_calendar(terms, calendar_id, Calendar.model_validate(asked["body"]))
    order: Order | None = None
    if changed:
        order = ordered(
            stored.policies, drafts, changed=frozenset(changed), retired=frozenset(retired)
        )
    return Plan(
        terms=terms, since=since, until=until, zone=str(request.get("zone") or "UTC"), order=order
    )


async def _stored(work: Work) -> _Stored:
    policies, versions, kept = await work.batch(
        (
            "select p.id, p.active, v.body from policies p join policy_versions v"
            " on v.tenant_id = p.tenant_id and v.policy_id = p.id and v.version = p.version"
            " where p.tenant_id = %s order by p.position, p.id",
            (work.tenant_id,),
        ),
        ("select body from policy_versions where tenant_id = %s", (work.tenant_id,)),
        (
            "select calendar_id, version, body from calendar_versions where tenant_id = %s",
            (work.tenant_id,),
        ),
    )
    calendars = {
        (row["calendar_id"], row["version"]): Calendar.model_validate(row["body"]) for row in kept
    }
    terms: dict[tuple[uuid.UUID, int], Terms] = {}
    for row in versions:
        policy = Policy.model_validate(row["body"])
        calendar = calendars.get((policy.calendar_id, policy.calendar_version))
        if calendar is not None:
            terms[policy.id, policy.version] = Terms(policy, calendar, calendars)
    listed = [(Policy.model_validate(row["body"]), row["active"]) for row in policies]
    usable = [(p, active) for p, active in listed if (p.id, p.version) in terms]
    return _Stored(usable, terms, calendars)


def _each(
    request: Mapping[str, object], single: str, several: str
) -> Iterable[tuple[str, Mapping[str, object]]]:
    """The drafts of a kind, each with where it stands in the request."""
    one, more = request.get(single), request.get(several)
    if isinstance(one, Mapping):
        yield f"/{single}", one
    if isinstance(more, list | tuple):
        if len(more) > MOST_DRAFTS:
            raise Invalid(f"At most {MOST_DRAFTS}.", fields={f"/{several}": "are too many"})
        for number, each in enumerate(more):
            if not isinstance(each, Mapping):
                raise Invalid("A draft is an object.", fields={f"/{several}/{number}": "is none"})
            yield f"/{several}/{number}", each


def _draft(where: str, asked: Mapping[str, object], stored: _Stored) -> tuple[Terms, int | None]:
    """A policy's present version with what is asked for in its place, and where it is to stand."""
    policy_id = _uuid(asked.get("id"), f"{where}/id")
    known = {policy.id: (policy, active) for policy, active in stored.policies}
    now, active = known.get(policy_id, (None, False))
    if now is None or not (active or asked.get("active")):
        raise Invalid("There is no such policy in force.", fields={f"{where}/id": "is not known"})
    changes = {n: v for n, v in asked.items() if n not in ("id", "position", "active")}
    if "calendar_id" in changes:
        changes["calendar_version"] = _version(where, changes["calendar_id"], stored)
    policy = _policy(where, {**now.model_dump(mode="json"), **changes})
    calendar = stored.calendars[policy.calendar_id, policy.calendar_version]
    draft = replace(stored.terms[now.id, now.version], policy=policy, calendar=calendar)
    return draft, _place(where, asked)


def _new(
    where: str, asked: Mapping[str, object], stored: _Stored, policy_id: uuid.UUID
) -> tuple[Terms, int | None]:
    """A policy that nobody has stored, and where it is to stand; with hours of its own, maybe."""
    beside = ("position", "calendar")
    body = {name: v for name, v in asked.items() if name not in beside and v is not None}
    own = asked.get("calendar")
    if (own is None) == (asked.get("calendar_id") is None):
        raise Invalid(
            "A new policy names a calendar, or says its hours.",
            fields={f"{where}/calendar_id": "is missing, or stands beside hours"},
        )
    if own is not None:
        try:
            calendar = Calendar.model_validate(own)
        except ValidationError as error:
            raise _refused(f"{where}/calendar", error) from error
        body |= {"calendar_id": str(policy_id), "calendar_version": 1}
    else:
        version = _version(where, asked["calendar_id"], stored)
        body["calendar_version"] = version
        calendar = stored.calendars[uuid.UUID(str(asked["calendar_id"])), version]
    policy = _policy(where, {"name": "New", **body, "id": str(policy_id), "version": 1})
    return Terms(policy, calendar, stored.calendars), _place(where, asked)


def _version(where: str, calendar_id: object, stored: _Stored) -> int:
    version = stored.newest(_uuid(calendar_id, f"{where}/calendar_id"))
    if version is None:
        raise Invalid("There is no such calendar.", fields={f"{where}/calendar_id": "is not known"})
    return version


def _place(where: str, asked: Mapping[str, object]) -> int | None:
    place = asked.get("position")
    if place is None:
        return None
    if not isinstance(place, int) or isinstance(place, bool) or place < 1:
        raise Invalid("Places count from 1.", fields={f"{where}/position": "is no place"})
    return place


def _policy(where: str, body: Mapping[str, object]) -> Policy:
    try:
        return Policy.model_validate(body)
    except ValidationError as error:
        raise _refused(where, error) from error


def _refused(where: str, error: ValidationError) -> Invalid:
    first = error.errors()[0]
    place = "/".join(str(part) for part in first["loc"])
    return Invalid(
        f"The draft is not one: {first['msg']}.", fields={f"{where}/{place}": first["msg"]}
    )


def _check_teams(where: str, clocks: Iterable[OwnClock], teams: set[uuid.UUID]) -> None:
    for place, clock in enumerate(clocks):
        if not set(clock.teams) <= teams:
            raise Invalid(
                "A clock names a team that is not here.",
                fields={f"{where}/clocks/{place}/teams": "names no team"},
            )


def _uuid(said: object, where: str) -> uuid.UUID:
    try:
        return uuid.UUID(str(said))
    except ValueError as error:
        raise Invalid("That is no id.", fields={where: "is no id"}) from error
