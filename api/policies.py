"""Policies before they are in force, and after: drafts, trying one, timing open tickets anew."""

from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field, model_validator

from api.bulk import BulkJob
from api.cursors import Cursor, Limit
from api.deps import From, Served, Tx
from api.editing import record
from api.problems import also
from api.routing import Route
from api.shapes import Instant, Page, Request, Shape, examples
from api.sla import Manager, PolicyIn, PolicyOut, PolicyPatch, Viewer
from api.tickets.timing import PolicyVerdict, TimedBy
from domain.calendars import Calendar
from domain.errors import Invalid
from domain.permissions import Permission
from domain.sla import BusinessDays, Policy
from domain.states import Priority
from models.base import new_id
from models.session import Row
from services import bulk, configuration, timing
from services.tickets import clock

router = APIRouter(prefix="/api/v1", tags=["sla"], route_class=Route)


class DraftOut(Shape):
    """What a policy might promise next. It is in force for nobody until it is published."""

    policy_id: UUID
    body: Policy
    updated_by: UUID | None
    updated_at: datetime


class DraftIn(PolicyPatch):
    """What is left out is as the policy has it now."""

    model_config = examples({"targets": {"first_reply": {"normal": "PT2H"}}})

    @model_validator(mode="after")
    def _is_about_terms(self) -> Self:
        for name in ("name", "active"):
            if name in self.model_fields_set:
                raise ValueError(f"{name} is no part of a draft")
        return self


class PolicyVersion(Shape):
    """What a policy promised since `created_at`, until the next version. It never changes."""

    version: int
    body: Policy
    created_at: datetime


class CalendarVersion(Shape):
    """What a calendar said since `created_at`, until the next version. It never changes."""

    version: int
    body: Calendar
    created_at: datetime


class TryIn(Request):
    """One of the three: a policy as it stands, its draft, or terms that nobody has stored."""

    model_config = examples(
        {"number": 1042, "policy_id": "0198c5c4-8f90-71a2-b3c4-c5d6e7f8091a"},
        {"number": 1042, "policy_id": "0198c5c4-8f90-71a2-b3c4-c5d6e7f8091a", "draft": True},
        {
            "number": 1042,
            "policy": {
                "name": "Gold",
                "calendar_id": "0198c5c4-7e8f-7091-a2b3-b4c5d6e7f809",
                "conditions": {"field": "tags", "op": "has", "value": "gold"},
                "targets": {"first_reply": {"normal": "PT30M"}},
            },
        },
    )

    number: int = Field(ge=1, lt=2**63)
    policy_id: UUID | None = None
    draft: bool = False
    policy: PolicyIn | None = None
    start: Instant | None = Field(default=None, description="When clocks would begin; else now.")

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.policy_id is None) == (self.policy is None):
            raise ValueError("name a policy, or say what it promises")
        if self.draft and self.policy_id is None:
            raise ValueError("a draft is of a policy: name it")
        return self


class DueIfBegun(Shape):
    """What one target comes to in the hours of its calendar."""

    metric: str
    priority: Priority
    target: timedelta | BusinessDays
    due_at: datetime | None = Field(description="Null: there is not that much open time ahead.")


class Tried(Shape):
    """Whether a policy applies to a ticket, condition by condition, and which one does now.

    `due` says what each target comes to, had its clock begun at the time asked for.
    """

    number: int
    verdict: PolicyVerdict
    in_force: TimedBy | None = Field(description="The policy that applies to the ticket now.")
    due: list[DueIfBegun]


def _draft(row: Row) -> DraftOut:
    return DraftOut(**row)


@router.post("/policies/test", summary="Try a policy on a ticket", responses=also(404))
async def try_policy(body: TryIn, caller: Viewer, served: Served, work: Tx) -> Tried:
    """Changes nothing."""
    caller.require(Permission.TICKETS_VIEW)
    if body.policy_id is not None:
        row = await (timing.draft if body.draft else configuration.policy)(work, body.policy_id)
        policy = Policy.model_validate(row["body"])
    else:
        assert body.policy is not None
        policy = await configuration.checked_policy(
            work, new_id(), 1, body.policy.name, body.policy.terms()
        )
    start = body.start or clock()
    found, present, due = await timing.tried(
        work, served.desks, caller, body.number, policy, start=start
    )
    return Tried(
        number=body.number,
        verdict=PolicyVerdict.of(found),
        in_force=None
        if present is None
        else TimedBy(policy_id=present.id, name=present.name, version=present.version),
        due=[DueIfBegun.model_validate(one) for one in due],
    )


@router.get("/policies/{policy_id}/versions", summary="What a policy promised before")
async def list_policy_versions(
    policy_id: UUID, caller: Viewer, work: Tx, limit: Limit = 50, cursor: Cursor = None
) -> Page[PolicyVersion]:
    """Every version with its terms, the newest first: a cycle names the one that timed it."""
    rows, following = await configuration.versions_of(
        work, "policy", policy_id, limit=limit, cursor=cursor
    )
    return Page(items=[PolicyVersion(**row) for row in rows], next=following)


@router.get("/calendars/{calendar_id}/versions", summary="What a calendar said before")
async def list_calendar_versions(
    calendar_id: UUID, caller: Viewer, work: Tx, limit: Limit = 50, cursor: Cursor = None
) -> Page[CalendarVersion]:
    """Every version with its hours, the newest first: a cycle names the one it counted by."""
    rows, following = await configuration.versions_of(
        work, "calendar", calendar_id, limit=limit, cursor=cursor
    )
    return Page(items=[CalendarVersion(**row) for row in rows], next=following)


@router.get("/policies/{policy_id}/draft", summary="A policy's draft")
async def get_draft(policy_id: UUID, caller: Viewer, work: Tx) -> DraftOut:
    return _draft(await timing.draft(work, policy_id))


@router.put("/policies/{policy_id}/draft", summary="Write a policy's draft")
async def put_draft(
    policy_id: UUID, body: DraftIn, caller: Manager, work: Tx, origin: From
) -> DraftOut:
    """In the place of the draft before, if there was one."""
    row = await timing.keep_draft(work, policy_id, body.terms(), by=caller.id, now=clock())
    await record(work, caller, origin, "policy.drafted", "policy", policy_id, {"body": row["body"]})
    return _draft(row)


@router.delete("/policies/{policy_id}/draft", status_code=204, summary="Drop a policy's draft")
async def drop_draft(policy_id: UUID, caller: Manager, work: Tx, origin: From) -> None:
    await timing.drop_draft(work, policy_id)
    await record(work, caller, origin, "policy.draft_dropped", "policy", policy_id, {})


@router.post("/policies/{policy_id}/draft/publish", summary="Put a policy's draft in force")
async def publish_draft(policy_id: UUID, caller: Manager, work: Tx, origin: From) -> PolicyOut:
    """As a change of the policy with the same terms."""
    row, changes = await timing.publish_draft(work, policy_id, now=clock())
    await record(
        work, caller, origin, "policy.changed", "policy", policy_id,
        {"changes": changes, "draft": True},
    )  # fmt: skip
    return PolicyOut(**row)


@router.post("/policies/{policy_id}/reassess", status_code=202, summary="Time open tickets anew")
async def reassess_policy(policy_id: UUID, caller: Manager, work: Tx, origin: From) -> BulkJob:
    """A job: follow it under `/bulk`. Each active ticket that this policy may concern is worked out
    anew from its start; used time and pauses stay. Its items say when each is due, and which are
    late because of it (`breached`)."""
    await configuration.policy(work, policy_id)
    row = await bulk.retime(work, [policy_id], caller=caller, origin=origin, now=clock())
    return BulkJob.model_validate(row)


@router.post("/calendars/{calendar_id}/reassess", status_code=202, summary="Time open tickets anew")
async def reassess_calendar(calendar_id: UUID, caller: Manager, work: Tx, origin: From) -> BulkJob:
    """Likewise for all policies that count by this calendar."""
    await configuration.calendar(work, calendar_id)
    ids = [
        row["id"]
        for row in await configuration.policies(work)
        if row["active"] and row["body"]["calendar_id"] == str(calendar_id)
    ]
    if not ids:
        raise Invalid("No active policy counts by this calendar.")
    row = await bulk.retime(work, ids, caller=caller, origin=origin, now=clock())
    return BulkJob.model_validate(row)
