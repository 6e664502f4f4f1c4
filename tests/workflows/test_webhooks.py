"""A step's webhook, all the way: the ticket's timer, its workflow, Temporal's retries, a server."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from adapters.temporal import TicketWorkflows
from domain.alerts import AlertRule, Breaches, Recipients
from domain.sla import CallWebhook, Metric, Step
from models.session import Database
from services import alerts, webhooks
from services.alerting import AlertDestination
from services.desks import Desks
from services.destinations import WorkflowsDestination
from services.relay import Relay
from services.webhooks import WebhookSecrets
from tests.activities.test_webhooks import Endpoint
from tests.conftest import MakeTenant, Urls
from tests.making import make_policy, make_ticket
from tests.workflows.conftest import MakeBench

pytestmark = pytest.mark.temporal


async def test_a_step_calls_its_webhook_until_it_is_taken_and_then_never_again(
    skipping: WorkflowEnvironment, bench: MakeBench, make_tenant: MakeTenant
) -> None:
    endpoint = Endpoint(status="503 Away")
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server, bench(skipping.client) as b:
        tenant = await make_tenant(triage=False)
        async with b.database.transaction(tenant) as work:
            hook = await webhooks.create(
                work, name="Pager", url=url, events=[], allow_private=True, now=datetime.now(UTC)
            )
            call = CallWebhook(webhook_id=hook["id"])
            step = Step(id="page", metric=Metric.FIRST_REPLY, percent=50, action=call)
            await make_policy(work, steps=(step,))
        ticket = await make_ticket(
            b.database, b.tickets, tenant, now=await skipping.get_current_time()
        )
        await b.wake(tenant, ticket)
        await skipping.sleep(timedelta(minutes=31))
        async with asyncio.timeout(20):
            while len(endpoint.heard) < 2:  # Temporal has tried again
                await skipping.sleep(timedelta(minutes=1))
        endpoint.status = "200 OK"
        async with asyncio.timeout(20):
            while True:
                await skipping.sleep(timedelta(minutes=5))
                async with b.database.transaction(tenant) as work:
                    [row] = await webhooks.deliveries(
                        work, hook["id"], state=None, after=None, limit=10
                    )
                if row["state"] == "sent":
                    break
        heard = len(endpoint.heard)
        assert row["attempts"] == heard
        await skipping.sleep(timedelta(hours=9))
        await b.settled(tenant, ticket)
        assert len(endpoint.heard) == heard
        secret = WebhookSecrets("only for tests").of(tenant, hook["id"], 1)
        ids = set()
        for headers, body in endpoint.heard:
            Webhook(secret).verify(body, headers)
            ids.add(headers["webhook-id"])
        assert len(ids) == 1


async def test_an_alert_calls_its_webhook_from_the_breach_to_the_signed_call(
    dev_server: Client, bench: MakeBench, make_tenant: MakeTenant, urls: Urls
) -> None:
    endpoint = Endpoint()
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    everything, now = Database(urls.relay, pool_size=4), datetime.now(UTC)
    async with server, bench(dev_server) as b:
        tenant = await make_tenant(triage=False)
        async with b.database.transaction(tenant) as work:
            hook = await webhooks.create(
                work, name="Pager", url=url, events=[], allow_private=True, now=now
            )
            await make_policy(work)
            rule = AlertRule(
                watches=Breaches(count=1), recipients=Recipients(webhook_id=hook["id"])
            )
            await alerts.create(work, name="Any", rule=rule, active=True, by=None, now=now)
        opened = now - timedelta(minutes=59, seconds=58)
        ticket = await make_ticket(b.database, b.tickets, tenant, now=opened)
        await b.wake(tenant, ticket)
        await b.until_event(tenant, ticket, "sla_breached")
        async with everything.transaction(None) as work:  # the fifteen seconds are over
            await work.execute(
                "update outbox set available_at = now() where destination = 'alerts'"
                " and tenant_id = :tenant",
                {"tenant": tenant},
            )
        for destination in (
            AlertDestination(b.database, Desks()),
            WorkflowsDestination(everything, TicketWorkflows(b.client)),
        ):
            while await Relay(everything, destination).drain():
                pass
        async with asyncio.timeout(20):
            while not endpoint.heard:
                await asyncio.sleep(0.05)
        [(headers, body)] = endpoint.heard
        told = Webhook(WebhookSecrets("only for tests").of(tenant, hook["id"], 1)).verify(
            body, headers
        )
        assert (told["type"], told["data"]["alert"]) == ("sla_alert.fired", "Any")
        assert told["data"]["figures"]["breaches"] == 1
    await everything.close()
