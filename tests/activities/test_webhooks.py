"""A webhook is called over the wire: signed, once, within limits; what is not known is said."""

import asyncio
import json
import signal
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from temporalio.exceptions import ApplicationError

from activities.deliveries import DeliveryActivities
from activities.tickets import TicketActivities
from adapters.webhooks import WebhookCaller
from domain.lifecycle import Advance, Effect, EffectInput, TicketRef
from domain.sla import CallWebhook, Metric, Step
from domain.tickets import Escalated, NoteAdded, Ticket
from models.session import Database, Row
from services import webhooks
from services.desks import Desks
from services.tickets import Tickets
from services.webhooks import WebhookSecrets
from tests.activities.test_deliveries import Mailbox
from tests.conftest import Urls
from tests.making import happens, make_agent, make_policy, make_ticket, words

pytestmark = pytest.mark.slow  # servers that hang

SECRETS = WebhookSecrets("only for tests")


@dataclass
class Endpoint:
    """A real HTTP server on the loopback that answers as told."""

    url: str = ""
    status: str = "200 OK"
    headers: str = ""
    body: bytes = b"thanks"
    hangs: bool = False
    closes: bool = False
    endless: bool = False
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.splitlines()[1:]
            headers = {
                n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines) if n
            }
            body = await reader.readexactly(int(headers["content-length"]))
            self.heard.append((headers, body))
            if self.hangs:
                await asyncio.sleep(30)
            if not self.closes:
                length = 10**9 if self.endless else len(self.body)
                writer.write(
                    f"HTTP/1.1 {self.status}\r\nContent-Length: {length}\r\n"
                    f"{self.headers}\r\n".encode()
                )
                writer.write(self.body)
                while self.endless:
                    writer.write(b"x" * 65536)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    made = Endpoint()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    yield made
    server.close()


@dataclass
class Case:
    """A ticket whose next step calls a webhook."""

    database: Database
    tickets: Tickets
    tenant: uuid.UUID
    ticket: Ticket
    hook: Row
    caller: WebhookCaller

    @property
    def ref(self) -> TicketRef:
        return TicketRef(tenant_id=self.tenant, slug="t", number=self.ticket.number)

    async def advance(self, after: timedelta = timedelta(minutes=31)) -> tuple[Effect, ...]:
        """What the ticket's workflow is told to carry out once that time has passed."""
        activities = TicketActivities(self.database, self.tickets, search_attributes=False)
        asked = Advance(ticket=self.ref, now=self.ticket.created_at + after, cursor=0, run_id="r")
        state = await activities.advance(asked)
        return tuple(effect for effect in state.effects if effect.kind == "webhook")

    async def attempt(self, effect: Effect) -> str:
        activities = DeliveryActivities(self.database, Mailbox(), self.caller, SECRETS)
        asked = EffectInput(ticket=self.ref, effect=effect, run_id="r")
        return (await activities.deliver(asked)).state

    async def rows(self) -> list[Row]:
        async with self.database.transaction(self.tenant) as work:
            return await webhooks.deliveries(
                work, self.hook["id"], state=None, after=None, limit=50
            )

    async def change(self, **given: object) -> None:
        async with self.database.transaction(self.tenant) as work:
            self.hook, _ = await webhooks.change(
                work, self.hook["id"], given, allow_private=True, now=datetime.now(UTC)
            )

    @property
    def secret(self) -> str:
        return SECRETS.of(self.tenant, self.hook["id"], self.hook["generation"])


@pytest.fixture
async def case(database: Database, tenant: uuid.UUID, endpoint: Endpoint) -> Case:
    tickets = Tickets(Desks())
    async with database.transaction(tenant) as work:
        hook = await webhooks.create(
            work, name="Pager", url=endpoint.url, events=[], allow_private=True,
            now=datetime.now(UTC),
        )  # fmt: skip
        step = Step(
            id="page",
            metric=Metric.FIRST_REPLY,
            percent=50,
            action=CallWebhook(webhook_id=hook["id"]),
        )
        await make_policy(work, steps=(step,))
    ticket = await make_ticket(database, tickets, tenant)
    return Case(database, tickets, tenant, ticket, hook, WebhookCaller(allow_private=True))


async def test_a_step_calls_its_webhook_once_signed_and_is_told_by_the_same_advance(
    case: Case, endpoint: Endpoint
) -> None:
    assert await case.advance(timedelta(minutes=29)) == ()
    [effect] = await case.advance()
    assert await case.advance() == (effect,)  # as Temporal may ask twice
    assert await case.attempt(effect) == "sent"
    assert await case.attempt(effect) == "sent"
    [(headers, body)] = endpoint.heard
    told = Webhook(case.secret).verify(body, headers)
    assert (told["type"], told["data"]["ticket"]["number"]) == (
        "ticket.sla_step", case.ticket.number,
    )  # fmt: skip
    assert told["data"]["details"]["step"] == "page"
    assert headers["content-type"] == "application/json"
    [row] = await case.rows()
    assert (row["state"], row["attempts"], row["response_status"], row["response"]) == (
        "sent", 1, 200, "thanks",
    )  # fmt: skip
    assert await case.advance(timedelta(minutes=40)) == ()
    assert len(await case.rows()) == 1


async def test_another_secret_does_not_verify_and_after_a_change_both_do(
    case: Case, endpoint: Endpoint
) -> None:
    before = case.secret
    async with case.database.transaction(case.tenant) as work:
        case.hook = await webhooks.rotate(work, case.hook["id"], now=datetime.now(UTC))
    assert case.secret != before
    [effect] = await case.advance()
    await case.attempt(effect)
    [(headers, body)] = endpoint.heard
    Webhook(case.secret).verify(body, headers)
    Webhook(before).verify(body, headers)
    stranger = SECRETS.of(case.tenant, uuid.uuid4(), 1)
    with pytest.raises(WebhookVerificationError):
        Webhook(stranger).verify(body, headers)


@pytest.mark.parametrize("status", ["500 Oops", "404 Not Found", "429 Slow down"])
async def test_what_the_endpoint_does_not_take_is_tried_again_under_the_same_id(
    case: Case, endpoint: Endpoint, status: str
) -> None:
    [effect] = await case.advance()
    endpoint.status = status
    with pytest.raises(ApplicationError):
        await case.attempt(effect)
    [row] = await case.rows()
    assert (row["state"], row["response_status"]) == ("queued", int(status[:3]))
    endpoint.status = "204 No Content"
    endpoint.body = b""
    assert await case.attempt(effect) == "sent"
    ids = {headers["webhook-id"] for headers, _ in endpoint.heard}
    bodies = {body for _, body in endpoint.heard}
    assert (len(endpoint.heard), len(ids), len(bodies)) == (2, 1, 1)
    assert (await case.rows())[0]["attempts"] == 2


async def test_after_three_days_it_is_given_up(case: Case, endpoint: Endpoint) -> None:
    [effect] = await case.advance()
    async with case.database.transaction(case.tenant) as work:
        await work.execute(
            "update deliveries set created_at = created_at - interval '73 hours' where id = :id",
            {"id": uuid.UUID(effect.id)},
        )
    endpoint.status = "503 Away"
    assert await case.attempt(effect) == "failed"
    assert (await case.rows())[0]["error"] == "Given up: The endpoint answered 503."


async def test_nobody_there_is_tried_again(case: Case) -> None:
    [effect] = await case.advance()
    await case.change(url="http://127.0.0.1:9/nobody")
    with pytest.raises(ApplicationError):
        await case.attempt(effect)
    assert (await case.rows())[0]["state"] == "queued"


async def test_a_redirect_is_not_followed_and_one_that_is_gone_is_not_asked_again(
    case: Case, endpoint: Endpoint
) -> None:
    [effect] = await case.advance()
    endpoint.status, endpoint.headers = "302 Found", f"Location: {endpoint.url}\r\n"
    assert await case.attempt(effect) == "failed"
    assert len(endpoint.heard) == 1


async def test_an_endpoint_that_is_gone_is_not_asked_again(case: Case, endpoint: Endpoint) -> None:
    [effect] = await case.advance()
    endpoint.status = "410 Gone"
    assert [await case.attempt(effect) for _ in range(2)] == ["failed", "failed"]
    assert len(endpoint.heard) == 1


@pytest.mark.parametrize("trouble", ["hangs", "closes"])
async def test_broken_off_after_it_was_sent_it_is_unknown_and_never_sent_again(
    case: Case, endpoint: Endpoint, trouble: str
) -> None:
    [effect] = await case.advance()
    case.caller = WebhookCaller(allow_private=True, seconds=0.5)
    setattr(endpoint, trouble, True)
    assert [await case.attempt(effect) for _ in range(2)] == ["unknown", "unknown"]
    assert len(endpoint.heard) == 1


async def test_a_worker_killed_between_call_and_record_leaves_it_unknown(
    case: Case, endpoint: Endpoint
) -> None:
    class Killed(BaseException):
        pass

    class Dies(WebhookCaller):
        async def call(self, call: object) -> object:  # type: ignore[override]
            await super().call(call)  # type: ignore[arg-type]
            raise Killed

    [effect] = await case.advance()
    case.caller = Dies(allow_private=True)
    with pytest.raises(Killed):
        await case.attempt(effect)
    assert (await case.rows())[0]["state"] == "sending"
    case.caller = WebhookCaller(allow_private=True)
    assert await case.attempt(effect) == "unknown"
    assert len(endpoint.heard) == 1
    assert await case.advance(timedelta(minutes=40)) == ()


DIES = """
import asyncio, os, signal, sys
from activities.deliveries import DeliveryActivities
from adapters.webhooks import WebhookCaller
from domain.lifecycle import EffectInput
from models.session import Database
from services.webhooks import WebhookSecrets

class Dies(WebhookCaller):
    async def call(self, call):
        await super().call(call)
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    database = Database(sys.argv[1], pool_size=2)
    secrets = WebhookSecrets("only for tests")
    activities = DeliveryActivities(database, None, Dies(allow_private=True), secrets)
    await activities.deliver(EffectInput.model_validate_json(sys.argv[2]))

asyncio.run(main())
"""


async def test_a_process_killed_with_kill_9_after_the_call_leaves_it_unknown(
    case: Case, endpoint: Endpoint, urls: Urls
) -> None:
    [effect] = await case.advance()
    asked = EffectInput(ticket=case.ref, effect=effect, run_id="r").model_dump_json()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DIES, urls.app, asked, cwd=Path(__file__).parents[2]
    )
    assert await process.wait() == -signal.SIGKILL
    assert ((await case.rows())[0]["state"], len(endpoint.heard)) == ("sending", 1)
    assert [await case.attempt(effect) for _ in range(2)] == ["unknown", "unknown"]
    assert len(endpoint.heard) == 1


async def test_an_answer_without_end_is_read_to_its_beginning(
    case: Case, endpoint: Endpoint
) -> None:
    [effect] = await case.advance()
    endpoint.endless = True
    async with asyncio.timeout(5):
        assert await case.attempt(effect) == "sent"
    assert len((await case.rows())[0]["response"]) == 1000


async def test_an_address_inside_is_not_called_wherever_its_name_leads(
    case: Case, endpoint: Endpoint
) -> None:
    [effect] = await case.advance()
    await case.change(url=endpoint.url.replace("127.0.0.1", "localhost"))
    case.caller = WebhookCaller(allow_private=False)
    assert await case.attempt(effect) == "failed"
    assert endpoint.heard == []
    assert "private network" in (await case.rows())[0]["error"]


async def test_switched_off_it_is_written_down_and_not_called(
    case: Case, endpoint: Endpoint
) -> None:
    await case.change(active=False)
    assert await case.advance() == ()
    [row] = await case.rows()
    assert (row["state"], endpoint.heard) == ("cancelled", [])


async def test_switched_off_meanwhile_what_waits_is_cancelled(
    case: Case, endpoint: Endpoint
) -> None:
    [effect] = await case.advance()
    await case.change(active=False)
    assert await case.attempt(effect) == "cancelled"
    assert endpoint.heard == []


async def test_a_replay_is_a_delivery_of_its_own_with_the_same_message(
    case: Case, endpoint: Endpoint
) -> None:
    [effect] = await case.advance()
    endpoint.closes = True
    assert await case.attempt(effect) == "unknown"
    endpoint.closes = False
    async with case.database.transaction(case.tenant) as work:
        again = await webhooks.replay(
            work, case.hook["id"], uuid.UUID(effect.id), now=datetime.now(UTC)
        )
        waiting = await work.rows("select kind from outbox where destination = 'workflows'")
    assert "webhook_replayed" in {row["kind"] for row in waiting}
    [second] = await case.advance()
    assert second.id == str(again["id"])
    assert await case.attempt(second) == "sent"
    assert len({headers["webhook-id"] for headers, _ in endpoint.heard}) == 1
    assert again["replay_of"] == uuid.UUID(effect.id)
    newest, first = await case.rows()
    assert (newest["state"], first["state"]) == ("sent", "unknown")


async def test_subscribed_events_are_told_and_no_others(case: Case, endpoint: Endpoint) -> None:
    await case.change(events=["escalated", "ticket_created"])
    async with case.database.transaction(case.tenant) as work:
        agent = await make_agent(work)
    number = case.ticket.number
    await happens(
        case.database, case.tickets, case.tenant, number,
        Escalated("Help.", assignee_id=agent), by=agent,
    )  # fmt: skip
    await happens(case.database, case.tickets, case.tenant, number, NoteAdded(words("x")), by=agent)
    other = await make_ticket(case.database, case.tickets, case.tenant)
    rows = await case.rows()
    assert [(row["type"], row["number"]) for row in rows] == [
        ("ticket.ticket_created", other.number),
        ("ticket.escalated", number),
    ]
    effects = await case.advance(timedelta())
    assert [await case.attempt(effect) for effect in effects] == ["sent"]
    told = json.loads(endpoint.heard[0][1])
    assert told["data"]["details"]["reason"] == "Help."
