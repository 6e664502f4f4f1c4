"""Past tickets as rows to learn from: read from the timeline in pieces, so never out of date."""

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, cast

from domain.learning import (
    COLUMNS,
    FIELDS,
    LONGEST_TAUGHT,
    Happened,
    Label,
    TriageField,
    labels_of,
)
from domain.triage import words_of
from models.session import Database, Row

AT_ONCE: Final = 200  # tickets in one short transaction: none stays open while models work
_LAST = uuid.UUID(int=2**128 - 1)
_JUDGED_COLUMNS = ", ".join(f"'{column}'" for column in COLUMNS.values())
# The first words are those that triage read: written in this ticket, whatever was merged in since.
_PAST = (
    "select t.id, t.number, t.created_at, t.category in ('resolved', 'closed') as is_over,"
    " coalesce((select e.data ->> 'subject' from events e where e.tenant_id = t.tenant_id"
    "  and e.ticket_id = t.id and e.seq = 1), t.subject) as subject,"
    " (select left(m.body_text, 60000) from messages m where m.tenant_id = t.tenant_id"
    "  and m.origin_ticket_id = t.id order by m.created_at, m.id limit 1) as body,"
    " (select jsonb_agg(jsonb_build_object('type', e.type, 'actor_kind', e.actor_kind,"
    "   'changes', e.changes, 'data', case when e.type in ('labelled', 'triaged') then e.data"
    "   else '{}' end, 'at', e.occurred_at, 'in_bulk', jsonb_exists(e.cause, 'bulk'))"
    "   order by e.seq) from events e where e.tenant_id = t.tenant_id and e.ticket_id = t.id"
    "   and (e.type in ('labelled', 'triaged', 'mood_read', 'agent_replied')"
    "    or jsonb_exists_any(e.changes,"
    f"    array[{_JUDGED_COLUMNS}, 'category']))) as timeline"
    " from tickets t where t.tenant_id = :tenant and t.category <> 'merged'"
    " and (t.created_at, t.id) < (coalesce(cast(:until as timestamptz), 'infinity'), :before)"
)
_JUDGED = f" and (t.decided && array[{_JUDGED_COLUMNS}] or t.category in ('resolved', 'closed'))"


class Past(NamedTuple):
    """One ticket: what was asked, what people said was right, what models had said."""

    number: int
    created_at: datetime
    text: str
    labels: Mapping[TriageField, Label]
    verdicts: Sequence["Said"]
    is_over: bool = False
    read_on: bool = False  # the mood of later words was read


class Said(NamedTuple):
    """One verdict as the timeline has it."""

    at: datetime
    model_version: str
    applied: tuple[str, ...]
    guesses: Mapping[TriageField, Mapping[str, object]]


async def past_tickets(
    database: Database,
    tenant_id: uuid.UUID,
    *,
    judged: bool = True,
    since: datetime | None = None,
    until: datetime | None = None,
) -> AsyncIterator[list[Past]]:
    """A desk's tickets, newest first, some at a time; with `judged` only those people judged.

    Those made from `since` and before `until`, where given.
    """
    before = _LAST if until is None else uuid.UUID(int=0)
    while True:
        async with database.transaction(tenant_id, reading=True) as work:
            rows = await work.rows(
                _PAST
                + (_JUDGED if judged else "")
                + (" and t.created_at >= :since" if since is not None else "")
                + " order by t.created_at desc, t.id desc limit :limit",
                {
                    "tenant": tenant_id,
                    "until": until,
                    "before": before,
                    "limit": AT_ONCE,
                    **({"since": since} if since is not None else {}),
                },
            )
        if rows:
            until, before = rows[-1]["created_at"], rows[-1]["id"]
            yield [past_of(row) for row in rows]
        if len(rows) < AT_ONCE:
            return


def past_of(row: Row) -> Past:
    """A row of the query above."""
    timeline = row["timeline"] or []
    return Past(
        number=row["number"],
        created_at=row["created_at"],
        text=words_of(row["subject"], row["body"] or "")[:LONGEST_TAUGHT],
        labels=labels_of(happened(event) for event in timeline),
        verdicts=[said(event) for event in timeline if event["type"] == "triaged"],
        is_over=row["is_over"],
        read_on=any(event["type"] == "mood_read" for event in timeline),
    )


def happened(event: Mapping[str, object]) -> Happened:
    at = event["at"]
    return Happened(
        type=str(event["type"]),
        actor_kind=str(event["actor_kind"]),
        changes=cast("Mapping[str, Sequence[object]]", event["changes"]),
        data=cast("Mapping[str, object]", event["data"]),
        at=at if isinstance(at, datetime) else datetime.fromisoformat(str(at)),
        in_bulk=bool(event["in_bulk"]),
    )


def said(event: Mapping[str, object]) -> Said:
    """A verdict in full, or as far as events from before it was kept in full tell it."""
    data = cast("Mapping[str, object]", event["data"])
    at = event["at"]
    whole = data.get("verdict")
    guesses: dict[TriageField, Mapping[str, object]] = {}
    for field in FIELDS:
        guess = whole.get(field) if isinstance(whole, Mapping) else None
        brief = data.get(field)
        if isinstance(guess, Mapping):
            guesses[field] = guess
        elif isinstance(brief, Mapping):  # the mood of a later message
            guesses[field] = brief
        elif isinstance(brief, Sequence) and not isinstance(brief, str) and len(brief) == 2:
            applied = field in cast("Sequence[str]", data.get("applied") or ())
            guesses[field] = {
                "label": brief[0],
                "probability": brief[1],
                "abstained": not applied,
                "top": [list(brief)],
            }
    return Said(
        at=at if isinstance(at, datetime) else datetime.fromisoformat(str(at)),
        model_version=str(data.get("model_version") or "unknown"),
        applied=tuple(str(name) for name in cast("Sequence[str]", data.get("applied") or ())),
        guesses=guesses,
    )


__all__ = ["AT_ONCE", "Past", "Said", "happened", "past_of", "past_tickets", "said"]
