"""Pages that mails lead to: they answer, stand by themselves, and run no script but their own."""

import base64
import hashlib
import re

import httpx
import pytest

from api.resources import Resources
from domain.permissions import Role
from models.session import Database
from tests.api.conftest import House

PAGES = ("/set-password", "/portal/tickets/any-link", "/docs")


def hashed(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def policy_of(answer: httpx.Response) -> dict[str, list[str]]:
    parts = [part.split() for part in answer.headers["content-security-policy"].split(";")]
    return {name: values for name, *values in parts}


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in " ".join(re.findall(r'(?:src|href|action)="([^"]*)"', answer.text))
    policy = policy_of(answer)
    assert policy["default-src"] == ["'none'"]
    assert policy["frame-ancestors"] == ["'none'"]
    assert policy["connect-src"] == ["'self'"]
    assert not any(
        "http" in value or "*" in value for values in policy.values() for value in values
    )


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_may_run_its_own_script_and_no_other(
    client: httpx.AsyncClient, path: str
) -> None:
    answer = await client.get(path)
    scripts = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    allowed = policy_of(answer)["script-src"]
    assert len(scripts) == 1
    assert [value for value in allowed if value != "'self'"] == [hashed(scripts[0])]
    assert ("'self'" in allowed) == (path == "/docs")
    assert not re.search(
        r"\son\w+=", answer.text
    )  # no handler in an attribute, which would not run


@pytest.mark.parametrize("path", PAGES[:2])
async def test_what_people_wrote_is_never_taken_for_markup(
    client: httpx.AsyncClient, path: str
) -> None:
    page = (await client.get(path)).text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", page)


@pytest.mark.parametrize("path", PAGES[:2])
async def test_a_page_can_be_used_by_keyboard_and_with_a_screen_reader(
    client: httpx.AsyncClient, path: str
) -> None:
    page = (await client.get(path)).text
    assert '<html lang="en">' in page
    assert page.count("<h1") == page.count("<main") == 1
    assert 'role="alert"' in page
    assert 'role="status"' in page
    fields = re.findall(r'<(?:input|textarea) id="(\w+)"', page)
    assert fields
    for field in fields:
        inside = re.search(rf'<label[^>]*>\s*<input id="{field}"', page)
        assert inside or f'<label for="{field}"' in page, field
    assert not re.search(r'tabindex="[1-9]', page)


@pytest.mark.parametrize(
    ("path", "kind"), [("/docs/swagger-ui.js", "javascript"), ("/docs/swagger-ui.css", "css")]
)
async def test_the_documentation_comes_from_this_server(
    client: httpx.AsyncClient, path: str, kind: str
) -> None:
    assert f'"{path.removeprefix("/")}"' in (await client.get("/docs")).text
    answer = await client.get(path)
    assert answer.status_code == 200
    assert kind in answer.headers["content-type"]
    assert len(answer.content) > 100_000


async def test_the_link_of_a_submission_leads_to_its_page(
    client: httpx.AsyncClient, house: House
) -> None:
    submitted = await client.post(
        f"/public/v1/{house.slug}/tickets",
        json={"subject": "Lamp", "text": "It is dark.", "email": "kim@example.org"},
    )
    assert submitted.status_code == 201, submitted.text
    page = await client.get(httpx.URL(submitted.json()["url"]).path)
    assert page.status_code == 200
    assert "Your answer" in page.text


async def test_the_link_to_set_a_password_leads_to_its_page(
    client: httpx.AsyncClient, house: House, database: Database, resources: Resources
) -> None:
    async with database.transaction(house.tenant_id) as work:
        link = await resources.auth.make_link(work, house.users[Role.AGENT], purpose="reset")
    page = await client.get(httpx.URL(link).path)
    assert page.status_code == 200
    assert 'autocomplete="new-password"' in page.text
