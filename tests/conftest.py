"""A real Postgres for the run, a migrated scratch database, tenants in it."""

import gc
import os
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import migrations
from domain.desk import DeskSettings
from models.base import new_id
from models.session import Database
from services.tenants import NewTenant, create_tenant
from stack.desk import Desk
from stack.home import Home
from stack.postgres import create_database, create_roles

# What is imported stays: nothing of it has to be looked through for garbage, now or later.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


_MARKED = re.compile(r"^pytestmark = .*$", re.MULTILINE)
_MARK = re.compile(r"pytest\.mark\.(\w+)")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m "not (slow or …)"` does not even read the files that are all of that kind."""
    left_out = re.fullmatch(r"not \(([\w ]+)\)", str(config.getoption("markexpr")))
    if left_out is None or collection_path.suffix != ".py":
        return None
    marked = _MARKED.search(collection_path.read_text("utf-8"))
    marks = _MARK.findall(marked[0]) if marked else []
    return True if set(marks) & set(left_out[1].split(" or ")) else None


SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Optional real material beside the checkout; tests that want it skip where it is not."""
    if not SHARED.exists():
        pytest.skip("the shared test material is not beside this checkout")
    return SHARED


@dataclass(frozen=True)
class Urls:
    """One scratch database, by role."""

    app: str
    owner: str
    relay: str


@pytest.fixture(scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The superuser's address of a Postgres server of this run (of each worker of it)."""
    elsewhere = {
        "REDIS_URL": "redis://127.0.0.1:1",
        "TYPESENSE_URL": "http://127.0.0.1:1",
        "TYPESENSE_API_KEY": "none",
        "TEMPORAL_ADDRESS": "127.0.0.1:1",
    }
    home = Home(tmp_path_factory.mktemp("postgres") / "home")
    async with Desk(home, environment={**os.environ, **elsewhere}, programs=lambda _: ()) as desk:
        await desk.start_servers()
        assert desk.superuser_url is not None
        yield desk.superuser_url


def _create(superuser_url: str, name: str, *, template: str | None) -> Urls:
    passwords = dict.fromkeys(("holdfast_owner", "holdfast_app", "holdfast_relay"), "scratch")
    if template is None:
        create_roles(superuser_url, passwords=passwords)
        create_database(superuser_url, name)
    else:
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute(
                f'create database "{name}" template "{template}" owner holdfast_owner'.encode()
            )
    where = conninfo_to_dict(superuser_url)
    return Urls(
        **{
            role: f"postgresql://holdfast_{role}:scratch@{where['host']}:{where['port']}/{name}"
            for role in ("app", "owner", "relay")
        }
    )


@pytest.fixture(scope="session")
def make_database(postgres: str) -> Callable[[], Urls]:
    """Makes migrated databases; all but the first are copies of the first."""
    made: list[str] = []

    def make() -> Urls:
        if not made:
            template = _create(postgres, "template_holdfast", template=None)
            migrations.upgrade(template.owner)
            made.append("template_holdfast")
        return _create(postgres, f"t_{uuid.uuid4().hex[:12]}", template=made[0])

    return make


@pytest.fixture(scope="session")
def urls(make_database: Callable[[], Urls]) -> Urls:
    return make_database()


@pytest.fixture(scope="session")
async def database(urls: Urls) -> AsyncIterator[Database]:
    """The application's own role: under row-level security, as in production."""
    database = Database(urls.app, pool_size=8)
    yield database
    await database.close()


MakeTenant = Callable[..., Awaitable[uuid.UUID]]


@pytest.fixture(scope="session")
def make_tenant(database: Database) -> MakeTenant:
    async def make(slug: str | None = None, **settings: object) -> uuid.UUID:
        tenant_id = new_id()
        async with database.transaction(tenant_id) as work:
            await create_tenant(
                work,
                NewTenant(
                    slug or f"t-{tenant_id.hex[-12:]}",
                    "Test",
                    settings=DeskSettings.model_validate(settings),
                ),
                tenant_id=tenant_id,
                now=datetime.now(UTC),
            )
        return tenant_id

    return make


@pytest.fixture
async def tenant(make_tenant: MakeTenant) -> uuid.UUID:
    return await make_tenant()
