"""What requests are served with: made once per process, handed out by `api.deps`."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from models.session import Database
from services.desks import Desks
from services.tickets import Tickets
from settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from services.auth import Auth
    from services.search import Search


class LiveWorkflows(Protocol):
    """What the facade asks of Temporal: one ticket's own answer, soon or not at all."""

    async def current(self, slug: str, number: int) -> dict[str, object] | None:
        """What the ticket's workflow waits for; None when it does not answer within two seconds."""

    def link(self, slug: str, number: int) -> str | None:
        """Where an operator sees that workflow."""

    async def healthy(self) -> bool: ...


@dataclass(frozen=True)
class Resources:
    settings: Settings
    database: Database
    desks: Desks
    tickets: Tickets
    auth: "Auth"
    search: "Search"
    workflows: LiveWorkflows
    redis: "Redis | None" = field(default=None)
