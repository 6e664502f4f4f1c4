"""Passwords as they are stored, and whether one fits."""

import asyncio
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from domain.errors import Invalid

PASSWORD_MIN, PASSWORD_MAX = 10, 200

# 19 MiB and two passes: OWASP's smallest recommendation, so that sign-ins cannot eat the memory.
_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Checked when there is no such account: an unknown address takes as long as a wrong password.
NOBODY = _hasher.hash(secrets.token_urlsafe(16))


async def hash_password(password: str) -> str:
    """The password as it is stored. Raises Invalid for one too short to be worth storing."""
    if not PASSWORD_MIN <= len(password) <= PASSWORD_MAX:
        raise Invalid(
            f"A password has {PASSWORD_MIN} to {PASSWORD_MAX} characters.",
            fields={"/password": f"has {len(password)} characters"},
        )
    return await asyncio.to_thread(_hasher.hash, password)


def is_outdated(stored: str) -> bool:
    """Whether it was hashed with other settings than those of today."""
    return _hasher.check_needs_rehash(stored)


def matches(stored: str, password: str) -> bool:
    """Whether the password is the stored one."""
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
