"""Calling webhooks: signed as Standard Webhooks asks, and only where a call may go.

Names are resolved here, every address they lead to is judged, and the connection goes to the very
address that was: a name that points elsewhere a moment later gains nothing. Redirects are not
followed, no proxy of the environment is used, and no more of an answer is read than is kept.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterable, Iterable
from datetime import UTC, datetime

import httpcore
from standardwebhooks import Webhook

from domain.webhooks import (
    WebhookAnswer,
    WebhookCall,
    WebhookForbidden,
    WebhookUnclear,
    WebhookUnreachable,
    is_public,
)

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 20.0
MOST_KEPT = 1_000  # characters of an answer
_MOST_READ = 4_096  # bytes of it


class WebhookCaller:
    """Makes one call at a time over a connection of its own."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        seconds: float = TOTAL_SECONDS,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._seconds = seconds
        self._context = context

    async def call(self, call: WebhookCall) -> WebhookAnswer:
        """What the endpoint answered.

        Raises WebhookForbidden and WebhookUnreachable where nothing was sent, WebhookUnclear where
        something may have been.
        """
        begun = False

        async def traced(event: str, _: object) -> None:
            nonlocal begun
            begun = begun or event.endswith("send_request_headers.started")

        try:
            async with (
                asyncio.timeout(self._seconds),
                httpcore.AsyncConnectionPool(
                    ssl_context=self._context,
                    network_backend=Judged(self._allow_private),
                    max_connections=1,
                ) as pool,
                pool.stream(
                    "POST",
                    call.url,
                    headers=_headers(call),
                    content=call.body,
                    extensions={
                        "trace": traced,
                        "timeout": {"connect": CONNECT_SECONDS, "read": self._seconds,
                                    "write": self._seconds, "pool": self._seconds},
                    },
                ) as answer,
            ):  # fmt: skip
                status = answer.status
                try:
                    text = await _beginning(answer.aiter_stream())
                except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException):
                    text = ""  # the status has said all that counts
                return WebhookAnswer(status, text)
        except WebhookForbidden:
            raise
        except (httpcore.UnsupportedProtocol, UnicodeError) as error:
            raise WebhookForbidden("The address cannot be called.") from error
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            TimeoutError,
            OSError,
        ) as error:
            kind = type(error).__name__
            if begun:
                raise WebhookUnclear(f"It broke off before an answer came ({kind}).") from error
            raise WebhookUnreachable(f"The endpoint was not reached ({kind}).") from error


def _headers(call: WebhookCall) -> list[tuple[str, str]]:
    at = datetime.now(UTC)
    body = call.body.decode()
    signatures = " ".join(Webhook(s).sign(call.id, at, body) for s in call.secrets)
    return [
        ("content-type", "application/json"),
        ("user-agent", "Holdfast"),
        ("webhook-id", call.id),
        ("webhook-timestamp", str(int(at.timestamp()))),
        ("webhook-signature", signatures),
        ("connection", "close"),
    ]


async def _beginning(stream: AsyncIterable[bytes]) -> str:
    read = b""
    async for chunk in stream:
        read += chunk
        if len(read) >= _MOST_READ:
            break
    text = read[:_MOST_READ].decode("utf-8", "replace").replace("\0", "")
    return text[:MOST_KEPT]


class Judged(httpcore.AsyncNetworkBackend):
    """Connects to public addresses only, unless all are allowed."""

    def __init__(self, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._plain = httpcore.AnyIOBackend()

    async def connect_tcp(  # its parameters are httpcore's
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failed: Exception | None = None
        for address in await self._addresses(host, port):
            try:
                return await self._plain.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed or httpcore.ConnectError("no address")

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Where the name leads. Raises WebhookForbidden if any of it may not be called."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
        except (socket.gaierror, UnicodeError) as error:
            raise httpcore.ConnectError("the name leads nowhere") from error
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        if not self._allow_private and not all(is_public(address) for address in addresses):
            raise WebhookForbidden("The address leads into a private network.")
        return addresses[:4]

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
