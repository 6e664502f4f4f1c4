"""What was answered is what is read next; what was done once is done once; pages lose nothing.

Lists read Postgres, so whoever has an answer sees it in every list from that moment on.
"""

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.resources import Resources
from domain.permissions import Role
from models.session import Database
from tests.api.conftest import House, make_ticket

pytestmark = pytest.mark.slow  # every action, then every reader

TICKETS = "/api/v1/tickets"
KEY = "Idempotency-Key"
Client = httpx.AsyncClient
Said = dict[str, Any]


async def create(client: Client, house: House, **asked: object) -> Said:
    body = {
        "subject": "The door does not close",
        "text": "It stands open all night.",
        "requester": {"email": "mia@example.org", "name": "Mia"},
        "on_behalf": True,
        **asked,
    }
    answer = await client.post(TICKETS, json=body, headers=house.agent)
    assert answer.status_code == 201, answer.text
    made: Said = answer.json()
    return made


async def read(client: Client, house: House, number: int) -> Said:
    answer = await client.get(f"{TICKETS}/{number}", headers=house.admin)
    assert answer.status_code == 200, answer.text
    found: Said = answer.json()
    assert answer.headers["etag"] == f'"{found["seq"]}"'
    return found


async def listed(client: Client, house: House, **query: object) -> list[Said]:
    answer = await client.get(TICKETS, params=query, headers=house.admin)  # type: ignore[arg-type]
    assert answer.status_code == 200, answer.text
    items: list[Said] = answer.json()["items"]
    return items


async def numbers(client: Client, house: House, **query: object) -> list[int]:
    return [item["number"] for item in await listed(client, house, **query)]


# Every action, and what it leaves to be read.


@dataclass(frozen=True)
class Scene:
    """A house with an open ticket, and another one to tie it to."""

    house: House
    number: int
    other: int

    @property
    def agent_id(self) -> str:
        return str(self.house.users[Role.AGENT])


@dataclass(frozen=True)
class Action:
    """One thing an agent does: the request, what it shows then, and which list has it."""

    name: str
    method: str
    where: str
    body: Callable[[Scene], Said | None]
    shows: Callable[[Scene, Said], bool]
    filter: Callable[[Scene], Said] = lambda _: {}
    first: tuple[str, Said | None] | None = None
    query: Callable[[Scene], Said] = lambda _: {}

    def __str__(self) -> str:
        return self.name


LATER = (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0)


def last_message(ticket: Said) -> Said:
    message: Said = ticket["messages"][-1]
    return message


def at(time: str | None) -> datetime | None:
    return None if time is None else datetime.fromisoformat(time)


ACTIONS = [
    Action(
        "reply", "POST", "/replies",
        lambda _: {"text": "We come tomorrow.", "status": "pending"},
        lambda _, t: last_message(t)["body_text"] == "We come tomorrow."
        and (t["category"], last_message(t)["visibility"]) == ("pending", "public")
        and last_message(t)["deliveries"][0]["state"] == "queued",
        lambda _: {"category": "pending"},
    ),
    Action(
        "note", "POST", "/notes", lambda _: {"text": "Bring the long ladder."},
        lambda _, t: (last_message(t)["body_text"], last_message(t)["visibility"])
        == ("Bring the long ladder.", "internal"),
    ),
    Action(
        "customer message", "POST", "/customer-messages",
        lambda _: {"text": "She called: it is urgent.", "channel": "phone"},
        lambda _, t: (last_message(t)["author_kind"], last_message(t)["channel"])
        == ("customer", "phone") and t["category"] == "open",
        lambda _: {"category": "open"},
        first=("/replies", {"text": "What exactly?", "status": "pending"}),
    ),
    Action(
        "change", "PATCH", "",
        lambda _: {"subject": "The front door", "priority": "urgent", "type": "incident",
                   "add_tags": ["doors"]},
        lambda _, t: (t["subject"], t["priority"], t["type"], t["tags"])
        == ("The front door", "urgent", "incident", ["doors"]),
        lambda _: {"priority": "urgent", "type": "incident", "tag": "doors"},
    ),
    Action(
        "resolve", "PATCH", "", lambda _: {"status": "resolved"},
        lambda _, t: t["category"] == "resolved" and t["resolved_at"] is not None
        and t["auto_close_at"] is not None,
        lambda _: {"status": "resolved"},
    ),
    Action(
        "claim", "POST", "/claim", lambda _: None,
        lambda s, t: t["assignee_id"] == s.agent_id and t["assignee_name"] == "Agent",
        lambda s: {"assignee": s.agent_id},
    ),
    Action(
        "assign", "POST", "/assign",
        lambda s: {"team_id": str(s.house.team_id), "assignee_id": s.agent_id},
        lambda s, t: (t["team_id"], t["assignee_id"]) == (str(s.house.team_id), s.agent_id),
        lambda s: {"team": str(s.house.team_id), "assignee": s.agent_id},
    ),
    Action(
        "unassign", "POST", "/unassign", lambda _: {"reason": "On leave."},
        lambda _, t: t["assignee_id"] is None, lambda _: {"assignee": "none"},
        first=("/claim", None),
    ),
    Action(
        "escalate", "POST", "/escalate",
        lambda s: {"reason": "It will rain.", "team_id": str(s.house.team_id)},
        lambda s, t: (t["escalation"] or {}).get("reason") == "It will rain."
        and t["team_id"] == str(s.house.team_id),
        lambda _: {"escalated": "true"},
    ),
    Action(
        "snooze", "POST", "/snooze", lambda _: {"until": LATER.isoformat()},
        lambda _, t: at(t["snoozed_until"]) == LATER,
        lambda _: {"snoozed": "true"},
    ),
    Action(
        "wake", "POST", "/wake", lambda _: None,
        lambda _, t: t["snoozed"] is None and t["snoozed_until"] is None,
        lambda _: {"snoozed": "false"}, first=("/snooze", {"until": LATER.isoformat()}),
    ),
    Action(
        "remind", "POST", "/reminder", lambda _: {"at": LATER.isoformat(), "note": "Call."},
        lambda _, t: at(t["remind_at"]) == LATER,
    ),
    Action(
        "forget the reminder", "DELETE", "/reminder", lambda _: None,
        lambda _, t: t["remind_at"] is None,
        first=("/reminder", {"at": LATER.isoformat()}),
    ),
    Action(
        "watch", "POST", "/watch", lambda s: {"user_id": str(s.house.users[Role.ADMIN])},
        lambda s, t: [w["user_id"] for w in t["watchers"]] == [str(s.house.users[Role.ADMIN])],
        lambda _: {"watching": "me"},
    ),
    Action(
        "unwatch", "POST", "/unwatch", lambda _: None, lambda _, t: t["watchers"] == [],
        first=("/watch", None),
    ),
    Action(
        "link", "POST", "/links", lambda s: {"kind": "duplicate", "other": s.other},
        lambda s, t: [(r["kind"], r["direction"], r["number"]) for r in t["relations"]]
        == [("duplicate", "outgoing", s.other)],
    ),
    Action(
        "unlink", "DELETE", "/links", lambda _: None, lambda _, t: t["relations"] == [],
        first=("/links", {"kind": "relates", "other": 2}),
        query=lambda s: {"kind": "relates", "other": s.other},
    ),
]  # fmt: skip


@pytest.fixture
async def scene(client: Client, house: House) -> Scene:
    made = await create(client, house)
    other = await create(client, house, subject="The window, too")
    return Scene(house, made["number"], other["number"])


@pytest.mark.parametrize("action", ACTIONS, ids=str)
async def test_what_an_action_did_is_what_the_next_reader_sees(
    client: Client, scene: Scene, action: Action
) -> None:
    house, where = scene.house, f"{TICKETS}/{scene.number}"
    if action.first is not None:
        path, body = action.first
        before = await client.post(f"{where}{path}", json=body, headers=house.agent)
        assert before.status_code in (200, 201), before.text
    assert not action.shows(scene, await read(client, house, scene.number))
    if wanted := action.filter(scene):
        assert scene.number not in await numbers(client, house, **wanted)

    answer = await client.request(
        action.method,
        f"{where}{action.where}",
        json=action.body(scene),
        params=action.query(scene),
        headers=house.agent,
    )
    assert answer.status_code in (200, 201), answer.text

    found = await read(client, house, scene.number)
    assert action.shows(scene, found)
    # Word for word what the answer said; a list knows the requester's name, an answer the id only.
    said: Said = answer.json()
    assert {n: v for n, v in said.items() if n != "requester"} == {
        n: found[n] for n in said if n != "requester"
    }
    [shown] = [
        item
        for item in await listed(client, house, **action.filter(scene))
        if item["number"] == scene.number
    ]
    assert shown == {n: found[n] for n in shown}
    # The timeline ends with it, and it was the caller's.
    timeline = await client.get(f"{where}/events", headers=house.admin)
    assert timeline.json()["last"] == said["seq"]
    assert (
        scene.agent_id in {entry["actor_id"] for entry in timeline.json()["items"][-2:]}
        or action.name == "customer message"
    )


async def test_a_new_ticket_leads_the_list_and_is_counted_at_once(
    client: Client, scene: Scene
) -> None:
    async def counts() -> Said:
        answer = await client.get(f"{TICKETS}/counts", headers=scene.house.admin)
        found: Said = answer.json()
        return found

    before = await counts()
    made = await create(client, scene.house)
    assert (await numbers(client, scene.house))[0] == made["number"]
    assert (await numbers(client, scene.house, sort="-created_at"))[0] == made["number"]
    after = await counts()
    assert after["unassigned"] == before["unassigned"] + 1
    assert sum(after["categories"].values()) == sum(before["categories"].values()) + 1

    resolved = await client.patch(
        f"{TICKETS}/{made['number']}", json={"status": "resolved"}, headers=scene.house.agent
    )
    assert resolved.status_code == 200
    last = await counts()
    assert last["categories"]["resolved"] == before["categories"].get("resolved", 0) + 1
    assert last["unassigned"] == before["unassigned"]  # over, so nobody has to take it
    mine = await client.get(f"{TICKETS}/counts", headers=scene.house.agent)
    assert mine.json()["mine"] == 0
    await client.post(f"{TICKETS}/{scene.number}/claim", headers=scene.house.agent)
    mine = await client.get(f"{TICKETS}/counts", headers=scene.house.agent)
    assert mine.json()["mine"] == 1


async def test_merging_and_unmerging_show_at_once_on_both(client: Client, scene: Scene) -> None:
    where = f"{TICKETS}/{scene.number}"
    merged = await client.post(
        f"{where}/merge", json={"into": scene.other}, headers=scene.house.agent
    )
    assert merged.status_code == 200, merged.text
    source, target = merged.json()["source"], merged.json()["target"]
    assert (await read(client, scene.house, scene.number))["merged_into"] == target["id"]
    assert source["category"] == "merged"
    assert len((await read(client, scene.house, scene.other))["messages"]) == 2
    assert await numbers(client, scene.house, category="merged") == [scene.number]
    parted = await client.post(f"{where}/unmerge", headers=scene.house.agent)
    assert parted.status_code == 200, parted.text
    assert (await read(client, scene.house, scene.number))["merged_into"] is None
    assert len((await read(client, scene.house, scene.other))["messages"]) == 1
    assert await numbers(client, scene.house, category="merged") == []


# Versions.


async def patch(
    client: Client, scene: Scene, change: Said, if_match: str | None = None
) -> httpx.Response:
    headers = dict(scene.house.agent)
    if if_match is not None:
        headers["If-Match"] = if_match
    return await client.patch(f"{TICKETS}/{scene.number}", json=change, headers=headers)


async def test_every_change_has_its_own_version_and_a_reader_may_ask_for_news(
    client: Client, scene: Scene
) -> None:
    where = f"{TICKETS}/{scene.number}"
    first = await client.get(where, headers=scene.house.agent)
    asking = scene.house.agent | {"If-None-Match": first.headers["etag"]}
    unchanged = await client.get(where, headers=asking)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    changed = await patch(client, scene, {"priority": "high"}, first.headers["etag"])
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]
    news = await client.get(where, headers=asking)
    assert (news.status_code, news.headers["etag"]) == (200, changed.headers["etag"])
    assert news.json()["priority"] == "high"


async def test_changes_to_what_nobody_else_touched_are_merged(client: Client, scene: Scene) -> None:
    version = f'"{(await read(client, scene.house, scene.number))["seq"]}"'
    assert (await patch(client, scene, {"priority": "high"}, version)).status_code == 200
    assert (await patch(client, scene, {"subject": "Both"}, version)).status_code == 200
    assert (await patch(client, scene, {"add_tags": ["doors"]}, version)).status_code == 200
    found = await read(client, scene.house, scene.number)
    assert (found["priority"], found["subject"], found["tags"]) == ("high", "Both", ["doors"])


async def test_changes_to_what_somebody_changed_meanwhile_are_named_and_nothing_is_done(
    client: Client, scene: Scene
) -> None:
    version = f'"{(await read(client, scene.house, scene.number))["seq"]}"'
    await patch(client, scene, {"priority": "high", "subject": "Theirs"}, version)
    before = await read(client, scene.house, scene.number)

    mine = {"priority": "low", "subject": "Mine", "type": "task"}
    refused = await patch(client, scene, mine, version)

    assert (refused.status_code, refused.json()["code"]) == (409, "changed_meanwhile")
    assert {e["pointer"] for e in refused.json()["errors"]} == {"/priority", "/subject"}
    assert await read(client, scene.house, scene.number) == before  # not even the type
    again = await patch(client, scene, mine, f'"{before["seq"]}"')
    assert (again.status_code, again.json()["subject"]) == (200, "Mine")


async def test_a_custom_field_conflicts_by_itself(client: Client, scene: Scene) -> None:
    for label in ("Colour", "Size"):
        made = await client.post(
            "/api/v1/fields", json={"label": label, "kind": "text"}, headers=scene.house.admin
        )
        assert made.status_code == 201, made.text
    version = f'"{(await read(client, scene.house, scene.number))["seq"]}"'
    assert (await patch(client, scene, {"fields": {"colour": "red"}}, version)).status_code == 200
    assert (await patch(client, scene, {"fields": {"size": "L"}}, version)).status_code == 200
    refused = await patch(client, scene, {"fields": {"colour": "blue"}}, version)
    assert refused.status_code == 409
    assert [e["pointer"] for e in refused.json()["errors"]] == ["/fields/colour"]
    assert (await read(client, scene.house, scene.number))["fields"] == {
        "colour": "red",
        "size": "L",
    }


@pytest.mark.parametrize("any_version", ["*", " * ", None])
async def test_a_star_and_no_version_at_all_overwrite(
    client: Client, scene: Scene, any_version: str | None
) -> None:
    await patch(client, scene, {"priority": "high"})
    answer = await patch(client, scene, {"priority": "low"}, any_version)
    assert (answer.status_code, answer.json()["priority"]) == (200, "low")


@pytest.mark.parametrize("nonsense", ["", "3", '"', '"three"', '"-1"', '"1", "2"', '"1'])
async def test_what_is_no_version_is_refused(client: Client, scene: Scene, nonsense: str) -> None:
    before = await read(client, scene.house, scene.number)
    answer = await patch(client, scene, {"priority": "low"}, nonsense)
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json()["errors"]] == ["header/If-Match"]
    assert await read(client, scene.house, scene.number) == before


async def test_of_two_at_once_with_one_version_one_is_told(client: Client, scene: Scene) -> None:
    version = f'"{(await read(client, scene.house, scene.number))["seq"]}"'
    answers = await asyncio.gather(
        *(patch(client, scene, {"subject": name}, version) for name in ("Left", "Right"))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    [done] = [answer for answer in answers if answer.status_code == 200]
    found = await read(client, scene.house, scene.number)
    assert found["subject"] == done.json()["subject"]


# Once.


async def test_two_creations_at_once_under_one_key_make_one_ticket(
    client: Client, house: House
) -> None:
    body = {
        "subject": "Only once",
        "text": "Please.",
        "requester": {"email": f"{uuid.uuid4().hex}@example.org"},
    }
    headers = house.agent | {KEY: "create-1"}
    answers = await asyncio.gather(
        *(client.post(TICKETS, json=body, headers=headers) for _ in range(2))
    )
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert sorted("Idempotency-Replayed" in answer.headers for answer in answers) == [False, True]
    assert await numbers(client, house) == [answers[0].json()["number"]]
    found = await client.get("/api/v1/customers", headers=house.admin)
    assert len(found.json()["items"]) == 1
    other = await client.post(TICKETS, json=body | {"subject": "Another"}, headers=headers)
    assert other.status_code in (409, 422)
    assert await numbers(client, house) == [answers[0].json()["number"]]


async def test_two_submissions_at_once_under_one_key_make_one_ticket(
    client: Client, house: House
) -> None:
    body = {
        "subject": "Only once",
        "text": "Please.",
        "requester": {"email": f"{uuid.uuid4().hex}@example.org"},
    }
    headers = house.intake | {KEY: "form-1"}
    answers = await asyncio.gather(
        *(client.post("/public/v1/tickets", json=body, headers=headers) for _ in range(4))
    )
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.text for answer in answers}) == 1
    assert await numbers(client, house) == [answers[0].json()["number"]]


ONCE = [
    ("/replies", {"text": "We come tomorrow."}),
    ("/notes", {"text": "Ladder!"}),
    ("/customer-messages", {"text": "Still open."}),
    ("/assign", {"assignee_id": None, "reason": "Nobody for now."}),
    ("/escalate", {"reason": "It will rain.", "team_id": "a team"}),
    ("/snooze", {"until": LATER.isoformat()}),
    ("/reminder", {"at": LATER.isoformat()}),
    ("/links", {"kind": "relates", "other": 2}),
]


@pytest.mark.parametrize(("path", "body"), ONCE, ids=[path for path, _ in ONCE])
async def test_an_action_repeated_under_its_key_happens_once(
    client: Client, scene: Scene, path: str, body: Said
) -> None:
    where, headers = f"{TICKETS}/{scene.number}", scene.house.agent | {KEY: f"once{path}"}
    if "team_id" in body:
        body = body | {"team_id": str(scene.house.team_id)}
    if path == "/assign":
        await client.post(f"{where}/claim", headers=scene.house.agent)
    answers = await asyncio.gather(
        *(client.post(f"{where}{path}", json=body, headers=headers) for _ in range(2))
    )
    assert all(answer.status_code in (200, 201) for answer in answers), answers[0].text
    once = await read(client, scene.house, scene.number)
    later = await client.post(f"{where}{path}", json=body, headers=headers)
    assert later.headers["Idempotency-Replayed"] == "true"
    assert {answer.text for answer in answers} == {later.text}
    assert await read(client, scene.house, scene.number) == once
    events = (await client.get(f"{where}/events", headers=scene.house.admin)).json()["items"]
    keyed = [entry for entry in events if entry["seq"] == later.json()["seq"]]
    assert len(keyed) == 1
    assert len(events) == once["seq"]


# Pages.

SORTS = ["-updated_at", "updated_at", "-created_at", "created_at", "number", "-number",
         "-priority", "priority", "due"]  # fmt: skip


@pytest.mark.parametrize("sort", SORTS)
async def test_pages_show_each_ticket_once_while_others_come_in(
    client: Client, house: House, database: Database, resources: Resources, sort: str
) -> None:
    priorities = ["low", "high", "urgent", "normal"]
    there = []
    for place in range(9):
        ticket = await make_ticket(database, resources.tickets, house, subject=f"Nr. {place}")
        there.append(ticket.number)
        changed = await client.patch(
            f"{TICKETS}/{ticket.number}",
            json={"priority": priorities[place % 4]},
            headers=house.agent,
        )
        assert changed.status_code == 200, changed.text

    seen: list[Said] = []
    cursor: str | None = None
    for _ in range(20):
        query = {"sort": sort, "limit": 2} | ({"cursor": cursor} if cursor else {})
        answer, _ = await asyncio.gather(
            client.get(TICKETS, params=query, headers=house.admin),  # type: ignore[arg-type]
            make_ticket(database, resources.tickets, house, subject="Meanwhile"),
        )
        page = answer.json()
        assert len(page["items"]) <= 2
        seen += page["items"]
        cursor = page["next"]
        if cursor is None or {item["number"] for item in seen} >= set(there):
            break

    found = [item["number"] for item in seen]
    assert len(found) == len(set(found)), "a ticket was shown twice"
    assert set(there) <= set(found), "a ticket was passed over"
    assert _in_order(seen, sort)


def _in_order(items: list[Said], sort: str) -> bool:
    name = sort.removeprefix("-")
    if name == "due":
        return True  # nothing is promised here; the order then is that of the ids
    ranks = {None: -1, "low": 0, "normal": 1, "high": 2, "urgent": 3}
    keys = [ranks[item[name]] if name == "priority" else item[name] for item in items]
    return keys == sorted(keys, reverse=sort.startswith("-"))


async def test_a_list_without_insertions_is_the_same_in_one_page_and_in_many(
    client: Client, house: House, database: Database, resources: Resources
) -> None:
    for _ in range(7):
        await make_ticket(database, resources.tickets, house)
    for sort in SORTS:
        whole = await numbers(client, house, sort=sort)
        assert len(whole) == 7
        pieces: list[int] = []
        cursor = ""
        while True:
            query = {"sort": sort, "limit": "3"} | ({"cursor": cursor} if cursor else {})
            page = (await client.get(TICKETS, params=query, headers=house.admin)).json()
            pieces += [item["number"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = page["next"]
        assert pieces == whole, sort
