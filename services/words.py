"""What somebody wrote, made safe to store and to show: text always, HTML where they used it."""

from dataclasses import dataclass
from html.parser import HTMLParser

import nh3

from domain.errors import Invalid

MOST_CHARACTERS = 200_000
# Markup outweighs words; beyond this nobody typed it.
MOST_HTML_CHARACTERS = 1_000_000

_TAGS = {
    "a", "abbr", "b", "blockquote", "br", "code", "dd", "del", "div", "dl", "dt", "em", "h1", "h2",
    "h3", "h4", "h5", "h6", "hr", "i", "ins", "li", "ol", "p", "pre", "q", "s", "small", "span",
    "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul",
}  # fmt: skip
# No images, no styles, no classes: a picture on somebody's server tells them who reads, and a style
# can cover the page with a text that is not ours.
_ATTRIBUTES = {
    "a": {"href", "title"},
    "abbr": {"title"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan"},
}
_SCHEMES = {"http", "https", "mailto", "tel"}
_BLOCKS = {
    "blockquote", "dd", "div", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol",
    "p", "pre", "table", "tr", "ul",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Words:
    text: str
    html: str | None


def words(text: str | None, html: str | None, *, may_be_empty: bool = False) -> Words:
    """What is stored of a message. The text is drawn from the HTML where none was given.

    Raises Invalid when nothing was said (unless something else came with it) or too much.
    """
    if html is not None and len(html) > MOST_HTML_CHARACTERS:
        raise Invalid("The message is too long.", fields={"/html": "is too long"})
    safe = sanitised(html) if html is not None else None
    plain = _stripped(text) if text is not None else ""
    if not plain and safe is not None:
        plain = text_of(safe)
    if len(plain) > MOST_CHARACTERS:
        raise Invalid(
            f"A message holds at most {MOST_CHARACTERS:,} characters.",
            fields={"/text": "is too long"},
        )
    if not plain and not may_be_empty:
        raise Invalid("Say something: the message is empty.", fields={"/text": "is empty"})
    return Words(plain, safe)


def sanitised(html: str) -> str | None:
    """The HTML with nothing in it that runs, loads, hides or styles; None when nothing is left."""
    clean = nh3.clean(
        html.replace("\x00", ""),
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
        clean_content_tags={"script", "style", "title", "textarea"},
    ).strip()
    return clean or None


def text_of(html: str) -> str:
    """The words of sanitised HTML, one line per block, list items with a dash."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.text


def _stripped(text: str) -> str:
    return text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n").strip()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._lines: list[str] = [""]
        self._in_pre = 0

    @property
    def text(self) -> str:
        lines: list[str] = []
        for line in (line.strip() for line in self._lines):
            if line or (lines and lines[-1]):
                lines.append(line)
        return "\n".join(lines).strip()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self._lines.append("")
        elif tag in _BLOCKS:
            self._break()
            if tag == "li":
                self._lines[-1] = "- "
        elif tag in ("td", "th") and self._lines[-1]:
            self._lines[-1] += " "
        self._in_pre += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        if tag in _BLOCKS:
            self._break()
            if tag == "p":
                self._lines.append("")
        self._in_pre -= tag == "pre"

    def handle_data(self, data: str) -> None:
        if self._in_pre:
            first, *rest = data.split("\n")
            self._lines[-1] += first
            self._lines.extend(rest)
            return
        joined = " ".join(data.split())
        lead = " " if data[:1].isspace() and self._lines[-1] else ""
        tail = " " if data[-1:].isspace() and joined else ""
        self._lines[-1] += lead + joined + tail

    def _break(self) -> None:
        if self._lines[-1]:
            self._lines.append("")
