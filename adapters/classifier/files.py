"""A model as a file: written whole or not at all, and trusted only when it is what was written.

The file holds text and arrays, nothing that could run; skops builds them without pickle. The sum
beside it tells a torn or altered file from a good one. It does not stop somebody who may write to
the folder: they can write both.
"""

import hashlib
import os
import warnings
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import skops.io
from pydantic import BaseModel, ConfigDict

from adapters.classifier.training import Head, Matrix, Model, Terms

_TRUSTED: Final[list[str]] = []  # types beyond skops' own (dict, str, numpy arrays): none needed
_SEPARATOR: Final = "\n"  # no term contains it: both vectorizers take line breaks for spaces


class ModelDamaged(Exception):
    """The model file is not the one that was written."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path.name} cannot be used: {why}.")
        self.path = path


class _Heads(BaseModel):
    model_config = ConfigDict(frozen=True)

    heads: tuple[Head, ...]


def sum_path(path: Path) -> Path:
    """Where the sha256 of the model at `path` is kept."""
    return path.with_suffix(".sha256")


def write(model: Model, path: Path) -> None:
    """Puts `model` at `path`; a reader sees the former file or this one, never a part."""
    content = skops.io.dumps(
        {
            "word_terms": _SEPARATOR.join(model.words.terms),
            "word_rarity": model.words.rarity,
            "letter_terms": _SEPARATOR.join(model.letters.terms),
            "letter_rarity": model.letters.rarity,
            "weights": model.weights,
            "intercepts": model.intercepts,
            "heads": _Heads(heads=model.heads).model_dump_json(),
        }
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    # The sum goes first: a crash in between leaves a pair that does not match, which is noticed.
    _replace(sum_path(path), hashlib.sha256(content).hexdigest().encode() + b"\n")
    _replace(path, content)


def read(path: Path) -> Model:
    """The model at `path`.

    Raises FileNotFoundError when there is none, ModelDamaged when it is not what was written.
    """
    content = path.read_bytes()
    try:
        expected = sum_path(path).read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise ModelDamaged(path, "its sum is missing or unreadable") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise ModelDamaged(path, "its content does not match its sum")
    try:
        return _unpacked(content)
    except Exception as error:  # whatever skops, zipfile, json and numpy make of a foreign file
        raise ModelDamaged(path, f"it does not hold a model ({type(error).__name__})") from error


def _unpacked(content: bytes) -> Model:
    with warnings.catch_warnings():
        # A file of another library version says so by a warning; the fingerprint decides that.
        warnings.simplefilter("ignore")
        stored = skops.io.loads(content, trusted=_TRUSTED)
    model = Model(
        words=Terms(tuple(stored["word_terms"].split(_SEPARATOR)), _array(stored, "word_rarity")),
        letters=Terms(
            tuple(stored["letter_terms"].split(_SEPARATOR)), _array(stored, "letter_rarity")
        ),
        weights=_array(stored, "weights"),
        intercepts=_array(stored, "intercepts"),
        heads=_Heads.model_validate_json(stored["heads"]).heads,
    )
    columns = sum(len(head.labels) for head in model.heads)
    rows = len(model.words.terms) + len(model.letters.terms)
    if model.weights.shape != (rows, columns) or model.intercepts.shape != (columns,):
        raise ValueError(f"weights of shape {model.weights.shape}, not {(rows, columns)}")
    return model


def _array(stored: dict[str, object], name: str) -> Matrix:
    array = stored[name]
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        raise TypeError(f"{name} is not an array of 32-bit numbers")
    return array


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with draft.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
