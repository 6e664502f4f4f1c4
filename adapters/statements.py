"""A signed statement as a page to print, in PDF."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fpdf import FPDF

_NAMES = {
    "first_reply": "First reply", "next_reply": "Next reply", "resolution": "Resolution",
    "first_resolution": "First resolution", "agent_work": "Work", "requester_wait": "Wait",
    "periodic_update": "Update", "pausable_update": "Update (pausable)",
}  # fmt: skip


def pdf(said: Mapping[str, object]) -> bytes:
    """The page. It repeats the document's hash and signature; the JSON is what was signed."""
    from fpdf import FPDF  # heavy, and few processes ever print

    page = FPDF(format="A4")
    page.set_title(f"Statement {said['month']}")
    page.set_creation_date(datetime.fromisoformat(str(said["made_at"])))
    page.set_auto_page_break(True, margin=18)
    page.add_page()
    page.set_font("helvetica", "B", 18)
    _line(page, f"Service level statement, {said['month']}", height=10)
    page.set_font("helvetica", size=11)
    _line(page, f"{said['tenant_name']} to {said['subject']}")
    _line(page, f"Statement {said['position']}, made {str(said['made_at'])[:19]} UTC")
    page.ln(4)
    metrics = {"Total": said["total"], **_mapping(said["metrics"])}
    with page.table(col_widths=(34, 14, 14, 18, 22, 24), text_align="LEFT") as rows:
        rows.row(("Promise", "Kept", "Missed", "Cancelled", "Attainment", "Minutes over"))
        for name, figures in metrics.items():
            one = _mapping(figures)
            share = one["attainment"]
            rows.row(
                (
                    _latin(_NAMES.get(name, name)),
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
        page.set_font("helvetica", "B", 12)
        _line(page, "Missed promises")
        page.set_font("helvetica", size=9)
        with page.table(col_widths=(14, 28, 36, 36, 24), text_align="LEFT") as rows:
            rows.row(("Ticket", "Promise", "Broken (UTC)", "Ended (UTC)", "Cause"))
            for one in missed:
                rows.row(
                    (
                        str(one["ticket"]),
                        _latin(_NAMES.get(one["metric"], one["metric"])),
                        str(one["breached"])[:16].replace("T", " "),
                        str(one["ended"])[:16].replace("T", " "),
                        _latin(str(one["cause"] or "")),
                    )
                )
    page.ln(6)
    page.set_font("helvetica", size=8)
    definitions = _mapping(said["definitions"])
    for name in ("attainment", "met", "missed", "minutes_over", "used"):
        _line(page, f"{name}: {definitions[name]}", height=4)
    page.ln(3)
    page.set_font("courier", size=7)
    for name in ("previous", "hash", "signature"):
        _line(page, f"{name:9} {said[name]}", height=4)
    return bytes(page.output())


def _line(page: "FPDF", text: str, *, height: float = 6) -> None:
    page.multi_cell(0, height, _latin(text), new_x="LMARGIN", new_y="NEXT")


def _latin(text: str) -> str:
    """The built-in fonts know Latin only; what they do not know is shown as a question mark."""
    return text.encode("latin-1", "replace").decode("latin-1")


def _mapping(value: object) -> Mapping[str, object]:
    assert isinstance(value, Mapping)
    return value
