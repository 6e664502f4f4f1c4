"""Who works when, what they can do, how much at once: what routing has to know of people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from domain.states import Channel, Priority

MOST_SKILLS, MOST_NEEDS, HIGHEST_LEVEL = 100, 100, 10

Strategy = Literal["manual", "round_robin", "least_loaded", "skill_based"]
SkillName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9:._-]{0,62}$")]
Level = Annotated[int, Field(ge=1, le=HIGHEST_LEVEL)]
Skills = Annotated[dict[SkillName, Level], Field(max_length=MOST_SKILLS)]
Weight = Annotated[float, Field(ge=0, le=100)]


class Presence(StrEnum):
    ONLINE = "online"
    AWAY = "away"  # takes nothing new for now; nobody stands in


@dataclass(frozen=True, slots=True)
class Absence:
    """Somebody is not there from `since` until `until` (open where None); who stands in."""

    since: datetime | None = None
    until: datetime | None = None
    replacement_id: UUID | None = None

    def covers(self, at: datetime) -> bool:
        begun = self.since is None or self.since <= at
        return begun and (self.until is None or at < self.until)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Need(_Frozen):
    """Tickets like this ask for a skill: all that is given here has to be true of the ticket."""

    skill: SkillName
    level: Level = 1
    preferred: bool = Field(
        default=False, description="Who has it goes first; the ticket waits for nobody."
    )
    language: str | None = Field(default=None, max_length=35)
    topic: str | None = Field(default=None, max_length=200)
    tag: str | None = Field(default=None, max_length=100)
    priority: Priority | None = None
    channel: Channel | None = None


class RoutingRules(_Frozen):
    """How a team hands out its tickets, beyond its strategy."""

    needs: tuple[Need, ...] = Field(default=(), max_length=MOST_NEEDS)
    skills_from: tuple[Literal["language", "topic", "tag"], ...] = Field(
        default=("language", "topic", "tag"),
        description="What of a ticket asks for the skill of that name (`language:fr`), where"
        " anybody in the team has it.",
    )
    on_absence: Literal["replacement", "team", "keep"] = Field(
        default="replacement",
        description="Where a ticket of somebody absent goes when the customer writes.",
    )


DEFAULT_RULES = RoutingRules()


class LoadWeights(_Frozen):
    """How much of an agent's capacity a ticket takes: 1, times these where they are given."""

    priority: dict[Priority, Weight] = Field(default_factory=dict)
    channel: dict[Channel, Weight] = Field(default_factory=dict)

    def of(self, priority: str | None, channel: str) -> float:
        """What one ticket weighs."""
        by_priority: Mapping[str, float] = self.priority  # type: ignore[assignment]
        by_channel: Mapping[str, float] = self.channel  # type: ignore[assignment]
        return by_priority.get(priority or Priority.NORMAL, 1.0) * by_channel.get(channel, 1.0)


__all__ = [
    "DEFAULT_RULES",
    "HIGHEST_LEVEL",
    "Absence",
    "Level",
    "LoadWeights",
    "Need",
    "Presence",
    "RoutingRules",
    "SkillName",
    "Skills",
    "Strategy",
]
