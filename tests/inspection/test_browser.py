"""The page in a browser: what it shows, how it is moved through, and that it reaches for nothing."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from charrnn.inspection.page import About, render
from charrnn.inspection.properties import search
from charrnn.inspection.trace import Trace, trace
from charrnn.tasks.language_model.model import LanguageModel

pytestmark = pytest.mark.browser

PATIENCE = 180_000  # ms; a busy machine is slow to start a browser
OPTIONS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
]
TEXT = "First (one) line,\nsecond LINE “in quotes” 12.\n\n" * 40 + "<b>&amp;\tlast\x00 日本"


@pytest.fixture(scope="module")
def browser(browser_program: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_program, args=OPTIONS, timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def found(model: LanguageModel) -> Trace:
    return trace(model, TEXT)


@pytest.fixture(scope="module")
def path(found: Trace, model: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(
        render(found, search(found), model.vocab, About("text.txt", "model", "a network")), encoding="utf-8"
    )
    return path


def opened(browser: Browser, path: Path, **options: Any) -> Page:
    """A page that fails the test at any error, message of the console, or request but for the page itself."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}} | options)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text))
    page.on(
        "request", lambda request: troubles.append(request.url) if request.url[:5] not in ("file:", "data:") else None
    )
    page.goto(path.as_uri())
    assert troubles == []
    page.troubles = troubles  # type: ignore[attr-defined]
    return page


@pytest.fixture
def page(browser: Browser, path: Path) -> Iterator[Page]:
    page = opened(browser, path)
    yield page
    assert page.troubles == []  # type: ignore[attr-defined]
    page.context.close()


def cursor(page: Page) -> int:
    place: int = page.evaluate("document.querySelector('#text .at').place")
    return place


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def probability_shown(page: Page) -> float:
    """That of what came, of a span of one entry."""
    shown = page.inner_text("#facts dd >> nth=2")
    return float(shown.split(" %")[0].removeprefix("< ")) / 100


def test_the_text_is_there_and_marked_by_surprise(page: Page, found: Trace) -> None:
    shown = page.evaluate("document.getElementById('text').textContent")
    assert shown == TEXT.replace("\0", "\u2400")
    levels = page.evaluate(
        "[...document.querySelectorAll('#text > span')].map((cell) => Number(cell.classList[0].slice(1)))"
    )
    ends = np.cumsum(found.lengths)
    bits = np.diff(np.cumsum(found.nats / math.log(2), dtype=np.float64)[ends - 1], prepend=0)
    assert levels == pytest.approx((2 * bits).clip(0, 16), abs=0.51)


def test_embedded_numbers_are_read_back(page: Page, found: Trace) -> None:
    assert page.evaluate("Array.from(bits)") == pytest.approx((found.nats / math.log(2)).tolist(), rel=1e-6)
    count = page.evaluate("data.units.length")
    values = np.array(page.evaluate("data.units.map((_, row) => data.spans.map((_, i) => valueOf(row, i)))"))
    units = page.evaluate("data.units")
    column = {(u.layer + 1, u.part, u.index): i for i, u in enumerate(found.units)}
    assert count == len(found.units)
    for unit, row in zip(units, values, strict=True):
        states = found.states[:, column[unit["layer"], unit["part"], unit["index"]]]
        inside = np.abs(states - unit["median"]) < unit["scale"]
        assert np.abs(states - row)[inside].max() <= 0.51 * unit["scale"] / 127


def test_keys_move_a_cursor_and_the_alternatives_follow(page: Page, found: Trace) -> None:
    assert cursor(page) == 0
    before = page.inner_text("#alternatives")
    press(page, "ArrowRight", "ArrowRight", "ArrowRight")
    assert cursor(page) == 3
    assert page.inner_text("#alternatives") != before
    assert probability_shown(page) == pytest.approx(math.exp(-found.nats[3]), rel=0.05)
    shares = [float(text.split()[0]) for text in page.locator("#alternatives .share").all_inner_texts()[:5]]
    assert shares == pytest.approx((100 * found.probabilities[3]).tolist(), rel=0.06)
    assert page.locator("#alternatives .came").count() == 1
    press(page, "ArrowLeft")
    assert cursor(page) == 2
    press(page, "End")
    assert cursor(page) == TEXT.index("\n")
    press(page, "Home")
    assert cursor(page) == 0
    press(page, "ArrowRight", "ArrowDown")
    assert cursor(page) == TEXT.index("\n") + 2
    press(page, "ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowUp")  # through an empty line and back
    assert cursor(page) == 1
    press(page, "Control+End")
    assert cursor(page) == len(TEXT) - 1
    assert page.locator("#text .at").bounding_box()["y"] < 800  # type: ignore[index]
    press(page, "PageUp")
    assert 0 < cursor(page) < len(TEXT) - 40
    press(page, "Control+Home")
    assert cursor(page) == 0


def test_what_the_cursor_is_on_is_announced(page: Page) -> None:
    press(page, "ArrowRight")
    expect(page.locator("#announcer")).to_have_text(re.compile("^i: .* bits. Likeliest: "), timeout=PATIENCE)


def test_the_pointer_shows_and_a_pin_holds(page: Page) -> None:
    parts = "#text, #alternatives, .state, .track, #legend"
    boxes = f"[...document.querySelectorAll('{parts}')].map((part) => JSON.stringify(part.getBoundingClientRect()))"
    before, layout = page.inner_text("#facts"), page.evaluate(boxes)
    page.hover("#text > span >> nth=30")
    hovered = page.inner_text("#facts")
    assert hovered != before
    assert page.evaluate(boxes) == layout
    assert cursor(page) == 0
    press(page, "Enter")
    assert cursor(page) == 30
    page.hover("#text > span >> nth=50")
    assert page.inner_text("#facts") == hovered
    assert page.get_attribute("#pin", "aria-pressed") == "true"
    press(page, "Escape")
    page.hover("#text > span >> nth=51")
    assert page.inner_text("#facts") != hovered
    page.click("#text > span >> nth=52")
    assert cursor(page) == 52


def test_a_property_shows_its_units(page: Page, found: Trace) -> None:
    colours = "[...document.querySelectorAll('#text > span')].map((cell) => cell.classList[0])"
    by_surprise = page.evaluate(colours)
    for tracking in search(found)[1:3]:
        page.select_option("#property", label=tracking.tracked.name)
        scores = [float(text.replace("−", "-")) for text in page.locator("#best .share").all_inner_texts()]
        assert scores == pytest.approx([score for _, score in tracking.best], abs=0.0051)
        page.click("#best button >> nth=1")
        unit = tracking.best[1][0]
        name = f"layer {unit.layer + 1} · {unit.index}"
        assert page.inner_text("#best button[aria-pressed=true] span >> nth=0") == name
        assert page.inner_text("#unit-name") == f"Unit: {name}"
        assert page.evaluate(colours) != by_surprise
        assert page.is_checked("input[value=unit]")
    page.check("input[value=bits]")
    assert page.evaluate(colours) == by_surprise


def test_any_unit_can_be_picked(page: Page) -> None:
    page.select_option("#layer", "2")
    option = page.locator("#unit option").nth(3)
    page.select_option("#unit", option.get_attribute("value"))
    assert page.inner_text("#unit-name") == f"Unit: layer 2 · {option.inner_text()}"


def test_the_curve_leads_to_its_place(page: Page) -> None:
    box = page.locator("#bits-plot").bounding_box()
    assert box is not None
    gutter = page.evaluate("GUTTER")
    page.mouse.click(box["x"] + gutter + 0.75 * (box["width"] - gutter), box["y"] + 30)
    assert cursor(page) == pytest.approx(0.75 * len(TEXT), abs=5)
    place, text = (page.locator(name).bounding_box() for name in ("#text .at", "#text"))
    assert place is not None
    assert text is not None
    assert text["y"] < place["y"] < text["y"] + text["height"]
    mark = float(page.get_attribute("#bits-plot .cursor", "x1") or 0)
    assert mark == pytest.approx(gutter + 0.75 * (box["width"] - gutter), abs=5)
    before = cursor(page)
    press(page, "ArrowRight")  # the keys go on from there
    assert cursor(page) == before + 1
    page.focus("#bits-plot")
    press(page, "Home")
    assert cursor(page) == 0
    press(page, "ArrowRight")
    assert cursor(page) == round(len(TEXT) / 100)
    assert int(page.get_attribute("#bits-plot", "aria-valuenow") or 0) == cursor(page) + 1


CONTRASTS = """() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (...colours) => {
    for (const colour of colours) {
      context.fillStyle = colour;
      context.fillRect(0, 0, 1, 1);
    }
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const of = (element, name) => getComputedStyle(element)[name];
  const contrast = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  const paper = of(document.getElementById("text"), "backgroundColor");
  const ink = paint(of(document.getElementById("text"), "color"));
  const cell = document.querySelector("#text span");
  const levels = [];
  for (const [kind, count] of [["h", HEAT_LEVELS], ["u", UNIT_LEVELS], ["d", UNIT_LEVELS]]) {
    for (let level = 0; level <= count; level++) {
      cell.className = kind + level;
      levels.push(contrast(ink, paint(paper, of(cell, "backgroundColor"))));
    }
  }
  const muted = [...document.querySelectorAll("#about, #keys, .caption, #note, #facts dt")].map((element) => (
    contrast(paint(of(element, "color")), Math.min(paint(of(document.body, "backgroundColor")), paint(paper)))
  ));
  return [...levels, ...muted];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_theme_follows_the_system_can_be_changed_and_is_readable(scheme: str, browser: Browser, path: Path) -> None:
    other = {"light": "dark", "dark": "light"}[scheme]
    page = opened(browser, path, color_scheme=scheme)
    assert page.get_attribute("html", "data-theme") == scheme
    assert min(page.evaluate(CONTRASTS)) >= 4.5
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.focus("#theme")
    press(page, "Enter")
    assert page.get_attribute("html", "data-theme") == other
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != background
    page.context.close()


@pytest.mark.parametrize("width", [400, 800, 1280])
def test_no_width_needs_scrolling_sideways(width: int, browser: Browser, path: Path) -> None:
    page = opened(browser, path, viewport={"width": width, "height": 700})
    assert page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert page.locator("#alternatives").is_visible()
    page.context.close()


def test_parts_of_a_character_have_their_own_alternatives(
    model_of_any_vocab: LanguageModel, browser: Browser, tmp_path: Path
) -> None:
    text = "日本 a😀\n"
    found = trace(model_of_any_vocab, text)
    path = tmp_path / "page.html"
    path.write_text(render(found, search(found), model_of_any_vocab.vocab, About("", "", "")), encoding="utf-8")
    page = opened(browser, path)
    for place, length in enumerate(found.lengths.tolist()):
        assert cursor(page) == place
        assert page.locator("#alternatives ol").count() == length
        assert page.locator("#alternatives .came").count() == length
        press(page, "ArrowRight")
    assert page.locator("#property").is_hidden()  # too short a text to track anything in
    page.context.close()
