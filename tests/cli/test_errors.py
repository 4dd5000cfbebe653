"""Whatever goes wrong is one line on stderr with the right exit code, and an earlier model is left as it was."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from charrnn import storage
from charrnn.checkpoint import load_tensors

Cli = Callable[..., Any]
Call = list[str]


def files_of(directory: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path): path.read_bytes() for path in paths if directory / "cache" not in path.parents}


def assert_one_line(result: Any, code: int, words: str) -> None:
    assert result.code == code, result.err
    assert result.out == ""
    assert result.err.startswith("charrnn: "), result.err
    assert result.err.count("\n") == 1, result.err
    assert words in result.err


@pytest.fixture
def place(model: Path, text: Path, tmp_path: Path) -> Path:
    """A folder with a model, a text, and much that is neither."""
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "short.txt").write_text("too short")
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 50)
    (tmp_path / "latin.txt").write_bytes("café ".encode("latin-1") * 500)
    (tmp_path / "damaged.txt.gz").write_bytes(b"\x1f\x8b\x08\x00 nothing packed")
    (tmp_path / "no text").mkdir()
    (tmp_path / "no text" / "image.png").write_bytes(b"\0" * 100)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.doc").write_text("years of work")
    (tmp_path / "broken.toml").write_text("steps = = 3")
    (tmp_path / "unknown.toml").write_text("stesp = 3")
    shutil.copytree(model, tmp_path / "unresumable", ignore=shutil.ignore_patterns("training"))
    return tmp_path


WRONG_CALLS: list[tuple[str, int, str]] = [
    ("trian text.txt -o new", 2, "did you mean 'train'"),
    ("hello", 2, "--help"),
    ("--wrong", 2, "--wrong"),
    ("train text.txt", 2, "--output"),
    ("train text.txt -o new --stesp 3", 2, "--steps"),
    ("train text.txt -o new --steps many", 2, "many"),
    ("train text.txt -o new --steps 0", 2, "steps"),
    ("train text.txt -o new --minutes -1", 2, "minutes"),
    ("train text.txt -o new --minutes 1 --steps 5", 2, "one budget"),
    ("train text.txt -o new --steps 5 --set epochs=2", 2, "one budget"),
    ("train text.txt -o new --cell rnn", 2, "mingru"),
    ("train text.txt -o new --size enormous", 2, "tiny"),
    ("train text.txt -o new --vocab words", 2, "subword"),
    ("train text.txt -o new --vocab-size 3", 2, "too small"),
    ("train text.txt -o new --device abacus", 2, "abacus"),
    ("train text.txt -o new --encoding klingon", 2, "klingon"),
    ("train text.txt -o new --seed 9223372036854775808", 2, "seed"),
    ("train text.txt -o new --set hiden_size=3", 2, "did you mean 'hidden_size'"),
    ("train text.txt -o new --set hidden_size", 2, "key=value"),
    ("train text.txt -o new --set hidden_size=wide", 2, "hidden_size"),
    ("train text.txt -o new --set dropout=1.5", 2, "dropout"),
    ("train text.txt -o new --set precision=fp7", 2, "fp32"),
    ("train text.txt -o new --set val=text.txt", 2, "'val'"),
    ("train text.txt -o new --set report=1", 2, "'report'"),
    ("train text.txt -o new --set encoding=utf-8", 2, "'encoding'"),
    ("train text.txt -o new --config missing.toml", 2, "missing.toml"),
    ("train text.txt -o new --config broken.toml", 2, "broken.toml"),
    ("train text.txt -o new --config unknown.toml", 2, "did you mean 'steps'"),
    ("train missing.txt -o new", 2, "missing.txt"),
    ("train *.nothing -o new", 2, "*.nothing"),
    ("train empty.txt -o new", 2, "too short"),
    ("train short.txt -o new", 2, "too short"),
    ("train text.txt -o new --val empty.txt", 2, "validation text"),
    ("train text.txt -o new --val missing.txt", 2, "missing.txt"),
    ("train image.png -o new", 2, "not a text file"),
    ("train latin.txt -o new", 2, "--encoding cp1252"),
    ("train damaged.txt.gz -o new", 1, "damaged.txt.gz"),
    ("train no_text -o new", 2, "no text files"),
    ("train - -o new", 2, "too short"),
    ("train text.txt -o model", 2, "--resume"),
    ("train text.txt -o unresumable", 2, "already holds a model"),
    ("train text.txt -o foreign", 2, "not empty"),
    ("train text.txt -o short.txt", 2, "is a file"),
    ("train text.txt -o short.txt/new --steps 5", 2, "short.txt: is a file"),
    ("train -o new --resume", 2, "no run to resume"),
    ("train -o foreign --resume", 2, "no run to resume"),
    ("train -o unresumable --resume", 2, "no run to resume"),
    ("train -o model --resume --steps 500", 2, "steps"),
    ("train -o model --resume --set lr=1", 2, "lr"),
    ("train -o model --resume --val text.txt", 2, "val"),
    ("train -o model --resume --init-from model", 2, "init_from"),
    ("train text.txt -o model --resume", 2, "another"),
    ("train text.txt -o new --init-from missing", 2, "missing"),
    ("train text.txt -o new --init-from foreign", 2, "foreign"),
    ("train text.txt -o new --init-from model --cell gru", 2, "cell"),
    ("train text.txt -o new --set hidden_size=5000000", 1, "out of memory"),
    ("generate missing", 2, "missing"),
    ("generate foreign", 2, "foreign"),
    ("generate text.txt", 2, "text.txt"),
    ("generate", 2, "MODEL"),
    ("generate model --seed -1", 2, "seed"),
    ("generate model --save-state foreign", 2, "is a folder"),
    ("generate model --save-state nowhere/new", 2, "no folder nowhere"),
    ("evaluate model", 2, "FILE"),
    ("evaluate missing text.txt", 2, "missing"),
    ("evaluate model missing.txt", 2, "missing.txt"),
    ("evaluate model image.png", 2, "not a text file"),
    ("evaluate model latin.txt", 2, "--encoding cp1252"),
    ("evaluate model text.txt --device abacus", 2, "abacus"),
    ("inspect model text.txt", 2, "--output"),
    ("inspect model -o new", 2, "FILE"),
    ("inspect missing text.txt -o new", 2, "missing"),
    ("inspect foreign text.txt -o new", 2, "foreign"),
    ("inspect model missing.txt -o new", 2, "missing.txt"),
    ("inspect model empty.txt -o new", 2, "the text is empty"),
    ("inspect model - -o new", 2, "the text is empty"),
    ("inspect model image.png -o new", 2, "not a text file"),
    ("inspect model latin.txt -o new", 2, "--encoding cp1252"),
    ("inspect model text.txt -o foreign", 2, "is a folder"),
    ("inspect model text.txt -o nowhere/new", 2, "no folder nowhere"),
    ("inspect model text.txt -o short.txt/new", 2, "no folder short.txt"),
    ("inspect model text.txt -o /dev/null", 2, "no file that could be replaced"),
    ("inspect model text.txt -o new --encoding locale", 2, "unknown encoding"),
    ("inspect model text.txt -o new --max-chars 0", 2, "--max-chars"),
    ("inspect model text.txt -o new --device abacus", 2, "abacus"),
]


@pytest.mark.parametrize(("call", "code", "words"), WRONG_CALLS, ids=[call for call, _, _ in WRONG_CALLS])
def test_a_wrong_call_is_one_line_and_changes_nothing(
    call: str, code: int, words: str, cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    before = files_of(place)
    arguments = [argument.replace("no_text", "no text") for argument in call.split()]
    result = cli(*arguments)
    assert_one_line(result, code, words)
    assert files_of(place) == before
    assert not (place / "new").exists()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_closed_stream_is_an_empty_one(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$0" -m charrnn corpus list {closed}', sys.executable], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert bool(done.stdout) == (closed != ">&-")


@pytest.mark.parametrize(
    "command",
    [
        ["generate", "model"],
        ["evaluate", "model", "text.txt"],
        ["inspect", "model", "text.txt", "-o", "new"],
        ["train", "text.txt", "-o", "new", "--init-from", "model"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "generation_config.json"])
def test_a_damaged_model_is_one_line(
    name: str, command: Call, cli: Cli, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    path = place / "model" / name
    path.write_bytes(path.read_bytes()[:-20])
    assert_one_line(cli(*command), 1, name)


@pytest.mark.parametrize("name", ["training/state.safetensors", "training/run.json", "config.json", "tokenizer.json"])
def test_a_damaged_run_is_one_line_and_left_alone(name: str, cli: Cli, model: Path) -> None:
    path = model / name
    path.write_bytes(path.read_bytes()[:-20])
    before = files_of(model)
    assert_one_line(cli("train", "-o", model, "--resume", "-q"), 1, Path(name).name)
    assert files_of(model) == before


def full_disk(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[-1]))


def test_a_full_disk_is_one_line_and_the_run_can_go_on(
    train: Cli, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full before anything is written, and at every file from then on."""
    assert train(tmp_path / "undisturbed").code == 0
    expected = load_tensors(tmp_path / "undisturbed" / "model.safetensors")[0]
    replace = os.replace
    for allowed in range(40):
        output = tmp_path / f"full-{allowed}"
        written = 0

        def until_full(source: Path, target: Path, allowed: int = allowed, output: Path = output) -> None:
            nonlocal written
            if output in Path(target).parents:
                if written == allowed:
                    full_disk(source, target)
                written += 1
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(storage.os, "replace", until_full)
            result = train(output, "-q")
        if result.code == 0:
            break
        assert_one_line(result, 1, os.strerror(errno.ENOSPC))
        assert not list(output.rglob("*.partial"))
        saved = (output / "training" / "state.safetensors").exists()
        again = cli("train", "-o", output, "--resume", "-q") if saved else train(output, "-q")
        assert (again.code, again.err) == (0, "")
        for name, tensor in load_tensors(output / "model.safetensors")[0].items():
            assert torch.equal(tensor, expected[name]), name
    assert 12 < allowed < 39


def test_a_folder_without_permission_is_one_line(train: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, *arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refused)
        result = train(tmp_path / "new", "-q")
    assert_one_line(result, 1, "Permission denied")


def test_a_write_that_fails_inside_a_library_is_one_line(
    train: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`safetensors` reports a full disk in an error of its own."""
    from safetensors import SafetensorError

    from charrnn import model_directory

    def fail(*arguments: object, **options: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(model_directory, "save_file", fail)
    assert_one_line(train(tmp_path / "new", "-q"), 1, "No space left on device")


def test_the_command_alone_shows_its_help(cli: Cli) -> None:
    for arguments in ([], ["corpus"]):
        result = cli(*arguments)
        assert "Usage: charrnn" in result.out + result.err
        assert (result.out + result.err).count("\n") > 5


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["-h"], ["train", "--help"], ["generate", "-h"], ["evaluate", "--help"], ["inspect", "--help"]],
    ids=" ".join,
)
def test_help_goes_to_stdout(arguments: Call, cli: Cli) -> None:
    result = cli(*arguments)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("Usage: charrnn")


def test_the_version_is_that_of_the_package(cli: Cli) -> None:
    import charrnn

    assert cli("--version").out.strip().endswith(charrnn.__version__)


def test_the_module_is_the_command(trained: Path, tmp_path: Path) -> None:
    """In a process of its own: exit code and streams are as in this one."""
    arguments = [sys.executable, "-m", "charrnn", "generate", str(trained), "-t", "0", "-n", "5", "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["text"]) == 5
    done = subprocess.run([*arguments[:4], str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("charrnn: ")
    assert done.stderr.count("\n") == 1
