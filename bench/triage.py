"""What triage reaches on public sets: `make bench-triage`. Numbers and method: docs/triage.md.

A fifth of each set is held out, always the same rows, each label in proportion; the rest is learnt
exactly as `holdfast triage evaluate` does. The limits are those of 95 in 100 bootstrap samples of
the held-out rows: they say what chance in the choice of rows does, not what another desk would see.
"""

import csv
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adapters.classifier import TextModel, learn
from adapters.classifier.learning import calibration_error, macro_f1
from cli.triage import accuracy_at, area_under_roc, rows_of

FOLDER: Final = Path(__file__).resolve().parents[2] / "shared" / "data" / "triage"
_SAMPLES: Final = 1_000
_SEED: Final = 7


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
    model.predict_many(texts[taught][:64].tolist())
    started = time.perf_counter()
    predictions = model.predict_many(texts[asked].tolist())
    speed = len(predictions) / (time.perf_counter() - started)
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
    told["train_seconds"] = round(seconds, 1)
    told["single_p50_ms"] = round(_single(model, texts[asked][:300].tolist()), 3)
    told["batch_per_s"] = round(speed)
    return told


def _single(model: TextModel, texts: list[str]) -> float:
    took = []
    for text in texts:
        began = time.perf_counter()
        model.predict(text)
        took.append(time.perf_counter() - began)
    return 1000 * float(np.median(took))


def main(wanted: list[str]) -> None:
    """Prints a JSON object for each set, or for those that are named."""
    csv.field_size_limit(1 << 30)
    if not FOLDER.is_dir():
        sys.stderr.write(f"Skipped: there is no {FOLDER}; the sets are not part of the project.\n")
        return
    for chosen in SETS:
        if not wanted or chosen.folder in wanted:
            sys.stdout.write(json.dumps(run(chosen)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
