"""Asking a language model over the chat-completions protocol that most servers speak.

The same rules of addresses as for webhooks: a name is looked up here, every address it leads to is
judged, and the connection goes to that address; no redirects, no proxy of the environment. The key
is in a header only; nothing of a question or an answer is logged.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpcore

from adapters.webhooks import CONNECT_SECONDS, Judged
from domain.webhooks import WebhookForbidden

_MOST_READ: Final = 1 << 20  # bytes of an answer: a thousand times what is asked for


class ModelAway(Exception):
    """No answer came; the sentence says why, and never what was asked."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a desk's language model is."""

    base_url: str
    model: str
    key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Completion:
    """What was answered, and the tokens that were counted; None where the server counts none."""

    text: str
    input_tokens: int | None
    output_tokens: int | None


class LanguageModels:
    """Asks one question at a time over a connection of its own."""

    def __init__(self, *, allow_private: bool = False, context: ssl.SSLContext | None = None):
        self._allow_private = allow_private
        self._context = context

    async def complete(
        self,
        endpoint: Endpoint,
        messages: Sequence[Mapping[str, str]],
        *,
        most_tokens: int,
        seconds: float,
    ) -> Completion:
        """The answer to `messages` within `seconds`, whatever happens. Raises ModelAway."""
        body = json.dumps(
            {
                "model": endpoint.model,
                "messages": [dict(one) for one in messages],
                "max_tokens": most_tokens,
                "temperature": 0,
                "stream": False,
            }
        ).encode()
        headers = [
            ("content-type", "application/json"),
            ("accept", "application/json"),
            ("user-agent", "Holdfast"),
            ("connection", "close"),
        ]
        if endpoint.key is not None:
            headers.append(("authorization", f"Bearer {endpoint.key}"))
        try:
            async with asyncio.timeout(seconds):
                status, answered = await self._posted(
                    f"{endpoint.base_url.rstrip('/')}/chat/completions", headers, body, seconds
                )
        except WebhookForbidden as error:
            raise ModelAway("Its address leads into a private network.") from error
        except (TimeoutError, httpcore.TimeoutException) as error:
            raise ModelAway(f"It did not answer within {seconds:g} seconds.") from error
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.UnsupportedProtocol,
            OSError,
            UnicodeError,
        ) as error:
            raise ModelAway(f"It was not reached ({type(error).__name__}).") from error
        if status == 429:
            raise ModelAway("It is asked too often (429).")
        if not 200 <= status < 300:
            raise ModelAway(f"It answered with status {status}.")
        return _completion(answered)

    async def _posted(
        self, url: str, headers: list[tuple[str, str]], body: bytes, seconds: float
    ) -> tuple[int, bytes]:
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._context,
                network_backend=Judged(self._allow_private),
                max_connections=1,
            ) as pool,
            pool.stream(
                "POST",
                url,
                headers=headers,
                content=body,
                extensions={
                    "timeout": {"connect": min(CONNECT_SECONDS, seconds), "read": seconds,
                                "write": seconds, "pool": seconds},
                },
            ) as answer,
        ):  # fmt: skip
            return answer.status, await _whole(answer.aiter_stream())


async def _whole(stream: AsyncIterable[bytes]) -> bytes:
    read = bytearray()
    async for chunk in stream:
        read += chunk
        if len(read) > _MOST_READ:
            raise ModelAway("Its answer is longer than any answer.")
    return bytes(read)


def _completion(answered: bytes) -> Completion:
    try:
        said = json.loads(answered)
        text = said["choices"][0]["message"]["content"]
        if not isinstance(text, str):
            raise TypeError
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ModelAway("Its answer is not of the protocol.") from error
    usage = said.get("usage")
    counted = usage if isinstance(usage, dict) else {}
    return Completion(
        text.replace("\0", ""),
        _count(counted.get("prompt_tokens")),
        _count(counted.get("completion_tokens")),
    )


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None


__all__ = ["Completion", "Endpoint", "LanguageModels", "ModelAway"]
