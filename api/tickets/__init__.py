"""Tickets over HTTP: reading them (`read`), acting on them (`act`), joining and parting them."""

from fastapi import APIRouter

from api.tickets.act import router as act
from api.tickets.merging import router as merging
from api.tickets.read import router as read

router = APIRouter()
# `read` first: its /tickets/counts is no ticket's number.
router.include_router(read)
router.include_router(act)
router.include_router(merging)

__all__ = ["router"]
