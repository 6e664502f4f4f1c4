"""The public door: submitting, the signed link, and what a customer never sees."""

import base64
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from api.resources import Resources
from domain.errors import NotFound
from domain.tickets import Absorbed, Event, MergedInto
from models.session import Database, Row, Statement
from models.wire import Wire
from services.links import Links
from services.tickets import Step
from tests.api.conftest import House, MakeHouse

PUBLIC = "/public/v1"
Client = httpx.AsyncClient


def form(**asked: object) -> dict[str, object]:
    return {
        "subject": "It broke", "text": "Help", "email": "Mia@Example.org", "name": "Mia", **asked,
    }  # fmt: skip


async def submitted(client: Client, house: House, **asked: object) -> dict[str, object]:
    answer = await client.post(f"{PUBLIC}/{house.slug}/tickets", json=form(**asked))
    assert answer.status_code == 201, answer.text
    made: dict[str, object] = answer.json()
    return made


async def act(
    client: Client, house: House, number: object, path: str, body: dict[str, object]
) -> None:
    method = "POST" if path else "PATCH"
    where = f"/api/v1/tickets/{number}/{path}".rstrip("/")
    answer = await client.request(method, where, json=body, headers=house.admin)
    assert answer.is_success, answer.text


async def read(client: Client, made: dict[str, object]) -> dict[str, object]:
    answer = await client.get(f"{PUBLIC}/tickets/{made['link']}")
    assert answer.status_code == 200, answer.text
    seen: dict[str, object] = answer.json()
    return seen


def texts(seen: dict[str, object]) -> list[str]:
    messages: Sequence[dict[str, str]] = seen["messages"]  # type: ignore[assignment]
    return [m["text"] for m in messages]


async def test_an_intake_key_submits_for_customers_and_does_nothing_else(
    client: Client, house: House, database: Database
) -> None:
    body = {
        "subject": "Hi", "text": "Help", "requester": {"email": "mia@example.org", "name": "Mia"},
        "channel": "chat", "external_id": "chat-77", "language": "de",
    }  # fmt: skip
    answer = await client.post(f"{PUBLIC}/tickets", json=body, headers=house.intake)
    assert answer.status_code == 201
    async with database.transaction(house.tenant_id) as work:
        row = await work.row(
            "select t.channel, t.created_by_kind, t.language, e.cause from tickets t join events e"
            " on e.tenant_id = t.tenant_id and e.ticket_id = t.id"
            " where t.tenant_id = :tenant and t.number = :number",
            {"tenant": house.tenant_id, "number": answer.json()["number"]},
        )
    assert row is not None
    assert (row["channel"], row["created_by_kind"], row["language"]) == ("chat", "customer", "de")
    assert row["cause"]["external_id"] == "chat-77"
    assert row["cause"]["intake_key"] == str(house.intake_id)
    assert (await client.get("/api/v1/tickets", headers=house.intake)).status_code == 403
    assert (await client.post(f"{PUBLIC}/tickets", json=body)).status_code == 401
    assert (
        await client.post(f"{PUBLIC}/tickets", json=body, headers=house.admin)
    ).status_code == 403


async def test_the_same_key_makes_one_ticket(client: Client, house: House) -> None:
    body = {"subject": "Hi", "text": "Help", "requester": {"email": "mia@example.org"}}
    headers = house.intake | {"Idempotency-Key": "one"}
    first, second = [
        (await client.post(f"{PUBLIC}/tickets", json=body, headers=headers)).json()
        for _ in range(2)
    ]
    assert first == second


async def test_one_customer_submits_the_form_twice_and_stays_one(
    client: Client, house: House, database: Database
) -> None:
    await submitted(client, house)
    await submitted(client, house, email="mia@example.org")
    async with database.transaction(house.tenant_id) as work:
        row = await work.row(
            "select count(*) as many from customers where tenant_id = :tenant",
            {"tenant": house.tenant_id},
        )
    assert row == {"many": 1}


@pytest.mark.parametrize(
    "asked",
    [{"website": "spam.example"}, {"email": "x"}, {"text": ""}, {"subject": " "},
     {"fields": {"serial": "1"}}, {"priority": "urgent"}, {"tags": ["x"]}],
    ids=str,
)  # fmt: skip
async def test_a_form_that_is_not_right_makes_nothing(
    client: Client, house: House, asked: dict[str, object]
) -> None:
    answer = await client.post(f"{PUBLIC}/{house.slug}/tickets", json=form(**asked))
    assert answer.status_code == 422
    found = await client.get("/api/v1/tickets", headers=house.admin)
    assert found.json()["items"] == []


async def test_there_is_no_form_for_a_desk_that_does_not_exist(client: Client) -> None:
    assert (await client.post(f"{PUBLIC}/no-such/tickets", json=form())).status_code == 404


async def test_the_form_is_taken_only_so_often_from_one_address(
    client: Client, house: House
) -> None:
    answers = [
        await client.post(f"{PUBLIC}/{house.slug}/tickets", json=form(website="x"))
        for _ in range(130)
    ]
    assert answers[0].status_code == 422
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_a_ticket_of_a_known_customer_takes_two_round_trips(
    client: Client, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await submitted(client, house)  # the customer is known, the desk is in memory
    trips: list[list[str]] = []
    send = Wire.send

    async def counted(self: Wire, statements: Sequence[Statement]) -> list[list[Row]]:
        trips.append([sql.split()[0] for sql, _ in statements])
        return await send(self, statements)

    monkeypatch.setattr(Wire, "send", counted)
    await submitted(client, house)
    # What a ticket has to know; then all that it writes, and the commit.
    assert trips == [
        ["begin", "select", "select"],
        ["with", "commit"],
    ]


async def test_the_link_shows_what_is_public_and_nothing_else(client: Client, house: House) -> None:
    for body in (
        {"label": "Plan", "kind": "text", "customer_visible": True, "customer_editable": True},
        {"label": "Margin", "kind": "text"},
    ):
        await client.post("/api/v1/fields", json=body, headers=house.admin)
    made = await submitted(client, house, fields={"plan": "pro"})
    number = made["number"]
    await act(client, house, number, "", {"fields": {"margin": "9%"}, "status": "pending"})
    await act(client, house, number, "notes", {"text": "SECRET note"})
    await act(client, house, number, "replies", {"html": "<p>Try <b>this</b></p>"})

    answer = await client.get(f"{PUBLIC}/tickets/{made['link']}")
    seen = answer.json()
    assert "SECRET" not in answer.text
    assert "9%" not in answer.text
    assert (seen["status"], seen["fields"]) == ("Waiting for your answer", {"Plan": "pro"})
    assert [(m["from_you"], m["author_name"], m["text"]) for m in seen["messages"]] == [
        (True, None, "Help"), (False, "Admin", "Try this"),
    ]  # fmt: skip
    assert answer.headers["cache-control"] == "no-store"


async def test_an_answer_through_the_link_reopens(client: Client, house: House) -> None:
    made = await submitted(client, house)
    await act(client, house, made["number"], "", {"status": "pending"})
    where = f"{PUBLIC}/tickets/{made['link']}/replies"
    answer = await client.post(where, json={"text": "Here you are"})
    assert (answer.status_code, answer.json()["number"]) == (201, made["number"])
    seen = await read(client, made)
    assert (seen["status"], texts(seen)) == ("In progress", ["Help", "Here you are"])
    assert (await client.post(where, json={"text": ""})).status_code == 422


async def test_an_answer_to_a_closed_ticket_gets_a_ticket_and_link_of_its_own(
    client: Client, house: House
) -> None:
    made = await submitted(client, house)
    await act(client, house, made["number"], "", {"status": "closed"})
    assert (await read(client, made))["over"] is True
    answer = await client.post(
        f"{PUBLIC}/tickets/{made['link']}/replies", json={"text": "Not solved"}
    )
    assert answer.json()["number"] != made["number"]
    assert texts(await read(client, answer.json())) == ["Not solved"]


@pytest.mark.parametrize("same", [True, False], ids=["one customer", "two customers"])
async def test_after_a_merge_nobody_reads_what_another_customer_wrote(
    client: Client, house: House, resources: Resources, database: Database, same: bool
) -> None:
    mine = await submitted(client, house, text="From Mia")
    theirs = await submitted(
        client, house, text="From the other", email="mia@example.org" if same else "zoe@example.org"
    )
    async with database.transaction(house.tenant_id) as work:
        rows = await work.rows(
            "select id, number from tickets where tenant_id = :tenant order by number",
            {"tenant": house.tenant_id},
        )
        (one, one_number), (two, two_number) = [(r["id"], r["number"]) for r in rows]
        actor = (await resources.auth.principal(house.admin["Authorization"])).actor
        await resources.tickets.handle(
            work,
            Step(one_number, Event(key="m1", actor=actor, payload=MergedInto(two, two_number))),
            Step(two_number, Event(key="m2", actor=actor, payload=Absorbed(one, one_number))),
        )
    await act(client, house, two_number, "replies", {"text": "From the desk"})

    source, target = texts(await read(client, mine)), texts(await read(client, theirs))
    if same:
        assert source == target == ["From Mia", "From the other", "From the desk"]
    else:
        assert source == ["From Mia"]
        assert target == ["From the other", "From the desk"]
    answer = await client.post(
        f"{PUBLIC}/tickets/{mine['link']}/replies", json={"text": "Still me"}
    )
    assert answer.status_code == 201
    assert answer.json()["number"] == (two_number if same else one_number)
    assert "Still me" in texts(await read(client, mine))


async def test_a_link_opens_one_ticket_of_one_tenant_until_it_expires(
    client: Client, make_house: MakeHouse, resources: Resources
) -> None:
    house, other = await make_house(), await make_house()
    made = await submitted(client, house)
    link = str(made["link"])
    raw = bytearray(base64.urlsafe_b64decode(link + "=" * (-len(link) % 4)))
    links = Links(resources.settings.secret_key.get_secret_value())
    opened = links.read(link, now=datetime.now(UTC))
    forged = [
        base64.urlsafe_b64encode(bytes(raw[:i]) + bytes([raw[i] ^ 1]) + bytes(raw[i + 1 :]))
        .rstrip(b"=")
        .decode()
        for i in range(len(raw))
    ]
    forged += [
        link[:-4],
        link + "AAAA",
        "A" * len(link),
        "ä" * 80,
        Links("another secret").sign(opened.tenant_id, opened.ticket_id, now=datetime.now(UTC)),
        links.sign(other.tenant_id, opened.ticket_id, now=datetime.now(UTC)),
        links.sign(opened.tenant_id, uuid.uuid4(), now=datetime.now(UTC)),
        links.sign(opened.tenant_id, opened.ticket_id, now=datetime.now(UTC) - timedelta(days=400)),
    ]
    with pytest.raises(NotFound):
        links.read(forged[0], now=datetime.now(UTC))
    for attempt in forged[::6] + forged[-8:]:
        assert (await client.get(f"{PUBLIC}/tickets/{attempt}")).status_code == 404, attempt
    assert (await client.get(f"{PUBLIC}/tickets/{link}")).status_code == 200


async def test_a_status_with_another_label_reads_so_at_once(client: Client, house: House) -> None:
    made = await submitted(client, house)
    await client.patch(
        "/api/v1/statuses/new", json={"customer_label": "Got it"}, headers=house.admin
    )
    assert (await read(client, made))["status"] == "Got it"
