"""The demo desk: made once, in every state, and nobody's password is lost."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from cli import logins
from cli.seed import SLUG, seed
from cli.stories import CUSTOMERS, PEOPLE, STORIES, TEAMS
from models.session import Database
from services import learning
from services.auth import Auth
from services.tenants import find_tenant
from services.tickets import Origin
from settings import Settings
from stack.home import Home
from tests.conftest import Urls


def settings(urls: Urls) -> Settings:
    return Settings(
        database_url=SecretStr(urls.app),
        migration_database_url=SecretStr(urls.owner),
        relay_database_url=SecretStr(urls.relay),
        temporal_address="127.0.0.1:1",
        secret_key=SecretStr("s" * 40),
    )


def test_stories_speak_of_people_who_exist() -> None:
    people = {one.key for one in PEOPLE}
    members = {team: {one.key for one in PEOPLE if team in one.teams} for team in TEAMS}
    for story in STORIES:
        assert story.customer in CUSTOMERS
        assert story.team is None or story.team in TEAMS
        assert story.agent is None or (story.team and story.agent in members[story.team])
        assert {turn.by for turn in story.turns} <= people | {""}
    assert len({story.subject for story in STORIES}) == len(STORIES)


@dataclass(frozen=True)
class Made:
    """A demo desk in a database of its own."""

    home: Home
    settings: Settings
    database: Database
    told: list[str]


@pytest.fixture(scope="module")
async def made(
    make_database: Callable[[], Urls], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Made]:
    urls = make_database()
    home = Home(tmp_path_factory.mktemp("demo"))
    home.create()
    told: list[str] = []
    assert await seed(home, settings(urls), lambda name, text: told.append(text))
    database = Database(urls.app, pool_size=2)
    yield Made(home, settings(urls), database, told)
    await database.close()


@pytest.mark.slow
async def test_the_demo_desk_has_tickets_in_every_state(made: Made) -> None:
    tenant = await find_tenant(made.database, SLUG)
    assert tenant is not None
    async with made.database.transaction(tenant) as work:
        rows = await work.rows(
            "select category, snoozed, assignee_id, next_due_at, breached_at, created_at,"
            " updated_at, organization_id from tickets where tenant_id = :tenant",
            {"tenant": tenant},
        )
        internal = await work.row(
            "select count(*) as many from messages where tenant_id = :tenant"
            " and visibility = 'internal'",
            {"tenant": tenant},
        )
    states = Counter(row["category"] for row in rows)
    assert set(states) == {
        "new", "open", "pending", "on_hold", "resolved", "closed", "merged",
    }  # fmt: skip
    assert len(rows) == len(STORIES) + 1 >= 40
    assert sum(row["snoozed"] is not None for row in rows) == 2
    assert any(row["breached_at"] for row in rows)
    assert any(row["next_due_at"] for row in rows)
    assert any(row["organization_id"] for row in rows)
    assert all(row["created_at"] <= row["updated_at"] for row in rows)
    assert internal is not None
    assert internal["many"] >= 5


async def test_it_is_made_once(made: Made) -> None:
    before = logins.read(made.home)
    assert not await seed(made.home, made.settings, lambda name, text: made.told.append(text))
    assert logins.read(made.home) == before
    assert len(made.told) == 2


async def test_topics_and_moods_are_filled_in_without_proof_and_that_is_said(made: Made) -> None:
    assert "without proof" in made.told[-1]
    tenant = await find_tenant(made.database, SLUG)
    assert tenant is not None
    async with made.database.transaction(tenant) as work:
        settings = await learning.settings_of(work)
        audited = await work.rows(
            "select target_id from audit_entries where tenant_id = :t"
            " and action = 'triage_field.changed'",
            {"t": tenant},
        )
    done = {name for name, said in settings.items() if said.apply == "always"}
    assert done == {"topic", "sentiment", "language"}
    assert {one["target_id"] for one in audited} == {"topic", "sentiment"}


async def test_everybody_can_sign_in_with_the_password_that_was_kept(made: Made) -> None:
    auth = Auth(made.database, secret="s" * 40, public_url="http://desk.example")
    known = logins.read(made.home)
    assert [one.role for one in known] == [one.role for one in PEOPLE]
    assert (made.home.folder("run") / "logins.json").stat().st_mode & 0o077 == 0
    for one in known:
        signed_in = await auth.login(
            email=one.email,
            password=one.password,
            tenant=one.tenant,
            user_agent="test",
            origin=Origin(),
        )
        assert signed_in.tenant_slug == SLUG
