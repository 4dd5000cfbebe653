"""Lanes: contiguous streams of text read side by side, the rows of a training batch."""

import numpy as np
import numpy.typing as npt

from charrnn.text.vocab import Ids


class Lanes:
    """`batch_size` places in a circular text, evenly spaced, all moving forward together.

    Each lane is contiguous for ever: from the end of the text it goes on at its beginning. So a network's state
    can be carried from window to window without a break, the windows fall differently at every pass, no tail is
    dropped, and the whole position is one number.
    """

    def __init__(self, ids: Ids, batch_size: int) -> None:
        self.ids = ids
        self.starts = [lane * len(ids) // batch_size for lane in range(batch_size)]
        self.position = 0

    def next_window(self, length: int) -> npt.NDArray[np.int64]:
        """Ids (length + 1, B): inputs are all but the last row, targets all but the first.

        Moves on by `length`, so that the last row is the next window's first.
        """
        window = np.empty((len(self.starts), length + 1), dtype=np.int64)
        for row, start in zip(window, self.starts, strict=True):
            self._read(start + self.position, row)
        self.position = (self.position + length) % len(self.ids)
        return np.ascontiguousarray(window.T)

    def _read(self, start: int, out: npt.NDArray[np.int64]) -> None:
        start %= len(self.ids)
        first = self.ids[start : start + len(out)]
        out[: len(first)] = first
        if len(first) < len(out):
            out[len(first) :] = np.take(self.ids, range(len(out) - len(first)), mode="wrap")
