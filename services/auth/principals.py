"""What somebody may do now, and the end of their sessions."""

import uuid
from datetime import UTC, datetime

from domain.errors import Unauthenticated
from domain.permissions import Principal, Role, grants_of
from domain.states import Scope
from models.session import Row, Work
from services import freshness
from services.auth.refusals import SessionEnded
from services.tickets import clock
from services.tokens import RATE_CLASSES


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
    if session_id is not None and (not sessions or not lives(sessions[0], now or clock())):
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
    await end(work, "user_id = :user", {"user": user_id}, reason, now)
    await work.execute(
        "update api_tokens set revoked_at = :now"
        " where tenant_id = :tenant and user_id = :user and revoked_at is null",
        {"tenant": work.tenant_id, "user": user_id, "now": now},
    )


async def end(
    work: Work, which: str, values: dict[str, object], reason: str, now: datetime
) -> None:
    """Ends the sessions that the condition `which` names."""
    freshness.changed(work.tenant_id)
    await work.execute(
        "update login_sessions set revoked_at = :now, revoked_reason = :reason"
        f" where tenant_id = :tenant and revoked_at is null and {which}",
        {"tenant": work.tenant_id, "now": now, "reason": reason, **values},
    )


def lives(session: Row, now: datetime) -> bool:
    """Whether a session still counts."""
    return session["revoked_at"] is None and session["expires_at"].astimezone(UTC) > now
