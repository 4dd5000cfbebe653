"""Model directories: what is saved comes back exactly, other tools can read it, and damage is noticed."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch.testing import assert_close

import charrnn
from charrnn.checkpoint import describe, load_network, load_tensors, save_tensors, write_weights
from charrnn.errors import CharrnnError, UsageError
from charrnn.generation.generator import Generator
from charrnn.model_directory import write_config
from charrnn.network.config import CELLS, Cell, NetworkConfig
from charrnn.network.model import Network
from charrnn.text.vocab import Vocab, build_vocab

TEXT = "Some naïve text – 日本 😀\n" * 3
CPU = torch.device("cpu")


def build(vocab: Vocab, **settings: Any) -> Network:
    torch.manual_seed(0)
    settings = {"hidden_size": 16, "num_layers": 2, **settings}
    return Network(NetworkConfig(**settings), len(vocab), vocab.seen_size)


def save(directory: Path, network: Network, vocab: Vocab) -> Path:
    directory.mkdir()
    write_config(directory, describe("language_model", network, vocab, {"steps": 1}))
    write_weights(directory, network)
    (directory / "tokenizer.json").write_text(vocab.definition, encoding="utf-8")
    return directory


@pytest.fixture(scope="module")
def vocab() -> Vocab:
    return build_vocab("char", [TEXT])


@pytest.fixture
def directory(tmp_path: Path, vocab: Vocab) -> Path:
    return save(tmp_path / "model", build(vocab), vocab)


def logits_of(network: Network) -> torch.Tensor:
    ids = torch.arange(30)[:, None] % network.vocab_size
    with torch.no_grad():
        logits, _ = network.eval()(ids, network.initial_state(1))
    return logits


# What is saved comes back


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_loaded_network_is_the_saved_one(cell: Cell, tied: bool, tmp_path: Path, vocab: Vocab) -> None:
    network = build(vocab, cell=cell, tie_weights=tied, activation="relu", dropout=0.1, ngrams=7)
    assert network.ngrams is not None
    network.ngrams.codes.copy_(torch.arange(3, 10))
    loaded, loaded_vocab, config = load_network(save(tmp_path / "model", network, vocab), CPU)
    assert loaded.config == network.config
    assert loaded_vocab.pieces == vocab.pieces
    assert loaded_vocab.seen_size == vocab.seen_size
    assert config["training"] == {"steps": 1}
    assert not loaded.training
    assert_close(logits_of(loaded), logits_of(network), rtol=0, atol=0)
    assert (loaded.embedding.weight is loaded.head.weight) == tied


@pytest.mark.parametrize("kind", ["char", "byte", "subword"])
def test_every_kind_of_vocabulary_comes_back(kind: Any, tmp_path: Path) -> None:
    vocab = build_vocab(kind, [TEXT], 270 if kind == "subword" else None)
    _, loaded, _ = load_network(save(tmp_path / "model", build(vocab), vocab), CPU)
    assert (loaded.kind, loaded.pieces, loaded.seen_size) == (kind, vocab.pieces, vocab.seen_size)


def test_other_tools_can_read_the_files(directory: Path, vocab: Vocab) -> None:
    network, _, _ = load_network(directory, CPU)
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    assert weights.keys() == dict(network.named_parameters()).keys()
    for name, weight in network.named_parameters():
        assert torch.equal(weights[name], weight), name
    assert safetensors.numpy.load_file(directory / "model.safetensors").keys() == weights.keys()
    assert Tokenizer.from_file(str(directory / "tokenizer.json")).encode(TEXT).ids == vocab.encode(TEXT).tolist()
    assert json.loads((directory / "config.json").read_text())["network"] == asdict(network.config)


def test_tied_weights_are_written_once(tmp_path: Path, vocab: Vocab) -> None:
    sizes = [
        (save(tmp_path / str(tied), build(vocab, tie_weights=tied), vocab) / "model.safetensors").stat().st_size
        for tied in (False, True)
    ]
    matrix = 4 * 16 * (vocab.seen_size + 1)
    assert sizes[0] - sizes[1] == pytest.approx(matrix, abs=200)


def test_a_file_of_another_tool_without_a_checksum_is_read(directory: Path) -> None:
    weights = safetensors.torch.load_file(directory / "model.safetensors")
    safetensors.torch.save_file(weights, directory / "model.safetensors")
    network, _, _ = load_network(directory, CPU)
    assert torch.equal(network.head.weight, weights["head.weight"])


def test_tensors_and_text_come_back(tmp_path: Path) -> None:
    tensors = {
        "whole": torch.tensor(7),
        "none": torch.empty(0, 3),
        "turned": torch.arange(6.0).view(2, 3).T,
    }
    save_tensors(tmp_path / "file", tensors, {"note": 'naïve "quotes"\n'})
    loaded, metadata = load_tensors(tmp_path / "file")
    assert_close(loaded, tensors, rtol=0, atol=0)
    assert metadata["note"] == 'naïve "quotes"\n'


# Damage


def assert_damaged(directory: Path, name: str) -> None:
    with pytest.raises(CharrnnError) as caught:
        charrnn.load(directory, "cpu")
    assert not isinstance(caught.value, UsageError)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_flipped_bit_anywhere_in_the_weights_is_noticed(directory: Path) -> None:
    path = directory / "model.safetensors"
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for position in [*range(start, len(data), 997), len(data) - 1]:
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :])
        assert_damaged(directory, "model.safetensors")


def test_a_flipped_bit_in_the_header_is_noticed_or_harmless(directory: Path) -> None:
    path = directory / "model.safetensors"
    data = path.read_bytes()
    expected = logits_of(load_network(directory, CPU)[0])
    noticed = []
    header = 8 + int.from_bytes(data[:8], "little")
    for position in range(0, header, 3):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x04]) + data[position + 1 :])
        try:
            network, _, _ = load_network(directory, CPU)
        except CharrnnError as error:
            noticed.append(str(error))
        else:
            assert torch.equal(logits_of(network), expected)
    assert len(noticed) > 0.8 * header / 3
    assert not any("\n" in message for message in noticed)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_file_cut_short_is_noticed(name: str, share: float, directory: Path) -> None:
    data = (directory / name).read_bytes()
    (directory / name).write_bytes(data[: int(share * (len(data) - 1))])
    assert_damaged(directory, name)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"[]", b"null", b"{}", b'{"model": 3}'], ids=str)
def test_a_file_of_something_else_is_noticed(name: str, content: bytes, directory: Path) -> None:
    (directory / name).write_bytes(content)
    assert_damaged(directory, name)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(name: str, directory: Path) -> None:
    (directory / name).unlink()
    assert_damaged(directory, name)


@pytest.mark.parametrize(
    "change",
    [
        lambda config: config.pop("model_type"),
        lambda config: config.pop("network"),
        lambda config: config.pop("vocab"),
        lambda config: config.update(network=3),
        lambda config: config.update(vocab=[]),
        lambda config: config["network"].update(hidden_sise=3),
        lambda config: config["network"].update(cell="transformer"),
        lambda config: config["network"].update(cell=["lstm"]),
        lambda config: config["network"].update(hidden_size=0),
        lambda config: config["network"].update(hidden_size="wide"),
        lambda config: config["vocab"].update(size=3),
        lambda config: config["vocab"].update(size="many"),
        lambda config: config["vocab"].update(seen_size=0),
        lambda config: config["vocab"].update(seen_size=-1),
        lambda config: config["vocab"].update(seen_size=100_000),
        lambda config: config["vocab"].pop("seen_size"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_damage(
    change: Callable[[dict[str, Any]], Any], directory: Path
) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    assert_damaged(directory, str(directory))


@pytest.mark.parametrize(
    "network",
    [
        {"hidden_size": 17},
        {"hidden_size": 10**7},
        {"num_layers": 1},
        {"num_layers": 3},
        {"cell": "gru"},
        {"tie_weights": True},
        {"ngrams": 0},
        {"ngrams": 8},
    ],
    ids=str,
)
def test_weights_of_another_network_are_noticed(network: dict[str, Any], tmp_path: Path, vocab: Vocab) -> None:
    directory = save(tmp_path / "model", build(vocab, ngrams=7), vocab)
    Generator.load(directory)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    config["network"] |= network
    path.write_text(json.dumps(config))
    assert_damaged(directory, "the weights do not fit")
    with pytest.raises(CharrnnError, match="the weights do not fit"):
        Generator.load(directory)


@pytest.mark.parametrize("content", ["{", "[]", '{"temprature": 1}', '{"temperature": -1}', '{"top_k": "few"}'])
def test_damaged_sampling_defaults_are_noticed(content: str, directory: Path) -> None:
    (directory / "generation_config.json").write_text(content)
    assert_damaged(directory, "generation_config.json")


def test_sampling_defaults_are_used(directory: Path) -> None:
    (directory / "generation_config.json").write_text('{"temperature": 0.0}')
    model = charrnn.load(directory, "cpu")
    assert model.generate("a", max_chars=9) == model.generate("a", max_chars=9, temperature=0.0)


# Not a model at all


def test_what_is_no_model_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    for name in ("missing", "empty", "file"):
        with pytest.raises(UsageError, match=name):
            charrnn.load(tmp_path / name)


def test_a_model_of_another_kind_is_a_usage_error(directory: Path) -> None:
    config = json.loads((directory / "config.json").read_text()) | {"model_type": "translator"}
    (directory / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match="translator"):
        charrnn.load(directory)


# Writing


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_write_that_fails_leaves_the_old_file(
    function: str, directory: Path, vocab: Vocab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    before = {path: path.read_bytes() for path in directory.iterdir()}
    monkeypatch.setattr(os, function, fail)
    with pytest.raises(OSError, match="No space left"):
        write_weights(directory, build(vocab, hidden_size=24))
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_an_error_with_its_name(directory: Path, vocab: Vocab) -> None:
    shutil.rmtree(directory)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        write_weights(directory, build(vocab))
    assert str(directory) in str(caught.value.filename)
