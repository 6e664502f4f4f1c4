"""The doctor says why, not only that."""

import hashlib
import uuid
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from cli.doctor import _models, _relay
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


async def test_a_desks_model_with_a_damaged_file_is_named(
    database: Database, relay_database: Database, tenant: uuid.UUID, tmp_path: Path
) -> None:
    sums = {}
    async with database.transaction(tenant) as work:
        for field, content in (("topic", b"whole"), ("priority", b"was whole"), ("team", b"gone")):
            sums[field] = hashlib.sha256(content).hexdigest()
            await work.execute(
                "insert into triage_models (tenant_id, id, field, version, state, measures, sha256,"
                " created_at) values (:t, :id, :field, 3, 'champion', '{}', :sha, now())",
                {"t": tenant, "id": uuid.uuid4(), "field": field, "sha": sums[field]},
            )
    for field, content in (("topic", b"whole"), ("priority", b"no longer")):
        place = tmp_path / tenant.hex / sums[field][:2] / sums[field]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    slug = f"t-{tenant.hex[-12:]}"
    found = {
        one.text async for one in _models(relay_database, tmp_path) if one.subject.endswith(slug)
    }
    assert found == {
        "priority-3: its file is not the one that was written. The model that ships answers.",
        "team-3: its file is missing. The model that ships answers.",
    }
