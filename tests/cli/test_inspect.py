"""`charrnn inspect`: a page is written, whole or not at all, and the rest is on stderr."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn import storage

Cli = Callable[..., Any]


def test_a_page_is_written(cli: Cli, trained: Path, text: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = cli("inspect", trained, text, "-o", page)
    assert (result.code, result.out) == (0, "")
    score = charrnn.load(trained).score(text.read_text(encoding="utf-8"))
    assert result.err.splitlines()[-1].startswith(
        f"{page}: {score.chars:,} characters, {score.bits_per_char:.3f} bits per char, "
    )
    html = page.read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert "<title>text.txt – charrnn inspect</title>" in html
    assert '"isCut":false' in html


def test_standard_input_and_a_bound(cli: Cli, trained: Path, tmp_path: Path) -> None:
    pages = []
    for chars, stdin in ((9, "The naïve cat sat"), (9, "The naïve"), (100, "The naïve")):
        page = tmp_path / f"{len(pages)}.html"
        result = cli("inspect", trained, "-", "-o", page, "--max-chars", chars, stdin=stdin)
        assert result.code == 0
        assert ("first 9 characters" in result.err) == (len(stdin) > chars)
        pages.append(page.read_text(encoding="utf-8"))
    assert pages[0].replace('"isCut":true', '"isCut":false') == pages[1] == pages[2]
    assert "<title>standard input – charrnn inspect</title>" in pages[0]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES])
def test_a_page_that_cannot_be_written_is_one_line_and_the_old_one_stays(
    error: int, cli: Cli, trained: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    page.write_text("old")

    def refuse(*arguments: object) -> None:
        raise OSError(error, os.strerror(error), str(arguments[-1]))

    monkeypatch.setattr(storage.os, "replace", refuse)
    result = cli("inspect", trained, text, "-o", page)
    assert (result.code, result.out) == (1, "")
    assert result.err == f"charrnn: cannot write {page}: {os.strerror(error)}\n"
    assert page.read_text() == "old"
    assert not list(tmp_path.glob("*.partial")) + list(tmp_path.glob(".*.partial"))


def test_inspecting_changes_no_file_of_the_model(cli: Cli, trained: Path, text: Path, tmp_path: Path) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}

    before = contents()
    assert cli("inspect", trained, text, "-o", tmp_path / "page.html").code == 0
    assert contents() == before
