"""A statement on paper: no name is lost, whatever its script, and what was signed comes with it."""

import re
import zlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from adapters import statements
from services.promises import DEFINITIONS

FIGURES = {"met": 1, "missed": 0, "cancelled": 0, "attainment": 1.0, "minutes_over": 0}
SIGNED = '{"subject":"Жанна"}'.encode()


def paper(subject: str) -> bytes:
    words = ("attainment", "met", "missed", "minutes_over", "used")
    said = {
        "month": "2026-03", "position": 2, "made_at": "2026-04-01T00:00:00+00:00",
        "tenant_name": "Łódź GmbH", "subject": subject, "total": FIGURES,
        "metrics": {"first_reply": FIGURES}, "missed": [],
        "definitions": dict.fromkeys(words, "Words."),
        "previous": "a" * 64, "hash": "b" * 64, "signature": "c" * 64,
    }  # fmt: skip
    return statements.pdf(said, SIGNED)


def streams(pdf: bytes) -> bytes:
    """Everything that is compressed in it."""
    found = []
    for part in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        try:
            found.append(zlib.decompress(part))
        except zlib.error:
            found.append(part)
    return b"\n".join(found)


@pytest.fixture
def no_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements, "_fonts", dict)


@pytest.mark.slow
@pytest.mark.usefixtures("no_fonts")
def test_without_fonts_letters_are_written_as_their_codes_and_never_as_question_marks() -> None:
    said = streams(paper("Жa & Müller"))
    assert b"[U+0416]a & M\xfcller" in said
    assert b"[U+0141]\xf3d[U+017A]" in said
    assert b"?" not in said


@pytest.mark.usefixtures("no_fonts")
def test_what_was_signed_is_attached_byte_for_byte() -> None:
    pdf = paper("Жa")
    assert SIGNED in streams(pdf)
    assert b"statement-2026-03-2.json" in pdf


def test_a_name_of_latin_letters_needs_no_font() -> None:
    assert b"/Helvetica" in paper("Müller")


@pytest.mark.skipif(find_spec("manimgx_fonts") is None, reason="the extra `fonts` is not installed")
def test_with_fonts_names_are_written_in_their_own_script() -> None:
    pdf = paper("Жанна, محمد, नमस्ते, \U0001f600")
    for font in (b"NotoSans", b"NotoSansArabic", b"NotoSansDevanagari"):
        assert font in pdf
    assert b"[U+0416]" not in streams(pdf)


def test_a_letters_font_is_found_by_its_script() -> None:
    scripts = ("Arabic", "Hebrew", "Thai", "JP", "KR")
    fonts = {f"NotoSans{one}[wght].ttf": Path(one) for one in scripts}
    found = [next(statements._named(letter, fonts), None) for letter in "مשก東あ서Ж\x00"]
    assert [name and name[8:-10] for name in found] == [
        "Arabic", "Hebrew", "Thai", "JP", "JP", "KR", None, None,
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("no_fonts")
@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("Жa", rb"\[U\+0416\]a"),
        ("a\nTotal 9 0", rb"a\[U\+000A\]Total 9 0"),  # no line of its own
        ("x\u202egnp.exe", rb"x\[U\+202E\]gnp.exe"),  # nor one that reads backwards
        ("a\x85b", rb"a\[U\+0085\]b"),
        ("e\u0301", rb"e\[U\+0301\]"),
        ("\U0001f469\u200d\U0001f680", rb"\[U\+1F469\]\[U\+200D\]\[U\+1F680\]"),
    ],
)
def test_what_stands_as_a_code_is_said_so_and_nothing_else_is_said(
    name: str, printed: bytes
) -> None:
    said = streams(paper(name))
    assert re.search(printed, said)
    assert b"stand as their codes" in said


@pytest.mark.usefixtures("no_fonts")
def test_where_every_letter_is_printed_nothing_is_said_of_codes() -> None:
    words = ("attainment", "met", "missed", "minutes_over", "used")
    said = {
        "month": "2026-03", "position": 1, "made_at": "2026-04-01T00:00:00+00:00",
        "tenant_name": "Müller", "subject": "Ångström & Söhne", "total": FIGURES, "metrics": {},
        "missed": [], "definitions": {w: DEFINITIONS[w] for w in words},
        "previous": "a" * 64, "hash": "b" * 64, "signature": "c" * 64,
    }  # fmt: skip
    assert b"stand as their codes" not in streams(statements.pdf(said, SIGNED))


@pytest.mark.slow
@pytest.mark.parametrize("letter", ["W", "Ж", "محمد", "東", "\U0001f600", "ก", "x\n", "\u200b"])
def test_a_name_without_end_or_break_is_printed(letter: str) -> None:
    assert paper(letter * 300).startswith(b"%PDF-")
