"""Whether people take tickets, how many at once and which: changed, audited, felt at once."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from domain.errors import Invalid, NotFound
from domain.permissions import Principal
from domain.staffing import Absence, Presence
from models.session import Row, Work
from services import audit, desks
from services.routing import hold, queues_may_move
from services.tickets import Origin

_STANDING = (
    "select u.id as user_id, u.name, u.active, u.role, u.presence, u.absent, u.absent_from,"
    " u.absent_until, u.replacement_id, u.capacity, u.skills, u.calendar_id, r.given_at,"
    " (select count(*) from tickets t where t.tenant_id = u.tenant_id and t.assignee_id = u.id"
    " and t.category in ('new', 'open') and t.snoozed is null) as open_tickets"
    " from users u left join routing_turns r on r.tenant_id = u.tenant_id and r.user_id = u.id"
    " where u.tenant_id = :tenant and u.id = :id"
)


class NoSuchAgent(NotFound):
    code = "user_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such user.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether somebody takes tickets. Absent people are not given any until they are back."""

    presence: Presence
    absence: Absence | None = None


async def standing(work: Work, user_id: uuid.UUID) -> Row:
    """How somebody stands: presence, absence, capacity, skills, open tickets. Raises NotFound."""
    found = await work.row(_STANDING, {"tenant": work.tenant_id, "id": user_id})
    if found is None:
        raise NoSuchAgent
    return found


async def set_availability(
    work: Work,
    user_id: uuid.UUID,
    new: Availability,
    *,
    caller: Principal,
    origin: Origin | None,
    now: datetime,
) -> None:
    """Says whether somebody is there, and who stands in while they are not.

    What routing gave them before is theirs; after the commit they are given nothing until they
    are back. The queues of their teams are gone through at once.
    """
    absence = new.absence
    if absence is not None:
        if absence.until is not None and absence.until <= max(absence.since or now, now):
            raise Invalid("The absence is over before it begins.", fields={"/until": "is past"})
        await _check_replacement(work, user_id, absence.replacement_id)
    await _change(
        work,
        user_id,
        {
            "presence": new.presence.value,
            "absent": absence is not None,
            "absent_from": absence.since if absence else None,
            "absent_until": absence.until if absence else None,
            "replacement_id": absence.replacement_id if absence else None,
        },
        action="user.availability_set",
        caller=caller,
        origin=origin,
        now=now,
    )


async def set_skills(
    work: Work,
    user_id: uuid.UUID,
    skills: Mapping[str, int],
    *,
    caller: Principal,
    origin: Origin | None,
    now: datetime,
) -> None:
    """What somebody can do, all of it, each with a level."""
    await _change(
        work, user_id, {"skills": dict(skills)}, action="user.skills_set",
        caller=caller, origin=origin, now=now,
    )  # fmt: skip


async def set_capacity(
    work: Work,
    user_id: uuid.UUID,
    capacity: int | None,
    calendar_id: uuid.UUID | None,
    *,
    caller: Principal,
    origin: Origin | None,
    now: datetime,
) -> None:
    """How many open tickets somebody is given at once, and in which hours."""
    if calendar_id is not None and not await work.row(
        "select 1 as one from calendars where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": calendar_id},
    ):
        raise Invalid("There is no such calendar.", fields={"/calendar_id": "names no calendar"})
    await _change(
        work,
        user_id,
        {"capacity": capacity, "calendar_id": calendar_id},
        action="user.capacity_set",
        caller=caller,
        origin=origin,
        now=now,
    )


async def _change(
    work: Work,
    user_id: uuid.UUID,
    new: Mapping[str, object],
    *,
    action: str,
    caller: Principal,
    origin: Origin | None,
    now: datetime,
) -> None:
    # Whoever is being given something now has it before this; nobody is given anything after it.
    held = ("select * from users where tenant_id = %s and id = %s for no key update",
            (work.tenant_id, user_id))  # fmt: skip
    _, rows = await work.batch(hold([user_id]), held)
    if not rows:
        raise NoSuchAgent
    was = rows[0]
    changes = {name: [was[name], new[name]] for name in new if was[name] != new[name]}
    if not changes:
        return
    names = list(changes)
    await work.batch(
        (
            f"update users set {', '.join(f'{name} = %s' for name in names)}"
            " where tenant_id = %s and id = %s",
            (
                *(Jsonb(new[name]) if name == "skills" else new[name] for name in names),
                work.tenant_id,
                user_id,
            ),
        )
    )
    if names != ["presence"]:  # which is asked for each time, and changes many times a day
        await desks.changed(work)
    await queues_may_move(work, action.partition(".")[2], user_id=user_id)
    await audit.record(
        work,
        caller=caller,
        origin=origin,
        action=action,
        target_kind="user",
        target_id=user_id,
        data={"changes": {name: [_plain(a), _plain(b)] for name, (a, b) in changes.items()}},
        now=now,
    )


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, uuid.UUID) else value


async def _check_replacement(
    work: Work, user_id: uuid.UUID, replacement_id: uuid.UUID | None
) -> None:
    if replacement_id is None:
        return
    known = await work.row(
        "select active and role <> 'viewer' as takes from users"
        " where tenant_id = :tenant and id = :id",
        {"tenant": work.tenant_id, "id": replacement_id},
    )
    if known is None or not known["takes"] or replacement_id == user_id:
        raise Invalid(
            "Somebody else who takes tickets has to stand in.",
            fields={"/replacement_id": "names nobody who can stand in"},
        )


__all__ = [
    "Availability",
    "NoSuchAgent",
    "set_availability",
    "set_capacity",
    "set_skills",
    "standing",
]
