"""What is trained on: varied batches, losses of labels and of reading, and positions that bring them back."""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from charrnn.tasks.classifier.inputs import collate, encode, logits_of, make_vocabs
from charrnn.tasks.classifier.network import ClassifierConfig, ClassifierNetwork
from charrnn.tasks.classifier.objective import (
    ClassifierObjective,
    ObjectiveConfig,
    ReadingModel,
    ReadingObjective,
    TextBatches,
)

TEXTS = [f"text number {i} " + "la " * (i % 5) for i in range(40)]
PLAIN = ObjectiveConfig(noisy_texts=0, bpe_dropout=0, recased_texts=0, label_smoothing=0, averaging=0, reading=0)
CPU = torch.device("cpu")
CONFIG = ClassifierConfig(
    "both",
    "mingru",
    num_readers=1,
    char_width=8,
    char_layers=1,
    subword_width=8,
    subword_layers=1,
    dropout=0,
    pooled_dropout=0,
    token_dropout=0,
)
VOCABS = make_vocabs(TEXTS, CONFIG.view_names, 300, {})

MakeObjective = Callable[..., ClassifierObjective]


def make_batches(config: ObjectiveConfig = PLAIN, max_chars: int = 50, batch_size: int = 8) -> TextBatches:
    return TextBatches(TEXTS, VOCABS, config, batch_size=batch_size, max_chars=max_chars, seed=0, device=CPU)


def make_network() -> ClassifierNetwork:
    torch.manual_seed(0)
    return ClassifierNetwork(CONFIG, {name: (len(v), v.seen_size) for name, v in VOCABS.items()}, 3)


@pytest.fixture
def make() -> MakeObjective:
    def make(targets: torch.Tensor | None = None, **options: Any) -> ClassifierObjective:
        targets = torch.arange(40) % 3 if targets is None else targets
        batches, network = make_batches(ObjectiveConfig(**{**vars(PLAIN), **options})), make_network()
        reading = ReadingModel(network)
        return ClassifierObjective(network, reading, batches, targets, TEXTS[:9], targets[:9], precision="fp32")

    return make


def test_the_losses_of_a_pass_are_those_of_all_texts(make: MakeObjective) -> None:
    objective = make()
    losses = [objective.next_loss().item() for _ in range(5)]  # of eight texts each
    logits = logits_of(objective.network, TEXTS, VOCABS, "fp32")
    expected = F.cross_entropy(logits, objective.targets).item()
    assert sum(losses) / 5 == pytest.approx(expected, rel=1e-4)


def test_several_labels_are_learned_each_on_its_own(make: MakeObjective) -> None:
    targets = torch.stack([torch.ones(40), torch.zeros(40), torch.arange(40) % 2], dim=1)
    objective = make(targets)
    losses = [objective.next_loss().item() for _ in range(5)]
    p = logits_of(objective.network, TEXTS, VOCABS, "fp32").sigmoid()
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).sum(1).mean()
    assert sum(losses) / 5 == pytest.approx(expected.item(), rel=1e-4)


def test_balanced_labels_weigh_the_same(make: MakeObjective) -> None:
    targets = torch.tensor([0] * 30 + [1] * 8 + [2] * 2)
    weight = make(targets, balanced=True).weight
    assert weight is not None
    assert_close(weight * targets.bincount(), torch.full((3,), 40 / 3))


def test_of_several_labels_the_rare_weigh_more_and_none_less(make: MakeObjective) -> None:
    targets = (torch.arange(40)[:, None] < torch.tensor([40, 39, 10, 1])).long()
    weight = make(targets, balanced=True).weight
    assert weight is not None
    assert_close(weight, torch.tensor([1.0, 1.0, 3.0, 20.0]))


def test_reading_beside_the_labels_counts_by_its_weight(make: MakeObjective) -> None:
    apart, objective = make(), make(reading=0.5)
    inputs = make_batches().next_batch()[1]
    expected, loss = apart.next_loss() + 0.5 * apart.reading(inputs), objective.next_loss()
    assert_close(loss, expected)
    for each in (expected, loss):
        each.backward()  # type: ignore[no-untyped-call]
    for part in ("network", "reading"):
        for own, other in zip(getattr(objective, part).parameters(), getattr(apart, part).parameters(), strict=True):
            assert own.grad.norm() > 0
            assert_close(own.grad, other.grad)
    trained = {id(weight) for weight in objective.model.parameters()}
    assert trained >= {id(weight) for weight in objective.reading.parameters()}
    assert len(trained) > len(list(apart.model.parameters())) == len(list(apart.network.parameters()))


@pytest.mark.parametrize(
    "options", [{}, {"averaging": 0.9, "noisy_texts": 0.9, "bpe_dropout": 0.3, "recased_texts": 0.5}]
)
def test_a_position_brings_the_same_losses_back(make: MakeObjective, options: dict[str, float]) -> None:
    objective = make(**options)
    for _ in range(7):
        objective.next_loss()
    position = {name: tensor.clone() for name, tensor in objective.position().items()}
    losses = [objective.next_loss().item() for _ in range(6)]
    objective.restore(position)
    assert [objective.next_loss().item() for _ in range(6)] == losses


def test_validation_changes_nothing_and_is_over_all_texts(make: MakeObjective) -> None:
    objective = make()
    before = [weight.clone() for weight in objective.model.parameters()]
    objective.model.train()
    assert objective.validate() == objective.validate()
    assert objective.model.training
    assert objective.val_logits.shape == (9, 3)
    assert all(map(torch.equal, before, objective.model.parameters()))


def test_averaged_weights_are_validated_and_lie_between_those_of_the_steps(make: MakeObjective) -> None:
    objective = make(averaging=0.99)
    name = "readers.0.head.bias"
    bias = objective.network.get_parameter(name)
    with torch.no_grad():
        for value in range(1, 60):
            bias.fill_(value)
            objective.next_loss()
    assert 30 < objective.average.weights[name][0] < 58
    objective.validate()
    assert bias[0] == 59


def test_texts_are_varied_but_not_beyond_recognition() -> None:
    batches = make_batches(ObjectiveConfig(noisy_texts=0.5, noise=0.3, recased_texts=0.2))
    seen = [batches._vary(TEXTS[3], np.random.default_rng(seed)) for seed in range(200)]
    same = sum(text == TEXTS[3] for text in seen)
    assert 60 < same < 140
    assert sum(text == TEXTS[3].upper() for text in seen) > 5
    assert all(abs(len(text) - len(TEXTS[3])) < 10 for text in seen)


def test_texts_with_mistakes_stand_beside_others_of_their_length() -> None:
    texts = [f"number {i} " + "of many words " * (i % 20) for i in range(800)]
    vocabs = make_vocabs(texts, ["subword"], 400, {})
    noisy = ObjectiveConfig(noisy_texts=0.5, noise=0.5)
    batches = TextBatches(texts, vocabs, noisy, batch_size=8, max_chars=500, seed=0, device=CPU)
    for _ in range(2):
        seen, padded, real = [], 0, 0
        for _ in range(len(batches.batches)):
            indices, [(ids, lengths)] = batches.next_batch()
            seen += indices.tolist()
            padded, real = padded + ids.numel(), real + int(lengths.sum())
        assert sorted(seen) == list(range(800))
        assert padded < 1.15 * real
        assert real > 1.2 * sum(map(len, encode(texts, vocabs)[0]))


def test_subwords_are_taken_apart_and_characters_stay() -> None:
    batches, plain = (
        make_batches(ObjectiveConfig(noisy_texts=0, recased_texts=0, bpe_dropout=0.5)),
        encode(TEXTS, VOCABS),
    )
    (chars, subwords), (plain_chars, plain_subwords) = batches.encoded, plain
    assert all(map(np.array_equal, chars, plain_chars))
    assert sum(map(len, subwords)) > 1.5 * sum(map(len, plain_subwords))
    assert [VOCABS["subword"].decode(ids) for ids in subwords] == [f"\n{text}\n" for text in TEXTS]


def test_of_a_long_text_every_part_is_read_in_time() -> None:
    batches = make_batches(max_chars=6)
    draw = np.random.default_rng(0)
    parts = {batches._vary("abcdefghij", draw) for _ in range(100)}
    assert parts == {"abcdef", "bcdefg", "cdefgh", "defghi", "efghij"}


def test_reading_predicts_every_token_but_the_one_it_begins_with_among_those_of_the_batch() -> None:
    torch.manual_seed(0)
    model = ReadingModel(make_network()).eval()
    encoded = encode(["la", "text number la"], VOCABS)
    together = model(collate(encoded, [0, 1], CPU)).item()
    nats: dict[tuple[str, str], list[torch.Tensor]] = defaultdict(list)
    wanted = {
        (name, direction): torch.from_numpy(np.concatenate([ids[part] for ids in texts])).long().unique()
        for name, texts in zip(VOCABS, encoded, strict=True)
        for direction, part in (("next", slice(1, None)), ("previous", slice(-1)))
    }
    for i in (0, 1):
        views = zip(VOCABS, model.views, model.heads, collate(encoded, [i], CPU), strict=True)
        for name, view, (forwards, backwards), (ids, lengths) in views:
            features = view(ids, lengths)[:, 0]
            if name == "subword":  # each by what it is embedded as
                assert forwards.weight is backwards.weight is view.forwards.embedding.weight
                features = features / (features.shape[1] / 2) ** 0.5
            there, back = features.chunk(2, dim=-1)
            ids = ids[:, 0]
            for direction, logits, seen in (
                ("next", forwards(there[:-1]), ids[1:]),
                ("previous", backwards(back[1:]), ids[:-1]),
            ):
                absent = torch.ones_like(logits).index_fill(1, wanted[name, direction], 0).bool()
                assert absent.any()
                logits = logits.masked_fill(absent, -torch.inf)
                nats[name, direction].append(F.cross_entropy(logits, seen, reduction="none"))
    means = [torch.cat(parts).mean().item() for parts in nats.values()]
    assert together == pytest.approx(sum(means) / 4, rel=1e-4)


def test_reading_gets_better_and_trains_the_classifiers_own_encoders() -> None:
    network = make_network()
    model = ReadingModel(network)
    objective = ReadingObjective(model, make_batches(), TEXTS[:5], precision="fp32")
    before = objective.validate()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(10):
        optimizer.zero_grad()
        objective.next_loss().backward()
        assert all(weight.grad is not None for weight in model.parameters())
        optimizer.step()
    assert objective.validate() < 0.8 * before
    assert {id(weight) for view in model.views for weight in view.parameters()} <= {
        id(weight) for weight in network.parameters()
    }
