"""Changing a password, and the links that set one."""

import asyncio
import uuid

from domain.errors import Invalid
from domain.permissions import Principal
from models.session import Work
from services import audit
from services.auth.base import Base, by
from services.auth.hashing import NOBODY, hash_password
from services.auth.principals import end
from services.auth.refusals import LinkSpent
from services.passwords import Purpose
from services.tickets import Origin


class Passwords(Base):
    """For who knows the present one, and for who holds a link."""

    async def change_password(
        self, work: Work, caller: Principal, *, current: str, new: str, origin: Origin
    ) -> None:
        """A new password for who knows the present one; their other sessions end."""
        values = {"tenant": caller.tenant_id, "id": caller.id}
        row = await work.row(
            "select password_hash from users where tenant_id = :tenant and id = :id", values
        )
        old = (row or {}).get("password_hash") or NOBODY
        if not await self._verify(old, current):
            raise Invalid(
                "The current password is wrong.", fields={"/current_password": "is wrong"}
            )
        renewed = await hash_password(new)
        now = self._now()
        await work.execute(
            "update users set password_hash = :new, updated_at = :now"
            " where tenant_id = :tenant and id = :id",
            {**values, "new": renewed, "now": now},
        )
        await end(
            work,
            "user_id = :user and id is distinct from :mine",
            {"user": caller.id, "mine": caller.session_id},
            "password_changed",
            now,
        )
        await audit.record(
            work,
            caller=caller,
            origin=origin,
            action="password.changed",
            target_kind="user",
            target_id=caller.id,
            now=now,
        )

    async def make_link(
        self,
        work: Work,
        user_id: uuid.UUID,
        *,
        purpose: Purpose,
        by_mail: bool = False,
        once: str | None = None,
    ) -> str:
        """A link that lets whoever opens it set that person's password once."""
        return await self._links.make(
            work, user_id, purpose=purpose, now=self._now(), by_mail=by_mail, once=once
        )

    async def send_reset(self, *, email: str, tenant: str | None, once: str | None = None) -> None:
        """Commits a reset link, to be mailed, for every account with that address.

        Says nothing either way, and takes as long where there is none. Each account gets one mail
        for all that is asked under the same name `once`.
        """
        await asyncio.gather(self._queue_resets(email, tenant, once), asyncio.sleep(0.1))

    async def _queue_resets(self, email: str, tenant: str | None, once: str | None) -> None:
        async with self._database.transaction(None) as work:
            accounts = await work.rows(
                "select tenant_id, user_id, active from holdfast_login(:email, :slug)",
                {"email": email, "slug": tenant},
            )
        for account in accounts:
            if account["active"]:
                async with self._database.transaction(account["tenant_id"]) as work:
                    await self.make_link(
                        work, account["user_id"], purpose="reset", by_mail=True, once=once
                    )

    def link_of(self, token: str) -> tuple[uuid.UUID, uuid.UUID]:
        """The tenant and the id of a link that sets a password. Raises LinkSpent."""
        read = self._links.read(token)
        if read is None:
            raise LinkSpent
        return read

    async def accept_link(
        self, work: Work, link_id: uuid.UUID, *, password: str, origin: Origin
    ) -> None:
        """Sets the password a link was made for; all sessions of that person end."""
        renewed = await hash_password(password)
        now = self._now()
        link = await work.row(
            "update password_links l set used_at = :now from users u"
            " where l.tenant_id = :tenant and l.id = :id and l.used_at is null"
            " and l.expires_at > :now and u.tenant_id = l.tenant_id and u.id = l.user_id"
            " and u.active returning l.user_id, l.purpose",
            {"tenant": work.tenant_id, "id": link_id, "now": now},
        )
        if link is None:
            raise LinkSpent
        values = {"tenant": work.tenant_id, "id": link["user_id"], "now": now}
        await work.execute(
            "update users set password_hash = :hash, updated_at = :now"
            " where tenant_id = :tenant and id = :id",
            {**values, "hash": renewed},
        )
        await work.execute(
            "update password_links set used_at = :now"
            " where tenant_id = :tenant and user_id = :id and used_at is null",
            values,
        )
        await end(work, "user_id = :user", {"user": link["user_id"]}, "password_set", now)
        await audit.record(
            work,
            caller=None,
            actor_id=link["user_id"],
            origin=by(origin, "link"),
            action="password.set",
            target_kind="user",
            target_id=link["user_id"],
            data={"purpose": link["purpose"]},
            now=now,
        )
