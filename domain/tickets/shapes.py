"""Values as a ticket holds them: cleaned once, whoever gives them."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from domain.desk import Desk
from domain.errors import Invalid
from domain.states import ActorKind
from domain.tickets.state import Actor

MAX_TAGS = 100
FURTHEST = timedelta(days=3660)  # what calendars and databases can hold, and people mean


def clean_subject(subject: str) -> str:
    """One line of at most 500 characters. Raises Invalid when nothing is left."""
    if not subject.isprintable():
        subject = "".join(c if c.isprintable() else " " for c in subject)
    line = " ".join(subject.split())[:500]
    if not line:
        raise Invalid("A ticket needs a subject.", fields={"/subject": "is empty"})
    return line


def clean_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Lower-case, trimmed, once each, in order."""
    clean = sorted({"_".join(tag.lower().split())[:100] for tag in tags} - {""})
    if len(clean) > MAX_TAGS:
        raise Invalid(f"A ticket holds at most {MAX_TAGS} tags.", fields={"/tags": "too many"})
    return tuple(clean)


def clean_fields(
    given: Mapping[str, object], desk: Desk, have: Mapping[str, object], *, by: Actor
) -> dict[str, object]:
    """What the ticket holds once `given` is put in; None takes a value away."""
    result = dict(have)
    for key, value in given.items():
        definition = desk.fields.get(key)
        closed_to = by.kind is ActorKind.CUSTOMER
        if (
            definition is None
            or not definition.active
            or (closed_to and not definition.customer_editable)
        ):
            raise Invalid(f"There is no field {key!r}.", fields={f"/fields/{key}": "is not known"})
        clean = definition.clean(value)
        if clean is None:
            result.pop(key, None)
        else:
            result[key] = clean
    return result
