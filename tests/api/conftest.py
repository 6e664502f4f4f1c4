"""The application over the scratch database, and tenants with somebody in every role."""

import dataclasses
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app, opened
from api.resources import Resources
from domain.permissions import Role
from domain.states import Channel
from domain.tickets import NewMessage, Ticket
from models.base import new_id
from models.session import Database
from services import people
from services.auth import Auth
from services.tickets import Requester, TicketRequest, Tickets
from services.tokens import create_token
from settings import Settings
from tests.conftest import MakeTenant, Urls

NOWHERE = "127.0.0.1:9"  # nothing listens there: what is down is down at once


@pytest.fixture(scope="session")
def settings(urls: Urls, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        home=tmp_path_factory.mktemp("home"),
        database_url=urls.app,
        migration_database_url=urls.owner,
        relay_database_url=urls.relay,
        database_pool_size=8,
        redis_url=None,
        typesense_url=None,
        temporal_address=NOWHERE,
        secret_key="only for tests: " + "s" * 32,
        tenant_signup=True,
    )


@pytest.fixture(scope="session")
async def resources(settings: Settings) -> AsyncIterator[Resources]:
    """As in production, except that who somebody is is asked at every request."""
    async with opened(settings) as made:
        auth = Auth(
            made.database,
            secret=settings.secret_key.get_secret_value(),
            public_url=settings.public_url,
            cache_seconds=0,
        )
        yield dataclasses.replace(made, auth=auth)


@pytest.fixture(scope="session")
def app(settings: Settings, resources: Resources) -> FastAPI:
    return create_app(settings, resources)


@pytest.fixture(autouse=True)
def within_one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """No window in which requests are counted ends in the midst of a test."""
    moment = time.time()
    monkeypatch.setattr("api.limits.time", lambda: moment)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """Nobody in particular, from an address nobody else has."""
    transport = httpx.ASGITransport(app, client=(str(uuid.uuid4()), 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@dataclass
class House:
    """A tenant with a user of every role, a team, an intake key."""

    tenant_id: uuid.UUID
    slug: str
    users: dict[Role, uuid.UUID] = field(default_factory=dict)
    headers: dict[Role, dict[str, str]] = field(default_factory=dict)
    intake: dict[str, str] = field(default_factory=dict)
    intake_id: uuid.UUID | None = None
    team_id: uuid.UUID = field(default_factory=new_id)

    @property
    def admin(self) -> dict[str, str]:
        return self.headers[Role.ADMIN]

    @property
    def agent(self) -> dict[str, str]:
        return self.headers[Role.AGENT]


MakeHouse = Callable[..., Awaitable[House]]


@pytest.fixture(scope="session")
def make_house(database: Database, make_tenant: MakeTenant) -> MakeHouse:
    async def make(**settings: object) -> House:
        now = datetime.now(UTC)
        tenant_id = await make_tenant(**settings)
        async with database.transaction(tenant_id) as work:
            row = await work.row("select slug from tenants where id = :id", {"id": tenant_id})
            assert row is not None
            house = House(tenant_id, row["slug"])
            house.team_id = await people.create_team(
                work, name="First line", routing="manual", now=now
            )
            for role in Role:
                user_id = await people.create_user(
                    work,
                    email=f"{role.value}@{house.slug}.test.example",
                    name=role.value.title(),
                    role=role,
                    password_hash=None,
                    now=now,
                )
                token = await create_token(
                    work, kind="personal", name="test", user_id=user_id, now=now,
                    rate_class="unlimited",
                )  # fmt: skip
                house.users[role] = user_id
                house.headers[role] = {"Authorization": f"Bearer {token.secret}"}
            await people.put_member(work, house.team_id, house.users[Role.AGENT], lead=False)
            key = await create_token(work, kind="intake", name="form", user_id=None, now=now)
            house.intake = {"Authorization": f"Bearer {key.secret}"}
            house.intake_id = key.id
        return house

    return make


@pytest.fixture
async def house(make_house: MakeHouse) -> House:
    return await make_house()


async def make_ticket(
    database: Database,
    tickets: Tickets,
    house: House,
    *,
    subject: str = "The printer is on fire",
    assignee_id: uuid.UUID | None = None,
    team_id: uuid.UUID | None = None,
) -> Ticket:
    """A ticket of a customer."""
    async with database.transaction(house.tenant_id) as work:
        outcome = await tickets.create(
            work,
            TicketRequest(
                key=str(new_id()),
                subject=subject,
                message=NewMessage(new_id(), "It burns."),
                channel=Channel.API,
                requester=Requester("email", "customer@example.org", "Customer"),
                assignee_id=assignee_id,
                team_id=team_id,
            ),
        )
    return outcome.ticket
