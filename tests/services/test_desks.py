"""Rules read what is committed, or set in their own transaction; never what was rolled back."""

import uuid

from models.session import Database
from services.desks import Desks
from tests.making import make_team


async def test_a_desk_that_was_rolled_back_is_never_used_again(
    database: Database, tenant: uuid.UUID
) -> None:
    desks = Desks()
    try:
        async with database.transaction(tenant) as work:
            lost = await make_team(work, "Lost")
            assert lost in (await desks.current(work)).teams
            raise RuntimeError
    except RuntimeError:
        pass
    async with database.transaction(tenant) as work:
        kept = await make_team(work, "Kept")
    async with database.transaction(tenant) as work:
        assert set((await desks.current(work)).teams) == {kept}


async def test_another_process_sees_a_change_with_its_next_transaction(
    database: Database, tenant: uuid.UUID
) -> None:
    here = Desks()
    async with database.transaction(tenant) as work:
        assert not (await here.current(work)).teams
    async with database.transaction(tenant) as work:
        team = await make_team(work)
    async with database.transaction(tenant) as work:
        assert team in (await here.current(work)).teams
