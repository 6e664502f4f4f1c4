"""Where the relay tells things: tickets' workflows, the search index, live feeds."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import orjson
from redis.asyncio import Redis
from redis.exceptions import RedisError

from adapters.search import SearchDown
from adapters.temporal import TemporalDown, TicketWorkflows
from domain.lifecycle import (
    Change,
    TicketRef,
    attributes_of,
    job_ref,
)
from models import ledger
from models.session import Database
from services import retelling
from services.relay import DestinationDown, Fact
from services.search import documents_of

if TYPE_CHECKING:
    from adapters.search import SearchIndex


class WorkflowsDestination:
    """Signals with start, a few at a time: unpaced starts starve the workflow tasks behind them."""

    name = "workflows"
    locks_tickets = False

    def __init__(
        self,
        relay_database: Database,
        workflows: TicketWorkflows,
        *,
        at_once: int = 12,
        search_attributes: bool = True,
    ) -> None:
        self._database = relay_database
        self._workflows = workflows
        self._at_once = asyncio.Semaphore(at_once)
        self._search_attributes = search_attributes

    async def tell(self, facts: Sequence[Fact]) -> dict[UUID, str]:
        async with self._database.transaction(None) as work:
            [rows] = await work.batch(ledger.read_tickets([f.ticket_id for f in facts]))
        tickets = {row["id"]: ledger.to_ticket(row) for row in rows}
        failed: dict[UUID, str] = {}
        down: list[TemporalDown] = []

        async def wake(fact: Fact) -> None:
            ticket = tickets.get(fact.ticket_id)
            attributes = (
                attributes_of(fact.slug, ticket) if ticket and self._search_attributes else None
            )
            async with self._at_once:
                if down:
                    return
                try:
                    job = job_ref(fact.kind, fact.tenant_id, fact.slug, fact.ticket_id)
                    if job is not None:
                        await self._workflows.start(job)
                        return
                    await self._workflows.wake(
                        TicketRef(tenant_id=fact.tenant_id, slug=fact.slug, number=fact.number),
                        Change(
                            kind=fact.kind,
                            seq=fact.seq,
                            actor=fact.actor_id,
                            trace=dict(fact.trace),
                        ),
                        attributes=attributes,
                    )
                except TemporalDown as error:
                    down.append(error)
                except Exception as error:
                    failed[fact.ticket_id] = f"{type(error).__name__}: {error}"

        async with asyncio.TaskGroup() as group:
            for fact in facts:
                group.create_task(wake(fact))
        if down:
            raise DestinationDown(f"Temporal does not answer ({down[0]})") from down[0]
        return failed


class IndexDestination:
    """The rows' present state into the search index, one relay at a time per ticket.

    A fact about a customer or an organization becomes facts about their tickets.
    """

    name = "index"
    locks_tickets = True

    def __init__(self, database: Database, index: "SearchIndex") -> None:
        self._database = database
        self._index = index

    async def tell(self, facts: Sequence[Fact]) -> dict[UUID, str]:
        documents: list[dict[str, object]] = []
        for tenant_id in {f.tenant_id for f in facts}:
            own = [f for f in facts if f.tenant_id == tenant_id]
            ids = [f.ticket_id for f in own if f.kind not in retelling.KINDS]
            async with self._database.transaction(tenant_id) as work:
                documents += await documents_of(work, ids)
        try:
            refused = await self._index.tell(documents)
        except SearchDown as error:
            raise DestinationDown(f"Typesense does not answer ({error})") from error
        # Last, so that an index that is away is not asked for more and more.
        for fact in facts:
            if fact.kind in retelling.KINDS:
                async with self._database.transaction(fact.tenant_id) as work:
                    await retelling.carry_on(
                        work, fact.kind, fact.ticket_id, step=-fact.seq, cursor=fact.trace
                    )
        return refused


class LiveDestination:
    """One message per ticket to whoever listens for its tenant. Nobody listening is no error."""

    name = "live"
    locks_tickets = False

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def tell(self, facts: Sequence[Fact]) -> dict[UUID, str]:
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for fact in facts:
                    pipe.publish(
                        f"holdfast:{fact.slug}:live",
                        orjson.dumps(
                            {
                                "ticket": fact.number,
                                "kind": fact.kind,
                                "seq": fact.seq,
                                "actor": fact.actor_id,
                            }
                        ),
                    )
                await pipe.execute()
        except (RedisError, OSError) as error:
            raise DestinationDown("Redis does not answer") from error
        return {}


class Dropped:
    """A destination nobody set up: there is nothing to tell, and nothing may pile up."""

    locks_tickets = False

    def __init__(self, name: str) -> None:
        self.name = name

    async def tell(self, facts: Sequence[Fact]) -> dict[UUID, str]:
        return {}
