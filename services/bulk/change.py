"""What a job does to each of its tickets, and who may ask for that."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.desk import Desk
from domain.errors import Invalid
from domain.permissions import Permission
from domain.states import Priority, TicketType
from domain.tickets import Changed, Retimed


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkChange:
    """What is to be changed, as it is stored with the job. Only what is in `values` is touched.

    `retimed` names the policies that tickets are timed anew for, where that is the job.
    """

    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def retimes(self) -> bool:
        return "retimed" in self.values

    def payload(self) -> Changed | Retimed:
        """What happens to each ticket."""
        return Retimed() if self.retimes else self.changed()

    def changed(self) -> Changed:
        """The values in the types that the rules know; they come out of JSON."""
        given = dict(self.values)
        if given.get("priority") is not None:
            given["priority"] = Priority(str(given["priority"]))
        if given.get("type") is not None:
            given["type"] = TicketType(str(given["type"]))
        for name in ("team_id", "assignee_id"):
            if given.get(name) is not None:
                given[name] = uuid.UUID(str(given[name]))
        for name in ("tags", "add_tags", "remove_tags"):
            if isinstance(tags := given.get(name), list | tuple):
                given[name] = tuple(tags)
        return Changed(**given)  # type: ignore[arg-type]

    def check(self, desk: Desk) -> None:
        """Refuses what no ticket could take, before a job is made of it. Raises Invalid."""
        change = self.changed()
        if isinstance(change.status, str) and change.status not in desk.statuses:
            raise Invalid("There is no such status.", fields={"/change/status": "is not known"})
        if isinstance(change.team_id, uuid.UUID):
            team = desk.teams.get(change.team_id)
            if team is None or not team.active:
                raise Invalid(
                    "There is no such team.", fields={"/change/team_id": "names no active team"}
                )
        if isinstance(change.assignee_id, uuid.UUID):
            agent = desk.agents.get(change.assignee_id)
            if agent is None or not agent.active:
                raise Invalid(
                    "There is no such agent.",
                    fields={"/change/assignee_id": "names nobody who takes tickets"},
                )

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """What the same change to one ticket would need, and the right to change many."""
        if self.retimes:
            return (Permission.SLA_MANAGE,)
        asked = set(self.values) - {"reason"}
        needed = [Permission.TICKETS_BULK]
        if asked & {"team_id", "assignee_id"}:
            needed.append(Permission.TICKETS_ASSIGN)
        if asked - {"team_id", "assignee_id"}:
            needed.append(Permission.TICKETS_CHANGE)
        return tuple(needed)
