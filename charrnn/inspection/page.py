"""The page that shows a trace: one HTML file that loads nothing.

`page.html`, `page.css` and `page.js` beside this file are put together with the numbers, which are quantized to what
a screen can show and written in base64: about 300 bytes a character, most of it for the states of `MAX_UNITS` units.

Shapes: S spans, U units, N entries.
"""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from charrnn.inspection.properties import PROPERTIES, Tracking
from charrnn.inspection.trace import Floats, Trace, Unit
from charrnn.text.vocab import Vocab

MAX_UNITS = 192  # whose states a page holds
OUTLIERS = 0.5  # per cent of a unit's values at either end that may lie beyond its scale
STEPS = 127  # of a unit's scale above and below its median


@dataclass(frozen=True)
class About:
    """What the page says of its text and model."""

    title: str  # of the text
    model: str
    network: str  # one line
    is_cut: bool = False  # the text goes on after what is shown


def render(trace: Trace, trackings: Sequence[Tracking], vocab: Vocab, about: About) -> str:
    """The page as HTML, to be written in UTF-8."""
    text = json.dumps(_payload(trace, trackings, vocab, about), separators=(",", ":"))
    parts = {
        "TITLE": html.escape(f"{about.title} – charrnn inspect"),
        "STYLE": _resource("page.css"),
        "SCRIPT": _resource("page.js"),
        # Nothing in the text can end the script element, or begin a comment in it.
        "DATA": text.replace("<", "\\u003c"),
    }
    page = _resource("page.html")
    for name, part in parts.items():
        before, after = page.split(f"{{{{{name}}}}}")
        page = before + part + after
    return page


def choose_units(trace: Trace, trackings: Sequence[Tracking], limit: int = MAX_UNITS) -> list[int]:
    """Columns of the states that a page holds: units that track a property, then those that vary most in a layer."""
    column = {unit: i for i, unit in enumerate(trace.units)}
    tracking = [column[unit] for rank in zip(*(found.best for found in trackings), strict=True) for unit, _ in rank]
    spread = trace.states.std(axis=0)
    by_part: dict[tuple[int, str], list[int]] = {}
    for i in np.argsort(-spread, kind="stable").tolist():
        by_part.setdefault((trace.units[i].layer, trace.units[i].part), []).append(i)
    rank_in_part = {i: rank for part in by_part.values() for rank, i in enumerate(part)}
    varying = sorted(range(len(trace.units)), key=lambda i: (rank_in_part[i], i))
    return list(dict.fromkeys([*tracking, *varying]))[:limit]


def quantize(states: Floats) -> tuple[npt.NDArray[np.int8], Floats, Floats]:
    """States (S, U) → codes (U, S), medians (U,) and scales (U,): state ≈ median + scale·code / 127.

    The scale leaves the `OUTLIERS` out, which are clipped to it.
    """
    median = np.median(states, axis=0).astype(np.float32)
    away = np.abs(states - median)
    scale = np.percentile(away, 100 - OUTLIERS, axis=0).astype(np.float32)
    scale = np.where(scale > 0, scale, away.max(axis=0, initial=0.0)).astype(np.float32)
    relative = np.divide(states - median, scale, out=np.zeros_like(states), where=scale > 0)
    codes = np.rint(STEPS * relative.clip(-1, 1)).astype(np.int8)
    return np.ascontiguousarray(codes.T), median, scale


def _payload(trace: Trace, trackings: Sequence[Tracking], vocab: Vocab, about: About) -> dict[str, Any]:
    columns = choose_units(trace, trackings)
    codes, medians, scales = quantize(trace.states[:, columns])
    place = {trace.units[column]: row for row, column in enumerate(columns)}
    labels, came, alternatives = _labels(trace, vocab)
    return {
        "title": about.title,
        "model": about.model,
        "network": about.network,
        "isCut": about.is_cut,
        "spans": trace.spans,
        "lengths": _array(_smallest(trace.lengths)),
        "bits": _array((trace.nats / np.log(2)).astype(np.float32)),
        "ranks": _array(_smallest(trace.ranks)),
        "labels": labels,
        "came": _array(_smallest(came)),
        "numAlternatives": trace.alternatives.shape[1],
        "alternatives": _array(_smallest(alternatives)),
        "probabilities": _array(np.rint(trace.probabilities * 0xFFFF).astype(np.uint16)),
        "numUnits": len(trace.units),
        "units": [
            {**_named(trace.units[column]), "median": _short(medians[row]), "scale": _short(scales[row])}
            for row, column in enumerate(columns)
        ],
        "states": _array(codes),
        "properties": [_property(found, place) for found in trackings],
        "absent": [p.name for p in PROPERTIES if p not in [found.tracked for found in trackings]],
    }


def _property(found: Tracking, place: dict[Unit, int]) -> dict[str, Any]:
    top = float(found.values.max())
    return {
        "name": found.tracked.name,
        "about": found.tracked.about,
        "isBinary": found.is_binary,
        "mean": float(found.values.mean()),
        "top": top,
        "values": _array(np.rint(255 * found.values / top).astype(np.uint8)),
        "best": [[place[unit], round(score, 4)] for unit, score in found.best if unit in place],
    }


def _named(unit: Unit) -> dict[str, Any]:
    return {"layer": unit.layer + 1, "part": unit.part, "index": unit.index}


def _labels(trace: Trace, vocab: Vocab) -> tuple[list[str | list[int]], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """How entries read where they stand: distinct labels, and the places in them of what came and of alternatives.

    An entry that completes a character reads as that character; one that doesn't make text reads as its bytes.
    """
    places: dict[str | tuple[int, ...], int] = {}
    came = np.empty(len(trace.ids), dtype=np.int64)
    alternatives = np.empty_like(trace.alternatives)
    for i, before in enumerate(_unfinished(trace, vocab)):
        came[i] = places.setdefault(_label(before, vocab.pieces[int(trace.ids[i])]), len(places))
        for k, entry in enumerate(trace.alternatives[i].tolist()):
            alternatives[i, k] = places.setdefault(_label(before, vocab.pieces[entry]), len(places))
    return [label if isinstance(label, str) else list(label) for label in places], came, alternatives


def _unfinished(trace: Trace, vocab: Vocab) -> Iterator[bytes]:
    """Before each entry: the bytes of a character that are there already."""
    ids = iter(trace.ids.tolist())
    for length in trace.lengths.tolist():
        data = b""
        for _ in range(length):
            yield data[_whole(data) :]
            data += vocab.pieces[next(ids)]


def _whole(data: bytes) -> int:
    """Length of the whole characters at the beginning of UTF-8 bytes."""
    try:
        data.decode("utf-8", errors="surrogatepass")
    except UnicodeDecodeError as error:
        return error.start
    return len(data)


def _label(before: bytes, piece: bytes) -> str | tuple[int, ...]:
    try:
        return (before + piece).decode("utf-8")
    except UnicodeDecodeError:
        return tuple(piece)


def _array(values: npt.NDArray[Any]) -> dict[str, str]:
    """An array in base64, its numbers in little-endian order."""
    little = values.astype(values.dtype.newbyteorder("<"), copy=False)
    return {"dtype": values.dtype.name, "data": base64.b64encode(little.tobytes()).decode("ascii")}


def _smallest(values: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


def _short(value: Any) -> float:
    return float(f"{value:.5g}")


def _resource(name: str) -> str:
    return files("charrnn.inspection").joinpath(name).read_text(encoding="utf-8")
