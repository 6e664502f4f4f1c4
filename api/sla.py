"""What a tenant promises: calendars of open time, and policies by version."""

from datetime import date, datetime
from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from api.bulk import BulkJob
from api.deps import Allowed, From, Tx
from api.editing import Editing, given, record
from api.routing import Route
from api.shapes import Request, Shape, examples
from api.versions import put_tag
from domain.calendars import Calendar, Reason
from domain.calendars import preview as days_ahead
from domain.permissions import Permission, Principal
from domain.sla import Longest, Metric, OwnClock, Policy, Reopening, Step, Target
from domain.sla.conditions import Bounded
from domain.states import Category, Priority
from services import bulk, configuration
from services.tickets import clock

router = APIRouter(prefix="/api/v1", tags=["sla"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.SLA_VIEW))]
Manager = Annotated[Principal, Depends(Allowed(Permission.SLA_MANAGE))]
Name = Annotated[str, Field(min_length=1, max_length=100)]


class CalendarOut(Shape):
    id: UUID
    name: str
    version: int
    active: bool
    body: Calendar
    created_at: datetime
    changed_at: datetime


class CalendarIn(Request):
    model_config = examples(
        {
            "name": "Berlin office",
            "body": {
                "timezone": "Europe/Berlin",
                "weekly": {
                    "mon": [["09:00", "17:00"]],
                    "tue": [["09:00", "17:00"]],
                    "wed": [["09:00", "17:00"]],
                    "thu": [["09:00", "17:00"]],
                    "fri": [["09:00", "15:00"]],
                },
                "holidays": ["2026-12-25"],
                "overrides": {"2026-12-24": [["09:00", "12:00"]]},
            },
        }
    )

    name: Name
    body: Calendar


class CalendarPatch(Request):
    model_config = examples({"name": "Berlin and Vienna"}, {"active": False})

    name: Name | None = None
    body: Calendar | None = None
    active: bool | None = None


class OpenWindow(Shape):
    start: datetime
    end: datetime


class Day(Shape):
    """One date of a calendar: when it is open, and why it differs from its weekday."""

    day: date
    open_seconds: int = Field(description="A window past midnight counts for the date it begins.")
    holiday: bool
    override: bool = Field(description="It has hours of its own, or none.")
    name: str | None = Field(description="The holiday's, where it has one.")
    why_closed: str | None
    windows: list[OpenWindow]


class PolicyOut(Shape):
    id: UUID
    name: str
    position: int
    version: int
    active: bool
    body: Policy
    created_at: datetime
    changed_at: datetime


Targets = dict[Metric, dict[Priority, Target]]
PauseIn = dict[Metric, frozenset[Category]]
Steps = Annotated[list[Step], Field(max_length=configuration.MOST_STEPS)]
PauseWhen = dict[Metric, Bounded]
MaxPause = dict[Metric, Longest]
OwnClocks = Annotated[list[OwnClock], Field(max_length=20)]


class PolicyIn(Request):
    """Targets are open time of the calendar, as ISO 8601 durations or seconds, or business days.

    It applies to tickets for which `conditions` hold, to all without any.
    """

    model_config = examples(
        {
            "name": "Standard",
            "calendar_id": "0198c5c4-7e8f-7091-a2b3-b4c5d6e7f809",
            "targets": {
                "first_reply": {"normal": "PT4H", "urgent": "PT1H"},
                "resolution": {"normal": "PT16H", "urgent": "PT4H"},
            },
            "pause_in": {"resolution": ["pending", "on_hold"]},
            "steps": [
                {
                    "id": "warn",
                    "metric": "resolution",
                    "offset": "-PT1H",
                    "action": {"kind": "notify", "to": ["assignee", "team"]},
                },
                {
                    "id": "escalate",
                    "metric": "resolution",
                    "offset": "PT30M",
                    "action": {"kind": "raise_priority"},
                },
            ],
        },
        {
            "name": "Gold",
            "calendar_id": "0198c5c4-7e8f-7091-a2b3-b4c5d6e7f809",
            "conditions": {
                "any": [
                    {"field": "tags", "op": "has", "value": "gold"},
                    {"field": "priority", "op": "at_least", "value": "high"},
                ]
            },
            "targets": {
                "first_reply": {"normal": "PT30M", "high": "PT15M", "urgent": "PT15M"},
                "resolution": {"normal": {"business_days": 2}},
                "custom:parts": {"normal": "P3D"},
            },
            "pause_when": {"resolution": {"field": "tags", "op": "has", "value": "vendor"}},
            "max_pause": {"resolution": "P14D"},
            "clocks": [
                {
                    "metric": "custom:parts",
                    "starts": {"field": "tags", "op": "has", "value": "parts-ordered"},
                    "stops": {"field": "tags", "op": "has_not", "value": "parts-ordered"},
                }
            ],
            "reopening": {"resolution": "continue"},
            "steps": [
                {
                    "id": "lead",
                    "metric": "first_reply",
                    "percent": 80,
                    "tier": 2,
                    "only_if": ["unassigned"],
                    "quiet": {"start": "22:00", "end": "07:00"},
                    "action": {"kind": "notify", "to": ["team_leads", "on_call"]},
                    "also": [{"kind": "write_note", "text": "The team's lead was told."}],
                }
            ],
            "active": False,
        },
    )

    name: Name
    calendar_id: UUID
    targets: Targets
    pause_in: PauseIn | None = None
    steps: Steps = Field(default_factory=list)
    conditions: Bounded | None = None
    pause_when: PauseWhen = Field(default_factory=dict)
    max_pause: MaxPause = Field(
        default_factory=dict,
        description="How long the pauses of one cycle may be altogether, on the wall clock. After"
        " that it runs on though the ticket still waits.",
    )
    clocks: OwnClocks = Field(default_factory=list)
    reopening: dict[Metric, Reopening] = Field(default_factory=dict)
    merge_inherits_start: bool = Field(
        default=False,
        description="A ticket that takes in an older one of the same requester counts from its"
        " start.",
    )
    active: bool = Field(default=True, description="False: written down, and not yet in force.")

    def terms(self) -> dict[str, object]:
        """What it promises, as a policy is made of it."""
        return self.model_dump(exclude_none=True, exclude={"name", "active"})


class PolicyPatch(Request):
    """What is left out stays."""

    model_config = examples({"targets": {"first_reply": {"normal": "PT2H"}}})

    name: Name | None = None
    calendar_id: UUID | None = None
    targets: Targets | None = None
    pause_in: PauseIn | None = None
    steps: Steps | None = None
    conditions: Bounded | None = Field(default=None, description="Null: every ticket.")
    pause_when: PauseWhen | None = None
    max_pause: MaxPause | None = None
    clocks: OwnClocks | None = None
    reopening: dict[Metric, Reopening] | None = None
    merge_inherits_start: bool | None = None
    active: bool | None = None

    def terms(self) -> dict[str, object]:
        """What of its terms it names. Raises Invalid for a null where null means nothing."""
        given(self, clears=PATCH_CLEARS)
        return self.model_dump(exclude_unset=True, exclude={"name", "active"})


PATCH_CLEARS = {"conditions"}


class PolicyOrder(Request):
    model_config = examples({"ids": ["0198c5c4-8f90-71a2-b3c4-c5d6e7f8091a"]})

    ids: Annotated[list[UUID], Field(max_length=500)]


@router.get("/calendars", summary="Calendars")
async def list_calendars(caller: Viewer, work: Tx) -> list[CalendarOut]:
    return [CalendarOut(**row) for row in await configuration.calendars(work)]


@router.post("/calendars", status_code=201, summary="Add a calendar")
async def create_calendar(body: CalendarIn, caller: Manager, work: Tx, origin: From) -> CalendarOut:
    row = await configuration.create_calendar(work, name=body.name, body=body.body, now=clock())
    await record(
        work, caller, origin, "calendar.created", "calendar", row["id"],
        {"name": body.name, "body": row["body"]},
    )  # fmt: skip
    return CalendarOut(**row)


@router.get("/calendars/{calendar_id}", summary="One calendar")
async def get_calendar(
    calendar_id: UUID, caller: Viewer, work: Tx, response: Response
) -> CalendarOut:
    shown = CalendarOut(**await configuration.calendar(work, calendar_id))
    put_tag(response, shown)
    return shown


@router.get("/calendars/{calendar_id}/preview", summary="The days ahead")
async def preview(
    calendar_id: UUID,
    caller: Viewer,
    work: Tx,
    months: Annotated[int, Query(ge=1, le=24)] = 12,
) -> list[Day]:
    """Every date from today on, in the calendar's own time zone."""
    row = await configuration.calendar(work, calendar_id)
    calendar = Calendar.model_validate(row["body"])
    today = clock().astimezone(ZoneInfo(calendar.timezone)).date()
    closed = calendar.closed
    return [
        Day(
            day=one.day,
            open_seconds=int(one.open.total_seconds()),
            holiday=one.day in closed,
            override=one.reason is Reason.OVERRIDE,
            name=one.name or None,
            why_closed=one.why_closed,
            windows=[OpenWindow(start=start, end=end) for start, end in one.windows],
        )
        for one in days_ahead(calendar, today, days=months * 31)
    ]


@router.patch("/calendars/{calendar_id}", summary="Change a calendar")
async def change_calendar(
    calendar_id: UUID,
    body: CalendarPatch,
    caller: Manager,
    edit: Editing,
) -> CalendarOut:
    """Other hours make a new version. Policies follow at once, open tickets at their next event."""
    given(body, clears=set())
    await edit.unless_changed(CalendarOut, configuration.calendar, calendar_id)
    row, changes = await configuration.change_calendar(
        edit.work, calendar_id, name=body.name, body=body.body, active=body.active, now=clock()
    )
    return await edit.answer(caller, CalendarOut(**row), "calendar", calendar_id, changes)


@router.get("/policies", summary="Policies, in order")
async def list_policies(caller: Viewer, work: Tx) -> list[PolicyOut]:
    """The first active one is in force."""
    return [PolicyOut(**row) for row in await configuration.policies(work)]


@router.post("/policies", status_code=201, summary="Add a policy")
async def create_policy(body: PolicyIn, caller: Manager, work: Tx, origin: From) -> PolicyOut:
    row = await configuration.create_policy(
        work, name=body.name, terms=body.terms(), active=body.active, now=clock()
    )
    await record(
        work, caller, origin, "policy.created", "policy", row["id"],
        {"name": body.name, "body": row["body"]},
    )  # fmt: skip
    return PolicyOut(**row)


@router.put("/policies/order", summary="Put them in order")
async def order_policies(
    body: PolicyOrder, caller: Manager, work: Tx, origin: From
) -> list[PolicyOut]:
    changes = await configuration.order_policies(work, body.ids)
    await record(work, caller, origin, "policy.ordered", "policy", None, {"changes": changes})
    return [PolicyOut(**row) for row in await configuration.policies(work)]


@router.get("/policies/{policy_id}", summary="One policy")
async def get_policy(policy_id: UUID, caller: Viewer, work: Tx, response: Response) -> PolicyOut:
    shown = PolicyOut(**await configuration.policy(work, policy_id))
    put_tag(response, shown)
    return shown


class PolicyChanged(PolicyOut):
    """The policy; where it was switched off, the job that times what it timed anew."""

    retiming: BulkJob | None = Field(
        description="Follow it under `/bulk`. Null where no open ticket was timed by the policy."
    )


@router.patch("/policies/{policy_id}", summary="Change a policy")
async def change_policy(
    policy_id: UUID,
    body: PolicyPatch,
    caller: Manager,
    edit: Editing,
    origin: From,
) -> PolicyChanged:
    """Other terms make a new version. Open tickets are timed by it from their next event on, or
    all together by `reassess`. A policy that is switched off promises nothing any more: a job times
    its open tickets anew at once, by whatever is in force instead."""
    terms = body.terms()
    await edit.unless_changed(PolicyOut, configuration.policy, policy_id)
    row, changes = await configuration.change_policy(
        edit.work, policy_id, name=body.name, terms=terms or None, active=body.active, now=clock()
    )
    shown = await edit.answer(caller, PolicyOut(**row), "policy", policy_id, changes)
    retiming = None
    if "active" in changes and not row["active"]:
        job = await bulk.withdraw(edit.work, policy_id, caller=caller, origin=origin, now=clock())
        retiming = None if job is None else BulkJob.model_validate(job)
    return PolicyChanged(**dict(shown), retiming=retiming)
