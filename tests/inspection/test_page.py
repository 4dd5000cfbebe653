"""The page holds the numbers it shows, and nothing that reaches out of it or that the text could break."""

import base64
import json
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from charrnn.inspection import page
from charrnn.inspection.page import About, choose_units, quantize, render
from charrnn.inspection.properties import search
from charrnn.inspection.trace import Trace, trace
from charrnn.tasks.language_model.model import LanguageModel

ABOUT = About(title="a <b> & c.txt", model="model", network="a network")


class Reader(HTMLParser):
    """Elements, their attributes, and the text in scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.contents: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.contents.append("")

    def handle_data(self, data: str) -> None:
        if self.contents:
            self.contents[-1] += data


def payload(html: str) -> dict[str, Any]:
    reader = Reader(html)
    (data,) = [c for tag, c in zip(reader.tags, reader.contents, strict=True) if tag == "script" and c.startswith("{")]
    values: dict[str, Any] = json.loads(data)
    return values


def array(entry: dict[str, str]) -> np.ndarray[Any, Any]:
    return np.frombuffer(base64.b64decode(entry["data"]), dtype=np.dtype(entry["dtype"]).newbyteorder("<"))


def made(model: LanguageModel, text: str) -> tuple[Trace, str, dict[str, Any]]:
    found = trace(model, text)
    html = render(found, search(found), model.vocab, ABOUT)
    return found, html, payload(html)


def test_nothing_is_loaded_from_elsewhere(model: LanguageModel) -> None:
    text = "See https://example.org/a.js or //example.org <img src=http://example.org>. " * 5
    _, html, _ = made(model, text)
    reader = Reader(html)
    links = [
        value for name, value in reader.attributes if name in ("src", "href", "srcset", "action", "data", "poster")
    ]
    assert links == ["data:,"]
    assert "img" not in reader.tags
    assert not {"iframe", "object", "embed", "base", "form"} & set(reader.tags)
    code = page._resource("page.css") + page._resource("page.js")
    assert re.findall(r"@import|url\(|\bimport\b|fetch\(|XMLHttpRequest|WebSocket|sendBeacon", code) == []
    assert "default-src 'none'" in html


def test_a_text_cannot_break_the_page(model: LanguageModel) -> None:
    plain = Reader(made(model, "harmless")[1]).tags
    for text in (
        "</script><script>alert(1)</script>",
        "<!-- <script>",
        "]]> {{SCRIPT}} {{DATA}} </style>",
        "\u2028&lt;",
    ):
        _, html, data = made(model, text)
        assert Reader(html).tags == plain
        assert "".join(data["spans"]) == text


def test_a_title_is_text(model: LanguageModel) -> None:
    _, html, data = made(model, "text")
    assert "<title>a &lt;b&gt; &amp; c.txt – charrnn inspect</title>" in html
    assert data["title"] == ABOUT.title


def test_lone_surrogates_can_be_written(model_of_any_vocab: LanguageModel) -> None:
    _, html, data = made(model_of_any_vocab, "a\ud800b")
    html.encode("utf-8")
    assert "".join(data["spans"]) == "a\ud800b"


def test_the_numbers_come_back(model_of_any_vocab: LanguageModel, text: str) -> None:
    found, _, data = made(model_of_any_vocab, text)
    assert data["spans"] == list(found.spans)
    assert array(data["lengths"]).tolist() == found.lengths.tolist()
    assert array(data["ranks"]).tolist() == found.ranks.tolist()
    assert array(data["bits"]) == pytest.approx(found.nats / np.log(2), rel=1e-6)
    probabilities = array(data["probabilities"]).reshape(found.probabilities.shape) / 0xFFFF
    assert np.abs(probabilities - found.probabilities).max() <= 0.5 / 0xFFFF + 1e-7
    states = array(data["states"]).reshape(len(data["units"]), len(found.spans))
    column = {(u.layer + 1, u.part, u.index): i for i, u in enumerate(found.units)}
    for unit, codes in zip(data["units"], states, strict=True):
        values = found.states[:, column[unit["layer"], unit["part"], unit["index"]]]
        low, high = unit["median"] - unit["scale"], unit["median"] + unit["scale"]
        assert unit["median"] + unit["scale"] * codes / 127 == pytest.approx(
            values.clip(low, high), abs=0.51 * unit["scale"] / 127
        )
    trackings = {tracking.tracked.name: tracking for tracking in search(found)}
    assert list(trackings) == [entry["name"] for entry in data["properties"]]
    assert not set(trackings) & set(data["absent"])
    for entry in data["properties"]:
        tracking = trackings[entry["name"]]
        assert array(entry["values"]) / 255 * entry["top"] == pytest.approx(tracking.values, abs=entry["top"] / 500)
        units = [data["units"][row] for row, _ in entry["best"]]
        assert [(u["layer"] - 1, u["part"], u["index"]) for u in units] == [
            (u.layer, u.part, u.index) for u, _ in tracking.best
        ]
        assert [score for _, score in entry["best"]] == pytest.approx([score for _, score in tracking.best], abs=1e-4)


def test_entries_read_as_text_where_they_complete_it(model_of_any_vocab: LanguageModel, text: str) -> None:
    found, _, data = made(model_of_any_vocab, text)
    labels, vocab = data["labels"], model_of_any_vocab.vocab
    came = [labels[i] for i in array(data["came"]).tolist()]
    start = 0
    for span, length in zip(found.spans, found.lengths.tolist(), strict=True):
        *_, last = came[start : start + length]
        assert span.endswith(last)
        if length > 1 and len(span) == 1:
            assert came[start : start + length - 1] == [
                list(vocab.pieces[i]) for i in found.ids[start : start + length - 1]
            ]
        start += length
    alternatives = array(data["alternatives"]).reshape(found.alternatives.shape)
    for label, entry, row, entries in zip(
        array(data["came"]), found.ids.tolist(), alternatives, found.alternatives.tolist(), strict=True
    ):
        assert [same == label for same in row] == [same == entry for same in entries]


def test_a_scale_leaves_outliers_out() -> None:
    draw = np.random.default_rng(0)
    states = draw.normal(size=(5000, 3)).astype(np.float32)
    states[7] = 1000
    states[:, 1] = 4
    states[:, 2] = 0
    states[9, 2] = -2  # moves once
    codes, median, scale = quantize(states)
    assert codes.shape == (3, 5000)
    assert scale[0] < 5
    assert codes[0, 7] == 127
    assert (codes[1, [0, 8]] == 0).all()
    assert median[1] == 4
    assert (codes[2, 9], scale[2]) == (-127, 2)


def test_units_that_track_come_first_and_the_number_is_bounded(model: LanguageModel, text: str) -> None:
    found = trace(model, text)
    trackings = search(found)
    tracking = {found.units.index(unit) for t in trackings for unit, _ in t.best}
    everything = choose_units(found, trackings)
    assert sorted(everything) == list(range(len(found.units)))
    assert set(everything[: len(tracking)]) == tracking
    assert choose_units(found, trackings, limit=5) == everything[:5]
    varying = choose_units(found, [])
    spread = found.states.std(axis=0)
    for layer in {unit.layer for unit in found.units}:
        of_layer = [spread[i] for i in varying if found.units[i].layer == layer]
        assert of_layer == sorted(of_layer, reverse=True)
    assert len({found.units[i].layer for i in varying[:2]}) == 2


def test_a_page_of_no_units_that_track_anything_is_whole(model: LanguageModel) -> None:
    _, _, data = made(model, "a")
    assert data["properties"] == []
    assert len(data["units"]) == len(trace(model, "a").units)
