"""Rules that watch promises: whom they tell, what they say now, when they fired."""

from datetime import datetime
from typing import Annotated
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field
from pydantic.config import JsonDict

from api.cursors import Cursor, Limit, after_id, cursor_of
from api.deps import Allowed, From, Served, Tx
from api.editing import given, record
from api.promises import JSON, shown
from api.routing import Route
from api.shapes import Page, Request, Shape, examples
from api.versions import IfMatch, put_tag
from domain.alerts import AlertRule, Breaches
from domain.permissions import Permission, Principal
from models.session import Row
from services import alerts, configuration
from services.tickets import clock

router = APIRouter(prefix="/api/v1/sla/alerts", tags=["sla"], route_class=Route)

# Figures about people's work, in every team.
Overseer = Annotated[Principal, Depends(Allowed(Permission.SLA_MANAGE))]
Name = Annotated[str, Field(min_length=1, max_length=100)]
CYCLES = "/api/v1/reports/sla/cycles"

_RULE: JsonDict = {
    "watches": {
        "kind": "attainment", "metric": "first_reply", "below": 90, "within": "P7D", "at_least": 20
    },
    "priorities": ["high", "urgent"],
    "recipients": {"roles": ["supervisor"]},
    "remind_after": "PT8H",
}  # fmt: skip
_BREACHES: JsonDict = {
    "watches": {"kind": "breaches", "count": 5, "within": "PT1H"},
    "teams": ["0198c5c2-1c5f-7b21-9d3e-5a6f7b8c9d0e"],
    "recipients": {"team_leads": ["0198c5c2-1c5f-7b21-9d3e-5a6f7b8c9d0e"]},
}


class AlertIn(Request):
    """A rule, and whether it is switched on."""

    model_config = examples(
        {"name": "First replies", "rule": _RULE},
        {"name": "Many at once", "rule": _BREACHES},
    )

    name: Name
    rule: AlertRule
    active: bool = True


class AlertPatch(Request):
    """What is left out stays; a rule is given as a whole."""

    model_config = examples(
        {"active": False},
        {"rule": _BREACHES},
    )

    name: Name | None = None
    rule: AlertRule | None = None
    active: bool | None = None


class TrialIn(Request):
    """A rule that nobody has stored."""

    model_config = examples({"rule": _RULE})

    rule: AlertRule


class StandingOut(Shape):
    """How a rule stood when it was last looked at. It is no part of the version."""

    bad_since: datetime | None = Field(description="When it fired; null while all is well.")
    firing_id: UUID | None
    looked_at: datetime | None = Field(description="Null before the first look.")
    figures: dict[str, object] | None
    says: str | None


class AlertOut(Shape):
    """A rule that watches promises."""

    id: UUID
    name: str
    active: bool
    rule: AlertRule
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime
    standing: StandingOut


_BESIDE = frozenset({"standing"})


class TrialOut(Shape):
    """What a rule says now. Nobody was told."""

    bad: bool
    says: str
    figures: dict[str, object]
    users: list[UUID] = Field(description="Who would be told.")
    webhook_id: UUID | None = None
    instead: bool = Field(
        description="Nobody of those it names is here any more: the admins are told."
    )
    cycles: str = Field(description="Where the cycles behind the figures are listed.")


class FiringOut(Shape):
    """A rule that found things bad, until it found them good again or was changed."""

    id: UUID
    alert_id: UUID
    name: str
    rule: AlertRule = Field(description="As it was then.")
    figures: dict[str, object] = Field(description="When it fired.")
    fired_at: datetime
    told: int = Field(description="How many were told: people, and a webhook.")
    reminders: int
    reminded_at: datetime | None = None
    ended_at: datetime | None = None
    ended_because: str | None = None
    ended_with: dict[str, object] | None = Field(
        default=None, description="The figures when it ended."
    )
    cycles: str = Field(description="Where the cycles behind the figures are listed.")


_WHOLE = AlertRule.model_validate(_RULE).model_dump(mode="json")
_FIGURES: dict[str, object] = {
    "since": "2026-04-27T10:12:00Z", "until": "2026-05-04T10:12:00Z", "met": 41, "missed": 7,
    "attainment": 85.4167,
}  # fmt: skip
_SAYS = "85.4 % of 48 cycles of first_reply were kept within 7 d; the limit is 90 %."
_AGENT = "0198c5c2-2d60-7c32-ae4f-6b708c9dae1f"
_ALERT_ID, _FIRING_ID = (
    "0198c5cb-3c4d-7e5f-8a61-7c8d9e0fa1b2",
    "0198c5cb-4d5e-7f60-9b72-8d9e0fa1b2c3",
)
_LISTED = (
    f"{CYCLES}?from=2026-04-27T10%3A12%3A00%2B00%3A00&to=2026-05-04T10%3A12%3A00%2B00%3A00"
    "&which=ended&metric=first_reply&priority=high&priority=urgent"
)
_ALERT: dict[str, object] = {
    "id": _ALERT_ID, "name": "First replies", "active": True, "rule": _WHOLE, "created_by": _AGENT,
    "created_at": "2026-04-01T08:00:00Z", "updated_at": "2026-04-01T08:00:00Z",
    "standing": {
        "bad_since": "2026-05-04T10:12:00Z", "firing_id": _FIRING_ID,
        "looked_at": "2026-05-04T10:12:00Z", "figures": _FIGURES, "says": _SAYS,
    },
}  # fmt: skip
_TRIAL: dict[str, object] = {
    "bad": True, "says": _SAYS, "figures": _FIGURES, "users": [_AGENT], "webhook_id": None,
    "instead": False, "cycles": _LISTED,
}  # fmt: skip
_FIRING: dict[str, object] = {
    "id": _FIRING_ID, "alert_id": _ALERT_ID, "name": "First replies", "rule": _WHOLE,
    "figures": _FIGURES, "fired_at": "2026-05-04T10:12:00Z", "told": 2, "reminders": 0,
    "reminded_at": None, "ended_at": None, "ended_because": None, "ended_with": None,
    "cycles": _LISTED,
}  # fmt: skip


def _alert(row: Row) -> AlertOut:
    figures = dict(row["figures"]) if row["figures"] else None
    says = figures.pop("says", None) if figures else None
    standing = {
        "bad_since": row["fired_at"], "firing_id": row["firing_id"],
        "looked_at": row["evaluated_at"], "figures": figures, "says": says,
    }  # fmt: skip
    return AlertOut.model_validate({**row, "standing": standing})


def _firing(row: Row) -> FiringOut:
    rule = AlertRule.model_validate(row["rule"])
    return FiringOut.model_validate(
        {**row, "rule": rule, "cycles": _cycles(rule, row["since"], row["until"])}
    )


def _cycles(rule: AlertRule, since: datetime, until: datetime) -> str:
    """Where the report lists what a rule has counted, by the same filters."""
    watched = rule.watches
    asked: list[tuple[str, str]] = [
        ("from", since.isoformat()),
        ("to", until.isoformat()),
        ("which", "breached" if isinstance(watched, Breaches) else "ended"),
    ]
    asked += [("metric", watched.metric)] if watched.metric is not None else []
    asked += [("priority", priority.value) for priority in rule.priorities]
    asked += [("channel", channel.value) for channel in rule.channels]
    for name, ids in (
        ("policy", rule.policies), ("team", rule.teams), ("organization", rule.organizations)
    ):  # fmt: skip
        asked += [(name, str(id_)) for id_ in ids]
    asked += [("without", cause) for cause in rule.without]
    return f"{CYCLES}?{urlencode(asked)}"


async def _tried(served: Served, work: Tx, rule: AlertRule) -> TrialOut:
    desk = await served.desks.current(work)
    now = clock()
    found = await alerts.tried(work, desk, rule, now=now)
    about = alerts.chosen(rule, now=now)
    return TrialOut(
        bad=found.verdict.bad,
        says=found.verdict.because,
        figures=dict(found.figures),
        users=list(found.told.users),
        webhook_id=found.told.webhook_id,
        instead=found.told.instead,
        cycles=_cycles(rule, about.since, about.until),
    )


@router.get("", summary="Alerts", responses=shown([_ALERT]))
async def list_alerts(caller: Overseer, work: Tx) -> list[AlertOut]:
    """Each with how it stood when it was last looked at."""
    return [_alert(row) for row in await alerts.alerts(work)]


@router.post(
    "",
    status_code=201,
    summary="Add an alert",
    responses={201: {"content": {JSON: {"example": _ALERT}}}},
)
async def create_alert(body: AlertIn, caller: Overseer, work: Tx, origin: From) -> AlertOut:
    """Looked at within half a minute. Where things are bad by then, it fires."""
    row = await alerts.create(
        work, name=body.name, rule=body.rule, active=body.active, by=caller.id, now=clock()
    )
    await record(
        work, caller, origin, "alert.created", "alert", row["id"],
        {"name": row["name"], "rule": row["rule"], "active": row["active"]},
    )  # fmt: skip
    return _alert(row)


@router.post("/test", summary="Try a rule that nobody has stored", responses=shown(_TRIAL))
async def try_rule(body: TrialIn, caller: Overseer, served: Served, work: Tx) -> TrialOut:
    """What it would say now. Nobody is told."""
    await alerts.check(work, body.rule)
    return await _tried(served, work, body.rule)


@router.get(
    "/firings", summary="What has fired", responses=shown({"items": [_FIRING], "next": None})
)
async def list_firings(
    caller: Overseer,
    work: Tx,
    limit: Limit = 50,
    cursor: Cursor = None,
    alert: Annotated[UUID | None, Query(description="Only those of this alert.")] = None,
    open: Annotated[bool, Query(description="Only what is bad still.")] = False,
) -> Page[FiringOut]:
    """The newest first; also of alerts that were deleted since."""
    rows = await alerts.firings(
        work, alert_id=alert, only_open=open, before=after_id(cursor), limit=limit + 1
    )
    items = [_firing(row) for row in rows[:limit]]
    return Page(items=items, next=cursor_of(items[-1].id) if len(rows) > limit else None)


@router.get("/firings/{firing_id}", summary="One firing", responses=shown(_FIRING))
async def get_firing(firing_id: UUID, caller: Overseer, work: Tx) -> FiringOut:
    return _firing(await alerts.firing(work, firing_id))


@router.get("/{alert_id}", summary="One alert", responses=shown(_ALERT))
async def get_alert(alert_id: UUID, caller: Overseer, work: Tx, response: Response) -> AlertOut:
    found = _alert(await alerts.alert(work, alert_id))
    put_tag(response, found, but=_BESIDE)
    return found


@router.patch("/{alert_id}", summary="Change an alert", responses=shown(_ALERT))
async def change_alert(
    alert_id: UUID,
    body: AlertPatch,
    caller: Overseer,
    work: Tx,
    origin: From,
    expected: IfMatch,
    response: Response,
) -> AlertOut:
    """What is bad under the old terms ends, untold, and fires anew where it is bad under these."""
    given(body, clears=set())
    if expected:
        await configuration.hold(work)
        expected.check(_alert(await alerts.alert(work, alert_id)), but=_BESIDE)
    row, changes = await alerts.change(
        work, alert_id, name=body.name, rule=body.rule, active=body.active, now=clock()
    )
    if changes:
        await record(work, caller, origin, "alert.changed", "alert", alert_id, {"changes": changes})
    found = _alert(row)
    put_tag(response, found, but=_BESIDE)
    return found


@router.delete("/{alert_id}", status_code=204, summary="Delete an alert")
async def delete_alert(alert_id: UUID, caller: Overseer, work: Tx, origin: From) -> None:
    """What it fired stays on record."""
    row = await alerts.delete(work, alert_id, now=clock())
    await record(
        work, caller, origin, "alert.deleted", "alert", alert_id,
        {"name": row["name"], "rule": row["rule"]},
    )  # fmt: skip


@router.post("/{alert_id}/test", summary="What an alert says now", responses=shown(_TRIAL))
async def try_alert(alert_id: UUID, caller: Overseer, served: Served, work: Tx) -> TrialOut:
    """Its figures as of now, and whom it would tell. Nobody is told."""
    row = await alerts.alert(work, alert_id)
    return await _tried(served, work, AlertRule.model_validate(row["rule"]))


__all__ = ["router"]
