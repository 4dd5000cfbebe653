"""`charrnn evaluate`: scores of texts and lines."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

import charrnn
from charrnn.network.dynamic import DynamicConfig

Cli = Callable[..., Any]


def test_the_figures_are_those_of_the_model(cli: Cli, trained: Path, text: Path) -> None:
    score = charrnn.load(trained).score(text.read_text())
    result = cli("evaluate", trained, text)
    assert (result.code, result.err) == (0, "")
    figures = {line[:15].strip(): line[15:].split()[0] for line in result.out.splitlines()}
    assert figures == {
        "bits per char": f"{score.bits_per_char:.4f}",
        "bits per byte": f"{score.bits_per_byte:.4f}",
        "perplexity": f"{score.perplexity:.4f}",
        "total": f"{score.nats:,.1f}",
        "scored": f"{score.chars:,}",
    }


def test_json_has_every_figure(cli: Cli, trained: Path, text: Path) -> None:
    figures = json.loads(cli("evaluate", trained, text, "--json").out)
    assert figures == pytest.approx(charrnn.load(trained).score(text.read_text()).as_dict())


def test_several_files_are_one_text(cli: Cli, trained: Path, text: Path, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    content = text.read_text()
    for number, part in enumerate([content[:1000], content[1000:]]):
        (tmp_path / "parts" / f"{number}.txt").write_text(part)
    whole = cli("evaluate", trained, text).out
    assert cli("evaluate", trained, tmp_path / "parts").out == whole
    assert cli("evaluate", trained, tmp_path / "parts" / "0.txt", tmp_path / "parts" / "1.txt").out == whole
    assert cli("evaluate", trained, "-", stdin=content).out == whole


def test_each_line_is_one_json_object(cli: Cli, trained: Path, tmp_path: Path) -> None:
    lines = ["The cat", "", "日本 never seen: Ж", "x" * 500, "the end without a line end"]
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    result = cli("evaluate", trained, path, "--per-line")
    model = charrnn.load(trained)
    found = [json.loads(line) for line in result.out.splitlines()]
    assert [entry.pop("line") for entry in found] == [1, 2, 3, 4, 5]
    for entry, line in zip(found, lines, strict=True):
        expected = model.score(line).as_dict()
        assert entry == {
            name: value if value is None else pytest.approx(value, rel=1e-4) for name, value in expected.items()
        }


@pytest.mark.parametrize(("content", "count"), [("", 0), ("a\n", 1), ("a\n\n", 2), ("\n", 1)])
def test_a_line_end_ends_a_line(content: str, count: int, cli: Cli, trained: Path) -> None:
    assert len(cli("evaluate", trained, "-", "--per-line", stdin=content).out.splitlines()) == count


def test_an_empty_text_has_no_score(cli: Cli, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    result = cli("evaluate", trained, tmp_path / "empty.txt")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("charrnn: ")
    assert result.err.count("\n") == 1


# --dynamic


def test_the_dynamic_figure_stands_beside_the_plain_one(cli: Cli, trained: Path, text: Path) -> None:
    plain, dynamic = charrnn.load(trained).score_dynamic(text.read_text())
    without, result = cli("evaluate", trained, text), cli("evaluate", trained, text, "--dynamic")
    assert (result.code, result.err) == (0, "")
    *lines, last = result.out.splitlines(keepends=True)
    assert "".join(lines) == without.out
    assert last == (
        f"dynamic        {dynamic.bits_per_char:.4f} bits per char ({dynamic.nats_per_char:.4f} nats), "
        f"{dynamic.bits_per_byte:.4f} bits per byte, at lr 0.0003\n"
    )
    assert dynamic.nats < plain.nats


def test_json_has_both_figures_and_the_settings(cli: Cli, trained: Path, text: Path) -> None:
    config = DynamicConfig(lr=0.002)
    plain, dynamic = charrnn.load(trained).score_dynamic(text.read_text(), config)
    # Standard input, which can be read only once.
    found = json.loads(
        cli("evaluate", trained, "-", "--dynamic", "--dynamic-lr", "0.002", "--json", stdin=text.read_text()).out
    )
    names = ("nats", "nats_per_char", "bits_per_char", "bits_per_byte")
    expected = {name: getattr(dynamic, name) for name in names} | asdict(config)
    assert found.pop("dynamic") == pytest.approx(expected)
    assert found == pytest.approx(plain.as_dict())


def test_an_empty_text_has_no_dynamic_score(cli: Cli, trained: Path) -> None:
    found = json.loads(cli("evaluate", trained, "-", "--dynamic", "--json").out)
    assert (found["dynamic"]["nats"], found["dynamic"]["bits_per_char"]) == (0, None)


def test_evaluating_changes_no_file(cli: Cli, trained: Path, text: Path) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}

    before = contents()
    cli("evaluate", trained, text, "--dynamic")
    assert contents() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--dynamic", "--per-line"], "leave --per-line out"),
        (["--dynamic-lr", "0.1"], "--dynamic"),
        (["--dynamic", "--dynamic-lr", "-1"], "0 or more"),
        (["--dynamic", "--dynamic-lr", "nan"], "0 or more"),
    ],
)
def test_settings_that_make_no_sense_are_one_line(
    options: list[str], words: str, cli: Cli, trained: Path, text: Path
) -> None:
    result = cli("evaluate", trained, text, *options)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("charrnn: ")
    assert result.err.count("\n") == 1
    assert words in result.err
