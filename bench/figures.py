"""What a bench found: figures, most of them ratios taken in one run, beside their budgets."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. `budget` is its bound; None where it is only told."""

    name: str
    value: float
    budget: float | None = None
    at_least: bool = False  # the bound is a floor, not a ceiling
    detail: str = ""

    @property
    def ok(self) -> bool:
        if self.budget is None:
            return True
        return self.value >= self.budget if self.at_least else self.value <= self.budget

    def line(self) -> str:
        """`share 0.41 (budget >= 0.33) ok`, and what it was made of."""
        said = f"{self.name} {_short(self.value)}"
        if self.budget is not None:
            sign = ">=" if self.at_least else "<="
            verdict = "ok" if self.ok else "OVER BUDGET"
            said += f" (budget {sign} {_short(self.budget)}) {verdict}"
        return f"{said}  [{self.detail}]" if self.detail else said

    def told(self) -> dict[str, object]:
        """For scripts."""
        return {**asdict(self), "ok": self.ok}


def floor(name: str, value: float, budget: float, detail: str = "") -> Figure:
    return Figure(name, value, budget, True, detail)


def ceiling(name: str, value: float, budget: float, detail: str = "") -> Figure:
    return Figure(name, value, budget, False, detail)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of all are not above. Raises ValueError where there are none."""
    if not values:
        raise ValueError("nothing was measured")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    return percentile(values, 0.5)


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.2f}"
