"""The plain and the compiled stepper against the network itself."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from charrnn.checkpoint import network_tensors
from charrnn.generation.compiled import CompiledStepper
from charrnn.generation.plain import PlainStepper
from charrnn.generation.reference import NetworkStepper
from charrnn.generation.sampling import SamplingConfig
from charrnn.generation.weights import Weights, WeightType, arrange_weights, packed_bf16, unpacked_bf16
from charrnn.network.config import CELLS, Cell, NetworkConfig
from charrnn.network.model import Network
from charrnn.network.ngrams import NGramsBefore

SAMPLING = [
    SamplingConfig(temperature=1.0),
    SamplingConfig(temperature=0.0),
    SamplingConfig(top_k=3),
    SamplingConfig(temperature=1.3, top_p=0.8),
    SamplingConfig(min_p=0.1, repetition_penalty=1.3),
]
NETWORKS = [
    *(NetworkConfig(cell=cell, hidden_size=size, num_layers=2) for cell in CELLS for size in (20, 24)),
    NetworkConfig(cell="elman", hidden_size=16, num_layers=1, activation="relu"),
    NetworkConfig(cell="elman", hidden_size=16, num_layers=1, activation="sigmoid"),
    NetworkConfig(cell="mingru", hidden_size=24, num_layers=3, tie_weights=True),
    *(NetworkConfig(cell=cell, hidden_size=22, num_layers=2, ngrams=300) for cell in CELLS),
]
REPEATED = np.tile(np.random.default_rng(3).integers(0, 40, 60), 5)  # its n-grams are those that networks know


def reference(config: NetworkConfig) -> NetworkStepper:
    torch.manual_seed(0)
    network = Network(config, 40, 35).eval()
    if network.ngrams is not None:
        codes = NGramsBefore.frequent(REPEATED, network.ngrams.num_entries, len(network.ngrams.codes))
        network.ngrams.codes[: len(codes)] = codes
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        if network.ngrams is not None:
            network.ngrams.embedding.weight[0] = 0  # of those not in the table
    return NetworkStepper(network)


def arranged(stepper: NetworkStepper, weight_type: WeightType = "fp32") -> Weights:
    tensors = network_tensors(stepper.network)
    weights = {name: tensor.detach().numpy() for name, tensor in tensors.items()}
    return arrange_weights(stepper.network.config, weights, weight_type)


def compiled(config: NetworkConfig, weight_type: WeightType = "fp32") -> CompiledStepper:
    return CompiledStepper(config, arranged(reference(config), weight_type), weight_type)


def both(config: NetworkConfig) -> list[PlainStepper | CompiledStepper]:
    return [PlainStepper(config, arranged(reference(config))), compiled(config)]


@pytest.mark.parametrize("config", NETWORKS, ids=str)
@pytest.mark.parametrize("length", [1, 2, 70, 130])
def test_reading_gives_the_logits_and_the_state_of_the_network(config: NetworkConfig, length: int) -> None:
    ids, network = REPEATED[:length], reference(config)
    expected = network.read(network.begin(), ids)
    for stepper in both(config):
        given = stepper.read(stepper.begin(), ids)
        assert_allclose(given.logits, expected.logits, atol=1e-4)
        for a, b in zip(given.state, expected.state, strict=True):
            assert_allclose(a, b, atol=1e-4)
        assert_array_equal(given.recent, expected.recent)


@pytest.mark.parametrize("config", NETWORKS, ids=str)
def test_the_same_random_numbers_write_the_same(config: NetworkConfig) -> None:
    network = reference(config)
    start = network.read(network.begin(), REPEATED[:40]).select([0] * len(SAMPLING))
    allowed = np.arange(36) < 35
    uniforms = np.random.default_rng(1).random((50, len(SAMPLING)))
    expected, ids, nats = network.write(start, SAMPLING, allowed, uniforms)
    for stepper in both(config):
        given = stepper.write(start, SAMPLING, allowed, uniforms)
        assert_array_equal(given[1], ids)
        assert_allclose(given[2], nats, atol=1e-3)
        assert_allclose(given[0].logits, expected.logits, atol=1e-3)
        for a, b in zip(given[0].state, expected.state, strict=True):
            assert_allclose(a, b, atol=1e-3)
        assert_array_equal(given[0].recent, expected.recent)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("weight_type", ["fp32", "bf16"])
def test_plain_and_compiled_take_turns(cell: Cell, weight_type: WeightType) -> None:
    """What one begins the other can go on with, from the same weights."""
    config = NetworkConfig(cell=cell, hidden_size=22, num_layers=2, ngrams=300)
    weights = arranged(reference(config), weight_type)
    plain, quick = PlainStepper(config, weights), CompiledStepper(config, weights, weight_type)
    allowed, uniforms = np.ones(36, bool), np.random.default_rng(4).random((40, 1))
    start = quick.read(plain.read(plain.begin(), REPEATED[:30]), REPEATED[30:60])
    _, expected, _ = quick.write(start, SAMPLING[:1], allowed, uniforms)
    first, ids, _ = plain.write(start, SAMPLING[:1], allowed, uniforms[:25])
    _, others, _ = quick.write(first, SAMPLING[:1], allowed, uniforms[25:])
    assert_array_equal(np.concatenate([ids, others]), expected)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("weight_type", ["fp32", "bf16"])
def test_lanes_do_not_see_each_other(cell: Cell, weight_type: WeightType) -> None:
    """One lane, two, or eleven shared among threads: each writes what it would write alone."""
    stepper = compiled(NetworkConfig(cell=cell, hidden_size=24, num_layers=2), weight_type)
    allowed = np.arange(36) < 35
    uniforms = np.random.default_rng(2).random((30, 11))
    start = stepper.read(stepper.begin(), np.arange(20)).select([0] * 11)
    _, together, _ = stepper.write(start, [SAMPLING[0]] * 11, allowed, uniforms)
    for lanes in ([0], [3, 4], [10, 2, 7]):
        part = start.select(lanes)
        before = part.logits.copy()
        _, ids, _ = stepper.write(part, [SAMPLING[0]] * len(lanes), allowed, uniforms[:, lanes])
        assert_array_equal(ids, together[:, lanes])
        assert_array_equal(part.logits, before)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("ngrams", [0, 300])
def test_writing_and_then_reading_it_end_in_the_same_state(cell: Cell, ngrams: int) -> None:
    stepper = compiled(NetworkConfig(cell=cell, hidden_size=24, num_layers=2, ngrams=ngrams))
    start = stepper.read(stepper.begin(), np.arange(9))
    after, ids, nats = stepper.write(start, SAMPLING[:1], np.ones(36, bool), np.full((20, 1), 0.4))
    again, scored = stepper.score(start, ids[:, 0])
    assert_allclose(again.logits, after.logits, atol=1e-4)
    assert_allclose(scored, nats[:, 0], atol=1e-4)
    for a, b in zip(again.state, after.state, strict=True):
        assert_allclose(a, b, atol=1e-4)


def test_packed_weights_are_as_near_as_bfloat16_is() -> None:
    """Read as the kernels read them, both weights of a pair are within half of bfloat16's spacing there."""
    random = np.random.default_rng(0)
    weights = (random.standard_normal((3, 64, 5)) * 10.0 ** random.integers(-9, 9, (3, 64, 5))).astype(np.float32)
    weights[0, :6, 0] = [0.0, -0.0, 1.0, -1.0, 1e-38, -1e-38]
    rounded = unpacked_bf16(packed_bf16(weights))
    greatest = np.maximum(abs(weights), abs(rounded))
    spacing = np.maximum(2.0 ** (np.floor(np.log2(np.maximum(greatest, 1e-38))) - 7), 2.0**-133)
    assert (abs(rounded - weights) <= spacing * 0.5001).all()
    assert_array_equal(packed_bf16(rounded), packed_bf16(weights))
