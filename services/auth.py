"""Who somebody is: passwords, sign-ins, links, and what each credential may."""

import asyncio
import hashlib
import secrets
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cachetools import TTLCache
from sqlalchemy import insert

from domain.errors import Invalid, NotFound, Unauthenticated
from domain.permissions import Permission, Principal, Role, grants_of
from domain.states import Scope
from models.accounts import LoginSession
from models.base import new_id
from models.session import Database, Row, Work
from services import audit
from services.passwords import PasswordLinks, Purpose
from services.tickets import Origin, clock
from services.tokens import RATE_CLASSES, hashed

ACCESS_LASTS = timedelta(minutes=10)
SESSION_IDLE = timedelta(days=30)
SESSION_LASTS = timedelta(days=90)
CACHE_SECONDS = 5.0
PASSWORD_MIN, PASSWORD_MAX = 10, 200

# Told the address, the name, the link and its purpose; delivers it.

# 19 MiB and two passes: OWASP's smallest recommendation, so that sign-ins cannot eat the memory.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Checked when there is no such account: an unknown address takes as long as a wrong password.
_NOBODY = _hasher.hash(secrets.token_urlsafe(16))


class WrongCredentials(Unauthenticated):
    code: ClassVar[str] = "wrong_credentials"

    def __init__(self) -> None:
        super().__init__("The e-mail address or the password is wrong.")


class SessionEnded(Unauthenticated):
    code: ClassVar[str] = "session_ended"

    def __init__(self) -> None:
        super().__init__("This session has ended. Sign in again.")


class SeveralTenants(Invalid):
    """Told only to who knows the password: the address works in several tenants."""

    code: ClassVar[str] = "tenant_needed"

    def __init__(self, slugs: Sequence[str]) -> None:
        super().__init__(
            f"You work in several places. Say in which one: {', '.join(slugs)}.",
            fields={"/tenant": f"one of {', '.join(slugs)}"},
        )


class LinkSpent(Invalid):
    code: ClassVar[str] = "link_spent"

    def __init__(self) -> None:
        super().__init__("This link was used, has expired, or was never ours. Ask for a new one.")


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


async def hash_password(password: str) -> str:
    """The password as it is stored. Raises Invalid for one too short to be worth storing."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise Invalid(
            f"A password has {PASSWORD_MIN} to {PASSWORD_MAX} characters.",
            fields={"/password": f"has {len(password)} characters"},
        )
    return await asyncio.to_thread(_hasher.hash, password)


class Auth:
    """Knows people by their credentials.

    `principal` remembers what it found for five seconds in each process: that is how long a
    revoked token or session, a changed role or a left team may still count.
    """

    def __init__(
        self,
        database: Database,
        *,
        secret: str,
        public_url: str,
        now: Callable[[], datetime] = clock,
        cache_seconds: float = CACHE_SECONDS,
    ) -> None:
        self._database = database
        # Each use has a key of its own: a link can never pass for an access token.
        self._access_key = hashlib.sha256(b"access\0" + secret.encode()).digest()
        self._links = PasswordLinks(secret, public_url=public_url)
        self._now = now
        self._known: TTLCache[bytes, Principal] = TTLCache(50_000, max(cache_seconds, 0.000_1))
        # Hashing is memory and CPU: more at once would only make all of them late.
        self._hashing = asyncio.Semaphore(4)

    # Credentials of requests.

    async def principal(self, authorization: str | None) -> Principal:
        """Who sent this Authorization header. Raises Unauthenticated.

        The answer may be up to five seconds old.
        """
        kind, _, credential = (authorization or "").partition(" ")
        credential = credential.strip()
        if not credential or kind.lower() != "bearer":
            raise Unauthenticated("Send a token: Authorization: Bearer ….")
        name = hashed(credential)
        known = self._known.get(name)
        if known is None:
            if credential.startswith("hf_"):
                known = await self._by_token(name)
            else:
                known = await self._by_access_token(credential)
            self._known[name] = known
        return known

    async def _by_token(self, token_hash: bytes) -> Principal:
        async with self._database.transaction(None) as work:
            found = await work.row(
                "select tenant_id, token_id from holdfast_token(:hash)", {"hash": token_hash}
            )
        if found is None:
            raise Unauthenticated("This token is not known.")
        async with self._database.transaction(found["tenant_id"]) as work:
            token = await work.row(
                "select a.id, a.kind, a.user_id, a.scopes, a.rate_class, a.expires_at,"
                " a.revoked_at, t.slug, t.rate_class as tenant_class from api_tokens a"
                " join tenants t on t.id = a.tenant_id where a.tenant_id = :tenant and a.id = :id",
                {"tenant": work.tenant_id, "id": found["token_id"]},
            )
            if token is None or token["revoked_at"] is not None:
                raise Unauthenticated("This token was revoked.")
            if token["expires_at"] is not None and token["expires_at"] <= self._now():
                raise Unauthenticated("This token has expired.")
            if token["kind"] == "intake":
                return Principal(
                    tenant_id=work.tenant_id,
                    tenant_slug=token["slug"],
                    kind="intake",
                    id=token["id"],
                    grants={Permission.INTAKE: Scope.TENANT},
                    auth_method="intake_key",
                    rate_class=token["rate_class"],
                )
            return await load_principal(
                work,
                token["user_id"],
                auth_method="token",
                scopes=frozenset(token["scopes"]),
                rate_class=token["rate_class"],
            )

    async def _by_access_token(self, token: str) -> Principal:
        try:
            claims = jwt.decode(
                token,
                self._access_key,
                algorithms=["HS256"],
                options={"verify_exp": False, "require": ["sub", "tid", "sid", "exp"]},
            )
            user_id, tenant_id, session_id = (
                uuid.UUID(claims[name]) for name in ("sub", "tid", "sid")
            )
            expires = float(claims["exp"])
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError) as error:
            raise Unauthenticated("This token is not one of ours.") from error
        if expires <= self._now().timestamp():
            raise Unauthenticated("The access token has expired. Refresh it.")
        async with self._database.transaction(tenant_id) as work:
            return await load_principal(
                work, user_id, auth_method="session", session_id=session_id, now=self._now()
            )

    # Sign-ins.

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
            await self._verify(_NOBODY, password)
        if not matching:
            raise WrongCredentials
        if len(matching) > 1:
            raise SeveralTenants([a["slug"] for a in matching])
        [account] = matching
        now = self._now()
        session_id, secret = new_id(), _new_refresh_secret()
        renewed = None
        if _hasher.check_needs_rehash(account["password_hash"]):
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
                origin=_by(origin, "password"),
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

        Sent again, it shows that two have it: the session ends, and the audit log says so.
        There is no grace for the one who was second: of two at the same moment the row lock
        lets one be first.
        """
        secret_hash = hashed(refresh_token)
        async with self._database.transaction(None) as work:
            found = await work.row(
                "select tenant_id, session_id from holdfast_session(:hash)", {"hash": secret_hash}
            )
        if found is None:
            raise SessionEnded
        now = self._now()
        secret: str | None = None
        async with self._database.transaction(found["tenant_id"]) as work:
            session = await work.row(
                "select s.*, u.active, t.slug from login_sessions s"
                " join users u on u.tenant_id = s.tenant_id and u.id = s.user_id"
                " join tenants t on t.id = s.tenant_id"
                " where s.tenant_id = :tenant and s.id = :id for update of s",
                {"tenant": work.tenant_id, "id": found["session_id"]},
            )
            if session is None or not session["active"] or not _lives(session, now):
                raise SessionEnded
            if bytes(session["refresh_hash"]) == secret_hash:
                secret = _new_refresh_secret()
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
                await _end(work, "id = :id", {"id": session["id"]}, "reused", now)
                await audit.record(
                    work,
                    caller=None,
                    actor_id=session["user_id"],
                    origin=_by(origin, "refresh"),
                    action="session.reuse_detected",
                    target_kind="session",
                    target_id=session["id"],
                    now=now,
                )
        if secret is None:
            raise SessionEnded
        return self._signed_in(
            found["tenant_id"], session["slug"], session["user_id"], session["id"], secret, now
        )

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

    # Sessions.

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
        await _end(work, "id = :id", {"id": session_id}, reason, self._now())
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

    # Passwords.

    async def change_password(
        self, work: Work, caller: Principal, *, current: str, new: str, origin: Origin
    ) -> None:
        """A new password for who knows the present one; their other sessions end."""
        values = {"tenant": caller.tenant_id, "id": caller.id}
        row = await work.row(
            "select password_hash from users where tenant_id = :tenant and id = :id", values
        )
        old = (row or {}).get("password_hash") or _NOBODY
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
        await _end(
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
        await _end(work, "user_id = :user", {"user": link["user_id"]}, "password_set", now)
        await audit.record(
            work,
            caller=None,
            actor_id=link["user_id"],
            origin=_by(origin, "link"),
            action="password.set",
            target_kind="user",
            target_id=link["user_id"],
            data={"purpose": link["purpose"]},
            now=now,
        )

    async def _verify(self, stored: str, password: str) -> bool:
        async with self._hashing:
            return await asyncio.to_thread(_matches, stored, password[:PASSWORD_MAX])


async def load_principal(
    work: Work,
    user_id: uuid.UUID,
    *,
    auth_method: str = "job",
    session_id: uuid.UUID | None = None,
    scopes: frozenset[str] = frozenset(),
    rate_class: str | None = None,
    now: datetime | None = None,
) -> Principal:
    """What a person may do now; also for work done later in their name.

    Raises Unauthenticated when they no longer work here, or the session has ended.
    """
    tenant = work.tenant_id
    users, teams, sessions = await work.batch(
        (
            "select u.role, u.active, t.slug, t.rate_class,"
            " t.settings ->> 'agent_scope' as agent_scope"
            " from users u join tenants t on t.id = u.tenant_id"
            " where u.tenant_id = %s and u.id = %s",
            (tenant, user_id),
        ),
        (
            "select m.team_id from team_members m join teams t on t.tenant_id = m.tenant_id"
            " and t.id = m.team_id and t.active where m.tenant_id = %s and m.user_id = %s",
            (tenant, user_id),
        ),
        (
            "select revoked_at, expires_at from login_sessions"
            " where tenant_id = %s and id = %s and user_id = %s",
            (tenant, session_id, user_id),
        ),
    )
    if not users or not users[0]["active"]:
        raise Unauthenticated("This account is not active.")
    if session_id is not None and (not sessions or not _lives(sessions[0], now or clock())):
        raise SessionEnded
    row = users[0]
    role = Role(row["role"])
    # A token's own class, or for a sign-in what the tenant was sold.
    given = rate_class or row["rate_class"]
    return Principal(
        tenant_id=tenant,
        tenant_slug=row["slug"],
        kind="user",
        id=user_id,
        role=role,
        team_ids=frozenset(t["team_id"] for t in teams),
        grants=grants_of(
            role, token_scopes=scopes, agent_scope=Scope(row["agent_scope"] or Scope.TEAM)
        ),
        auth_method=auth_method,
        session_id=session_id,
        rate_class=given if given in RATE_CLASSES else "standard",
    )


async def end_sessions_of(work: Work, user_id: uuid.UUID, *, reason: str, now: datetime) -> None:
    """Ends every session of a person, and revokes their tokens."""
    await _end(work, "user_id = :user", {"user": user_id}, reason, now)
    await work.execute(
        "update api_tokens set revoked_at = :now"
        " where tenant_id = :tenant and user_id = :user and revoked_at is null",
        {"tenant": work.tenant_id, "user": user_id, "now": now},
    )


async def _end(
    work: Work, which: str, values: dict[str, object], reason: str, now: datetime
) -> None:
    await work.execute(
        "update login_sessions set revoked_at = :now, revoked_reason = :reason"
        f" where tenant_id = :tenant and revoked_at is null and {which}",
        {"tenant": work.tenant_id, "now": now, "reason": reason, **values},
    )


def _lives(session: Row, now: datetime) -> bool:
    return session["revoked_at"] is None and session["expires_at"].astimezone(UTC) > now


def _matches(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def _new_refresh_secret() -> str:
    return f"hfr_{secrets.token_urlsafe(32)}"


def _by(origin: Origin, method: str) -> Origin:
    return Origin(request_id=origin.request_id, ip=origin.ip, auth_method=method)
