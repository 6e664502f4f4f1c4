"""A step that wakes whoever is on call wakes whose turn it is when it comes."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from domain.rotas import Rota
from domain.sla import Metric, Notify, Step
from domain.tickets import Changed
from models.session import Database
from services import rotas
from services.tickets import Tickets
from tests.making import happens, make_agent, make_policy, make_team, make_ticket
from tests.services.test_timing import advance, tickets

__all__ = ["tickets"]
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("turn", [0, 1, 2])
async def test_whose_turn_it_is_when_the_step_comes_is_told_and_where_it_is_nobodys_who_leads(
    database: Database, tickets: Tickets, tenant: uuid.UUID, turn: int
) -> None:
    step = Step(id="wake", metric=Metric.FIRST_REPLY, percent=50, action=Notify(to=("on_call",)))
    first = (datetime.now(UTC) + timedelta(days=1)).date()
    async with database.transaction(tenant) as work:
        await make_policy(work, steps=(step,))
        team = await make_team(work)
        lead, ada, ben = [
            await make_agent(work, name, teams=(team,)) for name in ("Lea", "Ada", "Ben")
        ]
        await work.execute("update team_members set lead = true where user_id = :u", {"u": lead})
        said = {"user_ids": [ada, ben], "first": first, "handover": "00:00", "turn_days": 1}
        await rotas.put_rota(
            work, team, Rota.model_validate({"layers": [said]}), by=lead, now=datetime.now(UTC)
        )
    # Half an hour after it was opened: before the first turn, in Ada's, in Ben's.
    at = datetime(first.year, first.month, first.day, tzinfo=UTC) + timedelta(days=turn) - 12 * HOUR
    ticket = await make_ticket(database, tickets, tenant, now=at)
    await happens(database, tickets, tenant, ticket.number, Changed(team_id=team), by=lead, now=at)
    await advance(database, tickets, tenant, ticket, at + HOUR / 2)
    async with database.transaction(tenant) as work:
        rows = await work.rows(
            "select user_id from notifications where ticket_id = :i and kind = 'sla_warning'",
            {"i": ticket.id},
        )
    assert {row["user_id"] for row in rows} == {[lead, ada, ben][turn]}
