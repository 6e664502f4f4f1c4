"""Webhooks over HTTP: their secret once, addresses that may be called, calls sent again."""

import uuid
from datetime import UTC, datetime

import httpx
import pytest

from api.resources import Resources
from domain.errors import Invalid
from domain.permissions import Role
from domain.webhooks import is_public
from models.session import Database
from services.webhooks import checked_url
from tests.api.conftest import House, make_ticket
from tests.api.test_timing import Desk

HOOK = {"name": "Pager", "url": "https://pager.example.com/x", "events": ["note_added"]}


@pytest.fixture
def desk(client: httpx.AsyncClient, house: House) -> Desk:
    return Desk(client, house)


async def test_a_secret_is_shown_once_and_changes_when_asked(
    desk: Desk, database: Database
) -> None:
    made = await desk.ask("POST", "/webhooks", HOOK, want=201)
    assert str(made["secret"]).startswith("whsec_")
    hook = made["webhook"]
    assert isinstance(hook, dict)
    shown = await desk.ask("GET", f"/webhooks/{hook['id']}")
    assert "secret" not in shown
    other = await desk.ask("POST", f"/webhooks/{hook['id']}/secret", want=201)
    assert other["secret"] != made["secret"]
    await desk.ask("POST", f"/webhooks/{hook['id']}/secret", want=409)  # a slip of the finger
    async with database.transaction(desk.house.tenant_id) as work:
        rows = await work.rows("select w::text as text from webhooks w")
        entries = await work.rows("select data::text as text from audit_entries")
    for secret in (str(made["secret"]), str(other["secret"])):
        assert not any(secret in row["text"] for row in rows + entries)


async def test_webhooks_are_the_admins_to_set_up(desk: Desk, database: Database) -> None:
    await desk.ask("POST", "/webhooks", HOOK, want=403, role=Role.SUPERVISOR)
    made = await desk.ask("POST", "/webhooks", HOOK, want=201)
    where = f"/webhooks/{made['webhook']['id']}"
    await desk.ask("POST", "/webhooks", HOOK, want=409)
    changed = await desk.ask("PATCH", where, {"active": False, "events": ["sla_breached"]})
    assert (changed["active"], changed["events"]) == (False, ["sla_breached"])
    await desk.ask("PATCH", where, {"events": ["moon_landing"]}, want=422)
    await desk.ask("PATCH", where, {"url": "https://10.1.2.3/"}, want=422)
    await desk.ask("DELETE", where, want=204)
    await desk.ask("GET", where, want=404)
    actions = await desk.audited(database)
    assert actions[-3:] == ["webhook.created", "webhook.changed", "webhook.deleted"]


async def test_one_that_a_step_calls_stays(desk: Desk) -> None:
    made = await desk.ask("POST", "/webhooks", HOOK, want=201)
    hook_id = made["webhook"]["id"]
    step = {"id": "call", "metric": "resolution", "percent": 50,
            "action": {"kind": "call_webhook", "webhook_id": hook_id}}  # fmt: skip
    policy = await desk.policy(steps=[step])
    refused = await desk.ask("DELETE", f"/webhooks/{hook_id}", want=409)
    assert "'Standard'" in str(refused["detail"])
    await desk.ask("PATCH", f"/policies/{policy['id']}", {"steps": []})
    await desk.ask("DELETE", f"/webhooks/{hook_id}", want=204)


async def test_a_step_that_calls_one_that_is_switched_off_is_told_what_to_do(desk: Desk) -> None:
    made = await desk.ask("POST", "/webhooks", HOOK, want=201)
    hook_id = made["webhook"]["id"]
    call = {"kind": "call_webhook", "webhook_id": hook_id}
    step = {"id": "call", "metric": "resolution", "percent": 50, "action": call}
    policy = await desk.policy(steps=[step])
    await desk.ask("PATCH", f"/webhooks/{hook_id}", {"active": False})
    where = f"/policies/{policy['id']}"
    refused = await desk.ask("PATCH", where, {"steps": [{**step, "percent": 60}]}, want=422)
    assert "webhook that is switched off. Switch it on again" in str(refused["detail"])
    assert refused["errors"][0]["pointer"] == "/steps/0/action"
    await desk.ask("PATCH", f"/webhooks/{hook_id}", {"active": True})
    await desk.ask("PATCH", where, {"steps": [{**step, "percent": 60}]})


async def test_calls_are_listed_shown_and_sent_again(
    desk: Desk, database: Database, resources: Resources
) -> None:
    made = await desk.ask("POST", "/webhooks", HOOK, want=201)
    where = f"/webhooks/{made['webhook']['id']}/deliveries"
    ticket = await make_ticket(database, resources.tickets, desk.house)
    for text in ("one", "two", "three"):
        await desk.ask("POST", f"/tickets/{ticket.number}/notes", {"text": text}, want=201)
    page = await desk.ask("GET", f"{where}?limit=2")
    items: list[dict[str, object]] = page["items"]
    assert [(one["state"], one["type"]) for one in items] == [("queued", "ticket.note_added")] * 2
    rest = await desk.ask("GET", f"{where}?limit=2&cursor={page['next']}")
    assert len(rest["items"]) == 1
    first = rest["items"][0]
    await desk.ask("POST", f"{where}/{first['id']}/replay", want=409)  # it has not ended
    async with database.transaction(desk.house.tenant_id) as work:
        await work.execute(
            "update deliveries set state = 'unknown', updated_at = :now where id = :id",
            {"now": datetime.now(UTC), "id": uuid.UUID(str(first["id"]))},
        )
    again = await desk.ask("POST", f"{where}/{first['id']}/replay", want=202)
    shown = await desk.ask("GET", f"{where}/{first['id']}")
    assert (again["replay_of"], again["state"]) == (first["id"], "queued")
    assert (again["message_id"], again["payload"]) == (shown["message_id"], shown["payload"])
    unknown = await desk.ask("GET", f"{where}?state=unknown")
    assert [one["id"] for one in unknown["items"]] == [first["id"]]
    await desk.ask("GET", f"{where}/{uuid.uuid4()}", want=404)
    await desk.ask("DELETE", where.removesuffix("/deliveries"), want=204)
    await desk.ask("GET", where, want=404)


async def test_an_example_is_sent_as_everything_is_and_stands_in_the_log(
    desk: Desk, database: Database
) -> None:
    made = await desk.ask("POST", "/webhooks", HOOK, want=201)
    where = f"/webhooks/{made['webhook']['id']}"
    await desk.ask("POST", f"{where}/test", want=403, role=Role.SUPERVISOR)
    sent = await desk.ask("POST", f"{where}/test", want=202)
    assert (sent["type"], sent["state"], sent["number"]) == ("webhook.test", "queued", None)
    again = await desk.ask("POST", f"{where}/test", want=202)
    assert again["message_id"] != sent["message_id"]
    log = await desk.ask("GET", f"{where}/deliveries")
    assert [one["id"] for one in log["items"]] == [again["id"], sent["id"]]
    async with database.transaction(desk.house.tenant_id) as work:
        waiting = await work.rows("select kind, ticket_id from outbox where kind = 'delivery'")
        await work.execute("update deliveries set state = 'failed'")
    assert {str(row["ticket_id"]) for row in waiting} == {sent["id"], again["id"]}
    replayed = await desk.ask("POST", f"{where}/deliveries/{sent['id']}/replay", want=202)
    assert (replayed["message_id"], replayed["replay_of"]) == (sent["message_id"], sent["id"])
    assert "webhook.tested" in await desk.audited(database)
    await desk.ask("PATCH", where, {"active": False})
    await desk.ask("POST", f"{where}/test", want=409)


@pytest.mark.parametrize(
    "url",
    [
        "http://pager.example.com/", "ftp://pager.example.com/", "https://", "pager.example.com",
        "https://localhost/", "https://printer.local/x", "https://127.0.0.1/",
        "https://[::1]:8080/", "https://10.0.0.7/", "https://169.254.169.254/latest/meta-data",
        "https://user:pass@pager.example.com/", "https://pager.example.com/#x",
        "https://pager.example.com:0/", "https://pager.example.com:99999/",
        "https://pager.example.com/ x", "https://pägér.example.com/", "https://[::ffff:10.0.0.1]/",
    ],
)  # fmt: skip
def test_an_address_that_may_not_be_called_is_refused(url: str) -> None:
    with pytest.raises(Invalid):
        checked_url(url, allow_private=False)


def test_for_development_the_machine_itself_may_be_called() -> None:
    assert checked_url("http://127.0.0.1:9000/x", allow_private=True) == "http://127.0.0.1:9000/x"
    assert checked_url("https://pager.example.com/x", allow_private=False)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True), ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False), ("10.1.2.3", False), ("172.16.0.1", False), ("192.168.1.1", False),
        ("169.254.169.254", False), ("100.64.0.1", False), ("0.0.0.0", False),
        ("224.0.0.1", False), ("255.255.255.255", False), ("::1", False), ("::", False),
        ("fe80::1%eth0", False), ("fc00::1", False), ("ff02::1", False),
        ("::ffff:127.0.0.1", False), ("::ffff:93.184.215.14", True), ("64:ff9b::a00:1", False),
        ("64:ff9b::5db8:d70e", True), ("2002:7f00:1::", False), ("::7f00:1", False),
    ],
)  # fmt: skip
def test_which_addresses_are_on_the_open_internet(address: str, public: bool) -> None:
    assert is_public(address) is public
