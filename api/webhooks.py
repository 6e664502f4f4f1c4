"""Where a tenant wants to be told of what happens, and what became of each call."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from api.cursors import Cursor, Limit, after_id, cursor_of
from api.deps import Allowed, From, Served, Tx
from api.editing import Editing, given, record
from api.routing import Route, shown_once
from api.shapes import Page, Request, Shape, examples
from api.versions import put_tag
from domain.permissions import Permission, Principal
from domain.webhooks import LONGEST_URL
from models.session import Row
from services import webhooks
from services.tickets import clock

router = APIRouter(prefix="/api/v1/webhooks", tags=["webhooks"], route_class=Route)

Admin = Annotated[Principal, Depends(Allowed(Permission.SETTINGS_MANAGE))]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Url = Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
Events = Annotated[list[Annotated[str, Field(max_length=50)]], Field(max_length=50)]
State = Literal["queued", "sending", "sent", "failed", "unknown", "cancelled"]


class Webhook(Shape):
    """An endpoint. Steps of policies call it by its id; `events` are those it hears of besides."""

    id: UUID
    name: str
    url: str
    events: list[str]
    active: bool
    generation: int = Field(description="How many secrets it has had.")
    rotated_at: datetime | None
    created_at: datetime
    updated_at: datetime


class WebhookIn(Request):
    """Calls are POSTs of JSON, signed as Standard Webhooks describes."""

    model_config = examples(
        {
            "name": "Pager",
            "url": "https://pager.example.com/holdfast",
            "events": ["sla_breached", "escalated"],
        },
        {"name": "Called by steps only", "url": "https://pager.example.com/steps"},
    )

    name: Name
    url: Url
    events: Events = Field(
        default_factory=list,
        description="Entries of timelines, by their type. Without any, only steps call it.",
    )


class WebhookPatch(Request):
    """What is left out stays."""

    model_config = examples({"active": False}, {"events": ["sla_breached"]})

    name: Name | None = None
    url: Url | None = None
    events: Events | None = None
    active: bool | None = None


class WebhookSecret(Shape):
    """The webhook with its secret, which receivers check signatures with."""

    webhook: Webhook
    secret: str = Field(description="Shown once. A lost one is replaced by another.")


class WebhookDelivery(Shape):
    """One call. `unknown`: it broke off, and may have arrived; it is not made again by itself."""

    id: UUID
    ticket_id: UUID | None = Field(description="Null where it is about no ticket.")
    number: int | None
    type: str
    state: State
    attempts: int
    error: str | None
    response_status: int | None = Field(description="The status of the last answer.")
    response: str | None = Field(description="The beginning of the last answer.")
    replay_of: UUID | None
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None


class WebhookDeliveryDetail(WebhookDelivery):
    message_id: str = Field(description="`webhook-id`: the same for every attempt and replay.")
    payload: dict[str, object] = Field(description="What is told, as it is sent.")


def _secret(served: Served, row: Row, tenant_id: UUID) -> WebhookSecret:
    secrets = webhooks.WebhookSecrets(served.settings.secret_key.get_secret_value())
    return WebhookSecret(
        webhook=Webhook(**row), secret=secrets.of(tenant_id, row["id"], row["generation"])
    )


def _detail(row: Row) -> WebhookDeliveryDetail:
    told = {**row, "message_id": row["payload"]["id"], "payload": row["payload"]["body"]}
    return WebhookDeliveryDetail.model_validate(told)


@router.get("", summary="Webhooks")
async def list_webhooks(caller: Admin, work: Tx) -> list[Webhook]:
    return [Webhook(**row) for row in await webhooks.webhooks(work)]


@router.post("", status_code=201, summary="Add a webhook")
@shown_once
async def create_webhook(
    body: WebhookIn, caller: Admin, served: Served, work: Tx, origin: From
) -> WebhookSecret:
    """Answers with its secret, which is shown once and kept nowhere."""
    row = await webhooks.create(
        work,
        name=body.name,
        url=body.url,
        events=body.events,
        allow_private=served.settings.webhooks_allow_private,
        now=clock(),
    )
    await record(
        work, caller, origin, "webhook.created", "webhook", row["id"],
        {"name": row["name"], "url": row["url"], "events": row["events"]},
    )  # fmt: skip
    return _secret(served, row, work.tenant_id)


@router.get("/{webhook_id}", summary="One webhook")
async def get_webhook(webhook_id: UUID, caller: Admin, work: Tx, response: Response) -> Webhook:
    shown = Webhook(**await webhooks.webhook(work, webhook_id))
    put_tag(response, shown)
    return shown


@router.patch("/{webhook_id}", summary="Change a webhook, or switch it off")
async def change_webhook(
    webhook_id: UUID, body: WebhookPatch, caller: Admin, served: Served, edit: Editing
) -> Webhook:
    """Calls that still wait go to the new address; where it is switched off, they are cancelled."""
    asked = given(body, clears=set())
    await edit.unless_changed(Webhook, webhooks.webhook, webhook_id)
    row, changes = await webhooks.change(
        edit.work,
        webhook_id,
        asked,
        allow_private=served.settings.webhooks_allow_private,
        now=clock(),
    )
    return await edit.answer(caller, Webhook(**row), "webhook", webhook_id, changes)


@router.delete("/{webhook_id}", status_code=204, summary="Delete a webhook")
async def delete_webhook(webhook_id: UUID, caller: Admin, work: Tx, origin: From) -> None:
    """409 while a step of an active policy calls it."""
    row = await webhooks.delete(work, webhook_id)
    await record(
        work, caller, origin, "webhook.deleted", "webhook", webhook_id,
        {"name": row["name"], "url": row["url"]},
    )  # fmt: skip


@router.post("/{webhook_id}/secret", status_code=201, summary="Make another secret")
@shown_once
async def rotate_secret(
    webhook_id: UUID, caller: Admin, served: Served, work: Tx, origin: From
) -> WebhookSecret:
    """For a day calls are signed with both, the new one first."""
    row = await webhooks.rotate(work, webhook_id, now=clock())
    await record(work, caller, origin, "webhook.secret_changed", "webhook", webhook_id, {})
    return _secret(served, row, work.tenant_id)


@router.post("/{webhook_id}/test", status_code=202, summary="Send an example")
async def try_webhook(
    webhook_id: UUID, caller: Admin, work: Tx, origin: From
) -> WebhookDeliveryDetail:
    """A `webhook.test`, signed, tried again and logged as everything that is told."""
    row = await webhooks.test(work, webhook_id, now=clock())
    await record(
        work, caller, origin, "webhook.tested", "webhook", webhook_id,
        {"delivery": str(row["id"])},
    )  # fmt: skip
    return _detail(row)


@router.get("/{webhook_id}/deliveries", summary="What became of its calls")
async def list_webhook_deliveries(
    webhook_id: UUID,
    caller: Admin,
    work: Tx,
    limit: Limit = 50,
    cursor: Cursor = None,
    state: Annotated[State | None, Query()] = None,
) -> Page[WebhookDelivery]:
    """The newest first."""
    rows = await webhooks.deliveries(
        work, webhook_id, state=state, after=after_id(cursor), limit=limit + 1
    )
    items = [WebhookDelivery.model_validate(row) for row in rows[:limit]]
    return Page(items=items, next=cursor_of(items[-1].id) if len(rows) > limit else None)


@router.get("/{webhook_id}/deliveries/{delivery_id}", summary="One call, with what it tells")
async def get_webhook_delivery(
    webhook_id: UUID, delivery_id: UUID, caller: Admin, work: Tx
) -> WebhookDeliveryDetail:
    await webhooks.webhook(work, webhook_id)
    return _detail(await webhooks.delivery(work, webhook_id, delivery_id))


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/replay", status_code=202, summary="Send it again"
)
async def replay_delivery(
    webhook_id: UUID, delivery_id: UUID, caller: Admin, work: Tx, origin: From
) -> WebhookDeliveryDetail:
    """The same message under the same `webhook-id`, as a delivery of its own."""
    row = await webhooks.replay(work, webhook_id, delivery_id, now=clock())
    await record(
        work, caller, origin, "webhook.replayed", "webhook", webhook_id,
        {"delivery": str(delivery_id), "again": str(row["id"])},
    )  # fmt: skip
    return _detail(row)
