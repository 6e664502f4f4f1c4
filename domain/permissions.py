"""Who may do what, and to which tickets. Data first: the table is the policy."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal
from uuid import UUID

from domain.errors import Forbidden, TicketNotFound
from domain.states import ActorKind
from domain.states import Scope as Scope
from domain.tickets.state import Actor, Ticket


class Permission(StrEnum):
    TICKETS_VIEW = "tickets.view"
    TICKETS_CREATE = "tickets.create"
    TICKETS_REPLY = "tickets.reply"
    TICKETS_NOTE = "tickets.note"
    TICKETS_CHANGE = "tickets.change"
    TICKETS_ASSIGN = "tickets.assign"
    TICKETS_ESCALATE = "tickets.escalate"
    TICKETS_MERGE = "tickets.merge"
    TICKETS_BULK = "tickets.bulk"
    CUSTOMERS_VIEW = "customers.view"
    CUSTOMERS_MANAGE = "customers.manage"
    PEOPLE_VIEW = "people.view"  # agents and teams
    PEOPLE_MANAGE = "people.manage"
    ROUTING_MANAGE = "routing.manage"  # who takes tickets, how many, which
    SLA_VIEW = "sla.view"
    SLA_MANAGE = "sla.manage"
    SETTINGS_VIEW = "settings.view"
    SETTINGS_MANAGE = "settings.manage"
    TOKENS_MANAGE = "tokens.manage"  # one's own; intake keys need settings.manage
    AUDIT_VIEW = "audit.view"
    KNOWLEDGE_VIEW = "knowledge.view"  # published articles, canned responses
    KNOWLEDGE_WRITE = "knowledge.write"  # drafts, canned responses of one's teams
    KNOWLEDGE_PUBLISH = "knowledge.publish"
    BURSTS_MANAGE = "bursts.manage"
    TRIAGE_VIEW = "triage.view"  # models, how they did, what they are listened to for
    TRIAGE_MANAGE = "triage.manage"
    INTAKE = "intake"  # submit as a customer, nothing else


class Role(StrEnum):
    ADMIN = "admin"
    SUPERVISOR = "supervisor"
    AGENT = "agent"
    VIEWER = "viewer"


_TICKET_WORK = (
    Permission.TICKETS_VIEW,
    Permission.TICKETS_CREATE,
    Permission.TICKETS_REPLY,
    Permission.TICKETS_NOTE,
    Permission.TICKETS_CHANGE,
    Permission.TICKETS_ASSIGN,
    Permission.TICKETS_ESCALATE,
    Permission.TICKETS_MERGE,
    Permission.TICKETS_BULK,
)
_READING = (
    Permission.CUSTOMERS_VIEW,
    Permission.PEOPLE_VIEW,
    Permission.SLA_VIEW,
    Permission.SETTINGS_VIEW,
    Permission.KNOWLEDGE_VIEW,
)

GRANTS: dict[Role, dict[Permission, Scope]] = {
    Role.ADMIN: {p: Scope.TENANT for p in Permission if p is not Permission.INTAKE},
    Role.SUPERVISOR: {
        **dict.fromkeys(_TICKET_WORK, Scope.TENANT),
        **dict.fromkeys(_READING, Scope.TENANT),
        Permission.CUSTOMERS_MANAGE: Scope.TENANT,
        Permission.ROUTING_MANAGE: Scope.TENANT,
        Permission.SLA_MANAGE: Scope.TENANT,
        Permission.AUDIT_VIEW: Scope.TENANT,
        Permission.TOKENS_MANAGE: Scope.TENANT,
        Permission.KNOWLEDGE_WRITE: Scope.TENANT,
        Permission.KNOWLEDGE_PUBLISH: Scope.TENANT,
        Permission.BURSTS_MANAGE: Scope.TENANT,
        Permission.TRIAGE_VIEW: Scope.TENANT,
        Permission.TRIAGE_MANAGE: Scope.TENANT,
    },
    Role.AGENT: {
        **dict.fromkeys(_TICKET_WORK, Scope.TEAM),
        **dict.fromkeys(_READING, Scope.TENANT),
        Permission.CUSTOMERS_MANAGE: Scope.TENANT,
        Permission.TOKENS_MANAGE: Scope.TENANT,
        Permission.KNOWLEDGE_WRITE: Scope.TENANT,
    },
    Role.VIEWER: {
        Permission.TICKETS_VIEW: Scope.TEAM,
        **dict.fromkeys(_READING, Scope.TENANT),
        Permission.TOKENS_MANAGE: Scope.TENANT,
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody we know: a person, an intake key, or the system itself."""

    tenant_id: UUID
    tenant_slug: str
    kind: Literal["user", "intake", "system"]
    id: UUID | None = None  # of the user, or of the intake key
    role: Role | None = None
    team_ids: frozenset[UUID] = frozenset()
    grants: dict[Permission, Scope]
    auth_method: str = "none"
    session_id: UUID | None = None
    rate_class: str = "standard"

    @property
    def actor(self) -> Actor:
        if self.kind == "user":
            return Actor(ActorKind.USER, self.id)
        return Actor(ActorKind.SYSTEM)

    def scope(self, permission: Permission) -> Scope | None:
        return self.grants.get(permission)

    def require(self, permission: Permission) -> Scope:
        """The scope the caller has it in. Raises Forbidden when they do not have it at all."""
        scope = self.grants.get(permission)
        if scope is None:
            raise Forbidden(f"This needs the permission {permission.value}.")
        return scope


def grants_of(
    role: Role,
    *,
    token_scopes: frozenset[str] = frozenset(),
    agent_scope: Scope = Scope.TEAM,
) -> dict[Permission, Scope]:
    """What a role may; a token with scopes may at most those of it that it names.

    A scope names a permission, or the part before the dot for all of that kind. `agent_scope` is
    how far the tenant lets its agents see.
    """
    grants = GRANTS[role]
    if role is Role.AGENT and agent_scope is not Scope.TEAM:
        grants = grants | dict.fromkeys(_TICKET_WORK, agent_scope)
    if not token_scopes:
        return grants
    return {
        permission: scope
        for permission, scope in grants.items()
        if permission.value in token_scopes or permission.value.split(".")[0] in token_scopes
    }


def covers(scope: Scope, principal: Principal, ticket: Ticket) -> bool:
    """Whether a scope of this caller reaches that ticket. The SQL of lists says the same."""
    if scope is Scope.TENANT:
        return True
    if principal.id is not None and principal.id in (ticket.assignee_id, ticket.created_by_id):
        return True
    if scope is Scope.OWN:
        return False
    return ticket.team_id is None or ticket.team_id in principal.team_ids


def check(principal: Principal, permission: Permission, ticket: Ticket) -> None:
    """Passes, or raises: TicketNotFound for what the caller may not see, Forbidden for the rest."""
    seen = principal.scope(Permission.TICKETS_VIEW)
    if seen is None or not covers(seen, principal, ticket):
        raise TicketNotFound
    if not covers(principal.require(permission), principal, ticket):
        raise Forbidden(f"Your {permission.value} does not reach ticket {ticket.number}.")
