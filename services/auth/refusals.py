"""What is said to who cannot be let in."""

from collections.abc import Sequence
from typing import ClassVar

from domain.errors import Invalid, Unauthenticated


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
