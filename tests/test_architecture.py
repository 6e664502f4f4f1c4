"""Laws of the house that no type checker sees: who imports what, who commits, whose rows are whose.

Each exception is named with its reason. What is named and no longer needed is a failure too.
"""

import ast
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text

import models.accounts
import models.assistance
import models.customers
import models.delivery
import models.knowledge
import models.learning
import models.promises
import models.sla
import models.tickets  # noqa: F401 - all of them, so that the metadata is complete
from models.base import Base
from tests.conftest import Urls

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "domain", "models", "services", "adapters", "activities", "workflows", "api", "stack", "cli",
)  # fmt: skip
PROGRAMS = ("worker.py", "settings.py")


def sources(*packages: str) -> list[Path]:
    """Every Python file of the product, or of some of its packages."""
    files = [path for package in packages or PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(files) + ([] if packages else [ROOT / name for name in PROGRAMS])


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), path.as_posix())


@dataclass(slots=True)
class Place:
    """Something in a file, and the function, class or constant it stands in."""

    file: str
    within: str
    node: ast.AST

    @property
    def key(self) -> tuple[str, str]:
        return (self.file, self.within)


def places(path: Path, tree: ast.Module | None = None) -> tuple[Place, ...]:
    """Every node of a file with what it is within; `` is the module itself."""
    return _placed(path) if tree is None else tuple(_places(path.as_posix(), tree))


@cache
def _placed(path: Path) -> tuple[Place, ...]:
    return tuple(_places(name_of(path), parsed(path)))


def _places(file: str, tree: ast.Module) -> Iterator[Place]:
    waiting: list[tuple[ast.AST, str]] = [(child, "") for child in reversed(tree.body)]
    while waiting:
        node, within = waiting.pop()
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                within = f"{within}.{name}".lstrip(".")
            case ast.ClassDef(name=name):
                within = f"{within}.{name}".lstrip(".")
            case ast.Assign(targets=[ast.Name(id=name)]) if not within:
                within = name
        yield Place(file, within, node)
        waiting += ((child, within) for child in reversed([*ast.iter_child_nodes(node)]))


# What domain may know.


def imported(path: Path) -> set[str]:
    """The top names of every import of a file, wherever in it they stand."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        match node:
            case ast.Import(names=names):
                found |= {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module.partition(".")[0])
            case ast.ImportFrom():
                found.add(".")  # relative: none is used, so none needs to be understood
    return found


@pytest.mark.parametrize("path", sources("domain"), ids=name_of)
def test_domain_imports_the_standard_library_pydantic_and_itself(path: Path) -> None:
    assert imported(path) - sys.stdlib_module_names <= {"pydantic", "domain"}


# Standard library, all the same outside the rules: it looks at clocks, dice, or the world.
IMPURE = {
    "asyncio", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
    "shutil", "socket", "sqlite3", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
}  # fmt: skip


@pytest.mark.parametrize("path", sources("domain"), ids=name_of)
def test_domain_imports_nothing_that_reaches_out_of_a_function(path: Path) -> None:
    assert imported(path) & IMPURE == set()


# A clock or a die, as it is written.
CLOCKS = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "time": {"time", "time_ns", "monotonic", "perf_counter"},
    "uuid": {"uuid1", "uuid4", "uuid7"},
}


def clocks_read(path: Path, tree: ast.Module | None = None) -> list[str]:
    found = []
    for place in places(path, tree):
        match place.node:
            case ast.Attribute(value=ast.Name(id=owner) | ast.Attribute(attr=owner), attr=name):
                if name in CLOCKS.get(owner, ()):
                    found.append(f"{place.file}: {place.within}: {owner}.{name}")
            case ast.Call(func=ast.Name(id="uuid4" | "uuid1" | "uuid7" as name)):
                found.append(f"{place.file}: {place.within}: {name}")
    return found


@pytest.mark.parametrize("path", sources("domain", "workflows"), ids=name_of)
def test_neither_rules_nor_workflows_read_a_clock_or_throw_dice(path: Path) -> None:
    assert clocks_read(path) == []


def test_looking_for_clocks_finds_them() -> None:
    code = "import datetime, uuid\ndef f():\n return datetime.datetime.now(), uuid.uuid4()"
    assert clocks_read(Path("x.py"), ast.parse(code)) == [
        "x.py: f: datetime.now",
        "x.py: f: uuid.uuid4",
    ]
    assert clocks_read(Path("x.py"), ast.parse("now = workflow.now()")) == []


# What a process loads.

LEARNING = {"sklearn", "scipy", "numpy", "skops"}


def loaded_by(*modules: str) -> set[str]:
    """The top names of all that a fresh process has loaded after importing these."""
    script = "import sys\n" + "".join(f"import {module}\n" for module in modules)
    script += "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(done.stdout.split())


def modules_of(package: str) -> list[str]:
    names = (name_of(path).removesuffix(".py").replace("/", ".") for path in sources(package))
    return [name.removesuffix(".__init__") for name in names]


@pytest.mark.slow  # processes are started
@pytest.mark.parametrize("package", ["api", "workflows"])
def test_serving_and_orchestrating_never_load_the_learning_library(package: str) -> None:
    """Two seconds and a hundred megabytes, for every process that never classifies anything."""
    modules = modules_of(package)
    assert {"api": "api.app", "workflows": "workflows.tickets"}[package] in modules
    assert loaded_by(*modules) & LEARNING == set()


@pytest.mark.slow
def test_looking_at_what_is_loaded_would_show_the_learning_library() -> None:
    assert loaded_by("adapters.classifier.training") >= {"sklearn", "numpy"}


@pytest.mark.slow
def test_workflows_load_no_driver_and_no_web_server() -> None:
    """What a workflow imports, Temporal's sandbox may have to import again for every run."""
    assert loaded_by(*modules_of("workflows")) & {"fastapi", "redis", "typesense", "uvicorn"} == (
        set()
    )


# Who commits.

PIPELINES = {
    ("services/destinations.py", "LiveDestination.tell"): "Redis's, not Postgres's",
}
_ENDS = re.compile(r"(?:begin|commit|rollback|savepoint|start transaction)\b", re.IGNORECASE)


@cache
def _calls() -> dict[str, set[tuple[str, str]]]:
    """Where each method is called."""
    found: dict[str, set[tuple[str, str]]] = {}
    for path in sources():
        for place in places(path):
            match place.node:
                case ast.Call(func=ast.Attribute(attr=name)):
                    found.setdefault(name, set()).add(place.key)
    return found


def calls_of(method: str) -> set[tuple[str, str]]:
    return _calls().get(method, set())


def test_only_the_session_begins_and_ends_transactions() -> None:
    said = {
        str(path.relative_to(ROOT))
        for path in sources("models", "services", "activities", "api", "adapters", "cli")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and _ENDS.match(node.value)
        and len(node.value) < 20
    }
    assert said == {"models/session.py"}
    assert calls_of("commit") == set()


def test_only_a_wire_opens_a_pipeline() -> None:
    assert calls_of("pipeline") == set(PIPELINES)
    assert calls_of("enter_pipeline_mode") == {("models/wire.py", "Wire.__init__")}
    assert calls_of("send_query_prepared") == {("models/wire.py", "Wire._queue")}


# Time is a parameter.

_SQL_CLOCK = re.compile(
    r"\bnow\(\)|\b(?:clock|statement|transaction)_timestamp\b|\bcurrent_(?:timestamp|date|time)\b"
    r"|\blocaltimestamp\b|\btimeofday\(\)",
    re.IGNORECASE,
)
# The outbox is between this desk and its relays: when a row was written, when to try again. Rows
# are compared with the same server's clock, and no decision about a ticket reads them.
SQL_CLOCKS = {
    ("models/ledger/writing.py", "_INSERT_OUTBOX"): "when a fact may be told",
    ("services/jobs.py", "_UNFINISHED"): "which calls were told just now",
    ("services/jobs.py", "told"): "likewise, of a job",
    ("services/jobs.py", "restart"): "likewise",
    ("services/queues.py", "_again_later"): "when a fact was written; when to tell it is said",
    ("services/queues.py", "sweep"): "when a fact may be told",
    ("services/routing.py", "look_at"): "likewise",
    ("services/routing.py", "queues_may_move"): "likewise",
    ("services/relay.py", "Relay._drain"): "which facts may be told",
    ("services/relay.py", "Relay._say_why"): "which of them waits longest",
    ("services/relay.py", "Relay._forget"): "when to try again",
    ("services/relay.py", "lag"): "how old the oldest untold fact is",
    ("services/relay.py", "rewrite_outbox"): "likewise; and which deadline nobody acted upon",
    ("services/retelling.py", "_put"): "when a fact may be told",
    ("services/retelling.py", "begin_again"): "likewise",
    ("services/retelling.py", "carry_on"): "likewise",
    ("services/alerting.py", "_look_at"): "when to look; when a fact was written",
    ("services/alerting.py", "sweep"): "when a fact may be told, and for how long nobody looked",
    ("services/tiers.py", "_put"): "when a fact may be told",
    ("services/watching.py", "mark"): "when a fact may be told",
    ("services/search/filling.py", "rebuild"): "since when changes are told once more",
    ("services/search/filling.py", "_tell_again"): "when a fact may be told",
    ("activities/maintenance.py", "MaintenanceActivities.purge"): (
        "sweeps idempotency keys, which are no ticket's"
    ),
}


def sql_clocks() -> set[tuple[str, str]]:
    found = set()
    for path in sources("domain", "models", "services", "activities", "workflows"):
        tree = parsed(path)
        prose = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for place in places(path):
            match place.node:
                case ast.Constant(value=str(said)) if id(place.node) not in prose:
                    if _SQL_CLOCK.search(said):
                        found.add(place.key)
                case ast.Attribute(value=ast.Name(id="func"), attr=name):
                    if _SQL_CLOCK.search(f"{name}()"):
                        found.add(place.key)
    return found


def test_no_decision_asks_postgres_for_the_time() -> None:
    """Under the time-skipping server a workflow's clock is weeks ahead of Postgres's."""
    assert sql_clocks() == set(SQL_CLOCKS)


def test_no_column_is_filled_with_the_servers_time() -> None:
    for table in Base.metadata.tables.values():
        for column in table.columns:
            default = getattr(column.server_default, "arg", "")
            assert not _SQL_CLOCK.search(str(default)), f"{table.name}.{column.name}"


# Where Temporal's parts live.


def test_workflows_and_activities_live_in_their_folders() -> None:
    homes: dict[str, set[str]] = {"workflow": set(), "activity": set()}
    for path in sources():
        for place in places(path):
            match place.node:
                case ast.Attribute(value=ast.Name(id="workflow" | "activity" as kind), attr="defn"):
                    homes[kind].add(place.file.partition("/")[0])
    assert homes == {"workflow": {"workflows"}, "activity": {"activities"}}


def test_classes_are_called_what_they_are() -> None:
    for path in sources("workflows", "activities"):
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.ClassDef):
                continue
            said = {ast.unparse(decorator) for decorator in node.decorator_list}
            inside = {
                ast.unparse(decorator).partition("(")[0]
                for item in node.body
                if isinstance(item, ast.AsyncFunctionDef | ast.FunctionDef)
                for decorator in item.decorator_list
            }
            where = f"{name_of(path)}: {node.name}"
            assert ("workflow.defn" in said) == node.name.endswith("Workflow"), where
            assert ("activity.defn" in inside) == node.name.endswith("Activities"), where


# The schema, as it stands in a migrated database.


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


@pytest.fixture(scope="module")
def fresh(make_database: Callable[[], Urls]) -> Iterator[Connection]:
    with connected(make_database().owner) as connection:
        yield connection


OURS = (
    "from pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'public'"
    " where c.relkind in ('r', 'p') and c.relname <> 'alembic_version'"
)
# Whose a row of them is, its id says.
TENANTS = {"tenants"}


def test_every_table_is_a_tenants_and_under_row_level_security(fresh: Connection) -> None:
    rows = fresh.execute(
        text(
            "select c.relname, c.relrowsecurity, c.relforcerowsecurity, exists (select from"
            " pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id'"
            f" and a.attnotnull) {OURS}"
        )
    ).all()
    assert {row[0] for row in rows} == set(Base.metadata.tables)
    for name, enabled, forced, owned in rows:
        assert (enabled, forced) == (True, True), name
        assert owned or name in TENANTS, f"{name} belongs to no tenant"


def test_every_table_shows_the_application_one_tenant(fresh: Connection) -> None:
    found = fresh.execute(
        text(
            "select tablename, cmd, qual, with_check from pg_policies"
            " where schemaname = 'public' and 'holdfast_app' = any(roles)"
        )
    ).all()
    assert {row.tablename for row in found} == set(Base.metadata.tables)
    for row in found:
        mine = "id" if row.tablename in TENANTS else "tenant_id"
        said = f"({mine} = (NULLIF(current_setting('app.tenant'::text, true), ''::text))::uuid)"
        assert (row.cmd, row.qual, row.with_check) == ("ALL", said, said), row.tablename


# Policies that see across tenants, by role; `holdfast_app` is never among them.
ACROSS = {
    "holdfast_relay": {"outbox", "bulk_jobs", "tenants", "tickets", "audit_entries",
                       "idempotency_keys", "departures", "attachments", "files", "ticket_keys",
                       "teams",
                       "triage_models", "triage_backtests", "simulations",
                       "deliveries", "alerts", "statement_runs"},
    "holdfast_lookup": {"tenants", "users", "api_tokens", "login_sessions", "password_links",
                        "tickets", "messages", "ticket_keys", "articles", "canned_responses"},
}  # fmt: skip


def test_who_sees_across_tenants_is_named_here(fresh: Connection) -> None:
    found: dict[str, set[str]] = {}
    for roles, table in fresh.execute(
        text("select roles, tablename from pg_policies where 'holdfast_app' <> all(roles)")
    ):
        for role in roles:
            found.setdefault(role, set()).add(table)
    assert found == ACROSS


# Unique across tenants, and why that gives nothing away.
UNIQUE_ACROSS = {
    "pk_tenants": "a tenant is what it is",
    "uq_tenants_slug": "names a tenant before one is known",
    "pk_outbox": "the relay's own order of telling",
    "uq_api_tokens_token_hash": "a secret of 256 bits names its tenant",
    "uq_login_sessions_refresh_hash": "likewise",
    "uq_login_sessions_previous_hash": "likewise",
}


def test_every_unique_index_holds_within_one_tenant(fresh: Connection) -> None:
    rows = fresh.execute(
        text(
            "select i.relname, array(select a.attname from pg_attribute a"
            " where a.attrelid = x.indrelid and a.attnum = any(x.indkey)) as columns"
            " from pg_index x join pg_class i on i.oid = x.indexrelid"
            f" where x.indisunique and x.indrelid in (select c.oid {OURS})"
        )
    ).all()
    assert len(rows) > len(Base.metadata.tables)
    across = {name for name, columns in rows if "tenant_id" not in columns}
    assert across == set(UNIQUE_ACROSS)


def test_every_reference_stays_within_its_tenant(fresh: Connection) -> None:
    rows = fresh.execute(
        text(
            "select f.conname, f.conrelid::regclass::text, f.confrelid::regclass::text, array("
            " select a.attname || '>' || b.attname from unnest(f.conkey, f.confkey) k(mine, theirs)"
            " join pg_attribute a on a.attrelid = f.conrelid and a.attnum = k.mine"
            " join pg_attribute b on b.attrelid = f.confrelid and b.attnum = k.theirs)"
            f" from pg_constraint f where f.contype = 'f' and f.conrelid in (select c.oid {OURS})"
        )
    ).all()
    assert len(rows) > 20
    for name, table, target, pairs in rows:
        wanted = "tenant_id>id" if target in TENANTS else "tenant_id>tenant_id"
        assert wanted in pairs, f"{name} of {table} reaches {target} of any tenant"


def test_every_row_hangs_on_a_tenant(fresh: Connection) -> None:
    """By its own reference, or by that of a row it cannot be without."""
    rows = fresh.execute(
        text(
            "select distinct f.conrelid::regclass::text, f.confrelid::regclass::text"
            " from pg_constraint f where f.contype = 'f' and not exists (select from pg_attribute a"
            "  where a.attrelid = f.conrelid and a.attnum = any(f.conkey) and not a.attnotnull)"
        )
    ).all()
    held, before = set(TENANTS), set[str]()
    while held != before:
        before = held
        held = held | {table for table, target in rows if target in held}
    assert set(Base.metadata.tables) - held == set(LOOSE)


# What stays when a tenant is deleted, and why.
LOOSE: dict[str, str] = {
    "outbox": "the relay forgets what it has of a tenant that is gone",
    "idempotency_keys": "swept after two days",
    "audit_entries": "what was done stays on record",
}


# Alembic compares expressions letter by letter, and Postgres spells a `case` its own way. The test
# after these two compares what Postgres made of it.
UNCOMPARED = {"ix_tickets_priority"}


def missing_revision(connection: Connection) -> list[tuple[object, ...]]:
    """What Alembic would write a new revision for."""

    def compared(_: object, name: str | None, *rest: object) -> bool:
        return name not in UNCOMPARED

    options = {"compare_type": True, "compare_server_default": True, "include_object": compared}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Expression .* detected to include an operator clause")
        return list(
            compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
        )


def test_alembic_finds_nothing_to_migrate(fresh: Connection) -> None:
    assert missing_revision(fresh) == []


def test_comparing_would_see_a_column_that_was_forgotten(fresh: Connection) -> None:
    with fresh.begin_nested() as savepoint:
        fresh.execute(text("alter table teams drop column routing"))
        [(what, *_, column)] = missing_revision(fresh)
        assert (what, getattr(column, "name", None)) == ("add_column", "routing")
        savepoint.rollback()


_SHAPE = {
    "columns": "select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
    " a.attidentity, pg_get_expr(d.adbin, d.adrelid) from pg_attribute a join pg_class c"
    " on c.oid = a.attrelid and c.relkind = 'r' left join pg_attrdef d on d.adrelid = a.attrelid"
    " and d.adnum = a.attnum where a.attnum > 0 and not a.attisdropped",
    "indexes": "select c.relname, pg_get_indexdef(c.oid) from pg_class c where c.relkind = 'i'",
    "constraints": "select c.relname, x.conname, pg_get_constraintdef(x.oid) from pg_constraint x"
    " join pg_class c on c.oid = x.conrelid where true",
}


def shape(connection: Connection, schema: str) -> dict[str, set[tuple[object, ...]]]:
    """Columns, indexes and constraints of a schema, in Postgres's own words."""
    connection.execute(text(f"set local search_path = {schema}"))
    return {
        what: {
            tuple(str(part).replace(f"{schema}.", "") for part in row)
            for row in connection.execute(
                text(
                    f"{sql} and c.relnamespace = '{schema}'::regnamespace"
                    " and c.relname not like 'alembic_version%'"
                )
            )
        }
        for what, sql in _SHAPE.items()
    }


def test_migrating_gives_exactly_what_the_models_describe(fresh: Connection) -> None:
    """Also what Alembic does not compare: conditions, operators and predicates of indexes."""
    with fresh.begin_nested() as savepoint:
        migrated = shape(fresh, "public")
        fresh.execute(text("create schema described"))
        fresh.execute(text("set local search_path = described"))
        Base.metadata.create_all(fresh, checkfirst=False)
        described = shape(fresh, "described")
        savepoint.rollback()
    for what, found in migrated.items():
        assert found, what
        assert found ^ described[what] == set(), what
