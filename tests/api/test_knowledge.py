"""The knowledge base, canned responses and suggestions over HTTP."""

import uuid
from typing import Any

import httpx
import pytest

from domain.permissions import Role
from models.session import Database
from services import lexical
from tests.api.conftest import House, MakeHouse
from tests.conftest import Urls

ARTICLE = {"title": "Restart your router", "body": "Unplug it, wait **ten** seconds.",
           "language": "en", "audience": "public"}  # fmt: skip


async def written(
    client: httpx.AsyncClient, headers: dict[str, str], **more: object
) -> dict[str, Any]:
    answer = await client.post("/api/v1/articles", json={**ARTICLE, **more}, headers=headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def stepped(
    client: httpx.AsyncClient, article: dict[str, Any], state: str, headers: dict[str, str]
) -> httpx.Response:
    return await client.post(
        f"/api/v1/articles/{article['id']}/state", json={"state": state}, headers=headers
    )


# Articles.


async def test_agents_write_and_submit_and_supervisors_publish(
    client: httpx.AsyncClient, house: House
) -> None:
    article = await written(client, house.agent)
    assert (article["state"], article["version"], article["slug"]) == (
        "draft", 1, "restart-your-router",
    )  # fmt: skip
    refused = await stepped(client, article, "published", house.agent)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    assert (await stepped(client, article, "review", house.agent)).status_code == 200
    done = await stepped(client, article, "published", house.headers[Role.SUPERVISOR])
    assert done.status_code == 200
    assert (done.json()["state"], done.json()["published_version"]) == ("published", 1)
    wrong = await stepped(client, article, "review", house.admin)
    assert (wrong.status_code, wrong.json()["code"]) == (409, "step_not_allowed")


async def test_readers_see_what_is_published_until_new_words_are(
    client: httpx.AsyncClient, house: House
) -> None:
    viewer, agent = house.headers[Role.VIEWER], house.agent
    article = await written(client, agent)
    path = f"/api/v1/articles/{article['id']}"
    public = f"/public/v1/{house.slug}/articles/{article['slug']}"
    assert (await client.get(path, headers=viewer)).status_code == 404
    assert (await client.get(public)).status_code == 404
    await stepped(client, article, "published", house.admin)
    changed = await client.patch(path, json={"title": "Start it again"}, headers=agent)
    assert (changed.json()["state"], changed.json()["version"]) == ("draft", 2)
    assert (await client.get(path, headers=agent)).json()["title"] == "Start it again"
    assert (await client.get(path, headers=viewer)).json()["title"] == ARTICLE["title"]
    shown = (await client.get(public)).json()
    assert (shown["title"], shown["html"]) == (
        ARTICLE["title"], "<p>Unplug it, wait <strong>ten</strong> seconds.</p>",
    )  # fmt: skip
    await stepped(client, article, "archived", house.headers[Role.SUPERVISOR])
    assert (await client.get(public)).status_code == 404
    assert (await client.get(path, headers=viewer)).status_code == 404
    refused = await client.patch(path, json={"title": "No"}, headers=agent)
    assert (refused.status_code, refused.json()["code"]) == (409, "archived")


async def test_an_internal_article_is_never_public(client: httpx.AsyncClient, house: House) -> None:
    article = await written(client, house.agent, audience="internal")
    await stepped(client, article, "published", house.admin)
    base = f"/public/v1/{house.slug}/articles"
    assert (await client.get(f"{base}/{article['slug']}")).status_code == 404
    assert (await client.get(base)).json()["items"] == []
    assert (await client.get(base, params={"q": "router"})).json()["items"] == []
    opened = await client.patch(
        f"/api/v1/articles/{article['id']}", json={"audience": "public"}, headers=house.agent
    )
    assert (opened.status_code, opened.json()["code"]) == (403, "forbidden")
    rated = await client.post(f"{base}/{article['slug']}/feedback", json={"helpful": True})
    assert rated.status_code == 404


async def test_markup_that_runs_or_loads_is_shown_as_text(
    client: httpx.AsyncClient, house: House
) -> None:
    body = (
        "<script>alert(1)</script> [click](javascript:alert(1)) ![x](https://evil.example/a.png)\n\n"
        "<img src=x onerror=alert(1)>\n\n| a | b |\n|---|---|\n| 1 | 2 |"
    )
    html = (await written(client, house.agent, body=body))["html"]
    assert "<script" not in html
    assert "<img" not in html
    assert 'href="javascript' not in html
    assert "<td>1</td>" in html


async def test_an_earlier_version_comes_back_as_a_new_one(
    client: httpx.AsyncClient, house: House
) -> None:
    article = await written(client, house.agent)
    path = f"/api/v1/articles/{article['id']}"
    await client.patch(path, json={"body": "Wrong."}, headers=house.agent)
    back = await client.post(f"{path}/restore", json={"version": 1}, headers=house.agent)
    assert (back.json()["version"], back.json()["body"]) == (3, ARTICLE["body"])
    versions = (await client.get(f"{path}/versions", headers=house.agent)).json()
    assert [(v["version"], v["restored_from"]) for v in versions] == [(3, 1), (2, None), (1, None)]
    assert versions[0]["author_name"] == "Agent"
    nothing = await client.post(f"{path}/restore", json={"version": 9}, headers=house.agent)
    assert nothing.status_code == 422


async def test_who_read_an_older_version_overwrites_nothing(
    client: httpx.AsyncClient, house: House
) -> None:
    article = await written(client, house.agent)
    path = f"/api/v1/articles/{article['id']}"
    seen = (await client.get(path, headers=house.agent)).headers["ETag"]
    first = await client.patch(
        path, json={"title": "One"}, headers={**house.agent, "If-Match": seen}
    )
    assert first.status_code == 200
    second = await client.patch(
        path, json={"title": "Two"}, headers={**house.agent, "If-Match": seen}
    )
    assert (second.status_code, second.json()["code"]) == (409, "changed_meanwhile")


async def test_the_same_key_writes_one_article(client: httpx.AsyncClient, house: House) -> None:
    headers = {**house.agent, "Idempotency-Key": "once"}
    made = [await written(client, headers) for _ in range(2)]
    assert made[0]["id"] == made[1]["id"]
    listed = await client.get("/api/v1/articles", headers=house.agent)
    assert len(listed.json()["items"]) == 1


async def test_translations_stand_beside_each_other(
    client: httpx.AsyncClient, house: House
) -> None:
    english = await written(client, house.agent)
    german = await written(
        client, house.agent, title="Router neu starten", language="de", translation_of=english["id"]
    )
    assert [one["id"] for one in german["translations"]] == [english["id"]]
    assert german["slug"] == "router-neu-starten-de"
    again = await client.post(
        "/api/v1/articles",
        json={**ARTICLE, "language": "de", "translation_of": english["id"]},
        headers=house.agent,
    )
    assert (again.status_code, again.json()["code"]) == (409, "translation_exists")
    await stepped(client, english, "published", house.admin)
    public = f"/public/v1/{house.slug}/articles/{english['slug']}"
    assert (await client.get(public)).json()["translations"] == []  # a draft is nobody's
    await stepped(client, german, "published", house.admin)
    assert [t["slug"] for t in (await client.get(public)).json()["translations"]] == [
        german["slug"]
    ]


async def test_addresses_are_made_from_titles_and_never_given_twice(
    client: httpx.AsyncClient, house: House
) -> None:
    slugs = [(await written(client, house.agent))["slug"] for _ in range(3)]
    assert slugs == ["restart-your-router", "restart-your-router-2", "restart-your-router-3"]
    assert (await written(client, house.agent, title="密码"))["slug"] == "article"
    taken = await client.post(
        "/api/v1/articles", json={**ARTICLE, "slug": slugs[0]}, headers=house.agent
    )
    assert (taken.status_code, taken.json()["code"]) == (409, "slug_taken")


async def test_articles_are_found_by_words_misspelt_ones_too(
    client: httpx.AsyncClient, house: House
) -> None:
    router = await written(client, house.agent, keywords=["reboot"])
    await written(client, house.agent, title="Invoices", body="Where to find your invoice.")
    for words in ("router", "rooter", "REBOOT", "unplug", "restarting routers"):
        answer = await client.get("/api/v1/articles", params={"q": words}, headers=house.agent)
        assert [one["id"] for one in answer.json()["items"]] == [router["id"]], words
    shown = await client.get("/api/v1/articles", params={"q": "router"},
                             headers=house.headers[Role.VIEWER])  # fmt: skip
    assert shown.json()["items"] == []  # nothing is published


async def test_a_list_goes_on_with_its_cursor(client: httpx.AsyncClient, house: House) -> None:
    made = {(await written(client, house.agent, title=f"T {n}"))["id"] for n in range(5)}
    seen: list[str] = []
    cursor: str | None = None
    while True:
        answer = await client.get(
            "/api/v1/articles",
            params={"limit": 2, **({"cursor": cursor} if cursor else {})},
            headers=house.agent,
        )
        seen += [one["id"] for one in answer.json()["items"]]
        cursor = answer.json()["next"]
        if cursor is None:
            break
    assert len(seen) == 5
    assert set(seen) == made


async def test_each_reader_has_one_say(client: httpx.AsyncClient, house: House) -> None:
    article = await written(client, house.agent)
    await stepped(client, article, "published", house.admin)
    path = f"/api/v1/articles/{article['id']}/feedback"
    public = f"/public/v1/{house.slug}/articles/{article['slug']}/feedback"
    for helpful in (True, False):
        assert (
            await client.post(path, json={"helpful": helpful}, headers=house.agent)
        ).status_code == 204
    for comment in ("Step 2 is missing.", "Now it is there."):
        said = await client.post(public, json={"helpful": True, "comment": comment})
        assert said.status_code == 204
    counts = (await client.get(path, headers=house.agent)).json()
    assert (counts["helpful"], counts["unhelpful"]) == (1, 1)
    assert [(c["comment"], c["by_agent"]) for c in counts["comments"]] == [
        ("Now it is there.", False)
    ]


async def test_sections_hold_articles_and_go_only_when_empty(
    client: httpx.AsyncClient, house: House
) -> None:
    made = await client.post("/api/v1/sections", json={"name": "Routers"}, headers=house.admin)
    section = made.json()["id"]
    twice = await client.post("/api/v1/sections", json={"name": "Routers"}, headers=house.admin)
    assert twice.status_code == 409
    article = await written(client, house.agent, section_id=section)
    held = await client.delete(f"/api/v1/sections/{section}", headers=house.admin)
    assert held.status_code == 409
    listed = await client.get(
        "/api/v1/articles", params={"section_id": section}, headers=house.agent
    )
    assert [one["id"] for one in listed.json()["items"]] == [article["id"]]
    await client.patch(
        f"/api/v1/articles/{article['id']}", json={"section_id": None}, headers=house.agent
    )
    gone = await client.delete(f"/api/v1/sections/{section}", headers=house.admin)
    assert gone.status_code == 204


async def test_what_was_done_is_in_the_audit_log(client: httpx.AsyncClient, house: House) -> None:
    article = await written(client, house.agent)
    await stepped(client, article, "published", house.admin)
    answer = await client.get("/api/v1/audit", headers=house.admin)
    actions = [(one["action"], one["target_id"]) for one in answer.json()["items"]]
    assert ("article.created", article["id"]) in actions
    assert ("article.changed", article["id"]) in actions


# Canned responses.


async def test_agents_write_for_their_own_teams_only(
    client: httpx.AsyncClient, house: House
) -> None:
    path = "/api/v1/canned-responses"
    own = {"name": "Ours", "body": "Hello.", "team_id": str(house.team_id)}
    assert (await client.post(path, json=own, headers=house.agent)).status_code == 201
    shared = await client.post(path, json={"name": "All", "body": "Hi."}, headers=house.agent)
    assert (shared.status_code, shared.json()["code"]) == (403, "forbidden")
    other = await client.post("/api/v1/teams", json={"name": "Second line"}, headers=house.admin)
    theirs = {"name": "Theirs", "body": "Hello.", "team_id": other.json()["id"]}
    refused = await client.post(path, json=theirs, headers=house.agent)
    assert refused.status_code == 403
    made = await client.post(path, json=theirs, headers=house.admin)
    assert made.status_code == 201
    hidden = await client.get(f"{path}/{made.json()['id']}", headers=house.agent)
    assert hidden.status_code == 404
    listed = await client.get(path, headers=house.agent)
    assert [one["name"] for one in listed.json()] == ["Ours"]


async def test_an_unknown_placeholder_is_refused(client: httpx.AsyncClient, house: House) -> None:
    answer = await client.post(
        "/api/v1/canned-responses",
        json={"name": "Odd", "body": "Hi {{customer.password}}"},
        headers=house.admin,
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/body"


async def test_a_canned_response_reads_as_it_would_in_a_ticket(
    client: httpx.AsyncClient, house: House
) -> None:
    made = await client.post(
        "/api/v1/canned-responses",
        json={
            "name": "Hello",
            "body": "Hi {{customer.first_name}}, about {{ticket.subject}}: {{agent.name}}",
        },
        headers=house.admin,
    )
    ticket = await asked(client, house, "{{agent.name}} <b>", "Help.")
    shown = await client.get(
        f"/api/v1/tickets/{ticket}/canned-responses/{made.json()['id']}", headers=house.agent
    )
    assert shown.json() == {"text": "Hi Mia, about {{agent.name}} <b>: Agent", "missing": []}


# Suggestions, similar tickets, summaries.


async def asked(
    client: httpx.AsyncClient, house: House, subject: str, text: str, email: str = "mia@example.org"
) -> int:
    answer = await client.post(
        "/api/v1/tickets",
        json={
            "subject": subject,
            "text": text,
            "requester": {"email": email, "name": "Mia Sommer"},
            "on_behalf": True,
        },
        headers=house.agent,
    )
    assert answer.status_code == 201, answer.text
    return int(answer.json()["number"])


@pytest.fixture
async def relay(urls: Urls) -> Any:
    database = Database(urls.relay, pool_size=1)
    yield database
    await database.close()


async def test_a_resolved_ticket_answers_the_next_one(
    client: httpx.AsyncClient, house: House, database: Database, relay: Database
) -> None:
    past = await asked(client, house, "Router restarts", "It restarts at night.", "a@example.org")
    answer = "Unplug the router, wait ten seconds and plug it in again; then it keeps running."
    await client.post(
        f"/api/v1/tickets/{past}/replies",
        json={"text": answer, "status": "resolved"},
        headers=house.agent,
    )
    await lexical.catch_up(relay, database)
    ticket = await asked(client, house, "Router restarts", "My router restarts at night.")
    shown = await client.get(f"/api/v1/tickets/{ticket}/suggestions", headers=house.agent)
    [one] = shown.json()["items"]
    assert (one["kind"], one["number"], one["text"]) == ("reply", past, answer)
    said = await client.post(
        f"/api/v1/tickets/{ticket}/suggestions/feedback",
        json={"kind": "reply", "source_id": one["source_id"], "verdict": "accepted"},
        headers=house.agent,
    )
    assert said.json() == {"accepted": 1, "edited": 0, "rejected": 0}
    similar = await client.get(f"/api/v1/tickets/{ticket}/similar", headers=house.agent)
    assert [(o["number"], o["linked"]) for o in similar.json()["items"]] == [(past, False)]
    tied = await client.post(
        f"/api/v1/tickets/{ticket}/links",
        json={"kind": "duplicate", "other": past},
        headers=house.agent,
    )
    assert tied.status_code == 200
    similar = await client.get(f"/api/v1/tickets/{ticket}/similar", headers=house.agent)
    assert similar.json()["items"][0]["linked"] is True
    messages = await client.get(f"/api/v1/tickets/{ticket}/messages", headers=house.agent)
    assert len(messages.json()["items"]) == 1  # nothing was sent by itself


async def test_a_viewer_reads_suggestions_and_judges_none(
    client: httpx.AsyncClient, house: House
) -> None:
    ticket = await asked(client, house, "Router", "It restarts.")
    viewer = house.headers[Role.VIEWER]
    path = f"/api/v1/tickets/{ticket}/suggestions"
    assert (await client.get(path, headers=viewer)).status_code == 200
    body = {"kind": "article", "source_id": str(uuid.uuid4()), "verdict": "accepted"}
    assert (await client.post(f"{path}/feedback", json=body, headers=viewer)).status_code == 403


async def test_a_conversation_is_told_in_its_own_sentences(
    client: httpx.AsyncClient, house: House
) -> None:
    ticket = await asked(
        client, house, "Router restarts", "My router restarts every night at three. Please help."
    )
    await client.post(
        f"/api/v1/tickets/{ticket}/replies",
        json={"text": "We have sent you a new router today."},
        headers=house.agent,
    )
    answer = await client.get(f"/api/v1/tickets/{ticket}/summary", headers=house.agent)
    found = answer.json()
    assert found["messages"] == 2
    assert found["problem"][0]["text"] == "My router restarts every night at three."
    assert [one["text"] for one in found["state"]] == ["We have sent you a new router today."]
    messages = await client.get(f"/api/v1/tickets/{ticket}/messages", headers=house.agent)
    assert found["state"][0]["message_id"] == messages.json()["items"][1]["id"]


async def test_nobody_reads_across_tenants(
    client: httpx.AsyncClient, house: House, make_house: MakeHouse
) -> None:
    other = await make_house()
    article = await written(client, other.agent)
    await stepped(client, article, "published", other.admin)
    assert (
        await client.get(f"/public/v1/{house.slug}/articles/{article['slug']}")
    ).status_code == 404
    for query in ({}, {"q": "router"}):
        answer = await client.get("/api/v1/articles", params=query, headers=house.admin)
        assert answer.json()["items"] == []
        public = await client.get(f"/public/v1/{house.slug}/articles", params=query)
        assert public.json()["items"] == []
