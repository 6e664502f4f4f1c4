"""What triage and retrieval reach on files of one's own, trained and asked as the desk would."""

import csv
import io
import json
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, NoReturn, TypeVar

import numpy as np
import typer
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.markup import escape
from sklearn.metrics import roc_auc_score

from adapters.classifier import TextModel, Unteachable, learn
from adapters.classifier.learning import calibration_error, macro_f1
from adapters.retrieval import Document, Retriever
from cli.output import answer, notes, say
from domain.triage import Prediction, words_of

T = TypeVar("T", bound=BaseModel)

_LARGEST_CELL: Final = 64 << 20  # characters; the csv module stops at 128 KiB otherwise
_ASKED_SINGLY: Final = 400
_BATCH: Final = 4_000  # texts, at least, whose speed is measured
_DELIMITERS: Final = ",;\t|"
_QUOTED: Final = re.compile(r'"[^"]*"')
_HEAD: Final = 1 << 16  # characters the names of the columns are looked for in
_MOST_NAMED: Final = 300  # characters of names a complaint lists
_DEPTH: Final = 10


class Rows(NamedTuple):
    """Texts as the desk would read them, and their labels ("" where there is none)."""

    texts: list[str]
    labels: list[str]


def evaluate(
    train: Path, test: Path, *, text: str, label: str, out_of_scope: Path | None = None
) -> None:
    """Trains on one file, asks about the other, prints the measures as one JSON object."""
    taught = _labelled(rows_of(train, text=text, label=label), train)
    asked = _labelled(rows_of(test, text=text, label=label), test)
    strange = rows_of(out_of_scope, text=text, label=None).texts if out_of_scope else []
    if untaught := {*asked.labels} - {*taught.labels}:
        count = sum(label in untaught for label in asked.labels)
        say(
            f"{test}: {_many(count, 'row')} with a label that {train} does not have count as wrong."
        )
    started = time.perf_counter()
    try:
        learnt = learn(taught.texts, taught.labels)
    except Unteachable as refusal:
        _end(f"{train}: {refusal.detail}")
    seconds = time.perf_counter() - started
    model = TextModel(learnt, "evaluated")
    model.predict(taught.texts[0])
    predictions = model.predict_many(asked.texts)
    measures = measured(predictions, asked.labels)
    if out_of_scope is not None:
        measures["oos_auroc"] = area_under_roc(predictions, model.predict_many(strange))
    measures["train_seconds"] = round(seconds, 2)
    measures["single_p50_ms"] = round(_single(model, asked.texts), 3)
    measures["batch_per_s"] = round(_batch(model, asked.texts))
    answer(measures)


def retrieve(documents: Path, queries: Path) -> None:
    """Builds an index, asks it, prints how often what was wanted came first or near."""
    started = time.perf_counter()
    found = [Document(str(each.id), each.text) for _, each in _lines(documents, _Document)]
    if not found:
        _end(f"{documents} holds no document.")
    known = {document.id for document in found}
    if twice := len(found) - len(known):
        say(
            f"{documents}: {_many(twice, 'document')} with the id of another; both are found by it."
        )
    index = Retriever.build(found)
    built = time.perf_counter() - started
    gains: list[tuple[bool, bool, float]] = []
    took: list[float] = []
    unasked = absent = 0
    for _, query in _lines(queries, _Query):
        wanted = {str(each) for each in query.relevant}
        if not wanted:
            unasked += 1
            continue
        began = time.perf_counter()
        hits = index.search(query.text, _DEPTH + twice)
        took.append(time.perf_counter() - began)
        ids = list(dict.fromkeys(hit.id for hit in hits))[:_DEPTH]
        absent += len(wanted - known)
        gains.append(
            (ids[:1] != [] and ids[0] in wanted, bool(wanted & {*ids[:5]}), ndcg(ids, wanted))
        )
    if not gains:
        _end(f"{queries} holds no query with something relevant to it.")
    if absent:
        named = _many(absent, "relevant id")
        say(f"{queries}: {named} of no document in {documents} count as not found.")
    if unasked:
        say(f"{queries}: {_many(unasked, 'line')} without anything relevant left out.")
    first, near, gain = (float(np.mean(column)) for column in zip(*gains, strict=True))
    answer(
        {
            "hit@1": round(first, 4),
            "hit@5": round(near, 4),
            "ndcg@10": round(gain, 4),
            "documents": len(found),
            "queries": len(gains),
            "build_seconds": round(built, 2),
            "single_p50_ms": round(1000 * statistics.median(took), 3),
        }
    )


def measured(predictions: Sequence[Prediction], labels: Sequence[str]) -> dict[str, float | None]:
    """How right the predictions are, and how far their probabilities can be believed."""
    right = np.array([p.label == label for p, label in zip(predictions, labels, strict=True)])
    sure = np.array([prediction.probability for prediction in predictions])
    names = {name: n for n, name in enumerate({*labels, *(p.label for p in predictions)})}
    return {
        "accuracy": round(float(right.mean()), 4),
        "macro_f1": round(
            macro_f1(
                np.array([names[label] for label in labels]),
                np.array([names[p.label] for p in predictions]),
            ),
            4,
        ),
        "ece": round(calibration_error(sure, right), 4),
        "acc_at_80": round(accuracy_at(0.8, sure, right), 4),
        "acc_at_90": round(accuracy_at(0.9, sure, right), 4),
    }


def accuracy_at(share: float, sure: np.ndarray, right: np.ndarray) -> float:
    """The accuracy of the surest `share` of the answers."""
    count = max(1, round(share * len(right)))
    return float(right[np.argsort(-sure, kind="stable")[:count]].mean())


def ndcg(ids: Sequence[str], wanted: set[str]) -> float:
    """Normalised discounted cumulative gain of the first ten, each wanted one worth the same."""
    gain = sum(1 / np.log2(place + 2) for place, each in enumerate(ids[:_DEPTH]) if each in wanted)
    best = sum(1 / np.log2(place + 2) for place in range(min(len(wanted), _DEPTH)))
    return float(gain / best)


def rows_of(path: Path, *, text: str, label: str | None) -> Rows:
    """The rows of a CSV file. `text` names one column or several; the first is the subject then."""
    content = _decoded(path).lstrip("\r\n")
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=_delimiter(content))
    previous = csv.field_size_limit(_LARGEST_CELL)
    found = Rows([], [])
    try:
        present = [name.strip() for name in next(reader, [])]
        columns = _columns(path, text, present)
        labelled = None if label is None else _place(path, label, present)
        for row in filter(None, reader):
            row += [""] * (len(present) - len(row))
            found.texts.append(_text([row[column] for column in columns]))
            found.labels.append("" if labelled is None else row[labelled].strip())
    except csv.Error as error:
        _end(f"{path}, near line {reader.line_num}: it cannot be read as CSV ({error}).")
    finally:
        csv.field_size_limit(previous)
    return found


def _text(cells: list[str]) -> str:
    if len(cells) == 1:
        return words_of("", cells[0])
    return words_of(cells[0], "\n".join(cells[1:]))


def _decoded(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        _end(f"{path} cannot be read: {error.strerror}.")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", errors="replace")
    if b"\0" in (head := content[:_HEAD].split(b"\n")[0]):
        _end(f"{path} is not text: there is a zero byte in its first line, {head[:20]!r}.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")  # what spreadsheets in the West write


def _delimiter(content: str) -> str:
    """What parts the names of the columns, of which none has it within unless it is quoted."""
    head = re.split(r"[\r\n]", content[:_HEAD], maxsplit=1)[0]
    return max(_DELIMITERS, key=_QUOTED.sub("", head).count)


def _columns(path: Path, text: str, present: list[str]) -> list[int]:
    named = [name.strip() for name in text.split(",") if name.strip()]
    if _found(text, present) is not None or not named:
        named = [text]
    return [_place(path, name, present) for name in named]


def _found(name: str, present: Sequence[str]) -> int | None:
    """The place of a column by its name; in other letters' case where none is written so."""
    if name in present:
        return present.index(name)
    folded = [each.casefold() for each in present]
    return folded.index(name.casefold()) if folded.count(name.casefold()) == 1 else None


def _place(path: Path, name: str, present: Sequence[str]) -> int:
    place = _found(name, present)
    if place is None:
        _missing(path, name, present)
    return place


def _missing(path: Path, name: str, present: Sequence[str]) -> NoReturn:
    if not any(present):
        _end(f"{path} is empty; its first line should name the columns.")
    there = ", ".join(present)
    shown = there if len(there) <= _MOST_NAMED else f"{there[:_MOST_NAMED]}…"
    _end(
        f"{path} has no column {name!r}. The columns are: {shown}. Choose with --text and --label."
    )


def _labelled(rows: Rows, path: Path) -> Rows:
    chosen = [number for number, label in enumerate(rows.labels) if label]
    if not chosen:
        _end(f"{path} has no row with a label.")
    if len(chosen) < len(rows.labels):
        left = len(rows.labels) - len(chosen)
        say(f"{path}: {_many(left, 'row')} without a label left out.")
    return Rows([rows.texts[n] for n in chosen], [rows.labels[n] for n in chosen])


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def area_under_roc(inside: Sequence[Prediction], outside: Sequence[Prediction]) -> float | None:
    """How well strangeness tells the two apart: 0.5 is chance, 1 never errs. None without any."""
    if not outside:
        return None
    strange = [prediction.strangeness for prediction in (*inside, *outside)]
    return round(float(roc_auc_score([0] * len(inside) + [1] * len(outside), strange)), 4)


def _single(model: TextModel, texts: Sequence[str]) -> float:
    """Milliseconds one prediction takes, the words that decided included."""
    took = []
    for text in texts[:_ASKED_SINGLY]:
        began = time.perf_counter()
        model.predict(text)
        took.append(time.perf_counter() - began)
    return 1000 * statistics.median(took)


def _batch(model: TextModel, texts: Sequence[str]) -> float:
    many = list(texts) * -(-_BATCH // len(texts)) if len(texts) < _BATCH else list(texts)
    began = time.perf_counter()
    model.predict_many(many)
    return len(many) / (time.perf_counter() - began)


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True)

    id: str | int
    text: str


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True)

    text: str
    relevant: tuple[str | int, ...]


def _lines(path: Path, shape: type[T]) -> Iterator[tuple[int, T]]:
    for number, line in enumerate(_decoded(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, shape.model_validate(json.loads(line))
        except json.JSONDecodeError as error:
            _end(f"{path}, line {number}: it is not JSON ({error.msg}).")
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            _end(f"{path}, line {number}: {where}: {first['msg']}.")


def _end(sentence: str) -> NoReturn:
    """Ends the command as one that was asked wrongly: exit code 2."""
    notes.print(f"[bold red]holdfast:[/] {escape(sentence)}")
    raise typer.Exit(2)
