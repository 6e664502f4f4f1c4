"""Refusals: what a caller did wrong or cannot have, with a code that never changes."""

from collections.abc import Mapping
from typing import ClassVar


class Refusal(Exception):
    """A sentence a person can act on, under a stable code.

    `fields` maps JSON pointers of the request to what is wrong there.
    """

    code: ClassVar[str] = "refused"

    def __init__(self, detail: str, *, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.fields = dict(fields or {})


class Invalid(Refusal):
    """The request says something that cannot be."""

    code = "invalid"


class TooLarge(Refusal):
    """More than is taken."""

    code = "too_large"


class NotFound(Refusal):
    """No such thing, or none that the caller may know of."""

    code = "not_found"


class Conflict(Refusal):
    """The request is sound but does not fit what the thing has become."""

    code = "conflict"


class Forbidden(Refusal):
    """The caller may see the thing but not do this to it."""

    code = "forbidden"


class Unauthenticated(Refusal):
    """Nobody we know."""

    code = "unauthenticated"


class TooMany(Refusal):
    """Too often; `retry_after` says in how many seconds it will be taken."""

    code = "too_many_requests"

    def __init__(self, detail: str, *, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Unavailable(Refusal):
    """Something this needs is down; nothing was done."""

    code = "unavailable"


class TicketNotFound(NotFound):
    code = "ticket_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such ticket.")


class TicketClosed(Conflict):
    code = "ticket_closed"

    def __init__(self, number: int) -> None:
        super().__init__(f"Ticket {number} is closed. Open a follow-up instead.")


class TicketMerged(Conflict):
    code = "ticket_merged"

    def __init__(self, number: int) -> None:
        super().__init__(f"Ticket {number} was merged into another. Act on that one, or unmerge.")


class StatusNotAllowed(Conflict):
    code = "status_not_allowed"


class NeedsAssignee(Conflict):
    code = "needs_assignee"

    def __init__(self, number: int) -> None:
        super().__init__(f"Ticket {number} has no assignee. Assign it before you resolve it.")


class NotAMember(Invalid):
    code = "not_a_member"


class StaleReply(Conflict):
    """Somebody wrote to the customer, or the customer wrote, since the author last looked."""

    code = "newer_message"


class ChangedMeanwhile(Conflict):
    code = "changed_meanwhile"
