"""Lists show each ticket once and in order, to whom they may be shown, at the same cost."""

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from domain import scoring
from domain.errors import TicketNotFound
from domain.permissions import GRANTS, Permission, Principal, Role, Scope, covers
from domain.sla import Metric
from domain.states import ActorKind, Category, Channel, Visibility
from domain.tickets import AgentReplied, CustomerReplied, NoteAdded, Ticket
from models import ledger
from models.base import new_id
from models.session import Database
from services import views
from services.cursors import BadCursor, pack
from services.desks import Desks
from services.tickets import Tickets
from services.views import CustomerNotFound, Listed, Page, Sort, TicketFilter, Views, filters
from tests.conftest import MakeTenant
from tests.making import happens, make_agent, make_policy, make_team, make_ticket, words

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
ME, OTHER, MINE, THEIRS = (uuid.UUID(int=n) for n in range(1, 5))


def somebody(
    tenant_id: uuid.UUID = ME,
    role: Role = Role.ADMIN,
    *,
    id: uuid.UUID | None = ME,
    teams: Sequence[uuid.UUID] = (),
    scope: Scope | None = None,
) -> Principal:
    grants = GRANTS[role] if scope is None else {Permission.TICKETS_VIEW: scope}
    return Principal(
        tenant_id=tenant_id,
        tenant_slug="t",
        kind="user",
        id=id,
        role=role,
        team_ids=frozenset(teams),
        grants=grants,
    )


@pytest.fixture(scope="module")
def desks() -> Desks:
    return Desks()


@pytest.fixture(scope="module")
def reading(desks: Desks) -> Views:
    return Views(desks)


@dataclass(frozen=True)
class Filled:
    """A tenant with sixty tickets whose times and priorities tie and lack here and there."""

    tenant_id: uuid.UUID
    customer_id: uuid.UUID
    team_id: uuid.UUID
    agent_id: uuid.UUID


FILL = """
insert into tickets (tenant_id, id, number, subject, status, category, priority, channel,
    requester_id, created_by_kind, seq, message_seq, created_at, updated_at, next_due_at,
    breached_at, resolved_at, closed_at, tags, fields, team_id, assignee_id, snoozed, pressure,
    waiting_since, spam)
select %(tenant)s, gen_random_uuid(), i, 'Ticket ' || i, c, c,
    (array['low', 'normal', 'high', 'urgent', null])[1 + i %% 5], 'email', %(customer)s, 'customer',
    1, 1, %(now)s - (i / 3) * interval '1 hour', %(now)s - (i / 4) * interval '1 minute',
    case when i %% 3 = 0 and c = 'open' then %(now)s + (i / 6 - 5) * interval '1 hour' end,
    case when i = 7 then %(now)s end, case when c = 'closed' then %(now)s end,
    case when c = 'closed' then %(now)s end,
    case when i %% 2 = 0 then array['even', 'all'] else array['all'] end,
    case when i = 11 then '{"plan": "gold", "seats": 5, "vip": true}'::jsonb else '{}' end,
    case when i %% 5 = 0 then %(team)s::uuid end, case when i %% 10 = 0 then %(agent)s::uuid end,
    case when i = 4 then 'time' end, (i * 37) %% 500 - 100,
    case when i %% 4 > 0 then %(now)s - i * interval '70 minutes' end,
    case when i = 13 then 'spam' when i = 14 then 'not_spam' end
from (select i, case when i > 50 then 'closed' else 'open' end c
    from generate_series(1, %(count)s) i) n
"""


@pytest.fixture(scope="module")
async def filled(database: Database, make_tenant: MakeTenant) -> Filled:
    tenant_id, customer_id = await make_tenant(), new_id()
    async with database.transaction(tenant_id) as work:
        team_id = await make_team(work)
        agent_id = await make_agent(work, teams=(team_id,))
        await work.batch(
            (
                "insert into customers (tenant_id, id, name, created_at, updated_at)"
                " values (%s, %s, 'Kim', now(), now())",
                (tenant_id, customer_id),
            ),
            (
                FILL,
                {
                    "tenant": tenant_id, "customer": customer_id, "now": NOW, "count": 60,
                    "team": team_id, "agent": agent_id,
                },
            ),
            *(
                (
                    "insert into field_definitions (tenant_id, key, label, kind)"
                    " values (%s, %s, %s, %s)",
                    (tenant_id, key, key, kind),
                )
                for key, kind in (("plan", "text"), ("seats", "integer"), ("vip", "boolean"))
            ),
            (
                "insert into watchers (tenant_id, ticket_id, user_id, created_at)"
                " select tenant_id, id, %s, now() from tickets where tenant_id = %s and number = 9",
                (agent_id, tenant_id),
            ),
            ("update tenants set config_version = config_version + 1 where id = %s", (tenant_id,)),
        )  # fmt: skip
    return Filled(tenant_id, customer_id, team_id, agent_id)


async def listing(
    database: Database,
    reading: Views,
    filled: Filled,
    wanted: TicketFilter | None = None,
    *,
    caller: Principal | None = None,
    **options: object,
) -> Page:
    async with database.transaction(filled.tenant_id) as work:
        return await reading.tickets(
            work,
            caller or somebody(filled.tenant_id),
            wanted or TicketFilter(),
            **{"now": NOW, "limit": 100, **options},  # type: ignore[arg-type]
        )


def numbers(page: Page) -> list[int]:
    return [one.row["number"] for one in page.items]


async def test_the_sql_of_lists_and_the_rule_reach_the_same_tickets(database: Database) -> None:
    base = Ticket(
        id=uuid.UUID(int=0), number=1, subject="x", status="new", category=Category.NEW,
        channel=Channel.API, requester_id=OTHER, created_by_kind=ActorKind.USER,
        created_by_id=None, seq=1, message_seq=1, created_at=NOW, updated_at=NOW,
    )  # fmt: skip
    tickets = [
        replace(base, id=new_id(), assignee_id=assignee, created_by_id=author, team_id=team)
        for assignee in (None, ME, OTHER)
        for author in (None, ME, OTHER)
        for team in (None, MINE, THEIRS)
    ]
    callers = [
        somebody(id=person, scope=scope, teams=teams)
        for scope in Scope
        for person in (None, ME)
        for teams in ((), (MINE,), (MINE, THEIRS))
    ]
    rows = ", ".join("(%s::uuid, %s::uuid, %s::uuid, %s::uuid)" for _ in tickets)
    values = [one for t in tickets for one in (t.id, t.assignee_id, t.created_by_id, t.team_id)]
    names = [f"v{n}" for n in range(len(values))]
    rows = rows.replace("%s", "{}").format(*(f"%({name})s" for name in names))
    for caller in callers:
        clause, parameters = views.visible(caller)
        async with database.transaction(None) as work:
            [found] = await work.batch(
                (
                    f"select id, {clause} as seen from (values {rows})"
                    " t(id, assignee_id, created_by_id, team_id)",
                    parameters | dict(zip(names, values, strict=True)),
                )
            )
        scope = caller.grants[Permission.TICKETS_VIEW]
        assert {row["id"]: row["seen"] for row in found} == {
            t.id: covers(scope, caller, t) for t in tickets
        }, (scope, caller.id, caller.team_ids)


def test_without_the_permission_nothing_is_visible() -> None:
    assert views.visible(replace(somebody(), grants={})) == ("false", {})


def _ticket(one: Listed) -> Ticket:
    """As far as a list tells it."""
    unlisted: dict[str, object] = {**dict.fromkeys(ledger.TICKET_NAMES), "decided": []}
    return ledger.to_ticket({**unlisted, **one.row})


def _tenths(ticket: Ticket, now: datetime = NOW) -> int:
    return ticket.pressure + scoring.by_time(
        breached=ticket.breached_at is not None,
        due_at=ticket.next_due_at,
        waiting_since=ticket.waiting_since,
        now=now,
    )


KEYS = {
    Sort.UPDATED: lambda t: t.updated_at,
    Sort.CREATED: lambda t: t.created_at,
    Sort.DUE: lambda t: (t.next_due_at is None, t.next_due_at or NOW),
    Sort.PRIORITY: lambda t: -1 if t.priority is None else t.priority.rank,
    Sort.NUMBER: lambda t: t.number,
    Sort.SCORE_DESC: lambda t: (t.category.is_active, _tenths(t) if t.category.is_active else 0),
}


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("limit", [1, 7, 60])
async def test_pages_show_every_ticket_once_and_in_order(
    database: Database, reading: Views, filled: Filled, sort: Sort, limit: int
) -> None:
    seen: list[Ticket] = []
    cursor = None
    while True:
        page = await listing(database, reading, filled, sort=sort, limit=limit, cursor=cursor)
        assert len(page.items) <= limit
        seen += [_ticket(one) for one in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert sorted(t.number for t in seen) == list(range(1, 61))
    descending = sort.value.startswith("-")
    key = KEYS.get(sort) or KEYS[Sort(sort.value.lstrip("-"))]
    ordered = sorted(seen, key=lambda t: t.id, reverse=descending)
    assert seen == sorted(ordered, key=key, reverse=descending)


async def test_a_ticket_that_changes_between_pages_neither_hides_nor_repeats_another(
    database: Database, reading: Views, filled: Filled
) -> None:
    first = await listing(database, reading, filled, sort=Sort.NUMBER, limit=10)
    async with database.transaction(filled.tenant_id) as work:
        await work.execute(
            "update tickets set subject = 'New' where tenant_id = :t and number in (3, 30)",
            {"t": filled.tenant_id},
        )
    second = await listing(database, reading, filled, sort=Sort.NUMBER, limit=10, cursor=first.next)
    assert numbers(second) == list(range(11, 21))


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (TicketFilter(category=(Category.CLOSED,)), set(range(51, 61))),
        (TicketFilter(category=(Category.OPEN, Category.CLOSED)), set(range(1, 61))),
        (TicketFilter(status=("closed",)), set(range(51, 61))),
        (TicketFilter(priority=("urgent", None)), {n for n in range(1, 61) if n % 5 in (3, 4)}),
        (TicketFilter(priority=(None,)), {n for n in range(1, 61) if n % 5 == 4}),
        (TicketFilter(tags_all=("even", "all")), set(range(2, 61, 2))),
        (TicketFilter(tags_any=("even", "nowhere")), set(range(2, 61, 2))),
        (TicketFilter(tags_all=("nowhere",)), set()),
        (TicketFilter(fields={"plan": "gold"}), {11}),
        (TicketFilter(fields={"seats": "5", "vip": "true"}), {11}),
        (TicketFilter(fields={"seats": "6"}), set()),
        (TicketFilter(fields={"plan": "gold"}, tags_all=("even",)), set()),
        (TicketFilter(snoozed=True), {4}),
        (TicketFilter(snoozed=False), set(range(1, 61)) - {4}),
        (TicketFilter(escalated=True), set()),
        (TicketFilter(type=("task",)), set()),
        (TicketFilter(channel=("email",), sentiment=("angry",)), set()),
        (TicketFilter(assignee=(None,)), {n for n in range(1, 61) if n % 10}),
        (TicketFilter(team=(None,), tags_all=("even",)), {n for n in range(2, 61, 2) if n % 5}),
        (TicketFilter(created_from=NOW - timedelta(hours=1)), {1, 2, 3, 4, 5}),
        (TicketFilter(created_to=NOW - timedelta(hours=19)), {60}),
        (TicketFilter(updated_from=NOW), {1, 2, 3}),
        (TicketFilter(due_from=NOW + timedelta(hours=2)), {42, 45, 48}),
        (TicketFilter(due_to=NOW - timedelta(hours=4)), {3, 6, 9}),
        (TicketFilter(requester=(OTHER,)), set()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("sort", [Sort.UPDATED_DESC, Sort.DUE])
async def test_a_filter_shows_what_it_says(
    database: Database,
    reading: Views,
    filled: Filled,
    wanted: TicketFilter,
    expected: set[int],
    sort: Sort,
) -> None:
    if wanted.due_from:  # (48 / 6 - 5) is 3 hours, (42 / 6 - 5) is 2
        expected = {n for n in range(3, 51, 3) if n // 6 - 5 >= 2}
    if wanted.due_to:
        expected = {n for n in range(3, 51, 3) if n // 6 - 5 < -4}
    assert set(numbers(await listing(database, reading, filled, wanted, sort=sort))) == expected


async def test_people_and_teams_filter_by_id(
    database: Database, reading: Views, filled: Filled
) -> None:
    tens = set(range(10, 61, 10))
    mine = TicketFilter(assignee=(filled.agent_id,))
    assert set(numbers(await listing(database, reading, filled, mine))) == tens
    team = TicketFilter(team=(filled.team_id,))
    assert set(numbers(await listing(database, reading, filled, team))) == set(range(5, 61, 5))
    watched = TicketFilter(watching=filled.agent_id)
    assert numbers(await listing(database, reading, filled, watched)) == [9]


@pytest.mark.parametrize("sort", [Sort.UPDATED_DESC, Sort.DUE])
async def test_a_tag_on_very_many_tickets_is_found_while_walking_the_list(
    database: Database,
    reading: Views,
    filled: Filled,
    sort: Sort,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(filters, "_RARE", 3)
    wanted = TicketFilter(tags_all=("even",))
    page = await listing(database, reading, filled, wanted, sort=sort)
    assert set(numbers(page)) == set(range(2, 61, 2))


@pytest.mark.parametrize("hours", [-30, 0, 3, 200])
async def test_the_most_pressing_come_first_at_any_time_though_nothing_was_written(
    database: Database, reading: Views, filled: Filled, hours: int
) -> None:
    now = NOW + timedelta(hours=hours)
    seen: list[Ticket] = []
    cursor, minutes = None, 0
    while True:  # the clock goes on between the pages; the list stands as it began
        page = await listing(
            database, reading, filled, sort=Sort.SCORE_DESC, limit=9, cursor=cursor,
            now=now + timedelta(minutes=minutes),
        )  # fmt: skip
        seen += [_ticket(one) for one in page.items]
        cursor, minutes = page.next, minutes + 50
        if cursor is None:
            break
    active = [one for one in seen if one.category.is_active]
    assert len(seen) == 60
    assert seen[: len(active)] == active
    assert [_tenths(one, now) for one in active] == sorted(
        (_tenths(one, now) for one in active), reverse=True
    )


@pytest.mark.parametrize("least", [1, 20, 40, 60, 100])
async def test_a_least_score_is_asked_for_as_it_is_shown(
    database: Database, reading: Views, filled: Filled, least: int
) -> None:
    now = NOW + timedelta(hours=2)
    every = (await listing(database, reading, filled, now=now)).items
    wanted = {
        one.number
        for one in map(_ticket, every)
        if one.category.is_active and scoring.shown(_tenths(one, now)) >= least
    }
    page = await listing(database, reading, filled, TicketFilter(score_from=least), now=now)
    assert set(numbers(page)) == wanted


async def test_only_what_is_marked_is_spam_to_a_list(
    database: Database, reading: Views, filled: Filled
) -> None:
    page = await listing(database, reading, filled, TicketFilter(spam=True))
    assert numbers(page) == [13]
    rest = await listing(database, reading, filled, TicketFilter(spam=False))
    assert set(numbers(rest)) == set(range(1, 61)) - {13}


@pytest.mark.parametrize(
    "value",
    [None, 5, [5], [5, None], ["5", NOW], [True, NOW], [5, "2026-03-02T12:00:00"], [5, "x"]],
)
async def test_a_cursor_of_scores_that_was_tampered_with_is_refused(
    database: Database, reading: Views, filled: Filled, value: object
) -> None:
    forged = pack(["-score", TicketFilter().fingerprint(), value, uuid.UUID(int=1)])
    with pytest.raises(BadCursor):
        await listing(database, reading, filled, sort=Sort.SCORE_DESC, cursor=forged)


async def test_a_passed_due_time_is_a_breach_before_anybody_recorded_it(
    database: Database, reading: Views, filled: Filled
) -> None:
    wanted = TicketFilter(breached=True)
    due = {n: NOW + timedelta(hours=n // 6 - 5) for n in range(3, 51, 3)}
    for now in (NOW - timedelta(days=1), NOW, NOW + timedelta(hours=1)):
        page = await listing(database, reading, filled, wanted, now=now)
        assert set(numbers(page)) == {7} | {n for n, at in due.items() if at < now}
        rest = await listing(database, reading, filled, TicketFilter(breached=False), now=now)
        assert set(numbers(rest)) | set(numbers(page)) == set(range(1, 61))
        assert not set(numbers(rest)) & set(numbers(page))


async def test_an_agent_is_shown_the_tickets_of_their_teams_and_of_no_team(
    database: Database, reading: Views, filled: Filled
) -> None:
    inside = somebody(filled.tenant_id, Role.AGENT, teams=[filled.team_id])
    outside = somebody(filled.tenant_id, Role.AGENT)
    assert len((await listing(database, reading, filled, caller=inside)).items) == 60
    shown = numbers(await listing(database, reading, filled, caller=outside))
    assert set(shown) == {n for n in range(1, 61) if n % 5}


async def test_a_cursor_is_refused_by_every_other_list(
    database: Database, reading: Views, filled: Filled
) -> None:
    page = await listing(database, reading, filled, sort=Sort.NUMBER, limit=5)
    assert page.next is not None
    for wanted, sort, cursor in (
        (TicketFilter(), Sort.NUMBER_DESC, page.next),
        (TicketFilter(snoozed=False), Sort.NUMBER, page.next),
        (TicketFilter(), Sort.NUMBER, page.next[:-3]),
        (TicketFilter(), Sort.NUMBER, "nonsense"),
        (TicketFilter(), Sort.NUMBER, "é"),
    ):
        with pytest.raises(BadCursor):
            await listing(database, reading, filled, wanted, sort=sort, cursor=cursor)
    same = TicketFilter(category=())
    await listing(database, reading, filled, same, sort=Sort.NUMBER, cursor=page.next)


async def test_the_order_of_a_filters_values_does_not_end_its_cursors(
    database: Database, reading: Views, filled: Filled
) -> None:
    one = TicketFilter(category=(Category.OPEN, Category.CLOSED))
    two = TicketFilter(category=(Category.CLOSED, Category.OPEN))
    page = await listing(database, reading, filled, one, limit=5)
    assert numbers(await listing(database, reading, filled, two, cursor=page.next))


@pytest.mark.parametrize("sort", Sort)
async def test_a_page_costs_one_round_trip(
    database: Database, reading: Views, filled: Filled, sort: Sort
) -> None:
    await listing(database, reading, filled)  # the desk is known from here on
    cursor = None
    for _ in range(3):
        async with database.transaction(filled.tenant_id) as work:
            page = await reading.tickets(
                work, somebody(filled.tenant_id), TicketFilter(), now=NOW, sort=sort,
                limit=5, cursor=cursor,
            )  # fmt: skip
            cursor = page.next
            assert work.trips == 1


async def test_a_filter_by_tag_costs_two_more_round_trips_at_most(
    database: Database, reading: Views, filled: Filled
) -> None:
    async with database.transaction(filled.tenant_id) as work:
        await reading.tickets(
            work, somebody(filled.tenant_id), TicketFilter(tags_all=("even",)), now=NOW
        )
        assert work.trips == 3


async def test_counts_are_exact_and_stop_after_a_thousand(
    database: Database, reading: Views, make_tenant: MakeTenant, filled: Filled
) -> None:
    async with database.transaction(filled.tenant_id) as work:
        caller = somebody(filled.tenant_id, id=filled.agent_id)
        counts = await reading.counts(work, caller, now=NOW)
    assert counts.categories["open"] == 50
    assert counts.categories["closed"] == 10
    assert counts.categories["merged"] == 0
    assert counts.mine == 5  # 10 to 50; 60 is closed
    assert counts.unassigned == 45
    assert counts.breached == 1 + len([n for n in range(3, 51, 3) if n // 6 < 5])
    tenant_id, customer_id = await make_tenant(), new_id()
    async with database.transaction(tenant_id) as work:
        await work.batch(
            (
                "insert into customers (tenant_id, id, name, created_at, updated_at)"
                " values (%s, %s, 'Kim', now(), now())",
                (tenant_id, customer_id),
            ),
            (
                FILL,
                {
                    "tenant": tenant_id, "customer": customer_id, "now": NOW, "count": 1100,
                    "team": None, "agent": None,
                },
            ),
        )  # fmt: skip
        counts = await reading.counts(work, somebody(tenant_id), now=NOW)
    assert counts.categories["closed"] == views.COUNTED + 1


async def test_a_ticket_shows_its_conversation_with_files_and_mails_in_one_round_trip(
    database: Database, desks: Desks, reading: Views, tenant: uuid.UUID
) -> None:
    tickets = Tickets(desks)
    async with database.transaction(tenant) as work:
        await make_policy(work)
        agent = await make_agent(work, "Ada")
    ticket = await make_ticket(database, tickets, tenant, text="Help me")
    reply = words("Try this")
    await happens(database, tickets, tenant, ticket.number, AgentReplied(reply), by=agent)
    await happens(database, tickets, tenant, ticket.number, NoteAdded(words("Odd")), by=agent)
    async with database.transaction(tenant) as work:
        await work.batch(
            (
                "insert into files (tenant_id, sha256, size_bytes, created_at)"
                " values (%s, 'ab', 3, now())",
                (tenant,),
            ),
            (
                "insert into attachments (tenant_id, id, message_id, uploaded_by, filename,"
                " content_type, size_bytes, sha256, created_at)"
                " values (%s, %s, %s, 'x', 'a.txt', 'text/plain', 3, 'ab', now())",
                (tenant, new_id(), reply.id),
            ),
        )
    async with database.transaction(tenant) as work:
        detail = await reading.ticket(work, somebody(tenant), ticket.number)
        assert work.trips == 1
    said = detail.conversation.messages
    assert [m["body_text"] for m in said] == ["Help me", "Try this", "Odd"]
    assert [m["author_name"] for m in said] == ["Kim", "Ada", "Ada"]
    assert [m["visibility"] for m in said] == [
        Visibility.PUBLIC, Visibility.PUBLIC, Visibility.INTERNAL,
    ]  # fmt: skip
    assert [a["filename"] for a in said[1]["attachments"]] == ["a.txt"]
    assert [(d["recipient"], d["state"]) for d in said[1]["deliveries"]] == [
        ("kim@example.com", "queued")
    ]
    assert not said[0]["deliveries"]
    assert not said[0]["attachments"]
    assert {c.metric for c in detail.clocks} == {Metric.FIRST_REPLY, Metric.RESOLUTION}
    assert detail.listed.row["requester_email"] == "kim@example.com"


async def test_messages_go_backwards_page_by_page(
    database: Database, desks: Desks, reading: Views, tenant: uuid.UUID
) -> None:
    tickets = Tickets(desks)
    ticket = await make_ticket(database, tickets, tenant, text="0")
    for n in range(1, 8):
        said = CustomerReplied(words(str(n)), ticket.requester_id, Channel.EMAIL)
        await happens(database, tickets, tenant, ticket.number, said)
    seen: list[str] = []
    cursor = None
    while True:
        async with database.transaction(tenant) as work:
            page = await reading.messages(
                work, somebody(tenant), ticket.number, limit=3, cursor=cursor
            )
        seen = [m["body_text"] for m in page.messages] + seen
        cursor = page.earlier
        if cursor is None:
            break
    assert seen == [str(n) for n in range(8)]
    other = await make_ticket(database, tickets, tenant)
    async with database.transaction(tenant) as work:
        first = await reading.messages(work, somebody(tenant), ticket.number, limit=3)
        with pytest.raises(BadCursor):
            await reading.messages(work, somebody(tenant), other.number, cursor=first.earlier)


async def test_the_timeline_goes_on_where_a_reader_stopped(
    database: Database, desks: Desks, reading: Views, tenant: uuid.UUID
) -> None:
    tickets = Tickets(desks)
    ticket = await make_ticket(database, tickets, tenant)
    said = CustomerReplied(words(), ticket.requester_id, Channel.EMAIL)
    after = await happens(database, tickets, tenant, ticket.number, said)
    async with database.transaction(tenant) as work:
        whole = await reading.events(work, somebody(tenant), ticket.number)
        rest = await reading.events(work, somebody(tenant), ticket.number, since=ticket.seq)
    assert [e["seq"] for e in whole.events] == list(range(1, after.seq + 1))
    assert [e["seq"] for e in rest.events] == list(range(ticket.seq + 1, after.seq + 1))
    assert rest.last == after.seq
    assert whole.events[0]["actor_name"] == "Kim"


async def test_what_a_reader_has_is_stale_once_a_mail_was_delivered_or_a_due_time_passed(
    database: Database, desks: Desks, reading: Views, tenant: uuid.UUID
) -> None:
    tickets, caller = Tickets(desks), somebody(tenant)
    async with database.transaction(tenant) as work:
        await make_policy(work, first_reply=None, resolution=timedelta(hours=1))
        agent = await make_agent(work, "Ada")
    number = (await make_ticket(database, tickets, tenant)).number
    ticket = await happens(database, tickets, tenant, number, AgentReplied(words()), by=agent)
    soon, later = ticket.updated_at, ticket.updated_at + timedelta(hours=2)
    async with database.transaction(tenant) as work:
        same = reading.unchanged_since
        assert await same(work, caller, number, ticket.seq, now=soon)
        assert not await same(work, caller, number, ticket.seq - 1, now=soon)
        assert not await same(work, caller, number, ticket.seq, now=later)
        await work.execute(
            "update deliveries set state = 'sent', updated_at = :later where tenant_id = :t",
            {"later": later, "t": tenant},
        )
        assert not await same(work, caller, number, ticket.seq, now=soon)


async def test_another_tenants_tickets_do_not_exist(
    database: Database, desks: Desks, reading: Views, tenant: uuid.UUID, filled: Filled
) -> None:
    caller = somebody(tenant)
    async with database.transaction(tenant) as work:
        page = await reading.tickets(work, caller, TicketFilter(), now=NOW)
        assert page.items == []
        for read in (reading.ticket, reading.events, reading.messages, reading.waiting):
            with pytest.raises(TicketNotFound):
                await read(work, caller, 1)
        with pytest.raises(CustomerNotFound):
            await reading.of_customer(work, caller, filled.customer_id, now=NOW)
        with pytest.raises(TicketNotFound):
            await reading.unchanged_since(work, caller, 1, 1, now=NOW)


async def test_a_ticket_of_another_team_does_not_exist_for_an_agent(
    database: Database, reading: Views, filled: Filled
) -> None:
    outside = somebody(filled.tenant_id, Role.AGENT)
    async with database.transaction(filled.tenant_id) as work:
        for read in (reading.ticket, reading.events, reading.messages, reading.waiting):
            await read(work, outside, 1)
            with pytest.raises(TicketNotFound):
                await read(work, outside, 5)


def test_every_filter_changes_the_fingerprint() -> None:
    some = [
        TicketFilter(),
        TicketFilter(breached=True),
        TicketFilter(breached=False),
        TicketFilter(tags_all=("a",)),
        TicketFilter(tags_any=("a",)),
        TicketFilter(assignee=(None,)),
        TicketFilter(team=(None,)),
        TicketFilter(fields={"a": "b"}),
        TicketFilter(created_from=NOW),
        TicketFilter(created_to=NOW),
        TicketFilter(watching=ME),
    ]
    for one, other in itertools.combinations(some, 2):
        assert one.fingerprint() != other.fingerprint(), (one, other)
