"""`charrnn generate --novelty`: what was copied, beside the samples and never among them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from charrnn.generation.novelty import novelty

Cli = Callable[..., Any]
OPTIONS = ("-p", "The ", "-n", "80", "--num-samples", "3", "--seed", "2")
TEXT = "The naïve dog sat on the mat. 日本 😀\n" * 3


@pytest.fixture
def compared(tmp_path: Path) -> Path:
    path = tmp_path / "compared.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.mark.parametrize("stream", [[], ["--no-stream"]], ids=["stream", "no stream"])
def test_the_report_is_all_of_stderr_and_no_part_of_stdout(
    stream: list[str], cli: Cli, trained: Path, compared: Path
) -> None:
    plain = cli("generate", trained, *OPTIONS, *stream)
    result = cli("generate", trained, *OPTIONS, *stream, "--novelty", compared)
    samples = [json.loads(line)["text"] for line in cli("generate", trained, *OPTIONS, "--json").out.splitlines()]
    assert (result.code, result.out) == (0, plain.out)
    assert result.err == novelty(samples, [TEXT]).report() + "\n"


def test_json_is_one_more_line_about_what_was_written_without_the_prompt(
    cli: Cli, trained: Path, compared: Path
) -> None:
    result = cli("generate", trained, *OPTIONS, "--json", "--novelty", compared)
    *records, last = map(json.loads, result.out.splitlines())
    expected = novelty([record["text"] for record in records], [TEXT])
    assert (result.code, result.err, len(records)) == (0, "", 3)
    assert last == {"novelty": json.loads(json.dumps(expected.as_dict()))}


def test_the_text_can_lie_in_several_files_of_any_encoding(cli: Cli, trained: Path, tmp_path: Path) -> None:
    for name, part in (("a.txt", TEXT[:40]), ("b.txt", TEXT[40:])):
        (tmp_path / name).write_text(part, encoding="utf-16")
    files = [option for name in ("a.txt", "b.txt") for option in ("--novelty", tmp_path / name)]
    result = cli("generate", trained, *OPTIONS, "--json", *files, "--encoding", "utf-16")
    assert json.loads(result.out.splitlines()[-1])["novelty"]["text_chars"] == len(TEXT)


def test_the_text_can_come_from_standard_input(cli: Cli, trained: Path, compared: Path) -> None:
    read = cli("generate", trained, *OPTIONS, "--novelty", "-", stdin=TEXT)
    assert read.err == cli("generate", trained, *OPTIONS, "--novelty", compared).err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--novelty", "missing.txt"], "missing.txt"),
        (["--novelty", "compared.txt", "--encoding", "klingon"], "klingon"),
        (["-", "--novelty", "-"], "standard input"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_is_one_line_before_anything_is_written(
    arguments: list[str], words: str, cli: Cli, trained: Path, compared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(compared.parent)
    result = cli("generate", trained, *arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert words in result.err


def test_samples_are_not_lost_to_a_text_that_cannot_be_read(cli: Cli, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "latin.txt").write_bytes("café ".encode("latin-1") * 500)
    result = cli("generate", trained, *OPTIONS, "--novelty", tmp_path / "latin.txt")
    assert (result.code, result.out) == (2, cli("generate", trained, *OPTIONS).out)
    assert "--encoding cp1252" in result.err
    assert result.err.count("\n") == 1
