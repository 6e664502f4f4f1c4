"""A model as a file: written whole or not at all, and trusted only when it is what was written.

The file holds text and arrays, nothing that could run; skops builds them without pickle, and
refuses any type it is not told to trust (it is told none). Before it is opened its sha256 must be
the one that is expected: that kept beside it, or, better, one kept elsewhere (`read(path,
sha256=...)`), which also stops somebody who may write to the folder and could forge both.
"""

import hashlib
import os
import warnings
from pathlib import Path
from typing import Final
from uuid import uuid4

import numpy as np
import skops.io
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from adapters.classifier.features import Keys, Matrix, Vocabulary
from adapters.classifier.model import Head, Measures, Mix, Model
from adapters.classifier.network import Network

# Of the file; one not known here is refused, and made anew by training. What older code cannot read
# rightly has a number it does not know: first by whether a network reads pairs of words, then by
# whether the model needs sentence vectors.
FORMATS: Final = {(False, False): 4, (False, True): 5, (True, False): 6, (True, True): 7}
_BEFORE_MEANINGS: Final = {2: False, 3: True}  # older ones, still read: whether they need vectors
_NEEDS_VECTORS: Final = _BEFORE_MEANINGS | {
    number: with_vectors for (_, with_vectors), number in FORMATS.items()
}
LARGEST: Final = 1 << 29  # bytes of a file that is opened; training could make some 230 MB
_TRUSTED: Final[list[str]] = []  # types beyond skops' own (dict, str, numpy arrays): none needed
_SEPARATOR: Final = "\n"  # no term contains it: chunks are cut at blanks
_HALF: Final = np.finfo(np.float16).max


class ModelDamaged(Exception):
    """The model file is not the one that was written."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path.name} cannot be used: {why}.")
        self.path = path


class VectorsMissing(ModelDamaged):
    """The model reads sentence vectors, and this process has none, or others."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            "it was taught with sentence vectors that are not installed here;"
            " install holdfast[vectors], or teach it again",
        )


class _HeadCard(BaseModel):
    """What a head is, without its arrays."""

    model_config = ConfigDict(frozen=True)

    name: str
    labels: tuple[str, ...] = Field(min_length=2)
    mix: Mix
    measures: Measures
    usual: float
    has_network: bool
    network_reads_pairs: bool = False


class _Card(BaseModel):
    model_config = ConfigDict(frozen=True)

    format: int
    heads: tuple[_HeadCard, ...] = Field(min_length=1)


def sum_path(path: Path) -> Path:
    """Where the sha256 of the model at `path` is kept."""
    return path.with_suffix(".sha256")


def packed(model: Model) -> bytes:
    """`model` as the content of a file. Weights keep three digits: more changes no answer."""
    vocabulary = model.vocabulary
    cards = tuple(_card(head, vocabulary) for head in model.heads)
    stored: dict[str, object] = {
        "card": _Card(
            format=FORMATS[
                any(card.network_reads_pairs for card in cards), model.probe is not None
            ],
            heads=cards,
        ).model_dump_json(),
        "words": _SEPARATOR.join(vocabulary.words),
        "neighbours": vocabulary.neighbours,
        "letters": _SEPARATOR.join(vocabulary.letters),
        "meanings": _SEPARATOR.join(vocabulary.meanings),
        "pairs": vocabulary.pairs,
        "rarity": vocabulary.rarity,
    }
    if model.probe is not None:
        stored["probe"] = model.probe
    for number, head in enumerate(model.heads):
        stored[f"{number}.linear"] = _halved(head.linear)
        stored[f"{number}.intercepts"] = head.intercepts
        if head.network is not None:
            stored[f"{number}.inner"] = _halved(head.network.inner)
            stored[f"{number}.inner_bias"] = head.network.inner_bias
            stored[f"{number}.outer"] = _halved(head.network.outer)
            stored[f"{number}.outer_bias"] = head.network.outer_bias
    return bytes(skops.io.dumps(stored))


def unpacked(content: bytes) -> Model:
    """The model in the content of a file. Raises whatever a foreign content makes it raise."""
    with warnings.catch_warnings():
        # A file of another library version says so by a warning; the version decides that.
        warnings.simplefilter("ignore")
        stored = skops.io.loads(content, trusted=_TRUSTED)
    card = _Card.model_validate_json(stored["card"])
    if card.format not in _NEEDS_VECTORS:
        raise ValueError(f"format {card.format}, none of {', '.join(map(str, _NEEDS_VECTORS))}")
    vocabulary = Vocabulary(
        words=_terms(stored["words"]),
        neighbours=_keys(stored, "neighbours"),
        letters=_terms(stored["letters"]),
        pairs=_keys(stored, "pairs"),
        rarity=_array(stored, "rarity", None),
        meanings=() if card.format in _BEFORE_MEANINGS else _terms(stored["meanings"]),
    )
    if vocabulary.columns != vocabulary.core + len(vocabulary.pairs):
        raise ValueError(f"{vocabulary.columns} numbers for the terms")
    probe = _array(stored, "probe", None) if _NEEDS_VECTORS[card.format] else None
    dimensions = 0 if probe is None else len(probe)
    heads = tuple(
        _head(stored, number, head, vocabulary, dimensions)
        for number, head in enumerate(card.heads)
    )
    return Model(vocabulary=vocabulary, heads=heads, probe=probe)


def write(model: Model, path: Path) -> str:
    """Puts `model` at `path` and returns its sha256; a reader sees the former file or this one."""
    content = packed(model)
    digest = hashlib.sha256(content).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    # The sum goes first: a crash in between leaves a pair that does not match, which is noticed.
    _replace(sum_path(path), digest.encode() + b"\n")
    _replace(path, content)
    return digest


def read(path: Path, *, sha256: str | None = None) -> Model:
    """The model at `path`, whose content must have the sum `sha256`, else that kept beside it.

    Raises FileNotFoundError when there is none, ModelDamaged when it is not what was written.
    """
    if path.stat().st_size > LARGEST:
        raise ModelDamaged(path, f"it is larger than {LARGEST >> 20} MiB, which no model is")
    return opened(path.read_bytes(), path, sha256=sha256 or _kept_sum(path))


def opened(content: bytes, path: Path, *, sha256: str) -> Model:
    """The model in `content`, which came from `path` or is to be called so in complaints.

    Raises VectorsMissing for one that this process cannot ask.
    """
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelDamaged(path, "its content does not match its sum")
    try:
        model = unpacked(content)
    except Exception as error:  # whatever skops, zipfile, json and numpy make of a foreign file
        raise ModelDamaged(path, f"it does not hold a model ({type(error).__name__})") from error
    if not model.is_answerable:
        raise VectorsMissing(path)
    return model


def _kept_sum(path: Path) -> str:
    try:
        return sum_path(path).read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise ModelDamaged(path, "its sum is missing or unreadable") from error


def _card(head: Head, vocabulary: Vocabulary) -> _HeadCard:
    return _HeadCard(
        name=head.name,
        labels=head.labels,
        mix=head.mix,
        measures=head.measures,
        usual=head.usual,
        has_network=head.network is not None,
        network_reads_pairs=bool(len(vocabulary.pairs))
        and head.network is not None
        and len(head.network.inner) == len(head.linear),
    )


def _head(
    stored: dict[str, object],
    number: int,
    card: _HeadCard,
    vocabulary: Vocabulary,
    dimensions: int,
) -> Head:
    count = len(card.labels)
    network = None
    if card.has_network:
        bias = _array(stored, f"{number}.inner_bias", None)
        terms = vocabulary.columns if card.network_reads_pairs else vocabulary.core
        network = Network(
            inner=_array(stored, f"{number}.inner", (terms + dimensions, len(bias))),
            inner_bias=bias,
            outer=_array(stored, f"{number}.outer", (len(bias), count)),
            outer_bias=_array(stored, f"{number}.outer_bias", (count,)),
        )
    return Head(
        name=card.name,
        labels=card.labels,
        linear=_array(stored, f"{number}.linear", (vocabulary.columns + dimensions, count)),
        intercepts=_array(stored, f"{number}.intercepts", (count,)),
        network=network,
        mix=card.mix,
        measures=card.measures,
        usual=card.usual,
    )


def _terms(joined: object) -> tuple[str, ...]:
    if not isinstance(joined, str):
        raise TypeError("the terms are not text")
    return tuple(joined.split(_SEPARATOR)) if joined else ()


def _keys(stored: dict[str, object], name: str) -> Keys:
    array = stored[name]
    if not isinstance(array, np.ndarray) or array.dtype != np.int64 or array.ndim != 1:
        raise TypeError(f"{name} is not a list of numbers")
    return array


def _array(stored: dict[str, object], name: str, shape: tuple[int, ...] | None) -> Matrix:
    array = stored[name]
    if not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.float16):
        raise TypeError(f"{name} is not an array of numbers")
    if array.shape != (shape or (len(array),)):
        raise ValueError(f"{name} has the shape {array.shape}, not {shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds what is no number")
    return np.ascontiguousarray(array, dtype=np.float32)


def _halved(array: Matrix) -> NDArray[np.float16]:
    return np.clip(array, -_HALF, _HALF).astype(np.float16)


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
