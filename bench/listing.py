"""What a page of a large list costs: the first, the two hundredth, and the bare statement."""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import psycopg

from bench.figures import Figure, ceiling, median
from bench.load import Plan, press
from bench.place import Place
from domain.permissions import Permission, Principal
from domain.states import Category, Scope
from services.desks import Desks
from services.views import TicketFilter, Views

ALL = 200_000
ACTIVE = 20_000
PAGE = 50
DEEP = 200
TIMES = 60
VIEW = TicketFilter(category=(Category.OPEN, Category.PENDING))

# A desk some years old: nearly everything is closed, what is open was touched lately.
_FILL = """
insert into customers (tenant_id, id, name, created_at, updated_at)
select %(tenant)s, gen_random_uuid(), 'Customer ' || i, now(), now() from generate_series(1, 500) i;
create temporary table who as
select id, row_number() over (order by id) as n from customers where tenant_id = %(tenant)s;
insert into tickets (tenant_id, id, number, subject, status, category, priority, channel,
    requester_id, created_by_kind, created_by_id, assignee_id, seq, message_seq, created_at,
    updated_at, closed_at, triage)
select %(tenant)s, gen_random_uuid(), i, 'Order ' || i || ' has not arrived',
    c.category, c.category, (array['low', 'normal', 'high', 'urgent'])[1 + i %% 4], 'email',
    who.id, 'customer', who.id, case when i %% 3 = 0 then %(agent)s::uuid end, 1, 1,
    now() - (%(all)s - i) * interval '1 minute' - interval '1 day',
    now() - (%(all)s - i) * interval '1 minute',
    case when c.category = 'closed' then now() - (%(all)s - i) * interval '1 minute' end, 'done'
from generate_series(1, %(all)s) i join who on who.n = 1 + i %% 500,
    lateral (select case when i <= %(all)s - %(active)s then 'closed'
        else (array['open', 'pending'])[1 + i %% 2] end as category) c;
"""
_BARE = (
    "select t.*, c.name from tickets t join customers c on c.tenant_id = t.tenant_id"
    " and c.id = t.requester_id where t.tenant_id = %s and t.category in ('open', 'pending')"
)
_FIRST = f"{_BARE} order by t.updated_at desc, t.id desc limit {PAGE + 1}"
_LATER = (
    f"{_BARE} and (t.updated_at, t.id) < (%s, %s)"
    f" order by t.updated_at desc, t.id desc limit {PAGE + 1}"
)


async def run(place: Place) -> list[Figure]:
    """A view over `ALL` tickets, through HTTP, through the service, and as one bare statement."""
    await place.live.desk.take_down("worker")
    await _fill(place)
    views, tenant = Views(Desks()), place.live.tenant
    caller = Principal(
        tenant_id=tenant,
        tenant_slug=place.live.slug,
        kind="user",
        id=place.live.agent,
        grants={Permission.TICKETS_VIEW: Scope.TENANT},
        auth_method="token",
    )
    now = datetime.now(UTC)

    async def page(cursor: str | None) -> str | None:
        async with place.live.database.transaction(tenant, reading=True) as work:
            found = await views.tickets(work, caller, VIEW, now=now, limit=PAGE, cursor=cursor)
        assert len(found.items) == PAGE
        return found.next

    deep: str | None = None
    for _ in range(DEEP - 1):
        deep = await page(deep)
    assert deep is not None
    async with place.live.database.transaction(tenant) as work:
        before = (await views.tickets(work, caller, VIEW, now=now, limit=PAGE, cursor=deep)).items
    edge = before[0].row
    async with await psycopg.AsyncConnection.connect(
        place.superuser_url, autocommit=True, prepare_threshold=2
    ) as bare:

        async def sql(statement: str, *parameters: object) -> None:
            rows = await (await bare.execute(statement.encode(), parameters)).fetchall()
            assert len(rows) > PAGE

        took = await _in_turn(
            {
                "bare": lambda: sql(_FIRST, tenant),
                "bare deep": lambda: sql(_LATER, tenant, edge["updated_at"], edge["id"]),
                "service": lambda: page(None),
                "service deep": lambda: page(deep),
            }
        )
    http = await _over_http(place, deep)
    return [
        ceiling(
            "list.first_page",
            took["service"] / took["bare"],
            2.0,
            f"{took['service']:.2f} ms of {took['bare']:.2f} ms for the bare statement;"
            f" {ALL:,} tickets, {ACTIVE:,} in the view",
        ),
        Figure("list.page_200_sql", took["bare deep"] / took["bare"], detail="the bare statement"),
        ceiling(
            "list.page_200", took["service deep"] / took["service"], 1.5, "of the first page's"
        ),
        ceiling("list.page_200_http", http["deep"] / http["first"], 1.5, "of the first page's"),
        Figure(
            "list.first_page_http",
            http["first"] / took["bare"],
            detail=f"{http['first']:.2f} ms with JSON and all, of the bare statement's",
        ),
    ]


async def _fill(place: Place) -> None:
    values = {
        "tenant": place.live.tenant,
        "agent": place.live.agent,
        "all": ALL,
        "active": ACTIVE,
    }
    async with await psycopg.AsyncConnection.connect(place.superuser_url) as connection:
        for statement in _FILL.split(";\n"):
            if statement.strip():
                await connection.execute(statement.encode(), values)
        await connection.commit()
        await connection.set_autocommit(True)
        await connection.execute("vacuum analyze")


async def _in_turn(what: dict[str, Callable[[], Awaitable[object]]]) -> dict[str, float]:
    """Milliseconds at the median, each asked in turn."""
    took: dict[str, list[float]] = {name: [] for name in what}
    for _ in range(TIMES):
        for name, ask in what.items():
            began = time.perf_counter()
            await ask()
            took[name].append((time.perf_counter() - began) * 1000)
    return {name: median(times[5:]) for name, times in took.items()}


async def _over_http(place: Place, deep: str) -> dict[str, float]:
    path = f"/api/v1/tickets?category=open&category=pending&limit={PAGE}"
    first = place.by_agent("first", "GET", path, "", status=200)
    later = place.by_agent("deep", "GET", f"{path}&cursor={deep}", "", status=200)
    seen = await press(Plan((first, later), 1, rounds=3, seconds=1.0, warm_up_seconds=0.5))
    return {name: median(one.milliseconds) for name, one in seen.items()}


__all__ = ["run"]
