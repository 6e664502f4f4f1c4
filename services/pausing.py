"""Webhooks that are switched off by themselves: their endpoint is gone, or away for good."""

import uuid
from datetime import datetime

from domain.webhooks import GIVEN_UP_AFTER
from models.session import Work
from services import alerting, audit, configuration, desks


async def pause(
    work: Work, webhook_id: uuid.UUID, *, url: str, because: str, now: datetime
) -> bool:
    """Switches a webhook off and tells the admins why; whether it was on, and at that address.

    Calls that wait are cancelled at their turn, and can be sent again from the log.
    """
    await configuration.hold(work)
    rows = await work.rows(
        "update webhooks set active = false, updated_at = :now where tenant_id = :tenant"
        " and id = :id and active and url = :url returning name",
        {"now": now, "tenant": work.tenant_id, "id": webhook_id, "url": url},
    )
    if not rows:
        return False
    await desks.changed(work)
    said = {"webhook_id": str(webhook_id), "webhook": rows[0]["name"], "because": because}
    admins = await work.rows(
        "select id from users where tenant_id = :tenant and active and role = 'admin' order by id",
        {"tenant": work.tenant_id},
    )
    if admins:
        await work.batch(
            *(
                alerting.notice(work.tenant_id, admin["id"], "webhook_paused", said, at=now)
                for admin in admins
            )
        )
    await audit.record(
        work, caller=None, origin=None, action="webhook.paused", target_kind="webhook",
        target_id=webhook_id, data={"because": because}, now=now,
    )  # fmt: skip
    return True


async def is_away(work: Work, webhook_id: uuid.UUID, *, now: datetime) -> bool:
    """Whether it has taken nothing for as long as a call is tried."""
    row = await work.row(
        "select 1 as taken from deliveries where tenant_id = :tenant and webhook_id = :id"
        " and state = 'sent' and sent_at > :since limit 1",
        {"tenant": work.tenant_id, "id": webhook_id, "since": now - GIVEN_UP_AFTER},
    )
    return row is None
