"""What calendars and policies said before: the versions that cycles name can be read."""

import uuid

import httpx

from domain.permissions import Role
from tests.api.conftest import House

API = "/api/v1"


async def test_every_version_that_a_cycle_may_name_can_be_read(
    client: httpx.AsyncClient, house: House
) -> None:
    async def ask(method: str, path: str, body: object = None) -> httpx.Response:
        return await client.request(method, API + path, json=body, headers=house.admin)

    hours = {"timezone": "UTC", "weekly": {"mon": [["09:00", "17:00"]]}}
    calendar = (await ask("POST", "/calendars", {"name": "Office", "body": hours})).json()["id"]
    terms = {"first_reply": {"normal": "PT4H"}}
    made = {"name": "Standard", "calendar_id": calendar, "targets": terms}
    policy = (await ask("POST", "/policies", made)).json()["id"]
    sooner = {"targets": {"first_reply": {"normal": "PT2H"}}}
    assert (await ask("PATCH", f"/policies/{policy}", sooner)).json()["version"] == 2
    longer = {"timezone": "UTC", "weekly": {"mon": [["08:00", "18:00"]]}}
    assert (await ask("PATCH", f"/calendars/{calendar}", {"body": longer})).status_code == 200

    said = (await ask("GET", f"/calendars/{calendar}/versions")).json()["items"]
    assert [(one["version"], one["body"]["weekly"]["mon"]) for one in said] == [
        (2, [["08:00", "18:00"]]), (1, [["09:00", "17:00"]]),
    ]  # fmt: skip
    # Other hours are another version of each policy that counts by them.
    first = (await ask("GET", f"/policies/{policy}/versions?limit=2")).json()
    rest = (await ask("GET", f"/policies/{policy}/versions?cursor={first['next']}")).json()
    assert rest["next"] is None
    assert [
        (one["version"], one["body"]["calendar_version"], one["body"]["targets"]["first_reply"])
        for one in first["items"] + rest["items"]
    ] == [(3, 2, {"normal": "PT2H"}), (2, 1, {"normal": "PT2H"}), (1, 1, {"normal": "PT4H"})]


async def test_versions_are_of_ones_own_desk_and_for_those_who_may_see_promises(
    client: httpx.AsyncClient, house: House
) -> None:
    for path in (f"/policies/{uuid.uuid4()}/versions", f"/calendars/{uuid.uuid4()}/versions"):
        nothing = await client.get(API + path, headers=house.admin)
        assert (nothing.status_code, nothing.json()["code"]) == (404, "not_found")
        assert (await client.get(API + path)).status_code == 401
        seen = await client.get(API + path, headers=house.headers[Role.VIEWER])
        assert seen.status_code == 404
    hours = {"timezone": "UTC", "weekly": {}}
    made = await client.post(
        API + "/calendars", json={"name": "Shut", "body": hours}, headers=house.admin
    )
    path = f"{API}/calendars/{made.json()['id']}/versions"
    for cursor in ("nonsense", "WzBd", "WyIxIl0"):
        wrong = await client.get(path, params={"cursor": cursor}, headers=house.admin)
        assert (wrong.status_code, wrong.json()["code"]) == (422, "bad_cursor")
