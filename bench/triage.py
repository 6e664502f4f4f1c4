"""What triage reaches on public sets: `make bench-triage`. Numbers and method: docs/triage.md.

A fifth of each set is held out, always the same rows, each label in proportion; the rest is learnt
exactly as `holdfast triage evaluate` does. The limits are those of 95 in 100 bootstrap samples of
the held-out rows: they say what chance in the choice of rows does, not what another desk would see.

Beside it stands what is plain, taught and asked with the same rows: scikit-learn's counts of words
and letters, and a support-vector machine. Their speeds are measured in turn, for others may use the
machine meanwhile.
"""

import csv
import json
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.svm import LinearSVC

from adapters.classifier import TextModel, learn
from adapters.classifier.learning import calibration_error, macro_f1
from cli.triage import accuracy_at, area_under_roc, rows_of

FOLDER: Final = Path(__file__).resolve().parents[2] / "shared" / "data" / "triage"
_SAMPLES: Final = 1_000
_SEED: Final = 7
_TIMES: Final = 3  # that a speed is measured; the best counts
_BATCH: Final = 4_000  # texts, at least, whose speed is measured
_SINGLY: Final = 300


class Set(NamedTuple):
    """A public set, and the measures that are asked of it."""

    folder: str
    text: str = "text"
    label: str = "label"
    strange: str | None = None


SETS: Final = (
    Set("banking77"),
    Set("clinc150", strange="out_of_scope.csv"),
    Set("hint3_curekart"),
    Set("hint3_powerplay11"),
    Set("hint3_sofmattress"),
    Set("sentiment_airline"),
    Set("it_tickets", text="title,body", label="category"),
)


class Outcome(NamedTuple):
    """Of each held-out row: the right answer, the given one, and how sure it was."""

    truth: NDArray[np.int64]
    guessed: NDArray[np.int64]
    sure: NDArray[np.float64]


MEASURES: Final[dict[str, Callable[[Outcome], float]]] = {
    "accuracy": lambda o: float((o.truth == o.guessed).mean()),
    "macro_f1": lambda o: macro_f1(o.truth, o.guessed),
    "ece": lambda o: calibration_error(o.sure, o.truth == o.guessed),
    "acc_at_80": lambda o: accuracy_at(0.8, o.sure, o.truth == o.guessed),
    "acc_at_90": lambda o: accuracy_at(0.9, o.sure, o.truth == o.guessed),
}


def held_out(labels: list[str]) -> NDArray[np.bool_]:
    """Every fifth row of each label, in a fixed shuffled order."""
    chance = np.random.RandomState(_SEED)
    names = np.array(labels)
    chosen = np.zeros(len(names), dtype=bool)
    for name in np.unique(names):
        rows = np.flatnonzero(names == name)
        chance.shuffle(rows)
        chosen[rows[chance.randint(5) :: 5]] = True
    return chosen


def limits(outcome: Outcome, measure: Callable[[Outcome], float]) -> tuple[float, float]:
    """Between which values `measure` lies in 95 of 100 samples of the same rows."""
    chance = np.random.RandomState(_SEED)
    count = len(outcome.truth)
    values = []
    for _ in range(_SAMPLES):
        rows = chance.randint(count, size=count)
        values.append(
            measure(Outcome(outcome.truth[rows], outcome.guessed[rows], outcome.sure[rows]))
        )
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def run(chosen: Set) -> dict[str, object]:
    """The measures on one set, with their limits."""
    rows = rows_of(FOLDER / chosen.folder / "train.csv", text=chosen.text, label=chosen.label)
    asked = held_out(rows.labels)
    taught = ~asked
    texts, labels = np.array(rows.texts, dtype=object), np.array(rows.labels, dtype=object)
    started = time.perf_counter()
    model = TextModel(learn(texts[taught].tolist(), labels[taught].tolist()), "bench")
    seconds = time.perf_counter() - started
    simple, seconds_simple = _plain(texts[taught].tolist(), labels[taught].tolist())
    questions = texts[asked].tolist()
    predictions = model.predict_many(questions)
    said = simple.predict(questions).tolist()
    names = {name: number for number, name in enumerate(sorted({*rows.labels}))}
    outcome = Outcome(
        np.array([names[label] for label in labels[asked]]),
        np.array([names[each.label] for each in predictions]),
        np.array([each.probability for each in predictions]),
    )
    told: dict[str, object] = {
        "set": chosen.folder,
        "labels": len(names),
        "taught": int(taught.sum()),
        "asked": int(asked.sum()),
    }
    for name, measure in MEASURES.items():
        low, high = limits(outcome, measure)
        told[name] = [round(measure(outcome), 4), round(low, 4), round(high, 4)]
    if chosen.strange:
        strange = rows_of(FOLDER / chosen.folder / chosen.strange, text="text", label=None).texts
        told["oos_auroc"] = area_under_roc(predictions, model.predict_many(strange))
    right = outcome.truth == (answers := np.array([names[label] for label in said]))
    told["plain_accuracy"] = round(float(right.mean()), 4)
    told["plain_macro_f1"] = round(macro_f1(outcome.truth, answers), 4)
    told["train_seconds"], told["plain_train_seconds"] = round(seconds, 1), round(seconds_simple, 1)
    many = questions * -(-_BATCH // len(questions))
    batch = _in_turn({"": lambda: model.predict_many(many), "plain_": lambda: simple.predict(many)})
    single = _in_turn(
        {
            "": lambda: _one_by_one(model.predict, questions),
            "plain_": lambda: _one_by_one(lambda text: simple.predict([text]), questions),
        }
    )
    for name in batch:
        told[f"{name}single_p50_ms"] = round(1000 * min(each for each, _ in single[name]), 3)
        told[f"{name}batch_per_s"] = round(len(many) / min(took for _, took in batch[name]))
    return told


def _plain(texts: list[str], labels: list[str]) -> tuple[Pipeline, float]:
    """What a few lines make of the same rows, and how many seconds that took."""
    words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2))
    letters = TfidfVectorizer(sublinear_tf=True, analyzer="char_wb", ngram_range=(2, 5), min_df=2)
    made = make_pipeline(make_union(words, letters), LinearSVC())
    started = time.perf_counter()
    made.fit(texts, labels)
    return made, time.perf_counter() - started


def _in_turn(
    what: dict[str, Callable[[], object]],
) -> dict[str, list[tuple[float, float]]]:
    """What each gave, where that is a number, and how long it took; each asked in turn."""
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in what}
    for _ in range(_TIMES):
        for name, ask in what.items():
            began = time.perf_counter()
            gave = ask()
            seconds = time.perf_counter() - began
            took[name].append((gave if isinstance(gave, float) else 0.0, seconds))
    return took


def _one_by_one(ask: Callable[[str], object], texts: list[str]) -> float:
    """Seconds that one text takes, at the median."""
    took = []
    for text in texts[:_SINGLY]:
        began = time.perf_counter()
        ask(text)
        took.append(time.perf_counter() - began)
    return float(np.median(took))


COLUMNS: Final = {
    "set": "set",
    "asked": "rows asked",
    "plain": "plain: accuracy, macro-F1",
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "acc_at_80": "surest 80 %",
    "ece": "calibration error",
}
SPEEDS: Final = {
    "set": "set",
    "train_seconds": "seconds to train",
    "single_p50_ms": "one prediction, median ms",
    "batch_per_s": "batch, a second",
}


def tables(outcomes: list[dict[str, object]]) -> str:
    """The tables of docs/triage.md, as they stand there."""
    lines = [_line(COLUMNS.values()), _line("---" for _ in COLUMNS)]
    for told in outcomes:
        cells = dict(told) | {"plain": _numbers([told["plain_accuracy"], told["plain_macro_f1"]])}
        lines.append(_line(_cell(cells[name]) for name in COLUMNS))
    lines += ["", _line(SPEEDS.values()), _line("---" for _ in SPEEDS)]
    for told in outcomes:
        speeds = [name for name in SPEEDS if name != "set"]
        lines.append(
            _line(
                [
                    str(told["set"]),
                    *(f"{told[name]:,} ({told[f'plain_{name}']:,})" for name in speeds),
                ]
            )
        )
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: object) -> str:
    if isinstance(value, list):
        found, low, high = (_numbers([each]) for each in value)
        return f"{found} [{low}, {high}]"
    return str(value)


def _numbers(values: Iterable[object]) -> str:
    return ", ".join(f"{value:.3f}".lstrip("0") for value in values)


def main(wanted: list[str]) -> None:
    """Prints a JSON object for each set, or for those that are named, and all of it as a table."""
    csv.field_size_limit(1 << 30)
    if not FOLDER.is_dir():
        sys.stderr.write(f"Skipped: there is no {FOLDER}; the sets are not part of the project.\n")
        return
    outcomes = []
    for chosen in SETS:
        if not wanted or chosen.folder in wanted:
            outcomes.append(run(chosen))
            sys.stdout.write(json.dumps(outcomes[-1]) + "\n")
            sys.stdout.flush()
    sys.stdout.write(f"\n{tables(outcomes)}\n\nIn parentheses what is plain.\n")


if __name__ == "__main__":
    main(sys.argv[1:])
