"""Rules that watch promises: when things go bad, when they are good again, whom that concerns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from domain.desk import Desk
from domain.sla import Metric
from domain.states import Channel, Priority

MOST_ALERTS = 50
SHORTEST = timedelta(minutes=5)
LONGEST = timedelta(days=90)
# What is marked is looked at together, so that a busy minute costs four looks and not a thousand.
TOGETHER = timedelta(seconds=15)
SOONEST = timedelta(seconds=60)  # by the clock alone
_SHARES = 1440  # of a window: what leaves it matters the less, the longer it is


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Attainment(_Frozen):
    """Bad while less than so many percent of what ended was kept."""

    kind: Literal["attainment"] = "attainment"
    metric: Metric
    below: float = Field(gt=0, le=100, description="In percent.")
    within: timedelta = Field(
        ge=timedelta(hours=1), le=LONGEST, description="An hour to 90 days, up to now."
    )
    at_least: int = Field(
        default=20,
        ge=1,
        le=100_000,
        description="Cycles that have ended with a verdict. With fewer it says nothing.",
    )


class Breaches(_Frozen):
    """Bad while so many promises were broken within a while."""

    kind: Literal["breaches"] = "breaches"
    metric: Metric | None = Field(default=None, description="Null: any.")
    count: int = Field(ge=1, le=100_000)
    within: timedelta = Field(default=timedelta(hours=1), ge=SHORTEST, le=LONGEST)


Watched = Annotated[Attainment | Breaches, Field(discriminator="kind")]
Ids = Annotated[tuple[UUID, ...], Field(max_length=100)]
Role = Literal["admin", "supervisor", "agent", "viewer"]


class Recipients(_Frozen):
    """Who is told, in the workspace; and where a webhook is called besides."""

    users: Ids = ()
    roles: tuple[Role, ...] = ()
    team_leads: Ids = Field(default=(), description="Those who lead these teams.")
    webhook_id: UUID | None = None

    @model_validator(mode="after")
    def _is_somebody(self) -> Self:
        if not (self.users or self.roles or self.team_leads or self.webhook_id):
            raise ValueError("somebody has to be told: a person, a role, a team's lead, a webhook")
        return self


class AlertRule(_Frozen):
    """What is watched, of which tickets, who is told. Of several values of one filter, any does."""

    watches: Watched
    policies: Ids = ()
    teams: Ids = Field(default=(), description="Responsible at the breach, or at the end.")
    priorities: tuple[Priority, ...] = ()
    channels: tuple[Channel, ...] = ()
    organizations: Ids = ()
    without: tuple[str, ...] = Field(
        default=(), max_length=20, description="Causes of breaches that are left out."
    )
    recipients: Recipients
    remind_after: timedelta | None = Field(
        default=None,
        ge=timedelta(hours=1),
        le=timedelta(days=30),
        description="While it stays bad, they are told again after so long. Null: once only.",
    )

    @property
    def asks(self) -> dict[str, object]:
        """What decides about good and bad: two rules that agree in it say the same."""
        return self.model_dump(mode="json", exclude={"recipients", "remind_after"})


@dataclass(frozen=True, slots=True)
class Figures:
    """What a rule found in its window: `since` is part of it, `until` is not."""

    since: datetime
    until: datetime
    met: int = 0
    missed: int = 0
    breaches: int = 0
    late: int = 0  # of the breaches, those that are older than the window, and were noticed in it
    oldest: datetime | None = None  # of what was counted: it leaves the window first

    @property
    def judged(self) -> int:
        return self.met + self.missed

    @property
    def attainment(self) -> float | None:
        """In percent, not rounded: 94.999 is below 95."""
        return 100 * self.met / self.judged if self.judged else None

    def said(self, rule: AlertRule) -> dict[str, object]:
        """As they are kept and shown."""
        times: dict[str, object] = {
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
        }
        if isinstance(rule.watches, Breaches):
            late = {"noticed_late": self.late} if self.late else {}
            return {**times, "breaches": self.breaches, **late}
        kept = self.attainment
        return {
            **times,
            "met": self.met,
            "missed": self.missed,
            "attainment": None if kept is None else round(kept, 4),
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether things are bad, and in a sentence why."""

    bad: bool
    because: str


def judge(rule: AlertRule, found: Figures) -> Verdict:
    """What a rule says about what it found."""
    watched = rule.watches
    while_ = spelled(watched.within)
    if isinstance(watched, Breaches):
        what = "promises were" if watched.metric is None else f"{watched.metric} promises were"
        late = f", {found.late} of them before it and noticed only now" if found.late else ""
        told = (
            f"{found.breaches} {what} broken within {while_}{late}; the limit is {watched.count}."
        )
        return Verdict(found.breaches >= watched.count, told)
    kept = found.attainment
    if kept is None or found.judged < watched.at_least:
        few = f"{found.judged} cycles of {watched.metric} ended within {while_}"
        return Verdict(False, f"{few}: too few to say, {watched.at_least} are needed.")
    told = (
        f"{_percent(kept, watched.below)} % of {found.judged} cycles of {watched.metric} were kept"
        f" within {while_}; the limit is {watched.below:g} %."
    )
    return Verdict(kept < watched.below, told)


def _percent(value: float, limit: float) -> str:
    """Short, but never so short that what is below the limit seems to be at it."""
    for digits in (1, 2, 4):
        said = f"{value:.{digits}f}"
        if float(said) != limit or value == limit:
            return said
    return f"{value:.8f}"


def spelled(length: timedelta) -> str:
    """A length in words, in its largest units: `a day and a half` is 1 d 12 h."""
    parts = []
    left = int(length.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts) or "0 s"


class Telling(StrEnum):
    """What is told of a rule."""

    FIRED = "fired"
    AGAIN = "again"
    OVER = "over"


def telling(
    rule: AlertRule, verdict: Verdict, *, told_at: datetime | None, now: datetime
) -> Telling | None:
    """What follows from a verdict. `told_at`: when it was last told; None while nothing is open."""
    if told_at is None:
        return Telling.FIRED if verdict.bad else None
    if not verdict.bad:
        return Telling.OVER
    if rule.remind_after is not None and now - told_at >= rule.remind_after:
        return Telling.AGAIN
    return None


def look_again(
    rule: AlertRule, found: Figures, *, told_at: datetime | None, now: datetime
) -> datetime | None:
    """When the clock alone can change what a rule says; None where only a new event can.

    That is when what was counted leaves the window, or when it is time to tell again.
    """
    moments = []
    if found.oldest is not None:
        patience = max(SOONEST, rule.watches.within / _SHARES)
        moments.append(max(found.oldest + rule.watches.within, now + patience))
    if told_at is not None and rule.remind_after is not None:
        moments.append(max(told_at + rule.remind_after, now))
    return min(moments, default=None)


def pace(rule: AlertRule) -> timedelta:
    """How soon after a look the next one is worth while: a day's figures change slowly."""
    return min(SOONEST, max(TOGETHER, rule.watches.within / _SHARES))


@dataclass(frozen=True, slots=True)
class Told:
    """Whom a rule reaches on a desk, as it is now."""

    users: tuple[UUID, ...]
    webhook_id: UUID | None
    instead: bool = False  # nobody of those named is here any more: the admins


def reached(rule: AlertRule, desk: Desk, webhooks: Mapping[UUID, bool]) -> Told:
    """Whom to tell. `webhooks` says which there are, and whether they are switched on.

    An alert that would reach nobody goes to the admins: those it named have left since.
    """
    asked = rule.recipients
    wanted = set(asked.users)
    for team_id in asked.team_leads:
        team = desk.teams.get(team_id)
        if team is not None and team.active:
            wanted |= team.leads
    wanted |= {agent.id for agent in desk.agents.values() if agent.role in asked.roles}
    users = _here(wanted, desk)
    webhook_id = asked.webhook_id if webhooks.get(asked.webhook_id or UUID(int=0)) else None
    if users or webhook_id is not None:
        return Told(users, webhook_id)
    admins = {agent.id for agent in desk.agents.values() if agent.role == "admin"}
    return Told(_here(admins, desk), None, instead=True)


def _here(users: set[UUID], desk: Desk) -> tuple[UUID, ...]:
    known = (desk.agents.get(user) for user in users)
    return tuple(sorted(agent.id for agent in known if agent is not None and agent.active))


def named(rule: AlertRule) -> Sequence[tuple[str, str, UUID]]:
    """What a rule names, as (pointer, kind, id): each has to be here."""
    asked = rule.recipients
    lists: tuple[tuple[str, str, tuple[UUID, ...]], ...] = (
        ("/policies", "policy", rule.policies),
        ("/teams", "team", rule.teams),
        ("/organizations", "organization", rule.organizations),
        ("/recipients/users", "user", asked.users),
        ("/recipients/team_leads", "team", asked.team_leads),
        ("/recipients/webhook_id", "webhook", (asked.webhook_id,) if asked.webhook_id else ()),
    )
    return [(where, kind, id_) for where, kind, ids in lists for id_ in ids]
