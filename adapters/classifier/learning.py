"""Labelled rows become a model, for any set of 2 to 150 labels and any language.

Two students read the same rows: a linear support-vector machine, which is hard to beat and can say
what decided, and a small network, which errs elsewhere. Their scores are added in a proportion, and
at a temperature, that is fitted to rows neither had seen; the threshold below which an answer is
withheld comes from the same held-out rows, and so do the measures a desk is shown.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from adapters.classifier import features, network
from adapters.classifier.features import Matrix, Reader, Vocabulary
from adapters.classifier.model import Head, Measures, Mix, Model
from adapters.classifier.network import Network, Schooling
from domain.errors import Invalid
from domain.triage import threshold_for

Numbers = NDArray[np.int64]
Tell = Callable[[float], None]

MOST_LABELS: Final = 150
_SEED: Final = 20_260_301
_SMALL, _LARGE = 1_500, 4_000  # rows: below, five folds; above, one part is held out
_MOST_HELD_OUT: Final = 3_000
_NETWORK_FROM: Final = 400  # rows; of fewer a network learns nothing the linear model does not
_FEW_LABELS: Final = 12  # up to here several linear models are tried
_SHORT: Final = 40.0  # words a text, on average: pairs of words are counted up to here
_RARE: Final = 2.0  # what macro-F1 counts beside accuracy when linear models are compared
_MEMBERS: Final = 3  # networks that a small set is taught to, each from another beginning
_PRIOR: Final = Mix(linear=4.0, network=1.0)  # where there is hardly anything to fit it to


class Unteachable(Invalid):
    """The rows cannot make a model; the sentence says why."""

    code = "unteachable"


class Question(NamedTuple):
    """What is to be learnt: the answer to each chosen row, and the part it is held out with.

    `parts` keeps rows together that share their wording; without it the rows are dealt at random,
    equal texts together.
    """

    name: str
    rows: Numbers
    answers: Sequence[str]
    precision: float
    parts: Numbers | None = None


@dataclass(frozen=True)
class _Task:
    labels: tuple[str, ...]
    rows: csr_matrix
    answers: Numbers

    def only(self, chosen: Numbers) -> "_Task":
        return _Task(self.labels, self.rows[chosen], self.answers[chosen])


class _Learnt(NamedTuple):
    linear: Matrix
    intercepts: Matrix
    network: Network | None


def learn(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    name: str = "label",
    precision: float = 0.9,
    tell: Tell = lambda done: None,
) -> Model:
    """A model that tells `labels` apart, taught from one text a label.

    `tell` hears the share that is done, some twenty times, and may raise to stop. Raises
    Unteachable for fewer than two labels, more than 150, or no text with anything in it.
    """
    if len(texts) != len(labels):
        raise ValueError(f"{len(texts)} texts, but {len(labels)} labels")
    folded = [features.folded(text) for text in texts]
    question = Question(name, np.arange(len(texts)), labels, precision)
    return learn_all(folded, [question], tell=tell)


def learn_all(
    folded: Sequence[str],
    questions: Sequence[Question],
    *,
    light: bool = False,
    tell: Tell = lambda done: None,
) -> Model:
    """A model with a head for each question, over one vocabulary. The texts are folded already.

    A `light` one has no networks: small, and made in seconds.
    """
    for question in questions:
        _refuse_unteachable(folded, question)
    # The matrices are too thin for threads to pay: a second core only spins.
    with threadpool_limits(limits=1):
        words = sum(len(text.split()) for text in folded) / max(len(folded), 1)
        vocabulary = features.learnt(
            folded,
            pairs=words <= _SHORT and not light and len(folded) >= _SMALL,
            least=2 if len(folded) >= _SMALL else 1,
        )
        tell(0.05)
        rows = Reader(vocabulary).rows(folded)
        heads = []
        for number, question in enumerate(questions):
            part = _Part(tell, start=0.05 + 0.95 * number / len(questions), of=len(questions))
            heads.append(_head(vocabulary, rows, folded, question, part, light=light))
        tell(1.0)
        return Model(vocabulary=vocabulary, heads=tuple(heads))


class _Part:
    """Progress within one question of several."""

    def __init__(self, tell: Tell, *, start: float, of: int) -> None:
        self._tell, self._start, self._share = tell, start, 0.95 / of

    def __call__(self, done: float) -> None:
        self._tell(self._start + self._share * min(done, 1.0))


def _refuse_unteachable(folded: Sequence[str], question: Question) -> None:
    distinct = set(question.answers)
    if len(distinct) < 2:
        only = f" ({next(iter(distinct))!r})" if distinct else ""
        raise Unteachable(
            f"There is nothing to tell apart: {len(distinct)} label{only} in"
            f" {len(question.answers)} rows. At least two are needed."
        )
    if len(distinct) > MOST_LABELS:
        raise Unteachable(f"{len(distinct)} labels are too many; at most {MOST_LABELS} work.")
    if not any(any(c.isalnum() for c in folded[row]) for row in question.rows):
        raise Unteachable("None of the rows has a text with a letter or a digit in it.")


def _head(
    vocabulary: Vocabulary,
    rows: csr_matrix,
    folded: Sequence[str],
    question: Question,
    tell: Tell,
    *,
    light: bool,
) -> Head:
    labels, answers = np.unique(np.asarray(question.answers, dtype=object), return_inverse=True)
    task = _Task(tuple(labels.tolist()), rows[question.rows], answers.astype(np.int64))
    parts = question.parts
    if parts is None:
        parts = _dealt([folded[row] for row in question.rows], task.answers)
    core = vocabulary.core
    held_out = list(_held_out(parts)) if question.parts is None else np.unique(parts).tolist()
    chosen, linear_scores = _best_linear(task, parts, held_out, _tried(task, light=light))
    with_network = not light and len(task.answers) >= _NETWORK_FROM and not _is_lopsided(task)
    network_scores = np.zeros_like(linear_scores)
    share = 1 / (len(held_out) + 1)
    if with_network:
        for number, part in enumerate(held_out):
            taught, asked = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
            student = _network(task.only(taught), core, _Span(tell, number * share, share))
            network_scores[asked] = student.scores(_core(task.rows[asked], core))
    asked = np.flatnonzero(np.isin(parts, held_out))
    mix = _mixed(linear_scores[asked], network_scores[asked] if with_network else None, task, asked)
    linear, intercepts = _linear(task, chosen)
    final = _Span(tell, 1 - share, share)
    return Head(
        name=question.name,
        labels=task.labels,
        linear=linear,
        intercepts=intercepts,
        network=_network(task, core, final) if with_network else None,
        mix=mix,
        measures=_measured(
            mix.of(linear_scores[asked], network_scores[asked]),
            task.answers[asked],
            len(task.answers),
            question.precision,
        ),
        usual=_usual(mix.of(linear_scores[asked], network_scores[asked])),
    )


class _Span:
    """Progress within a step that takes `share` of the whole."""

    def __init__(self, tell: Tell, start: float, share: float) -> None:
        self._tell, self._start, self._share = tell, start, share

    def __call__(self, done: float) -> None:
        self._tell(self._start + self._share * done)


def _dealt(texts: Sequence[str], answers: Numbers) -> Numbers:
    """A part for each row, equal texts in the same one, each label spread over all parts."""
    count = 5 if len(texts) < _LARGE else max(5, round(len(texts) / _MOST_HELD_OUT))
    chance = np.random.default_rng(_SEED)
    parts = np.zeros(len(texts), dtype=np.int64)
    part_of: dict[str, int] = {}
    next_part = {answer: int(chance.integers(count)) for answer in range(int(answers.max()) + 1)}
    for row in chance.permutation(len(texts)).tolist():
        part = part_of.get(texts[row])
        if part is None:
            answer = int(answers[row])
            part = part_of[texts[row]] = next_part[answer] % count
            next_part[answer] += 1
        parts[row] = part
    return parts


def _held_out(parts: Numbers) -> Iterator[int]:
    """The parts that are held out in turn: all of a few rows, fewer of more, one of many."""
    count = len(np.unique(parts))
    turns = count if len(parts) < _SMALL else 3 if len(parts) < _LARGE else 1
    yield from np.unique(parts)[: max(1, turns)].tolist()


class _Estimator(NamedTuple):
    """A linear model to try."""

    strength: float
    is_balanced: bool
    is_logistic: bool = False


_PLAIN: Final = _Estimator(1.0, False)
_LOPSIDED: Final = 50  # times as many rows of the commonest of few labels as of the rarest
_FAIR: Final = _Estimator(10.0, True, is_logistic=True)
_LIGHT: Final = (_Estimator(1.0, True),)
_TRIED_OF_FEW: Final = (_PLAIN, _Estimator(3.0, False))
_TRIED: Final = (
    _PLAIN,
    _Estimator(1.0, True),
    _Estimator(0.3, True),
    _FAIR,
)


def _is_lopsided(task: _Task) -> bool:
    """Whether rare labels are so rare that a network, or held-out rows of them, only mislead."""
    counts = np.bincount(task.answers)
    return len(task.labels) <= _FEW_LABELS and bool(counts.max() >= _LOPSIDED * counts.min())


def _tried(task: _Task, *, light: bool) -> Sequence[_Estimator]:
    if light:
        return _LIGHT
    if _is_lopsided(task):
        return (_FAIR,)
    if len(task.labels) <= _FEW_LABELS:
        return _TRIED
    return _TRIED_OF_FEW if task.rows.shape[0] < _SMALL else (_PLAIN,)


def _best_linear(
    task: _Task, parts: Numbers, held_out: Sequence[int], tried: Sequence[_Estimator]
) -> tuple[_Estimator, NDArray[np.float64]]:
    """The linear model that did best on held-out rows, and its scores there (zero elsewhere)."""
    best: tuple[float, _Estimator, NDArray[np.float64]] | None = None
    asked_of_all = np.isin(parts, held_out)
    for estimator in tried:
        scores = np.zeros((len(parts), len(task.labels)))
        for part in held_out:
            taught, asked = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
            weights, intercepts = _linear(task.only(taught), estimator)
            scores[asked] = task.rows[asked] @ weights + intercepts
        guessed, right = scores[asked_of_all].argmax(axis=1), task.answers[asked_of_all]
        # A model that never names the rare labels is right often and of little use.
        worth = float((guessed == right).mean()) + _RARE * macro_f1(right, guessed)
        if best is None or worth > best[0] + 1e-9:
            best = worth, estimator, scores
    assert best is not None
    return best[1], best[2]


def _linear(task: _Task, estimator: _Estimator) -> tuple[Matrix, Matrix]:
    """Weights with a column for each label of the task, also for those that are not in it."""
    met = np.unique(task.answers)
    columns = task.rows.shape[1]
    weights = np.zeros((columns, len(task.labels)), dtype=np.float32)
    intercepts = np.full(len(task.labels), -1.5, dtype=np.float32)
    if len(met) < 2:
        intercepts[met] = 1.0
        return weights, intercepts
    balanced = "balanced" if estimator.is_balanced else None
    made = (
        LogisticRegression(C=estimator.strength, class_weight=balanced, tol=1e-3, max_iter=150)
        if estimator.is_logistic
        else LinearSVC(C=estimator.strength, class_weight=balanced, tol=1e-2, random_state=0)
    )
    with warnings.catch_warnings():
        # Many labels for few rows look like a regression to it, and an early end like a failure.
        warnings.simplefilter("ignore")
        fitted = made.fit(task.rows, task.answers)
    found, bias = fitted.coef_, np.atleast_1d(fitted.intercept_)
    if len(met) == 2:
        found, bias = np.vstack([-found, found]) / 2, np.concatenate([-bias, bias]) / 2
    weights[:, met], intercepts[met] = found.T, bias
    return weights, intercepts


def _network(task: _Task, core: int, tell: Tell) -> Network:
    counts = np.bincount(task.answers, minlength=len(task.labels)).astype(np.float64)
    # The square root of what would balance the labels: all of it makes rare ones too loud.
    weights = (counts.sum() / np.maximum(counts, 1) / len(task.labels)) ** 0.5
    weights /= (weights * counts).sum() / counts.sum()
    schooling, members = Schooling(), 1
    if len(task.answers) < _SMALL:
        schooling, members = Schooling(hidden=64, rounds=30, batch=32), _MEMBERS
    elif len(task.labels) <= _FEW_LABELS:
        schooling = Schooling(hidden=64, rounds=6)
    rows = _core(task.rows, core)
    return network.joined(
        [
            network.taught(
                rows,
                task.answers,
                weights[task.answers].astype(np.float32),
                labels=len(task.labels),
                schooling=schooling,
                chance=np.random.default_rng(_SEED + member),
                tell=_Span(tell, member / members, 1 / members),
            )
            for member in range(members)
        ]
    )


def _core(rows: csr_matrix, core: int) -> csr_matrix:
    return rows[:, :core] if core < rows.shape[1] else rows


def _mixed(
    linear: NDArray[np.float64],
    network: NDArray[np.float64] | None,
    task: _Task,
    asked: Numbers,
) -> Mix:
    """The proportion and temperature that make held-out answers least surprising."""
    truth, places = task.answers[asked], np.arange(len(asked))

    def surprise(logs: NDArray[np.float64]) -> float:
        scores = linear * np.exp(logs[0])
        prior = (logs[0] - np.log(_PRIOR.linear)) ** 2
        if network is not None:
            scores = scores + network * np.exp(logs[1])
            prior += (logs[1] - np.log(_PRIOR.network)) ** 2
        return float(-log_softmax(scores, axis=1)[places, truth].sum() + prior)

    start = np.log([_PRIOR.linear, _PRIOR.network / 2])[: 1 if network is None else 2]
    found = np.exp(minimize(surprise, start, method="Nelder-Mead", options={"maxiter": 120}).x)
    return Mix(linear=float(found[0]), network=float(found[1]) if len(found) > 1 else 0.0)


def _measured(scores: NDArray[np.float64], truth: Numbers, rows: int, precision: float) -> Measures:
    shares = softmax(scores, axis=1)
    best, guessed = shares.max(axis=1), shares.argmax(axis=1)
    right = guessed == truth
    threshold = threshold_for(zip(best.tolist(), right.tolist(), strict=True), precision=precision)
    passed = best >= threshold
    return Measures(
        rows=rows,
        held_out=len(truth),
        accuracy=float(right.mean()),
        macro_f1=macro_f1(truth, guessed),
        calibration_error=calibration_error(best, right),
        threshold=threshold,
        coverage=float(passed.mean()),
        precision=float(right[passed].mean()) if passed.any() else 0.0,
    )


def _usual(scores: NDArray[np.float64]) -> float:
    """How familiar all but the strangest twentieth of the held-out texts are."""
    return float(np.quantile(scores.max(axis=1), 0.05))


def macro_f1(truth: NDArray[np.int64], guessed: NDArray[np.int64]) -> float:
    """The mean over all labels that occur, each counting the same however rare."""
    both = Counter(truth[truth == guessed].tolist())
    asked, said = Counter(truth.tolist()), Counter(guessed.tolist())
    labels = asked.keys() | said.keys()
    return float(np.mean([2 * both[label] / (asked[label] + said[label]) for label in labels]))


def calibration_error(
    probabilities: NDArray[np.float64], right: NDArray[np.bool_], *, bins: int = 15
) -> float:
    """How far "80 % sure" is from being right 80 % of the time, on average over equal bins."""
    places = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = [
        abs(probabilities[chosen].mean() - right[chosen].mean()) * chosen.mean()
        for chosen in (places == place for place in range(bins))
        if chosen.any()
    ]
    return float(sum(gaps))
