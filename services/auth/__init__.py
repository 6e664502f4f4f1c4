"""Who somebody is: passwords, sign-ins, links, and what each credential may."""

from services.auth.base import CACHE_SECONDS
from services.auth.credentials import Credentials
from services.auth.hashing import PASSWORD_MAX, PASSWORD_MIN, hash_password
from services.auth.passwords import Passwords
from services.auth.principals import end_sessions_of, load_principal
from services.auth.refusals import LinkSpent, SessionEnded, SeveralTenants, WrongCredentials
from services.auth.sessions import (
    ACCESS_LASTS,
    FAMILIAR_FOR,
    SESSION_IDLE,
    SESSION_LASTS,
    Sessions,
    SignedIn,
)


class Auth(Credentials, Sessions, Passwords):
    """Knows people by their credentials.

    `principal` remembers what it found for five seconds in each process: that is how long a
    revoked token or session, a changed role or a left team may still count, in other processes
    than the one that changed it.
    """


__all__ = [
    "ACCESS_LASTS",
    "CACHE_SECONDS",
    "FAMILIAR_FOR",
    "PASSWORD_MAX",
    "PASSWORD_MIN",
    "SESSION_IDLE",
    "SESSION_LASTS",
    "Auth",
    "LinkSpent",
    "SessionEnded",
    "SeveralTenants",
    "SignedIn",
    "WrongCredentials",
    "end_sessions_of",
    "hash_password",
    "load_principal",
]
