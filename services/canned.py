"""Canned responses: texts that agents send often, shared by all or of one team."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from domain import lexical, placeholders
from domain.errors import Conflict, Forbidden, Invalid, NotFound
from domain.permissions import Permission, Principal
from models.base import new_id
from models.session import Row, Work
from services.configuration import Changes
from services.sections import hold, update

MOST = 5_000

_SHOWN = (
    "select id, name, body, team_id, language, active, created_at, updated_at from canned_responses"
    " where tenant_id = %(tenant)s and (%(all)s or team_id is null or team_id = any(%(teams)s))"
)


class ResponseNotFound(NotFound):
    code = "canned_response_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such canned response.")


async def responses(
    work: Work, caller: Principal, *, text: str | None = None, limit: int = 200
) -> Sequence[Row]:
    """Those that the caller may use, by name; with `text`, those that have it in name or body."""
    [rows] = await work.batch(
        (
            f"{_SHOWN} and (%(text)s::text is null or position(lower(%(text)s) in"
            " lower(name || e'\\n' || body)) > 0) order by name, id limit %(limit)s",
            {**_reach(work, caller), "text": text, "limit": limit},
        )
    )
    return rows


async def response(work: Work, caller: Principal, response_id: uuid.UUID) -> Row:
    """One that the caller may use. Raises ResponseNotFound."""
    [rows] = await work.batch(
        (f"{_SHOWN} and id = %(id)s", {**_reach(work, caller), "id": response_id})
    )
    if not rows:
        raise ResponseNotFound
    return rows[0]


async def create(
    work: Work,
    caller: Principal,
    *,
    name: str,
    body: str,
    team_id: uuid.UUID | None,
    language: str | None,
    now: datetime,
) -> Row:
    """A new one. Raises Forbidden for a team that is not the caller's, Conflict for a known name,
    Invalid for a placeholder that nobody knows."""
    await hold(work)
    await _refuse_team(work, caller, team_id)
    placeholders.check(body)
    await _refuse_name(work, name, None)
    [[known]] = await work.batch(
        ("select count(*) as n from canned_responses where tenant_id = %s", (work.tenant_id,))
    )
    if known["n"] >= MOST:
        raise Conflict(f"A desk has at most {MOST} canned responses.")
    response_id = new_id()
    await work.batch(
        (
            "insert into canned_responses (tenant_id, id, name, body, team_id, language,"
            " created_by_id, created_at, updated_at, keys)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::bigint[])",
            (
                work.tenant_id, response_id, name, body, team_id, language, caller.id, now, now,
                _keys(work, name, body),
            ),
        )
    )  # fmt: skip
    return await response(work, caller, response_id)


async def change(
    work: Work,
    caller: Principal,
    response_id: uuid.UUID,
    new: Mapping[str, object],
    *,
    now: datetime,
) -> tuple[Row, Changes]:
    """The response with new values, and what changed. Refuses as `create` does."""
    await hold(work)
    before = await response(work, caller, response_id)
    values = {name: value for name, value in new.items() if value != before[name]}
    if not values:
        return before, {}
    await _refuse_team(work, caller, before["team_id"], active_only=False)
    after = {**before, **values}
    if "team_id" in values:
        await _refuse_team(work, caller, after["team_id"])
    if "body" in values:
        placeholders.check(after["body"])
    if "name" in values:
        await _refuse_name(work, after["name"], response_id)
    await update(
        work,
        "canned_responses",
        response_id,
        {**values, "updated_at": now, "keys": _keys(work, after["name"], after["body"])},
    )
    changes: Changes = {name: [before[name], value] for name, value in values.items()}
    return await response(work, caller, response_id), changes


def _reach(work: Work, caller: Principal) -> dict[str, object]:
    return {
        "tenant": work.tenant_id,
        "all": caller.scope(Permission.KNOWLEDGE_PUBLISH) is not None,
        "teams": sorted(caller.team_ids),
    }


def _keys(work: Work, name: str, body: str) -> list[int]:
    return lexical.keys_of(work.tenant_id, lexical.together((name, body)), most_words=200)


async def _refuse_team(
    work: Work, caller: Principal, team_id: uuid.UUID | None, *, active_only: bool = True
) -> None:
    """What all use is for those who may publish; a team's own for its members as well."""
    everything = caller.scope(Permission.KNOWLEDGE_PUBLISH) is not None
    if team_id is None:
        if not everything:
            raise Forbidden("What everybody uses takes knowledge.publish. Name one of your teams.")
        return
    known = await work.row(
        "select active from teams where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": team_id},
    )
    if known is None or (active_only and not known["active"]):
        raise Invalid("There is no such team.", fields={"/team_id": "names no active team"})
    if not everything and team_id not in caller.team_ids:
        raise Forbidden("This is another team's.", fields={"/team_id": "is not a team of yours"})


async def _refuse_name(work: Work, name: str, own: uuid.UUID | None) -> None:
    held = await work.row(
        "select id from canned_responses where tenant_id = :tenant and name = :name",
        {"tenant": work.tenant_id, "name": name},
    )
    if held is not None and held["id"] != own:
        raise Conflict(f"There is one named {name!r} already.", fields={"/name": "is taken"})


__all__ = ["ResponseNotFound", "change", "create", "response", "responses"]
