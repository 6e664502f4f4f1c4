"""What another staffing would have changed, as answers have it."""

from typing import Any, Literal

from pydantic import Field

from api.shapes import Shape
from domain.comparison import SIDES, Comparison
from domain.workload import HOUR, Histogram


class Judged(Shape):
    met: int
    missed: int
    attainment: float | None


class Percentiles(Shape):
    p50: float | None
    p90: float | None
    p95: float | None


class Sides(Shape):
    """As recorded, as modelled with today's staffing, as modelled with the one that is tried."""

    key: str
    recorded: Judged
    today: Judged
    draft: Judged


class Waits(Shape):
    """Minutes until the first reply: `all`, or of a team."""

    key: str
    recorded: Percentiles
    today: Percentiles
    draft: Percentiles


class LoadHour(Shape):
    """Hours of work in one hour of the week, over the whole time.

    `asked` is what came in, `done` what was worked on, `there` how long people were there.
    """

    hour: int
    asked: float
    done_today: float
    done_draft: float
    there_today: float
    there_draft: float


class Calibration(Shape):
    """How well the model tells the past with today's staffing. What is `poor`, believe nothing of.

    `agreed` is the share of promises with the recorded verdict, `off` by how much attainment of
    first replies differs.
    """

    fit: Literal["good", "fair", "poor", "unknown"]
    compared: int
    agreed: float | None
    off: float | None


class StaffingOut(Shape):
    """`teams` and `hours` are of first replies; `flips` compares both models, not the records."""

    tickets: int
    modelled: int = Field(description="Tickets that somebody answered.")
    flipped: int
    calibration: Calibration
    metrics: list[Sides]
    teams: list[Sides]
    hours: list[Sides]
    waits: list[Waits]
    load: list[LoadHour]


def staffing_out(tally: dict[str, Any]) -> StaffingOut:
    """What was found so far, as its row has it."""
    told = Comparison.of(tally)
    load = tally["load"]
    columns = [load["asked"][0], *load["done"], *load["there"]]
    return StaffingOut(
        tickets=tally["tickets"],
        modelled=tally["modelled"],
        flipped=told.flipped,
        calibration=Calibration(
            fit=told.fit,
            compared=told.compared,
            agreed=round(told.agreed / told.compared, 6) if told.compared else None,
            off=None if told.off is None else round(told.off, 6),
        ),
        metrics=_sides(told.metrics),
        teams=_sides(told.teams),
        hours=_sides(told.hours),
        waits=[
            Waits(key=key, **dict(zip(SIDES, map(_percentiles, sides), strict=True)))
            for key, sides in sorted(told.waits.items())
        ],
        load=[
            LoadHour(
                hour=hour, asked=asked, done_today=done, done_draft=other, there_today=there,
                there_draft=more,
            )
            for hour, (asked, done, other, there, more) in enumerate(
                zip(*([round(one / HOUR, 2) for one in column] for column in columns), strict=True)
            )
            if asked or done or other or there or more
        ],
    )  # fmt: skip


def _sides(counts: dict[str, list[int]]) -> list[Sides]:
    found = []
    for key, sums in counts.items():
        pairs = [(sums[n], sums[n + 1]) for n in (0, 2, 4)]
        judged = [Judged(met=a, missed=b, attainment=share(a, b)) for a, b in pairs]
        found.append(Sides(key=key, **dict(zip(SIDES, judged, strict=True))))
    return sorted(found, key=_by)


def _percentiles(waits: Histogram) -> Percentiles:
    minutes = [waits.quantile(share) for share in (0.5, 0.9, 0.95)]
    p50, p90, p95 = (None if one is None else round(one / 60, 1) for one in minutes)
    return Percentiles(p50=p50, p90=p90, p95=p95)


def _by(found: Sides) -> tuple[int, str]:
    return (int(found.key), "") if found.key.isdigit() else (0, found.key)


def share(met: int, missed: int) -> float | None:
    """Attainment; None where nothing was judged."""
    return round(met / (met + missed), 6) if met + missed else None
