"""Tickets' lives for tests of clocks: told fact by fact, folded as the desk does."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

from domain.calendars import Calendar, Weekday
from domain.sla import (
    Clock,
    Due,
    Fact,
    Metric,
    Notify,
    Past,
    Policy,
    Step,
    Subject,
    Terms,
    fire,
    observe,
)
from domain.states import Category, Priority

H = timedelta(hours=1)
M = timedelta(minutes=1)
OFFICE = Calendar.model_validate(
    {
        "timezone": "Europe/Berlin",
        "weekly": {day: [("09:00", "17:00")] for day in list(Weekday)[:5]},
    }
)
ALWAYS = Calendar.model_validate(
    {"timezone": "UTC", "weekly": {day: [("00:00", "24:00")] for day in Weekday}}
)
TEAM_A, TEAM_B, KIM, LEE = (UUID(int=n) for n in (0xA, 0xB, 0xC, 0xD))


def t(text: str) -> datetime:
    """`MO 10:00` to `SU …` in the week of 2 June 2025 in Berlin (+02), `MO+ …` the week after."""
    name, clock = text.split()
    day = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"].index(name[:2]) + 7 * name.count("+")
    hour, minute = clock.split(":")
    return datetime(2025, 6, 2 + day, tzinfo=UTC) + timedelta(
        hours=int(hour) - 2, minutes=int(minute)
    )


def promise(
    *metrics: Metric | str,
    within: timedelta = 8 * H,
    steps: Sequence[Step] = (),
    calendar: Calendar = OFFICE,
    version: int = 1,
    policy: int = 1,
    calendar_version: int = 1,
    **more: object,
) -> Terms:
    """The same target for these metrics, twice as quick for high, none for low."""
    targets = {
        Metric(metric): {Priority.NORMAL: within, Priority.HIGH: within / 2} for metric in metrics
    }
    fields: dict[str, object] = {
        "id": UUID(int=policy),
        "version": version,
        "name": "Standard",
        "calendar_id": UUID(int=99),
        "calendar_version": calendar_version,
        "targets": targets,
        "steps": tuple(steps),
        **more,
    }
    return Terms(Policy.model_validate(fields), calendar)


def step(id: str, metric: Metric, offset: timedelta | None = None, **more: object) -> Step:
    fields = {"id": id, "metric": metric, "offset": offset, "action": Notify(to=("team",)), **more}
    return Step.model_validate(fields)


class Life:
    """One ticket; each method is one fact, under the terms it names or those before."""

    def __init__(self, terms: Terms | None) -> None:
        self.terms = terms
        self.clocks: tuple[Clock, ...] = ()
        self.facts: list[tuple[Fact, Terms | None]] = []
        self.subject: Subject | None = None
        self.opened_at: datetime | None = None
        self.opened_by: Literal["customer", "agent", "machine"] = "customer"
        self.answered = False

    def opens(
        self,
        at: str,
        *,
        by: Literal["customer", "agent", "machine"] = "customer",
        category: Category = Category.NEW,
        priority: Priority | None = Priority.NORMAL,
        replies: bool = False,
        **subject: object,
    ) -> "Life":
        self.opened_by = by
        self.subject = Subject(category=category, priority=priority, **subject)  # type: ignore[arg-type]
        self._told(
            Fact(
                at=t(at),
                category=category,
                priority=priority,
                created_by=by,
                customer_message=by == "customer",
                agent_reply=replies,
                subject=self.subject,
            )
        )
        self.opened_at = t(at)
        self.answered = replies
        return self

    def then(
        self,
        at: str,
        category: Category | None = None,
        *,
        customer: bool = False,
        reply: bool = False,
        automatic: bool = False,
        terms: Terms | Literal["same"] | None = "same",
        **changes: object,
    ) -> "Life":
        assert self.subject is not None
        was = self.subject
        if category is not None:
            changes["category"] = category
        self.subject = replace(was, **changes)  # type: ignore[arg-type]
        fact = Fact(
            at=t(at),
            category=self.subject.category,
            priority=self.subject.priority,
            created_by=self.opened_by,
            created_at=self.opened_at,
            replied=self.answered,
            customer_message=customer,
            agent_reply=reply,
            automatic=automatic,
            subject=self.subject,
            was=was,
        )
        self._told(fact, terms)
        self.answered = self.answered or (reply and not automatic)
        return self

    def _told(self, fact: Fact, terms: Terms | Literal["same"] | None = "same") -> None:
        before = self.terms
        if terms != "same":
            self.terms = terms
        past = Past([told for told, _ in self.facts], before if self.facts else None)
        self.clocks = observe(self.clocks, fact, self.terms, past=past)
        self.facts.append((fact, self.terms))

    def fires(self, at: str, *, noticed: str | None = None) -> list[Due]:
        self.clocks, dues = fire(
            self.clocks,
            self.terms,
            now=t(at),
            detected_at=t(noticed) if noticed else None,
            subject=self.subject,
        )
        return list(dues)

    def clock(self, metric: Metric | str, cycle: int = 1) -> Clock:
        [found] = [c for c in self.clocks if c.metric == metric and c.cycle == cycle]
        return found

    def cycles(self, metric: Metric | str) -> list[Clock]:
        return sorted((c for c in self.clocks if c.metric == metric), key=lambda c: c.cycle)

    def has(self, metric: Metric | str) -> bool:
        return any(clock.metric == metric for clock in self.clocks)


def told(dues: Sequence[Due]) -> list[tuple[str, datetime]]:
    return [("breach" if due.step is None else due.step.id, due.at) for due in dues]
