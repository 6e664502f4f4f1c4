"""Who takes tickets, over HTTP: who may say so, what is refused, what is written down."""

import uuid
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.resources import Resources
from domain.permissions import Role
from models.session import Database
from services.queues import QueueDestination
from tests.api.conftest import House, MakeHouse, make_ticket


async def share_out(client: httpx.AsyncClient, house: House, strategy: str) -> None:
    answer = await client.patch(
        f"/api/v1/teams/{house.team_id}", json={"routing": strategy}, headers=house.admin
    )
    assert answer.status_code == 200, answer.text


async def test_one_goes_away_and_comes_back_and_the_queue_moves(
    client: httpx.AsyncClient, database: Database, resources: Resources, house: House
) -> None:
    await share_out(client, house, "least_loaded")
    answer = await client.put(
        "/api/v1/me/availability", json={"state": "away"}, headers=house.agent
    )
    assert (answer.status_code, answer.json()["state"]) == (200, "away")
    made = await client.post(
        "/api/v1/tickets",
        json={
            "subject": "Router", "text": "It restarts.", "team_id": str(house.team_id),
            "requester": {"email": "kim@example.org"},
        },
        headers=house.admin,
    )  # fmt: skip
    assert made.status_code == 201, made.text
    number = made.json()["number"]
    async with database.transaction(house.tenant_id) as work:  # as if triage had answered
        await work.execute(
            "update tickets set triage = 'done' where tenant_id = :t", {"t": house.tenant_id}
        )
    queue = (await client.get(f"/api/v1/teams/{house.team_id}/queue", headers=house.agent)).json()
    assert (queue["total"], queue["strategy"]) == (1, "least_loaded")
    assert [(i["number"], i["position"], i["why"], i["queued"]) for i in queue["items"]] == [
        (number, 1, "1 not there", True)
    ]
    assert [(m["name"], m["why_not"]) for m in queue["members"]] == [("Agent", "away")]
    why = (await client.get(f"/api/v1/tickets/{number}/routing", headers=house.agent)).json()
    assert (why["queued"], why["position"], why["would_go_to"]) == (True, 1, None)

    await client.put("/api/v1/me/availability", json={"state": "online"}, headers=house.agent)
    moves = QueueDestination(database, resources.tickets, resources.desks)
    assert await moves.drain(house.tenant_id, house.team_id, because="availability_set") == 1
    why = (await client.get(f"/api/v1/tickets/{number}/routing", headers=house.agent)).json()
    me = str(house.users[Role.AGENT])
    assert (why["assignee_id"], why["why"], why["queued"]) == (me, "somebody has it", False)
    assert why["latest"]["rule"] == "routing"
    assert why["latest"]["reason"] == (
        "already in the team; least loaded 0, of 1 free in First line"
    )
    assert [c["agent_id"] for c in why["latest"]["candidates"]] == [me]
    standing = (await client.get(f"/api/v1/users/{me}/routing", headers=house.agent)).json()
    assert (standing["state"], standing["open_tickets"]) == ("online", 1)


async def test_what_is_said_of_somebody_is_shown_and_written_down(
    client: httpx.AsyncClient, house: House
) -> None:
    user = house.users[Role.AGENT]
    stand_in = str(house.users[Role.SUPERVISOR])
    until = (datetime.now(UTC) + timedelta(days=14)).isoformat()
    for path, body in (
        ("availability", {"state": "absent", "until": until, "replacement_id": stand_in}),
        ("skills", {"skills": {"language:fr": 3}}),
        ("capacity", {"capacity": 8}),
    ):
        answer = await client.put(
            f"/api/v1/users/{user}/{path}", json=body, headers=house.headers[Role.SUPERVISOR]
        )
        assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert (shown["state"], shown["replacement_id"]) == ("absent", stand_in)
    assert (shown["skills"], shown["capacity"]) == ({"language:fr": 3}, 8)
    entries = (await client.get("/api/v1/audit", headers=house.admin)).json()["items"]
    said = {e["action"]: e["data"]["changes"] for e in entries if e["target_id"] == str(user)}
    assert said["user.capacity_set"] == {"capacity": [None, 8]}
    assert said["user.skills_set"] == {"skills": [{}, {"language:fr": 3}]}
    assert said["user.availability_set"]["absent"] == [False, True]


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("availability", {"state": "absent", "until": "2020-01-01T00:00:00Z"}, "/until"),
        ("availability", {"state": "away", "until": "2999-01-01T00:00:00Z"}, "/until"),
        ("availability", {"state": "asleep"}, "/state"),
        ("availability", {"state": "absent", "replacement_id": str(uuid.UUID(int=7))},
         "/replacement_id"),
        ("skills", {"skills": {"French!": 1}}, "/skills/French!"),
        ("skills", {"skills": {"fr": 11}}, "/skills/fr"),
        ("capacity", {"capacity": -1}, "/capacity"),
        ("capacity", {"capacity": 1, "calendar_id": str(uuid.UUID(int=7))}, "/calendar_id"),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused_and_says_where(
    client: httpx.AsyncClient, house: House, path: str, body: dict[str, object], pointer: str
) -> None:
    user = house.users[Role.AGENT]
    answer = await client.put(f"/api/v1/users/{user}/{path}", json=body, headers=house.admin)
    assert answer.status_code == 422, answer.text
    assert pointer in [error["pointer"] for error in answer.json()["errors"]]


async def test_nobody_stands_in_for_themselves_nor_does_a_viewer(
    client: httpx.AsyncClient, house: House
) -> None:
    user = house.users[Role.AGENT]
    for other in (user, house.users[Role.VIEWER]):
        answer = await client.put(
            f"/api/v1/users/{user}/availability",
            json={"state": "absent", "replacement_id": str(other)},
            headers=house.admin,
        )
        assert answer.status_code == 422


async def test_agents_speak_for_themselves_only(client: httpx.AsyncClient, house: House) -> None:
    other = house.users[Role.SUPERVISOR]
    for path, body in (
        ("availability", {"state": "away"}),
        ("skills", {"skills": {}}),
        ("capacity", {"capacity": 1}),
    ):
        answer = await client.put(f"/api/v1/users/{other}/{path}", json=body, headers=house.agent)
        assert answer.status_code == 403
    viewer = house.headers[Role.VIEWER]
    answer = await client.put("/api/v1/me/availability", json={"state": "away"}, headers=viewer)
    assert answer.status_code == 403


async def test_a_queue_is_shown_to_those_who_may_see_its_tickets(
    client: httpx.AsyncClient, resources: Resources, database: Database, make_house: MakeHouse
) -> None:
    house, other = await make_house(), await make_house()
    made = await client.post("/api/v1/teams", json={"name": "Second line"}, headers=house.admin)
    team = made.json()["id"]
    mine = await make_ticket(database, resources.tickets, house, team_id=uuid.UUID(team))
    path = f"/api/v1/teams/{team}/queue"
    assert (await client.get(path, headers=house.agent)).status_code == 403
    assert (await client.get(path, headers=other.admin)).status_code == 404
    shown = (await client.get(path, headers=house.admin)).json()
    assert [(i["number"], i["queued"]) for i in shown["items"]] == [(mine.number, False)]
    ticket = f"/api/v1/tickets/{mine.number}/routing"
    assert (await client.get(ticket, headers=house.agent)).status_code == 404


async def test_a_queue_is_read_page_by_page(
    client: httpx.AsyncClient, resources: Resources, database: Database, house: House
) -> None:
    made = [
        (await make_ticket(database, resources.tickets, house, team_id=house.team_id)).number
        for _ in range(5)
    ]
    path = f"/api/v1/teams/{house.team_id}/queue"
    seen: list[tuple[int, int]] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await client.get(path, params={"limit": "2", **cursor}, headers=house.admin)
        page = answer.json()
        assert (answer.status_code, page["total"]) == (200, 5)
        seen += [(one["position"], one["number"]) for one in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == list(enumerate(made, start=1))
    for wrong in ("x", "W10", cursor["cursor"][:-4]):
        answer = await client.get(path, params={"cursor": wrong}, headers=house.admin)
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_cursor")


async def test_a_teams_rules_are_kept_shown_and_checked(
    client: httpx.AsyncClient, house: House
) -> None:
    rules = {"needs": [{"skill": "vip", "level": 2, "tag": "gold"}], "on_absence": "team"}
    path = f"/api/v1/teams/{house.team_id}"
    answer = await client.patch(
        path, json={"routing": "skill_based", "rules": rules}, headers=house.admin
    )
    assert answer.status_code == 200, answer.text
    kept = (await client.get(path, headers=house.agent)).json()["rules"]
    assert (kept["needs"][0]["skill"], kept["needs"][0]["level"]) == ("vip", 2)
    assert kept["on_absence"] == "team"
    wrong = {"rules": {"needs": [{"skill": "vip", "level": 0}]}}
    assert (await client.patch(path, json=wrong, headers=house.admin)).status_code == 422
