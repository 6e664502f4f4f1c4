"""Mail as the desk means it, before any protocol."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingMail:
    """One mail to one address. `message_id` was fixed before the first attempt."""

    message_id: str
    to: str
    subject: str
    text: str
    html: str | None = None
    references: tuple[str, ...] = ()


class MailUnreachable(Exception):
    """Not accepted, and worth another try: nobody answered, or said "later"."""


class MailRefused(Exception):
    """Not accepted, and never will be."""
