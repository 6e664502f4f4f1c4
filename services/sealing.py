"""Secrets of others, as the database keeps them: sealed with the desk's own key, bound to a place.

A stream from HMAC-SHA256 in counter mode, then an HMAC over all of it (encrypt, then
authenticate), each with a key of its own derived from the server's. Whoever reads the database
alone learns the length of a secret and nothing else; a row moved to another tenant opens nothing.
"""

import hashlib
import hmac
import secrets
from typing import Final

_NONCE: Final = 16
_TAG: Final = 32


class Unsealable(Exception):
    """It was not sealed with this key, or not for this place, or was altered."""


class Seal:
    """Seals and opens with one server's key."""

    def __init__(self, key: str) -> None:
        self._stream_key = hmac.digest(key.encode(), b"holdfast seal: stream", "sha256")
        self._tag_key = hmac.digest(key.encode(), b"holdfast seal: tag", "sha256")

    def sealed(self, secret: str, *, place: str) -> bytes:
        """`secret` as it may be stored; opens at `place` alone."""
        nonce = secrets.token_bytes(_NONCE)
        hidden = self._mixed(nonce, secret.encode())
        return nonce + hidden + self._tag(nonce + hidden, place)

    def opened(self, sealed: bytes, *, place: str) -> str:
        """The secret. Raises Unsealable."""
        body, tag = sealed[:-_TAG], sealed[-_TAG:]
        if len(body) < _NONCE or not hmac.compare_digest(tag, self._tag(body, place)):
            raise Unsealable
        return self._mixed(body[:_NONCE], body[_NONCE:]).decode()

    def _mixed(self, nonce: bytes, text: bytes) -> bytes:
        stream = b"".join(
            hmac.digest(self._stream_key, nonce + block.to_bytes(8, "big"), "sha256")
            for block in range(-(-len(text) // hashlib.sha256().digest_size))
        )
        return bytes(one ^ other for one, other in zip(text, stream, strict=False))

    def _tag(self, body: bytes, place: str) -> bytes:
        name = place.encode()
        return hmac.digest(self._tag_key, len(name).to_bytes(4, "big") + name + body, "sha256")


__all__ = ["Seal", "Unsealable"]
