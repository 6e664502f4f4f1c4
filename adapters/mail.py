"""Sending mail: over SMTP, or into a folder where nobody set a server up."""

import asyncio
import os
import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from domain.mail import MailRefused, MailUnreachable, OutgoingMail

_TIMEOUT = 20.0


class MailSender(Protocol):
    async def send(self, mail: OutgoingMail) -> None:
        """Returns once somebody else is responsible for the mail.

        Raises MailUnreachable or MailRefused when it surely was not accepted; anything else means
        that nobody knows.
        """


def sender(url: str | None, *, from_address: str) -> MailSender:
    """The sender for `smtp://`, `smtps://` or `file://`; without an address, one that says so."""
    if url is None:
        return NoMail()
    parts = urlsplit(url)
    if parts.scheme == "file":
        return FolderMail(Path(unquote(parts.path)), from_address=from_address)
    if parts.scheme in ("smtp", "smtps"):
        return SmtpMail(url, from_address=from_address)
    raise ValueError(f"MAIL_URL starts with smtp://, smtps:// or file://, not {parts.scheme}://")


class NoMail:
    async def send(self, mail: OutgoingMail) -> None:
        raise MailRefused("No mail server is set up: MAIL_URL is empty.")


class FolderMail:
    """Each mail a file named by its Message-ID: sending twice leaves one file."""

    def __init__(self, folder: Path, *, from_address: str) -> None:
        self._folder = folder
        self._from = from_address

    async def send(self, mail: OutgoingMail) -> None:
        await asyncio.to_thread(self._write, mail)

    def _write(self, mail: OutgoingMail) -> None:
        name = "".join(c if c.isalnum() or c in "@.-" else "_" for c in mail.message_id.strip("<>"))
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = self._folder / f".{name}.part"
            with part.open("wb") as file:
                file.write(compose(mail, from_address=self._from).as_bytes())
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._folder / f"{name}.eml")
        except OSError as error:
            raise MailUnreachable(f"the mail folder cannot be written: {error.strerror}") from error


class SmtpMail:
    """One connection per mail. What happened before the server said yes is certain."""

    def __init__(self, url: str, *, from_address: str) -> None:
        self._url = urlsplit(url)
        self._from = from_address

    async def send(self, mail: OutgoingMail) -> None:
        await asyncio.to_thread(self._send, mail)

    def _send(self, mail: OutgoingMail) -> None:
        message = compose(mail, from_address=self._from)
        try:
            server = self._connect()
        except (OSError, smtplib.SMTPException) as error:
            raise MailUnreachable(f"no mail server: {type(error).__name__}") from error
        with server:
            try:
                self._prepare(server)
                code, answer = server.mail(self._from)
                if code >= 400:
                    raise _judged(code, answer)
                code, answer = server.rcpt(mail.to)
                if code >= 400:
                    raise _judged(code, answer)
            except (OSError, smtplib.SMTPException) as error:
                raise MailUnreachable(f"broken off early: {type(error).__name__}") from error
            # From here on a broken connection leaves it open whether the mail was taken.
            try:
                code, answer = server.data(message.as_bytes())
            except smtplib.SMTPDataError as error:
                raise _judged(error.smtp_code, error.smtp_error) from error
            if code >= 400:
                raise _judged(code, answer)

    def _connect(self) -> smtplib.SMTP:
        host = self._url.hostname or "127.0.0.1"
        if self._url.scheme == "smtps":
            return smtplib.SMTP_SSL(
                host,
                self._url.port or 465,
                timeout=_TIMEOUT,
                context=ssl.create_default_context(),
            )
        return smtplib.SMTP(host, self._url.port or 25, timeout=_TIMEOUT)

    def _prepare(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        if self._url.scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo()
        if self._url.username:
            server.login(unquote(self._url.username), unquote(self._url.password or ""))


def _judged(code: int, answer: bytes | str) -> MailRefused | MailUnreachable:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    said = f"{code} {' '.join(text.split())[:300]}"
    return MailRefused(said) if code >= 500 else MailUnreachable(said)


def compose(mail: OutgoingMail, *, from_address: str) -> EmailMessage:
    """The mail as it goes over the wire, marked so that no robot answers it."""
    message = EmailMessage()
    message["Message-ID"] = mail.message_id
    message["Date"] = formatdate(localtime=False)
    message["From"] = Address(addr_spec=from_address)
    message["To"] = Address(addr_spec=mail.to)
    message["Subject"] = " ".join(mail.subject.split())
    if mail.references:
        message["In-Reply-To"] = mail.references[-1]
        message["References"] = " ".join(mail.references)
    message["X-Auto-Response-Suppress"] = "All"
    message.set_content(mail.text or " ")
    if mail.html:
        message.add_alternative(mail.html, subtype="html")
    return message
