"""Workflows that steps start: which of them a desk offers, and what became of each start."""

import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime

from domain.errors import Conflict, Invalid, NotFound
from domain.lifecycle import QUEUES, TRAINING, StartInput, TicketRef
from domain.sla import Policy, StartWorkflow
from domain.starting import MOST_OFFERED, SHIPPED, Offered, started_as
from domain.tickets import Decision
from models import ledger
from models.base import new_id
from models.session import Row, Statement, Work
from services import configuration, desks
from services.desks import LoadedDesk


def told(
    desk: LoadedDesk, decision: Decision, *, at: datetime
) -> Iterator[tuple[uuid.UUID | None, Statement]]:
    """The starts that follow from a decision, each with the id of its delivery.

    Without an id where it is only written down: nobody offers that workflow any more.
    """
    for call in decision.calls:
        if call.kind != "workflow" or call.workflow is None:
            continue
        offer = SHIPPED.get(call.workflow) or desk.workflows.get(call.workflow)
        key, delivery_id = f"workflow/{call.workflow}/{call.key}", new_id()
        ref = TicketRef(tenant_id=desk.tenant_id, slug=desk.slug, number=decision.ticket.number)
        given = StartInput(
            ticket=ref, ticket_id=decision.ticket.id, delivery_id=delivery_id, seq=call.seq
        )
        yield (
            delivery_id if offer else None,
            ledger.insert_start(
                desk.tenant_id,
                id=delivery_id,
                ticket_id=decision.ticket.id,
                key=key,
                name=call.workflow,
                payload={
                    "type": offer.type if offer else None,
                    "queue": offer.queue if offer else None,
                    "workflow_id": started_as(desk.slug, key),
                    "input": given.model_dump(mode="json"),
                },
                state="queued" if offer else "cancelled",
                error=None if offer else "This desk offers no such workflow any more.",
                at=at,
            ),
        )


# What a desk offers: an operator decides.


async def offered(work: Work) -> list[Offered]:
    """Every workflow that a step of this desk may start, by name."""
    rows = await work.rows(
        "select name, type, queue, about from step_workflows where tenant_id = :tenant",
        {"tenant": work.tenant_id},
    )
    own = [Offered(row["name"], row["type"], row["queue"], row["about"]) for row in rows]
    return sorted([*SHIPPED.values(), *own], key=lambda offer: offer.name)


async def offer(work: Work, new: Offered, *, now: datetime) -> None:
    """From now on steps may start it. The same name again gives it another type or queue."""
    await configuration.hold(work)
    wrong: dict[str, str] = {}
    try:
        StartWorkflow(name=new.name)
    except ValueError:
        wrong["/name"] = "begins with a letter: small letters, digits, - and _"
    if new.name in SHIPPED:
        wrong["/name"] = "is one that ships with Holdfast"
    if new.queue in (*QUEUES, TRAINING):
        wrong["/queue"] = "is Holdfast's own: name the queue of your worker"
    if not new.queue or not new.type:
        wrong["/queue" if not new.queue else "/type"] = "is empty"
    if wrong:
        raise Invalid("That workflow cannot be offered.", fields=wrong)
    others = [one for one in await offered(work) if one.name != new.name]
    if len(others) >= MOST_OFFERED:
        raise Conflict(f"A desk offers at most {MOST_OFFERED} workflows.")
    await work.execute(
        "insert into step_workflows (tenant_id, name, type, queue, about, created_at)"
        " values (:tenant, :name, :type, :queue, :about, :now)"
        " on conflict (tenant_id, name) do update set type = excluded.type,"
        " queue = excluded.queue, about = excluded.about",
        {
            "tenant": work.tenant_id,
            "name": new.name,
            "type": new.type,
            "queue": new.queue,
            "about": new.about,
            "now": now,
        },
    )
    await desks.changed(work)


async def withdraw(work: Work, name: str) -> None:
    """No step may start it any more. Raises NotFound; Conflict where a policy in force does."""
    await configuration.hold(work)
    if name in SHIPPED or name not in {one.name for one in await offered(work)}:
        raise NotFound(f"This desk has registered no workflow {name!r}.")
    for row in await configuration.policies(work):
        if row["active"] and name in _started_by(Policy.model_validate(row["body"])):
            raise Conflict(f"The policy {row['name']!r} starts this workflow. Change that first.")
    await work.execute(
        "delete from step_workflows where tenant_id = :tenant and name = :name",
        {"tenant": work.tenant_id, "name": name},
    )
    await desks.changed(work)


def _started_by(policy: Policy) -> set[str]:
    return {
        action.name
        for step in policy.steps
        for action in step.actions
        if isinstance(action, StartWorkflow)
    }


# What became of the starts.


async def starts(
    work: Work, *, name: str | None, number: int | None, after: uuid.UUID | None, limit: int
) -> Sequence[Row]:
    """What steps have started, newest first: of one workflow, of one ticket, or all."""
    return await work.rows(
        "select d.id, d.recipient as name, t.number, d.state, d.attempts, d.error,"
        " d.payload ->> 'workflow_id' as workflow_id, d.payload ->> 'queue' as queue,"
        " (d.payload -> 'input' ->> 'seq')::int as seq, d.created_at, d.updated_at, d.sent_at"
        " from deliveries d join tickets t on t.tenant_id = d.tenant_id and t.id = d.ticket_id"
        " where d.tenant_id = :tenant and d.kind = 'workflow'"
        " and (cast(:name as text) is null or d.recipient = :name)"
        " and (cast(:number as bigint) is null or t.number = :number)"
        " and (cast(:after as uuid) is null or d.id < :after) order by d.id desc limit :limit",
        {
            "tenant": work.tenant_id,
            "name": name,
            "number": number,
            "after": after,
            "limit": limit,
        },
    )
