"""Webhooks over the wire, judged by what a receiver would write: by hand, without our libraries."""

import asyncio
import base64
import hashlib
import hmac
import socket
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.exceptions import ApplicationError

from adapters.webhooks import Judged, WebhookCaller
from domain.tickets import Changed
from domain.webhooks import ROTATION, WebhookForbidden
from models.session import Row
from services import webhooks
from tests.activities.test_webhooks import SECRETS, Case, Endpoint, case, endpoint
from tests.making import happens, make_agent

__all__ = ["case", "endpoint"]
pytestmark = pytest.mark.slow  # a server that listens


def is_signed(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """As https://www.standardwebhooks.com describes it, from the text of the specification."""
    assert secret.startswith("whsec_")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    assert 24 <= len(key) <= 64
    signed = b".".join(
        [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body]
    )
    wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    found = headers["webhook-signature"].split(" ")
    assert all(one.startswith("v1,") for one in found)
    assert "." not in headers["webhook-id"]
    return any(hmac.compare_digest(one.removeprefix("v1,"), wanted) for one in found)


async def replayed(case: Case, delivery: object) -> str:
    """Asked for again, found by the ticket's workflow, and called."""
    async with case.database.transaction(case.tenant) as work:
        again = await webhooks.replay(
            work, case.hook["id"], uuid.UUID(str(delivery)), now=datetime.now(UTC)
        )
    [effect] = [one for one in await case.advance() if one.id == str(again["id"])]
    return await case.attempt(effect)


async def rotated(case: Case, *, ago: timedelta = timedelta()) -> None:
    async with case.database.transaction(case.tenant) as work:
        case.hook = await webhooks.rotate(work, case.hook["id"], now=datetime.now(UTC) - ago)


async def hook_of(case: Case) -> Row:
    async with case.database.transaction(case.tenant) as work:
        return await webhooks.webhook(work, case.hook["id"])


async def paused(case: Case) -> list[Row]:
    async with case.database.transaction(case.tenant) as work:
        return await work.rows(
            "select user_id, data from notifications where tenant_id = :t"
            " and kind = 'webhook_paused'",
            {"t": case.tenant},
        )


async def test_what_a_receiver_checks_by_hand_holds_and_what_is_touched_does_not(
    case: Case, endpoint: Endpoint
) -> None:
    [effect] = await case.advance()
    assert await case.attempt(effect) == "sent"
    [(headers, body)] = endpoint.heard
    assert is_signed(headers, body, case.secret)
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 300
    assert not is_signed(headers, body + b" ", case.secret)
    assert not is_signed({**headers, "webhook-id": headers["webhook-id"] + "x"}, body, case.secret)
    later = str(int(headers["webhook-timestamp"]) + 1)
    assert not is_signed({**headers, "webhook-timestamp": later}, body, case.secret)
    assert not is_signed(headers, body, SECRETS.of(uuid.uuid4(), case.hook["id"], 1))


async def test_both_secrets_sign_for_a_day_and_then_the_new_one_alone(
    case: Case, endpoint: Endpoint
) -> None:
    [effect] = await case.advance()
    before = case.secret
    await rotated(case)
    assert await case.attempt(effect) == "sent"
    async with case.database.transaction(case.tenant) as work:
        await work.execute(
            "update webhooks set rotated_at = rotated_at - :day where id = :id",
            {"day": ROTATION, "id": case.hook["id"]},
        )
    assert await replayed(case, effect.id) == "sent"
    (first, body), (second, again) = endpoint.heard
    assert is_signed(first, body, case.secret)
    assert is_signed(first, body, before)
    assert is_signed(second, again, case.secret)
    assert not is_signed(second, again, before)
    assert len(first["webhook-signature"].split(" ")) == 2
    assert len(second["webhook-signature"].split(" ")) == 1


async def test_a_replay_is_the_same_bytes_under_the_same_id_whatever_happened_since(
    case: Case, endpoint: Endpoint
) -> None:
    subject = "Żółć 東京 \u2028 </script> \U0001f600"
    await case.change(events=["changed"])
    async with case.database.transaction(case.tenant) as work:
        agent = await make_agent(work)
    number = case.ticket.number
    await happens(
        case.database, case.tickets, case.tenant, number, Changed(subject=subject), by=agent
    )
    [effect] = await case.advance(timedelta())
    endpoint.status = "503 Away"
    with pytest.raises(ApplicationError):
        await case.attempt(effect)
    endpoint.status = "200 OK"
    assert await case.attempt(effect) == "sent"
    # The ticket, the webhook and its secret change; what was told stays told.
    await case.change(events=[])
    await happens(
        case.database, case.tickets, case.tenant, number, Changed(subject="Other"), by=agent
    )
    await rotated(case, ago=2 * ROTATION)
    assert await replayed(case, effect.id) == "sent"
    [again] = [row for row in await case.rows() if row["replay_of"]]
    assert await replayed(case, again["id"]) == "sent"  # a replay of the replay
    assert len(endpoint.heard) == 4
    assert len({body for _, body in endpoint.heard}) == 1
    assert len({headers["webhook-id"] for headers, _ in endpoint.heard}) == 1
    assert "Żółć 東京".encode() in endpoint.heard[0][1]
    for headers, body in endpoint.heard[2:]:
        assert is_signed(headers, body, case.secret)
    rows = [row for row in await case.rows() if row["type"] == "ticket.changed"]
    assert [row["replay_of"] for row in rows] == [uuid.UUID(effect.id)] * 2 + [None]
    assert [row["state"] for row in rows] == ["sent"] * 3


async def test_two_who_send_it_again_at_once_send_two_and_no_attempt_is_made_twice(
    case: Case, endpoint: Endpoint
) -> None:
    [effect] = await case.advance()
    assert await case.attempt(effect) == "sent"
    async with case.database.transaction(case.tenant) as work:
        for _ in range(2):
            await webhooks.replay(
                work, case.hook["id"], uuid.UUID(effect.id), now=datetime.now(UTC)
            )
    effects = await case.advance()
    assert len(effects) == 2
    done = await asyncio.gather(*(case.attempt(one) for one in (*effects, *effects)))
    assert set(done) <= {"sent", "unknown"}
    assert len(endpoint.heard) == 3


async def test_an_endpoint_that_is_gone_is_switched_off_once_and_the_admins_hear_why(
    case: Case, endpoint: Endpoint
) -> None:
    async with case.database.transaction(case.tenant) as work:
        admin = await make_agent(work, "Bo", role="admin")
        await make_agent(work, "Kim")
    [effect] = await case.advance()
    async with case.database.transaction(case.tenant) as work:
        waits = await webhooks.test(work, case.hook["id"], now=datetime.now(UTC))
    endpoint.status = "410 Gone"
    assert await case.attempt(effect) == "failed"
    assert (await hook_of(case))["active"] is False
    [told] = await paused(case)
    assert (told["user_id"], told["data"]["webhook"]) == (admin, "Pager")
    assert "410" in told["data"]["because"]
    # What waited is not called any more, and can be sent again once somebody switches it on.
    assert await case.attempt(effect.model_copy(update={"id": str(waits["id"])})) == "cancelled"
    assert len(endpoint.heard) == 1
    endpoint.status = "200 OK"
    await case.change(active=True)
    assert await replayed(case, effect.id) == "sent"
    assert len(await paused(case)) == 1


async def test_an_endpoint_that_moved_meanwhile_is_not_switched_off_for_its_old_address(
    case: Case, endpoint: Endpoint
) -> None:
    class Moves(WebhookCaller):
        async def call(self, call: object) -> object:  # type: ignore[override]
            answer = await super().call(call)  # type: ignore[arg-type]
            await case.change(url=endpoint.url + "/new")
            return answer

    [effect] = await case.advance()
    endpoint.status = "410 Gone"
    case.caller = Moves(allow_private=True)
    assert await case.attempt(effect) == "failed"
    assert (await hook_of(case))["active"] is True
    assert await paused(case) == []


@pytest.mark.parametrize("takes_others", [False, True])
async def test_what_took_nothing_for_three_days_is_switched_off_and_what_took_some_is_not(
    case: Case, endpoint: Endpoint, takes_others: bool
) -> None:
    async with case.database.transaction(case.tenant) as work:
        await make_agent(work, "Bo", role="admin")
        other = await webhooks.test(work, case.hook["id"], now=datetime.now(UTC))
    [effect] = await case.advance()
    if takes_others:
        asked = effect.model_copy(update={"id": str(other["id"])})
        assert await case.attempt(asked) == "sent"
    async with case.database.transaction(case.tenant) as work:
        await work.execute(
            "update deliveries set created_at = created_at - interval '73 hours' where id = :id",
            {"id": uuid.UUID(effect.id)},
        )
    endpoint.status = "500 Oops"
    assert await case.attempt(effect) == "failed"
    assert (await hook_of(case))["active"] is takes_others
    assert len(await paused(case)) == (0 if takes_others else 1)


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 There", "308 There"])
async def test_no_redirect_leads_anywhere(case: Case, endpoint: Endpoint, status: str) -> None:
    [effect] = await case.advance()
    endpoint.status, endpoint.headers = status, f"Location: {endpoint.url}/elsewhere\r\n"
    assert [await case.attempt(effect) for _ in range(2)] == ["failed", "failed"]
    assert len(endpoint.heard) == 1
    assert (await hook_of(case))["active"] is True


@pytest.mark.parametrize(
    "found",
    [
        ["93.184.216.34", "10.0.0.1"],
        ["127.0.0.1"],
        ["::ffff:127.0.0.1"],
        ["169.254.169.254"],
        ["fe80::1%eth0"],
        ["64:ff9b::7f00:1"],
        ["2002:7f00:1::"],
        ["0.0.0.0"],
        ["100.64.0.1"],
        ["224.0.0.1"],
    ],
)
async def test_a_name_that_leads_inside_by_any_of_its_addresses_is_not_called(
    monkeypatch: pytest.MonkeyPatch, found: list[str]
) -> None:
    async def leads(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, port)) for one in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", leads)
    with pytest.raises(WebhookForbidden):
        await Judged(allow_private=False).connect_tcp("hooks.example.com", 443)
