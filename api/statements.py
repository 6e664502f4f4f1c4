"""Signed monthly statements for customers and organizations, as JSON and as PDF."""

import asyncio
import json
import re
from datetime import date, datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field, field_validator

from api.cursors import after_id, cursor_of
from api.deps import Allowed, From, Served, Tx
from api.promises import JSON, shown
from api.routing import Route
from api.shapes import Page, Request, Shape, examples
from domain.permissions import Permission, Principal
from models.session import Row
from services import statements
from services.tickets import clock

router = APIRouter(prefix="/api/v1/sla/statements", tags=["reports"], route_class=Route)

Overseer = Annotated[Principal, Depends(Allowed(Permission.SLA_MANAGE))]
_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")


class StatementIn(Request):
    model_config = examples(
        {
            "kind": "organization",
            "subject_id": "0198c5c3-4f82-7e54-8061-8d92aebfc031",
            "month": "2026-04",
        }
    )

    kind: Literal["organization", "customer"]
    subject_id: UUID
    month: str = Field(description="One that is over, as 2026-04, in the tenant's zone or in UTC.")

    @field_validator("month")
    @classmethod
    def _written(cls, month: str) -> str:
        if not _MONTH.fullmatch(month):
            raise ValueError("is a month such as 2026-04")
        return month


class StatementFilter(Request):
    kind: Literal["organization", "customer"] | None = None
    subject_id: UUID | None = None
    limit: int = Field(default=50, ge=1, le=200, description="How many at most.")
    cursor: str | None = Field(
        default=None, max_length=100, description="`next` of the page before."
    )


class StatementOut(Shape):
    """`said` is the signed document; save it as it is to check it with `holdfast sla`."""

    id: UUID
    kind: Literal["organization", "customer"]
    subject_id: UUID
    month: str
    position: int
    hash: str
    created_by: UUID | None
    created_at: datetime
    said: dict[str, object]


_SUMS: dict[str, object] = {
    "met": 41, "missed": 1, "cancelled": 2, "not_applicable": 0, "attainment": 0.97619,
    "minutes_over": 12.5, "used": {"p50": 31.0, "p90": 160.0, "p95": 201.0},
}  # fmt: skip
_HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_STATEMENT: dict[str, object] = {
    "id": "0198c5ca-2b3c-7d4e-9f50-6b7c8d9e0fa1",
    "kind": "organization",
    "subject_id": "0198c5c3-4f82-7e54-8061-8d92aebfc031",
    "month": "2026-04",
    "position": 3,
    "hash": _HASH,
    "created_by": "0198c5c2-2d60-7c32-ae4f-6b708c9dae1f",
    "created_at": "2026-05-04T10:12:00Z",
    "said": {
        "format": "holdfast-sla-statement/1", "tenant": "acme", "subject": "Example Ltd.",
        "month": "2026-04", "position": 3, "total": _SUMS, "metrics": {"first_reply": _SUMS},
        "previous": _HASH[::-1], "hash": _HASH, "signature": _HASH[8:] + _HASH[:8],
    },
}  # fmt: skip


@router.post(
    "",
    status_code=201,
    summary="Sign a month",
    responses={201: {"content": {JSON: {"example": _STATEMENT}}}},
)
async def make_statement(
    asked: StatementIn, caller: Overseer, work: Tx, served: Served, origin: From
) -> StatementOut:
    """Signs what was promised to somebody in a month and what was kept. A month is signed once."""
    row = await statements.make(
        work,
        secret=served.settings.secret_key.get_secret_value(),
        kind=asked.kind,
        subject_id=asked.subject_id,
        month=date.fromisoformat(f"{asked.month}-01"),
        caller=caller,
        origin=origin,
        now=clock(),
    )
    return _shown(row)


@router.get("", summary="Statements", responses=shown({"items": [_STATEMENT], "next": None}))
async def list_statements(
    caller: Overseer, work: Tx, asked: Annotated[StatementFilter, Query()]
) -> Page[StatementOut]:
    """What was signed, newest first."""
    rows = await statements.statements(
        work,
        kind=asked.kind,
        subject_id=asked.subject_id,
        before=after_id(asked.cursor),
        limit=asked.limit + 1,
    )
    more = cursor_of(rows[asked.limit - 1]["id"]) if len(rows) > asked.limit else None
    return Page(items=[_shown(row) for row in rows[: asked.limit]], next=more)


@router.get("/{statement_id}", summary="One statement", responses=shown(_STATEMENT))
async def get_statement(statement_id: UUID, caller: Overseer, work: Tx) -> StatementOut:
    """The statement as it was signed."""
    return _shown(await statements.statement(work, statement_id))


@router.get(
    "/{statement_id}/pdf",
    summary="A statement to print",
    response_class=Response,
    responses={
        200: {"content": {"application/pdf": {"schema": {"type": "string", "format": "binary"}}}}
    },
)
async def get_statement_pdf(statement_id: UUID, caller: Overseer, work: Tx) -> Response:
    """The same figures as a page, with the hash and the signature below."""
    row = await statements.statement(work, statement_id)
    name = f"statement-{row['month'].isoformat()[:7]}-{row['position']}.pdf"
    return Response(
        await asyncio.to_thread(statements.as_pdf, row),  # fonts are read, which takes a moment
        media_type="application/pdf",
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


def _shown(row: Row) -> StatementOut:
    return StatementOut.model_validate(
        {
            **row,
            "month": row["month"].isoformat()[:7],
            "hash": bytes(row["hash"]).hex(),
            "said": json.loads(bytes(row["said"])),
        }
    )
