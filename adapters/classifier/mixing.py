"""How much each student counts and how sharp their sum is, fitted to rows none had seen."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax

Numbers = NDArray[np.int64]

_LINEAR, _NETWORK = 4.0, 1.0  # what they count where there is hardly anything to fit it to
_EVEN: Final = 0.2  # of the way to labels that count the same, where there are few of them


def mixed(
    scores: Sequence[NDArray[np.float64]], truth: Numbers, *, with_network: bool
) -> list[float]:
    """What each of `scores` counts when held-out answers are least surprising.

    The network's are the last; the others share what a linear model counts where there is hardly
    anything to fit it to.
    """
    places = np.arange(len(truth))
    members = len(scores) - with_network
    usual = [_LINEAR / members] * members + [_NETWORK] * with_network

    def surprise(logs: NDArray[np.float64]) -> float:
        score = sum(np.exp(log) * one for log, one in zip(logs, scores, strict=True))
        prior = float(((logs - np.log(usual)) ** 2).sum())
        return float(-log_softmax(score, axis=1)[places, truth].sum() + prior)

    start = np.log(usual)
    start[members:] -= np.log(2)
    most = {"maxiter": 60 * max(2, len(usual))}
    found = minimize(surprise, start, method="Nelder-Mead", options=most).x
    return [float(part) for part in np.exp(found)]


def evened(answers: Numbers, labels: int) -> NDArray[np.float64]:
    """What is added to each label's score, the more the rarer it is."""
    counts = np.bincount(answers, minlength=labels)
    logs = np.log(np.maximum(counts, 1) / counts.sum())
    return np.asarray(_EVEN * (logs.mean() - logs), dtype=np.float64)


def sharper(scores: NDArray[np.float64], truth: Numbers) -> float:
    """What to multiply `scores` by so that held-out answers are least surprising."""
    places = np.arange(len(truth))

    def surprise(logs: NDArray[np.float64]) -> float:
        return float(
            -log_softmax(scores * np.exp(logs[0]), axis=1)[places, truth].sum() + logs[0] ** 2
        )

    return float(np.exp(minimize(surprise, np.zeros(1), method="Nelder-Mead").x[0]))
