"""Changes made in ignorance of newer ones, refused."""

from collections.abc import Mapping

from domain.errors import ChangedMeanwhile, Conflict
from domain.tickets import Changed, Decision, Event, Ticket, asked_properties
from models.session import Work
from services.tickets.asking import Step

# Kept beside the rest, and not for people to decide about.
_OWN = frozenset({"policy_id", "policy_version"})


class NotYet(Conflict):
    """A version was named that the ticket has not reached: it was read somewhere else."""

    code = "no_such_version"

    def __init__(self, ticket: Ticket, seen: int) -> None:
        super().__init__(
            f"Ticket {ticket.number} is at version {ticket.seq}; there is no {seen} yet."
            " Read it again, then decide.",
            fields={"header/If-Match": f"names version {seen}"},
        )


async def refuse_stale(work: Work, ticket: Ticket, step: Step, names: set[str]) -> None:
    """Changes made in ignorance of a newer change to the same property conflict."""
    payload, seen = step.event.payload, step.seen
    if isinstance(payload, Changed) and payload.seen is not None:
        seen = payload.seen
    if seen is None or seen == ticket.seq:
        return
    if seen > ticket.seq:
        raise NotYet(ticket, seen)
    [rows] = await work.batch(
        (
            "select seq, type, changes, data from events"
            " where tenant_id = %s and ticket_id = %s and seq > %s order by seq",
            (work.tenant_id, ticket.id, seen),
        )
    )
    meanwhile = {
        name: row["seq"]
        for row in rows
        for name in _touched(row["type"], row["changes"], row["data"])
    }
    both = sorted(names & set(meanwhile))
    if both:
        raise ChangedMeanwhile(
            f"Somebody changed {', '.join(both)} since you read ticket {ticket.number}."
            " Read it again, then decide.",
            fields={
                f"/{name.replace('.', '/')}": f"changed by event {meanwhile[name]}" for name in both
            },
        )


def wished_by(event: Event) -> set[str] | None:
    """The properties that a change names; None for what decides by itself which it changes."""
    return asked_properties(event.payload) if isinstance(event.payload, Changed) else None


def decided(decision: Decision) -> set[str]:
    """The properties that a decision changes."""
    return {
        name
        for entry in decision.entries
        for name in _touched(entry.type, entry.changes, entry.data)
    }


def _touched(kind: str, changes: Mapping[str, object], data: Mapping[str, object]) -> set[str]:
    """The properties an event is about: each custom field and each link by itself."""
    names = set(changes) - {"fields"} - _OWN
    pair = changes.get("fields")
    if isinstance(pair, list):
        old, new = (value or {} for value in pair)
        names |= {f"fields.{key}" for key in {*old, *new} if old.get(key) != new.get(key)}
    if kind in ("linked", "unlinked"):
        names.add(f"links.{data['kind']}.{data['number']}")
    return names
