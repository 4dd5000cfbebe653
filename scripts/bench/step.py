"""How much of the machine's matrix-product rate a training step reaches.

    scripts/bench/step.py [--size small] [--cell lstm] [--batch-size 32] [--bptt-len 64] [--precision bf16]

A step is forward, backward, clipping and the optimizer; model FLOPs are 6 a weight and token (forward and backward,
the embedding left out). The rate is that of a product of two 2048 × 2048 matrices, measured in turn with the steps.
One JSON line a row, median of repeats.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn

from charrnn.network.config import NetworkConfig
from charrnn.network.device import autocast, choose_precision
from charrnn.network.memory import keep_freed_memory
from charrnn.network.model import Network, detach
from charrnn.settings import from_mapping
from charrnn.training.optimizer import Optimizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--size", nargs="+", default=["small"])
    parser.add_argument("--batch-size", type=int, nargs="+", default=[32])
    parser.add_argument("--bptt-len", type=int, nargs="+", default=[64])
    parser.add_argument("--vocab-size", type=int, nargs="+", default=[65])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--give-back", action="store_true", help="let freed memory go, which training does not")
    arguments = parser.parse_args()
    if not arguments.give_back:
        keep_freed_memory()
    precision = choose_precision(arguments.precision, torch.device("cpu"))
    for size in arguments.size:
        for batch_size in arguments.batch_size:
            for length in arguments.bptt_len:
                for vocab_size in arguments.vocab_size:
                    config = from_mapping(NetworkConfig, {"cell": arguments.cell, "size": size, "dropout": 0.1})
                    row = measure(config, batch_size, length, vocab_size, precision, arguments.repeats)
                    print(json.dumps(row), flush=True)


def measure(
    config: NetworkConfig, batch_size: int, length: int, vocab_size: int, precision: str, repeats: int
) -> dict[str, object]:
    """One row."""
    device = torch.device("cpu")
    network = Network(config, vocab_size + 256, vocab_size)
    optimizer = Optimizer(network, betas=(0.9, 0.99), weight_decay=0.05)
    ids = torch.randint(0, vocab_size, (length + 1, batch_size))
    state = network.initial_state(batch_size)
    matrix = torch.randn(2048, 2048, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)

    def step() -> None:
        nonlocal state
        with autocast(device, precision):
            logits, new_state = network(ids[:-1], state)
        state = detach(new_state)
        optimizer.zero_grad()
        network.nats(logits, ids[1:]).mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step(1e-3)

    for _ in range(3):
        step()
        matrix @ matrix
    steps, products = [], []
    for _ in range(repeats):
        begin = time.perf_counter()
        step()
        middle = time.perf_counter()
        matrix @ matrix
        products.append(time.perf_counter() - middle)
        steps.append(middle - begin)
    seconds = statistics.median(steps)
    weights = network.num_parameters() - network.embedding.weight.numel()
    reached = 6 * weights * batch_size * length / seconds
    possible = 2 * 2048**3 / statistics.median(products)
    return {
        "what": f"step {config.cell} {config.size}",
        "batch_size": batch_size,
        "bptt_len": length,
        "vocab_size": vocab_size,
        "parameters": network.num_parameters(),
        "precision": precision,
        "step_ms": round(1000 * seconds, 2),
        "chars_per_s": round(batch_size * length / seconds),
        "gflop_s": round(reached / 1e9, 1),
        "machine_gflop_s": round(possible / 1e9, 1),
        "share": round(reached / possible, 3),
        "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "torch": torch.__version__,
        "cores": torch.get_num_threads(),
    }


if __name__ == "__main__":
    main()
