"""A day at the desk, over HTTP, on every real server."""

import email
import email.policy
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.crash.desk import PASSWORD, LiveDesk, live_desk, until

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LiveDesk]:
    async with live_desk(tmp_path_factory.mktemp("journey") / "home") as desk:
        yield desk


@pytest.fixture
async def customer(desk: LiveDesk) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=desk.url, timeout=20) as client:
        yield client


@pytest.fixture
async def agent(desk: LiveDesk) -> AsyncIterator[httpx.AsyncClient]:
    """An agent who signed in with a password."""
    async with httpx.AsyncClient(base_url=desk.url, timeout=20) as client:
        async with desk.database.transaction(desk.tenant) as work:
            [row] = await work.rows("select email from users where id = :i", {"i": desk.agent})
        answer = await client.post(
            "/api/v1/auth/login",
            json={"email": row["email"], "password": PASSWORD, "tenant": desk.slug},
        )
        assert answer.status_code == 200, answer.text
        client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield client


async def becomes(
    ask: Callable[[], Awaitable[httpx.Response]], holds: Callable[[httpx.Response], bool]
) -> httpx.Response:
    """The first answer for which `holds`."""
    seen: list[httpx.Response] = []

    async def not_yet() -> str | None:
        seen.append(await ask())
        return None if holds(seen[-1]) else seen[-1].text[:500]

    await until(not_yet, within=150)  # a fresh desk teaches its first model meanwhile
    return seen[-1]


def ok(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, f"{answer.status_code} {answer.text}"
    told: dict[str, Any] = answer.json()
    return told


async def test_a_customers_answer_reopens_a_pending_ticket_and_everybody_hears_of_it(
    desk: LiveDesk, customer: httpx.AsyncClient, agent: httpx.AsyncClient
) -> None:
    word = f"lampshade{uuid.uuid4().hex[:6]}"
    made = ok(
        await customer.post(
            "/public/v1/tickets",
            headers={"Authorization": f"Bearer {desk.intake_key}"},
            json={
                "subject": f"My {word} arrived broken",
                "text": "The box was open. I would like my money back, please.",
                "requester": {"email": "kim@example.com", "name": "Kim"},
                "channel": "email",
            },
        )
    )
    number, link = made["number"], made["link"]
    path = f"/api/v1/tickets/{number}"

    # Read your writes: the list has it at once, whatever the index and the workflow do.
    listed = ok(await agent.get("/api/v1/tickets"))
    assert number in [item["number"] for item in listed["items"]]

    # The workflow triages and assigns it, and answers for itself.
    triaged = await becomes(
        lambda: agent.get(path), lambda a: a.json()["triage"] == "done" and a.json()["assignee_id"]
    )
    # Nothing is proven on a new desk: what models think is a suggestion.
    assert triaged.json()["topic"] is None
    questions = ok(await agent.get(f"{path}/analysis"))["questions"]
    [topic] = [one for one in questions if one["field"] == "topic"]
    assert topic["suggestion"]["label"]
    assert topic["applied"] is False
    live = await becomes(lambda: agent.get(f"{path}/workflow"), lambda a: a.json()["live"])
    assert live.json()["link"].startswith("http://127.0.0.1:")

    # Search finds it by a word of its subject.
    found = await becomes(
        lambda: agent.get("/api/v1/search", params={"q": word}), lambda a: bool(a.json()["items"])
    )
    assert found.json()["items"][0]["number"] == number

    # A reply goes out by mail, and the ticket waits for the customer.
    replied = ok(
        await agent.post(
            f"{path}/replies",
            headers={"Idempotency-Key": f"reply-{word}"},
            json={"text": "Could you send us a picture?", "status": "pending"},
        )
    )
    again = await agent.post(
        f"{path}/replies",
        headers={"Idempotency-Key": f"reply-{word}"},
        json={"text": "Could you send us a picture?", "status": "pending"},
    )
    assert (again.status_code, again.json()["seq"]) == (201, replied["seq"])
    assert again.headers["Idempotency-Replayed"] == "true"
    await becomes(
        lambda: agent.get(path),
        lambda a: any(
            d["state"] == "sent" for m in a.json()["messages"] for d in m.get("deliveries", [])
        ),
    )
    mails = [
        email.message_from_bytes(p.read_bytes(), policy=email.policy.default)
        for p in Path(desk.home.folder("mail")).glob("*.eml")
    ]
    [mail] = [m for m in mails if word in str(m["Subject"])]
    assert mail["To"] == "kim@example.com"
    assert f"[#{number}]" in str(mail["Subject"])
    assert "picture" in mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]

    # The customer reads the public side through the link, and answers there.
    await agent.post(f"{path}/notes", json={"text": "Third one this week."})
    own = await customer.get(f"/public/v1/tickets/{link}")
    assert "Third one this week" not in own.text
    assert "picture" in own.text
    ok(await customer.post(f"/public/v1/tickets/{link}/replies", json={"text": "Here it is."}))
    reopened = ok(await agent.get(path))
    assert reopened["category"] == "open"

    # Whoever had read less than that is told before the second answer goes out.
    stale = await agent.post(f"{path}/replies", json={"text": "Any news?", "seen": replied["seq"]})
    assert (stale.status_code, stale.json()["code"]) == (409, "newer_message")

    # Resolved, its clocks stop; the timeline tells all of it without a gap.
    ok(await agent.post(f"{path}/replies", json={"text": "Refunded.", "status": "resolved"}))
    events = ok(await agent.get(f"{path}/events", params={"limit": 100}))
    told = events["items"]
    assert [e["seq"] for e in told] == list(range(1, len(told) + 1))
    types = [e["type"] for e in told]
    for kind in ("ticket_created", "triaged", "agent_replied", "note_added", "customer_replied"):
        assert kind in types
    clocks = ok(await agent.get(path))["clocks"]
    assert {c["outcome"] for c in clocks} == {"met"}


async def test_a_bulk_change_runs_by_itself_and_can_be_taken_back(
    desk: LiveDesk, agent: httpx.AsyncClient
) -> None:
    fed = await desk.feed(30)
    numbers = sorted(fed.accepted.values())
    await desk.settled()
    job = ok(
        await agent.post(
            "/api/v1/bulk", json={"numbers": numbers, "change": {"add_tags": ["wave"]}}
        )
    )
    done = await becomes(
        lambda: agent.get(f"/api/v1/bulk/{job['id']}"), lambda a: a.json()["state"] == "finished"
    )
    assert done.json()["counts"] == {"done": 30}
    listed = ok(await agent.get("/api/v1/tickets", params={"tag": "wave", "limit": 100}))
    assert len(listed["items"]) == 30
    ok(await agent.post(f"/api/v1/bulk/{job['id']}/undo"))
    undone = await becomes(
        lambda: agent.get(f"/api/v1/bulk/{job['id']}"), lambda a: a.json()["state"] == "undone"
    )
    assert undone.json()["counts"] == {"undone": 30}
    listed = ok(await agent.get("/api/v1/tickets", params={"tag": "wave"}))
    assert listed["items"] == []


async def test_merging_over_http_and_taking_it_back(
    desk: LiveDesk, agent: httpx.AsyncClient
) -> None:
    fed = await desk.feed(2)
    a, b = sorted(fed.accepted.values())
    merged = ok(await agent.post(f"/api/v1/tickets/{a}/merge", json={"into": b}))
    assert merged["source"]["category"] == "merged"
    detail = ok(await agent.get(f"/api/v1/tickets/{b}"))
    assert len(detail["messages"]) == 2
    # Its workflow has ended; that of the target goes on.
    await becomes(
        lambda: agent.get(f"/api/v1/tickets/{b}/workflow"), lambda r: bool(r.json()["live"])
    )
    ok(await agent.post(f"/api/v1/tickets/{a}/unmerge"))
    detail = ok(await agent.get(f"/api/v1/tickets/{a}"))
    assert (detail["category"], len(detail["messages"])) == ("new", 1)


async def test_somebody_who_forgot_the_password_gets_a_link_by_mail(
    desk: LiveDesk, customer: httpx.AsyncClient
) -> None:
    async with desk.database.transaction(desk.tenant) as work:
        [row] = await work.rows("select email from users where id = :i", {"i": desk.agent})
    before = time.time()
    asked = await customer.post("/api/v1/auth/password-reset", json={"email": row["email"]})
    assert asked.status_code == 202
    folder = Path(desk.home.folder("mail"))

    async def unsent() -> str | None:
        fresh = [p for p in folder.glob("*links.holdfast.eml") if p.stat().st_mtime >= before - 1]
        return None if fresh else "no mail with a link"

    await until(unsent, within=10)
