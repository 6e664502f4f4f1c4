"""Out of sight for a while, and back; reminders."""

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field

from api.deps import Tx
from api.routing import Route
from api.shapes import Instant, Request, examples
from api.tickets.acting import (
    Act,
    Changer,
    Number,
)
from api.tickets.shapes import TicketOut
from domain.permissions import Permission
from domain.tickets import (
    ReminderSet,
    Snoozed,
    Woken,
)

router = APIRouter(prefix="/api/v1/tickets", tags=["tickets"], route_class=Route)


class SnoozeIn(Request):
    model_config = examples(
        {"until": "2027-01-08T08:00:00Z"}, {"until": None, "wake_on_reply": True}
    )

    until: Instant | None = None
    wake_on_reply: bool = True


class ReminderIn(Request):
    model_config = examples(
        {"at": "2027-01-08T08:00:00Z", "note": "Ask whether the part has come."}
    )

    at: Instant
    note: Annotated[str, Field(max_length=1000)] = ""


@router.post("/{number}/snooze", summary="Put out of sight until later")
async def snooze(
    number: Number, body: SnoozeIn, caller: Changer, work: Tx, act: Act, response: Response
) -> TicketOut:
    payload = Snoozed(body.until, wake_on_reply=body.wake_on_reply)
    return await act.act(work, caller, number, payload, Permission.TICKETS_CHANGE, response)


@router.post("/{number}/wake", summary="Bring back into sight")
async def wake(
    number: Number, caller: Changer, work: Tx, act: Act, response: Response
) -> TicketOut:
    return await act.act(work, caller, number, Woken(), Permission.TICKETS_CHANGE, response)


@router.post("/{number}/reminder", summary="Be reminded")
async def remind(
    number: Number, body: ReminderIn, caller: Changer, work: Tx, act: Act, response: Response
) -> TicketOut:
    payload = ReminderSet(body.at, body.note)
    return await act.act(work, caller, number, payload, Permission.TICKETS_CHANGE, response)


@router.delete("/{number}/reminder", summary="Take the reminder back")
async def forget_reminder(
    number: Number, caller: Changer, work: Tx, act: Act, response: Response
) -> TicketOut:
    payload = ReminderSet(None)
    return await act.act(work, caller, number, payload, Permission.TICKETS_CHANGE, response)
