"""Files: uploaded first, then named by the message they belong to."""

from collections.abc import AsyncIterator
from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Depends, UploadFile
from fastapi.responses import StreamingResponse

from api.deps import Allowed, Served, Tx
from api.routing import Route
from api.shapes import Shape
from domain.permissions import Permission, Principal
from services import files
from services.files import Download
from services.tickets import clock

router = APIRouter(prefix="/api/v1/attachments", tags=["attachments"], route_class=Route)

Uploader = Annotated[Principal, Depends(Allowed(Permission.TICKETS_NOTE))]
Viewer = Annotated[Principal, Depends(Allowed(Permission.TICKETS_VIEW))]

_CHUNK_BYTES = 1 << 20
A_FILE: dict[int | str, dict[str, object]] = {
    200: {
        "description": "The file, of the type it was uploaded as.",
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class AttachmentOut(Shape):
    id: UUID
    filename: str
    content_type: str
    size_bytes: int


@router.post("", status_code=201, summary="Upload a file")
async def upload(file: UploadFile, caller: Uploader, work: Tx, served: Served) -> AttachmentOut:
    """At most 25 MB. It waits until a message of the same sender names it."""
    row = await files.files_under(served.settings.home).upload(
        work,
        filename=file.filename or "file",
        content_type=file.content_type,
        chunks=chunks_of(file),
        uploaded_by=f"{caller.kind}:{caller.id}",
        now=clock(),
    )
    return AttachmentOut(**row)


@router.get(
    "/{attachment_id}",
    summary="Download a file",
    response_class=StreamingResponse,
    responses=A_FILE,
)
async def download(
    attachment_id: UUID, caller: Viewer, work: Tx, served: Served
) -> StreamingResponse:
    """Whoever may see the ticket may have its files. Never shown in place, always saved."""
    found = await files.files_under(served.settings.home).for_agent(
        work, attachment_id, caller, uploaded_by=f"{caller.kind}:{caller.id}"
    )
    return sent(found)


def sent(found: Download) -> StreamingResponse:
    """The file as a browser will save it, under its name in any script."""
    plain = "".join(
        c if (c.isascii() and c.isalnum()) or c in " ._-()" else "_" for c in found.filename
    )
    exact = quote(found.filename, safe="")
    return StreamingResponse(
        found.chunks,
        media_type=found.content_type,
        headers={
            "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}",
            "Content-Length": str(found.size_bytes),
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "Cache-Control": "private, max-age=86400, immutable",
        },
    )


async def chunks_of(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(_CHUNK_BYTES):
        yield chunk
