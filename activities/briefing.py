"""Writing the note that briefs whoever takes a ticket over."""

from datetime import UTC, datetime

from temporalio import activity

from activities.tickets import bind
from domain.lifecycle import StartInput
from models.session import Database
from services.briefing import brief
from services.desks import Desks
from services.tickets import Tickets


class BriefingActivities:
    def __init__(self, database: Database, desks: Desks, tickets: Tickets) -> None:
        self._database = database
        self._desks = desks
        self._tickets = tickets

    @activity.defn
    async def brief(self, asked: StartInput) -> str:
        """Whether the note is written; the second attempt finds it there."""
        bind(asked.ticket, {})
        return await brief(self._database, self._desks, self._tickets, asked, now=datetime.now(UTC))
