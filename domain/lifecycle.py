"""What passes between a workflow, its activities and whoever wakes it. Ids and states only.

Nothing here may hold a subject, a name, an address or a message: histories are shown to operators
and outlive what they speak of.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from domain.tickets.state import Ticket

TICKETS, OUTBOUND, MODELS, BATCH = QUEUES = ("tickets", "outbound", "models", "batch")
# Served by whoever serves MODELS, one at a time: a night's trainings leave room for triage.
TRAINING = "models-training"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class TicketRef(_Frozen):
    """One ticket, as everything outside Postgres names it."""

    tenant_id: UUID
    slug: str
    number: int

    @property
    def workflow_id(self) -> str:
        return ticket_workflow_id(self.slug, self.number)


def ticket_workflow_id(slug: str, number: int) -> str:
    return f"ticket/{slug}/{number}"


class Attributes(_Frozen):
    """What operators can search tickets by. None for a value takes it away."""

    tenant: str
    number: int
    status: str
    priority: str
    team: str | None
    deadline: datetime | None


class Shown(_Frozen):
    """What the last run had told Temporal, so that the next does not say it again."""

    attributes: Attributes | None = None


class TicketInput(_Frozen):
    """A ticket's workflow: which ticket, and how far its events have been seen."""

    ticket: TicketRef
    cursor: int = 0
    shown: Shown = Shown()


class Change(_Frozen):
    """Something was committed: event `seq` of a kind, by somebody."""

    kind: str
    seq: int
    actor: UUID | None = None
    trace: dict[str, str] = {}  # ids of the request behind it, for logs


class Advance(_Frozen):
    ticket: TicketRef
    now: datetime
    cursor: int
    run_id: str
    trace: dict[str, str] = {}


class Effect(_Frozen):
    """Something committed that has to reach the world outside."""

    kind: Literal["mail", "webhook", "push", "triage"]
    id: str


class TicketState(_Frozen):
    """A ticket as the workflow needs it, after time was brought up to `Advance.now`."""

    seq: int
    over: bool
    status: str
    priority: str | None
    deadline: datetime | None
    waits_for: str
    effects: tuple[Effect, ...] = ()
    attributes: Attributes | None = None  # None where they may not be set


class EffectInput(_Frozen):
    ticket: TicketRef
    effect: Effect
    run_id: str
    trace: dict[str, str] = {}


class EffectResult(_Frozen):
    """What became of an effect; `state` is a delivery's, or what triage did."""

    state: str


def waits_for(ticket: Ticket) -> str:
    """In words, what the next deadline is about."""
    at = ticket.deadline_at
    if at is None:
        return "nothing but somebody's next action"
    if at == ticket.snoozed_until:
        return "the end of its snooze"
    if at == ticket.remind_at:
        return "a reminder"
    if at == ticket.auto_close_at:
        return "closing by itself"
    if at == ticket.first_reply_due_at:
        return "its first reply"
    if at == ticket.resolution_due_at:
        return "its resolution"
    return "an escalation step"


def attributes_of(slug: str, ticket: Ticket) -> Attributes:
    return Attributes(
        tenant=slug,
        number=ticket.number,
        status=ticket.category.value,
        priority=(ticket.priority or "none"),
        team=str(ticket.team_id) if ticket.team_id else None,
        deadline=ticket.deadline_at,
    )


class BulkRef(_Frozen):
    """One bulk job, as everything outside Postgres names it."""

    tenant_id: UUID
    slug: str
    job_id: UUID

    @property
    def workflow_id(self) -> str:
        return f"bulk/{self.slug}/{self.job_id}"


class LinkRef(_Frozen):
    """A link that sets a password, by its row: the link itself is a secret."""

    tenant_id: UUID
    slug: str
    link_id: UUID

    @property
    def workflow_id(self) -> str:
        return f"link/{self.slug}/{self.link_id}"


class TrainingRef(_Frozen):
    """One training of a desk's own model."""

    tenant_id: UUID
    slug: str
    job_id: UUID

    @property
    def workflow_id(self) -> str:
        return f"retrain/{self.slug}/{self.job_id}"


class BacktestRef(_Frozen):
    """One model asked about past tickets."""

    tenant_id: UUID
    slug: str
    job_id: UUID

    @property
    def workflow_id(self) -> str:
        return f"backtest/{self.slug}/{self.job_id}"


class LearningResult(_Frozen):
    """What became of a training or a backtest: its row's state. The sentence is in the row."""

    state: str


class SimulationRef(_Frozen):
    """One draft tried on the past."""

    tenant_id: UUID
    slug: str
    simulation_id: UUID

    @property
    def workflow_id(self) -> str:
        return f"simulation/{self.slug}/{self.simulation_id}"


class BulkProgress(_Frozen):
    """`state` is `running` while there is more to do; else the job's own."""

    state: str
    left: int
