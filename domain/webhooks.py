"""Calls to webhooks: what may be told, to which addresses, and how a call can end."""

import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

MOST_WEBHOOKS = 50
LONGEST_URL = 2000
# How long an endpoint may be away before a call is given up; the retries are Temporal's.
GIVEN_UP_AFTER = timedelta(hours=72)
# For so long after a new secret was made, the one before it signs as well.
ROTATION = timedelta(hours=24)

# Entries of the timeline that a webhook can ask for. What is left out says nothing to others.
EVENTS = frozenset(
    {
        "ticket_created", "customer_replied", "agent_replied", "note_added", "changed", "assigned",
        "escalated", "handed_back", "merged", "unmerged", "split", "auto_closed", "triaged",
        "sla_breached", "sla_step", "sla_due_set", "sla_due_reset", "sla_acknowledged",
        "sla_retimed",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A webhook as decisions about tickets know it."""

    id: UUID
    url: str
    events: frozenset[str] = frozenset()
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookCall:
    """One message to one endpoint; `id` is the same for every attempt, receivers go by it."""

    id: str
    url: str
    body: bytes
    secrets: tuple[str, ...]  # the present one, and the one before while that still counts


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """What the endpoint said: any status, and the beginning of its body."""

    status: int
    text: str

    @property
    def accepted(self) -> bool:
        return 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """It asks to be told nothing more."""
        return self.status == 410

    @property
    def final(self) -> bool:
        """Asking again would change nothing: it is gone, or leads elsewhere."""
        return self.gone or 300 <= self.status < 400


class WebhookForbidden(Exception):
    """The address is not one that may be called. Nothing was sent."""


class WebhookUnreachable(Exception):
    """Nobody was reached. Nothing was sent, so trying again doubles nothing."""


class WebhookUnclear(Exception):
    """It broke off after the call was begun: it may have arrived."""


def is_public(address: str) -> bool:
    """Whether an IP address is one on the open internet: no loopback, private or link-local one.

    Addresses that carry another one inside are judged by that too. Raises ValueError for no
    address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    inside: list[ipaddress.IPv4Address | None] = []
    if isinstance(ip, ipaddress.IPv6Address):
        inside += [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
        if ip in _NAT64:
            inside.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if ip in _COMPATIBLE:
            return False
    each = [ip, *(one for one in inside if one is not None)]
    carried = len(each) > 1 and isinstance(ip, ipaddress.IPv6Address)
    judged = each[1:] if carried else each
    return all(one.is_global and not one.is_multicast for one in judged)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_COMPATIBLE = ipaddress.ip_network("::/96")
