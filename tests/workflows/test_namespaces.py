"""Two desks on one Temporal: the second finds the namespace taken, and works in one of its own."""

from collections.abc import AsyncIterator, Callable

import pytest
from temporalio.client import Client

import worker
from adapters import namespaces
from cli.namespaces import away_from_others
from models.session import Database
from services.places import database_id
from settings import Settings
from tests.conftest import Urls

pytestmark = [pytest.mark.temporal, pytest.mark.slow]


@pytest.fixture
async def scheduled(dev_server: Client, database: Database) -> AsyncIterator[Client]:
    """A server on which the desk of `database` works."""
    await worker.make_schedules(dev_server, database=await database_id(database))
    yield dev_server
    for name in worker.schedules():
        await dev_server.get_schedule_handle(name).delete()


def settings(client: Client, urls: Urls) -> Settings:
    return Settings(
        database_url=urls.app,
        temporal_address=client.service_client.config.target_host,
        secret_key="only for tests: " + "s" * 32,
    )


async def test_a_database_is_known_by_the_same_name_whoever_asks(
    database: Database, urls: Urls
) -> None:
    relay = Database(urls.relay, pool_size=1)
    assert await database_id(relay) == await database_id(database) is not None
    await relay.close()


async def test_a_namespace_nobody_works_in_is_anybodys(dev_server: Client, urls: Urls) -> None:
    assert await namespaces.owner(dev_server) is None
    assert await away_from_others(settings(dev_server, urls)) is None


async def test_a_second_process_of_the_same_database_stays(scheduled: Client, urls: Urls) -> None:
    assert await away_from_others(settings(scheduled, urls)) is None


async def test_another_database_gets_a_namespace_of_its_own_that_takes_work(
    scheduled: Client, make_database: Callable[[], Urls]
) -> None:
    other = make_database()
    own = await away_from_others(settings(scheduled, other))
    assert own is not None
    assert own.startswith("holdfast-")
    assert await away_from_others(settings(scheduled, other)) == own  # as at every start
    there = Client(scheduled.service_client, namespace=own)
    opened = Database(other.app, pool_size=1)
    await worker.make_schedules(there, database=await database_id(opened))
    assert await namespaces.owner(there) == own.removeprefix("holdfast-")
    assert await namespaces.owner(scheduled) != await namespaces.owner(there)
    await opened.close()
