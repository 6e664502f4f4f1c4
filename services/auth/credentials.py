"""Whose a request is, by its Authorization header."""

import uuid
from datetime import UTC, datetime

import jwt

from domain.errors import Unauthenticated
from domain.permissions import Permission, Principal
from domain.states import Scope
from services import freshness
from services.auth.base import Base, Known
from services.auth.principals import load_principal
from services.tokens import hashed


class Credentials(Base):
    """API tokens, intake keys, access tokens."""

    async def principal(self, authorization: str | None) -> Principal:
        """Who sent this Authorization header. Raises Unauthenticated.

        The answer may be up to five seconds old, where another process changed it. What this one
        has changed, and that a credential has expired, counts at once.
        """
        kind, _, credential = (authorization or "").partition(" ")
        credential = credential.strip()
        if not credential or kind.lower() != "bearer":
            raise Unauthenticated("Send a token: Authorization: Bearer ….")
        name = hashed(credential)
        known = self._known.get(name)
        if known is None or freshness.changed_lately(known.principal.tenant_id):
            if credential.startswith("hf_"):
                known = await self._by_token(name)
            else:
                known = await self._by_access_token(credential)
            if not freshness.changed_lately(known.principal.tenant_id):
                self._known[name] = known
        if known.expires_at is not None and known.expires_at <= self._now():
            raise Unauthenticated("This token has expired.")
        return known.principal

    async def _by_token(self, token_hash: bytes) -> Known:
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
                caller = Principal(
                    tenant_id=work.tenant_id,
                    tenant_slug=token["slug"],
                    kind="intake",
                    id=token["id"],
                    grants={Permission.INTAKE: Scope.TENANT},
                    auth_method="intake_key",
                    rate_class=token["rate_class"],
                )
            else:
                caller = await load_principal(
                    work,
                    token["user_id"],
                    auth_method="token",
                    scopes=frozenset(token["scopes"]),
                    rate_class=token["rate_class"],
                )
            return Known(caller, token["expires_at"])

    async def _by_access_token(self, token: str) -> Known:
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
            expires_at = datetime.fromtimestamp(float(claims["exp"]), UTC)
        except (jwt.InvalidTokenError, ValueError, TypeError, AttributeError, OSError) as error:
            raise Unauthenticated("This token is not one of ours.") from error
        if expires_at <= self._now():
            raise Unauthenticated("The access token has expired. Refresh it.")
        async with self._database.transaction(tenant_id) as work:
            caller = await load_principal(
                work, user_id, auth_method="session", session_id=session_id, now=self._now()
            )
            return Known(caller, expires_at)
