"""Linear models, alone and added up; how much each counts."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from adapters.classifier import linear, mixing
from adapters.classifier.linear import Estimator, Kind

ROWS = csr_matrix(np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0]] * 5, dtype=np.float32))
ANSWERS = np.array([0, 0, 1, 1] * 5)
KINDS = pytest.mark.parametrize(
    "estimator",
    [Estimator(1.0, is_balanced, kind) for kind in Kind for is_balanced in (False, True)],
)


@KINDS
def test_what_tells_labels_apart_is_learnt(estimator: Estimator) -> None:
    learnt = linear.taught(ROWS, ANSWERS, estimator, labels=2, terms=3)
    assert (learnt.scores(ROWS).argmax(axis=1) == ANSWERS).all()
    assert abs(learnt.weights[2]).max() < abs(learnt.weights[0]).max()  # the third says nothing


@KINDS
def test_a_label_without_a_row_is_never_said(estimator: Estimator) -> None:
    learnt = linear.taught(ROWS, ANSWERS, estimator, labels=3, terms=3)
    assert learnt.weights.shape == (3, 3)
    assert 2 not in learnt.scores(ROWS).argmax(axis=1)


def test_one_label_only_is_always_said() -> None:
    learnt = linear.taught(
        ROWS, np.zeros(20, dtype=np.int64), Estimator(1.0, False), labels=2, terms=3
    )
    assert set(learnt.scores(ROWS).argmax(axis=1)) == {0}


def test_added_models_score_as_they_do_in_their_shares() -> None:
    team = [
        linear.taught(ROWS, ANSWERS, Estimator(1.0, False, kind), labels=2, terms=3)
        for kind in Kind
    ]
    whole = linear.added(team, [0.5, 0.25, 2.0])
    parts = 0.5 * team[0].scores(ROWS) + 0.25 * team[1].scores(ROWS) + 2.0 * team[2].scores(ROWS)
    assert whole.scores(ROWS) == pytest.approx(parts, abs=1e-5)


def test_vectors_stand_behind_the_terms_in_their_length() -> None:
    beside = linear.beside(ROWS[:1], np.array([[0.6, 0.8]], dtype=np.float32), 1.5)
    assert beside.toarray()[0] == pytest.approx([1, 0, 1, 0.9, 1.2])
    assert linear.beside(ROWS, None, 1.5) is ROWS


def test_who_is_right_counts_more_than_who_guesses() -> None:
    truth = np.array([0, 1] * 50)
    right = np.eye(2)[truth]
    wrong = np.eye(2)[np.random.default_rng(1).integers(2, size=100)]
    good, bad = mixing.mixed([right, wrong], truth, with_network=True)
    assert good > 5 * bad


def test_a_rare_label_is_named_more_readily() -> None:
    added = mixing.evened(np.array([0] * 90 + [1] * 10), 3)
    assert added[0] < added[1] < added[2]


def test_scores_that_are_too_sure_are_softened() -> None:
    truth = np.array([0] * 70 + [1] * 30)
    sure = np.tile([9.0, 0.0], (100, 1))
    assert mixing.sharper(sure, truth) < 0.3
