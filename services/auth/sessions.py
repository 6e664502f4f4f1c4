"""Signing in, staying in, signing out."""

import base64
import binascii
import hmac
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import jwt
from sqlalchemy import insert

from domain.errors import NotFound
from domain.permissions import Permission, Principal
from models.accounts import LoginSession
from models.base import new_id
from models.session import Row, Work
from services import audit
from services.auth.base import Base, by
from services.auth.hashing import NOBODY, hash_password, is_outdated
from services.auth.principals import end, lives
from services.auth.refusals import SessionEnded, SeveralTenants, WrongCredentials
from services.tickets import Origin
from services.tokens import hashed

ACCESS_LASTS = timedelta(minutes=10)
SESSION_IDLE = timedelta(days=30)
SESSION_LASTS = timedelta(days=90)
# An address somebody signed in from within this time is theirs as far as guessing goes.
FAMILIAR_FOR = timedelta(days=30)
_REFRESH = "hfr_"


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a browser or app needs from now on."""

    access_token: str
    refresh_token: str
    expires_in: int
    tenant_id: uuid.UUID
    tenant_slug: str
    user_id: uuid.UUID
    session_id: uuid.UUID


class Sessions(Base):
    """Sign-ins and what becomes of them."""

    async def login(
        self, *, email: str, password: str, tenant: str | None, user_agent: str, origin: Origin
    ) -> SignedIn:
        """A new session. Raises WrongCredentials, or SeveralTenants to be asked again with one."""
        async with self._database.transaction(None) as work:
            accounts = await work.rows(
                "select tenant_id, slug, user_id, password_hash, active"
                " from holdfast_login(:email, :slug)",
                {"email": email, "slug": tenant},
            )
        usable = [a for a in accounts if a["active"] and a["password_hash"]]
        matching = [a for a in usable if await self._verify(a["password_hash"], password)]
        if not usable:
            await self._verify(NOBODY, password)
        if not matching:
            raise WrongCredentials
        if len(matching) > 1:
            raise SeveralTenants([a["slug"] for a in matching])
        [account] = matching
        now = self._now()
        session_id = new_id()
        secret = self._new_refresh_secret(account["tenant_id"], session_id)
        renewed = None
        if is_outdated(account["password_hash"]):
            renewed = await hash_password(password)
        async with self._database.transaction(account["tenant_id"]) as work:
            await work.execute(
                insert(LoginSession).values(
                    tenant_id=work.tenant_id,
                    id=session_id,
                    user_id=account["user_id"],
                    refresh_hash=hashed(secret),
                    user_agent=user_agent[:300],
                    ip=origin.ip or "",
                    created_at=now,
                    used_at=now,
                    expires_at=now + SESSION_IDLE,
                )
            )
            if renewed:
                await work.execute(
                    "update users set password_hash = :new where tenant_id = :tenant and id = :id"
                    " and password_hash = :old",
                    {
                        "new": renewed,
                        "tenant": work.tenant_id,
                        "id": account["user_id"],
                        "old": account["password_hash"],
                    },
                )
            await audit.record(
                work,
                caller=None,
                actor_id=account["user_id"],
                origin=by(origin, "password"),
                action="session.started",
                target_kind="session",
                target_id=session_id,
                now=now,
            )
        return self._signed_in(
            account["tenant_id"], account["slug"], account["user_id"], session_id, secret, now
        )

    async def refresh(self, refresh_token: str, *, origin: Origin) -> SignedIn:
        """New tokens for a session; the refresh token that was sent is worth nothing from now on.

        Sent again, however much later, it shows that two have it: the session ends, and the audit
        log says so.
        There is no grace for the one who was second: of two at the same moment the row lock
        lets one be first.
        """
        secret_hash = hashed(refresh_token)
        async with self._database.transaction(None) as work:
            found = await work.row(
                "select tenant_id, session_id from holdfast_session(:hash)", {"hash": secret_hash}
            )
        tenant_id, named = (
            (found["tenant_id"], found["session_id"]) if found else self._issued(refresh_token)
        )
        now = self._now()
        secret: str | None = None
        async with self._database.transaction(tenant_id) as work:
            session = await work.row(
                "select s.*, u.active, t.slug from login_sessions s"
                " join users u on u.tenant_id = s.tenant_id and u.id = s.user_id"
                " join tenants t on t.id = s.tenant_id"
                " where s.tenant_id = :tenant and s.id = :id for update of s",
                {"tenant": work.tenant_id, "id": named},
            )
            if session is None or not session["active"] or not lives(session, now):
                raise SessionEnded
            if bytes(session["refresh_hash"]) == secret_hash:
                secret = self._new_refresh_secret(tenant_id, session["id"])
                await work.execute(
                    "update login_sessions set refresh_hash = :new, previous_hash = :old,"
                    " used_at = :now, ip = :ip, expires_at = least(:idle, created_at + :most)"
                    " where tenant_id = :tenant and id = :id",
                    {
                        "new": hashed(secret),
                        "old": secret_hash,
                        "now": now,
                        "ip": origin.ip or "",
                        "idle": now + SESSION_IDLE,
                        "most": SESSION_LASTS,
                        "tenant": work.tenant_id,
                        "id": session["id"],
                    },
                )
            else:
                await end(work, "id = :id", {"id": session["id"]}, "reused", now)
                await audit.record(
                    work,
                    caller=None,
                    actor_id=session["user_id"],
                    origin=by(origin, "refresh"),
                    action="session.reuse_detected",
                    target_kind="session",
                    target_id=session["id"],
                    now=now,
                )
        if secret is None:
            raise SessionEnded
        return self._signed_in(
            tenant_id, session["slug"], session["user_id"], session["id"], secret, now
        )

    def _new_refresh_secret(self, tenant_id: uuid.UUID, session_id: uuid.UUID) -> str:
        """A secret that says of which session it was, and that we have made it."""
        said = tenant_id.bytes + session_id.bytes + secrets.token_bytes(32)
        packed = base64.urlsafe_b64encode(said + self._proof(said))
        return f"{_REFRESH}{packed.rstrip(b'=').decode()}"

    def _issued(self, refresh_token: str) -> tuple[uuid.UUID, uuid.UUID]:
        """Tenant and session of a secret that is in no row any more. Raises SessionEnded.

        Only what we made ourselves: who merely knows a session's id must not be able to end it.
        """
        try:
            packed = refresh_token.removeprefix(_REFRESH).encode("ascii")
            raw = base64.b64decode(packed + b"=" * (-len(packed) % 4), altchars=b"-_")
        except (binascii.Error, ValueError):
            raise SessionEnded from None
        said, proof = raw[:64], raw[64:]
        if not hmac.compare_digest(proof, self._proof(said)):
            raise SessionEnded
        return uuid.UUID(bytes=said[:16]), uuid.UUID(bytes=said[16:32])

    def _proof(self, said: bytes) -> bytes:
        return hmac.digest(self._refresh_key, said, "sha256")[:16]

    def _signed_in(
        self,
        tenant_id: uuid.UUID,
        slug: str,
        user_id: uuid.UUID,
        session_id: uuid.UUID,
        secret: str,
        now: datetime,
    ) -> SignedIn:
        access = jwt.encode(
            {
                "sub": str(user_id),
                "tid": str(tenant_id),
                "sid": str(session_id),
                "iat": int(now.timestamp()),
                "exp": int((now + ACCESS_LASTS).timestamp()),
            },
            self._access_key,
            algorithm="HS256",
        )
        return SignedIn(
            access, secret, int(ACCESS_LASTS.total_seconds()), tenant_id, slug, user_id, session_id
        )

    async def sessions(self, work: Work, user_id: uuid.UUID) -> Sequence[Row]:
        """A person's sessions that have not ended, the one used last first."""
        return await work.rows(
            "select id, user_agent, ip, created_at, used_at, expires_at from login_sessions"
            " where tenant_id = :tenant and user_id = :user and revoked_at is null"
            " and expires_at > :now order by used_at desc limit 200",
            {"tenant": work.tenant_id, "user": user_id, "now": self._now()},
        )

    async def end_session(
        self, work: Work, session_id: uuid.UUID, *, caller: Principal, origin: Origin, reason: str
    ) -> None:
        """Ends a session: one's own, or anybody's for who manages people. Raises NotFound."""
        found = await work.row(
            "select user_id from login_sessions where tenant_id = :tenant and id = :id for update",
            {"tenant": work.tenant_id, "id": session_id},
        )
        manages = caller.scope(Permission.PEOPLE_MANAGE) is not None
        if found is None or not (manages or found["user_id"] == caller.id):
            raise NotFound("There is no such session.")
        await end(work, "id = :id", {"id": session_id}, reason, self._now())
        await audit.record(
            work,
            caller=caller,
            origin=origin,
            action="session.ended",
            target_kind="session",
            target_id=session_id,
            data={"reason": reason, "user_id": str(found["user_id"])},
            now=self._now(),
        )

    async def is_familiar(self, *, email: str, tenant: str | None, ip: str | None) -> bool:
        """Whether somebody signed in to such an account from that address in the last month.

        A session that two had the secret of proves nothing.
        """
        if not ip:
            return False
        async with self._database.transaction(None) as work:
            accounts = await work.rows(
                "select tenant_id, user_id from holdfast_login(:email, :slug)",
                {"email": email, "slug": tenant},
            )
        for account in accounts:
            async with self._database.transaction(account["tenant_id"]) as work:
                known = await work.row(
                    "select 1 as one from login_sessions where tenant_id = :tenant"
                    " and user_id = :user and ip = :ip and used_at > :since"
                    " and revoked_reason is distinct from 'reused' limit 1",
                    {
                        "tenant": work.tenant_id,
                        "user": account["user_id"],
                        "ip": ip,
                        "since": self._now() - FAMILIAR_FOR,
                    },
                )
            if known is not None:
                return True
        return False
