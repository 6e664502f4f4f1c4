"""What passes between a workflow, its activities and whoever wakes it. Ids and states only.

Nothing here may hold a subject, a name, an address or a message: histories are shown to operators
and outlive what they speak of.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

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


def _is_none(value: object) -> bool:
    return value is None


def _is_empty(value: object) -> bool:
    return not value


class Attributes(_Frozen):
    """What operators can search tickets by. None for a value takes it away."""

    tenant: str
    number: int
    status: str
    priority: str | None
    team: str | None
    deadline: datetime | None


class Shown(_Frozen):
    """What the last run had told Temporal. Runs that begin now ask Temporal itself for it."""

    attributes: Attributes | None = None


class TicketInput(_Frozen):
    """A ticket's workflow: which ticket, and how far its events have been seen.

    What goes into histories is written as short as it can be said, here and below: a value that is
    what it would be anyway is left out. Thousands of idle tickets keep theirs for months.
    """

    ticket: TicketRef
    cursor: int = Field(default=0, exclude_if=_is_empty)
    shown: Shown = Field(default=Shown(), exclude_if=lambda shown: shown.attributes is None)
    # Of the request that made it, for logs.
    trace: dict[str, str] = Field(default={}, exclude_if=_is_empty)


CREATED = "ticket_created"


class Change(_Frozen):
    """Something was committed: event `seq` of a kind, by somebody."""

    kind: str
    seq: int
    actor: UUID | None = Field(default=None, exclude_if=_is_none)
    # Ids of the request behind it, for logs.
    trace: dict[str, str] = Field(default={}, exclude_if=_is_empty)


class Advance(_Frozen):
    ticket: TicketRef
    now: datetime
    cursor: int
    run_id: str
    trace: dict[str, str] = {}


class Effect(_Frozen):
    """Something committed that has to reach the world outside."""

    kind: Literal["mail", "webhook", "push", "triage", "workflow"]
    id: str


MOOD = "mood"
"""The id of an effect of kind `triage` that reads a later message instead of the first. It is of
that kind so that workflows which began before there was any carry it out too."""


def to_read(ticket: Ticket) -> tuple[Effect, ...]:
    """What models are to be asked about a ticket: all about its beginning, then how its customer
    sounds by now."""
    if ticket.category.is_over:
        return ()
    if ticket.triage == "pending":
        return (Effect(kind="triage", id="triage"),)
    if ticket.triage == "done" and ticket.mood_due is not None:
        return (Effect(kind="triage", id=MOOD),)
    return ()


class TicketState(_Frozen):
    """A ticket as the workflow needs it, after time was brought up to `Advance.now`."""

    seq: int
    over: bool = Field(default=False, exclude_if=_is_empty)
    status: str
    priority: str | None = Field(default=None, exclude_if=_is_none)
    team: UUID | None = Field(default=None, exclude_if=_is_none)
    deadline: datetime | None = Field(default=None, exclude_if=_is_none)
    waits_for: str
    effects: tuple[Effect, ...] = Field(default=(), exclude_if=_is_empty)
    shows: bool = Field(default=False, exclude_if=_is_empty)  # search attributes may be set
    # As older runs were told: all of them, said twice.
    attributes: Attributes | None = Field(default=None, exclude_if=_is_none)

    def attributes_of(self, ref: TicketRef) -> Attributes | None:
        """What operators may search this ticket by; None where attributes may not be set."""
        if self.attributes is not None or not self.shows:
            return self.attributes
        return Attributes(
            tenant=ref.slug,
            number=ref.number,
            status=self.status,
            priority=self.priority,
            team=str(self.team) if self.team else None,
            deadline=_to_the_second(self.deadline),
        )


class StartInput(_Frozen):
    """What a workflow that a step has started is given: ids only. It asks for the rest."""

    ticket: TicketRef
    ticket_id: UUID
    delivery_id: UUID  # the same for every attempt: keys of what it does are made of it
    seq: int  # of the step in the ticket's timeline


class EffectInput(_Frozen):
    ticket: TicketRef
    effect: Effect
    run_id: str = Field(default="", exclude_if=_is_empty)  # else that of whoever asks
    trace: dict[str, str] = Field(default={}, exclude_if=_is_empty)


class EffectResult(_Frozen):
    """What became of an effect; `state` is a delivery's, or what triage did.

    `ticket` is how that left the ticket: who is told need not look for it.
    """

    state: str
    ticket: TicketState | None = Field(default=None, exclude_if=_is_none)


def state_of(ticket: Ticket, effects: Iterable[Effect], *, shows: bool) -> TicketState:
    """What a ticket's workflow has to know of it."""
    return TicketState(
        seq=ticket.seq,
        over=ticket.category.is_over,
        status=ticket.category.value,
        priority=ticket.priority,
        team=ticket.team_id,
        deadline=ticket.deadline_at,
        waits_for=waits_for(ticket),
        effects=tuple(effects),
        shows=shows,
    )


def _to_the_second(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(microsecond=0)


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
        priority=ticket.priority,
        team=str(ticket.team_id) if ticket.team_id else None,
        deadline=_to_the_second(ticket.deadline_at),
    )


class JobRef(_Frozen):
    """A row that a workflow of its own is about, as everything outside Postgres names it.

    What the row is called in it is part of the histories, so it is not one name for all.
    """

    kind: ClassVar[str]
    row: ClassVar[str] = "job_id"

    tenant_id: UUID
    slug: str

    @property
    def workflow_id(self) -> str:
        return f"{self.kind}/{self.slug}/{getattr(self, self.row)}"


class BulkRef(JobRef):
    """One bulk job."""

    kind = "bulk"

    job_id: UUID


class LinkRef(JobRef):
    """A link that sets a password, by its row: the link itself is a secret."""

    kind, row = "link", "link_id"

    link_id: UUID


class DeliveryRef(JobRef):
    """An outgoing call that is about no ticket."""

    kind, row = "delivery", "delivery_id"

    delivery_id: UUID


class TrainingRef(JobRef):
    """One training of a desk's own model."""

    kind = "retrain"

    job_id: UUID


class BacktestRef(JobRef):
    """One model asked about past tickets."""

    kind = "backtest"

    job_id: UUID


class SimulationRef(JobRef):
    """One draft tried on the past."""

    kind, row = "simulation", "simulation_id"

    simulation_id: UUID


_JOBS = {ref.kind: ref for ref in (
    BulkRef, LinkRef, DeliveryRef, TrainingRef, BacktestRef, SimulationRef,
)}  # fmt: skip


def job_ref(kind: str, tenant_id: UUID, slug: str, row_id: UUID) -> JobRef | None:
    """The job that a fact of this kind is about. None: it is about a ticket."""
    job = _JOBS.get(kind)
    if job is None:
        return None
    return job.model_validate({"tenant_id": tenant_id, "slug": slug, job.row: row_id})


class LearningResult(_Frozen):
    """What became of a training or a backtest: its row's state. The sentence is in the row."""

    state: str


class BulkProgress(_Frozen):
    """`state` is `running` while there is more to do; else the job's own."""

    state: str
    left: int
