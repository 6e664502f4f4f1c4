"""A signed statement as a page to print, in PDF; what was signed is attached to it.

The fonts every PDF reader has know Latin letters only. Where font packages are installed (the extra
`fonts`), names are written in their own script; a letter that no font here knows is written as its
code, `[U+0416]`, so that no name is ever lost or taken for another.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpdf import FPDF

# Packages with Noto fonts in them, under the SIL Open Font License.
FONTS = ("manimgx_fonts", "justmytype_intl_cjk")
_TEXT = "NotoSans[wght].ttf"  # Latin, Greek, Cyrillic
# By the first word of a letter's name in Unicode; the others have a font of that very name.
_SCRIPTS = {"cjk": "JP", "hiragana": "JP", "katakana": "JP", "hangul": "KR"}

_NAMES = {
    "first_reply": "First reply", "next_reply": "Next reply", "resolution": "Resolution",
    "first_resolution": "First resolution", "agent_work": "Work", "requester_wait": "Wait",
    "periodic_update": "Update", "pausable_update": "Update (pausable)",
}  # fmt: skip


def pdf(said: Mapping[str, object], document: bytes) -> bytes:
    """The page. It repeats the document's hash and signature, and has the document attached."""
    from fpdf import FPDF, FontFace  # heavy, and few processes ever print

    page = FPDF(format="A4")
    bold = FontFace(family="helvetica", emphasis="BOLD")
    write = _Pen(page, _words(said))
    page.set_title(f"Statement {said['month']}")
    page.set_creation_date(datetime.fromisoformat(str(said["made_at"])))
    page.set_auto_page_break(True, margin=18)
    page.add_page()
    write.font("B", 18)
    write.line(f"Service level statement, {said['month']}", height=10)
    write.font("", 11)
    write.line(f"{said['tenant_name']} to {said['subject']}")
    write.line(f"Statement {said['position']}, made {str(said['made_at'])[:19]} UTC")
    page.ln(4)
    metrics = {"Total": said["total"], **_mapping(said["metrics"])}
    with page.table(
        col_widths=(34, 14, 14, 18, 22, 24), text_align="LEFT", headings_style=bold
    ) as rows:
        rows.row(("Promise", "Kept", "Missed", "Cancelled", "Attainment", "Minutes over"))
        for name, figures in metrics.items():
            one = _mapping(figures)
            share = one["attainment"]
            rows.row(
                (
                    write.known(_NAMES.get(name, name)),
                    str(one["met"]),
                    str(one["missed"]),
                    str(one["cancelled"]),
                    "-" if share is None else f"{float(str(share)) * 100:.2f} %",
                    f"{float(str(one['minutes_over'])):.0f}",
                )
            )
    missed = said["missed"]
    if isinstance(missed, list) and missed:
        page.ln(4)
        write.font("B", 12)
        write.line("Missed promises")
        write.font("", 9)
        with page.table(
            col_widths=(14, 28, 36, 36, 24), text_align="LEFT", headings_style=bold
        ) as rows:
            rows.row(("Ticket", "Promise", "Broken (UTC)", "Ended (UTC)", "Cause"))
            for one in missed:
                rows.row(
                    (
                        str(one["ticket"]),
                        write.known(_NAMES.get(one["metric"], one["metric"])),
                        str(one["breached"])[:16].replace("T", " "),
                        str(one["ended"])[:16].replace("T", " "),
                        write.known(str(one["cause"] or "")),
                    )
                )
    page.ln(6)
    write.font("", 8)
    definitions = _mapping(said["definitions"])
    for name in ("attainment", "met", "missed", "minutes_over", "used"):
        write.line(f"{name}: {definitions[name]}", height=4)
    page.ln(3)
    page.set_font("courier", size=7)
    for name in ("previous", "hash", "signature"):
        write.line(f"{name:9} {said[name]}", height=4)
    write.font("", 8)
    page.ln(2)
    name = f"statement-{said['month']}-{said['position']}.json"
    write.line(f"What was signed is attached to this file as {name}.", height=4)
    if write.coded:
        write.line(
            "Letters that no font here knows stand as their codes in Unicode, as [U+0416]. The"
            " attached document has every name as it is.",
            height=4,
        )
    made = datetime.fromisoformat(str(said["made_at"]))
    page.embed_file(
        bytes=document, basename=name, mime_type="application/json", modification_date=made
    )
    return bytes(page.output())


class _Pen:
    """Writes what the fonts at hand know, and of the rest its codes."""

    def __init__(self, page: "FPDF", words: str) -> None:
        self._page = page
        self._family, self._letters = "helvetica", frozenset(map(chr, range(256)))
        self.coded = False  # whether a letter had to be written as its code
        foreign = {letter for letter in words if ord(letter) > 255}
        fonts = _fonts()
        if foreign and _TEXT in fonts:
            self._family = "noto"
            page.add_font("noto", "", fonts[_TEXT])
            others = sorted({name for letter in foreign for name in _named(letter, fonts)})
            for name in others:
                page.add_font(name, "", fonts[name])
            page.set_fallback_fonts(others, exact_match=False)
            known = (page.fonts[name].cmap for name in ("noto", *map(str.lower, others)))  # type: ignore[union-attr]
            self._letters = frozenset(chr(code) for codes in known for code in codes)
            if find_spec("uharfbuzz") is not None:  # letters that join, and right to left
                page.set_text_shaping(True)

    def font(self, style: str, size: int) -> None:
        # What is bold are words of ours; to work out a large font's bold letters takes seconds.
        self._page.set_font("helvetica" if style else self._family, style, size)

    def line(self, text: str, *, height: float = 6) -> None:
        self._page.multi_cell(0, height, self.known(text), new_x="LMARGIN", new_y="NEXT")

    def known(self, text: str) -> str:
        """The text with a code in the place of each letter that no font here knows."""
        found = "".join(
            letter if letter in self._letters and not _steers(letter) else f"[U+{ord(letter):04X}]"
            for letter in text
        )
        self.coded = self.coded or found != text
        return found


@lru_cache(maxsize=1)
def _fonts() -> dict[str, Path]:
    """The font files of the packages that are installed, by name."""
    found: dict[str, Path] = {}
    for package in FONTS:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            found |= {path.name: path for path in Path(folder).rglob("NotoSans*.ttf")}
    return found


def _named(letter: str, fonts: Mapping[str, Path]) -> Iterator[str]:
    """The font that has a letter, by its script."""
    script = unicodedata.name(letter, "").partition(" ")[0].lower()
    name = f"NotoSans{_SCRIPTS.get(script, script.title())}[wght].ttf"
    if name in fonts:
        yield name


# What turns the direction of what follows: a name could make a line read as another.
_TURNS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)))


def _steers(letter: str) -> bool:
    """It is no letter and moves others: a line break in a name would begin a line of its own."""
    return letter in _TURNS or unicodedata.category(letter) in ("Cc", "Zl", "Zp")


def _words(said: object) -> str:
    """Everything that is written anywhere in a document."""
    match said:
        case str():
            return said
        case Mapping():
            return "".join(_words(value) for value in said.values())
        case Iterable():
            return "".join(map(_words, said))
    return ""


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value
