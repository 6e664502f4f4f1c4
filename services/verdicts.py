"""What models said, what people made of it: of one ticket, and of a desk over time."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, cast
from uuid import UUID

from domain.errors import TicketNotFound
from domain.learning import COLUMNS, FIELDS, TriageField
from domain.permissions import Permission, Principal, check
from domain.scoring import pressure, scored
from domain.tickets import Ticket
from models import ledger
from models.session import Database, Row, Work
from services.labelling import Past, Said, past_tickets, said

MOST_REPORTED: Final = 20_000  # tickets: a report is an answer to a request, not a job
WEEK: Final = timedelta(days=7)


# One ticket.


async def analysis(work: Work, number: int, caller: Principal, *, now: datetime) -> Row:
    """Everything models have said about a ticket, who decided otherwise, and how pressing it is.

    Raises TicketNotFound for one the caller may not see.
    """
    tenant = work.tenant_id
    [rows] = await work.batch(ledger.read_ticket(tenant, number))
    if not rows:
        raise TicketNotFound
    ticket = ledger.to_ticket(rows[0])
    check(caller, Permission.TICKETS_VIEW, ticket)
    events = await work.rows(
        "select e.seq, e.type, e.actor_kind, e.actor_id, u.name as actor_name, e.changes, e.data,"
        " e.occurred_at as at from events e left join users u on u.tenant_id = e.tenant_id"
        " and u.id = e.actor_id and e.actor_kind = 'user'"
        " where e.tenant_id = :tenant and e.ticket_id = :ticket and (e.type in ('triaged',"
        " 'mood_read', 'labelled') or jsonb_exists_any(e.changes, cast(:columns as text[])))"
        " order by e.seq",
        {"tenant": tenant, "ticket": ticket.id, "columns": [*COLUMNS.values()]},
    )
    verdicts = [
        (event, said(event)) for event in events if event["type"] in ("triaged", "mood_read")
    ]
    [first] = await work.rows(
        "select (select m.id from messages m where m.tenant_id = :tenant"
        " and m.origin_ticket_id = :ticket order by m.created_at, m.id limit 1) as id",
        {"tenant": tenant, "ticket": ticket.id},
    )
    return {
        "number": number,
        "triage": ticket.triage,
        "score": scored(pressure(lambda name: getattr(ticket, name)), now=now),
        "frustration": (ticket.verdict or {}).get("frustration"),
        "mood_pending": ticket.mood_due is not None and not ticket.category.is_over,
        "questions": [_standing(ticket, name, events, verdicts) for name in FIELDS],
        "verdicts": [_shown(event, verdict, first["id"]) for event, verdict in reversed(verdicts)],
    }


def _standing(
    ticket: Ticket,
    name: TriageField,
    events: Iterable[Row],
    verdicts: list[tuple[Row, Said]],
) -> Row:
    """One question: what stands, what was suggested last, and who decided."""
    asked = [one for one in verdicts if one[0]["type"] == "triaged" or name in one[1].guesses]
    event, last = asked[-1] if asked else (None, None)
    guess = last.guesses.get(name) if last else None
    value = getattr(ticket, COLUMNS[name])
    value = None if value is None else str(value)
    person = None
    for one in events:
        if one["actor_kind"] != "user":
            continue
        labels = one["data"].get("labels") or {} if one["type"] == "labelled" else {}
        if name in labels or COLUMNS[name] in one["changes"]:
            person = one
    overridden = (
        person is not None
        and event is not None
        and guess is not None
        and person["seq"] > event["seq"]
        and value != str(guess["label"])
    )
    return {
        "field": name,
        "value": value,
        "suggestion": opinion(guess, last.model_version) if guess and last else None,
        "applied": last is not None and name in last.applied,
        "overridden": overridden,
        "decided_by_id": person["actor_id"] if person else None,
        "decided_by_name": person["actor_name"] if person else None,
        "decided_at": person["at"] if person else None,
    }


def _shown(event: Row, verdict: Said, first: UUID | None) -> Row:
    """A verdict of the first message, or the mood of a later one, which it says in short."""
    data = event["data"]
    is_mood = event["type"] == "mood_read"
    whole = data if is_mood else data.get("verdict") or {}
    return {
        "kind": "mood" if is_mood else "all",
        "message_id": data.get("message_id") if is_mood else first,
        "message_seq": data.get("message_seq") if is_mood else 1,
        "frustration": whole.get("frustration"),
        "seq": event["seq"],
        "at": event["at"],
        "model_version": verdict.model_version,
        "input_sha256": whole.get("input_sha256"),
        "applied": list(verdict.applied),
        "opinions": [
            {"field": name, **opinion(guess, verdict.model_version)}
            for name, guess in verdict.guesses.items()
        ],
    }


def opinion(guess: Mapping[str, object], model_version: str) -> Row:
    """A guess as answers have it, with blanks for what older ones did not say."""
    top = cast("list[list[object]]", guess.get("top") or [])
    words = cast("list[list[object]]", guess.get("words") or [])
    return {
        "label": guess["label"],
        "probability": guess["probability"],
        "abstained": guess["abstained"],
        "top": [{"label": label, "probability": share} for label, share in top],
        "words": [{"word": word, "weight": weight} for word, weight in words],
        "out_of_scope": bool(guess.get("out_of_scope", False)),
        "strangeness": guess.get("strangeness"),
        "model_version": guess.get("model_version") or model_version,
    }


# A desk over time.


@dataclass(slots=True)
class Tally:
    """Verdicts of one question. `right` and `wrong` are of those that people judged."""

    asked: int = 0
    answered: int = 0
    applied: int = 0
    right: int = 0
    wrong: int = 0
    abstained_right: int = 0  # withheld, though it would have been right
    abstained_wrong: int = 0

    def add(self, past: Past, name: TriageField) -> None:
        """One ticket more, by its last verdict."""
        guess = past.verdicts[-1].guesses.get(name) if past.verdicts else None
        if guess is None:
            return
        answered = not guess["abstained"]
        self.asked += 1
        self.answered += answered
        self.applied += name in past.verdicts[-1].applied
        label = past.labels.get(name)
        if label is None:
            return
        is_right = label.value == str(guess["label"])
        if answered:
            self.right += is_right
            self.wrong += not is_right
        else:
            self.abstained_right += is_right
            self.abstained_wrong += not is_right

    def shown(self) -> Row:
        judged = self.right + self.wrong
        return {
            "asked": self.asked,
            "answered": self.answered,
            "coverage": self.answered / self.asked if self.asked else None,
            "applied": self.applied,
            "judged": judged,
            "right": self.right,
            "corrected": self.wrong,
            "precision": self.right / judged if judged else None,
            "withheld_right": self.abstained_right,
            "withheld_wrong": self.abstained_wrong,
        }


@dataclass(slots=True)
class _Weeks:
    total: Tally = field(default_factory=Tally)
    by_start: dict[datetime, Tally] = field(default_factory=dict)


async def report(database: Database, caller: Principal, *, start: datetime, end: datetime) -> Row:
    """Coverage, precision and corrections of each question, in all and week by week.

    Of tickets made from `start` until `end`, the newest 20,000; `complete` says whether that was
    all of them.
    """
    weeks = {name: _Weeks() for name in FIELDS}
    tickets, complete = 0, True
    async for past in past_tickets(
        database, caller.tenant_id, judged=False, since=start, until=end
    ):
        for one in past:
            if not one.verdicts:
                continue
            tickets += 1
            week = start + (one.created_at - start) // WEEK * WEEK
            for name, tallies in weeks.items():
                tallies.total.add(one, name)
                tallies.by_start.setdefault(week, Tally()).add(one, name)
        if tickets >= MOST_REPORTED:
            complete = False
            break
    return {
        "start": start,
        "end": end,
        "tickets": tickets,
        "complete": complete,
        "questions": [
            {
                "field": name,
                **tallies.total.shown(),
                "weeks": [
                    {"start": week, **tally.shown()}
                    for week, tally in sorted(tallies.by_start.items())
                    if tally.asked
                ],
            }
            for name, tallies in weeks.items()
        ],
    }
