"""Mailing a link that sets a password."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from temporalio import activity
from temporalio.exceptions import ApplicationError

from domain.lifecycle import EffectResult, LinkRef
from domain.mail import MailRefused, MailUnreachable
from models.session import Database
from services.passwords import PasswordLinks

if TYPE_CHECKING:
    from adapters.mail import MailSender


class LinkActivities:
    def __init__(self, database: Database, links: PasswordLinks, mail: "MailSender") -> None:
        self._database = database
        self._links = links
        self._mail = mail

    @activity.defn
    async def mail_link(self, ref: LinkRef) -> EffectResult:
        """Sends the link while it is good. A second mail does no harm: both carry the same link."""
        async with self._database.transaction(ref.tenant_id) as work:
            letter = await self._links.letter(work, ref.link_id, now=datetime.now(UTC))
        if letter is None:
            return EffectResult(state="spent")
        try:
            await self._mail.send(letter)
        except MailRefused as refused:
            raise ApplicationError(
                str(refused)[:300], type="MailRefused", non_retryable=True
            ) from None
        except MailUnreachable as unreachable:
            raise ApplicationError(str(unreachable)[:300], type="MailUnreachable") from None
        return EffectResult(state="sent")
