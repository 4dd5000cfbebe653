"""What a training step costs in time and memory, by width, layers, window, batch and vocabulary.

    scripts/bench/cost.py [--markdown] [--vary hidden_size num_layers] [--hidden-size 256 512] [--repeats 15]

One factor is varied at a time around the default network and batch. Each row is a process of its own, so that its
peak memory is its own; `base_memory_mb` is what the process held before the network was made (Python and torch), and
the rest includes 24 to 48 MB of the matrices whose product `step.py` times beside the steps. One JSON line a row.
"""

import argparse
import json
import multiprocessing
import resource
from concurrent.futures import ProcessPoolExecutor

import torch
from step import measure

from charrnn.network.config import NetworkConfig
from charrnn.network.device import choose_precision
from charrnn.network.memory import keep_freed_memory
from charrnn.settings import from_mapping

FACTORS = {
    "hidden_size": (128, [64, 128, 256, 512, 1024]),
    "num_layers": (2, [1, 2, 4, 8, 16]),
    "bptt_len": (64, [16, 32, 64, 128, 256, 512]),
    "batch_size": (32, [8, 16, 32, 64, 128, 256]),
    "vocab_size": (65, [65, 256, 1024, 4096, 16384]),
}
COLUMNS = ("parameters", "step_ms", "chars_per_s", "share", "peak_memory_mb", "base_memory_mb")

Row = dict[str, object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vary", nargs="+", choices=FACTORS, default=list(FACTORS))
    for name, (default, values) in FACTORS.items():
        help = f"where it is varied; where it is not, it is {default}"
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, nargs="+", default=values, help=help)
    parser.add_argument("--cell", default="lstm")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--markdown", action="store_true", help="print tables, too, at the end")
    arguments = parser.parse_args()
    precision = choose_precision(arguments.precision, torch.device("cpu"))
    tables = []
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, max_tasks_per_child=1, mp_context=spawn) as processes:
        for factor in arguments.vary:
            rows = []
            for value in getattr(arguments, factor):
                shape = {name: default for name, (default, _) in FACTORS.items()} | {factor: value}
                task = processes.submit(measure_row, arguments.cell, shape, precision, arguments.repeats)
                rows.append({"vary": factor} | task.result())
                print(json.dumps(rows[-1]), flush=True)
            tables.append(markdown(factor, rows))
    if arguments.markdown:
        print("\n" + "\n".join(tables))


def measure_row(cell: str, shape: dict[str, int], precision: str, repeats: int) -> Row:
    """One row; runs in a fresh process."""
    keep_freed_memory()
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    network = {"cell": cell, "dropout": 0.1, "hidden_size": shape["hidden_size"], "num_layers": shape["num_layers"]}
    config = from_mapping(NetworkConfig, network)
    row = measure(config, shape["batch_size"], shape["bptt_len"], shape["vocab_size"], precision, repeats)
    return row | shape | {"what": f"step {cell}", "base_memory_mb": round(base / 1024)}


def markdown(factor: str, rows: list[Row]) -> str:
    """A table of one factor."""
    columns = (factor, *COLUMNS)
    lines = [columns, ["---"] * len(columns), *([f"{row[name]:,}" for name in columns] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    main()
