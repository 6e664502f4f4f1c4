"""Who of a team is on call: its rota, exceptions from it, and what comes in the next weeks."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import ConfigDict
from pydantic.config import JsonDict

from api.deps import Allowed, From, Served, Tx
from api.editing import record
from api.promises import shown
from api.routing import Route
from api.shapes import Instant, Request, Shape, examples
from domain.permissions import Permission, Principal
from domain.rotas import Rota
from models.session import Row
from services import rotas
from services.tickets import clock

router = APIRouter(prefix="/api/v1/teams/{team_id}", tags=["sla"], route_class=Route)

Viewer = Annotated[Principal, Depends(Allowed(Permission.PEOPLE_VIEW))]
Manager = Annotated[Principal, Depends(Allowed(Permission.SLA_MANAGE))]
MOST_WEEKS = 26

_ADA, _BEN = "0198c5c1-1d2f-7b31-9e4a-0a1b2c3d4e5f", "0198c5c1-2e3f-7c42-8f5b-1b2c3d4e5f60"
_ROTA: JsonDict = {
    "zone": "Europe/Berlin",
    "layers": [
        {
            "name": "Weeks", "user_ids": [_ADA], "first": "2026-05-04", "handover": "09:00",
            "turn_days": 7, "weekly": {},
        }
    ],
}  # fmt: skip


class RotaIn(Rota):
    """The layers, the most important first. Their people are members of the team."""

    model_config = ConfigDict(frozen=True, extra="forbid", **examples(_ROTA))


class OverrideIn(Request):
    """Somebody who is on call for a while, whoever's turn it is."""

    model_config = examples(
        {"user_id": _ADA, "since": "2099-05-06T18:00:00Z", "until": "2099-05-07T07:00:00Z"}
    )

    user_id: UUID
    since: Instant
    until: Instant


class OverrideOut(Shape):
    id: UUID
    user_id: UUID
    since: datetime
    until: datetime
    created_by: UUID | None
    created_at: datetime


class RotaOut(Shape):
    team_id: UUID
    zone: str
    layers: list[dict[str, object]]
    overrides: list[OverrideOut]
    updated_by: UUID | None
    updated_at: datetime


class Turn(Shape):
    """A time in which one and the same is on call; null: nobody, and those who lead are told."""

    since: datetime
    until: datetime
    user_id: UUID | None
    name: str | None
    layer: int | None
    override: bool


class OnCallAhead(Shape):
    """`now` are those whom a step wakes now: named by hand, by the rota, or those who lead."""

    team_id: UUID
    now: list[UUID]
    because: str
    turns: list[Turn]


_OVERRIDE: dict[str, object] = {
    "id": "0198c5c9-1a2b-7c3d-8e4f-5a6b7c8d9e0f", "user_id": _BEN,
    "since": "2099-05-06T18:00:00Z", "until": "2099-05-07T07:00:00Z", "created_by": _ADA,
    "created_at": "2026-05-04T10:12:00Z",
}  # fmt: skip
_TEAM = "0198c5c2-1c5f-7b21-9d3e-5a6f7b8c9d0e"
_SHOWN: dict[str, object] = {
    "team_id": _TEAM, **_ROTA, "overrides": [_OVERRIDE], "updated_by": _ADA,
    "updated_at": "2026-05-04T10:12:00Z",
}  # fmt: skip
_AHEAD: dict[str, object] = {
    "team_id": _TEAM, "now": [_ADA], "because": "rota",
    "turns": [
        {
            "since": "2026-05-04T10:12:00Z", "until": "2026-05-11T07:00:00Z", "user_id": _ADA,
            "name": "Ada", "layer": 0, "override": False,
        }
    ],
}  # fmt: skip


@router.get("/on-call", summary="Who is on call", responses=shown(_AHEAD))
async def list_on_call(
    team_id: UUID,
    caller: Viewer,
    work: Tx,
    served: Served,
    weeks: Annotated[int, Query(ge=1, le=MOST_WEEKS)] = 4,
) -> OnCallAhead:
    """Now, next, and in the weeks ahead, by the team's rota."""
    desk, now = await served.desks.current(work), clock()
    plan = rotas.planned(desk, team_id, since=now, weeks=weeks)
    duty = plan.stretches[0].duty
    by_rota = () if duty is None else (duty.user_id,)
    chosen = next(
        (
            (people, because)
            for people, because in (
                (plan.by_hand, "named by hand"), (by_rota, "rota"), (plan.leads, "nobody: leads")
            )
            if people
        ),
        ((), "nobody"),
    )  # fmt: skip
    turns = []
    for each in plan.stretches:
        agent = desk.agents.get(each.duty.user_id) if each.duty else None
        turns.append(
            Turn(
                since=each.since,
                until=each.until,
                user_id=each.duty.user_id if each.duty else None,
                name=agent.name if agent else None,
                layer=each.duty.layer if each.duty else None,
                override=each.duty is not None and each.duty.layer is None,
            )
        )
    return OnCallAhead(team_id=team_id, now=list(chosen[0]), because=chosen[1], turns=turns)


@router.get("/rota", summary="A team's rota", responses=shown(_SHOWN))
async def get_rota(team_id: UUID, caller: Viewer, work: Tx) -> RotaOut:
    return _rota(await rotas.rota(work, team_id))


@router.put("/rota", summary="Write a team's rota", responses=shown(_SHOWN))
async def put_rota(team_id: UUID, body: RotaIn, caller: Manager, work: Tx, origin: From) -> RotaOut:
    """In the place of the one before; its overrides stay."""
    row, changes = await rotas.put_rota(work, team_id, body, by=caller.id, now=clock())
    if changes:
        await record(
            work, caller, origin, "team.rota_changed", "team", team_id, {"changes": changes}
        )
    return _rota(row)


@router.delete("/rota", status_code=204, summary="Drop a team's rota")
async def drop_rota(team_id: UUID, caller: Manager, work: Tx, origin: From) -> None:
    """With its overrides."""
    await rotas.drop_rota(work, team_id)
    await record(work, caller, origin, "team.rota_dropped", "team", team_id, {})


@router.post(
    "/rota/overrides",
    status_code=201,
    summary="Put somebody on call for a while",
    responses={201: {"content": {"application/json": {"example": _OVERRIDE}}}},
)
async def add_override(
    team_id: UUID, body: OverrideIn, caller: Manager, work: Tx, origin: From
) -> OverrideOut:
    """Whoever's turn it is; of several the one made last counts."""
    row = await rotas.add_override(
        work, team_id, user_id=body.user_id, since=body.since, until=body.until, by=caller.id,
        now=clock(),
    )  # fmt: skip
    await record(work, caller, origin, "team.rota_override_added", "team", team_id, _told(row))
    return OverrideOut(**row)


@router.delete("/rota/overrides/{override_id}", status_code=204, summary="Drop an override")
async def drop_override(
    team_id: UUID, override_id: UUID, caller: Manager, work: Tx, origin: From
) -> None:
    row = await rotas.drop_override(work, team_id, override_id)
    await record(work, caller, origin, "team.rota_override_dropped", "team", team_id, _told(row))


def _rota(row: Row) -> RotaOut:
    return RotaOut(**{**row["body"], **{n: v for n, v in row.items() if n != "body"}})


def _told(row: Row) -> dict[str, object]:
    return {
        "user_id": str(row["user_id"]),
        "since": row["since"].isoformat(),
        "until": row["until"].isoformat(),
    }
