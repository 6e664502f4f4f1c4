"""The closed vocabularies that rules are written in. Names a tenant chooses never appear here."""

from enum import StrEnum


class Category(StrEnum):
    """What a status means to every rule; a tenant's own status names each belong to one."""

    NEW = "new"
    OPEN = "open"
    PENDING = "pending"  # waits for the customer
    ON_HOLD = "on_hold"  # waits for a third party
    RESOLVED = "resolved"
    CLOSED = "closed"
    MERGED = "merged"

    @property
    def is_active(self) -> bool:
        """Somebody still has to do something."""
        return self in ACTIVE

    @property
    def is_over(self) -> bool:
        """The ticket takes no more changes and its workflow has ended."""
        return self in (Category.CLOSED, Category.MERGED)


ACTIVE = frozenset({Category.NEW, Category.OPEN, Category.PENDING, Category.ON_HOLD})


class Priority(StrEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"
    URGENT = "urgent"

    @property
    def rank(self) -> int:
        """0 for low to 3 for urgent."""
        return _RANKS[self]

    def raised(self) -> "Priority":
        """The next higher priority; urgent stays urgent."""
        return _ORDER[min(self.rank + 1, 3)]


_ORDER = (Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.URGENT)
_RANKS = {priority: rank for rank, priority in enumerate(_ORDER)}


class TicketType(StrEnum):
    QUESTION = "question"
    INCIDENT = "incident"
    PROBLEM = "problem"
    TASK = "task"


class Channel(StrEnum):
    EMAIL = "email"
    PORTAL = "portal"
    CHAT = "chat"
    API = "api"
    PHONE = "phone"
    WEB = "web"
    AGENT = "agent"


class ActorKind(StrEnum):
    USER = "user"
    CUSTOMER = "customer"
    AUTOMATION = "automation"  # a policy step or rule, named with its version in the cause
    MODEL = "model"
    IMPORT = "import"
    SYSTEM = "system"


class Scope(StrEnum):
    """Which tickets a permission reaches. Permissions about anything else are TENANT or nothing."""

    OWN = "own"  # assigned to the caller or created by them
    TEAM = "team"  # own, those of the caller's teams, and those no team has yet
    TENANT = "tenant"


class Visibility(StrEnum):
    PUBLIC = "public"
    INTERNAL = "internal"


class RelationKind(StrEnum):
    PARENT = "parent"  # source is the parent of target
    DUPLICATE = "duplicate"  # source is a duplicate of target
    RELATES = "relates"
    FOLLOW_UP = "follow_up"  # source follows up target
    PROBLEM = "problem"  # source is the problem behind incident target
    MERGED_INTO = "merged_into"  # written by merge only
    SPLIT_FROM = "split_from"  # written by split only


class Tier(StrEnum):
    """What an organization is to the desk; `domain.scoring` says what each counts."""

    PLATINUM = "platinum"
    VIP = "vip"
    ENTERPRISE = "enterprise"
    GOLD = "gold"
    PREMIUM = "premium"
    SILVER = "silver"
    BUSINESS = "business"
    STANDARD = "standard"
