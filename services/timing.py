"""What is promised to one ticket and why; drafts and trials of policies; whom it reaches."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg.types.json import Jsonb

from domain.calendars import Calendar, is_open
from domain.desk import Desk
from domain.errors import Invalid, NotFound, TicketNotFound
from domain.permissions import Principal
from domain.sla import (
    Account,
    Clock,
    Due,
    Policy,
    Promised,
    Subject,
    Terms,
    Verdict,
    account,
    matched,
    promised,
    upcoming,
)
from domain.tickets import Ticket
from domain.tickets.standing import subject_of
from models import ledger
from models.session import Row, Work
from services import configuration, desks
from services.configuration import Changes
from services.desks import Desks
from services.views import visible


@dataclass(frozen=True, slots=True)
class Considered:
    """One policy that was asked whether it applies to a ticket."""

    policy: Policy
    verdict: Verdict
    in_force: bool  # the first of those that apply


@dataclass(frozen=True, slots=True)
class Accounted:
    """One cycle, with what it has used; None where its calendar is not known any more."""

    clock: Clock
    account: Account | None
    late_because: str | None = None  # why its breach was noticed late, where that is known
    within_hours: bool | None = None  # whether its calendar is open now


@dataclass(frozen=True, slots=True)
class Timed:
    """Everything that is promised to a ticket, and everything that is due to happen."""

    ticket: Ticket
    timed_by: Terms | None
    considered: tuple[Considered, ...]
    clocks: tuple[Accounted, ...]
    next: tuple[Due, ...]


async def timed(
    work: Work, loaded: Desks, caller: Principal, number: int, *, now: datetime
) -> Timed:
    """A ticket's clocks, why this policy and no other, and what comes next. Raises TicketNotFound.

    Three round trips at most, two where the desk is at hand.
    """
    scope, parameters = visible(caller)
    parameters |= {"tenant": work.tenant_id, "number": number}
    [around], rows, clock_rows, told = await work.batch(
        ledger.config_version(work.tenant_id),
        (
            "select t.* from tickets t where t.tenant_id = %(tenant)s and t.number = %(number)s"
            f" and {scope}",
            parameters,
        ),
        ledger.clocks_of(work.tenant_id, [number]),
        (
            "select e.data ->> 'metric' as metric, (e.data ->> 'cycle')::int as cycle,"
            " e.data ->> 'late_because' as why from events e join tickets t"
            " on t.tenant_id = e.tenant_id and t.id = e.ticket_id"
            " where t.tenant_id = %(tenant)s and t.number = %(number)s"
            " and e.type = 'sla_breached' and jsonb_exists(e.data, 'late_because')",
            parameters,
        ),
    )
    if not rows:
        raise TicketNotFound
    ticket = ledger.to_ticket(rows[0])
    desk = await loaded.get(work, around["config_version"])
    desk = await loaded.knowing(work, desk, [(ticket.policy_id, ticket.policy_version)])
    terms = desk.terms_of(ticket.policy_id, ticket.policy_version)
    clocks = tuple(ledger.to_clock(row) for row in clock_rows)
    return Timed(
        ticket=ticket,
        timed_by=terms,
        considered=considered(desk, subject(ticket)),
        clocks=tuple(_accounted(clock, desk, _why(clock, told), now=now) for clock in clocks),
        next=() if ticket.category.is_over else upcoming(clocks, terms),
    )


def subject(ticket: Ticket) -> Subject:
    """The ticket as conditions see it."""
    return subject_of(lambda name: getattr(ticket, name))


def considered(desk: Desk, ticket: Subject) -> tuple[Considered, ...]:
    """Every policy in order, with the reason why it applies or does not."""
    terms = desk.terms(ticket)
    in_force = terms.policy.id if terms else None
    return tuple(
        Considered(policy, matched(policy, ticket), policy.id == in_force)
        for policy in desk.policies
    )


def _why(clock: Clock, told: Sequence[Row]) -> str | None:
    """Why its breach was noticed late; that of a cycle before it, where it goes on after a miss."""
    known = [row for row in told if row["metric"] == clock.metric and row["cycle"] <= clock.cycle]
    return max(known, key=lambda row: int(row["cycle"]))["why"] if known else None


def _accounted(clock: Clock, desk: Desk, why: str | None, *, now: datetime) -> Accounted:
    calendar: Calendar | None = None
    if clock.calendar_id is not None and clock.calendar_version is not None:
        calendar = desk.calendars.get((clock.calendar_id, clock.calendar_version))
    told = None if calendar is None else account(clock, calendar, now=now)
    is_now = None if calendar is None else is_open(now, calendar)
    return Accounted(clock, told, why, is_now)


def lateness(clock: Clock, *, now: datetime, because: str | None = None) -> str | None:
    """In words, how late the breach was noticed; None where it was in time, or there is none."""
    if clock.lateness is not None:
        return told_late(clock.lateness, because)
    overdue = clock.is_running and clock.due_at is not None and clock.breached_at is None
    if overdue and clock.due_at is not None:
        return not_told_yet(now - clock.due_at)
    return None


def told_late(length: timedelta, because: str | None = None) -> str | None:
    """`timer 4 min late: no worker was running`; None for what is no delay worth telling."""
    if length < WORTH_TELLING:
        return None
    return f"timer {_long(length.total_seconds())} late" + (f": {because}" if because else "")


def not_told_yet(length: timedelta) -> str | None:
    """The same of a deadline that passed so long ago, and that nobody has noticed."""
    if length < WORTH_TELLING:
        return None
    return f"due {_long(length.total_seconds())} ago, and no timer has come yet"


WORTH_TELLING = timedelta(seconds=5)  # less is what an idle desk takes


def _long(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


# Trying policies.


async def tried(
    work: Work, loaded: Desks, caller: Principal, number: int, policy: Policy, *, start: datetime
) -> tuple[Considered, Policy | None, tuple[Promised, ...]]:
    """Whether a policy applies to a ticket, which one does at present, and what it promises: each
    target with its due time, had its clock begun at `start`.
    """
    scope, parameters = visible(caller)
    parameters |= {"tenant": work.tenant_id, "number": number}
    [around], rows = await work.batch(
        ledger.config_version(work.tenant_id),
        (
            "select t.* from tickets t where t.tenant_id = %(tenant)s and t.number = %(number)s"
            f" and {scope}",
            parameters,
        ),
    )
    if not rows:
        raise TicketNotFound
    desk = await loaded.get(work, around["config_version"])
    seen = subject(ledger.to_ticket(rows[0]))
    terms = desk.terms(seen)
    present = terms.policy if terms else None
    same = present is not None and present.id == policy.id
    calendar = desk.calendars.get((policy.calendar_id, policy.calendar_version))
    due = () if calendar is None else promised(policy, calendar, start=start)
    return Considered(policy, matched(policy, seen), same), present, due


class DraftNotFound(NotFound):
    code = "draft_not_found"

    def __init__(self) -> None:
        super().__init__("This policy has no draft.")


async def draft(work: Work, policy_id: uuid.UUID) -> Row:
    """What a policy might promise next. Raises NotFound for the policy and for its draft."""
    await configuration.policy(work, policy_id)
    row = await work.row(
        "select policy_id, body, updated_by, updated_at from policy_drafts"
        " where tenant_id = :tenant and policy_id = :id",
        {"tenant": work.tenant_id, "id": policy_id},
    )
    if row is None:
        raise DraftNotFound
    return row


async def keep_draft(
    work: Work,
    policy_id: uuid.UUID,
    terms: Mapping[str, object],
    *,
    by: uuid.UUID | None,
    now: datetime,
) -> Row:
    """The draft with other terms; those that are left out are the policy's. Checked like one."""
    await configuration.hold(work)
    present = await configuration.policy(work, policy_id)
    wanted = {**configuration.terms_of(present["body"]), **terms}
    made = await configuration.checked_policy(
        work, policy_id, present["version"] + 1, present["name"], wanted
    )
    await work.batch(
        (
            "insert into policy_drafts (tenant_id, policy_id, body, updated_by, updated_at)"
            " values (%s, %s, %s, %s, %s) on conflict (tenant_id, policy_id) do update"
            " set body = excluded.body, updated_by = excluded.updated_by,"
            " updated_at = excluded.updated_at",
            (work.tenant_id, policy_id, Jsonb(made.model_dump(mode="json")), by, now),
        )
    )
    return await draft(work, policy_id)


async def drop_draft(work: Work, policy_id: uuid.UUID) -> None:
    """The policy has no draft any more. Raises NotFound."""
    await draft(work, policy_id)
    await work.execute(
        "delete from policy_drafts where tenant_id = :tenant and policy_id = :id",
        {"tenant": work.tenant_id, "id": policy_id},
    )


async def publish_draft(work: Work, policy_id: uuid.UUID, *, now: datetime) -> tuple[Row, Changes]:
    """The policy as its draft has it, in a new version; the draft is gone."""
    await configuration.hold(work)
    row = await draft(work, policy_id)
    await drop_draft(work, policy_id)
    return await configuration.change_policy(
        work,
        policy_id,
        name=None,
        terms=configuration.terms_of(row["body"]),
        active=None,
        now=now,
    )


# Escalations.


async def escalated(
    work: Work,
    caller: Principal,
    *,
    before: tuple[datetime, uuid.UUID] | None,
    limit: int,
) -> list[Row]:
    """Open tickets that somebody has escalated and nobody handed back, the newest first."""
    scope, parameters = visible(caller)
    at, last = before or (None, None)
    parameters |= {"tenant": work.tenant_id, "at": at, "last": last, "limit": limit}
    since = "(t.escalation ->> 'at')::timestamptz"
    [rows] = await work.batch(
        (
            f"select t.*, {since} as escalated_at from tickets t where t.tenant_id = %(tenant)s"
            " and t.escalation is not null and t.category not in ('closed', 'merged')"
            f" and {scope} and (%(at)s::timestamptz is null"
            f" or ({since}, t.id) < (%(at)s, %(last)s::uuid))"
            f" order by {since} desc, t.id desc limit %(limit)s",
            parameters,
        )
    )
    return rows


async def before_escalation(work: Work, number: int) -> tuple[uuid.UUID | None, uuid.UUID | None]:
    """The team and agent that had a ticket before the escalation that is open on it.

    Held until the commit: it is handed back to whoever had it then.
    """
    await work.rows(
        "select 1 as held from tickets where tenant_id = :tenant and number = :number for update",
        {"tenant": work.tenant_id, "number": number},
    )
    rows = await work.rows(
        "select t.team_id, t.assignee_id, e.changes from tickets t left join events e"
        " on e.tenant_id = t.tenant_id and e.ticket_id = t.id and e.type = 'escalated'"
        " and e.seq > coalesce((select max(b.seq) from events b where b.tenant_id = t.tenant_id"
        "  and b.ticket_id = t.id and b.type = 'handed_back'), 0)"
        " where t.tenant_id = :tenant and t.number = :number order by e.seq",
        {"tenant": work.tenant_id, "number": number},
    )
    found: dict[str, uuid.UUID | None] = {}
    for row in rows:
        for name in ("team_id", "assignee_id"):
            if name not in found and name in (row["changes"] or {}):
                was = row["changes"][name][0]
                found[name] = uuid.UUID(was) if was else None
    last = rows[-1] if rows else {"team_id": None, "assignee_id": None}
    return found.get("team_id", last["team_id"]), found.get("assignee_id", last["assignee_id"])


async def set_on_call(work: Work, team_id: uuid.UUID, user_ids: Sequence[uuid.UUID]) -> Changes:
    """These members of the team are on call now, and nobody else. Raises NotFound, Invalid."""
    await configuration.hold(work)
    rows = await work.rows(
        "select t.id, m.user_id, m.on_call from teams t left join team_members m"
        " on m.tenant_id = t.tenant_id and m.team_id = t.id"
        " where t.tenant_id = :tenant and t.id = :team order by m.user_id",
        {"tenant": work.tenant_id, "team": team_id},
    )
    if not rows:
        raise NotFound("There is no such team.")
    members = {row["user_id"] for row in rows}
    if strangers := set(user_ids) - members:
        raise Invalid(
            "Only members of the team can be on call for it.",
            fields={"/user_ids": f"{min(strangers)} is not in the team"},
        )
    before = [str(row["user_id"]) for row in rows if row["on_call"]]
    after = sorted(str(one) for one in set(user_ids))
    if before == after:
        return {}
    await work.execute(
        "update team_members set on_call = user_id = any(:users)"
        " where tenant_id = :tenant and team_id = :team",
        {"users": list(user_ids), "tenant": work.tenant_id, "team": team_id},
    )
    await desks.changed(work)
    return {"on_call": [list(before), list(after)]}
