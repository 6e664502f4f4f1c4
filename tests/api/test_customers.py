"""Customers and organizations over HTTP."""

import httpx
import pytest

from domain.permissions import Role
from models.session import Database
from tests.api.conftest import House, MakeHouse

CUSTOMERS, ORGANIZATIONS = "/api/v1/customers", "/api/v1/organizations"
Client = httpx.AsyncClient


async def made(client: Client, house: House, path: str, **body: object) -> dict[str, object]:
    answer = await client.post(path, json=body, headers=house.agent)
    assert answer.status_code == 201, answer.text
    found: dict[str, object] = answer.json()
    return found


async def test_a_customer_belongs_to_the_organization_that_has_their_domain(
    client: Client, house: House
) -> None:
    acme = await made(client, house, ORGANIZATIONS, name="Acme", domains=["ACME.example.org"])
    assert acme["domains"] == ["acme.example.org"]
    mia = await made(client, house, CUSTOMERS, email="Mia@Acme.Example.org", language="de")
    assert (mia["organization_id"], mia["organization_name"]) == (acme["id"], "Acme")
    assert (mia["name"], mia["language"]) == ("mia@acme.example.org", "de")
    other = await made(client, house, CUSTOMERS, name="Zoe", email="zoe@sub.acme.example.org")
    assert other["organization_id"] is None


async def test_an_identity_belongs_to_one_customer(client: Client, house: House) -> None:
    mia = await made(client, house, CUSTOMERS, name="Mia", email="mia@example.org")
    zoe = await made(client, house, CUSTOMERS, name="Zoe")
    taken = {"kind": "email", "value": "MIA@example.org"}
    answer = await client.post(
        f"{CUSTOMERS}/{zoe['id']}/identities", json=taken, headers=house.agent
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "identity_taken")
    assert "Mia" not in answer.text
    twin = await client.post(
        CUSTOMERS, json={"name": "Twin", "email": "mia@example.org"}, headers=house.agent
    )
    assert twin.status_code == 409
    assert (await client.get(CUSTOMERS, params={"q": "twin"}, headers=house.agent)).json()[
        "items"
    ] == []  # nothing half made

    again = await client.post(
        f"{CUSTOMERS}/{mia['id']}/identities", json=taken, headers=house.agent
    )
    assert len(again.json()["identities"]) == 1  # hers already


async def test_identities_are_verified_and_removed(client: Client, house: House) -> None:
    mia = await made(
        client, house, CUSTOMERS, name="Mia",
        identities=[{"kind": "phone", "value": "+49 (30) 1234-567"}],
    )  # fmt: skip
    identities: list[dict[str, object]] = mia["identities"]  # type: ignore[assignment]
    [phone] = identities
    assert (phone["value"], phone["verified_at"]) == ("+49301234567", None)
    where = f"{CUSTOMERS}/{mia['id']}/identities/{phone['id']}"
    verified = await client.post(f"{where}/verify", headers=house.agent)
    assert verified.json()["identities"][0]["verified_at"] is not None
    assert (await client.delete(where, headers=house.agent)).json()["identities"] == []
    assert (await client.delete(where, headers=house.agent)).status_code == 404


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": "X", "email": "no address"}, "/email"),
        ({"identities": [{"kind": "phone", "value": "call"}]}, "/identities/0/value"),
        ({}, "/name"),
        ({"name": "X", "language": "deutsch!"}, "/language"),
    ],
)
async def test_what_is_wrong_is_named(
    client: Client, house: House, body: dict[str, object], pointer: str
) -> None:
    answer = await client.post(CUSTOMERS, json=body, headers=house.agent)
    assert answer.status_code == 422
    assert [e["pointer"] for e in answer.json()["errors"]] == [pointer]


async def test_customers_are_found_by_how_a_name_or_an_address_begins_page_by_page(
    client: Client, house: House
) -> None:
    for name, email in (("Ann", "x1@example.org"), ("Bob", "anna@example.org"),
                        ("Joann", "y@example.org"), ("An%", "z@example.org")):  # fmt: skip
        await made(client, house, CUSTOMERS, name=name, email=email)
    names: list[str] = []
    cursor: str | None = None
    while True:
        query = {"q": "AN", "limit": "1"} | ({"cursor": cursor} if cursor else {})
        page = (await client.get(CUSTOMERS, params=query, headers=house.agent)).json()
        names += [c["name"] for c in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert names == ["An%", "Bob", "Ann"]
    wild = await client.get(CUSTOMERS, params={"q": "an%"}, headers=house.agent)
    assert [c["name"] for c in wild.json()["items"]] == ["An%"]


async def test_changes_are_told_with_before_and_after(
    client: Client, house: House, database: Database
) -> None:
    mia = await made(client, house, CUSTOMERS, name="Mia")
    acme = await made(client, house, ORGANIZATIONS, name="Acme")
    where = f"{CUSTOMERS}/{mia['id']}"
    answer = await client.patch(
        where, json={"name": "Mia M.", "organization_id": acme["id"]}, headers=house.agent
    )
    assert answer.json()["organization_name"] == "Acme"
    async with database.transaction(house.tenant_id) as work:
        row = await work.row(
            "select data, actor_id from audit_entries where tenant_id = :tenant"
            " and action = 'customer.changed'",
            {"tenant": house.tenant_id},
        )
    assert row is not None
    assert row["data"]["changes"] == {
        "name": ["Mia", "Mia M."], "organization_id": [None, acme["id"]],
    }  # fmt: skip
    cleared = await client.patch(where, json={"organization_id": None}, headers=house.agent)
    assert cleared.json()["organization_id"] is None
    assert (await client.patch(where, json={"name": None}, headers=house.agent)).status_code == 422


async def test_names_and_domains_of_organizations_are_theirs_alone(
    client: Client, house: House
) -> None:
    acme = await made(client, house, ORGANIZATIONS, name="Acme", domains=["acme.example.org"])
    zeta = await made(client, house, ORGANIZATIONS, name="Zeta")
    for body in ({"name": "Acme"}, {"domains": ["acme.example.org"]}):
        answer = await client.patch(f"{ORGANIZATIONS}/{zeta['id']}", json=body, headers=house.agent)
        assert answer.status_code == 409
    own = await client.patch(
        f"{ORGANIZATIONS}/{acme['id']}",
        json={"name": "Acme", "domains": ["acme.example.org", "@b.example.org"]},
        headers=house.agent,
    )
    assert own.json()["domains"] == ["acme.example.org", "b.example.org"]
    bad = await client.post(
        ORGANIZATIONS, json={"name": "Bad", "domains": ["nodot"]}, headers=house.agent
    )
    assert bad.status_code == 422


async def test_only_what_nobody_refers_to_is_removed(client: Client, house: House) -> None:
    acme = await made(client, house, ORGANIZATIONS, name="Acme")
    mia = await made(
        client, house, CUSTOMERS, name="Mia", email="mia@example.org", organization_id=acme["id"]
    )
    organization, customer = f"{ORGANIZATIONS}/{acme['id']}", f"{CUSTOMERS}/{mia['id']}"
    assert (await client.delete(organization, headers=house.agent)).status_code == 409
    await client.post(
        "/api/v1/tickets",
        json={"subject": "Hi", "text": "Hi", "requester": {"id": mia["id"]}},
        headers=house.agent,
    )
    assert (await client.delete(customer, headers=house.agent)).json()["code"] == "in_use"

    ben = await made(client, house, CUSTOMERS, name="Ben", email="ben@example.org")
    gone = f"{CUSTOMERS}/{ben['id']}"
    assert (await client.delete(gone, headers=house.agent)).status_code == 204
    assert (await client.get(gone, headers=house.agent)).status_code == 404


async def test_viewers_look_and_strangers_see_nothing(
    client: Client, house: House, make_house: MakeHouse
) -> None:
    foreign = await make_house()
    mia = await made(client, house, CUSTOMERS, name="Mia")
    acme = await made(client, house, ORGANIZATIONS, name="Acme")
    viewer = house.headers[Role.VIEWER]
    for path, found in ((CUSTOMERS, mia), (ORGANIZATIONS, acme)):
        where = f"{path}/{found['id']}"
        assert (await client.get(where, headers=viewer)).status_code == 200
        assert (await client.patch(where, json={}, headers=viewer)).status_code == 403
        assert (await client.get(where)).status_code == 401
        assert (await client.get(where, headers=house.intake)).status_code == 403
        for method in ("GET", "PATCH", "DELETE"):
            body = {"name": "X"} if method == "PATCH" else None
            answer = await client.request(method, where, json=body, headers=foreign.agent)
            assert answer.status_code == 404
    belongs = {"name": "X", "organization_id": acme["id"]}
    assert (await client.post(CUSTOMERS, json=belongs, headers=foreign.agent)).status_code == 404


async def test_a_tier_is_set_changed_taken_away_and_filtered_by_and_each_change_is_told(
    client: Client, house: House, database: Database
) -> None:
    acme = await made(client, house, ORGANIZATIONS, name="Acme", tier="gold")
    zeta = await made(client, house, ORGANIZATIONS, name="Zeta")
    assert (acme["tier"], zeta["tier"]) == ("gold", None)
    where = f"{ORGANIZATIONS}/{acme['id']}"

    async def patched(**body: object) -> object:
        answer = await client.patch(where, json=body, headers=house.agent)
        assert answer.status_code == 200, answer.text
        return answer.json()["tier"]

    async def with_tier(tier: str) -> list[str]:
        answer = await client.get(ORGANIZATIONS, params={"tier": tier}, headers=house.agent)
        return [one["name"] for one in answer.json()["items"]]

    assert await patched(name="Acme Ltd") == "gold"  # left out, it stays
    assert await patched(tier="vip") == "vip"
    assert (await with_tier("vip"), await with_tier("gold")) == (["Acme Ltd"], [])
    assert await patched(tier=None) is None
    bad = await client.patch(where, json={"tier": "stone"}, headers=house.agent)
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/tier")
    async with database.transaction(house.tenant_id) as work:
        told = await work.rows(
            "select data from audit_entries where tenant_id = :t and action ="
            " 'organization.changed' and jsonb_exists(data -> 'changes', 'tier') order by at, id",
            {"t": house.tenant_id},
        )
    assert [row["data"]["changes"]["tier"] for row in told] == [["gold", "vip"], ["vip", None]]


async def test_a_ticket_is_pressing_by_the_tier_of_its_organization(
    client: Client, house: House
) -> None:
    await made(client, house, ORGANIZATIONS, name="Acme", domains=["acme.example"], tier="gold")
    ticket = await made(
        client, house, "/api/v1/tickets", subject="Hi", text="Hi",
        requester={"email": "mia@acme.example"},
    )  # fmt: skip
    answer = await client.get(f"/api/v1/tickets/{ticket['number']}/analysis", headers=house.agent)
    [reason] = [one for one in answer.json()["score"]["contributions"] if one["name"] == "tier"]
    assert (reason["points"], reason["because"]) == (8.0, "Their organization is gold.")
