"""What one tenant has set up: the facts that rules about its tickets read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cached_property, partial
from typing import Literal
from uuid import UUID

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    TypeAdapter,
    ValidationError,
)

from domain.calendars import Calendar
from domain.errors import Invalid
from domain.retraining import RetrainingPlan
from domain.rotas import Override, Rota, on_call_at
from domain.sla import Policy, Subject, Terms
from domain.staffing import DEFAULT_RULES, Absence, LoadWeights, RoutingRules, Strategy
from domain.statements import StatementPlan
from domain.states import Category, Scope


class DeskSettings(BaseModel):
    """A tenant's choices where the usual rule is not the only good one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    auto_close_after: timedelta | None = Field(
        default=timedelta(days=28),
        ge=timedelta(seconds=1),
        le=timedelta(days=3660),
        description="How long a resolved ticket stays open to replies.",
    )
    reopen_closed: bool = Field(
        default=False, description="Whether a closed ticket may be reopened instead of followed up."
    )
    assign_on_resolve: bool = Field(
        default=True, description="Who resolves an unassigned ticket becomes its assignee."
    )
    thanks_keep_resolved: bool = Field(
        default=False,
        description="Whether a resolved ticket stays so when the customer says nothing but thanks.",
    )
    triage: bool = True
    agent_scope: Scope = Field(
        default=Scope.TEAM, description="Which tickets agents reach: their own, their teams', all."
    )
    monthly_statements: StatementPlan | None = Field(
        default=None,
        description="Statements of every organization, made by themselves; null: none are.",
    )
    retraining: RetrainingPlan = Field(
        default=RetrainingPlan(), description="When models are taught anew by themselves."
    )
    default_team_id: UUID | None = None
    topic_teams: dict[str, UUID] = Field(
        default_factory=dict, description="Which team a ticket of a topic goes to."
    )
    load_weights: LoadWeights = Field(
        default=LoadWeights(), description="How much of an agent's capacity a ticket takes."
    )


@dataclass(frozen=True, slots=True)
class Status:
    key: str
    name: str
    category: Category
    customer_label: str
    position: int
    transitions: frozenset[str] | None = None
    required_fields: tuple[str, ...] = ()
    active: bool = True


@dataclass(frozen=True, slots=True)
class Agent:
    id: UUID
    name: str
    email: str
    handle: str
    role: str
    active: bool = True
    capacity: int | None = None  # open tickets at once
    absence: Absence | None = None


@dataclass(frozen=True, slots=True)
class Team:
    id: UUID
    name: str
    routing: Strategy = "manual"
    members: tuple[UUID, ...] = ()  # ascending, active ones only
    leads: frozenset[UUID] = frozenset()
    active: bool = True
    on_call: tuple[UUID, ...] = ()  # named by hand: on call until somebody else is
    rules: RoutingRules = DEFAULT_RULES
    rota: Rota | None = None
    overrides: tuple[Override, ...] = ()  # of the rota, as they were made


FieldKind = Literal[
    "text",
    "number",
    "integer",
    "boolean",
    "date",
    "datetime",
    "select",
    "multiselect",
    "url",
    "email",
]
FieldValue = str | int | float | bool | list[str] | None

_SHAPES: dict[str, TypeAdapter[object]] = {
    "text": TypeAdapter(str),
    "number": TypeAdapter(float),
    "integer": TypeAdapter(int),
    "boolean": TypeAdapter(bool),
    "date": TypeAdapter(date),
    "datetime": TypeAdapter(datetime),
    "url": TypeAdapter(AnyHttpUrl),
    "email": TypeAdapter(EmailStr),
}


@dataclass(frozen=True, slots=True)
class CustomField:
    key: str
    label: str
    kind: FieldKind
    options: tuple[str, ...] = ()
    pattern: str | None = None
    customer_visible: bool = False
    customer_editable: bool = False
    active: bool = True

    def clean(self, value: object) -> FieldValue:
        """The value as it is stored. Raises Invalid when it does not fit this field."""
        if value is None:
            return None
        if self.kind == "select":
            return self._option(value)
        if self.kind == "multiselect":
            if not isinstance(value, list):
                raise self._refuse("takes a list of options")
            return sorted({self._option(item) for item in value})
        try:
            shaped = _SHAPES[self.kind].validate_python(value, strict=self.kind == "boolean")
        except ValidationError as error:
            raise self._refuse(error.errors()[0]["msg"]) from error
        if self.kind == "text" and isinstance(shaped, str):
            if len(shaped) > 10_000:
                raise self._refuse("holds at most 10,000 characters")
            if self.pattern and not re.fullmatch(self.pattern, shaped):
                raise self._refuse(f"must match {self.pattern}")
        if isinstance(shaped, (date, datetime)):
            return shaped.isoformat()
        if isinstance(shaped, (bool, int, float, str)):
            return shaped
        return str(shaped)

    def _option(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.options:
            raise self._refuse(f"takes one of: {', '.join(self.options)}")
        return value

    def _refuse(self, why: str) -> Invalid:
        return Invalid(f"{self.label} {why}.", fields={f"/fields/{self.key}": why})


@dataclass(frozen=True)
class Desk:
    """Everything rules may ask about a tenant, as of one configuration version."""

    tenant_id: UUID
    slug: str
    config_version: int
    settings: DeskSettings
    statuses: Mapping[str, Status]
    fields: Mapping[str, CustomField] = field(default_factory=dict)
    teams: Mapping[UUID, Team] = field(default_factory=dict)
    agents: Mapping[UUID, Agent] = field(default_factory=dict)
    policies: tuple[Policy, ...] = ()  # in force, in order
    # Versions that tickets may still be timed by, as far as they were loaded.
    policy_versions: Mapping[tuple[UUID, int], Policy] = field(default_factory=dict)
    calendars: Mapping[tuple[UUID, int], Calendar] = field(default_factory=dict)

    def status_for(self, category: Category) -> Status:
        """The tenant's first active status of a category."""
        return self._first[category]

    @cached_property
    def _first(self) -> dict[Category, Status]:
        first: dict[Category, Status] = {}
        for status in sorted(self.statuses.values(), key=lambda s: s.position):
            if status.active:
                first.setdefault(status.category, status)
        return first

    @cached_property
    def handles(self) -> dict[str, UUID]:
        return {agent.handle: agent.id for agent in self.agents.values() if agent.active}

    @cached_property
    def supervisors(self) -> tuple[UUID, ...]:
        return tuple(
            sorted(
                a.id for a in self.agents.values() if a.active and a.role in ("supervisor", "admin")
            )
        )

    def on_call(self, team: Team, at: datetime) -> tuple[UUID, ...]:
        """Whom to wake for a team: those named by hand, else whose turn it is by its rota.

        Who is away is not woken; where nobody of those named is there, the rota decides.
        """
        named = tuple(user for user in team.on_call if self.is_fit(team, user, at))
        if named or team.rota is None:
            return named
        duty = on_call_at(team.rota, at, team.overrides, fit=partial(self.is_fit, team))
        return () if duty is None else (duty.user_id,)

    def is_fit(self, team: Team, user_id: UUID, at: datetime) -> bool:
        """Whether somebody can be on call for a team: a member who is not absent."""
        agent = self.agents.get(user_id)
        if agent is None or not agent.active or user_id not in team.members:
            return False
        return agent.absence is None or not agent.absence.covers(at)

    def calendar(self, calendar_id: UUID | None) -> Calendar | None:
        """A calendar as it is now; None where there is none, or it is not at hand."""
        if calendar_id is None:
            return None
        version = max((v for id_, v in self.calendars if id_ == calendar_id), default=None)
        return None if version is None else self.calendars[calendar_id, version]

    def terms(self, subject: Subject | None = None) -> Terms | None:
        """The promise in force for a ticket: the first policy whose conditions hold.

        None when nothing is promised. Policies with conditions hold for nothing unknown.
        """
        for policy in self.policies:
            calendar = self.calendars.get((policy.calendar_id, policy.calendar_version))
            if calendar is not None and policy.applies_to(subject):
                return Terms(policy=policy, calendar=calendar, calendars=self.calendars)
        return None

    def offers(self, policy_id: UUID) -> bool:
        """Whether a policy is in force, in whichever version."""
        return any(policy.id == policy_id for policy in self.policies)

    def terms_of(self, policy_id: UUID | None, version: int | None) -> Terms | None:
        """A version of a policy with its calendar; None where it is not at hand."""
        if policy_id is None or version is None:
            return None
        policy = self._versions.get((policy_id, version))
        if policy is None:
            return None
        calendar = self.calendars.get((policy.calendar_id, policy.calendar_version))
        return None if calendar is None else Terms(policy, calendar, self.calendars)

    @cached_property
    def _versions(self) -> dict[tuple[UUID, int], Policy]:
        present = {(policy.id, policy.version): policy for policy in self.policies}
        return {**self.policy_versions, **present}


def default_statuses() -> tuple[Status, ...]:
    """What a new tenant starts with: one status per category, named as the category is."""
    names = {
        Category.NEW: ("New", "Received"),
        Category.OPEN: ("Open", "In progress"),
        Category.PENDING: ("Pending", "Waiting for your answer"),
        Category.ON_HOLD: ("On hold", "In progress"),
        Category.RESOLVED: ("Resolved", "Resolved"),
        Category.CLOSED: ("Closed", "Closed"),
        Category.MERGED: ("Merged", "Continued in another request"),
    }
    return tuple(
        Status(
            key=category.value, name=name, category=category, customer_label=label, position=place
        )
        for place, (category, (name, label)) in enumerate(names.items())
    )
