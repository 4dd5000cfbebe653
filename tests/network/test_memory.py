"""The memory of the process."""

import subprocess
import sys

import pytest

from charrnn.network import memory

FAULTS = """
import resource, torch
from charrnn.network.device import choose_device
from charrnn.network.memory import give_memory_back

def pages_filled():
    torch.ones(1 << 24)  # 64 MiB, freed at once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 22)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

unkept = pages_filled()
choose_device("cpu")
kept = pages_filled()
give_memory_back()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(1 << 22)
print(unkept, kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(memory._library is None, reason="the C library is not GNU's: memory is left to it")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    unkept, kept, given_back = map(int, run.stdout.split())
    assert kept < unkept / 8
    assert given_back > 8 * kept
