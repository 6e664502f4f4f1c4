"""A step's webhook, all the way: the ticket's timer, its workflow, Temporal's retries, a server."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook
from temporalio.testing import WorkflowEnvironment

from domain.sla import CallWebhook, Metric, Step
from services import webhooks
from services.webhooks import WebhookSecrets
from tests.activities.test_webhooks import Endpoint
from tests.conftest import MakeTenant
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
