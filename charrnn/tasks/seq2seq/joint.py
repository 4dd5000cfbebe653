"""A joint-sequence model: a pair as a row of units, each an entry of the source with what it becomes in the target.

So letters become phonemes (Bisani and Ney 2008): units are aligned by expectation maximization, and an n-gram model of
them tells how likely a pair is. It remembers rare spellings that a network smooths over, and errs elsewhere, so both
together choose better than either. Where a target does not follow its source entry by entry, it is of no use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from charrnn.errors import CharrnnError
from charrnn.model_directory import load_arrays, save_arrays
from charrnn.tasks.seq2seq import joint_kernels as kernels
from charrnn.tasks.seq2seq.inputs import Encoded, Sides
from charrnn.tasks.seq2seq.search import Hypothesis
from charrnn.text.ngram_model import NGramModel
from charrnn.text.vocab import Ids

ORDER = 8  # units of an n-gram
ROUNDS = 10  # of expectation maximization
BEAM = 16  # ways to part a pair into units that are followed at once
LONGEST = 400  # entries of a source that is learned from
MOST_UNITS = 1 << 24  # kinds of units that could be
MOST_ENTRIES = 2_000_000  # of all sources that are learned from
MOST_CELLS = 100_000_000  # entries of a source times entries of its target, over all of them


@dataclass(frozen=True)
class JointModel:
    """Units that were seen, and how likely each is after others."""

    units: npt.NDArray[np.int64]  # (U,), their codes, in order
    base: int  # of the codes; its highest digit is an entry of the target that was never seen
    ngrams: NGramModel  # unit i is id 2 + i; 2 + U is one that was never seen

    @classmethod
    def learn(cls, train: Encoded, sides: Sides) -> JointModel:
        """That of pairs of these vocabularies, of very many an even choice."""
        pairs = [
            (source[1:-1].astype(np.int64), target[1:-1].astype(np.int64))
            for source, target in zip(train.sources, train.targets, strict=True)
            if _has_room(source, target)
        ]
        entries, cells = sum(len(x) for x, _ in pairs), sum(len(x) * len(y) for x, y in pairs)
        pairs = pairs[:: max(-(-entries // MOST_ENTRIES), -(-cells // MOST_CELLS))]
        (xs, x_starts), (ys, y_starts) = (_joined(side) for side in zip(*pairs, strict=True))
        base = sides.target.vocab.seen_size + 2
        p = np.full(sides.source.vocab.seen_size * base**2, 1.0)
        for _ in range(ROUNDS):
            expected = np.zeros_like(p)
            kernels.expect(xs, x_starts, ys, y_starts, base, p, expected)
            p = expected / expected.sum()
        aligned = [kernels.align(x, y, base, p) for x, y in pairs]
        rows = [row for row in aligned if row[0] >= 0]
        units = np.unique(np.concatenate(rows))
        ngrams = NGramModel.learn([2 + np.searchsorted(units, row) for row in rows], len(units) + 3, ORDER)
        return cls(units, base, ngrams)

    @staticmethod
    def suits(sides: Sides, train: Encoded) -> bool:
        """Whether targets could follow their sources entry by entry."""
        if "subword" in (sides.source.kind, sides.target.kind):
            return False
        usable = sum(map(_has_room, train.sources, train.targets))
        kinds = sides.source.vocab.seen_size * (sides.target.vocab.seen_size + 2) ** 2
        return kinds <= MOST_UNITS and 10 * usable >= 9 * len(train.sources)

    def log_probability(self, source: Ids, target: Sequence[int]) -> float:
        """Of ids without line ends. What no unit has room for costs as much as units that were never seen."""
        ngrams = self.ngrams
        x, y = np.array(source, dtype=np.int64), np.array(target[: kernels.MOST * len(source)], dtype=np.int64)
        y = np.minimum(y, self.base - 2)
        surplus = (len(target) - len(y)) * ngrams.log_unknown
        pair = kernels.log_joint(ngrams.table, ngrams.log_unknown, ngrams.order, self.units, x, y, self.base, BEAM)
        return surplus + float(pair)

    def judged(self, source: Ids, found: Iterable[Hypothesis]) -> list[Hypothesis]:
        """What was found for a source, ids between two line ends, with this model's log-probabilities."""
        return [replace(each, joint=self.log_probability(source[1:-1], each.ids)) for each in found]

    def save(self, path: Path) -> None:
        """Write a file."""
        ngrams = self.ngrams
        arrays = {name: getattr(ngrams, name) for name in ("keys", "log_p", "log_backoff")}
        numbers = {"base": self.base, "order": ngrams.order, "log_unknown": ngrams.log_unknown}
        save_arrays(path, arrays | {"units": self.units}, {name: repr(number) for name, number in numbers.items()})

    @classmethod
    def load(cls, path: Path) -> JointModel:
        """That in a file. Raises CharrnnError if it is damaged."""
        arrays, numbers = load_arrays(path)
        try:
            keys, log_p, log_backoff = (arrays[name] for name in ("keys", "log_p", "log_backoff"))
            ngrams = NGramModel(keys, log_p, log_backoff, float(numbers["log_unknown"]), int(numbers["order"]))
            return cls(arrays["units"], int(numbers["base"]), ngrams)
        except (KeyError, ValueError) as error:
            raise CharrnnError(f"{path}: damaged: {error!r}") from None


def _has_room(source: Ids, target: Ids) -> bool:
    """Whether units can be made of a pair of ids between line ends."""
    return 0 < len(source) - 2 <= LONGEST and len(target) - 2 <= kernels.MOST * (len(source) - 2)


def _joined(texts: Iterable[npt.NDArray[np.int64]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """All texts in one, and where each begins, and the last ends."""
    parts = list(texts)
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)])
