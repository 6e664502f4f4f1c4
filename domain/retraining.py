"""When a desk's models learn anew by themselves. Pure: the instant is given."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from domain.calendars import Zone

NEW_DECISIONS: Final = 25  # tickets that people judged, before a training is worth its minutes
RARELY: Final = 90  # days; a desk that wants it more rarely does it by hand


class RetrainingPlan(BaseModel):
    """When, and after how much that is new, models of a desk are taught by themselves."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=True, description="False: only when somebody asks for it.")
    every_days: int = Field(default=1, ge=1, le=RARELY)
    hour: int = Field(default=2, ge=0, le=23, description="Of the day in `zone`.")
    zone: Zone = Field(default="UTC", description="Whose clock it goes by.")
    least_new: int = Field(
        default=NEW_DECISIONS, ge=1, le=20_000,
        description="Tickets that people judged since the last training of a question.",
    )  # fmt: skip


def is_due(plan: RetrainingPlan, *, looked_at: datetime, now: datetime) -> bool:
    """Whether a turn has come since it was last looked who is to learn.

    A turn that fell into an outage is made up for, once.
    """
    return plan.enabled and _last(plan, now) > looked_at


def next_turn(plan: RetrainingPlan, *, looked_at: datetime, now: datetime) -> datetime | None:
    """When it is looked next who is to learn: `now` where that is due; None: never by itself."""
    if not plan.enabled:
        return None
    if is_due(plan, looked_at=looked_at, now=now):
        return now
    day = _day(plan, _last(plan, now))
    return _turn(plan, day + timedelta(days=plan.every_days))


def _last(plan: RetrainingPlan, now: datetime) -> datetime:
    """The newest turn that is not after `now`."""
    today = _day(plan, now)
    day = today - timedelta(days=today.toordinal() % plan.every_days)
    turn = _turn(plan, day)
    return turn if turn <= now else _turn(plan, day - timedelta(days=plan.every_days))


def _day(plan: RetrainingPlan, instant: datetime) -> date:
    return instant.astimezone(ZoneInfo(plan.zone)).date()


def _turn(plan: RetrainingPlan, day: date) -> datetime:
    # An hour that the clock leaps over is the one after it.
    return datetime.combine(day, time(plan.hour), ZoneInfo(plan.zone)).astimezone(UTC)
