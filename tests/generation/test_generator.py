"""Writing text: reproducible, the model's own distribution, the same however it is read and shown."""

import copy
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from charrnn.errors import CharrnnError, UsageError
from charrnn.generation.choice import StepperChoice
from charrnn.generation.compiled import CompiledStepper
from charrnn.generation.generator import TextState
from charrnn.generation.plain import PlainStepper
from charrnn.generation.sampling import SamplingConfig, probabilities
from charrnn.generation.stepper import NO_ENTRY
from charrnn.model_directory import save_arrays
from charrnn.tasks.language_model.model import LanguageModel

PROMPTS = ["", "It was", "naïve – 😀", "ありがとう", "日本語 غير", "\n\t\0"]
ANY_SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"temperature": 1.0, "top_k": 5, "top_p": 0.9, "min_p": 0.02, "repetition_penalty": 1.2},
]


def likelihoods(model: LanguageModel, text: str) -> Any:
    """Probabilities of the entries that training saw, after a text."""
    logits = model.read(text).lane.logits[0, : model.network.seen_size].astype(np.float64)
    return np.exp(logits) / np.exp(logits).sum()


@contextmanager
def bias_raised(model: LanguageModel, entry: int) -> Iterator[None]:
    """One entry is all but certain for the network."""
    bias = model.network.head.bias.detach()
    before = bias.clone()
    bias[entry] += 1000
    try:
        yield
    finally:
        bias.copy_(before)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_any_prompt_is_continued_by_as_many_characters_as_asked(prompt: str, model_of_any_vocab: LanguageModel) -> None:
    sample = model_of_any_vocab.generate(prompt, max_chars=37, temperature=1.5, seed=1)[0]
    assert len(sample.text) == 37
    assert sample.finish_reason == "length"


@pytest.mark.parametrize("settings", ANY_SETTINGS, ids=str)
def test_the_streamed_text_is_the_whole_one(settings: dict[str, Any], model_of_any_vocab: LanguageModel) -> None:
    options = {"max_chars": 60, "seed": 3, "stop": ["e ", "an"], **settings}
    pieces = list(model_of_any_vocab.stream("It", **options))
    assert all(pieces)
    assert "".join(pieces) == model_of_any_vocab.generate("It", **options)[0].text


def test_a_seed_decides_the_text(model: LanguageModel) -> None:
    texts = {seed: model.generate("It", max_chars=40, num_samples=3, seed=seed) for seed in (1, 2)}
    for seed, samples in texts.items():
        assert model.generate("It", max_chars=40, num_samples=3, seed=seed) == samples
    assert texts[1] != texts[2]
    assert len({sample.text for sample in texts[1]}) == 3
    assert model.generate("It", max_chars=40) != model.generate("It", max_chars=40)


def test_drawing_leaves_the_random_numbers_of_others_alone(model: LanguageModel) -> None:
    before = torch.get_rng_state()
    model.generate(max_chars=5)
    model.generate(max_chars=5, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_likeliest_text_does_not_depend_on_how_many_are_written(model: LanguageModel) -> None:
    (alone,) = model.generate("It", max_chars=50, temperature=0.0)
    together = model.generate("It", max_chars=50, temperature=0.0, num_samples=4)
    assert [sample.text for sample in together] == [alone.text] * 4
    text = ""
    for _ in range(50):
        text += model.vocab.decode([int(likelihoods(model, "It" + text).argmax())])
    assert alone.text == text


@pytest.mark.parametrize("cut", [0, 1, 4, 11])
def test_a_prompt_can_be_read_in_parts(cut: int, model: LanguageModel) -> None:
    prompt = "It was – 😀 "
    whole = model.read(prompt)
    parts = model.read(prompt[cut:], after=model.read(prompt[:cut]))
    assert_allclose(parts.lane.logits, whole.lane.logits, rtol=1e-4, atol=1e-4)
    for a, b in zip(parts.lane.state, whole.lane.state, strict=True):
        assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    assert_array_equal(parts.lane.recent, whole.lane.recent)
    options: dict[str, Any] = {"max_chars": 30, "seed": 5, "repetition_penalty": 1.5}
    assert model.generate(prompt[cut:], state=model.read(prompt[:cut]), **options) == model.generate(prompt, **options)


def test_a_state_can_be_continued_any_number_of_times(model: LanguageModel) -> None:
    state = model.read("It was")
    first = model.generate(state=state, max_chars=30, seed=1, num_samples=2)
    model.generate(" dark", state=state, max_chars=10, temperature=0.0)
    assert model.generate(state=state, max_chars=30, seed=1, num_samples=2) == first
    assert model.generate("It was", max_chars=30, seed=1, num_samples=2) == first


def test_what_training_never_saw_is_never_drawn(model_of_any_vocab: LanguageModel) -> None:
    model = model_of_any_vocab
    seen = {model.vocab.pieces[i] for i in range(model.network.seen_size)}
    with bias_raised(model, model.network.seen_size):
        model = LanguageModel(model.network, model.vocab)
        for settings in ANY_SETTINGS:
            drawn = model.generate("Z", max_chars=200, seed=1, **settings)[0].text
            ids = model.vocab.encode(drawn.replace("\ufffd", ""))
            assert {model.vocab.pieces[i] for i in ids.tolist()} <= seen


def chi_square(counts: Counter[str], probs: dict[str, float], total: int) -> float:
    return sum((counts[key] - total * p) ** 2 / (total * p) for key, p in probs.items())


def test_draws_follow_the_distribution_of_the_model(model: LanguageModel) -> None:
    total = 4000
    probs = likelihoods(model, "It was").tolist()
    samples = model.generate("It was", max_chars=1, temperature=1.0, num_samples=total, seed=7)
    counts = Counter(sample.text for sample in samples)
    likely = {model.vocab.decode([i]): p for i, p in enumerate(probs) if total * p >= 5}
    assert len(likely) > 3
    freedom = len(likely)
    assert chi_square(counts, likely, total) < freedom + 6 * math.sqrt(2 * freedom)


def test_samples_of_one_call_are_independent(model: LanguageModel) -> None:
    """First characters of neighbouring samples agree as often as chance has it."""
    total = 4000
    probs = likelihoods(model, "It")
    samples = model.generate("It", max_chars=1, temperature=1.0, num_samples=total, seed=8)
    agreements = sum(a.text == b.text for a, b in zip(samples[::2], samples[1::2], strict=True))
    chance = float((probs**2).sum())
    deviation = math.sqrt(total / 2 * chance * (1 - chance))
    assert abs(agreements - total / 2 * chance) < 6 * deviation


def test_each_character_follows_from_its_own_sample(model: LanguageModel) -> None:
    """Lanes are not mixed up, also when some samples end before others."""
    settings: dict[str, Any] = {"temperature": 1.0, "top_k": 2, "repetition_penalty": 1.5}
    samples = model.generate("It", max_chars=12, num_samples=30, seed=9, stop=["a", "s", "t", "n", "d"], **settings)
    assert len({len(sample.text) for sample in samples}) > 3
    assert len({sample.text for sample in samples}) > 10
    for sample in samples:
        state = model.read("It")
        for character in sample.text:
            logits = state.lane.logits[0, : model.network.seen_size]
            recent = state.lane.recent[0][state.lane.recent[0] != NO_ENTRY]
            recent = recent[recent < model.network.seen_size]
            possible = probabilities(logits, SamplingConfig(**settings), recent).nonzero()[0]
            assert character in model.vocab.decode(possible.tolist()), sample.text
            state = model.read(character, after=state)


@pytest.mark.parametrize("num_samples", [1, 3])
def test_no_characters_asked_for_are_no_characters(num_samples: int, model: LanguageModel) -> None:
    samples = model.generate("It", max_chars=0, num_samples=num_samples)
    assert [(sample.text, sample.finish_reason) for sample in samples] == [("", "length")] * num_samples
    assert list(model.stream("It", max_chars=0)) == []


def test_a_stop_string_ends_the_text_before_it(model: LanguageModel) -> None:
    free = model.generate("It", max_chars=200, seed=4)[0].text
    stop = free[50:53]
    sample = model.generate("It", max_chars=200, seed=4, stop=[stop, "never written"])[0]
    assert sample.finish_reason == "stop"
    assert sample.text == free[: free.index(stop)]


def test_each_sample_ends_once_and_is_silent_afterwards(model: LanguageModel) -> None:
    ended: list[int] = []
    for piece in model.stream_samples("It", max_chars=20, num_samples=12, seed=2, stop=["a", "e"]):
        assert piece.sample not in ended
        if piece.finish_reason:
            ended.append(piece.sample)
    assert sorted(ended) == list(range(12))


def test_an_endless_beginning_of_a_stop_string_ends_all_the_same(model: LanguageModel) -> None:
    with bias_raised(model, model.vocab.encode("a").tolist()[0]):
        sample = LanguageModel(model.network, model.vocab).generate(max_chars=5, stop=["a" * 1000])[0]
    assert (sample.text, sample.finish_reason) == ("aaaaa", "length")


def test_a_great_repetition_penalty_lets_nothing_come_twice(model: LanguageModel) -> None:
    length = min(model.network.seen_size - 3, 20)
    text = model.generate("a", max_chars=length, temperature=0.0, repetition_penalty=1e9)[0].text
    assert len(set("a" + text)) == length + 1


@pytest.mark.parametrize(
    "options",
    [
        {"num_samples": 0},
        {"seed": -1},
        {"best_of": 0},
        {"only_chars": ""},
        {"only_chars": "Ж"},
        {"temperature": -1},
        {"temperatures": [0.5, -1]},
        {"top_p": 3.0},
        {"temprature": 1.0},
        {"top_k": "many"},
    ],
    ids=str,
)
def test_options_that_cannot_work_are_usage_errors(options: dict[str, Any], model: LanguageModel) -> None:
    with pytest.raises(UsageError):
        model.generate("It", max_chars=5, **options)


# More than one way to write


def test_a_sample_depends_on_its_number_and_the_seed_alone(model: LanguageModel) -> None:
    many = model.generate("It", max_chars=30, num_samples=9, seed=4)
    few = model.generate("It", max_chars=30, num_samples=4, seed=4)
    assert [sample.text for sample in few] == [sample.text for sample in many[:4]]


def test_temperatures_side_by_side_are_the_samples_at_each(model: LanguageModel) -> None:
    together = model.generate("It", max_chars=30, seed=4, num_samples=2, temperatures=[0.0, 0.5, 1.5])
    assert len(together) == 6
    for first, temperature in ((0, 0.0), (2, 0.5), (4, 1.5)):
        alone = model.generate("It", max_chars=30, seed=4, num_samples=6, temperature=temperature)
        assert [s.text for s in together[first : first + 2]] == [s.text for s in alone[first : first + 2]]


def test_nats_of_a_sample_are_those_of_its_text(model: LanguageModel) -> None:
    settings: dict[str, Any] = {"temperature": 1.7, "top_k": 9, "repetition_penalty": 1.2}
    for sample in model.generate("It was", max_chars=50, seed=3, num_samples=3, **settings):
        expected = model.score("It was" + sample.text).nats - model.score("It was").nats
        assert sample.nats == pytest.approx(expected, rel=0.01)


def test_the_best_of_several_is_what_the_model_finds_likeliest(model: LanguageModel) -> None:
    options: dict[str, Any] = {"max_chars": 20, "seed": 3, "stop": ["a"]}
    all_samples = model.generate("It", num_samples=6, **options)
    best = model.generate("It", num_samples=2, best_of=3, **options)
    assert best == [min(group, key=lambda s: s.nats_per_char) for group in (all_samples[:3], all_samples[3:])]


@pytest.mark.parametrize("settings", ANY_SETTINGS, ids=str)
def test_only_the_characters_asked_for_are_written(settings: dict[str, Any], model_of_any_vocab: LanguageModel) -> None:
    text = model_of_any_vocab.generate("It", max_chars=80, seed=1, only_chars="a dk", **settings)[0].text
    assert set(text) <= set("a dk")
    assert len(text) == 80


def test_a_single_character_that_is_left_is_written(model: LanguageModel) -> None:
    assert model.generate("It", max_chars=9, only_chars="w")[0].text == "w" * 9


def test_a_state_comes_back_from_its_file(model: LanguageModel, tmp_path: Path) -> None:
    state = model.read("It was a dark")
    state.save(tmp_path / "state")
    options: dict[str, Any] = {"max_chars": 40, "seed": 2, "repetition_penalty": 1.3}
    assert model.generate(state=TextState.load(tmp_path / "state"), **options) == model.generate(state=state, **options)


def test_a_state_of_another_model_is_refused(model: LanguageModel, other_model: LanguageModel, tmp_path: Path) -> None:
    other_model.read("It").save(tmp_path / "state")
    with pytest.raises(UsageError, match="another model"):
        model.generate(state=TextState.load(tmp_path / "state"))


def test_a_file_that_is_no_state_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        TextState.load(tmp_path / "none")
    (tmp_path / "text").write_text("no state")
    with pytest.raises(CharrnnError, match="damaged"):
        TextState.load(tmp_path / "text")
    save_arrays(tmp_path / "weights", {"weight": np.ones(3)})
    with pytest.raises(CharrnnError, match="not the state"):
        TextState.load(tmp_path / "weights")


def test_the_text_does_not_depend_on_who_writes_how_much_of_it(model: LanguageModel) -> None:
    """Plain numpy begins, compiled code goes on, be it loaded by an earlier call or not."""
    options: dict[str, Any] = {"max_chars": 200, "seed": 4, "num_samples": 2}
    written = []
    for num_plain in (0, 70, 10_000):
        generator = LanguageModel(model.network, model.vocab).generator
        assert isinstance(generator.choose, StepperChoice)
        generator.choose.num_plain = num_plain
        samples = generator.generate("It was", **options)
        assert generator.generate("It was", **options) == samples
        written.append([sample.text for sample in samples])
    assert written[0] == written[1] == written[2]


def test_compiled_code_writes_what_is_long_and_what_need_not_be_repeatable(model: LanguageModel) -> None:
    choose = LanguageModel(model.network, model.vocab).generator.choose
    assert isinstance(choose, StepperChoice)
    for repeatable in (True, False):
        assert isinstance(choose(0, repeatable), PlainStepper)
    assert isinstance(choose(choose.num_plain + 1, True), CompiledStepper)
    assert isinstance(choose(0, True), PlainStepper)
    assert isinstance(choose(0, False), CompiledStepper)


def test_a_generator_keeps_the_weights_it_was_made_with(model: LanguageModel) -> None:
    """Also where compiled code is loaded only after they have changed."""
    network = copy.deepcopy(model.network)
    first, second = (LanguageModel(network, model.vocab).generator for _ in range(2))
    for generator in (first, second):
        assert isinstance(generator.choose, StepperChoice)
        generator.choose.num_plain = 30
    options: dict[str, Any] = {"max_chars": 100, "seed": 1}
    expected = first.generate("It was", **options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.5)
    assert second.generate("It was", **options) == expected
    assert LanguageModel(network, model.vocab).generate("It was", **options) != expected
