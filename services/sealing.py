"""Secrets of others, as the database keeps them: sealed with the desk's own key, bound to a place.

AES-256 in GCM, with a key derived from the server's. Whoever reads the database alone learns the
length of a secret and nothing else; a row moved to another tenant opens nothing.
"""

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

# In front of everything sealed, so that a later way of sealing can be told from this one.
_WAY: Final = b"\x01"
_NONCE: Final = 12


class Unsealable(Exception):
    """It was not sealed with this key, or not for this place, or was altered."""


class Seal:
    """Seals and opens with one server's key."""

    def __init__(self, key: str) -> None:
        derived = HKDF(SHA256(), length=32, salt=None, info=b"holdfast seal").derive(key.encode())
        self._cipher = AESGCM(derived)

    def sealed(self, secret: str, *, place: str) -> bytes:
        """`secret` as it may be stored; opens at `place` alone."""
        nonce = secrets.token_bytes(_NONCE)
        return _WAY + nonce + self._cipher.encrypt(nonce, secret.encode(), place.encode())

    def opened(self, sealed: bytes, *, place: str) -> str:
        """The secret. Raises Unsealable."""
        if not sealed.startswith(_WAY):
            raise Unsealable
        nonce, hidden = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, hidden, place.encode()).decode()
        except (InvalidTag, ValueError) as error:  # ValueError: cut off within its nonce
            raise Unsealable from error


__all__ = ["Seal", "Unsealable"]
