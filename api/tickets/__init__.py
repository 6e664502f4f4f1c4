"""Tickets over HTTP: reading them (`read`), acting on them (a module per family of actions, each
answering with the ticket as it is now, its version in the ETag), joining and parting them."""

from fastapi import APIRouter

from api.tickets.analysing import router as analysing
from api.tickets.changing import router as changing
from api.tickets.merging import router as merging
from api.tickets.postponing import router as postponing
from api.tickets.read import router as read
from api.tickets.relating import router as relating
from api.tickets.speaking import router as speaking
from api.tickets.suggesting import router as suggesting
from api.tickets.timing import router as timing

router = APIRouter()
# `read` first: its /tickets/counts is no ticket's number.
for part in (
    read,
    speaking,
    changing,
    postponing,
    relating,
    merging,
    suggesting,
    timing,
    analysing,
):
    router.include_router(part)

__all__ = ["router"]
