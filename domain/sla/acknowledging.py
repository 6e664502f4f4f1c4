"""Somebody has seen it: until when steps of higher tiers wait."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from domain.sla.clocks import Acknowledgement, Clock


def acknowledge(
    clocks: Sequence[Clock],
    *,
    at: datetime,
    until: datetime,
    by: UUID | None = None,
    shortens: bool = False,
) -> tuple[Clock, ...]:
    """The running clocks, acknowledged: steps of higher tiers wait until `until`.

    Where an acknowledgement that still holds ends later, that one stands: whoever gave their word
    for an hour is not overruled by a colleague's five minutes. One that reaches further carries it
    on: what was held up since then stays held up. `shortens` is for timelines of a time when the
    last one counted, whatever it said.
    """

    def seen(clock: Clock) -> Clock:
        if not clock.is_running:
            return clock
        since, before = at, clock.acknowledged
        if not shortens and before is not None and at < before.until:
            if until <= before.until:
                return clock
            since = before.at
        wanted = Acknowledgement(at=since, until=until, by=by)
        return clock.model_copy(update={"acknowledged": wanted})

    return tuple(map(seen, clocks))


def acknowledged_until(clocks: Sequence[Clock]) -> datetime | None:
    """Until when higher tiers wait: the latest end of what running clocks hold; None for none."""
    held = (clock.acknowledged for clock in clocks if clock.is_running)
    return max((each.until for each in held if each is not None), default=None)
