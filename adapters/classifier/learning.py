"""Labelled rows become a model, for any set of 2 to 150 labels and any language.

Two students read the same rows: a linear model, which is hard to beat and can say what decided,
and a small network, which errs elsewhere. The names of the labels are rows too: people name a
label by words that belong to it. The students' scores are added in a proportion, and at a
temperature, that is fitted to rows neither had seen; the threshold below which an answer is
withheld comes from the same held-out rows, and so do the measures a desk is shown.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack, vstack
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from adapters.classifier import features, linear, meanings, mixing, network, vectors
from adapters.classifier.features import Matrix, Reader
from adapters.classifier.linear import Estimator, Kind, Linear
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
_FEW_LABELS: Final = 12  # up to here two linear models are added up, and evened
_MOST_PAIRED: Final = 12_000  # rows of many labels: up to here the network reads pairs too
_MOST_ROUNDS: Final = 20_000  # rows: beyond, a network sees each of them less often
_SHORT: Final = 40.0  # words a text, on average: pairs of words are counted up to here
_LONG, _SHORTER = 1.5, 1.0  # length of a sentence vector beside the terms': for few rows or labels
_HUMP: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")  # in "cancelOrder"
_NAMED: Final = re.compile(r"[^\W\d_]{3,}")  # a label with such a word in it says what it means


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
    """Rows and the number of the right label of each; `names` are rows to learn, never to ask.

    Columns: `core` of them, pairs up to `terms`, then the sentence vector, if there is one. The
    network reads all of them or all but the pairs.
    """

    labels: tuple[str, ...]
    rows: csr_matrix
    answers: Numbers
    names: csr_matrix
    named: Numbers
    core: int
    terms: int
    with_pairs: bool

    def only(self, chosen: Numbers) -> "_Task":
        return replace(self, rows=self.rows[chosen], answers=self.answers[chosen])

    def lessons(self) -> tuple[csr_matrix, Numbers]:
        """All there is to learn from: the rows and the names of the labels."""
        if not len(self.named):
            return self.rows, self.answers
        rows = vstack([self.rows, self.names], format="csr")
        return rows, np.concatenate([self.answers, self.named])

    def read_by_network(self, rows: csr_matrix) -> csr_matrix:
        """What the network reads of `rows`."""
        if self.core == self.terms or self.with_pairs:
            return rows
        if rows.shape[1] == self.terms:
            return rows[:, : self.core]
        return hstack([rows[:, : self.core], rows[:, self.terms :]], format="csr")


class _Texts(NamedTuple):
    """The rows of all questions, and the vectors of their texts where those are installed."""

    folded: Sequence[str]
    reader: Reader
    rows: csr_matrix
    vectors: Matrix | None


def learn(
    texts: Sequence[str],
    labels: Sequence[str],
    *,
    name: str = "label",
    precision: float = 0.9,
    with_vectors: bool = True,
    tell: Tell = lambda done: None,
) -> Model:
    """A model that tells `labels` apart, taught from one text a label.

    It reads sentence vectors too where they are installed, unless that is not wanted. `tell` hears
    the share that is done, some twenty times, and may raise to stop. Raises Unteachable for fewer
    than two labels, more than 150, or no text with anything in it.
    """
    if len(texts) != len(labels):
        raise ValueError(f"{len(texts)} texts, but {len(labels)} labels")
    folded = [features.folded(text) for text in texts]
    question = Question(name, np.arange(len(texts)), labels, precision)
    encoder = vectors.installed() if with_vectors else None
    if encoder is not None:
        _refuse_unteachable(folded, question)  # before a minute is spent on encoding
    encoded = None if encoder is None else encoder.encode(texts)
    return learn_all(folded, [question], encoded=encoded, tell=tell)


def learn_all(
    folded: Sequence[str],
    questions: Sequence[Question],
    *,
    light: bool = False,
    encoded: Matrix | None = None,
    tell: Tell = lambda done: None,
) -> Model:
    """A model with a head for each question, over one vocabulary. The texts are folded already.

    `encoded` are their sentence vectors. A `light` model has no networks, and reads neither the
    names of the labels nor meanings: small, and made in seconds.
    """
    for question in questions:
        _refuse_unteachable(folded, question)
    # The matrices are too thin for threads to pay: a second core only spins.
    with threadpool_limits(limits=1):
        words = sum(len(text.split()) for text in folded) / max(len(folded), 1)
        names = [] if light else [each for q in questions for each in _names(set(q.answers))]
        vocabulary = features.learnt(
            [*folded, *(words for _, words in names)],
            pairs=words <= _SHORT and not light and len(folded) >= _SMALL,
            least=2 if len(folded) >= _SMALL else 1,
            meanings=() if light else meanings.lines(),
        )
        tell(0.05)
        reader = Reader(vocabulary)
        texts = _Texts(folded, reader, reader.rows(folded), encoded)
        heads = []
        for number, question in enumerate(questions):
            part = _Part(tell, start=0.05 + 0.95 * number / len(questions), of=len(questions))
            heads.append(_head(texts, question, part, light=light))
        tell(1.0)
        encoder = None if encoded is None else vectors.installed()
        probe = None if encoder is None else encoder.probe
        return Model(vocabulary=vocabulary, heads=tuple(heads), probe=probe)


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
    if not any(folded[row].split() for row in question.rows):
        raise Unteachable("None of the rows has a text in it.")


def _names(labels: Iterable[str]) -> list[tuple[str, str]]:
    """Each label whose name says something, with the words of its name, folded."""
    spaced = ((label, _HUMP.sub(" ", label).replace("_", " ")) for label in sorted(labels))
    return [(label, features.folded(words)) for label, words in spaced if _NAMED.search(words)]


def _task(texts: _Texts, question: Question, *, light: bool) -> _Task:
    found, answers = np.unique(np.asarray(question.answers, dtype=object), return_inverse=True)
    labels: tuple[str, ...] = tuple(found.tolist())
    names = [] if light else _names(labels)
    named = texts.reader.rows([words for _, words in names])
    rows, spoken, spoken_names = texts.rows[question.rows], None, None
    if texts.vectors is not None and (encoder := vectors.installed()) is not None:
        spoken = texts.vectors[question.rows]
        spoken_names = encoder.encode([words for _, words in names])
    share = _share(len(answers), len(labels))
    return _Task(
        labels=labels,
        rows=linear.beside(rows, spoken, share),
        answers=answers.astype(np.int64),
        names=linear.beside(named, spoken_names, share),
        named=np.array([labels.index(label) for label, _ in names], dtype=np.int64),
        core=texts.reader.vocabulary.core,
        terms=texts.reader.vocabulary.columns,
        with_pairs=len(labels) > _FEW_LABELS and len(answers) <= _MOST_PAIRED,
    )


def _share(rows: int, labels: int) -> float:
    """How long a sentence vector is beside the terms of its text."""
    return _LONG if rows < _SMALL or labels <= _FEW_LABELS else _SHORTER


def _head(texts: _Texts, question: Question, tell: Tell, *, light: bool) -> Head:
    task = _task(texts, question, light=light)
    parts = question.parts
    if parts is None:
        parts = _dealt([texts.folded[row] for row in question.rows], task.answers)
    held_out = list(_held_out(parts)) if question.parts is None else np.unique(parts).tolist()
    asked = np.flatnonzero(np.isin(parts, held_out))
    plan = _plan(task, light=light)
    team = _team(task, parts, held_out, plan)
    scores = [member_scores[asked] for _, member_scores in team]
    with_network = not light and _has_network(task)
    share = 1 / (len(held_out) + 1)
    if with_network:
        scores.append(_network_scores(task, parts, held_out, tell, share)[asked])
    truth = task.answers[asked]
    shares = mixing.mixed(scores, truth, with_network=with_network)
    score = np.asarray(sum(part * one for part, one in zip(shares, scores, strict=True)))
    evened = (
        mixing.evened(task.answers, len(task.labels))
        if plan.is_evened
        else np.zeros(len(task.labels))
    )
    sharper = mixing.sharper(score + evened, truth) if plan.is_evened else 1.0
    mix = _mix(shares, len(team), sharper)
    learnt = linear.added(
        [_linear(task, estimator) for estimator, _ in team],
        [part * sharper / mix.linear for part in shares[: len(team)]],
    )
    final = _Span(tell, 1 - share, share)
    length = _share(len(task.answers), len(task.labels))
    score = (score + evened) * sharper
    return Head(
        name=question.name,
        labels=task.labels,
        linear=_unscaled(learnt.weights, task.terms, length),
        intercepts=(learnt.intercepts + evened * sharper / mix.linear).astype(np.float32),
        network=_network(task, final, length) if with_network else None,
        mix=mix,
        measures=_measured(score, truth, len(task.answers), question.precision),
        usual=_usual(score),
    )


def _mix(shares: Sequence[float], team: int, sharper: float) -> Mix:
    return Mix(
        linear=sum(shares[:team]) * sharper,
        network=shares[team] * sharper if len(shares) > team else 0.0,
    )


def _unscaled(weights: Matrix, terms: int, length: float) -> Matrix:
    """Weights for vectors of length one, of those learnt where their length was another."""
    weights[terms:] *= np.float32(length)
    return weights


def _network_scores(
    task: _Task, parts: Numbers, held_out: Sequence[int], tell: Tell, share: float
) -> NDArray[np.float64]:
    """What networks say of the parts they did not see (nought elsewhere)."""
    scores = np.zeros((len(parts), len(task.labels)))
    for number, part in enumerate(held_out):
        taught, asked = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
        student = _network(task.only(taught), _Span(tell, number * share, share), 1.0)
        scores[asked] = student.scores(task.read_by_network(task.rows[asked]))
    return scores


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


class _Plan(NamedTuple):
    """Linear models that are taught and added up."""

    team: tuple[Estimator, ...]
    is_evened: bool = False  # whether rare labels are named a little more readily


_PLAIN: Final = Estimator(2.0, False)
_LOPSIDED: Final = 50  # times as many rows of the commonest of few labels as of the rarest
_LIGHT: Final = _Plan((Estimator(1.0, True),))
_OF_MANY: Final = _Plan((_PLAIN,))
_OF_FEW_ROWS: Final = _Plan((_PLAIN, Estimator(1.0, False, Kind.RATIO)))
_OF_FEW_LABELS: Final = _Plan(
    (Estimator(0.4, True), Estimator(0.5, False, Kind.RATIO)), is_evened=True
)
_FAIR: Final = _Plan((Estimator(10.0, True, Kind.LOGISTIC), Estimator(1.0, True)))


def _is_lopsided(task: _Task) -> bool:
    """Whether rare labels are so rare that a network, or held-out rows of them, only mislead."""
    counts = np.bincount(task.answers)
    return len(task.labels) <= _FEW_LABELS and bool(counts.max() >= _LOPSIDED * counts.min())


def _has_network(task: _Task) -> bool:
    # Of few rows a network learns nothing that linear models do not.
    if len(task.answers) < _SMALL or _is_lopsided(task):
        return False
    # Beside sentence vectors it adds nothing but time, unless it has many rows of few labels.
    with_vectors = task.rows.shape[1] > task.terms
    return not with_vectors or len(task.labels) <= _FEW_LABELS


def _plan(task: _Task, *, light: bool) -> _Plan:
    if light:
        return _LIGHT
    if _is_lopsided(task):
        return _FAIR
    if len(task.labels) <= _FEW_LABELS:
        return _OF_FEW_LABELS
    return _OF_FEW_ROWS if task.rows.shape[0] < _SMALL else _OF_MANY


def _team(
    task: _Task, parts: Numbers, held_out: Sequence[int], plan: _Plan
) -> list[tuple[Estimator, NDArray[np.float64]]]:
    """The linear models of the plan, each with its scores on held-out rows (nought elsewhere)."""
    team: list[tuple[Estimator, NDArray[np.float64]]] = []
    for estimator in plan.team:
        scores = np.zeros((len(parts), len(task.labels)))
        for part in held_out:
            taught, asked = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
            scores[asked] = _linear(task.only(taught), estimator).scores(task.rows[asked])
        team.append((estimator, scores))
    return team


def _linear(task: _Task, estimator: Estimator) -> Linear:
    rows, answers = task.lessons()
    return linear.taught(rows, answers, estimator, labels=len(task.labels), terms=task.terms)


def _network(task: _Task, tell: Tell, length: float) -> Network:
    rows, answers = task.lessons()
    counts = np.bincount(answers, minlength=len(task.labels)).astype(np.float64)
    # The square root of what would balance the labels: all of it makes rare ones too loud.
    weights = (counts.sum() / np.maximum(counts, 1) / len(task.labels)) ** 0.5
    weights /= (weights * counts).sum() / counts.sum()
    few = len(task.labels) <= _FEW_LABELS
    schooling = Schooling(hidden=128, rounds=5, unread=0.5) if few else Schooling()
    # A network takes as many steps for more rows as for so many: enough, and an end in sight.
    rounds = max(2, round(schooling.rounds * min(1.0, _MOST_ROUNDS / len(answers))))
    student = network.taught(
        task.read_by_network(rows),
        answers,
        weights[answers].astype(np.float32),
        labels=len(task.labels),
        schooling=replace(schooling, rounds=rounds),
        chance=np.random.default_rng(_SEED),
        tell=tell,
    )
    terms = task.terms if task.with_pairs else task.core
    return replace(student, inner=_unscaled(student.inner, terms, length))


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
