"""How long things take, promised or not: from the timelines, in time on the wall clock.

Nothing is kept for this. A desk without a policy has the same figures as one that promises all of
it, also for tickets that are older than the question. The rules are those of the clocks; a test
holds both against each other.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from domain.errors import Invalid
from domain.sla import Metric
from models.session import Row, Work

LONGEST = timedelta(days=400)
_GROUPS_SHOWN = 2000

MEASURED = (
    Metric.FIRST_REPLY, Metric.NEXT_REPLY, Metric.FIRST_RESOLUTION, Metric.RESOLUTION,
    Metric.REQUESTER_WAIT, Metric.AGENT_WORK,
)  # fmt: skip
DEFINITIONS: Mapping[str, str] = {
    "time": "All time, nights and weekends included; in minutes.",
    "period": "It counts on the date on which it ended.",
    "first_reply": "From a customer's ticket to the first public reply of a person who works here.",
    "next_reply": "From a customer's oldest message without an answer to the next such reply.",
    "first_resolution": "From the beginning of a ticket until it was resolved the first time.",
    "resolution": "From the beginning of a ticket until it was resolved, each time it was.",
    "requester_wait": "Likewise, without the time in which it waited for the customer or was"
    " resolved.",
    "agent_work": "Likewise, also without the time in which it waited for somebody else.",
    "group": "The ticket's team, agent and priority are its present ones.",
}


class By(StrEnum):
    """What times are broken down by, beside what was measured."""

    METRIC = "metric"
    TEAM = "team"
    AGENT = "agent"
    PRIORITY = "priority"
    CHANNEL = "channel"
    CUSTOMER = "customer"
    ORGANIZATION = "organization"


def _name(table: str, column: str) -> tuple[str, str]:
    named = f"(select x.name from {table} x where x.tenant_id = t.tenant_id and x.id = t.{column})"
    return f"t.{column}::text", named


_GROUPS: Mapping[By, tuple[str, str]] = {
    By.METRIC: ("null::text", "null::text"),
    By.TEAM: _name("teams", "team_id"),
    By.AGENT: _name("users", "assignee_id"),
    By.PRIORITY: ("t.priority", "t.priority"),
    By.CHANNEL: ("t.channel", "t.channel"),
    By.CUSTOMER: _name("customers", "requester_id"),
    By.ORGANIZATION: _name("organizations", "organization_id"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which tickets and which measures; of several values of one filter, any does."""

    since: datetime
    until: datetime
    metric: tuple[str, ...] = ()
    priority: tuple[str, ...] = ()
    channel: tuple[str, ...] = ()
    team: tuple[uuid.UUID, ...] = ()
    customer: tuple[uuid.UUID, ...] = ()
    organization: tuple[uuid.UUID, ...] = ()

    def check(self) -> None:
        """Raises Invalid where it makes no sense."""
        if self.until <= self.since:
            raise Invalid("A report ends after it begins.", fields={"query/to": "is not later"})
        if self.until - self.since > LONGEST:
            raise Invalid(
                f"A report covers at most {LONGEST.days} days.",
                fields={"query/to": "is too far from the beginning"},
            )

    def where(self) -> tuple[str, dict[str, object]]:
        """The conditions on tickets. None that ended since then was left alone since then."""
        said = "t.tenant_id = :tenant and t.updated_at >= :since"
        values: dict[str, object] = {}
        for column, name, wanted, kind in (
            ("t.priority", "priority", self.priority, "text"),
            ("t.channel", "channel", self.channel, "text"),
            ("t.team_id", "team", self.team, "uuid"),
            ("t.requester_id", "customer", self.customer, "uuid"),
            ("t.organization_id", "organization", self.organization, "uuid"),
        ):
            if wanted:
                said += f" and {column} = any((:{name})::{kind}[])"
                values[name] = list(wanted)
        return said, values


# Each entry as the clocks hear it: who opened the ticket, whether somebody asks or answers, which
# category it leaves the ticket in, and what lay before it.
_HEARD = """
with e as (
    select e.ticket_id, e.seq, e.type = 'ticket_created' as born,
        coalesce((e.data ->> 'applied_at')::timestamptz, e.occurred_at) as at,
        coalesce((e.data ->> 'clocks_from')::timestamptz, e.occurred_at) as begins,
        coalesce(e.changes -> 'category' ->> 1,
            case when e.type = 'ticket_created' then e.data ->> 'category' end) as entered,
        case when e.type <> 'ticket_created' then null else
            case e.data ->> 'opened_by' when 'customer' then 'customer'
                when 'automation' then 'machine' else 'agent' end end as opener,
        (e.type = 'agent_replied' and e.actor_kind = 'user'
            and not coalesce((e.data ->> 'as_requester')::boolean, false))
            or (e.type = 'ticket_created'
                and coalesce((e.data ->> 'agent_reply')::boolean, false)) as answers,
        (e.type = 'customer_replied' or coalesce((e.data ->> 'as_requester')::boolean, false))
            and not coalesce((e.data ->> 'automatic')::boolean, false) as asks,
        e.type = 'ticket_created'
            and coalesce((e.data ->> 'answered')::boolean, false) as answered
    from events e join tickets t on t.tenant_id = e.tenant_id and t.id = e.ticket_id
    where e.tenant_id = :tenant and {where} and (jsonb_exists(e.changes, 'category')
        or e.type in ('ticket_created', 'agent_replied', 'customer_replied'))
), c as (
    select *, count(entered) over w as place, max(opener) over all_of as opened,
        min(begins) filter (where born) over all_of as began, bool_or(answered) over all_of as over
    from e window w as (partition by ticket_id order by seq),
        all_of as (partition by ticket_id)
), s as (
    select *, first_value(entered) over (partition by ticket_id, place order by seq) as category
    from c
), p as (
    select *, lag(category) over w as was, at - lag(at) over w as lasted
    from s window w as (partition by ticket_id order by seq)
), d as (
    select *, category in ('resolved', 'closed')
            and coalesce(was, 'new') not in ('resolved', 'closed') as done,
        category in ('new', 'open', 'pending', 'on_hold')
            and was in ('resolved', 'closed') as reopened
    from p
), h as (
    select *, coalesce(bool_or(answers) over earlier, false) as answers_before,
        coalesce(bool_or(done) over earlier, false) as done_before,
        case when opened <> 'machine' then began
            else min(at) filter (where asks) over earlier end as start,
        coalesce(sum(lasted) filter (where was in ('new', 'open', 'on_hold')) over so_far,
            interval '0') as waited,
        coalesce(sum(lasted) filter (where was in ('new', 'open')) over so_far,
            interval '0') as worked,
        count(*) filter (where answers or done or category = 'merged') over earlier as turn
    from d window so_far as (partition by ticket_id order by seq),
        earlier as (partition by ticket_id order by seq
            rows between unbounded preceding and 1 preceding)
), turns as (
    select ticket_id, turn,
        min(at) filter (where asks and not born
            and category in ('new', 'open', 'pending', 'on_hold')
            and (opened = 'agent' or over or answers_before or done_before or reopened)) as start,
        max(at) filter (where answers) as stop
    from h group by ticket_id, turn
), measured as (
    select ticket_id, 'first_reply' as metric, at as stop, at - start as took from h
        where answers and not born and opened <> 'agent' and not over
        and not answers_before and not done_before
    union all select ticket_id, 'next_reply', stop, stop - start from turns where start < stop
    union all select ticket_id, 'first_resolution', at, at - start from h
        where done and not born and not done_before
    union all select ticket_id, 'resolution', at, at - start from h where done and not born
    union all select ticket_id, 'requester_wait', at, waited from h
        where done and not born and opened <> 'machine'
    union all select ticket_id, 'agent_work', at, worked from h
        where done and not born and opened <> 'machine'
)
"""


async def times(work: Work, chosen: Chosen, *, by: By) -> list[Row]:
    """What was measured in each group, in minutes, by measure and name."""
    chosen.check()
    where, values = chosen.where()
    key, name = _GROUPS[by]
    values |= {
        "tenant": work.tenant_id,
        "since": chosen.since,
        "until": chosen.until,
        "metrics": list(chosen.metric or MEASURED),
    }
    minutes = "(extract(epoch from m.took) / 60)::float8"
    rows = await work.rows(
        _HEARD.replace("{where}", where)
        + f"select m.metric, {key} as key, max({name}) as name, count(*) as count,"
        f" avg({minutes}) as mean,"
        f" percentile_cont(array[0.5, 0.9, 0.95]) within group (order by {minutes}) as spread"
        " from measured m join tickets t on t.tenant_id = :tenant and t.id = m.ticket_id"
        " where m.took is not null and m.stop >= :since and m.stop < :until"
        " and m.metric = any((:metrics)::text[])"
        f" group by 1, 2 order by 1, 3 nulls last, 2 limit {_GROUPS_SHOWN}",
        values,
    )
    order = {metric.value: place for place, metric in enumerate(MEASURED)}
    return sorted((_finished(row) for row in rows), key=lambda row: order[row["metric"]])


def _finished(row: Row) -> Row:
    p50, p90, p95 = (round(value, 3) for value in row["spread"])
    return {**row, "mean": round(row["mean"], 3), "p50": p50, "p90": p90, "p95": p95}
