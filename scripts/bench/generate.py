"""How fast text is written, next to the memory that its weights are read from, plain torch, and nanoGPT.

    scripts/bench/generate.py [--size small base] [--cell lstm] [--streams 1 64] [--nanogpt CHECKOUT]
    scripts/bench/generate.py --model MODEL --text FILE

The first form measures networks with random weights; all that is compared is run in turn, each figure is the median
of `--repeats`. `limit_chars_s` is how often a second one core can merely read as many bytes as the weights have, which
is what one stream of text would be bound by if arithmetic cost nothing; `product_gflop_s` is the rate of a large
product of matrices on all cores, which is what many streams would be bound by. nanoGPT's network has as many layers as
make about the same number of parameters, at the same width.

The second form measures a trained model: bits per character of a text it has not seen, by type of weights; seconds
from the start of the process to the first characters, also where numba has compiled nothing yet; and how fast 100,000
lines of the text are scored, as a share of the rate at which a training step calculates. One JSON line a row.
"""

import argparse
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from numba import njit, uint32
from step import measure

import charrnn
from charrnn.generation.choice import StepperChoice
from charrnn.generation.compiled import CompiledStepper
from charrnn.generation.generator import Generator
from charrnn.generation.plain import PlainStepper
from charrnn.generation.reference import NetworkStepper
from charrnn.generation.sampling import SamplingConfig
from charrnn.generation.stepper import Stepper
from charrnn.generation.weights import WeightType, arrange_weights, num_numbers
from charrnn.network.config import NetworkConfig
from charrnn.network.device import choose_precision
from charrnn.network.model import Network
from charrnn.settings import from_mapping

VOCAB_SIZE = 65
CONTEXT = 256  # of nanoGPT, as its character model has it
LINES = 100_000
KINDS: tuple[WeightType, ...] = ("fp32", "bf16")
READS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs="+", default=["small", "base"])
    parser.add_argument("--cell", nargs="+", default=["lstm"])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 64])
    parser.add_argument(
        "--chars", type=int, default=2000, help="characters in all that a repeat writes (torch: 1/20, numpy: 1/10)"
    )
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--nanogpt", type=Path, help="a checkout of nanoGPT")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--text", type=Path)
    arguments = parser.parse_args()
    if arguments.model:
        if not arguments.text:
            parser.error("--model needs a --text")
        measure_model(arguments.model, arguments.text.read_text(encoding="utf-8"), arguments.repeats)
        return
    for cell in arguments.cell:
        for size in arguments.size:
            config = from_mapping(NetworkConfig, {"cell": cell, "size": size})
            for row in measure_speed(config, arguments.streams, arguments.chars, arguments.repeats, arguments.nanogpt):
                print(json.dumps(row | {"torch": torch.__version__, "cores": torch.get_num_threads()}), flush=True)


def measure_speed(
    config: NetworkConfig, streams: list[int], chars: int, repeats: int, nanogpt: Path | None
) -> list[dict[str, object]]:
    """Rows of one network."""
    network = Network(config, VOCAB_SIZE + 256, VOCAB_SIZE).eval()
    weights = {name: parameter.detach().numpy() for name, parameter in network.named_parameters()}
    compiled = {kind: CompiledStepper(config, arrange_weights(config, weights, kind), kind) for kind in KINDS}
    tasks: dict[tuple[str, int], tuple[int, Callable[[], object]]] = {}
    for count in streams:
        for kind, stepper in compiled.items():
            tasks[kind, count] = writer(stepper, count, chars)
        tasks["torch", count] = writer(NetworkStepper(network), count, chars // 20)
        tasks["plain", count] = writer(PlainStepper(config, compiled["fp32"].weights), count, chars // 10)
    square = np.ones((2048, 2048), np.float32)
    tasks["product", 1] = (2 * 2048**3, lambda: square @ square)
    num_bytes = {kind: size_of(stepper) for kind, stepper in compiled.items()}
    for kind, size in num_bytes.items():
        memory = np.ones(size // 4, np.uint32)
        tasks[f"limit {kind}", 1] = (READS, lambda memory=memory: read_all(memory, READS))
    if nanogpt:
        tasks["nanogpt", 1] = gpt_writer(nanogpt, config.width, network.num_parameters())
    seconds: dict[tuple[str, int], list[float]] = {task: [] for task in tasks}
    for repeat in range(repeats + 1):
        for task, (amount, run) in tasks.items():
            begin = time.perf_counter()
            run()
            if repeat:  # the first warms up
                seconds[task].append((time.perf_counter() - begin) / amount)
    rate = {task: 1 / statistics.median(times) for task, times in seconds.items()}
    operations = 2 * num_numbers(compiled["fp32"].weights)  # of a character
    rows: list[dict[str, object]] = []
    for kind in compiled:
        for count in streams:
            row: dict[str, object] = {
                "what": f"write {config.cell} {config.size}",
                "parameters": network.num_parameters(),
                "weights": kind,
                "streams": count,
                "chars_per_s": round(rate[kind, count]),
                "torch_chars_s": round(rate["torch", count]),
                "plain_chars_s": round(rate["plain", count]),
                "to_torch": round(rate[kind, count] / rate["torch", count], 1),
                "to_one_stream": round(rate[kind, count] / rate[kind, streams[0]], 2),
                "gflop_s": round(rate[kind, count] * operations / 1e9, 1),
                "product_gflop_s": round(rate["product", 1] / 1e9, 1),
            }
            if count == 1:
                limit = rate[f"limit {kind}", 1]
                row |= {"limit_chars_s": round(limit), "share_of_limit": round(rate[kind, 1] / limit, 3)}
                row |= {"limit_gb_s": round(limit * num_bytes[kind] / 1e9, 1)}
                if nanogpt:
                    row |= {"nanogpt_chars_s": round(rate["nanogpt", 1])}
                    row |= {"to_nanogpt": round(rate[kind, 1] / rate["nanogpt", 1], 1)}
            rows.append(row)
    return rows


def writer(stepper: Stepper, streams: int, chars: int) -> tuple[int, Callable[[], object]]:
    """Characters that one call writes, and the call."""
    start = stepper.read(stepper.begin(), np.arange(8)).select([0] * streams)
    times = max(chars // streams, 16)
    uniforms = np.random.default_rng(0).random((times, streams))
    allowed = np.arange(VOCAB_SIZE + 1) < VOCAB_SIZE
    return times * streams, lambda: stepper.write(start, [SamplingConfig()] * streams, allowed, uniforms)


def size_of(stepper: CompiledStepper) -> int:
    """Bytes of the weights that every character needs, all but the embedding."""
    layers = [part for part in stepper.single.layers if isinstance(part, np.ndarray)]
    return sum(part.nbytes for part in (*layers, stepper.single.head, stepper.single.head_bias))


@njit(cache=True)
def read_all(memory: np.ndarray, times: int) -> int:
    """Read every byte so many times, and do as little else as shows that it was read."""
    total = uint32(0)
    for t in range(times):
        for i in range(memory.shape[0]):
            total ^= memory[i] + uint32(t)
    return total


def gpt_writer(checkout: Path, width: int, parameters: int) -> tuple[int, Callable[[], object]]:
    """The same for a network of nanoGPT's, as its `sample.py` calls it."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", checkout / "model.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt_model"] = module
    spec.loader.exec_module(module)
    layers = max(round(parameters / (12 * width * width)), 1)
    shape = {"n_layer": layers, "n_head": 4, "n_embd": width, "block_size": CONTEXT, "vocab_size": VOCAB_SIZE}
    gpt = module.GPT(module.GPTConfig(**shape, dropout=0.0, bias=False)).eval()
    start = torch.zeros(1, CONTEXT, dtype=torch.long)

    def run() -> None:
        with torch.no_grad():
            gpt.generate(start, 20, temperature=0.8, top_k=200)

    return 20, run


def measure_model(directory: Path, text: str, repeats: int) -> None:
    """Print the rows of a trained model."""
    for kind in KINDS:
        generator = Generator.load(directory, kind)
        assert isinstance(generator.choose, StepperChoice)
        stepper = generator.choose.compiled
        start = stepper.read(stepper.begin(), np.array([generator.vocab.start_id]))
        begin = time.perf_counter()
        nats = stepper.score(start, generator.vocab.encode(text).astype(np.int64))[1]
        seconds = time.perf_counter() - begin
        bits = float(nats.sum(dtype=np.float64)) / len(text) / math.log(2)
        row = {"what": "bits per char", "weights": kind, "bits_per_char": round(bits, 5), "chars": len(text)}
        print(json.dumps(row | {"read_chars_s": round(len(text) / seconds)}), flush=True)
    for cold in (False, True):
        times = sorted(first_characters(directory, cold) for _ in range(repeats))
        row = {"what": "first characters", "nothing_compiled_yet": cold}
        print(json.dumps(row | {"seconds": round(statistics.median(times), 3)}), flush=True)
    model = charrnn.load(directory, device="cpu")
    lines = list(islice(cycle([line for line in text.split("\n") if line]), LINES))
    rates = []
    for _ in range(3):
        begin = time.perf_counter()
        tokens = sum(score.tokens for score in model.score_lines(lines))
        seconds = time.perf_counter() - begin
        network = model.network
        products = network.num_parameters() - network.embedding.weight.numel()
        precision = choose_precision("auto", torch.device("cpu"))
        step = measure(network.config, 32, 64, network.seen_size, precision, 15)
        gflop_s = 2 * products * tokens / seconds / 1e9
        rates.append((gflop_s / float(str(step["gflop_s"])), gflop_s, seconds))
    share, gflop_s, seconds = statistics.median(rates)
    row = {"what": "score lines", "lines": len(lines), "seconds": round(seconds, 2), "gflop_s": round(gflop_s, 1)}
    print(json.dumps(row | {"share_of_training_rate": round(share, 3)}), flush=True)


def first_characters(directory: Path, cold: bool) -> float:
    """Seconds from the start of a process to its first characters; cold: numba has compiled nothing before."""
    command = [sys.executable, "-m", "charrnn", "generate", str(directory)]
    with tempfile.TemporaryDirectory() as empty:
        environment = os.environ | ({"NUMBA_CACHE_DIR": empty} if cold else {})
        begin = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
            assert process.stdout is not None
            process.stdout.read(1)
            seconds = time.perf_counter() - begin
            process.stdout.read()
    return seconds


if __name__ == "__main__":
    main()
