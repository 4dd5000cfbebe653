"""`charrnn generate`: text alone on stdout, from any prompt."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import charrnn

Cli = Callable[..., Any]


def test_the_prompt_and_what_follows_are_all_of_stdout(cli: Cli, trained: Path) -> None:
    result = cli("generate", trained, "-p", "The", "-n", "60", "--seed", "1")
    (sample,) = charrnn.load(trained).generate("The", max_chars=60, seed=1)
    assert (result.code, result.out, result.err) == (0, f"The{sample.text}\n", "")


def test_a_prompt_of_any_script_is_printed_as_it_is(cli: Cli, trained: Path) -> None:
    prompt = "日本 غير 😀\t“é”"
    result = cli("generate", trained, "-p", prompt, "-n", "5")
    assert result.out.startswith(prompt)
    assert len(result.out) == len(prompt) + 6


def test_the_prompt_can_come_from_standard_input(cli: Cli, trained: Path) -> None:
    options = ["-n", "30", "--seed", "4"]
    given = cli("generate", trained, "-p", "naïve\ncat", *options)
    read = cli("generate", trained, "-", *options, stdin="naïve\ncat")
    assert read.out == given.out
    assert cli("generate", trained, "-", *options, stdin=b"\xff").code == 0


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["-t", "0"], {"temperature": 0.0}),
        (["--top-k", "2"], {"top_k": 2}),
        (["--top-p", "0.5"], {"top_p": 0.5}),
        (["--min-p", "0.2"], {"min_p": 0.2}),
        (["--repetition-penalty", "2"], {"repetition_penalty": 2.0}),
        (["--stop", "a", "--stop", "e"], {"stop": ["a", "e"]}),
        (["-n", "0"], {"max_chars": 0}),
    ],
    ids=str,
)
def test_options_are_those_of_the_model(options: list[str], settings: dict[str, Any], cli: Cli, trained: Path) -> None:
    arguments = {"max_chars": 40, "seed": 3, **settings}
    expected = charrnn.load(trained).generate("T", **arguments)[0].text
    for more in ([], ["--no-stream"]):
        assert cli("generate", trained, "-p", "T", "-n", "40", "--seed", "3", *options, *more).out == f"T{expected}\n"


@pytest.mark.parametrize("stream", [[], ["--no-stream"]], ids=["stream", "no stream"])
def test_several_samples_come_in_order(stream: list[str], cli: Cli, trained: Path) -> None:
    samples = charrnn.load(trained).generate("T", num_samples=5, max_chars=40, seed=6, stop=["s"], temperature=2.0)
    assert len({len(sample.text) for sample in samples}) > 1
    arguments = ["-p", "T", "-n", "40", "--seed", "6", "--num-samples", "5", "--stop", "s", "-t", "2"]
    assert cli("generate", trained, *arguments, *stream).out == "".join(f"T{sample.text}\n" for sample in samples)
    records = [json.loads(line) for line in cli("generate", trained, *arguments, "--json").out.splitlines()]
    assert [record.pop("nats_per_char") for record in records] == [sample.nats_per_char for sample in samples]
    assert records == [
        {"prompt": "T", "text": sample.text, "finish_reason": sample.finish_reason, "temperature": 2.0}
        for sample in samples
    ]


def test_several_temperatures_are_titled(cli: Cli, trained: Path) -> None:
    samples = charrnn.load(trained).generate("T", max_chars=20, seed=6, num_samples=2, temperatures=[0.0, 1.0])
    result = cli("generate", trained, "-p", "T", "-n", "20", "--seed", "6", "--num-samples", "2", "-t", "0", "-t", "1")
    titles = ["temperature 0:", "temperature 0:", "temperature 1:", "temperature 1:"]
    assert result.out == "".join(f"{title}\nT{sample.text}\n" for title, sample in zip(titles, samples, strict=True))


def test_the_best_of_several_is_printed(cli: Cli, trained: Path) -> None:
    options = ["generate", trained, "-p", "T", "-n", "20", "--seed", "6", "-t", "1"]
    (sample,) = charrnn.load(trained).generate("T", max_chars=20, seed=6, temperature=1.0, best_of=4)
    assert cli(*options, "--best-of", "4").out == f"T{sample.text}\n"
    every = [json.loads(line) for line in cli(*options, "--num-samples", "4", "--json").out.splitlines()]
    assert sample.nats_per_char == min(record["nats_per_char"] for record in every)


def test_only_the_characters_asked_for_are_printed(cli: Cli, trained: Path) -> None:
    assert set(cli("generate", trained, "-n", "50", "--only-chars", "aet").out.strip()) <= set("aet")


def test_a_long_prompt_is_read_once(cli: Cli, trained: Path, tmp_path: Path) -> None:
    whole = cli("generate", trained, "-p", "The naïve cat", "-n", "30", "--seed", "2")
    kept = cli("generate", trained, "-p", "The naïve", "-n", "0", "--save-state", tmp_path / "state")
    assert (kept.code, kept.err) == (0, "")
    continued = cli("generate", trained, "-p", " cat", "-n", "30", "--seed", "2", "--load-state", tmp_path / "state")
    assert "The naïve" + continued.out == whole.out


def test_a_state_that_is_none_is_one_line(cli: Cli, trained: Path, tmp_path: Path) -> None:
    result = cli("generate", trained, "--load-state", tmp_path / "none")
    assert (result.code, result.out) == (2, "")
    assert "none: no such file" in result.err


@pytest.mark.parametrize("weights", ["bf16", "fp32"])
@pytest.mark.parametrize("chars", [40, 2500])
def test_writing_needs_no_torch_and_a_short_text_no_numba(chars: int, weights: str, trained: Path) -> None:
    code = f"""
import sys
sys.argv = ["charrnn", "generate", {str(trained)!r}, "-p", "The", "-n", "{chars}", "--weights", "{weights}"]
from charrnn.cli import main
try:
    main()
finally:
    print(*({{"torch", "tokenizers", "numba"}} & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(done.stdout) > chars
    assert done.stderr == ("\n" if chars == 40 else "numba\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-p", "x", "-"], "not both"),
        (["file.txt"], "file.txt"),
        (["-n", "-1"], "-1"),
        (["-n", "many"], "many"),
        (["-t", "-1"], "temperature"),
        (["--top-p", "2"], "top_p"),
        (["--top-k", "0"], "top_k"),
        (["--num-samples", "0"], "num_samples"),
        (["--best-of", "0"], "best-of"),
        (["--only-chars", "Ж"], "no entry that training saw"),
        (["--weights", "int3"], "int3"),
        (["--device", "abacus"], "abacus"),
        (["--temprature", "1"], "temperature"),
    ],
    ids=str,
)
def test_a_wrong_call_is_one_line(arguments: list[str], words: str, cli: Cli, trained: Path) -> None:
    result = cli("generate", trained, *arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("charrnn: ")
    assert result.err.count("\n") == 1
    assert words in result.err


def test_a_reader_that_leaves_ends_it_quietly(trained: Path) -> None:
    arguments = [sys.executable, "-m", "charrnn", "generate", str(trained), "-n", "1000000"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert len(os.read(process.stdout.fileno(), 10)) > 0
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.parametrize(
    "change",
    [{"hidden_size": 32}, {"num_layers": 2}, {"num_layers": 0}, {"cell": "gru"}, {"hidden_size": "wide"}],
    ids=str,
)
def test_weights_that_do_not_fit_the_network_are_one_line(change: dict[str, Any], cli: Cli, model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config["network"] |= change
    (model / "config.json").write_text(json.dumps(config))
    result = cli("generate", model, "-n", "5")
    assert (result.code, result.out) == (1, "")
    assert result.err.count("\n") == 1


def test_weights_of_more_layers_than_the_network_has_are_one_line(cli: Cli, tmp_path: Path, text: Path) -> None:
    cli("train", text, "-o", tmp_path / "deep", "--steps", "2", "--set", "hidden_size=8", "--set", "num_layers=2")
    test_weights_that_do_not_fit_the_network_are_one_line({"num_layers": 1}, cli, tmp_path / "deep")


def test_a_vocabulary_of_another_model_is_one_line(cli: Cli, model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    config["vocab"]["seen_size"] -= 1
    (model / "config.json").write_text(json.dumps(config))
    result = cli("generate", model, "-n", "5")
    assert (result.code, result.out) == (1, "")
    assert "vocabulary" in result.err
