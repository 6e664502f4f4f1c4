"""Carrying a delivery out: effectively once, and never silently twice."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import UUID

from prometheus_client import Counter
from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.tickets import bind
from domain.lifecycle import EffectInput, EffectResult
from domain.mail import MailRefused, MailUnreachable, OutgoingMail
from domain.starting import SURE_FOR, StartRefused, StartUnreachable
from domain.webhooks import (
    GIVEN_UP_AFTER,
    WebhookCall,
    WebhookForbidden,
    WebhookUnclear,
    WebhookUnreachable,
)
from models import ledger
from models.session import Database, Row
from services import pausing, webhooks

if TYPE_CHECKING:
    from adapters.mail import MailSender
    from adapters.temporal import WorkflowStarter
    from adapters.webhooks import WebhookCaller


SETTLED = Counter("deliveries_total", "Deliveries that reached their final state.", ["state"])
_FINAL = frozenset({"sent", "failed", "unknown"})


class DeliveryActivities:
    """Each delivery's row goes queued -> sending -> sent. Found in `sending` by a new attempt, the
    one before died between the two, and nobody can know whether it went out: `unknown`.
    """

    def __init__(
        self,
        database: Database,
        mail: "MailSender",
        hooks: "WebhookCaller | None" = None,
        secrets: webhooks.WebhookSecrets | None = None,
        starter: "WorkflowStarter | None" = None,
    ) -> None:
        self._database = database
        self._mail = mail
        self._hooks = hooks
        self._secrets = secrets
        self._starter = starter

    @activity.defn
    async def deliver(self, asked: EffectInput) -> EffectResult:
        """The state the delivery has reached. Raises, to be tried again, where it was not taken."""
        bind(asked.ticket, asked.trace)
        tenant, delivery_id = asked.ticket.tenant_id, UUID(asked.effect.id)
        row = await self._take(tenant, delivery_id)
        if row is None:
            return EffectResult(state="gone")
        if row["state"] != "sending":
            return EffectResult(state=row["state"])
        if row["kind"] == "webhook":
            return await self._call(tenant, delivery_id, row)
        if row["kind"] == "workflow":
            return await self._start(tenant, delivery_id, row)
        return await self._send(asked, tenant, delivery_id, row)

    async def _send(
        self, asked: EffectInput, tenant: UUID, delivery_id: UUID, row: Row
    ) -> EffectResult:
        mail = OutgoingMail(
            message_id=row["key"],
            to=row["recipient"],
            subject=f"[#{asked.ticket.number}] {row['subject']}",
            text=row["body_text"] or "",
            html=row["body_html"],
            references=tuple(row["thread"] or ()),
        )
        try:
            await self._mail.send(mail)
        except MailRefused as refused:
            return await self._settle(tenant, delivery_id, "failed", str(refused))
        except MailUnreachable as unreachable:
            await self._settle(tenant, delivery_id, "queued", str(unreachable))
            raise ApplicationError(
                "the mail server did not take it", type="MailUnreachable"
            ) from None
        except Exception as error:
            # Broken off after the mail was handed over: it may have gone out.
            return await self._settle(tenant, delivery_id, "unknown", type(error).__name__)
        return await self._settle(tenant, delivery_id, "sent", None)

    async def _call(self, tenant: UUID, delivery_id: UUID, row: Row) -> EffectResult:
        """One attempt to tell a webhook. What was surely not taken is tried again, for three days;
        what may have been taken never is."""
        now = datetime.now(UTC)
        if row["url"] is None or not row["active"]:
            why = "The webhook was switched off or deleted."
            return await self._settle(tenant, delivery_id, "cancelled", why)
        if self._hooks is None or self._secrets is None:
            await self._settle(tenant, delivery_id, "queued", "This worker calls no webhooks.")
            raise ApplicationError("this worker calls no webhooks", type="WebhookUnreachable")
        call = WebhookCall(
            id=str(row["payload"]["id"]),
            url=row["url"],
            body=webhooks.body_of(row["payload"]),
            secrets=tuple(
                self._secrets.of(tenant, row["webhook_id"], generation)
                for generation in webhooks.generations(row, now=now)
            ),
        )
        try:
            answer = await self._hooks.call(call)
        except WebhookForbidden as refused:
            return await self._settle(tenant, delivery_id, "failed", str(refused))
        except WebhookUnreachable as unreachable:
            return await self._again(tenant, delivery_id, row, str(unreachable), None)
        except WebhookUnclear as unclear:
            return await self._settle(tenant, delivery_id, "unknown", str(unclear))
        except Exception as error:
            return await self._settle(tenant, delivery_id, "unknown", type(error).__name__)
        said = (answer.status, answer.text)
        if answer.accepted:
            return await self._settle(tenant, delivery_id, "sent", None, said)
        why = f"The endpoint answered {answer.status}."
        if answer.gone:
            await self._pause(tenant, row, "Its endpoint answered 410: it is gone for good.")
        if answer.final:
            return await self._settle(tenant, delivery_id, "failed", why, said)
        return await self._again(tenant, delivery_id, row, why, said)

    async def _start(self, tenant: UUID, delivery_id: UUID, row: Row) -> EffectResult:
        """One attempt to start what a step asks for. All attempts name the same workflow, so that
        Temporal itself refuses the second."""
        if self._starter is None:
            await self._settle(tenant, delivery_id, "queued", "This worker starts no workflows.")
            raise ApplicationError("this worker starts no workflows", type="StartUnreachable")
        given = row["payload"]
        try:
            await self._starter.start(
                str(given["type"]),
                given["input"],
                id=str(given["workflow_id"]),
                queue=str(given["queue"]),
            )
        except StartRefused as refused:
            return await self._settle(tenant, delivery_id, "failed", str(refused))
        except StartUnreachable as away:
            if datetime.now(UTC) - row["created_at"] > GIVEN_UP_AFTER:
                return await self._settle(tenant, delivery_id, "failed", f"Given up: {away}")
            await self._settle(tenant, delivery_id, "queued", str(away))
            raise ApplicationError("Temporal did not take it", type="StartUnreachable") from None
        return await self._settle(tenant, delivery_id, "sent", None)

    async def _again(
        self, tenant: UUID, delivery_id: UUID, row: Row, why: str, said: tuple[int, str] | None
    ) -> EffectResult:
        if datetime.now(UTC) - row["created_at"] > GIVEN_UP_AFTER:
            await self._pause(tenant, row, f"For three days it took nothing. {why}", if_away=True)
            return await self._settle(tenant, delivery_id, "failed", f"Given up: {why}", said)
        await self._settle(tenant, delivery_id, "queued", why, said)
        raise ApplicationError("the endpoint did not take it", type="WebhookUnreachable")

    async def _pause(self, tenant: UUID, row: Row, because: str, *, if_away: bool = False) -> None:
        """Whoever takes nothing any more is not asked any more, until somebody says so."""
        now = datetime.now(UTC)
        async with self._database.transaction(tenant) as work:
            if not if_away or await pausing.is_away(work, row["webhook_id"], now=now):
                await pausing.pause(
                    work, row["webhook_id"], url=row["url"], because=because[:500], now=now
                )

    async def _take(self, tenant: UUID, delivery_id: UUID) -> Row | None:
        """The delivery, now `sending`; or in the state in which it stays."""
        now, broke_off = datetime.now(UTC), False
        async with self._database.transaction(tenant) as work:
            [rows] = await work.batch(ledger.lock_delivery(tenant, delivery_id))
            if not rows:
                return None
            row = rows[0]
            again = row["kind"] == "workflow" and now - row["created_at"] < SURE_FOR
            if row["state"] == "queued" or (row["state"] == "sending" and again):
                await work.batch(
                    ledger.set_delivery(tenant, delivery_id, "sending", None, now=now, attempt=True)
                )
                row["state"] = "sending"
            elif row["state"] == "sending":
                await work.batch(
                    ledger.set_delivery(
                        tenant,
                        delivery_id,
                        "unknown",
                        "The attempt before this one broke off while sending.",
                        now=now,
                    )
                )
                row["state"] = "unknown"
                broke_off = True
        if broke_off:
            SETTLED.labels("unknown").inc()
        return row

    async def _settle(
        self,
        tenant: UUID,
        delivery_id: UUID,
        state: str,
        error: str | None,
        answered: tuple[int, str] | None = None,
    ) -> EffectResult:
        async with self._database.transaction(tenant) as work:
            await work.batch(
                ledger.set_delivery(
                    tenant,
                    delivery_id,
                    state,
                    error and error[:500],
                    now=datetime.now(UTC),
                    answered=answered,
                )
            )
        if state in _FINAL:
            SETTLED.labels(state).inc()
        return EffectResult(state=state)
