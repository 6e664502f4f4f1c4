"""Linear models to choose from or to add up: weights and intercepts, however they were found."""

import warnings
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags, hstack
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from adapters.classifier.features import Matrix

Numbers = NDArray[np.int64]

_UNMET: Final = -1.5  # the intercept of a label without a row: as far off as any


class Kind(Enum):
    """How the weights are found."""

    MARGIN = "margin"  # a support-vector machine
    LOGISTIC = "logistic"
    RATIO = "ratio"  # a margin over terms weighted by how much likelier they are in a label


class Estimator(NamedTuple):
    """A linear model to try."""

    strength: float
    is_balanced: bool
    kind: Kind = Kind.MARGIN


class Linear(NamedTuple):
    """A column of weights and an intercept for each label."""

    weights: Matrix
    intercepts: Matrix

    def scores(self, rows: csr_matrix) -> NDArray[np.float64]:
        """A column a label; the highest is the answer."""
        return np.asarray(rows @ self.weights + self.intercepts, dtype=np.float64)


def added(members: Sequence[Linear], shares: Sequence[float]) -> Linear:
    """One model that scores as `members` do in these shares: as quick as any of them."""
    return Linear(
        np.asarray(sum(m.weights * np.float32(s) for m, s in zip(members, shares, strict=True))),
        np.asarray(sum(m.intercepts * np.float32(s) for m, s in zip(members, shares, strict=True))),
    )


def taught(
    rows: csr_matrix, answers: Numbers, estimator: Estimator, *, labels: int, terms: int
) -> Linear:
    """Weights for all `labels`, also those without a row; the first `terms` columns are terms."""
    met = np.unique(answers)
    weights = np.zeros((rows.shape[1], labels), dtype=np.float32)
    intercepts = np.full(labels, _UNMET, dtype=np.float32)
    if len(met) < 2:
        intercepts[met] = 1.0
        return Linear(weights, intercepts)
    if estimator.kind is Kind.RATIO:
        for label in met.tolist():
            ratios = np.ones(rows.shape[1])
            ratios[:terms] = _ratios(rows[:, :terms], answers == label)
            # Two labels only: what speaks for the one is all there is to know of the other.
            found, bias = _found(rows @ diags(ratios), answers == label, estimator)
            weights[:, label], intercepts[label] = found[0] * ratios, bias[0]
        return Linear(weights, intercepts)
    found, bias = _found(rows, answers, estimator)
    if len(met) == 2:
        found, bias = np.vstack([-found, found]) / 2, np.concatenate([-bias, bias]) / 2
    weights[:, met], intercepts[met] = found.T, bias
    return Linear(weights, intercepts)


def beside(terms: csr_matrix, vectors: Matrix | None, share: float) -> csr_matrix:
    """Rows of terms with the vectors of their texts behind them, `share` as long as they."""
    if vectors is None:
        return terms
    return hstack([terms, csr_matrix(vectors * np.float32(share))], format="csr")


def _found(
    rows: csr_matrix, answers: NDArray[np.generic], estimator: Estimator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    balanced = "balanced" if estimator.is_balanced else None
    made = (
        LogisticRegression(C=estimator.strength, class_weight=balanced, tol=1e-3, max_iter=150)
        if estimator.kind is Kind.LOGISTIC
        else LinearSVC(C=estimator.strength, class_weight=balanced, tol=1e-2, random_state=0)
    )
    with warnings.catch_warnings():
        # Many labels for few rows look like a regression to it, and an early end like a failure.
        warnings.simplefilter("ignore")
        fitted = made.fit(rows, answers)
    return fitted.coef_, np.atleast_1d(fitted.intercept_)


def _ratios(rows: csr_matrix, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The logarithm of how much likelier each term is in the chosen rows than in the others."""
    met = csr_matrix((np.ones_like(rows.data), rows.indices, rows.indptr), shape=rows.shape)
    inside = np.asarray(met[chosen].sum(axis=0)).ravel() + 1.0
    outside = np.asarray(met[~chosen].sum(axis=0)).ravel() + 1.0
    return np.asarray(np.log(inside / inside.sum()) - np.log(outside / outside.sum()))
