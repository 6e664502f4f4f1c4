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
from models import ledger
from models.session import Database, Row

if TYPE_CHECKING:
    from adapters.mail import MailSender


SETTLED = Counter("deliveries_total", "Deliveries that reached their final state.", ["state"])
_FINAL = frozenset({"sent", "failed", "unknown"})


class DeliveryActivities:
    """Each delivery's row goes queued -> sending -> sent. Found in `sending` by a new attempt, the
    one before died between the two, and nobody can know whether it went out: `unknown`.
    """

    def __init__(self, database: Database, mail: "MailSender") -> None:
        self._database = database
        self._mail = mail

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
            await self._settle(tenant, delivery_id, "failed", str(refused))
            return EffectResult(state="failed")
        except MailUnreachable as unreachable:
            await self._settle(tenant, delivery_id, "queued", str(unreachable))
            raise ApplicationError(
                "the mail server did not take it", type="MailUnreachable"
            ) from None
        except Exception as error:
            # Broken off after the mail was handed over: it may have gone out.
            await self._settle(tenant, delivery_id, "unknown", type(error).__name__)
            return EffectResult(state="unknown")
        await self._settle(tenant, delivery_id, "sent", None)
        return EffectResult(state="sent")

    async def _take(self, tenant: UUID, delivery_id: UUID) -> Row | None:
        """The delivery, now `sending`; or in the state in which it stays."""
        now, broke_off = datetime.now(UTC), False
        async with self._database.transaction(tenant) as work:
            [rows] = await work.batch(ledger.lock_delivery(tenant, delivery_id))
            if not rows:
                return None
            row = rows[0]
            if row["state"] == "queued":
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

    async def _settle(self, tenant: UUID, delivery_id: UUID, state: str, error: str | None) -> None:
        async with self._database.transaction(tenant) as work:
            await work.batch(
                ledger.set_delivery(
                    tenant, delivery_id, state, error and error[:500], now=datetime.now(UTC)
                )
            )
        if state in _FINAL:
            SETTLED.labels(state).inc()
