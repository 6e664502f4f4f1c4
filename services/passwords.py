"""Links that set a password once: made, mailed by a workflow, told apart from every other token."""

import hashlib
import hmac
import uuid
from datetime import datetime, timedelta
from typing import Literal

import jwt
from sqlalchemy.dialects.postgresql import insert

from domain.mail import OutgoingMail
from models.accounts import PasswordLink
from models.base import new_id
from models.session import Work
from services import jobs

RESET_LASTS = timedelta(hours=2)
INVITE_LASTS = timedelta(days=7)

Purpose = Literal["reset", "invite"]

_OPENINGS: dict[str, str] = {
    "reset": "somebody asked to set your password anew.",
    "invite": "you are invited to work at this help desk. Choose a password to begin.",
}


class PasswordLinks:
    """The row is the truth, the link a signature over its id: nobody has to keep the link."""

    def __init__(self, secret: str, *, public_url: str) -> None:
        # A key of its own: a link can never pass for an access token.
        self._key = hashlib.sha256(b"link\0" + secret.encode()).digest()
        self._public_url = public_url.rstrip("/")

    async def make(
        self,
        work: Work,
        user_id: uuid.UUID,
        *,
        purpose: Purpose,
        now: datetime,
        by_mail: bool,
        once: str | None = None,
    ) -> str:
        """A link that lets whoever opens it set that person's password once.

        By mail, it is committed with the row that makes a workflow send it: once for all that is
        asked under the same name.
        """
        link_id = new_id()
        if once is not None:
            name = hmac.digest(self._key, f"{user_id}\0{once}".encode(), "sha256")
            link_id = uuid.UUID(bytes=name[:16], version=5)
        expires = now + (INVITE_LASTS if purpose == "invite" else RESET_LASTS)
        made = await work.row(
            insert(PasswordLink)
            .values(
                tenant_id=work.tenant_id,
                id=link_id,
                user_id=user_id,
                purpose=purpose,
                created_at=now,
                expires_at=expires,
            )
            .on_conflict_do_nothing()
            .returning(PasswordLink.id)
        )
        if by_mail and made is not None:
            await work.batch(jobs.told("link", work.tenant_id, link_id))
            work.wake_relay()
        return self._address(work.tenant_id, link_id, expires)

    def read(self, link: str) -> tuple[uuid.UUID, uuid.UUID] | None:
        """The tenant and the row a link speaks of; None when it is not one of ours."""
        try:
            claims = jwt.decode(
                link.rpartition("#")[2],
                self._key,
                algorithms=["HS256"],
                options={"verify_exp": False, "require": ["tid", "lid"]},
            )
            return uuid.UUID(claims["tid"]), uuid.UUID(claims["lid"])
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError):
            return None

    async def letter(self, work: Work, link_id: uuid.UUID, *, now: datetime) -> OutgoingMail | None:
        """The mail that carries a link; None once it is used, expired or its user gone.

        Its Message-ID is the link's: sent twice, it is one mail to any mailbox that looks.
        """
        row = await work.row(
            "select l.purpose, l.expires_at, u.email, u.name from password_links l"
            " join users u on u.tenant_id = l.tenant_id and u.id = l.user_id and u.active"
            " where l.tenant_id = :tenant and l.id = :id and l.used_at is null"
            " and l.expires_at > :now",
            {"tenant": work.tenant_id, "id": link_id, "now": now},
        )
        if row is None:
            return None
        link = self._address(work.tenant_id, link_id, row["expires_at"])
        return OutgoingMail(
            message_id=f"<{link_id.hex}@links.holdfast>",
            to=row["email"],
            subject="Set your password",
            text=f"Hello {row['name']},\n\n{_OPENINGS[row['purpose']]} This link works once, until"
            f" {row['expires_at']:%Y-%m-%d %H:%M} UTC:\n\n{link}\n\n"
            "If that means nothing to you, leave it: nothing changes without the link.\n",
        )

    def _address(self, tenant_id: uuid.UUID, link_id: uuid.UUID, expires: datetime) -> str:
        token = jwt.encode(
            {"tid": str(tenant_id), "lid": str(link_id), "exp": int(expires.timestamp())},
            self._key,
            algorithm="HS256",
        )
        # Behind the #: no server, proxy or Referer header ever sees it.
        return f"{self._public_url}/set-password#{token}"
