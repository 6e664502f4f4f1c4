"""The doctor says why, not only that."""

import uuid
from collections.abc import AsyncIterator, Sequence

import pytest

from cli.doctor import _relay
from models.session import Database
from services.desks import Desks
from services.relay import DestinationDown, Fact, Relay
from services.tickets import Tickets
from tests.conftest import Urls
from tests.making import make_ticket


@pytest.fixture
async def relay_database(urls: Urls) -> AsyncIterator[Database]:
    database = Database(urls.relay, pool_size=2)
    yield database
    await database.close()


class Away:
    name = "index"
    locks_tickets = True

    async def tell(self, facts: Sequence[Fact]) -> dict[uuid.UUID, str]:
        try:
            raise ConnectionRefusedError("nobody listens")
        except OSError as error:
            raise DestinationDown(f"Typesense does not answer ({error})") from error


async def test_a_destination_that_is_away_is_shown_with_its_reason(
    database: Database, relay_database: Database, tenant: uuid.UUID
) -> None:
    await make_ticket(database, Tickets(Desks()), tenant)
    with pytest.raises(DestinationDown):
        await Relay(relay_database, Away()).drain()
    found = {one.subject: one.text async for one in _relay(relay_database)}
    why = "ConnectionRefusedError: Typesense does not answer (nobody listens)"
    assert found["relay to index"].endswith(f"last error: {why}")
    assert found["relay to live"].endswith("s")  # it waits, and nothing is wrong with it
