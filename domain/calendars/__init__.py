"""Business time: opening hours in a time zone, and exact arithmetic over them.

One sentence decides every corner case: *an instant is open when its local wall time lies in a
window*. So the hour that a spring change skips is never open, the hour that an autumn change
repeats is open twice, and a day that a zone left out (Apia, 30 December 2011) has no time at all.
Windows that overlap, on one day or with the next day's, count once. A window that runs past
midnight belongs to the day it starts on: a holiday takes that day's windows away, including the
part after midnight, and leaves alone what reaches into it from the evening before.
"""

from domain.calendars.calendar import (
    Calendar,
    HolidayList,
    Interval,
    NeverOpen,
    Span,
    StillPaused,
    Weekday,
    Window,
    Zone,
    known_zones,
)
from domain.calendars.counting import (
    business_days,
    close_of_business_day,
    closing,
    due_at,
    elapsed,
    is_open,
    next_opening,
)
from domain.calendars.preview import Day, Reason, preview

__all__ = [
    "Calendar",
    "Day",
    "HolidayList",
    "Interval",
    "NeverOpen",
    "Reason",
    "Span",
    "StillPaused",
    "Weekday",
    "Window",
    "Zone",
    "business_days",
    "close_of_business_day",
    "closing",
    "due_at",
    "elapsed",
    "is_open",
    "known_zones",
    "next_opening",
    "preview",
]
