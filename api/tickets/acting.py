"""What every action on a ticket needs: who may, what was said, one event on one ticket."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Path, Response
from pydantic import Field

from api.deps import Allowed, EventKey, From, Served
from api.resources import Resources
from api.shapes import Request
from api.tickets.shapes import TicketOut, ticket_out
from api.versions import Seen
from domain.permissions import Permission, Principal
from domain.tickets import (
    Actor,
    Event,
    NewMessage,
    Payload,
)
from models.base import new_id
from models.session import Work
from services import files
from services.tickets import Origin, Outcome, Step
from services.words import words

Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
Tag = Annotated[str, Field(min_length=1, max_length=100)]
Tags = Annotated[list[Tag], Field(max_length=100)]
Fields = Annotated[dict[str, object], Field(max_length=300)]
Reason = Annotated[str, Field(min_length=1, max_length=1000)]
Read = Annotated[
    int | None, Field(ge=0, description="`seq` of the ticket as the author last read it.")
]


Creator = Annotated[Principal, Depends(Allowed(Permission.TICKETS_CREATE))]
Replier = Annotated[Principal, Depends(Allowed(Permission.TICKETS_REPLY))]
Noter = Annotated[Principal, Depends(Allowed(Permission.TICKETS_NOTE))]
Changer = Annotated[Principal, Depends(Allowed(Permission.TICKETS_CHANGE))]
Assigner = Annotated[Principal, Depends(Allowed(Permission.TICKETS_ASSIGN))]
Escalator = Annotated[Principal, Depends(Allowed(Permission.TICKETS_ESCALATE))]
Watcher = Annotated[Principal, Depends(Allowed(Permission.TICKETS_VIEW))]


class Spoken(Request):
    """Something said: text, HTML, or both. Files are uploaded before and named here."""

    text: str | None = None
    html: str | None = None
    attachments: Annotated[list[UUID], Field(max_length=files.MOST_PER_MESSAGE)] = Field(
        default_factory=list
    )


class Acting:
    """What every action needs beside its caller: where it came from, under which key, and which
    version of the ticket it was decided upon."""

    def __init__(
        self, served: Resources, origin: Origin, key: str, seen: int | None = None
    ) -> None:
        self.served = served
        self.origin = origin
        self.key = key
        self.seen = seen

    async def act(
        self,
        work: Work,
        caller: Principal,
        number: int,
        payload: Payload,
        permission: Permission,
        response: Response,
        *,
        actor: Actor | None = None,
        cause: Mapping[str, object] | None = None,
        occurred_at: datetime | None = None,
    ) -> TicketOut:
        """One event on one ticket."""
        outcome = await self.happens(
            work, caller, number, payload, permission, actor=actor, cause=cause,
            occurred_at=occurred_at,
        )  # fmt: skip
        return await self.answer(work, outcome, response)

    async def happens(
        self,
        work: Work,
        caller: Principal,
        number: int,
        payload: Payload,
        permission: Permission,
        *,
        actor: Actor | None = None,
        cause: Mapping[str, object] | None = None,
        occurred_at: datetime | None = None,
    ) -> Outcome:
        """The same, for those who answer with more than the ticket."""
        event = Event(
            key=self.key,
            actor=actor or caller.actor,
            payload=payload,
            cause={**self.origin.cause, **(cause or {})},
            occurred_at=occurred_at,
        )
        [outcome] = await self.served.tickets.handle(
            work, Step(number, event, permission, seen=self.seen), caller=caller, origin=self.origin
        )
        return outcome

    async def answer(self, work: Work, outcome: Outcome, response: Response) -> TicketOut:
        response.headers["ETag"] = f'"{outcome.ticket.seq}"'
        # The desk it was decided by: any version in memory is no older, so this asks nothing.
        return ticket_out(outcome.ticket, await self.served.desks.get(work, 0))


async def _creating(served: Served, origin: From, key: EventKey) -> Acting:
    return Acting(served, origin, key)


async def _acting(served: Served, origin: From, key: EventKey, seen: Seen) -> Acting:
    return Acting(served, origin, key, seen)


Create = Annotated[Acting, Depends(_creating)]
Act = Annotated[Acting, Depends(_acting)]


async def spoken(work: Work, body: Spoken, uploaded_by: str) -> NewMessage:
    """What was said as it will be stored, its files held."""
    said = words(body.text, body.html, may_be_empty=bool(body.attachments))
    held = await files.claim(work, body.attachments, uploaded_by=uploaded_by)
    return NewMessage(new_id(), said.text, said.html, held)


def uploader(caller: Principal) -> str:
    """How a caller's uploads are marked as theirs."""
    return f"{caller.kind}:{caller.id}"
