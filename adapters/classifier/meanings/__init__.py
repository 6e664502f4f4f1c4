"""Words that mean much the same to a help desk, so that customers who word things anew are read.

Written by hand, in `words.txt`. A model keeps the meanings it was taught with in its file: another
edition of the list changes no model that was made before.
"""

from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("words.txt")


@cache
def lines() -> tuple[str, ...]:
    """A line for each meaning: its words between blanks, "deliver*" for all that begin so."""
    written = (line.strip() for line in FILE.read_text(encoding="utf-8").splitlines())
    return tuple(line for line in written if line and not line.startswith("#"))


class Lookup:
    """Finds the meanings of a word by their numbers."""

    def __init__(self, meanings: tuple[str, ...]) -> None:
        self._whole: dict[str, list[int]] = {}
        self._beginnings: dict[str, list[int]] = {}
        for number, line in enumerate(meanings):
            for word in dict.fromkeys(line.split()):
                found = self._beginnings if word.endswith("*") else self._whole
                found.setdefault(word.removesuffix("*"), []).append(number)
        sizes = {len(each) for each in self._beginnings}
        self._sizes = range(min(sizes, default=1), max(sizes, default=0) + 1)

    def of(self, word: str) -> tuple[int, ...]:
        """The numbers of its meanings in order, each once; none for most words."""
        found = set(self._whole.get(word, ()))
        for size in self._sizes:
            if size > len(word):
                break
            found.update(self._beginnings.get(word[:size], ()))
        return tuple(sorted(found))
