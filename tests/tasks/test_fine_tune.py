"""Starting from a trained model: what both vocabularies have is kept, and all the rest of the network."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import charrnn
from charrnn.checkpoint import network_tensors
from charrnn.errors import UsageError
from charrnn.network.config import CELLS, Cell, NetworkConfig
from charrnn.network.model import Network
from charrnn.network.ngrams import NGramsBefore, code
from charrnn.network.ngrams import entries_of as entries_of_codes
from charrnn.tasks.language_model.fine_tune import Transfer, carried_ngrams, transfer
from charrnn.tasks.language_model.model import LanguageModel
from charrnn.text.vocab import Vocab, build_vocab
from charrnn.training.trainer import Progress, Report

Train = Callable[..., LanguageModel]


class Notes(Report):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


class Stop(Report):
    """Sends this process a Ctrl-C in its tenth step."""

    def step(self, progress: Progress, loss: float, lr: float) -> None:
        if progress.step == 10:
            os.kill(os.getpid(), signal.SIGINT)


def network_of(vocab: Vocab, seed: int, tied: bool, cell: Cell = "mingru") -> Network:
    torch.manual_seed(seed)
    config = NetworkConfig(cell=cell, hidden_size=8, num_layers=2, tie_weights=tied)
    network = Network(config, len(vocab), vocab.seen_size)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter))
    return network


def weights_of(network: Network) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


OLD_TEXT, NEW_TEXT = "aaaa bbb cc é", "bbbbb aaa x yy é日"


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_shared_entries_and_all_else_are_kept_and_new_entries_begin_at_the_mean(cell: Cell, tied: bool) -> None:
    old_vocab, new_vocab = build_vocab("char", [OLD_TEXT]), build_vocab("char", [NEW_TEXT])
    old, new = network_of(old_vocab, 0, tied, cell), network_of(new_vocab, 1, tied, cell)
    before = weights_of(old)
    result = transfer(old, old_vocab, new, new_vocab)
    assert result == Transfer(kept=4, added=3, dropped=1)  # "a", "b", " ", "é"; "x", "y", "日"; "c"

    source, copied = weights_of(old), weights_of(new)
    assert_close(source, before, rtol=0, atol=0)
    by_vocabulary = {"embedding.weight", "head.weight", "head.bias"} & copied.keys()
    assert copied.keys() - by_vocabulary
    for name in copied.keys() - by_vocabulary:
        assert torch.equal(copied[name], source[name]), name
    for name in by_vocabulary:
        for character in "ab é":
            row, old_row = new_vocab.tokens.index(character), old_vocab.tokens.index(character)
            assert torch.equal(copied[name][row], source[name][old_row]), (name, character)
        for character in "xy日":
            mean = source[name][: old_vocab.seen_size].mean(0)
            assert_close(copied[name][new_vocab.tokens.index(character)], mean)
        unseen, old_unseen = new_vocab.seen_size, old_vocab.seen_size
        assert torch.equal(copied[name][unseen], source[name][old_unseen]), name


def test_a_network_moved_to_its_own_vocabulary_is_itself() -> None:
    vocab = build_vocab("char", [OLD_TEXT])
    old, new = network_of(vocab, 0, tied=False), network_of(vocab, 1, tied=False)
    assert transfer(old, vocab, new, vocab) == Transfer(kept=vocab.seen_size, added=0, dropped=0)
    assert_close(weights_of(new), weights_of(old), rtol=0, atol=0)


def test_vocabularies_without_a_common_entry_share_none() -> None:
    old_vocab, new_vocab = build_vocab("char", ["abc"]), build_vocab("char", ["xy"])
    old, new = network_of(old_vocab, 0, tied=False), network_of(new_vocab, 1, tied=False)
    assert transfer(old, old_vocab, new, new_vocab) == Transfer(kept=0, added=2, dropped=3)


NGRAMS = ["aa", "ab", "bc", "é ", " b", "aaa", "bbc", "a bé", "aé aé"]


def test_ngrams_are_kept_where_the_new_vocabulary_can_spell_them() -> None:
    old_vocab, new_vocab = build_vocab("char", [OLD_TEXT]), build_vocab("char", [NEW_TEXT])
    outside = code([old_vocab.num_known, *old_vocab.encode("a").tolist()], old_vocab.num_known)
    codes = sorted([*(code(old_vocab.encode(ngram).tolist(), old_vocab.num_known) for ngram in NGRAMS), outside])

    def network(vocab: Vocab, number: int) -> Network:
        torch.manual_seed(number)
        return Network(NetworkConfig(hidden_size=8, ngrams=number), len(vocab), vocab.seen_size)

    old = network(old_vocab, len(codes))
    assert old.ngrams is not None
    old.ngrams.codes.copy_(torch.tensor(codes))
    torch.nn.init.normal_(old.ngrams.embedding.weight)
    kept, _ = carried_ngrams(old, old_vocab, new_vocab)
    new = network(new_vocab, len(kept))
    transfer(old, old_vocab, new, new_vocab)
    assert new.ngrams is not None
    assert new.ngrams.codes.tolist() == sorted(new.ngrams.codes.tolist())
    assert not new.ngrams.embedding.weight[0].any()

    def rows(table: NGramsBefore, vocab: Vocab) -> dict[str, Tensor]:
        spelled = [
            "".join("^" if entry == vocab.num_known else vocab.tokens[entry] for entry in entries if entry >= 0)
            for entries in entries_of_codes(table.codes.numpy(), vocab.num_known)
        ]
        return dict(zip(spelled, table.embedding.weight[1:], strict=True))

    before, after = rows(old.ngrams, old_vocab), rows(new.ngrams, new_vocab)
    assert after.keys() == {ngram for ngram in [*NGRAMS, "^a"] if "c" not in ngram}
    for ngram, row in after.items():
        assert torch.equal(row, before[ngram]), ngram


# Whole runs


@pytest.fixture
def new_text(tmp_path: Path) -> Path:
    path = tmp_path / "new.txt"
    path.write_text("The zebra sat on the mat, quite naïve. " * 60, encoding="utf-8")
    return path


def entries_of(directory: Path) -> set[str]:
    config = json.loads((directory / "config.json").read_text())
    return set(charrnn.load(directory).vocab.tokens[: config["vocab"]["seen_size"]])


def test_counts_are_reported_and_the_shape_is_that_of_the_model(train: Train, tmp_path: Path, new_text: Path) -> None:
    train("old", cell="gru", tie_weights=True, num_layers=2)
    report = Notes()
    model = train(
        "new", files=str(new_text), init_from=tmp_path / "old", report=report, hidden_size=None, num_layers=None
    )
    assert (model.network.config.cell, model.network.config.width, model.network.config.depth) == ("gru", 16, 2)
    assert model.network.config.tie_weights
    old, new = entries_of(tmp_path / "old"), entries_of(tmp_path / "new")
    counts = f"{len(old & new)} entries kept from {tmp_path / 'old'}, {len(new - old)} added, {len(old - new)} dropped"
    assert any(counts in note for note in report.notes)


def test_training_begins_where_the_model_was(train: Train, tmp_path: Path, text: Path) -> None:
    old = train("old", steps=150, lr=0.01)
    new = train("new", init_from=tmp_path / "old", steps=1, lr=1e-9)
    fresh = train("fresh", steps=1, lr=1e-9)
    sample = text.read_text()[:500]
    assert new.score(sample).nats == pytest.approx(old.score(sample).nats, rel=1e-3)
    assert new.score(sample).nats < 0.8 * fresh.score(sample).nats


def test_a_fine_tuned_run_is_resumed_without_the_model_it_began_from(train: Train, tmp_path: Path) -> None:
    train("old")
    train("undisturbed", init_from=tmp_path / "old", seed=3, steps=20)
    with pytest.raises(KeyboardInterrupt):
        train("stopped", init_from=tmp_path / "old", seed=3, steps=20, report=Stop())
    shutil.rmtree(tmp_path / "old")
    charrnn.resume(tmp_path / "stopped")
    weights = [network_tensors(charrnn.load(tmp_path / name).network) for name in ("undisturbed", "stopped")]
    assert weights[0]["ngrams.codes"].unique().numel() > 10
    assert_close(weights[0], weights[1], rtol=0, atol=0)


def test_fine_tuning_takes_smaller_steps(train: Train, tmp_path: Path) -> None:
    train("old")
    train("new", init_from=tmp_path / "old")
    lrs = [
        json.loads((tmp_path / name / "training" / "run.json").read_text())["training"]["lr"] for name in ("old", "new")
    ]
    assert 0 < lrs[1] < 0.5 * lrs[0]


@pytest.mark.parametrize("kind", ["char", "byte", "subword"])
def test_the_kind_of_vocabulary_is_that_of_the_model(kind: str, train: Train, tmp_path: Path, new_text: Path) -> None:
    size = {"vocab_size": 300} if kind == "subword" else {}
    old = train("old", vocab=kind, **size)
    new = train("new", files=str(new_text), init_from=tmp_path / "old")
    assert new.vocab.kind == kind
    if kind == "subword":
        assert new.vocab.definition == old.vocab.definition
        assert new.vocab.seen_size == old.vocab.seen_size


@pytest.mark.parametrize(
    "settings",
    [{"cell": "gru"}, {"hidden_size": 24}, {"num_layers": 3}, {"tie_weights": True}, {"size": "tiny"}],
    ids=str,
)
def test_a_network_of_another_shape_is_refused(settings: dict[str, Any], train: Train, tmp_path: Path) -> None:
    train("old")
    with pytest.raises(UsageError, match=next(iter(settings))):
        train("new", init_from=tmp_path / "old", **settings)
    assert not (tmp_path / "new").exists()
