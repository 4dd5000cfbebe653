"""From drawn entries to text that can be shown: whole characters only, and nothing that a stop string cuts off."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class TextStream:
    """Takes UTF-8 bytes piece by piece, gives text as soon as it is certain.

    Half a character waits for its other half; the beginning of a stop string waits until it is clear that it is
    none. Ends at a stop string (left out of the text) or after `max_chars` characters.
    """

    def __init__(self, max_chars: int, stop: Sequence[str] = ()) -> None:
        self.stop = [text for text in stop if text]
        self.left = max_chars
        self.finish_reason: str | None = "length" if max_chars <= 0 else None
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    @property
    def finished(self) -> bool:
        return self.finish_reason is not None

    def feed(self, piece: bytes) -> str:
        """The text that this piece makes certain."""
        if self.finished:
            return ""
        return self._release(self._decoder.decode(piece))

    def close(self) -> str:
        """What was held back, once nothing can follow."""
        if self.finished:
            return ""
        text = self._release(self._decoder.decode(b"", final=True))
        if not self.finished:
            text += self._held[: self.left]
            self.finish_reason = "length"
        return text

    def _release(self, new: str) -> str:
        text = self._held + new
        found = [(at + len(stop), at) for stop in self.stop if (at := text.find(stop)) >= 0]
        # The stop string that is complete first ends the text, so that it does not matter how pieces are cut.
        end = min(found)[1] if found else len(text) - self._possible_stop(text)
        self._held = text[end:]
        if found:
            self.finish_reason = "stop"
        if end >= self.left:
            end, self.finish_reason = self.left, "length"
        self.left -= end
        return text[:end]

    def _possible_stop(self, text: str) -> int:
        """Length of the longest end of `text` with which a stop string begins."""
        longest = max(map(len, self.stop), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[-length:]) for stop in self.stop):
                return length
        return 0
